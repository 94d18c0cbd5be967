"""Settings of the cluster's network that bypass a mesh, or keep its parts apart. Pure.

Facts: Cilium, Documentation/network/servicemesh/istio.rst and operator options of 1.16 to 1.18 (ConfigMap
cilium-config); Istio, platform setup of GKE and issue 27619; Linkerd, `linkerd check` (cluster networks) and its
documentation of Cilium.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, part
from components.meshes.interface import is_on_host_network
from stacks.checking import Check

from .admission import injects
from .model import Subject

SYSTEM = "kube-system"
CILIUM = "cilium-config"
_SHOW_CILIUM = f"kubectl --namespace {SYSTEM} get configmap {CILIUM} --output yaml"
_REPLACES = ("true", "strict")
"""Values of `kube-proxy-replacement` with which Cilium balances connections in sockets, whatever `bpf-lb-sock` says
(daemon/cmd/kube_proxy_replacement.go of 1.14 to 1.18; its chart writes `bpf-lb-sock: "false"` all the same)."""
NETWORK_POLICY = ("networking.k8s.io/v1", "NetworkPolicy")
MOST_NAMED = 5


def _run(subject: Subject) -> list[Diagnostic]:
    return [*_cilium(subject), *_aws(subject), *_webhooks(subject), *_ranges(subject), *_policies(subject)]


def _uses_plugin(subject: Subject) -> bool:
    """Return whether the mesh redirects traffic by a CNI plugin of its own."""
    return subject.mesh.strictest_pod_security(subject.plan.mesh) == "restricted"


def _cilium(subject: Subject) -> Iterator[Diagnostic]:
    configs = subject.view.if_allowed("v1", "ConfigMap", SYSTEM)
    config = next((item for item in configs if item["metadata"]["name"] == CILIUM), None)
    if config is None:
        return
    data = cast("Mapping[str, str]", config.get("data") or {})
    path = f"ConfigMap/{SYSTEM}/{CILIUM}"
    balances = data.get("kube-proxy-replacement") in _REPLACES or data.get("bpf-lb-sock") == "true"
    if balances and data.get("bpf-lb-sock-hostns-only") != "true":
        message = (
            "Cilium replaces the address of a Service by that of a pod in the socket of the caller, so sidecars see no "
            "Service: every split, retry and timeout is bypassed."
        )
        allowed = 'bpf-lb-sock-hostns-only: "true" (socketLB.hostNamespaceOnly of its chart)'
        value = data.get("bpf-lb-sock-hostns-only")
        yield Diagnostic("MSH710", path, value, message, allowed, command=_SHOW_CILIUM)
    if _uses_plugin(subject) and data.get("cni-exclusive", "true") != "false":
        message = "Cilium removes the configuration of other CNI plugins, that of the mesh among them."
        allowed = 'cni-exclusive: "false" (cni.exclusive of its chart)'
        yield Diagnostic("MSH711", path, data.get("cni-exclusive"), message, allowed, command=_SHOW_CILIUM)


def _aws(subject: Subject) -> Iterator[Diagnostic]:
    """Warn of Amazon's CNI where security groups of pods are enforced before the traffic reaches the node."""
    for item in subject.view.if_allowed("apps/v1", "DaemonSet", SYSTEM):
        if item["metadata"]["name"] != "aws-node":
            continue
        containers = cast("list[Mapping[str, Any]]", part(item, "spec", "template", "spec").get("containers") or [])
        listed = [one for container in containers for one in container.get("env") or ()]
        env = {str(one["name"]): str(one.get("value", "")) for one in cast("list[Mapping[str, Any]]", listed)}
        if env.get("ENABLE_POD_ENI") == "true" and env.get("POD_SECURITY_GROUP_ENFORCING_MODE", "strict") != "standard":
            message = "Pods with security groups have interfaces of their own, which the kubelet's probes don't reach."
            path, show = (
                f"DaemonSet/{SYSTEM}/aws-node",
                f"kubectl --namespace {SYSTEM} get daemonset aws-node --output yaml",
            )
            allowed = "POD_SECURITY_GROUP_ENFORCING_MODE: standard"
            value = env.get("POD_SECURITY_GROUP_ENFORCING_MODE")
            yield Diagnostic("MSH712", path, value, message, allowed, severity="warning", command=show)


def _webhooks(subject: Subject) -> Iterator[Diagnostic]:
    """Warn of control planes of providers that may not reach webhooks, unless one has answered."""
    if not subject.plan.mesh.output["injection"] or subject.plan.mesh.existing:
        return
    answered = (name for name, answer in subject.probes.pods.items() if answer.accepted and injects(subject, name))
    if any(subject.mesh.sidecar(subject.probes.pods[name].item) for name in answered):
        return
    nodes = subject.view.if_allowed("v1", "Node")
    providers = {str(part(node, "spec").get("providerID", "")).partition("://")[0] for node in nodes}
    ports = ", ".join(map(str, subject.mesh.webhook_ports))
    if "gce" in providers and not any(_is_public(node) for node in nodes):
        message = (
            "The nodes have no public address, as in a private cluster of GKE: its firewall opens 443 and 10250 to the "
            f"API server, and the webhooks of the mesh are at {ports}."
        )
        show = "gcloud compute firewall-rules list --filter name~gke-.*-master"
        allowed = f"a firewall rule from the control plane's range to the nodes for TCP {ports}"
        yield Diagnostic("MSH713", "Node", None, message, allowed, severity="warning", command=show)
    if "aws" in providers and not any(
        item["metadata"]["name"] == "aws-node" for item in subject.view.if_allowed("apps/v1", "DaemonSet", SYSTEM)
    ):
        message = (
            "Nodes of EKS without Amazon's CNI: the API server has no route to addresses of an overlay, and can't call "
            "webhooks of pods in it."
        )
        allowed = "a control plane on the network of the nodes (hostNetwork), or Amazon's CNI"
        show = f"kubectl --namespace {SYSTEM} get daemonsets"
        yield Diagnostic("MSH713", "Node", None, message, allowed, severity="warning", command=show)


def _is_public(node: Manifest) -> bool:
    addresses = cast("list[Mapping[str, str]]", part(node, "status").get("addresses") or [])
    return any(one.get("type") == "ExternalIP" and one.get("address") for one in addresses)


def _ranges(subject: Subject) -> Iterator[Diagnostic]:
    """Report addresses of pods, Services and nodes outside of the networks that the mesh takes for the cluster's."""
    written = subject.mesh.cluster_networks(subject.plan.mesh)
    if not written:
        return
    networks = [ipaddress.ip_network(text.strip(), strict=False) for text in written.split(",")]
    for what, found in _addresses(subject):
        outside = [text for text in dict.fromkeys(found) if not _is_inside(text, networks)]
        if outside:
            more = f" and {len(outside) - MOST_NAMED} more" if len(outside) > MOST_NAMED else ""
            message = f"{what} outside of them: {', '.join(outside[:MOST_NAMED])}{more}."
            path = f"meshup:{subject.mesh.name}.clusterNetworks"
            allowed = "networks that hold all nodes' pods, pods and Services"
            yield Diagnostic(
                "MSH714", path, written, message, allowed, command=f"kubectl get {_RESOURCES[what]} --output wide"
            )


_RESOURCES = {"Ranges of nodes": "nodes", "Pods": "pods --all-namespaces", "Services": "services --all-namespaces"}


def _addresses(subject: Subject) -> Iterator[tuple[str, list[str]]]:
    nodes = subject.view.if_allowed("v1", "Node")
    yield "Ranges of nodes", [text for node in nodes for text in _strings(part(node, "spec").get("podCIDRs"))]
    pods = [pod for pod in subject.view.if_allowed("v1", "Pod") if not is_on_host_network(pod)]
    yield "Pods", [str(part(pod, "status")["podIP"]) for pod in pods if part(pod, "status").get("podIP")]
    services = subject.view.if_allowed("v1", "Service")
    listed = [text for one in services for text in _strings(part(one, "spec").get("clusterIPs"))]
    yield "Services", [text for text in listed if text != "None"]


def _strings(value: object) -> list[str]:
    return [str(one) for one in cast("Sequence[object]", value or ())]


def _is_inside(text: str, networks: Iterable[Any]) -> bool:
    try:
        wanted = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return True  # No address: the API server has other words for what is not assigned.
    return any(wanted.version == network.version and wanted.subnet_of(network) for network in networks)


def _policies(subject: Subject) -> Iterator[Diagnostic]:
    """Warn of namespaces whose NetworkPolicies keep sidecars from their control plane.

    Only what holds for every pod of the namespace is judged: a policy for all pods denies, and any rule that may open
    the control plane's ports, to whomever, is taken for one that does.
    """
    for namespace in subject.meshed:
        if namespace not in subject.existing:
            continue
        egress = [one for one in subject.view.if_allowed(*NETWORK_POLICY, namespace) if _restricts_egress(one)]
        closing = [one for one in egress if not _selects_some(part(one, "spec", "podSelector"))]
        rules = [
            rule for one in egress for rule in cast("list[Mapping[str, Any]]", part(one, "spec").get("egress") or [])
        ]
        ports = [port for port in subject.mesh.control_plane_ports if not any(_may_open(rule, port) for rule in rules)]
        if closing and ports:
            names = ", ".join(sorted(str(one["metadata"]["name"]) for one in closing))
            listed = ", ".join(map(str, ports))
            message = f"{names} denies egress for all pods, and no rule opens TCP {listed} of the control plane."
            show = f"kubectl --namespace {namespace} get networkpolicies --output yaml"
            yield Diagnostic("MSH715", f"Namespace/{namespace}", None, message, severity="warning", command=show)


def _restricts_egress(policy: Manifest) -> bool:
    spec = part(policy, "spec")
    return "Egress" in _strings(spec.get("policyTypes")) or "egress" in spec


def _selects_some(selector: Mapping[str, Any]) -> bool:
    return bool(selector.get("matchLabels") or selector.get("matchExpressions"))


def _may_open(rule: Mapping[str, Any], port: int) -> bool:
    ports = cast("list[Mapping[str, Any]]", rule.get("ports") or [])
    if not ports:
        return True
    for one in ports:
        first, last = one.get("port"), one.get("endPort", one.get("port"))
        if one.get("protocol", "TCP") != "TCP":
            continue
        if first is None or isinstance(first, str) or int(first) <= port <= int(cast("int", last)):
            return True
    return False


NETWORKS = Check(
    "networks",
    "The cluster's network leaves traffic to the sidecars, and lets them and the API server reach the control plane",
    ("MSH710", "MSH711", "MSH712", "MSH713", "MSH714", "MSH715"),
    _run,
)
