"""Linkerd by its official Helm charts: CRDs, optionally the CNI plugin, the control plane.

What is installed is decided by `releases`, a pure function; certificates join it at the registration, since their keys
are Pulumi secrets. Sources of the facts: the charts linkerd-crds, linkerd2-cni and linkerd-control-plane of
edge-26.8.3 (chart version 2026.8.3). The tests check every value path against the charts' defaults, because a misspelt
key passes in silence.

Two renders of the control plane's chart differ by themselves: it makes three self-signed certificates and takes the
minute of the heartbeat from the clock. Both are given here, so that the same input renders the same bytes.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

import pulumi

from ...diagnostics import Diagnostic
from ...helm import DEFAULT_TIMEOUT, ChartSource, HelmRelease, chart_release, merged, nested, register
from ...namespace import MeshNamespace, MeshNamespaceArgs
from .identity.component import CONTROL_PLANE_WEBHOOKS

REPOSITORY = "https://helm.linkerd.io/edge"
"""Linkerd's chart repository. Open source has edge releases only; the `stable` repository ended in February 2024."""

DEFAULT_NAMESPACE = "linkerd"
CNI_NAMESPACE = "linkerd-cni"
RESTART_KEY = "meshup/trust"
"""Annotation of pod templates that changes when workloads have to restart with other trust anchors."""

HEARTBEAT = "17 3 * * *"
"""When the heartbeat job runs. The chart would take `now+10m`, so that every render differed."""

HA_NODES = 3
"""Nodes that high availability needs: its three replicas have a required anti-affinity by host name."""

CRDS = (
    "authorizationpolicies.policy.linkerd.io",
    "egressnetworks.policy.linkerd.io",
    "externalworkloads.workload.linkerd.io",
    "httplocalratelimitpolicies.policy.linkerd.io",
    "httproutes.policy.linkerd.io",
    "meshtlsauthentications.policy.linkerd.io",
    "networkauthentications.policy.linkerd.io",
    "serverauthorizations.policy.linkerd.io",
    "servers.policy.linkerd.io",
    "serviceprofiles.linkerd.io",
)
"""What the chart linkerd-crds has. Unlike Istio's, they go with the release."""


class Tracing(TypedDict):
    """Where the proxies send their spans (the extension linkerd-jaeger ended with 2.19)."""

    endpoint: str
    """Host and port of an OpenTelemetry collector. It has to be in the mesh."""
    service_account: str
    """Service account of the collector."""
    namespace: str
    """Namespace of the collector."""


class WebhookCertificate(TypedDict):
    """A self-signed serving certificate of a webhook: it is its own CA bundle."""

    webhook: str
    """Key of the webhook in the chart's values, such as `proxyInjector`."""
    certificate: pulumi.Input[str]
    """PEM."""
    key: pulumi.Input[str]
    """PEM, a secret."""


class Certificates(TypedDict):
    """The certificates of the mesh, as `Identity` makes them or as they come from elsewhere."""

    webhooks: list[WebhookCertificate]
    """Of the control plane and, if it is installed, of linkerd-viz."""
    trust_bundle: NotRequired[pulumi.Input[str]]
    """The trust anchors, PEM. Not set with an external CA."""
    issuer_certificate: NotRequired[pulumi.Input[str]]
    """The issuer, PEM. Not set with an external CA."""
    issuer_key: NotRequired[pulumi.Input[str]]
    """Its key, PEM, a secret. Not set with an external CA."""
    restart_hash: NotRequired[pulumi.Input[str]]
    """Changes when pods have to restart with other trust anchors."""


class LinkerdArgs(TypedDict):
    """Arguments of `Linkerd`."""

    version: str
    """Exact version of the charts, such as 2026.8.3 for edge-26.8.3."""
    charts: NotRequired[ChartSource]
    """Where the charts come from; Linkerd's own repository if not set."""
    namespace: NotRequired[str]
    """The namespace of the control plane; `linkerd` if not set."""
    cluster_domain: NotRequired[str]
    """The DNS domain of the cluster; `cluster.local` if not set."""
    trust_domain: NotRequired[str]
    """The trust domain of the identities; the cluster domain if not set."""
    high_availability: NotRequired[bool]
    """Three replicas on three nodes, disruption budgets, resource requests, and injection that fails closed."""
    webhook_failure_policy: NotRequired[str]
    """`Ignore` lets pods start outside the mesh while the injector is down, silently; `Fail` lets none start."""
    mtls: NotRequired[str]
    """`strict` (if not set): meshed pods take meshed requests only. `permissive`: they take others too. Between meshed
    pods, mutual TLS is on either way."""
    proxy_resources: NotRequired[dict[str, Any]]
    """Resource requests and limits of the sidecars, as in Kubernetes."""
    proxy_log_level: NotRequired[str]
    """Log level of the proxies, such as `warn,linkerd=info`."""
    log_format: NotRequired[str]
    """`plain` or `json`: the log of the control plane and of the proxies."""
    log_level: NotRequired[str]
    """Log level of the control plane."""
    native_sidecar: NotRequired[bool]
    """The proxy as an init container that stays: the default of Linkerd since 2.20."""
    opaque_ports: NotRequired[str]
    """Ports whose protocol is not detected, such as `25,3306,5432`."""
    skip_inbound_ports: NotRequired[str]
    """Ports at which the proxy takes no part in what comes in."""
    skip_outbound_ports: NotRequired[str]
    """Ports at which the proxy takes no part in what goes out."""
    cluster_networks: NotRequired[str]
    """The networks of nodes, pods and Services, as CIDRs with commas."""
    tracing: NotRequired[Tracing]
    """Where spans go; nowhere if not set."""
    registry: NotRequired[str]
    """Registry and path of the images, in place of cr.l5d.io/linkerd."""
    image_pull_secrets: NotRequired[list[str]]
    """Names of Secrets with registry credentials, in the control plane's namespace."""
    cni: NotRequired[bool]
    """Traffic is redirected by the CNI plugin, so that pods need no privileged init container."""
    heartbeat: NotRequired[bool]
    """Whether the control plane reports its version to Linkerd once a day; True if not set."""
    certificates: NotRequired[Certificates]
    """The certificates. Without them, the chart makes the webhooks' anew at every upgrade, and refuses to render
    without an issuer unless an external CA keeps it."""
    external_ca: NotRequired[bool]
    """An external CA keeps issuer and trust bundle in the cluster (cert-manager and trust-manager)."""
    timeout: NotRequired[int]
    """Seconds that each release may take to become ready; 300 if not set."""
    values: NotRequired[dict[str, Any]]
    """Raw values by release, merged last: `crds`, `cni`, `control-plane`, `viz`."""


_HIGH_AVAILABILITY: Mapping[str, Any] = {
    "enablePodDisruptionBudget": True,
    "controller.podDisruptionBudget.maxUnavailable": 1,
    "deploymentStrategy.rollingUpdate.maxUnavailable": 1,
    "deploymentStrategy.rollingUpdate.maxSurge": "25%",
    "enablePodAntiAffinity": True,
    "controllerReplicas": HA_NODES,
    "webhookFailurePolicy": "Fail",
    "highAvailability": True,
    "proxy.resources.cpu.request": "100m",
    "proxy.resources.memory.request": "20Mi",
    "proxy.resources.memory.limit": "250Mi",
    **{
        f"{component}Resources.{path}": value
        for component, memory in (
            ("controller", "50Mi"),
            ("destination", "50Mi"),
            ("identity", "10Mi"),
            ("heartbeat", "50Mi"),
            ("proxyInjector", "50Mi"),
            ("spValidator", "50Mi"),
        )
        for path, value in (("cpu.request", "100m"), ("memory.request", memory), ("memory.limit", "250Mi"))
    },
}
"""What values-ha.yaml of the chart sets: it is a file in the chart, which Helm does not read by itself."""

_INBOUND_POLICY = {"strict": "all-authenticated", "permissive": "all-unauthenticated"}


def releases(args: LinkerdArgs) -> list[HelmRelease]:
    """Return the releases of Linkerd in the order in which they are installed, without the certificates."""
    namespace = args.get("namespace", DEFAULT_NAMESPACE)
    raw = args.get("values", {})
    crds = release(args, "crds", "linkerd-crds", namespace, merged({"installGatewayAPI": False}, raw.get("crds", {})))
    result = [crds]
    if args.get("cni", False):
        values = merged(nested(_cni_values(args)), raw.get("cni", {}))
        cni = release(args, "cni", "linkerd2-cni", CNI_NAMESPACE, values)
        cni["name"] = "linkerd-cni"
        result.append(cni)
    values = merged(nested(_control_plane_values(args)), raw.get("control-plane", {}))
    result.append(release(args, "control-plane", "linkerd-control-plane", namespace, values))
    return result


def release(args: LinkerdArgs, role: str, chart: str, namespace: str, values: dict[str, Any]) -> HelmRelease:
    """Return one release of Linkerd's charts: all have one repository and one version, and their own name."""
    made = chart_release(
        chart, args.get("charts", {}), REPOSITORY, version=args["version"], namespace=namespace, values=values
    )
    made["role"] = role
    made["timeout"] = args.get("timeout", DEFAULT_TIMEOUT)
    return made


def namespaces(args: LinkerdArgs) -> list[MeshNamespaceArgs]:
    """Return the namespaces of the control plane and of the CNI plugin, with what Helm does not set.

    The chart makes its namespace only for Linkerd's own command line (templates/namespace.yaml). Without these labels,
    the injector's webhook would stand in the way of its own pods, and `linkerd check` does not find the control plane.
    """
    name = args.get("namespace", DEFAULT_NAMESPACE)
    made: list[MeshNamespaceArgs] = [
        {
            "name": name,
            "mesh": "none",
            "pod_security": "restricted" if args.get("cni", False) else "privileged",
            "labels": {
                "linkerd.io/is-control-plane": "true",
                "config.linkerd.io/admission-webhooks": "disabled",
                "linkerd.io/control-plane-ns": name,
            },
            "annotations": {"linkerd.io/inject": "disabled"},
        }
    ]
    if args.get("cni", False):
        made.append(
            {
                "name": CNI_NAMESPACE,
                "mesh": "none",
                "pod_security": "privileged",
                "labels": {"linkerd.io/cni-resource": "true", "config.linkerd.io/admission-webhooks": "disabled"},
                "annotations": {"linkerd.io/inject": "disabled"},
            }
        )
    return made


def node_faults(args: LinkerdArgs, nodes: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
    """Refuse high availability on too few nodes: its pods would stay Pending until the release times out.

    Args:
        args: Of the mesh.
        nodes: The nodes of the cluster, as the API server has them.
    """
    if not args.get("high_availability", False):
        return []
    values = next(item["values"] for item in releases(args) if item["role"] == "control-plane")
    count = sum(takes_pods(node, values) for node in nodes)
    if count >= HA_NODES:
        return []
    path = "meshup:linkerd.highAvailability"
    message = f"The cluster has {count} node{'' if count == 1 else 's'} that can take pods, of {len(nodes)}."
    return [Diagnostic("MSH316", path, True, message, f"{HA_NODES} nodes or more")]


def takes_pods(node: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether a node takes pods of the control plane: ready, not cordoned, selected, its taints tolerated.

    Args:
        node: A node, as the API server has it.
        values: Of the control plane's release. The chart's own `nodeSelector` is Linux, it has no tolerations.
    """
    spec: Mapping[str, Any] = node.get("spec") or {}
    status: Mapping[str, Any] = node.get("status") or {}
    conditions = cast("list[Mapping[str, str]]", status.get("conditions") or [])
    ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
    selector = {"kubernetes.io/os": "linux"} | cast("dict[str, str]", values.get("nodeSelector") or {})
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    selected = all(labels.get(key) == value for key, value in selector.items())
    taints = cast("list[Mapping[str, str]]", spec.get("taints") or [])
    tolerations = cast("list[Mapping[str, str]]", values.get("tolerations") or [])
    barred = [
        taint
        for taint in taints
        if taint.get("effect") in ("NoSchedule", "NoExecute")
        and not any(_tolerates(toleration, taint) for toleration in tolerations)
    ]
    return ready and selected and not barred and not spec.get("unschedulable", False)


def _tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    """As Kubernetes decides it (core/v1, Toleration.ToleratesTaint): what is empty matches everything."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def certificate_values(certificates: Certificates) -> dict[str, Any]:
    """Return the control plane's certificates as values: outputs, whose keys are secrets."""
    values: dict[str, Any] = webhook_values(certificates, CONTROL_PLANE_WEBHOOKS)
    if "issuer_certificate" in certificates:
        pair = {"crtPEM": certificates["issuer_certificate"], "keyPEM": certificates.get("issuer_key")}
        values["identityTrustAnchorsPEM"] = certificates.get("trust_bundle")
        values["identity"] = {"issuer": {"tls": pair}}
    if "restart_hash" in certificates:
        values["podAnnotations"] = {RESTART_KEY: certificates["restart_hash"]}
    return values


def webhook_values(certificates: Certificates, wanted: Container[str]) -> dict[str, Any]:
    """Return the values of those webhook certificates that a chart has keys for."""
    return {
        item["webhook"]: {"crtPEM": item["certificate"], "keyPEM": item["key"], "caBundle": item["certificate"]}
        for item in certificates["webhooks"]
        if item["webhook"] in wanted
    }


def under(values: dict[str, Any], certificates: Mapping[str, Any]) -> dict[str, Any]:
    """Lay certificates under values: what the values set themselves stays."""
    result = dict(certificates)
    for key, value in values.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            result[key] = under(cast("dict[str, Any]", value), cast("dict[str, Any]", below))
        else:
            result[key] = value
    return result


def chart_resources(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Turn Kubernetes requests and limits into the form of Linkerd's charts: by resource, then request and limit."""
    result: dict[str, Any] = {}
    for kind, key in (("requests", "request"), ("limits", "limit")):
        for resource, quantity in cast("Mapping[str, str]", resources.get(kind) or {}).items():
            result.setdefault(resource, {})[key] = quantity
    return result


def _control_plane_values(args: LinkerdArgs) -> dict[str, Any]:
    values: dict[str, Any] = {
        "clusterDomain": args.get("cluster_domain", "cluster.local"),
        "identityTrustDomain": trust_domain(args),
        "proxy.defaultInboundPolicy": _INBOUND_POLICY[args.get("mtls", "strict")],
        "cniEnabled": args.get("cni", False),
    }
    if args.get("heartbeat", True):
        values["heartbeatSchedule"] = HEARTBEAT
    else:
        values["disableHeartBeat"] = True
    if args.get("high_availability", False):
        values |= _HIGH_AVAILABILITY
    if args.get("external_ca", False):
        values |= {"identity.externalCA": True, "identity.issuer.scheme": "kubernetes.io/tls"}
    tracing = args.get("tracing")
    if tracing is not None:
        values |= {
            "proxy.tracing.enabled": True,
            "proxy.tracing.collector.endpoint": tracing["endpoint"],
            "proxy.tracing.collector.meshIdentity.serviceAccountName": tracing["service_account"],
            "proxy.tracing.collector.meshIdentity.namespace": tracing["namespace"],
        }
    registry = args.get("registry", "").rstrip("/")
    if registry:
        values |= {
            "controllerImage": f"{registry}/controller",
            "proxy.image.name": f"{registry}/proxy",
            "debugContainer.image.name": f"{registry}/debug",
        }
    optional = {
        "webhookFailurePolicy": args.get("webhook_failure_policy"),
        "proxy.logLevel": args.get("proxy_log_level"),
        "proxy.logFormat": args.get("log_format"),
        "controllerLogFormat": args.get("log_format"),
        "controllerLogLevel": args.get("log_level"),
        "proxy.nativeSidecar": args.get("native_sidecar"),
        "proxy.opaquePorts": args.get("opaque_ports"),
        "proxyInit.ignoreInboundPorts": args.get("skip_inbound_ports"),
        "proxyInit.ignoreOutboundPorts": args.get("skip_outbound_ports"),
        "clusterNetworks": args.get("cluster_networks"),
        "imagePullSecrets": _pull_secrets(args),
    }
    values |= {path: value for path, value in optional.items() if value is not None}
    for resource, limits in chart_resources(args.get("proxy_resources", {})).items():
        values |= {f"proxy.resources.{resource}.{key}": quantity for key, quantity in limits.items()}
    return values


def _cni_values(args: LinkerdArgs) -> dict[str, Any]:
    registry = args.get("registry", "").rstrip("/")
    optional = {
        "image.name": f"{registry}/cni-plugin" if registry else None,
        "ignoreInboundPorts": args.get("skip_inbound_ports"),
        "ignoreOutboundPorts": args.get("skip_outbound_ports"),
        "imagePullSecrets": _pull_secrets(args),
    }
    return {path: value for path, value in optional.items() if value is not None}


def trust_domain(args: LinkerdArgs) -> str:
    """Return the trust domain: the cluster domain unless set."""
    return args.get("trust_domain") or args.get("cluster_domain", "cluster.local")


def _pull_secrets(args: LinkerdArgs) -> list[dict[str, str]] | None:
    names = args.get("image_pull_secrets", [])
    return [{"name": name} for name in names] or None


class Linkerd(pulumi.ComponentResource):
    """Linkerd's CRDs, CNI plugin and control plane.

    It has to depend on the Gateway API. What depends on it waits until the injector and the policy controller are
    ready, so that pods are injected and routes are validated from the first one on.
    """

    namespace: pulumi.Output[str]
    """The namespace of the control plane."""

    def __init__(self, name: str, args: LinkerdArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:Linkerd", name, {}, opts)
        made: dict[str, pulumi.Resource] = {
            namespace["name"]: MeshNamespace(
                f"{name}-{namespace['name']}", namespace, pulumi.ResourceOptions(parent=self)
            )
            for namespace in namespaces(args)
        }
        before: list[pulumi.Resource] = []
        for item in releases(args):
            if item["role"] == "control-plane" and "certificates" in args:
                item["values"] = under(item["values"], certificate_values(args["certificates"]))
            after = [made[item["namespace"]], *before]
            before.append(
                register(f"{name}-{item['role']}", item, pulumi.ResourceOptions(parent=self, depends_on=after))
            )
        root = args.get("namespace", DEFAULT_NAMESPACE)
        self.namespace = pulumi.Output.from_input(root)
        self.register_outputs({"namespace": root})
