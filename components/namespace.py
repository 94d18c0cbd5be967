"""A namespace as every mesh and application uses it. The mesh decides by which labels it joins
(components/mesh_namespace.py).
"""

from collections.abc import Mapping
from typing import Any

import pulumi

from .manifests import register

POD_SECURITY_ENFORCE = "pod-security.kubernetes.io/enforce"
"""Label of the Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-admission)."""


def namespace_metadata(
    name: str,
    *,
    pod_security: str = "baseline",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the metadata of a namespace that enforces a Pod Security Standard."""
    metadata: dict[str, Any] = {"name": name, "labels": {**(labels or {}), POD_SECURITY_ENFORCE: pod_security}}
    return metadata | ({"annotations": dict(annotations)} if annotations else {})


class Namespace(pulumi.ComponentResource):
    """A namespace with given metadata. Its type is that of `MeshNamespace`, which computes them."""

    name: pulumi.Output[str]
    """The name, known once the namespace exists."""

    def __init__(self, name: str, metadata: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:MeshNamespace", name, {}, opts)
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        namespace = register(f"{name}-namespace", manifest, pulumi.ResourceOptions(parent=self))
        self.name = namespace.metadata["name"]
        self.register_outputs({"name": self.name})
