"""Reading `meshup:traffic`: every fault at once, each at its field."""

from __future__ import annotations

from typing import Any

import pytest

from components.diagnostics import errors
from components.traffic.evaluate import policies
from components.traffic.model import Objective
from tests.unit.traffic.helpers import compile_routes, faults_of, found, routes_of


def test_a_header_that_yaml_reads_as_another_type_is_to_be_put_in_quotes() -> None:
    (fault,) = faults_of(rule(match={"headers": {"x-beta": True}}))
    assert fault.remedy == "Put the value in quotes."


@pytest.mark.parametrize("word", ["tcp", "TCP", "Tcp"])
def test_a_protocol_is_read_alike_in_any_case(word: str) -> None:
    egress = [{"host": "db.example.org", "port": 5432, "protocol": word}]
    (route,) = routes_of({"reviews": {"egress": egress}})
    assert route.egress[0].protocol == "TCP"
    ports = [{"number": 5432, "protocol": word}]
    (route,) = routes_of({"db": {"namespace": "db", "ports": ports, "loadBalancing": "random"}})
    assert route.port.app_protocol == "tcp"


def test_a_redirect_reads_its_scheme_in_any_case() -> None:
    (route,) = routes_of(rule(redirect={"scheme": "HTTPS"}))
    assert route.rules[0].redirect is not None and route.rules[0].redirect.scheme == "https"


def test_a_list_that_is_too_long_is_one_fault_and_not_read_to_its_end() -> None:
    host = {"host": "Not a host", "port": 0, "protocol": "x"}
    assert len(faults_of({"reviews": {"egress": [host] * 100_000}})) < 300


def rule(**keys: Any) -> dict[str, Any]:
    return {"reviews": {"rules": [keys]}}


FAULTY: list[tuple[object, set[tuple[str, str]]]] = [
    ([], {("MSH001", "")}),
    ({"reviews": None}, {("MSH001", "reviews")}),
    ({"reviews": {}}, {("MSH003", "reviews")}),
    (rule(match={"headers": None}), {("MSH001", "reviews.rules[0].match.headers")}),
    (rule(retries={"conditions": None}), {("MSH001", "reviews.rules[0].retries.conditions")}),
    ({"reviews": {"split": {}}}, {("MSH112", "reviews.split")}),
    ({"reviews": {"split": {"v1": 90, "v2": 9}}}, {("MSH110", "reviews.split")}),
    ({"reviews": {"split": {"v1": 101, "v2": -1}}}, {("MSH111", "reviews.split.v1"), ("MSH111", "reviews.split.v2")}),
    ({"reviews": {"split": {"v1": 90.5, "v2": 9.5}}}, {("MSH111", "reviews.split.v1"), ("MSH111", "reviews.split.v2")}),
    ({"reviews": {"split": {"v1": "100"}}}, {("MSH111", "reviews.split.v1")}),
    ({"reviews": {"split": {"v1": True}}}, {("MSH111", "reviews.split.v1")}),
    ({"reviews": {"split": {"v9": 100}}}, {("MSH107", "reviews.split.v9")}),
    ({"review": {"split": {"v1": 100}}}, {("MSH106", "review")}),
    ({"reviews": {"namespace": "other", "split": {"v1": 100}}}, {("MSH106", "reviews")}),
    ({"reviews": {"namespace": "Bad_", "split": {"v1": 100}}}, {("MSH006", "reviews.namespace")}),
    ({"reviews": {"port": 80, "split": {"v1": 100}}}, {("MSH109", "reviews.port")}),
    ({"gateway": {"split": {"v1": 100}}}, {("MSH109", "gateway.port")}),
    ({"reviews": {"api": "smi", "split": {"v1": 100}}}, {("MSH004", "reviews.api")}),
    ({"reviews": {"splits": {"v1": 100}}}, {("MSH002", "reviews.splits"), ("MSH003", "reviews")}),
    ({"reviews": {"split": {"v1": 100}, "rules": [{}]}}, {("MSH007", "reviews")}),
    (
        {"reviews": {"split": {"v1": 100}}, "again": {"service": "reviews", "split": {"v1": 100}}},
        {("MSH116", "again")},
    ),
    ({"reviews": {"rules": []}}, {("MSH003", "reviews.rules")}),
    ({"reviews": {"rules": [{"name": "a"}, {"name": "a"}]}}, {("MSH117", "reviews.rules[1].name")}),
    (rule(match=[]), {("MSH003", "reviews.rules[0].match")}),
    (rule(match={}), {("MSH003", "reviews.rules[0].match")}),
    (rule(match=[{"method": "GET"}, {}]), {("MSH003", "reviews.rules[0].match[1]")}),
    (rule(match={"headers": {}}), {("MSH003", "reviews.rules[0].match.headers")}),
    (rule(match={"method": "GET", "cookies": {}}), {("MSH003", "reviews.rules[0].match.cookies")}),
    (rule(match={"headers": {"Host": "a"}}), {("MSH119", "reviews.rules[0].match.headers.Host")}),
    (rule(match={"path": "reviews"}), {("MSH118", "reviews.rules[0].match.path")}),
    (rule(match={"path": {"prefix": "/a//b"}}), {("MSH118", "reviews.rules[0].match.path.prefix")}),
    (rule(match={"path": "/a%2Db"}), {("MSH118", "reviews.rules[0].match.path")}),
    (rule(match={"path": "/a/%2e%2e"}), {("MSH118", "reviews.rules[0].match.path")}),
    (rule(match={"path": {"prefix": "/a", "exact": "/b"}}), {("MSH007", "reviews.rules[0].match.path")}),
    (rule(match={"path": {"regex": "(?=a)"}}), {("MSH120", "reviews.rules[0].match.path.regex")}),
    (rule(match={"path": {"regex": "["}}), {("MSH120", "reviews.rules[0].match.path.regex")}),
    (rule(match={"headers": {"a b": "1"}}), {("MSH119", 'reviews.rules[0].match.headers["a b"]')}),
    (rule(match={"headers": {"A": "1", "a": "2"}}), {("MSH012", "reviews.rules[0].match.headers.a")}),
    (rule(match={"headers": {"x-beta": True}}), {("MSH001", "reviews.rules[0].match.headers.x-beta")}),
    (rule(match={"query": {"page": 2}}), {("MSH001", "reviews.rules[0].match.query.page")}),
    (rule(match={"method": "get"}), {("MSH004", "reviews.rules[0].match.method")}),
    (rule(match={"grpc": {"service": "a.B"}, "path": "/x"}), {("MSH007", "reviews.rules[0].match")}),
    (
        rule(backends=[{"version": "v1", "weight": 50}, {"version": "v1", "weight": 50}]),
        {("MSH114", "reviews.rules[0].backends[1]")},
    ),
    (
        rule(backends=[{"version": "v1"}, {"version": "v2", "weight": 50}]),
        {("MSH003", "reviews.rules[0].backends[0].weight")},
    ),
    (rule(backends={"v1": 100}, redirect={"path": "/x"}), {("MSH007", "reviews.rules[0]")}),
    (rule(timeout="1m30s"), {("MSH115", "reviews.rules[0].timeout")}),
    (rule(timeout=3), {("MSH001", "reviews.rules[0].timeout")}),
    (rule(retries={"attempts": 0, "conditions": ["5xx"]}), {("MSH121", "reviews.rules[0].retries")}),
    (rule(retries={"attempts": 1, "conditions": ["4xx"]}), {("MSH004", "reviews.rules[0].retries.conditions[0]")}),
    (rule(retries=11), {("MSH005", "reviews.rules[0].retries")}),
    (rule(fault={"abort": {"status": 503}}), {("MSH003", "reviews.rules[0].fault.abort.percent")}),
    (rule(fault={"delay": {"duration": "2s", "percent": 0}}), {("MSH005", "reviews.rules[0].fault.delay.percent")}),
    ({"reviews": {"circuitBreaker": {"interval": "5s"}}}, {("MSH122", "reviews.circuitBreaker.interval")}),
    *(
        ({"reviews": {"egress": [{"host": host, "port": 80, "protocol": "HTTP"}]}}, {(code, "reviews.egress[0].host")})
        for host, code in (
            ("db", "MSH006"),
            ("10.0.0.1", "MSH006"),
            ("reviews.bookinfo.svc.cluster.local", "MSH006"),
            ("reviews.bookinfo.svc", "MSH006"),
            (".".join(["a" * 58] * 4) + ".b", "MSH004"),
        )
    ),
    ({10**6000: {"split": {"v1": 100}}}, {("MSH001", "")}),
    ({"reviews": {"egress": []}}, {("MSH003", "reviews.egress")}),
    (rule(mirror=[]), {("MSH003", "reviews.rules[0].mirror")}),
    (rule(headers={}), {("MSH003", "reviews.rules[0].headers")}),
    (rule(headers={"request": {}}), {("MSH003", "reviews.rules[0].headers.request")}),
    (rule(retries={"attempts": 1, "conditions": []}), {("MSH003", "reviews.rules[0].retries.conditions")}),
    (
        rule(headers={"request": {"set": {f"x-{n}": "1" for n in range(17)}}}),
        {("MSH005", "reviews.rules[0].headers.request.set")},
    ),
    (
        rule(headers={"response": {"remove": [f"x-{n}" for n in range(17)]}}),
        {("MSH005", "reviews.rules[0].headers.response.remove")},
    ),
    (rule(mirror=[{"version": "v2"}] * 14), {("MSH005", "reviews.rules[0].mirror")}),
    (rule(rewrite={"path": "/a\\1"}), {("MSH118", "reviews.rules[0].rewrite.path")}),
    (rule(redirect={"path": "/a b"}), {("MSH118", "reviews.rules[0].redirect.path")}),
    (rule(match={"path": {"prefix": "/" + "a" * 500}}), {("MSH004", "reviews.rules[0].match.path.prefix")}),
    (rule(match={"grpc": {"service": "a" * 501}}), {("MSH004", "reviews.rules[0].match.grpc.service")}),
    (rule(match={"headers": {":path": "/"}}), {("MSH119", 'reviews.rules[0].match.headers[":path"]')}),
    (rule(match={"headers": {"Keep-Alive": "5"}}), {("MSH119", "reviews.rules[0].match.headers.Keep-Alive")}),
    (rule(match={"method": "get"}), {("MSH004", "reviews.rules[0].match.method")}),
    (rule(match={"sourceNamespace": "shop_1"}), {("MSH006", "reviews.rules[0].match.sourceNamespace")}),
    (
        rule(match={"cookies": {"a." * 100: "1", "b." * 100: "1"}}),
        {("MSH005", "reviews.rules[0].match.cookies")},
    ),
    ({"reviews": {"rateLimit": {"requests": 10**9}}}, {("MSH005", "reviews.rateLimit.requests")}),
    ({"reviews": {"retryBudget": {"percent": 20, "minRetries": 0}}}, {("MSH005", "reviews.retryBudget.minRetries")}),
    ({"reviews": {"slo": {}}}, {("MSH003", "reviews.slo")}),
    ({"reviews": {"slo": {"success": 100}}}, {("MSH005", "reviews.slo.success")}),
    (
        {"reviews": {"slo": {"latency": {"p": 10, "below": "250ms"}}}},
        {("MSH005", "reviews.slo.latency.p"), ("MSH602", "reviews.slo.latency.below")},
    ),
]


@pytest.mark.parametrize(("raw", "expected"), FAULTY)
def test_each_fault_is_reported_at_its_field(raw: object, expected: set[tuple[str, str]]) -> None:
    assert found(faults_of(raw)) == expected


def test_all_faults_of_all_routes_are_found_at_once() -> None:
    raw = {
        "reviews": {"namespce": "bookinfo", "split": {"v1": 90.5, "v9": 10}},
        "ratngs": {"split": {"v1": 99}},
        "productpage": {"rules": [{"timeout": "1.5s", "mirror": {"version": "v4"}}]},
    }
    assert found(faults_of(raw)) == {
        ("MSH002", "reviews.namespce"),
        ("MSH111", "reviews.split.v1"),
        ("MSH107", "reviews.split.v9"),
        ("MSH106", "ratngs"),
        ("MSH110", "ratngs.split"),
        ("MSH115", "productpage.rules[0].timeout"),
        ("MSH107", "productpage.rules[0].mirror.version"),
    }


def test_a_fault_names_the_nearest_known_word() -> None:
    (fault,) = faults_of({"reviewz": {"split": {"v1": 100}}})
    assert fault.remedy == "Did you mean 'reviews'?"


def test_a_compound_duration_is_written_out_in_the_remedy() -> None:
    (fault,) = faults_of(rule(timeout="1m30s"))
    assert fault.remedy == "Write '90s'."


def test_split_is_the_short_form_of_one_rule_for_every_request() -> None:
    short = routes_of({"reviews": {"split": {"v1": 90, "v2": 10}}})
    long = routes_of({"reviews": {"rules": [{"name": "split", "backends": {"v1": 90, "v2": 10}}]}})
    assert compile_routes(short, "istio").manifests == compile_routes(long, "istio").manifests


def test_zero_and_hundred_are_legal_weights() -> None:
    (route,) = routes_of({"reviews": {"split": {"v1": 0, "v2": 100}}})
    assert [backend.weight for backend in route.rules[0].backends] == [0, 100]


def test_a_service_of_ones_own_is_described_in_the_configuration() -> None:
    raw = {
        "shop": {
            "namespace": "shop",
            "port": 8080,
            "versions": {"blue": {"color": "blue"}, "green": {"color": "green"}},
            "split": {"blue": 100},
        }
    }
    (route,) = routes_of(raw)
    assert route.service.host == "shop.shop.svc.cluster.local"


def test_a_headless_service_of_ones_own_gets_no_rules_on_linkerd() -> None:
    described = {"namespace": "shop", "port": 80, "selector": {"app": "db"}, "headless": True}
    routes = routes_of({"db": {**described, "rules": [{"timeout": "2s"}]}})
    (refusal,) = errors(compile_routes(routes, "linkerd").diagnostics)
    assert (refusal.code, refusal.path) == ("MSH131", "meshup:traffic.db.rules")
    assert not errors(compile_routes(routes, "istio").diagnostics)
    assert found(faults_of({"db": {**described, "headless": "yes", "split": {"v1": 100}}})) >= {
        ("MSH001", "db.headless")
    }


def test_a_trailing_slash_of_a_prefix_does_not_count() -> None:
    (route,) = routes_of(rule(match={"path": {"prefix": "/a/"}}))
    assert route.rules[0].matches[0].path and route.rules[0].matches[0].path.value == "/a"


def test_an_objective_changes_no_object_and_is_named() -> None:
    objective = {"success": 99.9, "latency": {"p": 99, "below": "500ms"}}
    (route,) = routes_of({"reviews": {"split": {"v1": 90, "v2": 10}, "slo": objective}})
    (plain,) = routes_of({"reviews": {"split": {"v1": 90, "v2": 10}}})
    assert route.objective == Objective(99.9, (99, 500), "meshup:traffic.reviews.slo")
    assert compile_routes([route], "istio").manifests == compile_routes([plain], "istio").manifests
    assert policies(route, route.rules[0]) == ("objective: 99.9% succeed", "objective: 99% within 500ms")
