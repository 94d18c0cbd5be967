"""The dashboard of one Service: rate, failures, durations, clients, and how fast its error budget is spent."""

from __future__ import annotations

from typing import Any

from ..source import MetricsSource, Query
from .overview import SUCCESS_STEPS
from .panels import CODES, GREEN, RED, YELLOW, Line, heat, lines, number, place, variable
from .panels import board as made
from .queries import by_code, quantile, success
from .signals import missing, panels

_PARTS = (0.5, 0.95, 0.99)
_OBJECTIVE = Line("objective", RED, dashed=True)


def board(source: MetricsSource, mesh: str) -> dict[str, Any]:
    """Return the dashboard."""
    chosen = place(mesh)
    objective = f"meshup:slo:objective{place(mesh, objective='success')}"
    burn = f"meshup:slo:burn{place(mesh, objective='success')}"
    slow_burn = f"meshup:slo:burn{place(mesh, objective='latency')}"
    worst = f"max(meshup:slo:burn{place(mesh, window='1h')})"
    top = [
        number("Requests", "reqps", Query(f"sum(meshup:requests:rate5m{chosen})", "requests")),
        number("Success", "percentunit", Query(success(chosen), "success"), steps=SUCCESS_STEPS, decimals=2),
        *(number(f"p{part * 100:g}", "ms", Query(quantile(part, chosen), f"p{part * 100:g}")) for part in _PARTS),
        number(
            "Budget burn, 1h",
            "short",
            Query(worst, "burn"),
            "How fast the error budget is spent, that of success or of latency. At 1 it lasts for 30 days; none "
            "without an slo.",
            steps=((GREEN, None), (YELLOW, 1), (RED, 14.4)),
            decimals=2,
        ),
    ]
    return made(
        mesh,
        "service",
        "Service",
        "One Service, as its clients see it.",
        [
            ("", top),
            (
                "Requests",
                [
                    lines(
                        "Requests by result",
                        "reqps",
                        by_code(chosen),
                        "Those without an answer count as failures.",
                        styles=CODES,
                        stacked=True,
                    ),
                    *panels(source, "clients"),
                    lines(
                        "Success and objective",
                        "percentunit",
                        [Query(success(chosen), "success"), Query(objective, "objective")],
                        "No 5xx, no failed gRPC status, and an answer at all.",
                        low=None,
                        high=1,
                        styles=[Line("success", GREEN), _OBJECTIVE],
                    ),
                    lines(
                        "Success by version",
                        "percentunit",
                        [Query(f"meshup:success:ratio5m{chosen}", "{{version}}")],
                        low=None,
                        high=1,
                    ),
                ],
            ),
            (
                "Durations",
                [
                    lines(
                        "Durations",
                        "ms",
                        [Query(quantile(part, chosen), f"p{part * 100:g}") for part in _PARTS],
                        "Guessed between the bounds by which proxies count: 25, 50, 100, 250, 500, 1000 and 10000 ms.",
                    ),
                    heat("Durations by bound", "ms", f"sum by (le) (meshup:request_duration_ms_bucket:rate5m{chosen})"),
                ],
            ),
            (
                "Error budget",
                [
                    lines(
                        "Burn of the budget for success",
                        "short",
                        [Query(burn, "{{window}}")],
                        "In each window of MeshupErrorBudgetBurn. At 1, the budget of 30 days lasts for 30 days.",
                        limit=1,
                    ),
                    lines(
                        "Burn of the budget for latency",
                        "short",
                        [Query(slow_burn, "{{window}}")],
                        "In each window of MeshupLatencyBudgetBurn.",
                        limit=1,
                    ),
                ],
            ),
            ("", missing(source, "clients")),
        ],
        variables=service_variables(mesh),
    )


def service_variables(mesh: str, series: str = "meshup:requests:rate5m") -> list[Any]:
    """Return the variables namespace, service and version, with the values that a series has."""
    return [
        variable("namespace", "namespace", f'label_values({series}{{mesh="{mesh}"}}, namespace)'),
        variable("service", "service", f'label_values({series}{{mesh="{mesh}", namespace="$namespace"}}, service)'),
        variable("version", "version", f"label_values({series}{place(mesh)}, version)", every=True),
    ]
