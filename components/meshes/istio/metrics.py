"""The metrics of Istio's proxies, and those of an Envoy without Istio's own filters. Istio 1.30, Envoy 1.38.

Source of the series and labels: observability.md, sections 3, 4 and 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...observability.mesh_alerts import (
    PAGE,
    TICKET,
    certificate_expires,
    denials_rise,
    literal,
    old_proxies,
    retry_storm,
    signer_expires,
    without_sidecar,
)
from ...observability.promql import AlertingRule, relabelled
from ...observability.scrape import pod_job
from ...observability.source import BOUNDS, FAILED_GRPC, MetricsSource, Window
from ...traffic.manifests import version_service_name
from ...traffic.model import Destination
from ...traffic.targets import Planned

_AGENT = 15020
_NOWHERE = "unknown|PassthroughCluster|BlackHoleCluster"
_CLIENTS = 'reporter=~"source|waypoint"'
"""What servers report misses the requests that never reached one."""
_HOST = r"outbound\\|[0-9]+\\|[^|]*\\|([^.|]+)\\.([^.|]+)\\.svc\\..+"
_SUBSET = r"outbound\\|[0-9]+\\|([^|]*)\\|.+"
_LE = "|".join(rf"{bound}(\\.0)?" for bound in BOUNDS) + r"|\\+Inf"
"""Prometheus 3 writes `50.0` where Prometheus 2 writes `50`."""


class IstioMetrics(MetricsSource):
    """Istio's standard metrics, which its proxies have."""

    name = "istio"
    title = "Istio's standard metrics"

    def requests(self, window: Window) -> str:
        """Return requests per second, see `MetricsSource`."""
        by = (
            "destination_service_namespace, destination_service_name, destination_version, response_code, "
            "grpc_response_status"
        )
        series = f'istio_requests_total{{{_CLIENTS}, destination_service_name!~"{_NOWHERE}"}}'
        failed = "|".join(map(str, FAILED_GRPC))
        counted = relabelled(
            f"sum by ({by}) (rate({series}[{window}]))",
            *_DESTINATION,
            ("code_class", "${1}xx", "response_code", "([1-5]).."),
            ("code_class", "5xx", "grpc_response_status", failed),
        )
        return f"sum by (namespace, service, version, code_class) ({counted})"

    def durations(self, window: Window) -> str:
        """Return the buckets of durations, see `MetricsSource`."""
        series = (
            f'istio_request_duration_milliseconds_bucket{{{_CLIENTS}, destination_service_name!~"{_NOWHERE}", '
            f'le=~"{_LE}"}}'
        )
        by = "destination_service_namespace, destination_service_name, destination_version, le"
        counted = relabelled(f"sum by ({by}) (rate({series}[{window}]))", *_DESTINATION, _WHOLE)
        return f"sum by (namespace, service, version, le) ({counted})"

    def alerts(self, version: str, namespaces: Sequence[str]) -> Sequence[AlertingRule]:
        """Return the alerts on Istio itself, see `MetricsSource`."""
        return tuple(_alerts(version, namespaces))

    def jobs(self, control_plane: str) -> Sequence[Mapping[str, Any]]:
        """Return the scrape jobs, see `MetricsSource`."""
        return _jobs(control_plane)

    def names(self, planned: Planned, destination: Destination) -> Mapping[str, str] | None:
        """Return the labels of a destination: the version is the label `version` of its pods."""
        service = destination.service
        if planned.target.version_services and destination.version:
            return {"namespace": service.namespace, "service": version_service_name(destination)}
        if destination.version is None:
            return {"namespace": service.namespace, "service": service.name}
        version = dict(destination.version.labels).get("version")
        return {"namespace": service.namespace, "service": service.name, "version": version} if version else None


class EnvoyMetrics(MetricsSource):
    """Envoy's own statistics of clusters, which the proxies must be told to keep (`proxyStatsMatcher`)."""

    name = "envoy"
    title = "Envoy's statistics of clusters"

    def requests(self, window: Window) -> str:
        """Return requests per second, see `MetricsSource`. One series has codes and classes: only classes are added."""
        series = 'envoy_cluster_upstream_rq{response_code_class!="", cluster_name=~"outbound\\\\|.*"}'
        counted = relabelled(
            f"sum by (cluster_name, response_code_class) (rate({series}[{window}]))",
            *_CLUSTER,
            ("code_class", "$1", "response_code_class", "(.+)"),
        )
        return f"sum by (namespace, service, version, code_class) ({counted})"

    def durations(self, window: Window) -> str:
        """Return the buckets of durations, see `MetricsSource`. Requests that timed out are not among them."""
        series = f'envoy_cluster_upstream_rq_time_bucket{{cluster_name=~"outbound\\\\|.*", le=~"{_LE}"}}'
        counted = relabelled(f"sum by (cluster_name, le) (rate({series}[{window}]))", *_CLUSTER, _WHOLE)
        return f"sum by (namespace, service, version, le) ({counted})"

    def alerts(self, version: str, namespaces: Sequence[str]) -> Sequence[AlertingRule]:
        """Return the alerts on Istio itself, and on what Envoy does for a Service, see `MetricsSource`."""
        ejected = 'sum by (cluster_name) (envoy_cluster_outlier_detection_ejections_active{cluster_name=~"outbound.*"})'
        return (
            *_alerts(version, namespaces),
            AlertingRule(
                "MeshupEndpointsEjected",
                f"{ejected} > 0",
                TICKET,
                "The circuit breaker has taken {{ $value }} endpoints out of {{ $labels.cluster_name }}.",
                "5m",
            ),
            retry_storm(
                'envoy_cluster_upstream_rq_retry{cluster_name=~"outbound.*"}',
                'envoy_cluster_upstream_rq_total{cluster_name=~"outbound.*"}',
                ("cluster_name",),
            ),
        )

    def jobs(self, control_plane: str) -> Sequence[Mapping[str, Any]]:
        """Return the scrape jobs, see `MetricsSource`."""
        return _jobs(control_plane)

    def names(self, planned: Planned, destination: Destination) -> Mapping[str, str] | None:
        """Return the labels of a destination: the version is the subset."""
        service = destination.service
        if planned.target.version_services and destination.version:
            return {"namespace": service.namespace, "service": version_service_name(destination), "version": ""}
        version = destination.version.name if destination.version else ""
        return {"namespace": service.namespace, "service": service.name, "version": version}


def _jobs(control_plane: str) -> tuple[dict[str, Any], ...]:
    """Return the scrape jobs for proxies, their agents and istiod.

    Port 15020 of a proxy has the application's metrics among its own, which could be forged, so that only the agent's
    are taken from there (pilot/cmd/pilot-agent/status/server.go, Istio 1.30). Both ports bypass the proxy.
    """
    container, port_name, path = "istio-proxy", "http-envoy-prom", "/stats/prometheus"
    return (
        pod_job(
            "meshup-istio-proxies",
            container=container,
            port_name=port_name,
            path=path,
            drop="envoy_cluster_external_.*|.*_cx_length_ms_bucket",
        ),
        pod_job(
            "meshup-istio-agents",
            container=container,
            port_name=port_name,
            port=_AGENT,
            path=path,
            keep="istio_agent_.*",
        ),
        # The port of istiod's metrics, 15014, has the name http-monitoring (chart istiod, templates/deployment.yaml).
        pod_job("meshup-istiod", container="discovery", port_name="http-monitoring", namespace=control_plane),
    )


def _alerts(version: str, namespaces: Sequence[str]) -> Iterator[AlertingRule]:
    """Yield the alerts on Istio's control plane, certificates and proxies.

    The metrics are those of istiod, port 15014, and of the agent, port 15020 (observability.md, section 3, Istio 1.30).
    """
    slow = "histogram_quantile(0.99, sum by (le) (rate(pilot_proxy_convergence_time_bucket[5m])))"
    yield AlertingRule(
        "MeshupControlPlaneDown",
        "absent(pilot_info)",
        PAGE,
        "Prometheus sees no istiod: new pods get no sidecar, and no change reaches a proxy.",
        "5m",
    )
    yield AlertingRule(
        "MeshupConfigurationRejected",
        "sum by (type) (increase(pilot_total_xds_rejects[10m])) > 0",
        PAGE,
        "Proxies refuse configuration of the type {{ $labels.type }}: they go on with what they had.",
        "5m",
    )
    yield AlertingRule(
        "MeshupConfigurationConflict",
        "max(pilot_vservice_dup_domain) > 0",
        TICKET,
        "{{ $value }} hosts are in more than one VirtualService, and one of them is ignored.",
        "5m",
    )
    yield AlertingRule(
        "MeshupPushFails",
        'sum by (type) (increase(pilot_xds_pushes{type=~".*_senderr"}[10m])) > 0',
        TICKET,
        "istiod can't send configuration to proxies: {{ $labels.type }}.",
        "5m",
    )
    yield AlertingRule(
        "MeshupPushSlow",
        f"{slow} > 30",
        TICKET,
        "A change takes {{ $value | humanizeDuration }} until the proxies have it.",
        "10m",
    )
    yield AlertingRule(
        "MeshupInjectionFails",
        "increase(sidecar_injection_failure_total[10m]) > 0",
        PAGE,
        "istiod could not add a sidecar to a pod.",
    )
    yield certificate_expires("istio_agent_cert_expiry_seconds")
    yield signer_expires(
        "MeshupIssuerExpires",
        "citadel_server_cert_chain_expiry_seconds",
        "The certificate that signs all others ends in {{ $value | humanizeDuration }}.",
    )
    yield signer_expires(
        "MeshupTrustAnchorExpires",
        "citadel_server_root_cert_expiry_seconds",
        "The trust anchor ends in {{ $value | humanizeDuration }}: with it, all mutual TLS.",
    )
    yield old_proxies(f'sum by (version) (pilot_xds{{version!~"{literal(version)}(-.*)?"}})', version)
    yield denials_rise('envoy_http_rbac{authz_enforce_result="denied"}')
    yield from without_sidecar(namespaces, "istio-proxy")


_DESTINATION = (
    ("namespace", "$1", "destination_service_namespace", "(.*)"),
    ("service", "$1", "destination_service_name", "(.*)"),
    ("version", "$1", "destination_version", "(.*)"),
)
_CLUSTER = (
    ("namespace", "$2", "cluster_name", _HOST),
    ("service", "$1", "cluster_name", _HOST),
    ("version", "$1", "cluster_name", _SUBSET),
)
_WHOLE = ("le", "$1", "le", r"([0-9]+)\\.0")
ISTIO_METRICS = IstioMetrics()
ENVOY_METRICS = EnvoyMetrics()
