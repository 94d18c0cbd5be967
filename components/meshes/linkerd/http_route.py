"""Routes -> HTTPRoute and GRPCRoute on Linkerd edge-26.8.3.

Timeouts and retries are annotations of a route object, not of a rule, so rules with different policies go into several
objects on one parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ...diagnostics import Diagnostic
from ...traffic.capability import GRPC_RETRY
from ...traffic.durations import duration_text
from ...traffic.gateway_api import (
    REFUSALS,
    GatewayApiTarget,
    RouteDialect,
    RouteKind,
    RoutePart,
    by_the_standard,
    route_name,
)
from ...traffic.model import Route, Rule
from ...traffic.overlap import method_of
from ...traffic.targets import Atom, Rank, Ranking
from .data_plane import LINKERD

APP_PROTOCOLS = ("", "http", "kubernetes.io/h2c")
"""Values of a Service port's appProtocol with which Linkerd looks at requests; others are opaque to it (linkerd2,
policy-controller, core/src/outbound.rs and pull request 13948)."""
_RETRIES = (
    *("retries", "retries-off", "retries-by-budget", "retry-status", "retry-connection", "retry-grpc"),
    "retry-backoff",
)
_BREAKERS = ("circuit-breaker", "breaker-max-ejection", "breaker-interval")
_NO_RETRIES_AT_EDGE = (
    "Its controller reads the HTTPRoute, which has no retries in the standard channel of the Gateway API (v1.5.1)."
)
_NO_BREAKER_AT_EDGE = (
    "The gateway sends requests to the Services of the versions; the breaker belongs to the Service that clients in "
    "the mesh call."
)
_DROPPED = "Linkerd drops the whole route without a word when it has this filter (observed)."
_NO_BUDGET = "The budget of a ServiceProfile does not hold for the retries of an HTTPRoute."
_SAME_ADDRESS = "Linkerd does not redirect to the address that was asked for: the request goes to the Service."


class LinkerdRoute(GatewayApiTarget):
    """HTTPRoutes on Linkerd.

    With a GRPCRoute the port is gRPC, and annotations carry timeouts; a ResponseHeaderModifier is declined
    (policy-controller, grpc/src/outbound.rs and outbound/grpc.rs). The proxy serves gRPC as HTTP/2 without detection
    (linkerd2-proxy, outbound/src/sidecar.rs), and takes POST only (linkerd/http/route/src/grpc/match.rs).
    """

    name = "linkerd-route"
    title = "Linkerd HTTPRoute"
    plane = LINKERD
    redirected_again = _SAME_ADDRESS
    dialect = RouteDialect(timeouts=False, rust=True, grpc_exclusive=True, grpc_response_headers=False)
    refusals = (
        LINKERD.refusals
        | REFUSALS
        | dict.fromkeys(("mirror", "rewrite-path", "rewrite-prefix", "rewrite-root", "rewrite-host"), _DROPPED)
        | {
            "retries-by-budget": "Retries of a route are counted on Linkerd; only a ServiceProfile has a budget.",
            "retry-connection": "Linkerd retries on HTTP and gRPC status only.",
            "retry-backoff": "The back-off of Linkerd is fixed (25 to 250 ms).",
            "redirect-status": "Linkerd reads Gateway API 1.2.1, which has 301 and 302 only.",
            "redirect-same-address": _SAME_ADDRESS,
            "breaker-interval": "Linkerd counts failures in a row as they come, for each endpoint alone.",
            "retry-budget": _NO_BUDGET,
            "retry-budget-ttl": _NO_BUDGET,
        }
    )

    mesh_only: Mapping[str, str] = {
        **dict.fromkeys(_RETRIES, _NO_RETRIES_AT_EDGE),
        **dict.fromkeys(_BREAKERS, _NO_BREAKER_AT_EDGE),
    }

    @property
    def at_edge(self) -> GatewayApiTarget:
        """The controller of the GatewayClass reads the routes of a gateway, by the standard."""
        return _AT_EDGE

    def parts(self, route: Route) -> list[RoutePart]:
        """Return the rules by the annotations that they need.

        The last rule's object has the name of the Service, the others that of their first rule behind it.
        """
        groups: dict[tuple[tuple[str, str], ...], list[Rule]] = {}
        for rule in route.rules:
            groups.setdefault(tuple(sorted(_rule_annotations(rule).items())), []).append(rule)
        base = route_name(route)
        return [
            RoutePart(base if route.rules[-1] in rules else f"{base}-{rules[0].name}", rules, dict(annotations))
            for annotations, rules in groups.items()
        ]

    def rankings(self, route: Route) -> Sequence[Ranking]:
        """Rank by the longer matched part of the path, where exact and regex count all of it; then more headers, more
        query parameters, a method; then the order of the list within one object (linkerd/http/route and observed).

        Other versions of the proxy rank a method before headers and query parameters (linkerd2-proxy 3865944); what was
        observed holds. For gRPC: the longer service, the longer method, more headers.
        """
        if self.kind(route) == "GRPCRoute":
            return [Ranking(_grpc_rank)]
        matches = [match for rule in route.rules for match in rule.matches]
        differ = any(method_of(match) for match in matches) and any(m.headers or m.cookies or m.query for m in matches)
        return [Ranking(rank, by_path=True) for rank in ((_rank, _other_rank) if differ else (_rank,))]

    def governs(self, route: Route) -> bool:
        """Return whether there are rules or a breaker: a ServiceProfile switches both off for its Service."""
        return bool(route.rules or route.circuit_breaker)

    def check(self, route: Route) -> Iterator[Diagnostic]:
        """Check what Linkerd makes of a route beyond the limits of the API."""
        yield from super().check(route)
        for rule in route.rules:
            # linkerd/http/route/src/http/filter/redirect.rs
            if rule.redirect and rule.redirect.path:
                yield Diagnostic(
                    "MSH165",
                    f"{rule.redirect.where}.path",
                    rule.redirect.path,
                    f"{self.title} leaves the query of the request out of the new address; Istio keeps it.",
                    remedy="Nothing needs to be done if no client sends a query there.",
                    severity="warning",
                )
        parts = self.parts(route)
        if len(parts) > 1:
            names = ", ".join(part.name for part in parts)
            yield Diagnostic(
                "MSH136",
                f"{route.where}.rules",
                None,
                f"Linkerd keeps timeouts and retries for a whole route object: the rules become {len(parts)} objects "
                f"({names}).",
                remedy="Nothing needs to be done.",
                severity="info",
            )
        kind = self.kind(route)
        if kind == "GRPCRoute":
            yield Diagnostic(
                "MSH168",
                f"{route.where}.rules",
                route.port.number,
                f"The rules become a GRPCRoute, because port {route.port.number} is declared to be gRPC. Linkerd then "
                "serves the port as HTTP/2 and takes POST only: other requests get 404, callers with HTTP/1 no answer.",
                remedy="Nothing needs to be done if all callers of the port are gRPC clients.",
                severity="info",
            )
        if route.rules and route.port.app_protocol not in APP_PROTOCOLS:
            yield Diagnostic(
                "MSH169",
                route.where,
                route.port.app_protocol,
                f"Linkerd does not know appProtocol '{route.port.app_protocol}'. If the Service '{route.service.name}' "
                f"has it at port {route.port.number}, connections are forwarded as they are, and no rule holds.",
                "in the Service, one of " + ", ".join(name for name in APP_PROTOCOLS if name),
                f"Write 'kubernetes.io/h2c' in the Service, or leave appProtocol out and name the port "
                f"'{route.port.app_protocol.rpartition('/')[2]}'.",
                severity="warning",
            )
        for rule in route.rules:
            if not (rule.retry and rule.retry.attempts):
                continue
            grpc = [condition for condition in rule.retried if condition in GRPC_RETRY]
            if grpc and kind == "HTTPRoute":
                yield Diagnostic(
                    "MSH137",
                    rule.retry.where,
                    grpc,
                    "Linkerd retries on a gRPC status only in a GRPCRoute, and this route is an HTTPRoute.",
                    remedy="Give all rules of the route matches on 'grpc', change no response headers, retry on no "
                    "HTTP status"
                    + (
                        "."
                        if route.port.grpc
                        else f", and declare that port {route.port.number} serves gRPC only: a GRPCRoute shuts out all "
                        "other callers of the port."
                    ),
                )


class _EdgeRoute(GatewayApiTarget):
    """HTTPRoutes of a gateway of another controller."""

    name = "linkerd-gateway"
    title = "The gateway"
    plane = LINKERD
    dialect = RouteDialect(timeouts=True, rust=False, grpc_exclusive=False, grpc_response_headers=True)
    refusals: Mapping[str, str] = {}

    def kind(self, route: Route) -> RouteKind:
        """Return HTTPRoute: the controller may have no other kind."""
        del route
        return "HTTPRoute"

    def rankings(self, route: Route) -> Sequence[Ranking]:
        """By the standard, which leaves the rank of regular expressions open."""
        matches = [match for rule in route.rules for match in rule.matches]
        regex = any(match.path and match.path.kind == "regex" for match in matches)
        return [Ranking(rank) for rank in ((by_the_standard, _regex_first) if regex else (by_the_standard,))]


def _regex_first(atom: Atom, length: int) -> Rank:
    kind, *rest = by_the_standard(atom, length)
    return (3 if atom.path.kind == "regex" else kind, *rest)


_AT_EDGE = _EdgeRoute()
LINKERD_ROUTE = LinkerdRoute()


def _rank(atom: Atom, length: int) -> Rank:
    method = 1 if method_of(atom.match) else 0
    return (_matched(atom, length), atom.header_count, len(atom.match.query), method)


def _other_rank(atom: Atom, length: int) -> Rank:
    method = 1 if method_of(atom.match) else 0
    return (_matched(atom, length), method, atom.header_count, len(atom.match.query))


def _matched(atom: Atom, length: int) -> int:
    return len(atom.path.value) if atom.path.kind == "prefix" else length


def _grpc_rank(atom: Atom, _: int) -> Rank:
    return (len(atom.match.grpc_service), len(atom.match.grpc_method), atom.header_count)


def _rule_annotations(rule: Rule) -> dict[str, str]:
    """Timeout and retries of a rule as annotations of its route object. No blanks after commas: Linkerd refuses
    them.
    """
    annotations: dict[str, str] = {}
    if rule.timeout and rule.timeout.request is not None:
        annotations["timeout.linkerd.io/request"] = duration_text(rule.timeout.request)
    # Linkerd retries nothing unless it is told to, and reads a limit of 0 as its default: no attempts, no annotation.
    if rule.retry and rule.retry.attempts:
        annotations.update(_retry(rule.retry.attempts, rule.retried))
        if rule.timeout and rule.timeout.per_try is not None:
            annotations["retry.linkerd.io/timeout"] = duration_text(rule.timeout.per_try)
    return annotations


def _retry(attempts: int, conditions: Iterable[str]) -> dict[str, str]:
    annotations = {"retry.linkerd.io/limit": str(attempts)}
    http = [condition for condition in conditions if condition not in GRPC_RETRY]
    grpc = [condition for condition in conditions if condition in GRPC_RETRY]
    if http:
        annotations["retry.linkerd.io/http"] = ",".join(http)
    if grpc:
        annotations["retry.linkerd.io/grpc"] = ",".join(grpc)
    return annotations
