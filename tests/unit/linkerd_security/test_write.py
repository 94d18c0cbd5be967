"""What is written for each part of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from components.manifests import object_ref
from components.meshes import MESHES
from components.meshes.linkerd.security import LINKERD_SECURITY
from components.security.capability import FEATURES
from components.security.compile import SecurityCompilation, compile_policy
from components.security.model import (
    Default,
    Egress,
    EgressHost,
    Identity,
    MtlsException,
    NamespacePolicy,
    Network,
    Operation,
    Policy,
    Rule,
    Source,
)
from components.security.order import dependencies
from components.security.paths import exact, prefix, template
from components.security.world import Probe, Workload, World
from components.traffic.model import EgressGuard, Guard, Port, Service, TextMatch

REVIEWS = Service("reviews", "bookinfo", (Port(9080, "http"),), selector=(("app", "reviews"),))
WEB = Service("web", "bookinfo", (Port(80, "http", target=8080), Port(9090, "grpc")), selector=(("app", "web"),))
SERVICES = (REVIEWS, WEB)


def pods(service: Service, *probes: Probe, declared: tuple[int, ...] = ()) -> Workload:
    labels = service.selector
    return Workload(service.name, "bookinfo", "Deployment", service.name, labels, declared=declared, probes=probes)


WORLD = World(services=SERVICES, workloads=(pods(REVIEWS), pods(WEB)), trust_domain="corp.example", control_plane="lk")
PAGE = Source(Identity("account", "bookinfo", "productpage"))
USERS = Source(Identity("namespace", "users"))
PAGE_NAME = "productpage.bookinfo.serviceaccount.identity.lk.corp.example"


def rule(
    *operations: Operation, sources: tuple[Source, ...] = (PAGE,), service: Service = REVIEWS, key: str = "r"
) -> Rule:
    return Rule(key, "allow", service, sources, operations, where=f"security.{key}")


def policy(*rules: Rule, **fields: Any) -> Policy:
    return Policy(rules=rules, services=SERVICES, **fields)


def compiled(subject: Policy, world: World = WORLD) -> SecurityCompilation:
    return compile_policy(subject, "linkerd", [mesh.security for mesh in MESHES.values()], world)


def specs(subject: Policy, world: World = WORLD) -> dict[str, dict[str, Any]]:
    """The spec of each object, by `Kind/namespace/name`."""
    made = compiled(subject, world)
    assert not [one for one in made.diagnostics if one.severity == "error"]
    return {str(object_ref(one.manifest)): one.manifest["spec"] for one in made.objects}


def codes(subject: Policy, world: World = WORLD) -> list[tuple[str, str]]:
    return [(one.code, one.path) for one in compiled(subject, world).diagnostics]


def of_kind(made: Mapping[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [spec for name, spec in made.items() if name.startswith(f"{kind}/")]


def routes_of(made: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: spec for name, spec in made.items() if name.startswith("HTTPRoute/")}


def test_a_rule_without_http_is_an_authorization_on_the_server_and_no_route() -> None:
    (tls, identities), (authorization, spec) = specs(policy(rule())).items()
    name = tls.removeprefix("MeshTLSAuthentication/bookinfo/")
    assert name.startswith("reviews-9080.")
    assert identities == {"identities": [PAGE_NAME]}
    assert authorization == f"AuthorizationPolicy/bookinfo/{name}"
    assert spec == {
        "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": "reviews-9080"},
        "requiredAuthenticationRefs": [{"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": name}],
    }
    assert compiled(policy(rule())).guards == (Guard(REVIEWS, Port(9080, "http"), "deny", "r", "security.r"),)


@pytest.mark.parametrize(
    ("source", "identity"),
    [
        (Identity("account", "bookinfo", "a"), "a.bookinfo.serviceaccount.identity.lk.corp.example"),
        (Identity("account", "bookinfo", "a", "far.example"), "a.bookinfo.serviceaccount.identity.lk.far.example"),
        (Identity("namespace", "users"), "*.users.serviceaccount.identity.lk.corp.example"),
        (Identity("trust-domain", trust_domain="far.example"), "*.serviceaccount.identity.lk.far.example"),
        (Identity("mesh"), "*"),
    ],
    ids=["account", "foreign account", "namespace", "trust domain", "mesh"],
)
def test_an_identity_has_the_name_of_linkerds_certificates(source: Identity, identity: str) -> None:
    made = specs(policy(rule(sources=(Source(source),))))
    assert of_kind(made, "MeshTLSAuthentication") == [{"identities": [identity]}]


def test_everybody_in_a_strict_mesh_is_whoever_has_an_identity() -> None:
    made = specs(policy(rule(sources=(Source(),))))
    assert of_kind(made, "MeshTLSAuthentication") == [{"identities": ["*"]}]


def test_everybody_in_a_permissive_mesh_needs_no_authentication() -> None:
    made = specs(policy(rule(sources=(Source(),)), mode="permissive"))
    (spec,) = of_kind(made, "AuthorizationPolicy")
    assert (len(made), spec["requiredAuthenticationRefs"]) == (1, [])


def test_addresses_are_a_network_authentication_and_beside_an_identity_both_must_hold() -> None:
    net = Network("10.0.0.0/8", ("10.9.0.0/16",))
    both = replace(PAGE, networks=(net,))
    made = specs(policy(rule(sources=(USERS, Source(networks=(net,)), both)), mode="permissive"))
    wanted = {
        tuple(one["kind"] for one in spec["requiredAuthenticationRefs"])
        for name, spec in made.items()
        if name.startswith("AuthorizationPolicy/")
    }
    tls, network = "MeshTLSAuthentication", "NetworkAuthentication"
    assert wanted == {(tls,), (network,), (tls, network)}
    ten = {"networks": [{"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}]}
    assert of_kind(made, "NetworkAuthentication") == [ten, ten]


def test_rules_on_http_get_a_route_each_and_a_closed_one_for_the_rest() -> None:
    get = Operation(methods=("GET",), paths=(prefix("/reviews"),))
    made = routes_of(specs(policy(rule(get))))
    closed = made.pop("HTTPRoute/bookinfo/reviews-9080.closed")
    assert closed["rules"] == [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]
    (spec,) = made.values()
    assert spec["parentRefs"] == [{"group": "policy.linkerd.io", "kind": "Server", "name": "reviews-9080"}]
    assert spec["rules"] == [{"matches": [{"path": {"type": "PathPrefix", "value": "/reviews"}, "method": "GET"}]}]


def test_nobody_is_authorized_on_the_closed_route() -> None:
    made = specs(policy(rule(Operation(methods=("GET",)))))
    targets = [spec["targetRef"]["name"] for name, spec in made.items() if name.startswith("AuthorizationPolicy")]
    assert targets and "reviews-9080.closed" not in targets


def test_where_rules_overlap_a_route_of_its_own_has_the_callers_of_both() -> None:
    get = rule(Operation(methods=("GET",)), key="get")
    admin = rule(Operation(paths=(prefix("/admin"),)), sources=(USERS,), key="admin")
    made = specs(policy(get, admin))
    identities = {tuple(spec["identities"]) for name, spec in made.items() if name.startswith("MeshTLS")}
    users = "*.users.serviceaccount.identity.lk.corp.example"
    assert identities == {(PAGE_NAME,), (users,), (users, PAGE_NAME)}
    (both,) = [
        spec
        for spec in routes_of(made).values()
        if spec["rules"][0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/admin"}, "method": "GET"}]
    ]
    assert both["parentRefs"][0]["name"] == "reviews-9080"


def test_a_route_keeps_its_name_when_its_callers_change() -> None:
    get = Operation(methods=("GET",))
    before, after = (specs(policy(rule(get, sources=sources))) for sources in ((PAGE,), (PAGE, USERS)))
    assert routes_of(before) == routes_of(after)
    # Who may call before and after is admitted all the while: no object is changed, and Pulumi deletes last.
    assert all(after[name] == spec for name, spec in before.items() if name in after)
    assert not {name for name in before.keys() & after.keys() if not name.startswith("HTTPRoute/")}


def test_headers_templates_hosts_and_grpc_become_what_a_route_has() -> None:
    call = Operation(methods=("POST",), paths=(exact("/shop.Cart/Add"),), grpc=True)
    tier = Operation(
        headers=(("x-a", TextMatch("exact", "1")), ("x-b", TextMatch("prefix", "a.b")), ("x-c", TextMatch("present")))
    )
    made = specs(
        policy(
            rule(call),
            rule(tier, key="t"),
            rule(Operation(paths=(template("/a/{*}/{**}"),)), key="p"),
            rule(Operation(hosts=("*.example.com",)), key="h"),
        )
    )
    matches = [
        match for spec in routes_of(made).values() if "hostnames" not in spec for match in spec["rules"][0]["matches"]
    ]
    assert {"path": {"type": "Exact", "value": "/shop.Cart/Add"}, "method": "POST"} in matches
    assert {"path": {"type": "RegularExpression", "value": "/a/[^/]+(?:/.*)?"}} in matches
    assert {
        "path": {"type": "PathPrefix", "value": "/"},
        "headers": [
            {"type": "Exact", "name": "x-a", "value": "1"},
            {"type": "RegularExpression", "name": "x-b", "value": "a\\.b.*"},
            {"type": "RegularExpression", "name": "x-c", "value": ".*"},
        ],
    } in matches
    assert ["*.example.com"] in [spec.get("hostnames") for spec in made.values()]


@pytest.mark.parametrize(("default", "others"), [("open", []), ("deny", [8801])])
def test_each_port_of_a_guarded_service_is_closed_and_in_a_namespace_that_denies_each_other_one_too(
    default: Default, others: list[int]
) -> None:
    world = replace(WORLD, workloads=(pods(WEB, declared=(8080, 9090, 8801, 4191)),))
    subject = replace(policy(rule(service=WEB)), services=(WEB,), namespaces=(NamespacePolicy("bookinfo", default),))
    guards = [one for one in compiled(subject, world).guards if isinstance(one, Guard)]
    assert [one.port.container for one in guards if one.access == "deny"] == [8080, 9090, *others]
    # A rule without a port is about the ports of the Service.
    assert {spec["targetRef"]["name"] for spec in specs(subject, world).values() if "targetRef" in spec} == {
        "web-80",
        "web-9090",
    }


def test_a_port_of_another_service_with_the_same_pods_stays_as_that_one_is() -> None:
    admin = Service("web-admin", "bookinfo", (Port(9999),), selector=WEB.selector)
    world = replace(WORLD, workloads=(pods(WEB, declared=(8080, 9090, 9999)),))
    subject = replace(policy(rule(service=admin)), services=(WEB, admin))
    assert [one.port.container for one in compiled(subject, world).guards if isinstance(one, Guard)] == [9999]


def test_a_service_with_some_of_the_pods_of_another_one_is_closed_by_the_server_of_that_one() -> None:
    canary = replace(REVIEWS, name="canary", selector=(("app", "reviews"), ("version", "v2")))
    subject = replace(policy(rule(), namespaces=(NamespacePolicy("bookinfo", "deny"),)), services=(canary, REVIEWS))
    assert [one.service.name for one in compiled(subject).guards if isinstance(one, Guard)] == ["reviews"]
    assert codes(subject) == []


def test_a_rule_for_one_port_opens_no_other() -> None:
    made = specs(policy(rule(Operation(port=WEB.ports[0]), service=WEB)))
    targets = [spec["targetRef"]["name"] for name, spec in made.items() if name.startswith("AuthorizationPolicy")]
    assert targets == ["web-80"]


def test_probes_get_routes_as_soon_as_there_is_a_route() -> None:
    world = replace(WORLD, workloads=(pods(REVIEWS, Probe("http", 9080, "/healthz"), Probe("http", 9443, "/other")),))
    assert not routes_of(specs(policy(rule()), world))
    made = specs(policy(rule(Operation(methods=("GET",)))), world)
    assert made["HTTPRoute/bookinfo/reviews-9080.probes"]["rules"] == [
        {"matches": [{"path": {"type": "Exact", "value": "/healthz"}, "method": "GET"}]}
    ]
    assert of_kind(made, "NetworkAuthentication") == [{"networks": [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]}]


def test_a_grpc_probe_gets_a_route_since_linkerd_never_admits_one_by_itself() -> None:
    world = replace(WORLD, workloads=(pods(REVIEWS, Probe("grpc", 9080)),))
    made = routes_of(specs(policy(rule()), world))
    assert made.keys() == {f"HTTPRoute/bookinfo/reviews-9080.{name}" for name in ("probes", "closed")}


def test_a_namespace_that_denies_closes_every_known_port_and_what_new_pods_open() -> None:
    made = compiled(policy(namespaces=(NamespacePolicy("bookinfo", "deny", where="security.namespaces.bookinfo"),)))
    assert made.annotations == {"bookinfo": {"config.linkerd.io/default-inbound-policy": "deny"}}
    assert [(one.port.number, one.access) for one in made.guards if isinstance(one, Guard)] == [
        (9080, "deny"),
        (80, "deny"),
        (9090, "deny"),
    ]
    assert not made.objects


def test_a_namespace_that_audits_says_that_plain_callers_get_in() -> None:
    audit = policy(rule(), namespaces=(NamespacePolicy("bookinfo", "audit", where="security.namespaces.bookinfo"),))
    made = compiled(audit)
    assert made.annotations == {"bookinfo": {"config.linkerd.io/default-inbound-policy": "audit"}}
    assert {one.access for one in made.guards if isinstance(one, Guard)} == {"audit"}
    assert codes(audit) == [("MSH567", "security.namespaces.bookinfo.default")]
    assert codes(replace(audit, mode="permissive")) == []


def test_an_exception_of_mutual_tls_is_the_access_policy_of_its_ports() -> None:
    exception = MtlsException("bookinfo", "permissive", WEB, WEB.ports[0], where="security.mtls.exceptions[0]")
    made = compiled(policy(exceptions=(exception,)))
    assert [(one.port.number, one.access) for one in made.guards if isinstance(one, Guard)] == [
        (80, "all-unauthenticated")
    ]
    assert made.annotations == {}


def test_an_exception_of_a_namespace_holds_for_new_pods_and_for_known_ports_at_once() -> None:
    exception = MtlsException("bookinfo", "strict", where="security.mtls.exceptions[0]")
    made = compiled(policy(exceptions=(exception,), mode="permissive"))
    assert made.annotations == {"bookinfo": {"config.linkerd.io/default-inbound-policy": "all-authenticated"}}
    assert [one.access for one in made.guards if isinstance(one, Guard)] == ["all-authenticated"] * 3


def test_calls_to_the_outside_are_left_to_the_one_egress_network_of_the_namespace() -> None:
    egress = Egress(deny=True, hosts=(EgressHost("api.example.com", 80, "HTTP"),), networks=(Network("192.0.2.0/24"),))
    made = compiled(policy(namespaces=(NamespacePolicy("bookinfo", egress=egress),)))
    (guard,) = made.guards
    assert isinstance(guard, EgressGuard)
    assert (guard.namespace, guard.deny, guard.hosts[0].host, guard.networks) == (
        "bookinfo",
        True,
        "api.example.com",
        (("192.0.2.0/24", ()),),
    )


def test_two_services_with_the_same_pods_share_a_server_and_its_rules() -> None:
    twin = replace(REVIEWS, name="reviews-internal")
    subject = replace(policy(rule(), rule(sources=(USERS,), service=twin, key="t")), services=(REVIEWS, twin))
    made = specs(subject)
    assert len(of_kind(made, "MeshTLSAuthentication")[0]["identities"]) == 2
    assert len(compiled(subject).guards) == 1


def test_services_that_select_some_of_the_same_pods_by_other_labels_are_refused() -> None:
    first = replace(REVIEWS, name="reviews-v1", selector=(("app", "reviews"), ("version", "v1")))
    subject = replace(policy(rule(), rule(service=first, key="t")), services=(REVIEWS, first))
    assert ("MSH566", "security.t") in codes(subject)


def test_a_method_that_no_route_can_name_is_refused() -> None:
    assert codes(policy(rule(Operation(methods=("PROPFIND",), where="security.r.to[0]")))) == [
        ("MSH560", "security.r.to[0].methods")
    ]


def test_conditions_that_no_route_can_hold_are_refused() -> None:
    long = Operation(paths=(exact("/" + "x" * 2000),))
    assert codes(policy(rule(long))) == [("MSH562", "security.r")]


def test_a_prefix_is_told_to_be_passed_by_dot_segments_and_an_exact_path_is_not() -> None:
    where = "security.r.to[0]"
    assert codes(policy(rule(Operation(paths=(prefix("/a"),), where=where)))) == [("MSH563", f"{where}.paths")]
    assert codes(policy(rule(Operation(paths=(exact("/a"), prefix("/")), where=where)))) == []
    # A gRPC server resolves no path; and the calls of a preset have no field of their own.
    assert codes(policy(rule(Operation(methods=("POST",), paths=(prefix("/a.B"),), grpc=True, where=where)))) == []
    of_preset = replace(rule(Operation(paths=(prefix("/a"),), where="security.preset")), where="security.preset")
    assert codes(policy(of_preset)) == [("MSH563", "security.preset")]


def test_a_rule_for_the_path_of_a_probe_is_told_not_to_hold() -> None:
    world = replace(WORLD, workloads=(pods(REVIEWS, Probe("http", 9080, "/a")),))
    assert codes(policy(rule(Operation(paths=(exact("/a"),)))), world) == [("MSH564", "security.r")]
    assert codes(policy(rule(Operation(paths=(exact("/b"),)))), world) == []


def test_without_knowledge_of_the_pods_their_probes_are_told_to_be_closed() -> None:
    subject = policy(rule(Operation(paths=(exact("/a"),))))
    assert codes(subject, replace(WORLD, workloads=())) == [("MSH565", "security.r")]


def test_a_route_waits_for_its_authorization_and_for_the_route_that_takes_the_rest() -> None:
    world = replace(WORLD, workloads=(pods(REVIEWS, Probe("http", 9080, "/healthz")),))
    made = compiled(policy(rule(), rule(Operation(methods=("GET",)), key="t")), world).objects
    waits = dependencies(made)
    names = [str(object_ref(one.manifest)) for one in made]
    for number, one in enumerate(made):
        if one.manifest["kind"] != "HTTPRoute":
            continue
        earlier = {names[position] for position in waits[number]}
        name = one.manifest["metadata"]["name"]
        if not name.endswith(".closed"):
            assert any(other.startswith(f"AuthorizationPolicy/bookinfo/{name}.") for other in earlier)
            assert "HTTPRoute/bookinfo/reviews-9080.closed" in earlier


def test_where_a_rule_takes_everything_its_route_comes_first() -> None:
    everything = rule(Operation(paths=(prefix("/"),)), sources=(USERS,), key="all")
    made = compiled(policy(everything, rule(Operation(methods=("GET",)), key="get"))).objects
    phases = {one.phase: one.manifest for one in made if one.manifest["kind"] == "HTTPRoute"}
    assert [one.phase for one in made if one.manifest["kind"] == "HTTPRoute"] == [2, 3]
    assert phases[2]["spec"]["rules"] == [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]
    first = next(number for number, one in enumerate(made) if one.manifest == phases[2])
    assert first in dependencies(made)[-1]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda one: one.name)
def test_every_refusal_is_of_a_feature_and_has_a_reason(feature: Any) -> None:
    refused = {
        "mtls-disable",
        "claims",
        "jwt",
        "jwt-uri",
        "jwt-headers",
        "deny",
        "audit-rule",
        "egress-https",
        "egress-tcp",
    }
    reason = LINKERD_SECURITY.refusals.get(feature.name, "")
    assert bool(reason) == (feature.name in refused)
    assert LINKERD_SECURITY.refusals.keys() == refused
