"""Routes as callers from outside meet them: the same rules as in the mesh, for the hosts and paths of the route."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.diagnostics import errors
from components.gateways.model import covers, most_specific
from components.traffic import Compilation
from components.traffic.evaluate import Request, evaluate
from components.traffic.grammar import PathForm, text_match
from components.traffic.overlap import path_matches
from tests.unit.traffic.helpers import compile_routes, found, parsed
from tests.unit.traffic.strategies import configurations, requests

HOST = "shop.example.com"
GATEWAY = {"istio": "istio-public", "linkerd": "public"}
PATHS = [{"prefix": "/a"}, {"prefix": "/a/b"}, {"exact": "/ab"}, {"exact": "/a/b"}, {"prefix": "/b"}]


def compiled(raw: Any, mesh: str = "istio") -> Compilation:
    routes, faults = parsed(raw)
    assert not faults
    return compile_routes(routes, mesh)


def codes(raw: Any, mesh: str = "istio") -> set[str]:
    routes, faults = parsed(raw)
    return {fault.code for fault in (*faults, *compile_routes(routes, mesh).diagnostics)}


def exposed(**more: Any) -> dict[str, Any]:
    return {"gateway": "istio-public", "hosts": [HOST], **more}


@given(
    configurations(),
    st.lists(st.sampled_from(PATHS), max_size=2, unique_by=str),
    requests,
    st.sampled_from(["istio", "linkerd"]),
)
def test_a_gateway_decides_as_the_mesh_does_for_the_paths_of_the_route(
    raw: dict[str, Any], paths: list[dict[str, str]], request: Request, mesh: str
) -> None:
    key, body = next(iter(raw.items()))
    body = {name: value for name, value in body.items() if name not in ("hosts", "paths", "api")}
    route = {**body, "gateway": GATEWAY[mesh], "hosts": [HOST], **({"paths": paths} if paths else {})}
    routes, faults = parsed({key: route})
    compilation = compile_routes(routes, mesh)
    assume(not errors([*faults, *compilation.diagnostics]))
    (plan,), ((edge, at_edge),) = compilation.planned, compilation.edges
    proxy = plan.target.plane.pinned
    path = proxy.path(request.path)
    inside = not paths or any(path_matches(text_match(PathForm.model_validate(one)), path) for one in paths)
    mesh_rule, edge_rule = evaluate(plan, request).rule, evaluate(at_edge, request).rule
    assert edge.host == HOST
    assert (edge_rule.name if edge_rule else None) == (mesh_rule.name if mesh_rule and inside else None)


@given(
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=2, unique_by=str),
    st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab", "/b/x"]),
)
def test_the_most_specific_path_decides_whose_rules_a_request_meets(paths: list[dict[str, str]], path: str) -> None:
    raw = {
        "reviews": exposed(split={"v1": 100}),
        "ratings": exposed(paths=paths, rules=[{"match": {"headers": {"x": "1"}}, "backends": {"v1": 100}}]),
    }
    for mesh, gateway in (("istio", "istio-public"), ("istio", "public"), ("linkerd", "public")):
        compilation = compiled({key: {**route, "gateway": gateway} for key, route in raw.items()}, mesh)
        ((edge, plan),) = compilation.edges
        rule = evaluate(plan, Request(path)).rule
        assert rule is not None
        owner = edge.owners[[one.name for one in edge.route.rules].index(rule.name)]
        inside = any(path_matches(text_match(PathForm.model_validate(one)), path) for one in paths)
        assert owner.key == ("ratings" if inside else "reviews")


def test_a_route_without_rules_sends_every_request_to_its_service() -> None:
    (item,) = compiled({"reviews": exposed()}).manifests
    assert item["metadata"] == {
        "name": "host.shop.example.com.istio-public",
        "namespace": "ingress",
        "labels": {"app.kubernetes.io/managed-by": "meshup"},
    }
    # The port, which istiod would take from the listener where the Service has others that nobody has declared.
    destination = {"host": "reviews.bookinfo.svc.cluster.local", "port": {"number": 9080}}
    assert item["spec"] == {
        "hosts": [HOST],
        "gateways": ["ingress/istio-public"],
        "exportTo": ["."],
        "http": [{"name": "default", "route": [{"destination": destination, "weight": 100}]}],
    }


def test_in_the_mesh_a_route_is_the_same_with_and_without_a_gateway() -> None:
    rules = [{"match": {"source": {"app": "a"}}, "backends": {"v2": 100}}, {"backends": {"v1": 90, "v2": 10}}]
    for gateway in ("istio-public", "public"):
        rules = rules if gateway == "istio-public" else rules[1:]
        api = "istio" if gateway == "istio-public" else "gateway-api"
        alone = compiled({"reviews": {"rules": rules, "api": api}}).manifests
        both = compiled({"reviews": exposed(rules=rules, gateway=gateway)}).manifests
        assert [item for item in both if item in alone] == list(alone)
        assert len(both) == len(alone) + 1


def test_what_asks_for_the_calling_workload_holds_in_the_mesh_only() -> None:
    rules = [
        {"name": "a", "match": {"source": {"app": "a"}}, "backends": {"v2": 100}},
        {"name": "b", "match": [{"source": {"app": "b"}}, {"path": "/b"}], "backends": {"v2": 100}},
        {"name": "c", "backends": {"v1": 100}},
    ]
    compilation = compiled({"reviews": exposed(rules=rules)})
    assert ("MSH410", "reviews.rules[0].match") in found(list(compilation.diagnostics))
    ((edge, _),) = compilation.edges
    assert [(rule.name, len(rule.matches)) for rule in edge.route.rules] == [("b", 1), ("c", 0)]


def test_a_redirect_keeps_the_port_that_callers_of_the_gateway_use() -> None:
    rules = [{"match": {"path": "/old"}, "redirect": {"path": "/new"}}]
    for gateway, kind in (("istio-public", "VirtualService"), ("public", "HTTPRoute")):
        items = compiled({"reviews": exposed(rules=rules, gateway=gateway)}).manifests
        at_gateway = next(item for item in items if item["kind"] == kind and "public" in item["metadata"]["name"])
        in_mesh = next(item for item in items if item["kind"] == kind and item is not at_gateway)
        rules_of = "http" if kind == "VirtualService" else "rules"
        assert "9080" not in str(at_gateway["spec"][rules_of][0])
        assert "9080" in str(in_mesh["spec"][rules_of][0])


def test_tls_that_is_passed_on_goes_by_the_host_that_the_client_names() -> None:
    raw = {
        "vault": {"namespace": "shop", "ports": [{"number": 8200, "protocol": "tls"}], "hosts": ["vault.example.com"]}
    }
    (item,) = compiled({"vault": {**raw["vault"], "gateway": "istio-public"}}).manifests
    assert item["spec"]["tls"][0]["match"] == [{"port": 8443, "sniHosts": ["vault.example.com"]}]
    items = compiled({"vault": {**raw["vault"], "gateway": "public"}}).manifests
    (route,) = (item for item in items if item["kind"] == "TLSRoute")
    assert [parent["sectionName"] for parent in route["spec"]["parentRefs"]] == ["tls-8443"]


def test_routes_of_the_gateway_api_bind_to_the_listeners_that_take_their_hosts_and_pass_them_on() -> None:
    items = compiled({"reviews": exposed(gateway="public", hosts=["a.example.org"], split={"v1": 100})}).manifests
    (route,) = (item for item in items if item["metadata"]["name"] == "reviews.public")
    assert [parent["sectionName"] for parent in route["spec"]["parentRefs"]] == ["https-443-host2", "http-8080"]
    assert route["spec"]["hostnames"] == ["a.example.org"]


@pytest.mark.parametrize(
    ("route", "code"),
    [
        ({"gateway": "nobody", "split": {"v1": 100}}, "MSH401"),
        ({"hosts": [HOST]}, "MSH401"),
        ({"split": {"v1": 100}, "paths": ["/a"]}, "MSH411"),
        (exposed(hosts=["a_b.example.com"]), "MSH006"),
        (exposed(hosts=["10.0.0.1"]), "MSH006"),
        (exposed(hosts=["vault.example.com"], split={"v1": 100}), "MSH408"),
        (exposed(paths=[{"prefix": "/a"}], rules=[{"match": {"path": {"regex": "/[a-m]+"}}}]), "MSH409"),
        (exposed(paths=[{"prefix": "/a"}], rules=[{"rewrite": {"prefix": "/b"}}]), "MSH409"),
        (exposed(api="gateway-api", split={"v1": 100}), "MSH131"),
    ],
)
def test_what_can_not_hold_is_refused(route: dict[str, Any], code: str) -> None:
    assert code in codes({"reviews": route})


def test_a_host_without_a_listener_is_refused() -> None:
    routes, _ = parsed({"reviews": exposed(hosts=["shop.example.com"])})
    (route,) = routes
    assert route.exposure is not None
    assert [one.name for one in route.exposure.gateway.serving("shop.example.com")] == ["https-443", "http-8080"]
    assert [one.name for one in route.exposure.gateway.serving("other.example.net")] == ["http-8080"]


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        (None, None, True),
        ([{"prefix": "/a"}], None, False),
        ([{"prefix": "/a"}], [{"prefix": "/a"}], True),
        ([{"prefix": "/a"}], [{"exact": "/a"}], False),
        ([{"regex": "/a/.*"}], [{"prefix": "/a"}], True),
        ([{"regex": "/a/.*"}], [{"prefix": "/b"}], False),
    ],
)
def test_a_path_of_a_host_belongs_to_one_route(one: Any, other: Any, conflict: bool) -> None:
    raw = {
        key: exposed(split={"v1": 100}, **({"paths": paths} if paths else {}))
        for key, paths in (("reviews", one), ("ratings", other))
    }
    assert ("MSH403" in codes(raw)) == conflict


def test_a_host_that_hides_a_part_of_a_wildcard_is_said() -> None:
    raw = {
        "reviews": exposed(hosts=["*.example.org"], split={"v1": 100}),
        "ratings": exposed(hosts=["a.example.org"], paths=[{"prefix": "/a"}], split={"v1": 100}),
    }
    assert "MSH421" in codes(raw)
    assert "MSH421" not in codes({**raw, "ratings": exposed(hosts=["a.example.org"], split={"v1": 100})})


names = st.sampled_from(["*", "*.a", "*.b.a", "b.a", "c.b.a", "a", "*.c.b.a"])


@given(names, names, names)
def test_a_host_that_covers_another_covers_all_that_it_covers(one: str, two: str, three: str) -> None:
    assert covers(one, one)
    if covers(one, two) and covers(two, three):
        assert covers(one, three)
    if covers(one, two) and covers(two, one):
        assert one == two


def test_the_most_specific_host_takes_a_request() -> None:
    assert most_specific("c.b.a", ["*", "*.a", "*.b.a"]) == "*.b.a"
    assert most_specific("b.a", ["*.b.a", "b.a", "*"]) == "b.a"
    assert most_specific("x", ["*.a"]) == ""


@pytest.mark.parametrize("gateway", ["istio-public", "public"])
def test_a_wildcard_beside_a_host_that_a_listener_takes_alone_is_refused(gateway: str) -> None:
    api = "istio" if gateway == "istio-public" else "gateway-api"

    def is_refused(wide: str, narrow: str) -> bool:
        routes = {"reviews": (wide, "v2"), "ratings": (narrow, "v1")}
        raw = {
            key: {"gateway": gateway, "hosts": [host], "split": {version: 100}, "api": api}
            for key, (host, version) in routes.items()
        }
        return "MSH403" in codes(raw)

    assert is_refused("*", HOST)
    assert is_refused("*.example.com", HOST)
    assert is_refused("*", "*.example.org")
    # Every listener for it takes other names as well.
    assert not is_refused("*", "other.example.net")
    assert not is_refused("*.example.org", "a.example.org")
