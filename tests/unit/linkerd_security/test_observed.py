"""What real proxies of edge-26.8.3 were seen to do (Bookinfo, strict), row by row: the evaluator says the same.

Callers: productpage and reviews, meshed with accounts of their own; plain, outside of the mesh. Callee: details:9080.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from components.manifests import Manifest
from components.meshes.linkerd.security import LINKERD_SECURITY
from components.security.model import Account
from components.security.plane import AccessRequest, Verdict
from components.security.world import Workload, World
from components.traffic.model import Port, Service
from tests.unit.linkerd_security.objects import (
    NEW,
    OLD,
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
WORLD = World(
    services=(DETAILS,),
    workloads=(Workload("details-v1", "bookinfo", "Deployment", "bookinfo-details", labels=(("app", "details"),)),),
    control_plane="linkerd",
)
PLAIN = "10.244.0.9"
ADDRESSES = {"productpage": "10.244.0.1", "reviews": "10.244.0.2", "ratings": "10.244.0.3", "plain": PLAIN}

DENY = server()
ON_SERVER = allow("on-server", "Server/details", account("productpage"))
ON_NAMESPACE = allow("on-namespace", "Namespace/bookinfo", account("productpage"))
DETAILS_ROUTE = route("get", match("/details", method="GET"))
ON_ROUTE = allow("on-route", "HTTPRoute/get", account("productpage"))
ONE = route("one", match("/details/1", "Exact"))
ON_ONE = allow("on-one", "HTTPRoute/one", account("reviews"))
REST = route("rest", match("/"))
BY_ROUTE = (DENY, DETAILS_ROUTE, ON_ROUTE)
IDENTITY = "reviews.bookinfo.serviceaccount.identity.linkerd.cluster.local"
TLS = allow("tls", "Server/details", authentication("MeshTLSAuthentication"))
FROM_ADDRESS = (
    allow("net", "Server/details", authentication("NetworkAuthentication")),
    item("NetworkAuthentication", "callers", {"networks": [{"cidr": f"{PLAIN}/32"}]}),
)
LIMIT = item(
    "HTTPLocalRateLimitPolicy",
    "details",
    {
        "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": "details"},
        "identity": {"requestsPerSecond": 5},
        "overrides": [{"requestsPerSecond": 20, "clientRefs": [account("productpage")]}],
    },
)


def ask(objects: tuple[Manifest, ...], caller: str, path: str, method: str = "GET") -> Verdict:
    """Decide a request of one of the callers."""
    who = None if caller == "plain" else Account("bookinfo", caller)
    request = AccessRequest(DETAILS, DETAILS.ports[0], who, address=ADDRESSES[caller], method=method, path=path)
    return LINKERD_SECURITY.verdict(objects, WORLD, request, "strict")


@dataclass(frozen=True)
class Row:
    """Objects, and the statuses of requests `caller method path`; method and path are GET /details/1 if left out."""

    title: str
    objects: tuple[Manifest, ...]
    answers: dict[str, int]


ROWS = (
    Row("nothing", (), {"productpage": 200, "reviews": 200, "plain": 403}),
    Row("deny", (DENY,), {"productpage": 403, "reviews": 403, "plain": 403}),
    Row("authorization on the Server", (DENY, ON_SERVER), {"productpage": 200, "reviews": 403, "plain": 403}),
    Row(
        "with a route, the Server's authorization stays, and there is no route for the rest",
        (DENY, ON_SERVER, DETAILS_ROUTE),
        {"productpage": 200, "productpage POST /details/1": 404, "productpage GET /other": 404},
    ),
    Row("the route alone", (DENY, DETAILS_ROUTE), {"productpage": 403, "productpage GET /other": 404}),
    Row(
        "authorization on the route",
        BY_ROUTE,
        {"productpage": 200, "reviews": 403, "productpage GET /other": 404, "productpage POST /details/1": 404},
    ),
    Row(
        "with a closed route for the rest",
        (*BY_ROUTE, REST),
        {"productpage": 200, "productpage GET /other": 403, "productpage POST /details/1": 403},
    ),
    Row(
        "a prefix, paths as they are sent",
        (*BY_ROUTE, REST),
        {
            "productpage GET /details/../other": 200,
            "productpage GET /details%2F1": 403,
            "productpage GET /detailsx": 403,
            "productpage GET //details/1": 403,
        },
    ),
    Row(
        "a second, better route for others: only the best route is asked",
        (*BY_ROUTE, REST, ONE, ON_ONE),
        {"productpage": 403, "reviews": 200, "productpage GET /details/2": 200},
    ),
    Row("authorization on the Namespace", (DENY, ON_NAMESPACE), {"productpage": 200, "reviews": 403}),
    Row(
        "the Namespace's authorization holds for routes too",
        (DENY, ON_NAMESPACE, DETAILS_ROUTE),
        {"productpage": 200, "productpage POST /details/1": 404, "reviews": 403},
    ),
    Row(
        "no required authentication is everybody",
        (DENY, allow("all", "Server/details")),
        {"productpage": 200, "reviews": 200, "plain": 200},
    ),
    Row("a reference to nothing is nobody", (DENY, TLS), {"productpage": 403, "reviews": 403, "plain": 403}),
    Row("an identity", (DENY, TLS, meshtls(IDENTITY)), {"reviews": 200, "ratings": 403}),
    Row(
        "identities of a namespace",
        (DENY, TLS, meshtls("*.bookinfo.serviceaccount.identity.linkerd.cluster.local")),
        {"ratings": 200, "plain": 403},
    ),
    Row("an address", (DENY, *FROM_ADDRESS), {"plain": 200, "reviews": 403}),
    Row(
        "two Servers, the older denies",
        (server("all-unauthenticated", "a-newer", NEW), server("deny", "z-older", OLD)),
        {"productpage": 403, "plain": 403},
    ),
    Row(
        "the older is deleted",
        (server("all-unauthenticated", "a-newer", NEW),),
        {"productpage": 200, "plain": 200},
    ),
    Row("audit", (server("audit"),), {"productpage": 200, "plain": 200}),
    Row("all-authenticated", (server("all-authenticated"),), {"productpage": 200, "plain": 403}),
    Row("annotation deny, pods from before", (), {"productpage": 200}),
    Row("annotation deny, a new pod", (namespace("deny"),), {"productpage": 403}),
    Row(
        "without a Server an authorization has nothing to hold on",
        (namespace("deny"), ON_NAMESPACE),
        {"productpage": 403},
    ),
    Row(
        "a Server is switched, its authorizations in place: open",
        (server("all-authenticated"), ON_SERVER),
        {"productpage": 200},
    ),
    Row("a Server is switched, its authorizations in place: closed", (DENY, ON_SERVER), {"productpage": 200}),
    Row(
        "a rate limit counts whom the policy admits",
        (server("all-authenticated"), LIMIT),
        {"productpage": 200, "reviews": 200},
    ),
)


@pytest.mark.parametrize(
    ("objects", "asked", "status"),
    [
        pytest.param(row.objects, asked, status, id=f"{row.title}: {asked}")
        for row in ROWS
        for asked, status in row.answers.items()
    ],
)
def test_a_request_gets_the_answer_that_was_observed(objects: tuple[Manifest, ...], asked: str, status: int) -> None:
    caller, method, path = (*asked.split(), "GET", "/details/1")[:3] if " " not in asked else asked.split()
    answer = ask(objects, caller, path, method)
    assert (answer.status or 200, answer.allowed) == (status, status == 200)


def test_audit_names_the_server_that_would_deny() -> None:
    assert ask((server("audit"),), "plain", "/").audited == ("Server/bookinfo/details",)
    assert ask((server("audit"), ON_SERVER), "productpage", "/").audited == ()


OUTSIDE = Service("good.example.com", "", (Port(80),))
EGRESS = item("EgressNetwork", "all", {"trafficPolicy": "Deny"})
PARENT = {"group": "policy.linkerd.io", "kind": "EgressNetwork", "name": "all", "port": 80}
GOOD = route("good", match("/"), parentRefs=[PARENT], hostnames=["good.example.com"])


@pytest.mark.parametrize(
    ("objects", "service", "status"),
    [
        ((EGRESS,), OUTSIDE, 403),
        ((EGRESS,), DETAILS, 200),
        ((EGRESS, GOOD), OUTSIDE, 200),
        ((EGRESS, GOOD), Service("bad.example.com", "", (Port(80),)), 403),
    ],
    ids=["a host outside", "a Service in the cluster", "the host of a route", "another host"],
)
def test_a_call_to_the_outside_gets_the_answer_that_was_observed(
    objects: tuple[Manifest, ...], service: Service, status: int
) -> None:
    request = AccessRequest(service, service.ports[0], Account("bookinfo", "productpage"))
    answer = LINKERD_SECURITY.verdict(objects, WORLD, request, "strict")
    assert (answer.status or 200, answer.allowed) == (status, status == 200)
