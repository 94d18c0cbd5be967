"""The dashboard of a split: the declared weight beside the measured share, and each version against the baseline.

Band, counts and deviations are the series that the alerts MeshupSplitOffWeight and MeshupCanaryWorse read
(`components/observability/alerts.py`), so that the picture and the alert never differ.
"""

from __future__ import annotations

from typing import Any

from ..alerts import FEWEST_PER_SPLIT, FEWEST_PER_VERSION, Z_LIMIT
from ..rules import SLOW
from ..source import MetricsSource, Query
from .panels import GREY, ORANGE, RED, Column, Line, lines, place, rows, variable
from .panels import board as made
from .queries import quantile
from .service import service_variables

_DECLARED, _BOUND = "meshup:split:declared_share:avg10m", "meshup:split:share:bound10m"
_SHARE, _COUNT = "meshup:split:share:avg10m", "meshup:split:requests:count10m"


def board(source: MetricsSource, mesh: str) -> dict[str, Any]:
    """Return the dashboard."""
    del source
    rule, chosen = place(mesh, rule="$rule"), place(mesh)
    # Grafana writes the values of a variable that may have several as a regular expression, also where there is one.
    one = rule[:-1] + ', version=~"$version"}'
    by = "by (version)"
    table = [
        Column("declared", "percentunit", Query(f"sum {by} (meshup:split:declared_share{rule})")),
        Column("measured", "percentunit", Query(f"sum {by} ({_SHARE}{rule})")),
        Column("may differ by", "percentunit", Query(f"sum {by} ({_BOUND}{rule})")),
        Column("requests in 10 min", "short", Query(f"sum {by} ({_COUNT}{rule})")),
        Column("success", "percentunit", Query(f"sum {by} (meshup:success:ratio5m{chosen})")),
        Column("slow", "percentunit", Query(f"sum {by} (meshup:slow:ratio5m{chosen})")),
        Column("p99", "ms", Query(quantile(0.99, chosen, "version"))),
    ]
    declared = f"meshup:split:declared_share{rule}"
    return made(
        mesh,
        "split",
        "Split",
        "Declared weight beside measured share, and each version beside the baseline.",
        [
            (
                "",
                [
                    lines(
                        "Weight and share",
                        "percentunit",
                        [
                            Query(f"{_SHARE}{rule}", "{{version}} measured"),
                            Query(f"{_DECLARED}{rule}", "{{version}} declared"),
                        ],
                        "Over ten minutes each. A change of the weights takes ten minutes to get through.",
                        high=1,
                        styles=[Line(".* declared", dashed=True)],
                    ),
                    rows(
                        "Versions",
                        table,
                        "Share and requests of ten minutes, the rest of five. Slow is above the bound of the slo, or "
                        f"above {SLOW} ms without one.",
                        labels={"version": "version"},
                        sort="declared",
                        descending=True,
                    ),
                ],
            ),
            (
                "Share of each version, within what chance allows",
                [
                    lines(
                        "$version",
                        "percentunit",
                        [
                            Query(f"{_SHARE}{one}", "measured"),
                            Query(f"{_DECLARED}{one}", "declared"),
                            Query(f"clamp_max({_DECLARED}{one} + {_BOUND}{one}, 1)", "highest"),
                            Query(f"clamp_min({_DECLARED}{one} - {_BOUND}{one}, 0)", "lowest"),
                            Query(f"{_COUNT}{one}", "requests in 10 min"),
                        ],
                        "One percent and 3.9 standard deviations around the weight: MeshupSplitOffWeight fires outside "
                        f"of it, from {FEWEST_PER_SPLIT} requests of the rule in ten minutes on.",
                        styles=[
                            Line("measured", "blue"),
                            Line("declared", ORANGE, dashed=True),
                            Line("highest", ORANGE, band_to="lowest"),
                            Line("lowest", ORANGE, hidden=True),
                            Line("requests in 10 min", GREY, bars=True),
                        ],
                        low=None,
                        each="version",
                    ),
                ],
            ),
            (
                "Versions compared",
                [
                    lines(
                        "Success",
                        "percentunit",
                        [Query(f"meshup:success:ratio5m{chosen}", "{{version}}")],
                        "Of five minutes.",
                        low=None,
                        high=1,
                    ),
                    lines(
                        "Slow requests",
                        "percentunit",
                        [Query(f"meshup:slow:ratio5m{chosen}", "{{version}} above {{above}} ms")],
                        "Of five minutes.",
                    ),
                    lines(
                        "Worse than the baseline",
                        "short",
                        [
                            Query(f"meshup:canary:failure_z{rule}", "{{version}} fails, against {{baseline}}"),
                            Query(f"meshup:canary:slow_z{rule}", "{{version}} is slow, against {{baseline}}"),
                        ],
                        f"Standard deviations by which a version fails, or is slow, more often than the one with the "
                        f"highest weight. MeshupCanaryWorse fires above {Z_LIMIT}; nothing is compared below "
                        f"{FEWEST_PER_VERSION} requests each in ten minutes.",
                        low=None,
                        limit=Z_LIMIT,
                    ),
                    lines(
                        "Requests",
                        "reqps",
                        [Query(f"sum {by} (meshup:requests:rate1m{chosen})", "{{version}}")],
                        "Per second, over one minute.",
                    ),
                ],
            ),
        ],
        variables=[
            *service_variables(mesh, "meshup:split:declared_share"),
            variable("rule", "rule", f"label_values(meshup:split:declared_share{chosen}, rule)"),
        ],
        annotations=[("Weight changed", RED, f"changes({declared}[1m]) > 0", "{{version}}")],
    )
