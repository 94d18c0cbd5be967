"""The one clock of the identity code."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

VARIABLE = "MESHUP_NOW"
"""Environment variable that sets the clock: a time with zone, such as `2027-03-01T00:00:00Z`.

`MESHUP_NOW=... pulumi preview` shows which certificates an `up` on that day would renew; the tests use it.
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
