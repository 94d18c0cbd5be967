"""Which live namespaces are in a mesh, by the rules of each."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.mesh_namespace import MeshNamespaceArgs, metadata
from components.meshes import MESHES

INJECTION, REVISION, INJECT = "istio-injection", "istio.io/rev", "linkerd.io/inject"


@pytest.mark.parametrize(
    ("labels", "member_of"),
    [
        ({}, set[str]()),
        ({INJECTION: "enabled"}, {"", "default"}),
        ({INJECTION: "disabled"}, set[str]()),
        ({INJECTION: "true"}, set[str]()),
        ({REVISION: "canary"}, {"canary"}),
        ({REVISION: "default"}, {"", "default"}),
        ({REVISION: "canary", INJECTION: "enabled"}, {"", "default"}),
        ({REVISION: "canary", INJECTION: "disabled"}, set[str]()),
    ],
)
def test_istio_reads_the_injection_label_first_and_then_the_revision(labels: dict[str, str], member_of: Any) -> None:
    istio = MESHES["istio"]
    names = ("", "default", "canary", "other")
    assert {name for name in names if istio.is_member({"labels": labels}, name)} == member_of
    assert not istio.is_member({"annotations": labels})


@pytest.mark.parametrize(
    ("metadata", "is_member"),
    [
        ({}, False),
        ({"annotations": None}, False),
        ({"annotations": {INJECT: "enabled"}}, True),
        ({"annotations": {INJECT: "ingress"}}, True),
        ({"annotations": {INJECT: "disabled"}}, False),
        ({"annotations": {INJECT: "true"}}, False),
        # A label does nothing.
        ({"labels": {INJECT: "enabled"}}, False),
    ],
)
def test_linkerd_reads_its_annotation(metadata: dict[str, Any], *, is_member: bool) -> None:
    assert MESHES["linkerd"].is_member(metadata) is is_member
    assert not MESHES["linkerd"].is_member(metadata, "canary")


@given(st.sampled_from([*MESHES, "none"]), st.sampled_from([None, "canary", "default"]))
def test_a_namespace_that_meshup_makes_is_a_member_of_its_mesh_alone(mesh: str, revision: str | None) -> None:
    live = metadata(MeshNamespaceArgs.of({"name": "a", "mesh": mesh, "revision": revision}))
    asked = (revision or "") if mesh == "istio" else ""
    assert {name for name, known in MESHES.items() if known.is_member(live, asked)} == {mesh} - {"none"}
