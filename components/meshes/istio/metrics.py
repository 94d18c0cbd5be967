"""The metrics of Istio's proxies, and those of an Envoy without Istio's own filters. Istio 1.30, Envoy 1.38.

Source of the series and labels: observability.md, sections 3, 4 and 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from ...observability.source import BOUNDS, FAILED_GRPC, MetricsSource, Query, Signal
from ...traffic.manifests import version_service_name
from ...traffic.model import Destination
from ...traffic.targets import Planned

RATE_LIMIT = "meshup_rate_limit"
"""Prefix of Envoy's statistics of local rate limits."""
_AGENT = 15020
_PROXY = "istio-proxy"
_PROMETHEUS, _PATH = 15090, "stats/prometheus"
"""Envoy's own port. At 15020 an application could add lines of its own."""
_CLIENTS = (
    Matcher("reporter", "=~", "source|waypoint"),
    Matcher("destination_service_name", "!~", "unknown|PassthroughCluster|BlackHoleCluster"),
)
"""What servers report misses the requests that never reached one."""
_SENDERS, _SERVERS = 'reporter=~"source|waypoint"', 'reporter="destination"'
_TO = 'destination_service_namespace="$namespace", destination_service_name=~"$service(-$version)?"'
"""The requests for a Service, whose versions have Services of their own where its routes are HTTPRoutes."""
_TO_CLUSTER = r'cluster_name=~"outbound\\|[0-9]+\\|[^|]*\\|$service(-$version)?\\.$namespace\\.svc\\..+"'
_HOST = r"outbound\|[0-9]+\|[^|]*\|([^.|]+)\.([^.|]+)\.svc\..+"
_LE = Matcher("le", "=~", "|".join(rf"{bound}(\.0)?" for bound in BOUNDS) + r"|\+Inf")
"""Prometheus 3 writes `50.0` where Prometheus 2 writes `50`."""
_WHOLE = Renaming("le", "$1", "le", r"([0-9]+)\.0")
_OUTBOUND = Matcher("cluster_name", "=~", r"outbound\|.*")
_DESTINATION = (
    Renaming("namespace", "$1", "destination_service_namespace", "(.*)"),
    Renaming("service", "$1", "destination_service_name", "(.*)"),
    Renaming("version", "$1", "destination_version", "(.*)"),
)
_BY = ("destination_service_namespace", "destination_service_name", "destination_version")
_CLUSTER = (
    Renaming("namespace", "$2", "cluster_name", _HOST),
    Renaming("service", "$1", "cluster_name", _HOST),
    Renaming("version", "$1", "cluster_name", r"outbound\|[0-9]+\|([^|]*)\|.+"),
)


class IstioMetrics(MetricsSource):
    """Istio's standard metrics, which its proxies have."""

    name = "istio"
    title = "Istio's standard metrics"

    requested = Counter(
        "istio_requests_total",
        _CLIENTS,
        (*_BY, "response_code", "grpc_response_status"),
        (
            *_DESTINATION,
            Renaming("code_class", "${1}xx", "response_code", "([1-5]).."),
            Renaming("code_class", "5xx", "grpc_response_status", "|".join(map(str, FAILED_GRPC))),
        ),
        REQUESTS,
    )
    timed = Counter(
        "istio_request_duration_milliseconds_bucket",
        (*_CLIENTS, _LE),
        (*_BY, "le"),
        (*_DESTINATION, _WHOLE),
        DURATIONS,
    )
    container, port, path = _PROXY, _PROMETHEUS, _PATH

    def alerts(self, version: str, namespaces: Sequence[str]) -> Sequence[AlertingRule]:
        """Return the alerts on Istio itself, see `MetricsSource`."""
        return tuple(_alerts(version, namespaces))

    def signals(self) -> Mapping[Signal, Sequence[Query]]:
        """Return the queries of dashboards, see `MetricsSource`.

        The flags are Envoy's short ones, several joined by commas (Envoy's access log, %RESPONSE_FLAGS%).
        """
        sent, received = f"istio_requests_total{{{_SENDERS}, {_TO}}}", f"istio_requests_total{{{_SERVERS}, {_TO}}}"
        both = _rate(f'istio_requests_total{{{_SERVERS}, connection_security_policy="mutual_tls"}}')
        every = _rate(f"istio_requests_total{{{_SERVERS}}}")
        return {
            "clients": [
                Query(
                    f"sum by (source_workload_namespace, source_workload) ({_rate(sent)})",
                    "{{source_workload_namespace}}/{{source_workload}}",
                )
            ],
            "attempts": [
                Query(f"sum({_rate(sent)})", "requests of clients"),
                Query(f"sum({_rate(received)})", "received by servers"),
            ],
            "retries": [_flagged("URX", "given up after the last retry")],
            "timeouts": [_flagged("UT", "no answer in time")],
            "overflow": [
                _flagged("UO", "refused by limits of connections"),
                _flagged("UH", "no healthy endpoint"),
                _flagged("UF", "no connection"),
            ],
            "rate_limited": [_flagged("RL", "refused", _SERVERS)],
            "faults": [_flagged("FI", "failed by a fault"), _flagged("DI", "delayed by a fault")],
            "mutual_tls": [Query(share(f"sum({both})", f"sum({every})"), "mutual TLS")],
            "mutual_tls_edges": [Query(share(_edges(both), _edges(every)))],
            **_mesh_signals(),
        }

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

    # One series has codes and classes: only classes are added.
    requested = Counter(
        "envoy_cluster_upstream_rq",
        (Matcher("response_code_class", "!=", ""), _OUTBOUND),
        ("cluster_name", "response_code_class"),
        (*_CLUSTER, Renaming("code_class", "$1", "response_code_class", "(.+)")),
        REQUESTS,
    )
    # Requests that timed out are not among them.
    timed = Counter(
        "envoy_cluster_upstream_rq_time_bucket",
        (_OUTBOUND, _LE),
        ("cluster_name", "le"),
        (*_CLUSTER, _WHOLE),
        DURATIONS,
    )
    container, port, path = _PROXY, _PROMETHEUS, _PATH

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

    def signals(self) -> Mapping[Signal, Sequence[Query]]:
        """Return the queries of dashboards, see `MetricsSource`. Envoy has no counter of requests by mutual TLS."""

        def cluster(name: str, legend: str) -> Query:
            return Query(f"sum({_rate(f'envoy_cluster_{name}{{{_TO_CLUSTER}}}')})", legend)

        ejected = f"sum(envoy_cluster_outlier_detection_ejections_active{{{_TO_CLUSTER}}})"
        members = f"sum(envoy_cluster_membership_total{{{_TO_CLUSTER}}})"
        # Of the whole namespace: the counter says whose proxy refused, and not for which Service.
        limited = _rate(f'envoy_{RATE_LIMIT}_http_local_rate_limit_rate_limited{{namespace="$namespace"}}')
        requests = _rate(f'envoy_cluster_upstream_rq{{response_code_class!="", {_TO_CLUSTER}}}')
        return {
            "clients": [Query(f"sum by (namespace, app) ({requests})", "{{namespace}}/{{app}}")],
            "attempts": [
                cluster("upstream_rq_completed", "requests of clients"),
                cluster("upstream_rq_total", "attempts"),
            ],
            "retries": [
                cluster("upstream_rq_retry", "retried"),
                cluster("upstream_rq_retry_success", "succeeded by a retry"),
                cluster("upstream_rq_retry_limit_exceeded", "given up after the last retry"),
                cluster("upstream_rq_retry_overflow", "not retried: too many at once"),
            ],
            "timeouts": [
                cluster("upstream_rq_timeout", "requests"),
                cluster("upstream_rq_per_try_timeout", "single attempts"),
            ],
            "ejected": [Query(ejected, "taken out"), Query(members, "all, as each client sees them")],
            "overflow": [
                cluster("upstream_rq_pending_overflow", "refused by limits of connections"),
                cluster("upstream_cx_none_healthy", "no healthy endpoint"),
                cluster("upstream_cx_connect_fail", "no connection"),
            ],
            "rate_limited": [Query(f"sum by (namespace, app) ({limited})", "{{namespace}}/{{app}}")],
            "faults": [
                Query(f"sum({_rate('envoy_http_fault_aborts_injected')})", "failed by a fault, of all Services"),
                Query(f"sum({_rate('envoy_http_fault_delays_injected')})", "delayed by a fault, of all Services"),
            ],
            **_mesh_signals(),
        }

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


def _rate(series: str) -> str:
    return f"rate({series}[5m])"


def _flagged(flag: str, legend: str, reporter: str = _SENDERS) -> Query:
    series = f'istio_requests_total{{{reporter}, {_TO}, response_flags=~"(.+,)?{flag}(,.+)?"}}'
    return Query(f"sum({_rate(series)}) or vector(0)", legend)


def _edges(series: str) -> str:
    """Return the sum by client and Service."""
    by = "source_workload_namespace, source_workload, destination_service_namespace, destination_service_name"
    renamed = relabelled(
        f"sum by ({by}) ({series})",
        ("client_namespace", "$1", "source_workload_namespace", "(.*)"),
        ("client", "$1", "source_workload", "(.*)"),
        ("namespace", "$1", "destination_service_namespace", "(.*)"),
        ("service", "$1", "destination_service_name", "(.*)"),
    )
    return f"sum by (client_namespace, client, namespace, service) ({renamed})"


def _mesh_signals() -> dict[Signal, Sequence[Query]]:
    """Return what istiod, the agents and the filter of policies tell, whatever else the proxies have."""
    denied, failed = (
        _rate('envoy_http_rbac{authz_enforce_result="denied"}'),
        "increase(citadel_server_csr_sign_err_count[5m])",
    )
    delay = "sum by (le) (rate(pilot_proxy_convergence_time_bucket[5m]))"
    return {
        "denials": [Query(f"sum by (namespace, app) ({denied})", "{{namespace}}/{{app}}")],
        "certificates": [Query("min by (namespace, pod) (istio_agent_cert_expiry_seconds)")],
        "renewals": [
            Query("sum(increase(citadel_server_success_cert_issuance_count[5m]))", "issued"),
            Query(f"sum({failed}) or vector(0)", "refused"),
        ],
        "issuer": [Query("min(citadel_server_cert_chain_expiry_seconds)", "issuer")],
        "trust_anchor": [Query("min(citadel_server_root_cert_expiry_seconds)", "trust anchor")],
        "proxy_versions": [Query("sum by (version) (pilot_xds)", "{{version}}")],
        "pushes": [Query("sum by (type) (rate(pilot_xds_pushes[5m]))", "{{type}}")],
        "push_delay": [Query(f"histogram_quantile({q / 100}, {delay})", f"p{q}") for q in (50, 99)],
        "rejections": [
            Query("sum by (type) (increase(pilot_total_xds_rejects[5m]))", "refused by proxies: {{type}}"),
            Query("sum(increase(pilot_total_xds_internal_errors[5m])) or vector(0)", "errors of istiod"),
        ],
        "validations": [
            Query("sum(increase(galley_validation_passed[5m])) or vector(0)", "valid"),
            Query("sum(increase(galley_validation_failed[5m])) or vector(0)", "refused"),
        ],
        "injections": [
            Query(f"sum(increase(sidecar_injection_{end}_total[5m])) or vector(0)", legend)
            for end, legend in (("success", "with a sidecar"), ("skip", "without, as asked for"), ("failure", "failed"))
        ],
        "control_plane_cpu": [
            Query(f"sum by (pod) (rate(process_cpu_seconds_total{{{of_job('meshup-istiod')}}}[5m]))", "{{pod}}")
        ],
        "control_plane_memory": [
            Query(f"sum by (pod) (process_resident_memory_bytes{{{of_job('meshup-istiod')}}})", "{{pod}}")
        ],
        "proxy_memory": [
            Query("sum by (namespace) (envoy_server_memory_allocated)", "Envoy in {{namespace}}"),
            Query("sum by (namespace) (istio_agent_process_resident_memory_bytes)", "agent in {{namespace}}"),
        ],
    }


def _jobs(control_plane: str) -> tuple[dict[str, Any], ...]:
    """Return the scrape jobs for proxies, their agents and istiod.

    Port 15020 of a proxy has the application's metrics among its own, which could be forged, so that only the agent's
    are taken from there (pilot/cmd/pilot-agent/status/server.go, Istio 1.30). Both ports bypass the proxy.
    """
    container, port_name, path = _PROXY, "http-envoy-prom", f"/{_PATH}"
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
    yield from without_sidecar(namespaces, _PROXY)


ISTIO_METRICS = IstioMetrics()
ENVOY_METRICS = EnvoyMetrics()
KEPT_STATISTICS = (
    # Without the same again under `external.` and `internal.`.
    r"cluster\.outbound\|[^;]*;\.upstream_rq_"
    r"(\d\d\d|\dxx|completed|total|time|timeout|per_try_timeout|retry|retry_.*|pending_overflow)",
    r"cluster\.outbound\|[^;]*;\.upstream_cx_(none_healthy|connect_fail)",
    r"cluster\.outbound\|[^;]*;\.outlier_detection\.ejections_(active|enforced_total)",
    r"cluster\.outbound\|[^;]*;\.upstream_cx_(none_healthy|connect_fail)",
    r"cluster\.outbound\|[^;]*;\.membership_(healthy|total)",
    r"http\..*\.(no_route|fault\.(aborts|delays)_injected)",
    r".*http_local_rate_limit\.(enabled|ok|rate_limited)",
)
"""Envoy's names of the statistics that rules, alerts and dashboards read with `ENVOY_METRICS`: regular expressions for
`proxyStatsMatcher`. Without them a proxy keeps none of these (Istio 1.30, pkg/bootstrap/config.go)."""
