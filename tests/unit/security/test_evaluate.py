"""The evaluator decides by the semantics at the top of model.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.security.evaluate import Decision, decide, smallest_rule
from components.security.model import (
    Account,
    Authentication,
    Identity,
    Jwt,
    Mode,
    MtlsException,
    NamespacePolicy,
    Network,
    Operation,
    Policy,
    Source,
)
from components.security.paths import exact, prefix, template
from components.security.plane import AccessRequest
from components.security.world import Probe, Workload
from components.traffic.model import Port, TextMatch
from tests.unit.security.helpers import CART, PRODUCTPAGE, REVIEWS, STRANGER, WORLD, at, policy, request, rule, source

EVERYBODY = Source()
ISSUER = "https://issuer.example.com"
NOW = 1_800_000_000
TOKEN = {"iss": ISSUER, "sub": "ada", "aud": "shop", "exp": NOW + 600}
DENY = NamespacePolicy("bookinfo", "deny", where="meshup:security.namespaces.bookinfo")


def by(asked: AccessRequest, given: Policy) -> tuple[bool, str]:
    decision = decide(given, WORLD, asked)
    return decision.allowed, decision.by


def test_a_service_that_nothing_guards_takes_whoever_has_an_identity() -> None:
    assert by(request(caller=STRANGER), policy()) == (True, "open")
    assert by(request(caller=None), policy()) == (False, "mtls")
    assert by(request(caller=None), policy(mode="permissive")) == (True, "open")


def test_a_rule_closes_its_service_to_all_others_and_names_itself() -> None:
    given = policy(rule())
    allowed = decide(given, WORLD, request())
    assert (allowed.allowed, allowed.key, allowed.where) == (
        True,
        "allow.reviews[0]",
        "meshup:security.allow.reviews[0]",
    )
    refused = decide(given, WORLD, request(caller=STRANGER))
    assert (refused.allowed, refused.by) == (False, "closed")
    assert "allow.reviews[0]" in refused.reason
    assert by(request(service=CART, port=CART.ports[0], caller=STRANGER), given) == (True, "open")


def test_a_namespace_that_denies_by_default_closes_services_without_a_rule() -> None:
    decision = decide(policy(namespaces=(DENY,)), WORLD, request())
    assert (decision.allowed, decision.by, decision.where) == (False, "closed", DENY.where)


def test_a_rule_of_deny_comes_before_the_rules_that_allow() -> None:
    deny = rule(key="deny.reviews[0]", effect="deny", operations=(Operation(methods=("POST",)),))
    given = policy(rule(), deny)
    assert by(request(method="POST"), given) == (False, "deny")
    assert by(request(), given) == (True, "allow")
    assert by(request(caller=STRANGER), policy(deny)) == (True, "open")


FOREIGN = Identity("account", "bookinfo", "bookinfo-productpage", "other.example")
TEN = Network("10.0.0.0/8", ("10.9.0.0/16",))
SOURCES: list[tuple[Source, dict[str, Any], bool]] = [
    (source(), {}, True),
    (source(), {"caller": Account("shop", "bookinfo-productpage")}, False),
    (source(), {"trust_domain": "cluster.local"}, True),
    (source(), {"trust_domain": "other.example"}, False),
    (Source(FOREIGN), {"trust_domain": "other.example"}, True),
    (Source(FOREIGN), {}, False),
    (Source(Identity("namespace", "bookinfo")), {"caller": STRANGER}, True),
    (Source(Identity("namespace", "bookinfo")), {"caller": STRANGER, "trust_domain": "other.example"}, False),
    (Source(Identity("namespace", "shop")), {}, False),
    (Source(Identity("trust-domain", trust_domain="other.example")), {"trust_domain": "other.example"}, True),
    (Source(Identity("trust-domain", trust_domain="other.example")), {}, False),
    (Source(Identity("mesh")), {"trust_domain": "other.example"}, True),
    (Source(Identity("mesh")), {"caller": None}, False),
    (EVERYBODY, {"caller": None}, True),
    (Source(networks=(TEN,)), {"caller": None, "address": "10.1.2.3"}, True),
    (Source(networks=(TEN,)), {"address": "10.9.2.3"}, False),
    (Source(networks=(TEN,)), {"address": ""}, False),
    (Source(networks=(TEN,)), {"address": "fd00::1"}, False),
    (source(networks=(TEN,)), {"address": "10.1.2.3"}, True),
    (source(networks=(TEN,)), {"address": "192.168.0.1"}, False),
    (source(networks=(TEN,)), {"address": "10.1.2.3", "caller": STRANGER}, False),
]


@pytest.mark.parametrize(("callers", "asked", "allowed"), SOURCES, ids=range(len(SOURCES)))
def test_a_source_takes_whom_it_names(callers: Source, asked: dict[str, Any], allowed: bool) -> None:
    assert decide(policy(rule(callers), mode="permissive"), WORLD, request(**asked)).allowed is allowed


HEADER = (("x-tier", TextMatch("exact", "gold")),)
OPERATIONS: list[tuple[Operation, dict[str, Any], bool]] = [
    (Operation(methods=("GET", "HEAD")), {"method": "HEAD"}, True),
    (Operation(methods=("GET", "HEAD")), {"method": "POST"}, False),
    (Operation(paths=(exact("/reviews/1"),)), {}, True),
    (Operation(paths=(exact("/reviews"),)), {}, False),
    (Operation(paths=(exact("/other"), prefix("/reviews"))), {}, True),
    (Operation(paths=(prefix("/rev"),)), {}, False),
    (Operation(paths=(template("/{*}/1"),)), {}, True),
    (Operation(paths=(template("/{*}/1"),)), {"path": "//1"}, False),
    (Operation(headers=HEADER), {"headers": (("x-tier", "gold"),)}, True),
    (Operation(headers=HEADER), {"headers": (("x-tier", "none"), ("x-tier", "gold"))}, True),
    (Operation(headers=HEADER), {"headers": (("x-tier", "none"), ("x-else", "gold"))}, False),
    (Operation(headers=HEADER), {}, False),
    (Operation(headers=(("x-tier", TextMatch("prefix", "go")),)), {"headers": (("x-tier", "gold"),)}, True),
    (Operation(headers=(("x-tier", TextMatch("present")),)), {"headers": (("x-tier", ""),)}, True),
    (Operation(hosts=("api.example.com",)), {"host": "API.example.com"}, True),
    (Operation(hosts=("*.example.com",)), {"host": "api.example.com"}, True),
    (Operation(hosts=("*.example.com",)), {"host": "example.com"}, False),
    (Operation(hosts=("reviews.bookinfo.svc.cluster.local",)), {}, True),
    (
        Operation(methods=("POST",), paths=(prefix("/shop.Cart"),), grpc=True),
        {"grpc": True, "path": "/shop.Cart/A"},
        True,
    ),
    (Operation(methods=("GET",)), {"http": False}, False),
    (Operation(port=REVIEWS.ports[0]), {"http": False}, True),
]


@pytest.mark.parametrize(("operation", "asked", "allowed"), OPERATIONS, ids=range(len(OPERATIONS)))
def test_an_operation_takes_what_it_says(operation: Operation, asked: dict[str, Any], allowed: bool) -> None:
    assert decide(policy(rule(operations=(operation,))), WORLD, request(**asked)).allowed is allowed


def test_a_rule_for_a_port_closes_the_other_ports_of_its_service() -> None:
    given = policy(rule(service=CART, operations=at(CART.ports[0])))
    assert by(request(service=CART, port=CART.ports[0]), given) == (True, "allow")
    assert by(request(service=CART, port=CART.ports[1]), given) == (False, "closed")


HEADLESS = replace(REVIEWS, name="reviews-headless", headless=True)
ADMIN = replace(REVIEWS, name="reviews-admin", ports=(Port(9999),))


def test_services_with_the_same_pods_share_the_rules_of_a_port() -> None:
    services = (REVIEWS, HEADLESS, ADMIN)
    given = policy(rule(), services=services)
    for service in (REVIEWS, HEADLESS):
        assert by(request(service=service), given) == (True, "allow")
        assert by(request(service=service, caller=STRANGER), given) == (False, "closed")
    assert by(request(service=ADMIN, port=ADMIN.ports[0], caller=STRANGER), given) == (True, "open")
    other = rule(source(STRANGER), key="allow.reviews-headless[0]", service=HEADLESS)
    assert by(request(caller=STRANGER), policy(rule(), other, services=services)) == (True, "allow")
    elsewhere = replace(HEADLESS, selector=(("app", "other"),))
    assert by(request(service=elsewhere, caller=STRANGER), policy(rule(), services=(REVIEWS, elsewhere))) == (
        True,
        "open",
    )


def test_services_with_the_same_pods_share_the_mode_of_mutual_tls_and_the_tokens_that_are_refused() -> None:
    services = (REVIEWS, HEADLESS, ADMIN)
    exceptions = (MtlsException("bookinfo", "permissive", REVIEWS),)
    asked = request(service=HEADLESS, caller=None)
    assert by(asked, policy(exceptions=exceptions, services=services)) == (True, "open")
    bad = replace(with_token(), service=ADMIN, port=ADMIN.ports[0], bearer="bad-signature")
    assert by(bad, secured(services=services)) == (False, "token")


def test_a_required_token_joins_the_rules_of_its_own_service_only() -> None:
    other = rule(source(STRANGER), key="allow.reviews-headless[0]", service=HEADLESS)
    given = secured(rules=(rule(), other), services=(REVIEWS, HEADLESS))
    assert by(request(caller=STRANGER), given) == (True, "allow")
    assert by(request(), given) == (False, "token")
    assert by(with_token(), given) == (True, "allow")
    alone = secured(rules=(other,), services=(REVIEWS, HEADLESS))
    assert by(with_token(), alone) == (True, "open")
    assert by(request(), alone) == (False, "closed")


def test_a_rule_for_a_port_is_one_for_the_port_of_the_pods() -> None:
    both = replace(CART, ports=(*CART.ports, Port(8080, "http-direct")))
    given = policy(rule(service=both, operations=at(CART.ports[0])), services=(both,))
    assert by(request(service=both, port=both.ports[2]), given) == (True, "allow")
    assert by(request(service=both, port=both.ports[1]), given) == (False, "closed")


def test_rules_of_a_service_hold_for_one_that_selects_some_of_its_pods() -> None:
    first = replace(REVIEWS, name="reviews-v1", selector=(("app", "reviews"), ("version", "v1")))
    whole = policy(rule(), services=(REVIEWS, first))
    assert by(request(service=first, caller=STRANGER), whole) == (False, "closed")
    part = policy(rule(service=first), services=(REVIEWS, first))
    assert by(request(caller=STRANGER), part) == (True, "open")


@pytest.mark.parametrize(
    ("mode", "caller", "allowed"),
    [
        ("permissive", None, True),
        ("permissive", PRODUCTPAGE, True),
        ("strict", None, False),
        ("disable", PRODUCTPAGE, True),
    ],
)
def test_the_narrowest_exception_of_mutual_tls_holds(mode: Mode, caller: Account | None, allowed: bool) -> None:
    exceptions = (
        MtlsException("bookinfo", "strict"),
        MtlsException("bookinfo", "strict", REVIEWS),
        MtlsException("bookinfo", mode, REVIEWS, REVIEWS.ports[0]),
    )
    assert decide(policy(exceptions=exceptions), WORLD, request(caller=caller)).allowed is allowed


def test_where_only_plain_text_is_taken_nobody_has_an_identity() -> None:
    exceptions = (MtlsException("bookinfo", "disable"),)
    assert by(request(), policy(rule(), exceptions=exceptions)) == (False, "closed")
    assert by(request(), policy(rule(EVERYBODY), exceptions=exceptions)) == (True, "allow")


# Tokens


def secured(*jwt: Jwt, require: bool = True, **changes: Any) -> Policy:
    made = jwt or (Jwt(ISSUER, ("shop", "other"), jwks="{}", require=require),)
    return policy(authentications=(Authentication(REVIEWS, made, "meshup:security.authentication.reviews"),), **changes)


def with_token(**changes: Any) -> AccessRequest:
    claims = {name: value for name, value in {**TOKEN, **changes}.items() if value is not None}
    return request(bearer="valid", claims=claims, now=NOW)


TOKENS: list[tuple[dict[str, Any], str]] = [
    ({}, "open"),
    ({"aud": ["a", "other"]}, "open"),
    ({"aud": "nobody"}, "token"),
    ({"aud": None}, "token"),
    ({"iss": "https://else.example.com"}, "token"),
    ({"exp": NOW - 60}, "open"),
    ({"exp": NOW - 61}, "token"),
    ({"exp": None}, "open"),
    ({"exp": "soon"}, "token"),
    ({"nbf": NOW + 60}, "open"),
    ({"nbf": NOW + 61}, "token"),
]


@pytest.mark.parametrize(("claims", "decides"), TOKENS, ids=range(len(TOKENS)))
@pytest.mark.parametrize("require", [True, False])
def test_a_token_that_is_not_valid_is_refused(claims: dict[str, Any], decides: str, require: bool) -> None:
    assert by(with_token(**claims), secured(require=require)) == (decides == "open", decides)


def test_a_token_with_a_wrong_signature_is_refused_and_a_missing_one_only_if_it_is_required() -> None:
    assert by(replace(with_token(), bearer="bad-signature"), secured(require=False)) == (False, "token")
    assert by(request(), secured(require=False)) == (True, "open")
    assert by(request(), secured()) == (False, "token")


def test_a_required_token_joins_every_rule() -> None:
    given = secured(rules=(rule(),))
    assert by(with_token(), given) == (True, "allow")
    assert by(request(), given) == (False, "token")
    assert by(replace(with_token(), caller=STRANGER), given) == (False, "closed")


def test_a_token_opens_nothing_in_a_namespace_that_denies_by_default() -> None:
    assert by(with_token(), secured(namespaces=(DENY,))) == (False, "closed")


def test_one_of_several_required_issuers_is_enough() -> None:
    other = Jwt("https://else.example.com", jwks="{}", require=True)
    given = secured(Jwt(ISSUER, jwks="{}"), other)
    assert by(with_token(), given) == (False, "token")
    assert by(with_token(iss=other.issuer), given) == (True, "open")


def test_a_token_in_another_header_is_not_looked_for_where_bearer_tokens_stand() -> None:
    given = secured(Jwt(ISSUER, jwks="{}", headers=(("x-token", ""),), require=True))
    assert by(replace(with_token(), bearer="bad-signature"), given) == (False, "token")
    assert by(
        replace(with_token(), bearer="bad-signature"), secured(replace(given.authentications[0].jwt[0], require=False))
    ) == (
        True,
        "open",
    )


CLAIMS: list[tuple[tuple[str, ...], str, dict[str, Any], bool]] = [
    (("scope",), "write", {"scope": "read write"}, True),
    (("scope",), "read write", {"scope": "read write"}, False),
    (("scope",), "write", {"scope": ["read", "write"]}, True),
    (("group",), "admins", {"group": "admins users"}, False),
    (("group",), "admins", {"group": ["admins", 1]}, True),
    (("group",), "1", {"group": 1}, False),
    (("group",), "admins", {}, False),
    (("realm", "roles"), "admin", {"realm": {"roles": ["admin"]}}, True),
    (("realm", "roles"), "admin", {"realm": "admin"}, False),
]


@pytest.mark.parametrize(("path", "value", "claims", "allowed"), CLAIMS, ids=range(len(CLAIMS)))
@pytest.mark.parametrize("of_rule", [True, False])
def test_claims_are_compared_as_texts(
    path: tuple[str, ...], value: str, claims: dict[str, Any], allowed: bool, of_rule: bool
) -> None:
    conditions = ((path, (value, "never")),)
    jwt = Jwt(ISSUER, jwks="{}", require=not of_rule, claims=() if of_rule else conditions)
    given = secured(jwt, rules=(rule(claims=conditions),) if of_rule else ())
    assert decide(given, WORLD, with_token(**claims)).allowed is allowed


def test_claims_of_a_rule_without_an_issuer_are_met_by_nobody() -> None:
    assert by(with_token(), policy(rule(claims=((("sub",), ("ada",)),)))) == (False, "closed")


# What is only counted


def test_a_rule_that_is_only_counted_decides_nothing_and_is_named() -> None:
    given = policy(rule(audit=True), rule(key="deny.reviews[0]", effect="deny", audit=True))
    assert decide(given, WORLD, request()) == Decision(
        True, "open", "No rule guards reviews.", audited=("deny.reviews[0]",)
    )
    assert decide(policy(rule(audit=True)), WORLD, request(caller=STRANGER)).audited == ("allow.reviews[0]",)
    assert not decide(policy(rule(audit=True), rule(EVERYBODY)), WORLD, request(caller=STRANGER)).audited


def test_a_namespace_that_audits_denies_nothing_and_says_what_it_would() -> None:
    audits = (replace(DENY, default="audit"),)
    deny = rule(key="deny.reviews[0]", effect="deny", operations=(Operation(methods=("POST",)),))
    given = policy(rule(), deny, namespaces=audits)
    assert decide(given, WORLD, request()).audited == ()
    assert decide(given, WORLD, request(caller=STRANGER)).audited == ("namespaces.bookinfo",)
    assert decide(given, WORLD, request(method="POST")).audited == ("deny.reviews[0]",)
    assert by(request(method="POST"), given) == (True, "audit")
    assert by(request(caller=None), given) == (False, "mtls")


def test_probes_of_the_kubelet_pass() -> None:
    probes = (Probe("http", 9080, "/health"), Probe("grpc", 9090))
    pod = Workload("reviews-v1", "bookinfo", "Deployment", "bookinfo-reviews", (("app", "reviews"),), probes=probes)
    world = replace(WORLD, workloads=(pod,))
    given = policy(namespaces=(DENY,))
    asked = request(caller=None, path="/health", probe=True)
    assert decide(given, world, asked).by == "probe"
    assert decide(given, world, replace(asked, path="/reviews/1")).by == "mtls"
    assert decide(given, world, replace(asked, probe=False)).by == "mtls"


# The least rule


SMALLEST: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]] = [
    ({}, {"serviceAccount": "bookinfo-productpage"}, {"methods": ["GET"], "paths": ["/reviews/1"]}),
    ({"trust_domain": "cluster.local", "http": False}, {"serviceAccount": "bookinfo-productpage"}, None),
    ({"caller": Account("shop", "cart"), "http": False}, {"serviceAccount": "shop/cart"}, None),
    ({"caller": Account("meshup-gateways", "public"), "http": False}, {"gateway": "public"}, None),
    (
        {"trust_domain": "o.example", "http": False},
        {"serviceAccount": str(PRODUCTPAGE), "trustDomain": "o.example"},
        None,
    ),
    ({"caller": None, "address": "10.1.2.3", "http": False}, {"cidr": "10.1.2.3/32"}, None),
    ({"caller": None, "address": "fd00::1", "http": False}, {"cidr": "fd00::1/128"}, None),
    ({"caller": None, "http": False}, {"everybody": True}, None),
    (
        {"grpc": True, "path": "/shop.Cart/Add"},
        {"serviceAccount": "bookinfo-productpage"},
        {"grpc": {"service": "shop.Cart", "method": "Add"}},
    ),
]


@pytest.mark.parametrize(("asked", "callers", "operation"), SMALLEST, ids=range(len(SMALLEST)))
def test_the_least_rule_names_this_caller_and_this_operation(
    asked: dict[str, Any], callers: dict[str, Any], operation: dict[str, Any] | None
) -> None:
    expected = {"from": [callers], **({"to": [operation]} if operation else {})}
    assert smallest_rule(request(**asked), WORLD) == {"reviews": [expected]}


def test_the_least_rule_names_the_port_of_a_service_with_several_and_the_namespace_of_a_name_that_is_not_unique() -> (
    None
):
    asked = request(service=CART, port=CART.ports[0], http=False)
    world = replace(WORLD, services=(*WORLD.services, replace(CART, namespace="other")))
    assert smallest_rule(asked, world) == {
        "cart.shop": [{"from": [{"serviceAccount": "bookinfo/bookinfo-productpage"}], "to": [{"port": 80}]}]
    }
