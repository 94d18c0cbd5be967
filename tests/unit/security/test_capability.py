"""Every cell of the capability matrix: a mesh writes the feature, or refuses it by its code at its field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from components.apps import bookinfo
from components.diagnostics import Diagnostic, errors, render
from components.meshes import MESHES
from components.security.capability import FEATURES
from components.security.compile import SecurityCompilation, compile_policy
from components.security.model import Account, Policy
from components.security.parse import parse
from components.security.plane import SecurityPlane
from components.security.workloads import read_workloads
from components.security.world import World
from components.traffic.capability import Feature
from tests.unit.traffic.schemas import faults_of_object, schemas

NAMES = """
    mtls-namespace mtls-service mtls-port mtls-disable caller-account caller-namespace caller-gateway caller-mesh
    caller-everybody caller-trust-domain caller-foreign-account caller-cidr caller-identity-and-cidr port method
    path-exact path-prefix path-template header header-prefix header-present host grpc claims deny jwt jwt-uri
    jwt-headers audit-rule default-deny default-audit egress-deny egress-http egress-https egress-tcp egress-networks
    network-policy
"""
PLANES = [mesh.security for mesh in MESHES.values()]
CELLS = [(feature, plane) for feature in FEATURES for plane in PLANES]
POSSIBLE = [(feature, plane) for feature, plane in CELLS if feature.name not in plane.refusals]
SERVICES = bookinfo.services()
GATEWAYS = {"public": Account("meshup-gateways", "public")}
WORLD = World(
    tuple(SERVICES),
    read_workloads(bookinfo.manifests(bookinfo.DEFAULTS), bool),
    gateways=GATEWAYS,
    control_plane="control-plane",
)
SILENT = {"port": "reviews has one port"}
"""Features whose objects may be the same without them, and why."""


def cell_name(value: Feature[Policy] | SecurityPlane) -> str:
    return value.name


def parsed(raw: Mapping[str, Any]) -> tuple[Policy, list[Diagnostic]]:
    return parse(
        raw, "meshup:security", SERVICES, mode="strict", environment="dev", today=date(2026, 12, 1), gateways=GATEWAYS
    )


def compiled(raw: Mapping[str, Any], plane: SecurityPlane) -> SecurityCompilation:
    policy, diagnostics = parsed(raw)
    assert not errors(diagnostics), render(diagnostics)
    return compile_policy(policy, plane.name, PLANES, WORLD)


def written(made: SecurityCompilation) -> str:
    objects = [(item.phase, item.manifest) for item in made.objects]
    return json.dumps([objects, [str(guard) for guard in made.guards], made.annotations])


def test_the_features_have_the_names_that_meshes_refuse_by() -> None:
    names = {feature.name for feature in FEATURES}
    assert names == set(NAMES.split())
    assert len({feature.title for feature in FEATURES}) == len(FEATURES)
    for plane in PLANES:
        assert set(plane.refusals) <= names


@pytest.mark.parametrize(("feature", "plane"), CELLS, ids=cell_name)
def test_a_cell_is_written_or_refused_at_its_field(feature: Feature[Policy], plane: SecurityPlane) -> None:
    made = compiled(feature.example, plane)
    reason = plane.refusals.get(feature.name)
    if reason and feature.special_case_of not in plane.refusals:
        refused = {
            fault.path for fault in errors(made.diagnostics) if fault.code == "MSH501" and reason in fault.message
        }
        assert set(feature.uses(parsed(feature.example)[0])) <= refused, render(made.diagnostics)
    if reason:
        assert errors(made.diagnostics)
        assert not (made.objects or made.guards or made.annotations)
    else:
        assert not errors(made.diagnostics), render(made.diagnostics)
        assert made.objects or made.guards or made.annotations


@pytest.mark.parametrize(("feature", "plane"), POSSIBLE, ids=cell_name)
def test_what_a_cell_writes_is_valid_by_the_crds(feature: Feature[Policy], plane: SecurityPlane) -> None:
    made = compiled(feature.example, plane)
    for item in made.objects:
        kind = item.manifest["apiVersion"], item.manifest["kind"]
        assert kind in schemas() or kind == ("networking.k8s.io/v1", "NetworkPolicy")
        assert kind not in schemas() or faults_of_object(item.manifest) == []


@pytest.mark.parametrize(("feature", "plane"), POSSIBLE, ids=cell_name)
def test_the_same_policy_gives_the_same_bytes(feature: Feature[Policy], plane: SecurityPlane) -> None:
    assert written(compiled(feature.example, plane)) == written(compiled(feature.example, plane))


@pytest.mark.parametrize(("feature", "plane"), POSSIBLE, ids=cell_name)
def test_what_a_cell_asks_for_is_in_what_it_writes(feature: Feature[Policy], plane: SecurityPlane) -> None:
    whole = written(compiled(feature.example, plane))
    for where in feature.uses(parsed(feature.example)[0]):
        without: Any = json.loads(json.dumps(feature.example))
        *above, last = [int(part) if part.isdecimal() else part for part in re.findall(r"\w+", where)[2:]]
        at: Any = without
        for key in above:
            at = at[key]
        del at[last]
        policy, faults = parsed(without)
        same = not errors(faults) and written(compile_policy(policy, plane.name, PLANES, WORLD)) == whole
        assert not same or feature.name in SILENT, where
