"""Linkerd's settings: `meshup:linkerd`, and the arguments of the components `Linkerd` and `Viz`."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from ...addons.interface import AddonSettings
from ...arguments import Arguments, Deferred, HelmValue, Resources, SecretNames, over_limit
from ...diagnostics import Diagnostic
from ...helm import ChartSource
from ...scalars import (
    ClusterDomain,
    Endpoint,
    HostPattern,
    HttpUrl,
    LogLevel,
    Name,
    Networks,
    Ports,
    ProxyLogLevel,
    Registry,
    TrustDomain,
    Version,
)
from ..interface import MeshSettings, Mtls, installs_nothing, unknown_releases
from .versions import VERSIONS

RELEASES = ("crds", "cni", "control-plane", "viz")
HA_RESOURCES = {"requests": {"cpu": "100m", "memory": "20Mi"}, "limits": {"memory": "250Mi"}}
"""Of Linkerd's sidecars with high availability: values-ha.yaml of the chart."""
VIZ = "linkerd-viz"
"""The chart of linkerd-viz, for `HelmValue`."""


def _secret_references(names: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


class TracingSettings(Arguments):
    """Where the proxies send their spans (the extension linkerd-jaeger ended with 2.19)."""

    endpoint: Annotated[Endpoint, HelmValue("proxy.tracing.collector.endpoint")]
    """Host and port of an OpenTelemetry collector. It has to be in the mesh."""
    service_account: Annotated[Name, HelmValue("proxy.tracing.collector.meshIdentity.serviceAccountName")]
    """Service account of the collector."""
    namespace: Annotated[Name, HelmValue("proxy.tracing.collector.meshIdentity.namespace")]
    """Namespace of the collector."""
    labels: Annotated[dict[str, str], HelmValue("proxy.tracing.labels")] = Field(default_factory=dict[str, str])
    """Further attributes of every span, by name."""


class VizSettings(AddonSettings):
    """linkerd-viz: metrics, live request inspection (tap) and the dashboard."""

    namespace: Name = "linkerd-viz"
    """Its namespace. meshup makes it."""
    prometheus_url: Annotated[HttpUrl | None, HelmValue("prometheusUrl")] = None
    """An existing Prometheus, such as `http://prometheus.monitoring:9090`. Without it, that of `meshup:prometheus` if
    it is enabled; else the chart brings its own."""
    dashboard_hosts: Annotated[HostPattern | None, HelmValue("dashboard.enforcedHostRegexp")] = None
    """Regular expression of the host names under which the dashboard may be opened; the chart's own if not set."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse settings of what is not installed."""
        if not self.enabled and (self.prometheus_url or self.dashboard_hosts or self.version or self.repository):
            yield Diagnostic("MSH319", path, None, "linkerd-viz is not enabled.")


class LinkerdSettings(MeshSettings):
    """Settings of Linkerd and linkerd-viz. May be a secret as a whole."""

    with_existing = MeshSettings.with_existing | {"cluster_domain", "gateway_namespace", "viz"}

    version: Version | None = None
    """Exact version of the charts: `2026.8.3` is edge-26.8.3. Not set, that of a directory of charts, else the pinned
    one."""
    namespace: Annotated[Name, HelmValue("linkerdNamespace", VIZ)] = "linkerd"
    """Namespace of the control plane. meshup makes it."""
    cluster_domain: Annotated[ClusterDomain, HelmValue("clusterDomain"), HelmValue("clusterDomain", VIZ)] = (
        "cluster.local"
    )
    """DNS domain of the cluster."""
    trust_domain: TrustDomain | None = None
    """Trust domain of the identities; the cluster domain if not set."""
    high_availability: bool = False
    """Three replicas on three nodes, disruption budgets, resource requests, and injection that fails closed."""
    webhook_failure_policy: Annotated[Literal["Ignore", "Fail"] | None, HelmValue("webhookFailurePolicy")] = None
    """`Ignore` lets pods start outside the mesh while the injector is down, silently; `Fail` lets none start."""
    proxy_resources: Resources | None = None
    """Resource requests and limits of the sidecars, as in Kubernetes."""
    proxy_log_level: Annotated[ProxyLogLevel | None, HelmValue("proxy.logLevel")] = None
    """Log level of the proxies, such as `warn,linkerd=info`."""
    log_level: Annotated[LogLevel | None, HelmValue("controllerLogLevel")] = None
    """Log level of the control plane."""
    log_format: Annotated[
        Literal["plain", "json"] | None,
        HelmValue("proxy.logFormat"),
        HelmValue("controllerLogFormat"),
        HelmValue("defaultLogFormat", VIZ),
    ] = None
    """The log of the control plane and of the proxies."""
    gateway_namespace: Name = "linkerd-ingress"
    """Namespace of the gateways, made in the mesh if there is one."""
    native_sidecar: Annotated[bool | None, HelmValue("proxy.nativeSidecar")] = None
    """The proxy as an init container that stays: the default of Linkerd since 2.20."""
    opaque_ports: Annotated[Ports | None, HelmValue("proxy.opaquePorts")] = None
    """Ports whose protocol is not detected, such as `25,3306,5432`."""
    skip_inbound_ports: Annotated[
        Ports | None, HelmValue("proxyInit.ignoreInboundPorts"), HelmValue("ignoreInboundPorts", "linkerd2-cni")
    ] = None
    """Inbound ports that bypass the proxy, comma-separated."""
    skip_outbound_ports: Annotated[
        Ports | None, HelmValue("proxyInit.ignoreOutboundPorts"), HelmValue("ignoreOutboundPorts", "linkerd2-cni")
    ] = None
    """Outbound ports that bypass the proxy, comma-separated."""
    cluster_networks: Annotated[Networks | None, HelmValue("clusterNetworks")] = None
    """Networks of nodes, pods and Services, as CIDRs, comma-separated."""
    tracing: TracingSettings | None = None
    """Where the proxies send their spans. `meshup:tracing` says it for every mesh, and excludes this."""
    registry: Annotated[
        Registry | None,
        HelmValue("controllerImage", convert="{}/controller".format),
        HelmValue("proxy.image.name", convert="{}/proxy".format),
        HelmValue("debugContainer.image.name", convert="{}/debug".format),
        HelmValue("image.name", "linkerd2-cni", "{}/cni-plugin".format),
        HelmValue("defaultRegistry", VIZ),
    ] = None
    """Registry and path of the images, in place of cr.l5d.io/linkerd."""
    image_pull_secrets: Annotated[
        SecretNames,
        HelmValue("imagePullSecrets", convert=_secret_references),
        HelmValue("imagePullSecrets", "linkerd2-cni", _secret_references),
        HelmValue("imagePullSecrets", VIZ, _secret_references),
    ] = ()
    """Names of Secrets with registry credentials, in the namespaces of the control plane, the CNI plugin and viz."""
    cni: Annotated[bool, HelmValue("cniEnabled")] = False
    """Traffic is redirected by the CNI plugin, so that pods need no privileged init container."""
    heartbeat: bool = True
    """Whether the control plane reports its version to Linkerd once a day."""
    viz: VizSettings = VizSettings()
    """linkerd-viz: metrics, live request inspection (tap) and the dashboard."""
    values: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])
    """Raw chart values by release, merged last: `crds`, `cni`, `control-plane`, `viz`."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the version, releases and resources."""
        yield from super().check(path)
        yield from unknown_releases("Linkerd", f"{path}.values", self.values, RELEASES)
        yield from VERSIONS.check("Linkerd's charts", f"{path}.version", self.version)
        chart = HA_RESOURCES if self.high_availability and not self.values else {}
        yield from over_limit(f"{path}.proxyResources", self.proxy_resources, chart)

    @property
    def identity_domain(self) -> str:
        """The trust domain: the cluster domain unless set."""
        return self.trust_domain or self.cluster_domain


class WebhookCertificate(Arguments):
    """A self-signed serving certificate of a webhook: it is its own CA bundle."""

    webhook: str
    """Key of the webhook in the chart's values, such as `proxyInjector`."""
    certificate: Deferred
    """PEM."""
    key: Deferred
    """PEM, a secret."""


class Certificates(Arguments):
    """The certificates of the mesh, as `Identity` makes them or as they come from elsewhere."""

    webhooks: Annotated[tuple[WebhookCertificate, ...], Strict(False)]
    """Of the control plane and, if it is installed, of linkerd-viz."""
    trust_bundle: Deferred | None = None
    """The trust anchors, PEM. Not set with an external CA."""
    issuer_certificate: Deferred | None = None
    """The issuer, PEM. Not set with an external CA."""
    issuer_key: Deferred | None = None
    """Its key, PEM, a secret. Not set with an external CA."""
    restart_hash: Deferred | None = None
    """Changes when pods have to restart with other trust anchors."""


class LinkerdArgs(LinkerdSettings):
    """Arguments of `Linkerd`."""

    charts: ChartSource = ChartSource()
    """Where the charts come from; Linkerd's own repository if not set."""
    mtls: Mtls = "strict"
    """`strict`: meshed pods take meshed requests only. `permissive`: they take others too. Between meshed pods, mutual
    TLS is on either way."""
    with_gateway_namespace: bool = False
    """Whether the namespace of the gateways is made."""
    external_ca: bool = False
    """An external CA keeps issuer and trust bundle in the cluster (cert-manager and trust-manager)."""
    certificates: Certificates | None = None
    """The certificates. Without them, the chart makes the webhooks' anew at every upgrade, and refuses to render
    without an issuer unless an external CA keeps it."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the settings, and that there is something to install."""
        yield from super().check(path)
        yield from installs_nothing(self, path)
