"""The metrics of Linkerd's proxies, edge-26.8.3 (observability.md, sections 5 and 6)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...observability.promql import AlertingRule, relabelled, without_sidecar
from ...observability.scrape import pod_job
from ...observability.source import BOUNDS, MetricsSource, Window
from ...traffic.manifests import version_service_name
from ...traffic.model import Destination
from ...traffic.targets import Planned

_HOUR = 3600
_DAY = 24 * _HOUR
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
        exact = re.escape(version).replace("\\", "\\\\")
        denied = '{__name__=~"inbound_(http|tcp)_authz_deny_total"}'
        retried = "sum by (parent_namespace, parent_name) (rate(outbound_http_route_retry_requests_total[5m]))"
        sent = "sum by (parent_namespace, parent_name) (rate(outbound_http_route_request_statuses_total[5m]))"
        return (
            AlertingRule(
                "MeshupControlPlaneDown",
                "absent(issuer_cert_ttl_seconds)",
                {"severity": "page"},
                "Prometheus sees no identity controller: proxies soon can't renew their certificates.",
                "5m",
            ),
            AlertingRule(
                "MeshupCertificateExpires",
                f"identity_cert_expiration_timestamp_seconds - time() < {6 * _HOUR}",
                {"severity": "page"},
                "The certificate of {{ $labels.namespace }}/{{ $labels.pod }} ends in {{ $value | humanizeDuration }} "
                "and was not renewed.",
                "10m",
            ),
            AlertingRule(
                "MeshupCertificateNotRenewed",
                'sum by (namespace, pod) (increase(identity_cert_refreshes_total{result="error"}[1h])) > 0',
                {"severity": "ticket"},
                "The proxy of {{ $labels.namespace }}/{{ $labels.pod }} got no new certificate.",
            ),
            AlertingRule(
                "MeshupIssuerExpires",
                f"min(issuer_cert_ttl_seconds) < {60 * _DAY}",
                {"severity": "ticket"},
                "The issuer's certificate ends in {{ $value | humanizeDuration }}.",
                "1h",
            ),
            AlertingRule(
                "MeshupOldProxies",
                f'count by (version) (proxy_build_info{{version!~".*{exact}"}}) > 0',
                {"severity": "ticket"},
                f"{{{{ $value }}}} proxies have the version {{{{ $labels.version }}}} in place of {version}.",
                "1d",
            ),
            AlertingRule(
                "MeshupPushFails",
                "sum(increase(endpoint_updates_queue_overflow[10m])) > 0",
                {"severity": "ticket"},
                "The destination controller drops updates of endpoints: proxies go on with old ones.",
                "5m",
            ),
            AlertingRule(
                "MeshupDenialsRise",
                f"sum by (namespace) (rate({denied}[5m])) > 3 * sum by (namespace) (rate({denied}[1h] offset 5m)) + 1",
                {"severity": "ticket"},
                "Policies in {{ $labels.namespace }} deny {{ $value | humanize }} requests a second, far more than in "
                "the hour before.",
                "5m",
            ),
            AlertingRule(
                "MeshupRetryStorm",
                f"{retried} / ({sent} > 1) > 0.2",
                {"severity": "ticket"},
                "{{ $value | humanizePercentage }} of the requests to {{ $labels.parent_namespace }}/"
                "{{ $labels.parent_name }} are retries.",
                "5m",
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
