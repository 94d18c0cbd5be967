"""What is wrong with a policy beside applications, routes and a mesh: each check with a case in which it is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import yaml

from components.apps import APPS, bookinfo
from components.diagnostics import Diagnostic
from components.manifests import Manifest
from components.meshes import MESHES, TARGETS
from components.security.checks import check
from components.security.model import (
    Account,
    Authentication,
    Effect,
    Identity,
    Jwt,
    Mode,
    MtlsException,
    NamespacePolicy,
    Network,
    Operation,
    Policy,
    Rule,
    Source,
)
from components.security.paths import exact, prefix
from components.security.plane import AccessRequest, Guarded, SecurityPlane, Verdict
from components.security.workloads import read_workloads
from components.security.world import Call, Probe, Webhook, Workload, World
from components.traffic import Port, Service, compile_routes, parse
from components.traffic.proxies import PortReading
from components.traffic.targets import Planned
from tests.unit.traffic.helpers import GATEWAYS


class _Plane(SecurityPlane):
    """A mesh that is only asked what it does with probes."""

    name = title = "Mesh"
    refusals: Mapping[str, str] = {}

    def write(self, policy: Policy, world: World) -> Guarded:
        raise NotImplementedError

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        raise NotImplementedError


class _WithAgent(_Plane):
    has_agent = True


class _WithoutAgent(_Plane):
    closed_probes: Mapping[str, str] = {"tcp": "It tells nothing.", "grpc": "It is refused."}


AGENT, PROXY = _WithAgent(), _WithoutAgent()
HTTP = Port(80, "http", "http", 8080)
SHOP = Service("cart", "shop", (HTTP,), selector=(("app", "cart"),))
OTHER = Service("stock", "shop", (HTTP,), selector=(("app", "stock"),))
SELLER, BUYER = Account("shop", "seller"), Account("shop", "buyer")
DENY = NamespacePolicy("shop", "deny", where="namespaces.shop")


def _from(account: Account | str, **more: Any) -> Source:
    if isinstance(account, str):
        return Source(Identity("namespace", account), title=account, where="from")
    return Source(Identity("account", account.namespace, account.name, **more), title=str(account), where="from")


def _rule(*sources: Source, service: Service = SHOP, key: str = "rule", effect: Effect = "allow", **more: Any) -> Rule:
    return Rule(key, effect, service, sources or (_from(SELLER),), where=key, **more)


def _pods(name: str, account: str = "", *, app: str = "", **more: Any) -> Workload:
    return Workload(name, "shop", "Deployment", account or name, (("app", app or name),), **more)


CART = _pods("cart", declared=(8080,))
CALLERS = (_pods("seller"), _pods("buyer"))
WORLD = World((SHOP, OTHER), (CART, _pods("stock"), *CALLERS), control_plane="system")


def _check(
    *rules: Rule, world: World = WORLD, routes: Sequence[Planned] = (), plane: SecurityPlane = AGENT, **more: Any
) -> list[Diagnostic]:
    return check(Policy(rules=rules, **more), world, routes, plane)


def _codes(*rules: Rule, **more: Any) -> set[str]:
    return {one.code for one in _check(*rules, **more)}


def _only(code: str, *rules: Rule, **more: Any) -> Diagnostic:
    (found,) = [one for one in _check(*rules, **more) if one.code == code]
    return found


def _routes(raw: dict[str, Any], mesh: str = "istio", services: Sequence[Service] = (SHOP, OTHER)) -> Sequence[Planned]:
    routes, faults = parse(raw, "meshup:traffic", services, gateways=GATEWAYS)
    compilation = compile_routes(routes, mesh, TARGETS, services)
    assert not faults and compilation.planned, (faults, compilation.diagnostics)
    return compilation.planned


def test_without_a_policy_nothing_is_found() -> None:
    calls = (Call(SELLER, "cart", "shop", 80),)
    assert _check(world=replace(WORLD, calls=calls)) == []


# MSH530 is about a call that is denied


def _calling(*calls: Call, **more: Any) -> World:
    return replace(WORLD, calls=calls, **more)


CALL = Call(SELLER, "cart", "shop", 80, "GET", ({"prefix": "/cart"}, "/health"), "/cart/1?full=1")


def test_a_call_that_nothing_allows_is_found_with_the_smallest_rule_that_opens_it() -> None:
    found = _only("MSH530", world=_calling(CALL), namespaces=(DENY,))
    assert (found.severity, found.path) == ("warning", "namespaces.shop")
    text, _, rule = found.remedy.partition("\n")
    assert "smallest rule" in text
    assert yaml.safe_load(rule) == {
        "cart": [
            {
                "from": [{"serviceAccount": "seller"}],
                "to": [{"methods": ["GET"], "paths": [{"prefix": "/cart"}, "/health"]}],
            }
        ]
    }


def test_the_rules_that_close_a_call_are_named() -> None:
    found = _only("MSH530", _rule(_from(BUYER), key="allow.cart[0]"), world=_calling(CALL))
    assert "allow.cart[0]" in found.message and found.path == "allow.cart[0]"
    denied = _rule(effect="deny", key="deny.cart[0]")
    found = _only("MSH530", _rule(), denied, world=_calling(CALL))
    assert found.path == "deny.cart[0]" and "smallest" not in found.remedy


def test_a_call_that_a_rule_allows_is_not_found() -> None:
    paths = (prefix("/cart"), exact("/health"))
    assert "MSH530" not in _codes(_rule(operations=(Operation(HTTP, ("GET",), paths),)), world=_calling(CALL))


@pytest.mark.parametrize(
    "operation",
    [
        Operation(methods=("POST",)),
        Operation(paths=(exact("/cart"), exact("/health"))),
        Operation(paths=(prefix("/cart"),)),
    ],
)
def test_a_rule_that_allows_a_part_of_a_call_does_not_hide_the_rest(operation: Operation) -> None:
    assert "MSH530" in _codes(_rule(operations=(operation,)), world=_calling(CALL))


def test_an_optional_call_and_one_that_is_only_counted_are_notes() -> None:
    found = _only("MSH530", world=_calling(replace(CALL, optional=True)), namespaces=(DENY,))
    assert found.severity == "info"
    found = _only("MSH530", world=_calling(CALL), namespaces=(replace(DENY, default="audit"),))
    assert found.severity == "info" and "would be denied" in found.message


def test_a_call_over_tcp_is_judged_as_a_connection() -> None:
    call = replace(CALL, method="", paths=())
    assert "MSH530" not in _codes(_rule(), world=_calling(call))
    assert "MSH530" in _codes(_rule(operations=(Operation(methods=("GET",)),)), world=_calling(call))


def test_calls_of_users_are_those_of_the_gateway_that_opens_the_service() -> None:
    edge = Account("edge", "public")
    routes = _routes(
        {
            "cart": {
                "namespace": "shop",
                "gateway": "public",
                "hosts": ["shop.example.com"],
                "rules": [{"timeout": "2s"}],
            }
        }
    )
    world = _calling(replace(CALL, caller=None), gateways={"public": edge})
    found = _only("MSH530", world=world, routes=routes, namespaces=(DENY,))
    assert found.value == "gateway public -> cart:80"
    opened = _rule(Source(Identity("account", "edge", "public"), gateway="public"))
    assert "MSH530" not in _codes(opened, world=world, routes=routes, namespaces=(DENY,))
    assert "MSH530" not in _codes(world=world, namespaces=(DENY,))


def test_a_gateway_that_no_rule_admits_is_found_without_a_call_graph() -> None:
    routes = _routes(
        {
            "cart": {
                "namespace": "shop",
                "gateway": "public",
                "hosts": ["shop.example.com"],
                "rules": [{"timeout": "2s"}],
            }
        }
    )
    world = replace(WORLD, gateways={"public": Account("edge", "public")})
    found = _only("MSH530", world=world, routes=routes, namespaces=(DENY,))
    assert yaml.safe_load(found.remedy.partition("\n")[2]) == {"cart": [{"from": [{"gateway": "public"}]}]}
    assert "MSH530" not in _codes(_rule(_from("edge")), world=world, routes=routes)
    assert "MSH530" not in _codes(namespaces=(DENY,), routes=routes)


def test_a_call_is_judged_as_a_route_rewrites_it() -> None:
    rewriting = {"match": {"path": {"prefix": "/cart"}}, "rewrite": {"prefix": "/v2"}}
    routes = _routes({"cart": {"namespace": "shop", "rules": [rewriting, {}]}})
    old, new = (_rule(operations=(Operation(paths=(prefix(path), exact("/health"))),)) for path in ("/cart", "/v2"))
    world = _calling(CALL)
    assert "/v2" in _only("MSH530", old, world=world, routes=routes).message
    assert "MSH530" not in _codes(new, world=world, routes=routes)


# MSH531 is about what nobody needs


def test_a_rule_for_a_caller_that_makes_no_call_is_found() -> None:
    found = _only("MSH531", _rule(_from(SELLER), _from(BUYER)), world=_calling(CALL))
    assert found.severity == "info" and found.value == "shop/buyer"


def test_an_operation_that_no_call_asks_for_is_found() -> None:
    needed, spare = Operation(methods=("GET",), where="to[0]"), Operation(methods=("POST",), where="to[1]")
    assert _only("MSH531", _rule(operations=(needed, spare)), world=_calling(CALL)).path == "to[1]"


def test_a_rule_that_a_call_needs_and_one_of_unknown_callers_are_not_found() -> None:
    assert "MSH531" not in _codes(_rule(_from(SELLER), _from("shop"), Source()), world=_calling(CALL))
    assert "MSH531" not in _codes(_rule(_from(BUYER)))


# MSH532 and MSH533 are about what other rules take


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (_from("shop"), _from(SELLER)),
        (Source(Identity("mesh")), _from("shop")),
        (Source(), Source(networks=(Network("10.0.0.0/8"),))),
        (Source(networks=(Network("10.0.0.0/8"),)), Source(networks=(Network("10.1.0.0/16"),))),
        (Source(networks=(Network("10.0.0.0/8", ("10.2.0.0/16",)),)), Source(networks=(Network("10.1.0.0/16"),))),
        (Source(Identity("trust-domain", trust_domain="a.example")), _from(SELLER, trust_domain="a.example")),
    ],
)
def test_a_rule_whose_callers_another_one_admits_is_found(wide: Source, narrow: Source) -> None:
    assert _only("MSH532", _rule(wide, key="wide"), _rule(narrow, key="narrow")).value == "narrow"
    assert _only("MSH532", _rule(narrow, key="narrow"), _rule(wide, key="wide")).value == "narrow"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_from(SELLER), _from(BUYER)),
        (_from("shop"), _from("edge")),
        (_from(SELLER), _from(SELLER, trust_domain="a.example")),
        (_from("shop"), Source(networks=(Network("10.0.0.0/8"),))),
        (Source(networks=(Network("10.0.0.0/8", ("10.1.2.0/24",)),)), Source(networks=(Network("10.1.0.0/16"),))),
        (Source(networks=(Network("10.0.0.0/8"),)), Source(networks=(Network("fd00::/8"),))),
    ],
)
def test_rules_for_different_callers_are_not_found(one: Source, other: Source) -> None:
    assert "MSH532" not in _codes(_rule(one, key="one"), _rule(other, key="other"))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (Operation(), Operation(HTTP)),
        (Operation(HTTP), Operation(methods=("GET",))),
        (Operation(methods=("GET", "POST")), Operation(methods=("GET",))),
        (Operation(paths=(prefix("/a"),)), Operation(paths=(exact("/a/b"),))),
        (Operation(hosts=("*.example",)), Operation(hosts=("a.example", "*.b.example"))),
    ],
)
def test_a_rule_whose_operations_another_one_has_is_found(wide: Operation, narrow: Operation) -> None:
    rules = (_rule(operations=(wide,), key="wide"), _rule(operations=(narrow,), key="narrow"))
    assert _only("MSH532", *rules).value == "narrow"
    for audited in ("wide", "narrow"):
        assert "MSH532" not in _codes(*(replace(rule, audit=rule.key == audited) for rule in rules))


def test_of_two_rules_that_are_alike_the_later_is_found() -> None:
    assert _only("MSH532", _rule(key="first"), _rule(key="second")).value == "second"
    ours = _rule(_from(SELLER, trust_domain="cluster.local"), key="second")
    assert _only("MSH532", _rule(key="first"), ours).value == "second"


def test_a_rule_with_claims_does_not_stand_in_for_one_without() -> None:
    with_claims = _rule(key="claims", claims=((("scope",), ("write",)),))
    tokens = (Authentication(SHOP, (Jwt("https://a.example", jwks="{}"),)),)
    assert _only("MSH532", _rule(key="any"), with_claims, authentications=tokens).value == "claims"


def test_a_rule_all_of_which_is_denied_is_found() -> None:
    found = _only("MSH533", _rule(key="open"), _rule(_from("shop"), key="close", effect="deny"))
    assert found.value == "open" and "close" in found.message
    assert "MSH533" not in _codes(
        _rule(), _rule(effect="deny", key="close", operations=(Operation(methods=("POST",)),))
    )


# MSH534 and MSH535 are about callers


def test_an_account_that_no_workload_has_is_found_with_the_nearest_name() -> None:
    found = _only("MSH534", _rule(_from(Account("shop", "seler"))))
    assert found.value == "seler" and "'seller'" in found.remedy and found.severity == "warning"


@pytest.mark.parametrize(
    "source",
    [
        _from(SELLER),
        _from(Account("unknown", "who")),
        _from(Account("shop", "who"), trust_domain="a.example"),
        Source(Identity("account", "shop", "who"), gateway="public"),
    ],
)
def test_accounts_that_may_exist_are_not_found(source: Source) -> None:
    assert "MSH534" not in _codes(_rule(source))


def test_a_namespace_that_is_not_there_is_found() -> None:
    world = replace(WORLD, namespaces={"shop": True, "edge": True})
    assert _only("MSH534", _rule(_from("egde")), world=world).remedy == "Did you mean 'edge'?"
    assert "MSH534" not in _codes(_rule(_from("edge")), world=world)
    assert "MSH534" not in _codes(_rule(_from("egde")))


def test_an_account_of_several_workloads_is_found_unless_they_are_versions_of_one_service() -> None:
    second = replace(WORLD, workloads=(*WORLD.workloads, _pods("robot", "seller")))
    found = _only("MSH535", _rule(), world=second)
    assert found.message.startswith("Deployment robot, Deployment seller") and found.severity == "warning"
    versions = (_pods("cart-v1", "cart", app="cart"), _pods("cart-v2", "cart", app="cart"))
    world = replace(WORLD, workloads=versions)
    assert "MSH535" not in _codes(_rule(_from(Account("shop", "cart"))), world=world)
    assert "MSH535" not in _codes(_rule(_from("shop")), world=second)


def test_a_rule_for_the_account_that_everybody_has_by_default_is_a_note() -> None:
    world = replace(WORLD, workloads=(*WORLD.workloads, _pods("bot", "default")))
    assert _only("MSH535", _rule(_from(Account("shop", "default"))), world=world).severity == "info"


# MSH536 and MSH537 are about ports


def _reading(kind: Any, *ports: Port) -> World:
    readings = {("shop", "cart", port.number): PortReading(kind, "its name is tcp") for port in ports or (HTTP,)}
    return replace(WORLD, readings=readings)


ASKS = Operation(methods=("GET",), where="to")


def test_a_rule_on_requests_at_a_port_for_connections_is_refused() -> None:
    found = _only("MSH536", _rule(operations=(ASKS,)), world=_reading("connections"))
    assert (found.severity, found.path, found.value) == ("error", "to", 80)
    claims = _rule(claims=((("scope",), ("write",)),))
    assert "MSH536" in _codes(claims, world=_reading("connections"))


def test_a_rule_on_requests_at_a_port_that_is_detected_is_a_warning() -> None:
    assert _only("MSH536", _rule(operations=(ASKS,)), world=_reading("detected")).severity == "warning"


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_a_rule_on_requests_without_a_port_names_the_ports_that_it_does_not_hold_for(effect: Effect) -> None:
    two = replace(SHOP, ports=(HTTP, Port(5432, "tcp-data")))
    world = _reading("connections", two.ports[1])
    found = _only("MSH536", _rule(service=two, operations=(ASKS,), effect=effect), world=world)
    assert (found.severity, found.value) == ("warning", "5432")
    assert "MSH536" not in _codes(_rule(service=two, operations=(replace(ASKS, port=HTTP),)), world=world)


def test_a_rule_on_requests_at_a_port_for_requests_and_one_on_connections_are_not_found() -> None:
    assert "MSH536" not in _codes(_rule(operations=(ASKS,)), world=_reading("requests"))
    assert "MSH536" not in _codes(_rule(operations=(Operation(HTTP),)), world=_reading("connections"))


def _except(mode: Mode, port: Port | None = None) -> tuple[MtlsException, ...]:
    return (MtlsException("shop", mode, SHOP, port, where="exception"),)


def test_an_identity_where_only_plain_text_is_taken_is_refused() -> None:
    assert _only("MSH537", _rule(), exceptions=_except("disable")).severity == "error"
    assert "MSH537" not in _codes(_rule(Source()), exceptions=_except("disable"))


def test_who_gets_round_a_rule_of_deny_under_permissive_is_found() -> None:
    assert _only("MSH537", _rule(effect="deny"), exceptions=_except("permissive")).severity == "warning"


def test_an_exception_whose_callers_the_rules_refuse_is_found() -> None:
    assert _only("MSH537", _rule(), mode="permissive").severity == "info"
    plain = _rule(Source(networks=(Network("10.0.0.0/8"),)), key="plain")
    assert "MSH537" not in _codes(_rule(), plain, exceptions=_except("permissive"))
    assert "MSH537" not in _codes(_rule(), exceptions=_except("permissive", Port(9999)))


# MSH538 is about outside of the mesh


def test_a_caller_without_a_sidecar_is_found_by_rule_and_by_call() -> None:
    outside = replace(WORLD, workloads=(CART, replace(CALLERS[0], meshed=False)), calls=(CALL,))
    found = [one for one in _check(_rule(), world=outside) if one.code == "MSH538"]
    assert {one.value for one in found} == {"shop/seller", "shop/seller -> cart:80"}
    assert "MSH538" not in _codes(_rule(), world=_calling(CALL))


def test_pods_without_a_sidecar_behind_a_guarded_service_are_found() -> None:
    world = replace(WORLD, workloads=(replace(CART, meshed=False), *CALLERS))
    assert _only("MSH538", _rule(), world=world).value == "cart"
    assert "MSH538" not in _codes(_rule(service=OTHER), world=world)


# MSH539 is about versions and targets


def _split(mesh: str = "istio", **rule: Any) -> Sequence[Planned]:
    backends = [{"service": "cart", "weight": 90}, {"service": "stock", "weight": 10}]
    return _routes({"cart": {"namespace": "shop", "rules": [{"backends": backends, **rule}]}}, mesh)


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_a_backend_in_another_service_that_refuses_the_callers_is_found(mesh: str) -> None:
    to_stock = _rule(_from(BUYER), service=OTHER, key="stock")
    found = _only("MSH539", _rule(), to_stock, routes=_split(mesh))
    assert "shop/seller" in found.message and found.value == "stock"
    assert "MSH539" not in _codes(_rule(), replace(to_stock, sources=(_from("shop"),)), routes=_split(mesh))
    assert "MSH539" not in _codes(_rule(), routes=_split(mesh))


def test_a_mirror_to_another_service_that_refuses_the_callers_is_found() -> None:
    mirror = {"backends": [{"service": "cart", "weight": 100}], "mirror": {"service": "stock", "percent": 10}}
    routes = _routes({"cart": {"namespace": "shop", "rules": [mirror]}})
    assert "MSH539" in _codes(_rule(), _rule(_from(BUYER), service=OTHER, key="stock"), routes=routes)


def test_only_what_a_route_sends_to_a_backend_must_be_open_there() -> None:
    routes = _split(match={"path": {"prefix": "/cart/new"}, "method": "POST"})
    rules = _rule(operations=(Operation(methods=("GET", "POST"), paths=(prefix("/cart"),)),))
    narrow = Operation(HTTP, ("POST",), (prefix("/cart/new"),))
    assert "MSH539" not in _codes(rules, _rule(service=OTHER, key="stock", operations=(narrow,)), routes=routes)
    too_narrow = replace(narrow, paths=(exact("/cart/new"),))
    assert "MSH539" in _codes(rules, _rule(service=OTHER, key="stock", operations=(too_narrow,)), routes=routes)
    reads = _rule(operations=(Operation(methods=("GET",)),))
    assert "MSH539" not in _codes(reads, _rule(_from(BUYER), service=OTHER, key="stock"), routes=routes)


def test_what_a_route_rewrites_must_be_open_as_it_comes_there() -> None:
    routes = _split(match={"path": {"prefix": "/cart"}}, rewrite={"prefix": "/stock"})
    opened = _rule(operations=(Operation(paths=(prefix("/cart"),)),))
    for path, found in (("/cart", True), ("/stock", False)):
        there = _rule(service=OTHER, key="stock", operations=(Operation(paths=(prefix(path),)),))
        assert ("MSH539" in _codes(opened, there, routes=routes)) == found


def test_a_known_call_that_a_route_leads_to_where_it_is_denied_is_found() -> None:
    there = _rule(_from(BUYER), service=OTHER, key="stock")
    found = _check(there, world=_calling(CALL), routes=_split())
    assert any(one.code == "MSH539" and "shop/seller" in one.message for one in found)


def test_versions_under_different_accounts_of_which_a_rule_admits_one_are_found() -> None:
    versions = (_pods("cart-v1", "old", app="cart"), _pods("cart-v2", "new", app="cart"))
    world = replace(WORLD, workloads=versions)
    old, new = _from(Account("shop", "old")), _from(Account("shop", "new"))
    found = _only("MSH539", _rule(old, service=OTHER), world=world)
    assert "shop/new (cart-v2)" in found.message
    assert "MSH539" not in _codes(_rule(old, new, service=OTHER), world=world)
    assert "MSH539" not in _codes(_rule(old, service=OTHER), _rule(new, service=OTHER, key="new"), world=world)


# MSH540 is about ports of pods


def test_a_named_port_with_another_number_in_some_pods_is_found() -> None:
    versions = [_pods(f"cart-v{n}", "cart", app="cart", ports=(("web", port),)) for n, port in ((1, 8080), (2, 9090))]
    world = replace(WORLD, workloads=tuple(versions), target_names={("shop", "cart", 80): "web"})
    assert "cart-v2 has 9090" in _only("MSH540", _rule(), world=world).message
    assert "MSH540" not in _codes(_rule(), world=replace(world, workloads=(versions[0],)))
    assert "MSH540" not in _codes(_rule(), world=replace(world, target_names={}))


def test_a_port_that_no_pod_declares_is_found_where_all_declare_some() -> None:
    world = replace(WORLD, workloads=(replace(CART, declared=(80,)), *CALLERS))
    assert _only("MSH540", _rule(), world=world).value == 80
    assert "MSH540" not in _codes(_rule())
    assert "MSH540" not in _codes(_rule(), world=replace(WORLD, workloads=(replace(CART, declared=()), *CALLERS)))


# MSH541 and MSH542 are about tokens


ISSUER = Jwt("https://a.example", jwks="{}", where="jwt")


def _tokens(*issuers: Jwt) -> tuple[Authentication, ...]:
    return (Authentication(SHOP, issuers, "tokens"),)


def test_a_rule_on_claims_of_tokens_that_nobody_reads_is_refused() -> None:
    claims = _rule(claims=((("scope",), ("write",)),))
    assert _only("MSH541", claims).severity == "error"
    assert "MSH541" not in _codes(claims, authentications=_tokens(ISSUER))


def test_tokens_that_nobody_needs_are_found() -> None:
    assert _only("MSH541", _rule(), authentications=_tokens(ISSUER)).severity == "warning"
    assert "MSH541" not in _codes(_rule(), authentications=_tokens(replace(ISSUER, require=True)))


def test_an_issuer_whose_tokens_are_never_enough_is_found() -> None:
    other = replace(ISSUER, issuer="https://b.example", require=True)
    assert _only("MSH541", authentications=_tokens(ISSUER, other)).value == "https://a.example"
    assert "MSH541" not in _codes(authentications=_tokens(replace(ISSUER, require=True), other))


def test_a_rule_on_an_issuer_that_is_not_read_is_refused() -> None:
    def codes(issuer: str) -> set[str]:
        return _codes(_rule(claims=((("iss",), (issuer,)),)), authentications=_tokens(ISSUER))

    assert "MSH541" in codes("https://b.example")
    assert "MSH541" not in codes("https://a.example")


def test_preflight_requests_are_named_where_a_gateway_opens_a_service_that_requires_tokens() -> None:
    routes = _routes(
        {
            "cart": {
                "namespace": "shop",
                "gateway": "public",
                "hosts": ["shop.example.com"],
                "rules": [{"timeout": "2s"}],
            }
        }
    )
    required = _tokens(replace(ISSUER, require=True))
    assert _only("MSH542", routes=routes, authentications=required).severity == "info"
    assert "MSH542" not in _codes(authentications=required)
    assert "MSH542" not in _codes(routes=routes, authentications=_tokens(ISSUER))


# MSH543 is about probes


def _probed(kind: Any, path: str = "", **more: Any) -> World:
    return replace(WORLD, workloads=(replace(CART, probes=(Probe(kind, 8080, path),), **more), *CALLERS))


@pytest.mark.parametrize(("kind", "closed"), [("tcp", True), ("grpc", True), ("http", False), ("exec", False)])
def test_probes_that_a_mesh_without_an_agent_lets_through_are_not_found(kind: str, closed: bool) -> None:
    assert ("MSH543" in _codes(_rule(), world=_probed(kind), plane=PROXY)) == closed
    assert "MSH543" not in _codes(_rule(), world=_probed(kind), plane=AGENT)


def test_a_probe_is_closed_where_the_mesh_is_strict_and_open_where_nothing_closes_it() -> None:
    unguarded = _rule(service=OTHER)
    direct = _probed("tcp", direct_probes=True)
    assert _only("MSH543", unguarded, world=direct).path == "meshup:security.mtls"
    assert "MSH543" not in _codes(unguarded, world=direct, mode="permissive")
    assert "MSH543" not in _codes(unguarded, world=_probed("tcp"), plane=PROXY)
    assert "MSH543" not in _codes(_rule(), world=_probed("tcp", meshed=False), plane=PROXY)
    assert "MSH543" not in _codes(_rule(), world=_probed("tcp", bypassed=((8080, 8080),)), plane=PROXY)


def test_a_probe_that_an_annotation_keeps_from_the_agent_is_found() -> None:
    assert "MSH543" in _codes(_rule(), world=_probed("http", "/", direct_probes=True), plane=AGENT)


# MSH544 and MSH545 are about metrics and webhooks


def test_scraping_that_a_policy_closes_is_found_without_an_agent() -> None:
    world = replace(WORLD, workloads=(replace(CART, scraped=(8080, "/metrics")), *CALLERS))
    assert _only("MSH544", _rule(), world=world, plane=PROXY).severity == "warning"
    assert "MSH544" not in _codes(_rule(), world=world, plane=AGENT)
    kept = replace(world, workloads=(replace(world.workloads[0], direct_metrics=True), *CALLERS))
    assert "MSH544" in _codes(_rule(), world=kept, plane=AGENT)
    opened = _rule(_from(BUYER), operations=(Operation(paths=(exact("/metrics"),)),))
    assert "MSH544" not in _codes(opened, world=world, plane=PROXY)


def test_scraping_that_only_mutual_tls_closes_is_a_note() -> None:
    world = replace(WORLD, workloads=(replace(CART, scraped=(9102, "/metrics")), *CALLERS))
    assert _only("MSH544", _rule(), world=world, plane=PROXY).severity == "info"
    assert "MSH544" not in _codes(_rule(), world=world, plane=PROXY, mode="permissive")


@pytest.mark.parametrize(("name", "found"), [("prom", True), ("http-metrics", True), ("promise", False)])
def test_a_port_that_is_for_metrics_by_its_name_is_found_where_it_is_closed(name: str, found: bool) -> None:
    service = replace(SHOP, ports=(HTTP, Port(8801, name)))
    for plane in (AGENT, PROXY):
        assert ("MSH544" in _codes(_rule(service=service), plane=plane)) == found
    opened = _rule(_from(BUYER), service=service, key="prom", operations=(Operation(paths=(exact("/metrics"),)),))
    assert "MSH544" not in _codes(_rule(service=service), opened)


def test_a_webhook_that_mutual_tls_or_a_rule_closes_is_found() -> None:
    world = replace(WORLD, webhooks=(Webhook("ValidatingWebhookConfiguration cart", "cart", "shop", 80),))
    assert "no identity" in _only("MSH545", _rule(), world=world).message
    opened = _rule(Source(), operations=(Operation(HTTP),))
    assert "MSH545" in _codes(opened, world=world)
    assert "MSH545" not in _codes(opened, world=world, exceptions=_except("permissive"))
    unmeshed = replace(world, workloads=(replace(CART, meshed=False), *CALLERS))
    assert "MSH545" not in _codes(_rule(), world=unmeshed)


# MSH546 to MSH549 are about what a policy can't reach


def test_a_policy_about_the_namespace_of_the_control_plane_is_refused() -> None:
    assert _only("MSH546", namespaces=(NamespacePolicy("system", "deny"),)).severity == "error"
    assert _only("MSH546", exceptions=(MtlsException("system", "permissive"),)).severity == "error"
    inside = replace(SHOP, namespace="system")
    assert _only("MSH546", _rule(service=inside)).severity == "error"
    assert "MSH546" not in _codes(_rule(), namespaces=(DENY,), exceptions=(MtlsException("shop", "permissive"),))


def test_a_port_that_is_kept_away_from_the_sidecar_is_refused_where_a_rule_names_it() -> None:
    world = replace(WORLD, workloads=(replace(CART, bypassed=((8000, 8100),)), *CALLERS))
    assert _only("MSH547", _rule(operations=(Operation(HTTP),)), world=world).severity == "error"
    assert _only("MSH547", _rule(), world=world).severity == "warning"
    other = replace(WORLD, workloads=(replace(CART, bypassed=((9000, 9000),)), *CALLERS))
    assert "MSH547" not in _codes(_rule(), world=other)


def test_a_policy_about_a_namespace_that_is_not_there_or_not_in_the_mesh_is_found() -> None:
    def world(**spaces: bool) -> World:
        return replace(WORLD, namespaces=spaces)

    assert "Did you mean 'shop2'" in _only("MSH548", namespaces=(DENY,), world=world(shop2=True)).remedy
    assert "no sidecar" in _only("MSH548", namespaces=(DENY,), world=world(shop=False)).message
    assert "no sidecar" in _only("MSH548", _rule(), world=world(shop=False)).message
    assert "MSH548" not in _codes(_rule(), namespaces=(DENY,), world=world(shop=True))


def test_a_namespace_that_denies_by_default_without_a_known_service_is_found() -> None:
    empty = NamespacePolicy("empty", "deny", where="empty")
    assert _only("MSH548", namespaces=(empty,)).path == "empty"
    assert "MSH548" not in _codes(namespaces=(replace(empty, default="open"), DENY))


def test_a_rule_about_a_service_without_pods_is_found_where_its_neighbours_are_known() -> None:
    assert _only("MSH548", _rule(), world=replace(WORLD, workloads=CALLERS)).value == "cart"
    assert "MSH548" not in _codes(_rule(), world=World())


def test_an_exception_that_changes_nothing_or_is_outside_of_the_mesh_is_found() -> None:
    assert _only("MSH548", exceptions=_except("strict")).severity == "info"
    space = MtlsException("shop", "permissive", where="space")
    assert _only("MSH548", exceptions=(space, *_except("permissive", HTTP))).path == "exception"
    assert "MSH548" not in _codes(exceptions=(space, *_except("strict")))
    outside = _only("MSH548", exceptions=(space,), world=replace(WORLD, namespaces={"shop": False}))
    assert outside.severity == "warning"


@pytest.mark.parametrize("host", ["cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local"])
def test_keys_in_the_mesh_that_the_control_plane_cannot_fetch_are_refused(host: str) -> None:
    tokens = (Authentication(OTHER, (Jwt("https://a.example", jwks_uri=f"http://{host}/keys", require=True),)),)
    assert _only("MSH549", authentications=tokens).severity == "error"
    assert _only("MSH549", authentications=tokens, world=replace(WORLD, workloads=())).severity == "warning"
    assert "MSH549" not in _codes(authentications=tokens, mode="permissive")
    assert "MSH549" in _codes(_rule(), authentications=tokens, mode="permissive")
    unmeshed = replace(WORLD, workloads=(replace(CART, meshed=False), *CALLERS))
    assert "MSH549" not in _codes(authentications=tokens, world=unmeshed)


@pytest.mark.parametrize("uri", ["https://a.example/keys", "http://cart.shop:9999/keys", "http://cart/keys"])
def test_keys_from_elsewhere_are_not_found(uri: str) -> None:
    tokens = (Authentication(OTHER, (Jwt("https://a.example", jwks_uri=uri, require=True),)),)
    assert "MSH549" not in _codes(authentications=tokens)


def test_the_sample_applications_give_no_false_alarm_to_the_rules_of_their_own_callers() -> None:
    args = bookinfo.BookinfoArgs()
    services = {one.name: one for one in bookinfo.services(args)}
    workloads = read_workloads(APPS["bookinfo"].manifests(args), lambda _: True)
    page, reviews = (Account("bookinfo", f"bookinfo-{name}") for name in ("productpage", "reviews"))
    calls = (
        Call(page, "details", "bookinfo", 9080, "GET", ({"template": "/details/{*}"},), "/details/0"),
        Call(page, "reviews", "bookinfo", 9080, "GET", ({"template": "/reviews/{*}"},), "/reviews/0"),
        Call(reviews, "ratings", "bookinfo", 9080, "GET", ({"template": "/ratings/{*}"},), "/ratings/0"),
    )
    world = World(tuple(services.values()), workloads, calls, namespaces={"bookinfo": True})
    rules = [
        _rule(_from(account), service=services[name], key=name, operations=(Operation(methods=("GET",)),))
        for account, name in ((page, "details"), (page, "reviews"), (reviews, "ratings"))
    ]
    space = NamespacePolicy("bookinfo", "deny")
    routes = _routes({"reviews": {"split": {"v1": 90, "v2": 10}}}, services=list(services.values()))
    assert _check(*rules, world=world, routes=routes, namespaces=(space,)) == []
    found = _check(*rules[1:], world=world, routes=routes, namespaces=(space,))
    assert [(one.code, one.value) for one in found] == [("MSH530", "bookinfo/bookinfo-productpage -> details:9080")]


def test_rules_of_another_service_with_the_same_pods_and_port_open_and_close_them_too() -> None:
    twin = replace(SHOP, name="cart-headless", headless=True)
    world = replace(_calling(CALL), services=(SHOP, twin), gateways={"public": Account("edge", "public")})
    known: dict[str, Any] = {"world": world, "services": (SHOP, twin)}
    assert _only("MSH530", _rule(_from(BUYER), service=twin), **known).value == "shop/seller -> cart:80"
    assert "MSH530" not in _codes(_rule(service=twin), **known)
    exposed = {"namespace": "shop", "gateway": "public", "hosts": ["shop.example.com"], "rules": [{"timeout": "2s"}]}
    known["routes"] = _routes({"cart": exposed})
    opened = _rule(Source(Identity("account", "edge", "public"), gateway="public"), service=twin, key="opened")
    assert "gateway public" in str([one.value for one in _check(_rule(service=twin), **known)])
    assert "gateway public" not in str([one.value for one in _check(_rule(service=twin), opened, **known)])


@pytest.mark.parametrize("mesh", MESHES)
def test_what_a_mesh_takes_otherwise_is_refused_once(mesh: str) -> None:
    tcp = replace(SHOP, ports=(Port(5432, "tcp-data"),))
    rules = (_rule(service=tcp, operations=(ASKS,)),)
    policy = Policy(rules=rules, namespaces=(NamespacePolicy("system", "deny"),), services=(tcp,))
    plane, world = MESHES[mesh].security, replace(_reading("connections", tcp.ports[0]), services=(tcp,))
    found = [*plane.check(policy, world), *check(policy, world, (), plane)]
    assert sorted(one.code for one in found if one.severity == "error") == ["MSH536", "MSH546"]
