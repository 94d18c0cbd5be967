"""What each target can express: one matrix of features by targets, as data.

Refusals, the table in docs/traffic.md and a test per cell are all derived from `MATRIX`. A cell is "" for yes, or the
reason why not. Sources: Istio 1.30.3, Gateway API v1.5.1 (standard channel), Linkerd edge-26.8.3, as gathered in the
project's reference documents on traffic management and on what Linkerd was observed to do; what was observed holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from .model import SCHEME_PORTS, Api, Match, Mesh, Redirect, Route, Rule, TextMatch, TextMatchKind

TargetName = Literal["virtual-service", "istio-route", "linkerd-route", "service-profile"]
EXACT_OR_REGEX: tuple[TextMatchKind, ...] = ("exact", "regex")


@dataclass(frozen=True, slots=True)
class Target:
    """An API on a mesh that routes can be compiled to.

    Attributes:
        name: Key of the matrix.
        title: For people.
        mesh: The mesh that reads it.
        api: The value of `api` in the configuration that asks for it.
        api_version: apiVersion of the object that carries the rules.
        limits: True where the Gateway API's limits on rules and matches hold.
        header_kinds: The kinds of comparison that it has for headers; others are written as regular expressions.
        query_kinds: The same for query parameters.
    """

    name: TargetName
    title: str
    mesh: Mesh
    api: Api
    api_version: str
    limits: bool = False
    header_kinds: tuple[TextMatchKind, ...] = EXACT_OR_REGEX
    query_kinds: tuple[TextMatchKind, ...] = EXACT_OR_REGEX


VIRTUAL_SERVICE = Target(
    "virtual-service",
    "Istio VirtualService",
    "istio",
    "istio",
    "networking.istio.io/v1",
    header_kinds=("exact", "prefix", "regex", "present"),
)
ISTIO_ROUTE = Target(
    "istio-route", "Istio HTTPRoute", "istio", "gateway-api", "gateway.networking.k8s.io/v1", limits=True
)
LINKERD_ROUTE = Target(
    "linkerd-route", "Linkerd HTTPRoute", "linkerd", "gateway-api", "gateway.networking.k8s.io/v1", limits=True
)
SERVICE_PROFILE = Target(
    "service-profile", "Linkerd ServiceProfile", "linkerd", "service-profile", "linkerd.io/v1alpha2"
)
TARGETS: tuple[Target, ...] = (VIRTUAL_SERVICE, ISTIO_ROUTE, LINKERD_ROUTE, SERVICE_PROFILE)
"""In the order in which `api: auto` tries those of a mesh."""

HTTP_RETRY = ("5xx", "gateway-error")
CONNECTION_RETRY = ("connect-failure", "refused-stream", "reset")
GRPC_RETRY = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
CONSERVATIVE_REDIRECTS = (301, 302)
SECOND = 1000

Uses = Callable[[Route], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that a route may ask for.

    Attributes:
        name: Key of the matrix.
        title: For people.
        uses: Yields the configuration paths at which a route asks for it.
        example: A route that uses it, as raw configuration of the Service `reviews` (versions v1, v2).
    """

    name: str
    title: str
    uses: Uses
    example: dict[str, object]


def _each(test: Callable[[Rule], object], where: Callable[[Rule], str]) -> Uses:
    def uses(route: Route) -> Iterator[str]:
        return (where(rule) for rule in route.rules if test(rule))

    return uses


def _match(test: Callable[[Match], object]) -> Uses:
    def uses(route: Route) -> Iterator[str]:
        return (match.where for rule in route.rules for match in rule.matches if test(match))

    return uses


def _path(kind: str) -> Uses:
    return _match(lambda match: match.path is not None and match.path.kind == kind)


def _policy(test: Callable[[Route], object], key: str) -> Uses:
    def uses(route: Route) -> Iterator[str]:
        if test(route):
            yield f"{route.where}.{key}"

    return uses


def _retry(test: Callable[[Rule], object]) -> Uses:
    return _each(lambda rule: rule.retry and test(rule), lambda rule: rule.retry.where if rule.retry else rule.where)


def _retry_on(conditions: Iterable[str]) -> Uses:
    wanted = frozenset(conditions)
    return _retry(lambda rule: rule.retry and wanted.intersection(rule.retry.conditions))


def _fault(part: str) -> Uses:
    return _each(
        lambda rule: rule.fault and getattr(rule.fault, part),
        lambda rule: f"{rule.fault.where}.{part}" if rule.fault else rule.where,
    )


def _headers(side: str) -> Uses:
    return _each(
        lambda rule: rule.headers and not getattr(rule.headers, side).empty,
        lambda rule: f"{rule.headers.where}.{side}" if rule.headers else rule.where,
    )


def _rewrite(part: str) -> Uses:
    return _each(
        lambda rule: rule.rewrite and getattr(rule.rewrite, part),
        lambda rule: f"{rule.rewrite.where}.{part}" if rule.rewrite else rule.where,
    )


def _rewrites_every_path(rule: Rule) -> bool:
    """True if every path gets a prefix. The prefix '/' in place of '/' changes nothing."""
    paths = [match.path for match in rule.matches]
    return bool(rule.rewrite and rule.rewrite.prefix not in ("", "/")) and all(
        path in (None, TextMatch("prefix", "/")) for path in paths
    )


def _redirect(test: Callable[[Redirect, int], object]) -> Uses:
    """Redirects, each with the port of the Service, that meet a test."""

    def uses(route: Route) -> Iterator[str]:
        for rule in route.rules:
            if rule.redirect and test(rule.redirect, route.port.number):
                yield rule.redirect.where

    return uses


def _port_left_out(redirect: Redirect, called: int) -> bool:
    """True if the new address needs the port of its scheme in place of another one, at the host that was called.

    From port 80 to HTTPS, Envoy takes the port away by itself (observed).
    """
    wanted = redirect.port_for(called)
    return not redirect.host and wanted == redirect.scheme_port and called not in (wanted, SCHEME_PORTS["http"])


def _breaker(fields: Iterable[str], key: str) -> Uses:
    named = tuple(fields)
    return _policy(
        lambda route: route.circuit_breaker and any(getattr(route.circuit_breaker, name) is not None for name in named),
        f"circuitBreaker{key}",
    )


def _egress(protocols: tuple[str, ...]) -> Uses:
    def uses(route: Route) -> Iterator[str]:
        return (egress.where for egress in route.egress if egress.protocol in protocols)

    return uses


def _to_versions(route: Route) -> Iterator[str]:
    for rule in route.rules:
        for backend in rule.backends:
            if backend.destination.version or backend.destination.service.host != route.service.host:
                yield backend.where


def _rule(**keys: object) -> dict[str, object]:
    return {"rules": [{"backends": {"v1": 100}, **keys}]}


def _profile_rule(**keys: object) -> dict[str, object]:
    """Without backends: all that a ServiceProfile leaves to the Service."""
    return {"rules": [keys]}


FEATURES: tuple[Feature, ...] = (
    Feature("split", "Weighted backends (versions, other Services)", _to_versions, {"split": {"v1": 90, "v2": 10}}),
    Feature("path-exact", "Match: exact path", _path("exact"), _profile_rule(match={"path": {"exact": "/a"}})),
    Feature("path-prefix", "Match: path prefix", _path("prefix"), _profile_rule(match={"path": {"prefix": "/a"}})),
    Feature(
        "path-regex",
        "Match: path by regular expression",
        _path("regex"),
        _profile_rule(match={"path": {"regex": "/a/[0-9]+"}}),
    ),
    Feature("method", "Match: method", _match(lambda match: match.method), _profile_rule(match={"method": "GET"})),
    Feature("headers", "Match: headers", _match(lambda m: m.headers), _rule(match={"headers": {"x-group": "beta"}})),
    Feature("cookies", "Match: cookies", _match(lambda m: m.cookies), _rule(match={"cookies": {"group": "beta"}})),
    Feature("query", "Match: query parameters", _match(lambda m: m.query), _rule(match={"query": {"beta": "1"}})),
    Feature(
        "source",
        "Match: labels of the source workload",
        _match(lambda m: m.source),
        _rule(match={"source": {"a": "b"}}),
    ),
    Feature(
        "source-namespace",
        "Match: namespace of the source workload",
        _match(lambda m: m.source_namespace),
        _rule(match={"sourceNamespace": "shop"}),
    ),
    Feature(
        "grpc",
        "Match: gRPC service and method",
        _match(lambda m: m.grpc_service),
        _rule(match={"grpc": {"service": "shop.Cart", "method": "Add"}}),
    ),
    Feature(
        "timeout",
        "Request timeout",
        _each(lambda rule: rule.timeout and rule.timeout.request, lambda rule: f"{rule.where}.timeout"),
        _profile_rule(timeout="2s"),
    ),
    Feature(
        "timeout-per-try",
        "Timeout of each attempt",
        _each(lambda rule: rule.timeout and rule.timeout.per_try, lambda rule: f"{rule.where}.timeout.perTry"),
        _rule(timeout={"perTry": "500ms"}, retries=2),
    ),
    Feature("retries", "Retries: attempts", _retry(lambda rule: rule.retry and rule.retry.attempts), _rule(retries=2)),
    Feature(
        "retries-off",
        "Retries: none at all (attempts 0)",
        _retry(lambda rule: rule.retry and rule.retry.attempts == 0),
        _profile_rule(retries=0),
    ),
    Feature(
        "retries-by-budget",
        "Retries: as many as the budget allows (no attempts)",
        _retry(lambda rule: rule.retry and rule.retry.attempts is None),
        {"rules": [{"retries": {"conditions": ["5xx"]}}], "retryBudget": {"percent": 20}},
    ),
    Feature(
        "retry-status",
        "Retries: on chosen HTTP statuses",
        _retry(
            lambda rule: (
                rule.retry and any(c not in (*CONNECTION_RETRY, *GRPC_RETRY, "5xx") for c in rule.retry.conditions)
            )
        ),
        _rule(retries={"attempts": 2, "conditions": ["gateway-error", 429]}),
    ),
    Feature(
        "retry-connection",
        "Retries: on connection failures",
        _retry_on(CONNECTION_RETRY),
        _rule(retries={"attempts": 2, "conditions": ["connect-failure"]}),
    ),
    Feature(
        "retry-grpc",
        "Retries: on gRPC status",
        _retry_on(GRPC_RETRY),
        _rule(match={"grpc": {"service": "shop.Cart"}}, retries={"attempts": 2, "conditions": ["unavailable"]}),
    ),
    Feature(
        "retry-backoff",
        "Retries: back-off",
        _retry(lambda rule: rule.retry and rule.retry.backoff),
        _rule(retries={"attempts": 2, "backoff": "100ms"}),
    ),
    Feature(
        "fault-delay",
        "Fault: delay",
        _fault("delay"),
        _rule(fault={"delay": {"duration": "2s", "percent": 10}}),
    ),
    Feature("fault-abort", "Fault: abort", _fault("abort"), _rule(fault={"abort": {"status": 503, "percent": 10}})),
    Feature(
        "mirror",
        "Mirroring",
        _each(lambda rule: rule.mirrors, lambda rule: f"{rule.where}.mirror"),
        _rule(mirror={"version": "v2", "percent": 50}),
    ),
    Feature(
        "headers-request",
        "Change request headers",
        _headers("request"),
        _rule(headers={"request": {"set": {"x-a": "1"}, "add": {"x-b": "2"}, "remove": ["x-c"]}}),
    ),
    Feature(
        "headers-response",
        "Change response headers",
        _headers("response"),
        _rule(headers={"response": {"set": {"x-a": "1"}}}),
    ),
    Feature("rewrite-path", "Rewrite: whole path", _rewrite("path"), _rule(rewrite={"path": "/b"})),
    Feature(
        "rewrite-prefix",
        "Rewrite: path prefix",
        _rewrite("prefix"),
        _rule(match={"path": {"prefix": "/a"}}, rewrite={"prefix": "/b"}),
    ),
    Feature(
        "rewrite-root",
        "Rewrite: prefix of every path",
        _each(_rewrites_every_path, lambda rule: f"{rule.rewrite.where}.prefix" if rule.rewrite else rule.where),
        _rule(rewrite={"prefix": "/v2"}),
    ),
    Feature("rewrite-host", "Rewrite: host", _rewrite("host"), _rule(rewrite={"host": "example.com"})),
    Feature(
        "redirect",
        "Redirect",
        _each(lambda rule: rule.redirect, lambda rule: f"{rule.where}.redirect"),
        {"rules": [{"redirect": {"path": "/b"}, "match": {"path": "/a"}}]},
    ),
    Feature(
        "redirect-status",
        "Redirect: status 303, 307, 308",
        _each(
            lambda rule: rule.redirect and rule.redirect.status not in CONSERVATIVE_REDIRECTS,
            lambda rule: f"{rule.where}.redirect.status",
        ),
        {"rules": [{"redirect": {"path": "/b", "status": 308}, "match": {"path": "/a"}}]},
    ),
    Feature(
        "redirect-same-address",
        "Redirect: to the same address (nothing but a status)",
        _redirect(lambda redirect, called: not redirect.path and redirect.same_place(called)),
        {"rules": [{"redirect": {"status": 302}, "match": {"path": "/a"}}]},
    ),
    Feature(
        "redirect-scheme-port",
        "Redirect: to the port of the scheme (80, 443) at the same host",
        _redirect(_port_left_out),
        {"rules": [{"redirect": {"scheme": "https"}, "match": {"path": "/a"}}]},
    ),
    Feature(
        "circuit-breaker",
        "Circuit breaking: consecutive errors, ejection",
        _breaker(("consecutive_errors",), ""),
        {"split": {"v1": 100}, "circuitBreaker": {"consecutiveErrors": 5, "ejection": "10s"}},
    ),
    Feature(
        "breaker-max-ejection",
        "Circuit breaking: longest ejection",
        _breaker(("max_ejection",), ".maxEjection"),
        {"split": {"v1": 100}, "circuitBreaker": {"consecutiveErrors": 5, "maxEjection": "60s"}},
    ),
    Feature(
        "breaker-interval",
        "Circuit breaking: interval, share of endpoints",
        _breaker(("interval", "max_ejection_percent"), ""),
        {
            "split": {"v1": 100},
            "circuitBreaker": {"consecutiveErrors": 5, "interval": "5s", "maxEjectionPercent": 50},
        },
    ),
    Feature(
        "pool",
        "Limits of connections and requests",
        _breaker(
            ("max_connections", "max_pending_requests", "max_requests", "max_requests_per_connection"),
            "",
        ),
        {"split": {"v1": 100}, "circuitBreaker": {"maxConnections": 100, "maxPendingRequests": 10}},
    ),
    Feature(
        "load-balancing",
        "Load balancing policy",
        _policy(lambda route: route.load_balancing, "loadBalancing"),
        {"split": {"v1": 100}, "loadBalancing": "least-request"},
    ),
    Feature(
        "session-affinity",
        "Session affinity",
        _policy(lambda route: route.session_affinity, "sessionAffinity"),
        {"split": {"v1": 100}, "sessionAffinity": {"cookie": {"name": "session", "ttl": "1h"}}},
    ),
    Feature(
        "rate-limit",
        "Rate limit of each pod",
        _policy(lambda route: route.rate_limit, "rateLimit"),
        {"rateLimit": {"requests": 100}},
    ),
    Feature(
        "rate-limit-shape",
        "Rate limit: burst, or an interval that gives no whole number a second",
        _policy(
            lambda route: (
                route.rate_limit
                and (route.rate_limit.burst or route.rate_limit.requests * SECOND % route.rate_limit.per)
            ),
            "rateLimit",
        ),
        {"rateLimit": {"requests": 10, "per": "60s"}},
    ),
    Feature(
        "retry-budget",
        "Retry budget",
        _policy(lambda route: route.retry_budget, "retryBudget"),
        {"rules": [{"timeout": "2s"}], "retryBudget": {"percent": 20, "minRetries": 3}},
    ),
    Feature(
        "retry-budget-ttl",
        "Retry budget: time that it looks back",
        _policy(lambda route: route.retry_budget and route.retry_budget.ttl, "retryBudget.ttl"),
        {"rules": [{"retries": {"conditions": ["5xx"]}}], "retryBudget": {"percent": 20, "ttl": "10s"}},
    ),
    Feature(
        "egress-http",
        "Egress: HTTP hosts",
        _egress(("HTTP",)),
        {"egress": [{"host": "example.com", "port": 80, "protocol": "HTTP"}]},
    ),
    Feature(
        "egress-tls",
        "Egress: TLS and TCP",
        _egress(("HTTPS", "TLS", "TCP")),
        {
            "egress": [
                {"host": "example.com", "port": 443, "protocol": "TLS"},
                {"host": "db.example.com", "port": 5432, "protocol": "TCP"},
            ]
        },
    ),
    Feature(
        "headless",
        "Rules for a headless Service",
        _policy(lambda route: route.service.headless and route.rules, "rules"),
        {},
    ),
)

_ONLY_CONDITION = "A ServiceProfile matches only path and method."
_NO_FILTERS = "A ServiceProfile changes no requests and answers none."
_NO_STANDARD_RETRY = (
    "HTTPRoute has no retries in the standard channel of the Gateway API (v1.5.1); Istio applies its own default."
)
_NO_FAULT = "The mesh has no fault injection."
_DROPPED = "Linkerd drops the whole route without a word when it has this filter (observed)."
_PORT_KEPT = "Istio leaves the port of a scheme out, and Envoy then keeps the port that was called (observed)."
_PRESENT_RETRIES = (
    "A DestinationRule of Istio 1.30 counts the requests that are under way, and looks back at no others."
)
_NO_PROFILE_POLICY = "A ServiceProfile with routes switches the circuit breaker of its Service off."

_REFUSED: dict[str, dict[TargetName, str]] = {
    "split": {"service-profile": "A ServiceProfile with routes switches the weights of HTTPRoutes off (observed)."},
    "headers": {"service-profile": _ONLY_CONDITION},
    "cookies": {"service-profile": _ONLY_CONDITION},
    "query": {"service-profile": _ONLY_CONDITION},
    "source": {
        "istio-route": "HTTPRoute has no match on the source workload.",
        "linkerd-route": "HTTPRoute has no match on the source workload.",
        "service-profile": _ONLY_CONDITION,
    },
    "source-namespace": {
        "istio-route": "HTTPRoute has no match on the namespace of the source.",
        "linkerd-route": "HTTPRoute has no match on the namespace of the source.",
        "service-profile": _ONLY_CONDITION,
    },
    "grpc": {"service-profile": "A ServiceProfile does not know gRPC status; its retries would go by HTTP status."},
    "timeout-per-try": {
        "istio-route": "Without retries, Istio takes backendRequest for the timeout of the whole request.",
        "service-profile": "A ServiceProfile has one timeout for all attempts together.",
    },
    "retries": {
        "istio-route": _NO_STANDARD_RETRY,
        "service-profile": "A ServiceProfile retries as long as its budget lasts; it does not count attempts.",
    },
    "retries-off": {"istio-route": _NO_STANDARD_RETRY},
    "retries-by-budget": {
        "virtual-service": "Istio counts attempts; a budget only limits them further.",
        "istio-route": _NO_STANDARD_RETRY,
        "linkerd-route": "Retries of a route are counted on Linkerd; only a ServiceProfile has a budget.",
    },
    "retry-status": {
        "istio-route": _NO_STANDARD_RETRY,
        "service-profile": "A ServiceProfile retries every 5xx.",
    },
    "retry-connection": {
        "istio-route": _NO_STANDARD_RETRY,
        "linkerd-route": "Linkerd retries on HTTP and gRPC status only.",
        "service-profile": "Linkerd retries on HTTP status only.",
    },
    "retry-grpc": {
        "istio-route": _NO_STANDARD_RETRY,
        "service-profile": "A ServiceProfile retries on HTTP status only.",
    },
    "retry-backoff": {
        "istio-route": _NO_STANDARD_RETRY,
        "linkerd-route": "The back-off of Linkerd is fixed (25 to 250 ms).",
        "service-profile": "The back-off of Linkerd is fixed.",
    },
    "fault-delay": {
        "istio-route": "HTTPRoute has no fault injection.",
        "linkerd-route": _NO_FAULT,
        "service-profile": _NO_FAULT,
    },
    "fault-abort": {
        "istio-route": "HTTPRoute has no fault injection.",
        "linkerd-route": _NO_FAULT,
        "service-profile": _NO_FAULT,
    },
    "mirror": {"linkerd-route": _DROPPED, "service-profile": _NO_FILTERS},
    "headers-request": {"service-profile": _NO_FILTERS},
    "headers-response": {"service-profile": _NO_FILTERS},
    "rewrite-path": {"linkerd-route": _DROPPED, "service-profile": _NO_FILTERS},
    "rewrite-prefix": {"linkerd-route": _DROPPED, "service-profile": _NO_FILTERS},
    "rewrite-root": {
        "istio-route": "Istio joins the prefix and the path without a slash: GET /items becomes /v2items "
        "(istio/istio#54920).",
        "linkerd-route": _DROPPED,
        "service-profile": _NO_FILTERS,
    },
    "rewrite-host": {"linkerd-route": _DROPPED, "service-profile": _NO_FILTERS},
    "redirect": {"service-profile": _NO_FILTERS},
    "redirect-status": {
        "linkerd-route": "Linkerd reads Gateway API 1.2.1, which has 301 and 302 only.",
        "service-profile": _NO_FILTERS,
    },
    "redirect-same-address": {
        "virtual-service": "The webhook of istiod refuses a redirect that changes nothing but the status.",
        "linkerd-route": "Linkerd does not redirect to the address that was asked for: the request goes to the "
        "Service.",
        "service-profile": _NO_FILTERS,
    },
    "redirect-scheme-port": {
        "virtual-service": _PORT_KEPT,
        "istio-route": _PORT_KEPT,
        "service-profile": _NO_FILTERS,
    },
    "circuit-breaker": {"service-profile": _NO_PROFILE_POLICY},
    "breaker-max-ejection": {
        "virtual-service": "A DestinationRule has no limit for the time of an ejection.",
        "istio-route": "A DestinationRule has no limit for the time of an ejection.",
        "service-profile": _NO_PROFILE_POLICY,
    },
    "breaker-interval": {
        "linkerd-route": "Linkerd counts failures in a row as they come, for each endpoint alone.",
        "service-profile": _NO_PROFILE_POLICY,
    },
    "pool": {
        "linkerd-route": "Linkerd has no limits of connections and pending requests.",
        "service-profile": "Linkerd has no limits of connections and pending requests.",
    },
    "load-balancing": {
        "linkerd-route": "Linkerd always balances by the observed latency (EWMA).",
        "service-profile": "Linkerd always balances by the observed latency (EWMA).",
    },
    "session-affinity": {
        "linkerd-route": "Linkerd has no session affinity.",
        "service-profile": "Linkerd has no session affinity.",
    },
    "rate-limit-shape": {
        "linkerd-route": "Linkerd limits a whole number of requests a second, without a burst.",
        "service-profile": "Linkerd limits a whole number of requests a second, without a burst.",
    },
    "retry-budget": {"linkerd-route": "The budget of a ServiceProfile does not hold for the retries of an HTTPRoute."},
    "retry-budget-ttl": {
        "virtual-service": _PRESENT_RETRIES,
        "istio-route": _PRESENT_RETRIES,
        "linkerd-route": "The budget of a ServiceProfile does not hold for the retries of an HTTPRoute.",
    },
    "egress-tls": {
        "linkerd-route": "On Linkerd a TLS host needs a TLSRoute of a version that the standard channel does not "
        "serve.",
        "service-profile": "On Linkerd a TLS host needs a TLSRoute of a version that the standard channel does "
        "not serve.",
    },
    "headless": {
        "linkerd-route": "Linkerd takes no route on a headless Service.",
        "service-profile": "Linkerd takes no route on a headless Service.",
    },
}

MATRIX: dict[str, dict[TargetName, str]] = {
    feature.name: {target.name: _REFUSED.get(feature.name, {}).get(target.name, "") for target in TARGETS}
    for feature in FEATURES
}
"""Feature -> target -> "" for yes, or the reason why not."""

REMEDIES: dict[str, str] = {
    "fault-delay": "Send a share of the requests to a slow backend by weight, or use mesh: istio.",
    "fault-abort": "Send a share of the requests to a failing backend by weight, or use mesh: istio.",
    "retries-by-budget": "Set 'attempts'.",
    "rewrite-root": "Leave 'api' out: on Istio meshup then takes a VirtualService.",
    "redirect-same-address": "Add 'path', 'host', 'scheme' or 'port', so that the redirect leads elsewhere.",
    "redirect-scheme-port": "Add 'host', or a 'port' that is not the one of the scheme.",
    "retry-budget-ttl": "Remove 'ttl'.",
    "breaker-max-ejection": "Remove 'maxEjection'.",
    "rate-limit-shape": "Remove 'burst' and choose a number of requests that is whole for one second.",
    "timeout-per-try": "Set only the timeout of the request.",
}
"""What to do about a refusal, where it is not the general advice."""


_LOOP = "Envoy answers it with the same redirect again: a client that follows it is in a loop."
REDIRECTED_AGAIN: dict[TargetName, str] = {
    "virtual-service": _LOOP,
    "istio-route": _LOOP,
    "linkerd-route": "Linkerd does not redirect to the address that was asked for: the request goes to the Service.",
    "service-profile": "",
}
"""What a target does with a request for the address that its own redirect leads to (Linkerd:
linkerd/http/route/src/http/filter/redirect.rs)."""
QUERY_DROPPED: dict[TargetName, bool] = {
    "virtual-service": False,
    "istio-route": False,
    "linkerd-route": True,
    "service-profile": False,
}
"""Whether a redirect to a path drops the query of the request (the same file; Envoy keeps it)."""


def targets_for(mesh: Mesh, api: Api) -> list[Target]:
    """The targets that `api` allows on a mesh, best first. Empty if the mesh does not have the API."""
    return [target for target in TARGETS if target.mesh == mesh and api in ("auto", target.api)]
