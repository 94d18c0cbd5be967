"""`meshup security learn`: what was counted becomes an allow list, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from components.apps import bookinfo
from components.diagnostics import ConfigurationError
from components.meshes.istio.telemetry import LOG_FIELDS
from components.security.evaluate import decide
from components.security.model import Account
from components.security.parse import parse
from components.security.plane import AccessRequest
from components.security.world import Call, World
from components.traffic.model import Port, Service
from operate import learn, metrics
from operate.cli import app
from operate.metrics import Caller, Counted, Edge, Pod
from stacks import settings
from stacks.cluster import Cluster, ClusterError, ClusterView
from tests.unit.operate.test_explain import PROJECT, write
from tests.unit.stacks.configs import raw

BOOKINFO = tuple(bookinfo.services())
SHOP = Service(
    "cart",
    "shop",
    (Port(80, "http", target=8080), Port(9090, "grpc-admin"), Port(6379, "tcp-redis")),
    selector=(("app", "cart"),),
)
WORLD = World(
    services=(*BOOKINFO, SHOP),
    calls=(
        Call(Account("bookinfo", "bookinfo-productpage"), "ratings", "bookinfo", 9080, note="behind /api/v1"),
        Call(Account("bookinfo", "bookinfo-reviews"), "ratings", "bookinfo", 9080),
        Call(None, "productpage", "bookinfo", 9080),
    ),
    gateways={"public": Account("gateways", "public-istio")},
)
PRODUCTPAGE = Pod(
    "bookinfo", "productpage-v1-abc", "bookinfo-productpage", (("app", "productpage"),), "10.1.0.7", "istio-proxy"
)
REVIEWS = Pod("bookinfo", "reviews-v2-abc", "bookinfo-reviews", (("app", "reviews"),), "10.1.0.8", "linkerd-proxy")
CART = Pod("shop", "cart-abc", "cart", (("app", "cart"), ("x", "y")), "10.1.0.9", "linkerd-proxy")

# A line as a sidecar of Istio writes it, with the values that matter filled in.
ISTIO = (
    'istio_requests_total{{reporter="{reporter}",source_workload="web",source_canonical_service="web",'
    'source_canonical_revision="latest",source_workload_namespace="bookinfo",source_principal="{principal}",'
    'source_app="web",source_version="unknown",source_cluster="Kubernetes",destination_workload="{service}-v1",'
    'destination_workload_namespace="{namespace}",destination_principal="spiffe://cluster.local/ns/bookinfo/sa/x",'
    'destination_app="{service}",destination_version="v1",'
    'destination_service="{service}.{namespace}.svc.cluster.local",destination_canonical_service="{service}",'
    'destination_canonical_revision="v1",destination_service_name="{service}",'
    'destination_service_namespace="{namespace}",destination_cluster="Kubernetes",request_protocol="{protocol}",'
    'response_code="{code}",grpc_response_status="{grpc}",response_flags="-",'
    'connection_security_policy="{policy}"}} {value}'
)


def istio(service: str, account: str, value: float = 3, namespace: str = "bookinfo", **given: str) -> str:
    values = {"reporter": "destination", "protocol": "http", "code": "200", "grpc": "", "policy": "mutual_tls"} | given
    principal = f"spiffe://cluster.local/ns/{account.replace('/', '/sa/')}" if "/" in account else account
    return ISTIO.format(service=service, principal=principal, namespace=namespace, value=value, **values)


def linkerd(port: int, identity: str, value: float = 3, metric: str = "inbound_http_authz_allow_total") -> str:
    client = (
        f'tls="true",client_id="{identity}"' if identity else 'tls="no_identity",no_tls_reason="no_tls_from_remote"'
    )
    return (
        f'{metric}{{target_addr="10.1.0.9:{port}",target_ip="10.1.0.9",target_port="{port}",srv_group="",'
        f'srv_kind="default",srv_name="all-unauthenticated",srv_port="{port}",route_group="",route_kind="default",'
        f'route_name="default",authz_group="",authz_kind="default",authz_name="all-unauthenticated",{client}}} {value}'
    )


def linkerd_id(account: str) -> str:
    namespace, name = account.split("/")
    return f"{name}.{namespace}.serviceaccount.identity.linkerd.cluster.local"


def counted(*lines: str, pod: Pod | None = None) -> Counted:
    samples = metrics.parse_text("\n".join(lines), (pod.namespace, pod.name) if pod else None)
    return metrics.count(samples, [PRODUCTPAGE, REVIEWS, CART], WORLD)


def edges(found: Mapping[Edge, float]) -> dict[str, float]:
    return {f"{one.caller.account} {one.service}:{one.port}": number for one, number in found.items()}


def test_istio_names_the_account_of_the_caller_and_the_service() -> None:
    found = counted(
        "# TYPE istio_requests_total counter",
        istio("reviews", "bookinfo/bookinfo-productpage"),
        istio("reviews", "bookinfo/bookinfo-productpage", code="500", value=2),
        istio("ratings", "bookinfo/bookinfo-reviews", value=0),
        istio("details", "bookinfo/bookinfo-productpage", reporter="source"),
    )
    assert edges(found.edges) == {"bookinfo/bookinfo-productpage reviews:9080": 5}


def test_requests_to_the_service_of_a_version_are_requests_to_its_service() -> None:
    found = counted(istio("reviews-v3", "bookinfo/bookinfo-productpage"))
    assert edges(found.edges) == {"bookinfo/bookinfo-productpage reviews:9080": 3}


@pytest.mark.parametrize(("code", "grpc"), [("403", ""), ("401", ""), ("200", "7"), ("200", "16")])
def test_what_was_refused_is_not_opened(code: str, grpc: str) -> None:
    found = counted(istio("reviews", "bookinfo/default", code=code, grpc=grpc))
    assert (edges(found.edges), edges(found.refused)) == ({}, {"bookinfo/default reviews:9080": 3})
    assert "reviews" not in learn.propose(found, WORLD).security["allow"]
    assert any("refused 3 times" in note for note in learn.propose(found, WORLD).notes)


def test_a_call_that_was_also_let_in_is_not_reported_as_refused() -> None:
    found = counted(istio("reviews", "bookinfo/default"), istio("reviews", "bookinfo/default", code="403"))
    assert (edges(found.edges), found.refused) == ({"bookinfo/default reviews:9080": 3}, {})


def test_a_caller_that_went_away_has_proved_nothing() -> None:
    found = counted(istio("reviews", "bookinfo/default", code="0"))
    assert not (found.edges or found.refused)


@pytest.mark.parametrize(
    "line",
    [
        istio("reviews", "unknown", policy="none"),
        istio("reviews", "bookinfo/bookinfo-productpage", policy="none"),
        istio("reviews", "spiffe://cluster.local/somebody"),
    ],
)
def test_a_caller_without_an_identity_is_reported_and_opens_nothing(line: str) -> None:
    found = counted(line)
    proposal = learn.propose(found, WORLD, "bookinfo")
    assert (found.edges, found.plain) == ({}, {("bookinfo", "reviews"): 3})
    assert proposal.security["allow"] == {}
    assert "called 3 times without an identity, so not opened: bookinfo/reviews" in proposal.notes


def test_a_service_with_several_ports_is_opened_only_where_the_protocol_tells_the_port() -> None:
    redis = istio("cart", "shop/web", namespace="shop", protocol="tcp", code="", grpc="").replace(
        "istio_requests_total", "istio_tcp_connections_opened_total"
    )
    found = counted(redis, istio("cart", "shop/web", namespace="shop"))
    assert edges(found.edges) == {"shop/web cart:6379": 3}
    assert list(found.portless) == [("shop", "cart", Caller(Account("shop", "web")))]
    proposal = learn.propose(found, WORLD, "shop")
    assert proposal.security["allow"] == {"cart": [{"from": [{"serviceAccount": "web"}], "to": [{"port": 6379}]}]}
    assert any("do not say at which of its ports" in note for note in proposal.notes)


def test_an_envoy_counts_by_service_and_port_for_the_account_of_its_pod() -> None:
    def rq(cluster: str, code: str = 'response_code="200"', value: int = 4) -> str:
        return f'envoy_cluster_upstream_rq{{{code},cluster_name="{cluster}"}} {value}'

    found = counted(
        rq("outbound|9080||reviews.bookinfo.svc.cluster.local;"),
        rq("outbound|9080|v1|reviews.bookinfo.svc.cluster.local"),
        rq("outbound|9080||reviews.bookinfo.svc.cluster.local", 'response_code_class="2xx"'),
        rq("outbound|9080||details.bookinfo.svc.cluster.local", 'response_code="403"'),
        rq("outbound|443||www.googleapis.com"),
        rq("inbound|9080||"),
        rq("xds-grpc"),
        pod=PRODUCTPAGE,
    )
    assert edges(found.edges) == {"bookinfo/bookinfo-productpage reviews:9080": 8}
    assert edges(found.refused) == {"bookinfo/bookinfo-productpage details:9080": 4}
    assert found.unknown == {"www.googleapis.com:443": 4}


def test_linkerd_counts_by_the_port_of_the_pod_that_was_read() -> None:
    found = counted(
        linkerd(8080, linkerd_id("shop/web.v1")),
        linkerd(6379, linkerd_id("shop/web.v1"), 1, "inbound_tcp_authz_allow_total"),
        linkerd(9090, "spiffe://elsewhere.org/ns/far/sa/away", 2),
        linkerd(8080, "", 7),
        linkerd(4191, "", 50),
        pod=CART,
    )
    assert edges(found.edges) == {"shop/web.v1 cart:80": 3, "shop/web.v1 cart:6379": 1, "far/away cart:9090": 2}
    assert found.plain == {("shop", "cart"): 7}
    assert learn.propose(found, WORLD, "shop").security["allow"]["cart"] == [
        {"from": [{"serviceAccount": "far/away", "trustDomain": "elsewhere.org"}], "to": [{"port": 9090}]},
        {"from": [{"serviceAccount": "web.v1"}], "to": [{"port": 80}, {"port": 6379}]},
    ]


def test_a_pod_that_is_gone_is_reported_since_its_traffic_has_no_owner() -> None:
    found = counted(linkerd(8080, linkerd_id("shop/web")).replace("{", '{namespace="shop",pod="cart-old",', 1))
    assert found.edges == {}
    assert list(found.unknown) == ["pod shop/cart-old, which is not there"]


def test_the_labels_of_a_scrape_say_which_pod_it_was() -> None:
    for labels in ('namespace="shop",pod="cart-abc",', 'kubernetes_namespace="shop",kubernetes_pod_name="cart-abc",'):
        found = counted(linkerd(8080, linkerd_id("shop/web")).replace("{", "{" + labels, 1))
        assert edges(found.edges) == {"shop/web cart:80": 3}


@pytest.mark.parametrize(
    "line",
    [
        "istio_requests_total",
        "istio_requests_total{",
        "istio_requests_total{} x",
        'istio_requests_total{a="b} 1',
        "{} 1",
    ],
)
def test_a_line_that_is_no_sample_is_skipped(line: str) -> None:
    assert not counted(line).edges


def test_escapes_in_labels_and_timestamps_are_read() -> None:
    (sample,) = metrics.parse_text('istio_requests_total{a="x\\"y,z=\\\\",b="\\n",} 1e3 1700000000000')
    assert (sample.labels, sample.value) == ({"a": 'x"y,z=\\', "b": "\n"}, 1000)


def test_a_gateway_another_namespace_and_equal_callers_are_written_shortly() -> None:
    found = counted(
        istio("productpage", "gateways/public-istio"),
        istio("ratings", "bookinfo/bookinfo-reviews"),
        istio("ratings", "shop/cart"),
    )
    assert learn.propose(found, WORLD, "bookinfo").security == {
        "namespaces": {"bookinfo": {"default": "deny"}},
        "allow": {
            "ratings": [{"from": [{"serviceAccount": "bookinfo-reviews"}, {"serviceAccount": "shop/cart"}]}],
            "productpage": [{"from": [{"gateway": "public"}]}],
        },
    }


def test_calls_of_the_known_graph_and_services_that_were_not_seen_are_marked() -> None:
    notes = learn.propose(counted(istio("ratings", "bookinfo/bookinfo-reviews")), WORLD, "bookinfo").notes
    assert notes == (
        "not seen: bookinfo/bookinfo-productpage -> bookinfo/ratings:9080 GET (behind /api/v1)",
        "not seen: callers from outside -> bookinfo/productpage:9080 GET",
        "nothing was counted for the Service bookinfo/details: nobody may call it",
        "nothing was counted for the Service bookinfo/reviews: nobody may call it",
        "nothing was counted for the Service bookinfo/productpage: nobody may call it",
        "metrics have no paths: the rules are by account and port. Access logs (--log) narrow them.",
    )


def test_a_name_that_two_namespaces_have_is_written_with_the_namespace() -> None:
    other = Service("ratings", "shop", (Port(80),))
    world = World(services=(*BOOKINFO, other))
    samples = metrics.parse_text(istio("ratings", "bookinfo/bookinfo-reviews"))
    proposal = learn.propose(metrics.count(samples, [], world), world)
    assert list(proposal.security["allow"]) == ["ratings.bookinfo"]


# The default JSON of Istio, and Linkerd's, without what is not read.
def istio_log(method: str, path: str, **given: Any) -> str:
    entry = {
        "authority": "reviews:9080",
        "downstream_remote_address": "10.1.0.7:48130",
        "method": method,
        "path": path,
        "requested_server_name": "outbound_.9080_._.reviews.bookinfo.svc.cluster.local",
        "response_code": 200,
        "upstream_cluster": "inbound|9080||",
    }
    return json.dumps(entry | given)


def linkerd_log(method: str, uri: str, **given: Any) -> str:
    entry = {
        "client.addr": "10.1.0.7:48130",
        "client.id": linkerd_id("bookinfo/bookinfo-productpage"),
        "host": "reviews:9080",
        "method": method,
        "status": 200,
        "uri": uri,
    }
    return json.dumps(entry | given)


def logged(*lines: str) -> set[tuple[str, int, str, str]]:
    found = metrics.read_log(lines, [PRODUCTPAGE, REVIEWS], WORLD)
    assert all(edge.caller == Caller(Account("bookinfo", "bookinfo-productpage")) for edge in found)
    return {(edge.service, edge.port, *request) for edge, requests in found.items() for request in requests}


@pytest.mark.parametrize(
    "line",
    [
        istio_log("GET", "/reviews/1?lang=en"),
        "[pod/reviews-v1/istio-proxy] " + istio_log("GET", "/reviews/1"),
        istio_log("GET", "/reviews/1", upstream_cluster="outbound|9080|v1|reviews.bookinfo.svc.cluster.local;").replace(
            "outbound_.9080", "-"
        ),
        linkerd_log("GET", "/reviews/1"),
        linkerd_log("GET", "http://reviews.bookinfo.svc.cluster.local:9080/reviews/1", host=""),
        linkerd_log("GET", "/reviews/1", host="reviews.bookinfo:9080"),
    ],
)
def test_logs_of_both_meshes_say_method_and_path(line: str) -> None:
    assert logged(line) == {("reviews", 9080, "GET", "/reviews/1")}


@pytest.mark.parametrize(
    "line",
    [
        istio_log("GET", "/admin", response_code=403),
        istio_log("GET", "/admin", response_code=0),
        istio_log("GET", "/admin", downstream_remote_address="203.0.113.1:2"),
        istio_log("GET", "/admin", requested_server_name="-"),
        istio_log("GET", "/admin", requested_server_name="outbound_.80_._.reviews.bookinfo.svc.cluster.local"),
        istio_log("GET", "*"),
        linkerd_log("GET", "/admin", **{"client.id": "-"}),
        linkerd_log("GET", "/admin", status=403),
        linkerd_log("GET", "/admin", host="elsewhere:9080"),
        "2026-12-01 plain text {",
        "[1, 2]",
    ],
)
def test_a_line_that_is_refused_or_of_an_unknown_caller_narrows_nothing(line: str) -> None:
    assert logged(line) == set()


def test_the_fields_that_are_read_are_those_that_istio_is_told_to_log() -> None:
    assert json.loads(istio_log("GET", "/")).keys() <= LOG_FIELDS.keys()


@pytest.mark.parametrize(
    ("logs", "paths"),
    [
        ({}, []),
        ({"enabled": True, "sampling": 100}, []),
        ({"sampling": 10}, ["meshup:accessLogs"]),
        ({"namespaces": {"bookinfo": {"filter": {"errors": True}}}}, ["meshup:accessLogs.namespaces.bookinfo"]),
    ],
)
def test_logs_that_leave_requests_out_are_said_to_deny_them(logs: dict[str, Any], paths: list[str]) -> None:
    found = learn.incomplete(settings.load(raw(accessLogs=logs), "dev")[0])
    assert [(one.code, one.path, one.severity) for one in found] == [("MSH652", path, "warning") for path in paths]


def test_logs_narrow_a_rule_to_the_exact_paths_and_a_depth_joins_them() -> None:
    found = counted(istio("reviews", "bookinfo/bookinfo-productpage"))
    lines = [istio_log("GET", f"/reviews/{n}") for n in range(3)] + [istio_log("POST", "/login")]
    found.requests = metrics.read_log(lines, [PRODUCTPAGE], WORLD)
    rule = {"from": [{"serviceAccount": "bookinfo-productpage"}]}
    exact = {"methods": ["GET"], "paths": ["/reviews/0", "/reviews/1", "/reviews/2"]}
    login = {"methods": ["POST"], "paths": ["/login"]}
    assert learn.propose(found, WORLD).security["allow"]["reviews"] == [rule | {"to": [exact, login]}]
    joined = {"methods": ["GET"], "paths": [{"prefix": "/reviews"}]}
    assert learn.propose(found, WORLD, depth=1).security["allow"]["reviews"] == [rule | {"to": [joined, login]}]


def test_logs_open_nothing_that_was_not_counted() -> None:
    found = counted(istio("ratings", "bookinfo/bookinfo-reviews"))
    found.requests = metrics.read_log([istio_log("GET", "/reviews/1")], [PRODUCTPAGE], WORLD)
    assert list(learn.propose(found, WORLD).security["allow"]) == ["ratings"]


def test_a_path_that_proxies_read_in_another_way_is_no_rule() -> None:
    found = counted(istio("reviews", "bookinfo/bookinfo-productpage"))
    found.requests = metrics.read_log([istio_log("GET", "/reviews/../admin")], [PRODUCTPAGE], WORLD)
    proposal = learn.propose(found, WORLD)
    assert proposal.security["allow"]["reviews"] == [{"from": [{"serviceAccount": "bookinfo-productpage"}]}]
    assert any("/reviews/../admin" in note for note in proposal.notes)


ACCOUNTS = (
    Caller(Account("bookinfo", "bookinfo-productpage")),
    Caller(Account("shop", "web")),
    Caller(Account("shop", "web"), "elsewhere.org"),
    Caller(Account("gateways", "public-istio")),
)
PORTS = [Edge(one.namespace, one.name, port.number, ACCOUNTS[0]) for one in WORLD.services for port in one.ports]
REQUESTS = [("GET", "/reviews/1"), ("GET", "/reviews/2"), ("POST", "/login"), ("GET", "/a/../b"), ("FETCH", "/a")]


@given(
    st.dictionaries(
        st.sampled_from([replace(edge, caller=caller) for edge, caller in product(PORTS, ACCOUNTS)]),
        st.sets(st.sampled_from(REQUESTS)),
    ),
    st.integers(0, 1),
)
def test_what_the_proposal_allows_was_counted_and_what_was_counted_it_allows(
    seen: dict[Edge, set[tuple[str, str]]], depth: int
) -> None:
    found = Counted(edges=dict.fromkeys(seen, 1), requests={edge: asked for edge, asked in seen.items() if asked})
    proposal = learn.propose(found, WORLD, depth=depth)
    policy, diagnostics = parse(
        yaml.safe_load(learn.as_text(proposal))["meshup:security"],
        "meshup:security",
        WORLD.services,
        mode="strict",
        environment="prod",
        today=date(2026, 12, 1),
        gateways=WORLD.gateways,
    )
    assert not diagnostics
    for place, caller, (method, path) in product(PORTS, ACCOUNTS, [*REQUESTS[:3], ("PUT", "/reviews/1")]):
        service = WORLD.service(place.service, place.namespace)
        port = service and WORLD.port_of(service, place.port)
        assert service and port
        request = AccessRequest(service, port, caller.account, caller.trust_domain, method=method, path=path)
        asked = seen.get(replace(place, caller=caller))
        exact = asked is not None and (not asked or bool(asked & set(REQUESTS[3:])) or (method, path) in asked)
        joined = depth == 1 and bool(asked) and (method, path) in REQUESTS[:2] and asked >= set(REQUESTS[:2])
        assert decide(policy, WORLD, request).allowed == (exact or joined)


def test_lists_that_are_longer_than_a_rule_takes_are_written_in_parts() -> None:
    asked = {("GET", f"/reviews/{number}") for number in range(100)}
    edge = Edge("bookinfo", "reviews", 9080, Caller(Account("bookinfo", "bookinfo-productpage")))
    callers = {replace(edge, service="ratings", caller=Caller(Account("shop", f"web-{n}"))): 1.0 for n in range(70)}
    allow = learn.propose(Counted(edges={edge: 1, **callers}, requests={edge: asked}), WORLD).security["allow"]
    assert [len(one["paths"]) for one in allow["reviews"][0]["to"]] == [64, 36]
    assert [len(one["from"]) for one in allow["ratings"]] == [64, 6]


def test_the_proposal_is_a_part_of_a_stack_file() -> None:
    proposal = learn.propose(counted(istio("ratings", "bookinfo/bookinfo-reviews")), WORLD, "bookinfo")
    text = learn.as_text(proposal)
    assert yaml.safe_load(text) == {"meshup:security": proposal.security}
    assert all(f"# {note}" in text.splitlines() for note in proposal.notes)


class _Prometheus(BaseHTTPRequestHandler):
    """Answers each query with one series, as Prometheus does."""

    queries: ClassVar[list[str]] = []
    status = 200

    def do_GET(self) -> None:
        (asked,) = parse_qs(urlsplit(self.path).query)["query"]
        self.queries.append(asked)
        labels = {
            "reporter": "destination",
            "source_principal": "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews",
            "destination_service_name": "ratings",
            "destination_service_namespace": "bookinfo",
            "connection_security_policy": "mutual_tls",
            "request_protocol": "http",
            "response_code": "200",
        }
        result = [{"metric": labels, "value": [1.5, "12"]}] if "istio_requests_total[" in asked else []
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
        self.send_response(type(self).status)
        self.end_headers()
        self.wfile.write(body if type(self).status == 200 else b'{"status": "error", "error": "bad query"}')

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


class _Lister:
    """A cluster with two pods, of which one does not answer."""

    def objects(self, api_version: str, kind: str, namespace: str = "", *, metadata_only: bool = False) -> list[Any]:
        assert (api_version, kind, namespace, metadata_only) == ("v1", "Pod", "", False)
        return [
            {
                "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": dict(pod.labels)},
                "spec": {"serviceAccountName": pod.account, "containers": [{"name": "app"}, {"name": pod.proxy}]},
                "status": {"phase": "Running", "podIP": pod.address},
            }
            for pod in (CART, REVIEWS)
        ] + [
            {"metadata": {"name": "plain", "namespace": "shop"}, "spec": {"containers": [{"name": "app"}]}},
            {
                "metadata": {"name": "ended", "namespace": "shop"},
                "spec": {"initContainers": [{"name": "istio-proxy"}]},
                "status": {"phase": "Succeeded"},
            },
        ]


class _Cluster(Cluster):
    def __init__(self, text: str = linkerd(8080, linkerd_id("shop/web"))) -> None:
        self.text = text
        self.asked: list[tuple[str, str, int, str]] = []

    def pod_text(self, namespace: str, name: str, port: int, path: str) -> str:
        self.asked.append((namespace, name, port, path))
        if name == REVIEWS.name:
            raise ClusterError("MSH031", "dev", "The API server answers 503.")
        return self.text


def test_proxies_are_read_through_the_api_server_and_one_that_does_not_answer_is_reported() -> None:
    cluster = _Cluster()
    found, diagnostics = learn.counts(cluster, ClusterView(_Lister(), "v1.36.0"), WORLD)
    assert edges(found.edges) == {"shop/web cart:80": 3}
    assert cluster.asked == [("shop", CART.name, 4191, "metrics"), ("bookinfo", REVIEWS.name, 4191, "metrics")]
    assert [(one.code, one.severity, one.value) for one in diagnostics] == [
        ("MSH596", "warning", f"bookinfo/{REVIEWS.name}")
    ]


def test_a_prometheus_is_asked_for_each_metric_in_a_window() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/"
        view = ClusterView(_Lister(), "v1.36.0")
        found, _ = learn.counts(_Cluster(), view, WORLD, prometheus=address, window="2h")
        assert edges(found.edges) == {"bookinfo/bookinfo-reviews ratings:9080": 12}
        assert len(_Prometheus.queries) == len(metrics.METRICS)
        assert all("[2h]" in one for one in _Prometheus.queries)
        _Prometheus.status = 400
        with pytest.raises(ConfigurationError, match="bad query"):
            learn.counts(_Cluster(), view, WORLD, prometheus=address)
    finally:
        _Prometheus.status = 200
        server.shutdown()
        server.server_close()
    with pytest.raises(ConfigurationError, match="does not answer"):
        learn.counts(_Cluster(), ClusterView(_Lister(), "v1.36.0"), WORLD, prometheus=address)


def test_without_any_traffic_there_is_no_proposal_that_closes_everything() -> None:
    with pytest.raises(ConfigurationError, match="MSH597"):
        learn.counts(_Cluster(linkerd(4191, "")), ClusterView(_Lister(), "v1.36.0"), WORLD)


def test_a_log_that_is_not_there_is_reported(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match="MSH598"):
        learn.counts(_Cluster(), ClusterView(_Lister(), "v1.36.0"), WORLD, logs=[tmp_path / "none.log"])


@pytest.mark.parametrize(
    ("option", "value"), [("--window", "7 days"), ("--window", "0d"), ("--output", "svg"), ("--prefix", "ten")]
)
def test_an_option_that_means_nothing_is_refused_before_anything_is_read(option: str, value: str) -> None:
    done = CliRunner().invoke(app, ["security", "learn", option, value])
    assert done.exit_code == 2
    assert option in done.output


def test_without_a_cluster_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    write(tmp_path, {"meshup:environment": "dev", "meshup:apps": ["bookinfo"], "kubernetes:context": "dev"})
    done = CliRunner().invoke(app, ["security", "learn", "--stack", "dev", "--directory", str(tmp_path)])
    assert done.exit_code == 1
    assert "MSH02" in done.output
