"""What the differential test on the data plane found once, kept where it is quick to see."""

from __future__ import annotations

import pytest

from components.routing.capability import VIRTUAL_SERVICE
from components.routing.compile import Planned, compile_routes
from components.routing.evaluate import evaluate, request_from
from components.routing.model import Mesh
from components.routing.overlap import canonical_path
from tests.unit.routing.helpers import routes_of


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("group=b", True),
        ("id=7; group=b", True),
        ("group=a", False),
        # Seen in Envoy: the pattern meets any cookie of the name.
        ("group=a; group=b", True),
        ("group=b;group=a", True),
    ],
)
def test_any_cookie_of_a_name_may_meet_the_condition(header: str, taken: bool) -> None:
    (route,) = routes_of({"reviews": {"rules": [{"name": "b", "match": {"cookies": {"group": "b"}}}, {"name": "a"}]}})
    decision = evaluate(Planned(route, VIRTUAL_SERVICE, ""), request_from("/", headers=[("cookie", header)]))
    assert decision.rule is not None
    assert decision.rule.name == ("b" if taken else "a")


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ([("x-group", "b"), ("X-Group", "c")], True),
        ([("x-group", "c"), ("X-Group", "b")], True),
        ([("x-group", "b, c")], False),
        ([("x-other", "b")], False),
    ],
)
def test_any_header_of_a_name_may_meet_the_condition(headers: list[tuple[str, str]], taken: bool) -> None:
    (route,) = routes_of({"reviews": {"rules": [{"name": "b", "match": {"headers": {"x-group": "b"}}}, {"name": "a"}]}})
    decision = evaluate(Planned(route, VIRTUAL_SERVICE, ""), request_from("/", headers=headers))
    assert decision.rule is not None
    assert decision.rule.name == ("b" if taken else "a")


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
    expected: dict[Mesh, str] = {"istio": on_istio, "linkerd": on_linkerd}
    for mesh, name in expected.items():
        (plan,) = compile_routes(routes_of({"reviews": {"rules": rules}}), mesh).planned
        decision = evaluate(plan, request_from(asked))
        assert decision.rule is not None
        assert decision.rule.name == name
        assert ("Envoy reads" in decision.reason) == (mesh == "istio" and ".." in asked)
