"""What the API server, istiod or the controller of a GatewayClass would refuse, or read in another way."""

from typing import Any

import pytest

from components.manifests import Manifest
from stacks.plan import Plan
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

HTTP = {"port": 80, "protocol": "http"}


def https(*hosts: str, **tls: str) -> dict[str, Any]:
    return {"port": 443, "protocol": "https", "hosts": list(hosts), "tls": {"secret": "a", **tls}}


def many(count: int) -> list[str]:
    return [f"h{number}.example.com" for number in range(count)]


def planned(gateways: Any, **traffic: Any) -> tuple[Plan | None, set[tuple[str, str]]]:
    plan, faults = build(raw(gateways=gateways, traffic=traffic, apps=["bookinfo"]))
    return plan, {(fault.code, fault.path) for fault in faults if fault.severity == "error"}


def codes(*listeners: Any, **more: Any) -> set[tuple[str, str]]:
    _, faults = planned({"public": {"listeners": list(listeners), **more}})
    return {(code, path.removeprefix("meshup:gateways.public").lstrip(".")) for code, path in faults}


def objects(gateways: Any, kind: str, **traffic: Any) -> list[Manifest]:
    plan, faults = planned(gateways, **traffic)
    assert plan is not None, faults
    return [item for item in (*plan.gateways.objects, *plan.delivery.objects) if item["kind"] == kind]


@pytest.mark.parametrize("api", ["istio", "gateway-api"])
def test_a_host_stands_in_a_listener_once(api: str) -> None:
    assert codes(https("a.b", "c.d", "a.b"), api=api) == {("MSH012", "listeners[0].hosts[2]")}


def test_a_gateway_of_the_gateway_api_has_at_most_64_hosts_over_all_listeners() -> None:
    listeners = (https(*many(40)), {"port": 8080, "protocol": "http", "hosts": many(25)})
    assert codes(*listeners, api="gateway-api") == {("MSH005", "listeners")}
    assert codes(*listeners, api="istio") == set()


def test_a_redirect_of_the_gateway_api_is_for_at_most_32_hosts() -> None:
    redirect = {**HTTP, "hosts": many(33)[1:], "redirect": "https"}
    assert codes(https("*.example.com"), redirect, api="gateway-api") == set()
    redirect["hosts"] = many(33)
    assert codes(https("*.example.com"), redirect, api="gateway-api") == {("MSH005", "listeners[1].hosts")}


def test_clients_need_a_certificate_at_all_hosts_of_a_port_or_at_none() -> None:
    for other in ({}, {"clientCa": "theirs"}):
        listeners = (https("a.b", clientCa="ca"), https("c.d", **other))
        assert codes(*listeners, api="gateway-api") == {("MSH404", "listeners[1].tls.clientCa")}
        assert codes(*listeners, api="istio") == set()
    assert codes(https("a.b", clientCa="ca"), https("c.d", clientCa="ca"), api="gateway-api") == set()


def test_static_addresses_are_addresses_or_names_and_each_is_there_once() -> None:
    listed = ["192.0.2.1", "2001:db8::1", "lb.example.com", "192.0.2.1", "a b"]
    faults = codes(HTTP, api="gateway-api", addresses=listed)
    assert faults == {("MSH012", "addresses[3]"), ("MSH006", "addresses[4]")}


def test_gateways_select_their_own_pods_alone() -> None:
    gateways = {name: {"listeners": [HTTP]} for name in ("public", "istio-public")}
    selectors = [item["spec"]["selector"] for item in objects(gateways, "Gateway")]
    assert selectors == [{"app": name, "istio": "public"} for name in gateways]


def test_a_gateway_takes_the_routes_of_its_own_namespace_beside_those_of_others() -> None:
    own = {
        "namespace": "istio-ingress",
        "port": 80,
        "selector": {"app": "own"},
        "versions": {"v1": {"version": "v1"}},
        "split": {"v1": 100},
        "api": "gateway-api",
    }
    other = {"split": {"v1": 100}, "hosts": ["a.b"], "api": "gateway-api"}
    gateways = {"public": {"listeners": [HTTP], "api": "gateway-api"}}
    (made,) = objects(gateways, "Gateway", own={**own, "hosts": ["c.d"]}, reviews=other)
    (listener,) = made["spec"]["listeners"]
    (allowed,) = listener["allowedRoutes"]["namespaces"]["selector"]["matchExpressions"]
    assert allowed["values"] == ["bookinfo", "istio-ingress"]


def test_the_route_of_a_gateway_keeps_the_limits_of_the_api() -> None:
    def exposed(matches: int, paths: int, hosts: tuple[str, ...] = ("a.example.com",)) -> set[tuple[str, str]]:
        rules = [
            {"match": [{"headers": {f"x{rule}-{number}": "1"}} for number in range(matches)], "backends": {"v1": 100}}
            for rule in range(2)
        ]
        route = {
            "rules": [*rules, {"backends": {"v1": 100}}],
            "paths": [{"prefix": f"/p{number}"} for number in range(paths)],
            "hosts": list(hosts),
            "api": "gateway-api",
        }
        gateways = {"public": {"listeners": [https(*many(33), "a.example.com")], "api": "gateway-api"}}
        return planned(gateways, reviews=route)[1]

    assert exposed(4, 14) == set()
    assert exposed(4, 16) == {("MSH132", "meshup:traffic.reviews.paths")}
    assert exposed(5, 13) == {("MSH132", "meshup:traffic.reviews.paths")}
    assert exposed(1, 1, ("*.example.com",)) == {("MSH132", "meshup:traffic.reviews.hosts")}
