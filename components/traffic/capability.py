"""What can be asked for, and what each target refuses: one matrix of features by targets.

A target names the features that it can't express, with the reason (`Target.refusals`). Refusals, the table in
docs/traffic.md and a test for each cell come from that. The features below are those of routes; `Feature`, `refused`
and `matrix` serve whatever else targets are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..diagnostics import Diagnostic
from ..gateways.model import GatewayApi
from .model import SCHEME_PORTS, Match, Redirect, Route, Rule, TextMatch

HTTP_RETRY = ("5xx", "gateway-error")
CONNECTION_RETRY = ("connect-failure", "refused-stream", "reset")
GRPC_RETRY = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
CONSERVATIVE_REDIRECTS = (301, 302)
SECOND = 1000

Subject = TypeVar("Subject")
Uses = Callable[[Route], Iterator[str]]


@dataclass(frozen=True)
class Feature(Generic[Subject]):
    """Something that may be asked for.

    Attributes:
        name: Key of the matrix.
        title: For people.
        uses: Yields the configuration paths at which a subject asks for it.
        example: What uses it, as raw configuration: of a route, that of the Service `reviews` (versions v1, v2).
        remedy: What to do about a refusal, where it is not the general advice.
        special_case_of: A feature that a subject asks for too, at the same path. Where that one is refused, so is this.
    """

    name: str
    title: str
    uses: Callable[[Subject], Iterator[str]]
    example: Mapping[str, object]
    remedy: str = "Remove it, or choose a mesh and 'api' that can."
    special_case_of: str = ""


class Refusing(Protocol):
    """What may refuse a feature: a target."""

    @property
    def title(self) -> str:
        """For people."""
        ...

    @property
    def refusals(self) -> Mapping[str, str]:
        """What it can't do: name of the feature -> reason."""
        ...


def refused(
    features: Iterable[Feature[Subject]],
    subject: Subject,
    target: Refusing,
    targets: Sequence[Refusing],
    code: str = "MSH131",
) -> Iterator[Diagnostic]:
    """Find what a target can't do of a subject.

    Args:
        features: All features of such subjects.
        subject: What asks for them, such as a route.
        target: Where it is compiled to.
        targets: All targets, to name those that can.
        code: The code of such a refusal.
    """
    for feature in features:
        reason = target.refusals.get(feature.name)
        if not reason or feature.special_case_of in target.refusals:
            continue
        others = ", ".join(other.title for other in targets if feature.name not in other.refusals)
        for where in feature.uses(subject):
            message = f"{target.title} can't do this. {reason}"
            yield Diagnostic(code, where, feature.title, message, others and f"on {others}", feature.remedy)


def mesh_only(
    features: Iterable[Feature[Subject]], subject: Subject, target: Refusing, reasons: Mapping[str, str]
) -> Iterator[Diagnostic]:
    """Say what of a subject holds for callers in the mesh only.

    Args:
        features: All features of such subjects.
        subject: What asks for them, such as a route.
        target: Where it is compiled to.
        reasons: Name of the feature -> why a gateway can't do it.
    """
    for feature in features:
        for where in feature.uses(subject) if feature.name in reasons and feature.name not in target.refusals else ():
            message = f"It does not hold for requests that come in by the gateway. {reasons[feature.name]}"
            yield Diagnostic("MSH410", where, feature.title, message, severity="warning")


def matrix(features: Iterable[Feature[Subject]], targets: Sequence[Refusing]) -> Iterator[tuple[str, list[str]]]:
    """Yield the title of each feature with a cell for each target: "" for yes, or the reason why not."""
    for feature in features:
        yield feature.title, [target.refusals.get(feature.name, "") for target in targets]


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
    """Return whether every path gets a prefix. The prefix '/' in place of '/' changes nothing."""
    paths = [match.path for match in rule.matches]
    return bool(rule.rewrite and rule.rewrite.prefix not in ("", "/")) and all(
        path in (None, TextMatch("prefix", "/")) for path in paths
    )


def _redirect(test: Callable[[Redirect, int], object]) -> Uses:
    """Find the redirects that meet a test, each called with the port of the Service."""

    def uses(route: Route) -> Iterator[str]:
        for rule in route.rules:
            if rule.redirect and test(rule.redirect, route.port.number):
                yield rule.redirect.where

    return uses


def _port_left_out(redirect: Redirect, called: int) -> bool:
    """Return whether the new address needs the port of its scheme in place of another one, at the host that was called.

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


def _gateway(api: GatewayApi) -> Uses:
    return _policy(lambda route: route.exposure and route.exposure.gateway.api == api, "gateway")


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


FEATURES: tuple[Feature[Route], ...] = (
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
        remedy="Set only the timeout of the request.",
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
        remedy="Set 'attempts'.",
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
        remedy="Send a share of the requests to a slow backend by weight, or use mesh: istio.",
    ),
    Feature(
        "fault-abort",
        "Fault: abort",
        _fault("abort"),
        _rule(fault={"abort": {"status": 503, "percent": 10}}),
        remedy="Send a share of the requests to a failing backend by weight, or use mesh: istio.",
    ),
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
        remedy="Leave 'api' out: on Istio meshup then takes a VirtualService.",
        special_case_of="rewrite-prefix",
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
        _redirect(lambda redirect, called: not redirect.path and redirect.same_address(called)),
        {"rules": [{"redirect": {"status": 302}, "match": {"path": "/a"}}]},
        remedy="Add 'path', 'host', 'scheme' or 'port', so that the redirect leads elsewhere.",
        special_case_of="redirect",
    ),
    Feature(
        "redirect-scheme-port",
        "Redirect: to the port of the scheme (80, 443) at the same host",
        _redirect(_port_left_out),
        {"rules": [{"redirect": {"scheme": "https"}, "match": {"path": "/a"}}]},
        remedy="Add 'host', or a 'port' that is not the one of the scheme.",
        special_case_of="redirect",
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
        remedy="Remove 'maxEjection'.",
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
        remedy="Remove 'burst' and choose a number of requests that is whole for one second.",
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
        {"rules": [{"retries": {"conditions": ["5xx"]}}], "retryBudget": {"percent": 20, "ttl": "20s"}},
        remedy="Remove 'ttl'.",
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
    Feature(
        "gateway-istio",
        "Gateway in Istio's own API",
        _gateway("istio"),
        {"gateway": "istio-public", "hosts": ["shop.example.com"], "paths": ["/a"], "split": {"v1": 100}},
        remedy="Leave 'api' out, or name a gateway with api: gateway-api.",
    ),
    Feature(
        "gateway-api",
        "Gateway in the Gateway API",
        _gateway("gateway-api"),
        {"gateway": "public", "hosts": ["shop.example.com"], "paths": ["/a"], "split": {"v1": 100}},
        remedy="Leave 'api' out, or name a gateway with api: istio.",
    ),
)
