"""Routes -> Kubernetes objects, for either mesh.

Interface::

    compile_routes(routes, mesh="istio" | "linkerd") -> Compilation

`Compilation.objects` are plain manifests (camelCase, explicit namespace, label `app.kubernetes.io/managed-by:
meshup`) in the order in which they are to be created: what others refer to first, so destinations before the routes
that name them. The same routes give the same bytes. `summaries` is the stack output `trafficSplits`. If any
diagnostic is an error, there are no objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from components.routing import istio
from components.routing.diagnostics import ConfigurationError, Diagnostic, errors
from components.routing.manifests import Manifest, reference
from components.routing.model import Match, Mesh, Route, Service


@dataclass(frozen=True, slots=True)
class Compilation:
    """What routes come to.

    Attributes:
        objects: The manifests, in order of creation.
        summaries: By route: what it does and which objects do it; plain camelCase data.
        diagnostics: Errors (then there are no objects), warnings and notes.
    """

    objects: tuple[Manifest, ...] = ()
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    diagnostics: tuple[Diagnostic, ...] = ()

    def refuse(self) -> None:
        """Raises ConfigurationError with all diagnostics if any of them is an error."""
        if errors(self.diagnostics):
            raise ConfigurationError(self.diagnostics)


def compile_routes(routes: Sequence[Route], mesh: Mesh) -> Compilation:
    """Compiles routes for a mesh. Raises nothing; faults are in the result's diagnostics."""
    by_service: dict[tuple[str, str], list[Route]] = {}
    services: dict[tuple[str, str], Service] = {}
    for route in routes:
        key = (route.service.namespace, route.service.name)
        by_service.setdefault(key, []).append(route)
        services[key] = route.service
        for rule in route.rules:
            for destination in (*(b.destination for b in rule.backends), *(m.destination for m in rule.mirrors)):
                if destination.version:
                    services.setdefault((destination.service.namespace, destination.service.name), destination.service)
    rules: list[Manifest] = []
    virtual: list[Manifest] = []
    for key, service in services.items():
        own = by_service.get(key, [])
        rule = istio.destination_rule(service, own[0] if own else None)
        if "subsets" in rule["spec"] or "trafficPolicy" in rule["spec"]:
            rules.append(rule)
    summaries: dict[str, dict[str, Any]] = {}
    for key, own in by_service.items():
        routed = [route for route in own if route.rules]
        if routed:
            virtual.append(istio.virtual_service(services[key], routed))
    references = {
        (item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]) for item in (*rules, *virtual)
    }
    for route in routes:
        place = (route.service.namespace, route.service.name)
        objects = [
            f"{kind}/{place[0]}/{place[1]}"
            for kind in ("VirtualService", "DestinationRule")
            if (kind, *place) in references
        ]
        summaries[route.key] = summary(route, mesh, istio.API_VERSION, objects)
    return Compilation((*rules, *virtual), summaries, ())


def summary(route: Route, mesh: Mesh, api: str, objects: list[str]) -> dict[str, Any]:
    """The entry of a route in the stack output `trafficSplits`."""
    return {
        "namespace": route.service.namespace,
        "host": route.service.host,
        "mesh": mesh,
        "api": api,
        "rules": [
            {
                "match": match_text(rule.matches),
                "backends": [
                    {"name": backend.destination.label, "weight": backend.weight} for backend in rule.backends
                ],
            }
            for rule in route.rules
        ],
        "objects": objects,
    }


def match_text(matches: Sequence[Match]) -> str:
    """The condition of a rule in words: `all`, or the alternatives joined by ` or `."""
    return " or ".join(_one_match_text(match) for match in matches) or "all"


def _one_match_text(match: Match) -> str:
    parts: list[str] = []
    if match.path:
        parts.append(f"path {match.path.kind} {match.path.value}")
    if match.method:
        parts.append(f"method {match.method}")
    if match.grpc_service:
        parts.append(f"grpc {match.grpc_service}/{match.grpc_method or '*'}")
    for what, pairs in (("header", match.headers), ("cookie", match.cookies), ("query", match.query)):
        parts.extend(f"{what} {name} {text.kind} {text.value}".rstrip() for name, text in pairs)
    parts.extend(f"source {key}={value}" for key, value in match.source)
    if match.source_namespace:
        parts.append(f"source namespace {match.source_namespace}")
    return " and ".join(parts) or "all"


__all__ = ["Compilation", "compile_routes", "match_text", "reference", "summary"]
