"""What each target gets, beyond the matrix: names, places of policies, order, objects that several routes share."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.diagnostics import errors, render
from components.traffic import parse
from components.traffic.compile import Compilation
from components.traffic.evaluate import evaluate, request_from
from components.traffic.manifests import reference
from components.traffic.model import Mtls
from tests.unit.traffic.helpers import PATH, SERVICES, compile_routes, routes_of


def compiled(raw: object, mesh: str) -> Compilation:
    compilation = compile_routes(routes_of(raw), mesh, SERVICES)
    assert not errors(compilation.diagnostics), render(compilation.diagnostics)
    return compilation


def objects(raw: object, mesh: str) -> dict[str, Any]:
    return {reference(item): item for item in compiled(raw, mesh).manifests}


def codes(raw: object, mesh: str) -> set[str]:
    return {fault.code for fault in errors(compile_routes(routes_of(raw), mesh, SERVICES).diagnostics)}


SPLIT = {"reviews": {"split": {"v1": 90, "v2": 10}}}


def test_linkerd_gets_a_route_on_the_service_with_group_empty_and_a_service_for_each_version() -> None:
    made = objects(SPLIT, "linkerd")
    route = made["HTTPRoute/bookinfo/reviews"]["spec"]
    assert route["parentRefs"] == [{"group": "", "kind": "Service", "name": "reviews", "port": 9080}]
    assert [(ref["name"], ref["port"], ref["weight"]) for ref in route["rules"][0]["backendRefs"]] == [
        ("reviews-v1", 9080, 90),
        ("reviews-v2", 9080, 10),
    ]
    assert made["Service/bookinfo/reviews-v2"]["spec"]["selector"] == {"app": "reviews", "version": "v2"}
    assert list(made)[-1] == "HTTPRoute/bookinfo/reviews"


@pytest.mark.parametrize(("mesh", "route"), [("istio", "VirtualService"), ("linkerd", "HTTPRoute")])
def test_a_change_of_weights_changes_exactly_the_object_with_the_weights(mesh: str, route: str) -> None:
    before, after = objects(SPLIT, mesh), objects({"reviews": {"split": {"v2": 50, "v3": 50}}}, mesh)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == [f"{route}/bookinfo/reviews"]


def test_a_known_service_of_a_version_is_not_made_again() -> None:
    from tests.unit.traffic.helpers import REVIEWS, service  # noqa: PLC0415 -- only here

    existing = service("reviews-v1")
    existing = type(existing)("reviews-v1", "bookinfo", REVIEWS.ports, (), (("app", "reviews"), ("version", "v1")))
    made = compile_routes(routes_of(SPLIT), "linkerd", [*SERVICES, existing]).manifests
    assert "Service/bookinfo/reviews-v1" not in [reference(item) for item in made]


def test_a_known_service_of_a_version_must_have_the_ports() -> None:
    described = {"namespace": "bookinfo", "selector": {"app": "reviews", "version": "v1"}, "rules": [{"timeout": "2s"}]}
    assert codes({**SPLIT, "reviews-v1": {**described, "port": 9080}}, "linkerd") == set()
    assert codes({**SPLIT, "reviews-v1": {**described, "port": 80}}, "linkerd") == {"MSH126"}


def test_linkerd_keeps_rules_with_different_policies_in_separate_objects() -> None:
    made = objects(
        {
            "reviews": {
                "rules": [
                    {"name": "slow", "match": {"path": {"prefix": "/export"}}, "timeout": "60s"},
                    {"timeout": "2s"},
                ]
            }
        },
        "linkerd",
    )
    slow, rest = made["HTTPRoute/bookinfo/reviews-slow"], made["HTTPRoute/bookinfo/reviews"]
    assert slow["metadata"]["annotations"] == {"timeout.linkerd.io/request": "60s"}
    assert rest["metadata"]["annotations"] == {"timeout.linkerd.io/request": "2s"}
    assert "timeouts" not in slow["spec"]["rules"][0]


def test_linkerd_gets_retries_as_annotations_without_blanks() -> None:
    raw = {
        "reviews": {
            "rules": [{"retries": {"attempts": 2, "conditions": ["5xx", 429]}, "timeout": {"perTry": "1500ms"}}]
        }
    }
    assert objects(raw, "linkerd")["HTTPRoute/bookinfo/reviews"]["metadata"]["annotations"] == {
        "retry.linkerd.io/http": "5xx,429",
        "retry.linkerd.io/limit": "2",
        "retry.linkerd.io/timeout": "1500ms",
    }


def test_no_attempts_on_linkerd_are_no_annotations_because_a_limit_of_zero_means_its_default() -> None:
    route = objects({"reviews": {"rules": [{"retries": 0}]}}, "linkerd")["HTTPRoute/bookinfo/reviews"]
    assert "annotations" not in route["metadata"]


def test_linkerds_circuit_breaker_belongs_to_the_service_that_clients_call() -> None:
    raw = {"reviews": {"split": {"v1": 100}, "circuitBreaker": {"consecutiveErrors": 3, "ejection": "90s"}}}
    compilation = compiled(raw, "linkerd")
    (patch,) = compilation.patches
    prefix = "balancer.linkerd.io/failure-accrual"
    assert patch["metadata"] == {
        "name": "reviews",
        "namespace": "bookinfo",
        "annotations": {
            prefix: "consecutive",
            f"{prefix}-consecutive-max-failures": "3",
            f"{prefix}-consecutive-min-penalty": "90s",
            f"{prefix}-consecutive-max-penalty": "90s",
        },
    }
    assert "Service/bookinfo/reviews" in compilation.summaries["reviews"]["objects"]


BREAKER = {"circuitBreaker": {"consecutiveErrors": 3}}
OUTLIER = {"outlierDetection": {"consecutive5xxErrors": 3}}


def policies(raw: object) -> dict[str, Any]:
    """The traffic policies of the DestinationRules on Istio, by name."""
    rules = [item for item in compiled(raw, "istio").manifests if item["kind"] == "DestinationRule"]
    return {item["metadata"]["name"]: item["spec"].get("trafficPolicy") for item in rules}


def test_behind_an_istio_httproute_each_version_has_its_own_destination_rule() -> None:
    raw = {"reviews": {"api": "gateway-api", "split": {"v1": 50, "v2": 50}, **BREAKER}}
    assert policies(raw) == dict.fromkeys(("reviews", "reviews-v1", "reviews-v2", "reviews-v3"), OUTLIER)


def test_weights_move_between_versions_behind_an_istio_httproute_without_a_further_object() -> None:
    before, after = ({"api": "gateway-api", "split": split, **BREAKER} for split in ({"v1": 100}, {"v3": 100}))
    one, two = objects({"reviews": before}, "istio"), objects({"reviews": after}, "istio")
    assert [name for name in {**one, **two} if one.get(name) != two.get(name)] == ["HTTPRoute/bookinfo/reviews"]


def test_policies_declared_at_one_port_hold_for_the_others() -> None:
    ruled = {"service": "gateway", "port": 9000, "api": "gateway-api", "split": {"v1": 100}}
    raw: dict[str, Any] = {"web": {"service": "gateway", "port": 80, "api": "gateway-api", **BREAKER}, "grpc": ruled}
    assert policies(raw) == {"gateway": OUTLIER, "gateway-v1": OUTLIER}
    raw["web"]["rules"] = [{}]
    assert policies(raw) == {"gateway": OUTLIER, "gateway-v1": OUTLIER}


def test_policies_hold_for_versions_that_only_another_route_names() -> None:
    other = {"api": "gateway-api", "rules": [{"backends": [{"service": "reviews", "version": "v2"}]}]}
    raw: dict[str, Any] = {"reviews": {"api": "gateway-api", "rules": [{}], **BREAKER}, "ratings": other}
    assert policies(raw) == dict.fromkeys(("reviews", "reviews-v1", "reviews-v2", "reviews-v3"), OUTLIER)


@pytest.mark.parametrize("api", ["istio", "gateway-api"])
def test_policies_that_no_request_would_meet_on_istio_are_refused(api: str) -> None:
    raw = {"reviews": {"api": api, "rules": [{"backends": [{"service": "ratings"}]}], **BREAKER}}
    assert codes(raw, "istio") == {"MSH157"}
    assert codes(raw | {"reviews": {**raw["reviews"], "api": "auto"}}, "linkerd") == set()


def test_a_circuit_breaker_that_linkerd_does_not_look_at_is_reported() -> None:
    raw = {"reviews": {"rules": [{"backends": [{"service": "ratings"}]}]}, "ratings": {**BREAKER}}
    assert [d.code for d in compiled(raw, "linkerd").diagnostics] == ["MSH157"]
    assert [d.code for d in compiled(raw, "istio").diagnostics] == []


def test_a_service_of_unknown_pods_gets_no_services_for_its_versions() -> None:
    raw = {"shop": {"namespace": "shop", "port": 80, "versions": {"blue": {"color": "blue"}}, "split": {"blue": 100}}}
    assert codes(raw, "linkerd") == {"MSH138"}
    assert codes(raw, "istio") == set()


def test_linkerd_never_gets_a_shortest_penalty_above_the_longest() -> None:
    breaker = {"consecutiveErrors": 3, "maxEjection": "500ms"}
    (patch,) = compiled({"reviews": {"split": {"v1": 100}, "circuitBreaker": breaker}}, "linkerd").patches
    prefix = "balancer.linkerd.io/failure-accrual-consecutive"
    annotations = patch["metadata"]["annotations"]
    assert (annotations[f"{prefix}-min-penalty"], annotations[f"{prefix}-max-penalty"]) == ("500ms", "500ms")


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
@pytest.mark.parametrize("path", [{"regex": ".*"}, {"regex": "/.*"}, {"prefix": "/"}])
def test_a_rule_that_takes_every_path_needs_no_other_behind_it(mesh: str, path: dict[str, str]) -> None:
    compilation = compiled({"reviews": {"rules": [{"match": {"path": path}, "backends": {"v1": 100}}]}}, mesh)
    assert not compilation.diagnostics
    assert len(compilation.planned[0].route.rules) == 1


def test_a_wildcard_and_a_host_outside_the_mesh_have_different_names() -> None:
    hosts = [{"host": host, "port": 80, "protocol": "HTTP"} for host in ("*.example.com", "any.example.com")]
    counts: dict[str, int] = {"istio": 2, "linkerd": 3}
    for mesh, count in counts.items():
        assert len(compiled({"reviews": {"egress": hosts}}, mesh).manifests) == count


def test_a_tcp_host_needs_a_port_of_its_own_in_its_namespace() -> None:
    def tcp(host: str, port: int, protocol: str = "TCP") -> dict[str, Any]:
        return {"egress": [{"host": host, "port": port, "protocol": protocol}]}

    one = tcp("a.example.com", 443)
    for other in (tcp("b.example.com", 443), tcp("b.example.com", 443, "TLS")):
        assert codes({"reviews": one, "ratings": other}, "istio") == {"MSH159"}
        assert codes({"reviews": other, "ratings": one}, "istio") == {"MSH159"}
    apart = compiled({"reviews": one, "ratings": tcp("b.example.com", 444)}, "istio")
    assert [(d.code, d.severity) for d in apart.diagnostics] == [("MSH159", "warning")] * 2
    other_namespace = {"gateway": {"port": 80, **tcp("b.example.com", 443)}}
    assert codes({"reviews": one, **other_namespace}, "istio") == set()
    assert codes({"reviews": tcp("a.b", 443, "TLS"), "ratings": tcp("c.d", 443, "HTTPS")}, "istio") == set()


def test_a_service_behind_an_httproute_can_be_named_by_a_virtual_service_too() -> None:
    raw: dict[str, Any] = {
        "reviews": {"api": "gateway-api", "rules": [{}], "circuitBreaker": {"consecutiveErrors": 3}},
        "ratings": {"rules": [{"backends": [{"service": "reviews", "version": "v1"}]}]},
    }
    rule = objects(raw, "istio")["DestinationRule/bookinfo/reviews"]["spec"]
    assert rule["trafficPolicy"] == {"outlierDetection": {"consecutive5xxErrors": 3}}
    assert [subset["name"] for subset in rule["subsets"]] == ["v1", "v2", "v3"]


def test_other_ports_of_a_service_stay_reachable_beside_a_virtual_service() -> None:
    http = objects({"gateway": {"port": 80, "rules": [{"timeout": "2s"}]}}, "istio")["VirtualService/edge/gateway"][
        "spec"
    ]["http"]
    assert [route["match"] for route in http] == [[{"port": 80}], [{"port": 9000}]]
    assert http[1]["route"][0]["destination"] == {"host": "gateway.edge.svc.cluster.local", "port": {"number": 9000}}


def test_a_backend_in_another_namespace_gets_leave() -> None:
    raw = {"reviews": {"rules": [{"backends": [{"service": "gateway", "namespace": "edge", "port": 80}]}]}}
    made = objects(raw, "linkerd")
    assert made["ReferenceGrant/edge/bookinfo-reviews-to-gateway"]["spec"]["to"] == [
        {"group": "", "kind": "Service", "name": "gateway"}
    ]
    assert made["HTTPRoute/bookinfo/reviews"]["spec"]["rules"][0]["backendRefs"][0]["namespace"] == "edge"


CALL: dict[str, Any] = {"match": {"grpc": {"service": "shop.Cart", "method": "Add"}}, "backends": {"v1": 100}}
BY_HEADER: dict[str, Any] = {"match": {"headers": {"x": "1"}}, "backends": {"v1": 100}}


def of_port(number: int, rules: list[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    """Rules for a port of the gateway: 80 is declared to be HTTP, 9000 to be gRPC."""
    return {"gateway": {"port": number, "rules": rules, **keys}}


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
@pytest.mark.parametrize("port", [80, 9000])
@pytest.mark.parametrize("rest", [[], [{}], [BY_HEADER], [BY_HEADER, {}]])
def test_a_grpcroute_stands_only_where_it_shuts_out_no_caller(mesh: str, port: int, rest: list[dict[str, Any]]) -> None:
    """On Linkerd it makes a port HTTP/2 and POST only, so a port that has other callers gets an HTTPRoute."""
    compilation = compiled(of_port(port, [CALL, *rest], api="gateway-api"), mesh)
    grpc = mesh == "istio" or port == 9000
    kinds = {item["kind"] for item in compilation.manifests if item["kind"].endswith("Route")}
    assert kinds == {"GRPCRoute" if grpc else "HTTPRoute"}
    said = "MSH168" in {diagnostic.code for diagnostic in compilation.diagnostics}
    assert said == (mesh == "linkerd" and grpc)


def test_grpc_conditions_beside_ones_on_http_make_an_httproute() -> None:
    mixed = objects(of_port(9000, [CALL, {"match": {"path": "/health"}}, {}]), "linkerd")
    match = mixed["HTTPRoute/edge/gateway-9000"]["spec"]["rules"][0]["matches"][0]
    assert match == {"path": {"type": "Exact", "value": "/shop.Cart/Add"}, "method": "POST"}
    # Linkerd declines to change response headers in a GRPCRoute.
    changed = {**CALL, "headers": {"response": {"set": {"x": "1"}}}}
    assert "HTTPRoute/edge/gateway-9000" in objects(of_port(9000, [changed, {}]), "linkerd")
    assert "GRPCRoute/edge/gateway-9000" in objects(of_port(9000, [changed, {}], api="gateway-api"), "istio")


def test_linkerd_takes_timeouts_and_retries_on_a_grpc_status_from_a_grpcroute() -> None:
    rule = {"match": {"grpc": {"service": "a.B"}}, "retries": {"attempts": 1, "conditions": ["unavailable"]}}
    made = objects(of_port(9000, [{**rule, "timeout": "2s"}]), "linkerd")
    assert made["GRPCRoute/edge/gateway-9000-rule-0"]["metadata"]["annotations"] == {
        "retry.linkerd.io/grpc": "unavailable",
        "retry.linkerd.io/limit": "1",
        "timeout.linkerd.io/request": "2s",
    }
    timed = {"reviews": {"api": "gateway-api", "rules": [{"match": rule["match"], "timeout": "2s"}]}}
    assert "HTTPRoute/bookinfo/reviews" in objects(timed, "istio")
    (refused,) = errors(compile_routes(routes_of(of_port(80, [rule])), "linkerd", SERVICES).diagnostics)
    assert refused.code == "MSH137"
    assert "declare that port 80 serves gRPC only" in refused.remedy


def test_grpc_calls_are_tried_again_on_a_grpc_status_unless_it_is_said_otherwise() -> None:
    raw = of_port(9000, [{"match": {"grpc": {"service": "a.B"}}, "retries": 2}])
    http = objects(raw, "istio")["VirtualService/edge/gateway"]["spec"]["http"]
    assert http[0]["retries"] == {"attempts": 2, "retryOn": "unavailable"}
    annotations = objects(raw, "linkerd")["GRPCRoute/edge/gateway-9000-rule-0"]["metadata"]["annotations"]
    assert annotations == {"retry.linkerd.io/grpc": "unavailable", "retry.linkerd.io/limit": "2"}


@pytest.mark.parametrize(("protocol", "known"), [("http", True), ("grpc", False), ("http2", False)])
def test_an_app_protocol_that_linkerd_does_not_know_is_reported(protocol: str, known: bool) -> None:
    ports = [{"number": 80, "protocol": protocol}]
    raw = {"shop": {"namespace": "shop", "ports": ports, "selector": {"app": "shop"}, "rules": [{"timeout": "2s"}]}}
    expected: dict[str, bool] = {"istio": False, "linkerd": not known}
    for mesh, said in expected.items():
        found = {diagnostic.code for diagnostic in compiled(raw, mesh).diagnostics}
        assert ("MSH169" in found) == said


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_two_rate_limits_for_the_same_pods_are_refused(mesh: str) -> None:
    def limited(port: int, target: int, app: str, namespace: str = "shop") -> dict[str, Any]:
        ports = [{"number": port, "targetPort": target}]
        described = {"namespace": namespace, "ports": ports, "selector": {"app": app}}
        return {**described, "rateLimit": {"requests": 10}}

    one = {"one": limited(80, 8080, "a")}
    assert codes(one | {"two": limited(90, 8080, "a")}, mesh) == {"MSH160"}
    for other in (limited(80, 8081, "a"), limited(80, 8080, "b"), limited(80, 8080, "a", "other")):
        assert codes(one | {"two": other}, mesh) == set()


def test_a_service_profile_for_one_of_several_ports_is_reported_and_a_second_refused() -> None:
    profile = {"rules": [{"retries": {"conditions": ["5xx"]}}], "api": "service-profile"}
    one = {"web": {"service": "gateway", "port": 80, **profile, "retryBudget": {"percent": 20}}}
    assert [(d.code, d.severity) for d in compiled(one, "linkerd").diagnostics] == [("MSH161", "warning")]
    two = {"grpc": {"service": "gateway", "port": 9000, "rules": [{"timeout": "2s"}], "api": "service-profile"}}
    assert codes(one | two, "linkerd") == {"MSH161"}


def test_a_circuit_breaker_beside_a_service_profile_is_refused_whatever_port_declares_it() -> None:
    profile = {"service": "gateway", "port": 80, "api": "service-profile", "rules": [{"timeout": "2s"}]}
    raw = {"web": profile, "grpc": {"service": "gateway", "port": 9000, **BREAKER}}
    assert codes(raw, "linkerd") == {"MSH128"}


def test_a_prefix_of_a_virtual_service_counts_whole_segments() -> None:
    http = objects({"reviews": {"rules": [{"match": {"path": {"prefix": "/a"}}}]}}, "istio")[
        "VirtualService/bookinfo/reviews"
    ]
    assert http["spec"]["http"][0]["match"] == [{"uri": {"exact": "/a"}}, {"uri": {"prefix": "/a/"}}]


@pytest.mark.parametrize(
    ("prefix", "replacement", "path", "rewritten"),
    [
        ("/a", "/x", "/a", "/x"),
        ("/a", "/x", "/a/b", "/x/b"),
        ("/a", "/", "/a", "/"),
        ("/a", "/", "/a/b", "/b"),
        ("/", "/x", "/", "/x/"),
        ("/", "/x", "/b", "/x/b"),
    ],
)
def test_a_prefix_rewrite_neither_doubles_nor_loses_a_slash(
    prefix: str, replacement: str, path: str, rewritten: str
) -> None:
    rule = {"match": {"path": {"prefix": prefix}}, "rewrite": {"prefix": replacement}}
    http = objects({"reviews": {"rules": [rule]}}, "istio")["VirtualService/bookinfo/reviews"]["spec"]["http"]
    regex = http[0]["rewrite"]["uriRegexRewrite"]
    assert re.sub(regex["match"], regex["rewrite"], path) == rewritten


def test_envoys_rate_limit_stands_at_the_pods_port_and_has_a_priority() -> None:
    spec = objects({"reviews": {"rateLimit": {"requests": 10, "per": "1500ms"}}}, "istio")[
        "EnvoyFilter/bookinfo/reviews-9080-rate-limit"
    ]["spec"]
    assert spec["priority"] == 10
    assert spec["workloadSelector"] == {"labels": {"app": "reviews"}}
    (patch,) = spec["configPatches"]
    assert patch["match"]["listener"]["filterChain"]["destinationPort"] == 9080
    bucket = patch["patch"]["value"]["typed_config"]["token_bucket"]
    assert bucket == {"max_tokens": 10, "tokens_per_fill": 10, "fill_interval": "1.500s"}


@pytest.mark.parametrize(("mtls", "admitted"), [("strict", "all-authenticated"), ("permissive", "all-unauthenticated")])
def test_linkerds_server_for_a_rate_limit_admits_whom_the_mesh_admits(mtls: Mtls, admitted: str) -> None:
    routes = routes_of({"reviews": {"rateLimit": {"requests": 60, "per": "2s"}}})
    made = {reference(item): item for item in compile_routes(routes, "linkerd", SERVICES, mtls).manifests}
    assert made["Server/bookinfo/reviews-9080"]["spec"]["accessPolicy"] == admitted


def test_a_rate_limit_of_linkerd_is_for_a_second() -> None:
    made = objects({"reviews": {"rateLimit": {"requests": 60, "per": "2s"}}}, "linkerd")
    assert made["HTTPLocalRateLimitPolicy/bookinfo/reviews-9080"]["spec"]["total"] == {"requestsPerSecond": 30}


def test_egress_of_several_routes_of_a_namespace_is_declared_once() -> None:
    host = {"host": "example.com", "port": 80, "protocol": "HTTP"}
    raw = {"reviews": {"egress": [host]}, "ratings": {"egress": [host, {**host, "port": 8080}]}}
    istio = compiled(raw, "istio")
    assert [reference(item) for item in istio.manifests] == ["ServiceEntry/bookinfo/egress-example.com"]
    assert [port["number"] for port in istio.manifests[0]["spec"]["ports"]] == [80, 8080]
    assert istio.summaries["reviews"]["objects"] == istio.summaries["ratings"]["objects"]
    linkerd = [reference(item) for item in compiled(raw, "linkerd").manifests]
    assert linkerd[0] == "EgressNetwork/bookinfo/meshup-egress"
    assert len(linkerd) == 3


def test_a_retry_budget_on_linkerd_makes_a_service_profile_named_by_the_host() -> None:
    raw = {
        "reviews": {
            "rules": [{"match": {"method": "GET"}, "retries": {"conditions": ["5xx"]}}],
            "retryBudget": {"percent": 20},
        }
    }
    compilation = compiled(raw, "linkerd")
    (profile,) = compilation.manifests
    assert profile["metadata"]["name"] == "reviews.bookinfo.svc.cluster.local"
    assert profile["spec"]["routes"][0] == {
        "name": "rule-0",
        "condition": {"pathRegex": ".*", "method": "GET"},
        "isRetryable": True,
    }
    assert profile["spec"]["retryBudget"] == {"retryRatio": 0.2, "minRetriesPerSecond": 10, "ttl": "10s"}
    assert "Linkerd HTTPRoute can't" in compilation.summaries["reviews"]["apiReason"]


def test_hosts_have_the_domain_of_the_cluster() -> None:
    rules = {"rules": [{"retries": {"conditions": ["5xx"]}}], "retryBudget": {"percent": 20}}
    shop = {"namespace": "shop", "port": 80, "selector": {"app": "shop"}, "rules": [{"timeout": "2s"}]}
    routes, _ = parse({"reviews": rules, "shop": shop}, PATH, SERVICES, "corp.example")
    compilation = compile_routes(routes, "linkerd", SERVICES)
    assert "ServiceProfile/bookinfo/reviews.bookinfo.svc.corp.example" in compilation.summaries["reviews"]["objects"]
    assert compilation.summaries["shop"]["host"] == "shop.shop.svc.corp.example"


def test_a_retry_budget_leaves_its_minimum_to_istio_unless_it_is_set() -> None:
    for minimum in ({}, {"minRetries": 5}):
        rule = objects({"reviews": {"retryBudget": {"percent": 20, **minimum}}}, "istio")
        written = rule["DestinationRule/bookinfo/reviews"]["spec"]["trafficPolicy"]["retryBudget"]
        assert written == {"percent": 20, **({"minRetryConcurrency": 5} if minimum else {})}


def test_a_retry_budget_that_limits_nothing_on_linkerd_is_reported() -> None:
    budget = {"retryBudget": {"percent": 20}}
    assert codes({"reviews": budget}, "linkerd") == {"MSH158"}
    timed = compiled({"reviews": {"rules": [{"timeout": "2s"}], **budget}}, "linkerd")
    assert [(d.code, d.severity) for d in timed.diagnostics] == [("MSH158", "warning")]


def test_backends_of_other_services_are_told_apart_in_the_summary() -> None:
    backends = [
        {"version": "v1", "weight": 40},
        {"service": "ratings", "version": "v1", "weight": 30},
        {"service": "ratings", "weight": 10},
        {"service": "gateway", "namespace": "edge", "port": 80, "version": "v1", "weight": 15},
        {"service": "gateway", "namespace": "edge", "port": 80, "weight": 5},
    ]
    compilation = compiled({"reviews": {"rules": [{"backends": backends}]}}, "istio")
    names = ["v1", "ratings/v1", "ratings", "gateway.edge/v1", "gateway.edge"]
    assert [backend["name"] for backend in compilation.summaries["reviews"]["rules"][0]["backends"]] == names
    assert [name for name, _ in evaluate(compilation.planned[0], request_from("/")).shares] == names


def test_the_choice_of_the_api_and_its_reason_are_in_the_summary() -> None:
    assert compiled(SPLIT, "istio").summaries["reviews"]["api"] == "networking.istio.io/v1"
    asked = compiled({"reviews": {**SPLIT["reviews"], "api": "gateway-api"}}, "istio").summaries["reviews"]
    assert asked["api"] == "gateway.networking.k8s.io/v1"
    assert asked["apiReason"] == "api: gateway-api asks for it."


def test_a_redirect_has_no_request_to_change() -> None:
    headers = {"request": {"set": {"x-a": "1"}}}
    rule = {"match": {"path": "/a"}, "redirect": {"path": "/b"}}
    assert codes({"reviews": {"rules": [{**rule, "headers": headers}]}}, "istio") == {"MSH148"}
    assert codes({"reviews": {"rules": [{**rule, "headers": {"response": headers["request"]}}]}}, "istio") == set()


@pytest.mark.parametrize(
    ("per_try", "attempts", "remedy"), [("99999ms", 10, "1100s"), ("2s", 2, "6s"), ("12h", 9, "fewer")]
)
def test_the_remedy_for_retries_that_do_not_fit_is_one_that_is_accepted(
    per_try: str, attempts: int, remedy: str
) -> None:
    def warned(request: str) -> list[str]:
        timeout = {"request": request, "perTry": per_try}
        compilation = compiled({"reviews": {"rules": [{"timeout": timeout, "retries": attempts}]}}, "istio")
        return [d.remedy for d in compilation.diagnostics if d.code == "MSH146"]

    (advice,) = warned(per_try)
    assert remedy in advice
    if remedy != "fewer":
        assert not warned(remedy)


# Precedence, as observed on Linkerd edge-26.8.3 and read in Istio's pilot.


def order(first: dict[str, Any], second: dict[str, Any], api: str = "auto") -> dict[str, Any]:
    rules = [
        {"name": "one", "match": first, "backends": {"v1": 100}},
        {"name": "two", "match": second, "backends": {"v2": 100}},
    ]
    return {"reviews": {"api": api, "rules": rules}}


METHOD, HEADER = {"method": "GET"}, {"headers": {"x": "1"}}
PREFIX, REGEX = {"path": {"prefix": "/aaa"}}, {"path": {"regex": "/a.*"}}


def test_on_linkerd_the_header_wins_over_the_method() -> None:
    assert codes(order(METHOD, HEADER), "linkerd") == {"MSH134"}
    (plan,) = compiled(order(HEADER, METHOD), "linkerd").planned
    decision = evaluate(plan, request_from("/", headers=[("x", "1")]))
    assert decision.shares == (("v2", 0), ("v1", 100))[1:]


def test_on_an_istio_httproute_the_method_wins_over_the_header() -> None:
    assert codes(order(HEADER, METHOD, "gateway-api"), "istio") == {"MSH134"}
    assert codes(order(METHOD, HEADER, "gateway-api"), "istio") == set()


def test_on_linkerd_the_regex_wins_over_the_longer_prefix() -> None:
    assert codes(order(PREFIX, REGEX), "linkerd") == {"MSH134"}
    assert codes(order(REGEX, {"path": {"prefix": "/ab"}}), "linkerd") == {"MSH142"}


def test_on_an_istio_httproute_the_prefix_wins_over_the_regex() -> None:
    assert codes(order({"path": {"regex": "/a[0-9]"}}, {"path": {"prefix": "/a1"}}, "gateway-api"), "istio") == {
        "MSH134"
    }
    assert codes(order(PREFIX, REGEX, "gateway-api"), "istio") == set()


def test_a_regex_is_not_lost_behind_the_catch_all_of_an_istio_httproute() -> None:
    route = objects({"reviews": {"api": "gateway-api", "rules": [{"match": REGEX}, {}]}}, "istio")
    rules = route["HTTPRoute/bookinfo/reviews"]["spec"]["rules"]
    assert rules[1]["matches"] == [{"path": {"type": "RegularExpression", "value": ".*"}}]


def test_the_catch_all_of_an_istio_httproute_is_not_preferred_to_a_short_pattern() -> None:
    rules = [{"match": {"path": {"regex": "/a"}}}, {}]
    assert codes({"reviews": {"api": "gateway-api", "rules": rules}}, "istio") == set()


def test_a_prefix_rewrite_of_every_path_is_refused_where_every_path_must_be_a_pattern() -> None:
    rules = [{"match": REGEX}, {"rewrite": {"prefix": "/"}}]
    assert codes({"reviews": {"api": "gateway-api", "rules": rules}}, "istio") == {"MSH149"}
    assert codes({"reviews": {"rules": rules}}, "istio") == set()


def test_a_virtual_service_keeps_the_order_so_auto_takes_it() -> None:
    for first, second in ((METHOD, HEADER), (HEADER, METHOD), (PREFIX, REGEX)):
        (plan,) = compiled(order(first, second), "istio").planned
        assert plan.target.name == "virtual-service"


def test_a_refusal_is_about_the_target_that_lacks_least_however_many_rules_are_out_of_order() -> None:
    headers = ({"match": {"headers": {f"x{n}": "1"}}} for n in range(9))
    rules = [{"match": {"method": "GET"}, "backends": {"v1": 100}}, *headers]
    assert codes({"reviews": {"rules": rules}}, "linkerd") == {"MSH134"}


def test_rules_that_exclude_each_other_may_stand_in_any_order() -> None:
    one, two = {"method": "GET", "headers": {"x": "1"}}, {"method": "POST", "headers": {"x": "1", "y": "2"}}
    assert codes(order(one, two), "linkerd") == codes(order(two, one), "linkerd") == set()


def test_different_values_of_a_query_parameter_exclude_each_other() -> None:
    one, two = {"query": {"q": "1"}}, {"query": {"q": "2"}, "headers": {"x": "1"}}
    assert codes(order(one, two), "linkerd") == set()
    assert "MSH142" in codes(order(one, {**two, "query": {"q": "1"}}), "linkerd")
    assert codes(order(one, {"headers": {"x": "1"}}), "linkerd") == {"MSH134"}


def test_texts_become_patterns_in_which_they_stand_for_themselves() -> None:
    match = {"headers": {"x": {"prefix": "a.b"}}, "cookies": {"c": "1.5"}}
    made = objects({"reviews": {"rules": [{"match": match}]}}, "linkerd")["HTTPRoute/bookinfo/reviews"]
    headers = {header["name"]: header["value"] for header in made["spec"]["rules"][0]["matches"][0]["headers"]}
    assert re.search(headers["x"], "a.bc")
    assert not re.search(headers["x"], "axbc")
    assert all(
        re.search(headers["cookie"], cookie) for cookie in ("c=1.5", "a=b; c=1.5", "c=1.5; a=b", "a=b;c=1.5;d=e")
    )
    assert not any(re.search(headers["cookie"], cookie) for cookie in ("c=1x5", "cc=1.5", "c=1.55", "d=c=1.5"))


def test_two_cookies_are_found_in_any_order() -> None:
    rule = {"match": {"cookies": {"a": "1", "b": {"prefix": "2"}}}}
    made = objects({"reviews": {"rules": [rule]}}, "istio")["VirtualService/bookinfo/reviews"]
    pattern = made["spec"]["http"][0]["match"][0]["headers"]["cookie"]["regex"]
    assert all(re.fullmatch(pattern, cookie) for cookie in ("a=1; b=2x", "b=2; a=1", "b=2; c=3; a=1; d=4"))
    assert not any(re.fullmatch(pattern, cookie) for cookie in ("a=1", "b=2", "a=1; b=3", "aa=1; b=2"))


@pytest.mark.parametrize(
    ("asked", "on_istio", "on_linkerd"),
    [("/?q=1", "v1", "v1"), ("/?q=2", "v2", "v2"), ("/?q=2&q=1", "v2", "v1"), ("/?p=1", "v2", "v2")],
)
def test_of_a_repeated_parameter_envoy_takes_the_first_value_and_linkerd_any(
    asked: str, on_istio: str, on_linkerd: str
) -> None:
    rules = [{"match": {"query": {"q": "1"}}, "backends": {"v1": 100}}, {"backends": {"v2": 100}}]
    expected: list[tuple[str, str]] = [("istio", on_istio), ("linkerd", on_linkerd)]
    for mesh, version in expected:
        (plan,) = compiled({"reviews": {"rules": rules}}, mesh).planned
        assert evaluate(plan, request_from(asked)).shares == ((version, 100),)


def test_an_unknown_service_in_one_route_does_not_hide_the_faults_of_another() -> None:
    _, faults = parse({"nobody": {"split": {"v1": 100}}, "reviews": {"split": {"v9": 100}}}, PATH, SERVICES)
    assert {fault.code for fault in faults} == {"MSH106", "MSH107"}


@pytest.mark.parametrize("match", [{}, {"match": {"path": {"prefix": "/"}}}])
def test_a_prefix_before_every_path_goes_to_a_virtual_service(match: dict[str, object]) -> None:
    """HTTPRoute of Istio makes /v2items of /items (istio/istio#54920, #60182)."""
    rules = [{**match, "rewrite": {"prefix": "/v2"}}]
    (plan,) = compiled({"reviews": {"rules": rules}}, "istio").planned
    assert plan.target.name == "virtual-service"
    assert codes({"reviews": {"api": "gateway-api", "rules": rules}}, "istio") == {"MSH131"}
    assert evaluate(plan, request_from("/items")).policies == ("prefix / rewritten to /v2",)
    for right in ({**match, "rewrite": {"prefix": "/"}}, {"match": PREFIX, "rewrite": {"prefix": "/v2"}}):
        assert codes({"reviews": {"api": "gateway-api", "rules": [right]}}, "istio") == set()


ADDRESSES: list[tuple[dict[str, object], int, str]] = [
    ({"host": "example.org"}, 9080, "example.org:9080"),
    ({"host": "example.org", "scheme": "https"}, 443, "https://example.org"),
    ({"host": "example.org", "scheme": "http"}, 80, "http://example.org"),
    ({"host": "example.org", "port": 80}, 80, "example.org"),
    ({"host": "example.org", "port": 8443, "scheme": "https"}, 8443, "https://example.org:8443"),
    ({"host": "example.org", "path": "/b"}, 9080, "example.org:9080/b"),
    ({"path": "/b"}, 9080, "/b"),
    ({"port": 8443}, 8443, ":8443"),
    ({"port": 8443, "path": "/b"}, 8443, ":8443/b"),
    ({"scheme": "https", "port": 9080}, 9080, "https://HOST:9080"),
]


@pytest.mark.parametrize(("redirect", "port", "said"), ADDRESSES)
def test_every_target_writes_the_port_of_a_redirect_and_explain_says_it(
    redirect: dict[str, object], port: int, said: str
) -> None:
    rules = [{"match": {"path": "/a"}, "redirect": redirect}, {"match": {"path": "/b"}}]
    targets: list[tuple[str, str]] = [("istio", "istio"), ("istio", "gateway-api"), ("linkerd", "gateway-api")]
    for mesh, api in targets:
        compilation = compiled({"reviews": {"rules": rules, "api": api}}, mesh)
        (route,) = (item for item in compilation.manifests if item["kind"] in ("VirtualService", "HTTPRoute"))
        if route["kind"] == "VirtualService":
            assert route["spec"]["http"][0]["redirect"]["port"] == port
        else:
            assert route["spec"]["rules"][0]["filters"][0]["requestRedirect"]["port"] == port
        decision = evaluate(compilation.planned[0], request_from("/a"))
        assert decision.policies == (f"redirect 302 to {said}",)


@pytest.mark.parametrize(
    ("redirect", "refused"),
    [({"scheme": "https"}, True), ({"port": 80}, True), ({"scheme": "https", "host": "a.b"}, False)],
)
def test_istio_cannot_lead_to_the_port_of_a_scheme_at_the_same_host(redirect: dict[str, object], refused: bool) -> None:
    for api in ("istio", "gateway-api"):
        raw = {"reviews": {"api": api, "rules": [{"match": {"path": "/a"}, "redirect": redirect}]}}
        assert codes(raw, "istio") == ({"MSH131"} if refused else set())
        # From port 80, Envoy takes the port away.
        web = {"service": "gateway", "port": 80, "api": api, "rules": [{"redirect": {"scheme": "https"}}]}
        assert codes({"web": web}, "istio") == set()
    assert codes({"reviews": {"rules": [{"match": {"path": "/a"}, "redirect": redirect}]}}, "linkerd") == set()


@pytest.mark.parametrize("redirect", [{"status": 302}, {"port": 9080}])
def test_a_redirect_to_the_same_address_is_left_to_the_httproute_of_istio(redirect: dict[str, object]) -> None:
    def raw(api: str) -> dict[str, object]:
        return {"reviews": {"api": api, "rules": [{"match": {"path": "/a"}, "redirect": redirect}]}}

    assert codes(raw("istio"), "istio") == codes(raw("gateway-api"), "linkerd") == {"MSH131"}
    for api in ("auto", "gateway-api"):
        compilation = compiled(raw(api), "istio")
        (plan,) = compilation.planned
        assert plan.target.name == "istio-route"
        assert "MSH164" in {diagnostic.code for diagnostic in compilation.diagnostics}
        assert evaluate(plan, request_from("/a")).policies == ("redirect 302 to the same address",)


@pytest.mark.parametrize(
    ("rules", "again"),
    [
        ([{"redirect": {"path": "/b"}}], True),
        ([{"match": {"path": {"prefix": "/b"}}, "redirect": {"path": "/b/c"}}], True),
        ([{"match": {"path": "/a"}, "redirect": {"path": "/b"}}], False),
        ([{"redirect": {"path": "/b", "host": "example.org"}}], False),
        ([{"redirect": {"path": "/b", "port": 8443}}], False),
        ([{"redirect": {"host": "reviews.bookinfo"}}], True),
        ([{"match": {"method": "POST"}, "redirect": {"path": "/b", "status": 303}}], False),
        ([{"match": {"method": "POST"}, "redirect": {"path": "/b", "status": 307}}], True),
        ([{"redirect": {"host": "reviews.other"}}], False),
        ([{"match": {"path": "/b"}}, {"redirect": {"path": "/b"}}], False),
        ([{"match": {"path": "/b", "method": "GET"}}, {"redirect": {"path": "/b"}}], True),
        ([{"match": {"path": "/b"}}, {"match": {"method": "GET"}, "redirect": {"path": "/b"}}], False),
    ],
)
def test_a_redirect_that_leads_back_to_its_own_rule_is_warned_of(rules: list[dict[str, object]], again: bool) -> None:
    found = compiled({"reviews": {"rules": rules}}, "istio").diagnostics
    assert ("MSH164" in {diagnostic.code for diagnostic in found}) == again


def test_that_linkerd_drops_the_query_of_a_redirect_to_a_path_is_said() -> None:
    def warned(redirect: dict[str, object], mesh: str) -> set[str]:
        rules = [{"match": {"path": "/a"}, "redirect": redirect}, {}]
        return {d.code for d in compiled({"reviews": {"rules": rules}}, mesh).diagnostics}

    assert warned({"path": "/b"}, "linkerd") == {"MSH165"}
    assert warned({"host": "a.b"}, "linkerd") == warned({"path": "/b"}, "istio") == set()
