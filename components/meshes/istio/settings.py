"""Istio's settings: `meshup:istio`, and the arguments of the component `Istio`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from ...arguments import (
    Arguments,
    Autoscaling,
    HelmValue,
    Percent,
    Replicas,
    Resources,
    SecretNames,
    over_limit,
    repeated,
)
from ...diagnostics import Diagnostic
from ...gateways.settings import FIXED_OR_AUTOSCALED
from ...helm import ChartSource
from ...scalars import Name, Registry, ReleaseName, Revision, Tag
from ..interface import MeshSettings, Mtls, installs_nothing, unknown_releases
from .metrics import KEPT_STATISTICS
from .versions import VERSIONS

SIDECAR_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2000m", "memory": "1024Mi"}}
"""Of a sidecar and a gateway, by Istio's charts (1.30, values.yaml of istiod and gateway)."""
ISTIOD_RESOURCES = {"requests": {"cpu": "500m", "memory": "2048Mi"}}
"""Of istiod, by its chart."""

HUB = "registry.istio.io/release"
"""Where Istio's images are, by its charts (1.30, values.yaml of istiod: global.hub)."""
SIDECAR_USER = 1337
"""The user of a sidecar (1.30, files/injection-template.yaml)."""


class Gateway(Arguments):
    """One gateway: a Deployment of Envoy at the edge of the mesh, and its Service."""

    exclusive = (FIXED_OR_AUTOSCALED,)

    name: ReleaseName
    """Name of the release, Deployment and Service. The pods get `istio: NAME` without a leading `istio-`."""
    service_type: Annotated[Literal["LoadBalancer", "ClusterIP", "NodePort", "None"], HelmValue("service.type")] = (
        "LoadBalancer"
    )
    """Type of the Service. Where nothing gives out addresses, a `LoadBalancer` never becomes ready."""
    replicas: Replicas | None = None
    """A fixed number of replicas. Excludes `autoscaling`."""
    autoscaling: Autoscaling | None = None
    """A horizontal pod autoscaler. Excludes `replicas`."""
    resources: Annotated[Resources | None, HelmValue("resources")] = None
    """Kubernetes resource requests and limits."""


class ServicePort(Arguments):
    """A port of the Service of a gateway; the pods have the same."""

    number: Annotated[int, Field(ge=1, le=65535)]
    """The port."""
    name: Name
    """Its name."""


def _service_ports(ports: Sequence[ServicePort]) -> list[dict[str, Any]]:
    """Return the ports as the chart has them, with that of its readiness for load balancers."""
    listed = (ServicePort(number=15021, name="status-port"), *ports) if ports else ()
    return [{"name": port.name, "port": port.number, "targetPort": port.number, "protocol": "TCP"} for port in listed]


class GatewayPods(Gateway):
    """The pods and the Service of a gateway, with what its listeners need of them."""

    ports: Annotated[tuple[ServicePort, ...], Strict(False), HelmValue("service.ports", convert=_service_ports)] = ()
    """Ports of the Service; those of the chart, 80 and 443, if not set."""
    address: Annotated[str | None, HelmValue("service.loadBalancerIP")] = None
    """The address that the load balancer is asked for."""
    annotations: Annotated[dict[str, str], HelmValue("service.annotations")] = Field(default_factory=dict[str, str])
    """Annotations of the Service."""
    proxy_config: Annotated[
        str | None, HelmValue("podAnnotations", convert=lambda text: {"proxy.istio.io/config": text})
    ] = None
    """The configuration of the proxies, as their annotation has it."""


class IstioSettings(MeshSettings):
    """Settings of Istio. May be a secret as a whole."""

    exclusive = (FIXED_OR_AUTOSCALED,)
    with_existing = MeshSettings.with_existing | {"revision", "gateway_namespace"}

    namespace: Annotated[Name, HelmValue("global.istioNamespace")] = "istio-system"
    """Namespace of the control plane and root namespace of the mesh. meshup makes it."""
    gateway_namespace: Name = "istio-ingress"
    """Namespace of the gateways, made if there is one."""
    revision: Annotated[Revision | None, HelmValue("revision"), HelmValue("revision", "gateway")] = None
    """Revision of the control plane. Namespaces then get `istio.io/rev` in place of `istio-injection`. It can't be
    changed while the control plane runs ([why](diagnostics.md#msh326))."""
    profile: Literal["default", "minimal", "demo", "preview", "stable"] = "default"
    """Profile of the charts. `default` and `minimal` are the values of the charts as they are."""
    replicas: Replicas | None = None
    """Fixed number of istiod replicas. Excludes `autoscaling`."""
    autoscaling: Autoscaling | None = None
    """A horizontal pod autoscaler of istiod, such as `{min: 2, max: 5, cpu: 80}`. Excludes `replicas`. With a `min` of
    2 or more, the chart adds a PodDisruptionBudget."""
    resources: Annotated[Resources | None, HelmValue("resources")] = None
    """Resource requests and limits of istiod."""
    proxy_resources: Annotated[Resources | None, HelmValue("global.proxy.resources")] = None
    """Resource requests and limits of every sidecar."""
    access_log: Annotated[
        Literal["off", "text", "json"],
        HelmValue("meshConfig.accessLogFile", convert={"off": "", "text": "/dev/stdout", "json": "/dev/stdout"}.get),
        HelmValue("meshConfig.accessLogEncoding", convert={"text": "TEXT", "json": "JSON"}.get),
    ] = "off"
    """The access log of every proxy, to its standard output, unless `meshup:accessLogs` says more."""
    trace_sampling: Annotated[Percent | None, HelmValue("traceSampling")] = None
    """Percent of the requests that are traced, unless `sampling` of `meshup:tracing` says it."""
    egress: Annotated[
        Literal["allow-any", "registry-only"],
        HelmValue(
            "meshConfig.outboundTrafficPolicy.mode",
            convert={"allow-any": "ALLOW_ANY", "registry-only": "REGISTRY_ONLY"}.get,
        ),
    ] = "allow-any"
    """`registry-only` lets the mesh reach only hosts that Istio knows."""
    hub: Annotated[Registry | None, HelmValue("global.hub")] = None
    """Registry and path of Istio's images."""
    tag: Annotated[Tag | None, HelmValue("global.tag")] = None
    """Tag of Istio's images."""
    image_pull_secrets: Annotated[
        SecretNames,
        HelmValue("global.imagePullSecrets"),
        HelmValue("imagePullSecrets", "gateway", lambda names: [{"name": name} for name in names]),
    ] = ()
    """Names of Secrets with registry credentials, in the namespaces of the control plane and the gateways."""
    webhooks: bool = True
    """`false` leaves out injection and validation, by the charts' own switches: for an API server that can't reach
    pods, and for clusters whose webhooks someone else manages. The output `mesh.injection` shows it."""
    gateways: Annotated[tuple[Gateway, ...], Strict(False)] = ()
    """Pods of gateways, whose listeners somebody else declares. `meshup:gateways` has the same and more."""
    values: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])
    """Raw chart values by release, merged last: `base`, `istiod`, `gateway` (all gateways), or a gateway's name."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check versions, releases, gateways and resources."""
        yield from super().check(path)
        names = tuple(gateway.name for gateway in self.gateways)
        if self.gateways and not self.webhooks:
            yield Diagnostic("MSH307", f"{path}.gateways", None, "Gateways are set, but webhooks are off.")
        yield from repeated(f"{path}.gateways[{{}}].name", names)
        yield from unknown_releases("Istio", f"{path}.values", self.values, ("base", "istiod", "gateway", *names))
        yield from VERSIONS.check("Istio", f"{path}.version", self.version)
        # Raw values come last and can say anything; the profile `demo` requests less than the charts do.
        istiod: Mapping[str, Mapping[str, str]] = {} if self.values or self.profile == "demo" else ISTIOD_RESOURCES
        sidecar: Mapping[str, Mapping[str, str]] = {} if self.values else SIDECAR_RESOURCES
        if self.profile == "demo" and sidecar:
            sidecar = {"limits": SIDECAR_RESOURCES["limits"]}
        yield from over_limit(f"{path}.resources", self.resources, istiod)
        yield from over_limit(f"{path}.proxyResources", self.proxy_resources, sidecar)
        for position, gateway in enumerate(self.gateways):
            yield from over_limit(f"{path}.gateways[{position}].resources", gateway.resources, sidecar)


class IstioArgs(IstioSettings):
    """Arguments of `Istio`."""

    charts: ChartSource = ChartSource()
    """Where the charts come from; Istio's own repository if not set."""
    gateway_pods: Annotated[tuple[GatewayPods, ...], Strict(False)] = ()
    """Pods of further gateways, with the ports of their listeners."""
    with_gateway_namespace: bool = False
    """Whether the namespace of the gateways is made without any of them too, for those of the Gateway API."""
    providers: Annotated[tuple[dict[str, Any], ...], Strict(False)] = ()
    """Providers of traces and access logs, as `extensionProviders` of Istio's MeshConfig; further ones beside those of
    raw values."""
    mtls: Mtls = "strict"
    """Mutual TLS in the whole mesh: `strict` refuses plain text, `permissive` takes both."""
    envoy_statistics: Annotated[
        bool,
        HelmValue(
            "meshConfig.defaultConfig.proxyStatsMatcher.inclusionRegexps",
            convert=lambda kept: list(KEPT_STATISTICS) if kept else None,
        ),
    ] = False
    """Whether proxies keep Envoy's own statistics of requests, retries and ejections, by cluster."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the settings, and that there is something to install."""
        yield from super().check(path)
        yield from installs_nothing(self, path)
