"""Routes -> HTTPRoute and GRPCRoute (gateway.networking.k8s.io/v1) with per-version Services, for either mesh.

Gateway API v1.5.1, standard channel; for Linkerd only what version 1.2.1 had (matches, filters, backendRefs), because
Linkerd ignores a resource with a field that it does not know. The parent is the Service that clients call, with group
"": Istio does not take `core`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from . import patterns
from .capability import EXACT_OR_REGEX, GRPC_RETRY
from .durations import duration_text
from .manifests import Manifest, all_headers, manifest, version_service_name, written_as
from .model import (
    Backend,
    Destination,
    HeaderChange,
    Match,
    Mesh,
    Mirror,
    Redirect,
    Rewrite,
    Route,
    Rule,
    Service,
    TextMatch,
)
from .overlap import EVERY_PATH, method_of, path_of

API_VERSION = "gateway.networking.k8s.io/v1"
GRANT_API_VERSION = "gateway.networking.k8s.io/v1beta1"
MOST_RULES = 16
MOST_MATCHES = 64
MOST_MATCHES_IN_ALL = 128
"""Gateway API v1.5.1: rules of a route, matches of a rule, matches of all rules together."""

RouteKind = Literal["HTTPRoute", "GRPCRoute"]
_MILLION = 1_000_000
_WHOLE = 100
_PATH_TYPES = {"exact": "Exact", "prefix": "PathPrefix", "regex": "RegularExpression"}


@dataclass(frozen=True, slots=True)
class Style:
    """How a mesh wants routes written.

    Attributes:
        every_path: A condition on no particular path.
        timeouts: Whether rules carry `timeouts`; on Linkerd annotations do.
        rust: Whether patterns are for Rust's regex crate, with anchors: Linkerd looks for the first match and only then
            asks whether it is the whole text, so `a|ab` would not take `ab`.
    """

    every_path: TextMatch = EVERY_PATH
    timeouts: bool = True
    rust: bool = False

    def pattern(self, pattern: str) -> str:
        """The pattern as the mesh wants it."""
        return f"^(?:{patterns.rust(pattern)})$" if self.rust else pattern


LINKERD = Style(timeouts=False, rust=True)


@dataclass(frozen=True, slots=True)
class GrpcReading:
    """What a mesh makes of a GRPCRoute.

    Attributes:
        exclusive: It takes the whole port: HTTP/2 only, and of that only POST to a path of at least two segments.
            Otherwise it is a condition on the path, for any method.
        timeouts: Whether a timeout can stand beside it.
        response_headers: Whether it changes response headers.
    """

    exclusive: bool
    timeouts: bool
    response_headers: bool


GRPC_READINGS: dict[Mesh, GrpcReading] = {
    "istio": GrpcReading(exclusive=False, timeouts=False, response_headers=True),
    "linkerd": GrpcReading(exclusive=True, timeouts=True, response_headers=False),
}
"""Istio 1.30 (pilot/pkg/config/kube/gateway, createGRPCURIMatch). Linkerd edge-26.8.3: policy-controller,
grpc/src/outbound.rs and outbound/grpc.rs (a port with a GRPCRoute is gRPC; annotations carry timeouts; a
ResponseHeaderModifier is declined), linkerd2-proxy, outbound/src/sidecar.rs (gRPC is served as HTTP/2 without
detection) and linkerd/http/route/src/grpc/match.rs (POST)."""


def route_kind(route: Route, mesh: Mesh) -> RouteKind:
    """GRPCRoute if every condition is one on gRPC and nothing needs HTTPRoute; else HTTPRoute.

    A Service port has one of them, never both: a GRPCRoute makes the HTTPRoutes beside it conflicted. Where it would
    shut out other callers of the port, the port must be declared to be gRPC.
    """
    matches = [match for rule in route.rules for match in rule.matches]
    if not any(match.grpc_service for match in matches):
        return "HTTPRoute"
    if any(not match.grpc_service and (match.path or match.method or match.query) for match in matches):
        return "HTTPRoute"
    reading = GRPC_READINGS[mesh]
    if reading.exclusive and not route.port.grpc:
        return "HTTPRoute"
    return "HTTPRoute" if any(_needs_http(rule, reading) for rule in route.rules) else "GRPCRoute"


def _needs_http(rule: Rule, reading: GrpcReading) -> bool:
    if rule.redirect or rule.rewrite or (rule.timeout and not reading.timeouts):
        return True
    if rule.headers and not rule.headers.response.empty and not reading.response_headers:
        return True
    return any(condition not in GRPC_RETRY for condition in rule.retried)


def route_name(route: Route) -> str:
    """The name of the route object; with the port where the Service has several."""
    several = len(route.service.ports) > 1
    return f"{route.service.name}-{route.port.number}" if several else route.service.name


def route_object(
    route: Route,
    rules: Iterable[Rule],
    name: str,
    *,
    kind: RouteKind,
    style: Style,
    annotations: dict[str, str] | None = None,
) -> Manifest:
    """One HTTPRoute or GRPCRoute for some rules of a route.

    Args:
        route: The route.
        rules: Its rules that this object carries.
        name: Name of the object.
        kind: What `route_kind` says of the whole route.
        style: How the mesh wants it written.
        annotations: Linkerd's policies of these rules.
    """
    parent = {"group": "", "kind": "Service", "name": route.service.name, "port": route.port.number}
    spec = {
        "parentRefs": [parent],
        "rules": [_rule(rule, route, kind, style) for rule in rules],
    }
    return manifest(API_VERSION, kind, name, route.service.namespace, spec, annotations=annotations)


def version_services(service: Service) -> list[Manifest]:
    """One Service for each version: HTTPRoute backends are Services, and know no subsets."""
    return [_version_service(service, Destination(service, service.ports[0], version)) for version in service.versions]


def _version_service(service: Service, destination: Destination) -> Manifest:
    labels = dict(destination.version.labels) if destination.version else {}
    ports: list[Manifest] = []
    for port in service.ports:
        written: Manifest = {"port": port.number, "targetPort": port.container, "protocol": "TCP"}
        if port.name or len(service.ports) > 1:
            written["name"] = port.name or f"port-{port.number}"
        if port.app_protocol:
            written["appProtocol"] = port.app_protocol
        ports.append(written)
    spec = {"selector": {**dict(service.selector), **labels}, "ports": ports}
    return manifest("v1", "Service", version_service_name(destination), service.namespace, spec)


def reference_grants(route: Route, mesh: Mesh) -> list[Manifest]:
    """Leave for the route to name Services of other namespaces, one object for each such Service."""
    kind = route_kind(route, mesh)
    home = route.service.namespace
    grants: dict[tuple[str, str], Manifest] = {}
    for rule in route.rules:
        for destination in (*(b.destination for b in rule.backends), *(m.destination for m in rule.mirrors)):
            namespace = destination.service.namespace
            if namespace == home:
                continue
            target = version_service_name(destination)
            spec = {
                "from": [{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": home}],
                "to": [{"group": "", "kind": "Service", "name": target}],
            }
            name = f"{home}-{route_name(route)}-to-{target}"
            grants[namespace, target] = manifest(GRANT_API_VERSION, "ReferenceGrant", name, namespace, spec)
    return list(grants.values())


def _rule(rule: Rule, route: Route, kind: RouteKind, style: Style) -> Manifest:
    written: Manifest = {}
    if kind == "HTTPRoute":
        written["matches"] = [_http_match(match, style) for match in rule.matches or (Match(),)]
    elif rule.matches:
        written["matches"] = [_grpc_match(match, style) for match in rule.matches]
    filters = _filters(rule, route)
    if filters:
        written["filters"] = filters
    if rule.backends:
        written["backendRefs"] = [_backend(backend, route) for backend in rule.backends]
    if style.timeouts and rule.timeout and rule.timeout.request is not None:
        written["timeouts"] = {"request": duration_text(rule.timeout.request)}
    return written


def _http_match(match: Match, style: Style) -> Manifest:
    path = path_of(match)
    if path == EVERY_PATH:
        path = style.every_path
    value = style.pattern(path.value) if path.kind == "regex" else path.value
    written: Manifest = {"path": {"type": _PATH_TYPES[path.kind], "value": value}}
    method = method_of(match)
    if method:
        written["method"] = method
    headers = all_headers(match)
    if headers:
        written["headers"] = [_named(name, condition, style) for name, condition in headers]
    if match.query:
        written["queryParams"] = [_named(name, condition, style) for name, condition in match.query]
    return written


def _grpc_match(match: Match, style: Style) -> Manifest:
    written: Manifest = {}
    if match.grpc_service:
        method: Manifest = {"type": "Exact", "service": match.grpc_service}
        if match.grpc_method:
            method["method"] = match.grpc_method
        written["method"] = method
    headers = all_headers(match)
    if headers:
        written["headers"] = [_named(name, condition, style) for name, condition in headers]
    return written


def _named(name: str, condition: TextMatch, style: Style) -> Manifest:
    """A condition by name. The Gateway API has only exact and regular expressions here."""
    written = written_as(condition, EXACT_OR_REGEX)
    if written.kind == "exact":
        return {"type": "Exact", "name": name, "value": written.value}
    return {"type": "RegularExpression", "name": name, "value": style.pattern(written.value)}


def _backend(backend: Backend, route: Route) -> Manifest:
    return {**_reference(backend.destination, route), "weight": backend.weight}


def _reference(destination: Destination, route: Route) -> Manifest:
    written: Manifest = {"kind": "Service", "name": version_service_name(destination), "port": destination.port.number}
    if destination.service.namespace != route.service.namespace:
        written["namespace"] = destination.service.namespace
    return written


def _filters(rule: Rule, route: Route) -> list[Manifest]:
    filters: list[Manifest] = []
    if rule.headers:
        for kind, key, change in (
            ("RequestHeaderModifier", "requestHeaderModifier", rule.headers.request),
            ("ResponseHeaderModifier", "responseHeaderModifier", rule.headers.response),
        ):
            if not change.empty:
                filters.append({"type": kind, key: _change(change)})
    if rule.rewrite:
        filters.append({"type": "URLRewrite", "urlRewrite": _rewrite(rule.rewrite)})
    if rule.redirect:
        filters.append({"type": "RequestRedirect", "requestRedirect": _redirect(rule.redirect, route)})
    filters.extend({"type": "RequestMirror", "requestMirror": _mirror(mirror, route)} for mirror in rule.mirrors)
    return filters


def _change(change: HeaderChange) -> Manifest:
    written: Manifest = {}
    if change.set:
        written["set"] = [{"name": name, "value": value} for name, value in change.set]
    if change.add:
        written["add"] = [{"name": name, "value": value} for name, value in change.add]
    if change.remove:
        written["remove"] = list(change.remove)
    return written


def _rewrite(rewrite: Rewrite) -> Manifest:
    written: Manifest = {}
    if rewrite.host:
        written["hostname"] = rewrite.host
    if rewrite.path:
        written["path"] = {"type": "ReplaceFullPath", "replaceFullPath": rewrite.path}
    elif rewrite.prefix:
        written["path"] = {"type": "ReplacePrefixMatch", "replacePrefixMatch": rewrite.prefix}
    return written


def _redirect(redirect: Redirect, route: Route) -> Manifest:
    # Where no port is written, Linkerd keeps the one of the request although the scheme changes.
    written: Manifest = {"statusCode": redirect.status, "port": redirect.port_for(route.port.number)}
    if redirect.scheme:
        written["scheme"] = redirect.scheme
    if redirect.host:
        written["hostname"] = redirect.host
    if redirect.path:
        written["path"] = {"type": "ReplaceFullPath", "replaceFullPath": redirect.path}
    return written


def _mirror(mirror: Mirror, route: Route) -> Manifest:
    written: Manifest = {"backendRef": _reference(mirror.destination, route)}
    if mirror.percent == _WHOLE:
        return written
    if mirror.percent == int(mirror.percent):
        written["percent"] = int(mirror.percent)
    else:
        written["fraction"] = {"numerator": round(mirror.percent * _MILLION / _WHOLE), "denominator": _MILLION}
    return written


def matches_in_all(rules: Sequence[Rule]) -> int:
    """How many matches the rules have together, as the API server counts them."""
    return sum(max(1, len(rule.matches)) for rule in rules)
