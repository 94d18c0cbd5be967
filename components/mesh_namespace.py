"""A namespace whose pods are in a mesh, or in none; and what a stack may say of its namespaces."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pulumi
from pydantic import AfterValidator, Field

from .arguments import Arguments
from .diagnostics import Diagnostic
from .diagnostics.validation import join, refused
from .meshes import MESHES
from .meshes.istio.membership import IstioMembership, IstioNamespace
from .meshes.linkerd.membership import LinkerdMembership, LinkerdNamespace
from .namespace import Namespace, PodSecurity, namespace_metadata
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


class NamespaceSettings(IstioNamespace, LinkerdNamespace, Arguments):
    """Settings of a namespace in `meshup:namespaces`."""

    create: bool = False
    """`true`: meshup makes the namespace, and deletes it with everything in it on destroy. `false`: it exists, and
    meshup sets only the label or annotation of the mesh."""
    inject: bool = True
    """`false`: its pods get no sidecar. Pods that still have one are reported."""
    pod_security: PodSecurity | None = None
    """Pod Security Standard that a namespace of `create` enforces; `privileged` in a mesh and `baseline` outside unless
    set. That of an existing namespace is checked and never changed."""
    take_over: bool = False
    """Whether meshup may overwrite the mesh's label or annotation where somebody else has set another value, which does
    not come back on destroy."""
    restart: bool = False
    """Whether meshup restarts the Deployments, StatefulSets and DaemonSets whose pods lack the sidecar of the mesh or
    have another version's, one after the other."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse keys that would do nothing beside the others."""
        if self.pod_security and not self.create:
            message = "podSecurity is for namespaces that meshup makes; that of an existing one is its owner's to set."
            yield Diagnostic("MSH041", f"{path}.podSecurity", self.pod_security, message, "create: true beside it")
        if self.take_over and self.create:
            message = "takeOver is for namespaces that exist, and create is for one that does not."
            yield Diagnostic("MSH041", f"{path}.takeOver", True, message, "create or takeOver")
        if not self.inject:
            for key in self._written("revision", "proxy", "egress_hosts", "take_over", "restart"):
                message = "Without injection there is no sidecar that this could be for."
                yield Diagnostic("MSH041", f"{path}.{key}", None, message, "inject: true beside it")

    def check_mesh(self, mesh: str, path: str) -> Iterator[Diagnostic]:
        """Refuse keys that the mesh does not have."""
        for name, reason in MESHES[mesh].unsupported_settings.items():
            for key in self._written(name):
                yield Diagnostic("MSH041", join(path, key), None, reason)

    def _written(self, *names: str) -> Iterator[str]:
        """Return the keys of those fields that differ from their default."""
        for name in names:
            info = type(self).model_fields[name]
            if getattr(self, name) != info.default:
                yield info.alias or name
