"""A namespace whose pods are in the mesh."""

from typing import Any, NotRequired, TypedDict, cast

import pulumi
import pulumi_kubernetes as kubernetes

POD_SECURITY_ENFORCE = "pod-security.kubernetes.io/enforce"
"""Label of the Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-admission)."""


class MeshNamespaceArgs(TypedDict):
    """Arguments of `MeshNamespace`."""

    name: str
    """Name of the namespace."""
    mesh: str
    """`istio`, `linkerd`, or `none` for a namespace that stays outside the mesh."""
    revision: NotRequired[str]
    """Istio: the revision or revision tag whose control plane injects. Without it, the default revision does."""
    pod_security: NotRequired[str]
    """Pod Security Standard that the namespace enforces. In a mesh it is `privileged` unless set, since the init
    container of both meshes needs NET_ADMIN and NET_RAW, which `baseline` forbids; with the CNI plugin of the mesh,
    `restricted` does."""
    labels: NotRequired[dict[str, str]]
    """Further labels. The mesh's own labels win over them."""
    annotations: NotRequired[dict[str, str]]
    """Further annotations, such as Linkerd's `config.linkerd.io/*`. The mesh's own annotations win over them."""


def metadata(args: MeshNamespaceArgs) -> dict[str, Any]:
    """Return the metadata of the namespace.

    Istio reads `istio-injection` before `istio.io/rev`, so a namespace with both ignores its revision (istioctl analyze
    IST0123): it gets exactly one of them. Linkerd reads an annotation; as a label it would do nothing.
    """
    labels = dict(args.get("labels", {}))
    annotations = dict(args.get("annotations", {}))
    for label in ("istio-injection", "istio.io/rev"):
        labels.pop(label, None)
    annotations.pop("linkerd.io/inject", None)
    if args["mesh"] == "istio":
        revision = args.get("revision", "")
        labels |= {"istio.io/rev": revision} if revision else {"istio-injection": "enabled"}
    elif args["mesh"] == "linkerd":
        annotations["linkerd.io/inject"] = "enabled"
    pod_security = args.get("pod_security") or ("baseline" if args["mesh"] == "none" else "privileged")
    labels[POD_SECURITY_ENFORCE] = pod_security
    result: dict[str, Any] = {"name": args["name"], "labels": labels}
    if annotations:
        result["annotations"] = annotations
    return result


class MeshNamespace(pulumi.ComponentResource):
    """A namespace in the mesh, or beside it."""

    name: pulumi.Output[str]
    """The name, known once the namespace is there."""

    def __init__(self, name: str, args: MeshNamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:MeshNamespace", name, {}, opts)
        namespace = kubernetes.core.v1.Namespace(
            f"{name}-namespace", metadata=cast("Any", metadata(args)), opts=pulumi.ResourceOptions(parent=self)
        )
        self.name = namespace.metadata["name"]
        self.register_outputs({"name": self.name})
