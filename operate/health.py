"""`meshup health`: what of a deployed stack does not work, or is not as planned. Without Pulumi's engine."""

from __future__ import annotations

import os
from pathlib import Path

from components.diagnostics import errors, ordered
from operate.findings import Checked, Report
from operate.preflight import begin, no_state, owner_on
from stacks import health, plan, settings
from stacks.cluster import ClusterError
from stacks.overrides import located
from stacks.state import Stack

CONFIGURATION = ("configuration", "The configuration is accepted, and the cluster can be read")
"""Name and title of what comes before the checks. Of the configuration, warnings are left to `meshup preflight`."""


def run(raw: settings.RawConfig, stack: str, directory: Path) -> Report:
    """Check a stack and its cluster.

    Args:
        raw: The configuration of the stack.
        stack: Its name, with or without organisation and project.
        directory: The folder of the project.
    """
    chosen, diagnostics, cluster, view, subject = begin(raw, stack, directory)
    found: list[Checked] = []
    reachable = cluster is not None and view is not None
    if cluster is not None and view is not None:
        deployed = Stack(owner_on(view, stack), no_state, os.environ)
        planned, diagnostics = plan.build(chosen, diagnostics, deployed, view)
        if planned is not None:
            try:
                probed = health.probe(planned, deployed.owner, cluster, view)
                found = [Checked(one.name, one.title, faults) for one, faults in health.check(probed)]
            except ClusterError as error:
                diagnostics += error.diagnostics
                reachable = error.answered
        unreadable = [fault for fault in view.diagnostics if fault not in diagnostics]
        diagnostics = [*diagnostics, *unreadable]
    of_configuration = ordered(located(list(errors(diagnostics)), chosen.origins))
    name, title = CONFIGURATION
    return Report("health", subject, [Checked(name, title, of_configuration), *found], reachable=reachable)


__all__ = ["run"]
