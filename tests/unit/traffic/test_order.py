"""Rules mean their order: what a mesh would not keep is refused, with a request that shows it, and nothing else is."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.meshes.istio.http_route import ISTIO_ROUTE
from components.meshes.istio.virtual_service import VIRTUAL_SERVICE
from components.meshes.linkerd.http_route import LINKERD_ROUTE
from components.traffic import patterns
from components.traffic.evaluate import evaluate, request_from
from components.traffic.model import Backend, Destination, Match, Request, Route, Rule, TextMatch, Timeout
from components.traffic.overlap import canonical_path
from components.traffic.precedence import inversions, outcome
from components.traffic.targets import Planned, Target
from components.traffic.witness import NORMAL_PATH, request_text
from tests.unit.traffic.helpers import REVIEWS, SERVICES, compile_routes, parsed, routes_of
from tests.unit.traffic.strategies import configurations


@dataclass(frozen=True)
class Small:
    """A match of the small universe, with what it takes and how it ranks, written down by hand."""

    match: Match
    paths: frozenset[str]
    methods: frozenset[str]
    headers: frozenset[str]
    kind: str
    length: int
    conditions: tuple[int, int]
    """Headers, methods."""


EVERY = frozenset(("/", "/a", "/a/b", "/b", "/c"))
METHODS = frozenset(("GET", "POST", "PUT"))
HEADERS = frozenset(("", "1", "2"))
SMALL_PATHS: dict[TextMatch | None, tuple[frozenset[str], str, int]] = {
    None: (EVERY, "prefix", 1),
    TextMatch("exact", "/a"): (frozenset(("/a",)), "exact", 2),
    TextMatch("prefix", "/a"): (frozenset(("/a", "/a/b")), "prefix", 2),
    TextMatch("prefix", "/a/b"): (frozenset(("/a/b",)), "prefix", 4),
    TextMatch("regex", "/[ab]"): (frozenset(("/a", "/b")), "regex", 5),
    TextMatch("regex", "/|/a/b"): (frozenset(("/", "/a/b")), "regex", 6),
}
"""What each takes of the paths above, which are all that these conditions tell apart (of the rest, /a/b/c is like none:
the prefixes take it and the patterns do not)."""
PATHS = (*sorted(EVERY), "/a/b/c")
SMALL_METHODS = {"": METHODS, "GET": frozenset(("GET",))}
SMALL_HEADERS: dict[TextMatch | None, frozenset[str]] = {
    None: HEADERS,
    TextMatch("exact", "1"): frozenset("1"),
    TextMatch("present"): frozenset("12"),
}


def _small() -> list[Small]:
    found: list[Small] = []
    for (path, (paths, kind, length)), (method, methods), (header, headers) in itertools.product(
        SMALL_PATHS.items(), SMALL_METHODS.items(), SMALL_HEADERS.items()
    ):
        below = {"/a/b/c"} if kind == "prefix" else set[str]()
        match = Match(path, method, (("x", header),) if header else ())
        conditions = (1 if header else 0, 1 if method else 0)
        found.append(Small(match, paths | below, methods, headers, kind, length, conditions))
    return found


SMALL = _small()
ASKED = list(itertools.product(PATHS, sorted(METHODS), sorted(HEADERS)))
BACKENDS = [(Backend(Destination(REVIEWS, REVIEWS.ports[0], version), 100),) for version in REVIEWS.versions[:2]]


def rank(small: Small, target: Target, path: str, *, patterns_beside: bool) -> tuple[int, ...]:
    """The rank by the documentation of each target, written anew."""
    headers, methods = small.conditions
    if target == ISTIO_ROUTE:
        every = small.match.path is None and patterns_beside
        kinds = ("regex", "prefix", "exact")
        kind, length = ("regex", 2) if every else (small.kind, small.length)
        return (kinds.index(kind), length, methods, headers)
    return (small.length if small.kind == "prefix" else len(path), headers, methods)


def broken(smalls: tuple[Small, ...], outcomes: tuple[int, ...], groups: tuple[int, ...], target: Target) -> bool:
    """True if some request has an outcome by the target that it has not, or not surely, by the list."""
    beside = any(small.kind == "regex" for small in smalls)
    for path, method, header in ASKED:
        met = [
            index
            for index, small in enumerate(smalls)
            if path in small.paths and method in small.methods and header in small.headers
        ]
        if len(met) < 2:
            continue
        ranks = {index: rank(smalls[index], target, path, patterns_beside=beside) for index in met}
        best = max(ranks.values())
        # Of one object, the first in the list; of several, the older one.
        winners = {
            min(i for i in met if ranks[i] == best and groups[i] == group)
            for group in {groups[i] for i in met if ranks[i] == best}
        }
        if any(outcomes[winner] != outcomes[met[0]] for winner in winners):
            return True
    return False


def small_route(smalls: tuple[Small, ...], outcomes: Iterable[int], groups: Iterable[int]) -> Route:
    """A rule for each match; outcomes differ by backend, groups by timeout."""
    rules = tuple(
        Rule(
            f"rule-{index}",
            (small.match,),
            BACKENDS[result],
            timeout=Timeout(1000) if group else None,
        )
        for index, (small, result, group) in enumerate(zip(smalls, outcomes, groups, strict=True))
    )
    return Route("reviews", REVIEWS, REVIEWS.ports[0], rules=rules)


def differs(route: Route, target: Target, request: Request) -> bool:
    """True if `explain` says that the list and the target give a request to rules with different outcomes."""
    first, taken = (evaluate(Planned(route, each, ""), request).rule for each in (VIRTUAL_SERVICE, target))
    assert first is not None
    assert taken is not None
    return not any(outcome(first, one) == outcome(taken, two) for one in first.matches for two in taken.matches)


@pytest.mark.parametrize("target", [ISTIO_ROUTE, LINKERD_ROUTE], ids=lambda target: target.name)
def test_two_rules_are_refused_just_where_a_request_shows_it(target: Target) -> None:
    seen = {True: 0, False: 0}
    for smalls in itertools.product(SMALL, repeat=2):
        for outcomes, groups in (((0, 1), (0, 0)), ((0, 0), (0, 0)), ((0, 0), (0, 1))):
            route = small_route(smalls, outcomes, groups)
            found = inversions(route, target, target.rankings(route)[0])
            split = groups if target == LINKERD_ROUTE else (0, 0)
            results = tuple(zip(outcomes, groups, strict=True))
            expected = broken(smalls, tuple(results.index(result) for result in results), split, target)
            assert bool(found) == expected, (smalls, outcomes, groups)
            seen[expected] += 1
            for inversion in found:
                assert inversion.tie or differs(route, target, inversion.request)
    assert min(seen.values()) > 200


@pytest.mark.parametrize("target", [ISTIO_ROUTE, LINKERD_ROUTE], ids=lambda target: target.name)
def test_three_rules_are_refused_just_where_a_request_shows_it(target: Target) -> None:
    seen = {True: 0, False: 0}
    # Every 29th of all sets of three, to be quick: 29 has no factor in common with the number of matches. All 46,656
    # of them for the profile `nightly`.
    step = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 29
    for smalls in itertools.islice(itertools.product(SMALL, repeat=3), 0, None, step):
        route = small_route(smalls, (0, 1, 0), (0, 0, 0))
        found = inversions(route, target, target.rankings(route)[0])
        expected = broken(smalls, (0, 1, 0), (0, 0, 0), target)
        assert bool(found) == expected, smalls
        seen[expected] += 1
        for inversion in found:
            assert differs(route, target, inversion.request)
    assert min(seen.values()) > 200


@given(configurations(), st.sampled_from([ISTIO_ROUTE, LINKERD_ROUTE]))
def test_every_refusal_shows_a_request_that_the_target_decides_differently(raw: dict[str, Any], target: Target) -> None:
    for route in parsed(raw)[0]:
        complete = replace(route, rules=(*route.rules, Rule("rest", backends=BACKENDS[0])))
        for inversion in inversions(complete, target, target.rankings(complete)[0]):
            assert inversion.tie or differs(complete, target, inversion.request), request_text(inversion.request)


@given(st.text(alphabet="a/.%~ 2e5F\\#{é[;", max_size=8).map("/{}".format))
def test_the_paths_that_envoy_compares_are_those_that_it_leaves_as_they_are(path: str) -> None:
    escapes = path.count("%") == sum(path.upper().count(f"%{code}") for code in ("22", "25", "2F", "5E"))
    if escapes:
        assert patterns.matches(NORMAL_PATH, path) == (canonical_path(path) == path)


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ({"method": "GET"}, {"headers": {"x": "1"}}, "`GET / with header x: 1`"),
        ({"path": {"prefix": "/a"}}, {"path": {"regex": "/a/[0-9]+"}}, "`GET /a/0`"),
        ({"query": {"q": {"prefix": "a"}}}, {"headers": {"x": {"regex": "b+"}}}, "`GET /?q=a with header x: b`"),
        ({"cookies": {"c": "1"}}, {"path": {"prefix": "/a"}}, "`GET /a with header cookie: c=1`"),
        (
            {"query": {"q": "a/b"}},
            {"path": "/a", "headers": {"x": {"present": True}}},
            "`GET /a?q=a/b with header x: a`",
        ),
    ],
)
def test_the_report_shows_the_request(first: dict[str, Any], second: dict[str, Any], shown: str) -> None:
    rules = [{"match": first, "backends": {"v1": 100}}, {"match": second, "backends": {"v2": 100}}]
    (fault,) = [
        fault
        for fault in compile_routes(routes_of({"reviews": {"rules": rules}}), "linkerd", SERVICES).diagnostics
        if fault.code == "MSH134"
    ]
    assert shown in fault.message


@pytest.mark.parametrize(
    "change",
    [
        {"backends": {"v1": 90, "v2": 10}},
        {"headers": {"response": {"remove": ["x"]}}},
        {"timeout": "2s"},
        {"retries": 2},
        {"redirect": {"path": "/b"}},
    ],
)
def test_rules_with_the_same_outcome_may_stand_in_any_order(change: dict[str, Any]) -> None:
    def codes(one: dict[str, Any], two: dict[str, Any]) -> set[str]:
        rules = [{"match": {"method": "GET"}, **one}, {"match": {"headers": {"x": "1"}}, **two}]
        found = compile_routes(routes_of({"reviews": {"rules": rules}}), "linkerd", SERVICES).diagnostics
        return {fault.code for fault in found if fault.severity == "error"}

    assert codes(change, change) == set()
    assert codes(change, {"backends": {"v1": 100}}) == codes({"backends": {"v1": 100}}, change) == {"MSH134"}


def test_an_earlier_rule_that_takes_the_whole_overlap_keeps_the_order() -> None:
    both = {"match": {"method": "GET", "headers": {"x": "1"}}, "backends": {"v3": 100}}
    method = {"match": {"method": "GET"}, "backends": {"v1": 100}}
    header = {"match": {"headers": {"x": "1"}}, "backends": {"v2": 100}}
    compilation = compile_routes(routes_of({"reviews": {"rules": [both, method, header]}}), "linkerd", SERVICES)
    assert {d.code for d in compilation.diagnostics} == {"MSH130"}
    decision = evaluate(compilation.planned[0], request_from("/", headers=[("x", "1")]))
    assert decision.shares == (("v3", 100),)
