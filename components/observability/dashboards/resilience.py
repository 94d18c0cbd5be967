"""The dashboard of what a route does for a Service in trouble: retries, timeouts, ejections, limits, faults."""

from __future__ import annotations

from typing import Any

from ..source import MetricsSource, Query, Signal
from .panels import CODES, lines, place
from .panels import board as made
from .queries import by_code
from .service import service_variables
from .signals import missing, panels

_TRIED: tuple[Signal, ...] = ("attempts", "retries", "timeouts")
_REFUSED: tuple[Signal, ...] = ("overflow", "ejected", "rate_limited", "faults")


def board(source: MetricsSource, mesh: str) -> dict[str, Any]:
    """Return the dashboard."""
    chosen = place(mesh)
    results: list[Query] = by_code(chosen)
    return made(
        mesh,
        "resilience",
        "Retries, timeouts and limits",
        "What proxies do for one Service when something fails.",
        [
            (
                "Retries and timeouts",
                [
                    lines("Requests by result", "reqps", results, "What clients got.", styles=CODES, stacked=True),
                    *panels(source, *_TRIED),
                ],
            ),
            ("Limits, ejections and faults", [*panels(source, *_REFUSED), *missing(source, *_TRIED, *_REFUSED)]),
        ],
        variables=service_variables(mesh),
    )
