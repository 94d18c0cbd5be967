"""Istio decides by its objects as the policy says: for generated policies and requests, both agree."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, event, given
from hypothesis import strategies as st

from components.diagnostics import errors
from components.meshes.istio.security import ISTIO_SECURITY
from components.security.evaluate import decide
from components.security.model import (
    Account,
    Authentication,
    Claims,
    Effect,
    Identity,
    Jwt,
    MtlsException,
    NamespacePolicy,
    Network,
    Operation,
    Policy,
    Rule,
    Source,
)
from components.security.paths import PathPattern, exact, prefix, template
from components.security.plane import AccessRequest
from components.security.world import World
from components.traffic.model import Port, Service, TextMatch
from tests.unit.traffic.schemas import faults_of_object

WEB = Service(
    "web",
    "shop",
    (Port(80, "http", target=8080), Port(81, "http-admin"), Port(90, "tcp-data"), Port(91)),
    selector=(("app", "web"),),
)
METRICS = Service("metrics", "shop", (Port(8801, "http"),), selector=(("app", "web"),))
"""On the pods of `web`."""
CART = Service("cart", "shop", (Port(8080, "http"),), selector=(("app", "cart"),))
BILLS = Service("bills", "bank", (Port(9000, "grpc"), Port(9001, "tcp")), selector=(("app", "bills"),))
SERVICES = (WEB, METRICS, CART, BILLS)
WORLD = World(services=SERVICES, trust_domain="corp.example", control_plane="istio-system")
ACCOUNTS = (Account("shop", "web"), Account("shop", "web-2"), Account("bank", "web"), Account("shop2", "web"))
DOMAINS = ("", "corp.example", "partner.example", "corp.example.org")
ISSUERS = ("https://a.example.com", "https://b.example.com/")
NETWORKS = (Network("10.0.0.0/8"), Network("10.1.0.0/16", ("10.1.2.0/24",)), Network("192.168.7.7/32"))
PATHS = ("/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/b", "/a//b", "/v1.Bills/Pay")
PATTERNS: tuple[PathPattern, ...] = (
    *(exact(path) for path in PATHS),
    *(prefix(path) for path in ("/", "/a", "/a/b", "/v1.Bills")),
    *(template(path) for path in ("/{*}", "/a/{*}", "/{*}/b", "/a/{*}/{**}", "/{*}/", "/a/{**}")),
)

accounts = st.sampled_from(ACCOUNTS)


@st.composite
def identities(draw: st.DrawFn) -> Identity:
    account, domain = draw(accounts), draw(st.sampled_from(DOMAINS))
    return draw(
        st.sampled_from(
            (
                Identity("account", account.namespace, account.name, domain),
                Identity("namespace", account.namespace),
                Identity("trust-domain", trust_domain=domain),
                Identity("mesh"),
            )
        )
    )


sources = st.builds(
    Source,
    st.none() | identities(),
    st.lists(st.sampled_from(NETWORKS), max_size=2, unique=True).map(tuple),
)
texts = st.sampled_from((TextMatch("exact", "x"), TextMatch("prefix", "x"), TextMatch("present")))
claims: st.SearchStrategy[Claims] = st.lists(
    st.sampled_from(
        ((("scope",), ("read",)), (("group",), ("staff", "admin")), (("org", "team"), ("pay",)), (("level",), ("2",)))
    ),
    max_size=2,
    unique=True,
).map(tuple)


def some(values: Any, most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


@st.composite
def operations(draw: st.DrawFn, service: Service) -> Operation:
    return Operation(
        draw(st.sampled_from((None, *service.ports))),
        draw(some(("GET", "POST", "DELETE"))),
        draw(some(PATTERNS)),
        tuple((name, draw(texts)) for name in draw(some(("x-a", "x-b")))),
        draw(some(("shop.example.com", "*.example.com", service.host))),
    )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    service = draw(st.sampled_from(SERVICES))
    effect: Effect = draw(st.sampled_from(("allow", "allow", "deny")))
    return Rule(
        f"{effect}.{service.name}[{draw(st.integers(0, 10**6))}]",
        effect,
        service,
        tuple(draw(st.lists(sources, min_size=1, max_size=3))),
        tuple(draw(st.lists(operations(service), max_size=2))),
        draw(claims) if draw(st.booleans()) else (),
        audit=draw(st.sampled_from((False, False, True))),
    )


@st.composite
def authentications(draw: st.DrawFn, service: Service) -> Authentication:
    issuers = draw(st.lists(st.sampled_from(ISSUERS), min_size=1, max_size=2))
    return Authentication(
        service,
        tuple(
            Jwt(
                issuer,
                draw(some(("shop", "bank"))),
                jwks="{}",
                headers=draw(st.sampled_from(((), (("Authorization", "Bearer "),), (("x-token", ""),)))),
                require=draw(st.booleans()),
                claims=draw(claims),
            )
            for issuer in issuers
        ),
    )


@st.composite
def exceptions(draw: st.DrawFn) -> MtlsException:
    service = draw(st.sampled_from((None, WEB, CART, BILLS)))
    port = draw(st.sampled_from((None, *service.ports))) if service else None
    namespace = service.namespace if service else draw(st.sampled_from(("shop", "bank")))
    return MtlsException(namespace, draw(st.sampled_from(("strict", "permissive", "disable"))), service, port)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    namespaces = [
        NamespacePolicy(name, draw(st.sampled_from(("open", "audit", "deny")))) for name in draw(some(("shop", "bank")))
    ]
    tokens = [draw(authentications(service)) for service in draw(some((WEB, CART, BILLS)))]
    return Policy(
        draw(st.sampled_from(("strict", "permissive"))),
        tuple(draw(st.lists(exceptions(), max_size=2))),
        tuple(namespaces),
        tuple(draw(st.lists(rules(), max_size=5))),
        tuple(tokens),
        SERVICES,
    )


headers = st.tuples(st.sampled_from(("x-a", "x-b")), st.sampled_from(("x", "xy", "", "y")))
payloads = st.fixed_dictionaries(
    {"iss": st.sampled_from((*ISSUERS, "https://c.example.com"))},
    optional={
        "aud": st.sampled_from(("shop", ["bank", "other"], "other")),
        "exp": st.sampled_from((500, 1000)),
        "nbf": st.sampled_from((500, 2000)),
        "scope": st.sampled_from(("read", "read write", "reader", ["read"])),
        "group": st.sampled_from(("staff", ["admin", "x"], 7)),
        "org": st.sampled_from(({"team": "pay"}, {"team": ["pay"]}, "pay", {})),
        "level": st.sampled_from((2, "2")),
    },
)


@st.composite
def requests(draw: st.DrawFn) -> AccessRequest:
    service = draw(st.sampled_from(SERVICES))
    port = draw(st.sampled_from(service.ports))
    speaks_tcp = port.name.startswith("tcp") or (not port.name and draw(st.booleans()))
    bearer = draw(st.sampled_from(("none", "valid", "valid", "bad-signature")))
    return AccessRequest(
        service,
        port,
        draw(st.none() | accounts),
        draw(st.sampled_from(("", "corp.example"))),
        draw(st.sampled_from(("", "10.1.2.3", "10.1.3.3", "192.168.7.7", "8.8.8.8"))),
        http=not speaks_tcp,
        grpc=not speaks_tcp and port.name == "grpc",
        method=draw(st.sampled_from(("GET", "POST", "PUT"))),
        path=draw(st.sampled_from(PATHS)),
        headers=tuple(draw(st.lists(headers, max_size=3))),
        host=draw(st.sampled_from(("", "shop.example.com", "EXAMPLE.com", "a.b.example.com"))),
        bearer=bearer,
        claims=draw(payloads),
        now=1000,
    )


@given(policies(), st.lists(requests(), min_size=1, max_size=12))
def test_istio_decides_by_its_objects_as_the_policy_says(policy: Policy, asked: list[AccessRequest]) -> None:
    assume(not errors(ISTIO_SECURITY.check(policy, WORLD)))
    objects = [item.manifest for item in ISTIO_SECURITY.write(policy, WORLD).objects]
    for one in asked:
        denials = [rule for rule in policy.rules_of(one.service) if rule.effect == "deny" and rule.reads_http]
        if denials and not (one.http or one.port.name):
            continue  # MSH551: on a port that declares nothing, these deny connections too.
        wanted, got = decide(policy, WORLD, one), ISTIO_SECURITY.verdict(objects, WORLD, one, policy.mode)
        event(f"{wanted.by}")
        assert got.allowed == wanted.allowed, (wanted, got, one)
        if wanted.by == "token" and not got.allowed and got.object.startswith("RequestAuthentication"):
            assert got.status in (401, 403) or got.grpc_status in (7, 16)


@given(policies())
def test_every_object_is_valid_and_the_same_policy_gives_the_same_bytes(policy: Policy) -> None:
    assume(not errors(ISTIO_SECURITY.check(policy, WORLD)))
    first, second = (ISTIO_SECURITY.write(policy, WORLD).objects for _ in range(2))
    assert json.dumps([one.manifest for one in first]) == json.dumps([one.manifest for one in second])
    assert [fault for one in first for fault in faults_of_object(one.manifest)] == []
    names = [
        (one.manifest["kind"], one.manifest["metadata"]["namespace"], one.manifest["metadata"]["name"]) for one in first
    ]
    assert len(names) == len(set(names))
    assert [one.phase for one in first] == sorted(one.phase for one in first)
