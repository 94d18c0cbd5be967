"""Services of somebody else on a cluster of plain data, against the routes that name them."""

from typing import Any

import pytest

from components.diagnostics import Diagnostic
from components.manifests import Manifest
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import compare, item, view_of

SHOP: dict[str, Any] = {
    "namespace": "shop",
    "ports": [{"number": 80, "protocol": "http", "targetPort": 8080}],
    "selector": {"app": "shop"},
    "versions": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
    "split": {"v1": 90, "v2": 10},
}
MEMBER = {
    "istio": {"labels": {"istio-injection": "enabled"}},
    "linkerd": {"annotations": {"linkerd.io/inject": "enabled"}},
}


def namespace(name: str = "shop", mesh: str = "istio") -> Manifest:
    return item("Namespace", {"name": name, **MEMBER.get(mesh, {})})


def service(name: str = "shop", metadata: dict[str, Any] | None = None, **spec: Any) -> Manifest:
    port = {"port": 80, "name": "http", "targetPort": 8080, "protocol": "TCP"}
    body = {"selector": {"app": "shop"}, "ports": [port], "clusterIP": "10.96.0.7", "type": "ClusterIP"} | spec
    return item("Service", {"name": name, "namespace": "shop", **(metadata or {})}, spec=body)


def pod(version: str, *, ready: bool = True, labels: dict[str, str] | None = None, **more: Any) -> Manifest:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    metadata = {"name": f"shop-{version}", "namespace": "shop", "labels": labels or {"app": "shop", "version": version}}
    containers = [{"name": "app", "ports": [{"name": "web", "containerPort": 8080}]}]
    return item("Pod", metadata | more, spec={"containers": containers}, status=status)


PODS = (pod("v1"), pod("v2"))


def found(*live: Manifest, route: dict[str, Any] | None = None, mesh: str = "istio") -> list[Diagnostic]:
    """The diagnostics of a stack with one route, without those that a route has without a cluster."""
    config = raw(mesh=mesh, apps=[], traffic={"shop": route or SHOP})
    return [fault for fault in compare(config, view_of(*live))[2] if "MSH171" <= fault.code <= "MSH180"]


def codes(*live: Manifest, route: dict[str, Any] | None = None, mesh: str = "istio") -> list[str]:
    return [fault.code for fault in found(*live, route=route, mesh=mesh)]


def ports(**port: Any) -> list[dict[str, Any]]:
    return [{"port": 80, "targetPort": 8080} | port]


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_what_agrees_is_not_reported(mesh: str) -> None:
    assert found(namespace(mesh=mesh), service(), *PODS, mesh=mesh) == []


def test_services_of_the_stack_itself_are_not_looked_up() -> None:
    assert compare(raw(), view_of())[2] == []


def test_a_missing_service_is_named_with_the_nearest() -> None:
    (fault,) = found(namespace(), service("shopp"))
    assert (fault.code, fault.severity, fault.path) == ("MSH171", "warning", "meshup:traffic.shop")
    assert fault.remedy == "Did you mean 'shopp'?"


def test_a_missing_namespace_is_refused_for_its_objects_could_not_be_made() -> None:
    (fault,) = found(namespace("shops"))
    assert (fault.code, fault.severity, fault.remedy) == ("MSH172", "error", "Did you mean 'shops'?")


def test_a_namespace_that_the_stack_makes_need_not_be_there() -> None:
    route = SHOP | {"namespace": "bookinfo"}
    diagnostics = compare(raw(traffic={"shop": route}), view_of())[2]
    assert diagnostics == []


def test_a_namespace_outside_of_the_mesh_is_said_once() -> None:
    config = raw(apps=[], traffic={"shop": SHOP, "other": SHOP})
    live = (namespace(mesh=""), service(), service("other"), *PODS)
    assert [fault.code for fault in compare(config, view_of(*live))[2]] == ["MSH173"]


def test_a_namespace_that_joins_with_this_stack_or_another_revision_is_in_the_mesh() -> None:
    live = (service(), *PODS)
    config = raw(apps=[], traffic={"shop": SHOP}, namespaces={"shop": {}})
    assert {fault.code for fault in compare(config, view_of(namespace(mesh=""), *live))[2]} == {"MSH046"}
    tagged = item("Namespace", {"name": "shop", "labels": {"istio.io/rev": "canary"}})
    assert codes(tagged, *live) == []
    makes = raw(apps=[], traffic={"shop": SHOP}, namespaces={"shop": {"create": True}})
    assert compare(makes, view_of())[2] == []


def test_a_port_that_the_service_does_not_have_is_refused_with_those_that_it_has() -> None:
    (fault,) = found(namespace(), service(ports=ports(port=8000, name="http-web")), *PODS)
    assert (fault.code, fault.severity, fault.value) == ("MSH174", "error", 80)
    assert fault.path == "meshup:traffic.shop.ports[0].number"
    assert fault.allowed == "one of 8000 http-web"
    assert "UDP" in found(namespace(), service(ports=ports(protocol="UDP")), *PODS)[0].message


@pytest.mark.parametrize(
    ("port", "mesh", "expected"),
    [
        ({"name": "http-web"}, "istio", []),
        ({"name": "grpc-web"}, "istio", ["MSH174"]),
        ({"name": "web", "appProtocol": "kubernetes.io/ws"}, "istio", []),
        ({"name": "http", "appProtocol": "tcp"}, "istio", ["MSH174", "MSH175"]),
        ({"name": "tcp"}, "istio", ["MSH174", "MSH175"]),
        ({"name": "redis-a"}, "istio", ["MSH174", "MSH175"]),
        ({"name": "web"}, "istio", ["MSH176"]),
        ({}, "istio", ["MSH176"]),
        ({}, "linkerd", []),
        ({"name": "http", "appProtocol": "mine"}, "linkerd", ["MSH175"]),
        ({"appProtocol": "http"}, "linkerd", []),
    ],
)
def test_a_port_that_the_mesh_does_not_read_as_http(port: dict[str, Any], mesh: str, expected: list[str]) -> None:
    assert codes(namespace(mesh=mesh), service(ports=ports(**port)), *PODS, mesh=mesh) == expected


@pytest.mark.parametrize(
    ("number", "annotation", "app_protocol", "settings", "expected"),
    [
        (80, None, None, {}, []),
        (3306, None, None, {}, ["MSH175"]),
        (3306, "", None, {}, []),
        (3306, None, "http", {}, []),
        (80, "79-81", None, {}, ["MSH175"]),
        (80, "8080, web", None, {}, []),
        (80, None, None, {"opaquePorts": "80"}, ["MSH175"]),
        (3306, None, None, {"values": {"control-plane": {"proxy": {"opaquePorts": "80"}}}}, []),
    ],
)
def test_opaque_ports_of_linkerd(
    number: int, annotation: str | None, app_protocol: str | None, settings: dict[str, Any], expected: list[str]
) -> None:
    route = {"namespace": "shop", "port": number, "selector": {"app": "shop"}, "rules": [{"timeout": "2s"}]}
    metadata = {} if annotation is None else {"annotations": {"config.linkerd.io/opaque-ports": annotation}}
    port = {"port": number} | ({"appProtocol": app_protocol} if app_protocol else {})
    view = view_of(namespace(mesh="linkerd"), service(metadata=metadata, ports=[port]))
    diagnostics = compare(raw(mesh="linkerd", apps=[], linkerd=settings, traffic={"shop": route}), view)[2]
    assert [fault.code for fault in diagnostics] == expected


@pytest.mark.parametrize(
    ("target", "mesh", "expected"),
    [
        (9090, "linkerd", ["MSH174"]),
        (9090, "istio", []),
        ("web", "linkerd", []),
        ("other", "linkerd", []),
    ],
)
def test_the_port_of_the_pods_matters_where_an_object_names_it(
    target: int | str, mesh: str, expected: list[str]
) -> None:
    live = (namespace(mesh=mesh), service(ports=ports(name="http", targetPort=target)), *PODS)
    assert codes(*live, mesh=mesh) == expected


def test_istio_takes_ports_of_server_first_protocols_for_tcp_unless_they_say_otherwise() -> None:
    route = {"namespace": "shop", "port": 3306, "selector": {"app": "shop"}, "rules": [{"timeout": "2s"}]}
    assert codes(namespace(), service(ports=[{"port": 3306}]), route=route) == ["MSH175"]
    assert codes(namespace(), service(ports=[{"port": 3306, "name": "http"}]), route=route) == []


def test_on_istio_a_rate_limit_needs_the_port_of_the_pods() -> None:
    route = SHOP | {"rateLimit": {"requests": 10}}
    (fault,) = found(namespace(), service(ports=ports(name="http", targetPort=9090)), *PODS, route=route)
    assert "targetPort: 9090" in fault.remedy


def test_another_selector_is_refused() -> None:
    (fault,) = found(namespace(), service(selector={"app": "shop", "tier": "web"}), *PODS)
    assert (fault.code, fault.path, fault.allowed) == ("MSH177", "meshup:traffic.shop.selector", "app=shop, tier=web")


def test_a_selector_that_no_version_can_meet_is_refused() -> None:
    route = {key: value for key, value in SHOP.items() if key != "selector"}
    faults = found(namespace(), service(selector={"version": "v1"}), *PODS, route=route)
    assert [(fault.code, fault.path) for fault in faults] == [("MSH177", "meshup:traffic.shop.split.v2")]


def test_an_external_name_and_a_headless_service_that_the_mesh_does_not_route_are_refused() -> None:
    assert codes(namespace(), service(type="ExternalName")) == ["MSH178"]
    assert codes(namespace(), service(clusterIP="None"), *PODS) == []
    assert codes(namespace(mesh="linkerd"), service(clusterIP="None"), *PODS, mesh="linkerd") == ["MSH178"]
    assert codes(namespace(), service(), *PODS, route=SHOP | {"headless": True}) == ["MSH178"]


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ((pod("v1"),), "No pod has the labels"),
        ((pod("v1"), pod("v2", ready=False)), "is ready"),
        ((pod("v1"), pod("v2", labels={"app": "other", "version": "v2"})), "does not select them"),
        ((pod("v1"), pod("v2", deletionTimestamp="2026-11-28T08:00:00Z")), "No pod has the labels"),
    ],
)
def test_a_version_that_can_not_answer_is_said(pods: tuple[Manifest, ...], said: str) -> None:
    (fault,) = found(namespace(), service(), *pods)
    assert (fault.code, fault.severity, fault.path) == ("MSH179", "warning", "meshup:traffic.shop.split.v2")
    assert said in fault.message
    assert found(namespace(), service(), *pods, route=SHOP | {"split": {"v1": 100, "v2": 0}}) == []


def test_pods_of_no_version_are_said() -> None:
    (fault,) = found(namespace(), service(), *PODS, pod("v3"), pod("v3"))
    assert (fault.code, fault.severity, fault.value) == ("MSH180", "info", "version=v3")
    assert "2 pods" in fault.message


def test_other_services_behind_a_rule_are_looked_up_too() -> None:
    to_cart = [{"version": "v1", "weight": 50}, {"service": "cart", "weight": 50}]
    cart = {"namespace": "shop", "ports": [{"number": 81}], "rules": [{"timeout": "1s"}]}
    config = raw(apps=[], traffic={"shop": SHOP | {"split": to_cart}, "cart": cart})
    diagnostics = compare(config, view_of(namespace(), service(), *PODS))[2]
    assert [(fault.code, fault.value) for fault in diagnostics] == [("MSH171", "cart")]


def test_with_lists_that_can_not_be_read_nothing_is_said_of_services() -> None:
    view = view_of(namespace(), service(), refused=["Pod"])
    assert [fault.code for fault in compare(raw(apps=[], traffic={"shop": SHOP}), view)[2]] == ["MSH024"]


@pytest.mark.parametrize(
    ("mesh", "name", "expected"),
    [("istio", "http-metrics", ["MSH174"]), ("istio", "tcp-metrics", []), ("linkerd", "http-metrics", [])],
)
def test_rules_that_hold_for_ports_that_nobody_has_declared_are_reported(
    mesh: str, name: str, expected: list[str]
) -> None:
    listed = [*ports(name="http"), {"port": 9090, "name": name}]
    diagnostics = found(namespace(mesh=mesh), service(ports=listed), *PODS, mesh=mesh)
    assert [fault.code for fault in diagnostics] == expected
    declared = [*SHOP["ports"], {"number": 9090, "protocol": "http" if name.startswith("http") else "tcp"}]
    both = {**SHOP, "port": 80, "ports": declared}
    assert found(namespace(mesh=mesh), service(ports=listed), *PODS, mesh=mesh, route=both) == []
