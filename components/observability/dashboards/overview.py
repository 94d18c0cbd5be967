"""The dashboard of the whole mesh: how much, how well, and which Service is worst."""

from __future__ import annotations

from typing import Any

from ..source import MetricsSource, Query
from .panels import CODES, GREEN, ORANGE, RED, YELLOW, Column, lines, number, place, rows, variable
from .panels import board as made
from .queries import by_code, quantile, success
from .signals import missing, panels

SUCCESS_STEPS = ((RED, None), (ORANGE, 0.99), (GREEN, 0.999))
_FIRING = 'ALERTS{alertname=~"Meshup.*", alertstate="firing"}'


def board(source: MetricsSource, mesh: str) -> dict[str, Any]:
    """Return the dashboard."""
    every = place(mesh, service=False)[:-1] + ', namespace=~"$namespace"}'
    each = "namespace, service"
    total = Query(f"sum(meshup:requests:rate5m{every})", "requests")
    burn = f'max by ({each}) (meshup:slo:burn{every[:-1]}, window="1h"}})'
    services = [
        Column("requests/s", "reqps", Query(f"sum by ({each}) (meshup:requests:rate5m{every})")),
        Column("success", "percentunit", Query(success(every, each))),
        Column("p50", "ms", Query(quantile(0.5, every, each))),
        Column("p99", "ms", Query(quantile(0.99, every, each))),
        Column("budget burn, 1h", "short", Query(burn)),
    ]
    alerts = Query(f"count by (alertname, severity, namespace, service, version) ({_FIRING})")
    counted = Query(f"count({_FIRING}) or vector(0)", "alerts")
    top = [
        number("Requests", "reqps", total, "Requests per second of all Services, as clients count them."),
        number("Success", "percentunit", Query(success(every), "success"), steps=SUCCESS_STEPS, decimals=2),
        number("p99", "ms", Query(quantile(0.99, every), "p99"), "99 of 100 requests take less."),
        *panels(source, "mutual_tls", width=4),
        number("Alerts firing", "short", counted, steps=((GREEN, None), (RED, 1))),
        number("Services", "short", Query(f"count(sum by ({each}) (meshup:requests:rate5m{every} > 0))", "services")),
    ]
    return made(
        mesh,
        "overview",
        "Mesh",
        "All Services of the mesh, the worst first.",
        [
            ("", top),
            (
                "",
                [
                    rows(
                        "Services, worst first",
                        services,
                        "Of the last five minutes. A budget burn of 1 spends the error budget of 30 days in 30 days.",
                        labels={"namespace": "namespace", "service": "service"},
                        sort="success",
                        colors={
                            "success": SUCCESS_STEPS,
                            "budget burn, 1h": ((GREEN, None), (YELLOW, 1), (RED, 14.4)),
                        },
                        width=14,
                        height=9,
                    ),
                    rows(
                        "Alerts firing",
                        [Column("firing", "short", alerts)],
                        labels={
                            "alertname": "alert",
                            "severity": "severity",
                            "service": "service",
                            "version": "version",
                        },
                        sort="alert",
                        width=10,
                        height=9,
                        empty="No alert is firing.",
                    ),
                    lines("Requests by result", "reqps", by_code(every), styles=CODES, stacked=True, width=8),
                    lines(
                        "Requests by Service",
                        "reqps",
                        [Query(f"sum by ({each}) (meshup:requests:rate5m{every})", "{{namespace}}/{{service}}")],
                        width=8,
                    ),
                    *panels(source, "proxy_versions", width=8),
                ],
            ),
            ("", missing(source, "mutual_tls")),
        ],
        variables=[
            variable(
                "namespace",
                "namespace",
                f'label_values(meshup:requests:rate5m{{mesh="{mesh}"}}, namespace)',
                every=True,
            )
        ],
    )
