"""What of a deployed stack does not work, or is not as planned: `meshup health` ([what it checks](docs/health.md)).

A check is a pure function from a `Subject` to diagnostics: a plan, a view of the cluster, and objects of the plan as
the API server would store them. `probe` asks for the last; nothing else here reaches a cluster.
"""

from typing import Any

from components.diagnostics import Diagnostic
from components.manifests import Manifest, object_ref
from stacks.checking import Check, run_all
from stacks.cluster import Cluster, ClusterError, ClusterView, side_by_side
from stacks.plan import Plan

from . import certificates, routes, sidecars, webhooks, workloads
from .drift import is_more
from .model import Subject

MANAGER = "meshup-health"
"""Field manager of dry runs, which is stored nowhere."""
ALLOCATED = ("Service",)
"""Kinds of which the API server gives each object fields of its own: addresses and ports of nodes."""
CHECKS: tuple[Check[Subject], ...] = (
    workloads.CONTROL_PLANE,
    webhooks.KINDS_SERVED,
    webhooks.WEBHOOKS,
    certificates.CERTIFICATES,
    workloads.WORKLOADS,
    sidecars.SIDECARS,
    routes.DRIFT,
    routes.CONDITIONS,
    routes.GATEWAYS,
)
"""All checks, in the order of reports."""


def probe(plan: Plan, owner: str, cluster: Cluster, view: ClusterView) -> Subject:
    """Ask the API server how it would store objects of the plan that have more fields on the cluster.

    That is a dry run of a new object, with a name of its own: nothing is stored or changed.

    Args:
        plan: What the stack has.
        owner: The stack, organisation/project/stack.
        cluster: The API of its cluster.
        view: Its objects.

    Raises:
        ClusterError: The API server can't be reached.
    """
    subject = Subject(plan, owner, view)
    more = [item for item, live in subject.pairs if live is not None and is_more(item, live)]
    asked = {object_ref(item): item for item in more if item["kind"] not in ALLOCATED}
    made = side_by_side(lambda ref: _defaulted(asked[ref], cluster), asked)
    return Subject(plan, owner, view, {ref: item for ref, item in made.items() if item})


def _defaulted(item: Manifest, cluster: Cluster) -> Manifest:
    """Return an object with the API server's defaults; empty if the server refuses to say."""
    kept: dict[str, Any] = {key: value for key, value in item["metadata"].items() if key != "name"}
    try:
        return cluster.dry_run({**item, "metadata": {**kept, "generateName": f"{MANAGER}-"}}, MANAGER).item
    except ClusterError as error:
        if not error.answered:
            raise
        return {}


def check(subject: Subject) -> list[tuple[Check[Subject], list[Diagnostic]]]:
    """Run all checks, see `run_all`."""
    return run_all(CHECKS, subject)


__all__ = ["CHECKS", "Subject", "check", "probe"]
