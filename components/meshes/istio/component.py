"""Istio in sidecar mode by its official Helm charts: base, istiod, and any number of gateways.

What is installed is decided by `releases`, a pure function. Sources of the facts: the charts `base`, `istiod` and
`gateway` of Istio 1.30 (manifests/charts). The tests check every value path against the charts, since `base` and
`istiod` accept a misspelt key in silence.
"""

from collections.abc import Mapping
from typing import Any

import pulumi

from ...arguments import helm_values
from ...helm import HelmRelease, chart_release, merged, nested, register
from ...namespace import Namespace, namespace_metadata
from .mutual_tls import MutualTls
from .settings import Gateway, IstioArgs
from .versions import VERSIONS

REPOSITORY = "https://istio-release.storage.googleapis.com/charts"
"""Istio's HTTP chart repository (manifests/charts/README.md). The OCI one is oci://registry.istio.io/release/charts."""

_PROFILES_WITHOUT_KEY = ("default", "minimal")
"""Profiles of istioctl that the charts do not have and fail on: both mean the values of the chart as they are."""

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


ROOT_CONFIG_MAP = "istio-ca-root-cert"
"""The root certificate, which istiod writes into every namespace."""
CA_SECRETS = ("cacerts", "istio-ca-secret")
"""Secrets with the authority of istiod: one that is given to it, else its own."""
CONFIG_MAPS = ("istio-ca-crl", ROOT_CONFIG_MAP)
"""What istiod writes into every namespace of the cluster, and no chart takes away (seen with 1.31)."""


def releases(args: IstioArgs) -> list[HelmRelease]:
    """Return the releases of Istio in the order in which they are installed: base, istiod, gateways."""
    raw = args.values
    base = _release(args, "base", args.namespace, merged(_base_values(args), raw.get("base", {})))
    base["name"] = "istio-base"
    values = _with_providers(merged(_istiod_values(args), raw.get("istiod", {})), args)
    istiod = _release(args, "istiod", args.namespace, values)
    istiod["name"] = f"istiod-{args.revision}" if args.revision else "istiod"
    result = [base, istiod]
    for gateway in (*args.gateways, *args.gateway_pods):
        values = merged(_gateway_values(args, gateway), raw.get("gateway", {}), raw.get(gateway.name, {}))
        release = _release(args, "gateway", args.gateway_namespace, values)
        release["name"] = gateway.name
        release["role"] = f"gateway-{gateway.name}"
        result.append(release)
    return result


def namespaces(args: IstioArgs) -> list[dict[str, Any]]:
    """Return the namespaces of the control plane and, if there are gateways, of the gateways.

    Neither is labelled for injection: istiod's pods opt out by themselves, and a gateway's pods ask for their own.
    Neither needs more than Pod Security `baseline`: istiod runs as non-root, and a gateway only sets a safe sysctl.
    """
    gateways = bool(args.gateways or args.gateway_pods) or args.with_gateway_namespace
    names = {args.namespace: True, args.gateway_namespace: gateways}
    return [namespace_metadata(name) for name, wanted in names.items() if wanted or name == args.namespace]


def _release(args: IstioArgs, chart: str, namespace: str, values: dict[str, Any]) -> HelmRelease:
    version = args.version or VERSIONS.pinned
    made = chart_release(chart, args.charts, REPOSITORY, version=version, namespace=namespace, values=values)
    made["timeout"] = args.timeout_seconds
    return made


def _base_values(args: IstioArgs) -> dict[str, Any]:
    values: dict[str, Any] = {"global.istioNamespace": args.namespace}
    if not args.webhooks:
        # An empty default revision leaves out istiod-default-validator (templates/defaultrevision-*.yaml).
        values["defaultRevision"] = ""
    elif args.revision:
        # The validator calls istiod-REVISION; there is no istiod without a revision in this mesh.
        values["defaultRevision"] = args.revision
    return nested(_with_profile(args, values))


def _istiod_values(args: IstioArgs) -> dict[str, Any]:
    scale = _scale(args, "autoscaleEnabled", "autoscaleMin", "autoscaleMax", "cpu.targetAverageUtilization")
    values = {"seccompProfile.type": "RuntimeDefault", **helm_values(args), **scale}
    if not args.webhooks:
        # The chart's own switches: no MutatingWebhookConfiguration, no ValidatingWebhookConfiguration.
        values |= {"global.operatorManageWebhooks": True, "global.configValidation": False}
    return nested(_with_profile(args, values))


def _with_providers(values: dict[str, Any], args: IstioArgs) -> dict[str, Any]:
    """Add the providers to those of raw values, which would replace the list."""
    config: Mapping[str, Any] = values.get("meshConfig") or {}
    raw: list[Any] = config.get("extensionProviders") or []
    return merged(values, {"meshConfig": {"extensionProviders": [*raw, *args.providers]}}) if args.providers else values


def _gateway_values(args: IstioArgs, gateway: Gateway) -> dict[str, Any]:
    # The pod's image is `auto`: it is filled in by the injector of the revision.
    values = {**helm_values(gateway), **helm_values(args, "gateway")}
    values |= _scale(
        gateway,
        "autoscaling.enabled",
        "autoscaling.minReplicas",
        "autoscaling.maxReplicas",
        "autoscaling.targetCPUUtilizationPercentage",
    )
    if (gateway.autoscaling.min if gateway.autoscaling else gateway.replicas or 1) > 1:
        values["podDisruptionBudget.minAvailable"] = 1
    return nested(values)


def _with_profile(args: IstioArgs, values: dict[str, Any]) -> dict[str, Any]:
    return values if args.profile in _PROFILES_WITHOUT_KEY else {"profile": args.profile, **values}


def _scale(scaled: IstioArgs | Gateway, enabled: str, fewest: str, most: str, cpu: str) -> dict[str, Any]:
    autoscaling = scaled.autoscaling
    if autoscaling is not None:
        values: dict[str, Any] = {enabled: True, fewest: autoscaling.min, most: autoscaling.max}
        return values | ({} if autoscaling.cpu is None else {cpu: autoscaling.cpu})
    return {} if scaled.replicas is None else {enabled: False, "replicaCount": scaled.replicas}


class Istio(pulumi.ComponentResource):
    """Istio's control plane, its gateways, and the mutual TLS mode of the mesh.

    What depends on this component waits until istiod and the gateways are ready, so that sidecars are injected and
    Istio's own objects are validated from the first one on.
    """

    namespace: pulumi.Output[str]
    """The namespace of the control plane."""

    def __init__(
        self, name: str, args: IstioArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:Istio", name, {}, opts)
        args = IstioArgs.of(args)
        made: dict[str, pulumi.Resource] = {
            namespace["name"]: Namespace(f"{name}-{namespace['name']}", namespace, self._child())
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
        MutualTls(f"{name}-mtls", {"namespace": args.namespace, "mode": args.mtls}, self._child(*control_plane))
        self.namespace = pulumi.Output.from_input(args.namespace)
        self.register_outputs({"namespace": args.namespace})

    def _child(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(after))
