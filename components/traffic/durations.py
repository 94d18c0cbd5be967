"""Durations of the traffic model: milliseconds, written as an integer and one unit."""

import re

_DURATION = re.compile(r"([0-9]{1,5})(ms|s|m|h)")
_DURATION_PARTS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_DURATION = 86_400_000
"""24 hours in milliseconds: the longest duration that every target can write."""


def duration_text(milliseconds: int) -> str:
    """Return the duration as an integer and one unit, `90s` or `1500ms`: the form that every target reads the same.

    Linkerd drops or rejects `1m30s`, the Gateway API takes at most five digits (Linkerd edge-26.8.3, observed;
    Gateway API v1.5.1, GEP-2257).
    """
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def milliseconds(text: str) -> int | None:
    """Return the milliseconds of a duration that is written as an integer and one unit; None if it is not."""
    found = _DURATION.fullmatch(text)
    duration = int(found[1]) * _UNIT_MS[found[2]] if found else 0
    return duration if 0 < duration <= LONGEST_DURATION else None


def duration_remedy(value: object) -> str:
    """Return the remedy for what is not a duration: the same one as an integer and one unit, where that is clear."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "Add the unit, such as s or ms."
    if not isinstance(value, str):
        return ""
    parts = list(_DURATION_PARTS.finditer(value[:64]))
    if not parts or "".join(part[0] for part in parts) != value:
        return ""
    milliseconds = round(sum(float(part[1]) * _UNIT_MS[part[2]] for part in parts))
    if not 0 < milliseconds <= LONGEST_DURATION or not _DURATION.fullmatch(duration_text(milliseconds)):
        return ""
    return f"Write '{duration_text(milliseconds)}'."
