"""NetworkPolicies let in whatever the policy allows, and what they let in beside it is said.

The oracle is an evaluator of NetworkPolicies by the documentation of Kubernetes ("Network Policies").
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.diagnostics import Diagnostic
from components.manifests import Manifest
from components.security import network_policy
from components.security.evaluate import decide
from components.security.model import (
    Account,
    Authentication,
    Default,
    Egress,
    EgressHost,
    Identity,
    IdentityKind,
    Jwt,
    NamespacePolicy,
    Network,
    Operation,
    Policy,
    Rule,
    Source,
)
from components.security.paths import exact
from components.security.plane import AccessRequest, Guarded, SecurityPlane, Verdict
from components.security.world import Workload, World
from components.traffic.model import Port, Service


class _Plane(SecurityPlane):
    """The ports of a mesh, which are all that NetworkPolicies ask of one."""

    def __init__(self, inbound: int, ports: Mapping[int, str]) -> None:
        self.inbound_port, self.mesh_ports = inbound, ports

    def write(self, policy: Policy, world: World) -> Guarded:
        raise NotImplementedError

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: str) -> Verdict:
        raise NotImplementedError


ISTIO = _Plane(0, {15020: "metrics", 15021: "readiness"})
LINKERD = _Plane(4143, {4191: "metrics"})


@dataclass(frozen=True)
class Pod:
    namespace: str
    labels: Mapping[str, str]
    address: str = "10.1.0.1"


def admits(policies: Sequence[Manifest], pod: Pod, caller: Pod | str, port: int) -> bool:
    """Decide whether a pod or an address may connect to a port of a pod (TCP)."""
    selecting = [one["spec"] for one in policies if one["metadata"]["namespace"] == pod.namespace]
    selecting = [
        spec for spec in selecting if "Ingress" in spec["policyTypes"] and _selected(spec["podSelector"], pod.labels)
    ]
    return not selecting or any(
        _port(rule, port) and ("from" not in rule or any(_peer(peer, caller, pod) for peer in rule["from"]))
        for spec in selecting
        for rule in spec["ingress"]
    )


def leaves(policies: Sequence[Manifest], pod: Pod, callee: Pod | str, port: int, protocol: str = "TCP") -> bool:
    """Decide whether a pod may connect to a pod or an address."""
    selecting = [one["spec"] for one in policies if one["metadata"]["namespace"] == pod.namespace]
    selecting = [
        spec for spec in selecting if "Egress" in spec["policyTypes"] and _selected(spec["podSelector"], pod.labels)
    ]
    return not selecting or any(
        _port(rule, port, protocol) and ("to" not in rule or any(_peer(peer, callee, pod) for peer in rule["to"]))
        for spec in selecting
        for rule in spec["egress"]
    )


def _port(rule: Mapping[str, Any], port: int, protocol: str = "TCP") -> bool:
    return "ports" not in rule or any((one["port"], one["protocol"]) == (port, protocol) for one in rule["ports"])


def _selected(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _peer(peer: Mapping[str, Any], other: Pod | str, own: Pod) -> bool:
    if "ipBlock" in peer:
        address = ipaddress.ip_address(other if isinstance(other, str) else other.address)
        block = peer["ipBlock"]
        inside = [ipaddress.ip_network(cidr) for cidr in (block["cidr"], *block.get("except", ()))]
        return address in inside[0] and not any(address in one for one in inside[1:])
    if isinstance(other, str):
        return False
    of_namespace = {"kubernetes.io/metadata.name": other.namespace}
    in_namespace = (
        _selected(peer["namespaceSelector"], of_namespace)
        if "namespaceSelector" in peer
        else other.namespace == own.namespace
    )
    return in_namespace and _selected(peer.get("podSelector", {}), other.labels)


PORTS = (Port(80, "http", target=8080), Port(9090, "tcp"))
NAMESPACES = ("shop", "other")
SELECTORS = ((("app", "a"),), (("app", "b"),), (("app", "a"), ("version", "v1")), ())
NETWORKS = (Network("10.1.0.0/16"), Network("0.0.0.0/0", ("10.0.0.0/8",)), Network("192.0.2.0/24"))
ADDRESSES = ("192.0.2.7", "203.0.113.9")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Workloads of some accounts, of which the policy may know only a part."""
    names = iter("abcdefgh")
    return World(
        workloads=tuple(
            Workload(
                next(names),
                draw(st.sampled_from(NAMESPACES)),
                "Deployment",
                draw(st.sampled_from(["one", "two"])),
                labels=(("app", draw(st.sampled_from("ab"))), ("version", draw(st.sampled_from(["v1", "v2"])))),
            )
            for _ in range(draw(st.integers(1, 5)))
        )
    )


@st.composite
def sources(draw: st.DrawFn) -> Source:
    kinds: tuple[IdentityKind | None, ...] = ("account", "namespace", "mesh", "trust-domain", None)
    kind = draw(st.sampled_from(kinds))
    domain = "" if kind == "mesh" else draw(st.sampled_from(["", "elsewhere"]))
    account = draw(st.sampled_from(["one", "two"])) if kind == "account" else ""
    namespace = draw(st.sampled_from(NAMESPACES)) if kind in ("account", "namespace") else ""
    identity = Identity(kind, namespace, account, domain) if kind else None
    networks = draw(st.sampled_from([(), (), NETWORKS[:1], NETWORKS[1:]]))
    return Source(identity, networks, title="it", where=draw(st.sampled_from(["s1", "s2"])))


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    methods = draw(st.sampled_from([(), ("GET",), ("POST",)]))
    paths = draw(st.sampled_from([(), (exact("/a"),)]))
    return Operation(draw(st.sampled_from([None, *PORTS])), methods, paths)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    # Services that select the same pods, in part, all the more.
    selectors = draw(st.permutations(SELECTORS))[: draw(st.integers(1, 3))]
    services = [
        Service(f"s{number}", "shop", draw(st.sampled_from([PORTS, PORTS[:1]])), selector=selector)
        for number, selector in enumerate(selectors)
    ]
    rules = [
        Rule(
            f"r{number}",
            draw(st.sampled_from(["allow", "allow", "allow", "deny"])),
            draw(st.sampled_from(services)),
            tuple(draw(st.lists(sources(), min_size=1, max_size=2))),
            tuple(draw(st.lists(operations(), max_size=1))),
            audit=draw(st.integers(0, 4)) == 0,
            where=f"r{number}",
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    tokens = [Authentication(services[0], (Jwt("i", require=True),), "t")] if draw(st.integers(0, 4)) == 0 else []
    default: Default = draw(st.sampled_from(["open", "deny", "deny", "audit"]))
    namespace = NamespacePolicy("shop", default, network_policy=True, where="shop")
    return Policy(namespaces=(namespace,), rules=tuple(rules), authentications=tuple(tokens), services=tuple(services))


def _pod(workload: Workload) -> Pod:
    return Pod(workload.namespace, dict(workload.labels) | {"pod-template-hash": workload.name})


def _arrives(plane: _Plane, request: AccessRequest) -> int:
    return plane.inbound_port if request.caller and plane.inbound_port else request.port.container


def _written(policy: Policy, world: World, plane: SecurityPlane = ISTIO) -> list[Manifest]:
    return [one.manifest for one in network_policy.write(policy, world, plane)]


def _requests(policy: Policy, world: World, plane: _Plane) -> Iterator[tuple[AccessRequest, Pod, Pod | str, int]]:
    """Yield each request of each caller to each pod of each Service: the pod, where it is from, where it arrives."""
    callers = [(_pod(one), account, "") for one in world.workloads for account in (one.identity, None)]
    outside = [(address, account, "elsewhere") for address in ADDRESSES for account in (Account("shop", "one"), None)]
    for service, (where, account, domain) in product(policy.services, [*callers, *outside]):
        behind = [
            one for one in world.workloads if one.namespace == "shop" and set(service.selector) <= set(one.labels)
        ]
        address = where if isinstance(where, str) else where.address
        for pod, port, method, path in product(map(_pod, behind), service.ports, ("GET", "POST"), ("/a", "/b")):
            token: dict[str, Any] = {"bearer": "valid", "claims": {"iss": "i"}}
            request = AccessRequest(service, port, account, domain, address, method=method, path=path, **token)
            yield request, pod, where, _arrives(plane, request)


def _closed_by_another(policy: Policy, request: AccessRequest, pod: Pod) -> bool:
    """Decide whether another Service closes the port of the pod, to which this one leads too."""
    return any(
        policy.is_guarded(other)
        and other.host != request.service.host
        and request.port.container in [port.container for port in other.ports]
        and (not other.selector or set(other.selector) <= set(pod.labels.items()))
        for other in policy.services
    )


@given(policies(), worlds(), st.sampled_from([ISTIO, LINKERD]), st.booleans())
@settings(max_examples=max(200, settings().max_examples))
def test_what_the_policy_allows_the_network_policies_let_in_at_every_moment(
    policy: Policy, world: World, plane: _Plane, known: bool
) -> None:
    objects = network_policy.write(policy, world if known else World(), plane)
    # As they are made, and as they are deleted.
    for phase in (0, *sorted({one.phase for one in objects})):
        live = [one.manifest for one in objects if one.phase <= phase]
        for request, pod, where, port in _requests(policy, world, plane):
            if policy.is_guarded(request.service) or not _closed_by_another(policy, request, pod):
                assert not decide(policy, world, request).allowed or admits(live, pod, where, port)


@given(policies(), worlds(), st.sampled_from([ISTIO, LINKERD]), st.booleans())
@settings(max_examples=max(200, settings().max_examples))
def test_whom_network_policies_let_in_beside_the_rules_is_said(
    policy: Policy, world: World, plane: _Plane, known: bool
) -> None:
    told = world if known else World()
    objects = _written(policy, told, plane)
    said = {one.path for one in network_policy.check(policy, told, plane)}
    for request, pod, where, port in _requests(policy, world, plane):
        decision = decide(policy, world, request)
        if decision.by == "mtls" or (isinstance(where, Pod) and request.caller is None):
            continue  # That callers prove no identity is so of every NetworkPolicy: docs/security.md says it once.
        if not decision.allowed and admits(objects, pod, where, port):
            rules = policy.rules_of(request.service)
            own = {rule.where for rule in rules} | {source.where for rule in rules for source in rule.sources}
            assert said & {*own, "t", "shop.networkPolicy"}


def _shop(
    *rules: Rule, default: Default = "deny", egress: Egress | None = None, services: Sequence[Service] = ()
) -> Policy:
    namespace = NamespacePolicy("shop", default, egress, network_policy=True, where="ns.shop")
    return Policy(namespaces=(namespace,), rules=rules, services=tuple(services or (CART,)))


CART = Service("cart", "shop", PORTS, selector=(("app", "cart"),))
WEB = Workload("web", "front", "Deployment", "web", labels=(("app", "web"),))
CALLER = Source(Identity("account", "front", "web"), title="front/web", where="allow.cart[0].from[0]")
GET_CART = Rule("allow.cart[0]", "allow", CART, (CALLER,), (Operation(PORTS[0], ("GET",)),), where="allow.cart[0]")


def _codes(found: Sequence[Diagnostic]) -> list[str]:
    return sorted(one.code for one in found)


def test_a_rule_opens_the_port_of_the_pods_to_the_pods_of_the_account() -> None:
    cart, deny = _written(_shop(GET_CART), World(workloads=(WEB,)))
    assert (cart["metadata"]["name"], cart["spec"]["podSelector"]) == ("cart-ingress", {"matchLabels": {"app": "cart"}})
    front = {"matchLabels": {"kubernetes.io/metadata.name": "front"}}
    assert {
        "from": [{"namespaceSelector": front, "podSelector": {"matchLabels": {"app": "web"}}}],
        "ports": [{"protocol": "TCP", "port": 8080}],
    } in cart["spec"]["ingress"]
    assert (deny["metadata"]["name"], deny["spec"]["podSelector"]) == ("default-deny", {})


def test_on_linkerd_meshed_callers_come_in_at_the_port_of_the_proxy_and_plain_ones_at_their_own() -> None:
    plain = replace(GET_CART, sources=(Source(networks=(Network("192.0.2.0/24"),)),))
    objects = _written(_shop(GET_CART, plain), World(workloads=(WEB,)), LINKERD)
    pod, web = Pod("shop", {"app": "cart"}), Pod("front", {"app": "web"})
    assert [admits(objects, pod, web, port) for port in (4143, 8080, 9090, 4191)] == [True, False, False, True]
    assert [admits(objects, pod, "192.0.2.7", port) for port in (4143, 8080, 9090)] == [True, True, False]


def test_a_workload_without_a_sidecar_takes_meshed_callers_at_its_own_port() -> None:
    cart = Workload("cart", "shop", "Deployment", "cart", labels=CART.selector, meshed=False)
    objects = _written(_shop(GET_CART), World(workloads=(WEB, cart)), LINKERD)
    pod, web = Pod("shop", {"app": "cart"}), Pod("front", {"app": "web"})
    assert [admits(objects, pod, web, port) for port in (4143, 8080)] == [False, True]


def test_a_new_version_of_a_caller_is_let_in_and_a_shared_label_is_said() -> None:
    versions = [replace(WEB, name=f"web-{n}", labels=(("app", "web"), ("version", n))) for n in ("v1", "v2")]
    objects = _written(_shop(GET_CART), World(workloads=tuple(versions)))
    pod, third = Pod("shop", {"app": "cart"}), Pod("front", {"app": "web", "version": "v3"})
    assert admits(objects, pod, third, 8080)
    job = replace(WEB, name="job", account="job", labels=(("app", "web"), ("version", "job")))
    shared = World(workloads=(*versions, job))
    assert not admits(_written(_shop(GET_CART), shared), pod, Pod("front", dict(job.labels)), 8080)
    same = World(workloads=(*versions, replace(job, labels=versions[0].labels)))
    (said,) = [one for one in network_policy.check(_shop(GET_CART), same, ISTIO) if one.code == "MSH590"]
    assert "front/job" in said.message


def test_without_the_pods_of_an_account_its_namespace_is_let_in_and_said() -> None:
    found = network_policy.check(_shop(GET_CART), World(), ISTIO)
    assert _codes(found) == ["MSH590", "MSH591", "MSH599"]
    objects = _written(_shop(GET_CART), World())
    pod = Pod("shop", {"app": "cart"})
    assert admits(objects, pod, Pod("front", {"any": "pod"}), 8080)
    assert not admits(objects, pod, Pod("shop", {"app": "web"}), 8080)


def test_a_service_that_nothing_closes_keeps_its_ports_on_pods_that_it_shares() -> None:
    admin = Service("admin", "shop", (Port(7000),), selector=(("app", "cart"), ("version", "v1")))
    policy = _shop(GET_CART, default="open", services=(CART, admin))
    objects = _written(policy, World(workloads=(WEB,)))
    assert [one["metadata"]["name"] for one in objects] == ["cart-ingress"]
    pod = Pod("shop", {"app": "cart", "version": "v1"})
    assert admits(objects, pod, Pod("any", {}), 7000)
    assert not admits(objects, pod, Pod("any", {}), 8080)


@pytest.mark.parametrize("default", ["audit", "open"])
def test_what_nothing_closes_has_no_network_policy_and_that_is_said(default: Default) -> None:
    rules = (GET_CART,) if default == "audit" else ()
    policy = _shop(*rules, default=default)
    assert not _written(policy, World())
    assert _codes(network_policy.check(policy, World(), ISTIO)) == ["MSH593"]


def test_egress_leaves_pods_names_and_what_is_allowed_open() -> None:
    hosts = (EgressHost("api.example.com", 443, "HTTPS", "h"),)
    egress = Egress(deny=True, hosts=hosts, networks=(Network("10.9.0.0/16", ("10.9.9.0/24",)),), where="e")
    policy = _shop(default="open", egress=egress)
    (policy_object,) = objects = _written(policy, World())
    assert policy_object["metadata"]["name"] == "egress"
    pod = Pod("shop", {"app": "cart"})
    for callee, port, open_ in (
        (Pod("istio-system", {}), 15012, True),
        ("10.9.1.1", 5432, True),
        ("10.9.9.1", 5432, False),
        ("203.0.113.9", 443, True),
        ("203.0.113.9", 80, False),
    ):
        assert leaves(objects, pod, callee, port) is open_, (callee, port)
    assert leaves(objects, pod, "169.254.20.10", 53, "UDP")
    assert admits(objects, pod, Pod("any", {}), 1)
    assert _codes(network_policy.check(policy, World(), ISTIO)) == ["MSH592", "MSH595"]


def test_a_rule_of_deny_about_an_open_service_is_said_too() -> None:
    denied = replace(GET_CART, effect="deny", where="deny.cart[0]")
    found = network_policy.check(_shop(denied, default="open"), World(), ISTIO)
    assert ("MSH591", "deny.cart[0]") in [(one.code, one.path) for one in found]


def test_a_namespace_that_does_not_ask_has_none() -> None:
    policy = replace(_shop(GET_CART), namespaces=(NamespacePolicy("shop", "deny", Egress(deny=True)),))
    assert not _written(policy, World())
    assert not network_policy.check(policy, World(), ISTIO)


def test_all_pods_of_a_namespace_are_closed_after_its_services_those_that_select_fewer_pods_first() -> None:
    canary = Service("canary", "shop", PORTS, selector=(("app", "cart"), ("version", "v2")))
    rule = replace(GET_CART, key="allow.canary[0]", service=canary)
    policy = _shop(GET_CART, rule, services=(CART, canary))
    objects = network_policy.write(policy, World(), ISTIO)
    assert [(one.manifest["metadata"]["name"], one.phase, one.keys) for one in objects] == [
        ("canary-ingress", 4, ("allow.canary[0]", "allow.cart[0]")),
        ("cart-ingress", 5, ("allow.cart[0]",)),
        ("default-deny", 6, ("namespaces.shop",)),
    ]
