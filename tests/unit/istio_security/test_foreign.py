"""Objects of somebody else for the same pods, on Istio."""

from typing import Any

import pytest

from components.manifests import Manifest, manifest
from components.meshes.istio.security.foreign import beside

ROOT = "istio-system"
PODS = {"selector": {"matchLabels": {"app": "cart"}}}
ALL: dict[str, Any] = {}


def made(kind: str, spec: dict[str, Any], namespace: str = "shop", name: str = "own", **metadata: str) -> Manifest:
    return manifest("security.istio.io/v1", kind, name, namespace, spec, annotations=metadata)


def found(own: Manifest, other: Manifest) -> list[tuple[str, str]]:
    return [(one.code, one.severity) for one in beside([own], [other], ROOT)]


OWN = made("AuthorizationPolicy", {**PODS, "action": "ALLOW", "rules": [{}]})
RULES = {"rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}
DENY = {"action": "DENY", **RULES}


@pytest.mark.parametrize(
    ("spec", "namespace", "code"),
    [
        ({**PODS, **RULES}, "shop", "MSH572"),
        ({**ALL, **RULES}, "shop", "MSH572"),
        ({**ALL, **RULES}, ROOT, "MSH572"),
        ({**PODS, **DENY}, "shop", "MSH573"),
        ({**ALL, **DENY}, ROOT, "MSH573"),
        ({**PODS, **RULES, "action": "CUSTOM", "provider": {"name": "opa"}}, "shop", "MSH573"),
        ({**PODS, **RULES}, "bank", ""),
        ({"selector": {"matchLabels": {"app": "pay"}}, **RULES}, "shop", ""),
        ({"selector": {"matchLabels": {"tier": "web"}}, **RULES}, "shop", "MSH572"),
        (ALL, "shop", ""),
        ({**PODS, **RULES, "action": "AUDIT"}, "shop", ""),
        ({"targetRefs": [{"kind": "Service", "name": "cart"}], **RULES}, "shop", ""),
    ],
)
def test_a_policy_of_somebody_else_for_the_same_pods_allows_or_denies_beside_ours(
    spec: dict[str, Any], namespace: str, code: str
) -> None:
    other = made("AuthorizationPolicy", spec, namespace, "theirs")
    assert found(OWN, other) == ([(code, "warning")] if code else [])


def test_a_policy_of_somebody_else_that_only_counts_changes_nothing() -> None:
    counting = {"istio.io/dry-run": "true"}
    assert found(OWN, made("AuthorizationPolicy", {**PODS, **DENY}, name="theirs", **counting)) == []


OTHER_PODS = {"selector": {"matchLabels": {"app": "pay"}}}


@pytest.mark.parametrize(
    ("own", "theirs", "namespace", "result"),
    [
        (ALL, ALL, "shop", [("MSH574", "error")]),
        (PODS, PODS, "shop", [("MSH574", "error")]),
        (PODS, {"selector": {"matchLabels": {"tier": "web"}}}, "shop", [("MSH574", "error")]),
        (PODS, OTHER_PODS, "shop", []),
        (ALL, PODS, "shop", [("MSH574", "warning")]),
        (PODS, ALL, "shop", []),
        (ALL, ALL, "bank", []),
    ],
)
def test_of_two_modes_for_the_same_pods_istio_follows_one(
    own: dict[str, Any], theirs: dict[str, Any], namespace: str, result: list[tuple[str, str]]
) -> None:
    other = made("PeerAuthentication", {**theirs, "mtls": {"mode": "PERMISSIVE"}}, namespace, "theirs")
    assert found(made("PeerAuthentication", own), other) == result


def test_a_second_mode_of_the_whole_mesh_is_refused_and_one_for_some_pods_there_is_ignored() -> None:
    own = made("PeerAuthentication", ALL, ROOT)
    assert found(own, made("PeerAuthentication", ALL, ROOT, "theirs")) == [("MSH574", "error")]
    assert found(own, made("PeerAuthentication", PODS, ROOT, "theirs")) == []


def test_an_issuer_whose_tokens_two_objects_read_is_refused() -> None:
    rules = {"jwtRules": [{"issuer": "a"}, {"issuer": "b"}]}
    own = made("RequestAuthentication", {**PODS, **rules})
    assert found(own, made("RequestAuthentication", {"jwtRules": [{"issuer": "b"}]}, ROOT, "theirs")) == [
        ("MSH575", "error")
    ]
    assert found(own, made("RequestAuthentication", {"jwtRules": [{"issuer": "c"}]}, ROOT, "theirs")) == []


def test_a_second_sidecar_of_a_namespace_is_refused() -> None:
    own, theirs = made("Sidecar", ALL), made("Sidecar", ALL, name="theirs")
    assert found(own, theirs) == [("MSH574", "error")]
    some = {"workloadSelector": {"labels": {"app": "cart"}}}
    assert found(own, made("Sidecar", some, name="theirs")) == [("MSH574", "warning")]
