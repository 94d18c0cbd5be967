"""The clock by which certificates are made and judged, and exceptions of a policy end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from .diagnostics import Diagnostic

VARIABLE = "MESHUP_NOW"
"""Environment variable that sets the clock: a time with zone, such as `2027-03-01T00:00:00Z`.

`MESHUP_NOW=... pulumi preview` shows what an `up` on that day would do: which certificates it would renew, and which
exceptions of a policy it would refuse. The tests use it.
"""


def now(environment: Mapping[str, str]) -> datetime:
    """Return the time in UTC: that of the variable `MESHUP_NOW`, or the machine's.

    Raises:
        ValueError: The variable is not a time with a zone.
    """
    text = environment.get(VARIABLE) or datetime.now(UTC).isoformat()
    with suppress(ValueError):
        stated = datetime.fromisoformat(text)
        if stated.tzinfo is not None:
            return stated.astimezone(UTC)
    raise ValueError(f"{VARIABLE} is {text!r}: write a time with a zone, such as 2027-03-01T00:00:00Z")


def read(environment: Mapping[str, str]) -> tuple[datetime, list[Diagnostic]]:
    """Return the time in UTC as `now` does, and the machine's with a diagnostic if the variable is wrong."""
    try:
        return now(environment), []
    except ValueError as error:
        return datetime.now(UTC), [Diagnostic("MSH221", VARIABLE, None, f"{error}.")]
