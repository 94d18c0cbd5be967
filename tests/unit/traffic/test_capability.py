"""Every cell of the capability matrix: a feature compiles to the target, or is refused by its code at its field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.diagnostics import errors, render
from components.traffic.capability import FEATURES, MATRIX, TARGETS, Feature, Target
from components.traffic.compile import Compilation, compile_routes
from components.traffic.model import Route
from tests.unit.traffic.helpers import routes_of
from tests.unit.traffic.schemas import faults_of_object

CELLS = [(feature, target) for feature in FEATURES for target in TARGETS]
POSSIBLE = [(feature, target) for feature, target in CELLS if not MATRIX[feature.name][target.name]]


def cell_name(value: Feature | Target) -> str:
    return value.name


HEADLESS: dict[str, Any] = {"rules": [{"timeout": "2s"}]}


def routes_for(feature: Feature, target: Target) -> list[Route]:
    """The feature's example, with the API of the target asked for."""
    routes = routes_of({"reviews": {**(feature.example or HEADLESS), "api": target.api}})
    if feature.name == "headless":
        routes = [replace(route, service=replace(route.service, headless=True)) for route in routes]
    if feature.name == "retry-grpc":
        # On Linkerd a GRPCRoute needs a port that serves nothing else.
        routes = [replace(route, port=replace(route.port, name="grpc")) for route in routes]
    return routes


def compiled(feature: Feature, target: Target) -> Compilation:
    return compile_routes(routes_for(feature, target), target.mesh)


@pytest.mark.parametrize(("feature", "target"), CELLS, ids=cell_name)
def test_a_cell_compiles_or_is_refused_at_its_field(feature: Feature, target: Target) -> None:
    routes = routes_for(feature, target)
    wanted = {where for route in routes for where in feature.uses(route)}
    assert wanted, "the example of the feature does not use it"
    compilation = compile_routes(routes, target.mesh)
    reason = MATRIX[feature.name][target.name]
    if reason:
        refused = {
            diagnostic.path
            for diagnostic in errors(compilation.diagnostics)
            if diagnostic.code == "MSH131" and reason in diagnostic.message
        }
        assert wanted <= refused, render(compilation.diagnostics)
        assert not compilation.objects
    else:
        assert not errors(compilation.diagnostics), render(compilation.diagnostics)
        assert compilation.objects or compilation.patches


@pytest.mark.parametrize(("feature", "target"), POSSIBLE, ids=cell_name)
def test_what_a_cell_compiles_to_is_valid_by_the_real_crds(feature: Feature, target: Target) -> None:
    for item in compiled(feature, target).objects:
        assert not faults_of_object(item)


def test_every_feature_is_possible_somewhere() -> None:
    assert all(any(not reason for reason in cells.values()) for cells in MATRIX.values())
