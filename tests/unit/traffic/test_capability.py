"""Every cell of the capability matrix: a feature compiles to the target, or is refused by its code at its field."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from components.diagnostics import errors, render
from components.diagnostics.validation import Form, keys_of
from components.meshes import TARGETS
from components.traffic import Compilation, parse
from components.traffic.capability import FEATURES, Feature, matrix
from components.traffic.checks import check_routes
from components.traffic.component import ROUTE_KINDS
from components.traffic.evaluate import policies
from components.traffic.grammar import MatchForm, RouteForm, RuleForm
from components.traffic.model import Route, Rule
from components.traffic.targets import Target
from tests.unit.traffic.helpers import SERVICES, compile_routes, routes_of
from tests.unit.traffic.schemas import faults_of_object

CELLS = [(feature, target) for feature in FEATURES for target in TARGETS]
POSSIBLE = [(feature, target) for feature, target in CELLS if feature.name not in target.refusals]


NO_FEATURE = {"api", "namespace", "ports", "versions", "selector", "headless", "slo"}
"""Keys that say which Service is meant, what it is compiled to, and what is to be measured."""
BY_DEFAULT = {"retries-off"}
"""Features that some target has when nobody asks for them."""


def cell_name(value: Feature[Route] | Target) -> str:
    return value.name


HEADLESS: dict[str, Any] = {"rules": [{"timeout": "2s"}]}


def routes_for(feature: Feature[Route], target: Target) -> list[Route]:
    """The feature's example, with the API of the target asked for."""
    routes = routes_of({"reviews": {**(feature.example or HEADLESS), "api": target.api}})
    if feature.name == "headless":
        routes = [replace(route, service=replace(route.service, headless=True)) for route in routes]
    if feature.name == "retry-grpc":
        # On Linkerd a GRPCRoute needs a port that serves nothing else.
        routes = [replace(route, port=replace(route.port, name="grpc")) for route in routes]
    return routes


def compiled(feature: Feature[Route], target: Target) -> Compilation:
    return compile_routes(routes_for(feature, target), target.mesh)


@pytest.mark.parametrize(("feature", "target"), CELLS, ids=cell_name)
def test_a_cell_compiles_or_is_refused_at_its_field(feature: Feature[Route], target: Target) -> None:
    routes = routes_for(feature, target)
    wanted = {where for route in routes for where in feature.uses(route)}
    assert wanted, "the example of the feature does not use it"
    compilation = compile_routes(routes, target.mesh)
    reason = target.refusals.get(feature.name)
    if reason:
        refused = {
            diagnostic.path
            for diagnostic in errors(compilation.diagnostics)
            if diagnostic.code == "MSH131" and reason in diagnostic.message
        }
        assert wanted <= refused, render(compilation.diagnostics)
        assert not compilation.manifests
    else:
        assert not errors(compilation.diagnostics), render(compilation.diagnostics)
        assert compilation.manifests or compilation.patches


@pytest.mark.parametrize(("feature", "target"), POSSIBLE, ids=cell_name)
def test_what_a_cell_compiles_to_is_valid_by_the_real_crds(feature: Feature[Route], target: Target) -> None:
    for item in compiled(feature, target).objects:
        assert not faults_of_object(item.manifest)
        # Releases of routes come after those of destinations.
        assert not item.names or item.manifest["kind"] in ROUTE_KINDS


@pytest.mark.parametrize(("feature", "target"), POSSIBLE, ids=cell_name)
def test_what_a_cell_asks_for_is_in_the_objects(feature: Feature[Route], target: Target) -> None:
    asked = compiled(feature, target)
    for where in (where for route in routes_for(feature, target) for where in feature.uses(route)):
        without = {"reviews": json.loads(json.dumps({**(feature.example or HEADLESS), "api": target.api}))}
        *above, last = [int(part) if part.isdecimal() else part for part in re.findall(r"\w+", where)[2:]]
        at: Any = without
        for key in above:
            at = at[key]
        if last in at or isinstance(at, list):
            del at[last]
        routes, faults = parse(without, "meshup:traffic", SERVICES)
        compilation = compile_routes(routes, target.mesh)
        same = (compilation.manifests, compilation.patches) == (asked.manifests, asked.patches)
        assert faults or not same or feature.name in BY_DEFAULT, where


@pytest.mark.parametrize("form", [RouteForm, RuleForm, MatchForm])
def test_every_key_belongs_to_a_feature(form: type[Form]) -> None:
    """A key that no feature uses could be read and dropped."""
    used = set(re.findall(r'"(\w+)":', json.dumps([feature.example for feature in FEATURES])))
    assert set(keys_of(form)) - used <= NO_FEATURE


EDGE = ("gateway", "hosts", "paths")
POLICIES = {
    key: value for feature in FEATURES for key, value in feature.example.items() if key not in ("split", "rules", *EDGE)
}
OF_A_PORT = {"rateLimit", "egress"}


@pytest.mark.parametrize("key", POLICIES)
def test_a_policy_alone_is_a_route_and_explain_names_it(key: str) -> None:
    (route,) = routes_of({"reviews": {key: POLICIES[key]}})
    assert key == "egress" or policies(route, Rule("all"))


@pytest.mark.parametrize("key", sorted(POLICIES.keys() - OF_A_PORT))
def test_a_policy_of_a_service_is_declared_for_one_of_its_ports(key: str) -> None:
    entry = {"service": "gateway", key: POLICIES[key]}
    routes = routes_of({"a": {**entry, "port": 80}, "b": {**entry, "port": 9000}})
    assert "MSH152" in {diagnostic.code for diagnostic in check_routes(routes)}


def test_every_feature_is_possible_somewhere() -> None:
    assert all("" in reasons for _, reasons in matrix(FEATURES, TARGETS))


def test_targets_refuse_only_features_that_there_are() -> None:
    assert {name for target in TARGETS for name in target.refusals} <= {feature.name for feature in FEATURES}


@pytest.mark.parametrize("rule", [{"rewrite": {"prefix": "/v2"}}, {"rewrite": {"prefix": "/v2", "host": "a.b"}}])
def test_a_special_case_of_what_is_refused_is_not_refused_again(rule: dict[str, Any]) -> None:
    routes = routes_of({"reviews": {"rules": [{**rule, "backends": {"v1": 100}}]}})
    refused = [fault.path for fault in compile_routes(routes, "linkerd").diagnostics if fault.code == "MSH131"]
    assert len(refused) == len(set(refused)) == len(rule["rewrite"])
