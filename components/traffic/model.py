"""The model of traffic, independent of mesh and API. Plain frozen data.

`parse` (components/traffic/parse.py) builds it from configuration; targets compile it. Everything in it is resolved:
names of versions and Services have become `Service` and `Port`, short forms have become rules, durations are integer
milliseconds. Lists are tuples and mappings are tuples of pairs, so that a route is hashable and can't change.

Interface for callers: `Service`, `Port` (the known Services that the caller hands to `parse`) and `Route`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..gateways.model import EVERY_HOST, Gateway

Mtls = Literal["strict", "permissive"]
Api = Literal["auto", "istio", "gateway-api", "service-profile"]
Pairs = tuple[tuple[str, str], ...]

CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a Service.

    Attributes:
        number: 1..65535.
        name: The name of the port, "" for none. Istio reads the protocol from its prefix (`http-web`).
        app_protocol: `appProtocol` of the port, "" for none; it wins over the name.
        target: The pods' port (targetPort), 0 for the same number.
    """

    number: int
    name: str = ""
    app_protocol: str = ""
    target: int = 0

    @property
    def container(self) -> int:
        """The port of the pods."""
        return self.target or self.number

    @property
    def grpc(self) -> bool:
        """True if the port is declared to serve gRPC and nothing else (Istio's protocol selection)."""
        return (self.app_protocol or self.name.partition("-")[0]) == "grpc"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a Service: the labels of its pods besides the Service's selector."""

    name: str
    labels: Pairs


@dataclass(frozen=True, slots=True)
class Service:
    """A Service that routes may refer to, as known before deployment.

    Attributes:
        name: Name of the Service.
        namespace: Its namespace.
        ports: Its ports, at least one.
        versions: Its versions in a stable order; empty if traffic can't be split.
        selector: The Service's selector; per-version Services add to it.
        headless: `clusterIP: None`. Linkerd accepts no route for such a Service.
        domain: The DNS domain of the cluster.
    """

    name: str
    namespace: str
    ports: tuple[Port, ...]
    versions: tuple[Version, ...] = ()
    selector: Pairs = ()
    headless: bool = False
    domain: str = CLUSTER_DOMAIN

    @property
    def host(self) -> str:
        """The fully qualified name in the cluster."""
        return f"{self.name}.{self.namespace}.svc.{self.domain}"


TextMatchKind = Literal["exact", "prefix", "regex", "present"]


@dataclass(frozen=True, slots=True)
class TextMatch:
    """Comparison of a text. `regex` (RE2) must match the whole text; `present` matches any value."""

    kind: TextMatchKind
    value: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A condition on a request; all parts must hold. A part that is not set holds for every request.

    Attributes:
        path: Path without the query. A prefix matches whole segments: `/a` matches `/a` and `/a/b`, not `/ab`.
        method: Upper-case HTTP method, or "".
        headers: Name in lower case -> comparison.
        cookies: Name -> comparison.
        query: Name of the parameter -> comparison.
        source: Labels of the calling workload.
        source_namespace: Namespace of the calling workload, or "".
        grpc_service: Full gRPC service name, or "". Excludes path and method.
        grpc_method: gRPC method, or "".
        where: Path in the configuration.
    """

    path: TextMatch | None = None
    method: str = ""
    headers: tuple[tuple[str, TextMatch], ...] = ()
    cookies: tuple[tuple[str, TextMatch], ...] = ()
    query: tuple[tuple[str, TextMatch], ...] = ()
    source: Pairs = ()
    source_namespace: str = ""
    grpc_service: str = ""
    grpc_method: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a client sends it.

    Attributes:
        path: The path without the query, as sent.
        method: HTTP method.
        headers: Names in lower case; the cookies are in `cookie`.
        query: Parameters, as sent.
        source: Labels of the calling workload.
        source_namespace: Its namespace.
    """

    path: str = "/"
    method: str = "GET"
    headers: Pairs = ()
    query: Pairs = ()
    source: Pairs = ()
    source_namespace: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """Destination of requests: a version of a Service, or (version None) all its endpoints."""

    service: Service
    port: Port
    version: Version | None = None

    @property
    def label(self) -> str:
        """The short name: the version, or the Service."""
        return self.version.name if self.version else self.service.name

    def label_for(self, caller: Service) -> str:
        """Return the name in outputs of a Service's route: `v1` of its own, otherwise `ratings`, `ratings/v1`,
        `ratings.shop/v1`.
        """
        if self.service.host == caller.host:
            return self.label
        same = self.service.namespace == caller.namespace
        name = self.service.name if same else f"{self.service.name}.{self.service.namespace}"
        return f"{name}/{self.version.name}" if self.version else name


@dataclass(frozen=True, slots=True)
class Backend:
    """A destination with its share of the rule's requests in percent, 0..100."""

    destination: Destination
    weight: int
    where: str = ""


@dataclass(frozen=True, slots=True)
class Timeout:
    """Milliseconds, at least 1; None is no limit. `per_try` bounds each attempt, `request` all of them together."""

    request: int | None = None
    per_try: int | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Retries after the first attempt.

    Attributes:
        attempts: 0..10 retries; 0 disables the mesh's default retries; None is as many as the Service's
            retry budget allows.
        conditions: Retry conditions: `5xx`, `gateway-error`, `connect-failure`, `refused-stream`, `reset`,
            or a status code such as `503`.
        backoff: Milliseconds before the first retry, then doubling; None for the mesh's default.
        where: Path in the configuration.
    """

    attempts: int | None
    conditions: tuple[str, ...] = ()
    backoff: int | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Delay:
    """A fixed delay in milliseconds for `percent` (0.0001..100) of the requests."""

    duration: int
    percent: float


@dataclass(frozen=True, slots=True)
class Abort:
    """An HTTP status (200..599) in place of an answer for `percent` (0.0001..100) of the requests."""

    status: int
    percent: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Injected faults."""

    delay: Delay | None = None
    abort: Abort | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of `percent` of the requests to a destination whose responses are dropped."""

    destination: Destination
    percent: float = 100.0
    where: str = ""


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """Header changes in this order: set (replace), add (append), remove."""

    set: Pairs = ()
    add: Pairs = ()
    remove: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """True if it changes nothing."""
        return not (self.set or self.add or self.remove)


@dataclass(frozen=True, slots=True)
class Headers:
    """Changes of request and response headers."""

    request: HeaderChange = HeaderChange()
    response: HeaderChange = HeaderChange()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Rewrite of the request: `path` replaces the whole path, `prefix` the matched prefix, `host` the
    authority.
    """

    path: str = ""
    prefix: str = ""
    host: str = ""
    where: str = ""


SCHEME_PORTS = {"http": 80, "https": 443}
"""Default port of a URL scheme (RFC 9110, section 4.2)."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect response; its rule has no backends. `port` 0 means unset."""

    path: str = ""
    host: str = ""
    scheme: str = ""
    port: int = 0
    status: int = 302
    where: str = ""

    @property
    def scheme_port(self) -> int:
        """The default port of the new address. Requests inside a mesh are HTTP."""
        return SCHEME_PORTS[self.scheme or "http"]

    def port_for(self, called: int) -> int:
        """Return the port of the new address: `port`, else that of `scheme`, else the called one.

        The rule of the Gateway API (v1.5.1, HTTPRequestRedirectFilter, `port`), on every target.

        Args:
            called: The port of the Service.
        """
        return self.port or (SCHEME_PORTS[self.scheme] if self.scheme else called)

    def same_address(self, called: int) -> bool:
        """Return True if scheme, host and port of the new address are the called ones."""
        return not self.host and self.scheme in ("", "http") and self.port_for(called) == called


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: the first matching rule in the list handles the request.

    Attributes:
        name: Unique in its route; derived from the position by default.
        matches: Alternatives; empty matches every request.
        backends: Weights sum to 100. Empty only with a redirect.
        where: Path in the configuration; that of the Service for a rule that meshup added.
        added: True for the catch-all that meshup added.
    """

    name: str
    matches: tuple[Match, ...] = ()
    backends: tuple[Backend, ...] = ()
    timeout: Timeout | None = None
    retry: Retry | None = None
    fault: Fault | None = None
    mirrors: tuple[Mirror, ...] = ()
    headers: Headers | None = None
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    where: str = ""
    added: bool = False

    @property
    def retried(self) -> tuple[str, ...]:
        """Retry conditions. Default: `gateway-error`, and `unavailable` where only gRPC calls match, since
        their responses have the HTTP status 200.
        """
        if self.retry is None or self.retry.attempts == 0:
            return ()
        grpc = bool(self.matches) and all(match.grpc_service for match in self.matches)
        return self.retry.conditions or (("unavailable",) if grpc else ("gateway-error",))


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """Outlier detection and connection pool limits.

    Attributes:
        consecutive_errors: Failures in a row (5xx) that eject an endpoint, 1 or more; None for no ejection.
        ejection: Milliseconds of the first ejection; each further one is longer.
        max_ejection: Longest ejection in milliseconds (Linkerd's max penalty); None for the default.
        interval: Milliseconds between evaluations of the counters (Istio); None for the default.
        max_ejection_percent: Share of the endpoints that may be ejected at once (Istio); None for the default.
        max_connections, max_pending_requests, max_requests, max_requests_per_connection: Pool limits (Istio).
        where: Path in the configuration.
    """

    consecutive_errors: int | None = None
    ejection: int | None = None
    max_ejection: int | None = None
    interval: int | None = None
    max_ejection_percent: int | None = None
    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_requests_per_connection: int | None = None
    where: str = ""


LoadBalancing = Literal["round-robin", "least-request", "random"]


@dataclass(frozen=True, slots=True)
class SessionAffinity:
    """Requests with the same key go to the same endpoint of one destination.

    Attributes:
        kind: `cookie`, `header`, `query` or `source-ip`.
        name: Name of the cookie, header or parameter.
        ttl: Lifetime of the cookie in milliseconds (0: session cookie).
        cookie_path: Path attribute of the cookie.
        where: Path in the configuration.
    """

    kind: Literal["cookie", "header", "query", "source-ip"]
    name: str = ""
    ttl: int = 0
    cookie_path: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Requests per interval that each pod of the Service accepts; it answers the rest with 429.

    Attributes:
        requests: 1 or more.
        per: Milliseconds of the interval.
        burst: Size of a burst; None is `requests`.
        where: Path in the configuration.
    """

    requests: int
    per: int = 1000
    burst: int | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Retries as percent of the active requests.

    Attributes:
        percent: 0.0001..100.
        min_retries: Retries that are always allowed, 1 or more: concurrent (Istio) or per second (Linkerd); None is the
            mesh's default, 3 and 10.
        ttl: Window in milliseconds in which Linkerd counts requests; None for its default.
        where: Path in the configuration.
    """

    percent: float
    min_retries: int | None = None
    ttl: int | None = None
    where: str = ""


LATENCY_BOUNDS = (50, 100, 500, 1000, 10_000)
"""Milliseconds: the only bounds of durations that Istio, Envoy and Linkerd all count requests by (Istio 1.30, Envoy
1.40, linkerd2-proxy of edge-26.8.3). Between them, a share would be a guess."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What callers of a Service can rely on (a service level objective), over 30 days.

    Attributes:
        success: Percent of the requests that do not fail; None for no objective.
        latency: Percent of the requests, and the milliseconds in which they are answered; None for no objective.
        where: Path in the configuration.
    """

    success: float | None = None
    latency: tuple[float, int] | None = None
    where: str = ""


EgressProtocol = Literal["HTTP", "HTTPS", "TLS", "TCP"]


@dataclass(frozen=True, slots=True)
class Egress:
    """An external host that the workloads of the route's namespace may call."""

    host: str
    port: int
    protocol: EgressProtocol
    where: str = ""


@dataclass(frozen=True, slots=True)
class Exposure:
    """How callers outside of the cluster reach a Service.

    Attributes:
        gateway: The gateway that they come in by.
        hosts: The hosts that they use.
        paths: The paths that the gateway takes for the Service; empty for every path.
        where: Path in the configuration.
    """

    gateway: Gateway
    hosts: tuple[str, ...] = (EVERY_HOST,)
    paths: tuple[TextMatch, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """The configuration of the traffic to one Service.

    Attributes:
        key: Key in the configuration and name in outputs.
        service: The Service that clients call.
        port: The port of the Service to which the rules apply.
        api: Which API to compile to.
        rules: In order. Empty only if just policies are declared.
        exposure: How callers outside of the cluster reach the Service; None if they do not.
        objective: What callers can rely on. It changes no object; alerts are made from it.
        where: Path in the configuration.
    """

    key: str
    service: Service
    port: Port
    api: Api = "auto"
    rules: tuple[Rule, ...] = ()
    circuit_breaker: CircuitBreaker | None = None
    load_balancing: LoadBalancing | None = None
    session_affinity: SessionAffinity | None = None
    rate_limit: RateLimit | None = None
    retry_budget: RetryBudget | None = None
    egress: tuple[Egress, ...] = ()
    exposure: Exposure | None = None
    objective: Objective | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """A port of some pods that a policy closes. Linkerd's Server is written from it, together with what routes want.

    Attributes:
        service: The Service that selects the pods.
        port: The port of that Service, or of its pods.
        access: The accessPolicy of the Server.
        key: What asks for it.
        where: Path in the configuration.
    """

    service: Service
    port: Port
    access: str
    key: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class EgressGuard:
    """What the policy of security says of calls of a namespace to the outside. Linkerd's EgressNetwork is written from
    it, together with what routes want.

    Attributes:
        namespace: The namespace.
        deny: Whether everything is closed but `hosts`, `networks` and what routes of the namespace declare.
        hosts: Hosts that are open.
        networks: Addresses that are open: each a CIDR and the parts of it that are not.
        key: What asks for it.
        where: Path in the configuration.
    """

    namespace: str
    deny: bool
    hosts: tuple[Egress, ...] = ()
    networks: tuple[tuple[str, tuple[str, ...]], ...] = ()
    key: str = ""
    where: str = ""


AnyGuard = Guard | EgressGuard
