"""The metrics of Linkerd's proxies, edge-26.8.3 (observability.md, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping

from ...observability.source import BOUNDS, MetricsSource, Window, relabelled
from ...traffic.manifests import version_service_name
from ...traffic.model import Destination
from ...traffic.targets import Planned

_FAILED = "UNKNOWN|DEADLINE_EXCEEDED|PERMISSION_DENIED|INTERNAL|UNAVAILABLE|DATA_LOSS"
_PARENT = (
    ("namespace", "$1", "parent_namespace", "(.*)"),
    ("service", "$1", "parent_name", "(.*)"),
    ("version", "$1", "backend_name", "(.*)"),
)


class LinkerdMetrics(MetricsSource):
    """Linkerd's metrics of outbound routes and their backends."""

    name = "linkerd"
    title = "Linkerd's metrics of routes"
    retries_counted = True

    def requests(self, window: Window) -> str:
        """Return requests per second, see `MetricsSource`. Without an answer, `http_status` is empty."""
        series = '{__name__=~"outbound_(http|grpc)_route_backend_response_statuses_total", parent_kind="Service"}'
        by = "parent_namespace, parent_name, backend_name, http_status, grpc_status, error"
        counted = relabelled(
            f"sum by ({by}) (rate({series}[{window}]))",
            *_PARENT,
            ("code_class", "${1}xx", "http_status", "([1-5]).."),
            ("code_class", "2xx", "grpc_status", ".+"),
            ("code_class", "5xx", "grpc_status", _FAILED),
        )
        return f"sum by (namespace, service, version, code_class) ({counted})"

    def durations(self, window: Window) -> str:
        """Return the buckets of durations, see `MetricsSource`; each attempt of a retried request has its own."""
        bounds = {f"{bound / 1000:g}": bound for bound in BOUNDS}
        spelt = "|".join(rf"{seconds}(\\.0)?".replace("0.", r"0\\.") for seconds in bounds) + r"|\\+Inf"
        series = (
            '{__name__=~"outbound_(http|grpc)_route_backend_response_duration_seconds_bucket", '
            f'parent_kind="Service", le=~"{spelt}"}}'
        )
        written = [
            ("le", str(bound), "le", rf"{seconds}(\\.0)?".replace("0.", r"0\\.")) for seconds, bound in bounds.items()
        ]
        counted = relabelled(
            f"sum by (parent_namespace, parent_name, backend_name, le) (rate({series}[{window}]))", *_PARENT, *written
        )
        return f"sum by (namespace, service, version, le) ({counted})"

    def names(self, planned: Planned, destination: Destination) -> Mapping[str, str] | None:
        """Return the labels of a destination: the parent is the Service that was called, the version its backend."""
        called = planned.route.service
        return {"namespace": called.namespace, "service": called.name, "version": version_service_name(destination)}


LINKERD_METRICS = LinkerdMetrics()
