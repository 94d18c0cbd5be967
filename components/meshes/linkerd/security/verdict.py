"""Decide a request by Linkerd's objects, edge-26.8.3: of meshup or of others, with what the API server adds to them.

Sources: linkerd2, policy-controller/k8s/index/src/inbound and outbound; linkerd2-proxy, linkerd/app/inbound/src/policy
and linkerd/http/route/src; and what real proxies were seen to do.

A route without a status counts as accepted: it was not on a cluster yet.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....manifests import Manifest, object_ref
from ....security.model import Mode
from ....security.plane import AccessRequest, Verdict
from ....security.world import Workload, World
from .callers import ANY, GROUP, account_name
from .scraping import ADMIN_NAME, ADMIN_PORT, PROBES
from .write import DEFAULT_POLICY

KINDS = (
    ("policy.linkerd.io/v1beta3", "Server"),
    ("policy.linkerd.io/v1beta1", "ServerAuthorization"),
    ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"),
    ("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication"),
    ("policy.linkerd.io/v1alpha1", "NetworkAuthentication"),
    ("policy.linkerd.io/v1alpha1", "EgressNetwork"),
    ("policy.linkerd.io/v1beta3", "HTTPRoute"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ("v1", "Namespace"),
)
UNGOVERNED = frozenset({4190, 4567, 4568})
"""Ports that no policy governs: tap, which asks who calls by itself, and the default of
proxyInit.ignoreInboundPorts."""
CLUSTER_NETWORKS = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8")
"""The default of the chart's clusterNetworks."""
GLOBAL_EGRESS = "linkerd-egress"
"""The default of the chart's egress.globalEgressNetworkNamespace."""
DEFAULTS = (
    *("all-authenticated", "all-unauthenticated", "cluster-authenticated", "cluster-unauthenticated"),
    *("deny", "audit"),
)
_FORBIDDEN, _NOT_FOUND, _OK = 403, 404, 200
_GRPC_DENIED, _GRPC_NOT_FOUND = 7, 5
_FILTERS = {"HTTPRoute": {"RequestHeaderModifier", "RequestRedirect"}, "GRPCRoute": {"RequestHeaderModifier"}}
_PROBE = "Linkerd admits whoever calls the path of an HTTP probe."
_INJECTS_FAILURES = "policy.linkerd.io/HTTPFailureInjector"


@dataclass(frozen=True, slots=True)
class _Admission:
    """Whom an object admits.

    Attributes:
        name: The object.
        admits: Whether it admits the caller of the request.
        audit: Whether it only counts those whom nothing else admits.
    """

    name: str
    admits: bool
    audit: bool = False


def verdict(objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
    """Decide a request, see `SecurityPlane`. A Service without a namespace is a host outside of the cluster."""
    decision = _Decision(objects, world, request, mode)
    if not request.service.namespace:
        return decision.to_the_outside()
    if request.port.container in UNGOVERNED:
        return Verdict(True, reason="No policy of Linkerd governs this port.")
    workloads = world.behind(request.service) or [_unknown(request)]
    verdicts = [decision.at(workload) for workload in workloads]
    # Any of the pods may get it: tell of one that refuses it.
    return next((one for one in verdicts if not one.allowed), verdicts[0])


def _unknown(request: AccessRequest) -> Workload:
    """Return what is known of the pods of a Service by the Service alone."""
    service = request.service
    return Workload(service.name, service.namespace, "", "", labels=service.selector)


class _Decision:
    """A request and the objects that may decide it."""

    def __init__(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> None:
        self.world = world
        self.request = request
        self.mode = mode
        self.by_kind: dict[str, list[Manifest]] = {}
        for item in objects:
            self.by_kind.setdefault(item["kind"], []).append(item)
        caller = request.caller
        self.identity = caller and account_name(caller.name, caller.namespace, request.trust_domain, world)

    # At the receiver

    def at(self, workload: Workload) -> Verdict:
        """Decide it at pods of a workload."""
        port = self.request.port.container
        reason = ""
        if not workload.meshed:
            reason = f"The pods of {workload.name} have no sidecar."
        elif workload.bypasses(port):
            reason = f"Port {port} of {workload.name} bypasses the sidecar."
        elif _in_networks(self.request.address, [{"cidr": "127.0.0.0/8"}, {"cidr": "::1/128"}]):
            reason = "Calls from the pod itself are always admitted."
        elif self.request.probe and any(one.kind == "tcp" and one.port == port for one in workload.probes):
            reason = "The proxy takes the connection of a TCP probe, before any policy decides."
        if reason:
            return Verdict(True, reason=reason)
        servers = _oldest_first(one for one in self._of("Server", workload.namespace) if _selects(one, workload, port))
        return self._at_server(workload, servers[0]) if servers else self._by_default(workload)

    def _at_server(self, workload: Workload, server: Manifest) -> Verdict:
        name = str(object_ref(server))
        admissions = [*self._admissions_of(server), *self._by_access(server["spec"].get("accessPolicy", "deny"), name)]
        protocol = server["spec"].get("proxyProtocol", "unknown")
        if protocol in ("opaque", "TLS") or (protocol == "unknown" and not self.request.http):
            return self._decide(admissions, name, "")
        if not self.request.http:
            return Verdict(False, object=name, reason=f"{name} takes {protocol} only.")
        routes = self._routes("GRPCRoute" if protocol == "gRPC" else "HTTPRoute", server)
        if routes:
            return self._by_routes(routes, server, admissions)
        if self._is_probe(workload) and protocol != "gRPC":
            return Verdict(True, object=name, reason=_PROBE)
        return self._decide(admissions, name, "")

    def _by_routes(self, routes: list[Manifest], server: Manifest, admissions: list[_Admission]) -> Verdict:
        name = str(object_ref(server))
        best = _best(routes, self.request)
        if best is None:
            return self._refused(_NOT_FOUND, name, f"No route of {name} takes it.")
        route, rule = best
        own = [*self._policies(route, server), *admissions]
        return self._decide(own, str(object_ref(route)), f"rules[{rule}]")

    def _by_default(self, workload: Workload) -> Verdict:
        policy, where = self._default_policy(workload.namespace)
        if self._is_probe(workload):
            return Verdict(True, reason=_PROBE)
        return self._decide(self._by_access(policy, where), where, "")

    def _default_policy(self, namespace: str) -> tuple[str, str]:
        """Return the policy of ports without a Server, and what says so: new pods copy it from their namespace."""
        for item in self.by_kind.get("Namespace", ()):
            annotations: dict[str, str] = item["metadata"].get("annotations") or {}
            value = annotations.get(DEFAULT_POLICY)
            # An unknown value is a log line, and the default of the cluster holds.
            if item["metadata"]["name"] == namespace and value in DEFAULTS:
                return value, f"Namespace/{namespace}"
        return ("all-authenticated" if self.mode == "strict" else "all-unauthenticated"), ""

    def _by_access(self, access: str, name: str) -> list[_Admission]:
        if access == "deny":
            return []
        inside = not access.startswith("cluster-") or not self.request.address
        inside = inside or _in_networks(self.request.address, [{"cidr": one} for one in CLUSTER_NETWORKS])
        known = self.identity is not None or not access.endswith("-authenticated")
        return [_Admission(name, inside and known, access == "audit")]

    def _admissions_of(self, server: Manifest) -> Iterator[_Admission]:
        """Yield what admits callers to every route of a Server, and to connections."""
        yield from self._policies(server, server)
        for policy in self._of("AuthorizationPolicy", server["metadata"]["namespace"]):
            target = policy["spec"]["targetRef"]
            if target["kind"] == "Namespace" and target["name"] == server["metadata"]["namespace"]:
                yield from self._authorization(policy)
        for item in self._of("ServerAuthorization", server["metadata"]["namespace"]):
            chosen = item["spec"]["server"]
            labels: dict[str, str] = server["metadata"].get("labels") or {}
            if chosen.get("name") == server["metadata"]["name"] or (
                "selector" in chosen and _labels_fit(chosen["selector"] or {}, labels)
            ):
                yield _Admission(str(object_ref(item)), self._is_client(item["spec"]["client"], item))

    def _policies(self, target: Manifest, server: Manifest) -> Iterator[_Admission]:
        """Yield the AuthorizationPolicies on an object: group and kind have to be those of the object."""
        group = target["apiVersion"].partition("/")[0]
        wanted = (group, target["kind"], target["metadata"]["name"])
        for policy in self._of("AuthorizationPolicy", server["metadata"]["namespace"]):
            reference = policy["spec"]["targetRef"]
            if (reference.get("group", ""), reference["kind"], reference["name"]) == wanted:
                yield from self._authorization(policy)

    def _authorization(self, policy: Manifest) -> Iterator[_Admission]:
        """Yield whom a policy admits: nobody if a reference leads to nothing, everybody if there is none."""
        home = policy["metadata"]["namespace"]
        met = [self._is_authenticated(one, home) for one in policy["spec"]["requiredAuthenticationRefs"]]
        yield _Admission(str(object_ref(policy)), all(met))

    def _is_authenticated(self, reference: Mapping[str, Any], home: str) -> bool:
        kind, name = reference["kind"], reference["name"]
        namespace = reference.get("namespace") or home
        if kind == "ServiceAccount":
            return self._has_identity([account_name(name, namespace, "", self.world)])
        named = [one for one in self._of(kind, namespace) if one["metadata"]["name"] == name]
        if not named:
            return False
        spec = named[0]["spec"]
        if kind == "NetworkAuthentication":
            return _in_networks(self.request.address, spec["networks"]) or (
                not self.request.address and any(one["cidr"].endswith("/0") for one in spec["networks"])
            )
        references = [self._identity_of(one, namespace) for one in spec.get("identityRefs") or ()]
        return self._has_identity([*(spec.get("identities") or ()), *references])

    def _identity_of(self, reference: Mapping[str, Any], home: str) -> str:
        name = reference.get("name", "")
        if reference["kind"] == "Namespace":
            return account_name(ANY, name, "", self.world)
        return account_name(name, reference.get("namespace") or home, "", self.world)

    def _has_identity(self, patterns: Iterable[str]) -> bool:
        """Return True if the caller has one of some identities; "*" is a first label and all before it."""
        mine = self.identity
        if mine is None:
            return False
        return any(mine.endswith(one[1:]) if one.startswith(ANY) else mine == one for one in patterns)

    def _is_client(self, client: Mapping[str, Any], item: Manifest) -> bool:
        networks = client.get("networks") or [{"cidr": one} for one in CLUSTER_NETWORKS]
        if self.request.address and not _in_networks(self.request.address, networks):
            return False
        if client.get("unauthenticated"):
            return True
        tls: dict[str, Any] = client.get("meshTLS") or {}
        if tls.get("unauthenticatedTLS"):
            return self.identity is not None
        home = item["metadata"]["namespace"]
        named: list[dict[str, str]] = tls.get("serviceAccounts") or []
        accounts = [self._identity_of({"kind": "ServiceAccount", **one}, home) for one in named]
        return self._has_identity([*(tls.get("identities") or ()), *accounts])

    def _routes(self, kind: str, server: Manifest) -> list[Manifest]:
        """Return the routes that count at a Server, older ones first."""
        home = server["metadata"]["namespace"]
        name = server["metadata"]["name"]
        attached = [one for one in self._of(kind, home) if _is_attached(one, "Server", name)]
        conflict = kind == "HTTPRoute" and any(_is_attached(one, "Server", name) for one in self._of("GRPCRoute", home))
        return [] if conflict else _oldest_first(one for one in attached if _is_read(one))

    def _is_probe(self, workload: Workload) -> bool:
        """Return True for what Linkerd takes for an HTTP probe, whoever sends it."""
        asked = (self.request.port.container, self.request.verb, self.request.path)
        if asked[:2] == (ADMIN_PORT, "GET") and asked[2] in PROBES:
            return self.request.http
        return self.request.http and any(
            one.kind == "http" and (one.port, "GET", one.path or "/") == asked for one in workload.probes
        )

    def _decide(self, admissions: Iterable[_Admission], decides: str, rule: str) -> Verdict:
        listed = [*admissions]
        for one in listed:
            if one.admits and not one.audit:
                reason = f"{one.name or 'The default of the mesh'} admits the caller."
                return Verdict(True, object=one.name or decides, rule=rule, reason=reason)
        if any(one.audit for one in listed):
            return Verdict(True, object=decides, rule=rule, reason=f"{decides} only audits.", audited=(decides,))
        names = ", ".join(dict.fromkeys(one.name for one in listed if one.name)) or "nothing"
        reason = f"{decides or 'The default of the mesh'} admits the caller by {names} only."
        if names in ("nothing", decides):
            reason = f"{decides or 'The default of the mesh'} does not admit the caller."
        return self._refused(_FORBIDDEN, decides, reason, rule)

    def _refused(self, status: int, decides: str, reason: str, rule: str = "") -> Verdict:
        if not self.request.http:
            return Verdict(False, object=decides, rule=rule, reason=reason)
        if self.request.grpc:
            code = _GRPC_DENIED if status == _FORBIDDEN else _GRPC_NOT_FOUND
            return Verdict(False, _OK, grpc_status=code, object=decides, rule=rule, reason=reason)
        return Verdict(False, status, object=decides, rule=rule, reason=reason)

    def _of(self, kind: str, namespace: str) -> list[Manifest]:
        return [one for one in self.by_kind.get(kind, ()) if one["metadata"]["namespace"] == namespace]

    # At the caller

    def to_the_outside(self) -> Verdict:
        """Decide a call of a host outside of the cluster: the proxy of the caller does."""
        request = self.request
        if request.caller is None:
            return Verdict(True, reason="The caller has no sidecar.")
        # One in the namespace of the caller hides all global ones.
        own = self._of("EgressNetwork", request.caller.namespace)
        networks = own or self._of("EgressNetwork", GLOBAL_EGRESS)
        ranked = sorted(
            (
                (size, -position, one)
                for position, one in enumerate(_oldest_first(networks))
                for size in _sizes(one, request)
            ),
            key=lambda entry: entry[:2],
        )
        if not ranked:
            return Verdict(True, reason="No EgressNetwork has its address.")
        network = ranked[-1][2]
        name = str(object_ref(network))
        if network["spec"]["trafficPolicy"] == "Allow":
            return Verdict(True, object=name, reason=f"{name} allows what it has.")
        home, own_name = network["metadata"]["namespace"], network["metadata"]["name"]
        # TLSRoute and TCPRoute are never read with the standard channel of the Gateway API.
        routes = [
            one
            for one in _oldest_first(self._of("HTTPRoute", home))
            if _is_attached(one, "EgressNetwork", own_name, request.port.number) and _is_read(one)
        ]
        best = _best(routes, request) if request.http else None
        if best:
            route = str(object_ref(best[0]))
            return Verdict(True, object=route, rule=f"rules[{best[1]}]", reason=f"{route} takes it.")
        return self._refused(_FORBIDDEN, name, f"{name} denies what no route takes.")


def _oldest_first(items: Iterable[Manifest]) -> list[Manifest]:
    """Return objects by age, then name; those without a time are not on a cluster yet, so the youngest."""

    def age(item: Manifest) -> tuple[bool, str, str]:
        created = item["metadata"].get("creationTimestamp") or ""
        return not created, created, item["metadata"]["name"]

    return sorted(items, key=age)


def _selects(server: Manifest, workload: Workload, port: int) -> bool:
    spec = server["spec"]
    ports = (*workload.ports, (ADMIN_NAME, ADMIN_PORT))
    numbers = {number for name, number in ports if name == spec["port"]}
    if "podSelector" not in spec or port not in (numbers if isinstance(spec["port"], str) else {spec["port"]}):
        return False
    return _labels_fit(spec["podSelector"] or {}, dict(workload.labels))


def _labels_fit(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return True if labels meet a selector of labels (Kubernetes, LabelSelector)."""
    tests: dict[str, Callable[[str, Sequence[str]], bool]] = {
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
        "Exists": lambda key, _: key in labels,
        "DoesNotExist": lambda key, _: key not in labels,
    }
    expressions: list[dict[str, Any]] = selector.get("matchExpressions") or []
    return (selector.get("matchLabels") or {}).items() <= labels.items() and all(
        tests[one["operator"]](one["key"], one.get("values") or ()) for one in expressions
    )


def _in_networks(address: str, networks: Iterable[Mapping[str, Any]]) -> bool:
    if not address:
        return False
    ip = ipaddress.ip_address(address)
    return any(
        ip in ipaddress.ip_network(one["cidr"], strict=False)
        and not any(ip in ipaddress.ip_network(part, strict=False) for part in one.get("except") or ())
        for one in networks
    )


def _sizes(network: Manifest, request: AccessRequest) -> list[int]:
    """Return the bits of the networks of an EgressNetwork that have the address which is called.

    The address of a host is not known: it is taken for one outside of the cluster, and of no network but all.
    """
    networks: list[dict[str, Any]] = network["spec"].get("networks") or []
    try:
        address = str(ipaddress.ip_address(request.service.name))
    except ValueError:
        return [0] if not networks or any(one["cidr"].endswith("/0") for one in networks) else []
    if not networks:
        return [] if _in_networks(address, [{"cidr": one} for one in CLUSTER_NETWORKS]) else [0]
    return [
        ipaddress.ip_network(one["cidr"], strict=False).prefixlen for one in networks if _in_networks(address, [one])
    ]


def _is_attached(route: Manifest, kind: str, name: str, port: int = 0) -> bool:
    """Return True if a route names an object as its parent, and its status, where it has one, says it is accepted."""
    parents = route["spec"].get("parentRefs") or ()
    named = [
        one
        for one in parents
        if one.get("group") == GROUP
        and one.get("kind") == kind
        and one["name"] == name
        and one.get("port", port) == port
    ]
    status: dict[str, Any] = route.get("status") or {}
    if not named or "parents" not in status:
        return bool(named)
    statuses: list[dict[str, Any]] = status["parents"]
    return any(
        parent["parentRef"].get("kind") == kind
        and parent["parentRef"]["name"] == name
        and any(one["type"] == "Accepted" and one["status"] == "True" for one in parent.get("conditions", ()))
        for parent in statuses
    )


def _is_read(route: Manifest) -> bool:
    """Return False for a route that the policy controller drops without a word."""
    home = route["metadata"]["namespace"]
    for parent in route["spec"].get("parentRefs") or ():
        if parent.get("kind") == "Server" and (
            "port" in parent or "sectionName" in parent or parent.get("namespace", home) != home
        ):
            return False
    filters: list[dict[str, Any]] = [
        one for rule in route["spec"].get("rules") or () for one in rule.get("filters") or ()
    ]
    return all(
        one["type"] in _FILTERS[route["kind"]]
        or (
            one["type"] == "ExtensionRef"
            and f"{one['extensionRef'].get('group')}/{one['extensionRef']['kind']}" == _INJECTS_FAILURES
        )
        for one in filters
    )


_Rank = tuple[tuple[int, int], tuple[int, ...]]


def _best(routes: Iterable[Manifest], request: AccessRequest) -> tuple[Manifest, int] | None:
    """Return the route that takes a request, and the position of its rule. Of equal ones the first wins."""
    found: tuple[_Rank, Manifest, int] | None = None
    for route in routes:
        host = _host_rank(route["spec"].get("hostnames") or (), request)
        if host is None:
            continue
        rules: list[dict[str, Any]] = route["spec"].get("rules") or []
        for number, rule in enumerate(rules):
            rank_of = _grpc_rank if route["kind"] == "GRPCRoute" else _http_rank
            matches: list[dict[str, Any]] = rule.get("matches") or [{}]
            ranks = [rank for match in matches if (rank := rank_of(match, request)) is not None]
            if ranks and (found is None or (host, max(ranks)) > found[0]):
                found = (host, max(ranks)), route, number
    return found and found[1:]


def _host_rank(hostnames: Sequence[str], request: AccessRequest) -> tuple[int, int] | None:
    """Return the rank of the host: any, one below another, an exact one, and of these the longer."""
    if not hostnames:
        return 0, 0
    host = (request.called if request.service.namespace else request.host or request.service.name).lower()
    ranks = [
        (1, len(name)) if name.startswith("*.") else (2, len(name))
        for name in (one.lower() for one in hostnames)
        if name == host or (name.startswith("*.") and host.endswith(name[1:]))
    ]
    return max(ranks, default=None)


def _http_rank(match: Mapping[str, Any], request: AccessRequest) -> tuple[int, ...] | None:
    """Return matched characters of the path, headers, parameters, method (as observed); None if it does not match."""
    method = match.get("method", "")
    length = _matched(match.get("path") or {}, request.path)
    headers: list[dict[str, str]] = match.get("headers") or []
    # A request that is asked about has no query.
    if length is None or method not in ("", request.verb) or match.get("queryParams"):
        return None
    if not all(_header_fits(one, request) for one in headers):
        return None
    return length, len(headers), 0, bool(method)


def _grpc_rank(match: Mapping[str, Any], request: AccessRequest) -> tuple[int, ...] | None:
    """Return the lengths of service and method, and headers; None if it does not match."""
    call: dict[str, str] = match.get("method") or {}
    service, _, method = request.path[1:].partition("/")
    headers: list[dict[str, str]] = match.get("headers") or []
    if request.verb != "POST" or call.get("service", service) != service or call.get("method", method) != method:
        return None
    if not all(_header_fits(one, request) for one in headers):
        return None
    return len(call.get("service", "")), len(call.get("method", "")), len(headers)


def _matched(path: Mapping[str, str], sent: str) -> int | None:
    """Return how many characters of a path are matched, as it is sent; None if it does not match."""
    kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
    if kind == "Exact":
        return len(sent) if sent == value else None
    if kind == "RegularExpression":
        return len(sent) if _is_whole(value, sent) else None
    if value == "/":
        return 1
    prefix, trimmed = value.rstrip("/"), sent.rstrip("/")
    rest = trimmed[len(prefix) :]
    return len(prefix) if trimmed.startswith(prefix) and (not rest or rest.startswith("/")) else None


def _header_fits(match: Mapping[str, str], request: AccessRequest) -> bool:
    """Return True if a header has the value in one of its lines."""
    values = [value for name, value in request.headers if name == match["name"].lower()]
    if match.get("type", "Exact") == "Exact":
        return match["value"] in values
    return any(_is_whole(match["value"], value) for value in values)


def _is_whole(pattern: str, text: str) -> bool:
    """Return True if the first match of an expression is the whole text: so Linkerd anchors, which is not the same as
    to match all of it (`a|ab` is found in `ab` as `a`).
    """
    found = re.search(pattern, text)
    return found is not None and found.span() == (0, len(text))
