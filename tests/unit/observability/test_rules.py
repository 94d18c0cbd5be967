"""Recording rules against the real promtool: what each proxy counts becomes the same neutral series."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from components.apps.bookinfo import services
from components.meshes import TARGETS
from components.meshes.istio.metrics import ENVOY_METRICS, ISTIO_METRICS
from components.meshes.linkerd.metrics import LINKERD_METRICS
from components.observability.promql import RecordingRule
from components.observability.rules import backends, recording
from components.observability.source import MetricsSource
from components.traffic import Compilation, compile_routes, parse
from tests import promtool

NAMESPACE = "bookinfo"
SPLIT = {"reviews": {"namespace": NAMESPACE, "split": {"v1": 90, "v2": 10}}}
MINUTES = 6
"""How long the counters run before the rules are read."""


def compiled(raw: Mapping[str, Any], mesh: str, api: str) -> Compilation:
    """Compile routes to one API of a mesh."""
    routes, diagnostics = parse(
        {key: {**route, "api": api} for key, route in raw.items()}, "meshup:traffic", services()
    )
    found = compile_routes(routes, mesh, TARGETS)
    assert not diagnostics and found.planned
    return found


def istio_series(version: str, code: int, *, reporter: str = "source", service: str = "reviews") -> str:
    """Write a series as Istio's proxies do (istio.io, Istio Standard Metrics)."""
    return (
        f'istio_requests_total{{reporter="{reporter}", destination_service_namespace="{NAMESPACE}", '
        f'destination_service_name="{service}", destination_version="{version}", response_code="{code}", pod="c"}}'
    )


def envoy_series(subset: str, code: int, *, service: str = "reviews") -> tuple[str, str]:
    """Write the two series of a code as Envoy does under Istio's bootstrap (measured with Envoy 1.40)."""
    cluster = f"outbound|9080|{subset}|{service}.{NAMESPACE}.svc.cluster.local"
    name = f'envoy_cluster_upstream_rq{{cluster_name="{cluster}", '
    return f'{name}response_code="{code}"}}', f'{name}response_code_class="{code // 100}xx"}}'


def linkerd_series(backend: str, code: int | str) -> str:
    """Write a series as Linkerd's proxies do; a text is an error in place of a status (edge-26.8.3)."""
    status = f'http_status="{code}", error=""' if isinstance(code, int) else f'http_status="", error="{code}"'
    return (
        f'outbound_http_route_backend_response_statuses_total{{parent_kind="Service", parent_namespace="{NAMESPACE}", '
        f'parent_name="reviews", backend_name="{backend}", {status}}}'
    )


def growing(per_step: float) -> str:
    """Write a counter that grows by so much every 15 seconds."""
    return f"0+{per_step:g}x{MINUTES * 4}"


def expected(expression: str, samples: Mapping[str, float]) -> dict[str, Any]:
    """Write what an expression gives at the end, by the text of the labels."""
    return {
        "expr": expression,
        "eval_time": f"{MINUTES}m",
        "exp_samples": [{"labels": labels, "value": value} for labels, value in samples.items()],
    }


CASES: list[tuple[MetricsSource, str, str, dict[str, float]]] = [
    (
        ISTIO_METRICS,
        "istio",
        "istio",
        {
            istio_series("v1", 200): 255,
            istio_series("v1", 503): 15,
            istio_series("v2", 200): 30,
            # What a server counts is the same again.
            istio_series("v2", 200, reporter="destination"): 900,
        },
    ),
    (
        ISTIO_METRICS,
        "istio",
        "gateway-api",
        {
            istio_series("v1", 200, service="reviews-v1"): 255,
            istio_series("v1", 503, service="reviews-v1"): 15,
            istio_series("v2", 200, service="reviews-v2"): 30,
        },
    ),
    (
        ENVOY_METRICS,
        "istio",
        "istio",
        {
            **dict.fromkeys(envoy_series("v1", 200), 255),
            **dict.fromkeys(envoy_series("v1", 503), 15),
            **dict.fromkeys(envoy_series("v2", 200), 30),
        },
    ),
    (
        ENVOY_METRICS,
        "istio",
        "gateway-api",
        {
            **dict.fromkeys(envoy_series("", 200, service="reviews-v1"), 255),
            **dict.fromkeys(envoy_series("", 503, service="reviews-v1"), 15),
            **dict.fromkeys(envoy_series("", 200, service="reviews-v2"), 30),
        },
    ),
    (
        LINKERD_METRICS,
        "linkerd",
        "gateway-api",
        {
            linkerd_series("reviews-v1", 200): 255,
            # Without an answer there is no status.
            linkerd_series("reviews-v1", "CONNECT"): 15,
            linkerd_series("reviews-v2", 200): 30,
        },
    ),
]


@pytest.mark.parametrize(("source", "mesh", "api", "counted"), CASES, ids=[f"{c[0].name}-{c[2]}" for c in CASES])
def test_what_any_proxy_counts_gives_the_same_series(
    source: MetricsSource, mesh: str, api: str, counted: Mapping[str, float], tmp_path: Path
) -> None:
    groups, diagnostics = recording(compiled(SPLIT, mesh, api).planned, source, mesh)
    labels = f'mesh="{mesh}", namespace="{NAMESPACE}", service="reviews"'
    v1, v2 = (f'{labels}, version="{version}"' for version in ("v1", "v2"))
    series = [{"series": name, "values": growing(step)} for name, step in counted.items()]
    cases = [
        # 270 and 30 requests in 15 seconds.
        expected(
            "sum by (mesh, namespace, service, version) (meshup:requests:rate1m)",
            {f"{{{v1}}}": 18, f"{{{v2}}}": 2},
        ),
        expected("round(meshup:split:share, 0.0001)", {f'{{{v1}, rule="split"}}': 0.9, f'{{{v2}, rule="split"}}': 0.1}),
        expected(
            "meshup:split:declared_share",
            {
                f'meshup:split:declared_share{{{v1}, rule="split"}}': 0.9,
                f'meshup:split:declared_share{{{v2}, rule="split"}}': 0.1,
            },
        ),
        # 15 of 270 failed.
        expected("round(meshup:success:ratio5m, 0.0001)", {f"{{{v1}}}": 0.9444, f"{{{v2}}}": 1}),
    ]
    assert diagnostics == []
    promtool.check(
        tmp_path,
        [group.plain() for group in groups],
        [{"interval": "15s", "input_series": series, "promql_expr_test": cases}],
    )


@pytest.mark.parametrize("spelt", ["{}", "{}.0"], ids=["prometheus-2", "prometheus-3"])
@pytest.mark.parametrize("source", [ISTIO_METRICS, ENVOY_METRICS, LINKERD_METRICS], ids=lambda source: source.name)
def test_durations_have_the_common_bounds_however_the_bounds_are_spelt(
    source: MetricsSource, spelt: str, tmp_path: Path
) -> None:
    mesh = "linkerd" if source is LINKERD_METRICS else "istio"
    api = "gateway-api" if mesh == "linkerd" else "istio"
    groups, _ = recording(compiled(SPLIT, mesh, api).planned, source, mesh)
    names = {
        "istio": f'istio_request_duration_milliseconds_bucket{{reporter="source", destination_version="v1", '
        f'destination_service_namespace="{NAMESPACE}", destination_service_name="reviews", le="%s"}}',
        "envoy": f'envoy_cluster_upstream_rq_time_bucket{{cluster_name="outbound|9080|v1|reviews.{NAMESPACE}.svc.x", '
        'le="%s"}',
        "linkerd": "outbound_http_route_backend_response_duration_seconds_bucket"
        f'{{parent_kind="Service", parent_namespace="{NAMESPACE}", parent_name="reviews", backend_name="reviews-v1", '
        'le="%s"}',
    }
    bounds = {"0.025": 25, "0.5": 500, "1": 1000, "10": 10_000} if mesh == "linkerd" else {"25": 25, "500": 500}
    # A bound that not every mesh has, and the end.
    written = [*bounds, "2.5" if mesh == "linkerd" else "2500"]
    marks = [bound if "." in bound else spelt.format(bound) for bound in written] + ["+Inf"]
    series = [{"series": names[source.name] % mark, "values": growing(30)} for mark in marks]
    labels = f'mesh="{mesh}", namespace="{NAMESPACE}", service="reviews", version="v1"'
    samples = {f'{{{labels}, le="{bound}"}}': 2.0 for bound in (*bounds.values(), "+Inf")}
    case = expected("0 + meshup:request_duration_ms_bucket:rate5m", samples)
    promtool.check(
        tmp_path,
        [group.plain() for group in groups],
        [{"interval": "15s", "input_series": series, "promql_expr_test": [case]}],
    )


def test_without_requests_there_is_no_share_and_no_success() -> None:
    groups, _ = recording(compiled(SPLIT, "istio", "istio").planned, ISTIO_METRICS, "istio")
    rules = {rule.record: rule.expr for group in groups for rule in group.rules if isinstance(rule, RecordingRule)}
    assert "> 0)" in rules["meshup:split:share"]
    assert "> 0)" in rules["meshup:success:ratio5m"]


def test_a_backend_of_two_rules_is_not_measured_and_that_is_said() -> None:
    raw = {
        "reviews": {
            "namespace": NAMESPACE,
            "rules": [
                {"match": {"headers": {"x-group": "beta"}}, "backends": {"v2": 100}},
                {"backends": {"v1": 90, "v2": 10}},
            ],
        }
    }
    measured, diagnostics = backends(compiled(raw, "istio", "istio").planned, ISTIO_METRICS)
    assert [(fault.code, fault.severity) for fault in diagnostics] == [("MSH601", "info")]
    assert measured == []


def test_a_mirror_of_a_backend_makes_its_share_unmeasurable() -> None:
    raw = {
        "reviews": {
            "namespace": NAMESPACE,
            "rules": [{"backends": {"v1": 90, "v2": 10}, "mirror": {"version": "v2", "percent": 50}}],
        }
    }
    _, diagnostics = backends(compiled(raw, "istio", "istio").planned, ENVOY_METRICS)
    assert "v2" in diagnostics[0].message


def test_a_version_without_the_label_version_is_told_apart_by_envoy_alone() -> None:
    raw = {
        "cart": {
            "namespace": "shop",
            "ports": [{"number": 8080, "protocol": "http"}],
            "selector": {"app": "cart"},
            "versions": {"stable": {"track": "stable"}, "canary": {"track": "canary"}},
            "split": {"stable": 90, "canary": 10},
        }
    }
    planned = compiled(raw, "istio", "istio").planned
    assert [fault.code for fault in backends(planned, ISTIO_METRICS)[1]] == ["MSH601"]
    assert [one.version for one in backends(planned, ENVOY_METRICS)[0]] == ["stable", "canary"]
