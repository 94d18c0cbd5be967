"""Routes -> VirtualService (networking.istio.io/v1), Istio 1.30: one for each Service, named like it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...gateways.model import host_name
from ...manifests import Manifest, manifest
from ...traffic.claims import Claim
from ...traffic.durations import duration_text
from ...traffic.edge import Edge
from ...traffic.manifests import all_headers, filled, quote, written_as
from ...traffic.model import (
    Backend,
    Destination,
    HeaderChange,
    Match,
    Mirror,
    Port,
    Redirect,
    Retry,
    Rewrite,
    Route,
    Rule,
    Service,
    TextMatch,
)
from ...traffic.objects import TrafficObject
from ...traffic.targets import EXACT_OR_REGEX, Target, place
from .data_plane import API_VERSION, ISTIO, LOOP
from .destination_rule import full_host


def read_virtual_service(item: Manifest) -> TrafficObject:
    """Read the destinations of a VirtualService: those of its routes and mirrors."""
    spec: dict[str, Any] = item.get("spec") or {}
    destinations: list[dict[str, Any]] = []
    for http in (*(spec.get("http") or ()), *(spec.get("tls") or ())):
        parts: list[dict[str, Any]] = [*(http.get("route") or ()), *(http.get("mirrors") or ())]
        destinations += [part["destination"] for part in parts]
    return TrafficObject(item, names=frozenset((one["host"], one.get("subset") or "") for one in destinations))


_READERS = {"VirtualService": read_virtual_service}


def claims(item: Manifest, domain: str) -> Iterator[Claim]:
    """Read the Services that a VirtualService governs inside of the mesh, alone: of two for one host, istiod takes the
    older one and leaves the other out (pilot/pkg/networking/core/route, BuildSidecarVirtualHostWrapper).
    """
    spec: dict[str, Any] = item.get("spec") or {}
    if "mesh" in (spec.get("gateways") or ("mesh",)):
        for host in spec.get("hosts") or ():
            yield Claim(full_host(host, item["metadata"]["namespace"], domain))


_CLAIMS = {(API_VERSION, "VirtualService"): claims}


class VirtualService(Target):
    """VirtualServices keep the order of the rules."""

    name = "virtual-service"
    title = "Istio VirtualService"
    plane = ISTIO
    api = "istio"
    api_version = API_VERSION
    kinds = ("VirtualService", "DestinationRule")
    header_kinds = ("exact", "prefix", "regex", "present")
    redirected_again = LOOP
    readers = _READERS
    claims = _CLAIMS
    refusals = ISTIO.refusals | {
        "retries-by-budget": "Istio counts attempts; a budget only limits them further.",
        "redirect-same-address": "The webhook of istiod refuses a redirect that changes nothing but the status.",
        "gateway-api": "A VirtualService binds to a Gateway of Istio's own API.",
    }
    mesh_only: Mapping[str, str] = dict.fromkeys(
        ("source", "source-namespace"), "Callers outside of the cluster are no workloads of the mesh."
    )

    def shared_by(self, route: Route) -> Hashable:
        """Return the Service: the routes of all its ports are in one object."""
        return place(route.service)

    def write(self, routes: Sequence[Route]) -> Iterator[Manifest]:
        """Write the VirtualService of a Service, for the routes of its ports."""
        service = routes[0].service
        several = len(service.ports) > 1
        http: list[Manifest] = []
        for route in routes:
            port = route.port if several else None
            http.extend(_http_route(rule, port, route.port) for rule in route.rules)
        if several:
            routed = {route.port.number for route in routes}
            # Without these, requests to the other ports of the host would find no route and get 404.
            http.extend(_pass_through(service, port) for port in service.ports if port.number not in routed)
        spec = {"hosts": [service.host], "http": http}
        yield manifest(API_VERSION, "VirtualService", service.name, service.namespace, spec)

    def write_edges(self, edges: Sequence[Edge]) -> Iterator[tuple[Manifest, Sequence[Route]]]:
        """Write a VirtualService for each host of a gateway, in the namespace of the gateway.

        It is not that of the mesh, since a port in its conditions would be the port of the gateway there. All routes of
        the host are in it: Istio merges several of one host in no defined order.
        """
        for edge in edges:
            gateway, host = edge.gateway, edge.host
            # Only the pods of the gateway, which are in its namespace, need to know of it.
            spec: Manifest = {"hosts": [host], "gateways": [f"{gateway.namespace}/{gateway.name}"], "exportTo": ["."]}
            serving = gateway.serving(host)
            if any(listener.protocol != "tls" for listener in serving):
                spec["http"] = [_http_route(rule, None, None) for rule in edge.route.rules]
            passed_on = sorted({listener.port for listener in serving if listener.protocol == "tls"})
            if passed_on:
                matches = [{"port": port, "sniHosts": [host]} for port in passed_on]
                backends = [_weighted(backend, at_gateway=True) for backend in edge.route.rules[0].backends]
                spec["tls"] = [{"match": matches, "route": backends}]
            name = f"{host_name(host)}.{gateway.name}"
            yield manifest(API_VERSION, "VirtualService", name, gateway.namespace, spec), edge.routes


VIRTUAL_SERVICE = VirtualService()


def _http_route(rule: Rule, port: Port | None, called: Port | None) -> Manifest:
    """Write a rule.

    Args:
        rule: The rule.
        port: The port that it is for, if the Service has several.
        called: The port of the Service that is called; None for callers of a gateway.
    """
    route: Manifest = {"name": rule.name}
    route["match"] = _matches(rule.matches, port)
    if rule.redirect:
        route["redirect"] = _redirect(rule.redirect, called)
    else:
        route["route"] = [_weighted(backend, at_gateway=called is None) for backend in rule.backends]
    if rule.rewrite:
        route["rewrite"] = _rewrite(rule.rewrite, rule.matches)
    if rule.timeout and rule.timeout.request is not None:
        route["timeout"] = duration_text(rule.timeout.request)
    if rule.retry:
        route["retries"] = _retries(rule, rule.retry)
    if rule.fault:
        route["fault"] = _fault(rule)
    if rule.mirrors:
        route["mirrors"] = [_mirror(mirror, at_gateway=called is None) for mirror in rule.mirrors]
    if rule.headers:
        sides = {"request": rule.headers.request, "response": rule.headers.response}
        route["headers"] = filled({side: _change(change) for side, change in sides.items()})
    return filled(route)


def _pass_through(service: Service, port: Port) -> Manifest:
    return {
        "name": f"port-{port.number}",
        "match": [{"port": port.number}],
        "route": [{"destination": {"host": service.host, "port": {"number": port.number}}}],
    }


def _destination(destination: Destination, *, at_gateway: bool) -> Manifest:
    """Write a destination.

    Without a port, a Service that has several on the cluster is called on the port of the listener
    (pilot/pkg/networking/core/route, GetDestinationCluster): that of the caller in the mesh, none of its own at a
    gateway.
    """
    written: Manifest = {"host": destination.service.host}
    if destination.version:
        written["subset"] = destination.version.name
    if at_gateway or len(destination.service.ports) > 1:
        written["port"] = {"number": destination.port.number}
    return written


def _weighted(backend: Backend, *, at_gateway: bool) -> Manifest:
    return {"destination": _destination(backend.destination, at_gateway=at_gateway), "weight": backend.weight}


def _mirror(mirror: Mirror, *, at_gateway: bool) -> Manifest:
    destination = _destination(mirror.destination, at_gateway=at_gateway)
    return {"destination": destination, "percentage": {"value": mirror.percent}}


def _matches(matches: Iterable[Match], port: Port | None) -> list[Manifest]:
    written = [condition for match in matches for condition in _match(match)]
    if port is None:
        return written
    return [{**condition, "port": port.number} for condition in written or [{}]]


def _match(match: Match) -> list[Manifest]:
    """Write one condition, or two for a prefix of whole segments: VirtualService prefixes count characters."""
    rest = filled(
        {
            "method": {"exact": match.method or "POST"} if match.method or match.grpc_service else None,
            "headers": {name: _string_match(condition) for name, condition in all_headers(match)},
            "queryParams": {name: _query_match(condition) for name, condition in match.query},
            "sourceLabels": dict(match.source),
            "sourceNamespace": match.source_namespace,
        }
    )
    if match.grpc_service:
        kind = "exact" if match.grpc_method else "prefix"
        return [{"uri": {kind: f"/{match.grpc_service}/{match.grpc_method}"}, **rest}]
    if match.path is None:
        return [rest]
    if match.path.kind == "prefix" and match.path.value != "/":
        return [{"uri": {"exact": match.path.value}, **rest}, {"uri": {"prefix": match.path.value + "/"}, **rest}]
    return [{"uri": {match.path.kind: match.path.value}, **rest}]


def _string_match(match: TextMatch) -> Manifest:
    """Write a header condition. An empty one holds when the header is there."""
    return {} if match.kind == "present" else {match.kind: match.value}


def _query_match(match: TextMatch) -> Manifest:
    """Write a query condition: only exact and regex are served."""
    written = written_as(match, EXACT_OR_REGEX)
    return {written.kind: written.value}


def _retries(rule: Rule, retry: Retry) -> Manifest:
    written: Manifest = {"attempts": retry.attempts}
    if not retry.attempts:
        return written
    if rule.timeout and rule.timeout.per_try is not None:
        written["perTryTimeout"] = duration_text(rule.timeout.per_try)
    written["retryOn"] = ",".join(rule.retried)
    if retry.backoff is not None:
        written["backoff"] = duration_text(retry.backoff)
    return written


def _fault(rule: Rule) -> Manifest:
    written: Manifest = {}
    if rule.fault and rule.fault.delay:
        delay = rule.fault.delay
        written["delay"] = {"fixedDelay": duration_text(delay.duration), "percentage": {"value": delay.percent}}
    if rule.fault and rule.fault.abort:
        abort = rule.fault.abort
        written["abort"] = {"httpStatus": abort.status, "percentage": {"value": abort.percent}}
    return written


def _change(change: HeaderChange) -> Manifest:
    return filled({"set": dict(change.set), "add": dict(change.add), "remove": list(change.remove)})


def _rewrite(rewrite: Rewrite, matches: Sequence[Match]) -> Manifest:
    written: Manifest = {}
    if rewrite.host:
        written["authority"] = rewrite.host
    if rewrite.path:
        written["uriRegexRewrite"] = {"match": "^.*$", "rewrite": rewrite.path.replace("\\", "\\\\")}
    elif rewrite.prefix:
        # The checks make sure that there is exactly one match, on a prefix.
        prefix = matches[0].path.value if matches and matches[0].path else "/"
        written["uriRegexRewrite"] = _prefix_rewrite(prefix, rewrite.prefix)
    return written


def _prefix_rewrite(prefix: str, replacement: str) -> Manifest:
    """Replace a prefix of whole segments without doubling or losing a slash: /a and /a/b become /x and /x/b."""
    old = "" if prefix == "/" else quote(prefix)
    new = "" if replacement == "/" else replacement.replace("\\", "\\\\")
    if not new:
        return {"match": f"^{old}/?(.*)$", "rewrite": r"/\1"}
    return {"match": f"^{old}(/.*)?$" if old else "^/(.*)$", "rewrite": rf"{new}\1" if old else rf"{new}/\1"}


def _redirect(redirect: Redirect, called: Port | None) -> Manifest:
    written: Manifest = {"redirectCode": redirect.status}
    # Callers of a gateway have its port in the address that they called, or leave out that of the scheme.
    if port := redirect.port_for(called.number) if called else redirect.port:
        written["port"] = port
    return written | filled({"uri": redirect.path, "authority": redirect.host, "scheme": redirect.scheme})
