"""Kubernetes manifests as plain data. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

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
