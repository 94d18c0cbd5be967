"""Objects of somebody else for the same pods, on Linkerd."""

from typing import Any

import pytest

from components.manifests import Manifest, manifest
from components.meshes.linkerd.security.foreign import beside
from components.security.world import Workload, World

WORLD = World(workloads=(Workload("cart", "shop", "Deployment", "cart", ports=(("http", 8080),)),))


def made(kind: str, spec: dict[str, Any], name: str = "theirs", namespace: str = "shop") -> Manifest:
    return manifest("policy.linkerd.io/v1", kind, name, namespace, spec)


def pods(app: str = "cart", **more: Any) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app": app}}, **more}


SERVER = made("Server", pods(port=8080, accessPolicy="deny"), "cart-80")
ROUTE = made("HTTPRoute", {}, "cart-80-inbound-1")
OWN = [SERVER, ROUTE, made("EgressNetwork", {}, "meshup-egress")]


def found(kind: str, spec: dict[str, Any], namespace: str = "shop") -> list[tuple[str, str]]:
    others = [made(kind, spec, namespace=namespace)]
    return [(one.code, one.severity) for one in beside(OWN, others, WORLD)]


@pytest.mark.parametrize(
    ("spec", "is_found"),
    [
        (pods(port=8080), True),
        (pods(port="http"), True),
        ({"podSelector": {}, "port": 8080}, True),
        (pods(port=9090), False),
        (pods(port="metrics"), False),
        (pods("pay", port=8080), False),
    ],
)
def test_of_two_servers_for_a_port_linkerd_follows_the_older_one(spec: dict[str, Any], is_found: bool) -> None:
    assert found("Server", spec) == ([("MSH574", "error")] if is_found else [])
    assert found("Server", spec, "bank") == []


@pytest.mark.parametrize(
    ("kind", "name", "is_found"),
    [
        ("Server", "cart-80", True),
        ("HTTPRoute", "cart-80-inbound-1", True),
        ("Namespace", "shop", True),
        ("Server", "pay-80", False),
    ],
)
def test_authorizations_of_somebody_else_add_up_with_ours(kind: str, name: str, is_found: bool) -> None:
    spec = {"targetRef": {"kind": kind, "name": name}}
    assert found("AuthorizationPolicy", spec) == ([("MSH572", "warning")] if is_found else [])


@pytest.mark.parametrize(
    ("server", "is_found"),
    [
        ({"name": "cart-80"}, True),
        ({"selector": {"matchLabels": {"app.kubernetes.io/managed-by": "meshup"}}}, True),
        ({"name": "pay-80"}, False),
        ({"selector": {"matchLabels": {"tier": "web"}}}, False),
    ],
)
def test_so_do_those_of_the_older_kind(server: dict[str, Any], is_found: bool) -> None:
    assert found("ServerAuthorization", {"server": server}) == ([("MSH572", "warning")] if is_found else [])


def test_a_route_of_somebody_else_on_our_server_may_be_asked_in_place_of_ours() -> None:
    parent = {"group": "policy.linkerd.io", "kind": "Server", "name": "cart-80"}
    assert found("HTTPRoute", {"parentRefs": [parent]}) == [("MSH576", "warning")]
    assert found("HTTPRoute", {"parentRefs": [{"kind": "Service", "name": "cart-80"}]}) == []


def test_a_second_egress_network_of_a_namespace_is_refused() -> None:
    assert found("EgressNetwork", {}) == [("MSH574", "error")]
    assert found("EgressNetwork", {}, "bank") == []
