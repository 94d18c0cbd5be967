"""Linkerd by its official Helm charts: CRDs, optionally the CNI plugin, the control plane.

What is installed is decided by `releases`, a pure function; certificates join it at the registration, since their keys
are Pulumi secrets. Sources of the facts: the charts linkerd-crds, linkerd2-cni and linkerd-control-plane of
edge-26.8.3 (chart version 2026.8.3). The tests check every value path against the charts' defaults, because a misspelt
key passes in silence.

Two renders of the control plane's chart differ by themselves: it makes three self-signed certificates and takes the
minute of the heartbeat from the clock. Both are given here, so that the same input renders the same bytes.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, cast

import pulumi

from ...arguments import Resources, helm_values
from ...diagnostics import Diagnostic
from ...helm import HelmRelease, chart_release, merged, nested, register
from ...manifests import part
from ...namespace import Namespace, namespace_metadata
from ...nodes import LINUX, takes_pods
from .identity.component import CONTROL_PLANE_WEBHOOKS
from .membership import INJECT
from .settings import Certificates, LinkerdArgs, LinkerdSettings
from .versions import VERSIONS

REPOSITORY = "https://helm.linkerd.io/edge"
"""Linkerd's chart repository. Open source has edge releases only; the `stable` repository ended in February 2024."""

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
    raw = args.values
    crds = merged({"installGatewayAPI": False}, raw.get("crds", {}))
    result = [release(args, "crds", "linkerd-crds", args.namespace, crds)]
    if args.cni:
        values = merged(nested(helm_values(args, "linkerd2-cni")), raw.get("cni", {}))
        cni = release(args, "cni", "linkerd2-cni", CNI_NAMESPACE, values)
        cni["name"] = "linkerd-cni"
        result.append(cni)
    values = merged(nested(_control_plane_values(args)), raw.get("control-plane", {}))
    result.append(release(args, "control-plane", "linkerd-control-plane", args.namespace, values))
    return result


def release(args: LinkerdArgs, role: str, chart: str, namespace: str, values: dict[str, Any]) -> HelmRelease:
    """Return one release of Linkerd's charts: all have one repository and one version, and their own name."""
    version = args.version or VERSIONS.pinned
    made = chart_release(chart, args.charts, REPOSITORY, version=version, namespace=namespace, values=values)
    made["role"] = role
    made["timeout"] = args.timeout_seconds
    return made


def namespaces(args: LinkerdArgs) -> list[dict[str, Any]]:
    """Return the namespaces of the control plane and of the CNI plugin, with what Helm does not set.

    The chart makes its namespace only for Linkerd's own command line (templates/namespace.yaml). Without these labels,
    the injector's webhook would stand in the way of its own pods, and `linkerd check` does not find the control plane.
    """
    common = {"config.linkerd.io/admission-webhooks": "disabled"}
    control_plane = {"linkerd.io/is-control-plane": "true", "linkerd.io/control-plane-ns": args.namespace}
    outside = {INJECT: "disabled"}
    security = "restricted" if args.cni else "privileged"
    labels = {args.namespace: (control_plane, security)}
    if args.cni:
        labels[CNI_NAMESPACE] = ({"linkerd.io/cni-resource": "true"}, "privileged")
    made = [
        namespace_metadata(name, pod_security=security, labels=common | own, annotations=outside)
        for name, (own, security) in labels.items()
    ]
    return [*made, gateway_namespace(args)] if args.with_gateway_namespace else made


def gateway_namespace(settings: LinkerdSettings) -> dict[str, Any]:
    """Return the namespace of the gateways. It is in the mesh: some controllers make the pods of a Gateway there."""
    level = "baseline" if settings.cni else "privileged"
    return namespace_metadata(settings.gateway_namespace, pod_security=level, annotations={INJECT: "enabled"})


def check_nodes(args: LinkerdArgs, nodes: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
    """Refuse high availability on too few nodes: its pods would stay Pending until the release times out.

    Args:
        args: Of the mesh.
        nodes: The nodes of the cluster, as the API server has them.
    """
    if not args.high_availability:
        return []
    values = next(item["values"] for item in releases(args) if item["role"] == "control-plane")
    # The chart's own `nodeSelector` is Linux, it has no tolerations.
    selector = {**dict([LINUX]), **part(values, "nodeSelector")}
    tolerations = cast("list[Mapping[str, str]]", values.get("tolerations") or [])
    count = sum(takes_pods(node, selector, tolerations) for node in nodes)
    if count >= HA_NODES:
        return []
    path = "meshup:linkerd.highAvailability"
    message = f"The cluster has {count} node{'' if count == 1 else 's'} that can take pods, of {len(nodes)}."
    return [Diagnostic("MSH316", path, True, message, f"{HA_NODES} nodes or more")]


def certificate_values(certificates: Certificates) -> dict[str, Any]:
    """Return the control plane's certificates as values: outputs, whose keys are secrets."""
    values: dict[str, Any] = webhook_values(certificates, CONTROL_PLANE_WEBHOOKS)
    if certificates.issuer_certificate is not None:
        pair = {"crtPEM": certificates.issuer_certificate, "keyPEM": certificates.issuer_key}
        values["identityTrustAnchorsPEM"] = certificates.trust_bundle
        values["identity"] = {"issuer": {"tls": pair}}
    if certificates.restart_hash is not None:
        values["podAnnotations"] = {RESTART_KEY: certificates.restart_hash}
    return values


def webhook_values(certificates: Certificates, wanted: Container[str]) -> dict[str, Any]:
    """Return the values of those webhook certificates that a chart has keys for."""
    return {
        item.webhook: {"crtPEM": item.certificate, "keyPEM": item.key, "caBundle": item.certificate}
        for item in certificates.webhooks
        if item.webhook in wanted
    }


def chart_resources(resources: Resources) -> dict[str, Any]:
    """Return requests and limits as Linkerd's charts have them: by resource, then request and limit, by dotted path."""
    return {
        f"{resource}.{kind.removesuffix('s')}": quantity
        for kind, quantities in resources.plain().items()
        for resource, quantity in quantities.items()
    }


def _control_plane_values(args: LinkerdArgs) -> dict[str, Any]:
    values: dict[str, Any] = {
        "identityTrustDomain": args.identity_domain,
        "proxy.defaultInboundPolicy": _INBOUND_POLICY[args.mtls],
        **({"heartbeatSchedule": HEARTBEAT} if args.heartbeat else {"disableHeartBeat": True}),
    }
    if args.high_availability:
        values |= _HIGH_AVAILABILITY
    if args.external_ca:
        values |= {"identity.externalCA": True, "identity.issuer.scheme": "kubernetes.io/tls"}
    if args.tracing is not None:
        values |= {"proxy.tracing.enabled": True, **helm_values(args.tracing)}
    values |= helm_values(args)
    if args.proxy_resources is not None:
        values |= {f"proxy.resources.{path}": value for path, value in chart_resources(args.proxy_resources).items()}
    return values


class Linkerd(pulumi.ComponentResource):
    """Linkerd's CRDs, CNI plugin and control plane.

    It has to depend on the Gateway API. What depends on it waits until the injector and the policy controller are
    ready, so that pods are injected and routes are validated from the first one on.
    """

    namespace: pulumi.Output[str]
    """The namespace of the control plane."""

    def __init__(
        self, name: str, args: LinkerdArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:Linkerd", name, {}, opts)
        args = LinkerdArgs.of(args)
        made: dict[str, pulumi.Resource] = {
            namespace["name"]: Namespace(f"{name}-{namespace['name']}", namespace, pulumi.ResourceOptions(parent=self))
            for namespace in namespaces(args)
        }
        before: list[pulumi.Resource] = []
        for item in releases(args):
            if item["role"] == "control-plane" and args.certificates is not None:
                item["values"] = merged(certificate_values(args.certificates), item["values"])
            after = [made[item["namespace"]], *before]
            before.append(
                register(f"{name}-{item['role']}", item, pulumi.ResourceOptions(parent=self, depends_on=after))
            )
        self.namespace = pulumi.Output.from_input(args.namespace)
        self.register_outputs({"namespace": args.namespace})
