"""The traffic of a stack without Pulumi's engine: compiled, and compared with the cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.diagnostics import Diagnostic, errors, ordered
from components.meshes import MESHES
from components.meshes.interface import MeshPlan
from components.traffic import Compilation
from components.traffic.proxies import Proxy
from stacks import charts, plan, services, settings, traffic_file
from stacks.cluster import connect
from stacks.overrides import located


@dataclass
class Compiled:
    """The traffic of a stack.

    Attributes:
        chosen: The settings of the stack.
        mesh: The plan of its mesh.
        compilation: Its routes, compiled.
        proxy: How the proxies of the mesh read requests.
        faults: The errors of its traffic, and of what its traffic rests on.
    """

    chosen: settings.Settings
    mesh: MeshPlan
    compilation: Compilation
    proxy: Proxy
    faults: list[Diagnostic]


def compiled(raw: settings.RawConfig, stack: str, mesh: str, directory: Path) -> Compiled:
    """Compile the routes of a stack, for its own mesh or another one."""
    chosen, found = settings.load(raw, stack)
    chosen, unreadable = traffic_file.with_file(chosen, directory)
    found += unreadable
    target = MESHES[mesh or chosen.mesh]
    compilation, said = plan.compiled(chosen, target.name)
    notes = [note for note in found if note.code == "MSH185"]
    diagnostics = located([*notes, *compilation.diagnostics], chosen.origins)
    compilation = replace(compilation, diagnostics=ordered(diagnostics))
    # Charts of a directory say their version; what is wrong with them is a matter of `pulumi up`.
    source, _ = charts.inspect(chosen.charts, target, target.charts(chosen), target.wanted_version(chosen))
    # So is what is wrong with the mesh.
    planned, _ = target.plan(plan.request(chosen, source, os.environ))
    proxy = target.data_plane.proxy(planned.version)
    faults = located([*errors(found), *errors(said)], chosen.origins)
    return Compiled(chosen, planned, compilation, proxy, faults)


def compared(asked: Compiled, words: Sequence[str]) -> list[Diagnostic]:
    """Compare routes, all if none is named, with the cluster of the stack."""
    _, view, diagnostics = connect(asked.chosen.cluster, os.environ)
    if view is None:
        return diagnostics
    chosen = [item for item in asked.compilation.planned if not words or item.route.key in words]
    routes = replace(asked.compilation, planned=tuple(chosen))
    own = plan.own_parts(asked.chosen)
    found = view.conclude(lambda: services.check(routes, asked.mesh, own, view), otherwise=[])
    return located([*diagnostics, *found, *view.diagnostics], asked.chosen.origins)
