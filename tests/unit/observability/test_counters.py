"""What a page of a proxy says by line is what Prometheus computes of the same page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.meshes import MESHES
from components.observability.counters import Counter, Matcher, Renaming
from components.observability.source import MetricsSource
from tests import promtool

SOURCES = [source for mesh in MESHES.values() for source in mesh.metrics]
ISTIO = {
    "reporter": "source",
    "destination_service_namespace": "shop",
    "destination_service_name": "cart",
    "destination_version": "v1",
}
PARENT = {"parent_kind": "Service", "parent_namespace": "shop", "parent_name": "cart", "backend_name": "cart-v1"}
CLUSTER = {"cluster_name": "outbound|80|v1|cart.shop.svc.cluster.local"}
LINES: dict[str, list[tuple[str, dict[str, str]]]] = {
    "istio": [
        ("istio_requests_total", {**ISTIO, "response_code": "200"}),
        ("istio_requests_total", {**ISTIO, "response_code": "0"}),
        ("istio_requests_total", {**ISTIO, "response_code": "200", "grpc_response_status": "14"}),
        ("istio_requests_total", {**ISTIO, "response_code": "200", "reporter": "destination"}),
        ("istio_requests_total", {**ISTIO, "response_code": "200", "destination_service_name": "PassthroughCluster"}),
        ("istio_request_duration_milliseconds_bucket", {**ISTIO, "le": "50"}),
        ("istio_request_duration_milliseconds_bucket", {**ISTIO, "le": "5"}),
        ("istio_request_duration_milliseconds_bucket", {**ISTIO, "le": "+Inf"}),
    ],
    "envoy": [
        ("envoy_cluster_upstream_rq", {**CLUSTER, "response_code_class": "2xx"}),
        ("envoy_cluster_upstream_rq", {**CLUSTER, "response_code": "200"}),
        ("envoy_cluster_upstream_rq", {"cluster_name": "inbound|80||", "response_code_class": "2xx"}),
        (
            "envoy_cluster_upstream_rq",
            {"cluster_name": "outbound|80||cart-v1.shop.svc.cluster.local", "response_code_class": "5xx"},
        ),
        ("envoy_cluster_upstream_rq", {"cluster_name": "outbound|443||example.com", "response_code_class": "2xx"}),
        ("envoy_cluster_upstream_rq_time_bucket", {**CLUSTER, "le": "100.0"}),
        ("envoy_cluster_upstream_rq_time_bucket", {**CLUSTER, "le": "30000"}),
        ("envoy_cluster_upstream_rq_time_bucket", {**CLUSTER, "le": "+Inf"}),
    ],
    "linkerd": [
        ("outbound_http_route_backend_response_statuses_total", {**PARENT, "http_status": "200"}),
        ("outbound_http_route_backend_response_statuses_total", {**PARENT, "http_status": "", "error": "TIMEOUT"}),
        ("outbound_grpc_route_backend_response_statuses_total", {**PARENT, "grpc_status": "OK"}),
        ("outbound_grpc_route_backend_response_statuses_total", {**PARENT, "grpc_status": "INTERNAL"}),
        (
            "outbound_http_route_backend_response_statuses_total",
            {**PARENT, "parent_kind": "EgressNetwork", "http_status": "200"},
        ),
        ("outbound_http_route_backend_response_duration_seconds_bucket", {**PARENT, "le": "0.025"}),
        ("outbound_http_route_backend_response_duration_seconds_bucket", {**PARENT, "le": "1.0"}),
        ("outbound_grpc_route_backend_response_duration_seconds_bucket", {**PARENT, "le": "+Inf"}),
    ],
}


def by_page(counter: Counter, lines: list[tuple[str, dict[str, str]]]) -> dict[tuple[str, ...], float]:
    """Return what lines count, the line at index N with N + 1 requests a second."""
    found: dict[tuple[str, ...], float] = {}
    for index, (name, labels) in enumerate(lines):
        place = counter.read(name, labels)
        if place is not None:
            found[place] = found.get(place, 0) + index + 1
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_prometheus_and_a_page_count_the_same(source: MetricsSource, tmp_path: Path) -> None:
    lines = LINES[source.name]
    series = [
        {"series": f"{name}{_labels(labels)}", "values": f"0+{15 * (index + 1)}x60"}
        for index, (name, labels) in enumerate(lines)
    ]
    expected: list[dict[str, Any]] = []
    for counter, expression in ((source.requested, source.requests("5m")), (source.timed, source.durations("5m"))):
        counted = by_page(counter, lines)
        assert len(counted) > 1
        samples = [
            {"labels": _labels(dict(zip(counter.neutral, place, strict=True))), "value": value}
            for place, value in counted.items()
        ]
        expected.append({"expr": f"round({expression})", "eval_time": "10m", "exp_samples": samples})
    promtool.check(tmp_path, [], [{"interval": "15s", "input_series": series, "promql_expr_test": expected}])


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items() if value) + "}"


@given(st.dictionaries(st.sampled_from(["cluster_name", "response_code_class"]), st.text(max_size=40)))
def test_no_label_breaks_the_reader(labels: dict[str, str]) -> None:
    for source in SOURCES:
        place = source.requested.read("envoy_cluster_upstream_rq", labels)
        assert place is None or len(place) == len(source.requested.neutral)


@pytest.mark.parametrize(
    ("operator", "value", "text", "holds"),
    [("=", "a", "a", True), ("!=", "", "", False), ("=~", "a|b", "ab", False), ("!~", "a.*", "b", True)],
)
def test_a_matcher_is_that_of_prometheus(operator: Any, value: str, text: str, holds: bool) -> None:
    assert Matcher("label", operator, value).holds(text) is holds


def test_a_replacement_that_does_not_match_leaves_the_label() -> None:
    counter = Counter("m", (), ("a",), (Renaming("a", "${1}x", "a", "([0-9])"),), ("a", "b"))
    assert counter.read("m", {"a": "3"}) == ("3x", "")
    assert counter.read("m", {"a": "33"}) == ("33", "")
    assert counter.read("mm", {"a": "3"}) is None
