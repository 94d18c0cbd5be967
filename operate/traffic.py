"""The traffic and the policy of a stack without Pulumi's engine: compiled, and compared with the cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components import clock
from components.diagnostics import Diagnostic, errors, ordered
from components.meshes import MESHES
from components.meshes.interface import MeshPlan
from components.traffic import Compilation
from components.traffic.proxies import Proxy
from operate.access import Security
from stacks import charts, plan, security_changes, services, settings, traffic_file
from stacks.cluster import ClusterView, connect
from stacks.overrides import located
from stacks.security import Secured, observed


@dataclass
class Compiled:
    """The traffic of a stack.

    Attributes:
        chosen: The settings of the stack.
        mesh: The plan of its mesh.
        compilation: Its routes, compiled.
        secured: Its policy, compiled.
        proxy: How the proxies of the mesh read requests.
        faults: The errors of its traffic, and of what its traffic rests on.
        settings_faults: Those of its own keys, routes aside.
        view: Its cluster; None if it was not asked for, or does not answer.
        unreachable: Why the cluster does not answer.
    """

    chosen: settings.Settings
    mesh: MeshPlan
    compilation: Compilation
    secured: Secured
    proxy: Proxy
    faults: list[Diagnostic]
    settings_faults: list[Diagnostic]
    view: ClusterView | None
    unreachable: list[Diagnostic]


def compiled(
    raw: settings.RawConfig, stack: str, mesh: str, directory: Path, *, with_cluster: bool = False
) -> Compiled:
    """Compile the routes of a stack, for its own mesh or another one.

    Args:
        raw: The configuration of the stack.
        stack: The name of the stack.
        mesh: The mesh to compile for, "" for the stack's own.
        directory: The folder of the project.
        with_cluster: Whether the cluster is read; else this reads files only.
    """
    chosen, found = settings.load(raw, stack)
    settings_faults = errors(found)
    chosen, more = traffic_file.with_file(chosen, directory)
    now, wrong_clock = clock.read(os.environ)
    found += [*more, *wrong_clock]
    view, unreachable = None, list[Diagnostic]()
    if with_cluster:
        _, view, unreachable = connect(chosen.cluster, os.environ)
    target = MESHES[mesh or chosen.mesh]
    # Charts of a directory say their version. What is wrong with them, or with the mesh, is a matter of `pulumi up`.
    installed = target.charts(chosen) if chosen.section(target.settings).install else ()
    source, _ = charts.inspect(chosen.charts, target, installed, target.wanted_version(chosen))
    planned, _ = target.plan(plan.request(chosen, source, now, view))
    (secured, of_policy), (compilation, of_routes) = plan.policy_and_routes(chosen, now, target.name, planned.existing)
    notes = [note for note in more if note.severity != "error"]
    diagnostics = ordered(located([*notes, *compilation.diagnostics], chosen.origins))
    faults = located([*errors(found), *errors(of_policy), *errors(of_routes)], chosen.origins)
    proxy = target.data_plane.proxy(planned.version)
    compilation = replace(compilation, diagnostics=diagnostics)
    return Compiled(chosen, planned, compilation, secured, proxy, faults, settings_faults, view, unreachable)


def compared(asked: Compiled, words: Sequence[str]) -> list[Diagnostic]:
    """Compare routes, all if none is named, with the cluster of the stack."""
    view = asked.view
    if view is None:
        return asked.unreachable
    chosen = [item for item in asked.compilation.planned if not words or item.route.key in words]
    routes = replace(asked.compilation, planned=tuple(chosen))
    own = plan.own_parts(asked.chosen)
    found = view.if_readable(lambda: services.check(routes, asked.mesh, own, view), otherwise=[])
    return located([*found, *view.diagnostics], asked.chosen.origins)


def deciding(asked: Compiled) -> tuple[Security, list[Diagnostic]]:
    """Return what decides on requests: the policy, the objects of the stack, and with a cluster those that it has.

    Returns:
        What decides, and the lists of the cluster that can't be read.
    """
    kind, secured, view = MESHES[asked.mesh.name], asked.secured, asked.view
    plane, live, world = kind.security, None, secured.world
    others = [*asked.mesh.objects, *asked.compilation.manifests]
    objects = secured.deciding([item for item in others if (item["apiVersion"], item["kind"]) in plane.kinds])
    if view is not None:
        world = observed(asked.mesh, secured, view)
        live = tuple(security_changes.live_objects(plane, view.objects))
    security = Security(
        secured.policy,
        world,
        complete=view is not None,
        plane=plane,
        objects=tuple(objects),
        live=live,
        routes=asked.compilation.planned,
        proxy=asked.proxy,
    )
    return security, located(view.diagnostics if view else [], asked.chosen.origins)
