"""Alerts against the real promtool: each can fire, and stays silent when nothing is wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from components.meshes.istio.metrics import ENVOY_METRICS, ISTIO_METRICS
from components.meshes.linkerd.metrics import LINKERD_METRICS
from components.observability.alerts import BURNS, alerting
from components.observability.rules import recording
from components.observability.source import MetricsSource
from tests import promtool
from tests.unit.observability.test_rules import NAMESPACE, compiled, istio_series

OBJECTIVE = {"success": 99.9, "latency": {"p": 99, "below": "500ms"}}
ROUTES = {"reviews": {"namespace": NAMESPACE, "split": {"v1": 90, "v2": 10}, "slo": OBJECTIVE}}
MESH_OF = {"istio": "istio", "envoy": "istio", "linkerd": "linkerd"}
API_OF = {"istio": "istio", "envoy": "istio", "linkerd": "gateway-api"}


def groups(source: MetricsSource, raw: Mapping[str, Any] = ROUTES) -> list[dict[str, Any]]:
    """Return all rules of a stack as Prometheus reads them."""
    mesh = MESH_OF[source.name]
    planned = compiled(raw, mesh, API_OF[source.name]).planned
    version = {"istio": "1.30.3", "envoy": "1.30.3", "linkerd": "edge-26.8.3"}[source.name]
    made = [*recording(planned, source, mesh)[0], *alerting(planned, source, mesh, version, [NAMESPACE])]
    return [group.plain() for group in made]


def firing(
    folder: Path,
    source: MetricsSource,
    series: Mapping[str, str],
    expected: Mapping[str, Sequence[Mapping[str, str]]],
    at: str = "30m",
    *,
    only: str = "",
) -> None:
    """Assert which alerts fire; those that are named with an empty list must not.

    Args:
        folder: Where promtool works.
        source: The metrics of the proxies.
        series: Values by series, as promtool writes them.
        expected: Labels of the alerts that fire, by name.
        at: When they are read.
        only: The group whose expected alerts alone are evaluated, which is faster; "" for all groups.
    """
    rules = groups(source)
    if only:
        rules = [
            {**group, "rules": [rule for rule in group["rules"] if rule["alert"] in expected]}
            for group in rules
            if group["name"] == only
        ]
    summaries = {
        (rule["alert"], tuple(sorted(rule["labels"].items()))): rule["annotations"]["summary"]
        for group in rules
        for rule in group["rules"]
        if "alert" in rule
    }
    assert {name for name, _ in summaries} >= set(expected)
    written = [{"series": name, "values": values} for name, values in series.items()]
    # promtool compares annotations as well, so each alert is asked for by its own series.
    cases = [
        {
            "expr": f'count by (severity, version, window, kind) (ALERTS{{alertname="{name}", alertstate="firing"}})',
            "eval_time": at,
            "exp_samples": [
                {"labels": "{" + ", ".join(f'{key}="{value}"' for key, value in labels.items()) + "}", "value": 1}
                for labels in alerts
            ],
        }
        for name, alerts in expected.items()
    ]
    promtool.check(folder, rules, [{"interval": "15s", "input_series": written, "promql_expr_test": cases}])


def per_second(rate: float, minutes: int = 31) -> str:
    """Write a counter of so many a second, scraped every 15 seconds."""
    return f"0+{rate * 15:g}x{minutes * 4}"


QUIET = {
    istio_series("v1", 200): per_second(90),
    istio_series("v2", 200): per_second(10),
    "pilot_info": "1x124",
}
NOTHING: dict[str, tuple[dict[str, str], ...]] = dict.fromkeys(
    (
        "MeshupErrorBudgetBurn",
        "MeshupLatencyBudgetBurn",
        "MeshupSplitOffWeight",
        "MeshupCanaryWorse",
        "MeshupNoTraffic",
        "MeshupNoMetrics",
        "MeshupControlPlaneDown",
    ),
    (),
)


def test_nothing_fires_while_nothing_is_wrong(tmp_path: Path) -> None:
    firing(tmp_path, ISTIO_METRICS, QUIET, NOTHING)


def test_failures_beyond_the_budget_page_and_open_a_ticket(tmp_path: Path) -> None:
    """2 percent fail where 0.1 percent may: 20 times as fast as the budget lasts."""
    series = {**QUIET, istio_series("v1", 503): per_second(2)}
    fired = [{"severity": burn.severity, "window": burn.long} for burn in BURNS]
    firing(tmp_path, ISTIO_METRICS, series, {"MeshupErrorBudgetBurn": fired, "MeshupLatencyBudgetBurn": ()})


def test_a_handful_of_failures_is_no_alert(tmp_path: Path) -> None:
    series = {
        istio_series("v1", 200): per_second(0.1),
        istio_series("v1", 503): per_second(0.005),
        "pilot_info": "1x124",
    }
    firing(tmp_path, ISTIO_METRICS, series, {"MeshupErrorBudgetBurn": (), "MeshupCanaryWorse": ()})


def test_requests_above_the_bound_beyond_the_budget_page(tmp_path: Path) -> None:
    """20 percent take longer than 500 ms where 1 percent may."""

    def bucket(version: str, le: str) -> str:
        return (
            f'istio_request_duration_milliseconds_bucket{{reporter="source", destination_version="{version}", '
            f'destination_service_namespace="{NAMESPACE}", destination_service_name="reviews", le="{le}"}}'
        )

    series = {**QUIET, bucket("v1", "500"): per_second(80), bucket("v1", "+Inf"): per_second(100)}
    fired = [{"severity": burn.severity, "window": burn.long} for burn in BURNS]
    firing(tmp_path, ISTIO_METRICS, series, {"MeshupLatencyBudgetBurn": fired, "MeshupErrorBudgetBurn": ()})


def test_a_split_off_its_weight_is_a_ticket_for_each_version(tmp_path: Path) -> None:
    series = {istio_series("v1", 200): per_second(80), istio_series("v2", 200): per_second(20), "pilot_info": "1x124"}
    fired = [{"severity": "ticket", "version": version} for version in ("v1", "v2")]
    firing(tmp_path, ISTIO_METRICS, series, {"MeshupSplitOffWeight": fired})


def test_chance_is_not_off_the_weight(tmp_path: Path) -> None:
    """Of 240 requests in ten minutes, 13 percent in place of 10: so much is chance."""
    series = {
        istio_series("v1", 200): per_second(0.348),
        istio_series("v2", 200): per_second(0.052),
        "pilot_info": "1x124",
    }
    firing(tmp_path, ISTIO_METRICS, series, {"MeshupSplitOffWeight": ()})


def test_a_canary_that_fails_more_often_than_its_baseline_pages(tmp_path: Path) -> None:
    """5 percent of v2 fail, and none of v1."""
    series = {
        istio_series("v1", 200): per_second(9),
        istio_series("v2", 200): per_second(0.95),
        istio_series("v2", 503): per_second(0.05),
        "pilot_info": "1x124",
    }
    fired = [{"severity": "page", "version": "v2", "kind": "failure"}]
    firing(tmp_path, ISTIO_METRICS, series, {"MeshupCanaryWorse": fired, "MeshupSplitOffWeight": ()})


def test_a_baseline_that_fails_as_often_is_no_fault_of_the_canary(tmp_path: Path) -> None:
    series = {
        istio_series("v1", 200): per_second(8.55),
        istio_series("v1", 503): per_second(0.45),
        istio_series("v2", 200): per_second(0.95),
        istio_series("v2", 503): per_second(0.05),
        "pilot_info": "1x124",
    }
    firing(tmp_path, ISTIO_METRICS, series, {"MeshupCanaryWorse": ()})


def test_a_service_that_lost_its_traffic_is_a_ticket(tmp_path: Path) -> None:
    series = {
        istio_series("v1", 200): f"0+150x{60 * 4} {60 * 4 * 150}x{60 * 4}",
        "pilot_info": "1x480",
    }
    firing(tmp_path, ISTIO_METRICS, series, {"MeshupNoTraffic": [{"severity": "ticket"}]}, at="90m")


def test_a_prometheus_without_metrics_of_requests_is_a_ticket(tmp_path: Path) -> None:
    firing(tmp_path, ISTIO_METRICS, {"pilot_info": "1x124"}, {"MeshupNoMetrics": [{"severity": "ticket"}]})


PAGE, TICKET = {"severity": "page"}, {"severity": "ticket"}
DENIED = f"0x{80 * 4} 0+150x{12 * 4}"
OF_THE_MESH: list[tuple[MetricsSource, str, str, str, Mapping[str, str]]] = [
    (ISTIO_METRICS, "MeshupControlPlaneDown", "up", "1x400", PAGE),
    (ISTIO_METRICS, "MeshupConfigurationRejected", 'pilot_total_xds_rejects{type="cds"}', "0+1x400", PAGE),
    (ISTIO_METRICS, "MeshupConfigurationConflict", "pilot_vservice_dup_domain", "1x400", TICKET),
    (ISTIO_METRICS, "MeshupPushFails", 'pilot_xds_pushes{type="cds_senderr"}', "0+1x400", TICKET),
    (ISTIO_METRICS, "MeshupInjectionFails", "sidecar_injection_failure_total", "0+1x400", PAGE),
    (ISTIO_METRICS, "MeshupCertificateExpires", 'istio_agent_cert_expiry_seconds{pod="a"}', "20000x400", PAGE),
    (ISTIO_METRICS, "MeshupIssuerExpires", "citadel_server_cert_chain_expiry_seconds", "864000x400", TICKET),
    (ISTIO_METRICS, "MeshupTrustAnchorExpires", "citadel_server_root_cert_expiry_seconds", "864000x400", TICKET),
    (
        ISTIO_METRICS,
        "MeshupDenialsRise",
        'envoy_http_rbac{authz_enforce_result="denied", namespace="a"}',
        DENIED,
        TICKET,
    ),
    (ISTIO_METRICS, "MeshupPodWithoutSidecar", f'kube_pod_info{{namespace="{NAMESPACE}", pod="a"}}', "1x400", TICKET),
    (
        ENVOY_METRICS,
        "MeshupEndpointsEjected",
        'envoy_cluster_outlier_detection_ejections_active{cluster_name="outbound|9080||a"}',
        "1x400",
        TICKET,
    ),
    (LINKERD_METRICS, "MeshupControlPlaneDown", "up", "1x400", PAGE),
    (LINKERD_METRICS, "MeshupCertificateExpires", "identity_cert_expiration_timestamp_seconds", "20000x400", PAGE),
    (
        LINKERD_METRICS,
        "MeshupCertificateNotRenewed",
        'identity_cert_refreshes_total{result="error"}',
        "0+1x400",
        TICKET,
    ),
    (LINKERD_METRICS, "MeshupIssuerExpires", "issuer_cert_ttl_seconds", "864000x400", TICKET),
    (LINKERD_METRICS, "MeshupPushFails", "endpoint_updates_queue_overflow", "0+1x400", TICKET),
    (LINKERD_METRICS, "MeshupDenialsRise", 'inbound_http_authz_deny_total{namespace="a"}', DENIED, TICKET),
    (LINKERD_METRICS, "MeshupPodWithoutSidecar", f'kube_pod_info{{namespace="{NAMESPACE}", pod="a"}}', "1x400", TICKET),
]
HEALTHY = {
    "pilot_info": "1x400",
    'pilot_xds{version="1.30.3"}': "5x400",
    'pilot_total_xds_rejects{type="cds"}': "3x400",
    "pilot_vservice_dup_domain": "0x400",
    'pilot_xds_pushes{type="cds_senderr"}': "2x400",
    "sidecar_injection_failure_total": "4x400",
    'istio_agent_cert_expiry_seconds{pod="a"}': "86000x400",
    "citadel_server_cert_chain_expiry_seconds": "315360000x400",
    "citadel_server_root_cert_expiry_seconds": "315360000x400",
    'envoy_http_rbac{authz_enforce_result="denied", namespace="a"}': "0+150x400",
    f'kube_pod_info{{namespace="{NAMESPACE}", pod="a"}}': "1x400",
    f'kube_pod_status_phase{{namespace="{NAMESPACE}", pod="a", phase="Running"}}': "1x400",
    f'kube_pod_init_container_info{{namespace="{NAMESPACE}", pod="a", container="istio-proxy"}}': "1x400",
    f'kube_pod_container_info{{namespace="{NAMESPACE}", pod="a", container="linkerd-proxy"}}': "1x400",
    'envoy_cluster_outlier_detection_ejections_active{cluster_name="outbound|9080||a"}': "0x400",
    "identity_cert_expiration_timestamp_seconds": "86000x400",
    'identity_cert_refreshes_total{result="error"}': "1x400",
    "issuer_cert_ttl_seconds": "31536000x400",
    "endpoint_updates_queue_overflow": "0x400",
    'inbound_http_authz_deny_total{namespace="a"}': "0+150x400",
    'proxy_build_info{version="release/edge-26.8.3"}': "1x400",
}
RUNNING = {f'kube_pod_status_phase{{namespace="{NAMESPACE}", pod="a", phase="Running"}}': "1x400"}


@pytest.mark.parametrize("case", OF_THE_MESH, ids=[f"{source.name}-{name}" for source, name, *_ in OF_THE_MESH])
def test_each_alert_on_the_mesh_fires(
    case: tuple[MetricsSource, str, str, str, Mapping[str, str]], tmp_path: Path
) -> None:
    source, name, series, values, labels = case
    firing(tmp_path, source, {series: values, **RUNNING}, {name: [labels]}, at="90m", only=f"meshup-{source.name}")


@pytest.mark.parametrize("source", [ISTIO_METRICS, ENVOY_METRICS, LINKERD_METRICS], ids=lambda source: source.name)
def test_no_alert_fires_on_a_mesh_that_is_well(source: MetricsSource, tmp_path: Path) -> None:
    names = {rule.alert for rule in source.alerts("1.30.3", [NAMESPACE])}
    firing(tmp_path, source, HEALTHY, dict.fromkeys(names, ()), at="90m", only=f"meshup-{source.name}")


def test_every_alert_of_a_mesh_has_a_test_in_which_it_fires() -> None:
    tested = {(source.name, name) for source, name, *_ in OF_THE_MESH}
    hard = {"MeshupPushSlow", "MeshupOldProxies", "MeshupRetryStorm"}
    for source in (ISTIO_METRICS, ENVOY_METRICS, LINKERD_METRICS):
        for rule in source.alerts("1.30.3", [NAMESPACE]):
            assert {(source.name, rule.alert), ("istio", rule.alert)} & tested or rule.alert in hard, rule.alert


def test_proxies_of_another_version_are_a_ticket_after_a_day(tmp_path: Path) -> None:
    day = 26 * 60 * 4
    for source, series in (
        (ISTIO_METRICS, 'pilot_xds{version="1.29.2"}'),
        (LINKERD_METRICS, 'proxy_build_info{version="release/edge-26.1.1"}'),
    ):
        labels = [{"severity": "ticket", "version": series.split('"')[1]}]
        firing(
            tmp_path, source, {series: f"3x{day}"}, {"MeshupOldProxies": labels}, at="25h", only=f"meshup-{source.name}"
        )


def test_slow_pushes_are_a_ticket(tmp_path: Path) -> None:
    series = {
        'pilot_proxy_convergence_time_bucket{le="30"}': "0x400",
        'pilot_proxy_convergence_time_bucket{le="60"}': "0+5x400",
        'pilot_proxy_convergence_time_bucket{le="+Inf"}': "0+5x400",
    }
    firing(tmp_path, ISTIO_METRICS, series, {"MeshupPushSlow": [TICKET]}, at="40m", only="meshup-istio")


def test_many_retries_are_a_ticket(tmp_path: Path) -> None:
    series = {
        'envoy_cluster_upstream_rq_retry{cluster_name="outbound|9080||a"}': "0+15x400",
        'envoy_cluster_upstream_rq_total{cluster_name="outbound|9080||a"}': "0+45x400",
    }
    firing(tmp_path, ENVOY_METRICS, series, {"MeshupRetryStorm": [TICKET]}, at="40m", only="meshup-envoy")
    of_linkerd = {
        'outbound_http_route_retry_requests_total{parent_namespace="a", parent_name="b"}': "0+15x400",
        'outbound_http_route_request_statuses_total{parent_namespace="a", parent_name="b"}': "0+45x400",
    }
    firing(tmp_path, LINKERD_METRICS, of_linkerd, {"MeshupRetryStorm": [TICKET]}, at="40m", only="meshup-linkerd")
