"""Routes -> VirtualService and DestinationRule (networking.istio.io/v1), Istio 1.30.

One VirtualService per Service, named like it; one DestinationRule per Service that has versions or policies, with
every known version as a subset, so that a change of weights changes exactly the VirtualService.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .capability import VIRTUAL_SERVICE
from .durations import duration_text
from .manifests import Manifest, all_headers, egress_name, manifest, quote, written_as
from .model import (
    Backend,
    Destination,
    Egress,
    HeaderChange,
    Match,
    Mirror,
    Port,
    RateLimit,
    Redirect,
    Retry,
    Rewrite,
    Route,
    Rule,
    Service,
    TextMatch,
)

API_VERSION = "networking.istio.io/v1"
ENVOY_FILTER_API_VERSION = "networking.istio.io/v1alpha3"
ROUTER_FILTER = "envoy.filters.http.router"
_LOAD_BALANCER = {"round-robin": "ROUND_ROBIN", "least-request": "LEAST_REQUEST", "random": "RANDOM"}


def virtual_service(service: Service, routes: Sequence[Route]) -> Manifest:
    """The VirtualService of a Service, for the routes of its ports."""
    several = len(service.ports) > 1
    http: list[Manifest] = []
    for route in routes:
        port = route.port if several else None
        http.extend(_http_route(rule, port, route.port) for rule in route.rules)
    if several:
        routed = {route.port.number for route in routes}
        # Without these, requests to the other ports of the host would find no route and get 404.
        http.extend(_pass_through(service, port) for port in service.ports if port.number not in routed)
    return manifest(
        API_VERSION, "VirtualService", service.name, service.namespace, {"hosts": [service.host], "http": http}
    )


def destination_rule(service: Service, route: Route | None) -> Manifest:
    """The DestinationRule of a Service: all its versions as subsets, and the policies of its route."""
    spec: Manifest = {"host": service.host}
    policy = _traffic_policy(route) if route else {}
    if policy:
        spec["trafficPolicy"] = policy
    if service.versions:
        spec["subsets"] = [{"name": version.name, "labels": dict(version.labels)} for version in service.versions]
    return manifest(API_VERSION, "DestinationRule", service.name, service.namespace, spec)


def _http_route(rule: Rule, port: Port | None, called: Port) -> Manifest:
    route: Manifest = {"name": rule.name}
    matches = _matches(rule.matches, port)
    if matches:
        route["match"] = matches
    if rule.redirect:
        route["redirect"] = _redirect(rule.redirect, called)
    else:
        route["route"] = [_weighted(backend) for backend in rule.backends]
    if rule.rewrite:
        route["rewrite"] = _rewrite(rule.rewrite, rule.matches)
    if rule.timeout and rule.timeout.request is not None:
        route["timeout"] = duration_text(rule.timeout.request)
    if rule.retry:
        route["retries"] = _retries(rule, rule.retry)
    if rule.fault:
        route["fault"] = _fault(rule)
    if rule.mirrors:
        route["mirrors"] = [_mirror(mirror) for mirror in rule.mirrors]
    if rule.headers:
        changes = {
            side: change
            for side, change in (
                ("request", _change(rule.headers.request)),
                ("response", _change(rule.headers.response)),
            )
            if change
        }
        if changes:
            route["headers"] = changes
    return route


def _pass_through(service: Service, port: Port) -> Manifest:
    return {
        "name": f"port-{port.number}",
        "match": [{"port": port.number}],
        "route": [{"destination": {"host": service.host, "port": {"number": port.number}}}],
    }


def _destination(destination: Destination) -> Manifest:
    written: Manifest = {"host": destination.service.host}
    if destination.version:
        written["subset"] = destination.version.name
    if len(destination.service.ports) > 1:
        written["port"] = {"number": destination.port.number}
    return written


def _weighted(backend: Backend) -> Manifest:
    return {"destination": _destination(backend.destination), "weight": backend.weight}


def _mirror(mirror: Mirror) -> Manifest:
    return {"destination": _destination(mirror.destination), "percentage": {"value": mirror.percent}}


def _matches(matches: Iterable[Match], port: Port | None) -> list[Manifest]:
    written = [condition for match in matches for condition in _match(match)]
    if port is None:
        return written
    return [{**condition, "port": port.number} for condition in written or [{}]]


def _match(match: Match) -> list[Manifest]:
    """One condition, or two where a prefix of whole segments needs them: VirtualService prefixes count characters."""
    rest: Manifest = {}
    if match.method or match.grpc_service:
        rest["method"] = {"exact": match.method or "POST"}
    headers = all_headers(match)
    if headers:
        rest["headers"] = {name: _string_match(condition) for name, condition in headers}
    if match.query:
        rest["queryParams"] = {name: _query_match(condition) for name, condition in match.query}
    if match.source:
        rest["sourceLabels"] = dict(match.source)
    if match.source_namespace:
        rest["sourceNamespace"] = match.source_namespace
    if match.grpc_service:
        kind = "exact" if match.grpc_method else "prefix"
        return [{"uri": {kind: f"/{match.grpc_service}/{match.grpc_method}"}, **rest}]
    if match.path is None:
        return [rest]
    if match.path.kind == "prefix" and match.path.value != "/":
        return [{"uri": {"exact": match.path.value}, **rest}, {"uri": {"prefix": match.path.value + "/"}, **rest}]
    return [{"uri": {match.path.kind: match.path.value}, **rest}]


def _string_match(match: TextMatch) -> Manifest:
    """A header condition. An empty one holds when the header is there."""
    return {} if match.kind == "present" else {match.kind: match.value}


def _query_match(match: TextMatch) -> Manifest:
    """A query condition: only exact and regex are served."""
    written = written_as(match, VIRTUAL_SERVICE.query_kinds)
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
    written: Manifest = {}
    if change.set:
        written["set"] = dict(change.set)
    if change.add:
        written["add"] = dict(change.add)
    if change.remove:
        written["remove"] = list(change.remove)
    return written


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
    """Replaces a prefix of whole segments without doubling or losing a slash: /a and /a/b become /x and /x/b."""
    old = "" if prefix == "/" else quote(prefix)
    new = "" if replacement == "/" else replacement.replace("\\", "\\\\")
    if not new:
        return {"match": f"^{old}/?(.*)$", "rewrite": r"/\1"}
    return {"match": f"^{old}(/.*)?$" if old else "^/(.*)$", "rewrite": rf"{new}\1" if old else rf"{new}/\1"}


def _redirect(redirect: Redirect, called: Port) -> Manifest:
    written: Manifest = {"redirectCode": redirect.status, "port": redirect.port_for(called.number)}
    if redirect.path:
        written["uri"] = redirect.path
    if redirect.host:
        written["authority"] = redirect.host
    if redirect.scheme:
        written["scheme"] = redirect.scheme
    return written


def _traffic_policy(route: Route) -> Manifest:
    policy: Manifest = {}
    balancer = _load_balancer(route)
    if balancer:
        policy["loadBalancer"] = balancer
    breaker = route.circuit_breaker
    if breaker:
        tcp: Manifest = {}
        http: Manifest = {}
        for target, key, limit in (
            (tcp, "maxConnections", breaker.max_connections),
            (http, "http1MaxPendingRequests", breaker.max_pending_requests),
            (http, "http2MaxRequests", breaker.max_requests),
            (http, "maxRequestsPerConnection", breaker.max_requests_per_connection),
        ):
            if limit is not None:
                target[key] = limit
        pool = {key: value for key, value in (("tcp", tcp), ("http", http)) if value}
        if pool:
            policy["connectionPool"] = pool
        if breaker.consecutive_errors is not None:
            outlier: Manifest = {"consecutive5xxErrors": breaker.consecutive_errors}
            if breaker.interval is not None:
                outlier["interval"] = duration_text(breaker.interval)
            if breaker.ejection is not None:
                outlier["baseEjectionTime"] = duration_text(breaker.ejection)
            if breaker.max_ejection_percent is not None:
                outlier["maxEjectionPercent"] = breaker.max_ejection_percent
            policy["outlierDetection"] = outlier
    if route.retry_budget:
        policy["retryBudget"] = {"percent": route.retry_budget.percent}
        if route.retry_budget.min_retries is not None:
            policy["retryBudget"]["minRetryConcurrency"] = route.retry_budget.min_retries
    return policy


def _load_balancer(route: Route) -> Manifest:
    if route.load_balancing:
        return {"simple": _LOAD_BALANCER[route.load_balancing]}
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


def rate_limit(route: Route, limit: RateLimit) -> Manifest:
    """Envoy's local rate limit in front of the pods of a Service, for one port (EnvoyFilter, v1alpha3).

    The filter stands before the router, so behind authentication and authorization. The priority is set because
    `istioctl analyze` warns of a relative operation without one (IST0151). Its warning that every EnvoyFilter depends
    on Envoy's insides (IST0133) is answered by the tests that count requests with the pinned version.
    """
    service = route.service
    limiter: Manifest = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "meshup_rate_limit",
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


def egress(namespace: str, hosts: Iterable[Egress]) -> list[Manifest]:
    """A ServiceEntry for each host outside the mesh, for the workloads of one namespace."""
    by_host: dict[str, dict[int, Egress]] = {}
    for host in hosts:
        by_host.setdefault(host.host, {}).setdefault(host.port, host)
    entries: list[Manifest] = []
    for host, ports in by_host.items():
        spec: Manifest = {
            "hosts": [host],
            "location": "MESH_EXTERNAL",
            # A wildcard has no address that could be looked up.
            "resolution": "NONE" if host.startswith("*") else "DNS",
            "ports": [
                {"number": number, "name": f"{egress.protocol.lower()}-{number}", "protocol": egress.protocol}
                for number, egress in sorted(ports.items())
            ],
            "exportTo": ["."],
        }
        # MSH159 has said what IST0134 says.
        tcp = any(egress.protocol == "TCP" for egress in ports.values())
        answered = {"galley.istio.io/analyze-suppress": "IST0134"} if tcp else None
        name = egress_name(host)
        entries.append(manifest(API_VERSION, "ServiceEntry", name, namespace, spec, annotations=answered))
    return entries


def backend_rule(name: str, namespace: str, route: Route) -> Manifest:
    """A DestinationRule for a backend Service of an HTTPRoute: there, policies belong to the backend, not the
    parent.
    """
    host = f"{name}.{namespace}.svc.{route.service.domain}"
    spec = {"host": host, "trafficPolicy": _traffic_policy(route)}
    return manifest(API_VERSION, "DestinationRule", name, namespace, spec)


def has_policy(route: Route) -> bool:
    """True if the route has a policy that a DestinationRule carries."""
    return bool(_traffic_policy(route))
