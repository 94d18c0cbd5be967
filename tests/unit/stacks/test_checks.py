"""A plan against a cluster of plain data: what is taken over, and what is refused before the first resource."""

from typing import Any

from components.manifests import Manifest, ObjectRef
from stacks.cluster import ClusterView
from stacks.ownership import ANNOTATION
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import GATEWAY_API, OWNER, FakeCluster, compare, item, stack_of, view_of


def namespace(name: str, owner: str = "") -> Manifest:
    return item("Namespace", {"name": name, "annotations": {ANNOTATION: owner} if owner else {}})


def codes(view: ClusterView, **keys: Any) -> list[tuple[str, str]]:
    return [(fault.code, fault.path) for fault in compare(raw(**keys), view)[2]]


def test_an_empty_cluster_has_nothing_against_the_plan() -> None:
    assert codes(ClusterView(FakeCluster([]), "v1.36.3")) == []


def test_what_an_interrupted_run_of_this_stack_made_is_taken_over() -> None:
    plan, claims, found = compare(raw(), view_of(namespace("bookinfo", OWNER)))
    assert [namespace["name"] for namespace in plan.namespaces] == ["bookinfo"]
    assert (claims.taken_over, found) == ({}, [])


def test_what_belongs_to_somebody_else_is_refused() -> None:
    view = view_of(namespace("bookinfo"), namespace("istio-system", "a/meshup/prod"), namespace("x"))
    assert sorted(codes(view)) == [("MSH026", "Namespace/bookinfo"), ("MSH026", "Namespace/istio-system")]


def test_another_mesh_and_a_control_plane_that_would_go_first_are_refused() -> None:
    webhooks = [{"name": "object.sidecar-injector.istio.io", "clientConfig": {"url": "https://mesh.example/inject"}}]
    istiod = {
        "name": "istiod",
        "namespace": "istio-system",
        "labels": {"app": "istiod", "app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"},
    }
    view = view_of(
        namespace("istio-system", OWNER),
        item("MutatingWebhookConfiguration", {"name": "istio-sidecar-injector-managed"}, webhooks=webhooks),
        item("Deployment", istiod),
    )
    assert codes(view, istio={"revision": "canary"}) == [("MSH321", "meshup:mesh"), ("MSH326", "meshup:istio")]


def test_a_bundle_that_serves_is_left_to_its_owner_and_one_of_two_stacks_is_refused() -> None:
    plan, _, found = compare(raw(mesh="linkerd"), view_of())
    assert (plan.gateway_api, found) == ((), [])
    mine = [
        {**crd, "metadata": {**crd["metadata"], "annotations": {ANNOTATION: "a/meshup/prod"}}} for crd in GATEWAY_API
    ]
    stack = stack_of(states=lambda _: dict.fromkeys(refs(mine), "urn"))
    view = ClusterView(FakeCluster(mine), "v1.36.3")
    assert {fault.code for fault in compare(raw(mesh="linkerd"), view, stack)[2]} == {"MSH036"}


def refs(crds: list[Manifest]) -> list[ObjectRef]:
    version = "apiextensions.k8s.io/v1"
    return [ObjectRef(version, crd["kind"], crd["metadata"]["name"]) for crd in crds]


def test_every_right_that_is_missing_is_in_one_report() -> None:
    kinds = ["Namespace", "Node", "CustomResourceDefinition", "ValidatingAdmissionPolicy", "Secret"]
    kinds += ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
    found = compare(raw(mesh="linkerd"), view_of(refused=kinds))[2]
    assert {fault.code for fault in found} == {"MSH024"}
    messages = [fault.message for fault in found]
    assert all(any(f"list {kind} in" in message for message in messages) for kind in kinds)
    assert "somebody may not list Secret in linkerd." in messages


def test_what_is_seen_in_an_incomplete_list_is_not_reported() -> None:
    """With unknown nodes there are none, and with unknown namespaces every webhook is somebody else's."""
    linkerd = {"highAvailability": True}
    assert codes(view_of(), mesh="linkerd", linkerd=linkerd) == [("MSH316", "meshup:linkerd.highAvailability")]
    assert codes(view_of(refused=["Node"]), mesh="linkerd", linkerd=linkerd) == [("MSH024", "kubernetes:context")]
