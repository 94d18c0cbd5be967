"""What must hold for every configuration: hypothesis looks for one for which it does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.diagnostics import errors, render
from components.meshes.istio.virtual_service import VIRTUAL_SERVICE
from components.meshes.linkerd.http_route import LINKERD_ROUTE
from components.traffic import parse, patterns
from components.traffic.evaluate import Request, evaluate
from components.traffic.manifests import reference
from components.traffic.model import Match, Route, Rule, TextMatch
from components.traffic.overlap import PATH_TEXTS, covers, disjoint, path_matches
from components.traffic.precedence import outcome
from components.traffic.targets import Planned
from tests.unit.traffic.helpers import PATH, SERVICES, compile_routes, parsed
from tests.unit.traffic.schemas import ROOT, faults_of_object
from tests.unit.traffic.strategies import (
    PATHS,
    PATTERNS,
    configurations,
    edge_configurations,
    nonsense,
    requests,
    wild_configurations,
)

MESHES: tuple[str, ...] = ("istio", "linkerd")
meshes = st.sampled_from(MESHES)


@given(nonsense, meshes)
def test_any_value_gives_routes_or_diagnostics_and_never_an_exception(raw: object, mesh: str) -> None:
    routes, diagnostics = parsed(raw)
    compilation = compile_routes(routes, mesh, SERVICES)
    assert isinstance(render([*diagnostics, *compilation.diagnostics]), str)


@given(st.dictionaries(st.sampled_from(["reviews", "ratings"]), nonsense), meshes)
def test_any_body_of_a_route_gives_diagnostics_and_never_an_exception(raw: object, mesh: str) -> None:
    routes, diagnostics = parsed(raw)
    compile_routes(routes, mesh, SERVICES)
    assert all(diagnostic.path.startswith(PATH) for diagnostic in diagnostics)


@given(st.one_of(configurations(), edge_configurations()), meshes)
def test_two_compilations_of_one_configuration_are_the_same_bytes(raw: dict[str, Any], mesh: str) -> None:
    first, second = (compile_routes(parsed(raw)[0], mesh, SERVICES) for _ in range(2))
    assert json.dumps(first.manifests) == json.dumps(second.manifests)
    assert json.dumps(first.summaries) == json.dumps(second.summaries)
    assert first.diagnostics == second.diagnostics


def test_another_process_with_other_hashes_compiles_the_same_bytes() -> None:
    def digest(seed: str) -> str:
        argv = [sys.executable, "-m", "tests.unit.traffic.digest"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert len({digest(seed) for seed in ("0", "1", "2")}) == 1


@given(configurations(), meshes)
def test_an_error_means_no_object_and_no_error_means_objects(raw: dict[str, Any], mesh: str) -> None:
    routes, faults = parsed(raw)
    assert not faults, render(faults)
    compilation = compile_routes(routes, mesh, SERVICES)
    assert bool(errors(compilation.diagnostics)) != bool(compilation.manifests)


@given(configurations(), meshes)
def test_every_object_is_valid_by_the_real_crds(raw: dict[str, Any], mesh: str) -> None:
    compilation = compile_routes(parsed(raw)[0], mesh, SERVICES)
    for item in compilation.manifests:
        assert not faults_of_object(item)


@given(st.one_of(wild_configurations, edge_configurations()), meshes)
def test_every_object_of_wild_values_is_valid_by_the_real_crds(raw: dict[str, Any], mesh: str) -> None:
    for item in compile_routes(parsed(raw)[0], mesh, SERVICES).manifests:
        assert not faults_of_object(item)


@given(st.one_of(configurations(), edge_configurations()), meshes)
def test_objects_are_unique_and_named_in_the_summaries(raw: dict[str, Any], mesh: str) -> None:
    compilation = compile_routes(parsed(raw)[0], mesh, SERVICES)
    names = [reference(item) for item in compilation.manifests]
    assert len(names) == len(set(names))
    listed = {name for summary in compilation.summaries.values() for name in summary["objects"]}
    assert listed == {*names, *(reference(patch) for patch in compilation.patches)}


@given(configurations(), meshes)
def test_the_weights_of_every_compiled_rule_sum_to_100(raw: dict[str, Any], mesh: str) -> None:
    for item in compile_routes(parsed(raw)[0], mesh, SERVICES).manifests:
        rules: list[dict[str, Any]] = item["spec"].get("http") or item["spec"].get("rules") or []
        for rule in rules:
            backends: list[dict[str, Any]] | None = rule.get("route") or rule.get("backendRefs")
            if backends:
                assert sum(backend["weight"] for backend in backends) == 100


@given(configurations(), meshes, st.lists(requests, min_size=1, max_size=8))
def test_the_mesh_takes_the_rule_that_stands_first(raw: dict[str, Any], mesh: str, asked: list[Request]) -> None:
    """What is not refused keeps the order of the list on either mesh, and has a rule for every request.

    Rules that do the same may change places.
    """
    compilation = compile_routes(parsed(raw)[0], mesh, SERVICES)
    for plan in compilation.planned:
        listed = Planned(plan.route, VIRTUAL_SERVICE, "")
        for request in asked:
            first, taken = evaluate(listed, request).rule, evaluate(plan, request).rule
            assert first is not None
            assert taken is not None
            assert _same(taken, first)


def _same(one: Rule, two: Rule) -> bool:
    return one.name == two.name or any(outcome(one, a) == outcome(two, b) for a in one.matches for b in two.matches)


conditions = st.one_of(
    st.builds(TextMatch, st.sampled_from(["exact", "prefix"]), st.sampled_from(PATHS)),
    st.builds(TextMatch, st.just("regex"), st.sampled_from(PATTERNS)),
)
some_paths = st.one_of(st.sampled_from(PATHS), st.from_regex(r"\A/[ab]{0,2}(/[ab]{1,2}){0,2}\Z"))


@given(conditions, conditions, some_paths)
def test_containment_and_disjointness_of_paths_agree_with_matching(one: TextMatch, two: TextMatch, path: str) -> None:
    in_one, in_two = path_matches(one, path), path_matches(two, path)
    if PATH_TEXTS.covers(one, two):
        assert in_one or not in_two
    if PATH_TEXTS.disjoint(one, two):
        assert not (in_one and in_two)


@given(configurations(), st.lists(requests, min_size=1, max_size=6))
def test_containment_and_disjointness_of_matches_agree_with_requests(raw: dict[str, Any], asked: list[Request]) -> None:
    routes, _ = parsed(raw)
    found = [match for route in routes for rule in route.rules for match in rule.matches]
    for one in found:
        for two in found:
            for request in asked:
                in_one, in_two = (_meets(route_match, request) for route_match in (one, two))
                assert not (covers(one, two) and in_two and not in_one)
                assert not (disjoint(one, two) and in_one and in_two)


def _meets(match: Match, request: Request) -> bool:
    route = Route("x", SERVICES[0], SERVICES[0].ports[0], rules=(Rule("r", (match,)),))
    return evaluate(Planned(route, LINKERD_ROUTE, ""), request).rule is not None


simple_patterns = st.recursive(
    st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", "/"]),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("(?:{})*".format, inner),
        st.builds("(?:{})?".format, inner),
        st.builds("({}){{1,3}}".format, inner),
    ),
    max_leaves=6,
)


@given(simple_patterns, st.text(alphabet="ab/1\n\u00e9\u20ac", max_size=6))
def test_patterns_match_what_the_standard_library_matches(pattern: str, text: str) -> None:
    assert patterns.matches(pattern, text) == bool(re.fullmatch(pattern, text, re.ASCII))


@given(simple_patterns, simple_patterns, st.lists(st.text(alphabet="ab/1", max_size=5), max_size=6))
def test_containment_and_disjointness_of_patterns_agree_with_matching(one: str, two: str, texts: list[str]) -> None:
    inside, apart = patterns.contains(one, two), patterns.disjoint(one, two)
    for text in texts:
        assert not (inside and patterns.matches(two, text) and not patterns.matches(one, text))
        assert not (apart and patterns.matches(one, text) and patterns.matches(two, text))


@pytest.mark.parametrize(
    ("pattern", "outer", "contained", "apart"),
    [
        ("/api/v[12]", "/api/v[0-9]+", True, False),
        ("/api/v[0-9]+", "/api/v[12]", False, False),
        ("a+", "a*", True, False),
        ("(?:ab)+", "(?:a|b)*", True, False),
        ("a.*", "b.*", False, True),
        (r"\d{2,3}", r"\w+", True, False),
    ],
)
def test_containment_is_decided_on_the_language(pattern: str, outer: str, contained: bool, apart: bool) -> None:
    assert patterns.contains(outer, pattern) is contained
    assert patterns.disjoint(outer, pattern) is apart


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)",
        "(?i)a",
        r"a\1",
        r"\bfoo",
        "a**",
        "a++",
        "[",
        "(",
        "a{2000}",
        "(?:a{40}){26}",
        "(?:(?:a{2}b){10,}c){1,51}",
        "[[:alpha:]]",
        "a^b",
        "a$b",
        "[a&&b]",
        "é",
        "*a",
        "a{,3}",
    ],
)
def test_syntax_that_the_meshes_read_differently_is_a_fault(pattern: str) -> None:
    assert patterns.fault(pattern)


@pytest.mark.parametrize("pattern", ["(?:a{40}){25}", "(?:(?:a{2}b)+){250}", "a{1000}"])
def test_as_many_copies_as_go_and_re2_take_are_no_fault(pattern: str) -> None:
    assert not patterns.fault(pattern)


def test_no_pattern_is_slow() -> None:
    assert not patterns.matches("(a+)+b", "a" * 2000)


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), min_size=1)


@given(st.lists(LABELS, min_size=1, max_size=6))
def test_versions_that_select_each_others_pods_are_refused_and_no_others(labels: list[dict[str, str]]) -> None:
    versions = {f"v{number}": pairs for number, pairs in enumerate(labels)}
    service = {"namespace": "shop", "port": 80, "selector": {"app": "shop"}, "versions": versions}
    routes, _ = parse({"shop": {**service, "split": {"v0": 100}}}, PATH, SERVICES)
    refused = [f"'v{number}' of" for number, pairs in enumerate(labels) if _clash(pairs, labels[:number])]
    found = [fault.message for fault in compile_routes(routes, "istio", SERVICES).diagnostics if fault.code == "MSH141"]
    assert len(found) == len(refused)
    assert all(any(version in message for message in found) for version in refused)


def _clash(pairs: dict[str, str], earlier: list[dict[str, str]]) -> bool:
    return any(pairs.items() <= other.items() or other.items() <= pairs.items() for other in earlier)


def test_many_versions_are_compared_in_few_steps() -> None:
    versions = {f"v{number}": {"app": "shop", "version": str(number)} for number in range(20_000)}
    service = {"namespace": "shop", "port": 80, "selector": {"app": "shop"}, "versions": versions}
    routes, _ = parse({"shop": {**service, "split": {"v0": 100}}}, PATH, SERVICES)
    with patterns.counted() as work:
        assert not errors(compile_routes(routes, "istio", SERVICES).diagnostics)
        assert work.steps < 2 * len(versions)
