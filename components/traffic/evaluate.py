"""Evaluate which rule handles a request and why, on the mesh of the compiled route. Used by `meshup
explain`.

Interface::

    evaluate(plan, request, proxy) -> Decision        # plan: one of Compilation.planned
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from . import patterns
from .durations import duration_text
from .manifests import cookie_pattern, match_text, written_as
from .model import Match, Redirect, Request, Route, Rule, TextMatch, TextMatchKind
from .overlap import Named, method_of, path_matches, path_of, text_matches
from .precedence import atoms, ranked
from .proxies import Proxy
from .targets import Atom, CallReading, Planned, Target


@dataclass(frozen=True, slots=True)
class Decision:
    """Result of evaluating a request.

    Attributes:
        rule: The matching rule; None for a 404 response.
        reason: Why this rule matches, in words.
        shares: Name of each backend and its share in percent.
        policies: The policies that apply, one phrase each.
        passed: The rules tried before, each with the failed condition.
        elsewhere: Variants in which another rule matches (another version of the proxy, or HTTP/2), and the
            name of that rule, "" for none.
    """

    rule: Rule | None
    reason: str
    shares: tuple[tuple[str, int], ...] = ()
    policies: tuple[str, ...] = ()
    passed: tuple[tuple[str, str], ...] = ()
    elsewhere: tuple[tuple[str, str], ...] = ()


def request_from(
    target: str, method: str = "GET", headers: Sequence[tuple[str, str]] = (), query: Sequence[tuple[str, str]] = ()
) -> Request:
    """Return the request for command-line input: the path may have a query, header names any case."""
    path, _, text = target.partition("?")
    parsed: list[tuple[str, str]] = []
    for part in text.split("&") if text else []:
        name, _, value = part.partition("=")
        parsed.append((name, value))
    lower = tuple((name.lower(), value) for name, value in headers)
    return Request(path or "/", method.upper(), lower, (*parsed, *query))


def evaluate(plan: Planned, request: Request, proxy: Proxy | None = None) -> Decision:
    """Return which rule of a compiled route handles a request on its mesh.

    Args:
        plan: The route.
        request: The request, over HTTP/1.1.
        proxy: How the mesh's proxies interpret requests; by default those of the pinned version.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    with patterns.counted():
        return _evaluate(plan, request, proxy or plan.target.plane.pinned)


def _evaluate(plan: Planned, request: Request, reading: Proxy) -> Decision:
    decision = _decide(plan, request, reading)
    others = [(other.title, other, request) for other in plan.target.plane.known_proxies() if other is not reading]
    cookie_headers = [value for name, value in request.headers if name == "cookie"]
    if reading.joins_http2_cookies and len(cookie_headers) > 1:
        rest = tuple(pair for pair in request.headers if pair[0] != "cookie")
        joined = replace(request, headers=(*rest, ("cookie", "; ".join(cookie_headers))))
        others.append((f"HTTP/2, where {reading.name} joins the Cookie headers", reading, joined))
    elsewhere: list[tuple[str, str]] = []
    for title, other, variant in others:
        rule = _decide(plan, variant, other).rule
        if rule is not decision.rule:
            elsewhere.append((title, rule.name if rule else ""))
    return replace(decision, elsewhere=tuple(elsewhere))


def _decide(plan: Planned, request: Request, proxy: Proxy) -> Decision:
    route, target = plan.route, plan.target
    normalised = replace(request, path=proxy.path(request.path))
    order = ranked(atoms(route, target), route, target, normalised.path)
    named = (*normalised.headers, *normalised.query, *normalised.source)
    length = len(normalised.path) + sum(len(name) + len(value) for name, value in named)
    patterns.work().take(len(order) * (1 + length // 64))
    reading = target.call_reading(route)
    passed: dict[str, str] = {}
    for position, atom in enumerate(order):
        failed = _failed_condition(atom.match, normalised, target, reading, proxy)
        if failed:
            passed.setdefault(atom.rule.name, failed)
            continue
        rest = order[position + 1 :]
        also = [
            other.rule.name for other in rest if not _failed_condition(other.match, normalised, target, reading, proxy)
        ]
        what = "gRPC call" if reading and reading.exclusive else "request"
        why = "is preferred by the mesh to" if target.rankings(route) else "stands before"
        reason = _reason(atom, [name for name in also if name != atom.rule.name], what, why)
        if normalised.path != request.path:
            reason += f" {proxy.name} reads the path as {normalised.path}."
        shares = tuple((backend.destination.label_for(route.service), backend.weight) for backend in atom.rule.backends)
        passed.pop(atom.rule.name, None)
        return Decision(atom.rule, reason, shares, policies(route, atom.rule), tuple(passed.items()))
    return Decision(None, "No rule matches: the answer is 404.", passed=tuple(passed.items()))


def _reason(atom: Atom, also: Sequence[str], what: str, why: str) -> str:
    names = ", ".join(f"'{name}'" for name in dict.fromkeys(also))
    condition = match_text((atom.match,))
    text = f"It takes every {what}." if condition == "all" else f"The request meets {condition}."
    return f"{text} It {why} {names}, which would match too." if also else text


def _failed_condition(match: Match, request: Request, target: Target, reading: CallReading | None, proxy: Proxy) -> str:
    """Return the first condition that a request does not meet, in words, or ""."""
    is_call = reading if match.grpc_service or (reading and reading.exclusive) else None
    if failed := _failed_call(match, request, is_call) if is_call else _failed_path(match, request):
        return failed
    headers = proxy.headers(request.headers)
    parameters = proxy.parameters(request.query)
    failed = (
        _failed_by_name("header", match.headers, headers, target.header_kinds, proxy.header_text)
        or _failed_cookies(match, headers, target.header_kinds, proxy)
        or _failed_by_name("query", match.query, parameters, target.query_kinds, str)
    )
    if failed:
        return failed
    source = dict(request.source)
    for key, value in match.source:
        if source.get(key) != value:
            return f"source is not {key}={value}"
    if match.source_namespace and match.source_namespace != request.source_namespace:
        return f"source namespace is not {match.source_namespace}"
    return ""


def _failed_path(match: Match, request: Request) -> str:
    path = path_of(match)
    if not path_matches(path, request.path):
        return f"path is not {path.kind} {path.value}"
    method = method_of(match)
    return f"method is not {method}" if method and method != request.method else ""


def _failed_call(match: Match, request: Request, reading: CallReading) -> str:
    """Return the part of a gRPC call that a request lacks, in words, or ""."""
    if reading.post_only and request.method != "POST":
        return "method is not POST"
    call = request.path.split("/")[1:]
    if len(call) < 2:  # noqa: PLR2004 -- service and method
        return "path is not that of a gRPC call"
    if match.grpc_service and call[0] != match.grpc_service:
        return f"gRPC service is not {match.grpc_service}"
    method = call[1] if reading.exclusive else "/".join(call[1:])
    return f"gRPC method is not {match.grpc_method}" if match.grpc_method and method != match.grpc_method else ""


def _failed_by_name(
    what: str,
    conditions: Named,
    values: dict[str, list[str]],
    kinds: tuple[TextMatchKind, ...],
    read: Callable[[str], str | None],
) -> str:
    for name, condition in conditions:
        if name not in values:
            return f"{what} {name} is not there"
        compared = written_as(condition, kinds)
        if not any(_meets(compared, value, read) for value in values[name]):
            return f"{what} {name} is not {condition.kind} {condition.value}".rstrip()
    return ""


def _meets(condition: TextMatch, value: str, read: Callable[[str], str | None]) -> bool:
    if condition.kind != "regex":
        return text_matches(condition, value)
    text = read(value)
    return text is not None and patterns.matches(condition.value, text)


def _failed_cookies(match: Match, headers: dict[str, list[str]], kinds: tuple[TextMatchKind, ...], proxy: Proxy) -> str:
    """Return the failed cookie condition. One Cookie header must hold all cookies, as browsers send it."""
    if not match.cookies:
        return ""
    values = headers.get("cookie", [])

    def met(cookies: Named) -> bool:
        condition = written_as(TextMatch("regex", cookie_pattern(cookies)), kinds)
        return any(_meets(condition, value, proxy.header_text) for value in values)

    if met(match.cookies):
        return ""
    for name, condition in match.cookies:
        if not met(((name, condition),)):
            is_present = met(((name, TextMatch("present")),))
            return (
                f"cookie {name} is not {condition.kind} {condition.value}"
                if is_present
                else f"cookie {name} is not there"
            )
    return f"cookies {', '.join(name for name, _ in match.cookies)} are not in one Cookie header"


def policies(route: Route, rule: Rule) -> tuple[str, ...]:
    """Return the policies that apply to the requests of a rule, one phrase each."""
    phrases: list[str] = [*_rule_policies(rule, route)]
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
        phrases.append(f"circuit breaker: {', '.join(limits)}")
    if route.load_balancing:
        phrases.append(f"load balancing {route.load_balancing}")
    if route.session_affinity:
        phrases.append(f"session affinity by {route.session_affinity.kind} {route.session_affinity.name}".rstrip())
    if route.rate_limit:
        limit = route.rate_limit
        phrases.append(f"rate limit {limit.requests} per {duration_text(limit.per)} and pod")
    if route.retry_budget:
        phrases.append(f"retry budget {route.retry_budget.percent:g}%")
    if route.objective and route.objective.success:
        phrases.append(f"objective: {route.objective.success:g}% succeed")
    if route.objective and route.objective.latency:
        percent, bound = route.objective.latency
        phrases.append(f"objective: {percent:g}% within {duration_text(bound)}")
    return tuple(phrases)


def _rule_policies(rule: Rule, route: Route) -> list[str]:
    phrases: list[str] = []
    if rule.timeout and rule.timeout.request is not None:
        phrases.append(f"timeout {duration_text(rule.timeout.request)}")
    if rule.timeout and rule.timeout.per_try is not None:
        phrases.append(f"timeout per attempt {duration_text(rule.timeout.per_try)}")
    if rule.retry:
        attempts = "as the budget allows" if rule.retry.attempts is None else str(rule.retry.attempts)
        phrases.append(f"retries {attempts}" + (f" on {', '.join(rule.retried)}" if rule.retried else ""))
    if rule.fault and rule.fault.delay:
        phrases.append(f"delay {duration_text(rule.fault.delay.duration)} for {rule.fault.delay.percent:g}%")
    if rule.fault and rule.fault.abort:
        phrases.append(f"abort {rule.fault.abort.status} for {rule.fault.abort.percent:g}%")
    phrases.extend(
        f"mirror {mirror.percent:g}% to {mirror.destination.label_for(route.service)}" for mirror in rule.mirrors
    )
    if rule.headers:
        phrases.append("headers changed")
    if rule.rewrite:
        parts = (rule.rewrite.host, rule.rewrite.path)
        if any(parts):
            phrases.append(f"rewritten to {' '.join(part for part in parts if part)}")
        if rule.rewrite.prefix:
            # The checks guarantee at most one match, on a prefix.
            replaced = path_of(rule.matches[0] if rule.matches else Match()).value
            phrases.append(f"prefix {replaced} rewritten to {rule.rewrite.prefix}")
    if rule.redirect:
        phrases.append(f"redirect {rule.redirect.status} to {_redirect_text(rule.redirect, route.port.number)}")
    return phrases


def _redirect_text(redirect: Redirect, called: int) -> str:
    """Return the new address without the parts that stay the same; a host always with its port."""
    port = redirect.port_for(called)
    shown = port != redirect.scheme_port if redirect.host or redirect.scheme else port != called
    scheme = f"{redirect.scheme}://" if redirect.scheme else ""
    host = redirect.host or ("HOST" if scheme else "")
    return f"{scheme}{host}{f':{port}' if shown else ''}{redirect.path}" or "the same address"
