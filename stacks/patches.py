"""Annotations on Services that somebody else makes: how they are patched, and whether they can be. Pure.

What a Patch resource does was recorded with the official plugin (4.29.0): server-side apply under a field manager of
its own, which owns only the fields of the patch and gives them up on destroy. Of an object that is not there it makes
one, or fails; a field that another manager set to another value is a conflict.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, ObjectRef, object_ref
from stacks.plan import Plan


def field_manager(owner: str) -> str:
    """Return the field manager of a stack's patches.

    The same in every run, so that an `up` after `kill -9` finds its own fields; a name that the plugin draws would
    leave those of the killed run behind for ever.
    """
    return f"meshup-{hashlib.sha256(owner.encode()).hexdigest()[:8]}"


def decide(planned: Plan, owner: str) -> Plan:
    """Return the plan with patches as they are registered.

    The plugin reads what it shall do from annotations, which land on the Service beside the others and go with them. It
    shall not wait for the pods of a Service that is not ours.
    """
    manager = {"pulumi.com/patchFieldManager": field_manager(owner), "pulumi.com/skipAwait": "true"}
    patches = (
        {**item, "metadata": {**item["metadata"], "annotations": {**item["metadata"]["annotations"], **manager}}}
        for item in planned.patches
    )
    return replace(planned, patches=tuple(patches))


def check(
    planned: Plan, there: Mapping[ObjectRef, Mapping[str, Any]], owner: str, *, server_side_apply: bool
) -> list[Diagnostic]:
    """Find what a patch would fail on.

    Args:
        planned: What the stack is about to have.
        there: Of the Services to patch, the ones that exist, with their metadata.
        owner: The stack, organisation/project/stack.
        server_side_apply: Whether the plugin may use it.
    """
    if planned.patches and not server_side_apply:
        message = "The plugin patches the Services of others by server-side apply only."
        return [Diagnostic("MSH004", "kubernetes:enableServerSideApply", False, message, "true")]
    found: list[Diagnostic] = []
    for patch in planned.patches:
        service = object_ref(patch)
        place, value = _place(planned, service), f"{service.namespace}/{service.name}"
        metadata = there.get(service)
        if metadata is None:
            message = f"There is no Service '{service.name}' in the namespace '{service.namespace}' to annotate."
            found.append(Diagnostic("MSH166", place, value, message))
            continue
        for key, managers in _conflicts(patch, metadata, field_manager(owner)).items():
            wanted = patch["metadata"]["annotations"][key]
            message = f"{', '.join(managers)} set {key}={metadata['annotations'][key]}; meshup would set {wanted}."
            found.append(Diagnostic("MSH167", place, value, message))
    return found


def _place(planned: Plan, service: ObjectRef) -> str:
    """Where the configuration asks for the annotations."""
    for plan in planned.traffic.planned:
        route = plan.route
        if route.circuit_breaker and (route.service.namespace, route.service.name) == (service.namespace, service.name):
            return route.circuit_breaker.where
    return "meshup:traffic"


def _conflicts(patch: Manifest, metadata: Mapping[str, Any], manager: str) -> dict[str, Sequence[str]]:
    """Return the annotations of a patch that others own with another value, and who they are.

    The rule of the API server (Kubernetes, "Server-Side Apply", Conflicts): the same value is owned together.
    """
    live = cast("dict[str, str]", metadata.get("annotations") or {})
    found: dict[str, Sequence[str]] = {}
    for key, value in cast("dict[str, str]", patch["metadata"]["annotations"]).items():
        others = [name for name in _owners(metadata.get("managedFields") or (), key) if name != manager]
        if key in live and live[key] != value and others:
            found[key] = others
    return found


def _owners(fields: Iterable[Mapping[str, Any]], annotation: str) -> list[str]:
    """The field managers of an annotation."""
    owners: list[str] = []
    for entry in fields:
        owned: Any = entry.get("fieldsV1") or {}
        for part in ("f:metadata", "f:annotations"):
            owned = owned.get(part) or {}
        if f"f:{annotation}" in owned:
            owners.append(str(entry.get("manager", "")))
    return owners
