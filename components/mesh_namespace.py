"""A namespace whose pods are in a mesh, or in none."""

from collections.abc import Mapping
from typing import Annotated, Any

import pulumi
from pydantic import AfterValidator, Field

from .arguments import Arguments
from .diagnostics.validation import refused
from .meshes import MESHES
from .meshes.istio.membership import IstioMembership
from .meshes.linkerd.membership import LinkerdMembership
from .namespace import Namespace, namespace_metadata
from .scalars import Name


def _mesh(value: str) -> str:
    if value not in (*MESHES, "none"):
        raise refused("MSH004", "There is no such mesh.", "one of " + ", ".join((*MESHES, "none")))
    return value


class MeshNamespaceArgs(IstioMembership, LinkerdMembership, Arguments):
    """Arguments of `MeshNamespace`."""

    name: Name
    """Name of the namespace."""
    mesh: Annotated[str, AfterValidator(_mesh)]
    """`istio`, `linkerd`, or `none` for a namespace that stays outside the mesh."""
    pod_security: str | None = None
    """Pod Security Standard that the namespace enforces. In a mesh it is `privileged` unless set, since the init
    container of both meshes needs NET_ADMIN and NET_RAW, which `baseline` forbids; with the CNI plugin of the mesh,
    `restricted` does. Outside a mesh it is `baseline` unless set."""
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    """Further labels. The mesh's own labels win over them."""
    annotations: dict[str, str] = Field(default_factory=dict[str, str])
    """Further annotations, such as Linkerd's `config.linkerd.io/*`. The mesh's own annotations win over them."""


def metadata(args: MeshNamespaceArgs) -> dict[str, Any]:
    """Return the metadata of the namespace, which joins its mesh and opts out of the others."""
    labels, annotations = dict(args.labels), dict(args.annotations)
    for mesh in MESHES.values():
        for key in mesh.joined_by:
            labels.pop(key, None)
            if args.mesh != "none" or annotations.get(key) not in mesh.opt_outs:
                annotations.pop(key, None)
    if args.mesh == "none":
        security = args.pod_security or "baseline"
        return namespace_metadata(args.name, pod_security=security, labels=labels, annotations=annotations)
    membership = MESHES[args.mesh].join(args)
    return namespace_metadata(
        args.name,
        pod_security=args.pod_security or "privileged",
        labels={**labels, **membership.labels},
        annotations={**annotations, **membership.annotations},
    )


class MeshNamespace(Namespace):
    """A namespace in a mesh, or in none."""

    def __init__(
        self, name: str, args: MeshNamespaceArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, metadata(MeshNamespaceArgs.of(args)), opts)
