"""Write routes as HTTPRoute and GRPCRoute (gateway.networking.k8s.io/v1) with per-version Services, for any mesh.

Gateway API v1.5.1, standard channel; for Linkerd only fields of version 1.2.1 (matches, filters, backendRefs), because
Linkerd ignores a resource with a field that it does not know. The parent is the Service that clients call, with group
"": Istio does not accept `core`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..diagnostics import Diagnostic
from ..gateways.gateway_api import API_VERSION, GROUP, MOST_PARENTS, parents
from ..gateways.model import EVERY_HOST
from ..manifests import Manifest, manifest
from . import patterns
from .capability import GRPC_RETRY
from .claims import ClaimReader, of_route
from .durations import duration_text
from .edge import Edge, edge_rules
from .grammar import DNS_LABEL
from .manifests import all_headers, filled, version_service_name, written_as
from .model import (
    Backend,
    Destination,
    Exposure,
    HeaderChange,
    Match,
    Mirror,
    Port,
    Redirect,
    Rewrite,
    Route,
    Rule,
    Service,
    TextMatch,
)
from .objects import Subset, TrafficObject
from .overlap import EVERY_PATH, method_of, path_of
from .targets import EXACT_OR_REGEX, Atom, CallReading, Rank, Target, versioned

GRANT_API_VERSION = "gateway.networking.k8s.io/v1beta1"
MOST_RULES = 16
MOST_MATCHES = 64
MOST_MATCHES_IN_ALL = 128
"""Gateway API v1.5.1: rules of a route, matches of a rule, matches of all rules together."""

RouteKind = Literal["HTTPRoute", "GRPCRoute"]
NO_PORT = Port(0)
"""The port of the Service for callers of a gateway, who do not know it."""
_MILLION = 1_000_000
_WHOLE = 100
PATH_TYPES = {"exact": "Exact", "prefix": "PathPrefix", "regex": "RegularExpression"}


REFUSALS = {
    "source": "HTTPRoute has no match on the source workload.",
    "source-namespace": "HTTPRoute has no match on the namespace of the source.",
}
"""Features that an HTTPRoute lacks on every mesh."""


@dataclass(frozen=True, slots=True)
class RouteDialect:
    """How a mesh interprets HTTPRoutes and GRPCRoutes.

    Attributes:
        timeouts: Whether timeouts are in the field `timeouts` of rules, which a GRPCRoute lacks, or in annotations.
        rust: Whether patterns are for Rust's regex crate, with anchors: Linkerd looks for the first match and only then
            asks whether it is the whole text, so `a|ab` would not take `ab`.
        grpc_exclusive: Whether a GRPCRoute takes the whole port: HTTP/2 only, and of that only POST to a path of at
            least two segments. Otherwise it is a condition on the path, for any method.
        grpc_response_headers: Whether a GRPCRoute changes response headers.
    """

    timeouts: bool
    rust: bool
    grpc_exclusive: bool
    grpc_response_headers: bool

    def pattern(self, pattern: str) -> str:
        """Return the pattern in the syntax of the mesh."""
        return f"^(?:{patterns.rust(pattern)})$" if self.rust else pattern

    def needs_http(self, rule: Rule) -> bool:
        """Return True if a GRPCRoute can't express the rule."""
        if rule.redirect or rule.rewrite or (rule.timeout and self.timeouts):
            return True
        if rule.headers and not rule.headers.response.empty and not self.grpc_response_headers:
            return True
        return any(condition not in GRPC_RETRY for condition in rule.retried)


@dataclass(frozen=True, slots=True)
class RoutePart:
    """The rules of a route in one object, its name and its annotations."""

    name: str
    rules: Sequence[Rule]
    annotations: Mapping[str, str]


def egress_opening(namespace: str) -> str:
    """Return what stands in place of a host for what opens calls of a namespace to the outside."""
    return f"egress.{namespace}"


def _read_service(item: Manifest) -> TrafficObject:
    metadata = item["metadata"]
    return TrafficObject(item, offers=frozenset({(f"{metadata['name']}.{metadata['namespace']}", "")}))


def _read_route(item: Manifest) -> TrafficObject:
    """Return the destinations of a route: its backends and mirrors, and its parents. One that opens a host for calls to
    the outside is to be there before what closes the rest.
    """
    spec: dict[str, Any] = item.get("spec") or {}
    references: list[dict[str, Any]] = [one for one in spec.get("parentRefs") or () if one.get("kind") != "Gateway"]
    for rule in spec.get("rules") or ():
        references += rule.get("backendRefs") or ()
        filters: list[dict[str, Any]] = rule.get("filters") or []
        references += [entry["requestMirror"]["backendRef"] for entry in filters if "requestMirror" in entry]
    home = item["metadata"]["namespace"]
    names: set[Subset] = {(f"{one['name']}.{one.get('namespace') or home}", "") for one in references}
    opens = frozenset((egress_opening(home), "") for one in references if one.get("kind") == "EgressNetwork")
    return TrafficObject(item, opens, frozenset(names))


READERS = {
    "Service": _read_service,
    "HTTPRoute": _read_route,
    "GRPCRoute": _read_route,
    "TLSRoute": _read_route,
}
"""Readers of the destinations of an object, by kind."""


def by_the_standard(atom: Atom, _: int) -> Rank:
    """Rank a match as the Gateway API says (v1.5.1, HTTPRouteRule): exact path, longest prefix, method, headers, query.

    It says nothing of regular expressions; they come after all others in this rank.
    """
    kind = {"exact": 2, "prefix": 1}.get(atom.path.kind, 0)
    method = 1 if method_of(atom.match) else 0
    return (kind, len(atom.path.value), method, atom.header_count, len(atom.match.query))


class GatewayApiTarget(Target):
    """Routes of the Gateway API on a mesh."""

    api = "gateway-api"
    api_version = API_VERSION
    kinds = ("HTTPRoute", "GRPCRoute", "DestinationRule")
    version_services = True
    readers = READERS
    claims: Mapping[tuple[str, str], ClaimReader] = {
        (API_VERSION, "HTTPRoute"): of_route,
        (API_VERSION, "GRPCRoute"): of_route,
    }
    dialect: RouteDialect

    def kind(self, route: Route) -> RouteKind:
        """Return GRPCRoute if every condition is on gRPC and nothing needs HTTPRoute; else HTTPRoute.

        A Service port has one of them, never both: a GRPCRoute makes the HTTPRoutes beside it conflicted. Where it
        would exclude HTTP callers of the port, the port must be declared as gRPC.
        """
        matches = [match for rule in route.rules for match in rule.matches]
        if not any(match.grpc_service for match in matches):
            return "HTTPRoute"
        if any(not match.grpc_service and (match.path or match.method or match.query) for match in matches):
            return "HTTPRoute"
        if self.dialect.grpc_exclusive and not route.port.grpc:
            return "HTTPRoute"
        return "HTTPRoute" if any(self.dialect.needs_http(rule) for rule in route.rules) else "GRPCRoute"

    def parts(self, route: Route) -> list[RoutePart]:
        """Return the rules of each object, with its name and annotations."""
        return [RoutePart(route_name(route), route.rules, {})]

    def groups(self, route: Route) -> Sequence[Sequence[Rule]]:
        """Return the rules of each object."""
        return [part.rules for part in self.parts(route)]

    def call_reading(self, route: Route) -> CallReading | None:
        """A GRPCRoute is compared as gRPC, an HTTPRoute by path and method."""
        exclusive = self.dialect.grpc_exclusive
        return CallReading(exclusive, exclusive) if self.kind(route) == "GRPCRoute" else None

    def check(self, route: Route) -> Iterator[Diagnostic]:
        """Check the limits of the API, and the Services of versions."""
        for part in self.parts(route):
            matches = sum(max(1, len(rule.matches)) for rule in part.rules)
            for what, count, most in (
                ("rules", len(part.rules), MOST_RULES),
                ("matches", matches, MOST_MATCHES_IN_ALL),
            ):
                if count > most:
                    yield Diagnostic(
                        "MSH132",
                        f"{route.where}.rules",
                        count,
                        f"One {self.kind(route)} takes at most {most} {what}.",
                        f"at most {most} {what}",
                        "Join rules that have the same backends into one with several matches, or use api: istio.",
                    )
        for service in versioned(route):
            yield from _check_version_services(route, service)
        if route.exposure:
            yield from _check_edge(route, route.exposure)

    def write(self, routes: Sequence[Route]) -> Iterator[Manifest]:
        """Write the routes, after the ReferenceGrants for Services in other namespaces."""
        for route in routes:
            kind = self.kind(route)
            yield from _reference_grants(route, kind, route_name(route))
            parent = {"group": "", "kind": "Service", "name": route.service.name, "port": route.port.number}
            for part in self.parts(route):
                rules = [self._rule(rule, route, kind) for rule in part.rules]
                spec = {"parentRefs": [parent], "rules": rules}
                yield manifest(
                    API_VERSION, kind, part.name, route.service.namespace, spec, annotations=part.annotations
                )

    def write_edges(self, edges: Sequence[Edge]) -> Iterator[tuple[Manifest, Sequence[Route]]]:
        """Write an HTTPRoute for each route that a gateway serves, and a TLSRoute where it passes TLS on unread.

        They are not those of the mesh: a Service as a parent takes no hostnames (Gateway API v1.5.1, geps/gep-1426).
        """
        for route in {route.key: route for edge in edges for route in edge.routes}.values():
            for item in self._edge(route, route.exposure) if route.exposure else ():
                yield item, [route]

    def _edge(self, route: Route, exposure: Exposure) -> Iterator[Manifest]:
        gateway, name = exposure.gateway, f"{route_name(route)}.{exposure.gateway.name}"
        serving = [one for one in gateway.listeners if any(one in gateway.serving(host) for host in exposure.hosts)]
        at_edge = replace(route, rules=tuple(edge_rules(route, exposure.paths)))
        hostnames = [] if EVERY_HOST in exposure.hosts else list(exposure.hosts)
        for kind, listeners in (
            ("HTTPRoute", [one for one in serving if one.protocol != "tls"]),
            ("TLSRoute", [one for one in serving if one.protocol == "tls"]),
        ):
            if not listeners:
                continue
            yield from _reference_grants(at_edge, kind, name)
            spec: Manifest = {
                "parentRefs": [parent for one in listeners for parent in parents(gateway, one, exposure.hosts)]
            }
            if hostnames:
                spec["hostnames"] = hostnames
            if kind == "HTTPRoute":
                spec["rules"] = [self.at_edge.edge_rule(rule, at_edge) for rule in at_edge.rules]
            else:
                spec["rules"] = [{"backendRefs": [_backend(backend, route) for backend in at_edge.rules[0].backends]}]
            yield manifest(API_VERSION, kind, name, route.service.namespace, spec)

    @property
    def at_edge(self) -> GatewayApiTarget:
        """How a gateway reads its routes."""
        return self

    def edge_rule(self, rule: Rule, route: Route) -> Manifest:
        """Write a rule for a gateway."""
        return self._rule(rule, replace(route, port=NO_PORT), "HTTPRoute")

    def _rule(self, rule: Rule, route: Route, kind: RouteKind) -> Manifest:
        if kind == "HTTPRoute":
            matches = [self._http_match(match, route) for match in rule.matches or (Match(),)]
        else:
            matches = [self._grpc_match(match) for match in rule.matches]
        timeout = rule.timeout.request if self.dialect.timeouts and rule.timeout else None
        return filled(
            {
                "matches": matches,
                "filters": _filters(rule, route),
                "backendRefs": [_backend(backend, route) for backend in rule.backends],
                "timeouts": timeout and {"request": duration_text(timeout)},
            }
        )

    def _http_match(self, match: Match, route: Route) -> Manifest:
        path = path_of(match)
        if path == EVERY_PATH:
            path = self.every_path(route)
        value = self.dialect.pattern(path.value) if path.kind == "regex" else path.value
        return filled(
            {
                "path": {"type": PATH_TYPES[path.kind], "value": value},
                "method": method_of(match),
                "headers": self._all_named(all_headers(match)),
                "queryParams": self._all_named(match.query),
            }
        )

    def _grpc_match(self, match: Match) -> Manifest:
        call = filled({"type": "Exact", "service": match.grpc_service, "method": match.grpc_method})
        return filled({"method": call if match.grpc_service else None, "headers": self._all_named(all_headers(match))})

    def _all_named(self, conditions: Iterable[tuple[str, TextMatch]]) -> list[Manifest]:
        return [self._named(name, condition) for name, condition in conditions]

    def _named(self, name: str, condition: TextMatch) -> Manifest:
        """Return a condition by name. The Gateway API has only exact and regular expressions here."""
        written = written_as(condition, EXACT_OR_REGEX)
        if written.kind == "exact":
            return {"type": "Exact", "name": name, "value": written.value}
        return {"type": "RegularExpression", "name": name, "value": self.dialect.pattern(written.value)}


def _check_edge(route: Route, exposure: Exposure) -> Iterator[Diagnostic]:
    """Check the limits of the route of a gateway: each match is there once for each path that the gateway takes."""
    counts = [len(rule.matches) for rule in edge_rules(route, exposure.paths)]
    listeners = dict.fromkeys(one for host in exposure.hosts for one in exposure.gateway.serving(host))
    found = sum(len(parents(exposure.gateway, one, exposure.hosts)) for one in listeners)
    for key, what, count, most in (
        ("paths", "matches in a rule", max(counts, default=0), MOST_MATCHES),
        ("paths", "matches", sum(counts), MOST_MATCHES_IN_ALL),
        ("hosts", "listeners with one host each", found, MOST_PARENTS),
    ):
        if count > most:
            message = f"At the gateway one HTTPRoute takes at most {most} {what}; here are {count}."
            remedy = "Give the route fewer paths, or fewer matches." if key == "paths" else "Name fewer hosts."
            yield Diagnostic("MSH132", f"{exposure.where}.{key}", count, message, f"at most {most} {what}", remedy)


def _check_version_services(route: Route, service: Service) -> Iterator[Diagnostic]:
    if not service.selector:
        yield Diagnostic(
            "MSH138",
            route.where,
            service.name,
            f"It is not known which pods the Service '{service.name}' selects. A Service for each version would "
            "select by the labels of the version alone, in every application of the namespace.",
            remedy="Add 'selector' with the labels that the Service selects.",
        )
    for version in service.versions:
        name = version_service_name(Destination(service, route.port, version))
        if not DNS_LABEL.fullmatch(name) or not name[0].isalpha():
            yield Diagnostic(
                "MSH133",
                route.where,
                name,
                "The Service of the version can't have this name.",
                "a DNS label that begins with a letter, at most 63 characters",
                "Shorten the name of the version.",
            )


def route_name(route: Route) -> str:
    """Return the name of the route object, with the port if the Service has several."""
    several = len(route.service.ports) > 1
    return f"{route.service.name}-{route.port.number}" if several else route.service.name


def version_services(service: Service) -> list[Manifest]:
    """Return one Service per version: HTTPRoute backendRefs are Services, without subsets."""
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


def _reference_grants(route: Route, kind: str, route_object: str) -> list[Manifest]:
    """Return a ReferenceGrant for each backend Service in another namespace."""
    home = route.service.namespace
    grants: dict[tuple[str, str], Manifest] = {}
    for rule in route.rules:
        for destination in (*(b.destination for b in rule.backends), *(m.destination for m in rule.mirrors)):
            namespace = destination.service.namespace
            if namespace == home:
                continue
            target = version_service_name(destination)
            spec = {
                "from": [{"group": GROUP, "kind": kind, "namespace": home}],
                "to": [{"group": "", "kind": "Service", "name": target}],
            }
            name = f"{home}-{route_object}-to-{target}"
            grants[namespace, target] = manifest(GRANT_API_VERSION, "ReferenceGrant", name, namespace, spec)
    return list(grants.values())


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
    changed = {"set": change.set, "add": change.add}
    written = {key: [{"name": name, "value": value} for name, value in pairs] for key, pairs in changed.items()}
    return filled({**written, "remove": list(change.remove)})


def _rewrite(rewrite: Rewrite) -> Manifest:
    prefix = {"type": "ReplacePrefixMatch", "replacePrefixMatch": rewrite.prefix} if rewrite.prefix else None
    return filled({"hostname": rewrite.host, "path": _full_path(rewrite.path) or prefix})


def _full_path(path: str) -> Manifest | None:
    return {"type": "ReplaceFullPath", "replaceFullPath": path} if path else None


def _redirect(redirect: Redirect, route: Route) -> Manifest:
    # Without a port, Linkerd keeps that of the request although the scheme changes. Callers of a gateway have its port
    # in the address that they called, or leave out that of the scheme.
    port = redirect.port if route.port is NO_PORT else redirect.port_for(route.port.number)
    return filled(
        {
            "statusCode": redirect.status,
            "port": port or None,
            "scheme": redirect.scheme,
            "hostname": redirect.host,
            "path": _full_path(redirect.path),
        }
    )


def _mirror(mirror: Mirror, route: Route) -> Manifest:
    written: Manifest = {"backendRef": _reference(mirror.destination, route)}
    if mirror.percent == _WHOLE:
        return written
    if mirror.percent == int(mirror.percent):
        written["percent"] = int(mirror.percent)
    else:
        written["fraction"] = {"numerator": round(mirror.percent * _MILLION / _WHOLE), "denominator": _MILLION}
    return written
