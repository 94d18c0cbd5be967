"""What would stop or spoil the next `up` of a stack: `meshup preflight` ([what it checks](docs/preflight.md)).

A check is a pure function from a `Subject` to diagnostics: a plan, a view of the cluster, and the answers to what was
asked of the API server beside its objects (`Probes`). `probe` asks all of that; nothing else here reaches a cluster.
"""

import os
import time
from collections.abc import Callable, Sequence

from components.diagnostics import Diagnostic
from components.meshes import MESHES
from stacks.cluster import Access, Cluster, ClusterError, ClusterView, Resource, side_by_side
from stacks.plan import Plan
from stacks.settings import Settings

from . import clocks, nodes, rights
from .model import Check, Kind, Probes, Rendered, Subject, declared_kinds, kind_of, of_charts
from .rendering import CHARTS, render

CHECKS: tuple[Check, ...] = (
    CHARTS,
    rights.RIGHTS,
    nodes.NODES,
    nodes.ROOM,
    clocks.CLOCKS,
)
"""All checks, in the order of reports."""


def probe(settings: Settings, plan: Plan, owner: str, cluster: Cluster, view: ClusterView) -> Subject:
    """Ask the cluster what its objects don't say. Nothing is stored or changed.

    Args:
        settings: The settings of the stack.
        plan: What it will have.
        owner: The stack, organisation/project/stack.
        cluster: The API of its cluster.
        view: Its objects.

    Raises:
        ClusterError: The API server can't be reached, or refuses to say what is allowed.
    """
    addons = [addon.release for addon in plan.addons]
    releases = [*MESHES[plan.mesh.name].renderable(plan.mesh), *addons]
    rendered = render(releases, view.version, os.environ)
    kinds = _kinds(plan, rendered, cluster)
    objects = [*plan.manifests, *of_charts(releases, rendered, kinds)]
    probes = Probes(
        kinds=kinds,
        allowed=_allowed(rights.needed(settings, plan, objects, kinds), cluster),
        ahead=cluster.clock(),
        now=time.time(),
    )
    return Subject(settings, plan, owner, view, rendered, probes)


def check(subject: Subject) -> list[tuple[Check, list[Diagnostic]]]:
    """Run all checks; return each with what it finds. A check whose lists can't be read finds nothing."""
    found = [(one, list(subject.view.if_readable(_bound(one, subject), otherwise=[]))) for one in CHECKS]
    ignored = set(subject.settings.preflight.ignore)
    return [(one, [fault for fault in faults if fault.code not in ignored]) for one, faults in found]


def findings(settings: Settings, plan: Plan, owner: str, cluster: Cluster, view: ClusterView) -> list[Diagnostic]:
    """Probe the cluster and return what all checks find, before an `up`; arguments as for `probe`."""
    try:
        subject = probe(settings, plan, owner, cluster, view)
    except ClusterError as error:
        return list(error.diagnostics)
    return [fault for _, faults in check(subject) for fault in faults]


def _bound(one: Check, subject: Subject) -> Callable[[], Sequence[Diagnostic]]:
    return lambda: one.run(subject)


def _kinds(plan: Plan, rendered: Rendered, cluster: Cluster) -> dict[Kind, Resource]:
    """Return how the kinds of a plan are served, or will be, once its CustomResourceDefinitions are there."""
    of_releases = [item for items in rendered.by_release.values() for item in items]
    patched = [*plan.patches, *(item.patch for item in plan.joined if item.patch)]
    items = [*plan.manifests, *of_releases, *patched, *(one for item in plan.joined for one in item.restarts)]
    kinds = declared_kinds(items)
    versions = sorted({item["apiVersion"] for item in items})
    for version, served in side_by_side(cluster.resources, versions).items():
        kinds |= {(version, kind): resource for kind, resource in served.items()}
    wanted = {kind_of(item) for item in items}
    return {kind: resource for kind, resource in kinds.items() if kind in wanted}


def _allowed(needs: rights.Needs, cluster: Cluster) -> dict[Access, bool]:
    """Ask for rights: for all at once, then in all namespaces, then where they are needed."""
    allowed = {rights.EVERYTHING: cluster.may(rights.EVERYTHING)}
    if not allowed[rights.EVERYTHING]:
        allowed |= side_by_side(cluster.may, sorted(rights.everywhere(needs)))
        allowed |= side_by_side(cluster.may, rights.left(needs, allowed))
    return allowed


__all__ = ["CHECKS", "Check", "Probes", "Rendered", "Subject", "check", "probe"]
