import re
from typing import Any, get_args

import pytest
import yaml

from components.meshes.istio import component as istio
from components.meshes.istio.settings import IstioArgs
from tests.unit.components.charts import chart, defaults, file, paths

EVERYTHING: dict[str, Any] = {
    "version": "1.30.3",
    "namespace": "mesh",
    "gateway_namespace": "edge",
    "revision": "canary",
    "profile": "demo",
    "autoscaling": {"min": 2, "max": 5, "cpu": 70},
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    "proxy_resources": {"requests": {"cpu": "10m"}},
    "access_log": "json",
    "trace_sampling": 5,
    "egress": "registry-only",
    "hub": "example.invalid/istio",
    "tag": "1.30.3",
    "envoy_statistics": True,
    "image_pull_secrets": ["pull"],
    "gateways": [
        {"name": "istio-ingress", "service_type": "ClusterIP", "autoscaling": {"min": 2, "max": 3, "cpu": 70}},
        {"name": "istio-egress", "replicas": 2, "resources": {"requests": {"cpu": "1"}}},
    ],
}
# Free-form in the chart: what is below is Istio's or Kubernetes' own, not the chart's.
FREE = {
    "resources",
    "meshConfig",
    "global.proxy.resources",
    "seccompProfile",
    "podDisruptionBudget",
    "imagePullSecrets",
}


def values(args: dict[str, Any], role: str) -> dict[str, Any]:
    return next(item["values"] for item in istio.releases(IstioArgs.of(args)) if item["role"] == role)


def lookup(tree: dict[str, Any], path: str) -> bool:
    for key in path.split("."):
        if key not in tree:
            return False
        tree = tree[key] if isinstance(tree[key], dict) else {}
    return True


def chart_path(path: str) -> str:
    return next((free for free in FREE if path == free or path.startswith(free + ".")), path)


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(
    ("name", "role"),
    [("base", "base"), ("istiod", "istiod"), ("gateway", "gateway-istio-ingress"), ("gateway", "gateway-istio-egress")],
)
def test_every_value_that_is_set_is_one_of_the_charts_own(name: str, role: str, fixed: bool) -> None:
    args: dict[str, Any] = EVERYTHING
    if fixed:
        kept = {key: value for key, value in EVERYTHING.items() if key != "autoscaling"}
        args = kept | {"replicas": 3}
    if not role.startswith("gateway"):
        args = {**args, "webhooks": False, "gateways": []}
    known = defaults(name)
    unknown = [path for path in paths(values(args, role)) if path != "profile" and not lookup(known, chart_path(path))]
    assert unknown == []


@pytest.mark.parametrize("profile", get_args(IstioArgs.model_fields["profile"].annotation))
@pytest.mark.parametrize("name", ["base", "istiod"])
def test_a_profile_is_passed_on_only_if_the_chart_has_it(profile: str, name: str) -> None:
    passed = values({"version": "1.30.3", "profile": profile}, name).get("profile")
    there = (chart(name) / "files" / f"profile-{profile}.yaml").is_file()
    assert passed == (profile if there else None)


def test_mesh_config_is_written_in_the_fields_of_istios_own_api() -> None:
    text = file("mesh/v1alpha1/config.pb.go", "istio.io/api").read_text(encoding="utf-8")
    fields = set(re.findall(r"json=(\w+),proto3", text)) | set(re.findall(r"protobuf:\"[^\"]*name=(\w+)", text))
    config = values(EVERYTHING, "istiod")["meshConfig"]
    assert {*config, *config["outboundTrafficPolicy"]} <= fields
    proxy = file("mesh/v1alpha1/proxy.pb.go", "istio.io/api").read_text(encoding="utf-8")
    known = set(re.findall(r"json=(\w+),proto3", proxy))
    assert {*config["defaultConfig"], *config["defaultConfig"]["proxyStatsMatcher"]} <= known
    assert f'"{config["outboundTrafficPolicy"]["mode"]}"' in text
    assert f'"{config["accessLogEncoding"]}"' in text


def test_the_objects_that_are_said_to_stay_are_those_that_the_chart_keeps() -> None:
    text = (chart("base") / "files" / "crd-all.gen.yaml").read_text(encoding="utf-8")
    documents = [document for document in yaml.safe_load_all(text) if document]
    kept = [d for d in documents if d["metadata"]["annotations"].get("helm.sh/resource-policy") == "keep"]
    assert sorted(document["metadata"]["name"] for document in kept) == list(istio.CRDS)


def test_base_comes_first_then_istiod_then_the_gateways() -> None:
    assert [release["name"] for release in istio.releases(IstioArgs.of(EVERYTHING))] == [
        "istio-base",
        "istiod-canary",
        "istio-ingress",
        "istio-egress",
    ]


def test_two_replicas_bring_a_disruption_budget_to_gateways() -> None:
    two, one = {"name": "a", "replicas": 2}, {"name": "a", "replicas": 1}
    assert values({"version": "1.30.3", "gateways": [two]}, "gateway-a")["podDisruptionBudget"] == {"minAvailable": 1}
    assert "podDisruptionBudget" not in values({"version": "1.30.3", "gateways": [one]}, "gateway-a")


def test_raw_values_are_merged_last() -> None:
    args: dict[str, Any] = {
        "version": "1.30.3",
        "egress": "registry-only",
        "values": {"istiod": {"meshConfig": {"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}, "trustDomain": "td"}}},
    }
    config = values(args, "istiod")["meshConfig"]
    assert config["outboundTrafficPolicy"]["mode"] == "ALLOW_ANY"
    assert config["trustDomain"] == "td"
    assert config["accessLogFile"] == ""


def test_the_validator_of_a_revision_is_that_revision() -> None:
    assert values({"version": "1.30.3", "revision": "canary"}, "base")["defaultRevision"] == "canary"
    assert "defaultRevision" not in values({"version": "1.30.3"}, "base")


def test_webhooks_are_left_out_by_the_charts_own_switches() -> None:
    args: dict[str, Any] = {"version": "1.30.3", "webhooks": False}
    assert values(args, "base")["defaultRevision"] == ""
    assert values(args, "istiod")["global"]["operatorManageWebhooks"] is True
    assert values(args, "istiod")["global"]["configValidation"] is False


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, ("base", istio.REPOSITORY)),
        ({"directory": "/charts/"}, ("/charts/base", None)),
        ({"repository": "oci://example.invalid/charts"}, ("oci://example.invalid/charts/base", None)),
        ({"repository": "https://example.invalid/charts"}, ("base", "https://example.invalid/charts")),
    ],
)
def test_charts_come_from_where_the_stack_says(source: Any, expected: tuple[str, str | None]) -> None:
    base = istio.releases(IstioArgs.of({"version": "1.30.3", "charts": source}))[0]
    assert (base["chart"], base.get("repository")) == expected
