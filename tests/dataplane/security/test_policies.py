"""What `meshup:security` asks for is what Istio's real control plane and Envoy do: a row for each feature of the model.

Each row has a Service of its own. What is expected of each request stands beside it, written by hand. It is compared
with what the policy says, what its objects say, and what became of the request: straight to the pod, and, for callers
that have a pod, through their sidecar.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from components.meshes import MESHES
from components.security.capability import FEATURES
from components.security.model import Account
from components.security.plane import AccessRequest
from components.traffic.model import Service
from devcluster.kubelet.registry import RunningPod
from tests.dataplane.security import bench as objects
from tests.dataplane.security import policies, town
from tests.dataplane.security.bench import Bench
from tests.dataplane.security.test_envoy import GRPC_DENIED, PLAIN, asks, bearer, header, paths, unauthorized
from tests.dataplane.security.town import (
    ALLOWED,
    ATTIC,
    BANK,
    CLERK,
    CLOSED,
    DENIED,
    EDGE,
    FRONT,
    GARDEN,
    GATEWAY,
    GATEWAY_PORT,
    GRPC,
    HOUSES,
    HTTP,
    ISSUER,
    KEYS_HOST,
    RIVAL,
    SHOP,
    STALLS,
    STRANGER,
    TCP,
    TELLER,
    VAULT,
    Outcome,
)
from tests.dataplane.traffic.bench import until
from tests.dataplane.traffic.request_batch import Sent

pytestmark = pytest.mark.dataplane

KEYS_PORT = 8890
# istiod remembers a URL that it could not fetch, and does not try it again at once.
KEYS_URI = f"http://{KEYS_HOST}:{KEYS_PORT}/jwks.json?{time.time_ns()}"
FRONT_ONLY = [{"serviceAccount": "front"}]
FRONT_AND_TELLER = [{"serviceAccount": "front"}, {"serviceAccount": f"{BANK}/teller"}]
TOKENS = {"issuer": ISSUER.name, "audiences": ["shop"], "jwks": ISSUER.jwks}
NOBODYS_ISSUER = unauthorized("Jwt issuer is not configured")
ODD = re.compile(r"%|\.\.|//")
Asked = Sequence[tuple[Mapping[str, Any], Outcome]]


@dataclass(frozen=True)
class Row:
    """A policy of one Service.

    Attributes:
        features: The features of the capability matrix that it shows.
        asked: Requests, as changes of a plain GET by `FRONT` to the HTTP port, and what becomes of each.
        allow: Rules that allow.
        deny: Rules that deny.
        mtls: An exception of mutual TLS, but for namespace and Service.
        jwt: Issuers.
        service: The Service, if not one of the stalls.
        namespace: The policy of its namespace.
        unsaid: Whether an `AccessRequest` can't say what is sent: tokens elsewhere than in `Authorization`.
    """

    features: str
    asked: Asked
    allow: Sequence[Mapping[str, Any]] = ()
    deny: Sequence[Mapping[str, Any]] = ()
    mtls: Mapping[str, Any] | None = None
    jwt: Sequence[Mapping[str, Any]] = ()
    service: Service | None = None
    namespace: Mapping[str, Any] | None = None
    unsaid: bool = False


def rule(*to: Mapping[str, Any], source: Sequence[Mapping[str, Any]] = FRONT_ONLY, **more: Any) -> Mapping[str, Any]:
    """A rule."""
    return {"from": list(source), **({"to": list(to)} if to else {}), **more}


permissive = partial(dict[str, Any], mode="permissive", reason="a test")
only = partial(rule, source=FRONT_AND_TELLER)
house = {one.namespace: one for one in HOUSES}

ROWS = [
    Row(
        "caller-account",
        [
            *asks(ALLOWED, {}, {"port": TCP, "http": False}, {"port": GRPC, "grpc": True}, {"method": "DELETE"}),
            *asks(DENIED, {"caller": CLERK}, {"caller": TELLER}, {"caller": Account(BANK, "front")}),
            *asks(CLOSED, {"caller": TELLER, "port": TCP, "http": False}, {"caller": PLAIN}),
            *asks(CLOSED, {"trust_domain": "partner.example"}),
            *asks(GRPC_DENIED, {"caller": TELLER, "port": GRPC, "grpc": True}),
        ],
        [rule()],
    ),
    Row(
        "caller-namespace",
        [*asks(ALLOWED, {"caller": TELLER}, {"caller": Account(BANK, "x")}), *asks(DENIED, {}, {"caller": CLERK})],
        [rule(source=[{"namespace": BANK}])],
    ),
    Row(
        "caller-mesh",
        [*asks(ALLOWED, {}, {"caller": TELLER}), *asks(DENIED, {"caller": PLAIN})],
        [rule(source=[{"mesh": True}], reason="a test")],
        mtls=permissive(),
    ),
    Row(
        "caller-everybody mtls-service",
        [
            *asks(ALLOWED, {}, {"caller": PLAIN}, {"caller": PLAIN, "port": GRPC, "grpc": True}),
            *asks(DENIED, {"path": "/b"}, {"caller": PLAIN, "path": "/b"}),
        ],
        [rule({"paths": ["/"]}, {"port": 9001}, source=[{"everybody": True}], reason="a test")],
        mtls=permissive(),
    ),
    Row(
        "caller-cidr",
        [
            *asks(ALLOWED, {"address": "10.244.3.9"}, {"address": "10.244.3.9", "caller": PLAIN}),
            *asks(DENIED, {"address": "10.244.3.70"}, {"address": "10.244.4.9", "caller": PLAIN}),
            *asks(CLOSED, {"address": "10.244.4.9", "caller": PLAIN, "port": TCP, "http": False}),
        ],
        [rule(source=[{"cidr": "10.244.3.0/24", "except": ["10.244.3.64/26"]}])],
        mtls=permissive(),
    ),
    Row(
        "caller-identity-and-cidr",
        [
            *asks(ALLOWED, {"address": "10.244.3.9"}),
            *asks(DENIED, {"address": "10.244.4.9"}, {"address": "10.244.3.9", "caller": CLERK}),
            *asks(CLOSED, {"address": "10.244.3.9", "caller": PLAIN}),
        ],
        [rule(source=[{"serviceAccount": "front", "cidr": "10.244.3.0/24"}])],
    ),
    Row(
        "port",
        [
            *asks(ALLOWED, {}, {"port": TCP, "http": False, "caller": TELLER}),
            *asks(CLOSED, {"port": TCP, "http": False}),
            *asks(DENIED, {"caller": TELLER}),
            *asks(GRPC_DENIED, {"port": GRPC, "grpc": True}),
        ],
        [rule({"port": 80}), rule({"port": 9000}, source=[{"serviceAccount": f"{BANK}/teller"}])],
    ),
    Row(
        "method",
        [
            *asks(ALLOWED, {}, {"method": "PUT", "caller": TELLER}),
            *asks(DENIED, {"method": "POST"}, {"method": "DELETE"}, {"method": "PATCH", "caller": TELLER}),
        ],
        [rule({"port": 80, "methods": ["GET"]}), only({"port": 80, "methods": ["PUT"]})],
    ),
    Row(
        "path-exact path-prefix path-template",
        [
            *asks(ALLOWED, *paths("/a", "/b", "/b/", "/b/c/d", "/v/1/x", "/b/../a", "/b/%2e%2e/a", "/%61")),
            *asks(DENIED, *paths("/a/", "/A", "/bx", "/", "/v/1/y", "/v/1", "/v//x", "/b/../c", "/a%2f")),
            *asks(DENIED, {"path": "/a", "caller": TELLER}),
            *asks(ALLOWED, {"path": "/b/1", "caller": TELLER}),
        ],
        [
            rule({"port": 80, "paths": ["/a", {"template": "/v/{*}/x"}]}),
            only({"port": 80, "paths": [{"prefix": "/b"}]}),
        ],
    ),
    Row(
        "header header-prefix header-present",
        [
            *asks(ALLOWED, header(("x-a", "1")), header(("x-b", "beta-1")), header(("x-c", "any"))),
            *asks(ALLOWED, header(("x-a", "2"), ("x-a", "1"))),
            *asks(DENIED, {}, header(("x-a", "11")), header(("x-b", "alpha"))),
        ],
        [
            rule({"port": 80, "headers": {"x-a": "1"}}),
            rule({"port": 80, "headers": {"x-b": {"prefix": "beta"}}}),
            rule({"port": 80, "headers": {"x-c": {"present": True}}}),
        ],
    ),
    Row(
        "host",
        [
            *asks(ALLOWED, {"host": "a.example.com"}, {"host": "x.example.org"}),
            *asks(DENIED, {}, {"host": "b.example.com"}, {"host": "example.org"}),
        ],
        [rule({"port": 80, "hosts": ["a.example.com", "*.example.org"]})],
    ),
    Row(
        "grpc",
        [
            *asks(ALLOWED, {"port": GRPC, "grpc": True, "path": "/shop.Cart/Add"}),
            *asks(ALLOWED, {"port": GRPC, "grpc": True, "path": "/shop.Till/Open", "caller": TELLER}),
            *asks(GRPC_DENIED, {"port": GRPC, "grpc": True, "path": "/shop.Cart/Remove"}),
            *asks(GRPC_DENIED, {"port": GRPC, "grpc": True, "path": "/shop.Cart/Add", "caller": TELLER}),
        ],
        [
            rule({"port": 9001, "grpc": {"service": "shop.Cart", "method": "Add"}}),
            only({"port": 9001, "grpc": {"service": "shop.Till"}}),
        ],
    ),
    Row(
        "deny",
        [
            *asks(ALLOWED, {}, {"path": "/a"}, {"caller": TELLER}, {"port": TCP, "http": False}),
            *asks(DENIED, {"path": "/admin"}, {"path": "/a/../admin/x"}, {"caller": CLERK}),
            *asks(CLOSED, {"port": TCP, "http": False, "caller": CLERK}),
        ],
        [rule(source=[{"mesh": True}], reason="a test")],
        [
            rule({"port": 80, "paths": [{"prefix": "/admin"}]}, source=[{"mesh": True}]),
            rule(source=[{"serviceAccount": "clerk"}]),
        ],
    ),
    Row(
        "jwt",
        [
            *asks(ALLOWED, bearer(), bearer(aud=["x", "shop"]), bearer(iss=RIVAL.name, aud="whatever")),
            *asks(DENIED, {}, {**bearer(), "caller": TELLER}),
            *asks(unauthorized("Jwt is expired"), bearer(exp=-3600)),
            *asks(Outcome(False, 403, "Audiences in Jwt are not allowed"), bearer(aud="bank")),
            *asks(unauthorized("Jwt verification fails"), bearer(signed="bad-signature")),
            *asks(NOBODYS_ISSUER, bearer(iss=STRANGER.name)),
            *asks(GRPC_DENIED, {"port": GRPC, "grpc": True}),
            *asks(CLOSED, {"port": TCP, "http": False}),
        ],
        [rule({"port": 80}, {"port": 9001})],
        jwt=[{**TOKENS, "require": True}, {"issuer": RIVAL.name, "jwks": RIVAL.jwks, "require": True}],
    ),
    Row(
        "claims",
        [
            *asks(ALLOWED, bearer(scope="read write"), bearer(scope=["write"], tier="gold")),
            *asks(ALLOWED, {"path": "/all"}, {"path": "/all", **bearer()}),
            *asks(DENIED, {}, bearer(), bearer(scope="rewrite"), bearer(tier="gold")),
            *asks(unauthorized("Jwt is expired"), {"path": "/all", **bearer(exp=-3600)}),
        ],
        [rule({"port": 80}, claims={"scope": ["write"]}), rule({"port": 80, "paths": ["/all"]})],
        jwt=[TOKENS],
    ),
    Row(
        "jwt-uri jwt-headers",
        [
            *asks(ALLOWED, {"headers": (("x-token", ISSUER.token({"sub": "ann"})),)}),
            # A bearer token is not looked at.
            *asks(DENIED, {}, {"headers": (("authorization", f"Bearer {ISSUER.token({'sub': 'ann'})}"),)}),
            *asks(NOBODYS_ISSUER, {"headers": (("x-token", STRANGER.token({"sub": "ann"})),)}),
        ],
        [rule({"port": 80})],
        jwt=[{"issuer": ISSUER.name, "jwksUri": KEYS_URI, "headers": {"x-token": ""}, "require": True}],
        unsaid=True,
    ),
    Row(
        "mtls-port",
        [
            *asks(ALLOWED, {}, {"caller": PLAIN}, {"port": TCP, "http": False}),
            *asks(CLOSED, {"caller": PLAIN, "port": TCP, "http": False}, {"caller": PLAIN, "port": GRPC, "grpc": True}),
        ],
        mtls=permissive(port=80),
    ),
    Row(
        "audit-rule",
        asks(ALLOWED, {}, {"caller": TELLER}, {"caller": TELLER, "port": TCP, "http": False}),
        [rule(audit=True)],
    ),
    Row(
        "default-deny",
        [
            *asks(ALLOWED, {}),
            *asks(DENIED, {"caller": TELLER}, {"path": "/b"}),
            *asks(CLOSED, {"port": TCP, "http": False}, {"caller": PLAIN}),
        ],
        [rule({"port": 80, "paths": ["/"]}, source=[{"serviceAccount": f"{SHOP}/front"}])],
        service=house[VAULT],
        namespace={"default": "deny"},
    ),
    Row(
        "default-audit",
        asks(ALLOWED, {}, {"caller": TELLER}, {"port": TCP, "http": False}),
        [rule(source=[{"serviceAccount": f"{SHOP}/front"}])],
        service=house[GARDEN],
        namespace={"default": "audit"},
    ),
    Row(
        "mtls-namespace",
        asks(ALLOWED, {}, {"caller": PLAIN}, {"caller": PLAIN, "port": TCP, "http": False}),
        mtls=permissive(),
        service=house[ATTIC],
    ),
]
ELSEWHERE = {
    **dict.fromkeys(("egress-deny", "egress-http", "egress-https", "egress-tcp"), "test_egress.py"),
    "network-policy": "nothing of the embedded cluster enforces one; tests/unit/security/test_network_policy.py",
    "caller-gateway": "below",
    "mtls-disable": "below",
}


def raw(rows: Sequence[tuple[Row, Service]]) -> Mapping[str, Any]:
    """The configuration of rows that have a Service."""
    found: dict[str, Any] = {"allow": {}, "deny": {}, "authentication": {}, "namespaces": {}}
    exceptions: list[Mapping[str, Any]] = []
    for row, service in rows:
        name = f"{service.name}.{service.namespace}"
        for key, value in (("allow", row.allow), ("deny", row.deny)):
            if value:
                found[key][name] = list(value)
        if row.jwt:
            found["authentication"][name] = {"jwt": list(row.jwt)}
        if row.namespace:
            found["namespaces"][service.namespace] = dict(row.namespace)
        if row.mtls:
            one = {} if row.features == "mtls-namespace" else {"service": service.name}
            exceptions.append({"namespace": service.namespace, **one, **row.mtls})
    return {**found, "mtls": {"mode": policies.MODE, "exceptions": exceptions}}


def requested(row: Row, service: Service) -> list[AccessRequest]:
    """The requests of a row."""
    return [policies.dated(replace(town.request(service), **changes)) for changes, _ in row.asked]


@dataclass(frozen=True)
class Told:
    """What policy and objects say of a request, and what became of it by each way."""

    by_policy: bool
    by_objects: Outcome
    observed: Mapping[str, Outcome]


@pytest.fixture(scope="module")
def keys(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A server of keys outside of the mesh, from where istiod can fetch them."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "jwks.json").write_text(ISSUER.jwks)
    pod = bench.pod(town.LEGACY, app=KEYS_HOST.partition(".")[0])
    log = (folder / "log").open("w")
    argv = pod.enter_argv([sys.executable, "-m", "http.server", str(KEYS_PORT), "--directory", str(folder)])
    server = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        until(lambda: bench.reachable(pod.address, KEYS_PORT))
        yield
        assert "GET /jwks.json" in (folder / "log").read_text()
    finally:
        server.kill()
        server.wait()
        log.close()


@pytest.fixture(scope="module")
def told(bench: Bench, keys: None) -> Mapping[str, list[Told]]:
    """What is said, and what became of the requests of each row: as many rows at once as there are stalls."""
    del keys
    found: dict[str, list[Told]] = {}
    waiting, called = list(ROWS), town.pods(bench, [*STALLS, *HOUSES])
    while waiting:
        free = iter(STALLS)
        chosen = [(row, service) for row in waiting if (service := row.service or next(free, None))]
        waiting = [row for row in waiting if row not in [one for one, _ in chosen]]
        policy = policies.compiled(raw(chosen))
        with bench.applied(policy.manifests, called.values(), drained=True):
            asked = [(row, one) for row, service in chosen for one in requested(row, service)]
            observed = policies.answers(bench, [one for _, one in asked], called)
            for (row, one), what in zip(asked, observed, strict=True):
                found.setdefault(row.features, []).append(Told(policy.by_policy(one), policy.by_objects(one), what))
    return found


@pytest.mark.parametrize("row", ROWS, ids=[row.features for row in ROWS])
def test_a_policy_is_what_envoy_does(told: Mapping[str, list[Told]], row: Row) -> None:
    for (changes, expected), one in zip(row.asked, told[row.features], strict=True):
        assert set(one.observed.values()) == {expected}, (changes, one.observed)
        if not row.unsaid:
            assert one.by_objects == expected, changes
            # The policy compares a path as it is written; what Envoy makes of an odd one first, only its objects know.
            assert one.by_policy == expected.allowed or ODD.search(changes.get("path", "")), changes


def test_requests_went_by_both_ways(told: Mapping[str, list[Told]]) -> None:
    ways = [way for rows in told.values() for one in rows for way in one.observed]
    assert ways.count("straight") > 100
    assert ways.count("through a sidecar") > 50


def test_every_feature_has_a_row() -> None:
    shown = {feature for row in ROWS for feature in row.features.split()} | set(ELSEWHERE)
    assert shown == {feature.name for feature in FEATURES if feature.name not in MESHES["istio"].security.refusals}


def test_a_gateway_calls_under_its_own_account_and_others_do_not(bench: Bench) -> None:
    service, other = STALLS[0], STALLS[1]
    host = "town.example.com"
    policy = policies.compiled({"allow": {service.name: [rule(source=[{"gateway": GATEWAY}])], other.name: [rule()]}})
    route = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": objects.metadata(EDGE, "town"),
        "spec": {
            "hosts": [host],
            "gateways": ["town"],
            "http": [
                {
                    "match": [{"uri": {"prefix": f"/{one.name}"}}],
                    "route": [{"destination": {"host": one.host, "port": {"number": HTTP.number}}}],
                }
                for one in (service, other)
            ],
        },
    }
    listener = {"port": {"number": GATEWAY_PORT, "name": "http", "protocol": "HTTP"}, "hosts": [host]}
    gateway = {
        **route,
        "kind": "Gateway",
        "metadata": objects.metadata(EDGE, "town"),
        "spec": {"selector": {"app": GATEWAY}, "servers": [listener]},
    }
    called = town.pods(bench, [service, other])
    edge = bench.pod(EDGE, app=GATEWAY)

    def ask(name: str, times: int) -> set[Outcome]:
        request = Sent(host, f"/{name}", address=edge.address, port=GATEWAY_PORT)
        return {town.observed(answer) for answer in bench.straight([request] * times)}

    with bench.applied([gateway, route, *policy.manifests], called.values(), drained=True):
        # Until the gateway has its listener, and then its route.
        until(lambda: ask(service.name, 1) == {ALLOWED})
        assert ask(service.name, 20) == {ALLOWED}
        assert ask(other.name, 20) == {DENIED}
        asked = [town.request(service), town.request(service, caller=town.WORLD.gateways[GATEWAY])]
        assert town.straight(bench, asked, called) == [DENIED, ALLOWED]
        assert [policy.by_objects(one) for one in asked] == [DENIED, ALLOWED]


def test_what_takes_plain_text_only_knows_no_caller(bench: Bench) -> None:
    service = STALLS[0]
    exception = {"namespace": SHOP, "service": service.name, "port": 80, "mode": "disable", "reason": "a test"}
    everybody = {"from": [{"everybody": True}], "to": [{"port": 80, "paths": ["/open"]}], "reason": "a test"}
    named = rule({"port": 80, "paths": ["/named"]})
    policy = policies.compiled({"mtls": {"exceptions": [exception]}, "allow": {service.name: [everybody, named]}})
    called = town.pods(bench, [service])
    with bench.applied(policy.manifests, called.values(), drained=True):
        asked = [
            town.request(service, caller=caller, path=path) for path in ("/open", "/named") for caller in (PLAIN, FRONT)
        ]
        expected = [ALLOWED, ALLOWED, DENIED, DENIED]
        assert [policy.by_objects(one) for one in asked] == expected
        # A mesh caller has learned from istiod to speak in plain text. The certificate of the others is not read.
        plain = town.straight(bench, [replace(one, caller=PLAIN) for one in asked], called)
        assert plain == expected
        until(lambda: list(policies.through(bench, asked).values())[:1] == [ALLOWED])
        assert list(policies.through(bench, asked).values()) == [ALLOWED, DENIED]


def test_a_dry_run_is_counted_and_denies_nobody(bench: Bench) -> None:
    audited, watched = STALLS[0], house[GARDEN]
    policy = policies.compiled(
        {
            "namespaces": {GARDEN: {"default": "audit"}},
            "allow": {
                audited.name: [rule({"port": 80}, audit=True)],
                f"{watched.name}.{GARDEN}": [rule({"port": 80}, source=[{"serviceAccount": f"{SHOP}/front"}])],
            },
        }
    )
    called = town.pods(bench, [audited, watched])
    with bench.applied(policy.manifests, called.values(), drained=True):
        for service in (audited, watched):
            pod = called[service.host]
            before = counted(bench, pod)
            asked = [*[town.request(service)] * 7, *[town.request(service, caller=TELLER)] * 5]
            assert town.straight(bench, asked, called) == [ALLOWED] * 12
            assert [
                bool(policies.PLANE.verdict(policy.manifests, policy.world, one, policies.MODE).audited)
                for one in asked
            ] == [False] * 7 + [True] * 5
            allowed, denied = (after - old for after, old in zip(counted(bench, pod), before, strict=True))
            assert (allowed, denied) == (7, 5)


def counted(bench: Bench, pod: RunningPod) -> tuple[int, int]:
    """What dry runs of a pod would have allowed and denied until now."""
    allowed, denied = (bench.stats(pod, f"istio_dry_run_allow_.*shadow_{what}$") for what in ("allowed", "denied"))
    return allowed, denied


def test_a_probe_passes_what_is_closed(bench: Bench) -> None:
    service = house[VAULT]
    policy = policies.compiled({"namespaces": {VAULT: {"default": "deny"}}})
    name = "probed"
    probed = objects.pod(VAULT, name, [8080], probe={"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1})
    called = town.pods(bench, [service])
    known = objects.service(VAULT, name, [{"name": "http", "port": 8080}], {"app": name})
    with bench.applied([*policy.manifests, known, probed], called.values()):
        bench.until_ready([probed])
        pod = bench.pod(VAULT, app=name)
        address = replace(Sent(service.host, "/health"), address=pod.address)
        asked = [replace(address, port=8080, certificate=bench.certificate(SHOP, "front"))]
        asked += [replace(address, port=15020, target=f"/app-health/{name}/livez"), replace(address, port=8080)]
        assert [answer.status for answer in bench.straight(asked)] == [403, 200, 0]
        state = json.loads(bench.kubectl("get", "pod", name, "--namespace", VAULT, "-o", "json"))["status"]
        assert [one["restartCount"] for one in state["containerStatuses"] if one["name"] == name] == [0]
