"""What Istio's objects of a policy are, feature by feature. That they decide alike is in test_properties.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.diagnostics import errors
from components.manifests import object_ref
from components.meshes.istio.security import ISTIO_SECURITY
from components.security.capability import FEATURES
from components.security.model import (
    Account,
    Authentication,
    Egress,
    EgressHost,
    Identity,
    Jwt,
    MtlsException,
    NamespacePolicy,
    Network,
    Operation,
    Policy,
    Source,
)
from components.security.paths import PathPattern, exact, prefix, template
from components.security.world import Workload
from components.traffic.model import Port, Service, TextMatch
from tests.unit.istio_security.helpers import codes, faults, written
from tests.unit.security.helpers import CART, REVIEWS, WORLD, at, policy, rule, source

Json = dict[str, Any]
ALLOWED = "AuthorizationPolicy/bookinfo/reviews"
PRINCIPAL = "cluster.local/ns/bookinfo/sa/bookinfo-productpage"
OTHERS = {"to": [{"operation": {"notPorts": ["9080"]}}]}
"""The ports that nobody wrote a rule about stay open."""


def spec(made: Policy, name: str = ALLOWED, **world: Any) -> Json:
    return written(made, replace(WORLD, **world))[name]["spec"]


def first(*operations: Operation, **changes: Any) -> Json:
    """The first rule of Istio that a rule about these operations becomes."""
    return spec(policy(rule(operations=operations, **changes)))["rules"][0]


def operation_of(*operations: Operation, **changes: Any) -> Json:
    return first(*operations, **changes)["to"][0]["operation"]


def test_a_rule_names_the_callers_by_account_and_the_ports_of_the_pods() -> None:
    assert spec(policy(rule())) == {
        "selector": {"matchLabels": {"app": "reviews"}},
        "action": "ALLOW",
        "rules": [
            {"from": [{"source": {"principals": [PRINCIPAL]}}], "to": [{"operation": {"ports": ["9080"]}}]},
            OTHERS,
        ],
    }
    cart = spec(policy(rule(service=CART)), "AuthorizationPolicy/shop/cart")
    assert cart["rules"][0]["to"] == [{"operation": {"ports": ["8080", "8081"]}}]


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (Identity("account", "shop", "web"), "cluster.local/ns/shop/sa/web"),
        (Identity("account", "shop", "web", "mesh.example"), "cluster.local/ns/shop/sa/web"),
        (Identity("account", "shop", "web", "partner.example"), "partner.example/ns/shop/sa/web"),
        (Identity("namespace", "shop"), "cluster.local/ns/shop/sa/*"),
        (Identity("trust-domain", trust_domain="partner.example"), "partner.example/*"),
        (Identity("trust-domain"), "mesh.example/*"),
        (Identity("mesh"), "*"),
    ],
)
def test_an_identity_is_a_principal_of_its_trust_domain(identity: Identity, expected: str) -> None:
    rules = spec(policy(rule(Source(identity))), trust_domain="mesh.example")["rules"]
    assert rules[0]["from"] == [{"source": {"principals": [expected]}}]


def test_a_gateway_is_its_account() -> None:
    made = policy(rule(Source(Identity("account", "meshup-gateways", "public"), gateway="public")))
    assert spec(made)["rules"][0]["from"][0]["source"]["principals"] == ["cluster.local/ns/meshup-gateways/sa/public"]


def test_callers_are_one_source_unless_networks_part_them() -> None:
    inside = (Network("10.0.0.0/8"), Network("10.1.0.0/16", ("10.1.2.0/24",)))
    callers = (source(), source(Account("bookinfo", "b")), source(networks=inside), Source(networks=inside[:1]))
    assert first(sources=callers)["from"] == [
        {"source": {"principals": [PRINCIPAL, "cluster.local/ns/bookinfo/sa/b"]}},
        {"source": {"principals": [PRINCIPAL], "ipBlocks": ["10.0.0.0/8"]}},
        {"source": {"principals": [PRINCIPAL], "ipBlocks": ["10.1.0.0/16"], "notIpBlocks": ["10.1.2.0/24"]}},
        {"source": {"ipBlocks": ["10.0.0.0/8"]}},
    ]


def test_a_rule_for_everybody_still_names_the_ports() -> None:
    assert first(sources=(source(), Source())) == {"to": [{"operation": {"ports": ["9080"]}}]}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (exact("/a"), ["/a"]),
        (exact("/a/"), ["/a/"]),
        (prefix("/a"), ["/a", "/a/*"]),
        (prefix("/"), ["/*"]),
        (template("/a/{*}"), ["/a/{*}"]),
        (template("/a/{*}/{**}"), ["/a/{*}", "/a/{*}/{**}"]),
        (template("/a/{**}"), ["/a", "/a/*"]),
    ],
)
def test_a_prefix_is_the_path_and_what_follows_a_slash(pattern: PathPattern, expected: list[str]) -> None:
    assert operation_of(Operation(paths=(pattern,))) == {"ports": ["9080"], "paths": expected}


def test_a_host_is_written_with_and_without_a_port() -> None:
    assert operation_of(Operation(hosts=("a.example.com",)))["hosts"] == ["a.example.com", "a.example.com:*"]
    wide = operation_of(Operation(hosts=("*.example.com",)))["hosts"]
    assert wide == ["*.example.com", "*.example.com:9080"]


def test_headers_are_a_rule_of_their_own() -> None:
    match = (("x-a", TextMatch("exact", "1")), ("x-b", TextMatch("prefix", "p")), ("x-c", TextMatch("present")))
    plain, other = Operation(methods=("GET",)), Operation(paths=(exact("/b"),))
    rules = spec(policy(rule(operations=(plain, Operation(methods=("POST",), headers=match), other))))["rules"]
    assert [one["to"] for one in rules] == [
        [
            {"operation": {"ports": ["9080"], "methods": ["GET"]}},
            {"operation": {"ports": ["9080"], "paths": ["/b"]}},
        ],
        [{"operation": {"ports": ["9080"], "methods": ["POST"]}}],
        OTHERS["to"],
    ]
    assert rules[1]["when"] == [
        {"key": "request.headers[x-a]", "values": ["1"]},
        {"key": "request.headers[x-b]", "values": ["p*"]},
        {"key": "request.headers[x-c]", "values": ["*"]},
    ]
    assert "when" not in rules[0]


def test_claims_are_conditions_with_their_path() -> None:
    claims = ((("scope",), ("read", "write")), (("org", "team"), ("pay",)))
    assert first(claims=claims)["when"] == [
        {"key": "request.auth.claims[scope]", "values": ["read", "write"]},
        {"key": "request.auth.claims[org][team]", "values": ["pay"]},
    ]


def test_a_port_of_a_rule_is_that_of_the_pods() -> None:
    made = policy(rule(service=CART, operations=at(CART.ports[0])))
    assert spec(made, "AuthorizationPolicy/shop/cart")["rules"][0]["to"] == [{"operation": {"ports": ["8080"]}}]


def test_a_denial_names_its_ports_and_comes_first() -> None:
    deny = rule(effect="deny", key="deny.reviews[0]")
    objects = ISTIO_SECURITY.write(policy(rule(), deny), WORLD).objects
    assert [(item.manifest["metadata"]["name"], item.phase, item.keys) for item in objects] == [
        ("reviews.deny", 0, ("deny.reviews[0]",)),
        ("reviews", 1, ("allow.reviews[0]", "deny.reviews[0]")),
    ]
    assert objects[0].manifest["spec"]["action"] == "DENY"
    assert objects[0].manifest["spec"]["rules"] == [
        {"from": [{"source": {"principals": [PRINCIPAL]}}], "to": [{"operation": {"ports": ["9080"]}}]}
    ]


def test_a_rule_that_audits_is_an_object_in_dry_run_of_its_own() -> None:
    deny = rule(effect="deny", key="deny.reviews[0]", audit=True)
    objects = written(policy(rule(), rule(key="allow.reviews[1]", audit=True), deny))
    marks = {name: item["metadata"].get("annotations") for name, item in objects.items()}
    dry = {"istio.io/dry-run": "true"}
    assert marks == {ALLOWED: None, f"{ALLOWED}.audit": dry, f"{ALLOWED}.deny.audit": dry}


def test_a_namespace_that_denies_is_closed_last_by_an_object_that_allows_nothing() -> None:
    made = policy(rule(), namespaces=(NamespacePolicy("bookinfo", "deny"),))
    objects = ISTIO_SECURITY.write(made, WORLD).objects
    assert [(str(object_ref(item.manifest)), item.phase) for item in objects] == [
        (ALLOWED, 1),
        ("AuthorizationPolicy/bookinfo/default-deny.namespace", 4),
    ]
    assert objects[1].manifest["spec"] == {}
    # The ports without rules are closed there, so they are not left open.
    assert OTHERS not in objects[0].manifest["spec"]["rules"]


def test_in_a_namespace_that_audits_every_policy_is_in_dry_run() -> None:
    deny = rule(effect="deny", key="deny.reviews[0]")
    objects = written(policy(rule(), deny, namespaces=(NamespacePolicy("bookinfo", "audit"),)))
    assert len(objects) == 3
    assert all(item["metadata"]["annotations"] == {"istio.io/dry-run": "true"} for item in objects.values())


def test_the_ports_of_other_services_on_the_same_pods_stay_as_they_are() -> None:
    metrics = Service("metrics", "bookinfo", (Port(8801, "http"),), selector=REVIEWS.selector)
    open_ports = replace(policy(rule()), services=(REVIEWS, metrics))
    assert spec(open_ports)["rules"][-1] == OTHERS
    both = replace(policy(rule(), rule(service=metrics, key="allow.metrics[0]")), services=(REVIEWS, metrics))
    closed = {"to": [{"operation": {"notPorts": ["8801", "9080"]}}]}
    assert [item["spec"]["rules"][-1] for item in written(both).values()] == [closed, closed]


def test_tokens_are_read_from_the_header_only_and_required_by_their_issuer() -> None:
    jwt = Jwt("https://a.example.com", ("shop",), '{"keys": []}', require=True, claims=((("scope",), ("read",)),))
    other = Jwt(
        "https://b.example.com", jwks_uri="https://b.example.com/keys", headers=(("x-token", ""),), forward=True
    )
    required = Jwt("https://c.example.com", jwks="{}", require=True)
    objects = written(policy(rule(), authentications=(Authentication(REVIEWS, (jwt, other, required)),)))
    assert objects["RequestAuthentication/bookinfo/reviews"]["spec"] == {
        "selector": {"matchLabels": {"app": "reviews"}},
        "jwtRules": [
            {
                "issuer": "https://a.example.com",
                "audiences": ["shop"],
                "jwks": '{"keys": []}',
                "fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}],
            },
            {
                "issuer": "https://b.example.com",
                "jwksUri": "https://b.example.com/keys",
                "fromHeaders": [{"name": "x-token"}],
                "forwardOriginalToken": True,
            },
            {
                "issuer": "https://c.example.com",
                "jwks": "{}",
                "fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}],
            },
        ],
    }
    assert [one.get("when") for one in objects[ALLOWED]["spec"]["rules"]] == [
        [
            {"key": "request.auth.claims[iss]", "values": ["https://a.example.com"]},
            {"key": "request.auth.claims[scope]", "values": ["read"]},
        ],
        [{"key": "request.auth.claims[iss]", "values": ["https://c.example.com"]}],
        None,
    ]


def test_a_token_that_is_required_without_a_rule_is_enough_unless_the_namespace_denies() -> None:
    tokens = (Authentication(REVIEWS, (Jwt("https://a.example.com", jwks="{}", require=True),)),)
    rules = spec(policy(authentications=tokens))["rules"]
    assert rules == [
        {
            "to": [{"operation": {"ports": ["9080"]}}],
            "when": [{"key": "request.auth.claims[iss]", "values": ["https://a.example.com"]}],
        },
        OTHERS,
    ]
    closed = written(policy(authentications=tokens, namespaces=(NamespacePolicy("bookinfo", "deny"),)))
    assert ALLOWED not in closed


def test_exceptions_for_the_same_pods_are_one_object_and_those_that_demand_more_come_last() -> None:
    other = Service("cart-admin", "shop", (Port(8081, "http"),), selector=CART.selector)
    exceptions = (
        MtlsException("shop", "permissive"),
        MtlsException("shop", "disable", CART),
        MtlsException("shop", "strict", CART, CART.ports[0]),
        MtlsException("shop", "permissive", other, other.ports[0]),
    )
    objects = ISTIO_SECURITY.write(Policy(exceptions=exceptions, services=(CART, other)), WORLD).objects
    assert [(str(object_ref(item.manifest)), item.phase) for item in objects] == [
        ("PeerAuthentication/shop/cart", 5),
        ("PeerAuthentication/shop/default", 6),
    ]
    assert [item.manifest["spec"] for item in objects] == [
        {
            "selector": {"matchLabels": {"app": "cart"}},
            "mtls": {"mode": "DISABLE"},
            "portLevelMtls": {"8080": {"mode": "STRICT"}, "8081": {"mode": "PERMISSIVE"}},
        },
        {"mtls": {"mode": "PERMISSIVE"}},
    ]
    demanding = Policy("permissive", (MtlsException("shop", "strict", CART),), services=(CART, other))
    assert [item.phase for item in ISTIO_SECURITY.write(demanding, WORLD).objects] == [0]


def test_an_object_of_a_service_never_has_the_name_of_one_for_a_namespace() -> None:
    default = Service("default", "shop", (Port(80, "http"),), selector=(("app", "d"),))
    exceptions = (MtlsException("shop", "permissive"), MtlsException("shop", "permissive", default))
    assert sorted(written(Policy(exceptions=exceptions))) == [
        "PeerAuthentication/shop/default",
        "PeerAuthentication/shop/default.service",
    ]


def test_egress_is_closed_by_a_sidecar_after_the_hosts_that_stay_open() -> None:
    hosts = (
        EgressHost("api.example.com", 443, "HTTPS"),
        EgressHost("api.example.com", 80, "HTTP"),
        EgressHost("*.example.org", 443, "HTTPS"),
    )
    made = Policy(namespaces=(NamespacePolicy("shop", egress=Egress(deny=True, hosts=hosts)),))
    objects = ISTIO_SECURITY.write(made, WORLD).objects
    assert [(str(object_ref(item.manifest)), item.phase) for item in objects] == [
        ("ServiceEntry/shop/open-api.example.com", 0),
        ("ServiceEntry/shop/any-open-example.org", 0),
        ("Sidecar/shop/default", 4),
    ]
    assert objects[0].manifest["spec"] == {
        "hosts": ["api.example.com"],
        "location": "MESH_EXTERNAL",
        "resolution": "DNS",
        "ports": [
            {"number": 80, "name": "http-80", "protocol": "HTTP"},
            {"number": 443, "name": "https-443", "protocol": "HTTPS"},
        ],
        "exportTo": ["."],
    }
    assert objects[1].manifest["spec"]["resolution"] == "NONE"
    assert objects[2].manifest["spec"] == {
        "egress": [{"hosts": ["*/*"]}],
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
    }


def test_egress_that_is_open_needs_no_object() -> None:
    assert written(Policy(namespaces=(NamespacePolicy("shop", egress=Egress(deny=False)),))) == {}


DENY: Any = {"effect": "deny", "key": "deny.reviews[0]"}
TCP = Service("db", "bookinfo", (Port(5432, "tcp-db"),), selector=(("app", "db"),))
MIXED = Service("mixed", "bookinfo", (Port(80, "http"), Port(90, "tcp"), Port(91)), selector=(("app", "m"),))
GET = Operation(methods=("GET",))


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (
            policy(rule(service=TCP), authentications=(Authentication(TCP, (Jwt("i", jwks="{}", require=True),)),)),
            "MSH550",
        ),
        (policy(rule(service=MIXED, operations=(GET,), **DENY)), "MSH551"),
        (policy(rule(operations=(Operation(paths=(exact("/{a}"),)),))), "MSH552"),
        (policy(rule(operations=(Operation(paths=(exact("/a/../b"),)),))), "MSH552"),
        (policy(rule(operations=(Operation(paths=(exact("/%61"),)),))), "MSH552"),
        (policy(rule(operations=(Operation(paths=(template("/a*/{*}"),)),))), "MSH552"),
        (policy(rule(operations=(Operation(paths=(template("/a//{*}"),)),))), "MSH552"),
        (policy(rule(claims=((("a[b]",), ("a",)),))), "MSH552"),
        (policy(rule(Source(Identity("account", "a", "b", "cluster.local")))), ""),
        (policy(rule(operations=(Operation(paths=(template("/a/{*}"),)),), **DENY)), "MSH553"),
        (policy(rule(operations=(Operation(hosts=("*.example.com",)),), **DENY)), "MSH553"),
        (policy(namespaces=(NamespacePolicy("scoped", egress=Egress(deny=True)),)), "MSH554"),
        (
            policy(namespaces=(NamespacePolicy("shop", egress=Egress(True, (EgressHost("*.a.b", 9, "TCP"),))),)),
            "MSH555",
        ),
        (policy(namespaces=(NamespacePolicy("shop", egress=Egress(True, (EgressHost("a.b", 9, "HTTP"),))),)), "MSH555"),
        (
            policy(rule(operations=tuple(Operation(headers=(("x", TextMatch("present")),)) for _ in range(512)))),
            "MSH556",
        ),
        (policy(rule(*(Source(networks=(Network(f"10.0.{n}.0/24"),)) for n in range(513)))), "MSH556"),
        (policy(rule()), ""),
    ],
)
def test_what_istio_would_read_otherwise_is_refused_or_said(made: Policy, code: str) -> None:
    world = replace(
        WORLD, control_plane="istio-system", scoped=frozenset({"scoped"}), routed_hosts=frozenset({("shop", "a.b")})
    )
    assert codes(made, world) == ([code] if code else [])
    severities = {one.severity for one in faults(made, world)}
    assert severities == ({"warning"} if code == "MSH551" else {"error"} if code else set())


def test_the_pointer_to_the_own_trust_domain_is_refused_as_the_name_of_another() -> None:
    foreign = policy(rule(Source(Identity("account", "a", "b", "cluster.local"))))
    assert codes(foreign, replace(WORLD, trust_domain="corp.example")) == ["MSH552"]


def test_two_exceptions_that_meet_on_some_pods_are_refused() -> None:
    part = Service("cart-v2", "shop", (Port(80, "http"),), selector=(*CART.selector, ("version", "v2")))
    exceptions = (MtlsException("shop", "permissive", CART), MtlsException("shop", "strict", part))
    assert codes(Policy(exceptions=exceptions)) == ["MSH557"]
    blue = Service("blue", "shop", (Port(80, "http"),), selector=(("color", "blue"),))
    apart = Policy(exceptions=(exceptions[0], MtlsException("shop", "strict", blue)))
    assert codes(apart) == []
    both = Workload("w", "shop", "Deployment", "w", (*CART.selector, *blue.selector))
    assert codes(apart, replace(WORLD, services=(CART, blue), workloads=(both,))) == ["MSH557"]


def test_a_tcp_host_is_opened_with_a_warning() -> None:
    hosts = (EgressHost("db.example.com", 5432, "TCP"),)
    made = Policy(namespaces=(NamespacePolicy("shop", egress=Egress(deny=True, hosts=hosts)),))
    assert [(one.code, one.severity) for one in faults(made)] == [("MSH555", "warning")]
    assert not errors(faults(made))


def test_a_rule_without_a_port_reaches_only_the_ports_that_speak_its_protocol() -> None:
    made = policy(rule(service=MIXED, operations=(GET,)), rule(service=MIXED, key="allow.mixed[1]"))
    rules = spec(made, "AuthorizationPolicy/bookinfo/mixed")["rules"]
    assert [one["to"][0]["operation"].get("ports") for one in rules] == [["80", "91"], ["80", "90", "91"], None]


def test_only_features_that_there_are_can_be_refused() -> None:
    assert set(ISTIO_SECURITY.refusals) <= {feature.name for feature in FEATURES}


def test_a_rule_that_takes_nothing_closes_the_service_all_the_same() -> None:
    closed = [{"to": [{"operation": {"notPorts": ["5432"]}}]}]
    assert spec(policy(rule(service=TCP, operations=(GET,))), "AuthorizationPolicy/bookinfo/db")["rules"] == closed


def test_what_reads_requests_and_what_does_not_are_rules_of_their_own() -> None:
    both = rule(service=MIXED, operations=(GET, *at(MIXED.ports[1])))
    rules = spec(policy(both), "AuthorizationPolicy/bookinfo/mixed")["rules"]
    assert [one["to"] for one in rules[:2]] == [
        [{"operation": {"ports": ["90"]}}],
        [{"operation": {"ports": ["80", "91"], "methods": ["GET"]}}],
    ]
