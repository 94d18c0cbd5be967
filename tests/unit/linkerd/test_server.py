from components.meshes.linkerd.server import Servers
from components.traffic import Port, dependencies
from components.traffic.manifests import reference
from components.traffic.model import Egress, EgressGuard, Guard
from tests.unit.traffic.helpers import RATINGS, REVIEWS, compile_routes, routes_of, service

GUARD = Guard(REVIEWS, REVIEWS.ports[0], "deny", "allow.reviews[0]", "security.allow.reviews[0]")
LIMITED = {"reviews": {"namespace": "bookinfo", "rateLimit": {"requests": 10}}}


def test_whatever_wants_the_same_port_of_the_same_pods_gets_one_server() -> None:
    servers = Servers("strict")
    first = servers.want(REVIEWS, REVIEWS.ports[0], "a", "traffic.a.rateLimit")
    second = servers.want(REVIEWS, REVIEWS.ports[0], "b", "security.b", access="deny")
    other = servers.want(RATINGS, RATINGS.ports[0], "c", "traffic.c.rateLimit")
    assert (first is second, first.keys, other.name, servers.diagnostics) == (True, ["a", "b"], "ratings-9080", [])
    policies = [servers.write(server)["spec"]["accessPolicy"] for server in (first, other)]
    assert policies == ["deny", "all-authenticated"]


def test_a_service_of_another_name_with_the_same_pods_shares_the_server() -> None:
    servers = Servers("permissive")
    twin = service("reviews", "v1", ports=REVIEWS.ports)
    assert servers.want(REVIEWS, REVIEWS.ports[0], "a", "x") is servers.want(twin, twin.ports[0], "b", "y")


def test_wishes_that_exclude_each_other_are_refused_at_the_later_one() -> None:
    servers = Servers("strict")
    for key, access in (("a", "deny"), ("b", "all-authenticated")):
        servers.want(REVIEWS, REVIEWS.ports[0], key, f"security.{key}", access)
    (fault,) = servers.diagnostics
    assert (fault.code, fault.path, fault.value) == ("MSH127", "security.b", "all-authenticated")
    assert "'a' admits deny" in fault.message


def test_guards_get_servers_without_any_route() -> None:
    ratings = Guard(RATINGS, RATINGS.ports[0], "audit", "b", "security.b")
    compilation = compile_routes([], "linkerd", guards=[GUARD, ratings])
    servers = {reference(item): item["spec"]["accessPolicy"] for item in compilation.manifests}
    assert servers == {"Server/bookinfo/reviews-9080": "deny", "Server/bookinfo/ratings-9080": "audit"}
    assert (compilation.summaries, compilation.diagnostics) == ({}, ())


def test_a_guard_and_a_rate_limit_of_one_port_get_one_server() -> None:
    compilation = compile_routes(routes_of(LIMITED), "linkerd", guards=[GUARD])
    (server,) = (item for item in compilation.manifests if item["kind"] == "Server")
    (limit,) = (item for item in compilation.manifests if item["kind"] == "HTTPLocalRateLimitPolicy")
    assert server["spec"]["accessPolicy"] == "deny"
    assert limit["spec"]["targetRef"]["name"] == server["metadata"]["name"]
    assert "Server/bookinfo/reviews-9080" in compilation.summaries["reviews"]["objects"]


def test_guards_that_exclude_each_other_are_refused() -> None:
    other = Guard(REVIEWS, REVIEWS.ports[0], "audit", "b", "security.b")
    compilation = compile_routes([], "linkerd", guards=[GUARD, other])
    assert [(fault.code, fault.path) for fault in compilation.diagnostics] == [("MSH127", "security.b")]
    assert not compilation.objects


def test_a_port_of_the_pods_never_has_the_server_name_of_a_port_of_the_service() -> None:
    mapped = service("web", ports=(Port(80, "http", target=8080),))
    guards = [Guard(mapped, port, "deny", "a", "x") for port in (mapped.ports[0], Port(80))]
    made = {
        item["metadata"]["name"]: item["spec"]["port"]
        for item in compile_routes([], "linkerd", guards=guards).manifests
    }
    assert made == {"web-80": 8080, "web-80-pod": 80}


def test_istio_closes_ports_without_servers() -> None:
    assert compile_routes([], "istio", guards=[GUARD]).manifests == ()


HOST = Egress("api.example.com", 80, "HTTP")
OUTSIDE = EgressGuard("bookinfo", deny=True, hosts=(HOST,), networks=(("10.9.0.0/16", ()),), key="namespaces.bookinfo")


def test_a_namespace_that_denies_calls_to_the_outside_is_closed_after_what_it_leaves_open() -> None:
    compilation = compile_routes([], "linkerd", guards=[OUTSIDE])
    made = {reference(item): item["spec"] for item in compilation.manifests}
    assert {name: spec["trafficPolicy"] for name, spec in made.items() if "trafficPolicy" in spec} == {
        "EgressNetwork/bookinfo/meshup-egress-open": "Allow",
        "EgressNetwork/bookinfo/meshup-egress": "Deny",
    }
    assert made["EgressNetwork/bookinfo/meshup-egress-open"]["networks"] == [{"cidr": "10.9.0.0/16"}]
    assert list(made)[-1] == "EgressNetwork/bookinfo/meshup-egress"
    assert dependencies(compilation.objects)[-1] == [0, 1]


def test_a_policy_and_routes_of_one_namespace_share_its_egress_network() -> None:
    raw = {
        "reviews": {"namespace": "bookinfo", "egress": [{"host": "other.example.com", "port": 80, "protocol": "HTTP"}]}
    }
    compilation = compile_routes(routes_of(raw), "linkerd", guards=[OUTSIDE])
    made = [reference(item) for item in compilation.manifests]
    assert len(made) == len(set(made)) == 4
    assert {"HTTPRoute/bookinfo/egress-api.example.com-80", "HTTPRoute/bookinfo/egress-other.example.com-80"} < set(
        made
    )
    assert "EgressNetwork/bookinfo/meshup-egress" in compilation.summaries["reviews"]["objects"]
