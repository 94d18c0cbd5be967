"""A namespace as every mesh and application uses it. The mesh decides by which labels it joins
(components/mesh_namespace.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi

from .manifests import Manifest
from .resources import register, register_patch

PodSecurity = Literal["privileged", "baseline", "restricted"]
"""The Pod Security Standards, from the one that forbids nothing on."""
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


@dataclass(frozen=True)
class Joined:
    """How a namespace of the configuration is in the mesh: plain data.

    Attributes:
        name: The namespace.
        created: Whether this stack makes it.
        inject: Whether its pods get a sidecar.
        revision: The revision or tag that injects, "default" without one, "" without injection.
        patch: The labels and annotations of a namespace that exists; None if there is nothing to set.
        objects: The mesh's objects in it.
        restarts: Patches of workloads, each of which restarts the pods of one.
    """

    name: str
    created: bool
    inject: bool
    revision: str
    patch: Manifest | None = None
    objects: Sequence[Manifest] = ()
    restarts: Sequence[Manifest] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to register."""
        return not (self.patch or self.objects or self.restarts)


class JoinedNamespace(pulumi.ComponentResource):
    """Registers how a namespace is in the mesh.

    The label comes before the restarts when they are made, and has to go before them as well, since the end of each
    patch restarts its workload once more, which would get its sidecar again. Pulumi deletes in the opposite order. So
    there are two patches with one field manager and the same content, before and after the restarts: the first to be
    deleted takes the label away, and the second to be deleted finds nothing (docs/decisions/0006-namespaces.md).
    """

    def __init__(self, name: str, joined: Joined, opts: pulumi.ResourceOptions) -> None:
        super().__init__("meshup:index:JoinedNamespace", name, {}, opts)
        before: list[pulumi.Resource] = []
        if joined.patch is not None:
            before.append(register_patch(f"{name}-join", joined.patch, pulumi.ResourceOptions(parent=self)))
        for item in joined.objects:
            options = pulumi.ResourceOptions(parent=self, depends_on=list(before))
            register(f"{name}-{item['kind'].lower()}", item, options)
        for item in joined.restarts:
            role = f"{item['kind'].lower()}-{item['metadata']['name']}"
            options = pulumi.ResourceOptions(parent=self, depends_on=list(before))
            before.append(register_patch(f"{name}-{role}-restart", item, options))
        if joined.patch is not None:
            options = pulumi.ResourceOptions(parent=self, depends_on=list(before))
            register_patch(f"{name}-leave", joined.patch, options)
        self.register_outputs({})
