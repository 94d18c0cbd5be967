"""`meshup preflight`: what would stop or spoil the next `up` of a stack. Without Pulumi's engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from components.diagnostics import Diagnostic, ordered
from components.manifests import ObjectRef
from operate.findings import Checked, Report
from stacks import charts, checks, plan, preflight, settings, traffic_file
from stacks.cluster import Cluster, ClusterError, ClusterView, connect
from stacks.overrides import located
from stacks.ownership import owner_of
from stacks.preflight.images import by_registry, images
from stacks.state import Stack

CONFIGURATION = ("configuration", "The configuration is accepted, and goes with the cluster")
"""Name and title of what `pulumi up` checks as well, before its first resource."""


def no_state(stack: str) -> Mapping[ObjectRef, str]:
    """Return nothing: the state of a stack is the engine's. Objects carry the annotation of their stack."""
    del stack
    return {}


def owner_on(view: ClusterView, stack: str) -> str:
    """Return a stack as its annotation names it: organisation/project/stack.

    The organisation is that of the namespaces on the cluster which a stack of this name has made; without one, or with
    several, that of a backend of files.

    Args:
        view: The cluster.
        stack: The stack, with or without organisation and project.
    """
    if stack.count("/") == len(("organisation", "project")):
        return stack
    end = f"/{settings.PROJECT}/{stack}"
    found = {owner for item in view.metadata("v1", "Namespace") if (owner := owner_of(item)).endswith(end)}
    return found.pop() if len(found) == 1 else f"organization{end}"


class Begun(NamedTuple):
    """The settings of a stack, and its cluster.

    Attributes:
        chosen: The settings.
        diagnostics: What is wrong with them, or with reaching the cluster.
        cluster: The API of the cluster; None if it can't be reached.
        view: Its objects; None if it does not answer.
        subject: What is checked, for the report.
    """

    chosen: settings.Settings
    diagnostics: list[Diagnostic]
    cluster: Cluster | None
    view: ClusterView | None
    subject: Mapping[str, str]


def begin(raw: settings.RawConfig, stack: str, directory: Path) -> Begun:
    """Read the settings of a stack and reach its cluster; arguments as for `run`."""
    name = stack.rpartition("/")[2]
    chosen, diagnostics = settings.load(raw, name)
    chosen, more = traffic_file.with_file(chosen, directory)
    cluster, view, unreachable = connect(chosen.cluster, os.environ)
    subject = {"stack": name, "mesh": chosen.mesh, "context": chosen.cluster.context}
    return Begun(chosen, [*diagnostics, *more, *unreachable], cluster, view, subject)


def run(raw: settings.RawConfig, stack: str, directory: Path) -> Report:
    """Check a stack and its cluster.

    Args:
        raw: The configuration of the stack.
        stack: Its name, with or without organisation and project.
        directory: The folder of the project.
    """
    chosen, diagnostics, cluster, view, subject = begin(raw, stack, directory)
    if cluster is None or view is None:
        return Report("preflight", subject, [_configuration(diagnostics, chosen)], reachable=False)
    deployed = Stack(owner_on(view, stack), no_state, os.environ)
    planned, diagnostics = plan.build(chosen, diagnostics, deployed, view)
    if planned is None:
        return Report("preflight", subject, [_configuration(diagnostics, chosen)])
    _, more = checks.check(chosen, planned, deployed, view)
    diagnostics += [*more, *charts.unreachable(planned.releases)]
    try:
        probed = preflight.probe(chosen, planned, deployed.owner, cluster, view)
    except ClusterError as error:
        diagnostics += error.diagnostics
        return Report("preflight", subject, [_configuration(diagnostics, chosen)], reachable=error.answered)
    found = [Checked(one.name, one.title, faults) for one, faults in preflight.check(probed)]
    # The checks have read further lists.
    diagnostics += view.diagnostics
    named = images(probed)
    notes = [
        "Images that the nodes have to pull:",
        *(f"  {host}: {', '.join(listed)}" for host, listed in by_registry(list(named)).items()),
    ]
    more = {"images": [{"image": image, "usedBy": used} for image, used in named.items()]}
    checked = [_configuration(diagnostics, chosen), *found]
    return Report("preflight", subject, checked, more=more, notes=notes if named else ())


def _configuration(diagnostics: Sequence[Diagnostic], chosen: settings.Settings) -> Checked:
    found = ordered(located(list(diagnostics), chosen.origins))
    name, title = CONFIGURATION
    return Checked(name, title, found)


__all__ = ["begin", "no_state", "owner_on", "run"]
