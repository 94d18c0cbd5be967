"""Kiali, which draws what Istio's proxies report.

Source of the facts: the chart kiali-server 2.29.0. Without a signing key the chart makes another one in every render,
which ends all sessions; here it is generated into a Secret. Whoever opens Kiali logs in with a token of Kubernetes and
sees what the token may see. Most values are Kiali's own configuration (kiali, config/config.go), which the chart writes
into a ConfigMap, with a checksum on the pods.

Grafana: Kiali asks its API for dashboards, and has to log in for that. The only user of meshup's Grafana is its
administrator, whose password Kiali does not get; it links to a Grafana of one's own, with the login of a viewer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..arguments import HelmValue, Names, Resources, helm_values, over_limit
from ..diagnostics import Diagnostic
from ..helm import HelmRelease, merged, nested
from ..manifests import Manifest
from ..passwords import GeneratedPassword
from ..scalars import Name
from .access import CONFINED, POD_CONFINED, Opening, admitting
from .grafana import GrafanaSettings
from .interface import Addon, AddonRequest, AddonSettings, Address, addon_release, plain_object
from .jaeger import JaegerSettings
from .prometheus import PrometheusSettings, source_of
from .zipkin import ZipkinSettings

# renovate: datasource=helm depName=kiali-server registryUrl=https://kiali.org/helm-charts
CHART = "2.29.0"
REPOSITORY = "https://kiali.org/helm-charts"
PORT = 20001
SERVICE = "kiali"
"""Its Service, its ServiceAccount and its Deployment."""
SECRET, KEY = "kiali-signing-key", "key"
METRICS = "istio"
"""The metrics that its graph is drawn from: `istio_*` alone."""
ROTATION = "meshup/rotation"
"""Annotation that restarts the pods: a Secret that changes does not."""
_LENGTH = 32
"""Kiali takes keys of 16, 24 or 32 bytes."""
CHART_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
"""The resources of the chart, over which those that are set are laid."""


class KialiSettings(AddonSettings):
    """Settings of Kiali."""

    namespace: Name = "kiali"
    """Its namespace. meshup makes it."""
    view_only: Annotated[bool, HelmValue("deployment.view_only_mode")] = True
    """Whether it changes nothing on the cluster. If not, whoever logs in may change by it what his token may change."""
    rotation: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Another number makes another key that signs sessions: everybody has to log in again."""
    resources: Annotated[Resources | None, HelmValue("deployment.resources")] = None
    """Requests and limits; those of the chart if not set."""
    readers: Names = ()
    """Further namespaces whose pods may connect, such as that of a gateway."""
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Raw chart values, merged last."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the resources."""
        yield from over_limit(f"{path}.resources", self.resources, CHART_RESOURCES)


class KialiArgs(KialiSettings):
    """Arguments of Kiali: its settings, and what it is planned from."""

    request: Any
    """An `AddonRequest`."""


class KialiAddon(Addon[KialiArgs]):
    """Kiali as an add-on: see `Addon`."""

    name = "kiali-server"
    resource = ("Kiali", "kiali")
    repository = REPOSITORY
    sections: ClassVar[Mapping[str, type[AddonSettings]]] = {"kiali": KialiSettings}
    dashboard = (SERVICE, PORT)
    reads = frozenset({"prometheus", "jaeger"})

    def args(self, request: AddonRequest) -> KialiArgs | None:
        """Return the arguments, see `Addon`."""
        chosen = request.settings.section(KialiSettings)
        return chosen.extended(KialiArgs, request=request) if chosen.enabled else None

    def release(self, args: KialiArgs) -> HelmRelease:
        """Return the release, see `Addon`."""
        request: AddonRequest = args.request
        values: dict[str, Any] = {
            "auth.strategy": "token",
            "login_token.signing_key": f"secret:{SECRET}:{KEY}",
            "deployment.instance_name": SERVICE,
            "deployment.image_pull_policy": "IfNotPresent",
            "deployment.security_context": {**CONFINED, **POD_CONFINED, "privileged": False},
            # The chart's own lets everybody in.
            "deployment.network_policy.enabled": False,
            "deployment.pod_annotations": {ROTATION: str(args.rotation)},
            # It would read the Secrets of its namespace in every render, for clusters that meshup does not know.
            "clustering.autodetect_secrets.enabled": False,
            "server.port": PORT,
            "server.web_root": "/",
            "server.observability.metrics.enabled": False,
            **helm_values(args),
        }
        return addon_release(
            self,
            args,
            request.other_charts,
            version=CHART,
            values=merged(nested(values), {"external_services": _services(request)}, args.values),
        )

    def namespace(self, args: KialiArgs) -> Mapping[str, Any]:
        """Return the namespace, which is not in the mesh: what it reads is outside as well."""
        request: AddonRequest = args.request
        return request.namespace(args.namespace, meshed=False, pod_security="restricted")

    def objects(self, args: KialiArgs) -> Sequence[Manifest]:
        """Return the Secret of the signing key, and the NetworkPolicy."""
        request: AddonRequest = args.request
        opening = Opening(request.callers(self.name, args.namespace, args.readers), frozenset({PORT}))
        return [
            {**plain_object("Secret", SECRET, args.namespace), "type": "Opaque"},
            admitting(SERVICE, args.namespace, {"app.kubernetes.io/name": SERVICE}, [opening]),
        ]

    def passwords(self, args: KialiArgs) -> Mapping[str, GeneratedPassword]:
        """Return the key that signs sessions."""
        return {SECRET: GeneratedPassword(KEY, _LENGTH, args.rotation)}

    def login(self, args: KialiArgs) -> Mapping[str, str]:
        """Return the command that makes a token, with the rights of Kiali itself: it may only look."""
        return {"tokenCommand": f"kubectl --namespace {args.namespace} create token {SERVICE}"}

    def check(self, args: KialiArgs) -> Sequence[Diagnostic]:
        """Check that Kiali has something to show."""
        request: AddonRequest = args.request
        if all(source.name != METRICS for source in request.metrics):
            message = f"Kiali shows Istio alone, and the mesh is {request.mesh}."
            return [Diagnostic("MSH623", "meshup:kiali.enabled", args.enabled, message, "false")]
        found: list[Diagnostic] = []
        source = source_of(request)
        if request.settings.section(PrometheusSettings).address() is None:
            message = "There is no Prometheus that Kiali could read: its graph stays empty."
            found.append(Diagnostic("MSH622", "meshup:prometheus", None, message, severity="warning"))
        elif source is not None and source.name != METRICS:
            message = (
                f"Kiali's graph stays empty: it is drawn from Istio's metrics, and the proxies have {source.title}."
            )
            where = "meshup:prometheus.metrics"
            found.append(Diagnostic("MSH624", where, source.name, message, METRICS, severity="warning"))
        stores = request.settings.section(ZipkinSettings), request.settings.section(JaegerSettings)
        zipkin, jaeger = (store.address() for store in stores)
        if zipkin is not None and jaeger is None:
            message = "Kiali reads no traces from Zipkin: it shows none."
            found.append(Diagnostic("MSH625", "meshup:zipkin", None, message, "meshup:jaeger", severity="warning"))
        return found


def _services(request: AddonRequest) -> dict[str, Any]:
    """Return where Kiali finds what it shows."""
    chosen = request.settings
    prometheus = chosen.section(PrometheusSettings).address()
    grafana = chosen.section(GrafanaSettings)
    jaeger = chosen.section(JaegerSettings).address()
    linked = grafana.address() if grafana.url is not None else None
    return {
        "istio": {"root_namespace": request.control_plane},
        "prometheus": _service(prometheus, "url"),
        "grafana": {**_service(linked, "internal_url"), **({"external_url": linked.url} if linked else {})},
        "tracing": {
            **_service(jaeger, "internal_url"),
            **({"provider": "jaeger", "use_grpc": False} if jaeger else {}),
        },
    }


def _service(address: Address | None, key: str) -> dict[str, Any]:
    """Return how Kiali connects to a server; a credential is read from a Secret, which the chart mounts."""
    if address is None:
        return {"enabled": False}
    login = address.login
    if login is None:
        return {"enabled": True, key: address.url}
    names = {"user": "username"}
    credentials = {names.get(one, one): f"secret:{login.secret}:{one}" for one in login.keys}
    return {"enabled": True, key: address.url, "auth": {"type": login.type, **credentials}}


ADDON = KialiAddon()
