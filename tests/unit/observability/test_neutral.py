"""The neutral series that dashboards and alerts share, against the real promtool: the same from each proxy."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from components.meshes.istio.metrics import ENVOY_METRICS, ISTIO_METRICS
from components.meshes.linkerd.metrics import LINKERD_METRICS
from components.observability.alerts import stack_rules
from components.observability.source import MetricsSource
from tests import promtool
from tests.unit.observability.test_alerts import API_OF, MESH_OF
from tests.unit.observability.test_rules import (
    NAMESPACE,
    compiled,
    envoy_series,
    istio_series,
    linkerd_series,
)

MINUTES = 12
"""As long as the windows of ten minutes, and a little."""
SLO = {"success": 99.5, "latency": {"p": 99, "below": "100ms"}}
SOURCES = [ISTIO_METRICS, ENVOY_METRICS, LINKERD_METRICS]


def buckets(source: MetricsSource, version: str, counts: Mapping[int, float]) -> dict[str, float]:
    """Write the buckets of a version as its clients' proxies do: how many each 15 seconds take at most so many ms."""
    names = {
        "istio": f'istio_request_duration_milliseconds_bucket{{reporter="source", destination_version="{version}", '
        f'destination_service_namespace="{NAMESPACE}", destination_service_name="reviews", le="%s"}}',
        "envoy": "envoy_cluster_upstream_rq_time_bucket"
        f'{{cluster_name="outbound|9080|{version}|reviews.{NAMESPACE}.svc.cluster.local", le="%s"}}',
        "linkerd": "outbound_http_route_backend_response_duration_seconds_bucket"
        f'{{parent_kind="Service", parent_namespace="{NAMESPACE}", parent_name="reviews", '
        f'backend_name="reviews-{version}", le="%s"}}',
    }
    scale = 1000 if source is LINKERD_METRICS else 1
    return {names[source.name] % (f"{bound / scale:g}" if bound else "+Inf"): count for bound, count in counts.items()}


def counted(source: MetricsSource, version: str, code: int, count: float) -> dict[str, float]:
    """Write the counters of a version."""
    if source is ENVOY_METRICS:
        return dict.fromkeys(envoy_series(version, code), count)
    if source is LINKERD_METRICS:
        return {linkerd_series(f"reviews-{version}", code): count}
    return {istio_series(version, code): count}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_share_band_slow_share_and_burn_are_the_same_from_each_proxy(source: MetricsSource, tmp_path: Path) -> None:
    """270 and 30 requests in 15 seconds; 3 of v1 fail; 27 of v1 and none of v2 take longer than 100 ms."""
    routes = {
        "reviews": {"namespace": NAMESPACE, "split": {"v1": 90, "v2": 10}, "slo": SLO},
        "ratings": {"namespace": NAMESPACE, "split": {"v1": 100}},
    }
    mesh = MESH_OF[source.name]
    planned = compiled(routes, mesh, API_OF[source.name]).planned
    groups = stack_rules(planned, source, mesh, "1.30.3", []).groups
    series = {
        **counted(source, "v1", 200, 267),
        **counted(source, "v1", 503, 3),
        **counted(source, "v2", 200, 30),
        **buckets(source, "v1", {100: 243, 500: 270, 0: 270}),
        **buckets(source, "v2", {100: 30, 500: 30, 0: 30}),
    }
    place = f'mesh="{mesh}", namespace="{NAMESPACE}", service="reviews"'
    v1, v2 = (f'{place}, version="{version}"' for version in ("v1", "v2"))

    def expected(expression: str, samples: Mapping[str, float]) -> dict[str, object]:
        exp = [{"labels": f"{{{labels}}}", "value": value} for labels, value in samples.items()]
        return {"expr": f"round({expression}, 0.0001)", "eval_time": f"{MINUTES}m", "exp_samples": exp}

    # n = 300 in 15 seconds, 40 times; the first scrape counts for nothing, so the band is that of a little less.
    cases = [
        expected("meshup:split:share:avg10m", {f'{v1}, rule="split"': 0.9, f'{v2}, rule="split"': 0.1}),
        expected("meshup:slow:ratio5m", {f'{v1}, above="100"': 0.1, f'{v2}, above="100"': 0}),
        # 1 % fails where 0.5 % may, and 9 % are slow where 1 % may.
        expected(
            'meshup:slo:burn{window="5m"}',
            {
                f'{place}, objective="success", window="5m"': 2,
                f'{place}, objective="latency", window="5m"': 9,
            },
        ),
        expected(
            "meshup:slo:objective",
            {f'{place}, objective="success"': 0.995, f'{place}, objective="latency"': 0.99},
        ),
        expected("sgn(meshup:split:share:bound10m - 0.02)", {f'{v1}, rule="split"': 1, f'{v2}, rule="split"': 1}),
        expected("sgn(meshup:split:share:bound10m - 0.025)", {f'{v1}, rule="split"': -1, f'{v2}, rule="split"': -1}),
    ]
    written = [{"series": name, "values": f"0+{step:g}x{MINUTES * 4}"} for name, step in series.items()]
    promtool.check(
        tmp_path,
        [group.plain() for group in groups],
        [{"interval": "15s", "input_series": written, "promql_expr_test": cases}],
    )


def test_a_service_without_an_objective_is_slow_above_the_common_bound(tmp_path: Path) -> None:
    planned = compiled({"reviews": {"namespace": NAMESPACE, "split": {"v1": 90, "v2": 10}}}, "istio", "istio").planned
    groups = stack_rules(planned, ISTIO_METRICS, "istio", "1.30.3", []).groups
    series = buckets(ISTIO_METRICS, "v1", {100: 10, 500: 15, 0: 20})
    labels = f'{{mesh="istio", namespace="{NAMESPACE}", service="reviews", version="v1", above="500"}}'
    case = {
        "expr": "round(meshup:slow:ratio5m, 0.0001)",
        "eval_time": "6m",
        "exp_samples": [{"labels": labels, "value": 0.25}],
    }
    written = [{"series": name, "values": f"0+{step:g}x48"} for name, step in series.items()]
    promtool.check(
        tmp_path,
        [group.plain() for group in groups],
        [{"interval": "15s", "input_series": written, "promql_expr_test": [case]}],
    )


@pytest.mark.parametrize(
    ("series", "fires"),
    [
        ('proxy_build_info{version="v1", exported_version="release/edge-26.8.3"}', False),
        ('proxy_build_info{version="v1", exported_version="release/edge-26.1.1"}', True),
    ],
    ids=["current", "old"],
)
def test_the_version_of_a_pod_is_not_taken_for_that_of_its_proxy(series: str, fires: bool, tmp_path: Path) -> None:
    """Prometheus calls the label of the metric `exported_version` where the pod has a label `version`."""
    planned = compiled({"reviews": {"namespace": NAMESPACE, "split": {"v1": 100}}}, "linkerd", "gateway-api").planned
    rules = [
        rule.plain()
        for group in stack_rules(planned, LINKERD_METRICS, "linkerd", "edge-26.8.3", []).alerts
        for rule in group.rules
        if rule.plain().get("alert") == "MeshupOldProxies"
    ]
    labels = '{alertname="MeshupOldProxies", alertstate="firing", severity="ticket", version="release/edge-26.1.1"}'
    case = {
        "expr": 'min by (alertname, alertstate, severity, version) (ALERTS{alertstate="firing"})',
        "eval_time": "25h",
        "exp_samples": [{"labels": labels, "value": 1}] if fires else [],
    }
    written = [{"series": series, "values": f"1x{26 * 240}"}]
    promtool.check(
        tmp_path,
        [{"name": "a", "interval": "1m", "rules": rules}],
        [{"interval": "15s", "input_series": written, "promql_expr_test": [case]}],
    )
