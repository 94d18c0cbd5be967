"""The metrics of Linkerd's proxies, edge-26.8.3 (observability.md, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...observability.counters import DURATIONS, REQUESTS, Counter, Matcher, Renaming
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
from ...observability.promql import AlertingRule
from ...observability.scrape import pod_job
from ...observability.source import BOUNDS, MetricsSource
from ...traffic.manifests import version_service_name
from ...traffic.model import Destination
from ...traffic.targets import Planned

_FAILED = "UNKNOWN|DEADLINE_EXCEEDED|PERMISSION_DENIED|INTERNAL|UNAVAILABLE|DATA_LOSS"
_SERVICE = Matcher("parent_kind", "=", "Service")
_BY = ("parent_namespace", "parent_name", "backend_name")
_PARENT = (
    Renaming("namespace", "$1", "parent_namespace", "(.*)"),
    Renaming("service", "$1", "parent_name", "(.*)"),
    Renaming("version", "$1", "backend_name", "(.*)"),
)
_SECONDS = {bound: rf"{bound / 1000:g}(\.0)?".replace("0.", r"0\.") for bound in BOUNDS}
"""Bounds in milliseconds -> how the buckets spell them, in seconds."""


class LinkerdMetrics(MetricsSource):
    """Linkerd's metrics of outbound routes and their backends."""

    name = "linkerd"
    title = "Linkerd's metrics of routes"
    retries_counted = True
    scraper_in_mesh = True

    # Without an answer, `http_status` is empty.
    requested = Counter(
        "outbound_(http|grpc)_route_backend_response_statuses_total",
        (_SERVICE,),
        (*_BY, "http_status", "grpc_status", "error"),
        (
            *_PARENT,
            Renaming("code_class", "${1}xx", "http_status", "([1-5]).."),
            Renaming("code_class", "2xx", "grpc_status", ".+"),
            Renaming("code_class", "5xx", "grpc_status", _FAILED),
        ),
        REQUESTS,
    )
    # Each attempt of a retried request has its own.
    timed = Counter(
        "outbound_(http|grpc)_route_backend_response_duration_seconds_bucket",
        (_SERVICE, Matcher("le", "=~", "|".join(_SECONDS.values()) + r"|\+Inf")),
        (*_BY, "le"),
        (*_PARENT, *(Renaming("le", str(bound), "le", spelt) for bound, spelt in _SECONDS.items())),
        DURATIONS,
    )
    container, port, path = "linkerd-proxy", 4191, "metrics"

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
