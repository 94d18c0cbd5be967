"""What an interrupted `up` leaves behind, and whose objects are whose.

`kill -9` of `pulumi up` can leave objects and Helm releases in the cluster which Pulumi's state does not have. The next
`up` would fail on them ("already exists", "cannot re-use a name that is still in use"). So every object carries the
stack that made it, and only what carries it is taken over again (docs/decisions/0001-recovery.md).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from components.routing import Diagnostic

ANNOTATION = "meshup/stack"
"""On every object of a stack: organisation/project/stack."""
_RECORD = re.compile(r"sh\.helm\.release\.v1\.(?P<release>[a-z0-9][-a-z0-9.]*)\.v(?P<revision>\d+)")


@dataclass(frozen=True)
class Kept:
    """An object that the stack is about to have.

    Attributes:
        api_version: As in a manifest.
        kind: As in a manifest.
        name: As in a manifest.
        namespace: As in a manifest; "" for a cluster-wide object.
    """

    api_version: str
    kind: str
    name: str
    namespace: str = ""


def kept(manifest: Mapping[str, Any]) -> Kept:
    """Return what a manifest will be in the cluster."""
    metadata = manifest["metadata"]
    return Kept(manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace", ""))


def marked(metadata: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return metadata with the annotation of the stack."""
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), ANNOTATION: owner}}


def holder(metadata: Mapping[str, Any]) -> str:
    """Return the stack that an object belongs to, "" for none."""
    return _text(metadata, "annotations", ANNOTATION)


def conflicts(wanted: Iterable[Kept], there: Mapping[Kept, Mapping[str, Any]], owner: str) -> list[Diagnostic]:
    """Refuse objects which exist and are not this stack's.

    Args:
        wanted: What the stack is about to have.
        there: Of those, the ones that exist, with their metadata.
        owner: The stack, as in the annotation.
    """
    found: list[Diagnostic] = []
    for item in wanted:
        metadata = there.get(item)
        if metadata is None:
            continue
        stack = holder(metadata)
        if stack != owner:
            place = f"{item.kind}/{item.namespace}/{item.name}" if item.namespace else f"{item.kind}/{item.name}"
            whose = f"It belongs to the stack {stack}." if stack else "meshup did not make it."
            found.append(Diagnostic("MSH026", place, None, f"The object exists. {whose}", f"{ANNOTATION}: {owner}"))
    return found


def stale_records(
    release: str, operation: Literal["create", "update"], records: Iterable[Mapping[str, Any]]
) -> Sequence[str]:
    """Return the names of the Secrets in which Helm keeps a release, and which are left of an interrupted run.

    Helm refuses to install a release whose name has a record, and to upgrade one whose last record is pending. Without
    the record it adopts the objects of the release, which carry its name and namespace as annotations (Helm 3,
    pkg/action/validate.go).

    Args:
        release: The name of the release.
        operation: What Pulumi is about to do. If it creates, its state knows no release, so no record is needed.
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


def _text(metadata: Mapping[str, Any], mapping: str, key: str) -> str:
    """A label or an annotation, "" if there is none."""
    return cast("dict[str, str]", metadata.get(mapping) or {}).get(key, "")
