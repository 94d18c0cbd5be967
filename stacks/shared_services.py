"""Services that somebody else routes as well: other stacks of meshup, and whoever writes routes by hand.

Objects of the same name are found by their owner (stacks/ownership.py). Here are those of other names, namespaces and
kinds, which decide on the same Service.
"""

from collections.abc import Collection, Iterator, Mapping

from components.diagnostics import Diagnostic
from components.manifests import Manifest, object_ref
from components.meshes import MESHES
from components.traffic.claims import Claim
from stacks import ownership
from stacks.cluster import ClusterView
from stacks.plan import Plan

_Ours = Mapping[tuple[str, str], set[str]]
"""Kinds of the objects of this stack, by the Service and what they decide for it."""


def check(plan: Plan, view: ClusterView, owners: Collection[str]) -> list[Diagnostic]:
    """Find objects of others that decide on a Service of this stack's routes.

    Args:
        plan: What the stack will have.
        view: The cluster.
        owners: This stack, and other names that it has had.
    """
    readers = MESHES[plan.mesh.name].claim_readers
    # All routes of a stack are compiled with one domain.
    domain = next((planned.route.service.domain for planned in plan.traffic.planned), "")
    ours: dict[tuple[str, str], set[str]] = {}
    for item in plan.delivery.objects:
        read = readers.get((item["apiVersion"], item["kind"]))
        for claim in read(item, domain) if read else ():
            ours.setdefault((claim.host, claim.what), set()).add(item["kind"])
    if not ours:
        return []
    refs = set(map(object_ref, plan.delivery.objects))
    diagnostics: list[Diagnostic] = []
    for (api_version, kind), read in readers.items():
        for listed in view.objects(api_version, kind):
            # Items of a list lack apiVersion and kind.
            item: Manifest = {**listed, "apiVersion": api_version, "kind": kind}
            if object_ref(item) not in refs and ownership.owner_of(item["metadata"]) not in owners:
                diagnostics += [fault for claim in read(item, domain) for fault in _compared(claim, item, ours)]
    return diagnostics


def _compared(claim: Claim, item: Manifest, ours: _Ours) -> Iterator[Diagnostic]:
    kinds, ref = ours.get((claim.host, claim.what)), object_ref(item)
    if not kinds:
        return
    mine = ", ".join(sorted(kinds))
    owner = ownership.owner_of(item["metadata"])
    if owner:
        message = f"The stack {owner} decides on {claim.host} already, by this {ref.kind}."
        yield Diagnostic("MSH055", str(ref), None, message, "one stack for each Service")
    elif kinds <= claim.beside:
        message = f"It decides on {claim.host} too, beside the {mine} of this stack."
        yield Diagnostic("MSH056", str(ref), None, message, severity="warning")
    else:
        message = f"It decides on {claim.host}, for which this stack has a {mine}. The mesh follows one of both."
        yield Diagnostic("MSH056", str(ref), None, message, f"one of both for {claim.host}")
