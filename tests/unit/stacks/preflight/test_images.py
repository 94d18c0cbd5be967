"""The images that nodes will have to pull."""

from typing import Any

import pytest

from stacks.preflight.images import by_registry, images, registry
from tests.unit.stacks.preflight.subjects import subject


def workload(kind: str, name: str, *names: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"template": {"spec": {"containers": [{"image": image} for image in names]}}}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "x"}, "spec": spec}


def test_every_image_is_named_once_with_all_that_use_it() -> None:
    rendered = [
        workload("Deployment", "istiod", "registry.example/istio/pilot:1.30.3"),
        workload("CronJob", "nightly", "registry.example/istio/pilot:1.30.3", "auto"),
    ]
    found = images(subject(apps=[], traffic={}, rendered=rendered, istio={"hub": "registry.example/istio"}))
    assert found == {
        "registry.example/istio/pilot:1.30.3": ["CronJob/x/nightly", "Deployment/x/istiod"],
        "registry.example/istio/proxyv2:1.30.3": ["sidecars"],
    }


def test_applications_count_and_sidecars_of_somebody_elses_mesh_do_not() -> None:
    found = images(subject(mesh="linkerd"))
    assert any("reviews-v1" in image for image in found)
    assert "cr.l5d.io/linkerd/proxy:edge-26.8.3" in found


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("registry.istio.io/release/pilot:1.30.3", "registry.istio.io"),
        ("localhost:5000/pilot", "localhost:5000"),
        ("localhost/pilot", "localhost"),
        ("prom/prometheus:v3", "docker.io"),
        ("nginx:1", "docker.io"),
    ],
)
def test_a_registry_is_a_host_and_docker_io_without_one(image: str, expected: str) -> None:
    assert registry(image) == expected


def test_images_are_grouped_by_registry() -> None:
    assert by_registry(["a.example/x:1", "nginx:1", "a.example/y@sha256:0"]) == {
        "a.example": ["x:1", "y@sha256:0"],
        "docker.io": ["nginx:1"],
    }
