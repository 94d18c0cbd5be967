"""A generated hour of a mesh: the counters and gauges that proxies and istiod would have shown, every 15 seconds.

A canary of `reviews` gets 5 percent, after 30 minutes 25 percent, and fails more often than the baseline from then on.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

STEP = 15
MINUTES = 85
"""A quarter of an hour before the hour that is shown, so that windows of ten minutes are full, and some more."""
START = 1_796_119_200
"""2026-12-01 10:00:00 UTC."""
END = START + MINUTES * 60
CHANGED = START + 45 * 60
"""When the weights of the split change."""
NAMESPACE = "bookinfo"
ROUTES = {
    "reviews": {
        "namespace": NAMESPACE,
        "split": {"v1": 75, "v2": 25},
        "slo": {"success": 99.5, "latency": {"p": 85, "below": "100ms"}},
    },
    "productpage": {"namespace": NAMESPACE, "split": {"v1": 100}, "slo": {"success": 99}},
}
Samples = Iterator[tuple[str, str, float, int]]
"""Samples: name, labels, value, second. Each series is yielded as a whole, in order of time."""
BOUNDS = (25, 50, 100, 250, 500, 1000, 10_000)
_ENVOY = "envoy_cluster_"


@dataclass(frozen=True)
class Caller:
    """A client of a version of a Service.

    Attributes:
        client: Its workload.
        account: The namespace of the client.
        service: The Service.
        version: The version that answers.
        rate: Requests per second at a time.
        failing: The share of them that fails at a time.
        median: Milliseconds of a typical request.
        encrypted: Whether they come by mutual TLS.
    """

    client: str
    account: str
    service: str
    version: str
    rate: Callable[[int], float]
    failing: Callable[[int], float]
    median: float
    encrypted: bool = True


def samples() -> Samples:
    """Yield all samples of Istio, with those of plain Envoys for `reviews`."""
    chance = random.Random(13)  # noqa: S311
    for caller in callers():
        yield from _calls(caller, chance)
    for name, labels, rate in _counters():
        yield from counter(name, labels, rate, chance)
    for name, labels, value in _gauges():
        yield from gauge(name, labels, value)
    yield from weights("istio")


def seconds() -> range:
    """Return the seconds of scrapes."""
    return range(START, END + 1, STEP)


def wave(second: int) -> float:
    """Return the load at a time, around 1."""
    return 1 + 0.18 * math.sin((second - START) / 900) + 0.06 * math.sin((second - START) / 170)


def share(version: str, second: int) -> float:
    """Return the weight of a version at a time, 0 to 1."""
    canary = 0.05 if second < CHANGED else 0.25
    return canary if version == "v2" else 1 - canary


def callers() -> list[Caller]:
    """Return who calls whom."""

    def steady(rate: float) -> Callable[[int], float]:
        return lambda second: rate * wave(second)

    def part(version: str) -> Callable[[int], float]:
        return lambda second: 42 * wave(second) * share(version, second)

    def never(_: int) -> float:
        return 0.0

    def canary(second: int) -> float:
        return 0.0008 if second < CHANGED else 0.0012 + 0.012 * min(1, (second - CHANGED) / 1200)

    return [
        Caller("istio-ingressgateway", "istio-ingress", "productpage", "v1", steady(21), lambda _: 0.0012, 62),
        Caller("productpage-v1", NAMESPACE, "reviews", "v1", part("v1"), lambda _: 0.0007, 38),
        Caller("productpage-v1", NAMESPACE, "reviews", "v2", part("v2"), canary, 38),
        Caller("productpage-v1", NAMESPACE, "details", "v1", steady(20), never, 9),
        Caller("reviews-v2", NAMESPACE, "ratings", "v1", lambda s: 42 * wave(s) * share("v2", s), lambda _: 0.0004, 7),
        Caller("nightly-report", "batch", "details", "v1", steady(1.4), never, 11, encrypted=False),
        Caller("frontend", "shop", "checkout", "v1", steady(8), lambda _: 0.0041, 130),
        Caller("checkout", "shop", "payment", "v1", steady(3), lambda _: 0.0002, 120),
    ]


def counted(caller: Caller, chance: random.Random) -> Iterator[tuple[int, float, float, float, dict[int, float]]]:
    """Yield what a client has counted at each second: good ones, failed ones, timeouts; durations by bound (0: all)."""
    good = failed = late = 0.0
    counts: dict[int, float] = dict.fromkeys((*BOUNDS, 0), 0.0)
    for second in seconds():
        total = max(0, round(chance.gauss(caller.rate(second) * STEP, math.sqrt(caller.rate(second) * STEP))))
        bad = sum(chance.random() < caller.failing(second) for _ in range(total))
        slow = bad // 3
        good, failed, late = good + total - bad, failed + bad - slow, late + slow
        # Log-normal, as durations are, and longer under load.
        durations = [chance.lognormvariate(math.log(caller.median * wave(second) ** 0.6), 0.75) for _ in range(total)]
        for bound in BOUNDS:
            counts[bound] += sum(duration <= bound for duration in durations)
        counts[0] += total
        yield second, good, failed, late, dict(counts)


def grouped(rows: Iterable[tuple[str, Mapping[str, str], float, int]]) -> Samples:
    """Yield samples by series: what a proxy counts of several versions in one series is added."""
    keyed: dict[tuple[str, str], dict[int, float]] = {}
    for name, of, value, second in rows:
        points = keyed.setdefault((name, text(of)), {})
        points[second] = points.get(second, 0) + value
    for (name, labels), points in keyed.items():
        for second, value in points.items():
            yield name, labels, value, second


def gauge(name: str, labels: Mapping[str, str], value: Callable[[int], float]) -> Samples:
    """Yield a gauge."""
    for second in seconds():
        yield name, text(labels), value(second), second


def _calls(caller: Caller, chance: random.Random) -> Samples:
    namespace = "shop" if caller.account == "shop" else NAMESPACE
    labels = {
        "source_workload": caller.client,
        "source_workload_namespace": caller.account,
        "destination_service_namespace": namespace,
        "destination_service_name": caller.service,
        "destination_version": caller.version,
        "namespace": caller.account,
        "app": caller.client.removesuffix("-v1").removesuffix("-v2"),
    }
    rows: list[tuple[str, dict[str, str], float, int]] = []
    cluster = f"outbound|9080|{caller.version}|{caller.service}.{namespace}.svc.cluster.local"
    for second, good, failed, late, counts in counted(caller, chance):
        source = {**labels, "reporter": "source", "connection_security_policy": "unknown"}
        for code, flags, value in (("200", "-", good), ("503", "URX", failed), ("504", "UT", late)):
            rows.append(
                ("istio_requests_total", {**source, "response_code": code, "response_flags": flags}, value, second)
            )
        policy = "mutual_tls" if caller.encrypted else "none"
        received = {**labels, "reporter": "destination", "connection_security_policy": policy, "namespace": namespace}
        rows.append(
            ("istio_requests_total", {**received, "response_code": "200", "response_flags": "-"}, good + failed, second)
        )
        name = "istio_request_duration_milliseconds_bucket"
        rows += [(name, {**source, "le": str(bound or "+Inf")}, value, second) for bound, value in counts.items()]
        if caller.service == "reviews":
            proxy = {"cluster_name": cluster, "namespace": caller.account, "app": labels["app"]}
            statistics = {
                "upstream_rq_completed": good + failed + late,
                "upstream_rq_total": good + 3.2 * failed + late,
                "upstream_rq_retry": 2.6 * failed + 0.004 * good,
                "upstream_rq_retry_success": 1.2 * failed + 0.0036 * good,
                "upstream_rq_retry_limit_exceeded": failed,
                "upstream_rq_retry_overflow": 0.02 * failed,
                "upstream_rq_timeout": late,
                "upstream_rq_per_try_timeout": 1.4 * late,
                "upstream_rq_pending_overflow": 0.1 * failed,
                "upstream_cx_none_healthy": 0.05 * failed,
                "upstream_cx_connect_fail": 0.08 * failed,
            }
            rows += [(_ENVOY + key, proxy, value, second) for key, value in statistics.items()]
            both = {**proxy, "response_code_class": "2xx"}
            rows.append((_ENVOY + "upstream_rq", both, good, second))
            rows.append((_ENVOY + "upstream_rq", {**proxy, "response_code_class": "5xx"}, failed + late, second))
    yield from grouped(rows)


def counter(name: str, labels: Mapping[str, str], rate: Callable[[int], float], chance: random.Random) -> Samples:
    """Yield a counter that grows by a rate per second, and by chance."""
    value = 0.0
    for second in seconds():
        # What a bucket holds is in the next one, too, so chance must not tell them apart.
        spread = 0 if "le" in labels else math.sqrt(rate(second) * STEP) * 0.4
        value += max(0.0, chance.gauss(rate(second) * STEP, spread))
        yield name, text(labels), value, second


def _counters() -> Iterator[tuple[str, dict[str, str], Callable[[int], float]]]:
    def per_minute(count: float, *, rising: bool = False) -> Callable[[int], float]:
        def rate(second: int) -> float:
            busy = 3.0 if abs(second - CHANGED) < 120 else 1.0
            return count / 60 * (busy if rising else 1)

        return rate

    refused = {"authz_enforce_result": "denied"}
    for namespace, app, count in ((NAMESPACE, "ratings", 14), (NAMESPACE, "details", 3), ("shop", "payment", 40)):
        yield "envoy_http_rbac", {**refused, "namespace": namespace, "app": app}, per_minute(count, rising=True)
    limited = "envoy_meshup_rate_limit_http_local_rate_limit_rate_limited"
    yield limited, {"namespace": NAMESPACE, "app": "reviews"}, per_minute(22, rising=True)
    for kind, count in (("aborts", 0.0), ("delays", 9.0)):
        name = f"envoy_http_fault_{kind}_injected"
        yield name, {"namespace": NAMESPACE, "app": "productpage"}, per_minute(count)
    istiod = {"namespace": "istio-system", "pod": "istiod-7c4d9c", "app": "istiod"}
    for kind, count in (("cds", 6), ("eds", 14), ("lds", 6), ("rds", 7), ("cds_senderr", 0.0)):
        yield "pilot_xds_pushes", {**istiod, "type": kind}, per_minute(count, rising=True)
    for kind in ("cds", "lds"):
        yield "pilot_total_xds_rejects", {**istiod, "type": kind}, per_minute(0)
    yield "pilot_total_xds_internal_errors", istiod, per_minute(0)
    slowest = {"0.1": 0.7, "0.5": 0.94, "1": 0.98, "3": 0.999, "5": 1.0, "+Inf": 1.0}
    for bound, part in slowest.items():
        yield "pilot_proxy_convergence_time_bucket", {**istiod, "le": bound}, per_minute(30 * part)
    for kind, count in (("passed", 1.2), ("failed", 0.1)):
        yield f"galley_validation_{kind}", {**istiod, "resource": "virtualservices"}, per_minute(count, rising=True)
    for kind, count in (("success", 0.8), ("skip", 0.3), ("failure", 0.0)):
        yield f"sidecar_injection_{kind}_total", istiod, per_minute(count, rising=True)
    yield "citadel_server_success_cert_issuance_count", istiod, per_minute(1.1)
    yield "citadel_server_csr_sign_err_count", {**istiod, "error": "none"}, per_minute(0)
    yield "process_cpu_seconds_total", {**istiod, "job": "meshup-istiod"}, per_minute(4.2, rising=True)


def _gauges() -> Iterator[tuple[str, dict[str, str], Callable[[int], float]]]:
    def constant(value: float) -> Callable[[int], float]:
        return lambda _: value

    def left(hours: float) -> Callable[[int], float]:
        return lambda second: hours * 3600 - (second - START)

    def ejected(second: int) -> float:
        return float(1500 < second - CHANGED < 1900)

    def growing(size: float) -> Callable[[int], float]:
        return lambda second: size * (1 + 0.04 * wave(second))

    pods = ("productpage-v1-6cf", "reviews-v1-58d", "reviews-v2-7bb", "ratings-v1-77f", "details-v1-5d7")
    for at, pod in enumerate(pods):
        place = {"namespace": NAMESPACE, "pod": pod, "app": pod.split("-")[0]}
        yield "istio_agent_cert_expiry_seconds", place, left(13.5 + 2.1 * at)
        yield "envoy_server_memory_allocated", place, growing(9.1e6 + at * 4e5)
        yield "istio_agent_process_resident_memory_bytes", place, growing(4.4e7)
    reviews = {"namespace": NAMESPACE, "app": "productpage"}
    for version, members in (("v1", 3), ("v2", 1)):
        cluster = {**reviews, "cluster_name": f"outbound|9080|{version}|reviews.{NAMESPACE}.svc.cluster.local"}
        yield _ENVOY + "membership_total", cluster, constant(members)
        yield _ENVOY + "outlier_detection_ejections_active", cluster, constant(0) if version == "v2" else ejected
    istiod = {"namespace": "istio-system", "pod": "istiod-7c4d9c", "app": "istiod"}
    yield "citadel_server_cert_chain_expiry_seconds", istiod, left(24 * 212)
    yield "citadel_server_root_cert_expiry_seconds", istiod, left(24 * 3390)
    yield "pilot_info", {**istiod, "version": "1.30.3"}, constant(1)
    yield "pilot_xds", {**istiod, "version": "1.30.3"}, lambda second: 15.0 if second < CHANGED else 17.0
    yield "pilot_xds", {**istiod, "version": "1.30.1"}, lambda second: 2.0 if second < CHANGED else 0.0
    yield "pilot_vservice_dup_domain", istiod, constant(0)
    yield "process_resident_memory_bytes", {**istiod, "job": "meshup-istiod"}, growing(1.62e8)
    for job, targets, series in (("proxies", 17, 610), ("agents", 17, 44), ("istiod", 1, 470)):
        name = "meshup-istiod" if job == "istiod" else f"meshup-istio-{job}"
        for at in range(targets):
            place = {"job": name, "instance": f"10.244.0.{at}:15090"}
            yield "up", place, constant(1)
            yield "scrape_samples_post_metric_relabeling", place, growing(series)
            yield "scrape_duration_seconds", place, growing(0.011 + 0.0004 * at)


def weights(mesh: str) -> Samples:
    """Yield the declared shares: the rules say only what they are at the end."""
    place = {"mesh": mesh, "namespace": NAMESPACE, "rule": "split"}
    for version in ("v1", "v2"):
        labels = {**place, "service": "reviews", "version": version}
        yield from gauge("meshup:split:declared_share", labels, lambda second, version=version: share(version, second))
    yield from gauge("meshup:split:declared_share", {**place, "service": "productpage", "version": "v1"}, lambda _: 1)


def text(labels: Mapping[str, str]) -> str:
    """Return labels as a page of metrics has them."""
    return ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
