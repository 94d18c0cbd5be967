"""Patch objects that somebody else owns, annotations of Services among them, and check that this is possible. Pure.

What a Patch resource does was recorded with the official plugin (4.29.0): server-side apply under a field manager of
its own, which owns only the fields of the patch and gives them up on destroy. A missing object is
created, or fails; a field that another manager set to another value is a conflict.
"""

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, ObjectRef, object_ref
from components.traffic import Compilation
from stacks.cluster import ClusterView

MANAGER_ANNOTATION = "pulumi.com/patchFieldManager"
"""Annotation by which the plugin is told the field manager of a patch. It lands on the object."""
Annotations = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Annotations of Services, by namespace and name."""


def field_manager(owner: str) -> str:
    """Return the field manager of a stack's patches.

    The same in every run, so that an `up` after `kill -9` finds its own fields; the plugin's random name would
    leave those of the killed run behind forever.
    """
    return f"meshup-{hashlib.sha256(owner.encode()).hexdigest()[:8]}"


def by_namespace(patches: Iterable[Manifest]) -> Annotations:
    """Return the annotations that patches set, by namespace and Service."""
    annotations: dict[str, dict[str, Mapping[str, str]]] = {}
    for patch in patches:
        metadata = patch["metadata"]
        annotations.setdefault(metadata["namespace"], {})[metadata["name"]] = dict(metadata["annotations"])
    return annotations


def plan(patches: Iterable[Manifest], made: Container[tuple[str, str]], owner: str) -> tuple[Manifest, ...]:
    """Return the patches to register.

    The plugin reads its options from annotations, which are set and removed together with the others. It
    must not wait for the pods of a Service that is not ours.

    Args:
        patches: All annotations that the routes ask for on Services.
        made: Namespaces and names of the stack's own Services: their manifests have the annotations.
        owner: The stack, organisation/project/stack.
    """
    return tuple(
        with_manager(item, owner, {"pulumi.com/skipAwait": "true"})
        for item in patches
        if (item["metadata"]["namespace"], item["metadata"]["name"]) not in made
    )


def with_manager(patch: Manifest, owner: str, options: Mapping[str, str] | None = None) -> Manifest:
    """Return a patch under the field manager of a stack.

    Args:
        patch: The patch.
        owner: The stack, organisation/project/stack.
        options: Further annotations that the plugin reads.
    """
    metadata = patch["metadata"]
    annotations = {**metadata.get("annotations", {}), MANAGER_ANNOTATION: field_manager(owner), **(options or {})}
    return {**patch, "metadata": {**metadata, "annotations": annotations}}


def check_provider(provider: Mapping[str, str]) -> list[Diagnostic]:
    """Refuse settings of the Kubernetes provider with which it makes no patches.

    Args:
        provider: The `kubernetes:*` keys of the stack.
    """
    if provider.get("enableServerSideApply") != "false":
        return []
    message = "The plugin patches the objects of others by server-side apply only."
    return [Diagnostic("MSH004", "kubernetes:enableServerSideApply", False, message, "true")]


def check(
    patches: Sequence[Manifest],
    traffic: Compilation,
    view: ClusterView,
    owner: str,
) -> list[Diagnostic]:
    """Find patches of Services that would fail.

    Args:
        patches: What `plan` returned.
        traffic: The routes that ask for them.
        view: The cluster.
        owner: The stack, organisation/project/stack.
    """
    diagnostics: list[Diagnostic] = []
    live = view.existing(map(object_ref, patches))
    for patch in patches:
        service = object_ref(patch)
        path, value = _path(traffic, service), f"{service.namespace}/{service.name}"
        metadata = live.get(service)
        if metadata is None:
            message = f"There is no Service '{service.name}' in the namespace '{service.namespace}' to annotate."
            diagnostics.append(Diagnostic("MSH166", path, value, message))
            continue
        for key, managers in conflicts(patch, metadata, field_manager(owner)).items():
            wanted = patch["metadata"]["annotations"][key]
            message = f"{', '.join(managers)} set {key}={metadata['annotations'][key]}; meshup would set {wanted}."
            diagnostics.append(Diagnostic("MSH167", path, value, message))
    return diagnostics


def _path(traffic: Compilation, service: ObjectRef) -> str:
    """Return the configuration path of the route that requires the annotations."""
    for planned in traffic.planned:
        route = planned.route
        if route.circuit_breaker and (route.service.namespace, route.service.name) == (service.namespace, service.name):
            return route.circuit_breaker.where
    return "meshup:traffic"


def conflicts(patch: Manifest, metadata: Mapping[str, Any], manager: str) -> dict[str, Sequence[str]]:
    """Return the labels and annotations that others own with another value, and their field managers.

    As the API server does (Kubernetes, "Server-Side Apply", Conflicts): managers may share the same value.
    """
    found: dict[str, Sequence[str]] = {}
    for kind in ("labels", "annotations"):
        live = cast("dict[str, str]", metadata.get(kind) or {})
        for key, value in cast("dict[str, str]", patch["metadata"].get(kind) or {}).items():
            others = [name for name in owners(metadata, "metadata", kind, key) if name != manager]
            if key in live and live[key] != value and others:
                found[key] = others
    return found


def owners(metadata: Mapping[str, Any], *path: str) -> list[str]:
    """Return the field managers of a field.

    Args:
        metadata: The metadata of a live object.
        path: The keys that lead to the field.
    """
    found: list[str] = []
    for entry in cast("list[Mapping[str, Any]]", metadata.get("managedFields") or []):
        owned: Any = entry.get("fieldsV1") or {}
        for key in path[:-1]:
            owned = owned.get(f"f:{key}") or {}
        if f"f:{path[-1]}" in owned:
            found.append(str(entry.get("manager", "")))
    return found
