"""The dashboard of the control plane, of what the proxies cost, and of Prometheus seeing them all."""

from __future__ import annotations

from typing import Any

from ..scrape import of_job
from ..source import MetricsSource, Query, Signal
from .panels import GREEN, RED, lines, number
from .panels import board as made
from .signals import missing, panels

_CONFIGURATION: tuple[Signal, ...] = (
    "proxy_versions",
    "push_delay",
    "pushes",
    "rejections",
    "validations",
    "injections",
)
_COST: tuple[Signal, ...] = ("control_plane_cpu", "control_plane_memory", "proxy_memory")
_JOBS = of_job("meshup-.+")


def board(source: MetricsSource, mesh: str) -> dict[str, Any]:
    """Return the dashboard."""
    down = Query(f"count(up{{{_JOBS}}} == 0) or vector(0)", "down")
    return made(
        mesh,
        "control-plane",
        "Control plane",
        "The control plane, what it costs, and whether Prometheus sees it.",
        [
            ("Configuration of the proxies", panels(source, *_CONFIGURATION, width=8)),
            ("Cost", panels(source, *_COST, width=8)),
            (
                "Prometheus",
                [
                    number("Targets", "short", Query(f"count(up{{{_JOBS}}})", "targets"), width=6),
                    number("Targets down", "short", down, steps=((GREEN, None), (RED, 1)), width=6),
                    number(
                        "Series",
                        "short",
                        Query(f"sum(scrape_samples_post_metric_relabeling{{{_JOBS}}})", "series"),
                        width=6,
                    ),
                    number("Slowest scrape", "s", Query(f"max(scrape_duration_seconds{{{_JOBS}}})", "scrape"), width=6),
                    lines("Targets by job", "short", [Query(f"count by (job) (up{{{_JOBS}}} == 1)", "{{job}}")]),
                    lines(
                        "Series by job",
                        "short",
                        [Query(f"sum by (job) (scrape_samples_post_metric_relabeling{{{_JOBS}}})", "{{job}}")],
                        "Samples of one scrape, after what is dropped.",
                    ),
                ],
            ),
            ("", missing(source, *_CONFIGURATION, *_COST)),
        ],
    )
