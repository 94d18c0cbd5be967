"""What a request would meet: which rule takes it and why, on the mesh that the route is compiled for. Used by `meshup
explain`.

Interface::

    evaluate(plan, request) -> Decision        # plan: one of Compilation.planned
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote_plus

from components.routing.capability import SERVICE_PROFILE, VIRTUAL_SERVICE, Target
from components.routing.compile import Planned
from components.routing.manifests import match_text
from components.routing.model import Match, Pairs, Redirect, Route, Rule, TextMatch
from components.routing.overlap import canonical_path, method_of, path_matches, path_of, text_matches
from components.routing.precedence import Atom, atoms, ranked
from components.routing.reader import duration_text


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a client sends it.

    Attributes:
        path: The path without the query, as it is sent.
        method: HTTP method.
        headers: Names in lower case; the cookies are in `cookie`.
        query: Parameters, as they are sent.
        source: Labels of the calling workload.
        source_namespace: Its namespace.
    """

    path: str = "/"
    method: str = "GET"
    headers: Pairs = ()
    query: Pairs = ()
    source: Pairs = ()
    source_namespace: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a request.

    Attributes:
        rule: The rule that takes it; None if no rule does, which is answered with 404.
        reason: Why this rule, in words.
        shares: Name of each backend and its share in percent.
        policies: The policies that hold for it, one phrase each.
        passed: The rules that were tried before, with the condition that failed.
    """

    rule: Rule | None
    reason: str
    shares: tuple[tuple[str, int], ...] = ()
    policies: tuple[str, ...] = ()
    passed: tuple[tuple[str, str], ...] = ()


def request_from(
    target: str, method: str = "GET", headers: Sequence[tuple[str, str]] = (), query: Sequence[tuple[str, str]] = ()
) -> Request:
    """A request from what a user types: the path may carry a query, header names any case."""
    path, _, text = target.partition("?")
    parsed: list[tuple[str, str]] = []
    for part in text.split("&") if text else []:
        name, _, value = part.partition("=")
        parsed.append((name, value))
    lower = tuple((name.lower(), value) for name, value in headers)
    return Request(path or "/", method.upper(), lower, (*parsed, *query))


def evaluate(plan: Planned, request: Request) -> Decision:
    """Which rule of a compiled route takes a request, on its mesh."""
    route = plan.route
    asked = request
    if plan.target.mesh == "istio":
        request = replace(request, path=canonical_path(request.path))
    order = ranked(atoms(route, plan.target), route, plan.target, request.path)
    passed: dict[str, str] = {}
    for position, atom in enumerate(order):
        failed = _failed(atom.match, request, plan.target)
        if failed:
            passed.setdefault(atom.rule.name, failed)
            continue
        reason = _reason(plan, atom, order[position + 1 :], request)
        if request.path != asked.path:
            reason += f" Envoy reads the path as {request.path}."
        shares = tuple((backend.destination.label_for(route.service), backend.weight) for backend in atom.rule.backends)
        passed.pop(atom.rule.name, None)
        return Decision(atom.rule, reason, shares, policies(route, atom.rule), tuple(passed.items()))
    return Decision(None, "No rule matches: the answer is 404.", passed=tuple(passed.items()))


def _reason(plan: Planned, atom: Atom, rest: Sequence[Atom], request: Request) -> str:
    also = [
        other.rule.name
        for other in rest
        if other.rule is not atom.rule and not _failed(other.match, request, plan.target)
    ]
    names = ", ".join(f"'{name}'" for name in dict.fromkeys(also))
    condition = match_text((atom.match,))
    text = "It takes every request." if condition == "all" else f"The request meets {condition}."
    if not also:
        return text
    ordered = plan.target in (VIRTUAL_SERVICE, SERVICE_PROFILE)
    why = "stands before" if ordered else "is preferred by the mesh to"
    return f"{text} It {why} {names}, which would match too."


def _failed(match: Match, request: Request, target: Target) -> str:
    """The first condition that a request does not meet, in words, or ""."""
    path = path_of(match)
    if not path_matches(path, request.path):
        return f"path is not {path.kind} {path.value}"
    method = method_of(match)
    if method and method != request.method:
        return f"method is not {method}"
    # Of a header that stands twice, any value may meet a condition (seen in Envoy 1.40).
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name, []).append(value)
    for what, conditions, values in (
        ("header", match.headers, headers),
        ("cookie", match.cookies, cookies_of("; ".join(headers.get("cookie", [])))),
        ("query", match.query, _parameters(request.query, target)),
    ):
        failed = _named(what, conditions, values)
        if failed:
            return failed
    source = dict(request.source)
    for key, value in match.source:
        if source.get(key) != value:
            return f"source is not {key}={value}"
    if match.source_namespace and match.source_namespace != request.source_namespace:
        return f"source namespace is not {match.source_namespace}"
    return ""


def _parameters(query: Pairs, target: Target) -> dict[str, list[str]]:
    """The parameters as the mesh compares them.

    Linkerd takes any of a name, decoded (linkerd/http/route, match/query_param.rs), Envoy the first, as it is sent.
    """
    found: dict[str, list[str]] = {}
    if target.mesh == "linkerd":
        for name, value in query:
            found.setdefault(unquote_plus(name), []).append(unquote_plus(value))
        return found
    return {name: [value] for name, value in reversed(query)}


def _named(what: str, conditions: tuple[tuple[str, TextMatch], ...], values: dict[str, list[str]]) -> str:
    for name, condition in conditions:
        if name not in values:
            return f"{what} {name} is not there"
        if not any(text_matches(condition, value) for value in values[name]):
            return f"{what} {name} is not {condition.kind} {condition.value}"
    return ""


def cookies_of(header: str) -> dict[str, list[str]]:
    """The cookies of a Cookie header. Of a name that stands several times, any value may meet a condition."""
    found: dict[str, list[str]] = {}
    for part in header.split(";"):
        name, sign, value = part.strip().partition("=")
        if sign:
            found.setdefault(name, []).append(value)
    return found


def policies(route: Route, rule: Rule) -> tuple[str, ...]:
    """The policies that hold for a request which a rule takes, one phrase each."""
    found: list[str] = [*_rule_policies(rule, route)]
    breaker = route.circuit_breaker
    if breaker:
        limits = [
            f"{name.replace('_', ' ')} {value}"
            for name in (
                "consecutive_errors",
                "max_ejection_percent",
                "max_connections",
                "max_pending_requests",
                "max_requests",
                "max_requests_per_connection",
            )
            if (value := getattr(breaker, name)) is not None
        ]
        limits += [
            f"{name.replace('_', ' ')} {duration_text(value)}"
            for name in ("ejection", "max_ejection", "interval")
            if (value := getattr(breaker, name)) is not None
        ]
        found.append(f"circuit breaker: {', '.join(limits)}")
    if route.load_balancing:
        found.append(f"load balancing {route.load_balancing}")
    if route.session_affinity:
        found.append(f"session affinity by {route.session_affinity.kind} {route.session_affinity.name}".rstrip())
    if route.rate_limit:
        limit = route.rate_limit
        found.append(f"rate limit {limit.requests} per {duration_text(limit.per)} and pod")
    if route.retry_budget:
        found.append(f"retry budget {route.retry_budget.percent:g}%")
    return tuple(found)


def _rule_policies(rule: Rule, route: Route) -> list[str]:
    found: list[str] = []
    if rule.timeout and rule.timeout.request is not None:
        found.append(f"timeout {duration_text(rule.timeout.request)}")
    if rule.timeout and rule.timeout.per_try is not None:
        found.append(f"timeout per attempt {duration_text(rule.timeout.per_try)}")
    if rule.retry:
        attempts = "as the budget allows" if rule.retry.attempts is None else str(rule.retry.attempts)
        found.append(f"retries {attempts}" + (f" on {', '.join(rule.retried)}" if rule.retried else ""))
    if rule.fault and rule.fault.delay:
        found.append(f"delay {duration_text(rule.fault.delay.duration)} for {rule.fault.delay.percent:g}%")
    if rule.fault and rule.fault.abort:
        found.append(f"abort {rule.fault.abort.status} for {rule.fault.abort.percent:g}%")
    found.extend(
        f"mirror {mirror.percent:g}% to {mirror.destination.label_for(route.service)}" for mirror in rule.mirrors
    )
    if rule.headers:
        found.append("headers changed")
    if rule.rewrite:
        parts = (rule.rewrite.host, rule.rewrite.path)
        if any(parts):
            found.append(f"rewritten to {' '.join(part for part in parts if part)}")
        if rule.rewrite.prefix:
            # The checks make sure that there is one match at most, and that it is on a prefix.
            replaced = path_of(rule.matches[0] if rule.matches else Match()).value
            found.append(f"prefix {replaced} rewritten to {rule.rewrite.prefix}")
    if rule.redirect:
        found.append(f"redirect {rule.redirect.status} to {_redirect_text(rule.redirect, route.port.number)}")
    return found


def _redirect_text(redirect: Redirect, called: int) -> str:
    """The new address as far as it differs from the one that was called; a host always with its port."""
    port = redirect.port_for(called)
    shown = port != redirect.scheme_port if redirect.host or redirect.scheme else port != called
    scheme = f"{redirect.scheme}://" if redirect.scheme else ""
    host = redirect.host or ("HOST" if scheme else "")
    return f"{scheme}{host}{f':{port}' if shown else ''}{redirect.path}" or "the same address"
