"""Linkerd as routes see it: its proxy, and what holds for a route and a ServiceProfile alike. Edge-26.8.3.

Circuit breaking is annotations on the Service that clients call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ...diagnostics import Diagnostic
from ...manifests import Manifest, manifest
from ...traffic.claims import of_route
from ...traffic.durations import duration_text
from ...traffic.gateway_api import API_VERSION as GATEWAY_API_VERSION
from ...traffic.gateway_api import egress_opening
from ...traffic.manifests import egress_name
from ...traffic.model import AnyGuard, CircuitBreaker, Egress, EgressGuard, Guard, Mtls, RateLimit, Route, Service
from ...traffic.objects import Objects, TrafficObject
from ...traffic.targets import DataPlane, Planned, by_service, egress_by_namespace
from .proxies import LINKERD_PROXY, PROXIES
from .server import Server, Servers

POLICY_API_VERSION = "policy.linkerd.io/v1alpha1"
DEFAULT_MIN_PENALTY = 1000
DEFAULT_MAX_PENALTY = 60_000
"""Milliseconds; the defaults of Linkerd."""
EGRESS_NETWORK = "meshup-egress"
OPEN_NETWORK = "meshup-egress-open"
_SECOND = 1000
_NO_FAULT = "The mesh has no fault injection."
_REFUSALS = {
    "fault-delay": _NO_FAULT,
    "fault-abort": _NO_FAULT,
    "pool": "Linkerd has no limits of connections and pending requests.",
    "load-balancing": "Linkerd always balances by the observed latency (EWMA).",
    "session-affinity": "Linkerd has no session affinity.",
    "rate-limit-shape": "Linkerd limits a whole number of requests a second, without a burst.",
    "egress-tls": "On Linkerd a TLS host needs a TLSRoute of a version that the standard channel does not serve.",
    "gateway-istio": "Linkerd has no gateway of its own.",
    "headless": "Linkerd takes no route on a headless Service.",
}


def _read_egress(item: Manifest) -> TrafficObject:
    """Return what an EgressNetwork waits for: one that closes, for what it leaves open."""
    opening = frozenset({(egress_opening(item["metadata"]["namespace"]), "")})
    if item["spec"]["trafficPolicy"] == "Deny":
        return TrafficObject(item, names=opening)
    return TrafficObject(item, opening if item["spec"].get("networks") else frozenset())


_READERS = {"EgressNetwork": _read_egress}
_CLAIMS = {("policy.linkerd.io/v1beta3", "HTTPRoute"): of_route}
"""Linkerd's own kind from before the Gateway API's; it reads both."""


class Linkerd(DataPlane):
    """Linkerd."""

    name = "linkerd"
    title = "Linkerd"
    proxies = PROXIES
    pinned = LINKERD_PROXY
    refusals = _REFUSALS
    claims = _CLAIMS
    readers = _READERS

    def check_all(self, routes: Sequence[Route]) -> Iterator[Diagnostic]:
        """Find circuit breakers that Linkerd does not look at for requests which another Service's route sends there.

        The policy of the Service that clients call holds for all backends of its routes (policy-controller, outbound
        http).
        """
        breakers = {route.service.host: route for route in routes if route.circuit_breaker}
        for route in routes:
            for rule in route.rules:
                for backend in rule.backends:
                    other = breakers.get(backend.destination.service.host)
                    if other and other.service.host != route.service.host:
                        called = route.service.name
                        yield Diagnostic(
                            "MSH157",
                            backend.where,
                            other.service.name,
                            f"Linkerd counts failures by the circuit breaker of the Service that clients call: "
                            f"requests to '{called}' do not meet that of '{other.service.name}'.",
                            remedy=f"Declare a circuit breaker at '{called}' too, if it should have one.",
                            severity="warning",
                        )

    def write(self, planned: Sequence[Planned], objects: Objects, mtls: Mtls, guards: Sequence[AnyGuard]) -> None:
        """Add annotations of Services, Servers of guarded and limited ports, rate limits and hosts outside the mesh."""
        for plans in by_service(planned).values():
            for route in (plan.route for plan in plans):
                if route.circuit_breaker:
                    objects.patch(_service_patch(route.service, route.circuit_breaker), [route.key])
        servers = Servers(mtls)
        # A Server has the name of the Service that asks first: the guards, so that policies know it.
        guarded = [
            servers.want(one.service, one.port, one.key, one.where, one.access)
            for one in guards
            if isinstance(one, Guard)
        ]
        limited = [
            (plan.route, limit, servers.want(plan.route.service, plan.route.port, plan.route.key, limit.where))
            for plan in planned
            if (limit := plan.route.rate_limit)
        ]
        objects.diagnostics += servers.diagnostics
        for server in guarded:
            objects.add(servers.write(server), server.keys)
        for route, limit, server in limited:
            objects.add(servers.write(server), server.keys)
            objects.add(_rate_limit(route, limit, server), [route.key])
        closed = {one.namespace: one for one in guards if isinstance(one, EgressGuard)}
        declared = {namespace: (hosts, keys) for namespace, hosts, keys in egress_by_namespace(planned)}
        for namespace in dict.fromkeys((*declared, *closed)):
            hosts, keys = declared.get(namespace, ((), ()))
            guard = closed.get(namespace)
            for item in _egress(namespace, hosts, guard):
                objects.add(item, (*keys, *((guard.key,) if guard else ())))


LINKERD = Linkerd()


def _breaker_annotations(breaker: CircuitBreaker) -> dict[str, str]:
    """Write circuit breaking as annotations of the Service that clients call; it holds for its routes' backends."""
    prefix = "balancer.linkerd.io/failure-accrual"
    annotations = {prefix: "consecutive", f"{prefix}-consecutive-max-failures": str(breaker.consecutive_errors)}
    shortest, longest = breaker.ejection, breaker.max_ejection
    # Linkerd ignores a breaker whose shortest penalty is above its longest, so the defaults must not get in the way.
    if longest is None and shortest is not None and shortest > DEFAULT_MAX_PENALTY:
        longest = shortest
    if shortest is None and longest is not None and longest < DEFAULT_MIN_PENALTY:
        shortest = longest
    if shortest is not None:
        annotations[f"{prefix}-consecutive-min-penalty"] = duration_text(shortest)
    if longest is not None:
        annotations[f"{prefix}-consecutive-max-penalty"] = duration_text(longest)
    return annotations


def _service_patch(service: Service, breaker: CircuitBreaker) -> Manifest:
    """Write annotations for a Service that somebody else owns."""
    annotations = _breaker_annotations(breaker)
    metadata: Manifest = {"name": service.name, "namespace": service.namespace, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata}


def _rate_limit(route: Route, limit: RateLimit, server: Server) -> Manifest:
    spec = {
        "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": server.name},
        "total": {"requestsPerSecond": limit.requests * _SECOND // limit.per},
    }
    name = f"{route.service.name}-{route.port.number}"
    return manifest(POLICY_API_VERSION, "HTTPLocalRateLimitPolicy", name, route.service.namespace, spec)


def _egress(namespace: str, declared: Iterable[Egress], guard: EgressGuard | None) -> list[Manifest]:
    """Write the EgressNetwork of a namespace, and a route for each HTTP host. What closes comes last.

    An EgressNetwork hides those of Linkerd's global namespace for its own one. A network that is open needs a second
    one: the more specific network decides (policy-controller, outbound/index/egress_network.rs).
    """
    objects: list[Manifest] = []
    hosts = {(host.host, host.port): host for host in (*(guard.hosts if guard else ()), *declared)}
    for host in (hosts[key] for key in sorted(hosts)):
        parent = {
            "group": "policy.linkerd.io",
            "kind": "EgressNetwork",
            "name": EGRESS_NETWORK,
            "port": host.port,
        }
        spec: Manifest = {
            "parentRefs": [parent],
            "hostnames": [host.host],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}],
        }
        name = f"{egress_name(host.host)}-{host.port}"
        objects.append(manifest(GATEWAY_API_VERSION, "HTTPRoute", name, namespace, spec))
    if guard and guard.networks:
        networks = [{"cidr": cidr, **({"except": [*parts]} if parts else {})} for cidr, parts in guard.networks]
        spec = {"trafficPolicy": "Allow", "networks": networks}
        objects.append(manifest(POLICY_API_VERSION, "EgressNetwork", OPEN_NETWORK, namespace, spec))
    spec = {"trafficPolicy": "Deny" if guard and guard.deny else "Allow"}
    network = manifest(POLICY_API_VERSION, "EgressNetwork", EGRESS_NETWORK, namespace, spec)
    return [*objects, network] if guard and guard.deny else [network, *objects]
