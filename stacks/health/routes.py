"""What the controllers say of the stack's routes, policies and gateways, and whether these are as planned. Pure.

The Gateway API's objects and Linkerd's have conditions (Gateway API 1.5, GEP-1364), and those of Istio none.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, object_ref, part
from stacks import gateways
from stacks.checking import Check
from stacks.ownership import owner_of

from .drift import differences
from .model import Subject

JUDGED = ("Accepted", "ResolvedRefs", "Programmed")
"""Conditions that are True of an object that is in force."""
ROUTES = ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute")
MOST_SHOWN = 5
"""Differences of an object that are listed one by one."""


def _conditions(subject: Subject) -> list[Diagnostic]:
    return [
        fault
        for planned, live in subject.pairs
        if live is not None
        for fault in _of(str(object_ref(planned)), planned["kind"], live, _show(planned))
    ]


def _show(planned: Manifest) -> str:
    ref = object_ref(planned)
    group = ref.api_version.rpartition("/")[0]
    inside = f"--namespace {ref.namespace} " if ref.namespace else ""
    kind = f"{ref.kind.lower()}{f'.{group}' if group else ''}"
    return f"kubectl {inside}get {kind} {ref.name} --output yaml"


def _of(path: str, kind: str, live: Manifest, show: str) -> Iterator[Diagnostic]:
    status = part(live, "status")
    parents = cast("list[Mapping[str, Any]]", status.get("parents") or [])
    listeners = cast("list[Mapping[str, Any]]", status.get("listeners") or [])
    if kind in ROUTES and part(live, "spec").get("parentRefs") and not parents:
        message = "No controller has said anything of it yet: it may have no effect."
        yield Diagnostic("MSH786", path, None, message, severity="warning", command=show)
    where = [("", status)]
    where += [(f" at {part(one, 'parentRef').get('name')}", one) for one in parents]
    where += [(f" of the listener {one.get('name')}", one) for one in listeners]
    generation = int(live["metadata"].get("generation") or 0)
    for text, holder in where:
        for one in cast("list[Mapping[str, Any]]", holder.get("conditions") or []):
            if one.get("type") not in JUDGED:
                continue
            if int(one.get("observedGeneration") or generation) < generation:
                message = f"Its condition {one['type']}{text} is about an older form of it."
                yield Diagnostic("MSH786", path, None, message, severity="warning", command=show)
            elif one.get("status") == "False":
                said = " ".join(str(one.get("message") or "").split()).rstrip(".")
                message = f"{one['type']}{text} is False: {one.get('reason')}{f', {said}' if said else ''}."
                yield Diagnostic("MSH785", path, None, message, command=show)


def _drift(subject: Subject) -> list[Diagnostic]:
    diagnostics: list[Diagnostic] = []
    for planned, live in subject.pairs:
        ref = object_ref(planned)
        if live is None:
            message = "The stack has it, and the cluster does not."
            diagnostics.append(Diagnostic("MSH778", str(ref), None, message, command=_show(planned)))
            continue
        found = differences(planned, live, subject.defaulted.get(ref))
        for one in found[:MOST_SHOWN]:
            stack = f"the stack has {one.planned}" if one.planned else "the stack does not set it"
            message = f"{one.path} is {one.live or 'not set'}, and {stack}."
            diagnostics.append(Diagnostic("MSH779", str(ref), None, message, command=_show(planned)))
        if len(found) > MOST_SHOWN:
            message = f"{len(found) - MOST_SHOWN} further fields are not as the stack has them."
            diagnostics.append(Diagnostic("MSH779", str(ref), None, message, command=_show(planned)))
    return diagnostics


def _gateways(subject: Subject) -> list[Diagnostic]:
    """Check gateways as `up` does: address, class, certificates, and hosts that somebody else has.

    The organisation of the stack is what its own objects say: only the engine's backend knows it for certain.
    """
    end = f"/{subject.owner.partition('/')[2]}"
    own = {owner_of(live["metadata"]) for _, live in subject.pairs if live is not None}
    owners = {subject.owner, *(owner for owner in own if owner.endswith(end))}
    return gateways.check(subject.plan.gateways, subject.view, owners, subject.plan.now)


CONDITIONS = Check(
    "conditions", "The controllers have accepted the routes, policies and gateways", ("MSH785", "MSH786"), _conditions
)
DRIFT = Check("drift", "The routes, policies and gateways are as the stack has them", ("MSH778", "MSH779"), _drift)
GATEWAYS = Check(
    "gateways",
    "The gateways have an address and valid certificates, and their hosts to themselves",
    ("MSH413", "MSH414", "MSH415", "MSH416", "MSH417", "MSH418", "MSH420"),
    _gateways,
)
