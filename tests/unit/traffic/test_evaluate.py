"""What the differential test on the data plane found once, kept where it is quick to see."""

from __future__ import annotations

from typing import Any

import pytest

from components.meshes.istio.http_route import ISTIO_ROUTE
from components.meshes.istio.proxies import ENVOY_1_38, ENVOY_1_38_4, ENVOY_1_39
from components.meshes.istio.virtual_service import VIRTUAL_SERVICE
from components.meshes.linkerd.http_route import LINKERD_ROUTE
from components.meshes.linkerd.proxies import LINKERD_PROXY
from components.traffic.evaluate import Request, evaluate, request_from
from components.traffic.overlap import canonical_path
from components.traffic.proxies import Proxy
from components.traffic.targets import Planned, Target
from tests.unit.traffic.helpers import compile_routes, routes_of

COOKIE = {"cookies": {"group": "b"}}
TWO_COOKIES = {"cookies": {"group": "b", "id": "7"}}


def plan_of(match: dict[str, Any], target: Target) -> Planned:
    """A rule 'b' with a match, and a rule for the rest."""
    (route,) = routes_of({"reviews": {"rules": [{"name": "b", "match": match}, {"name": "a"}]}})
    return Planned(route, target, "")


def taken(plan: Planned, request: Request, proxy: Proxy | None = None) -> str:
    """The rule that takes a request, "" for none."""
    rule = evaluate(plan, request, proxy).rule
    return rule.name if rule else ""


@pytest.mark.parametrize(
    ("match", "header", "rule"),
    [
        (COOKIE, "group=b", "b"),
        (COOKIE, "id=7; group=b", "b"),
        (COOKIE, "group=a", "a"),
        # Seen in Envoy: the pattern meets any cookie of the name, after one blank at most.
        (COOKIE, "group=a; group=b", "b"),
        (COOKIE, "group=b;group=a", "b"),
        (COOKIE, "id=7;  group=b", "a"),
        (COOKIE, "group=b ; id=7", "a"),
        (TWO_COOKIES, "id=7; x=1; group=b", "b"),
        (TWO_COOKIES, "group=b;  id=7", "a"),
    ],
)
def test_cookies_are_read_as_the_pattern_that_the_mesh_gets(match: dict[str, Any], header: str, rule: str) -> None:
    for target in (VIRTUAL_SERVICE, LINKERD_ROUTE):
        assert taken(plan_of(match, target), request_from("/", headers=[("cookie", header)])) == rule


EXACT, PREFIX = {"headers": {"x": "b"}}, {"headers": {"x": {"prefix": "b"}}}
JOINED, PRESENT = {"headers": {"x": {"regex": "a,b"}}}, {"headers": {"x": {"present": True}}}


@pytest.mark.parametrize(
    ("match", "values", "joined", "each"),
    [
        (EXACT, ("a", "b"), "a", "b"),
        (EXACT, ("b",), "b", "b"),
        ({"headers": {"x": "a,b"}}, ("a", "b"), "b", "a"),
        (PREFIX, ("a", "bc"), "a", "b"),
        (PREFIX, ("bc", "a"), "b", "b"),
        (JOINED, ("a", "b"), "b", "a"),
        (JOINED, ("a, b",), "a", "a"),
        (PRESENT, ("", ""), "b", "b"),
        (PRESENT, (), "a", "a"),
        # Envoy keeps some headers as one text in every version.
        ({"headers": {"x-forwarded-for": "a,b"}}, ("a", "b"), "b", "b"),
        (TWO_COOKIES, ("group=b", "id=7"), "a", "a"),
        (COOKIE, ("id=7", "group=b"), "a", "b"),
    ],
)
def test_repeated_headers_are_joined_up_to_envoy_1_38(
    match: dict[str, Any], values: tuple[str, ...], joined: str, each: str
) -> None:
    """Seen with Envoy 1.40 and both sides of its guard; linkerd2-proxy looks at each value (match/header.rs)."""
    (name,) = match.get("headers", {"cookie": ""})
    request = request_from("/", headers=[(name, value) for value in values])
    for target in (VIRTUAL_SERVICE, ISTIO_ROUTE):
        plan = plan_of(match, target)
        assert taken(plan, request, ENVOY_1_38) == taken(plan, request, ENVOY_1_38_4) == joined
        assert taken(plan, request, ENVOY_1_39) == each
        said = evaluate(plan, request, ENVOY_1_38).elsewhere
        assert ((ENVOY_1_39.title, each) in said) == (joined != each)
    if name != "x-forwarded-for":
        assert taken(plan_of(match, LINKERD_ROUTE), request, LINKERD_PROXY) == each


def test_cookie_headers_of_http2_are_joined_by_envoy() -> None:
    request = request_from("/", headers=[("cookie", "group=b"), ("cookie", "id=7")])
    ((title, rule),) = evaluate(plan_of(TWO_COOKIES, VIRTUAL_SERVICE), request).elsewhere
    assert "HTTP/2" in title
    assert rule == "b"
    assert not evaluate(plan_of(TWO_COOKIES, LINKERD_ROUTE), request).elsewhere


UTF8, ONE_BYTE, NO_UTF8 = "caf\u00e9", "\udce9", "a\udcc0\udc80b"


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        # Rules in the order of: VirtualService of Envoy 1.38 and 1.38.4, HTTPRoute of both, Linkerd.
        ({"regex": "caf."}, UTF8, "babaa"),
        ({"regex": "caf.."}, UTF8, "ababa"),
        ({"regex": "[^0-9]+"}, UTF8, "bbbba"),
        ({"regex": "[a-z]+"}, UTF8, "aaaaa"),
        ({"regex": "."}, ONE_BYTE, "ababa"),
        ({"regex": "a..b"}, NO_UTF8, "ababa"),
        ({"prefix": "caf"}, UTF8, "bbbba"),
        # A VirtualService compares prefixes and presence itself, an HTTPRoute by a pattern.
        ({"prefix": "a"}, NO_UTF8, "bbaba"),
        ({"present": True}, UTF8, "bbbba"),
        ({"present": True}, ONE_BYTE, "bbaba"),
        ({"present": True}, "a\tb", "bbbbb"),
    ],
)
def test_text_beyond_ascii_meets_patterns_as_the_proxy_reads_it(
    condition: dict[str, Any], value: str, expected: str
) -> None:
    request = request_from("/", headers=[("x", value)])
    ways: list[tuple[Target, Proxy]] = [
        (target, proxy) for target in (VIRTUAL_SERVICE, ISTIO_ROUTE) for proxy in (ENVOY_1_38, ENVOY_1_38_4)
    ]
    ways.append((LINKERD_ROUTE, LINKERD_PROXY))
    assert "".join(taken(plan_of({"headers": {"x": condition}}, t), request, proxy) for t, proxy in ways) == expected


@pytest.mark.parametrize(
    ("pattern", "query", "on_envoy", "on_linkerd"),
    [
        ("a.b", "q=a%0Ab", "a", "a"),
        ("a[^c]b", "q=a%0Ab", "a", "b"),
        ("a.b", "q=a%0Db", "a", "b"),
        ("a.b", "q=a%C3%A9b", "a", "b"),
        ("a.*b", "q=a%C3%A9b", "b", "b"),
        ("b", "q=a&q=b", "a", "b"),
    ],
)
def test_parameters_are_compared_as_sent_or_decoded(pattern: str, query: str, on_envoy: str, on_linkerd: str) -> None:
    match = {"query": {"q": {"regex": pattern}}}
    assert taken(plan_of(match, VIRTUAL_SERVICE), request_from(f"/?{query}")) == on_envoy
    assert taken(plan_of(match, LINKERD_ROUTE), request_from(f"/?{query}")) == on_linkerd


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("/a/..;x/b", "/b"),
        ("/a/.;x", "/a/"),
        ("/..;/b", "/b"),
        ("/a;x/..;y/b", "/b"),
        ("/a//..;x/b", "/a/b"),
        ("/a/%2e%2e;x/b", "/a/..;x/b"),
        ("/a/...;x/b", "/a/...;x/b"),
        ("/a/b;x", "/a/b;x"),
    ],
)
def test_dot_segments_with_parameters_are_resolved_from_envoy_1_38_4_on(sent: str, read: str) -> None:
    """Seen with Envoy 1.40 and both sides of its guard."""
    assert ENVOY_1_38_4.path(sent) == ENVOY_1_39.path(sent) == read
    assert ENVOY_1_38.path(sent) == canonical_path(sent)


CALLS = [
    {"name": "add", "match": {"grpc": {"service": "shop.Cart", "method": "Add"}}},
    {"name": "cart", "match": {"grpc": {"service": "shop.Cart"}}},
    {"name": "x", "match": {"headers": {"x": "1"}}},
    {"name": "rest"},
]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        # VirtualService, GRPCRoute on Istio, HTTPRoute and GRPCRoute on Linkerd.
        ("POST", "/shop.Cart/Add", "add add add add"),
        ("POST", "/shop.Cart/Other", "cart cart cart cart"),
        ("GET", "/shop.Cart/Add", "rest add rest -"),
        ("POST", "/shop.Cart", "rest rest cart -"),
        ("POST", "/shop.Cart/", "cart cart cart cart"),
        ("POST", "/shop.Cart/Add/", "cart cart cart add"),
        ("POST", "/", "rest rest rest -"),
        ("POST", "/other", "rest rest rest -"),
        ("GET", "/", "rest rest rest -"),
    ],
)
def test_a_grpc_condition_means_what_the_object_that_carries_it_makes_of_it(
    method: str, path: str, expected: str
) -> None:
    """Sources: see GRPC_READINGS; `split('/')` of "/" gives an empty service and no method, but "/x/" a method."""
    (web,) = routes_of({"gateway": {"port": 80, "rules": CALLS}})
    (grpc,) = routes_of({"gateway": {"port": 9000, "rules": CALLS}})
    ways = ((web, VIRTUAL_SERVICE), (web, ISTIO_ROUTE), (web, LINKERD_ROUTE), (grpc, LINKERD_ROUTE))
    request = request_from(path, method)
    assert " ".join(taken(Planned(route, target, ""), request) or "-" for route, target in ways) == expected


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a\\..\\b", "/b"),
        ("//b", "//b"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a/../..", "/"),
        ("/a/..x", "/a/..x"),
        ("/a//..", "/a/"),
        ("/%61%7eb%2d%5F", "/a~b-_"),
        ("/a%2fb%20%5c", "/a%2fb%20%5c"),
        ('/{a}|^`"<>', "/%7Ba%7D%7C%5E%60%22%3C%3E"),
        ("/a%zz%2", "/a%zz%2"),
        ("/a!$&()*+,=:@[];'", "/a!$&()*+,=:@[];'"),
        ("/%2e%2e%2fb", "/..%2fb"),
        ("/a#b", "/a"),
    ],
)
def test_a_path_is_read_as_envoy_was_seen_to_read_it(sent: str, read: str) -> None:
    assert canonical_path(sent) == read
    assert canonical_path(read) == read


@pytest.mark.parametrize(
    ("asked", "on_istio", "on_linkerd"),
    [
        ("/x/../b", "b", "rest"),
        ("/b/../x", "rest", "b"),
        ("/?q=beta", "q", "q"),
        ("/?q=%62eta", "rest", "q"),
        ("/?%71=beta", "rest", "q"),
    ],
)
def test_envoy_normalises_paths_and_linkerd_decodes_parameters(asked: str, on_istio: str, on_linkerd: str) -> None:
    rules = [
        {"name": "b", "match": {"path": {"prefix": "/b"}}},
        {"name": "q", "match": {"query": {"q": "beta"}}},
        {"name": "rest"},
    ]
    expected: dict[str, str] = {"istio": on_istio, "linkerd": on_linkerd}
    for mesh, name in expected.items():
        (plan,) = compile_routes(routes_of({"reviews": {"rules": rules}}), mesh).planned
        decision = evaluate(plan, request_from(asked))
        assert decision.rule is not None
        assert decision.rule.name == name
        assert ("Envoy reads" in decision.reason) == (mesh == "istio" and ".." in asked)
