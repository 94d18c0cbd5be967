"""linkerd-viz with the Prometheus of the stack in place of its own."""

from typing import Any

import pytest

from components.meshes.linkerd.metrics import LINKERD_METRICS
from components.security.model import Account
from tests.unit.observability.addons import addon_of, plan_of, release

VIZ = {"viz": {"enabled": True}}
OURS = "http://prometheus.prometheus.svc:9090"
NAMES = {
    *("cronjob", "daemonset", "deployment", "k8s_job", "replicaset", "replicationcontroller", "statefulset"),
    *("control_plane_ns", "namespace", "pod", "workload_ns"),
}
"""What metrics-api groups by (viz/metrics-api, pkg/k8s KindToL5DLabel), and what its edges name namespaces by."""


def viz(**keys: Any) -> dict[str, Any]:
    return release(plan_of({"mesh": "linkerd", "linkerd": VIZ, **keys}), "linkerd-viz")["values"]


def test_it_reads_the_prometheus_of_the_stack_and_brings_none() -> None:
    plan = plan_of({"mesh": "linkerd", "linkerd": VIZ, "prometheus": {"enabled": True}})
    values = release(plan, "linkerd-viz")["values"]
    assert (values["prometheusUrl"], values["prometheus"]) == (OURS, {"enabled": False})
    assert "prometheusCredsSecret" not in values
    annotations = addon_of(plan, "linkerd-viz").namespace["annotations"]
    assert annotations["viz.linkerd.io/external-prometheus"] == OURS
    assert plan.security.world.scrapers == (Account("prometheus", "prometheus"),)


def test_it_may_connect_to_it() -> None:
    plan = plan_of({"mesh": "linkerd", "linkerd": VIZ, "prometheus": {"enabled": True}})
    policy = next(one for one in addon_of(plan, "prometheus").objects if one["kind"] == "NetworkPolicy")
    assert "linkerd-viz" in str(policy["spec"]["ingress"])


@pytest.mark.parametrize(
    "prometheus", [None, {"url": "http://p.monitoring:9090"}, {"enabled": True, "mode": "operator"}]
)
def test_without_one_that_scrapes_for_the_stack_it_has_its_own(prometheus: dict[str, Any] | None) -> None:
    assert viz(prometheus=prometheus)["prometheus"] == {"enabled": True}


def test_what_is_written_for_it_goes_first() -> None:
    own = {"viz": {"enabled": True, "prometheusUrl": "http://p.monitoring:9090"}}
    assert viz(linkerd=own, prometheus={"enabled": True})["prometheusUrl"] == "http://p.monitoring:9090"


def test_it_logs_in_to_the_operators_prometheus_by_a_secret() -> None:
    chosen = {"enabled": True, "mode": "operator", "url": OURS, "login": {"type": "basic", "secret": "prom"}}
    values = viz(prometheus=chosen)
    assert (values["prometheusUrl"], values["prometheusCredsSecret"]) == (OURS, "prom")


def test_the_scrape_job_keeps_every_label_that_it_groups_by_and_copies_no_others() -> None:
    job = next(one for one in LINKERD_METRICS.jobs("linkerd") if one["job_name"] == "meshup-linkerd-proxies")
    written = {one["target_label"]: one["source_labels"] for one in job["relabel_configs"] if "target_label" in one}
    assert written.keys() >= NAMES
    assert written["deployment"] == ["__meta_kubernetes_pod_label_linkerd_io_proxy_deployment"]
    assert written["control_plane_ns"] == ["__meta_kubernetes_pod_label_linkerd_io_control_plane_ns"]
    assert not [one for one in job["relabel_configs"] if one.get("action") == "labelmap"]
