"""Control plane and workloads: missing, of another version, not ready."""

from typing import Any

import pytest

from components.manifests import Manifest
from stacks.health.workloads import CONTROL_PLANE, WORKLOADS, unready
from tests.unit.stacks.fake_view import item
from tests.unit.stacks.health.subjects import found, namespace, subject

READY = {"observedGeneration": 1, "availableReplicas": 1, "readyReplicas": 1, "updatedReplicas": 1}


def deployment(name: str, where: str, image: str = "pilot:1.30.3", **status: Any) -> Manifest:
    helm = {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"}
    return item(
        "Deployment",
        {
            "name": name,
            "namespace": where,
            "generation": 1,
            "labels": {"app": name, "app.kubernetes.io/managed-by": "Helm"},
            "annotations": helm,
        },
        spec={"replicas": 1, "template": {"spec": {"containers": [{"name": "discovery", "image": image}]}}},
        status={**READY, **status},
    )


def pinned() -> str:
    return subject().plan.mesh.version


def test_a_cluster_without_the_control_plane_has_one_finding() -> None:
    """Without it: proxies run on with what they have, and nothing says that new pods get none."""
    assert found(CONTROL_PLANE, subject(namespace("istio-system"))) == [("MSH770", "Namespace/istio-system")]


@pytest.mark.parametrize(("suffix", "fine"), [("", True), ("-distroless", True), ("-other", True), ("0", False)])
def test_the_control_plane_has_the_planned_version(suffix: str, *, fine: bool) -> None:
    live = deployment("istiod", "istio-system", f"docker.io/istio/pilot:{pinned()}{suffix}")
    expected = [] if fine else [("MSH772", "Deployment/istio-system/istiod")]
    assert found(CONTROL_PLANE, subject(live)) == expected


def test_a_control_plane_that_is_scaled_to_nothing_is_missing() -> None:
    live = deployment("istiod", "istio-system", f"docker.io/istio/pilot:{pinned()}", availableReplicas=0)
    live["spec"]["replicas"] = 0
    assert found(CONTROL_PLANE, subject(live)) == [("MSH770", "Namespace/istio-system")]
    other = deployment("istiod", "istio-system", f"docker.io/istio/pilot:{pinned()}")
    assert found(CONTROL_PLANE, subject(live, other)) == []


def test_an_image_by_digest_says_no_version_so_it_is_no_finding() -> None:
    live = deployment("istiod", "istio-system", "docker.io/istio/pilot@sha256:00")
    assert found(CONTROL_PLANE, subject(live)) == []


def test_planned_workloads_that_are_gone_and_ones_that_are_not_ready_are_found() -> None:
    live = [
        namespace("istio-system"),
        namespace("bookinfo"),
        deployment("istiod", "istio-system", availableReplicas=0),
        deployment("reviews-v1", "bookinfo", availableReplicas=0),
        deployment("of-others", "bookinfo"),
    ]
    codes = found(WORKLOADS, subject(*live))
    assert ("MSH771", "Deployment/istio-system/istiod") in codes
    assert ("MSH771", "Deployment/bookinfo/reviews-v1") in codes
    assert ("MSH773", "Deployment/bookinfo/reviews-v2") in codes
    assert not any("reviews-v1" in path and code == "MSH773" for code, path in codes)
    assert not any("of-others" in path for _, path in codes)


def test_workloads_of_others_beside_the_control_plane_are_left_out() -> None:
    other = deployment("other", "istio-system", availableReplicas=0)
    other["metadata"] |= {"labels": {}, "annotations": {}}
    live = [namespace("istio-system"), other]
    assert not any("other" in path for _, path in found(WORKLOADS, subject(*live)))


@pytest.mark.parametrize(
    ("kind", "spec", "status", "words"),
    [
        ("Deployment", {}, READY, ""),
        ("Deployment", {"replicas": 0}, {"observedGeneration": 1}, ""),
        ("Deployment", {}, {}, "not seen its last change"),
        ("Deployment", {"replicas": 3}, READY, "1 of its 3 pods are ready."),
        ("Deployment", {}, {**READY, "updatedReplicas": 0}, "still being rolled out"),
        ("Deployment", {}, {**READY, "replicas": 2}, "1 of its pods are of an older form"),
        ("Deployment", {"paused": True}, {**READY, "updatedReplicas": 0}, ""),
        (
            "Deployment",
            {},
            {
                **READY,
                "availableReplicas": 0,
                "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota."}],
            },
            "ready: exceeded quota.",
        ),
        ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 0}}}, READY, ""),
        (
            "StatefulSet",
            {"updateStrategy": {"rollingUpdate": {"partition": 0}}},
            {**READY, "updatedReplicas": 0},
            "rolled out",
        ),
        ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 1}}}, {**READY, "updatedReplicas": 0}, ""),
        ("DaemonSet", {}, {"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 1}, "1 of its 2"),
        (
            "DaemonSet",
            {"updateStrategy": {"type": "OnDelete"}},
            {"observedGeneration": 1, "desiredNumberScheduled": 1, "numberReady": 1},
            "",
        ),
    ],
)
def test_a_workload_waits_for_its_controller_its_pods_and_its_roll_out(
    kind: str, spec: dict[str, Any], status: dict[str, Any], words: str
) -> None:
    said = unready(kind, item(kind, {"name": "a", "generation": 1}, spec=spec, status=status))
    assert (words in said) if words else said == ""
