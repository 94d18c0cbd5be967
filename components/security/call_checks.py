"""Check a policy against who calls whom: the known call graph, gateways, and what routes make of a call. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from ..diagnostics import Diagnostic
from ..traffic import patterns
from ..traffic.evaluate import evaluate, request_from
from ..traffic.model import Backend, Destination, Match, Mirror, Rewrite, Route, Service, TextMatch
from ..traffic.model import Rule as RouteRule
from ..traffic.overlap import path_of
from .coverage import EVERYTHING, Part, may_meet, part_covers, parts
from .evaluate import Decision, decide, operation_takes, smallest_rule
from .model import Account, Operation, Rule, Source
from .parse import path_pattern
from .paths import PathPattern, exact, prefix
from .plane import AccessRequest
from .view import SECTION, View, rule_where, source_where
from .world import Call

_ANY_SEGMENT = "x"
"""In place of a segment that may be any one."""


def check(view: View) -> Iterator[Diagnostic]:
    """Find calls that the policy denies, and what it opens for nobody."""
    with patterns.counted():
        yield from _check_calls(view)
        yield from _check_exposures(view)
        yield from _check_unused(view)
        yield from _check_callers_outside(view)
        yield from _check_targets(view)
        yield from _check_versions(view)


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who makes a call.

    Attributes:
        account: The identity that the pods have.
        title: For people.
        outside: Whether its pods have no sidecar, so that the identity is not shown.
    """

    account: Account
    title: str
    outside: bool = False


def _callers(view: View, call: Call, service: Service) -> list[_Caller]:
    if call.caller is not None:
        return [_Caller(call.caller, str(call.caller), view.is_outside(call.caller))]
    names = {plan.route.exposure.gateway.name for plan in view.routes_of(service) if plan.route.exposure}
    accounts = {name: view.world.gateways.get(name) for name in sorted(names)}
    return [_Caller(account, f"gateway {name}") for name, account in accounts.items() if account]


def _check_calls(view: View) -> Iterator[Diagnostic]:
    for call in view.world.calls:
        service = view.world.service(call.service, call.namespace)
        port = view.world.port_of(service, call.port) if service else None
        if service is None or port is None:
            continue
        for caller in _callers(view, call, service):
            request = AccessRequest(service, port, None if caller.outside else caller.account, http=bool(call.method))
            asked = [replace(request, method=call.method or "GET", path=path) for path in _witnesses(call)]
            yield from _check_call(view, call, caller, asked)


def _check_call(view: View, call: Call, caller: _Caller, asked: Iterable[AccessRequest]) -> Iterator[Diagnostic]:
    """Report where a call is denied: at the Service itself once, and at each other one that a route leads it to."""
    told: set[str] = set()
    for request in asked:
        for place, backend in _reached(view, request, caller):
            decision = decide(view.policy, view.world, place)
            if (decision.allowed and not decision.audited) or decision.by == "token" or place.service.host in told:
                continue
            told.add(place.service.host)
            if caller.outside:
                yield _denied_outside(call, caller, place, decision)
            elif backend is None or place.service.host == request.service.host:
                yield _denied(view, call, caller, place, decision)
            else:
                message = f"A route leads {_call_text(caller, place)} here, where it is denied: {decision.reason}"
                remedy = f"Open it to the callers of {request.service.name}, too:\n{rule_text(_opening(view, place))}"
                where = backend.where or SECTION
                yield Diagnostic("MSH539", where, backend.destination.label, message, remedy=remedy, severity="warning")


def _denied(view: View, call: Call, caller: _Caller, request: AccessRequest, decision: Decision) -> Diagnostic:
    counted = decision.allowed
    note = f" ({call.note})" if call.note else ""
    verb = "would be denied if that were enforced" if counted else "is denied"
    message = f"{_call_text(caller, request)}{note} {verb}: {decision.reason}"
    remedy = "Narrow that rule, if the application is to work."
    if decision.by in ("closed", "audit"):
        opening = _opening(view, request, call.paths if request.http else ())
        remedy = f"The smallest rule that opens it, under meshup:security.allow:\n{rule_text(opening)}"
    return Diagnostic(
        "MSH530",
        decision.where or SECTION,
        f"{caller.title} -> {request.service.name}:{request.port.number}",
        message,
        remedy=remedy,
        severity="info" if call.optional or counted else "warning",
    )


def _denied_outside(call: Call, caller: _Caller, request: AccessRequest, decision: Decision) -> Diagnostic:
    message = (
        f"The pods of {caller.title} have no sidecar, so they call {call.service}:{call.port} without an identity: "
        f"{decision.reason}"
    )
    remedy = "Put them into the mesh, or open the port to them by an exception with mode permissive and a cidr."
    value = f"{caller.title} -> {request.service.name}:{request.port.number}"
    return Diagnostic("MSH538", decision.where or SECTION, value, message, remedy=remedy, severity="warning")


def _call_text(caller: _Caller, request: AccessRequest) -> str:
    what = f"{request.verb} {request.path} of " if request.http else ""
    return f"{what}{request.service.name}:{request.port.number} by {caller.title}"


def _opening(view: View, request: AccessRequest, paths: tuple[str | Mapping[str, str], ...] = ()) -> Mapping[str, Any]:
    """Return the smallest rule that opens a request, and all that the same call asks for."""
    made = smallest_rule(request, view.world)
    for rule in made.values():
        for operation in rule[0].get("to", ()):
            if paths and "paths" in operation:
                operation["paths"] = [one if isinstance(one, str) else dict(one) for one in paths]
    return made


def rule_text(rule: Mapping[str, Any]) -> str:
    """Return a value of `allow` as YAML to paste."""
    return yaml.safe_dump(dict(rule), sort_keys=False, default_flow_style=None).rstrip()


def _witnesses(call: Call) -> list[str]:
    """Return paths that stand for all that a call asks for."""
    if not call.method:
        return ["/"]
    found = [witness for path in call.paths for witness in _samples(path_pattern(path))]
    return list(dict.fromkeys([call.example.partition("?")[0], *found]))


def _samples(pattern: PathPattern) -> list[str]:
    base = "/" + "/".join(_ANY_SEGMENT if part is None else part for part in pattern.segments)
    return [base, f"{base.rstrip('/')}/{_ANY_SEGMENT}"] if pattern.open else [base]


Reached = tuple[AccessRequest, "Backend | Mirror | None"]


def _reached(view: View, request: AccessRequest, caller: _Caller) -> list[Reached]:
    """Return what becomes of a request by the routes of its Service, with the backend that each goes to."""
    plan = next(
        (plan for plan in view.routes_of(request.service) if plan.route.port.number == request.port.number), None
    )
    if plan is None or not plan.route.rules or not request.http or caller.outside:
        return [(request, None)]
    users = view.users.get(caller.account, [])
    sent = replace(
        request_from(request.path, request.verb),
        source=users[0].labels if users else (),
        source_namespace=caller.account.namespace,
    )
    try:
        rule = evaluate(plan, sent).rule
    except patterns.TooMuchWork:
        return [(request, None)]
    if rule is None or rule.redirect:
        return []
    return [(_sent_on(request, rule, one.destination), one) for one in _targets(rule)]


def _targets(rule: RouteRule) -> list[Backend | Mirror]:
    return [*rule.backends, *rule.mirrors]


def _sent_on(request: AccessRequest, rule: RouteRule, destination: Destination) -> AccessRequest:
    """Return a request as it comes to a backend of a rule."""
    path, host = request.path, request.called
    if rule.rewrite:
        host = rule.rewrite.host or host
        path = _rewritten(rule, rule.rewrite, path)
    return replace(request, service=destination.service, port=destination.port, path=path, host=host)


def _rewritten(rule: RouteRule, rewrite: Rewrite, path: str) -> str:
    if rewrite.path:
        return rewrite.path
    if not rewrite.prefix:
        return path
    matched = path_of(rule.matches[0] if rule.matches else Match()).value.rstrip("/")
    return (rewrite.prefix.rstrip("/") + path.removeprefix(matched)) or "/"


def _check_exposures(view: View) -> Iterator[Diagnostic]:
    """Report Services that a gateway opens and the policy closes to it, where the calls of users are not known."""
    known = {(call.namespace, call.service) for call in view.world.calls if call.caller is None}
    for plan in view.routes:
        route = plan.route
        if (route.service.namespace, route.service.name) in known:
            continue
        account = view.world.gateways.get(route.exposure.gateway.name) if route.exposure else None
        if route.exposure is None or account is None or not view.closes(route.service):
            continue
        title = f"gateway {route.exposure.gateway.name}"
        if any(part.source.gateway or _admits(view, part.source, account) for part in _allowed(view, route.service)):
            continue
        request = AccessRequest(route.service, route.port, account)
        decision = decide(view.policy, view.world, request)
        if decision.allowed or decision.by != "closed":
            continue
        message = (
            f"Callers outside come to {route.service.name} by the {title}, which no rule admits. {decision.reason}"
        )
        opening = {route.service.name: [{"from": [{"gateway": route.exposure.gateway.name}]}]}
        remedy = f"The smallest rule that opens it, under meshup:security.allow:\n{rule_text(opening)}"
        where = decision.where or SECTION
        yield Diagnostic("MSH530", where, title, message, remedy=remedy, severity="warning")


def _allowed(view: View, service: Service) -> list[Part]:
    """Return the parts of the rules that open a Service."""
    return list(parts(view.opening_rules(service)))


def _admits(view: View, source: Source, account: Account) -> bool:
    """Return True if a source takes an account, from some address at least."""
    identity = source.identity
    if identity is None or identity.kind == "mesh":
        return True
    if not view.is_ours(identity.trust_domain):
        return False
    return identity.namespace in ("", account.namespace) and identity.account in ("", account.name)


def _check_unused(view: View) -> Iterator[Diagnostic]:
    """Report what rules open and no known call asks for, at Services whose callers are known."""
    for rule in view.policy.rules:
        calls = [c for c in view.world.calls if (c.service, c.namespace) == (rule.service.name, rule.service.namespace)]
        if rule.effect != "allow" or rule.audit or not calls:
            continue
        routed = view.routes_of(rule.service)
        made = [(call, request) for call in calls for request in _requests(view, call, rule.service)]
        for source in rule.sources:
            identity = source.identity
            if identity is None or identity.kind != "account":
                continue
            account = Account(identity.namespace, identity.account)
            from_outside = bool(source.gateway) or account in view.world.gateways.values()
            if from_outside and any(plan.route.exposure for plan in routed):
                continue
            mine = [
                request for call, request in made if (call.caller is None if from_outside else call.caller == account)
            ]
            yield from _unused_by(rule, source, mine)


def _requests(view: View, call: Call, service: Service) -> list[AccessRequest]:
    port = view.world.port_of(service, call.port)
    if port is None:
        return []
    request = AccessRequest(service, port, call.caller, http=bool(call.method), method=call.method or "GET")
    return [replace(request, path=path) for path in _witnesses(call)]


def _unused_by(rule: Rule, source: Source, made: list[AccessRequest]) -> Iterator[Diagnostic]:
    unused = [
        operation
        for operation in rule.operations or (EVERYTHING,)
        if not any(operation_takes(operation, request) for request in made)
    ]
    if len(unused) == len(rule.operations or (EVERYTHING,)):
        message = f"No call by {source.title or 'this caller'} to {rule.service.name} is known that needs the rule."
        yield Diagnostic("MSH531", source_where(rule, source), source.title or None, message, severity="info")
        return
    for operation in unused:
        message = f"No call by {source.title or 'this caller'} to {rule.service.name} is known that asks for this."
        yield Diagnostic("MSH531", operation.where or rule_where(rule), source.title or None, message, severity="info")


def _check_callers_outside(view: View) -> Iterator[Diagnostic]:
    """Report rules that name accounts whose pods have no sidecar, and so never show them."""
    for rule in view.policy.rules:
        for source in rule.sources:
            identity = source.identity
            if identity is None or identity.kind != "account" or source.gateway:
                continue
            account = Account(identity.namespace, identity.account)
            if view.is_outside(account) and view.is_ours(identity.trust_domain):
                names = ", ".join(sorted({f"{one.kind} {one.name}" for one in view.users.get(account, [])}))
                message = f"The pods of {names} have no sidecar, so they never show the account '{account}'."
                remedy = "Put them into the mesh and restart them, or name them by cidr at a port with mode permissive."
                where = source_where(rule, source)
                yield Diagnostic("MSH538", where, str(account), message, remedy=remedy, severity="warning")
    for service in view.guarded_services:
        outside = sorted({f"{one.kind} {one.name}" for one in view.behind(service) if not one.meshed})
        if outside:
            rules = view.rules_of(service)
            where = rule_where(rules[0]) if rules else SECTION
            message = f"{', '.join(outside)} of {service.name} have no sidecar: nothing enforces the policy there."
            remedy = "Put the pods into the mesh and restart them."
            yield Diagnostic("MSH538", where, service.name, message, remedy=remedy, severity="warning")


def _check_targets(view: View) -> Iterator[Diagnostic]:
    """Report backends in other Services which refuse callers that the Service of the route admits."""
    for plan in view.routes:
        route = plan.route
        for rule in route.rules:
            for backend in _targets(rule):
                other = backend.destination.service
                if other.host == route.service.host or not view.closes(other):
                    continue
                refused = _refused(view, route, rule, backend)
                if not refused:
                    continue
                listed = ", ".join(dict.fromkeys(part.source.title or "callers" for part in refused))
                message = (
                    f"'{route.key}' sends requests to {other.name}:{backend.destination.port.number}, whose rules do "
                    f"not admit all that {route.service.name} admits: {listed}."
                )
                remedy = f"Admit them at {other.name} too, for what the route sends there."
                where = backend.where or rule.where
                yield Diagnostic("MSH539", where, backend.destination.label, message, remedy=remedy, severity="warning")


def _refused(view: View, route: Route, rule: RouteRule, backend: Backend | Mirror) -> list[Part]:
    """Return what the rules of a route's Service admit, and those of a backend do not."""
    admitted = _allowed(view, backend.destination.service)
    wanted = [
        replace(part, operation=sent)
        for part in _allowed(view, route.service)
        for match in rule.matches or (Match(),)
        for sent in _narrowed(part.operation, match, route, rule, backend.destination)
    ]
    domain = view.world.trust_domain
    return [one for one in wanted if not any(part_covers(other, one, domain) for other in admitted)]


def _narrowed(
    operation: Operation, match: Match, route: Route, rule: RouteRule, destination: Destination
) -> Iterator[Operation]:
    """Yield what an operation sends to a backend by a match of a rule: one method and one path each."""
    if operation.port and operation.port.container != route.port.container:
        return
    condition = path_of(match)
    by_match = _as_pattern(condition)
    method = "POST" if match.grpc_service else match.method
    methods = [one for one in operation.methods if not method or one == method] if operation.methods else [method]
    paths: list[PathPattern | None] = [*operation.paths]
    if not paths:
        paths = [by_match]
    elif by_match is not None:
        paths = [met for path in operation.paths if (met := path.intersection(by_match))]
    rewrite = rule.rewrite
    if rewrite and (rewrite.path or rewrite.prefix):
        paths = [exact(rewrite.path) if rewrite.path else prefix(rewrite.prefix)] if paths else []
    hosts = (rewrite.host,) if rewrite and rewrite.host and operation.hosts else operation.hosts
    for one in methods:
        for path in paths:
            yield replace(
                operation,
                port=destination.port,
                methods=(one,) if one else (),
                paths=(path,) if path else (),
                hosts=hosts,
            )


def _as_pattern(condition: TextMatch) -> PathPattern | None:
    """Return the paths of a condition; None for every path, and where they are not known to be fewer."""
    if condition.kind == "exact":
        return exact(condition.value)
    return prefix(condition.value) if condition.kind == "prefix" and condition.value != "/" else None


def _check_versions(view: View) -> Iterator[Diagnostic]:
    """Report rules that admit the account of one version of a Service and not that of another."""
    for service in view.world.services:
        accounts = list(dict.fromkeys(one.identity for one in view.behind(service)))
        if not accounts[1:]:
            continue  # One account is that of all versions.
        for rule in view.policy.rules:
            if rule.effect != "allow" or rule.audit:
                continue
            admitted = [one for one in accounts if any(_is_account(source, one) for source in rule.sources)]
            others = [one for one in accounts if one not in admitted] if admitted else []
            open_to = _allowed(view, rule.service)
            missing = [
                one
                for one in others
                if not any(_admits(view, p.source, one) and _meets(p.operation, rule) for p in open_to)
            ]
            if missing:
                pods = ", ".join(one.name for one in view.behind(service) if one.identity in missing)
                message = (
                    f"The pods of {service.name} run under several accounts, and the rule admits "
                    f"{', '.join(map(str, admitted))} only, not {', '.join(map(str, missing))} ({pods})."
                )
                yield Diagnostic("MSH539", rule_where(rule), service.name, message, severity="warning")


def _is_account(source: Source, account: Account) -> bool:
    identity = source.identity
    return bool(
        identity
        and identity.kind == "account"
        and (identity.namespace, identity.account) == (account.namespace, account.name)
    )


def _meets(operation: Operation, rule: Rule) -> bool:
    return any(may_meet(operation, own) for own in rule.operations or (EVERYTHING,))
