"""Whose objects are whose, and what an interrupted run left behind."""

import json
from typing import Any

import pytest

from components.diagnostics import render
from components.manifests import ObjectRef, object_ref
from stacks import ownership, state

OWNER = "organization/meshup/dev"
NAMESPACE = ObjectRef("v1", "Namespace", "bookinfo")


FORMER = "organization/meshup/old"
URN = "urn:pulumi:dev::meshup::kubernetes:core/v1:Namespace::anything"
HAS_IT = {NAMESPACE: URN}
CLAIMS: dict[str, tuple[str | None, dict[str, dict[ObjectRef, str] | None], list[str]]] = {
    "not there": (None, {}, []),
    "ours": (OWNER, {}, []),
    "ours, and in the state": (OWNER, {OWNER: HAS_IT}, []),
    "nobody's": ("", {OWNER: {}}, ["MSH026"]),
    "nobody's, and the state can't be read": ("", {OWNER: None}, ["MSH026"]),
    "nobody's, and imported": ("", {OWNER: HAS_IT}, ["taken"]),
    "another stack's": (FORMER, {OWNER: {}, FORMER: HAS_IT}, ["MSH026"]),
    "of a stack that is gone, and never ours": (FORMER, {OWNER: {}, FORMER: {}}, ["MSH026"]),
    "of a stack that is renamed, or has moved": (FORMER, {OWNER: HAS_IT, FORMER: {}}, ["taken", FORMER]),
    "in the states of two stacks": (FORMER, {OWNER: HAS_IT, FORMER: HAS_IT}, ["MSH036"]),
    "in ours, and the other state can't be read": (FORMER, {OWNER: HAS_IT, FORMER: None}, ["MSH036"]),
}
"""By name: the stack that the object carries, what the states have, and what comes of it."""


@pytest.mark.parametrize("name", CLAIMS)
def test_only_an_object_of_this_stack_is_taken_over(name: str) -> None:
    carried, states, expected = CLAIMS[name]
    metadata: dict[str, Any] = {"annotations": {ownership.ANNOTATION: carried} if carried else None}
    there = {} if carried is None else {NAMESPACE: metadata}
    found = ownership.claims([NAMESPACE], there, OWNER, lambda stack: states.get(stack, {}))
    taken = ["taken"] if found.taken_over else []
    errors = [fault for fault in found.diagnostics if fault.severity == "error"]
    assert [*taken, *found.former, *(fault.code for fault in errors)] == expected
    assert found.taken_over in ({}, HAS_IT)
    assert [fault.code for fault in found.diagnostics if fault not in errors] == ["MSH037" for _ in taken]
    assert all(fault.path == "Namespace/bookinfo" for fault in errors)


def test_the_state_is_not_asked_while_every_object_carries_the_stack() -> None:
    there = {NAMESPACE: {"annotations": {ownership.ANNOTATION: OWNER}}}

    def ask(stack: str) -> dict[ObjectRef, str]:
        raise AssertionError(stack)

    assert ownership.claims([NAMESPACE], there, OWNER, ask).diagnostics == ()


def test_the_report_names_the_command_that_hands_an_object_over_and_suggests_no_removal() -> None:
    route = ObjectRef("gateway.networking.k8s.io/v1", "HTTPRoute", "reviews", "bookinfo")
    there: dict[ObjectRef, dict[str, Any]] = {NAMESPACE: {}, route: {"annotations": {ownership.ANNOTATION: FORMER}}}
    found = ownership.claims([NAMESPACE, route], there, OWNER, lambda _: {}).diagnostics
    first, second = found
    # A command that is broken over lines would run in parts when it is copied.
    commands = [line.strip() for line in render(found).splitlines() if line.strip().startswith("kubectl")]
    assert [line.rsplit(" ", 1)[-1] for line in commands] == [f"meshup/stack={OWNER}"] * 2
    assert f"kubectl annotate namespace bookinfo meshup/stack={OWNER}" in first.remedy
    assert "with everything in it" in first.remedy
    assert (
        "kubectl annotate --overwrite --namespace bookinfo httproute.v1.gateway.networking.k8s.io reviews "
        f"meshup/stack={OWNER}" in second.remedy
    )
    # To import what another stack has, or to delete it, would take it from that stack.
    for fault in (first, second):
        assert "pulumi import" not in fault.remedy
        assert "kubectl delete" not in fault.remedy


@pytest.mark.parametrize(
    ("error", "is_absent"),
    [
        (f'invocation of pulumi:pulumi:readStackResourceOutputs returned an error: unknown stack "{FORMER}"', True),
        # Asked of a backend of files for a stack of Pulumi Cloud.
        ("invocation of f returned an error: organization name must be 'organization'", True),
        ('invocation of f returned an error: unknown stack "another"', False),
        ("invocation of f returned an error: incorrect passphrase", False),
        ("", False),
    ],
)
def test_a_stack_that_is_not_there_is_told_from_one_that_can_not_be_read(error: str, is_absent: bool) -> None:
    assert state.absent(FORMER, error) == ({} if is_absent else None)


def test_a_state_has_the_objects_of_its_resources_and_those_in_the_releases_of_the_traffic() -> None:
    def resource(type_: str, api_version: str, kind: str, **metadata: str) -> dict[str, Any]:
        return {"type": type_, "outputs": {"apiVersion": api_version, "kind": kind, "metadata": metadata}}

    route = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "s", "namespace": "a"},
    }
    release = "kubernetes:helm.sh/v3:Release"
    listed = {
        "namespace": resource("kubernetes:core/v1:Namespace", "v1", "Namespace", name="bookinfo"),
        "patch": resource("kubernetes:core/v1:ServicePatch", "v1", "Service", name="web", namespace="shop"),
        "traffic": {
            "type": release,
            "outputs": {
                "name": "meshup-traffic-1-a",
                "namespace": "a",
                "values": {"objects": {"x": json.dumps(route)}},
            },
        },
        "istiod": {
            "type": release,
            "outputs": {"name": "istiod", "namespace": "istio-system", "values": {"objects": {"x": "no object"}}},
        },
        "component": {"type": "meshup:index:Istio", "outputs": {"namespace": "istio-system"}},
        "provider": {"type": "pulumi:providers:kubernetes", "outputs": {"kubeconfig": "x"}},
    }
    assert state.objects(listed) == {
        NAMESPACE: "namespace",
        object_ref(route): "traffic",
        state.release_ref("meshup-traffic-1-a", "a"): "traffic",
        state.release_ref("istiod", "istio-system"): "istiod",
    }


def record(release: str, revision: int, status: str) -> dict[str, Any]:
    return {"name": f"sh.helm.release.v1.{release}.v{revision}", "labels": {"status": status}}


def test_a_release_is_handed_over_by_its_last_record() -> None:
    first, last = record("istiod", 9, "superseded"), record("istiod", 10, "deployed")
    mine = {"annotations": {ownership.ANNOTATION: OWNER}}
    assert ownership.handed_over("istiod", [first, last | mine], OWNER)
    assert not ownership.handed_over("istiod", [first | mine, last], OWNER)
    assert not ownership.handed_over("istiod", [last | mine], "organization/meshup/other")
    assert not ownership.handed_over("istiod", [record("istiod", 1, "pending-install") | mine], OWNER)
    assert not ownership.handed_over("istio", [last | mine], OWNER)


RECORDS = [
    record("istiod", 2, "pending-upgrade"),
    record("istiod", 1, "deployed"),
    record("istiod-canary", 1, "pending-install"),
    {"name": "istio-ca-secret"},
]


def test_before_a_create_no_record_of_the_release_may_be_left() -> None:
    names = ["sh.helm.release.v1.istiod.v1", "sh.helm.release.v1.istiod.v2"]
    assert ownership.stale_records("istiod", "create", RECORDS) == names


def test_before_an_update_only_what_is_pending_is_taken_away() -> None:
    assert ownership.stale_records("istiod", "update", RECORDS) == ["sh.helm.release.v1.istiod.v2"]


def test_the_mark_of_the_stack_joins_the_annotations_that_are_there() -> None:
    assert ownership.with_owner({"name": "a", "annotations": {"b": "c"}}, OWNER) == {
        "name": "a",
        "annotations": {"b": "c", ownership.ANNOTATION: OWNER},
    }
