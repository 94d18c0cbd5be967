"""What a Linkerd stack plans, from configuration alone."""

import contextlib
import urllib.error
import urllib.request
from email.message import Message
from typing import Any

import pytest

from components.meshes import MESHES
from stacks import settings
from stacks.charts import unreachable
from stacks.cluster import ClusterView
from stacks.outputs import outputs
from stacks.plan import Plan
from stacks.settings import RawConfig
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import FakeCluster, build, planned


def made(**keys: Any) -> Plan:
    return planned(linkerd(**keys))


def linkerd(**keys: Any) -> RawConfig:
    wanted: dict[str, Any] = {"mesh": "linkerd", **keys}
    return raw(**wanted)


def test_the_same_traffic_compiles_for_both_meshes() -> None:
    for mesh, kinds in (
        ("istio", ["DestinationRule", "VirtualService"]),
        ("linkerd", ["HTTPRoute", "Service", "Service", "Service"]),
    ):
        plan = made(mesh=mesh)
        assert sorted(item["kind"] for item in plan.traffic.manifests) == kinds
        assert plan.traffic.summaries["reviews"]["rules"][0]["backends"] == [
            {"name": "v1", "weight": 90},
            {"name": "v2", "weight": 10},
        ]


def test_the_outputs_have_the_same_keys_on_both_meshes() -> None:
    istio, linkerd = (outputs(made(mesh=mesh)) for mesh in ("istio", "linkerd"))
    assert set(istio) == set(linkerd)
    assert set(istio["mesh"]) <= set(linkerd["mesh"])
    assert set(istio["trafficSplits"]["reviews"]) == set(linkerd["trafficSplits"]["reviews"])


def test_the_gateway_api_is_needed_on_linkerd_and_where_a_route_is_of_its_kind() -> None:
    def missing(**keys: Any) -> list[str]:
        view = ClusterView(FakeCluster([]), "v1.36.3")
        return [fault.code for fault in build(raw(gatewayApi={"install": False}, **keys), view=view)[1]]

    assert missing(mesh="linkerd") == ["MSH313"]
    assert missing() == []
    route = {"reviews": {"namespace": "bookinfo", "api": "gateway-api", "split": {"v1": 90, "v2": 10}}}
    assert missing(traffic=route) == ["MSH313"]


def test_prod_is_highly_available_and_fails_closed() -> None:
    for environment, available in (("dev", False), ("staging", False), ("prod", True)):
        mesh = made(environment=environment).mesh
        values = mesh.releases[1]["values"]
        assert mesh.output["highAvailability"] is available
        assert values.get("controllerReplicas", 1) == (3 if available else 1)
        assert values.get("webhookFailurePolicy") == (None if environment == "dev" else "Fail")


def test_charts_and_releases_follow_what_is_switched_on() -> None:
    config = linkerd(linkerd={"cni": True, "viz": {"enabled": True}})
    plan = planned(config)
    charts = {"linkerd-crds", "linkerd-control-plane", "linkerd2-cni"}
    assert set(MESHES["linkerd"].charts(settings.load(config, "dev")[0])) == charts
    assert [item["name"] for item in plan.releases] == [
        "linkerd-crds",
        "linkerd-cni",
        "linkerd-control-plane",
        "linkerd-viz",
    ]
    made = {ref.name for ref in plan.objects() if ref.kind == "Namespace"}
    assert made >= {"linkerd", "linkerd-cni", "linkerd-viz"}
    assert set(outputs(plan)["dashboards"]) == {"linkerd-viz"}


@pytest.mark.parametrize(
    ("keys", "code", "path"),
    [
        ({"linkerd": {"version": "2024.1.1"}}, "MSH306", "meshup:linkerd.version"),
        ({"linkerd": {"version": "stable-2.14"}}, "MSH010", "meshup:linkerd.version"),
        ({"linkerd": {"webhookFailurePolicy": "Retry"}}, "MSH004", "meshup:linkerd.webhookFailurePolicy"),
        ({"linkerd": {"opaquePorts": "mysql"}}, "MSH017", "meshup:linkerd.opaquePorts"),
        ({"linkerd": {"highAvailable": True}}, "MSH002", "meshup:linkerd.highAvailable"),
        ({"linkerd": {"values": {"controlplane": {}}}}, "MSH002", "meshup:linkerd.values.controlplane"),
        ({"linkerd": {"viz": {"prometheusUrl": "http://p"}}}, "MSH319", "meshup:linkerd.viz"),
        ({"linkerd": {"namespace": "kube-system"}}, "MSH009", "meshup:linkerd.namespace"),
        ({"linkerd": {"namespace": "bookinfo"}}, "MSH009", "meshup:bookinfo.namespace"),
        ({"linkerd": {"tracing": {"endpoint": "x:1"}}}, "MSH003", "meshup:linkerd.tracing.serviceAccount"),
        ({"mesh": "linkered"}, "MSH004", "meshup:mesh"),
        ({"emojivoto": {"webVersions": {"v 1": "x"}}}, "MSH006", "meshup:emojivoto.webVersions"),
    ],
)
def test_a_wrong_setting_is_refused_with_code_and_field(keys: dict[str, Any], code: str, path: str) -> None:
    found = build(linkerd(**keys))[1]
    assert any(fault.code == code and fault.path.startswith(path) and fault.remedy for fault in found), found


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_a_repository_that_does_not_answer_is_said_before_the_first_resource(mesh: str) -> None:
    for place in ("http://127.0.0.1:9", "oci://127.0.0.1:9/charts"):
        found = unreachable(made(mesh=mesh, charts={"repository": place}).mesh.releases)
        assert [(fault.code, fault.value) for fault in found] == [("MSH318", place)]
        assert all(name in found[0].message for name in MESHES[mesh].charts(settings.load(raw(mesh=mesh), "dev")[0]))
    local = made(mesh=mesh).mesh.releases
    for release in local:
        release["chart"] = f"/charts/{release['chart']}"
        release["repository"] = ""
    assert unreachable(local) == []


@pytest.mark.parametrize(("status", "codes"), [(200, []), (401, []), (404, []), (503, ["MSH318"])])
def test_a_registry_that_wants_credentials_answers(
    monkeypatch: pytest.MonkeyPatch, status: int, codes: list[str]
) -> None:
    asked: list[str] = []

    def answer(address: str, timeout: float) -> Any:
        del timeout
        asked.append(address)
        if status == 200:
            return contextlib.nullcontext()
        raise urllib.error.HTTPError(address, status, "", Message(), None)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    plan = made(mesh="istio", charts={"repository": "oci://registry.example/a/b"})
    assert [fault.code for fault in unreachable(plan.mesh.releases)] == codes
    assert asked == ["https://registry.example/v2/"]


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_the_front_end_of_emojivoto_is_split_over_its_versions_in_any_namespace(mesh: str) -> None:
    plan = made(
        mesh=mesh,
        apps=["emojivoto"],
        emojivoto={"namespace": "votes", "webVersions": {"v11": "v11", "v12": "v12"}},
        traffic={"web-svc": {"namespace": "votes", "split": {"v11": 80, "v12": 20}}},
    )
    assert {item["metadata"]["namespace"] for item in plan.traffic.manifests} == {"votes"}
    if mesh == "linkerd":
        route = next(item for item in plan.traffic.manifests if item["kind"] == "HTTPRoute")
        assert route["spec"]["parentRefs"] == [{"group": "", "kind": "Service", "name": "web-svc", "port": 80}]
        selectors = [item["spec"]["selector"] for item in plan.traffic.manifests if item["kind"] == "Service"]
        assert {"app": "web-svc", "version": "v12"} in selectors
