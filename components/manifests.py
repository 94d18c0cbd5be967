"""Kubernetes manifests as plain data. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

Manifest = dict[str, Any]

MANAGED_BY = {"app.kubernetes.io/managed-by": "meshup"}


class ObjectRef(NamedTuple):
    """Reference to an object by kind and name. `namespace` is "" for a cluster-scoped object."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


def object_ref(manifest: Mapping[str, Any]) -> ObjectRef:
    """Return the reference to the object of a manifest."""
    metadata = manifest["metadata"]
    return ObjectRef(manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace", ""))


def part(item: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return a mapping inside of an object, as in `part(pod, "spec", "affinity")`; empty if it is not there."""
    found: Any = item
    for key in keys:
        found = cast("Mapping[str, Any]", found).get(key) if isinstance(found, Mapping) else None
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def manifest(
    api_version: str,
    kind: str,
    name: str,
    namespace: str,
    spec: Manifest,
    *,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Write a Kubernetes object with meshup's label."""
    metadata: Manifest = {"name": name, "namespace": namespace, "labels": dict(MANAGED_BY)}
    if annotations:
        metadata["annotations"] = dict(sorted(annotations.items()))
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}
