"""The one clock of the identity code."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

VARIABLE = "MESHUP_NOW"
"""Environment variable that sets the clock: a time with zone, such as `2027-03-01T00:00:00Z`.

`MESHUP_NOW=... pulumi preview` shows which certificates an `up` on that day would renew; the tests drive renewal so.
"""


def now(environment: Mapping[str, str]) -> datetime:
    """The time in UTC: what the variable `MESHUP_NOW` says, or the machine's.

    Raises:
        ValueError: The variable is not a time with a zone.
    """
    text = environment.get(VARIABLE, "")
    if not text:
        return datetime.now(UTC)
    try:
        stated = datetime.fromisoformat(text)
    except ValueError:
        stated = None
    if stated is None or stated.tzinfo is None:
        raise ValueError(f"{VARIABLE} is {text!r}: write a time with a zone, such as 2027-03-01T00:00:00Z")
    return stated.astimezone(UTC)
