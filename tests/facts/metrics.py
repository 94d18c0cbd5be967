"""Facts about the metrics of proxies, control planes and Prometheus: which exist, with which labels, and how we know.

A rule on a name that no proxy has never fires, and nothing says so. So each name that an expression reads is here, from
a real page of metrics or from the source of what writes it.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Metric(NamedTuple):
    """A metric as its writer has it.

    Attributes:
        labels: Its labels, without those of the scrape.
        source: How we know.
    """

    labels: frozenset[str]
    source: str


SCRAPED = frozenset({"namespace", "pod", "app", "version", "job", "instance", "exported_version"})
"""Labels that the scrape jobs give (components/observability/scrape.py). `exported_version` is what Prometheus makes of
the metric's own `version` where the pod has that label (prometheus.io, scrape_config, honor_labels: false)."""

_ISTIOD = "page :15014/metrics of istiod, embedded cluster, 2026-12-01"
_ISTIOD_SOURCE = "istio 1.30.3: pilot/pkg, security/pkg/server/ca/monitoring.go, pkg/kube/inject/monitoring.go"
_AGENT = "page :15020/stats/prometheus of a sidecar of Istio, embedded cluster, 2026-12-01"
_ENVOY = "page :15090/stats/prometheus of a sidecar, Envoy 1.40.0 under Istio's bootstrap, embedded cluster, 2026-12-01"
_ENVOY_MEASURED = "Envoy 1.40.0 under Istio's bootstrap, with policies and faults (observability.md, section 4)"
_RATE_LIMIT = (
    "page of Envoy 1.40.0 with a local rate limit and `use_all_default_tags: false`, as Istio's bootstrap has it"
)
_ISTIO = "istio.io, Istio Standard Metrics, 1.30; labels of istio/proxy stats"
_ROUTES = "linkerd2-proxy 29637b64f: linkerd/app/outbound/src/http/logical/policy/route/metrics.rs, metrics/labels.rs"
_BALANCER = "linkerd2-proxy 29637b64f: linkerd/app/outbound/src/http/concrete"
_INBOUND = "linkerd2-proxy 29637b64f: linkerd/app/inbound/src/metrics/authz.rs"
_PROXY = "linkerd2-proxy 29637b64f: linkerd/app/core/src/metrics, transport/labels.rs, telemetry"
_LINKERD = (
    "linkerd2 b24cd4059: controller/api/destination/watcher/prometheus.go, controller/proxy-injector, pkg/identity"
)
_STATE = "kube-state-metrics 2.20: docs/metrics/workload/pod-metrics.md"
_PROMETHEUS = "prometheus.io, Jobs and instances, Recording and alerting rules"

_CLUSTER = "cluster_name"
_REQUEST = (
    "reporter source_workload source_workload_namespace destination_service destination_service_name "
    "destination_service_namespace destination_version connection_security_policy response_code response_flags "
    "grpc_response_status request_protocol"
)
_PARENT = (
    "parent_group parent_kind parent_namespace parent_name parent_port parent_section_name route_group route_kind "
    "route_namespace route_name"
)
_BACKEND = f"{_PARENT} backend_group backend_kind backend_namespace backend_name backend_port backend_section_name"
_TLS = "target_addr target_ip target_port tls client_id no_tls_reason"
_SERVER = f"{_TLS} srv_group srv_kind srv_name srv_port"
_POLICY = f"{_SERVER} route_group route_kind route_name authz_group authz_kind authz_name"


_Row = tuple[str, str, str]


def _istio() -> Iterator[_Row]:
    for name in ("requests_total", "request_duration_milliseconds_bucket"):
        yield f"istio_{name}", f"{_REQUEST} le" if name.endswith("bucket") else _REQUEST, _ISTIO


def _envoy() -> Iterator[_Row]:
    for name in (
        *("completed", "total", "timeout", "per_try_timeout", "retry", "retry_success", "retry_limit_exceeded"),
        *("retry_overflow", "pending_overflow"),
    ):
        yield f"envoy_cluster_upstream_rq_{name}", _CLUSTER, _ENVOY
    yield "envoy_cluster_upstream_rq", f"{_CLUSTER} response_code response_code_class", _ENVOY
    yield "envoy_cluster_upstream_rq_time_bucket", f"{_CLUSTER} le", _ENVOY
    for name in ("upstream_cx_connect_fail", "upstream_cx_none_healthy", "membership_total"):
        yield f"envoy_cluster_{name}", _CLUSTER, _ENVOY
    yield "envoy_cluster_outlier_detection_ejections_active", _CLUSTER, _ENVOY_MEASURED
    for name in ("aborts", "delays"):
        yield f"envoy_http_fault_{name}_injected", "http_conn_manager_prefix", _ENVOY
    yield "envoy_http_rbac", "http_conn_manager_prefix authz_enforce_result authz_dry_run_result", _ENVOY_MEASURED
    yield "envoy_meshup_rate_limit_http_local_rate_limit_rate_limited", "", _RATE_LIMIT
    yield "envoy_server_memory_allocated", "", _ENVOY


def _istiod() -> Iterator[_Row]:
    for name in ("cert_expiry_seconds", "process_resident_memory_bytes"):
        yield f"istio_agent_{name}", "resource_name", _AGENT
    for name, labels in (("info", "version"), ("xds", "version"), ("xds_pushes", "type"), ("vservice_dup_domain", "")):
        yield f"pilot_{name}", labels, _ISTIOD
    yield "pilot_proxy_convergence_time_bucket", "le", _ISTIOD
    yield "pilot_total_xds_rejects", "type", _ISTIOD_SOURCE
    yield "pilot_total_xds_internal_errors", "", _ISTIOD_SOURCE
    yield "galley_validation_passed", "group resource version", _ISTIOD
    yield "galley_validation_failed", "group resource version reason", _ISTIOD_SOURCE
    yield "sidecar_injection_success_total", "", _ISTIOD
    for name in ("failure", "skip"):
        yield f"sidecar_injection_{name}_total", "", _ISTIOD_SOURCE
    for name in ("success_cert_issuance_count", "root_cert_expiry_seconds"):
        yield f"citadel_server_{name}", "", _ISTIOD
    yield "citadel_server_cert_chain_expiry_seconds", "", _ISTIOD_SOURCE
    yield "citadel_server_csr_sign_err_count", "error", _ISTIOD_SOURCE


def _linkerd() -> Iterator[_Row]:
    for kind in ("http", "grpc"):
        status = f"{kind}_status error"
        route = f"outbound_{kind}_route"
        yield f"{route}_request_statuses_total", f"{_PARENT} hostname {status}", _ROUTES
        yield f"{route}_backend_response_statuses_total", f"{_BACKEND} {status}", _ROUTES
        yield f"{route}_backend_response_duration_seconds_bucket", f"{_BACKEND} le", _ROUTES
        yield f"{route}_backend_requests_total", _BACKEND, _ROUTES
        for name in ("requests", "successes", "limit_exceeded", "overflow"):
            yield f"{route}_retry_{name}_total", _PARENT, _ROUTES
    yield "outbound_http_balancer_endpoints", f"{_BACKEND} endpoint_state", _BALANCER
    yield "inbound_http_local_ratelimit_total", f"{_SERVER} ratelimit_kind ratelimit_name ratelimit_scope", _INBOUND
    for kind in ("http", "tcp"):
        yield f"inbound_{kind}_authz_allow_total", _POLICY, _INBOUND
        yield f"inbound_{kind}_authz_deny_total", _SERVER, _INBOUND
    yield "request_total", f"direction {_POLICY}", _PROXY
    yield "identity_cert_expiration_timestamp_seconds", "", _PROXY
    yield "identity_cert_refreshes_total", "result", _PROXY
    yield "proxy_build_info", "version git_sha profile date vendor", _PROXY
    yield "issuer_cert_ttl_seconds", "", _LINKERD
    yield "endpoint_updates_queue_overflow", "", _LINKERD
    yield "endpointslices_informer_lag_seconds_bucket", "le", _LINKERD
    yield "proxy_inject_admission_responses_total", "owner_kind namespace skip skip_reason annotation_at", _LINKERD


def _others() -> Iterator[_Row]:
    for name in ("cpu_seconds_total", "resident_memory_bytes"):
        yield f"process_{name}", "", f"{_ISTIOD}; {_PROXY}"
    yield "kube_pod_info", "host_ip pod_ip uid node created_by_kind created_by_name", _STATE
    yield "kube_pod_status_phase", "uid phase", _STATE
    for kind in ("", "init_"):
        yield f"kube_pod_{kind}container_info", "uid container image image_id container_id restart_policy", _STATE
    for name in ("up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"):
        yield name, "", _PROMETHEUS
    yield "ALERTS", "alertname alertstate severity service window kind baseline rule", _PROMETHEUS


METRICS: Mapping[str, Metric] = {
    name: Metric(frozenset(labels.split()), source)
    for name, labels, source in (*_istio(), *_envoy(), *_istiod(), *_linkerd(), *_others())
}
