"""An OpenTelemetry collector: proxies send it spans and access logs, and it sends them on.

Source of the facts: the chart opentelemetry-collector 0.170.0 (collector 0.158). `mode` and `image.repository` have to
be set. Its `config` is merged with one that also opens receivers of Jaeger and scrapes; `alternateConfig` replaces it.
The distribution is contrib, which has an exporter for Zipkin.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..arguments import HelmValue, Names, Replicas, Resources, helm_values, over_limit
from ..diagnostics import Diagnostic
from ..helm import HelmRelease, merged, nested
from ..manifests import Manifest
from ..scalars import Name, ServerUrl
from . import jaeger, zipkin
from .access import CONFINED, POD_CONFINED, Opening, admitting
from .interface import Addon, AddonRequest, AddonSettings, addon_release

# renovate: datasource=helm depName=opentelemetry-collector registryUrl=https://open-telemetry.github.io/opentelemetry-helm-charts
CHART = "0.170.0"
REPOSITORY = "https://open-telemetry.github.io/opentelemetry-helm-charts"
IMAGE = "otel/opentelemetry-collector-contrib"
SERVICE = "collector"
OTLP_GRPC, OTLP_HTTP, ZIPKIN = 4317, 4318, 9411
_USER = 10001
"""The user of the image."""
_SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
_POD = "${env:MY_POD_IP}"
"""The chart sets it to the address of the pod."""


class CollectorSettings(AddonSettings):
    """Settings of the collector."""

    namespace: Name = "collector"
    """Its namespace. meshup makes it."""
    endpoint: ServerUrl | None = None
    """Where spans are sent to beside the stack's own `meshup:zipkin` and `meshup:jaeger`: a URL that takes OTLP over
    HTTP, such as `https://tempo.example.com:4318`."""
    logs_endpoint: ServerUrl | None = None
    """Where access logs are sent to, likewise; not set, the collector writes them into its own log."""
    replicas: Annotated[Replicas, HelmValue("replicaCount")] = 1
    """How many collectors there are."""
    resources: Annotated[Resources | None, HelmValue("resources")] = None
    """Requests and limits; built in if not set. At 80 percent of the memory limit it refuses what it is sent."""
    readers: Names = ()
    """Further namespaces whose pods may send."""
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Raw chart values, merged last. Credentials belong into a Secret, which `extraEnvsFrom` reads."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the resources, and what the values replace."""
        yield from over_limit(f"{path}.resources", self.resources)
        if "config" in self.values:
            message = "The chart takes `alternateConfig`, which meshup sets, in the place of `config`."
            remedy = "Write into `alternateConfig`; what is there is merged."
            yield Diagnostic("MSH635", f"{path}.values.config", None, message, remedy=remedy)


class CollectorArgs(CollectorSettings):
    """Arguments of the collector: its settings, and what it is planned from."""

    request: Any
    """An `AddonRequest`."""


class CollectorAddon(Addon[CollectorArgs]):
    """The collector as an add-on: see `Addon`."""

    name = "opentelemetry-collector"
    resource = ("Collector", "collector")
    repository = REPOSITORY
    sections: ClassVar[Mapping[str, type[AddonSettings]]] = {"collector": CollectorSettings}
    reads = frozenset({zipkin.ADDON.name, jaeger.ADDON.name})

    def args(self, request: AddonRequest) -> CollectorArgs | None:
        """Return the arguments, see `Addon`."""
        chosen = request.settings.section(CollectorSettings)
        return chosen.extended(CollectorArgs, request=request) if chosen.enabled else None

    def release(self, args: CollectorArgs) -> HelmRelease:
        """Return the release, see `Addon`."""
        request: AddonRequest = args.request
        values: dict[str, Any] = {
            "fullnameOverride": SERVICE,
            "mode": "deployment",
            "image.repository": IMAGE,
            "serviceAccount.automountServiceAccountToken": False,
            "podSecurityContext": {**POD_CONFINED, "runAsUser": _USER, "runAsGroup": _USER},
            "securityContext": dict(CONFINED),
            "resources": _SMALL,
            "alternateConfig": _config(args),
            "ports.otlp.appProtocol": "grpc",
            "ports.otlp-http.appProtocol": "http",
            "ports.zipkin.appProtocol": "http",
            **{f"ports.jaeger-{one}.enabled": False for one in ("compact", "thrift", "grpc")},
            **helm_values(args),
        }
        return addon_release(
            self,
            args,
            request.other_charts,
            version=CHART,
            values=merged(nested(values), args.values),
        )

    def namespace(self, args: CollectorArgs) -> Mapping[str, Any]:
        """Return the namespace: in the mesh where proxies send spans to a pod of the mesh only."""
        request: AddonRequest = args.request
        return request.namespace(args.namespace, meshed=request.collector_in_mesh, pod_security="restricted")

    def objects(self, args: CollectorArgs) -> Sequence[Manifest]:
        """Return the NetworkPolicy: whoever sends."""
        request: AddonRequest = args.request
        senders = request.callers(self.name, args.namespace, (*request.proxies, *args.readers))
        opening = Opening(senders, frozenset({OTLP_GRPC, OTLP_HTTP, ZIPKIN}))
        labels = {"app.kubernetes.io/name": self.name}
        proxy = request.proxy if request.collector_in_mesh else None
        made = admitting(SERVICE, args.namespace, labels, [opening], proxy)
        return [made]

    def check(self, args: CollectorArgs) -> Sequence[Diagnostic]:
        """Check that spans have somewhere to go."""
        if _stores(args) or "alternateConfig" in args.values:
            return []
        message = "The collector has nowhere to send spans, so that it drops them."
        allowed = "a URL, or one of meshup:zipkin and meshup:jaeger enabled"
        return [Diagnostic("MSH630", "meshup:collector.endpoint", None, message, allowed, severity="warning")]


def _stores(args: CollectorArgs) -> dict[str, dict[str, Any]]:
    """Return the exporters of spans, by name. A short name of a Service holds in every cluster domain."""
    request: AddonRequest = args.request
    found: dict[str, dict[str, Any]] = {}
    of_zipkin = request.settings.section(zipkin.ZipkinSettings)
    of_jaeger = request.settings.section(jaeger.JaegerSettings)
    if of_zipkin.enabled:
        found["zipkin"] = {"endpoint": f"http://{zipkin.SERVICE}.{of_zipkin.namespace}.svc:{zipkin.PORT}/api/v2/spans"}
    if of_jaeger.enabled:
        address = f"{jaeger.SERVICE}.{of_jaeger.namespace}.svc:{jaeger.OTLP_GRPC}"
        found["otlp_grpc/jaeger"] = {"endpoint": address, "tls": {"insecure": True}}
    if args.endpoint:
        found["otlp_http/spans"] = {"endpoint": args.endpoint}
    return found


def _config(args: CollectorArgs) -> dict[str, Any]:
    """Return the configuration of the collector, all of it."""
    stores = _stores(args)
    logs = {"otlp_http/logs": {"endpoint": args.logs_endpoint}} if args.logs_endpoint else {}
    read = {} if logs else {"debug/logs": {"verbosity": "detailed"}}
    unread: dict[str, dict[str, Any]] = {} if stores else {"nop": {}}
    processors = ["memory_limiter", "batch"]
    return {
        "extensions": {"health_check": {"endpoint": f"{_POD}:13133"}},
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": f"{_POD}:{OTLP_GRPC}"},
                    "http": {"endpoint": f"{_POD}:{OTLP_HTTP}"},
                }
            },
            "zipkin": {"endpoint": f"{_POD}:{ZIPKIN}"},
        },
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_percentage": 80, "spike_limit_percentage": 25},
            "batch": {},
        },
        "exporters": {**stores, **logs, **read, **unread},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {
                "traces": {
                    "receivers": ["otlp", "zipkin"],
                    "processors": processors,
                    "exporters": sorted(stores or unread),
                },
                "logs": {"receivers": ["otlp"], "processors": processors, "exporters": sorted(logs or read)},
            },
        },
    }


ADDON = CollectorAddon()
