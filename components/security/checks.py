"""Checks of a policy against what is known of applications, routes and the mesh. Pure.

Interface::

    check(policy, world, routes, plane) -> list[Diagnostic]

What can't work is an error; what works in another way than it reads is a warning; the rest is a note. A check that
needs what is not known, such as workloads without a cluster, finds nothing. Others are in parse.py, which reads a
policy, and in the folder of each mesh.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..diagnostics import Diagnostic, nearest
from ..traffic.model import Port, Service
from ..traffic.targets import Planned
from . import call_checks, workload_checks
from .coverage import Part, may_meet, part_covers, parts
from .model import Account, Jwt, Operation, Policy, Rule, Source
from .plane import SecurityPlane
from .view import View, ports_of, rule_where, source_where
from .world import World


def check(policy: Policy, world: World, routes: Sequence[Planned], plane: SecurityPlane) -> list[Diagnostic]:
    """Find what of a policy does not do what it says.

    Args:
        policy: The policy.
        world: What is known of Services, workloads and calls.
        routes: The compiled routes.
        plane: The mesh.
    """
    if policy.empty:
        return []
    view = View(policy, world, tuple(routes), plane)
    found: list[Diagnostic] = []
    for one in (
        _check_repetitions,
        _check_denied_rules,
        _check_sources,
        _check_shared_accounts,
        _check_ports,
        _check_modes,
        _check_tokens,
        _check_places,
        _check_exceptions,
        call_checks.check,
        workload_checks.check,
    ):
        found.extend(one(view))
    return found


def _check_repetitions(view: View) -> Iterator[Diagnostic]:
    """Report rules that take nothing which other rules do not take."""
    for service in view.services_with_rules:
        for effect in ("allow", "deny"):
            listed = [rule for rule in view.rules_of(service) if rule.effect == effect]
            enforced = [part for part in parts(listed) if not part.rule.audit]
            redundant: set[str] = set()
            for rule in reversed(listed):
                others = [part for part in enforced if part.rule.key not in redundant and part.rule is not rule]
                if rule.audit:
                    continue  # It is there to be counted.
                by = [_covering(part, others, view.world.trust_domain) for part in parts([rule])]
                if all(by):
                    redundant.add(rule.key)
                    keys = ", ".join(dict.fromkeys(part.rule.key for part in by if part))
                    message = f"All that the rule takes, {keys} takes too."
                    yield Diagnostic("MSH532", rule_where(rule), rule.key, message, severity="warning")


def _covering(inner: Part, others: Iterable[Part], trust_domain: str) -> Part | None:
    return next((one for one in others if part_covers(one, inner, trust_domain)), None)


def _check_denied_rules(view: View) -> Iterator[Diagnostic]:
    """Report rules of `allow` all of whose requests a rule of `deny` refuses."""
    for service in view.services_with_rules:
        rules = [rule for rule in view.rules_of(service) if not rule.audit]
        denies = list(parts(rule for rule in rules if rule.effect == "deny"))
        for rule in rules if denies else ():
            if rule.effect == "deny":
                continue
            by = [_covering(part, denies, view.world.trust_domain) for part in parts([rule])]
            if all(by):
                keys = ", ".join(dict.fromkeys(part.rule.key for part in by if part))
                message = f"The rule opens nothing: {keys} denies all that it takes."
                yield Diagnostic("MSH533", rule_where(rule), rule.key, message, severity="warning")


def _accounts(view: View) -> Iterator[tuple[Rule, Source, Account]]:
    """Yield the accounts of the mesh's own trust domain that rules name, but for those of gateways."""
    for rule in view.policy.rules:
        for source in rule.sources:
            identity = source.identity
            if identity is None or identity.kind != "account" or source.gateway:
                continue
            if view.is_ours(identity.trust_domain):
                yield rule, source, Account(identity.namespace, identity.account)


def _check_sources(view: View) -> Iterator[Diagnostic]:
    """Report callers that are nobody: accounts that no workload has, and namespaces that are not there."""
    gateways = set(view.world.gateways.values())
    spaces = view.world.namespaces
    for rule, source, account in _accounts(view):
        if account in gateways:
            continue
        known = sorted({one.identity for one in view.workloads.get(account.namespace, [])})
        if known and account not in known:
            message = f"No workload of the namespace '{account.namespace}' runs under the account '{account.name}'."
            near = nearest(account.name, [one.name for one in known])
            remedy = f"Did you mean '{near}'?" if near else ""
            allowed = "one of " + ", ".join(one.name for one in known)
            where = source_where(rule, source)
            yield Diagnostic("MSH534", where, account.name, message, allowed, remedy, severity="warning")
    for rule in view.policy.rules:
        for source in rule.sources:
            identity = source.identity
            if identity is None or identity.kind not in ("account", "namespace") or source.gateway or not spaces:
                continue
            if not view.is_ours(identity.trust_domain) or identity.namespace in spaces:
                continue
            message = f"There is no namespace '{identity.namespace}', and this stack does not make it."
            near = nearest(identity.namespace, spaces)
            remedy = f"Did you mean '{near}'?" if near else ""
            where = source_where(rule, source)
            yield Diagnostic("MSH534", where, identity.namespace, message, remedy=remedy, severity="warning")


def _check_shared_accounts(view: View) -> Iterator[Diagnostic]:
    """Report accounts that more than one workload has: a rule for one of them admits all."""
    seen: set[Account] = set()
    for rule, source, account in _accounts(view):
        users = view.users.get(account, [])
        if rule.effect == "deny" or account in seen or not users:
            continue
        seen.add(account)
        names = sorted({f"{one.kind} {one.name}" for one in users})
        where = source_where(rule, source)
        # Versions of one Service are meant alike.
        together = len(users) == 1 or any(
            all(one in view.behind(service) for one in users) for service in view.selecting(users[0])
        )
        if not together:
            message = f"{', '.join(names)} run under the account '{account}': the rule admits all of them."
            yield Diagnostic("MSH535", where, str(account), message, severity="warning")
        elif account.name == "default":
            message = (
                f"{', '.join(names)} runs under the account 'default', which every pod of the namespace "
                f"'{account.namespace}' has that names no other: the rule admits those too."
            )
            yield Diagnostic("MSH535", where, str(account), message, severity="info")


def _check_ports(view: View) -> Iterator[Diagnostic]:
    """Report rules on requests at ports where the mesh forwards connections."""
    for rule in view.policy.rules:
        for operation in rule.operations or (Operation(where=rule.where),):
            if not (operation.reads_http or rule.claims):
                continue
            where = operation.where or rule_where(rule)
            ports = ports_of(rule.service, operation)
            read = [(port, view.reading(rule.service, port)) for port in ports]
            forwarded = [(port, reading) for port, reading in read if reading and reading.kind == "connections"]
            detected = [(port, reading) for port, reading in read if reading and reading.kind == "detected"]
            if len(forwarded) == len(ports):
                port, reading = forwarded[0]
                message = (
                    f"{view.plane.title} forwards connections to port {port.number} of {rule.service.name} as they "
                    f"are, so the rule takes none: {reading.reason}."
                )
                yield Diagnostic("MSH536", where, port.number, message)
                continue
            if forwarded:
                listed = ", ".join(str(port.number) for port, _ in forwarded)
                what = "stay closed to its callers" if rule.effect == "allow" else "are not closed by it"
                message = (
                    f"The rule looks at requests, and {view.plane.title} forwards connections to some ports of "
                    f"{rule.service.name}, which {what}: {listed}."
                )
                yield Diagnostic("MSH536", where, listed, message, severity="warning")
            for port, reading in detected:
                message = (
                    f"{view.plane.title} detects by the first bytes whether port {port.number} of "
                    f"{rule.service.name} speaks HTTP: {reading.reason}. The rule takes no other connection."
                )
                yield Diagnostic("MSH536", where, port.number, message, severity="warning")


def _check_modes(view: View) -> Iterator[Diagnostic]:
    """Report rules on identities at ports that do not demand mutual TLS."""
    for rule in view.policy.rules:
        identified = [source for source in rule.sources if source.identity]
        if not identified or rule.audit:
            continue
        where = source_where(rule, identified[0])
        ports = {port for operation in rule.operations or (Operation(),) for port in ports_of(rule.service, operation)}
        by_mode: dict[str, list[Port]] = {}
        for port in sorted(ports, key=lambda port: port.number):
            by_mode.setdefault(view.policy.mode_of(rule.service, port), []).append(port)
        plain = _numbers(by_mode.get("disable", ()))
        if plain:
            message = f"Port {plain} of {rule.service.name} takes plain text only, so no caller has an identity there."
            remedy = "Remove the exception with mode disable, or name the callers by cidr."
            yield Diagnostic("MSH537", where, rule.key, message, remedy=remedy)
        both = _numbers(by_mode.get("permissive", ()))
        if not both:
            continue
        if rule.effect == "deny":
            message = (
                f"Port {both} of {rule.service.name} takes callers without mutual TLS too. Whom the rule denies gets "
                "in without."
            )
            yield Diagnostic("MSH537", where, rule.key, message, severity="warning")
        elif not any(_admits_plain(view, rule.service, port) for port in by_mode["permissive"]):
            message = (
                f"Port {both} of {rule.service.name} takes callers without mutual TLS, and its rules name identities "
                "only: such a caller is refused all the same."
            )
            yield Diagnostic("MSH537", where, rule.key, message, severity="info")


def _numbers(ports: Iterable[Port]) -> str:
    return ", ".join(str(port.number) for port in ports)


def _admits_plain(view: View, service: Service, port: Port) -> bool:
    """Return True if some rule takes callers without an identity at a port."""
    return any(
        rule.effect == "allow" and not all(source.identity for source in rule.sources)
        for rule in view.rules_of(service)
        if any(may_meet(one, Operation(port)) for one in rule.operations or (Operation(),))
    )


def _check_tokens(view: View) -> Iterator[Diagnostic]:
    """Report tokens that nobody needs, and rules on tokens that nobody reads."""
    for rule in view.policy.rules:
        tokens = view.policy.authentication_of(rule.service)
        if rule.claims and tokens is None:
            message = f"No token is read for {rule.service.name}, so no request has a claim."
            remedy = f"Add meshup:security.authentication.{rule.service.name}."
            yield Diagnostic("MSH541", f"{rule_where(rule)}.claims", None, message, remedy=remedy)
        elif tokens is not None:
            yield from _check_issuers(rule, tokens.jwt)
    for tokens in view.policy.authentications:
        required = [jwt for jwt in tokens.jwt if jwt.require]
        rules = view.rules_of(tokens.service)
        name = tokens.service.name
        if not required and not any(rule.claims for rule in rules):
            message = f"A request to {name} without a token is let in: only a wrong token is refused."
            remedy = "Set 'require: true', or write rules with 'claims'."
            yield Diagnostic("MSH541", tokens.where, name, message, remedy=remedy, severity="warning")
        for jwt in tokens.jwt if required else ():
            if not jwt.require:
                message = f"Tokens of {jwt.issuer} are read and never enough: {required[0].issuer} is required."
                yield Diagnostic("MSH541", jwt.where or tokens.where, jwt.issuer, message, severity="warning")
        exposed = next((plan.route for plan in view.routes_of(tokens.service) if plan.route.exposure), None)
        if required and exposed:
            message = (
                f"Browsers ask before they call {name} from pages of other hosts, without a token "
                "(preflight requests): they get 403."
            )
            yield Diagnostic("MSH542", tokens.where, name, message, severity="info")


def _check_issuers(rule: Rule, issuers: Sequence[Jwt]) -> Iterator[Diagnostic]:
    names = sorted({jwt.issuer for jwt in issuers})
    for path, values in rule.claims:
        unknown = [value for value in values if value not in names]
        if path == ("iss",) and len(unknown) == len(values):
            message = f"Tokens of this issuer are not read for {rule.service.name}, so no request has the claim."
            allowed = f"one of {', '.join(names)}"
            yield Diagnostic("MSH541", f"{rule_where(rule)}.claims.iss", unknown[0], message, allowed)


def _check_places(view: View) -> Iterator[Diagnostic]:
    """Report policies about namespaces and Services where they reach nothing, or too much."""
    world, policy = view.world, view.policy
    for one in policy.namespaces:
        changes = one.default != "open" or one.egress is not None or one.network_policy
        if world.control_plane and one.name == world.control_plane and changes:
            message = f"In '{one.name}' is the control plane of {view.plane.title}: the policy would close it, too."
            yield Diagnostic("MSH546", one.where, one.name, message)
            continue
        yield from _check_namespace(view, one.name, one.where)
        services = [*policy.services, *world.services]
        if one.default != "open" and not any(service.namespace == one.name for service in services):
            message = f"No Service of the namespace '{one.name}' is known, so nothing says which ports are closed."
            remedy = "Describe them under meshup:security.services, or in meshup:traffic."
            yield Diagnostic("MSH548", one.where, one.name, message, remedy=remedy, severity="warning")
    for service in view.services_with_rules:
        where = rule_where(view.rules_of(service)[0])
        if world.control_plane and service.namespace == world.control_plane:
            message = (
                f"The Service '{service.name}' is in the namespace of the control plane of {view.plane.title}: what "
                "holds there holds for pods of other namespaces, or cuts off the mesh itself."
            )
            yield Diagnostic("MSH546", where, service.name, message)
        if view.workloads.get(service.namespace) and service.selector and not view.behind(service):
            message = f"The Service '{service.name}' selects no pods of the namespace '{service.namespace}'."
            yield Diagnostic("MSH548", where, service.name, message, severity="warning")
        if not any(one.name == service.namespace for one in policy.namespaces):
            yield from _check_namespace(view, service.namespace, where)


def _check_namespace(view: View, name: str, where: str) -> Iterator[Diagnostic]:
    spaces = view.world.namespaces
    if not spaces:
        return
    if name not in spaces:
        message = f"There is no namespace '{name}', and this stack does not make it."
        near = nearest(name, spaces)
        yield Diagnostic(
            "MSH548", where, name, message, remedy=f"Did you mean '{near}'?" if near else "", severity="warning"
        )
    elif not spaces[name]:
        message = f"The namespace '{name}' is not in the mesh: its pods have no sidecar, and nothing is enforced there."
        remedy = f"Put it into the mesh, such as by `meshup:namespaces` {{{name}: {{}}}}, and restart its pods."
        yield Diagnostic("MSH548", where, name, message, remedy=remedy, severity="warning")


def _check_exceptions(view: View) -> Iterator[Diagnostic]:
    """Report exceptions from mutual TLS that change nothing."""
    exceptions = view.policy.exceptions
    for one in exceptions:
        if one.namespace == view.world.control_plane and view.world.control_plane and one.service is None:
            message = (
                f"In '{one.namespace}' is the control plane of {view.plane.title}: the mode would be all the mesh's."
            )
            yield Diagnostic("MSH546", one.where, one.namespace, message)
            continue
        yield from _check_namespace(view, one.namespace, one.where)
        without = replace(view.policy, exceptions=tuple(other for other in exceptions if other is not one))
        around = without.mode_of(one.service, one.port) if one.service else without.mode
        if around == one.mode:
            message = f"The mode is '{around}' there without the exception."
            yield Diagnostic("MSH548", one.where, one.mode, message, remedy="Remove it.", severity="info")
