"""What Linkerd makes of objects that meshup does not write, and of what people get wrong in them.

Sources of each: security.md of the project's references, section 2 (linkerd2 b24cd4059, linkerd2-proxy 29637b64f).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.manifests import Manifest
from components.meshes.linkerd.security import LINKERD_SECURITY
from components.security.model import Account, Mode
from components.security.plane import AccessRequest, Verdict
from components.security.world import Probe, Workload, World
from components.traffic.model import Port, Service
from tests.unit.linkerd_security.objects import (
    GATEWAY_API,
    account,
    allow,
    authentication,
    item,
    match,
    meshtls,
    namespace,
    route,
    server,
)

DETAILS = Service("details", "bookinfo", (Port(9080),), selector=(("app", "details"),))
POD = Workload("details", "bookinfo", "Deployment", "details", (("app", "details"),), (("http", 9080), ("admin", 9090)))
WORLD = World(services=(DETAILS,), workloads=(POD,), control_plane="linkerd")
PAGE = Account("bookinfo", "productpage")
REQUEST = AccessRequest(DETAILS, DETAILS.ports[0], PAGE, address="10.1.0.1", path="/details/1")
PLAIN = replace(REQUEST, caller=None)
CALLER = allow("page", "Server/details", account("productpage"))
BY_ROUTE = allow("by-route", "HTTPRoute/get", account("productpage"))


def ask(*objects: Manifest, request: AccessRequest = REQUEST, world: World = WORLD, mode: Mode = "strict") -> Verdict:
    return LINKERD_SECURITY.verdict(objects, world, request, mode)


def pod(**changes: Any) -> World:
    return replace(WORLD, workloads=(replace(POD, **changes),))


@pytest.mark.parametrize(
    ("policy", "meshed", "plain", "from_outside"),
    [
        ("all-unauthenticated", True, True, True),
        ("all-authenticated", True, False, True),
        ("cluster-unauthenticated", True, True, False),
        ("cluster-authenticated", True, False, False),
        ("deny", False, False, False),
        ("audit", True, True, True),
    ],
)
@pytest.mark.parametrize("where", ["namespace", "server"])
def test_each_default_policy_and_access_policy(
    policy: str, meshed: bool, plain: bool, from_outside: bool, where: str
) -> None:
    given = namespace(policy) if where == "namespace" else server(policy)
    outside = replace(REQUEST, address="192.0.2.1")
    assert [ask(given, request=one).allowed for one in (REQUEST, PLAIN, outside)] == [meshed, plain, from_outside]


def test_an_unknown_default_policy_is_ignored() -> None:
    assert ask(namespace("nobody"), request=PLAIN).status == 403
    assert ask(namespace("nobody")).allowed


def test_a_permissive_mesh_takes_plain_callers_where_nothing_governs_the_port() -> None:
    assert ask(request=PLAIN, mode="permissive").allowed
    assert not ask(request=PLAIN, mode="strict").allowed


@pytest.mark.parametrize(
    "world",
    [pod(meshed=False), pod(bypassed=((9000, 9100),))],
    ids=["no sidecar", "a port that bypasses it"],
)
def test_no_policy_holds_where_no_proxy_is(world: World) -> None:
    assert ask(server(), world=world, request=PLAIN).allowed


def test_calls_from_the_pod_itself_and_to_its_tap_are_never_denied() -> None:
    assert ask(server(), request=replace(PLAIN, address="127.0.0.1")).allowed
    assert ask(namespace("deny"), request=replace(PLAIN, port=Port(4190))).allowed


@pytest.mark.parametrize(
    ("path", "allowed"), [("/metrics", False), ("/env.json", False), ("/live", True), ("/ready", True)]
)
def test_the_metrics_of_a_proxy_obey_the_default_policy_and_its_probes_do_not(path: str, allowed: bool) -> None:
    asked = replace(PLAIN, port=Port(4191), path=path)
    assert ask(namespace("deny"), request=asked).allowed is allowed
    assert ask(request=asked, mode="strict").allowed is allowed
    # As what `linkerd viz allow-scrapes` prints names the port.
    assert ask(server(port="linkerd-admin", podSelector={}), request=asked).allowed is allowed


@pytest.mark.parametrize(
    ("spec", "governs"),
    [
        ({"port": "http"}, True),
        ({"port": "admin"}, False),
        ({"port": 9090}, False),
        ({"podSelector": {}}, True),
        ({"podSelector": {"matchLabels": {"app": "other"}}}, False),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["details", "x"]}]}}, True),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["details"]}]}}, False),
        ({"podSelector": {"matchExpressions": [{"key": "version", "operator": "DoesNotExist"}]}}, True),
        ({"podSelector": {"matchExpressions": [{"key": "version", "operator": "Exists"}]}}, False),
    ],
    ids=str,
)
def test_which_server_governs_a_port(spec: dict[str, Any], governs: bool) -> None:
    assert ask(server(**spec)).allowed != governs


def test_of_several_workloads_the_one_that_refuses_is_told() -> None:
    v2 = replace(POD, name="details-v2", labels=(("app", "details"), ("version", "v2")))
    denied = server(podSelector={"matchLabels": {"version": "v2"}})
    assert ask(denied).allowed
    assert ask(denied, world=replace(WORLD, workloads=(POD, v2))).object == "Server/bookinfo/details"


@pytest.mark.parametrize("protocol", ["opaque", "TLS"])
def test_opaque_ports_judge_the_connection_by_the_server_alone(protocol: str) -> None:
    opaque = server(proxyProtocol=protocol)
    routes = (route("get", match("/")), BY_ROUTE)
    assert ask(opaque, *routes).status == 403
    assert ask(opaque, CALLER, *routes).allowed


def test_a_connection_that_is_no_http_is_judged_by_the_server_and_closed() -> None:
    tcp = replace(REQUEST, http=False)
    assert ask(server(), route("get", match("/")), BY_ROUTE, request=tcp) == replace(
        ask(server(), request=tcp), reason="Server/bookinfo/details does not admit the caller."
    )
    assert ask(server(), request=tcp).status is None
    assert ask(server(), CALLER, request=tcp).allowed
    assert not ask(server(proxyProtocol="HTTP/1"), CALLER, request=tcp).allowed


def test_grpc_is_answered_with_a_grpc_status() -> None:
    call = replace(REQUEST, grpc=True, path="/shop.Cart/Add")
    denied, unmatched = ask(server(), request=call), ask(server(), route("get", match("/x")), request=call)
    assert [(one.status, one.grpc_status) for one in (denied, unmatched)] == [(200, 7), (200, 5)]


def grpc_route(**method: str) -> Manifest:
    parents = [{"group": "policy.linkerd.io", "kind": "Server", "name": "details"}]
    return item("GRPCRoute", "get", {"parentRefs": parents, "rules": [{"matches": [{"method": method}]}]}, GATEWAY_API)


def test_a_grpc_route_counts_on_a_grpc_server_only_and_switches_http_routes_off() -> None:
    call = replace(REQUEST, grpc=True, path="/shop.Cart/Add")
    on_route = allow("g", "GRPCRoute/get", account("productpage"))
    on_route["spec"]["targetRef"]["group"] = "gateway.networking.k8s.io"
    made = grpc_route(service="shop.Cart", method="Add")
    assert ask(server(proxyProtocol="gRPC"), made, on_route, request=call).allowed
    assert (
        ask(server(proxyProtocol="gRPC"), made, on_route, request=replace(call, path="/shop.Cart/Get")).grpc_status == 5
    )
    assert ask(server(), made, on_route, request=call).grpc_status == 7
    http = (route("other", match("/details")), allow("other", "HTTPRoute/other", account("productpage")))
    assert ask(server(), *http).allowed
    assert ask(server(), *http, made).status == 403


SERVER = {"group": "policy.linkerd.io", "kind": "Server", "name": "details"}
BROKEN: list[dict[str, Any]] = [
    {"parentRefs": [{**SERVER, "port": 9080}]},
    {"parentRefs": [{**SERVER, "sectionName": "x"}]},
    {"parentRefs": [{**SERVER, "namespace": "x"}]},
    {"parentRefs": [{"group": "", "kind": "Service", "name": "details"}]},
    {"rules": [{"matches": [match("/")], "filters": [{"type": "URLRewrite", "urlRewrite": {}}]}]},
]


@pytest.mark.parametrize(
    "broken",
    BROKEN,
    ids=["port", "sectionName", "namespace", "no Server", "filter"],
)
def test_a_route_that_the_controller_drops_decides_nothing(broken: dict[str, Any]) -> None:
    assert ask(server(), route("get", match("/"), **broken), BY_ROUTE).status == 403
    assert ask(server(), CALLER, route("get", match("/nowhere"), **broken)).allowed


@pytest.mark.parametrize(("accepted", "allowed"), [("True", True), ("False", False)])
def test_a_route_counts_if_its_status_says_that_it_is_accepted(accepted: str, allowed: bool) -> None:
    made = route("get", match("/"))
    conditions = [{"type": "Accepted", "status": accepted}]
    made["status"] = {"parents": [{"parentRef": {"kind": "Server", "name": "details"}, "conditions": conditions}]}
    assert ask(server(), made, BY_ROUTE).allowed == allowed
    made["status"] = {"parents": []}
    assert not ask(server(), made, BY_ROUTE).allowed


def test_an_authorization_has_to_name_the_group_of_the_route() -> None:
    own = route("get", match("/"), group="policy.linkerd.io/v1beta3")
    assert ask(server(), own, BY_ROUTE).status == 403
    by_own = allow("own", "HTTPRoute/get", account("productpage"))
    by_own["spec"]["targetRef"]["group"] = "policy.linkerd.io"
    assert ask(server(), own, by_own).allowed


def test_of_equal_routes_the_older_one_is_asked() -> None:
    older = route("z", match("/details"), created="2026-01-01T00:00:00Z")
    newer = route("a", match("/details"), created="2026-01-02T00:00:00Z")
    assert ask(server(), newer, older, allow("on", "HTTPRoute/z", account("productpage"))).allowed
    assert not ask(server(), newer, older, allow("on", "HTTPRoute/a", account("productpage"))).allowed


@pytest.mark.parametrize(
    ("preferred", "other"),
    [
        (match("/details", x="1"), match("/details", method="GET")),
        (match("/d.*", "RegularExpression"), match("/details")),
        (match("/details/1", "Exact"), match("/details")),
        (match("/details"), match("/")),
    ],
    ids=["header over method", "regex over prefix", "exact over prefix", "longer prefix"],
)
def test_the_best_match_wins_whatever_its_age(preferred: Manifest, other: Manifest) -> None:
    request = replace(REQUEST, headers=(("x", "1"),))
    routes = (route("best", preferred), route("also", other, created="2026-01-01T00:00:00Z"))
    assert ask(server(), *routes, allow("on", "HTTPRoute/best", account("productpage")), request=request).allowed
    assert not ask(server(), *routes, allow("on", "HTTPRoute/also", account("productpage")), request=request).allowed


def test_a_host_is_preferred_to_everything_else() -> None:
    named = route("host", match("/"), hostnames=["*.example.com"])
    other = route("get", match("/details/1", "Exact"))
    on_host = allow("on", "HTTPRoute/host", account("productpage"))
    assert ask(server(), named, other, on_host, request=replace(REQUEST, host="A.example.com")).allowed
    assert ask(server(), named, other, BY_ROUTE, request=replace(REQUEST, host="example.com")).allowed


@pytest.mark.parametrize(("pattern", "takes"), [("/a|/ab", False), ("^(?:/a|/ab)$", True), ("/ab|/a", True)])
def test_an_expression_takes_a_path_only_if_its_first_match_is_all_of_it(pattern: str, takes: bool) -> None:
    request = replace(REQUEST, path="/ab")
    made = route("get", match(pattern, "RegularExpression"))
    assert ask(server(), made, BY_ROUTE, request=request).status == (None if takes else 404)


@pytest.mark.parametrize(
    ("probe", "request_", "allowed"),
    [
        (Probe("http", 9080, "/healthz"), replace(PLAIN, path="/healthz"), True),
        (Probe("http", 9080, "/healthz"), replace(PLAIN, path="/healthz", method="HEAD"), False),
        (Probe("http", 9080, "/healthz"), replace(PLAIN, path="/healthz/"), False),
        (Probe("http", 9090, "/healthz"), replace(PLAIN, path="/healthz"), False),
        (Probe("tcp", 9080), replace(PLAIN, http=False, probe=True), True),
        (Probe("tcp", 9080), replace(PLAIN, http=False), False),
        (Probe("grpc", 9080), replace(PLAIN, grpc=True, path="/grpc.health.v1.Health/Check", probe=True), False),
    ],
    ids=str,
)
def test_which_probes_pass_by_themselves(probe: Probe, request_: AccessRequest, allowed: bool) -> None:
    world = pod(probes=(probe,))
    for objects in ((server(),), (namespace("deny"),)):
        assert ask(*objects, request=request_, world=world).allowed == allowed


def test_the_first_route_takes_the_permission_of_probes_away() -> None:
    world = pod(probes=(Probe("http", 9080, "/healthz"),))
    probe = replace(PLAIN, path="/healthz", probe=True)
    assert ask(server(), route("get", match("/details")), world=world, request=probe).status == 404
    assert ask(server(), route("get", match("/")), world=world, request=probe).status == 403


def authorization(client: Manifest, **chosen: Any) -> Manifest:
    spec = {"server": chosen or {"name": "details"}, "client": client}
    return item("ServerAuthorization", "old", spec, "policy.linkerd.io/v1beta1")


@pytest.mark.parametrize(
    ("client", "meshed", "plain"),
    [
        ({"unauthenticated": True}, True, True),
        ({"meshTLS": {"unauthenticatedTLS": True}}, True, False),
        ({"meshTLS": {"identities": ["*.bookinfo.serviceaccount.identity.linkerd.cluster.local"]}}, True, False),
        ({"meshTLS": {"identities": ["*.other.serviceaccount.identity.linkerd.cluster.local"]}}, False, False),
        ({"meshTLS": {"serviceAccounts": [{"name": "productpage"}]}}, True, False),
        ({"meshTLS": {"serviceAccounts": [{"name": "productpage", "namespace": "x"}]}}, False, False),
        ({"unauthenticated": True, "networks": [{"cidr": "10.2.0.0/16"}]}, False, False),
    ],
    ids=str,
)
def test_the_older_kind_of_authorization(client: Manifest, meshed: bool, plain: bool) -> None:
    assert [ask(server(), authorization(client), request=one).allowed for one in (REQUEST, PLAIN)] == [meshed, plain]


def test_the_older_kind_selects_servers_by_their_labels() -> None:
    labelled = server()
    labelled["metadata"]["labels"] = {"tier": "x"}
    chosen = authorization({"unauthenticated": True}, selector={"matchLabels": {"tier": "x"}})
    assert ask(labelled, chosen).allowed
    assert not ask(server(), chosen).allowed


def test_all_references_of_one_policy_must_hold_and_one_of_several_policies() -> None:
    net = item("NetworkAuthentication", "callers", {"networks": [{"cidr": "10.2.0.0/16"}]})
    both = allow("both", "Server/details", account("productpage"), authentication("NetworkAuthentication"))
    assert not ask(server(), net, both).allowed
    assert ask(server(), net, both, request=replace(REQUEST, address="10.2.0.1")).allowed
    assert ask(server(), net, both, CALLER).object == "AuthorizationPolicy/bookinfo/page"


def test_references_to_identities_of_accounts_and_namespaces() -> None:
    by = allow("by", "Server/details", authentication("MeshTLSAuthentication"))
    for references, allowed in (
        ([{"kind": "ServiceAccount", "name": "productpage"}], True),
        ([{"kind": "ServiceAccount", "name": "productpage", "namespace": "x"}], False),
        ([{"kind": "Namespace", "name": "bookinfo"}], True),
        ([{"kind": "Namespace", "name": "x"}], False),
    ):
        made = item("MeshTLSAuthentication", "callers", {"identityRefs": references})
        assert ask(server(), by, made).allowed == allowed


def test_an_identity_of_another_trust_domain_is_another_one() -> None:
    by = allow("by", "Server/details", authentication("MeshTLSAuthentication"))
    own = meshtls("productpage.bookinfo.serviceaccount.identity.linkerd.cluster.local")
    foreign = replace(REQUEST, trust_domain="far.example")
    assert not ask(server(), by, own, request=foreign).allowed
    assert ask(server(), by, meshtls("*.linkerd.far.example"), request=foreign).allowed


def test_a_suffix_ends_between_labels() -> None:
    by = allow("by", "Server/details", authentication("MeshTLSAuthentication"))
    assert not ask(server(), by, meshtls("*.info.serviceaccount.identity.linkerd.cluster.local")).allowed


OUTSIDE = AccessRequest(Service("192.0.2.7", "", (Port(443),)), Port(443), PAGE)


def egress(policy: str, name: str = "all", *cidrs: str, home: str = "bookinfo") -> Manifest:
    networks = {"networks": [{"cidr": cidr} for cidr in cidrs]} if cidrs else {}
    made = item("EgressNetwork", name, {"trafficPolicy": policy, **networks})
    made["metadata"]["namespace"] = home
    return made


def test_the_most_specific_network_decides_a_call_to_the_outside() -> None:
    closed, opened = egress("Deny"), egress("Allow", "open", "192.0.2.0/24")
    assert ask(closed, request=OUTSIDE).status == 403
    assert ask(closed, opened, request=OUTSIDE).object == "EgressNetwork/bookinfo/open"
    assert ask(opened, egress("Deny", "one", "192.0.2.7/32"), request=OUTSIDE).status == 403


def test_a_network_of_the_namespace_hides_the_global_ones() -> None:
    everywhere = egress("Deny", home="linkerd-egress")
    assert not ask(everywhere, request=OUTSIDE).allowed
    assert ask(everywhere, egress("Deny", "far", "198.51.100.0/24"), request=OUTSIDE).allowed


def test_a_connection_to_the_outside_that_is_no_http_is_closed() -> None:
    answer = ask(egress("Deny"), request=replace(OUTSIDE, http=False))
    assert (answer.allowed, answer.status) == (False, None)
    assert ask(egress("Deny"), request=replace(OUTSIDE, caller=None)).allowed
