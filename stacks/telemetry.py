"""Traces and access logs of a stack. Pure."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace

from components.diagnostics import Diagnostic, nearest, one_of
from components.meshes import MESHES
from components.meshes.interface import MeshPlan
from components.telemetry.capability import refusals
from components.telemetry.model import Asked, asked
from components.telemetry.plane import Home, TelemetryPlan
from stacks.settings import Settings


def planned(settings: Settings, mesh: MeshPlan, meshed: AbstractSet[str]) -> TelemetryPlan:
    """Plan the traces and access logs of a stack.

    Args:
        settings: The settings of the stack.
        mesh: The plan of the mesh.
        meshed: The namespaces of the stack whose pods are in the mesh.
    """
    kind, wanted = MESHES[mesh.name], asked(settings)
    found = mesh.existing
    domain = found.cluster_domain if found else kind.cluster_domain(settings)
    home = Home(mesh.output["namespace"], domain, installed=found is None)
    made = kind.telemetry.write(wanted, home, sorted(meshed))
    refused = refusals(wanted, kind.telemetry, [one.telemetry for one in MESHES.values()])
    others = {kind.gateway_namespace(settings)} if settings.gateways else set[str]()
    return replace(made, diagnostics=(*_check(wanted, meshed | others), *refused, *made.diagnostics))


def _check(wanted: Asked, known: AbstractSet[str]) -> Iterator[Diagnostic]:
    chosen = wanted.tracing
    says = chosen.sampling is not None or chosen.tags or chosen.namespaces
    if (chosen.enabled or (says and chosen.enabled is not False)) and not (wanted.spans_to or chosen.provider):
        message = "There is no collector that spans could be sent to."
        yield Diagnostic("MSH640", "meshup:tracing", None, message, "collector, or an add-on of the stack")
    for name, path in wanted.namespaces.items():
        if name not in known:
            near = nearest(name, known)
            message = "The stack has no such namespace in the mesh." + (f" Did you mean {near}?" if near else "")
            yield Diagnostic("MSH645", path, None, message, one_of(sorted(known)))
