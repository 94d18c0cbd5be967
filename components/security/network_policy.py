"""NetworkPolicies for the allow lists of namespaces that ask for them (`networkPolicy: true`). Pure.

A NetworkPolicy knows pods, namespaces, addresses and ports: no accounts and no requests. So these let in whatever the
rules allow, and more; `check` says what more. Facts are from the documentation of Kubernetes ("Network Policies"): a
pod is isolated in a direction as soon as one policy selects it, policies add up, traffic between a pod and its own node
is always allowed, and ports are those of the pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..diagnostics import Diagnostic
from ..manifests import Manifest, manifest
from ..traffic.model import Port, Service
from .model import Account, Egress, NamespacePolicy, Network, Policy, Rule, Source
from .plane import SecurityObject, SecurityPlane
from .world import World

PHASE = 4
"""The first phase of these objects: after everything that allows."""
DEFAULT_DENY = "default-deny"
"""Name of the NetworkPolicy that closes all pods of a namespace."""
EGRESS = "egress"
"""Name of the NetworkPolicy that closes what the pods of a namespace call."""
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The label that Kubernetes sets on every namespace, from 1.22 on."""
DNS = 53

Peer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Opening:
    """Callers and ports that a NetworkPolicy lets in. No peers are callers from everywhere."""

    peers: tuple[Peer, ...]
    ports: tuple[int, ...]


def write(policy: Policy, world: World, plane: SecurityPlane) -> list[SecurityObject]:
    """Write the NetworkPolicies of all namespaces that ask for them, in order of creation.

    Args:
        policy: The policy.
        world: The workloads. The pods of an account that is not in it are all pods of its namespace.
        plane: The mesh, for its ports.

    Returns:
        For a Service that is closed, one NetworkPolicy that is enough for its pods; for a namespace that denies by
        default, one that selects all of its pods, after those; one for its egress.
    """
    made: list[SecurityObject] = []
    for namespace in policy.namespaces:
        if namespace.network_policy:
            made += _ingress(policy, world, plane, namespace)
            if namespace.egress and namespace.egress.deny:
                made.append(_egress(namespace, namespace.egress))
    return sorted(made, key=lambda one: one.phase)


def check(policy: Policy, world: World, plane: SecurityPlane) -> list[Diagnostic]:
    """Say where the NetworkPolicies are wider than the rules, and what they close beside them."""
    found: list[Diagnostic] = []
    for namespace in policy.namespaces:
        if not namespace.network_policy:
            continue
        closed = _closed(policy, namespace)
        egress = namespace.egress if namespace.egress and namespace.egress.deny else None
        found += _check_effect(namespace, closed=bool(closed) or namespace.default == "deny", egress=egress is not None)
        if closed or namespace.default == "deny":
            message = (
                "A NetworkPolicy closes all ports of the pods that it selects but for those that it opens: also UDP, "
                "and ports that no Service has."
            )
            found.append(Diagnostic("MSH599", f"{namespace.where}.networkPolicy", None, message, severity="info"))
        for service in closed:
            if not service.selector:
                found.append(_without_selector(namespace, service))
            for rule in _allowing(policy, service):
                found += _check_accounts(rule, world)
            found += _check_pods(policy, service)
        for service in policy.services if namespace.default != "audit" else ():
            if service.namespace == namespace.name:
                found += _check_rules(policy, world, plane, service)
        if egress:
            found += _check_egress(egress)
    return found


def _ingress(
    policy: Policy, world: World, plane: SecurityPlane, namespace: NamespacePolicy
) -> Iterator[SecurityObject]:
    deny = namespace.default == "deny"
    own = [one for one in policy.services if one.namespace == namespace.name]
    guarded = _closed(policy, namespace)
    # Without a selector its pods can be any of the namespace; they may be opened there, but not closed.
    closed = [one for one in guarded if one.selector or deny]
    always = [_Opening((), tuple(sorted(plane.mesh_ports)))]
    if plane.inbound_port:
        # In the mesh, they may come to the metrics of a proxy by the port at which all of its traffic arrives.
        places = sorted({one.namespace for one in world.scrapers if one})
        always += [_Opening(tuple(map(_namespace_peer, places)), (plane.inbound_port,))] if places else []
    # Those that select fewer pods first.
    sizes = sorted({len(one.selector) for one in closed}, reverse=True)
    for service in closed:
        openings = _openings(policy, world, plane, service)
        keys = [rule.key for rule in _allowing(policy, service)]
        for other in own:
            if other.host == service.host or not _may_share_pods(service, other):
                continue
            # One that selects fewer of these pods has its policy before, which is enough for them.
            if other in closed and _within(other, service):
                continue
            if other in guarded:
                openings += _openings(policy, world, plane, other)
                keys += [rule.key for rule in _allowing(policy, other)]
            else:
                openings += _left_open(plane, service, other)
        if openings:
            spec = _spec(service.selector, [*always, *openings])
            name = f"{service.name}-ingress"
            phase = PHASE + sizes.index(len(service.selector))
            yield SecurityObject(_manifest(name, namespace.name, spec), phase, tuple(dict.fromkeys(keys)))
    if deny:
        spec = _spec((), always)
        yield SecurityObject(_manifest(DEFAULT_DENY, namespace.name, spec), PHASE + len(sizes), (namespace.key,))


def _closed(policy: Policy, namespace: NamespacePolicy) -> list[Service]:
    """Return the Services of a namespace whose ports are closed. What is only audited closes nothing."""
    if namespace.default == "audit":
        return []
    return [one for one in policy.services if one.namespace == namespace.name and policy.is_guarded(one)]


def _allowing(policy: Policy, service: Service) -> list[Rule]:
    return [rule for rule in policy.rules_of(service) if rule.effect == "allow" and not rule.audit]


def _openings(policy: Policy, world: World, plane: SecurityPlane, service: Service) -> list[_Opening]:
    """Return what the rules of a Service let in."""
    rules = _allowing(policy, service)
    every = tuple(port.container for port in service.ports)
    if not rules and policy.default_of(service.namespace) == "open":
        # It is closed by a token that it requires.
        return [_Opening((), _arriving(world, plane, service, every, plain=True))]
    return [
        _Opening(
            tuple(_peers(source, world)),
            _arriving(world, plane, service, _ports(rule, every), plain=source.identity is None),
        )
        for rule in rules
        for source in rule.sources
    ]


def _ports(rule: Rule, every: tuple[int, ...]) -> tuple[int, ...]:
    named = [operation.port for operation in rule.operations]
    return every if not named or None in named else tuple(port.container for port in named if isinstance(port, Port))


def _arriving(
    world: World, plane: SecurityPlane, service: Service, ports: tuple[int, ...], *, plain: bool
) -> tuple[int, ...]:
    """Return the ports of the pods at which callers arrive.

    Args:
        world: The workloads.
        plane: The mesh.
        service: The Service that is called.
        ports: The ports of its pods.
        plain: Whether callers without an identity are among them.
    """
    behind = world.behind(service)
    meshed = not behind or any(one.meshed for one in behind)
    if not (plane.inbound_port and meshed):
        return tuple(sorted(set(ports)))
    everyone = plain or not all(one.meshed for one in behind)
    own = (port for port in ports if everyone or any(one.bypasses(port) for one in behind))
    return tuple(sorted({plane.inbound_port, *own}))


def _left_open(plane: SecurityPlane, service: Service, other: Service) -> list[_Opening]:
    """Return the ports of a Service that nothing closes, without those that the Service with the same pods has."""
    ports = {port.container for port in other.ports} - {port.container for port in service.ports}
    if not ports:
        return []
    return [_Opening((), tuple(sorted(ports | ({plane.inbound_port} if plane.inbound_port else set()))))]


def _may_share_pods(service: Service, other: Service) -> bool:
    if not (service.selector and other.selector):
        return True
    theirs = dict(other.selector)
    return all(theirs.get(key, value) == value for key, value in service.selector)


def _within(service: Service, other: Service) -> bool:
    """Return True if all pods of a Service are pods of another one, which has more."""
    return set(other.selector) < set(service.selector)


def _peers(source: Source, world: World) -> Iterator[Peer]:
    """Yield who may call; nothing if a caller of the source can be anywhere."""
    who = source.identity
    own_domain = who is not None and who.trust_domain in ("", world.trust_domain)
    if who is not None and own_domain and who.kind == "account":
        account = Account(who.namespace, who.account)
        for labels in _labels(account, world) or [()]:
            yield _namespace_peer(who.namespace) | ({"podSelector": _selector(labels)} if labels else {})
    elif who is not None and own_domain and who.kind == "namespace":
        yield _namespace_peer(who.namespace)
    elif source.networks:
        # The networks hold beside the identity, which is of no pod that could be selected.
        yield from map(_block, source.networks)
    elif who is not None and own_domain and who.kind == "trust-domain":
        yield {"namespaceSelector": {}}


def _labels(account: Account, world: World) -> list[tuple[tuple[str, str], ...]]:
    """Return the labels by which the pods of an account are selected, empty if they are not known.

    Those that all of its workloads have are enough, if no pods of another account have them: so a new version of a
    workload is selected too.
    """
    workloads = [one for one in world.workloads if one.identity == account]
    if not workloads or not all(one.labels for one in workloads):
        return []
    common = set(workloads[0].labels).intersection(*(one.labels for one in workloads[1:]))
    if common and not _others(account, common, world):
        return [tuple(sorted(common))]
    return list(dict.fromkeys(tuple(sorted(one.labels)) for one in workloads))


def _others(account: Account, labels: Iterable[tuple[str, str]], world: World) -> list[Account]:
    """Return the other accounts of the namespace whose pods have some labels."""
    return list(
        dict.fromkeys(
            one.identity
            for one in world.workloads
            if one.namespace == account.namespace and one.identity != account and set(labels) <= set(one.labels)
        )
    )


def _namespace_peer(name: str) -> Peer:
    return {"namespaceSelector": _selector([(NAMESPACE_LABEL, name)])}


def _selector(labels: Iterable[tuple[str, str]]) -> dict[str, Any]:
    matched = dict(sorted(labels))
    return {"matchLabels": matched} if matched else {}


def _block(network: Network) -> Peer:
    excluded = {"except": sorted(network.excluded)} if network.excluded else {}
    return {"ipBlock": {"cidr": network.cidr, **excluded}}


def _spec(selector: Iterable[tuple[str, str]], openings: Iterable[_Opening]) -> Manifest:
    """Write what is let into some pods: an entry for each set of ports, with all of its callers."""
    peers: dict[tuple[int, ...], list[Peer] | None] = {}
    for opening in openings:
        if not opening.ports:
            continue
        known = peers.setdefault(opening.ports, [])
        if known is None or not opening.peers:
            peers[opening.ports] = None
        else:
            known += [peer for peer in opening.peers if peer not in known]
    entries = [
        ({"from": sorted(known, key=str)} if known is not None else {}) | {"ports": _tcp(ports)}
        for ports, known in sorted(peers.items())
    ]
    return {"podSelector": _selector(selector), "policyTypes": ["Ingress"], "ingress": entries}


def _tcp(ports: Iterable[int]) -> list[Mapping[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def _manifest(name: str, namespace: str, spec: Manifest) -> Manifest:
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, namespace, spec)


def _egress(namespace: NamespacePolicy, egress: Egress) -> SecurityObject:
    """Write what the pods of a namespace may call: all pods, DNS, allowed networks, and the ports of allowed hosts.

    The pods are the callees, whatever rules close there, and the control plane of the mesh: a namespace denies calls to
    the outside only.
    """
    ports = sorted({host.port for host in egress.hosts})
    networks = [_block(network) for network in egress.networks]
    rules: list[Manifest] = [
        {"to": [{"namespaceSelector": {}}]},
        # A cache on the node, such as NodeLocal DNSCache, is no pod that could be selected.
        {"ports": [{"protocol": "UDP", "port": DNS}, {"protocol": "TCP", "port": DNS}]},
        *([{"to": sorted(networks, key=str)}] if networks else []),
        *([{"ports": _tcp(ports)}] if ports else []),
    ]
    spec: Manifest = {"podSelector": {}, "policyTypes": ["Egress"], "egress": rules}
    return SecurityObject(_manifest(EGRESS, namespace.name, spec), PHASE, (namespace.key,))


def _check_effect(namespace: NamespacePolicy, *, closed: bool, egress: bool) -> Iterator[Diagnostic]:
    where = f"{namespace.where}.networkPolicy"
    if namespace.default == "audit":
        message = (
            "A NetworkPolicy can't count what it would deny, so none is written for callers while the namespace has "
            "`default: audit`."
        )
        yield Diagnostic("MSH593", where, True, message, severity="warning")
    elif not (closed or egress):
        message = "No Service of the namespace is closed, so no NetworkPolicy is written."
        yield Diagnostic("MSH593", where, True, message, severity="warning")


def _without_selector(namespace: NamespacePolicy, service: Service) -> Diagnostic:
    effect = (
        "its rules open their ports on all pods of the namespace"
        if namespace.default == "deny"
        else "no NetworkPolicy is written for it"
    )
    message = f"The pods of the Service '{service.name}' are not known, because it has no selector: {effect}."
    return Diagnostic("MSH594", f"{namespace.where}.networkPolicy", service.name, message, severity="warning")


def _check_accounts(rule: Rule, world: World) -> Iterator[Diagnostic]:
    """Say whom a NetworkPolicy lets in beside the account of a source."""
    for source in rule.sources:
        who = source.identity
        if who is None or who.kind != "account" or who.trust_domain not in ("", world.trust_domain):
            continue
        account = Account(who.namespace, who.account)
        selected = _labels(account, world)
        others = sorted({other for labels in selected for other in _others(account, labels, world)})
        if not selected:
            message = (
                f"A NetworkPolicy knows no accounts, and the pods of {account} are not known: it lets in all pods of "
                f"the namespace '{account.namespace}'."
            )
        elif others:
            listed = ", ".join(map(str, others))
            message = (
                f"A NetworkPolicy knows no accounts. The labels of the pods of {account} are also those of pods of "
                f"{listed}, which it lets in too."
            )
        else:
            continue
        yield Diagnostic("MSH590", source.where, None, message, severity="info")


def _check_rules(policy: Policy, world: World, plane: SecurityPlane, service: Service) -> Iterator[Diagnostic]:
    """Say what of the rules about a Service NetworkPolicies leave out."""
    for rule in policy.rules_of(service):
        if rule.audit:
            continue
        if rule.effect == "deny":
            message = "A NetworkPolicy can't deny, so what the rule denies is denied by the mesh only."
            yield Diagnostic("MSH591", rule.where, None, message, severity="info")
            continue
        left_out = list(dict.fromkeys(_left_out(rule, world)))
        every = tuple(port.container for port in service.ports)
        arriving = _arriving(world, plane, service, _ports(rule, every), plain=False)
        if plane.inbound_port in arriving and plane.inbound_port:
            left_out.append(f"the port, since all traffic of the mesh arrives at {plane.inbound_port}")
        if left_out:
            message = f"A NetworkPolicy does not decide on {', on '.join(left_out)}: the mesh alone does."
            yield Diagnostic("MSH591", rule.where, None, message, severity="info")
    tokens = policy.authentication_of(service)
    if tokens:
        message = "A NetworkPolicy does not decide on tokens: the mesh alone does."
        yield Diagnostic("MSH591", tokens.where, None, message, severity="info")


def _check_pods(policy: Policy, service: Service) -> Iterator[Diagnostic]:
    """Say which other Services may select the pods of one that is closed."""
    for other in policy.services:
        if other.namespace != service.namespace or other.host == service.host:
            continue
        if service.selector and other.selector and _may_share_pods(service, other) and not _within(other, service):
            message = (
                f"The Services '{service.name}' and '{other.name}' may select the same pods: both are opened there."
            )
            yield Diagnostic("MSH594", _where(policy, service), other.name, message, severity="info")


def _where(policy: Policy, service: Service) -> str:
    return next((f"{one.where}.networkPolicy" for one in policy.namespaces if one.name == service.namespace), "")


def _left_out(rule: Rule, world: World) -> Iterator[str]:
    for operation in rule.operations:
        parts = {
            "methods": operation.methods,
            "paths": operation.paths,
            "headers": operation.headers,
            "hosts": operation.hosts,
        }
        yield from (name for name, values in parts.items() if values)
    if rule.claims:
        yield "claims"
    for source in rule.sources:
        who = source.identity
        if who is None:
            continue
        own = who.trust_domain in ("", world.trust_domain)
        if not own or who.kind in ("mesh", "trust-domain"):
            yield f"identities ({source.title})"
        elif source.networks:
            yield f"the address beside the identity ({source.title})"


def _check_egress(egress: Egress) -> Iterator[Diagnostic]:
    for host in egress.hosts:
        message = f"A NetworkPolicy knows no names of hosts: it opens port {host.port} to every address."
        yield Diagnostic("MSH592", host.where, host.host, message, severity="warning")
    message = (
        "The NetworkPolicy opens pods, DNS, and the networks of `cidrs`. The API server and pods on the network of "
        "their node are neither, and are closed unless their addresses are in `cidrs`."
    )
    yield Diagnostic("MSH595", egress.where, None, message, severity="warning")


__all__ = ["DEFAULT_DENY", "EGRESS", "PHASE", "check", "write"]
