"""The metrics of Istio's proxies, and those of an Envoy without Istio's own filters. Istio 1.30, Envoy 1.38.

Source of the series and labels: observability.md, sections 3, 4 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...observability.source import BOUNDS, FAILED_GRPC, MetricsSource, Window, relabelled
from ...traffic.manifests import version_service_name
from ...traffic.model import Destination
from ...traffic.targets import Planned

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

    def names(self, planned: Planned, destination: Destination) -> Mapping[str, str] | None:
        """Return the labels of a destination: the version is the subset."""
        service = destination.service
        if planned.target.version_services and destination.version:
            return {"namespace": service.namespace, "service": version_service_name(destination), "version": ""}
        version = destination.version.name if destination.version else ""
        return {"namespace": service.namespace, "service": service.name, "version": version}


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
