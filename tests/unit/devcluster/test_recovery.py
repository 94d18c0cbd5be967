import json
from typing import Any

import pytest

from devcluster import recovery
from devcluster.recovery import Operation

URN = "urn:pulumi:embedded::meshup::"
VIRTUAL_SERVICE = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "reviews", "namespace": "bookinfo"},
}


def operation(type_: str, inputs: dict[str, Any], kind: str = "creating") -> Operation:
    return Operation(kind, f"{URN}{type_}::x", type_, inputs)


def release(**inputs: Any) -> Operation:
    return operation(recovery.RELEASE, {"name": "istiod", "namespace": "istio-system", **inputs})


def test_pending_operations_are_read_from_an_exported_state() -> None:
    resource = {"urn": "u", "type": "kubernetes:core/v1:Namespace", "inputs": {"metadata": {"name": "a"}}}
    exported = {"version": 3, "deployment": {"pending_operations": [{"type": "creating", "resource": resource}]}}
    assert recovery.pending_operations(exported) == [
        Operation("creating", "u", "kubernetes:core/v1:Namespace", {"metadata": {"name": "a"}})
    ]


@pytest.mark.parametrize("exported", [{}, {"deployment": None}, {"deployment": {"pending_operations": None}}])
def test_a_state_without_any_has_none(exported: dict[str, Any]) -> None:
    assert recovery.pending_operations(exported) == []


def test_identifiers_are_those_of_the_kubernetes_plugin() -> None:
    namespace = operation("kubernetes:core/v1:Namespace", {"metadata": {"name": "bookinfo"}})
    service = operation("kubernetes:networking.istio.io/v1:VirtualService", VIRTUAL_SERVICE)
    assert recovery.identifier(namespace) == "bookinfo"
    assert recovery.identifier(service) == "bookinfo/reviews"
    assert recovery.identifier(release()) == "istio-system/istiod"
    assert recovery.identifier(operation("random:index:Id", {})) is None


def test_an_object_is_asked_for_by_its_full_kind_so_that_no_other_group_answers() -> None:
    found = recovery.probe(operation("kubernetes:networking.istio.io/v1:VirtualService", VIRTUAL_SERVICE))
    assert found is not None
    assert list(found.argv)[:4] == ["kubectl", "get", "VirtualService.v1.networking.istio.io", "reviews"]
    assert "bookinfo" in found.argv


def test_what_is_not_kubernetes_is_not_asked_for() -> None:
    assert recovery.probe(operation("tls:index:Key", {"metadata": {"name": "x"}})) is None


@pytest.mark.parametrize(
    ("code", "output", "verdict"),
    [
        (0, json.dumps({"info": {"status": "deployed"}}), "there"),
        (0, json.dumps({"info": {"status": "pending-install"}}), "half"),
        (0, json.dumps({"info": {"status": "failed"}}), "half"),
        (1, "", "gone"),
    ],
)
def test_a_release_counts_only_when_helm_calls_it_deployed(code: int, output: str, verdict: str) -> None:
    assert recovery.judge(release(), code, output) == verdict


def test_an_object_that_kubectl_does_not_print_is_gone() -> None:
    service = operation("kubernetes:networking.istio.io/v1:VirtualService", VIRTUAL_SERVICE)
    assert recovery.judge(service, 0, "virtualservice.networking.istio.io/reviews\n") == "there"
    assert recovery.judge(service, 0, "") == "gone"
    assert recovery.judge(service, 1, "") == "gone"
