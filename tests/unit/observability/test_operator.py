"""The objects for the Prometheus operator: the same jobs and rules as in the chart, of its own schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.addons.prometheus import PrometheusSettings
from components.diagnostics import Diagnostic, errors
from components.manifests import Manifest
from tests import promtool
from tests.unit.observability.addons import addon_of, plan_of, release
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build, compare, item, view_of
from tests.unit.traffic.schemas import faults_of_object

API = "monitoring.coreos.com/v1"
TRAFFIC = {"reviews": {"split": {"v1": 90, "v2": 10}, "slo": {"success": 99.9}}}
CHOSEN: Mapping[str, Any] = {"enabled": True, "mode": "operator", "operator": {"labels": {"release": "kps"}}}
CRDS = [
    item("CustomResourceDefinition", {"name": f"{name}.monitoring.coreos.com"})
    for name in ("podmonitors", "prometheusrules")
]


def server(**spec: Any) -> Manifest:
    """A Prometheus of the operator that reads all namespaces, and what has the label `release: kps`."""
    chosen = {"matchLabels": {"release": "kps"}}
    every = {"podMonitorSelector": chosen, "ruleSelector": chosen}
    every |= {"podMonitorNamespaceSelector": {}, "ruleNamespaceSelector": {}}
    return item("Prometheus", {"name": "kps", "namespace": "monitoring"}, spec={**every, **spec})


def objects(mesh: str, kind: str) -> list[Manifest]:
    plan = plan_of({"mesh": mesh, "traffic": TRAFFIC, "prometheus": CHOSEN})
    return [one for one in addon_of(plan, "prometheus").objects if one["kind"] == kind]


def checked(*live: Manifest, **keys: Any) -> list[Diagnostic]:
    """Return what the check finds on a cluster with some objects."""
    chosen = raw(**dict[str, Any]({"traffic": TRAFFIC, "prometheus": CHOSEN, **keys}))
    found = compare(chosen, view_of(*live))[2]
    return [one for one in found if one.code in ("MSH631", "MSH632", "MSH633")]


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_every_object_is_of_the_operators_schema_and_has_the_labels_that_are_asked_for(mesh: str) -> None:
    made = [*objects(mesh, "PodMonitor"), *objects(mesh, "PrometheusRule")]
    assert made
    for one in made:
        assert faults_of_object(one) == []
        assert one["metadata"]["labels"]["release"] == "kps"
        assert one["metadata"]["namespace"] == "prometheus"


def test_nothing_is_installed_and_nothing_is_opened() -> None:
    plan = plan_of({"traffic": TRAFFIC, "prometheus": CHOSEN})
    addon = addon_of(plan, "prometheus")
    assert addon.release is None
    assert addon.dashboard == {}
    assert {one["kind"] for one in addon.objects} == {"PodMonitor", "PrometheusRule"}
    assert all(one["name"] != "prometheus" for one in plan.releases)
    assert set(addon.namespace["labels"]) == {"pod-security.kubernetes.io/enforce"}


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_the_rules_are_those_of_the_chart(mesh: str, tmp_path: Path) -> None:
    chart = plan_of({"mesh": mesh, "traffic": TRAFFIC, "prometheus": {"enabled": True}})
    files = release(chart, "prometheus")["values"]["serverFiles"]
    expected = [*files["recording_rules.yml"]["groups"], *files["alerting_rules.yml"]["groups"]]
    made = objects(mesh, "PrometheusRule")
    groups = [group for one in made for group in one["spec"]["groups"]]
    assert groups == expected
    assert [one["metadata"]["name"] for one in made] == [group["name"] for group in groups]
    promtool.check(tmp_path, yaml.safe_load(yaml.safe_dump(groups)))


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_a_monitor_relabels_and_limits_as_the_job_of_the_chart(mesh: str) -> None:
    chart = plan_of({"mesh": mesh, "traffic": TRAFFIC, "prometheus": {"enabled": True, "kubeStateMetrics": False}})
    jobs = {
        name: job
        for name, job in release(chart, "prometheus")["values"]["scrapeConfigs"].items()
        if job["enabled"] and name.startswith("meshup-")
    }
    made = {one["metadata"]["name"]: one["spec"] for one in objects(mesh, "PodMonitor")}
    assert made.keys() == jobs.keys()
    for name, job in jobs.items():
        (endpoint,) = made[name]["podMetricsEndpoints"]
        assert made[name]["sampleLimit"] == job["sample_limit"]
        assert made[name]["labelLimit"] == job["label_limit"]
        assert endpoint["honorLabels"] is False
        assert endpoint["path"] == job["metrics_path"]
        *own, last = endpoint["relabelings"]
        assert [list(one.values()) for one in own] == [list(one.values()) for one in job["relabel_configs"]]
        assert (last["targetLabel"], last["replacement"]) == ("job", name)
        names = job["kubernetes_sd_configs"][0].get("namespaces", {}).get("names")
        assert made[name]["namespaceSelector"] == ({"matchNames": names} if names else {"any": True})


def test_the_address_of_the_operators_prometheus_can_be_told_to_others() -> None:
    url = "http://kps-prometheus.monitoring.svc:9090"
    made, found = build(raw(prometheus={**CHOSEN, "url": url}))
    assert made is not None
    assert not errors(found)
    for chosen, expected in (({**CHOSEN, "url": url}, url), (CHOSEN, None)):
        address = PrometheusSettings.of(dict(chosen)).address()
        assert (address and address.url) == expected


def test_an_operator_that_is_not_there_is_reported_once() -> None:
    (fault,) = checked()
    assert (fault.code, fault.path, fault.severity) == ("MSH631", "meshup:prometheus.mode", "error")


def test_objects_that_no_prometheus_selects_are_reported_with_what_it_selects() -> None:
    assert checked(*CRDS, server()) == []
    assert checked(*CRDS) == []
    (fault,) = checked(*CRDS, server(ruleSelector={"matchLabels": {"role": "alert-rules"}}))
    assert (fault.code, fault.severity) == ("MSH633", "warning")
    assert "PrometheusRule" in fault.message
    assert "{role: alert-rules}" in fault.allowed
    # Without selectors of namespaces it reads its own alone, and without one of objects none.
    assert checked(*CRDS, server(podMonitorNamespaceSelector=None))
    assert checked(*CRDS, server(podMonitorSelector=None))
    chosen = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["prometheus"]}]}
    assert checked(*CRDS, server(ruleNamespaceSelector=chosen)) == []


def test_an_operator_that_nobody_asked_for_is_mentioned_unless_the_mode_is_written() -> None:
    (fault,) = checked(*CRDS, prometheus={"enabled": True})
    assert (fault.code, fault.severity) == ("MSH632", "info")
    assert checked(*CRDS, prometheus={"enabled": True, "mode": "chart"}) == []
    assert checked(*CRDS, prometheus=None) == []


@pytest.mark.parametrize(
    ("chosen", "keys"),
    [
        (
            {**CHOSEN, "retention": "3d", "kubeStateMetrics": False, "values": {}},
            ["retention", "kubeStateMetrics", "values"],
        ),
        ({"enabled": True, "operator": {"labels": {}}, "serviceAccount": "a/b"}, ["operator", "serviceAccount"]),
        ({**CHOSEN, "serviceAccount": "a/b", "metrics": "auto"}, []),
        ({"serviceAccount": "a/b", "url": "http://p.monitoring:9090"}, []),
    ],
    ids=["of the chart", "of the operator", "of both", "of neither"],
)
def test_a_setting_of_the_other_mode_is_refused(chosen: Mapping[str, Any], keys: list[str]) -> None:
    found = [one.path for one in errors(build(raw(prometheus=dict(chosen)))[1])]
    assert sorted(found) == sorted(f"meshup:prometheus.{key}" for key in keys)


def test_a_label_that_kubernetes_refuses_is_refused() -> None:
    chosen = {**CHOSEN, "operator": {"labels": {"release": "two words"}}}
    assert [one.path for one in errors(build(raw(prometheus=chosen))[1])] == [
        "meshup:prometheus.operator.labels.release"
    ]
