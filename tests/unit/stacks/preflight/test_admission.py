"""What is tried in a dry run, and how the answers are read: the texts are those of an API server of Kubernetes 1.36."""

from typing import Any

import pytest

from components.manifests import Manifest, ObjectRef
from stacks.cluster import Answer, Resource
from stacks.preflight import Probes, admission
from stacks.preflight.admission import OBJECTS, PODS, code_of
from stacks.preflight.model import Subject
from tests.unit.stacks.fake_view import item
from tests.unit.stacks.preflight.subjects import found, subject

SHOP: dict[str, Any] = {"apps": [], "traffic": {}, "namespaces": {"shop": {}}}
KINDS = {
    ("v1", "Namespace"): Resource("namespaces", False),
    ("v1", "Service"): Resource("services", True),
    ("networking.istio.io/v1", "VirtualService"): Resource("virtualservices", True),
}
WEBHOOK = item(
    "MutatingWebhookConfiguration", {"name": "injector"}, webhooks=[{"name": "namespace.sidecar-injector.istio.io"}]
)

REFUSALS = {
    'failed calling webhook "a.example": failed to call webhook: service "a" not found': ("MSH704", "MSH704"),
    'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation': ("MSH705", "MSH705"),
    'pods "x" is forbidden: exceeded quota: q, requested: limits.cpu=2, used: 0, limited: 1': ("MSH706", "MSH706"),
    'pods "x" is forbidden: failed quota: q: must specify requests.cpu for: app': ("MSH706", "MSH706"),
    'pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2': ("MSH706", "MSH706"),
    'admission webhook "v.example" denied the request: no team label': ("MSH703", "MSH707"),
    "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no": ("MSH703", "MSH707"),
    'clusterroles.rbac.authorization.k8s.io "x" is forbidden: user "u" is attempting to grant RBAC permissions': (
        "MSH709",
        "MSH709",
    ),
    'pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "shop"': ("", ""),
    'Deployment.apps "x" is invalid: spec.selector: field is immutable': ("MSH702", "MSH707"),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_the_answer_of_the_api_server_says_who_refuses(message: str) -> None:
    answer = Answer(403, message, {})
    assert (code_of(answer, pod=False), code_of(answer, pod=True)) == REFUSALS[message]


def test_what_is_accepted_is_no_finding() -> None:
    assert code_of(Answer(201, "", {"kind": "Pod"}), pod=True) == ""


def test_only_objects_are_tried_that_the_api_server_can_judge_now() -> None:
    served = frozenset({("v1", "Namespace"), ("v1", "Service")})
    asked = subject(item("Namespace", {"name": "other"}), probes=Probes(kinds=KINDS, served=served))
    tried = admission.tried(asked)
    assert {one["kind"] for one in tried} == {"Namespace"}
    there = subject(
        item("Namespace", {"name": "bookinfo", "annotations": {"meshup/stack": "organization/meshup/dev"}}),
        probes=Probes(kinds=KINDS, served=served),
    )
    assert {(one["kind"], one["metadata"].get("namespace")) for one in admission.tried(there)} == {
        ("Namespace", None),
        ("Service", "bookinfo"),
    }


def test_of_many_alike_some_are_tried_and_of_definitions_one_of_each_group() -> None:
    kinds = {
        ("v1", "ConfigMap"): Resource("configmaps", True),
        ("x.example/v1", "CustomResourceDefinition"): Resource("customresourcedefinitions", False),
    }
    names = [f"{plural}.{group}" for group in ("a.example", "b.example") for plural in ("cats", "dogs")]
    crds = [
        {"apiVersion": "x.example/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}, "spec": SCHEMA}
        for name in names
    ]
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m{number}", "namespace": "shop"}}
        for number in range(admission.MOST_TRIED + 5)
    ]
    namespace = item("Namespace", {"name": "shop"})
    probes = Probes(kinds=kinds, served=frozenset(kinds))
    tried = admission.tried(subject(namespace, rendered=[*crds, *maps], probes=probes))
    assert [one["metadata"]["name"] for one in tried if one["kind"] != "ConfigMap"] == [
        "cats.a.example",
        "cats.b.example",
    ]
    assert sum(one["kind"] == "ConfigMap" for one in tried) == admission.MOST_TRIED


SCHEMA: dict[str, Any] = {"group": "a.example", "names": {"kind": "Cat", "plural": "cats"}, "versions": []}


def shop(*live: Manifest, labels: dict[str, str] | None = None, **probes: Any) -> Subject:
    """A stack that has the namespace `shop` join, on a cluster that has it."""
    namespace = item("Namespace", {"name": "shop", "labels": labels or {}})
    return subject(namespace, *live, probes=Probes(**probes), **SHOP)


def test_a_pod_has_the_containers_of_the_mesh_until_a_webhook_adds_them() -> None:
    (pod,) = admission.pods(shop()).values()
    assert [one["name"] for one in pod["spec"]["initContainers"]] == ["istio-init"]
    assert [one["name"] for one in pod["spec"]["containers"]] == ["probe", "istio-proxy"]
    assert pod["spec"]["containers"][1]["resources"]["requests"] == {"cpu": "10m", "memory": "64Mi"}
    (pod,) = admission.pods(shop(WEBHOOK, labels={"istio-injection": "enabled"})).values()
    assert [one["name"] for one in pod["spec"]["containers"]] == ["probe"]
    (pod,) = admission.pods(shop(labels={"istio-injection": "enabled"})).values()
    assert len(pod["spec"]["containers"]) == 2
    assert admission.pods(subject(**SHOP)) == {}


def test_a_joined_namespace_whose_pods_come_back_without_a_sidecar_is_reported() -> None:
    bare: Manifest = {"metadata": {}, "spec": {"containers": [{"name": "probe", "image": "pause"}]}}
    status = {"sidecar.istio.io/status": "{}"}
    spec = {"containers": [{"name": "istio-proxy", "image": "proxyv2:1.30.3"}]}
    meshed: Manifest = {"metadata": {"annotations": status}, "spec": spec}
    joined = {"istio-injection": "enabled"}
    asked = shop(WEBHOOK, labels=joined, pods={"shop": Answer(201, "", bare)})
    assert found(PODS, asked) == [("MSH708", "Namespace/shop")]
    assert found(PODS, shop(WEBHOOK, labels=joined, pods={"shop": Answer(201, "", meshed)})) == []
    assert found(PODS, shop(WEBHOOK, pods={"shop": Answer(201, "", bare)})) == []


def test_a_refused_pod_is_reported_at_its_namespace_and_an_object_at_itself() -> None:
    denied = Answer(400, 'admission webhook "v.example" denied the request: no', {})
    assert found(PODS, shop(pods={"shop": denied})) == [("MSH707", "Namespace/shop")]
    ref = ObjectRef("v1", "Namespace", "istio-system")
    assert found(OBJECTS, shop(applied={ref: denied})) == [("MSH703", "Namespace/istio-system")]


def test_a_webhook_that_does_not_answer_is_one_finding_for_all_that_it_judges() -> None:
    asleep = Answer(500, 'failed calling webhook "a.example": service "a" not found', {})
    refs = [ObjectRef("v1", "Namespace", name) for name in ("a", "b")]
    assert found(OBJECTS, shop(applied=dict.fromkeys(refs, asleep))) == [("MSH704", "Namespace/a")]


def test_linkerds_sidecar_has_its_own_resources_and_users() -> None:
    asked = subject(item("Namespace", {"name": "shop"}), mesh="linkerd", **SHOP)
    (pod,) = admission.pods(asked).values()
    assert [one["name"] for one in pod["spec"]["initContainers"]] == ["linkerd-init"]
    assert pod["spec"]["containers"][1]["resources"] == {
        "requests": {"cpu": "10m", "memory": "20Mi"},
        "limits": {"memory": "250Mi"},
    }
    with_plugin = subject(item("Namespace", {"name": "shop"}), mesh="linkerd", linkerd={"cni": True}, **SHOP)
    (pod,) = admission.pods(with_plugin).values()
    assert "NET_ADMIN" not in str(pod)
