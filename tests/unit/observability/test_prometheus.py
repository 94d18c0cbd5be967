"""Prometheus as an add-on of a stack: values of its chart, the rules in it, and who may read it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from components.diagnostics import errors
from components.helm import HelmRelease
from stacks.plan import Plan
from tests import promtool
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

PATHS = json.loads((Path(__file__).parents[2] / "facts" / "prometheus-paths.json").read_text())["paths"]
"""The value paths of the chart prometheus 29.27.0, with their types, as its values.yaml has them."""
FREE = ("scrapeConfigs.meshup-", "serverFiles.", "server.resources.", "server.containerSecurityContext.")
FREE_TOO = ("configmapReload.prometheus.containerSecurityContext.",)
"""Mappings of the chart whose keys are free."""


def plan_of(keys: Mapping[str, Any]) -> Plan:
    """Return the plan of a stack with some keys of the configuration, whatever is worth knowing of it."""
    made, diagnostics = build(raw(**dict(keys)))
    assert made is not None, diagnostics
    return made


def release(plan: Plan) -> HelmRelease:
    return next(item for item in plan.releases if item["name"] == "prometheus")


def paths(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values by dotted path; a mapping of the chart's own ends a path."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and PATHS.get(path, {}).get("type") != "map":
            found |= paths(cast("dict[str, Any]", value), f"{path}.")
        else:
            found[path] = value
    return found


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_every_value_is_one_of_the_chart_and_of_its_type(mesh: str) -> None:
    chosen = {"enabled": True, "storage": "20Gi", "retention": "30d"}
    plan = plan_of({"mesh": mesh, "apps": ["bookinfo"], "prometheus": chosen})
    types = {"string": str, "bool": bool, "int": int, "map": dict, "list": list}
    for path, value in paths(release(plan)["values"]).items():
        if path.startswith((*FREE, *FREE_TOO)):
            continue
        assert path in PATHS, path
        assert isinstance(value, types[PATHS[path]["type"]]), path


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_the_rules_of_the_routes_are_in_the_chart_and_accepted(mesh: str, tmp_path: Path) -> None:
    traffic = {"reviews": {"split": {"v1": 90, "v2": 10}, "slo": {"success": 99.9}}}
    plan = plan_of({"mesh": mesh, "apps": ["bookinfo"], "traffic": traffic, "prometheus": {"enabled": True}})
    files = release(plan)["values"]["serverFiles"]
    groups = [*files["recording_rules.yml"]["groups"], *files["alerting_rules.yml"]["groups"]]
    names = {rule.get("record") or rule["alert"] for group in groups for rule in group["rules"]}
    assert {"meshup:split:share", "MeshupErrorBudgetBurn", "MeshupCanaryWorse"} <= names
    promtool.check(tmp_path, groups)


def test_of_the_charts_own_jobs_only_that_of_prometheus_itself_is_on() -> None:
    plan = plan_of({"apps": ["bookinfo"], "prometheus": {"enabled": True}})
    jobs = release(plan)["values"]["scrapeConfigs"]
    own = {path.split(".")[1] for path in PATHS if path.startswith("scrapeConfigs.")}
    off = {name for name, job in jobs.items() if not job["enabled"]}
    assert off == own - {"prometheus"}
    assert {name for name, job in jobs.items() if job["enabled"]} == {
        "meshup-istio-proxies",
        "meshup-istio-agents",
        "meshup-istiod",
        "meshup-kube-state-metrics",
    }


def test_prometheus_is_in_the_mesh_where_proxies_show_metrics_to_the_mesh_only() -> None:
    for mesh, joined in (("istio", False), ("linkerd", True)):
        plan = plan_of({"mesh": mesh, "prometheus": {"enabled": True}})
        addon = next(item for item in plan.addons if item.name == "prometheus")
        assert ("linkerd.io/inject" in addon.namespace.get("annotations", {})) is joined


def test_only_its_own_namespace_and_named_ones_may_read_it() -> None:
    plan = plan_of({"prometheus": {"enabled": True, "readers": ["grafana"]}})
    addon = next(item for item in plan.addons if item.name == "prometheus")
    (policy,) = addon.objects
    names = [one["namespaceSelector"]["matchLabels"] for one in policy["spec"]["ingress"][0]["from"]]
    assert [next(iter(name.values())) for name in names] == ["grafana", "prometheus"]
    assert policy["metadata"]["namespace"] == "prometheus"


def test_a_repository_of_the_meshs_charts_is_not_asked_for_prometheus() -> None:
    charts = {"repository": "https://charts.example.com/istio"}
    found = release(plan_of({"charts": charts, "prometheus": {"enabled": True}}))
    assert found.get("repository") == "https://prometheus-community.github.io/helm-charts"
    chosen = {"enabled": True, "repository": "https://charts.example.com/prometheus"}
    assert release(plan_of({"prometheus": chosen})).get("repository") == chosen["repository"]


def test_metrics_that_the_mesh_does_not_have_are_refused() -> None:
    (fault,) = errors(build(raw(mesh="linkerd", prometheus={"enabled": True, "metrics": "envoy"}))[1])
    assert (fault.code, fault.path) == ("MSH603", "meshup:prometheus.metrics")


def kept_by(plan: Plan) -> list[str]:
    """The names of Envoy's statistics that the proxies of a plan keep, as regular expressions."""
    istiod = next(item for item in plan.releases if item["name"] == "istiod")
    config = istiod["values"].get("meshConfig", {}).get("defaultConfig", {})
    return config.get("proxyStatsMatcher", {}).get("inclusionRegexps", [])


def test_the_proxies_keep_envoys_statistics_where_the_rules_read_them_and_nowhere_else() -> None:
    split = {"reviews": {"split": {"v1": 90, "v2": 10}}}
    plan = plan_of({"apps": ["bookinfo"], "traffic": split, "prometheus": {"metrics": "envoy", "enabled": True}})
    files = release(plan)["values"]["serverFiles"]
    cluster = "cluster.outbound|9080|v1|reviews.bookinfo.svc.cluster.local;"
    names = {
        # One series for codes and their classes.
        "envoy_cluster_upstream_rq": ("upstream_rq_200", "upstream_rq_2xx"),
        "envoy_cluster_upstream_rq_time_bucket": ("upstream_rq_time",),
    }
    read = set(re.findall(r"envoy_cluster_[a-z_]+", json.dumps(files)))
    assert names.keys() < read
    for series in read:
        for statistic in names.get(series, (series.removeprefix("envoy_cluster_"),)):
            name = f"{cluster}.{statistic.replace('outlier_detection_', 'outlier_detection.')}"
            assert any(re.fullmatch(pattern, name) for pattern in kept_by(plan)), name
    assert kept_by(plan_of({"prometheus": {"metrics": "envoy"}})) == kept_by(plan)
    for metrics in ("auto", "istio"):
        assert not kept_by(plan_of({"prometheus": {"enabled": True, "metrics": metrics}}))


def test_without_it_nothing_is_planned() -> None:
    assert not plan_of({"apps": ["bookinfo"]}).addons
