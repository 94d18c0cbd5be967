"""Prometheus with the scrape jobs, recording rules and alerts of the stack.

Source of the facts: the chart prometheus 29.27.0 of prometheus-community (Prometheus 3.14). Its own scrape jobs believe
what pods say of themselves (`honor_labels: true`), so that all but that of Prometheus itself are off; ours are in their
place. Prometheus has no login: a NetworkPolicy lets in the namespaces that read it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..arguments import Arguments, HelmValue, Names, Resources, Sections, helm_values, over_limit
from ..diagnostics import Diagnostic
from ..helm import HelmRelease, merged, nested
from ..manifests import Manifest, manifest
from ..observability import operator
from ..observability.alerts import StackRules, stack_rules
from ..observability.promql import INTERVAL_SECONDS
from ..observability.source import MetricsSource
from ..scalars import DNS_LABEL, AnnotationKey, LabelValue, Name, Quantity
from ..security.model import Account
from .access import CONFINED
from .interface import Addon, AddonRequest, AddonSettings, ServerSettings, addon_release

# renovate: datasource=helm depName=prometheus registryUrl=https://prometheus-community.github.io/helm-charts
CHART = "29.27.0"
REPOSITORY = "https://prometheus-community.github.io/helm-charts"
PORT = 9090
SERVICE = "prometheus"
LARGEST_RULES = 900_000
"""Bytes of rules and jobs; they are in one ConfigMap, of at most 1 MiB."""
_OWN_JOBS = (
    "kubernetes-api-servers",
    "kubernetes-nodes",
    "kubernetes-nodes-cadvisor",
    "kubernetes-service-endpoints",
    "kubernetes-service-endpoints-slow",
    "prometheus-pushgateway",
    "kubernetes-services",
    "kubernetes-pods",
    "kubernetes-pods-slow",
)
_ACCOUNT = f"{DNS_LABEL.pattern}/{DNS_LABEL.pattern}"
_OF_CHART = frozenset(
    {"version", "repository", "retention", "storage", "resources", "kube_state_metrics", "readers", "values"}
)
_OF_OPERATOR = frozenset({"operator", "service_account"})
"""Fields that only one mode reads."""
_DURATION = r"[1-9][0-9]{0,4}[dwhy]"
_SMALL = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


class OperatorSettings(Arguments):
    """What a Prometheus of the Prometheus operator is told by."""

    labels: dict[AnnotationKey, LabelValue] = Field(default_factory=dict[AnnotationKey, LabelValue])
    """Labels of the objects, by which it selects them, such as `{release: kube-prometheus-stack}`."""


class PrometheusSettings(ServerSettings):
    """Settings of Prometheus."""

    service = SERVICE
    port = PORT

    namespace: Name = "prometheus"
    """Its namespace. meshup makes it."""
    mode: Literal["chart", "operator"] = "chart"
    """`chart` installs Prometheus. `operator` installs none, and writes objects for the Prometheus operator that the
    cluster has."""
    operator: OperatorSettings = OperatorSettings()
    """For `mode: operator`."""
    service_account: Annotated[str, Field(pattern=f"^{_ACCOUNT}$")] | None = None
    """Service account of a Prometheus that is not installed here, as `NAMESPACE/NAME`: where a namespace denies by
    default, Linkerd's proxies show their metrics only to whom they are told."""
    metrics: Literal["auto", "istio", "envoy", "linkerd"] = "auto"
    """Which metrics the proxies have: `auto`, those that are the mesh's own; `envoy`, those of an Envoy without Istio's
    filters, as the embedded cluster has."""
    retention: Annotated[str, Field(pattern=f"^{_DURATION}$"), HelmValue("server.retention")] = "15d"
    """How long series are kept, such as `15d`."""
    storage: Annotated[Quantity | None, HelmValue("server.persistentVolume.size")] = None
    """Size of the volume; without one, the series are gone with the pod."""
    resources: Annotated[Resources | None, HelmValue("server.resources")] = None
    """Requests and limits; built in if not set."""
    kube_state_metrics: Annotated[bool, HelmValue("kube-state-metrics.enabled")] = True
    """Whether kube-state-metrics is installed beside it, which tells of pods without a sidecar."""
    readers: Names = ()
    """Further namespaces whose pods may read it."""
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Raw chart values, merged last."""

    @property
    def installed(self) -> bool:
        """Whether it runs in its namespace."""
        return self.enabled and self.mode == "chart"

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the address, the resources, and that no setting is one of the other mode."""
        yield from super().check(path)
        yield from over_limit(f"{path}.resources", self.resources)
        others = {"chart": _OF_OPERATOR, "operator": _OF_CHART}[self.mode] if self.enabled else frozenset[str]()
        for name in type(self).model_fields:
            if name in others & self.model_fields_set:
                key = type(self).model_fields[name].alias or name
                message = f"It means nothing with `mode: {self.mode}`."
                yield Diagnostic("MSH635", f"{path}.{key}", None, message, remedy="Remove it, or set the other mode.")


class PrometheusArgs(PrometheusSettings):
    """Arguments of Prometheus: its settings, and what it is to scrape and to compute."""

    request: Any
    """An `AddonRequest`."""
    source: Any = None
    """The `MetricsSource` of the proxies; None if the mesh does not have the metrics that are asked for."""
    rules: Any = StackRules([], [], [])
    """`StackRules`."""


class PrometheusAddon(Addon[PrometheusArgs]):
    """Prometheus as an add-on: see `Addon`."""

    name = "prometheus"
    resource = ("Prometheus", "prometheus")
    repository = REPOSITORY
    sections: ClassVar[Mapping[str, type[AddonSettings]]] = {"prometheus": PrometheusSettings}
    dashboard = (SERVICE, PORT)

    def scrapers(self, settings: Sections) -> Sequence[Account | None]:
        """Return the account of Prometheus, see `Addon`. One of the user's own has that which is written."""
        chosen = settings.section(PrometheusSettings)
        if chosen.installed:
            return (Account(chosen.namespace, SERVICE),)
        if not (chosen.enabled or chosen.url):
            return ()
        return (Account(*chosen.service_account.split("/")) if chosen.service_account else None,)

    def args(self, request: AddonRequest) -> PrometheusArgs | None:
        """Return the arguments, see `Addon`."""
        chosen = request.settings.section(PrometheusSettings)
        if not chosen.enabled:
            return None
        source = source_of(request)
        made = {} if source is None else {"rules": _rules(request, source)}
        return chosen.extended(PrometheusArgs, request=request, source=source, **made)

    def release(self, args: PrometheusArgs) -> HelmRelease | None:
        """Return the release, see `Addon`."""
        if args.mode == "operator":
            return None
        request: AddonRequest = args.request
        source: MetricsSource | None = args.source
        rules: StackRules = args.rules
        jobs = {} if source is None else {job["job_name"]: dict(job) for job in source.jobs(request.control_plane)}
        if args.kube_state_metrics:
            jobs["meshup-kube-state-metrics"] = _state_metrics(args.namespace)
        values: dict[str, Any] = {
            "server.fullnameOverride": SERVICE,
            "serviceAccounts.server.name": SERVICE,
            "server.service.servicePort": PORT,
            "server.resources": _SMALL,
            "server.persistentVolume.enabled": args.storage is not None,
            "server.global.scrape_interval": f"{INTERVAL_SECONDS}s",
            "server.global.evaluation_interval": f"{INTERVAL_SECONDS}s",
            "server.containerSecurityContext": dict(CONFINED),
            "configmapReload.prometheus.containerSecurityContext": dict(CONFINED),
            "alertmanager.enabled": False,
            "prometheus-node-exporter.enabled": False,
            "prometheus-pushgateway.enabled": False,
            **helm_values(args),
        }
        of_jobs: dict[str, Any] = {name: {"enabled": False} for name in _OWN_JOBS}
        of_jobs |= {name: {**job, "enabled": True} for name, job in jobs.items()}
        files = {
            "recording_rules.yml": {"groups": [group.plain() for group in rules.recording]},
            "alerting_rules.yml": {"groups": [group.plain() for group in rules.alerts]},
        }
        return addon_release(
            self,
            args,
            request.other_charts,
            version=CHART,
            values=merged(nested(values), {"scrapeConfigs": of_jobs, "serverFiles": files}, args.values),
        )

    def namespace(self, args: PrometheusArgs) -> Mapping[str, Any]:
        """Return the namespace: in the mesh where only a pod of the mesh may read the metrics of proxies."""
        source: MetricsSource | None = args.source
        request: AddonRequest = args.request
        meshed = args.mode == "chart" and source is not None and source.scraper_in_mesh
        return request.namespace(args.namespace, meshed=meshed, pod_security="baseline")

    def objects(self, args: PrometheusArgs) -> Sequence[Manifest]:
        """Return the NetworkPolicy that lets in who reads Prometheus, or the objects for the operator."""
        request: AddonRequest = args.request
        if args.mode == "operator":
            source: MetricsSource | None = args.source
            jobs = () if source is None else source.jobs(request.control_plane)
            rules: StackRules = args.rules
            labels = args.operator.labels
            return [
                *operator.pod_monitors(jobs, args.namespace, labels),
                *operator.rule_objects(rules.groups, args.namespace, labels),
            ]
        readers = sorted(request.callers(self.name, args.namespace, args.readers))
        allowed = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}} for name in readers]
        spec = {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": allowed}],
        }
        return [manifest("networking.k8s.io/v1", "NetworkPolicy", SERVICE, args.namespace, spec)]

    def check(self, args: PrometheusArgs) -> Sequence[Diagnostic]:
        """Check whether the mesh has the metrics, what splits they measure, and the size of the rules."""
        request: AddonRequest = args.request
        if args.source is None:
            message = f"The proxies of {request.mesh} have no such metrics."
            allowed = "one of " + ", ".join(("auto", *(one.name for one in request.metrics)))
            return [Diagnostic("MSH603", "meshup:prometheus.metrics", args.metrics, message, allowed)]
        rules: StackRules = args.rules
        sizes = [len(json.dumps(group.plain())) for group in rules.groups]
        size, most, place = sum(sizes), LARGEST_RULES, "ConfigMap"
        if args.mode == "operator":
            size, most, place = max(sizes, default=0), operator.LARGEST_GROUP, "file of the operator"
        if size <= most:
            return rules.diagnostics
        message = f"The rules of {len(request.routes)} routes have {size} bytes, for one {place}."
        allowed = f"at most {most} bytes"
        return [*rules.diagnostics, Diagnostic("MSH604", "meshup:prometheus", None, message, allowed)]


def source_of(request: AddonRequest) -> MetricsSource | None:
    """Return the metrics that the proxies have, None if the mesh does not have those that are asked for."""
    wanted = request.settings.section(PrometheusSettings).metrics
    known = {one.name: one for one in request.metrics}
    return request.metrics[0] if wanted == "auto" else known.get(wanted)


def _rules(request: AddonRequest, source: MetricsSource) -> StackRules:
    return stack_rules(request.routes, source, request.mesh, request.version, request.namespaces)


def _state_metrics(namespace: str) -> dict[str, Any]:
    """Return the job for kube-state-metrics, whose series are about other pods: their labels hold."""
    return {
        "job_name": "meshup-kube-state-metrics",
        "honor_labels": True,
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [namespace]}}],
        "relabel_configs": [
            {
                "action": "keep",
                "source_labels": ["__meta_kubernetes_pod_container_name", "__meta_kubernetes_pod_container_port_name"],
                "regex": "kube-state-metrics;http",
            }
        ],
    }


ADDON = PrometheusAddon()
