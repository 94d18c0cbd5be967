"""What was scraped, played again at the pace of the rules by promtool: ten minutes of windows in a second.

The values are those that a real Prometheus scraped from real proxies; only the time between them is another.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from components.observability.promql import INTERVAL_SECONDS, selector

Snapshot = Mapping[tuple[tuple[str, str], ...], str]
"""Values of series at one moment: their labels, sorted, `__name__` among them -> the value as Prometheus writes it."""

STEPS = 4
"""Evaluations for which a snapshot lasts: a minute, which is the shortest window of the rules."""
LEAD = 21
"""Evaluations for which the first one lasts: what was counted before is in no window of five minutes any more."""


def snapshot(answer: Sequence[Mapping[str, Any]]) -> Snapshot:
    """Return a snapshot from the answer to an instant query."""
    return {tuple(sorted(one["metric"].items())): one["value"][1] for one in answer}


def series(snapshots: Sequence[Snapshot]) -> list[dict[str, str]]:
    """Return the input series of a test of promtool."""
    lasts = [LEAD, *[STEPS] * (len(snapshots) - 1)]
    names = dict.fromkeys(name for one in snapshots for name in one)
    return [
        {
            "series": _name(dict(labels)),
            "values": " ".join(
                _value(one.get(labels)) for one, times in zip(snapshots, lasts, strict=True) for _ in range(times)
            ),
        }
        for labels in names
    ]


def moment(number: int) -> int:
    """Return the seconds at which a window of a minute has all that was counted between a snapshot and the one before.

    Prometheus 3 leaves out the start of a window, Prometheus 2 does not: it is there in either.
    """
    return (LEAD + (number - 1) * STEPS + STEPS - 2) * INTERVAL_SECONDS


def _name(labels: dict[str, str]) -> str:
    return labels.pop("__name__") + selector(labels)


def _value(text: str | None) -> str:
    if text is None:
        return "_"
    # An exponent's sign would be read as the step of a progression.
    return text if text in ("NaN", "+Inf", "-Inf") else f"{Decimal(text):f}"
