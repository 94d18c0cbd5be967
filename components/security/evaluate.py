"""Decide a request by the policy alone, as the top of model.py says. Knows no mesh and no object.

Interface::

    decide(policy, world, request) -> Decision
    smallest_rule(request, world) -> {"reviews": [{"from": [...], "to": [...]}]}   # a value of `allow`

A `SecurityPlane` decides the same request by its objects. Tests hold each against the other.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from ..traffic.model import Pairs, Service, TextMatch
from .model import SPLIT_CLAIMS, Claims, Identity, Jwt, NamespacePolicy, Network, Operation, Policy, Rule, Source
from .plane import AccessRequest
from .world import World

CLOCK_SKEW = 60
"""Seconds by which clocks may differ when a token is checked: Envoy's default (jwt_authn, `clock_skew_seconds`)."""

By = Literal["mtls", "probe", "token", "allow", "deny", "closed", "open", "audit"]
"""What decides: mutual TLS; that it is a probe; a token that is not valid; a rule of `allow` or of `deny`; that no rule
of `allow` takes it; that nothing guards the Service; that the namespace only audits."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a request by the policy.

    Attributes:
        allowed: Whether it reaches the pod.
        by: What decides. Only what is `closed` can be opened by a rule of `allow`.
        reason: Why, one sentence.
        key: The key of the rule that decides, "" for none.
        where: Path in the configuration of what decides, "" for a default.
        audited: The keys of the rules that would deny it if they were enforced, or `namespaces.NAME` for the default
            of a namespace, and only count it.
    """

    allowed: bool
    by: By
    reason: str
    key: str = ""
    where: str = ""
    audited: tuple[str, ...] = ()


def decide(policy: Policy, world: World, request: AccessRequest) -> Decision:
    """Return what becomes of a request.

    Args:
        policy: The policy.
        world: Gives the trust domain of the mesh, and the probes of the workloads.
        request: The request. Its `caller` is the identity that mutual TLS would show; in a mode that takes plain text
            only, nobody has one.
    """
    service, port = request.service, request.port
    mode = policy.mode_of(service, port)
    if request.probe and _is_probe(world, request):
        return Decision(True, "probe", "Both meshes let probes of the kubelet through.")
    if mode == "strict" and request.caller is None:
        return Decision(False, "mtls", f"The caller has no identity, and {service.name}:{port.number} demands one.")
    call = _Call(request, world.trust_domain, has_identity=request.caller is not None and mode != "disable")
    pods = policy.same_pods(service)
    tokens = [found for one in pods if (found := policy.authentication_of(one))]
    fault = call.read_token([jwt for found in tokens for jwt in found.jwt])
    if fault:
        return Decision(False, "token", fault, where=tokens[0].where)
    services = [one for one in pods if any(other.container == port.container for other in one.ports)]
    rules = [rule for one in services for rule in policy.rules_of(one)]
    enforced, audited = _by_rules(policy, services, call, [rule for rule in rules if not rule.audit])
    counted = [rule for rule in rules if rule.audit]
    also = [rule.key for rule in counted if rule.effect == "deny" and call.is_taken_by(rule)]
    allows = [rule for rule in counted if rule.effect == "allow"]
    if enforced.by == "open" and allows and not any(_is_allowed_by(policy, call, rule) for rule in allows):
        also += [rule.key for rule in allows]
    return replace(enforced, audited=(*audited, *also))


def _by_rules(
    policy: Policy, services: Sequence[Service], call: _Call, rules: Sequence[Rule]
) -> tuple[Decision, tuple[str, ...]]:
    """Return what enforced rules make of a request, and what of them is only counted in its namespace."""
    decision = _enforced(policy, services, call, rules)
    namespace = services[0].namespace
    if policy.default_of(namespace) != "audit":
        return decision, ()
    counted = () if decision.allowed else (decision.key or NamespacePolicy(namespace).key,)
    reason = f"The namespace {namespace} only audits. Enforced: {decision.reason}"
    return Decision(True, "audit", reason, decision.key, decision.where), counted


def _enforced(policy: Policy, services: Sequence[Service], call: _Call, rules: Sequence[Rule]) -> Decision:
    for rule in rules:
        if rule.effect == "deny" and call.is_taken_by(rule):
            return Decision(False, "deny", f"The rule {rule.key} denies it.", rule.key, rule.where)
    allows = [rule for rule in rules if rule.effect == "allow"]
    for rule in allows:
        if _is_allowed_by(policy, call, rule):
            return Decision(True, "allow", f"The rule {rule.key} allows it.", rule.key, rule.where)
    if not any(map(policy.is_guarded, services)):
        return Decision(True, "open", f"No rule guards {services[0].name}.")
    for service in services if policy.default_of(services[0].namespace) == "open" else ():
        required = _required(policy, service)
        if required and not any(rule.service.host == service.host for rule in allows) and call.has_one_of(required):
            return Decision(
                True, "open", f"It has a token that {service.name} requires, which is all that it requires."
            )
    return _refusal(policy, services[0], call, allows)


def _required(policy: Policy, service: Service) -> list[Jwt]:
    """Return the issuers of which a Service requires a token."""
    tokens = policy.authentication_of(service)
    return [jwt for jwt in tokens.jwt if jwt.require] if tokens else []


def _is_allowed_by(policy: Policy, call: _Call, rule: Rule) -> bool:
    """Return True if a rule takes a request, with a token that the Service of the rule requires."""
    required = _required(policy, rule.service)
    return call.is_taken_by(rule) and (not required or call.has_one_of(required))


def _refusal(policy: Policy, service: Service, call: _Call, allows: Sequence[Rule]) -> Decision:
    """Return why a guarded Service does not take a request that no rule of `allow` takes."""
    default = next((one for one in policy.namespaces if one.name == service.namespace and one.default != "open"), None)
    lacking = next((rule.service for rule in allows if call.is_taken_by(rule)), None)
    if lacking or not (allows or default):
        service = lacking or next(one for one in policy.same_pods(service) if _required(policy, one))
        tokens = policy.authentication_of(service)
        message = f"{service.name} requires a token, and the request has none that is enough."
        return Decision(False, "token", message, where=tokens.where if tokens else "")
    if allows:
        message = f"None of the rules of {service.name} takes it: {', '.join(rule.key for rule in allows)}."
        return Decision(False, "closed", message, where=allows[0].where)
    message = f"No rule allows calls of {service.name}, and its namespace {service.namespace} denies by default."
    return Decision(False, "closed", message, where=default.where if default else "")


class _Call:
    """A request with what a receiver knows of its caller."""

    def __init__(self, request: AccessRequest, trust_domain: str, *, has_identity: bool) -> None:
        self.request = request
        self.trust_domain = trust_domain
        self.has_identity = has_identity
        self.claims: Mapping[str, Any] | None = None
        self.issuers: list[Jwt] = []

    def read_token(self, issuers: Sequence[Jwt]) -> str:
        """Check the token of the request against what its pods read. Return what is wrong with it, or ""."""
        reading = [jwt for jwt in issuers if _reads_bearer(jwt)] if self.request.http else []
        if self.request.bearer == "none" or not reading:
            return ""
        claims = self.request.claims
        named = [jwt for jwt in reading if jwt.issuer == claims.get("iss")]
        if not named:
            return "No issuer that the Service knows has issued the token."
        if self.request.bearer == "bad-signature":
            return "The signature of the token is wrong."
        if fault := time_fault(claims, self.request.now):
            return fault
        fitting = [jwt for jwt in named if not jwt.audiences or set(jwt.audiences) & set(_texts(claims.get("aud")))]
        if not fitting:
            return "The token is for another audience."
        self.claims, self.issuers = claims, fitting
        return ""

    def has_one_of(self, required: Sequence[Jwt]) -> bool:
        """Return True if the request has a valid token of one of some issuers, with the claims that this one needs."""
        claims = self.claims
        return claims is not None and any(jwt in self.issuers and meets_claims(jwt.claims, claims) for jwt in required)

    def is_taken_by(self, rule: Rule) -> bool:
        """Return True if a rule takes the request, whatever token its Service requires."""
        if rule.claims and (self.claims is None or not meets_claims(rule.claims, self.claims)):
            return False
        return any(map(self._comes_from, rule.sources)) and (
            not rule.operations or any(operation_takes(operation, self.request) for operation in rule.operations)
        )

    def _comes_from(self, source: Source) -> bool:
        if source.identity and not self._is_identity(source.identity):
            return False
        return not source.networks or any(network_has(one, self.request.address) for one in source.networks)

    def _is_identity(self, identity: Identity) -> bool:
        caller = self.request.caller
        if caller is None or not self.has_identity:
            return False
        if identity.kind == "mesh":
            return True
        if (identity.trust_domain or self.trust_domain) != (self.request.trust_domain or self.trust_domain):
            return False
        wanted = {"trust-domain": (), "namespace": (identity.namespace,)}
        have = (caller.namespace, caller.name)
        needs = wanted.get(identity.kind, (identity.namespace, identity.account))
        return have[: len(needs)] == needs


def operation_takes(operation: Operation, request: AccessRequest) -> bool:
    """Return True if a request asks for what an operation says. A connection has no method, path, header or host."""
    if operation.port is not None and operation.port.container != request.port.container:
        return False
    if not operation.reads_http:
        return True
    return (
        request.http
        and (not operation.methods or request.verb in operation.methods)
        and (not operation.paths or any(pattern.matches(request.path) for pattern in operation.paths))
        and (not operation.hosts or any(host_matches(host, request.called) for host in operation.hosts))
        and all(header_matches(name, condition, request.headers) for name, condition in operation.headers)
    )


def host_matches(pattern: str, host: str) -> bool:
    """Return True if a host is the one of a pattern, or below `*.`."""
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def header_matches(name: str, condition: TextMatch, headers: Pairs) -> bool:
    """Return True if a header meets a condition: of one that is sent several times, any of its values.

    Envoy does so from 1.37.1 (CVE-2026-26308; seen with Istio 1.30.3); before, it joined them.
    """
    values = [value for other, value in headers if other == name]
    if condition.kind == "present":
        return bool(values)
    if condition.kind == "exact":
        return condition.value in values
    return any(value.startswith(condition.value) for value in values)


def network_has(network: Network, address: str) -> bool:
    """Return True if an address is in a network. "" is in none."""
    if not address:
        return False
    ip = ipaddress.ip_address(address)
    return ip in ipaddress.ip_network(network.cidr) and not any(
        ip in ipaddress.ip_network(part) for part in network.excluded
    )


def meets_claims(conditions: Claims, claims: Mapping[str, Any]) -> bool:
    """Return True if the claims of a token meet all conditions."""
    return all(set(values) & set(_claim(path, claims)) for path, values in conditions)


def time_fault(claims: Mapping[str, Any], now: float) -> str:
    """Return what is wrong with the times of a token, or ""."""
    times: dict[str, float] = {}
    for name in ("exp", "nbf"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            return f"The claim '{name}' of the token is no time."
        times[name] = value
    if times["exp"] and now > times["exp"] + CLOCK_SKEW:
        return "The token has expired."
    return "The token is not valid yet." if now + CLOCK_SKEW < times["nbf"] else ""


def _claim(path: Sequence[str], claims: Mapping[str, Any]) -> list[str]:
    """Return the texts that a claim has."""
    value: object = claims
    for name in path:
        if not isinstance(value, dict):
            return []
        value = cast("dict[str, object]", value).get(name)
    if isinstance(value, str) and tuple(path) in {(name,) for name in SPLIT_CLAIMS}:
        return value.split()
    return _texts(value)


def _texts(value: object) -> list[str]:
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    return [one for one in listed if isinstance(one, str)]


def _reads_bearer(jwt: Jwt) -> bool:
    """Return True if an issuer's tokens are looked for where a bearer token stands."""
    return not jwt.headers or any(
        name.lower() == "authorization" and start.strip() == "Bearer" for name, start in jwt.headers
    )


def _is_probe(world: World, request: AccessRequest) -> bool:
    probes = [probe for workload in world.behind(request.service) for probe in workload.probes]
    return any(
        probe.port == request.port.container and (probe.kind != "http" or probe.path == request.path)
        for probe in probes
    )


def smallest_rule(request: AccessRequest, world: World | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return the least rule that allows a request which no rule allows yet: a value of `allow` in the configuration.

    It opens nothing where mutual TLS, a token or a rule of `deny` refuses the request.

    Args:
        request: The request, `closed` by `decide`.
        world: Gives the names of gateways and says whether the name of the Service is unique.
    """
    service = request.service
    world = world or World(services=(service,))
    unique = sum(other.name == service.name for other in world.services) <= 1
    rule: dict[str, Any] = {"from": [_source(request, world)]}
    operation: dict[str, Any] = {}
    if len(service.ports) > 1:
        operation["port"] = request.port.number
    if request.grpc:
        name, _, method = request.path[1:].partition("/")
        operation["grpc"] = {"service": name, "method": method}
    elif request.http:
        operation |= {"methods": [request.method], "paths": [request.path]}
    if operation:
        rule["to"] = [operation]
    return {service.name if unique else f"{service.name}.{service.namespace}": [rule]}


def _source(request: AccessRequest, world: World) -> dict[str, Any]:
    caller = request.caller
    if caller is None:
        if not request.address:
            return {"everybody": True}
        bits = ipaddress.ip_address(request.address).max_prefixlen
        return {"cidr": f"{request.address}/{bits}"}
    if request.trust_domain not in ("", world.trust_domain):
        return {"serviceAccount": str(caller), "trustDomain": request.trust_domain}
    if gateway := next((name for name, account in world.gateways.items() if account == caller), ""):
        return {"gateway": gateway}
    return {"serviceAccount": caller.name if caller.namespace == request.service.namespace else str(caller)}
