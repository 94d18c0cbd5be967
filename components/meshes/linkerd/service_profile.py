"""Routes -> ServiceProfile (linkerd.io/v1alpha2), edge-26.8.3: timeouts and retries by path and method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...diagnostics import Diagnostic
from ...manifests import Manifest, manifest
from ...traffic import patterns
from ...traffic.claims import Claim
from ...traffic.durations import duration_text
from ...traffic.manifests import quote
from ...traffic.model import Match, Route
from ...traffic.overlap import path_of
from ...traffic.targets import Target
from .data_plane import LINKERD

API_VERSION = "linkerd.io/v1alpha2"
DEFAULT_BUDGET_TTL = 10_000
"""Milliseconds; the default of Linkerd."""
DEFAULT_MIN_RETRIES = 10
"""A second; the default of Linkerd. The CRD wants a number."""
_ONLY_CONDITION = "A ServiceProfile matches only path and method."
_NO_FILTERS = "A ServiceProfile changes no requests and answers none."
_NO_POLICY = "A ServiceProfile with routes switches the circuit breaker of its Service off."


def read_claims(item: Manifest, domain: str) -> Iterator[Claim]:
    """Read the Service of a ServiceProfile, which is its name.

    It switches HTTPRoutes of the Service off (observed). In the namespace of a client, it holds for that client alone.
    """
    del domain
    metadata = item["metadata"]
    of_client = metadata["name"].split(".")[1:2] != [metadata["namespace"]]
    kinds = ("HTTPRoute", "GRPCRoute", "ServiceProfile") if of_client else ()
    yield Claim(metadata["name"], beside=frozenset(kinds))


_CLAIMS = {(API_VERSION, "ServiceProfile"): read_claims}


class ServiceProfile(Target):
    """ServiceProfiles keep the order of the rules."""

    name = "service-profile"
    title = "Linkerd ServiceProfile"
    plane = LINKERD
    api = "service-profile"
    api_version = API_VERSION
    claims = _CLAIMS
    kinds = ("HTTPRoute", "ServiceProfile")
    refusals = (
        LINKERD.refusals
        | dict.fromkeys(("headers", "cookies", "query", "source", "source-namespace"), _ONLY_CONDITION)
        | dict.fromkeys(("mirror", "headers-request", "headers-response"), _NO_FILTERS)
        | dict.fromkeys(("rewrite-path", "rewrite-prefix", "rewrite-root", "rewrite-host"), _NO_FILTERS)
        | dict.fromkeys(("redirect", "redirect-status", "redirect-same-address", "redirect-scheme-port"), _NO_FILTERS)
        | dict.fromkeys(("circuit-breaker", "breaker-max-ejection", "breaker-interval"), _NO_POLICY)
        | {
            "gateway-api": "A ServiceProfile binds to no gateway.",
            "split": "A ServiceProfile with routes switches the weights of HTTPRoutes off (observed).",
            "grpc": "A ServiceProfile does not know gRPC status; its retries would go by HTTP status.",
            "timeout-per-try": "A ServiceProfile has one timeout for all attempts together.",
            "retries": "A ServiceProfile retries as long as its budget lasts; it does not count attempts.",
            "retry-status": "A ServiceProfile retries every 5xx.",
            "retry-connection": "Linkerd retries on HTTP status only.",
            "retry-grpc": "A ServiceProfile retries on HTTP status only.",
            "retry-backoff": "The back-off of Linkerd is fixed.",
        }
    )

    def check(self, route: Route) -> Iterator[Diagnostic]:
        """Check the retry budget, and whether the profile holds for more than the port."""
        retried = any(rule.retry and rule.retry.attempts is None for rule in route.rules)
        if retried and route.retry_budget is None:
            yield Diagnostic(
                "MSH154",
                route.where,
                None,
                "A ServiceProfile retries within its budget, and no budget is set.",
                remedy="Add 'retryBudget'.",
            )
        if route.retry_budget and not retried:
            yield Diagnostic(
                "MSH158",
                route.retry_budget.where,
                None,
                "The budget limits nothing: Linkerd retries what it is told to, and no rule retries."
                + ("" if route.rules else " Without rules there is no ServiceProfile that could hold it."),
                remedy="Add a rule with 'retries: {conditions: [5xx]}', or remove 'retryBudget'.",
                severity="warning" if route.rules else "error",
            )
        if route.rules and len(route.service.ports) > 1:
            yield Diagnostic(
                "MSH161",
                route.where,
                route.port.number,
                f"The ServiceProfile holds for all {len(route.service.ports)} ports of '{route.service.name}', not for "
                f"port {route.port.number} alone.",
                severity="warning",
            )

    def check_beside(self, owner: Route, route: Route) -> Iterator[Diagnostic]:
        """Refuse a second profile of a Service."""
        yield Diagnostic(
            "MSH161",
            route.where,
            route.key,
            f"'{owner.key}' makes a ServiceProfile for {route.service.host} already; it holds for every port.",
            "one ServiceProfile for a Service",
            f"Put the rules of both into '{owner.key}'.",
        )

    def write(self, routes: Sequence[Route]) -> Iterator[Manifest]:
        """Write the ServiceProfile of a Service, with its retry budget."""
        for route in routes:
            spec = _spec(route)
            yield manifest(API_VERSION, "ServiceProfile", route.service.host, route.service.namespace, spec)


SERVICE_PROFILE = ServiceProfile()


def _spec(route: Route) -> Manifest:
    routes: list[Manifest] = []
    for rule in route.rules:
        for index, match in enumerate(rule.matches or (Match(),)):
            written: Manifest = {
                "name": rule.name if len(rule.matches) <= 1 else f"{rule.name}-{index}",
                "condition": _condition(match),
            }
            if rule.timeout and rule.timeout.request is not None:
                written["timeout"] = duration_text(rule.timeout.request)
            if rule.retry and rule.retry.attempts is None:
                written["isRetryable"] = True
            routes.append(written)
    spec: Manifest = {"routes": routes}
    budget = route.retry_budget
    if budget:
        spec["retryBudget"] = {
            "retryRatio": budget.percent / 100,
            "minRetriesPerSecond": budget.min_retries or DEFAULT_MIN_RETRIES,
            "ttl": duration_text(budget.ttl or DEFAULT_BUDGET_TTL),
        }
    return spec


def _condition(match: Match) -> Manifest:
    """Write path and method; Linkerd anchors the pattern."""
    path = path_of(match)
    if path.kind == "exact":
        pattern = quote(path.value)
    elif path.kind == "regex":
        # Linkerd puts anchors at the ends without a group.
        pattern = f"(?:{patterns.rust(path.value)})"
    else:
        pattern = ".*" if path.value == "/" else f"{quote(path.value)}(/.*)?"
    condition: Manifest = {"pathRegex": pattern}
    if match.method:
        condition["method"] = match.method
    return condition
