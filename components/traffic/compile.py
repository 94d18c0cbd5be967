"""Routes -> Kubernetes objects, for any mesh.

Interface::

    compile_routes(routes, mesh, targets, services=(), mtls="strict" | "permissive", guards=()) -> Compilation

`Compilation.objects` are manifests (camelCase, explicit namespace, label `app.kubernetes.io/managed-by: meshup`) in the
order in which they are to be created: what others refer to first, so destinations before the routes that name them;
remove them in the reverse order. The same routes give the same bytes. `patches` are annotations for Services that
somebody else owns (Linkerd's circuit breaking). `summaries` is the stack output `trafficSplits`. If any diagnostic is
an error, there are no objects.

`api: auto` takes the first target of the mesh that can express the route; the choice and its reason are in the summary.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..diagnostics import ConfigurationError, Diagnostic, errors, ordered
from ..manifests import Manifest
from . import patterns
from .checks import check_order, check_route, check_routes, check_target
from .edge import Edge, edges
from .gateway_api import version_services
from .manifests import match_text
from .model import AnyGuard, Backend, Destination, Exposure, Match, Mtls, Route, Rule, Service
from .objects import Objects, Reader, TrafficObject
from .overlap import covers
from .targets import DataPlane, Planned, Target, by_service, place, readers, versioned

DEFAULT_RULE = "default"


@dataclass(frozen=True, slots=True)
class Compilation:
    """Result of compiling routes.

    Attributes:
        objects: In order of creation.
        patches: Partial Services (name, namespace, annotations) to merge into Services that exist.
        summaries: By route: what it does and which objects do it; plain camelCase data.
        diagnostics: Errors (then there are no objects), warnings and notes.
        planned: Each route as it was compiled, with its target; for `explain`.
        edges: What gateways do with the requests for each host, each with how the gateway reads it; for `explain`.
    """

    objects: tuple[TrafficObject, ...] = ()
    patches: tuple[Manifest, ...] = ()
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    diagnostics: tuple[Diagnostic, ...] = ()
    planned: tuple[Planned, ...] = ()
    edges: tuple[tuple[Edge, Planned], ...] = ()

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """The objects as plain data."""
        return tuple(item.manifest for item in self.objects)

    def refuse(self) -> None:
        """Raise ConfigurationError with all diagnostics if any of them is an error."""
        if errors(self.diagnostics):
            raise ConfigurationError(self.diagnostics)


def compile_routes(
    routes: Sequence[Route],
    mesh: str,
    targets: Sequence[Target],
    services: Iterable[Service] = (),
    mtls: Mtls = "strict",
    *,
    guards: Sequence[AnyGuard] = (),
) -> Compilation:
    """Compile routes for a mesh. Raise nothing; faults are in the result's diagnostics.

    Args:
        routes: What `parse` gave.
        mesh: The mesh of the stack.
        targets: All targets that there are (components.meshes.TARGETS); a refusal names those that can.
        services: The Services that the stack brings; a per-version Service that is among them is not made again.
        mtls: Whether the mesh admits callers without mutual TLS; Linkerd's rate limits must say it again.
        guards: Ports and calls to the outside that the policy of security closes. They may make objects where there is
            no route.
    """
    plane = next(target.plane for target in targets if target.mesh == mesh)
    known = tuple(services)
    found: list[Diagnostic] = []
    planned: list[Planned] = []
    with patterns.counted() as work:
        found.extend(check_routes(routes))
        for route in routes:
            try:
                complete, notes = _with_catch_all(route)
                found.extend(notes)
                found.extend(check_route(complete))
                plan, faults = _choose(complete, mesh, targets)
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
    edged, faults = ([], []) if errors(found) else _edges(planned)
    found.extend(faults)
    found.extend(plane.check_all([plan.route for plan in planned]))
    if errors(found):
        return Compilation(diagnostics=ordered(found))
    objects = _write(planned, edged, readers(targets), plane, known=known, mtls=mtls, guards=guards)
    found.extend(objects.diagnostics)
    if errors(found):
        return Compilation(diagnostics=ordered(found))
    summaries = {plan.route.key: _summary(plan, objects.names[plan.route.key]) for plan in planned}
    patches = tuple(objects.patches.values())
    return Compilation(objects.listed(), patches, summaries, ordered(found), tuple(planned), tuple(edged))


def _edges(planned: Sequence[Planned]) -> tuple[list[tuple[Edge, Planned]], list[Diagnostic]]:
    """What gateways do with the requests for each host, and where that breaks the order of the rules."""
    targets = {plan.route.key: plan.target for plan in planned}
    edged: list[tuple[Edge, Planned]] = []
    found: list[Diagnostic] = []
    with patterns.counted():
        for edge in edges(plan.route for plan in planned):
            target = targets[edge.route.key]
            edged.append((edge, Planned(edge.route, target.at_edge)))
            try:
                found.extend(check_order(edge.route, target.at_edge))
            except patterns.TooMuchWork as error:
                found.append(_too_much(edge.route, error))
                break
    return edged, found


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
    """Return the route with a rule for the rest. On both meshes a request that no rule matches gets 404."""
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


def _choose(route: Route, mesh: str, targets: Sequence[Target]) -> tuple[Planned | None, list[Diagnostic]]:
    """Return the target of a route, and the diagnostics."""
    ours = [target for target in targets if target.mesh == mesh]
    candidates = [target for target in ours if route.api in ("auto", target.api)]
    if not candidates:
        return None, [
            Diagnostic(
                "MSH129",
                f"{route.where}.api",
                route.api,
                f"{ours[0].plane.title} does not read this API.",
                f"one of auto, {', '.join(sorted({target.api for target in ours}))}",
                "Leave 'api' out: meshup takes the API that can express the rules.",
            )
        ]
    refused: list[tuple[Target, list[Diagnostic]]] = []
    for target in candidates:
        found = list(check_target(route, target, targets))
        if not errors(found):
            return Planned(route, target, _reason(route, target, refused)), found
        refused.append((target, found))
    # The target that lacks the fewest features tells the user most. What else is wrong with it can be mended there.
    return None, min(refused, key=lambda pair: sum(fault.code == "MSH131" for fault in pair[1]))[1]


def _reason(route: Route, target: Target, refused: list[tuple[Target, list[Diagnostic]]]) -> str:
    if route.api != "auto":
        return f"api: {route.api} asks for it."
    if not refused:
        return f"{target.title} can express all of it and is the first choice on {target.plane.title}."
    reasons = "; ".join(f"{other.title} can't: {errors(found)[0].path}" for other, found in refused)
    return f"{target.title} can express all of it ({reasons})."


def _mixed_targets(planned: Sequence[Planned]) -> Iterable[Diagnostic]:
    """Refuse routes for two ports of one Service in two APIs, or in one that does not tell ports apart."""
    for plans in by_service(plan for plan in planned if plan.target.governs(plan.route)).values():
        owner = plans[0]
        for plan in plans[1:]:
            if owner.target == plan.target:
                yield from plan.target.check_beside(owner.route, plan.route)
                continue
            yield Diagnostic(
                "MSH128",
                plan.route.where,
                plan.target.title,
                f"'{owner.route.key}' is compiled to {owner.target.title} for the same Service; one of them would "
                f"shadow the other.",
                remedy=f"Set the same 'api' in '{owner.route.key}' and '{plan.route.key}'.",
            )


def _write(
    planned: Sequence[Planned],
    edged: Sequence[tuple[Edge, Planned]],
    read: Mapping[str, Reader],
    plane: DataPlane,
    *,
    known: Sequence[Service],
    mtls: Mtls,
    guards: Sequence[AnyGuard],
) -> Objects:
    """Make the objects of all routes, in order of creation."""
    where = {guard.key: guard.where for guard in guards} | {plan.route.key: plan.route.where for plan in planned}
    objects = Objects(where, read)
    _write_version_services(planned, known, objects)
    plane.write(planned, objects, mtls, guards)
    together: dict[Hashable, list[Route]] = {}
    for plan in planned:
        if plan.route.rules:
            together.setdefault((plan.target, plan.target.shared_by(plan.route)), []).append(plan.route)
    for plan in planned:
        routes = together.pop((plan.target, plan.target.shared_by(plan.route)), ())
        for item in plan.target.write(routes) if routes else ():
            objects.add(item, [route.key for route in routes])
    for target in {plan.target: None for plan in planned}:
        for item, routes in target.write_edges([edge for edge, read_by in edged if read_by.target is target.at_edge]):
            objects.add(item, [route.key for route in routes])
    for plan in planned:
        # What decides where a request goes stands first in the outputs.
        order = {kind: number for number, kind in enumerate(plan.target.kinds)}
        objects.names[plan.route.key].sort(key=lambda name: order.get(name.split("/", 1)[0], len(order)))
    return objects


def _write_version_services(planned: Sequence[Planned], known: Sequence[Service], objects: Objects) -> None:
    existing = {place(service): service for service in (*known, *(plan.route.service for plan in planned))}
    users: dict[tuple[str, str], tuple[Service, list[str]]] = {}
    for plan in planned:
        for service in versioned(plan.route) if plan.target.version_services else ():
            users.setdefault(place(service), (service, []))[1].append(plan.route.key)
    for service, keys in users.values():
        for item in version_services(service):
            name = item["metadata"]["name"]
            other = existing.get((service.namespace, name))
            if other is None:
                objects.add(item, keys)
            elif dict(other.selector) != item["spec"]["selector"] or not (
                {port.number for port in service.ports} <= {port.number for port in other.ports}
            ):
                objects.diagnostics.append(
                    Diagnostic(
                        "MSH126",
                        objects.where[keys[0]],
                        name,
                        f"The Service of a version of '{service.name}' would be '{name}', and another Service "
                        "with other pods or ports has that name.",
                        remedy="Rename the version.",
                    )
                )


def _summary(plan: Planned, objects: list[str]) -> dict[str, Any]:
    """Return the entry of a route in the stack output `trafficSplits`."""
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
        **_reached(route.exposure),
    }


def _reached(exposure: Exposure | None) -> dict[str, Any]:
    """How callers outside of the cluster reach a route, for its entry."""
    if exposure is None:
        return {}
    paths = [{path.kind: path.value} for path in exposure.paths]
    return {"gateway": exposure.gateway.name, "hosts": list(exposure.hosts), **({"paths": paths} if paths else {})}
