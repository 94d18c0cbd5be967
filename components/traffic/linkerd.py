"""What only Linkerd needs: annotations, ServiceProfile, rate limits and egress. Linkerd edge-26.8.3.

Timeouts and retries are annotations of a route object, not of a rule, so rules with different policies go into
several objects on one parent. Circuit breaking is annotations on the Service that clients call.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import patterns
from .capability import GRPC_RETRY
from .durations import duration_text
from .gateway_api import API_VERSION as GATEWAY_API_VERSION
from .gateway_api import LINKERD, route_kind, route_name, route_object
from .manifests import Manifest, egress_name, manifest, quote
from .model import CircuitBreaker, Egress, Match, Mtls, RateLimit, Route, Rule, Service
from .overlap import path_of

PROFILE_API_VERSION = "linkerd.io/v1alpha2"
POLICY_API_VERSION = "policy.linkerd.io/v1alpha1"
SERVER_API_VERSION = "policy.linkerd.io/v1beta3"
DEFAULT_MIN_PENALTY = 1000
DEFAULT_MAX_PENALTY = 60_000
DEFAULT_BUDGET_TTL = 10_000
"""Milliseconds; the defaults of Linkerd."""
DEFAULT_MIN_RETRIES = 10
"""A second; the default of Linkerd. The CRD wants a number."""
EGRESS_NETWORK = "meshup-egress"
ACCESS_POLICY: dict[Mtls, str] = {"strict": "all-authenticated", "permissive": "all-unauthenticated"}
"""Who a Server admits (Linkerd, Server accessPolicy): what proxy.defaultInboundPolicy is for the whole mesh."""
APP_PROTOCOLS = ("", "http", "kubernetes.io/h2c")
"""Values of a Service port's appProtocol with which Linkerd looks at requests; others are opaque to it (linkerd2,
policy-controller, core/src/outbound.rs and pull request 13948)."""
_SECOND = 1000


def route_objects(route: Route) -> list[Manifest]:
    """The HTTPRoutes or GRPCRoutes of a route: one for each set of policies among its rules."""
    kind = route_kind(route, "linkerd")
    return [
        route_object(route, rules, name, kind=kind, style=LINKERD, annotations=annotations)
        for name, annotations, rules in grouped(route)
    ]


def grouped(route: Route) -> list[tuple[str, dict[str, str], list[Rule]]]:
    """The rules by the annotations that they need: name of the object, annotations, rules in order.

    The last rule's object has the name of the Service, the others that of their first rule behind it.
    """
    if not any(rule.timeout or rule.retry for rule in route.rules):
        return [(route_name(route), {}, list(route.rules))]
    groups: dict[tuple[tuple[str, str], ...], list[Rule]] = {}
    for rule in route.rules:
        groups.setdefault(tuple(sorted(rule_annotations(rule).items())), []).append(rule)
    last = route.rules[-1] if route.rules else None
    base = route_name(route)
    return [
        (base if last in rules else f"{base}-{rules[0].name}", dict(annotations), rules)
        for annotations, rules in groups.items()
    ]


def rule_annotations(rule: Rule) -> dict[str, str]:
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


def breaker_annotations(breaker: CircuitBreaker) -> dict[str, str]:
    """Circuit breaking as annotations of the Service that clients call; it holds for all backends of its routes."""
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


def service_patch(service: Service, annotations: dict[str, str]) -> Manifest:
    """Annotations for a Service that somebody else owns."""
    metadata: Manifest = {"name": service.name, "namespace": service.namespace, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata}


def service_profile(route: Route) -> Manifest:
    """The ServiceProfile of a Service: timeouts and retries by path and method, within a retry budget."""
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
    return manifest(PROFILE_API_VERSION, "ServiceProfile", route.service.host, route.service.namespace, spec)


def _condition(match: Match) -> Manifest:
    """Path and method; the pattern is anchored by Linkerd."""
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


def rate_limit(route: Route, limit: RateLimit, mtls: Mtls) -> list[Manifest]:
    """The Server of the pods' port and its limit.

    A Server takes the place of the mesh's default for these pods, and admits nobody unless it is told to, so it says
    what the mesh says.
    """
    service = route.service
    name = f"{service.name}-{route.port.number}"
    server = manifest(
        SERVER_API_VERSION,
        "Server",
        name,
        service.namespace,
        {
            "podSelector": {"matchLabels": dict(service.selector)},
            "port": route.port.container,
            "accessPolicy": ACCESS_POLICY[mtls],
        },
    )
    policy = manifest(
        POLICY_API_VERSION,
        "HTTPLocalRateLimitPolicy",
        name,
        service.namespace,
        {
            "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": name},
            "total": {"requestsPerSecond": limit.requests * _SECOND // limit.per},
        },
    )
    return [server, policy]


def egress(namespace: str, hosts: Iterable[Egress]) -> list[Manifest]:
    """The EgressNetwork of a namespace, and a route for each HTTP host."""
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
