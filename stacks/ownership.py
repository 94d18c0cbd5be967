"""Ownership of objects, and Helm release Secrets that an interrupted `up` left behind.

`kill -9` of `pulumi up` can leave objects and Helm releases in the cluster which Pulumi's state does not have. The next
`up` would fail on them ("already exists", "cannot re-use a name that is still in use"). So every object carries the
stack that made it, and only what carries it is taken over again (docs/decisions/0001-recovery.md).
"""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from components.diagnostics import Diagnostic
from components.manifests import ObjectRef

ANNOTATION = "meshup/stack"
"""Annotation of every object of a stack: organisation/project/stack."""
_RECORD = re.compile(r"sh\.helm\.release\.v1\.(?P<release>[a-z0-9][-a-z0-9.]*)\.v(?P<revision>\d+)")


def with_owner(metadata: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return metadata with the annotation of the stack."""
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), ANNOTATION: owner}}


def owner_of(metadata: Mapping[str, Any]) -> str:
    """Return the stack that an object belongs to, "" for none."""
    return _text(metadata, "annotations", ANNOTATION)


@dataclass(frozen=True)
class Claims:
    """The owners of those objects of the plan that exist already.

    Attributes:
        taken_over: Objects in the state of this stack without its annotation, each with its URN.
        former: Other stack names in the annotation of these.
        diagnostics: Errors for objects of others or with two owners; a warning for those taken over.
        imports: Helm releases that are handed over to this stack, whose state does not have them yet.
    """

    taken_over: Mapping[ObjectRef, str]
    former: frozenset[str]
    diagnostics: tuple[Diagnostic, ...]
    imports: frozenset[ObjectRef] = frozenset()


def claims(
    wanted: Iterable[ObjectRef],
    live: Mapping[ObjectRef, Mapping[str, Any]],
    owner: str,
    state: Callable[[str], Mapping[ObjectRef, str] | None],
) -> Claims:
    """Decide who owns existing objects.

    An object without the annotation of this stack is its own if its state has it: then it has been imported, or the
    stack has another name or another backend now. If a stack of the name in the annotation has the object as well, it
    is refused: a destroy of one would take it from the other.

    Args:
        wanted: The objects of the plan.
        live: Those of them that exist, with their metadata.
        owner: The stack, as in the annotation.
        state: Name of a stack -> its objects with URNs; empty if there is no such stack, None if that
            is unknown.
    """
    taken_over: dict[ObjectRef, str] = {}
    former: set[str] = set()
    diagnostics: list[Diagnostic] = []
    for item in wanted:
        metadata = live.get(item)
        carried = owner if metadata is None else owner_of(metadata)
        if carried == owner:
            continue
        urn = (state(owner) or {}).get(item, "")
        if not urn:
            diagnostics.append(_foreign_object(item, owner, carried))
            continue
        others: Mapping[ObjectRef, str] | None = state(carried) if carried else {}
        if others is None or item in others:
            diagnostics.append(_shared_object(item, owner, carried, None if others is None else others[item]))
            continue
        taken_over[item] = urn
        if carried:
            former.add(carried)
    return Claims(taken_over, frozenset(former), (*diagnostics, *_taken_over(taken_over, former, owner)))


def _taken_over(taken_over: Mapping[ObjectRef, str], former: Iterable[str], owner: str) -> list[Diagnostic]:
    """Warn of the objects that get the annotation of this stack in this run."""
    if not taken_over:
        return []
    first, count = next(iter(taken_over)), len(taken_over)
    names = " or ".join(sorted(former)) or "no stack"
    message = (
        f"In the state of this stack: {count} object{'' if count == 1 else 's'} with the name of {names} on, such as "
        f"{first}. This run writes the name of this stack."
    )
    return [Diagnostic("MSH037", ANNOTATION, owner, message, severity="warning")]


def _foreign_object(item: ObjectRef, owner: str, carried: str) -> Diagnostic:
    """Return the diagnostic for an object that is not in this stack's state."""
    overwrite = "--overwrite " if carried else ""
    command = f"kubectl annotate {overwrite}{_kubectl(item)} {ANNOTATION}={owner}"
    after = "deletes it on `pulumi destroy`" + (", with everything in it" if item.kind == "Namespace" else "")
    other = "Choose another name or another namespace."
    if item.kind == "Namespace":
        join = f"meshup:namespaces {{{item.name}: {{}}}}"
        other += f" A namespace of applications can also join as it is: {join}, without `create`."
    if carried:
        whose = f"It belongs to the stack {carried}."
        remedy = (
            f"{other} If {carried} shall give it up, take it out of the state there, which leaves the object alone "
            f"(`pulumi state delete URN`), and then hand it over to this stack, which changes it, and {after}:"
            f"\n{command}"
        )
    else:
        whose = "meshup did not make it."
        remedy = f"{other} Or hand the object over to this stack, which then changes it, and {after}:\n{command}"
    return Diagnostic("MSH026", str(item), None, f"The object exists. {whose}", f"{ANNOTATION}: {owner}", remedy)


def _shared_object(item: ObjectRef, owner: str, carried: str, urn: str | None) -> Diagnostic:
    """Return the diagnostic for an object that another stack owns as well, or may own."""
    if urn is not None:
        message = f"The states of {owner} and {carried} both have it."
        return Diagnostic("MSH036", str(item), urn, message, "one stack per object")
    message = f"The state of {owner} has it, and whether {carried}, whose name it carries, still has it can't be told."
    command = f"kubectl annotate --overwrite {_kubectl(item)} {ANNOTATION}={owner}"
    remedy = f"If {carried} is gone, or has forgotten it:\n{command}"
    return Diagnostic("MSH036", str(item), None, message, "one stack per object", remedy)


def hand_over(item: ObjectRef, owner: str) -> str:
    """Return the command that gives an object without an owner to a stack."""
    return f"kubectl annotate {_kubectl(item)} {ANNOTATION}={owner}"


def drop_managers(item: ObjectRef) -> str:
    """Return the command that lets every field of an object go.

    Whoever set a field keeps managing it, and Pulumi's server-side apply would meet a conflict as soon as it changes
    one. An empty list would do as little: then the API server gives all fields to `before-first-apply`
    (apimachinery, pkg/util/managedfields, skipnonapplied.go). So one manager is left, of no field that is ever set.
    """
    nothing: dict[str, Any] = {"f:metadata": {"f:annotations": {".": {}}}}
    left = {
        "manager": "meshup-adopt",
        "operation": "Apply",
        "apiVersion": item.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": nothing,
    }
    patch = json.dumps({"metadata": {"managedFields": [left]}})
    return f"kubectl patch {_kubectl(item)} --type merge --patch {shlex.quote(patch)}"


def _kubectl(item: ObjectRef) -> str:
    """Return the kubectl arguments for an object; version and group make its kind unambiguous."""
    group, _, version = item.api_version.rpartition("/")
    kind = f"{item.kind.lower()}.{version}.{group}" if group else item.kind.lower()
    return f"--namespace {item.namespace} {kind} {item.name}" if item.namespace else f"{kind} {item.name}"


def stale_records(
    release: str, operation: Literal["create", "update"], records: Iterable[Mapping[str, Any]]
) -> Sequence[str]:
    """Return the names of the Secrets of a Helm release that an interrupted run left behind.

    Helm refuses to install a release whose name has a record, and to upgrade one whose last record is pending. Without
    the record it adopts the objects of the release, which carry its name and namespace as annotations (Helm 3,
    pkg/action/validate.go).

    Args:
        release: The name of the release.
        operation: Pulumi's next operation. For `create`, its state has no release, so no record is needed.
        records: The metadata of the Secrets in the namespace.
    """
    own: dict[int, Mapping[str, Any]] = {}
    for metadata in records:
        match = _RECORD.fullmatch(metadata["name"])
        if match and match["release"] == release:
            own[int(match["revision"])] = metadata
    if operation == "create":
        return [own[revision]["name"] for revision in sorted(own)]
    return [
        own[revision]["name"]
        for revision in sorted(own)
        if _text(own[revision], "labels", "status").startswith("pending-")
    ]


def handed_over(release: str, records: Iterable[Mapping[str, Any]], owner: str) -> bool:
    """Return whether somebody handed a Helm release over: its last record is deployed, and carries the annotation.

    An upgrade writes another record, without the annotation.

    Args:
        release: The name of the release.
        records: The metadata of the Secrets in the namespace.
        owner: The stack, as in the annotation.
    """
    own: dict[int, Mapping[str, Any]] = {}
    for metadata in records:
        match = _RECORD.fullmatch(metadata["name"])
        if match and match["release"] == release:
            own[int(match["revision"])] = metadata
    return bool(own) and _text(last := own[max(own)], "labels", "status") == "deployed" and owner_of(last) == owner


def _text(metadata: Mapping[str, Any], mapping: str, key: str) -> str:
    """Return a label or an annotation, "" if there is none."""
    return cast("dict[str, str]", metadata.get(mapping) or {}).get(key, "")
