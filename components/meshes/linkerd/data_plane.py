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
from ...traffic.manifests import egress_name
from ...traffic.model import CircuitBreaker, Egress, Guard, Mtls, RateLimit, Route, Service
from ...traffic.objects import Objects
from ...traffic.targets import DataPlane, Planned, by_service, egress_by_namespace
from .proxies import LINKERD_PROXY, PROXIES
from .server import Server, Servers

POLICY_API_VERSION = "policy.linkerd.io/v1alpha1"
DEFAULT_MIN_PENALTY = 1000
DEFAULT_MAX_PENALTY = 60_000
"""Milliseconds; the defaults of Linkerd."""
EGRESS_NETWORK = "meshup-egress"
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

    def write(self, planned: Sequence[Planned], objects: Objects, mtls: Mtls, guards: Sequence[Guard]) -> None:
        """Add annotations of Services, Servers of guarded and limited ports, rate limits and hosts outside the mesh."""
        for plans in by_service(planned).values():
            for route in (plan.route for plan in plans):
                if route.circuit_breaker:
                    objects.patch(_service_patch(route.service, route.circuit_breaker), [route.key])
        servers = Servers(mtls)
        # A Server has the name of the Service that asks first: the guards, so that policies know it.
        guarded = [servers.want(one.service, one.port, one.key, one.where, one.access) for one in guards]
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
        for namespace, hosts, keys in egress_by_namespace(planned):
            for item in _egress(namespace, hosts):
                objects.add(item, keys)


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


def _egress(namespace: str, hosts: Iterable[Egress]) -> list[Manifest]:
    """Write the EgressNetwork of a namespace, and a route for each HTTP host."""
    network = manifest(POLICY_API_VERSION, "EgressNetwork", EGRESS_NETWORK, namespace, {"trafficPolicy": "Allow"})
    objects = [network]
    for host in hosts:
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
    return objects
