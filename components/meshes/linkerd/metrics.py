"""The metrics of Linkerd's proxies, edge-26.8.3 (observability.md, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from ...observability.source import BOUNDS, MetricsSource, Window
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
    scraper_in_mesh = True

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

    def alerts(self, version: str, namespaces: Sequence[str]) -> Sequence[AlertingRule]:
        """Return the alerts on Linkerd itself, see `MetricsSource`. No metric tells of a refused route."""
        proxies = f'proxy_build_info{{version!~".*{literal(version)}"}}'
        ends = "The issuer's certificate ends in {{ $value | humanizeDuration }}."
        return (
            AlertingRule(
                "MeshupControlPlaneDown",
                "absent(issuer_cert_ttl_seconds)",
                PAGE,
                "Prometheus sees no identity controller: proxies soon can't renew their certificates.",
                "5m",
            ),
            certificate_expires("identity_cert_expiration_timestamp_seconds - time()"),
            AlertingRule(
                "MeshupCertificateNotRenewed",
                'sum by (namespace, pod) (increase(identity_cert_refreshes_total{result="error"}[1h])) > 0',
                TICKET,
                "The proxy of {{ $labels.namespace }}/{{ $labels.pod }} got no new certificate.",
            ),
            signer_expires("MeshupIssuerExpires", "issuer_cert_ttl_seconds", ends),
            old_proxies(f"count by (version) ({proxies})", version),
            AlertingRule(
                "MeshupPushFails",
                "sum(increase(endpoint_updates_queue_overflow[10m])) > 0",
                TICKET,
                "The destination controller drops updates of endpoints: proxies go on with old ones.",
                "5m",
            ),
            denials_rise('{__name__=~"inbound_(http|tcp)_authz_deny_total"}'),
            retry_storm(
                "outbound_http_route_retry_requests_total",
                "outbound_http_route_request_statuses_total",
                ("parent_namespace", "parent_name"),
            ),
            *without_sidecar(namespaces, "linkerd-proxy"),
        )

    def jobs(self, control_plane: str) -> Sequence[Mapping[str, Any]]:
        """Return the scrape jobs, see `MetricsSource`; names of ports as the charts of edge-26.8.3 have them."""
        return (
            pod_job("meshup-linkerd-proxies", container="linkerd-proxy", port_name="linkerd-admin"),
            pod_job(
                "meshup-linkerd-control-plane",
                container="identity|destination|sp-validator|policy|proxy-injector",
                port_name="(ident|dest|spval|policy|injector)-admin",
                namespace=control_plane,
            ),
        )

    def names(self, planned: Planned, destination: Destination) -> Mapping[str, str] | None:
        """Return the labels of a destination: the parent is the Service that was called, the version its backend."""
        called = planned.route.service
        return {"namespace": called.namespace, "service": called.name, "version": version_service_name(destination)}


LINKERD_METRICS = LinkerdMetrics()
