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
from ...observability.promql import AlertingRule, relabelled, share
from ...observability.scrape import of_job, pod_job
from ...observability.source import BOUNDS, MetricsSource, Query, Signal
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
_TO = 'parent_kind="Service", parent_namespace="$namespace", parent_name="$service"'
_INBOUND = 'direction="inbound", target_port!="4191"'
"""Without the proxy's own port, which Prometheus and the kubelet call."""
_NO_PROBE = 'authz_name!="probe"'
"""Without the kubelet's probes, which have no identity (linkerd2-proxy, inbound policy, `probe`)."""
_VERSION = ("version", "$1", "exported_version", "(.+)")
"""Where a pod has a label `version`, Prometheus calls that of the metric `exported_version` (`honor_labels: false`)."""
_SECONDS = {bound: rf"{bound / 1000:g}(\.0)?".replace("0.", r"0\.") for bound in BOUNDS}
"""Bounds in milliseconds -> how the buckets spell them, in seconds."""


_OWNERS = ("cronjob", "daemonset", "deployment", "replicaset", "replicationcontroller", "statefulset")
_VIZ_LABELS = {
    "control_plane_ns": "linkerd.io/control-plane-ns",
    "workload_ns": "linkerd.io/workload-ns",
    # Prometheus has a label `job` of its own.
    "k8s_job": "linkerd.io/proxy-job",
    **{owner: f"linkerd.io/proxy-{owner}" for owner in _OWNERS},
}
"""Labels by which linkerd-viz groups series: what the injector writes on pods of their owners. Its own Prometheus
copies every label of a pod (chart linkerd-viz, templates/prometheus.yaml, edge-26.8.3), which any pod can fill."""


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
        other = f'!~".*{literal(version)}"'
        old = (
            f'(proxy_build_info{{exported_version="", version{other}}} '
            f'or proxy_build_info{{exported_version!="", exported_version{other}}})'
        )
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
            old_proxies(f"count by (version) ({relabelled(old, _VERSION)})", version),
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

    def signals(self) -> Mapping[Signal, Sequence[Query]]:
        """Return the queries of dashboards, see `MetricsSource`.

        Linkerd has no metric of the trust anchor, of refused configuration, and injects no faults.
        """

        def route(name: str, legend: str, condition: str = "") -> Query:
            # Both kinds have the same labels, so their rates can't stand in one sum.
            kinds = (f"outbound_{kind}_route_{name}{{{_TO}{condition}}}" for kind in ("http", "grpc"))
            return Query(" + ".join(f"(sum(rate({series}[5m])) or vector(0))" for series in kinds), legend)

        def failed(legend: str, *errors: str) -> Query:
            return route("request_statuses_total", legend, f', error=~"{"|".join(errors)}"')

        def endpoints(state: str, legend: str) -> Query:
            series = f'outbound_http_balancer_endpoints{{endpoint_state="{state}", {_TO}}}'
            return Query(f"sum({series}) or vector(0)", legend)

        clients = f'{{__name__=~"outbound_(http|grpc)_route_request_statuses_total", {_TO}}}'
        inbound = f"{_INBOUND}, {_NO_PROBE}"
        both, every = (f"rate(request_total{{{chosen}}}[5m])" for chosen in (f'{inbound}, tls="true"', inbound))
        served = of_job("meshup-linkerd-control-plane")
        skipped, injected = "proxy_inject_admission_responses_total", "sum(increase({}[5m])) or vector(0)"
        lag = "sum by (le) (rate(endpointslices_informer_lag_seconds_bucket[5m]))"
        return {
            "clients": [Query(f"sum by (namespace, app) (rate({clients}[5m]))", "{{namespace}}/{{app}}")],
            "attempts": [
                route("request_statuses_total", "requests of clients"),
                route("backend_requests_total", "attempts"),
            ],
            "retries": [
                route("retry_requests_total", "retried"),
                route("retry_successes_total", "succeeded by a retry"),
                route("retry_limit_exceeded_total", "given up after the last retry"),
                route("retry_overflow_total", "not retried: too many at once"),
            ],
            "timeouts": [
                failed("requests", "REQUEST_TIMEOUT"),
                failed("no response in time", "RESPONSE_HEADERS_TIMEOUT", "RESPONSE_STREAM_TIMEOUT"),
                failed("idle", "IDLE_TIMEOUT"),
            ],
            "ejected": [
                endpoints("pending", "taken out, or not yet connected"),
                endpoints("ready", "ready, as each client sees them"),
            ],
            "overflow": [
                failed("no endpoint is ready", "FAIL_FAST"),
                failed("refused by limits of the proxy", "LOAD_SHED"),
                failed("the connection ended", "IO", "RESET", "GO_AWAY", "REFUSED"),
            ],
            "rate_limited": [
                Query(
                    'sum by (srv_name) (rate(inbound_http_local_ratelimit_total{namespace="$namespace"}[5m]))',
                    "{{srv_name}}",
                )
            ],
            "mutual_tls": [Query(share(f"sum({both})", f"sum({every})"), "mutual TLS")],
            "mutual_tls_edges": [Query(share(_edges(both), _edges(every)))],
            "denials": [
                Query(
                    'sum by (namespace, srv_name) (rate({__name__=~"inbound_(http|tcp)_authz_deny_total"}[5m]))',
                    "{{namespace}}/{{srv_name}}",
                )
            ],
            "authorizations": [
                Query(
                    "sum by (namespace, authz_name) (rate("
                    f'{{__name__=~"inbound_(http|tcp)_authz_allow_total", {_NO_PROBE}}}[5m]))',
                    "{{namespace}}/{{authz_name}}",
                )
            ],
            "certificates": [Query("min by (namespace, pod) (identity_cert_expiration_timestamp_seconds - time())")],
            "renewals": [
                Query(f'sum(increase(identity_cert_refreshes_total{{result="{result}"}}[5m])) or vector(0)', legend)
                for result, legend in (("ok", "issued"), ("error", "refused"))
            ],
            "issuer": [Query("min(issuer_cert_ttl_seconds)", "issuer")],
            "proxy_versions": [
                Query(f"count by (version) ({relabelled('proxy_build_info', _VERSION)})", "{{version}}")
            ],
            "push_delay": [
                Query(f"histogram_quantile({q / 100}, {lag})", f"p{q} until seen by the control plane")
                for q in (50, 99)
            ],
            "rejections": [
                Query(injected.format("endpoint_updates_queue_overflow"), "updates of endpoints dropped"),
            ],
            "injections": [
                Query(injected.format(f'{skipped}{{skip="false"}}'), "with a sidecar"),
                Query(injected.format(f'{skipped}{{skip="true"}}'), "without, as asked for"),
            ],
            "control_plane_cpu": [Query(f"sum by (pod) (rate(process_cpu_seconds_total{{{served}}}[5m]))", "{{pod}}")],
            "control_plane_memory": [Query(f"sum by (pod) (process_resident_memory_bytes{{{served}}})", "{{pod}}")],
            "proxy_memory": [
                Query(
                    f"sum by (namespace) (process_resident_memory_bytes{{{of_job('meshup-linkerd-proxies')}}})",
                    "proxies in {{namespace}}",
                )
            ],
        }

    def jobs(self, control_plane: str) -> Sequence[Mapping[str, Any]]:
        """Return the scrape jobs, see `MetricsSource`; names of ports as the charts of edge-26.8.3 have them."""
        return (
            pod_job("meshup-linkerd-proxies", container="linkerd-proxy", port_name="linkerd-admin", labels=_VIZ_LABELS),
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


def _edges(series: str) -> str:
    """Return the sum by the client's account and the app that is called. A client without mutual TLS has no name."""
    account = r"([^.]+)\\.([^.]+)\\.serviceaccount\\..+"
    renamed = relabelled(
        f"sum by (client_id, namespace, app) ({series})",
        ("client", "unknown", "client_id", ""),
        ("client_namespace", "$2", "client_id", account),
        ("client", "$1", "client_id", account),
        ("service", "$1", "app", "(.*)"),
    )
    return f"sum by (client_namespace, client, namespace, service) ({renamed})"


LINKERD_METRICS = LinkerdMetrics()
