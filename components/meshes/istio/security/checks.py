"""What Istio would read otherwise than a policy means it: refused, or said. Istio 1.30."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from ....diagnostics import Diagnostic
from ....security.model import Authentication, Claims, Identity, MtlsException, Operation, Policy, Rule
from ....security.paths import PathPattern
from ....security.world import World
from ....traffic.model import Service
from ..protocols import reading
from .authorization import MOST_RULES, OWN_DOMAIN, required_tokens, rules_needed, written_paths
from .conditions import is_template
from .evaluate import PINNED
from .naming import may_share_pods, workload_ports

_TEMPLATE_LITERAL = re.compile(r"[a-zA-Z0-9\-._~%!$&'()+,;:@=]+")
"""A segment of a template (pkg/config/security/security.go, IsValidLiteral)."""


def check(policy: Policy, world: World) -> Iterator[Diagnostic]:
    """Check a policy beyond the refusals."""
    yield from _check_exceptions(policy, world)
    for rule in policy.rules:
        yield from _check_rule(rule, world)
        if rule.effect == "deny":
            yield from _check_denial(rule)
    for authentication in policy.authentications:
        yield from _check_neighbours(authentication, policy, world)
        yield from _check_tokens(authentication)
    yield from _check_numbers(policy)
    yield from _check_egress(policy, world)


def _check_exceptions(policy: Policy, world: World) -> Iterator[Diagnostic]:
    """Refuse two exceptions for the same pods that can't be one object."""
    by_selector: dict[tuple[str, frozenset[tuple[str, str]]], MtlsException] = {}
    for one in policy.exceptions:
        if one.service:
            by_selector.setdefault((one.namespace, frozenset(one.service.selector)), one)
    for first, second in combinations(by_selector.values(), 2):
        if first.service and second.service and _share_pods(first.service, second.service, world):
            message = f"It is about pods of '{first.service.name}' too, and Istio takes only the older of two objects."
            yield Diagnostic("MSH557", second.where, second.service.name, message)


def _share_pods(one: Service, other: Service, world: World) -> bool:
    """Return True if two Services select the same pods: known ones, or whatever pods one of them selects."""
    if not may_share_pods(one, other):
        return False
    first, second = set(one.selector), set(other.selector)
    shared = any(workload in world.behind(other) for workload in world.behind(one))
    return shared or first <= second or second <= first


def _check_neighbours(authentication: Authentication, policy: Policy, world: World) -> Iterator[Diagnostic]:
    """Say which other Services read the tokens too: a RequestAuthentication holds for all ports of the pods."""
    service = authentication.service
    for other in policy.services:
        if other.host != service.host and _share_pods(service, other, world):
            message = (
                f"The pods of '{service.name}' are also those of '{other.name}', where a bad token is refused too."
            )
            yield Diagnostic("MSH551", authentication.where, service.name, message, severity="warning")


def _check_tokens(authentication: Authentication) -> Iterator[Diagnostic]:
    """Refuse tokens that are required where nobody can send one, or that Istio could not tell from others."""
    service = authentication.service
    required = [jwt for jwt in authentication.jwt if jwt.require]
    for jwt in required:
        yield from _check_claims(jwt.claims, jwt.where)
        if [other.issuer for other in authentication.jwt].count(jwt.issuer) > 1:
            message = "Istio knows an accepted token by its issuer only, and another entry accepts tokens of it too."
            yield Diagnostic("MSH552", jwt.where, jwt.issuer, message, remedy="Write the issuer once.")
    if required and not workload_ports(service, http=True):
        message = (
            f"Istio reads connections at all ports of '{service.name}', because {reading(service.ports[0]).reason}."
        )
        yield Diagnostic("MSH550", required[0].where, service.name, message)


def _check_denial(rule: Rule) -> Iterator[Diagnostic]:
    """Say what a denial by what only requests have closes beside."""
    for operation in rule.operations or (Operation(where=rule.where),):
        if operation.reads_http or rule.claims:
            ports = workload_ports(rule.service, http=True, port=operation.port)
            unclear = ", ".join(str(port.number) for port in ports if reading(port).kind == "detected")
            if unclear:
                message = f"What Istio does not recognize as HTTP on port {unclear}, it denies as well."
                yield Diagnostic("MSH551", operation.where or rule.where, unclear, message, severity="warning")


def _check_rule(rule: Rule, world: World) -> Iterator[Diagnostic]:
    yield from _check_claims(rule.claims, rule.where)
    for source in rule.sources:
        identity = source.identity
        if identity and _is_other_own(identity, world):
            message = f"Istio reads {OWN_DOMAIN} as the trust domain of the mesh, which is {world.trust_domain}."
            yield Diagnostic("MSH552", source.where or rule.where, identity.trust_domain, message)
    for operation in rule.operations:
        yield from _check_operation(operation, rule)


def _is_other_own(identity: Identity, world: World) -> bool:
    named = identity.trust_domain == OWN_DOMAIN and world.trust_domain != OWN_DOMAIN
    return named and identity.kind in ("account", "namespace")


def _check_operation(operation: Operation, rule: Rule) -> Iterator[Diagnostic]:
    where = operation.where or rule.where
    for pattern in operation.paths:
        if fault := _path_fault(pattern):
            yield Diagnostic("MSH552", where, pattern.text, fault)
        elif rule.effect == "deny" and any(is_template(path) for path in written_paths(pattern)):
            message = "A segment of a template takes no '[' and ']': with one of them, a caller gets past it."
            yield Diagnostic("MSH553", where, pattern.text, message)
    for host in operation.hosts:
        if rule.effect == "deny" and host.startswith("*"):
            message = "Istio compares the host with its port, and a caller may write any port."
            yield Diagnostic("MSH553", where, host, message)


def _path_fault(pattern: PathPattern) -> str:
    """Return why Istio would not compare paths with a pattern as it is meant, "" if it would."""
    literals = [part for part in pattern.segments if part is not None]
    last = pattern.segments[-1] if pattern.segments else None
    text = "/" + "/".join(literals)
    if any(brace in text for brace in "{}"):
        return "Istio takes braces for the operators of a template."
    if None in pattern.segments and not all(
        _TEMPLATE_LITERAL.fullmatch(part) for part in (literals[:-1] if last == "" else literals)
    ):
        return "Istio takes only the characters of a path in the segments of a template, and no empty one."
    normal = PINNED.path(text)
    return "" if normal == text else f"Envoy normalises paths, so that this one never arrives. It would be {normal}."


def _check_claims(claims: Claims, where: str) -> Iterator[Diagnostic]:
    for path, _ in claims:
        if any(bracket in part for part in path for bracket in "[]"):
            yield Diagnostic("MSH552", where, ".".join(path), "Istio reads brackets in the name of a claim as a path.")


def _check_numbers(policy: Policy) -> Iterator[Diagnostic]:
    """Refuse more rules than an AuthorizationPolicy has, and more sources than a rule has."""
    counts: dict[tuple[str, str, bool], int] = {}
    for rule in policy.rules:
        tokens = required_tokens(policy, rule.service) if rule.effect == "allow" else ()
        key = (rule.service.host, rule.effect, rule.audit)
        before = counts.get(key, 1)  # One more rule may leave the other ports open.
        counts[key] = before + rules_needed(rule, tokens)
        if before <= MOST_RULES < counts[key]:
            message = f"The rules of '{rule.service.name}' are more than {MOST_RULES} rules of Istio."
            yield Diagnostic("MSH556", rule.where, rule.service.name, message)
        sources = sum(len(source.networks) or 1 for source in rule.sources)
        if sources > MOST_RULES:
            yield Diagnostic("MSH556", rule.where, sources, f"A rule of Istio has at most {MOST_RULES} sources.")


def _check_egress(policy: Policy, world: World) -> Iterator[Diagnostic]:
    for namespace in policy.namespaces:
        egress = namespace.egress
        if not egress or not egress.deny:
            continue
        if namespace.name in world.scoped:
            message = "Istio takes only one Sidecar for a namespace, and meshup:namespaces already asks for one."
            yield Diagnostic("MSH554", egress.where or namespace.where, namespace.name, message)
        for host in egress.hosts:
            if (namespace.name, host.host) in world.routed_hosts:
                message = f"A route of the namespace opens {host.host} already, by a ServiceEntry of its own."
                yield Diagnostic("MSH555", host.where, host.host, message)
            elif host.protocol == "TCP" and host.host.startswith("*"):
                message = "Without a name to look up, and without TLS, Istio can't tell what a connection is for."
                yield Diagnostic("MSH555", host.where, host.host, message)
            elif host.protocol == "TCP":
                message = (
                    f"Istio sends every connection on port {host.port} from this namespace, which no other Service "
                    f"takes, to {host.host}."
                )
                yield Diagnostic("MSH555", host.where, host.host, message, severity="warning")
