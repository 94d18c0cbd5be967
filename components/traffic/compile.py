"""Routes -> Kubernetes objects, for either mesh.

Interface::

    compile_routes(routes, mesh="istio" | "linkerd", services=(), mtls="strict" | "permissive") -> Compilation

`Compilation.objects` are plain manifests (camelCase, explicit namespace, label `app.kubernetes.io/managed-by:
meshup`) in the order in which they are to be created: what others refer to first, so destinations before the routes
that name them; remove them in the reverse order. The same routes give the same bytes. `patches` are annotations for
Services that somebody else owns (Linkerd's circuit breaking). `summaries` is the stack output `trafficSplits`. If any
diagnostic is an error, there are no objects.

`api: auto` takes the first target of the mesh that can express the route; the choice and its reason are in the summary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..diagnostics import ConfigurationError, Diagnostic, errors, ordered
from . import gateway_api, istio, linkerd, patterns
from .capability import ISTIO_ROUTE, LINKERD_ROUTE, SERVICE_PROFILE, VIRTUAL_SERVICE, Target, targets_for
from .checks import check_route, check_routes, check_target, versioned
from .gateway_api import Style
from .manifests import Manifest, match_text, reference
from .model import Backend, Destination, Egress, Match, Mesh, Mtls, Route, Rule, Service
from .overlap import covers
from .precedence import every_path

DEFAULT_RULE = "default"


@dataclass(frozen=True, slots=True)
class Compilation:
    """What routes come to.

    Attributes:
        objects: The manifests, in order of creation.
        patches: Partial Services (name, namespace, annotations) to merge into Services that exist.
        summaries: By route: what it does and which objects do it; plain camelCase data.
        diagnostics: Errors (then there are no objects), warnings and notes.
        planned: Each route as it was compiled, with its target; for `explain`.
    """

    objects: tuple[Manifest, ...] = ()
    patches: tuple[Manifest, ...] = ()
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    diagnostics: tuple[Diagnostic, ...] = ()
    planned: tuple[Planned, ...] = ()

    def refuse(self) -> None:
        """Raises ConfigurationError with all diagnostics if any of them is an error."""
        if errors(self.diagnostics):
            raise ConfigurationError(self.diagnostics)


@dataclass(frozen=True, slots=True)
class Planned:
    """A route with the target that it is compiled to.

    Attributes:
        route: The route, with the catch-all rule that was added if it had none.
        target: Where it goes.
        reason: Why there, one sentence.
    """

    route: Route
    target: Target
    reason: str


def compile_routes(
    routes: Sequence[Route], mesh: Mesh, services: Iterable[Service] = (), mtls: Mtls = "strict"
) -> Compilation:
    """Compiles routes for a mesh. Raises nothing; faults are in the result's diagnostics.

    Args:
        routes: What `parse` gave.
        mesh: The mesh of the stack.
        services: The Services that the stack brings; a per-version Service that is among them is not made again.
        mtls: Whether the mesh admits callers without mutual TLS; Linkerd's rate limits must say it again.
    """
    known = tuple(services)
    found: list[Diagnostic] = [*check_routes(routes)]
    planned: list[Planned] = []
    with patterns.counted() as work:
        for route in routes:
            try:
                complete, notes = _with_catch_all(route)
                found.extend(notes)
                found.extend(check_route(complete))
                plan, faults = _choose(complete, mesh)
            except patterns.TooMuchWork as error:
                if not any(fault.code == "MSH162" for fault in found):
                    found.append(_too_much(route, error))
                # The routes behind may have other faults to report, which takes little work.
                work.most = work.steps + patterns.MOST_STEPS // 10 // len(routes)
                continue
            found.extend(faults)
            if plan:
                planned.append(plan)
    found.extend(_mixed_targets(planned))
    found.extend(_other_breakers(planned))
    if errors(found):
        return Compilation(diagnostics=ordered(found))
    writer = _Writer(planned, known, mtls)
    found.extend(writer.write())
    if errors(found):
        return Compilation(diagnostics=ordered(found))
    summaries = {plan.route.key: _summary(plan, writer.names.get(plan.route.key, [])) for plan in planned}
    return Compilation(tuple(writer.objects), tuple(writer.patches.values()), summaries, ordered(found), tuple(planned))


def _too_much(route: Route, error: patterns.TooMuchWork) -> Diagnostic:
    matches = sum(max(1, len(rule.matches)) for rule in route.rules)
    between = [where for where in error.between if where] or [route.where]
    names = " and ".join(f"'{pattern}'" for pattern in error.patterns)
    return Diagnostic(
        "MSH162",
        between[-1],
        error.patterns[0] if error.patterns else matches,
        f"To compare the {matches} matches of '{route.key}' takes too much work: after {patterns.MOST_STEPS:,} steps, "
        f"over all routes, it was at {' and '.join(between)}."
        + (f" Most steps went on the patterns {names}." if names else ""),
    )


def _with_catch_all(route: Route) -> tuple[Route, list[Diagnostic]]:
    """The route with a rule for the rest. On both meshes a request that no rule matches gets 404."""
    everything = Match()
    if not route.rules or any(
        not rule.matches or any(covers(match, everything) for match in rule.matches) for rule in route.rules
    ):
        return route, []
    names = {rule.name for rule in route.rules}
    name = next(n for n in (DEFAULT_RULE, *(f"{DEFAULT_RULE}-{i}" for i in range(len(names) + 1))) if n not in names)
    backend = Backend(Destination(route.service, route.port), 100, route.where)
    rest = Rule(name, backends=(backend,), where=f"{route.where}.rules", added=True)
    note = Diagnostic(
        "MSH130",
        f"{route.where}.rules",
        None,
        f"No rule takes every request. The rest goes to the Service '{route.service.name}', all versions; "
        "without that it would get 404.",
        remedy="Add a last rule without 'match' to choose for yourself.",
        severity="info",
    )
    return replace(route, rules=(*route.rules, rest)), [note]


def _choose(route: Route, mesh: Mesh) -> tuple[Planned | None, list[Diagnostic]]:
    """The target of a route, and what is to be said about it."""
    candidates = targets_for(mesh, route.api)
    if not candidates:
        apis = sorted({target.api for target in targets_for(mesh, "auto")})
        return None, [
            Diagnostic(
                "MSH129",
                f"{route.where}.api",
                route.api,
                f"{mesh.capitalize()} does not read this API.",
                f"one of auto, {', '.join(apis)}",
                "Leave 'api' out: meshup takes the API that can express the rules.",
            )
        ]
    refused: list[tuple[Target, list[Diagnostic]]] = []
    for target in candidates:
        found = list(check_target(route, target))
        if not errors(found):
            return Planned(route, target, _reason(route, target, refused)), found
        refused.append((target, found))
    # The target that lacks the fewest features tells the user most. What else is wrong with it can be mended there.
    return None, min(refused, key=lambda pair: sum(fault.code == "MSH131" for fault in pair[1]))[1]


def _reason(route: Route, target: Target, refused: list[tuple[Target, list[Diagnostic]]]) -> str:
    if route.api != "auto":
        return f"api: {route.api} asks for it."
    if not refused:
        return f"{target.title} can express all of it and is the first choice on {target.mesh.capitalize()}."
    reasons = "; ".join(f"{other.title} can't: {errors(found)[0].path}" for other, found in refused)
    return f"{target.title} can express all of it ({reasons})."


def _mixed_targets(planned: Sequence[Planned]) -> Iterable[Diagnostic]:
    """Routes for two ports of one Service in two APIs: one would shadow the other."""
    first: dict[tuple[str, str], Planned] = {}
    for plan in planned:
        # A ServiceProfile takes the circuit breaker from its Service as well, whatever route declares it.
        if not plan.route.rules and not (plan.target == LINKERD_ROUTE and plan.route.circuit_breaker):
            continue
        owner = first.setdefault((plan.route.service.namespace, plan.route.service.name), plan)
        if owner is not plan and owner.target == plan.target == SERVICE_PROFILE:
            yield Diagnostic(
                "MSH161",
                plan.route.where,
                plan.route.key,
                f"'{owner.route.key}' makes a ServiceProfile for {plan.route.service.host} already; it holds for every "
                "port.",
                "one ServiceProfile for a Service",
                f"Put the rules of both into '{owner.route.key}'.",
            )
        elif owner.target != plan.target:
            yield Diagnostic(
                "MSH128",
                plan.route.where,
                plan.target.title,
                f"'{owner.route.key}' is compiled to {owner.target.title} for the same Service; one of them would "
                f"shadow the other.",
                remedy=f"Set the same 'api' in '{owner.route.key}' and '{plan.route.key}'.",
            )


def _other_breakers(planned: Sequence[Planned]) -> Iterable[Diagnostic]:
    """Circuit breakers that Linkerd does not look at for requests which another Service's route sends there.

    The policy of the Service that clients call holds for all backends of its routes (policy-controller, outbound http).
    """
    breakers = {plan.route.service.host: plan.route for plan in planned if plan.route.circuit_breaker}
    for plan in planned:
        if plan.target != LINKERD_ROUTE:
            continue
        for rule in plan.route.rules:
            for backend in rule.backends:
                other = breakers.get(backend.destination.service.host)
                if other and other.service.host != plan.route.service.host:
                    called = plan.route.service.name
                    yield Diagnostic(
                        "MSH157",
                        backend.where,
                        other.service.name,
                        f"Linkerd counts failures by the circuit breaker of the Service that clients call: requests "
                        f"to '{called}' do not meet that of '{other.service.name}'.",
                        remedy=f"Declare a circuit breaker at '{called}' too, if it should have one.",
                        severity="warning",
                    )


class _Writer:
    """Collects the objects of all routes: each once, in order of creation."""

    def __init__(self, planned: Sequence[Planned], known: Sequence[Service], mtls: Mtls) -> None:
        self.planned = planned
        self.mtls: Mtls = mtls
        services = (*known, *(plan.route.service for plan in planned))
        self.known = {(service.namespace, service.name): service for service in services}
        self.objects: list[Manifest] = []
        self.patches: dict[tuple[str, str], Manifest] = {}
        self.names: dict[str, list[str]] = {}
        self.owners: dict[str, str] = {}
        self.faults: list[Diagnostic] = []

    def write(self) -> list[Diagnostic]:
        """Makes all objects; returns the faults."""
        self._services()
        self._destination_rules()
        self._limits()
        self._egress()
        self._routes()
        for names in self.names.values():
            names.sort(key=_leading)
        return self.faults

    def _add(self, item: Manifest, *keys: str) -> None:
        """Adds an object for routes. Two different objects of one name are a fault."""
        name = reference(item)
        owner = self.owners.setdefault(name, keys[0])
        if owner == keys[0] and name not in self.names.get(owner, []):
            self.objects.append(item)
        elif item not in self.objects:
            self.faults.append(
                Diagnostic(
                    "MSH127",
                    self._where(keys[0]),
                    name,
                    f"'{owner}' and '{keys[0]}' both make an object {name}, with different contents.",
                    remedy="Rename a rule, a version or a Service.",
                )
            )
        for key in keys:
            if name not in self.names.setdefault(key, []):
                self.names[key].append(name)

    def _where(self, key: str) -> str:
        return next(plan.route.where for plan in self.planned if plan.route.key == key)

    def _users(self) -> dict[tuple[str, str], tuple[Service, list[Planned]]]:
        """Every Service that a route governs or names a version of, with those routes; its own routes first."""
        found: dict[tuple[str, str], tuple[Service, list[Planned]]] = {}
        for plan in self.planned:
            service = plan.route.service
            found.setdefault((service.namespace, service.name), (service, []))[1].append(plan)
        for plan in self.planned:
            for service in versioned(plan.route):
                users = found.setdefault((service.namespace, service.name), (service, []))[1]
                if plan not in users:
                    users.append(plan)
        return found

    def _services(self) -> None:
        done: dict[tuple[str, str], list[str]] = {}
        services: dict[tuple[str, str], Service] = {}
        for plan in self.planned:
            if plan.target.limits:
                for service in versioned(plan.route):
                    place = (service.namespace, service.name)
                    services[place] = service
                    done.setdefault(place, []).append(plan.route.key)
        for place, service in services.items():
            for item in gateway_api.version_services(service):
                name = item["metadata"]["name"]
                existing = self.known.get((service.namespace, name))
                if existing is None:
                    self._add(item, *done[place])
                elif dict(existing.selector) != item["spec"]["selector"] or not (
                    {port.number for port in service.ports} <= {port.number for port in existing.ports}
                ):
                    self.faults.append(
                        Diagnostic(
                            "MSH126",
                            self._where(done[place][0]),
                            name,
                            f"The Service of a version of '{service.name}' would be '{name}', and another Service "
                            "with other pods or ports has that name.",
                            remedy="Rename the version.",
                        )
                    )

    def _destination_rules(self) -> None:
        for service, plans in self._users().values():
            own = [plan for plan in plans if plan.route.service == service]
            if not any(plan.target.mesh == "istio" for plan in plans):
                self._breaker(own)
                continue
            owner = next((plan for plan in own if istio.has_policy(plan.route)), None)
            if owner or any(plan.target == VIRTUAL_SERVICE and plan.route.rules for plan in plans):
                item = istio.destination_rule(service, owner.route if owner else None)
                if len(item["spec"]) > 1:
                    self._add(item, *(plan.route.key for plan in plans))
            if owner:
                self._version_rules(owner, plans)

    def _version_rules(self, owner: Planned, plans: Sequence[Planned]) -> None:
        """Behind an HTTPRoute a version is a Service of its own, and Istio looks for the policies of that one.

        Every known version gets them, so that weights can move between versions without a further object.
        """
        service = owner.route.service
        users = [plan for plan in plans if plan.target == ISTIO_ROUTE and service in versioned(plan.route)]
        for version in service.versions if users else ():
            name = gateway_api.version_service_name(Destination(service, owner.route.port, version))
            item = istio.backend_rule(name, service.namespace, owner.route)
            self._add(item, owner.route.key, *(plan.route.key for plan in users))

    def _breaker(self, own: Sequence[Planned]) -> None:
        for plan in own:
            breaker = plan.route.circuit_breaker
            if breaker:
                service = plan.route.service
                patch = linkerd.service_patch(service, linkerd.breaker_annotations(breaker))
                self.patches[service.namespace, service.name] = patch
                self.names.setdefault(plan.route.key, []).append(reference(patch))

    def _limits(self) -> None:
        for plan in self.planned:
            limit = plan.route.rate_limit
            if not limit:
                continue
            if plan.target.mesh == "istio":
                self._add(istio.rate_limit(plan.route, limit), plan.route.key)
            else:
                for item in linkerd.rate_limit(plan.route, limit, self.mtls):
                    self._add(item, plan.route.key)

    def _egress(self) -> None:
        by_namespace: dict[str, list[tuple[Planned, Egress]]] = {}
        for plan in self.planned:
            for egress in plan.route.egress:
                by_namespace.setdefault(plan.route.service.namespace, []).append((plan, egress))
        for namespace, wanted in by_namespace.items():
            hosts = list({(egress.host, egress.port): egress for _, egress in reversed(wanted)}.values())
            hosts.sort(key=lambda egress: (egress.host, egress.port))
            write = istio.egress if wanted[0][0].target.mesh == "istio" else linkerd.egress
            keys = list(dict.fromkeys(plan.route.key for plan, _ in wanted))
            for item in write(namespace, hosts):
                self._add(item, *keys)

    def _routes(self) -> None:
        virtual: dict[tuple[str, str], list[Planned]] = {}
        for plan in self.planned:
            if plan.target == VIRTUAL_SERVICE and plan.route.rules:
                virtual.setdefault((plan.route.service.namespace, plan.route.service.name), []).append(plan)
        for plan in self.planned:
            route = plan.route
            if not route.rules:
                continue
            if plan.target == VIRTUAL_SERVICE:
                plans = virtual.pop((route.service.namespace, route.service.name), None)
                if plans:
                    item = istio.virtual_service(route.service, [each.route for each in plans])
                    self._add(item, *(each.route.key for each in plans))
                continue
            if plan.target == SERVICE_PROFILE:
                self._add(linkerd.service_profile(route), route.key)
                continue
            for grant in gateway_api.reference_grants(route, plan.target.mesh):
                self._add(grant, route.key)
            if plan.target == LINKERD_ROUTE:
                items = linkerd.route_objects(route)
            else:
                style = Style(every_path=every_path(route, plan.target))
                kind = gateway_api.route_kind(route, "istio")
                name = gateway_api.route_name(route)
                items = [gateway_api.route_object(route, route.rules, name, kind=kind, style=style)]
            for item in items:
                self._add(item, route.key)


_LEADING = ("VirtualService", "HTTPRoute", "GRPCRoute", "ServiceProfile", "DestinationRule")


def _leading(name: str) -> int:
    """What decides where a request goes stands first in the outputs."""
    kind = name.split("/", 1)[0]
    return _LEADING.index(kind) if kind in _LEADING else len(_LEADING)


def _summary(plan: Planned, objects: list[str]) -> dict[str, Any]:
    """The entry of a route in the stack output `trafficSplits`."""
    route = plan.route
    return {
        "namespace": route.service.namespace,
        "host": route.service.host,
        "mesh": plan.target.mesh,
        "api": plan.target.api_version,
        "apiReason": plan.reason,
        "rules": [
            {
                "match": match_text(rule.matches),
                "backends": [
                    {"name": backend.destination.label_for(route.service), "weight": backend.weight}
                    for backend in rule.backends
                ],
            }
            for rule in route.rules
        ],
        "objects": objects,
    }
