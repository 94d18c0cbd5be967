"""Istio in sidecar mode by its official Helm charts: base, istiod, and any number of gateways.

What is installed is decided by `releases`, a pure function. Sources of the facts: the charts `base`, `istiod` and
`gateway` of Istio 1.30 (manifests/charts). The tests check every value path against the charts, since `base` and
`istiod` accept a misspelt key in silence.
"""

from typing import Any, NotRequired, TypedDict

import pulumi

from ...helm import DEFAULT_TIMEOUT, ChartSource, HelmRelease, chart_release, merged, nested, register
from ...namespace import MeshNamespace, MeshNamespaceArgs
from .mutual_tls import MutualTls

REPOSITORY = "https://istio-release.storage.googleapis.com/charts"
"""Istio's HTTP chart repository (manifests/charts/README.md). The OCI one is oci://registry.istio.io/release/charts."""

PROFILES = ("default", "minimal", "demo", "preview", "stable")
"""Profiles of istioctl and of the charts that make sense for sidecars. The charts have no `default` and no `minimal`
and fail on them; both mean the values of the chart as they are, so no key is passed."""
_PROFILES_WITHOUT_KEY = ("default", "minimal")

CRDS = (
    "authorizationpolicies.security.istio.io",
    "destinationrules.networking.istio.io",
    "envoyfilters.networking.istio.io",
    "gateways.networking.istio.io",
    "peerauthentications.security.istio.io",
    "proxyconfigs.networking.istio.io",
    "requestauthentications.security.istio.io",
    "serviceentries.networking.istio.io",
    "sidecars.networking.istio.io",
    "telemetries.telemetry.istio.io",
    "trafficextensions.extensions.istio.io",
    "virtualservices.networking.istio.io",
    "wasmplugins.extensions.istio.io",
    "workloadentries.networking.istio.io",
    "workloadgroups.networking.istio.io",
)
"""What the chart `base` keeps when it is uninstalled (`helm.sh/resource-policy: keep`)."""


CONFIG_MAPS = ("istio-ca-crl", "istio-ca-root-cert")
"""What istiod writes into every namespace of the cluster, and no chart takes away (seen with 1.31)."""


class Autoscaling(TypedDict):
    """A horizontal pod autoscaler."""

    min: int
    """Fewest replicas. With 2 or more, the chart adds a PodDisruptionBudget."""
    max: int
    """Most replicas."""
    cpu: NotRequired[int]
    """Average CPU use, in percent of the request, above which replicas are added."""


class Gateway(TypedDict):
    """One gateway: a Deployment of Envoy at the edge of the mesh, and its Service."""

    name: str
    """Name of the release, Deployment and Service. The pods get `istio: NAME without a leading "istio-"`."""
    service_type: NotRequired[str]
    """`LoadBalancer` (the chart's default), `ClusterIP`, `NodePort` or `None`. Where nothing gives out addresses, a
    LoadBalancer never becomes ready."""
    replicas: NotRequired[int]
    """A fixed number of replicas. Excludes `autoscaling`."""
    autoscaling: NotRequired[Autoscaling]
    """Excludes `replicas`."""
    resources: NotRequired[dict[str, Any]]
    """Kubernetes resource requests and limits."""


class IstioArgs(TypedDict):
    """Arguments of `Istio`."""

    version: str
    """Exact version of the charts."""
    charts: NotRequired[ChartSource]
    """Where the charts come from; Istio's own repository if not set."""
    namespace: NotRequired[str]
    """The namespace of the control plane and root namespace of the mesh; `istio-system` if not set."""
    gateway_namespace: NotRequired[str]
    """The namespace of the gateways; `istio-ingress` if not set. Made only if there is a gateway."""
    revision: NotRequired[str]
    """Revision of the control plane, for canary upgrades. Without it, it is the default revision."""
    profile: NotRequired[str]
    """One of PROFILES."""
    replicas: NotRequired[int]
    """A fixed number of istiod replicas. Excludes `autoscaling`."""
    autoscaling: NotRequired[Autoscaling]
    """Of istiod. Excludes `replicas`."""
    resources: NotRequired[dict[str, Any]]
    """Resource requests and limits of istiod."""
    proxy_resources: NotRequired[dict[str, Any]]
    """Resource requests and limits of the sidecars."""
    access_log: NotRequired[str]
    """`off`, `text` or `json`: the access log of every proxy, to its standard output."""
    trace_sampling: NotRequired[float]
    """Percent of the requests that are traced."""
    mtls: NotRequired[str]
    """Mesh-wide mutual TLS: `strict` (if not set) or `permissive`."""
    egress: NotRequired[str]
    """`allow-any`, or `registry-only`: only hosts that Istio knows can be reached from the mesh."""
    hub: NotRequired[str]
    """Registry and path of Istio's images."""
    tag: NotRequired[str]
    """Tag of Istio's images."""
    image_pull_secrets: NotRequired[list[str]]
    """Names of Secrets with registry credentials, in the namespaces of the control plane and the gateways."""
    webhooks: NotRequired[bool]
    """False leaves out the injection and validation webhooks, by the switches of the charts. For an API server that
    can't reach pods, and for clusters whose webhooks someone else manages. Nothing is injected then."""
    gateways: NotRequired[list[Gateway]]
    """The gateways; none if not set."""
    timeout: NotRequired[int]
    """Seconds that each release may take to become ready; 300 if not set."""
    values: NotRequired[dict[str, Any]]
    """Raw values by release, merged last: `base`, `istiod`, `gateway` (all gateways), or the name of one gateway."""


DEFAULT_NAMESPACE = "istio-system"
DEFAULT_GATEWAY_NAMESPACE = "istio-ingress"
_ACCESS_LOG = {
    "off": {"meshConfig.accessLogFile": ""},
    "text": {"meshConfig.accessLogFile": "/dev/stdout", "meshConfig.accessLogEncoding": "TEXT"},
    "json": {"meshConfig.accessLogFile": "/dev/stdout", "meshConfig.accessLogEncoding": "JSON"},
}
_EGRESS = {"allow-any": "ALLOW_ANY", "registry-only": "REGISTRY_ONLY"}


def releases(args: IstioArgs) -> list[HelmRelease]:
    """Return the releases of Istio in the order in which they are installed: base, istiod, gateways."""
    namespace = args.get("namespace", DEFAULT_NAMESPACE)
    revision = args.get("revision", "")
    raw = args.get("values", {})
    base = _release(args, "base", namespace, merged(_base_values(args), raw.get("base", {})))
    base["name"] = "istio-base"
    istiod = _release(args, "istiod", namespace, merged(_istiod_values(args), raw.get("istiod", {})))
    istiod["name"] = f"istiod-{revision}" if revision else "istiod"
    result = [base, istiod]
    for gateway in args.get("gateways", []):
        values = merged(_gateway_values(args, gateway), raw.get("gateway", {}), raw.get(gateway["name"], {}))
        release = _release(args, "gateway", args.get("gateway_namespace", DEFAULT_GATEWAY_NAMESPACE), values)
        release["name"] = gateway["name"]
        release["role"] = f"gateway-{gateway['name']}"
        result.append(release)
    return result


def namespaces(args: IstioArgs) -> list[MeshNamespaceArgs]:
    """Return the namespaces of the control plane and, if there are gateways, of the gateways.

    Neither is labelled for injection: istiod's pods opt out by themselves, and a gateway's pods ask for their own.
    Neither needs more than Pod Security `baseline`: istiod runs as non-root, and a gateway only sets a safe sysctl.
    """
    names = [args.get("namespace", DEFAULT_NAMESPACE)]
    if args.get("gateways"):
        gateway_namespace = args.get("gateway_namespace", DEFAULT_GATEWAY_NAMESPACE)
        if gateway_namespace not in names:
            names.append(gateway_namespace)
    return [{"name": name, "mesh": "none"} for name in names]


def _release(args: IstioArgs, chart: str, namespace: str, values: dict[str, Any]) -> HelmRelease:
    made = chart_release(
        chart, args.get("charts", {}), REPOSITORY, version=args["version"], namespace=namespace, values=values
    )
    made["timeout"] = args.get("timeout", DEFAULT_TIMEOUT)
    return made


def _base_values(args: IstioArgs) -> dict[str, Any]:
    values: dict[str, Any] = {"global.istioNamespace": args.get("namespace", DEFAULT_NAMESPACE)}
    if not args.get("webhooks", True):
        # An empty default revision leaves out istiod-default-validator (templates/defaultrevision-*.yaml).
        values["defaultRevision"] = ""
    elif args.get("revision"):
        # The validator calls istiod-REVISION; there is no istiod without a revision in this mesh.
        values["defaultRevision"] = args.get("revision")
    return nested(_with_profile(args, values))


def _istiod_values(args: IstioArgs) -> dict[str, Any]:
    values: dict[str, Any] = {
        "global.istioNamespace": args.get("namespace", DEFAULT_NAMESPACE),
        "seccompProfile.type": "RuntimeDefault",
        "meshConfig.outboundTrafficPolicy.mode": _EGRESS[args.get("egress", "allow-any")],
        **_ACCESS_LOG[args.get("access_log", "off")],
        **_scale(args, "autoscaleEnabled", "autoscaleMin", "autoscaleMax", "cpu.targetAverageUtilization"),
    }
    optional = {
        "revision": args.get("revision"),
        "resources": args.get("resources"),
        "global.proxy.resources": args.get("proxy_resources"),
        "traceSampling": args.get("trace_sampling"),
        "global.hub": args.get("hub"),
        "global.tag": args.get("tag"),
        "global.imagePullSecrets": args.get("image_pull_secrets"),
    }
    values |= {path: value for path, value in optional.items() if value is not None}
    if not args.get("webhooks", True):
        # The chart's own switches: no MutatingWebhookConfiguration, no ValidatingWebhookConfiguration.
        values |= {"global.operatorManageWebhooks": True, "global.configValidation": False}
    return nested(_with_profile(args, values))


def _gateway_values(args: IstioArgs, gateway: Gateway) -> dict[str, Any]:
    values = _scale(
        gateway,
        "autoscaling.enabled",
        "autoscaling.minReplicas",
        "autoscaling.maxReplicas",
        "autoscaling.targetCPUUtilizationPercentage",
    )
    if _fewest_replicas(gateway) > 1:
        values["podDisruptionBudget.minAvailable"] = 1
    optional = {
        "service.type": gateway.get("service_type"),
        "resources": gateway.get("resources"),
        # The pod's image is `auto`: it is filled in by the injector of this revision.
        "revision": args.get("revision"),
    }
    values |= {path: value for path, value in optional.items() if value is not None}
    if args.get("image_pull_secrets"):
        values["imagePullSecrets"] = [{"name": name} for name in args.get("image_pull_secrets", [])]
    return nested(values)


def _with_profile(args: IstioArgs, values: dict[str, Any]) -> dict[str, Any]:
    profile = args.get("profile", "default")
    return values if profile in _PROFILES_WITHOUT_KEY else {"profile": profile, **values}


def _scale(args: IstioArgs | Gateway, enabled: str, fewest: str, most: str, cpu: str) -> dict[str, Any]:
    autoscaling = args.get("autoscaling")
    if autoscaling is not None:
        values: dict[str, Any] = {enabled: True, fewest: autoscaling["min"], most: autoscaling["max"]}
        return values | ({cpu: autoscaling["cpu"]} if "cpu" in autoscaling else {})
    if "replicas" in args:
        return {enabled: False, "replicaCount": args["replicas"]}
    return {}


def _fewest_replicas(gateway: Gateway) -> int:
    autoscaling = gateway.get("autoscaling")
    return autoscaling["min"] if autoscaling is not None else gateway.get("replicas", 1)


class Istio(pulumi.ComponentResource):
    """Istio's control plane, its gateways, and the mutual TLS mode of the mesh.

    What depends on this component waits until istiod and the gateways are ready, so that sidecars are injected and
    Istio's own objects are validated from the first one on.
    """

    namespace: pulumi.Output[str]
    """The namespace of the control plane."""

    def __init__(self, name: str, args: IstioArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:Istio", name, {}, opts)
        made: dict[str, pulumi.Resource] = {
            namespace["name"]: MeshNamespace(f"{name}-{namespace['name']}", namespace, self._child())
            for namespace in namespaces(args)
        }
        control_plane: list[pulumi.Resource] = []
        for release in releases(args):
            resource = register(
                f"{name}-{release['role']}", release, self._child(made[release["namespace"]], *control_plane)
            )
            # Gateways wait for istiod, not for each other.
            if release["role"] in ("base", "istiod"):
                control_plane.append(resource)
        root = args.get("namespace", DEFAULT_NAMESPACE)
        MutualTls(f"{name}-mtls", {"namespace": root, "mode": args.get("mtls", "strict")}, self._child(*control_plane))
        self.namespace = pulumi.Output.from_input(root)
        self.register_outputs({"namespace": root})

    def _child(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(after))
