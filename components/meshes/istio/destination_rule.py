"""Policies and versions -> DestinationRule (networking.istio.io/v1), Istio 1.30.

One for each Service that has versions or policies, with every known version as a subset, so that a change of weights
changes exactly the VirtualService.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...manifests import Manifest, manifest
from ...traffic.claims import Claim
from ...traffic.durations import duration_text
from ...traffic.manifests import filled
from ...traffic.model import CircuitBreaker, Route, Service
from ...traffic.objects import WHOLE_HOST, TrafficObject

API_VERSION = "networking.istio.io/v1"
LOAD_BALANCER = {"round-robin": "ROUND_ROBIN", "least-request": "LEAST_REQUEST", "random": "RANDOM"}


def destination_rule(service: Service, route: Route | None) -> Manifest:
    """Write the DestinationRule of a Service: all its versions as subsets, and the policies of its route."""
    spec: Manifest = {"host": service.host}
    policy = traffic_policy(route) if route else {}
    if policy:
        spec["trafficPolicy"] = policy
    if service.versions:
        spec["subsets"] = [{"name": version.name, "labels": dict(version.labels)} for version in service.versions]
    return manifest(API_VERSION, "DestinationRule", service.name, service.namespace, spec)


def backend_rule(name: str, namespace: str, route: Route) -> Manifest:
    """Write a DestinationRule for a backend Service of an HTTPRoute: there, policies belong to the backend, not the
    parent.
    """
    host = f"{name}.{namespace}.svc.{route.service.domain}"
    spec = {"host": host, "trafficPolicy": traffic_policy(route)}
    return manifest(API_VERSION, "DestinationRule", name, namespace, spec)


def read_destination_rule(item: Manifest) -> TrafficObject:
    """Read the destinations of a DestinationRule: its subsets. Routes to the host wait for its policies too."""
    host = item["spec"]["host"]
    return TrafficObject(item, offers=frozenset((host, subset) for subset in (WHOLE_HOST, *_subsets(item))))


def full_host(host: str, namespace: str, domain: str) -> str:
    """Return the full name of a host: one without dots is a Service of the namespace (pkg/config/host,
    ResolveShortnameToFQDN).
    """
    return host if "." in host or host.startswith("*") else f"{host}.{namespace}.svc.{domain}"


def claims(item: Manifest, domain: str) -> Iterator[Claim]:
    """Read the host of a DestinationRule. Subsets of several are joined, of policies one is taken."""
    host = full_host(str(item["spec"]["host"]), item["metadata"]["namespace"], domain)
    yield Claim(host, "policies", frozenset({"DestinationRule"}))


def with_subsets_of(old: Manifest, new: Manifest) -> Manifest:
    """Return the new form of a DestinationRule, with the subsets that only the old form has."""
    subsets = _subsets(old) | _subsets(new)
    return {**new, "spec": {**new["spec"], "subsets": list(subsets.values())}}


def _subsets(item: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = item.get("spec") or {}
    return {subset["name"]: subset for subset in spec.get("subsets") or ()}


def traffic_policy(route: Route) -> Manifest:
    """Write the policies of a route that a DestinationRule carries."""
    breaker, budget = route.circuit_breaker or CircuitBreaker(), route.retry_budget
    http = {
        "http1MaxPendingRequests": breaker.max_pending_requests,
        "http2MaxRequests": breaker.max_requests,
        "maxRequestsPerConnection": breaker.max_requests_per_connection,
    }
    outlier = {
        "consecutive5xxErrors": breaker.consecutive_errors,
        "interval": breaker.interval and duration_text(breaker.interval),
        "baseEjectionTime": breaker.ejection and duration_text(breaker.ejection),
        "maxEjectionPercent": breaker.max_ejection_percent,
    }
    retries = {"percent": budget.percent, "minRetryConcurrency": budget.min_retries} if budget else {}
    return filled(
        {
            "loadBalancer": _load_balancer(route),
            "connectionPool": filled(
                {"tcp": filled({"maxConnections": breaker.max_connections}), "http": filled(http)}
            ),
            "outlierDetection": filled(outlier),
            "retryBudget": filled(retries),
        }
    )


def _load_balancer(route: Route) -> Manifest:
    if route.load_balancing:
        return {"simple": LOAD_BALANCER[route.load_balancing]}
    session = route.session_affinity
    if session is None:
        return {}
    if session.kind == "cookie":
        cookie: Manifest = {"name": session.name, "ttl": duration_text(session.ttl) if session.ttl else "0s"}
        if session.cookie_path:
            cookie["path"] = session.cookie_path
        return {"consistentHash": {"httpCookie": cookie}}
    if session.kind == "source-ip":
        return {"consistentHash": {"useSourceIp": True}}
    key = "httpHeaderName" if session.kind == "header" else "httpQueryParameterName"
    return {"consistentHash": {key: session.name}}
