"""The images that a plan has the nodes pull, with their registries: for closed networks, whose registries mirror them.

No API tells whether a node reaches a registry, so images are named and not checked.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from components.manifests import object_ref

from .model import Subject, pods_of, templates

FILLED_IN = "auto"
"""Image of Istio's chart `gateway`, in whose place the injector puts that of the sidecar."""
DEFAULT_REGISTRY = "docker.io"
_REGISTRY = re.compile(r"(?:localhost|[^/]*[.:][^/]*)/")


def images(subject: Subject) -> dict[str, list[str]]:
    """Return the images of all pods of the plan and of its sidecars, each with what uses it; sorted."""
    used: dict[str, list[str]] = {}
    for item in subject.objects:
        for template, _ in templates(item):
            for image in _of(pods_of(template)):
                used.setdefault(image, []).append(str(object_ref(item)))
    if not subject.plan.mesh.existing:
        for image in _of(subject.mesh.injected(subject.plan.mesh)):
            used.setdefault(image, []).append("sidecars")
    return {image: sorted(set(used[image])) for image in sorted(used)}


def _of(spec: Mapping[str, Any]) -> Sequence[str]:
    listed = [one for key in ("initContainers", "containers") for one in spec.get(key) or ()]
    found = (str(one.get("image") or "") for one in cast("list[Mapping[str, Any]]", listed))
    return [image for image in found if image not in ("", FILLED_IN)]


def registry(image: str) -> str:
    """Return the registry of an image: a host, as container runtimes decide it (distribution/reference)."""
    match = _REGISTRY.match(image)
    return match[0].rstrip("/") if match else DEFAULT_REGISTRY


def by_registry(found: Sequence[str]) -> dict[str, list[str]]:
    """Return images by their registry, without it."""
    grouped: dict[str, list[str]] = {}
    for image in found:
        grouped.setdefault(registry(image), []).append(_REGISTRY.sub("", image, count=1))
    return grouped
