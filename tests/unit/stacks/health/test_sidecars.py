"""Pods of the mesh: without a sidecar, with an old one, with one that is not ready, with old trust anchors."""

import hashlib
from typing import Any

import pytest

from components.manifests import Manifest
from stacks.health.sidecars import SIDECARS
from tests.unit.stacks.fake_view import item
from tests.unit.stacks.health.subjects import found, namespace, secret, subject

POD = "Pod/bookinfo/a"
VERSION = subject().plan.mesh.version


def pod(*, image: str = f"docker.io/istio/proxyv2:{VERSION}", proxy: str = "istio-proxy", **more: Any) -> Manifest:
    metadata: dict[str, Any] = {
        "name": "a",
        "namespace": "bookinfo",
        "labels": {},
        "annotations": {"sidecar.istio.io/status": "{}"},
    }
    status = {"phase": "Running", "containerStatuses": [{"name": proxy, "ready": True}]}
    made = item("Pod", metadata, spec={"containers": [{"name": proxy, "image": image}]}, status=status)
    made["metadata"] |= more.pop("metadata", {})
    return made | more


def judged(*live: Manifest, **keys: Any) -> list[tuple[str, str]]:
    return found(SIDECARS, subject(namespace("bookinfo"), *live, **keys))


def test_a_pod_with_a_ready_sidecar_of_the_planned_version_is_fine() -> None:
    assert judged(pod()) == []


def test_a_namespace_that_is_not_there_is_one_finding() -> None:
    assert found(SIDECARS, subject()) == [("MSH780", "Namespace/bookinfo")]


def test_a_pod_without_a_sidecar_is_found_unless_it_asks_for_none_or_has_ended() -> None:
    """Without it: the pod takes every request past all policies, and answers as if it were in the mesh."""
    bare: dict[str, Any] = {"spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    assert judged(pod(**bare)) == [("MSH781", POD)]
    assert judged(pod(**bare, metadata={"labels": {"sidecar.istio.io/inject": "false"}})) == []
    assert judged(pod(**bare, status={"phase": "Succeeded"})) == []
    assert judged(pod(spec={**bare["spec"], "hostNetwork": True})) == []


def test_a_sidecar_of_before_the_upgrade_is_a_warning() -> None:
    asked = subject(namespace("bookinfo"), pod(image="docker.io/istio/proxyv2:1.28.0"))
    assert [(fault.code, fault.severity) for fault in SIDECARS.run(asked)] == [("MSH782", "warning")]
    assert "1.28.0" in SIDECARS.run(asked)[0].message


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ([], "not ready yet."),
        ([{"name": "istio-proxy", "ready": False}], "not ready yet."),
        (
            [
                {
                    "name": "istio-proxy",
                    "ready": False,
                    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image."}},
                }
            ],
            "not ready: ImagePullBackOff, no such image.",
        ),
    ],
)
def test_a_sidecar_that_is_not_ready_tells_its_reason(statuses: list[Any], words: str) -> None:
    asked = subject(namespace("bookinfo"), pod(status={"phase": "Running", "containerStatuses": statuses}))
    faults = SIDECARS.run(asked)
    assert [fault.code for fault in faults] == ["MSH783"]
    assert words in faults[0].message


def test_a_native_sidecar_is_ready_by_its_status_as_an_init_container() -> None:
    status = {"phase": "Running", "initContainerStatuses": [{"name": "istio-proxy", "ready": True}]}
    assert judged(pod(status=status)) == []


ANCHORS = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    ("text", "fine"), [(ANCHORS, True), (f"{ANCHORS}\n", True), (ANCHORS.replace("A", "B"), False)]
)
def test_a_pod_with_the_hash_of_other_anchors_is_a_warning(text: str, *, fine: bool) -> None:
    """Without it: after a rotation, pods that were not restarted refuse those that were."""
    plan = subject(mesh="linkerd").plan
    wanted = subject(mesh="linkerd").mesh.wanted_sidecar(plan.mesh).version
    roots = secret("ConfigMap", "linkerd-identity-trust-roots", "linkerd", **{"ca-bundle_crt": text})
    digest = hashlib.sha256(f"{ANCHORS}\n".encode()).hexdigest()
    live = pod(
        proxy="linkerd-proxy",
        image=f"cr.l5d.io/linkerd/proxy:{wanted}",
        metadata={"annotations": {"linkerd.io/trust-root-sha256": digest}},
    )
    assert judged(roots, live, mesh="linkerd") == ([] if fine else [("MSH784", POD)])
