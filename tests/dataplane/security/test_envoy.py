"""What Istio's real control plane and Envoy do with security objects that are written by hand.

Each case says by itself what is expected, so it is an oracle that owes nothing to our compilers; then the evaluator of
Istio's objects is held to it. These are the facts of the reference on security, tried.
"""

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from components.meshes import MESHES
from components.security.model import Account
from components.security.plane import AccessRequest
from components.traffic.model import Port, Service
from tests.dataplane.security import bench as objects
from tests.dataplane.security import town
from tests.dataplane.security.bench import Bench, Manifest
from tests.dataplane.security.town import (
    ALLOWED,
    AUTO,
    BANK,
    CLERK,
    CLOSED,
    DENIED,
    FRONT,
    GRPC,
    HTTP,
    ISSUER,
    LOOSE,
    RIVAL,
    SHOP,
    STALLS,
    STRANGER,
    TCP,
    TELLER,
    Outcome,
)
from tests.dataplane.traffic.bench import until
from tests.dataplane.traffic.request_batch import Sent

pytestmark = pytest.mark.dataplane

Spec = Mapping[str, Any]
METRICS = Port(15020)
NO_SERVICE = Port(LOOSE)
PLAIN = None
GRPC_DENIED = Outcome(False, 200, "", 7)
PERMISSIVE = {"mtls": {"mode": "PERMISSIVE"}}
EVERYTHING: Spec = {"rules": [{}]}


@dataclass(frozen=True)
class Case:
    """Objects that select one workload, and requests to it.

    Attributes:
        name: What it shows.
        asked: Requests, as changes of a plain GET by `FRONT` to the HTTP port, and what becomes of each.
        policies: Specs of AuthorizationPolicies.
        peer: Spec of a PeerAuthentication.
        tokens: The `jwtRules` of a RequestAuthentication.
        dry: Whether the policies are in dry-run.
    """

    name: str
    asked: Sequence[tuple[Mapping[str, Any], Outcome]]
    policies: Sequence[Spec] = ()
    peer: Spec | None = None
    tokens: Sequence[Spec] = ()
    dry: bool = False

    def manifests(self, service: Service) -> list[Manifest]:
        """The objects, for the pods of a Service."""
        chosen = selector(service)
        more = {"istio.io/dry-run": "true"} if self.dry else {}
        made = [
            objects.policy(SHOP, f"{service.name}-{number}", {**chosen, **spec}, **more)
            for number, spec in enumerate(self.policies)
        ]
        if self.peer is not None:
            made.append(objects.policy(SHOP, service.name, {**chosen, **self.peer}, "PeerAuthentication"))
        if self.tokens:
            spec = {**chosen, "jwtRules": list(self.tokens)}
            made.append(objects.policy(SHOP, service.name, spec, "RequestAuthentication"))
        return made


def selector(service: Service) -> Spec:
    """What selects the pods of a Service."""
    return {"selector": {"matchLabels": dict(service.selector)}}


def allow(*sources: Spec, **operation: Sequence[str]) -> Spec:
    """A policy of one rule that allows."""
    return {"rules": [rule(*sources, **operation)]}


def deny(*sources: Spec, **operation: Sequence[str]) -> Spec:
    """A policy of one rule that denies."""
    return {"action": "DENY", **allow(*sources, **operation)}


def rule(*sources: Spec, **operation: Sequence[str]) -> Spec:
    """A rule."""
    return {
        **({"from": [{"source": one} for one in sources]} if sources else {}),
        **({"to": [{"operation": operation}]} if operation else {}),
    }


def when(key: str, *values: str, unless: bool = False) -> Spec:
    """A policy that allows on one condition."""
    return {"rules": [{"when": [{"key": key, "notValues" if unless else "values": list(values)}]}]}


def asks(outcome: Outcome, *requests: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Outcome]]:
    """Requests of which the same becomes."""
    return [(one, outcome) for one in requests]


def paths(*targets: str) -> list[Mapping[str, Any]]:
    """Requests for paths."""
    return [{"path": target} for target in targets]


def header(*pairs: tuple[str, str], **more: Any) -> Mapping[str, Any]:
    """A request with headers."""
    return {"headers": pairs, **more}


def bearer(*, signed: str = "valid", **claims: Any) -> Mapping[str, Any]:
    """A request with a token that is valid for an hour, unless the claims say otherwise. Times are from now on."""
    whole = {"iss": ISSUER.name, "sub": "ann", "aud": "shop", "exp": 3600, **claims}
    return {"bearer": signed, "claims": {key: value for key, value in whole.items() if value is not None}}


def unauthorized(reason: str) -> Outcome:
    """The answer to a token that is refused."""
    return Outcome(False, 401, reason)


PREFLIGHT = header(("origin", "https://a.example.com"), ("access-control-request-method", "GET"), method="OPTIONS")
PRINCIPAL = f"cluster.local/ns/{SHOP}/sa/front"
TOKENS = [{"issuer": ISSUER.name, "audiences": ["shop"], "jwks": ISSUER.jwks}]
TWO_ISSUERS = [*TOKENS, {"issuer": RIVAL.name, "jwks": RIVAL.jwks}]
NOBODYS_ISSUER = unauthorized("Jwt issuer is not configured")

CASES = [
    Case(
        "without a policy every mesh caller is let in, and under STRICT no other",
        [
            *asks(ALLOWED, {}, {"caller": TELLER}, {"port": TCP, "http": False}),
            *asks(ALLOWED, {"port": NO_SERVICE, "http": False}),
            *asks(CLOSED, {"caller": PLAIN}, {"caller": PLAIN, "port": TCP, "http": False}),
            *asks(CLOSED, {"caller": PLAIN, "port": NO_SERVICE}),
            # The sidecar's own ports.
            *asks(Outcome(False, 404, "404 page not found\n"), {"caller": PLAIN, "port": METRICS, "path": "/none"}),
        ],
    ),
    Case(
        "a certificate of another trust domain is refused although the same authority signed it",
        asks(CLOSED, {"trust_domain": "other.example"}, {"trust_domain": "other.example", "port": TCP, "http": False}),
    ),
    Case(
        "a principal opens every port of the workload for one account",
        [
            *asks(ALLOWED, {}, {"port": TCP, "http": False}, {"port": GRPC, "grpc": True}),
            *asks(ALLOWED, {"port": NO_SERVICE, "http": False}),
            *asks(DENIED, {"caller": CLERK}, {"caller": TELLER}, {"caller": Account(BANK, "front")}),
            *asks(CLOSED, {"caller": CLERK, "port": NO_SERVICE, "http": False}),
            *asks(CLOSED, {"caller": CLERK, "port": TCP, "http": False}),
            *asks(GRPC_DENIED, {"caller": CLERK, "port": GRPC, "grpc": True, "path": "/shop.Cart/Add"}),
        ],
        [allow({"principals": [PRINCIPAL]})],
    ),
    Case(
        "serviceAccounts are read in the namespace of the policy unless they name another",
        [
            *asks(ALLOWED, {}, {"caller": TELLER}),
            *asks(DENIED, {"caller": CLERK}, {"caller": Account(BANK, "front")}),
        ],
        [allow({"serviceAccounts": ["front", f"{BANK}/teller"]})],
    ),
    Case(
        "a namespace takes all of its accounts and no other",
        [*asks(ALLOWED, {"caller": TELLER}), *asks(DENIED, {}, {"caller": Account("bank-2", "teller")})],
        [allow({"namespaces": [BANK]})],
    ),
    Case(
        "stars of principals are read at an end only, and spiffe:// never matches",
        [
            *asks(ALLOWED, {"caller": TELLER}, {"caller": Account("x", "seller")}),
            *asks(DENIED, {}, {"caller": CLERK}),
        ],
        [
            allow(
                {
                    "principals": [
                        f"cluster.local/ns/{BANK}/*",
                        "*/seller",
                        f"spiffe://{PRINCIPAL}",
                        "cluster.local/*/clerk",
                    ]
                }
            )
        ],
    ),
    Case(
        "without an identity nobody meets a principal or a namespace, and everybody meets their negation",
        [
            *asks(ALLOWED, {"caller": PLAIN}, {"caller": CLERK}),
            *asks(DENIED, {}, {"caller": TELLER}),
        ],
        [allow({"notPrincipals": [PRINCIPAL], "notNamespaces": [BANK]})],
        PERMISSIVE,
    ),
    Case(
        "under PERMISSIVE a rule of identities does not let plain callers in",
        [
            *asks(ALLOWED, {}),
            *asks(DENIED, {"caller": PLAIN}, {"caller": PLAIN, "port": NO_SERVICE}),
            *asks(CLOSED, {"caller": PLAIN, "port": TCP, "http": False}),
        ],
        [allow({"principals": ["*"]})],
        PERMISSIVE,
    ),
    Case(
        "a rule that denies an identity lets it pass in plain text",
        [*asks(ALLOWED, {"caller": PLAIN}), *asks(DENIED, {})],
        [deny({"principals": [PRINCIPAL]})],
        PERMISSIVE,
    ),
    Case(
        "a source of an address and an identity needs both",
        [
            *asks(ALLOWED, {"address": "10.244.3.9"}),
            *asks(DENIED, {"address": "10.244.4.9"}, {"address": "10.244.3.9", "caller": CLERK}),
        ],
        [allow({"principals": [PRINCIPAL], "ipBlocks": ["10.244.3.0/24"]})],
    ),
    Case(
        "plain callers are told apart by their address",
        [
            *asks(ALLOWED, {"caller": PLAIN, "address": "10.244.3.9"}),
            *asks(DENIED, {"caller": PLAIN, "address": "10.244.3.65"}, {"caller": PLAIN, "address": "10.244.4.9"}),
            *asks(CLOSED, {"caller": PLAIN, "address": "10.244.4.9", "port": TCP, "http": False}),
            *asks(ALLOWED, {"caller": PLAIN, "address": "10.244.3.9", "port": TCP, "http": False}),
        ],
        [allow({"ipBlocks": ["10.244.3.0/24"], "notIpBlocks": ["10.244.3.64/26"]})],
        PERMISSIVE,
    ),
    Case(
        "remoteIpBlocks believe the last address of X-Forwarded-For",
        [
            *asks(
                ALLOWED, header(("x-forwarded-for", "203.0.113.7")), header(("x-forwarded-for", "1.1.1.1, 203.0.113.7"))
            ),
            *asks(DENIED, {}, header(("x-forwarded-for", "203.0.113.7, 1.1.1.1"))),
        ],
        [allow({"remoteIpBlocks": ["203.0.113.0/24"]})],
    ),
    Case(
        "ports are those of the workload",
        [
            *asks(ALLOWED, {}, {"port": TCP, "http": False}),
            # Under mutual TLS the proxy does not look for HTTP on a port that is in no Service.
            *asks(CLOSED, {"port": NO_SERVICE, "http": False}),
            *asks(GRPC_DENIED, {"port": GRPC, "grpc": True}),
        ],
        [allow(ports=["8080", "9000"])],
    ),
    Case("a port of the Service is none of the workload", asks(DENIED, {}), [allow(ports=["80"])]),
    Case(
        "methods are compared by case",
        [
            *asks(ALLOWED, {"method": "GET"}, {"method": "PUT"}),
            *asks(DENIED, {"method": "POST"}, {"method": "DELETE"}, {"method": "PATCH"}),
        ],
        [allow(methods=["GET", "post", "PU*"])],
    ),
    Case(
        "a path is compared whole, by case, without the query",
        [
            *asks(ALLOWED, *paths("/a", "/a?x=/b", "/b/c", "/b/", "/x.png", "/b/../a", "/c/./../a", "/%61", "/a#x")),
            *asks(DENIED, *paths("/a/", "/A", "/b", "/bx", "/", "/b%2fc", "//a", "/a;x", "/a%20")),
            *asks(ALLOWED, *paths("/b\\c", "/b/%2e%2e/a")),
            *asks(DENIED, *paths("/b/c/../..//b/d", "/b/..//a")),
        ],
        [allow(paths=["/a", "/b/*", "*.png"])],
    ),
    Case(
        "templates take whole segments",
        [
            *asks(ALLOWED, *paths("/v/1/x", "/w", "/w/", "/w/a/b", "/v/a.b/x")),
            *asks(DENIED, *paths("/v/1", "/v//x", "/v/1/2/x", "/v/1/x/", "/wx", "/v/1/y")),
        ],
        [allow(paths=["/v/{*}/x", "/w/{**}"]), allow(paths=["/w"])],
    ),
    Case(
        "hosts are compared with their port, whatever the case",
        [
            *asks(ALLOWED, {"host": "a.example.com"}, {"host": "A.example.COM"}, {"host": "x.example.org"}),
            *asks(DENIED, {"host": "b.example.com"}, {"host": "example.org"}, {}),
            *asks(GRPC_DENIED, {"host": "a.example.com", "port": GRPC, "grpc": True}),
            *asks(ALLOWED, {"host": "b.example.com", "port": GRPC, "grpc": True}),
        ],
        [allow(hosts=["a.example.com", "*.example.org", "b.example.com:*"])],
    ),
    Case(
        "headers are compared whole, and of a repeated one each value",
        [
            *asks(ALLOWED, header(("x-a", "1")), header(("x-a", "beta-2")), header(("x-a", "1"), ("x-b", ""))),
            *asks(DENIED, {}, header(("x-a", "2")), header(("x-b", "1")), header(("x-a", "1,1"))),
            *asks(ALLOWED, header(("x-a", "1"), ("x-a", "1")), header(("x-a", "2"), ("x-a", "1"))),
        ],
        [when("request.headers[x-a]", "1", "beta-*")],
    ),
    Case(
        "a header with a star is one that is there",
        [*asks(ALLOWED, header(("x-a", "1")), header(("x-a", ""))), *asks(DENIED, {}, header(("x-b", "")))],
        [when("request.headers[X-A]", "*")],
    ),
    Case(
        "a header that is not there meets a negation",
        [
            *asks(ALLOWED, {}, header(("x-a", "2"))),
            *asks(DENIED, header(("x-a", "1")), header(("x-a", "2"), ("x-a", "1"))),
        ],
        [when("request.headers[x-a]", "1", unless=True)],
    ),
    Case(
        "a template ends with whole segments, of letters that a path has",
        [
            *asks(ALLOWED, *paths("/t/", "/t/a/b", "/u/x/", "/s/x", "/s/x*y")),
            *asks(DENIED, *paths("/t", "/u/x", "/s/x[y", "/s/x/y")),
        ],
        [allow(paths=["/t/{**}", "/u/{*}/{**}", "/s/{*}"])],
    ),
    Case(
        "the end of a host has no port",
        [
            *asks(ALLOWED, {"host": "a.example.com"}),
            *asks(GRPC_DENIED, {"host": "a.example.com", "port": GRPC, "grpc": True}),
        ],
        [allow(hosts=["*.example.com"])],
    ),
    Case(
        "the header host is the authority",
        [*asks(ALLOWED, {"host": "a.example.com"}), *asks(DENIED, {})],
        [when("request.headers[host]", "a.example.com")],
    ),
    Case(
        "what allows all ports but one leaves every other open",
        [
            *asks(ALLOWED, {"port": TCP, "http": False}, {"port": NO_SERVICE}, {"port": NO_SERVICE, "http": False}),
            *asks(ALLOWED, {"port": NO_SERVICE, "caller": PLAIN}, {"port": AUTO, "caller": PLAIN}),
            *asks(DENIED, {}, {"caller": PLAIN}),
        ],
        [allow(notPorts=["8080"])],
        PERMISSIVE,
    ),
    Case(
        "without a declared protocol HTTP is judged as HTTP, and a connection by what denies without HTTP fields",
        [
            *asks(ALLOWED, {"port": AUTO}, {"port": AUTO, "caller": PLAIN}),
            *asks(DENIED, {"port": AUTO, "method": "POST"}, {"port": AUTO, "caller": PLAIN, "method": "POST"}),
            *asks(CLOSED, {"port": AUTO, "http": False}),
        ],
        [deny(methods=["POST"])],
        PERMISSIVE,
    ),
    Case(
        "rules add up, and so do policies",
        [
            *asks(ALLOWED, {"path": "/a"}, {"path": "/b", "caller": TELLER}, {"path": "/c", "caller": CLERK}),
            *asks(DENIED, {"path": "/b"}, {"path": "/a", "caller": TELLER}, {"path": "/d"}),
        ],
        [
            {"rules": [rule({"principals": [PRINCIPAL]}, paths=["/a"]), rule({"namespaces": [BANK]}, paths=["/b"])]},
            allow(paths=["/c"]),
        ],
    ),
    Case(
        "what denies comes before what allows",
        [*asks(ALLOWED, {"path": "/a"}), *asks(DENIED, {"path": "/admin/x"}, {"path": "/a/../admin/y"})],
        [EVERYTHING, deny(paths=["/admin/*"], ports=["8080"])],
    ),
    Case(
        "a policy that allows, without rules, lets nothing in on any port",
        [
            *asks(DENIED, {}),
            *asks(CLOSED, {"port": TCP, "http": False}, {"port": NO_SERVICE, "http": False}),
            *asks(GRPC_DENIED, {"port": GRPC, "grpc": True}),
        ],
        [{}],
    ),
    Case(
        "on a TCP port a rule with an HTTP field that allows is dropped",
        [*asks(ALLOWED, {}), *asks(CLOSED, {"port": TCP, "http": False}), *asks(DENIED, {"method": "POST"})],
        [allow({"principals": [PRINCIPAL]}, methods=["GET"])],
    ),
    Case(
        "on a TCP port a rule that denies loses its HTTP fields and closes it",
        [*asks(ALLOWED, {}), *asks(CLOSED, {"port": TCP, "http": False}), *asks(DENIED, {"method": "POST"})],
        [deny(methods=["POST"])],
    ),
    Case(
        "a dry run decides nothing",
        asks(ALLOWED, {}, {"caller": TELLER}, {"port": TCP, "http": False}, {"port": GRPC, "grpc": True}),
        [allow({"principals": [PRINCIPAL]}, ports=["1"]), deny(ports=["8080"])],
        dry=True,
    ),
    Case(
        "portLevelMtls holds for one port of the workload, also for one that is in no Service",
        [
            *asks(ALLOWED, {}, {"caller": PLAIN}, {"port": TCP, "http": False}, {"port": NO_SERVICE, "caller": PLAIN}),
            *asks(CLOSED, {"caller": PLAIN, "port": TCP, "http": False}, {"caller": PLAIN, "port": GRPC, "grpc": True}),
        ],
        peer={"portLevelMtls": {"8080": {"mode": "PERMISSIVE"}, str(LOOSE): {"mode": "DISABLE"}}},
    ),
    Case(
        "without a token nobody is asked for one",
        [
            *asks(ALLOWED, {}, bearer(), bearer(aud=["other", "shop"]), {"port": TCP, "http": False}),
            *asks(unauthorized("Jwt is expired"), bearer(exp=-3600)),
            *asks(unauthorized("Jwt not yet valid"), bearer(nbf=3600)),
            *asks(Outcome(False, 403, "Audiences in Jwt are not allowed"), bearer(aud="bank"), bearer(aud=None)),
            *asks(unauthorized("Jwt verification fails"), bearer(signed="bad-signature")),
            *asks(NOBODYS_ISSUER, bearer(iss=STRANGER.name), bearer(iss=RIVAL.name)),
            *asks(ALLOWED, bearer(exp=-30), bearer(exp=None)),
            *asks(Outcome(False, 200, "", 16), {"port": GRPC, "grpc": True, **bearer(exp=-3600)}),
        ],
        tokens=TOKENS,
    ),
    Case(
        "a token is required by a rule for its bearer",
        [
            *asks(ALLOWED, bearer()),
            *asks(DENIED, {}, bearer(sub=None)),
            *asks(CLOSED, {"port": TCP, "http": False}),
            *asks(NOBODYS_ISSUER, bearer(iss=STRANGER.name)),
        ],
        [allow({"requestPrincipals": [f"{ISSUER.name}/*"]})],
        tokens=TOKENS,
    ),
    Case(
        "claims are texts, or elements of lists, and scope is split at blanks",
        [
            *asks(ALLOWED, bearer(scope="read write"), bearer(scope=["write"]), bearer(scope="write")),
            *asks(DENIED, bearer(), {}, bearer(scope="rewrite"), bearer(scope=["read write"]), bearer(scope=1)),
        ],
        [when("request.auth.claims[scope]", "write")],
        tokens=TOKENS,
    ),
    Case(
        "claims below claims are met by their path, and numbers and booleans by nothing",
        [
            *asks(ALLOWED, bearer(realm={"roles": ["a", "b"]}), bearer(realm={"roles": "a"})),
            *asks(DENIED, bearer(realm={"roles": ["b"]}), bearer(realm="a"), bearer(level=7), bearer(level=True)),
            *asks(ALLOWED, bearer(level="7")),
        ],
        [when("request.auth.claims[realm][roles]", "a"), when("request.auth.claims[level]", "7", "true")],
        tokens=TOKENS,
    ),
    Case(
        "of two issuers each is taken by its own key, and a third is refused",
        [
            *asks(ALLOWED, {}, bearer(), bearer(iss=RIVAL.name)),
            *asks(NOBODYS_ISSUER, bearer(iss=STRANGER.name)),
            *asks(unauthorized("Jwt verification fails"), bearer(iss=RIVAL.name, signed="bad-signature")),
        ],
        tokens=TWO_ISSUERS,
    ),
    Case(
        "of two rules of one issuer either audience will do",
        [
            *asks(ALLOWED, bearer(), bearer(aud="bank")),
            *asks(unauthorized("Jwt is expired"), bearer(exp=-3600), bearer(exp=-3600, aud="bank")),
            *asks(Outcome(False, 403, "Audiences in Jwt are not allowed"), bearer(aud="other")),
        ],
        tokens=[*TOKENS, {**TOKENS[0], "audiences": ["bank"]}],
    ),
    Case(
        "times that are none are refused",
        [
            *asks(unauthorized("Jwt payload [exp] field is not an integer"), bearer(exp="soon")),
            *asks(unauthorized("Jwt payload [exp] field is not a positive 64 bit integer"), bearer(exp=-1e12)),
        ],
        tokens=TOKENS,
    ),
    Case("no path has a zero byte", asks(Outcome(False, 400), {"path": "/a%00"}, {"path": "/%00", "caller": TELLER})),
    Case(
        "a preflight has no token, so a rule for bearers denies it",
        [
            *asks(
                DENIED,
                header(("origin", "https://a.example.com"), ("access-control-request-method", "GET"), method="OPTIONS"),
            )
        ],
        [allow({"requestPrincipals": ["*"]})],
        tokens=TOKENS,
    ),
]


@pytest.fixture(scope="module")
def seen(bench: Bench) -> Mapping[str, list[Outcome]]:
    """What became of the requests of each case: as many cases at once as there are stalls."""
    found: dict[str, list[Outcome]] = {}
    called = town.pods(bench, STALLS)
    for first in range(0, len(CASES), len(STALLS)):
        chosen = list(zip(CASES[first:], STALLS, strict=False))
        manifests = [item for case, service in chosen for item in case.manifests(service)]
        with bench.applied(manifests, called.values()):
            asked = [(case.name, requested(case, service)) for case, service in chosen]
            outcomes = iter(town.straight(bench, [one for _, requests in asked for one in requests], called))
            for name, requests in asked:
                found[name] = [next(outcomes) for _ in requests]
    return found


def requested(case: Case, service: Service) -> list[AccessRequest]:
    """The requests of a case."""
    made = [replace(town.request(service), **changes) for changes, _ in case.asked]
    return [replace(one, claims=dated(one.claims)) for one in made]


def dated(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """Claims with times of the clock."""
    now = time.time()
    return {
        key: now + value if key in ("exp", "nbf") and isinstance(value, int | float) else value
        for key, value in claims.items()
    }


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_envoy_decides(seen: Mapping[str, list[Outcome]], case: Case) -> None:
    expected = [(changes, outcome) for changes, outcome in case.asked]
    got = [(changes, outcome) for (changes, _), outcome in zip(case.asked, seen[case.name], strict=True)]
    assert got == expected


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_evaluator_predicts_it(case: Case) -> None:
    """Objects alone decide. The port of the sidecar's own answers is the agent's, not the pod's."""
    service = STALLS[0]
    expected: list[tuple[Mapping[str, Any], Outcome]] = []
    got: list[tuple[Mapping[str, Any], Outcome]] = []
    for (changes, outcome), request in zip(case.asked, requested(case, service), strict=True):
        # The path of a request has no query.
        bare = replace(request, path=re.split(r"[?#]", request.path)[0])
        verdict = MESHES["istio"].security.verdict(case.manifests(service), town.WORLD, bare, "strict")
        expected.append((changes, ALLOWED if request.port == METRICS else outcome))
        got.append((changes, town.predicted(verdict)))
    assert got == expected


def test_a_call_to_the_address_of_a_pod_is_plain_text_and_refused_under_strict(bench: Bench) -> None:
    service = STALLS[0]
    (called,) = town.pods(bench, [service]).values()
    source = bench.pod(SHOP, app="front")
    sent = Sent(service.host, address=called.address, port=HTTP.container)
    with bench.applied([objects.policy(SHOP, service.name, {**EVERYTHING, **selector(service)})], [called]):
        # No Service has HTTP on this port number, so the caller's proxy takes it for TCP. If one had: status 503.
        assert town.observed(bench.through(source, [sent])[0]) == CLOSED
        assert town.observed(bench.straight([sent])[0]) == CLOSED


RAW = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.load_cert_chain(sys.argv[3])
context.set_alpn_protocols(["istio"])
with context.wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2])))) as connection:
    connection.sendall(b"no HTTP\\r\\n\\r\\n")
    print(connection.recv(100))
"""


def test_bytes_that_are_no_http_are_a_bad_request_on_a_port_that_is_declared_so(bench: Bench) -> None:
    (called,) = town.pods(bench, [STALLS[0]]).values()
    said = bench.run(None, RAW, called.address, str(HTTP.container), bench.certificate(SHOP, "front"))
    assert "HTTP/1.1 400 Bad Request" in said


GREETER = """
import socket
with socket.create_server(("0.0.0.0", 7777)) as server:
    for _ in range(2):
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"hello")
            print(connection.recv(100).decode(), flush=True)
"""
LISTENS = """
from pathlib import Path
print(any(f":{7777:04X} 00000000" in line for line in Path("/proc/net/tcp").read_text().splitlines()))
"""
GREETED = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.load_cert_chain(sys.argv[2])
context.set_alpn_protocols(["istio"])
with context.wrap_socket(socket.create_connection((sys.argv[1], 7777))) as connection:
    print(connection.recv(100).decode())
    connection.sendall(b"my word")
    connection.recv(100)
"""


def test_a_server_that_speaks_first_is_heard_by_a_caller_who_is_denied_and_does_not_hear_it(bench: Bench) -> None:
    service = STALLS[0]
    (called,) = town.pods(bench, [service]).values()
    server = subprocess.Popen(called.enter_argv([sys.executable, "-c", GREETER]), stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: bench.run(called, LISTENS).strip() == "True")
        policy = objects.policy(SHOP, service.name, {**allow({"principals": [PRINCIPAL]}), **selector(service)})
        with bench.applied([policy], [called]):
            for caller in (CLERK, FRONT):
                certificate = bench.certificate(caller.namespace, caller.name)
                assert bench.run(None, GREETED, called.address, certificate) == "hello\n"
    finally:
        server.kill()
    assert server.communicate()[0] == "\nmy word\n"
