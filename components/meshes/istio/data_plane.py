"""Istio as routes see it: its Envoys, and what holds for a VirtualService and an HTTPRoute alike. Istio 1.30."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...diagnostics import Diagnostic
from ...manifests import Manifest, manifest
from ...traffic.manifests import egress_name, version_service_name
from ...traffic.model import AnyGuard, Destination, Mtls, RateLimit, Route, Service
from ...traffic.objects import Objects, TrafficObject
from ...traffic.targets import DataPlane, Planned, by_service, egress_by_namespace, place, versioned
from .destination_rule import (
    API_VERSION,
    backend_rule,
    claims,
    destination_rule,
    read_destination_rule,
    traffic_policy,
    with_subsets_of,
)
from .metrics import RATE_LIMIT
from .proxies import ENVOY_1_38, PROXIES
from .service_entries import service_entries

ENVOY_FILTER_API_VERSION = "networking.istio.io/v1alpha3"
ROUTER_FILTER = "envoy.filters.http.router"
LOOP = "Envoy answers it with the same redirect again: a client that follows it is in a loop."


def read_service_entry(item: Manifest) -> TrafficObject:
    """Read the destinations of a ServiceEntry: its hosts."""
    spec: dict[str, Any] = item.get("spec") or {}
    return TrafficObject(item, offers=frozenset((host, "") for host in spec.get("hosts") or ()))


_REFUSALS = {
    "breaker-max-ejection": "A DestinationRule has no limit for the time of an ejection.",
    "retry-budget-ttl": "A DestinationRule of Istio 1.30 counts the requests that are under way, and looks back at no "
    "others.",
    "redirect-scheme-port": "Istio leaves the port of a scheme out, and Envoy then keeps the port that was called "
    "(observed).",
}
_READERS = {"DestinationRule": read_destination_rule, "ServiceEntry": read_service_entry}
_MERGERS = {(API_VERSION, "DestinationRule"): with_subsets_of}
_CLAIMS = {(API_VERSION, "DestinationRule"): claims}


class Istio(DataPlane):
    """Istio in sidecar mode."""

    name = "istio"
    title = "Istio"
    proxies = PROXIES
    pinned = ENVOY_1_38
    refusals = _REFUSALS
    readers = _READERS
    mergers = _MERGERS
    claims = _CLAIMS

    def check(self, route: Route) -> Iterator[Diagnostic]:
        """Check whether requests meet the policies, and what a TCP host takes."""
        if traffic_policy(route):
            yield from _check_policies_met(route)
        for egress in route.egress:
            if egress.protocol == "TCP":
                yield Diagnostic(
                    "MSH159",
                    egress.where,
                    egress.host,
                    f"Istio sends every connection on port {egress.port} from this namespace, which no other Service "
                    f"takes, to {egress.host}.",
                    severity="warning",
                )

    def write(self, planned: Sequence[Planned], objects: Objects, mtls: Mtls, guards: Sequence[AnyGuard]) -> None:
        """Add DestinationRules, rate limits and hosts outside the mesh."""
        # PeerAuthentication and AuthorizationPolicy say it for all workloads (mutual_tls.py).
        del mtls, guards
        for service, plans in _users(planned):
            keys = [plan.route.key for plan in plans]
            owner = next((p.route for p in plans if p.route.service == service and traffic_policy(p.route)), None)
            if owner or any(plan.route.rules and not plan.target.version_services for plan in plans):
                item = destination_rule(service, owner)
                if len(item["spec"]) > 1:
                    objects.add(item, keys)
            if owner is None:
                continue
            # Behind an HTTPRoute a version is a Service of its own, and Istio looks for the policies of that one. Every
            # known version gets them, so that weights can move between versions without a further object.
            users = [p.route.key for p in plans if p.target.version_services and service in versioned(p.route)]
            for version in service.versions if users else ():
                name = version_service_name(Destination(service, owner.port, version))
                objects.add(backend_rule(name, service.namespace, owner), [owner.key, *users])
        for plan in planned:
            if plan.route.rate_limit:
                objects.add(_rate_limit(plan.route, plan.route.rate_limit), [plan.route.key])
        for namespace, hosts, keys in egress_by_namespace(planned):
            for item in service_entries(namespace, hosts, egress_name):
                objects.add(item, keys)


ISTIO = Istio()


def _users(planned: Sequence[Planned]) -> Iterable[tuple[Service, list[Planned]]]:
    """Return every Service that a route governs or names a version of, with those routes; its own routes first."""
    found = {key: (plans[0].route.service, plans) for key, plans in by_service(planned).items()}
    for plan in planned:
        for service in versioned(plan.route):
            users = found.setdefault(place(service), (service, []))[1]
            if plan not in users:
                users.append(plan)
    return found.values()


def _check_policies_met(route: Route) -> Iterator[Diagnostic]:
    """Istio takes the policies of the Service that a request goes to, not of the one that was called."""
    live = [backend for rule in route.rules for backend in rule.backends if backend.weight]
    elsewhere = [backend for backend in live if backend.destination.service.host != route.service.host]
    if not elsewhere:
        return
    nowhere = len(elsewhere) == len(live) and len(route.service.ports) == 1
    others = {backend.destination.service.name: backend for backend in reversed(elsewhere)}
    for name, backend in others.items():
        yield Diagnostic(
            "MSH157",
            backend.where,
            name,
            f"Istio applies the policies of '{name}' to requests that go there, not those of '{route.service.name}'"
            + (", and all requests go to other Services." if nowhere else "."),
            remedy=f"Declare circuit breaking, load balancing, affinity or retry budget at '{name}'"
            + ("." if nowhere else " too, if it should have them."),
            severity="error" if nowhere else "warning",
        )


def _rate_limit(route: Route, limit: RateLimit) -> Manifest:
    """Envoy's local rate limit in front of the pods of a Service, for one port (EnvoyFilter, v1alpha3).

    The filter stands before the router, so behind authentication and authorization. The priority is set because
    `istioctl analyze` warns of a relative operation without one (IST0151). Its warning that every EnvoyFilter depends
    on Envoy's insides (IST0133) is answered by the tests that count requests with the pinned version.
    """
    service = route.service
    limiter: Manifest = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": RATE_LIMIT,
        "token_bucket": {
            "max_tokens": limit.burst or limit.requests,
            "tokens_per_fill": limit.requests,
            # Envoy's own configuration: protobuf's JSON takes seconds only.
            "fill_interval": f"{limit.per // 1000}.{limit.per % 1000:03d}s",
        },
    }
    for switch in ("filter_enabled", "filter_enforced"):
        limiter[switch] = {
            "runtime_key": f"meshup_rate_limit_{switch.removeprefix('filter_')}",
            "default_value": {"numerator": 100, "denominator": "HUNDRED"},
        }
    manager = {"name": "envoy.filters.network.http_connection_manager", "subFilter": {"name": ROUTER_FILTER}}
    patch: Manifest = {
        "applyTo": "HTTP_FILTER",
        "match": {
            "context": "SIDECAR_INBOUND",
            "listener": {"filterChain": {"destinationPort": route.port.container, "filter": manager}},
        },
        "patch": {
            "operation": "INSERT_BEFORE",
            "value": {"name": "envoy.filters.http.local_ratelimit", "typed_config": limiter},
        },
    }
    spec: Manifest = {
        "priority": 10,
        "workloadSelector": {"labels": dict(service.selector)},
        "configPatches": [patch],
    }
    name = f"{service.name}-{route.port.number}-rate-limit"
    answered = {"galley.istio.io/analyze-suppress": "IST0133"}
    return manifest(ENVOY_FILTER_API_VERSION, "EnvoyFilter", name, service.namespace, spec, annotations=answered)
