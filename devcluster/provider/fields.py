"""Who manages which field of an object (`metadata.managedFields`), and what follows for an update.

An object is made by a plain create, so that one that exists already is refused, and changed by server-side apply. The
server takes these for two managers even under one name, so the first apply must take over what the create owns
(k8s.io/client-go/util/csaupgrade describes the same step for kubectl).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, cast

from devcluster.provider import diff, objects
from devcluster.provider.objects import JsonObject

_TAKEN_OVER = ("pulumi-kubernetes", "pulumi-resource-kubernetes", "kubectl", "before-first-apply")


def _entries(obj: JsonObject) -> list[JsonObject]:
    return cast("list[JsonObject]", objects.metadata(obj).get("managedFields") or [])


def _merge(one: JsonObject, other: JsonObject) -> JsonObject:
    merged = dict(one)
    for key, value in other.items():
        merged[key] = _merge(merged[key], value) if key in merged else value
    return merged


def take_over(live: JsonObject, manager: str) -> list[JsonObject] | None:
    """Return managed fields in which `manager` applies what a create or kubectl owned; None where nothing changes."""
    taken: list[JsonObject] = []
    kept: list[JsonObject] = []
    for entry in _entries(live):
        name = str(entry.get("manager", ""))
        ours = name == manager or name.startswith(_TAKEN_OVER)
        updated = entry.get("operation") == "Update" and not entry.get("subresource")
        (taken if ours and updated else kept).append(entry)
    if not taken:
        return None
    own = next((e for e in kept if e.get("manager") == manager and e.get("operation") == "Apply"), None)
    fields = cast("JsonObject", own["fieldsV1"]) if own else {}
    for entry in taken:
        fields = _merge(fields, cast("JsonObject", entry.get("fieldsV1") or {}))
    applied = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": taken[0].get("apiVersion"),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return [e for e in kept if e is not own] + [applied]


def _owns(entries: Iterable[JsonObject], path: diff.Path) -> bool:
    for entry in entries:
        node: Any = entry.get("fieldsV1") or {}
        for part in path:
            node = cast("JsonObject", node).get(f"f:{part}")
            if node is None:
                break
        else:
            return True
    return False


def keep_ignored(inputs: JsonObject, live: JsonObject, manager: str, ignored: Iterable[str]) -> JsonObject:
    """Return the inputs with every field of `ignoreChanges` as it is in the cluster.

    A field that only somebody else manages is left out, so that the apply neither conflicts nor takes it.
    """
    result = copy.deepcopy(inputs)
    ours = [e for e in _entries(live) if e.get("manager") == manager]
    theirs = [e for e in _entries(live) if e.get("manager") != manager]
    for text in ignored:
        path = diff.parse(text)
        if any(isinstance(part, int) or part == "*" for part in path):
            continue  # Lists have no stable paths: the engine's own handling stays.
        if _owns(theirs, path) and not _owns(ours, path):
            _set(result, path, None)
        elif (value := _get(live, path)) is not None:
            _set(result, path, value)
    return result


def _get(obj: JsonObject, path: diff.Path) -> Any:
    value: Any = obj
    for part in path:
        if not isinstance(value, dict):
            return None
        value = cast("JsonObject", value).get(str(part))
    return value


def _set(obj: JsonObject, path: diff.Path, value: Any) -> None:
    node = obj
    for part in path[:-1]:
        child = node.get(str(part))
        if not isinstance(child, dict):
            if value is None:
                return
            child = node[str(part)] = {}
        node = cast("JsonObject", child)
    if value is None:
        node.pop(str(path[-1]), None)
    else:
        node[str(path[-1])] = value
