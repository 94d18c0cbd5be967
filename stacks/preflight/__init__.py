"""What would stop or spoil the next `up` of a stack: `meshup preflight` ([what it checks](docs/preflight.md)).

A check is a pure function from a `Subject` to diagnostics: a plan, a view of the cluster, and the answers to what was
asked of the API server beside its objects (`Probes`). `probe` asks all of that; nothing else here reaches a cluster.
"""

import os
import time
from dataclasses import replace

from components.diagnostics import Diagnostic
from components.manifests import object_ref
from components.meshes import MESHES
from stacks.checking import Check, run_all
from stacks.cluster import Access, Cluster, ClusterError, ClusterView, Resource, side_by_side
from stacks.plan import Plan
from stacks.settings import Settings

from . import admission, clocks, networks, nodes, others, rights
from .model import Kind, Probes, Rendered, Subject, declared_kinds, kind_of, of_charts
from .rendering import CHARTS, render

CHECKS: tuple[Check[Subject], ...] = (
    CHARTS,
    rights.RIGHTS,
    admission.OBJECTS,
    admission.PODS,
    networks.NETWORKS,
    nodes.NODES,
    nodes.ROOM,
    others.OTHERS,
    others.SERVICES,
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
    addons = [addon.release for addon in plan.addons if addon.release]
    releases = [*MESHES[plan.mesh.name].renderable(plan.mesh), *addons]
    rendered = render(releases, view.version, os.environ)
    kinds, served = _kinds(plan, rendered, cluster)
    objects = [*plan.manifests, *of_charts(releases, rendered, kinds)]
    known = Probes(
        kinds=kinds,
        served=frozenset(served),
        allowed=_allowed(rights.needed(settings, plan, objects, kinds), cluster),
        ahead=cluster.clock(),
        now=time.time(),
    )
    subject = Subject(settings, plan, owner, view, rendered, known)
    tried = {object_ref(item): item for item in admission.tried(subject)}
    pods = admission.pods(subject)
    answers = side_by_side(
        lambda key: cluster.dry_run(pods[key] if isinstance(key, str) else tried[key], admission.MANAGER),
        [*tried, *pods],
    )
    asked = replace(
        known,
        applied={key: answer for key, answer in answers.items() if not isinstance(key, str)},
        pods={key: answer for key, answer in answers.items() if isinstance(key, str)},
    )
    return Subject(settings, plan, owner, view, rendered, asked)


def check(subject: Subject) -> list[tuple[Check[Subject], list[Diagnostic]]]:
    """Run all checks, see `run_all`; return each with what it finds and the stack does not ignore."""
    ignored = set(subject.settings.preflight.ignore)
    return [(one, [fault for fault in faults if fault.code not in ignored]) for one, faults in run_all(CHECKS, subject)]


def findings(settings: Settings, plan: Plan, owner: str, cluster: Cluster, view: ClusterView) -> list[Diagnostic]:
    """Probe the cluster and return what all checks find, before an `up`; arguments as for `probe`."""
    read = len(view.diagnostics)
    try:
        subject = probe(settings, plan, owner, cluster, view)
    except ClusterError as error:
        return list(error.diagnostics)
    found = [fault for _, faults in check(subject) for fault in faults]
    return [*found, *view.diagnostics[read:]]


def _kinds(plan: Plan, rendered: Rendered, cluster: Cluster) -> tuple[dict[Kind, Resource], set[Kind]]:
    """Return how the kinds of a plan will be served, with its CustomResourceDefinitions, and which are served now."""
    of_releases = [item for items in rendered.by_release.values() for item in items]
    patched = [*plan.patches, *(item.patch for item in plan.joined if item.patch)]
    items = [*plan.manifests, *of_releases, *patched, *(one for item in plan.joined for one in item.restarts)]
    kinds = declared_kinds(items)
    versions = sorted({item["apiVersion"] for item in items})
    found = side_by_side(cluster.resources, versions)
    served = {(version, kind): resource for version, kinds in found.items() for kind, resource in kinds.items()}
    wanted = {kind_of(item) for item in items}
    known = {kind: resource for kind, resource in {**kinds, **served}.items() if kind in wanted}
    return known, wanted & served.keys()


def _allowed(needs: rights.Needs, cluster: Cluster) -> dict[Access, bool]:
    """Ask for rights: for all at once, then in all namespaces, then where they are needed."""
    allowed = {rights.EVERYTHING: cluster.may(rights.EVERYTHING)}
    if not allowed[rights.EVERYTHING]:
        allowed |= side_by_side(cluster.may, sorted(rights.everywhere(needs)))
        allowed |= side_by_side(cluster.may, rights.left(needs, allowed))
    return allowed


__all__ = ["CHECKS", "Probes", "Rendered", "Subject", "check", "probe"]
