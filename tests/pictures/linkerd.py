"""The same hour as Linkerd's proxies and its control plane show it."""

import random
from collections.abc import Callable, Iterator, Mapping

from tests.pictures.scenario import (
    CHANGED,
    NAMESPACE,
    START,
    Caller,
    Samples,
    callers,
    counted,
    counter,
    gauge,
    grouped,
    weights,
)

_Row = tuple[str, Mapping[str, str], float, int]


def samples() -> Samples:
    """Yield all samples."""
    chance = random.Random(13)  # noqa: S311
    yield from grouped(row for caller in callers() for row in _calls(caller, chance))
    for name, labels, rate in _counters():
        yield from counter(name, labels, rate, chance)
    for name, labels, value in _gauges():
        yield from gauge(name, labels, value)
    yield from weights("linkerd")


def _calls(caller: Caller, chance: random.Random) -> Iterator[_Row]:
    namespace = "shop" if caller.account == "shop" else NAMESPACE
    client = {"namespace": caller.account, "app": caller.client.removesuffix("-v1").removesuffix("-v2")}
    parent = {
        **client,
        "parent_kind": "Service",
        "parent_namespace": namespace,
        "parent_name": caller.service,
        "route_kind": "HTTPRoute",
        "route_name": caller.service,
    }
    split = caller.service in {"reviews", "productpage"}
    backend = {**parent, "backend_name": f"{caller.service}-{caller.version}" if split else caller.service}
    identity = f"{caller.client}.{caller.account}.serviceaccount.identity.linkerd.cluster.local"
    inbound = {"namespace": namespace, "app": caller.service, "direction": "inbound", "target_port": "9080"}
    tls = {"tls": "true", "client_id": identity} if caller.encrypted else {"tls": "no_identity"}
    route = "outbound_http_route"
    for second, good, failed, late, durations in counted(caller, chance):
        for code, error, value in (("200", "", good), ("503", "", failed), ("", "REQUEST_TIMEOUT", late)):
            answer = {"http_status": code, "error": error}
            yield f"{route}_request_statuses_total", {**parent, **answer}, value, second
            yield f"{route}_backend_response_statuses_total", {**backend, **answer}, value, second
        yield f"{route}_backend_requests_total", backend, good + 2.4 * failed + late, second
        for name, value in (("requests", 1.4), ("successes", 0.4), ("limit_exceeded", 1), ("overflow", 0.02)):
            yield f"{route}_retry_{name}_total", parent, value * failed, second
        for bound, value in durations.items():
            le = f"{bound / 1000:g}" if bound else "+Inf"
            yield f"{route}_backend_response_duration_seconds_bucket", {**backend, "le": le}, value, second
        yield "request_total", {**inbound, **tls, "authz_name": f"{caller.service}-clients"}, good + failed, second
        allowed = {"namespace": namespace, "app": caller.service, "srv_name": caller.service}
        yield (
            "inbound_http_authz_allow_total",
            {**allowed, **tls, "authz_name": f"{caller.service}-clients"},
            good,
            second,
        )


def _counters() -> Iterator[tuple[str, dict[str, str], Callable[[int], float]]]:
    def per_minute(count: float) -> Callable[[int], float]:
        return lambda second: count / 60 * (3.0 if abs(second - CHANGED) < 120 else 1.0)

    for service, count in (("ratings", 14), ("details", 3)):
        refused = {"namespace": NAMESPACE, "srv_name": service, "tls": "true"}
        yield "inbound_http_authz_deny_total", refused, per_minute(count)
    yield "inbound_http_local_ratelimit_total", {"namespace": NAMESPACE, "srv_name": "reviews"}, per_minute(22)
    place = {"namespace": "linkerd", "pod": "linkerd-destination-6f", "job": "meshup-linkerd-control-plane"}
    for bound, part in {"0.5": 0.96, "1": 0.99, "2.5": 1.0, "+Inf": 1.0}.items():
        yield "endpointslices_informer_lag_seconds_bucket", {**place, "le": bound}, per_minute(20 * part)
    yield "endpoint_updates_queue_overflow", place, per_minute(0)
    for skip, count in (("false", 0.8), ("true", 0.3)):
        yield "proxy_inject_admission_responses_total", {**place, "skip": skip}, per_minute(count)
    yield "process_cpu_seconds_total", place, per_minute(3.1)
    for result, count in (("ok", 1.1), ("error", 0.0)):
        yield "identity_cert_refreshes_total", {"namespace": NAMESPACE, "result": result}, per_minute(count)


def _gauges() -> Iterator[tuple[str, dict[str, str], Callable[[int], float]]]:
    def constant(value: float) -> Callable[[int], float]:
        return lambda _: value

    proxies = "meshup-linkerd-proxies"
    for at, pod in enumerate(("productpage-v1-6cf", "reviews-v1-58d", "reviews-v2-7bb", "ratings-v1-77f")):
        place = {"namespace": NAMESPACE, "pod": pod, "app": pod.split("-")[0], "job": proxies, "version": pod[-6:-4]}
        yield "identity_cert_expiration_timestamp_seconds", place, constant(START + (14 + 2 * at) * 3600)
        yield "process_resident_memory_bytes", place, constant(6.4e6 + at * 3e5)
        # What Prometheus makes of the metric's own label, where the pod has one of that name.
        yield "proxy_build_info", {**place, "exported_version": "release/edge-26.8.3"}, constant(1)
        for name, value in (
            ("up", 1),
            ("scrape_samples_post_metric_relabeling", 420 + at),
            ("scrape_duration_seconds", 0.01),
        ):
            yield name, {"job": proxies, "instance": pod}, constant(value)
    place = {"namespace": "linkerd", "pod": "linkerd-destination-6f", "job": "meshup-linkerd-control-plane"}
    yield "process_resident_memory_bytes", place, constant(8.1e7)
    yield "issuer_cert_ttl_seconds", {**place, "pod": "linkerd-identity-5c"}, constant(24 * 3600 * 212)
    for state, value in (("ready", 3), ("pending", 1)):
        labels = {
            "endpoint_state": state,
            "parent_kind": "Service",
            "parent_namespace": NAMESPACE,
            "parent_name": "reviews",
        }
        yield "outbound_http_balancer_endpoints", {**labels, "app": "productpage"}, constant(value)
