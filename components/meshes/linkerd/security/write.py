"""Policy -> Linkerd's objects, edge-26.8.3.

A port that a policy closes has a Server with accessPolicy deny (`Guard`). Rules without a condition on HTTP become
AuthorizationPolicies on that Server: they hold for every route of it, and for connections that are no HTTP. Rules with
one become HTTPRoutes on the Server, each with an AuthorizationPolicy: one route for the areas of each set of rules
(areas.py). With the first route Linkerd stops to admit probes by itself and answers 404 to what no route takes, so
routes for the probes and a closed one for the rest come with them. Names have a dot, which those of Services, rules
and so of routes never have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from ....diagnostics import Diagnostic
from ....manifests import Manifest, manifest
from ....security.model import Egress as EgressPolicy
from ....security.model import Mode, NamespacePolicy, Operation, Policy, Rule
from ....security.paths import EVERY_PATH, exact
from ....security.plane import Guarded, SecurityObject
from ....security.world import World
from ....traffic.gateway_api import API_VERSION as GATEWAY_API_VERSION
from ....traffic.manifests import quote
from ....traffic.model import AnyGuard, Egress, EgressGuard, Guard, Port, Service, TextMatch
from ..server import ACCESS_POLICY, Server, Servers
from .areas import METHODS, Area, Form, TooManyError, close, written
from .callers import GROUP, PROBES, Grant, authorize, digest, grant
from .scraping import scraping

DEFAULT_POLICY = "config.linkerd.io/default-inbound-policy"
"""Annotation of a namespace or a pod: whom the ports without a Server admit. Pods copy that of their namespace."""
PROXY_PORTS = frozenset({4143, 4190, 4191})
"""Ports of the proxy itself; of these, scraping.py has the one that a policy governs."""
GRPC_PROBE = "/grpc.health.v1.Health/Check"
"""Path of a gRPC probe of the kubelet (gRPC health checking protocol)."""
CLOSED, OPEN = 2, 3
"""Phases of creation: first the route that takes everything, so that no caller whom the Server admits gets 404."""
MOST_MATCHES = 64
"""Matches of a rule of an HTTPRoute (Gateway API v1.5.1); the rules of a route have fewer than 128."""


@dataclass(slots=True)
class Pods:
    """A port of some pods, by whatever Services they are called.

    Attributes:
        members: The Services that select the pods, each with its port; one that only the pods have is the same in all.
        server: Its Server.
    """

    members: list[tuple[Service, Port]] = field(default_factory=list[tuple[Service, Port]])
    server: Server | None = None

    @property
    def service(self) -> Service:
        """The first Service."""
        return self.members[0][0]

    @property
    def port(self) -> Port:
        """The port of the first Service."""
        return self.members[0][1]

    def mode(self, policy: Policy) -> Mode:
        """Return the mode of mutual TLS: an exception for one of the Services holds for the pods."""
        modes: list[Mode] = [policy.mode_of(service, port) for service, port in self.members]
        for mode in modes:
            if mode != policy.mode:
                return mode
        return policy.mode


@dataclass(frozen=True, slots=True)
class Said:
    """What a rule says of a port.

    Attributes:
        rule: The rule.
        areas: The requests that it takes; empty for all, and for connections.
    """

    rule: Rule
    areas: tuple[Area, ...]


def write(policy: Policy, world: World) -> Guarded:
    """Write a policy without a feature that is refused, see `SecurityPlane`."""
    found: list[Diagnostic] = []
    objects: list[SecurityObject] = []
    guards: list[AnyGuard] = []
    ports = pods_of(policy, world)
    # Servers names them: the guards ask for them in this order, before anything else does.
    servers = Servers("permissive" if policy.mode == "permissive" else "strict")
    for pods in ports:
        if is_closed(policy, pods) and around(policy, ports, pods):
            continue
        for guard in _guards(policy, pods):
            pods.server = servers.want(guard.service, guard.port, guard.key, guard.where, guard.access)
            guards.append(guard)
        if pods.server and is_closed(policy, pods):
            objects += _Port(policy, world, pods, pods.server, found).write()
    objects += scraping(policy, world)
    guards += [_egress(one, one.egress) for one in policy.namespaces if one.egress]
    objects.sort(key=lambda item: item.phase)
    return Guarded(tuple(objects), tuple(guards), _annotations(policy), tuple(found))


def pods_of(policy: Policy, world: World) -> list[Pods]:
    """Return the ports of all Services that select pods, and those that their workloads declare and no Service has."""
    found: dict[tuple[str, frozenset[tuple[str, str]], int], Pods] = {}
    for service in policy.services:
        if not service.selector:
            continue
        for port in (*service.ports, *map(Port, sorted(_undeclared(policy, world, service)))):
            key = (service.namespace, frozenset(service.selector), port.container)
            found.setdefault(key, Pods()).members.append((service, port))
    return list(found.values())


def _undeclared(policy: Policy, world: World, service: Service) -> set[int]:
    """Return the ports that the workloads of a Service declare, and no Service of these pods has."""
    found: set[int] = set()
    for workload in world.behind(service):
        mine = [one for one in policy.services if one.namespace == workload.namespace and one.selector]
        known = {port.container for one in mine if set(one.selector) <= set(workload.labels) for port in one.ports}
        found |= {*workload.declared} - known - PROXY_PORTS
    return found


def is_closed(policy: Policy, pods: Pods) -> bool:
    """Return whether a policy closes a port. One that no Service has is closed where its namespace denies."""
    return any(
        policy.is_guarded(service) and (port in service.ports or policy.default_of(service.namespace) != "open")
        for service, port in pods.members
    )


def around(policy: Policy, ports: Sequence[Pods], pods: Pods) -> Pods | None:
    """Return the same port of more pods, these among them, if it is closed too: its Server governs these as well."""
    for other in ports:
        more = set(other.service.selector) < set(pods.service.selector)
        same = (other.service.namespace, other.port.container) == (pods.service.namespace, pods.port.container)
        if more and same and is_closed(policy, other):
            return other
    return None


def _guards(policy: Policy, pods: Pods) -> Iterator[Guard]:
    """Yield what asks for the Server of a port, if anything does."""
    service, port = pods.service, pods.port
    namespace = next((one for one in policy.namespaces if one.name == service.namespace), None)
    if is_closed(policy, pods):
        rules = [rule for service, _ in pods.members for rule in policy.rules_of(service)]
        key, where = (rules[0].key, rules[0].where) if rules else ("", "")
        if not rules and namespace:
            key, where = namespace.key, namespace.where
        access = "audit" if policy.default_of(service.namespace) == "audit" else "deny"
        yield Guard(service, port, access, key, where)
        return
    mode = pods.mode(policy)
    if mode not in (policy.mode, "disable"):
        exceptions = [one for one in policy.exceptions if one.namespace == service.namespace and one.mode == mode]
        where = exceptions[0].where
        yield Guard(service, port, ACCESS_POLICY[mode], where, where)


def _annotations(policy: Policy) -> dict[str, dict[str, str]]:
    """Return the annotations of namespaces, for the ports of new pods that have no Server."""
    found: dict[str, dict[str, str]] = {}
    for one in policy.exceptions:
        if one.service is None and one.mode != "disable":
            found[one.namespace] = {DEFAULT_POLICY: ACCESS_POLICY[one.mode]}
    for one in policy.namespaces:
        if one.default != "open":
            found[one.name] = {DEFAULT_POLICY: one.default}
    return dict(sorted(found.items()))


def _egress(namespace: NamespacePolicy, egress: EgressPolicy) -> EgressGuard:
    return EgressGuard(
        namespace.name,
        egress.deny,
        tuple(Egress(one.host, one.port, one.protocol, one.where) for one in egress.hosts),
        tuple((one.cidr, tuple(sorted(one.excluded))) for one in egress.networks),
        namespace.key,
        egress.where,
    )


def rules_for(policy: Policy, pods: Pods) -> list[Said]:
    """Return what the rules say of a port. Rules without a port are about the ports of their Service only."""
    found: list[Said] = []
    for service, port in pods.members:
        for rule in policy.rules_of(service):
            if rule.effect == "deny" or rule.audit:
                continue
            operations = [
                one
                for one in rule.operations or (Operation(),)
                if (port in service.ports if one.port is None else one.port.container == port.container)
            ]
            if not operations:
                continue
            areas = [area for one in operations for area in _areas(one)]
            said = Said(rule, tuple(dict.fromkeys(areas)) if all(one.reads_http for one in operations) else ())
            if said not in found:
                found.append(said)
    return found


def probes_of(pods: Pods, world: World) -> tuple[list[Area], list[Area]]:
    """Return the requests of the HTTP probes of a port, and those of its gRPC probes, which Linkerd never admits."""
    http: dict[Area, None] = {}
    grpc: dict[Area, None] = {}
    for workload in world.behind(pods.service):
        for probe in workload.probes:
            if probe.port != pods.port.container:
                continue
            if probe.kind == "http":
                http[Area("GET", exact(probe.path or "/"))] = None
            elif probe.kind == "grpc":
                grpc[Area("POST", exact(GRPC_PROBE))] = None
    return list(http), list(grpc)


def _areas(operation: Operation) -> Iterator[Area]:
    headers = tuple(sorted(operation.headers))
    for method, path, host in product(
        operation.methods or ("",), operation.paths or (EVERY_PATH,), operation.hosts or ("",)
    ):
        yield Area(method, path, headers, host)


class _Port:
    """Writes the objects of one port that is closed."""

    def __init__(self, policy: Policy, world: World, pods: Pods, server: Server, found: list[Diagnostic]) -> None:
        self.policy = policy
        self.world = world
        self.pods = pods
        self.server = server
        self.namespace = pods.service.namespace
        self.found = found
        self.mode: Mode = pods.mode(policy)
        self.said = rules_for(policy, pods)

    def write(self) -> Iterator[SecurityObject]:
        """Yield the objects."""
        always = [one.rule for one in self.said if not one.areas]
        if always:
            target = {"group": GROUP, "kind": "Server", "name": self.server.name}
            yield from authorize(target, self.server.name, self.namespace, self._grants(always), _keys(always))
        http, grpc = probes_of(self.pods, self.world)
        sometimes = [one for one in self.said if one.areas]
        if not (sometimes or grpc):
            return
        probes = [*http, *grpc]
        keys = _keys([one.rule for one in self.said]) or [self.server.keys[0]]
        try:
            yield from self._routes(sometimes, probes, keys)
        except TooManyError as error:
            where = self.said[0].rule.where if self.said else ""
            message = f"{error}, so the rules for port {self.pods.port.number} do not fit into HTTPRoutes."
            self.found.append(Diagnostic("MSH562", where, None, message))

    def _routes(self, said: Sequence[Said], probes: Sequence[Area], keys: Sequence[str]) -> Iterator[SecurityObject]:
        admitted: dict[Area, set[object]] = {}
        for one in said:
            for area in one.areas:
                admitted.setdefault(area, set()).update(self._grants([one.rule]))
        for area in probes:
            admitted.setdefault(area, set()).add(PROBES)
        closed = close({area: frozenset(callers) for area, callers in admitted.items()})
        # Rules with the same areas are one: their routes are named by what is asked for, whoever may.
        parts = [(one.areas, one.rule) for one in said]
        groups: dict[tuple[str, frozenset[tuple[Area, ...]]], list[Manifest]] = {}
        first: tuple[str, frozenset[tuple[Area, ...]]] | None = None
        for area, forms in written(closed).items():
            is_probe = any(other.covers(area) for other in probes)
            covering = [areas for areas, _ in parts if any(other.covers(area) for other in areas)]
            matches = groups.setdefault((area.host, frozenset(() if is_probe else covering)), [])
            methods = (area.method,)
            if area == Area(path=exact("/")):
                # It ties with the closed route, unless it names a method; and then with its own narrower areas.
                methods = tuple(method for method in METHODS if replace(area, method=method) not in closed)
            matches += [_match(method, form) for method in methods for form in forms]
            if area == Area():
                first = (area.host, frozenset(covering))
        for (host, covering), matches in groups.items():
            rules = [rule for areas, rule in parts if areas in covering]
            own = _keys(rules) or list(keys)
            grants = self._grants(rules) or [PROBES]
            content = [host, *sorted("\n".join(area.text for area in areas) for areas in covering)]
            suffix = digest(content) if host or covering else "probes"
            name = f"{self.server.name}.{suffix}"
            phase = CLOSED if (host, covering) == first else OPEN
            for number in range(0, len(matches), MOST_MATCHES):
                part = f"{name}.{number // MOST_MATCHES + 1}" if number else name
                route = self._route(part, matches[number : number + MOST_MATCHES], host)
                yield from authorize(_target(part), part, self.namespace, grants, own)
                yield SecurityObject(route, phase, tuple(keys if phase == CLOSED else own))
        if Area() not in closed:
            everything = {"path": {"type": "PathPrefix", "value": "/"}}
            yield SecurityObject(self._route(f"{self.server.name}.closed", [everything]), CLOSED, tuple(keys))

    def _route(self, name: str, matches: Sequence[Manifest], host: str = "") -> Manifest:
        spec: Manifest = {"parentRefs": [{"group": GROUP, "kind": "Server", "name": self.server.name}]}
        if host:
            spec["hostnames"] = [host]
        spec["rules"] = [{"matches": list(matches)}]
        return manifest(GATEWAY_API_VERSION, "HTTPRoute", name, self.namespace, spec)

    def _grants(self, rules: Iterable[Rule]) -> list[Grant]:
        return [grant(source, self.mode, self.world) for rule in rules for source in rule.sources]


def _target(name: str) -> Manifest:
    return {"group": GATEWAY_API_VERSION.partition("/")[0], "kind": "HTTPRoute", "name": name}


def _keys(rules: Iterable[Rule]) -> list[str]:
    return list(dict.fromkeys(rule.key for rule in rules))


def _match(method: str, form: Form) -> Manifest:
    match: Manifest = {"path": {"type": form.kind, "value": form.value}}
    if method:
        match["method"] = method
    if form.headers:
        match["headers"] = [_header(name, condition) for name, condition in form.headers]
    return match


def _header(name: str, condition: TextMatch) -> Manifest:
    if condition.kind == "exact":
        return {"type": "Exact", "name": name, "value": condition.value}
    value = {"prefix": quote(condition.value) + ".*", "present": ".*"}.get(condition.kind, condition.value)
    return {"type": "RegularExpression", "name": name, "value": value}
