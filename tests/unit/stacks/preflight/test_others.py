"""What others have on the cluster, and what the plan relies on."""

from typing import Any

import pytest

from components.manifests import Manifest
from stacks.cluster import Resource
from stacks.preflight import Probes
from stacks.preflight.others import OTHERS, SERVICES
from tests.unit.stacks.fake_view import item
from tests.unit.stacks.preflight.subjects import found, subject

SHOP: dict[str, Any] = {"apps": [], "traffic": {}, "namespaces": {"shop": {}}}
NAMESPACES = (item("Namespace", {"name": "shop"}), item("Namespace", {"name": "tools"}))
PODS = {"apiGroups": [""], "resources": ["pods"], "operations": ["CREATE"]}


def hook(**changes: Any) -> Manifest:
    """A webhook of somebody else on all pods, at the Service tools/judge."""
    made = {"name": "judge.example", "clientConfig": {"service": {"namespace": "tools", "name": "judge"}}}
    return item("ValidatingWebhookConfiguration", {"name": "judge"}, webhooks=[{**made, "rules": [PODS], **changes}])


def slices(*ready: bool) -> Manifest:
    labels = {"kubernetes.io/service-name": "judge"}
    endpoints = [{"conditions": {"ready": one}} for one in ready]
    return item("EndpointSlice", {"name": "judge-1", "namespace": "tools", "labels": labels}, endpoints=endpoints)


SERVICE = item("Service", {"name": "judge", "namespace": "tools"}, spec={})
DEAD = [("MSH740", "ValidatingWebhookConfiguration/judge")]
ANSWERS: dict[str, tuple[list[Manifest], bool]] = {
    "no Service": ([item("Service", {"name": "other", "namespace": "tools"}, spec={})], False),
    "nothing at all": ([], False),
    "no slice": ([SERVICE], False),
    "none ready": ([SERVICE, slices(False)], False),
    "one ready": ([SERVICE, slices(False, True)], True),
    "unknown is ready": ([SERVICE, item("EndpointSlice", slices()["metadata"], endpoints=[{}])], True),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_webhook_that_fails_closed_needs_somebody_who_answers(name: str) -> None:
    live, answers = ANSWERS[name]
    assert found(OTHERS, subject(*NAMESPACES, hook(), *live, **SHOP)) == ([] if answers else DEAD)


@pytest.mark.parametrize(
    "changes",
    [
        {"failurePolicy": "Ignore"},
        {"clientConfig": {"url": "https://judge.example"}},
        {"namespaceSelector": {"matchLabels": {"judged": "yes"}}},
        {"objectSelector": {"matchLabels": {"judged": "yes"}}},
        {"rules": [{**PODS, "resources": ["deployments"]}]},
        {"rules": [{**PODS, "operations": ["DELETE"]}]},
        {"name": "rev.namespace.sidecar-injector.istio.io"},
    ],
)
def test_a_webhook_that_does_not_stand_in_the_way_is_no_finding(changes: dict[str, Any]) -> None:
    assert found(OTHERS, subject(*NAMESPACES, hook(**changes), SERVICE, **SHOP)) == []


def test_a_webhook_in_a_namespace_that_is_gone_is_found_without_any_list_of_it() -> None:
    gone = hook(clientConfig={"service": {"namespace": "gone", "name": "judge"}})
    assert found(OTHERS, subject(*NAMESPACES, gone, **SHOP)) == DEAD


def deployment(**metadata: Any) -> Manifest:
    return item("Deployment", {"name": "istiod", "namespace": "legacy", "labels": {"app": "istiod"}, **metadata})


def test_a_control_plane_that_only_its_pods_show_is_reported_and_the_own_one_is_not() -> None:
    assert found(OTHERS, subject(deployment())) == [("MSH741", "Deployment/legacy/istiod")]
    own = deployment(
        namespace="istio-system",
        labels={"app": "istiod", "app.kubernetes.io/managed-by": "Helm"},
        annotations={"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"},
    )
    assert found(OTHERS, subject(own)) == []
    assert found(OTHERS, subject(deployment(labels={"app": "shop"}))) == []


@pytest.mark.parametrize(
    ("labels", "annotations", "torn"),
    [
        ({"istio-injection": "enabled", "istio.io/rev": "canary"}, {}, True),
        ({"istio-injection": "enabled"}, {"linkerd.io/inject": "enabled"}, True),
        ({"istio-injection": "disabled"}, {"linkerd.io/inject": "enabled"}, False),
        ({"istio-injection": "enabled"}, {}, False),
    ],
)
def test_a_namespace_that_two_injectors_claim_is_reported(
    labels: dict[str, str], annotations: dict[str, str], *, torn: bool
) -> None:
    namespace = item("Namespace", {"name": "torn", "labels": labels, "annotations": annotations})
    assert found(OTHERS, subject(namespace)) == [("MSH742", "Namespace/torn")] * torn


def test_what_is_being_deleted_or_not_served_is_reported_where_the_plan_needs_it() -> None:
    ending = {"deletionTimestamp": "2026-12-01T00:00:00Z"}
    namespaces = [item("Namespace", {"name": name, **ending}) for name in ("istio-system", "unrelated")]
    name = "virtualservices.networking.istio.io"
    crd = item("CustomResourceDefinition", {"name": name, **ending})
    conditions = [{"type": "Established", "status": "False", "message": "names conflict"}]
    refused = item(
        "CustomResourceDefinition", {"name": "sidecars.networking.istio.io"}, status={"conditions": conditions}
    )
    assert found(OTHERS, subject(*namespaces, crd, refused)) == [
        ("MSH743", "Namespace/istio-system"),
        ("MSH743", f"CustomResourceDefinition/{name}"),
        ("MSH744", "CustomResourceDefinition/sidecars.networking.istio.io"),
    ]


def api(name: str, *, available: str, group: str = "x.example") -> Manifest:
    conditions = [{"type": "Available", "status": available, "reason": "MissingEndpoints"}]
    spec = {"group": group, "service": {"namespace": "x", "name": "y"}}
    return item("APIService", {"name": name}, spec=spec, status={"conditions": conditions})


SCALER: Manifest = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "istiod", "namespace": "istio-system"},
    "spec": {},
}


def test_an_api_that_does_not_answer_keeps_namespaces_from_going() -> None:
    assert found(SERVICES, subject(api("v1.x", available="False"))) == [("MSH750", "APIService/v1.x")]
    assert found(SERVICES, subject(api("v1.x", available="True"))) == []


def test_autoscalers_need_the_metrics_api() -> None:
    other, metrics = api("v1.x", available="True"), api("v1beta1", available="True", group="metrics.k8s.io")
    assert found(SERVICES, subject(other, rendered=[SCALER])) == [("MSH751", "APIService")]
    assert found(SERVICES, subject(other, metrics, rendered=[SCALER])) == []
    assert found(SERVICES, subject(other)) == []
    assert found(SERVICES, subject(rendered=[SCALER])) == []


def balanced(name: str, *, address: bool) -> Manifest:
    ingress = [{"ip": "192.0.2.1"}] if address else []
    return item(
        "Service",
        {"name": name, "namespace": "web"},
        spec={"type": "LoadBalancer"},
        status={"loadBalancer": {"ingress": ingress}},
    )


def test_a_load_balancer_is_missed_where_others_wait_for_one_in_vain() -> None:
    wanted: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "ingress", "namespace": "istio-system"},
        "spec": {"type": "LoadBalancer"},
    }
    probes = Probes(kinds={("v1", "Service"): Resource("services", True)})
    waiting, served = balanced("a", address=False), balanced("b", address=True)
    assert found(SERVICES, subject(waiting, rendered=[wanted], probes=probes)) == [("MSH752", "Service")]
    assert found(SERVICES, subject(waiting, served, rendered=[wanted], probes=probes)) == []
    assert found(SERVICES, subject(rendered=[wanted], probes=probes)) == []
    assert found(SERVICES, subject(waiting, probes=probes)) == []
