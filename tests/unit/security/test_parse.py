"""What is written becomes the policy, or a fault with its code at its field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.apps import bookinfo
from components.diagnostics import Diagnostic, errors, render
from components.diagnostics.validation import keys_of
from components.security.capability import FEATURES, KEYS
from components.security.grammar import (
    AccessRuleForm,
    AuthenticationForm,
    ExceptionForm,
    JwtForm,
    MtlsForm,
    NamespaceEgressForm,
    NamespaceForm,
    OperationForm,
    SecurityForm,
    SourceForm,
)
from components.security.model import (
    Account,
    Egress,
    EgressHost,
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
from components.security.parse import parse
from components.security.paths import exact, prefix, template
from components.security.world import Call
from components.traffic.model import Port, Service, TextMatch
from tests.unit.security.helpers import CART

PATH = "meshup:security"
SERVICES = (*bookinfo.services(), CART, replace(CART, name="both"), replace(CART, name="both", namespace="bookinfo"))
PRODUCTPAGE = {"serviceAccount": "bookinfo-productpage"}
GATEWAY = Account("meshup-gateways", "public")
TODAY = date(2026, 12, 1)
CALLS = (
    Call(Account("bookinfo", "bookinfo-productpage"), "details", "bookinfo", 9080, "GET", ({"template": "/d/{*}"},)),
    Call(None, "productpage", "bookinfo", 9080, "GET", ("/productpage",)),
    Call(Account("bookinfo", "bookinfo-ratings"), "details", "bookinfo", 9080, method=""),
    Call(None, "productpage", "bookinfo", 9080, "POST", ("/login",)),
)


def parsed(raw: object, **changes: Any) -> tuple[Policy, list[Diagnostic]]:
    arguments: dict[str, Any] = {
        "mode": "strict",
        "environment": "dev",
        "today": TODAY,
        "gateways": {"public": GATEWAY, "theirs": None},
        "presets": {"bookinfo": CALLS},
    }
    return parse(raw, PATH, SERVICES, **{**arguments, **changes})


def legal(raw: object, **changes: Any) -> Policy:
    policy, diagnostics = parsed(raw, **changes)
    assert not errors(diagnostics), render(diagnostics)
    return policy


def one_rule(**keys: object) -> Rule:
    (rule,) = legal({"allow": {"reviews": [{"from": [PRODUCTPAGE], **keys}]}}).rules
    return rule


def faults(raw: object, **changes: Any) -> list[tuple[str, str]]:
    return [(fault.code, fault.path.removeprefix(f"{PATH}.")) for fault in errors(parsed(raw, **changes)[1])]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_the_example_of_a_feature_is_legal_and_uses_it(feature: Any) -> None:
    policy = legal(feature.example)
    used = list(feature.uses(policy))
    assert used
    for where in used:
        at: Any = {"meshup:security": feature.example}
        for part in where.replace("]", "").replace("[", ".").split("."):
            at = at[int(part) if isinstance(at, list) else part]


@pytest.mark.parametrize(
    ("name", "others"),
    [("caller-gateway", set[str]()), ("grpc", {"caller-account"}), ("path-template", {"caller-account"})],
)
def test_what_is_written_as_one_feature_is_not_another_one_too(name: str, others: set[str]) -> None:
    (example,) = [feature.example for feature in FEATURES if feature.name == name]
    assert {feature.name for feature in FEATURES if list(feature.uses(legal(example)))} == {name, *others}


@pytest.mark.parametrize(
    "form",
    [
        *(SecurityForm, MtlsForm, ExceptionForm, NamespaceForm, NamespaceEgressForm, AccessRuleForm, SourceForm),
        *(OperationForm, AuthenticationForm, JwtForm),
    ],
)
def test_every_key_belongs_to_a_feature(form: Any) -> None:
    """A key that no feature uses could be read and dropped."""
    used = json.dumps([feature.example for feature in FEATURES])
    # No object holds these.
    silent = {"until", "preset", "services", "reason", "audiences", "forward"}
    assert {key for key in keys_of(form) if f'"{key}":' not in used} <= silent


def test_nothing_is_a_policy_that_leaves_all_as_it_is() -> None:
    policy = legal(None)
    assert policy.empty
    assert policy.mode == "strict"
    assert {service.host for service in policy.services} == {service.host for service in SERVICES}


def test_a_rule_has_its_place_its_callers_and_what_they_ask_for() -> None:
    raw = {
        "from": [PRODUCTPAGE],
        "to": [
            {
                "port": 9080,
                "methods": ["GET", "HEAD"],
                "paths": ["/a", {"exact": "/a"}, {"prefix": "/b/"}, {"template": "/c/{*}/d/{**}"}],
                "headers": {"X-B": {"present": True}, "x-a": "1"},
                "hosts": ["*.example.com"],
            },
            {"grpc": {"service": "shop.Cart"}},
            {"grpc": {"service": "shop.Cart", "method": "Add"}},
        ],
        "claims": {"scope": ["write", "write"], "realm_access": {"roles": "admin"}},
        "reason": "why",
    }
    (rule,) = legal({"allow": {"reviews.bookinfo": [raw]}}).rules
    where = 'meshup:security.allow["reviews.bookinfo"][0]'
    assert (rule.key, rule.where, rule.reason) == ('allow["reviews.bookinfo"][0]', where, "why")
    assert rule.sources == (
        Source(
            Identity("account", "bookinfo", "bookinfo-productpage"),
            title="bookinfo/bookinfo-productpage",
            where=f"{where}.from[0]",
        ),
    )
    assert rule.operations[0] == Operation(
        Port(9080, "http", "http"),
        ("GET", "HEAD"),
        (exact("/a"), prefix("/b"), template("/c/{*}/d/{**}")),
        (("x-a", TextMatch("exact", "1")), ("x-b", TextMatch("present"))),
        ("*.example.com",),
        where=f"{where}.to[0]",
    )
    assert [one.paths for one in rule.operations[1:]] == [(prefix("/shop.Cart"),), (exact("/shop.Cart/Add"),)]
    assert all(one.grpc and one.methods == ("POST",) for one in rule.operations[1:])
    assert rule.claims == ((("realm_access", "roles"), ("admin",)), (("scope",), ("write",)))


SOURCES: list[tuple[Mapping[str, object], Identity | None, tuple[Network, ...], str]] = [
    ({"serviceAccount": "shop/cart"}, Identity("account", "shop", "cart"), (), "shop/cart"),
    ({"namespace": "shop"}, Identity("namespace", "shop"), (), "namespace shop"),
    ({"gateway": "public"}, Identity("account", GATEWAY.namespace, GATEWAY.name), (), "gateway public"),
    ({"trustDomain": "o.example"}, Identity("trust-domain", trust_domain="o.example"), (), "trust domain o.example"),
    (
        {"trustDomain": "o.example", "serviceAccount": "shop/cart"},
        Identity("account", "shop", "cart", "o.example"),
        (),
        "shop/cart of o.example",
    ),
    (
        {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]},
        None,
        (Network("10.0.0.0/8", ("10.9.0.0/16",)),),
        "10.0.0.0/8 without 10.9.0.0/16",
    ),
    (
        {"namespace": "shop", "cidr": "fd00::/8"},
        Identity("namespace", "shop"),
        (Network("fd00::/8"),),
        "namespace shop at fd00::/8",
    ),
    ({"mesh": True}, Identity("mesh"), (), "whoever has an identity"),
    ({"everybody": True}, None, (), "everybody"),
]


@pytest.mark.parametrize(("raw", "identity", "networks", "title"), SOURCES, ids=range(len(SOURCES)))
def test_callers_are_who_is_written(
    raw: Mapping[str, object], identity: Identity | None, networks: tuple[Network, ...], title: str
) -> None:
    # One caller needs no list.
    (rule,) = legal({"deny": {"reviews": {"from": raw}}}).rules
    where = "meshup:security.deny.reviews.from"
    gateway = str(raw.get("gateway", ""))
    assert rule.sources == (Source(identity, networks, gateway, title, where),)
    assert (rule.effect, rule.key) == ("deny", "deny.reviews")


@pytest.mark.parametrize("text", ["2027-03-31", "2027-03-31T00:00:00Z", "2027-03-31 00:00:00 +0000 UTC"])
def test_a_day_without_quotes_is_read_as_pulumi_hands_it_over(text: str) -> None:
    exception = {"namespace": "shop", "mode": "permissive", "until": text, "reason": "r"}
    (read,) = legal({"mtls": {"exceptions": [exception]}}).exceptions
    assert read.until == date(2027, 3, 31)


def test_mutual_tls_namespaces_and_tokens_are_as_written() -> None:
    raw = {
        "mtls": {
            "mode": "strict",
            "exceptions": [
                {"namespace": "shop", "mode": "permissive", "until": "2026-12-01", "reason": "r"},
                {
                    "namespace": "shop",
                    "service": "cart",
                    "port": 80,
                    "mode": "disable",
                    "until": "2027-01-01T00:00:00Z",
                },
            ],
        },
        "namespaces": {
            "shop": {
                "default": "audit",
                "egress": {
                    "default": "deny",
                    "hosts": [{"host": "api.example.com", "port": 443, "protocol": "https"}],
                    "cidrs": ["192.0.2.0/24"],
                },
                "networkPolicy": True,
            }
        },
        "authentication": {
            "cart": {
                "jwt": [
                    {"issuer": "i", "jwks": json.loads(KEYS), "require": True, "claims": {"sub": "ada"}},
                    {
                        "issuer": "j",
                        "jwksUri": "https://j.example.com/keys",
                        "audiences": ["a"],
                        "headers": {"x-token": "Token "},
                        "forward": True,
                    },
                ]
            }
        },
    }
    policy = legal(raw)
    where = "meshup:security.mtls.exceptions"
    assert policy.exceptions == (
        MtlsException("shop", "permissive", until=date(2026, 12, 1), reason="r", where=f"{where}[0]"),
        MtlsException("shop", "disable", CART, CART.ports[0], date(2027, 1, 1), where=f"{where}[1]"),
    )
    where = "meshup:security.namespaces.shop"
    hosts = (EgressHost("api.example.com", 443, "HTTPS", f"{where}.egress.hosts[0]"),)
    egress = Egress(True, hosts, (Network("192.0.2.0/24"),), f"{where}.egress")
    assert policy.namespaces == (NamespacePolicy("shop", "audit", egress, True, where),)
    (tokens,) = policy.authentications
    where = "meshup:security.authentication.cart.jwt"
    assert json.loads(tokens.jwt[0].jwks) == json.loads(KEYS)
    assert replace(tokens.jwt[0], jwks="") == Jwt(
        "i", require=True, claims=((("sub",), ("ada",)),), where=f"{where}[0]"
    )
    assert tokens.jwt[1] == Jwt(
        "j", ("a",), "", "https://j.example.com/keys", (("x-token", "Token "),), True, where=f"{where}[1]"
    )


def test_a_service_of_your_own_is_described_under_services() -> None:
    raw = {
        "services": {
            "db": {"namespace": "shop", "ports": [5432], "selector": {"app": "db"}},
            "web.front": {
                "ports": [{"number": 80, "protocol": "http", "targetPort": 8080}],
                "selector": {"app": "web"},
            },
        },
        "allow": {"db": [{"from": [PRODUCTPAGE]}], "web.front": [{"from": [PRODUCTPAGE], "to": [{"port": 80}]}]},
    }
    db, web = (rule.service for rule in legal(raw).rules)
    assert db == Service("db", "shop", (Port(5432),), selector=(("app", "db"),))
    assert web == Service("web", "front", (Port(80, app_protocol="http", target=8080),), selector=(("app", "web"),))


# Faults


def rule_with(**keys: object) -> dict[str, object]:
    return {"allow": {"reviews": [{"from": [PRODUCTPAGE], **keys}]}}


def called_by(*sources: object) -> dict[str, object]:
    return {"allow": {"reviews": [{"from": list(sources)}]}}


def asked(**operation: object) -> dict[str, object]:
    return rule_with(to=[operation])


def paths(*written: object) -> dict[str, object]:
    return asked(paths=list(written))


def issued(**keys: object) -> dict[str, object]:
    issuer = {"issuer": "i", "jwks": KEYS, **keys}
    return {"authentication": {"reviews": {"jwt": [{key: one for key, one in issuer.items() if one is not None}]}}}


def excepted(*exceptions: object) -> dict[str, object]:
    return {"mtls": {"exceptions": list(exceptions)}}


SHOP = {"namespace": "shop", "mode": "permissive"}
FIRST = "allow.reviews[0]"
PRIVATE = '{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "c2VjcmV0"}]}'
NOTHING: dict[str, object] = {}
KEY_SETS: list[tuple[object, str]] = [
    ("keys", ""),
    ("[]", ""),
    (NOTHING, ""),
    ({"keys": list[object]()}, ""),
    ({"keys": [1]}, ".keys[0]"),
    ({"keys": [{"kty": "DSA"}]}, ".keys[0]"),
    ({"keys": [{"kty": list[object]()}]}, ".keys[0]"),
    ({"keys": [{"kty": "RSA", "e": "AQAB"}]}, ".keys[0]"),
    ({"keys": [{"kty": "RSA", "e": "AQAB", "n": "a b"}]}, ".keys[0]"),
    ("[" * 100_000, ""),
]
FAULTS: list[tuple[object, list[tuple[str, str]]]] = [
    ([], [("MSH001", "meshup:security")]),
    ({"allows": {}}, [("MSH002", "allows")]),
    # Services and ports
    ({"allow": {"review": [{"from": [PRODUCTPAGE]}]}}, [("MSH106", "allow.review")]),
    ({"allow": {"reviews.shop": [{"from": [PRODUCTPAGE]}]}}, [("MSH106", 'allow["reviews.shop"]')]),
    ({"allow": {"both": [{"from": [PRODUCTPAGE]}]}}, [("MSH503", "allow.both")]),
    ({"allow": {"both.shop": [{"from": [PRODUCTPAGE]}], "both.bookinfo": [{"from": [PRODUCTPAGE]}]}}, []),
    (
        {"allow": {"reviews": [{"from": [PRODUCTPAGE]}], "reviews.bookinfo": [{"from": [PRODUCTPAGE]}]}},
        [("MSH012", 'allow["reviews.bookinfo"]')],
    ),
    (asked(port=9081), [("MSH109", f"{FIRST}.to[0].port")]),
    (
        {"services": {"cart": {"namespace": "shop", "ports": [1], "selector": {"a": "b"}}}},
        [("MSH007", "services.cart")],
    ),
    ({"services": {"db": {"ports": [1], "selector": {"a": "b"}}}}, [("MSH003", "services.db.namespace")]),
    (
        {"services": {"db.a": {"namespace": "b", "ports": [1], "selector": {"a": "b"}}}},
        [("MSH007", 'services["db.a"].namespace')],
    ),
    ({"services": {"db.a": {"ports": [1, 1], "selector": {"a": "b"}}}}, [("MSH012", 'services["db.a"].ports')]),
    ({"services": {"db.a": {"ports": [1], "selector": {}}}}, [("MSH003", 'services["db.a"].selector')]),
    # Callers
    ({"allow": {"reviews": [{}]}}, [("MSH003", f"{FIRST}.from")]),
    ({"allow": {"reviews": []}}, [("MSH003", "allow.reviews")]),
    (called_by(), [("MSH003", f"{FIRST}.from")]),
    (called_by({}), [("MSH003", f"{FIRST}.from[0]")]),
    (called_by(PRODUCTPAGE, {"gateway": "publik"}), [("MSH401", f"{FIRST}.from[1].gateway")]),
    (called_by({"gateway": "theirs"}), [("MSH507", f"{FIRST}.from[0].gateway")]),
    (called_by({"serviceAccount": "Ada"}), [("MSH504", f"{FIRST}.from[0].serviceAccount")]),
    (called_by({"serviceAccount": "a/b/c"}), [("MSH504", f"{FIRST}.from[0].serviceAccount")]),
    (called_by({"serviceAccount": "a" * 254}), [("MSH504", f"{FIRST}.from[0].serviceAccount")]),
    (called_by({"serviceAccount": "*"}), [("MSH504", f"{FIRST}.from[0].serviceAccount")]),
    (
        called_by({"serviceAccount": "spiffe://cluster.local/ns/a/sa/b"}),
        [("MSH504", f"{FIRST}.from[0].serviceAccount")],
    ),
    (called_by({"serviceAccount": "cluster.local/ns/a/sa/b"}), [("MSH504", f"{FIRST}.from[0].serviceAccount")]),
    (
        called_by({"serviceAccount": "b.a.serviceaccount.identity.linkerd.cluster.local"}),
        [("MSH504", f"{FIRST}.from[0].serviceAccount")],
    ),
    (called_by({"serviceAccount": "b", "trustDomain": "o.example"}), [("MSH504", f"{FIRST}.from[0].serviceAccount")]),
    (called_by({"trustDomain": "cluster.local"}), [("MSH516", f"{FIRST}.from[0].trustDomain")]),
    (called_by({"namespace": "shop", "serviceAccount": "b"}), [("MSH007", f"{FIRST}.from[0]")]),
    (called_by({"namespace": "shop", "trustDomain": "o.example"}), [("MSH007", f"{FIRST}.from[0]")]),
    (called_by({"everybody": True, "cidr": "10.0.0.0/8"}), [("MSH007", f"{FIRST}.from[0]")]),
    (called_by({"everybody": False}), [("MSH004", f"{FIRST}.from[0].everybody")]),
    (called_by({"cidr": "10.0.0.1/8"}), [("MSH505", f"{FIRST}.from[0].cidr")]),
    (called_by({"cidr": "10.0.0.1"}), [("MSH505", f"{FIRST}.from[0].cidr")]),
    (called_by({"cidr": "10.0.0.0/33"}), [("MSH505", f"{FIRST}.from[0].cidr")]),
    (called_by({"except": ["10.0.0.0/8"]}), [("MSH003", f"{FIRST}.from[0].except")]),
    (called_by({"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}), [("MSH506", f"{FIRST}.from[0].except[0]")]),
    (called_by({"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}), [("MSH506", f"{FIRST}.from[0].except[0]")]),
    (called_by({"cidr": "10.0.0.0/8", "except": ["fd00::/8"]}), [("MSH506", f"{FIRST}.from[0].except[0]")]),
    # Operations
    (rule_with(to=[NOTHING]), [("MSH003", f"{FIRST}.to[0]")]),
    (asked(methods=["get"]), [("MSH004", f"{FIRST}.to[0].methods[0]")]),
    (asked(methods=["GET", "GET"]), [("MSH012", f"{FIRST}.to[0].methods[1]")]),
    (asked(methods=["POST"], grpc={"service": "a.B"}), [("MSH007", f"{FIRST}.to[0]")]),
    *((paths(text), [("MSH118", f"{FIRST}.to[0].paths[0]")]) for text in ("a", "/a?b=1", "/a#b", "/a/../b", "/a%2Fb")),
    *(
        (paths(text), [("MSH118", f"{FIRST}.to[0].paths[0]")])
        for text in ("//a", "/a/..", "/a b", "/a/./b", "/{a}", "/%61")
    ),
    (paths("/a*"), [("MSH512", f"{FIRST}.to[0].paths[0]")]),
    (paths({"prefix": "/a/*"}), [("MSH512", f"{FIRST}.to[0].paths[0].prefix")]),
    *(
        (paths({"template": text}), [("MSH118", f"{FIRST}.to[0].paths[0].template")])
        for text in ("{*}", "/{**}/a", "/a{*}", "/{id}", "/../{*}", "//{*}", "/{***}", "/a?{*}")
    ),
    (paths({"template": "/a*/{*}"}), [("MSH512", f"{FIRST}.to[0].paths[0].template")]),
    (asked(headers={"host": "a"}), [("MSH119", f"{FIRST}.to[0].headers.host")]),
    (asked(headers={"x-a": "1", "X-A": "2"}), [("MSH012", f"{FIRST}.to[0].headers.X-A")]),
    (asked(headers={"x-a": "*1"}), [("MSH512", f"{FIRST}.to[0].headers.x-a")]),
    (asked(hosts=["a.example.com:8080"]), [("MSH513", f"{FIRST}.to[0].hosts[0]")]),
    (asked(hosts=["a.*.com"]), [("MSH006", f"{FIRST}.to[0].hosts[0]")]),
    (asked(hosts=["A.example.com"]), [("MSH006", f"{FIRST}.to[0].hosts[0]")]),
    (asked(headers=None), [("MSH001", f"{FIRST}.to[0].headers")]),
    (asked(hosts=None, paths=None), [("MSH001", f"{FIRST}.to[0].paths"), ("MSH001", f"{FIRST}.to[0].hosts")]),
    (rule_with(claims={"scope": "read write"}), [("MSH514", f"{FIRST}.claims.scope")]),
    (rule_with(claims={"group": "*"}), [("MSH512", f"{FIRST}.claims.group")]),
    (rule_with(claims={"a[b]": "c"}), [("MSH004", f'{FIRST}.claims["a[b]"]')]),
    (rule_with(claims={"age": 18}), [("MSH001", f"{FIRST}.claims.age")]),
    # Mutual TLS
    ({"mtls": {"mode": "permissive"}}, [("MSH007", "mtls.mode")]),
    ({"mtls": {"mode": "disable"}}, [("MSH004", "mtls.mode")]),
    (excepted({"mode": "permissive"}), [("MSH003", "mtls.exceptions[0].namespace")]),
    (excepted({"namespace": "shop"}), [("MSH003", "mtls.exceptions[0].mode")]),
    (excepted({**SHOP, "port": 80}), [("MSH003", "mtls.exceptions[0].service")]),
    (excepted({**SHOP, "service": "reviews"}), [("MSH106", "mtls.exceptions[0].service")]),
    (excepted({**SHOP, "service": "cart", "port": 8080}), [("MSH109", "mtls.exceptions[0].port")]),
    (excepted({**SHOP, "until": "2026-11-30"}), [("MSH509", "mtls.exceptions[0].until")]),
    (excepted({**SHOP, "until": "tomorrow"}), [("MSH004", "mtls.exceptions[0].until")]),
    (excepted({**SHOP, "until": "2026-02-30"}), [("MSH004", "mtls.exceptions[0].until")]),
    (excepted(SHOP, {**SHOP, "mode": "disable"}), [("MSH012", "mtls.exceptions[1]")]),
    # Namespaces
    ({"namespaces": {"shop": {}}}, [("MSH003", "namespaces.shop")]),
    ({"namespaces": {"shop": {"default": "closed"}}}, [("MSH004", "namespaces.shop.default")]),
    (
        {"namespaces": {"shop": {"egress": {"default": "open", "cidrs": ["10.0.0.0/8"]}}}},
        [("MSH007", "namespaces.shop.egress.cidrs")],
    ),
    (
        {
            "namespaces": {
                "shop": {"egress": {"default": "deny", "hosts": [{"host": "a", "port": 1, "protocol": "TCP"}]}}
            }
        },
        [("MSH006", "namespaces.shop.egress.hosts[0].host")],
    ),
    # Tokens
    (issued(issuer=None), [("MSH003", "authentication.reviews.jwt[0].issuer")]),
    (issued(issuer="https://*"), [("MSH512", "authentication.reviews.jwt[0].issuer")]),
    (issued(jwks=None), [("MSH003", "authentication.reviews.jwt[0].jwks")]),
    (issued(jwksUri="https://a.example.com"), [("MSH007", "authentication.reviews.jwt[0].jwksUri")]),
    *(
        (issued(jwks=None, jwksUri=url), [("MSH017", "authentication.reviews.jwt[0].jwksUri")])
        for url in (
            "ftp://a/keys",
            "file:///keys",
            "https:///keys",
            "a.example.com/keys",
            "https://a:b@c/",
            "http://[",
            "https://a:0/",
            "https://a/#b",
        )
    ),
    *((issued(jwks=keys), [("MSH510", f"authentication.reviews.jwt[0].jwks{at}")]) for keys, at in KEY_SETS),
    (issued(jwks=PRIVATE), [("MSH511", "authentication.reviews.jwt[0].jwks.keys[0]")]),
    (
        issued(jwks={"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}),
        [("MSH511", "authentication.reviews.jwt[0].jwks.keys[0]")],
    ),
    (issued(claims={"sub": "a"}), [("MSH003", "authentication.reviews.jwt[0].claims")]),
    (
        {"authentication": {"reviews": {"jwt": [{"issuer": "i", "jwks": KEYS}, {"issuer": "i", "jwks": KEYS}]}}},
        [("MSH012", "authentication.reviews.jwt[1].issuer")],
    ),
    # Presets
    ({"preset": "emojivoto"}, [("MSH004", "preset")]),
    ({"preset": ["bookinfo", "bookinfo"]}, [("MSH012", "preset[1]")]),
]


@pytest.mark.parametrize(("raw", "expected"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_has_its_code_at_its_field(raw: object, expected: list[tuple[str, str]]) -> None:
    assert faults(raw) == expected, render(parsed(raw)[1])


def test_all_faults_are_reported_at_once_and_what_is_right_is_kept() -> None:
    raw = {
        "mtls": {"exceptions": [{"namespace": "shop"}, {**SHOP, "until": "2020-01-01"}]},
        "namespaces": {"shop": {"default": "deny"}, "UPPER": {"default": "deny"}},
        "allow": {
            "reviews": [{"from": [PRODUCTPAGE]}, {"from": [{"gateway": "x"}, {"cidr": "1"}], "to": [{"port": 1}]}],
            "nobody": [{"from": [{"gateway": "y"}]}],
        },
    }
    policy, diagnostics = parsed(raw)
    assert sorted(fault.path.removeprefix("meshup:security.") for fault in diagnostics) == [
        "allow.nobody",
        "allow.nobody[0].from[0].gateway",
        "allow.reviews[1].from[0].gateway",
        "allow.reviews[1].from[1].cidr",
        "allow.reviews[1].to[0].port",
        "mtls.exceptions[0].mode",
        "mtls.exceptions[1].until",
        "namespaces.UPPER",
    ]
    assert [rule.key for rule in policy.rules] == ["allow.reviews[0]"]
    assert [one.name for one in policy.namespaces] == ["shop"]


@pytest.mark.parametrize("jwks", [PRIVATE, json.loads(PRIVATE)])
@pytest.mark.parametrize(
    "more", [{}, {"jwksUri": "https://a.example.com"}, {"issuer": None}, {"claims": {}}, {"typ": 1}]
)
def test_no_report_shows_a_private_key(jwks: object, more: dict[str, object]) -> None:
    assert "c2VjcmV0" not in render(parsed(issued(jwks=jwks, **more))[1])


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        (called_by({"serviceAccount": "spiffe://cluster.local/ns/a/sa/b"}), "Write 'a/b'."),
        (asked(methods=["get"]), "Did you mean 'GET'?"),
        ({"allow": {"cart": [{"from": [PRODUCTPAGE], "to": [{"port": 8080}]}]}}, "8080 is the port of the pods"),
        ({"allow": {"review": [{"from": [PRODUCTPAGE]}]}}, "Did you mean 'reviews'?"),
        ({"allow": {"zzzzz": [{"from": [PRODUCTPAGE]}]}}, "Describe it under meshup:security.services."),
        (called_by({"gateway": "publik"}), "Did you mean 'public'?"),
        (called_by({"cidr": "10.0.0.1/8"}), "10.0.0.0/8"),
    ],
)
def test_a_fault_says_what_to_write(raw: object, hint: str) -> None:
    assert hint in render(parsed(raw)[1])


def test_a_service_whose_selector_is_not_known_can_not_be_named() -> None:
    bare = Service("bare", "shop", (Port(80),))
    _, diagnostics = parse(
        {"allow": {"bare": [{"from": [PRODUCTPAGE]}]}}, PATH, [bare], mode="strict", environment="dev", today=TODAY
    )
    assert [fault.code for fault in diagnostics] == ["MSH517"]


WIDE: list[tuple[object, str]] = [
    (called_by({"everybody": True}), f"{FIRST}.from[0]"),
    (called_by({"mesh": True}), f"{FIRST}.from[0]"),
    (called_by({"trustDomain": "o.example"}), f"{FIRST}.from[0]"),
    (called_by({"cidr": "0.0.0.0/0"}), f"{FIRST}.from[0]"),
    (excepted(SHOP), "mtls.exceptions[0]"),
    (excepted({**SHOP, "mode": "disable"}), "mtls.exceptions[0]"),
]


@pytest.mark.parametrize(("raw", "where"), WIDE, ids=range(len(WIDE)))
def test_what_is_wide_open_needs_a_reason_in_prod(raw: Any, where: str) -> None:
    assert faults(raw, environment="prod") == [("MSH508", where)]
    assert faults(raw) == []
    reasoned = json.loads(json.dumps(raw))
    for part in reasoned.get("allow", {}).get("reviews", ()) or reasoned["mtls"]["exceptions"]:
        part["reason"] = "meant so"
    assert faults(reasoned, environment="prod") == []


@pytest.mark.parametrize(
    "raw",
    [
        called_by(PRODUCTPAGE, {"namespace": "shop"}, {"mesh": True, "cidr": "10.0.0.0/8"}, {"cidr": "10.0.0.0/8"}),
        {"deny": {"reviews": [{"from": [{"everybody": True}]}]}},
        {"allow": {"reviews": [{"from": [{"everybody": True}], "audit": True}]}},
        excepted({**SHOP, "mode": "strict"}),
    ],
)
def test_what_is_narrow_or_closes_needs_no_reason(raw: object) -> None:
    assert faults(raw, environment="prod") == []


@pytest.mark.parametrize(("raw", "where"), [(None, "meshup:mtls"), ({"mtls": {"mode": "permissive"}}, "mtls.mode")])
def test_a_permissive_mesh_needs_a_reason_in_prod(raw: Any, where: str) -> None:
    assert faults(raw, mode="permissive", environment="prod") == [("MSH508", where)]
    assert faults(raw, mode="permissive") == []
    reasoned = {"mtls": {**({"mode": "permissive"} if raw else {}), "reason": "old clients"}}
    assert faults(reasoned, mode="permissive", environment="prod") == []


# Presets


def test_a_preset_allows_its_calls_and_users_by_the_gateway_that_exposes_the_application() -> None:
    exposures = {"productpage.bookinfo.svc.cluster.local": ["public"]}
    policy, diagnostics = parsed({"preset": "bookinfo", **called_by(PRODUCTPAGE)}, exposures=exposures)
    assert not diagnostics
    found = [
        (rule.key, rule.where, [source.title for source in rule.sources], [one.methods for one in rule.operations])
        for rule in policy.rules
    ]
    where = "meshup:security.preset"
    assert found == [
        ("preset bookinfo: details[0]", where, ["bookinfo/bookinfo-productpage"], [("GET",)]),
        ("preset bookinfo: productpage[0]", where, ["gateway public"], [("GET",), ("POST",)]),
        ("preset bookinfo: details[1]", where, ["bookinfo/bookinfo-ratings"], [()]),
        (FIRST, f"meshup:security.{FIRST}", ["bookinfo/bookinfo-productpage"], []),
    ]
    assert policy.rules[0].operations[0].paths == (template("/d/{*}"),)


def test_calls_of_a_preset_to_a_grpc_port_are_grpc_calls() -> None:
    service = Service("emoji", "vote", (Port(8080, "grpc"), Port(8801, "prom")), selector=(("app", "emoji"),))
    account = Account("vote", "web")
    calls = [Call(account, "emoji", "vote", port, "POST", ("/a.B/C",)) for port in (8080, 8801)]
    policy, _ = parse(
        {"preset": "vote"},
        PATH,
        [service],
        mode="strict",
        environment="dev",
        today=TODAY,
        presets={"vote": calls},
    )
    assert [one.grpc for rule in policy.rules for one in rule.operations] == [True, False]


@pytest.mark.parametrize(
    ("exposures", "severity", "named"),
    [
        ({}, "info", "meshup:bookinfo.expose"),
        ({"productpage.bookinfo.svc.cluster.local": ["theirs"]}, "warning", "The gateway 'theirs' exposes productpage"),
    ],
)
def test_a_preset_without_a_known_gateway_opens_nothing_to_users_and_says_so(
    exposures: dict[str, list[str]], severity: str, named: str
) -> None:
    policy, diagnostics = parsed({"preset": ["bookinfo"]}, exposures=exposures)
    assert {rule.service.name for rule in policy.rules} == {"details"}
    (note,) = diagnostics
    assert (note.code, note.severity, note.path) == ("MSH515", severity, "meshup:security.preset[0]")
    assert named in note.message + note.remedy


# Whatever is written

WORDS = sorted(
    {
        key
        for form in (SecurityForm, MtlsForm, ExceptionForm, NamespaceForm, NamespaceEgressForm)
        for key in keys_of(form)
    }
    | {
        key
        for form in (AccessRuleForm, SourceForm, OperationForm, AuthenticationForm, JwtForm)
        for key in keys_of(form)
    }
    | {"exact", "prefix", "template", "present", "reviews", "cart.shop", "keys", "kty", "host", "protocol", "selector"}
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 70000),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["deny", "strict", "permissive", "/a/{*}", "10.0.0.0/8", "public", "GET", "bookinfo", "2027-01-01", KEYS]
    ),
)
NONSENSE = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


def _places(container: Any) -> list[tuple[Any, Any]]:
    """Return each container in a value, with each of its keys."""
    value: object = container
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside += cast("dict[Any, Any]", value).items()
    elif isinstance(value, list):
        inside += enumerate(cast("list[Any]", value))
    return [place for key, held in inside for place in ((container, key), *_places(held))]


@given(NONSENSE)
def test_no_value_raises(raw: object) -> None:
    policy, diagnostics = parsed(raw)
    render(diagnostics)
    assert parsed(raw)[0] == policy


@given(st.sampled_from([feature.example for feature in FEATURES]), st.integers(0, 1000), NONSENSE)
def test_no_example_with_a_part_replaced_raises(example: Mapping[str, object], number: int, nonsense: object) -> None:
    raw = json.loads(json.dumps(example))
    places = _places(raw)
    container, key = places[number % len(places)]
    container[key] = nonsense
    _, diagnostics = parsed(raw)
    render(diagnostics)


@pytest.mark.parametrize(
    "source", [{"cidr": "10.0.0.0/8", "except": None}, {"everybody": True, "except": None}, {1.5: "a"}]
)
def test_a_source_with_a_key_that_has_no_value_or_is_no_text_raises_nothing(source: dict[Any, object]) -> None:
    _, diagnostics = parsed({"allow": {"reviews": {"from": [{"everybody": True}, source]}}})
    assert errors(diagnostics)
