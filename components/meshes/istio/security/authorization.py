"""Rules -> AuthorizationPolicy (security.istio.io/v1), Istio 1.30.

One object per Service and effect, so that a change of it is one change: of two policies that allow, the one that comes
first would close the Service to the callers of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ....manifests import Manifest, manifest
from ....security.coverage import EVERYTHING
from ....security.model import Claims, Identity, Operation, Policy, Rule, Source
from ....security.paths import PathPattern
from ....security.plane import SecurityObject
from ....security.world import World
from ....traffic.manifests import filled
from ....traffic.model import Port, Service, TextMatch
from .naming import CLOSES, DRY_RUN, FIRST, OPENS, SECURITY_API, may_share_pods, policy_object, workload_ports

OWN_DOMAIN = "cluster.local"
"""Istio reads it as the trust domain of the mesh, whatever that is, and its aliases."""
MOST_RULES = 512
"""Rules of an object, and sources of a rule (CRD, maxItems)."""
Tokens = Sequence[tuple[str, Claims]]
"""The tokens of which a rule needs one: issuer, and conditions on its claims."""


def authorization_policies(policy: Policy, world: World) -> Iterator[SecurityObject]:
    """Write the policies of all Services, and those that close a namespace."""
    for service in _services(policy):
        yield from _policies_of(policy, world, service)
    for namespace in policy.namespaces:
        if namespace.default != "open":
            dry_run = {DRY_RUN: "true"} if namespace.default == "audit" else None
            # Its only part that no Service's policy has: see `service_name`.
            name = "default-deny.namespace"
            item = manifest(SECURITY_API, "AuthorizationPolicy", name, namespace.name, {}, annotations=dry_run)
            yield SecurityObject(item, CLOSES, (namespace.key,))


def _services(policy: Policy) -> list[Service]:
    """Return the Services with rules, or with tokens that are required, each once."""
    named = [rule.service for rule in policy.rules]
    named += [one.service for one in policy.authentications if any(jwt.require for jwt in one.jwt)]
    return list({(service.namespace, service.name): service for service in named}.values())


def _policies_of(policy: Policy, world: World, service: Service) -> Iterator[SecurityObject]:
    rules = policy.rules_of(service)
    default = policy.default_of(service.namespace)
    tokens = required_tokens(policy, service)
    authentication = policy.authentication_of(service)
    wanted_by = (authentication.key,) if authentication and tokens else ()
    for audit in (False, True):
        suffix = ["audit"] if audit else []
        dry_run = {DRY_RUN: "true"} if audit or default == "audit" else None
        denies = [rule for rule in rules if rule.effect == "deny" and rule.audit == audit]
        written = [item for rule in denies for item in _rules(rule, (), world)]
        if written:
            name = ".".join(["deny", *suffix])
            item = _policy(service, name, "DENY", written, dry_run)
            yield SecurityObject(item, FIRST, tuple(rule.key for rule in denies))
        allows = [rule for rule in rules if rule.effect == "allow" and rule.audit == audit]
        written = [item for rule in allows for item in _rules(rule, tokens, world)]
        if not allows and tokens and not audit and default == "open":
            ports = workload_ports(service, http=True)
            written = [
                _rule([], [_operation(ports, EVERYTHING)], _token_conditions(*token)) for token in tokens if ports
            ]
        if default == "open" and (allows or written):
            # Also without another rule: one that takes nothing, such as a condition on requests at a port that speaks
            # TCP, closes the Service all the same.
            written.append({"to": [{"operation": {"notPorts": _closed_ports(policy, service, audited=audit)}}]})
        if written:
            item = _policy(service, ".".join(suffix), "ALLOW", written, dry_run)
            # It waits for what denies: a namespace may have closed till then what is denied from now on.
            yield SecurityObject(item, OPENS, (*(rule.key for rule in (*allows, *denies)), *wanted_by))


def _policy(
    service: Service, part: str, action: str, rules: list[Manifest], annotations: dict[str, str] | None
) -> Manifest:
    return policy_object("AuthorizationPolicy", service, part, {"action": action, "rules": rules}, annotations)


def _closed_ports(policy: Policy, service: Service, *, audited: bool) -> list[str]:
    """Return the ports of the pods that policies close. Every other one stays as it is without a policy.

    An ALLOW closes all ports of the pods. Those of another Service on the same pods, and those in no Service, are not
    meant: nobody has written a rule about them.
    """
    guarded = [
        other
        for other in (service, *policy.services)
        if may_share_pods(service, other)
        and (
            other.host == service.host
            or policy.is_guarded(other)
            or (audited and any(rule.audit and rule.effect == "allow" for rule in policy.rules_of(other)))
        )
    ]
    return [str(number) for number in sorted({port.container for other in guarded for port in other.ports})]


def required_tokens(policy: Policy, service: Service) -> Tokens:
    """Return the tokens of which a rule of a Service needs one; none if it requires no token."""
    found = policy.authentication_of(service)
    return list(dict.fromkeys((jwt.issuer, jwt.claims) for jwt in found.jwt if jwt.require)) if found else []


def rules_needed(rule: Rule, tokens: Tokens) -> int:
    """Return how many rules of Istio a rule becomes."""
    return len(_grouped(rule)) * max(1, len(tokens))


def _grouped(rule: Rule) -> list[list[Operation]]:
    """Return the operations that one rule of Istio can hold.

    Conditions on headers hold for a whole rule. On a port that speaks TCP, Istio drops a whole rule that reads HTTP in
    any of its operations.
    """
    if not rule.operations:
        return [[Operation()]]
    with_headers = [[operation] for operation in rule.operations if operation.headers]
    others = [operation for operation in rule.operations if not operation.headers]
    parts = ([one for one in others if one.reads_http == reads] for reads in (False, True))
    return [part for part in parts if part] + with_headers


def _rules(rule: Rule, tokens: Tokens, world: World) -> Iterator[Manifest]:
    sources = _sources(rule.sources, world)
    for operations in _grouped(rule):
        written: list[Manifest] = []
        for operation in operations:
            http = bool(operation.reads_http or rule.claims or tokens)
            ports = workload_ports(rule.service, http=http, port=operation.port)
            if ports:
                written.append(_operation(ports, operation))
        if not written:
            continue  # Only ports that speak TCP, where the rule takes nothing (`check` refuses it).
        headers = [_condition(f"request.headers[{name}]", [_text(match)]) for name, match in operations[0].headers]
        own = [*headers, *_claim_conditions(rule.claims)]
        for token in tokens or (None,):
            yield _rule(sources, written, [*own, *(_token_conditions(*token) if token else ())])


def _rule(sources: list[Manifest], operations: list[Manifest], conditions: list[Manifest]) -> Manifest:
    return filled({"from": sources, "to": [{"operation": one} for one in operations], "when": conditions})


def _operation(ports: Iterable[Port], operation: Operation) -> Manifest:
    ports = list(ports)
    paths: dict[str, None] = {}
    for pattern in operation.paths:
        paths.update(dict.fromkeys(written_paths(pattern)))
    return filled(
        {
            "ports": [str(port.container) for port in ports],
            "methods": list(operation.methods),
            "paths": list(paths),
            "hosts": [host for one in operation.hosts for host in _hosts(one, ports)],
        }
    )


def _hosts(host: str, ports: Sequence[Port]) -> list[str]:
    """Write a host with and without a port: Istio compares `:authority`, which has one unless it is that of HTTP.

    A star is either in front or at the end, so that a wildcard is written with each port of the Service.
    """
    if host.startswith("*"):
        return [host, *(f"{host}:{port.number}" for port in ports)]
    return [host, f"{host}:*"]


def written_paths(pattern: PathPattern) -> list[str]:
    """Write a pattern of paths. An open end is written as the path itself and all that follows a slash.

    Envoy's template `/a/**` is `/a/` and what follows, never `/a` (uri_template_internal.cc: the operators stand
    between slashes); a prefix of Istio ends anywhere: `/a*` is `/ab` too.
    """
    base = "/" + "/".join("{*}" if part is None else part for part in pattern.segments)
    if not pattern.open:
        return [base]
    if not pattern.segments:
        return ["/*"]
    return [base, base + ("/*" if None not in pattern.segments else "/{**}")]


def _text(match: TextMatch) -> str:
    return {"exact": match.value, "prefix": match.value + "*"}.get(match.kind, "*")


def _condition(key: str, values: Sequence[str]) -> Manifest:
    return {"key": key, "values": list(values)}


def _claim_conditions(claims: Claims) -> list[Manifest]:
    return [
        _condition("request.auth.claims" + "".join(f"[{part}]" for part in path), values) for path, values in claims
    ]


def _token_conditions(issuer: str, claims: Claims) -> list[Manifest]:
    """Require a valid token by its issuer: a requestPrincipal would also demand the claim `sub`."""
    return [_condition("request.auth.claims[iss]", [issuer]), *_claim_conditions(claims)]


def _sources(sources: Sequence[Source], world: World) -> list[Manifest]:
    """Write `from`; empty for everybody. Identities that come from the same networks are one source."""
    if any(source.everybody for source in sources):
        return []
    joined: dict[tuple[bool, tuple[str, ...], tuple[str, ...]], dict[str, None]] = {}
    for source in sources:
        for cidrs, excluded in _networks(source):
            names = joined.setdefault((source.identity is not None, cidrs, excluded), {})
            if source.identity:
                names[principal(source.identity, world)] = None
    return [
        {"source": filled({"principals": list(names), "ipBlocks": list(cidrs), "notIpBlocks": list(excluded)})}
        for (_, cidrs, excluded), names in joined.items()
    ]


def _networks(source: Source) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return ipBlocks and notIpBlocks of each source that the networks need: exceptions are those of one network."""
    whole = tuple(network.cidr for network in source.networks if not network.excluded)
    parts = [((network.cidr,), network.excluded) for network in source.networks if network.excluded]
    return [(whole, ()), *parts] if whole or not source.networks else parts


def principal(identity: Identity, world: World) -> str:
    """Write an identity as `principals` has it, without the scheme, which Istio adds.

    `serviceAccounts` and `namespaces` would take the same names of every other trust domain too.
    """
    own = identity.trust_domain in ("", world.trust_domain)
    domain = OWN_DOMAIN if own else identity.trust_domain
    match identity.kind:
        case "account":
            return f"{domain}/ns/{identity.namespace}/sa/{identity.account}"
        case "namespace":
            return f"{domain}/ns/{identity.namespace}/sa/*"
        case "trust-domain":
            # Two parts are no identity to Istio, so it puts no other trust domain in place of this one.
            return f"{world.trust_domain if own else domain}/*"
        case "mesh":
            return "*"
