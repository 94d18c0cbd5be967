"""A namespace whose pods are in the mesh."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast

import pulumi
import pulumi_kubernetes as kubernetes

POD_SECURITY_ENFORCE = "pod-security.kubernetes.io/enforce"
"""Label of the Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-admission)."""


class LinkerdProxy(TypedDict):
    """Settings of Linkerd's sidecars, for a namespace or a workload: the annotations `config.linkerd.io/*`."""

    cpu_request: NotRequired[str]
    """CPU request of the proxy."""
    cpu_limit: NotRequired[str]
    """CPU limit of the proxy."""
    memory_request: NotRequired[str]
    """Memory request of the proxy."""
    memory_limit: NotRequired[str]
    """Memory limit of the proxy."""
    skip_inbound_ports: NotRequired[str]
    """Ports at which the proxy takes no part in what comes in, with commas."""
    skip_outbound_ports: NotRequired[str]
    """Ports at which the proxy takes no part in what goes out, with commas."""
    opaque_ports: NotRequired[str]
    """Ports whose protocol is not detected, with commas."""
    log_level: NotRequired[str]
    """Log level of the proxy."""
    access_log: NotRequired[str]
    """`apache` or `json`."""
    default_inbound_policy: NotRequired[str]
    """Who may call where no policy says it, such as `all-authenticated`."""
    native_sidecar: NotRequired[bool]
    """The proxy as an init container that stays."""
    wait_for_proxy: NotRequired[bool]
    """Whether the application starts only once the proxy is ready."""


_PROXY_KEYS = {
    "cpu_request": "proxy-cpu-request",
    "cpu_limit": "proxy-cpu-limit",
    "memory_request": "proxy-memory-request",
    "memory_limit": "proxy-memory-limit",
    "skip_inbound_ports": "skip-inbound-ports",
    "skip_outbound_ports": "skip-outbound-ports",
    "opaque_ports": "opaque-ports",
    "log_level": "proxy-log-level",
    "access_log": "access-log",
    "default_inbound_policy": "default-inbound-policy",
    "native_sidecar": "proxy-enable-native-sidecar",
    "wait_for_proxy": "proxy-await",
}


def proxy_annotations(settings: LinkerdProxy) -> dict[str, str]:
    """Return the annotations of these settings, for a namespace or a pod template."""
    words = {("native_sidecar", True): "true", ("native_sidecar", False): "false"}
    words |= {("wait_for_proxy", True): "enabled", ("wait_for_proxy", False): "disabled"}
    return {
        f"config.linkerd.io/{_PROXY_KEYS[key]}": words.get((key, value), str(value))
        for key, value in cast("dict[str, Any]", settings).items()
    }


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
    inject: NotRequired[str]
    """Linkerd: `enabled` (if not set), or `ingress` for the pods of an ingress controller."""
    proxy: NotRequired[LinkerdProxy]
    """Linkerd: settings of the sidecars in this namespace."""
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
    # Outside the mesh, `disabled` may stand: a control plane's namespace says so.
    if args["mesh"] != "none" or annotations.get("linkerd.io/inject") != "disabled":
        annotations.pop("linkerd.io/inject", None)
    if args["mesh"] == "istio":
        revision = args.get("revision", "")
        labels |= {"istio.io/rev": revision} if revision else {"istio-injection": "enabled"}
    elif args["mesh"] == "linkerd":
        annotations["linkerd.io/inject"] = args.get("inject", "enabled")
        annotations |= proxy_annotations(args.get("proxy", {}))
    pod_security = args.get("pod_security") or ("baseline" if args["mesh"] == "none" else "privileged")
    labels[POD_SECURITY_ENFORCE] = pod_security
    result: dict[str, Any] = {"name": args["name"], "labels": labels}
    if annotations:
        result["annotations"] = annotations
    return result


class Namespace(pulumi.ComponentResource):
    """A namespace with metadata that is decided. Its type is that of `MeshNamespace`, which decides them."""

    name: pulumi.Output[str]
    """The name, known once the namespace is there."""

    def __init__(self, name: str, metadata: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:MeshNamespace", name, {}, opts)
        namespace = kubernetes.core.v1.Namespace(
            f"{name}-namespace", metadata=cast("Any", metadata), opts=pulumi.ResourceOptions(parent=self)
        )
        self.name = namespace.metadata["name"]
        self.register_outputs({"name": self.name})


class MeshNamespace(Namespace):
    """A namespace in the mesh, or beside it."""

    def __init__(self, name: str, args: MeshNamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, metadata(args), opts)
