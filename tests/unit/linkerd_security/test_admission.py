"""The API server and Linkerd's webhook take whatever is written."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given

from components.manifests import Manifest
from components.meshes import MESHES
from components.security.capability import FEATURES
from components.security.compile import compile_policy
from components.security.model import Policy
from components.security.world import World
from components.traffic.capability import Feature
from tests.unit.linkerd_security.test_property import POLICIES, written
from tests.unit.security.test_parse import legal
from tests.unit.traffic.schemas import faults_of_object

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
# linkerd2 b24cd4059, policy-controller/runtime/src/admission.rs; gateway-api v1.5.1, HTTPRoute.
ACCESS = {
    "all-authenticated",
    "all-unauthenticated",
    "cluster-authenticated",
    "cluster-unauthenticated",
    "deny",
    "audit",
}
IDENTITY = re.compile(r"(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
TARGETS = {
    ("policy.linkerd.io", "Server"),
    ("policy.linkerd.io", "HTTPRoute"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("gateway.networking.k8s.io", "GRPCRoute"),
}
PATH = re.compile(r"/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")


def faults(item: Manifest) -> Iterator[str]:
    """What admission has against an object."""
    yield from faults_of_object(item)
    name, spec = item["metadata"]["name"], item.get("spec", {})
    if not NAME.fullmatch(name) or len(name) > 253:
        yield f"name {name}"
    match item["kind"]:
        case "Server":
            if spec["accessPolicy"] not in ACCESS or not spec["podSelector"]["matchLabels"]:
                yield f"Server {spec}"
        case "AuthorizationPolicy":
            target = spec["targetRef"]
            kinds = Counter(one["kind"] for one in spec["requiredAuthenticationRefs"])
            if (target["group"], target["kind"]) not in TARGETS:
                yield f"target {target}"
            if not kinds <= Counter({"MeshTLSAuthentication": 1, "NetworkAuthentication": 1}):
                yield f"references {kinds}"
        case "MeshTLSAuthentication":
            if not spec["identities"] or not all(map(IDENTITY.fullmatch, spec["identities"])):
                yield f"identities {spec}"
        case "NetworkAuthentication":
            yield from _network_faults(spec)
        case "HTTPRoute":
            yield from _route_faults(spec)
        case _:
            pass


def _network_faults(spec: Manifest) -> Iterator[str]:
    for one in spec["networks"]:
        net = ipaddress.ip_network(one["cidr"])
        for part in map(ipaddress.ip_network, one.get("except", ())):
            if part == net or not part.subnet_of(net):  # pyright: ignore[reportArgumentType] -- one version
                yield f"networks {one}"


def _route_faults(spec: Manifest) -> Iterator[str]:
    matches = [match for rule in spec["rules"] for match in rule["matches"]]
    if not 0 < len(matches) < 128:
        yield f"{len(matches)} matches"
    for match in matches:
        kind, value = match["path"]["type"], match["path"]["value"]
        unclean = any(part in value for part in ("//", "/./", "/../", "%2f", "%2F", "#")) or value.endswith(
            ("/.", "/..")
        )
        if kind != "RegularExpression" and (unclean or not PATH.fullmatch(value)):
            yield f"path {value}"
        if kind == "RegularExpression":
            re.compile(value)
        names = [one["name"] for one in match.get("headers", ())]
        if len(names) != len(set(names)):
            yield f"headers {names}"


@given(POLICIES)
def test_what_is_written_is_accepted_complete_and_always_the_same(policy: Policy) -> None:
    objects = written(policy)
    assert objects == written(policy)
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))
    assert [fault for item in objects for fault in faults(item)] == []
    names = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for item in objects:
        spec = item.get("spec", {})
        wanted = [*spec.get("requiredAuthenticationRefs", ()), *spec.get("parentRefs", ())]
        if "targetRef" in spec:
            wanted.append(spec["targetRef"])
        assert {(one["kind"], one["name"]) for one in wanted} <= names


@pytest.mark.parametrize("feature", FEATURES, ids=lambda one: one.name)
def test_a_feature_is_either_refused_or_written_without_a_fault(feature: Feature[Policy]) -> None:
    policy = legal(feature.example)
    compilation = compile_policy(policy, "linkerd", [mesh.security for mesh in MESHES.values()], World())
    refused = [one for one in compilation.diagnostics if one.severity == "error"]
    if feature.name in MESHES["linkerd"].security.refusals:
        assert {one.code for one in refused} == {"MSH501"}
        return
    assert not refused
    assert compilation.objects or compilation.guards or compilation.annotations
    own = [one.manifest for one in compilation.objects if one.manifest["kind"] != "NetworkPolicy"]
    assert [fault for item in own for fault in faults(item)] == []
