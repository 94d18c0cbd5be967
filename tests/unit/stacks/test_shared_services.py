"""Services that this stack and somebody else route."""

from typing import Any

import pytest

from stacks.ownership import ANNOTATION
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import compare, item, view_of

Json = dict[str, Any]
HOST = "reviews.bookinfo.svc.cluster.local"
TEAM = "organization/meshup/team"


def virtual_service(*hosts: str, namespace: str = "bookinfo", owner: str = "", **spec: Any) -> Json:
    return of("VirtualService", {"hosts": list(hosts), **spec}, namespace=namespace, owner=owner)


def of(kind: str, spec: Json, *, name: str = "theirs", namespace: str = "bookinfo", owner: str = "") -> Json:
    metadata: Json = {"name": name, "namespace": namespace}
    if owner:
        metadata["annotations"] = {ANNOTATION: owner}
    return item(kind, metadata, spec=spec)


def route(kind: str = "HTTPRoute", owner: str = "", **parent: Any) -> Json:
    reference = {"kind": "Service", "group": "", "name": "reviews", **parent}
    return of(kind, {"parentRefs": [reference]}, owner=owner)


def said(live: Json, mesh: str = "istio", api: str = "auto") -> list[tuple[str, str]]:
    rules: Json = {"rules": [{"timeout": "2s"}]} if api == "service-profile" else {"split": {"v1": 90, "v2": 10}}
    config = raw(mesh=mesh, traffic={"reviews": {"namespace": "bookinfo", "api": api, **rules}})
    diagnostics = compare(config, view_of(live))[2]
    # A fake cluster has one list for both kinds of HTTPRoute.
    return sorted({(fault.code, fault.severity) for fault in diagnostics if fault.code.startswith("MSH05")})


REFUSED, WARNED = [("MSH056", "error")], [("MSH056", "warning")]


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (virtual_service(HOST), REFUSED),
        (virtual_service("reviews"), REFUSED),
        (virtual_service("details", HOST, namespace="elsewhere"), REFUSED),
        (virtual_service(HOST, gateways=["public", "mesh"]), REFUSED),
        (virtual_service("reviews", namespace="elsewhere"), []),
        (virtual_service("details"), []),
        (virtual_service(HOST, gateways=["public"]), []),
        (virtual_service(HOST, owner=TEAM), [("MSH055", "error")]),
        # The object of a former configuration goes in this run.
        (virtual_service(HOST, owner="organization/meshup/dev"), []),
        (route(), REFUSED),
        (route(namespace="elsewhere"), []),
        (route(kind="Gateway", group="gateway.networking.k8s.io"), []),
        (of("DestinationRule", {"host": HOST}), WARNED),
        (of("DestinationRule", {"host": HOST}, owner=TEAM), [("MSH055", "error")]),
    ],
)
def test_of_two_objects_for_a_service_istio_follows_one(live: Json, expected: list[tuple[str, str]]) -> None:
    assert said(live) == expected


def test_routes_of_one_kind_of_the_gateway_api_hold_side_by_side() -> None:
    assert said(route(), api="gateway-api") == WARNED
    assert said(route(owner=TEAM), api="gateway-api") == [("MSH055", "error")]
    assert said(route("GRPCRoute"), api="gateway-api") == REFUSED
    assert said(virtual_service(HOST), api="gateway-api") == REFUSED


def test_a_service_profile_switches_routes_off_for_all_or_for_the_clients_of_a_namespace() -> None:
    assert said(of("ServiceProfile", {}, name=HOST), "linkerd") == REFUSED
    assert said(of("ServiceProfile", {}, name=HOST, namespace="client"), "linkerd") == WARNED
    assert said(route(), "linkerd", "service-profile") == REFUSED
    assert said(route(), "linkerd") == WARNED
