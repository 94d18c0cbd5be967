"""What to do about operations that a killed `pulumi up` had begun and not recorded. Pure functions on plain data.

The engine notes each operation before it starts it (`pending_operations` of the exported state). An object that was
being created may or may not be in the cluster; it is adopted if it is, and forgotten if not, so that the next `up`
neither fails on it nor leaves it behind.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

RELEASE = "kubernetes:helm.sh/v3:Release"
Verdict = Literal["there", "half", "gone"]


@dataclass(frozen=True)
class Operation:
    """A pending operation: `creating`, `updating`, `deleting` or the like, of one resource."""

    kind: str
    urn: str
    type: str
    inputs: Mapping[str, object]


@dataclass(frozen=True)
class Probe:
    """The command that shows whether the object is there, and the one that takes away half of it."""

    argv: Sequence[str]
    undo: Sequence[str]


def pending_operations(exported: Mapping[str, object]) -> list[Operation]:
    """Return the pending operations of a state as `pulumi stack export` prints it."""
    deployment = _mapping(exported.get("deployment"))
    listed = cast("Sequence[object]", deployment.get("pending_operations") or ())
    result: list[Operation] = []
    for item in map(_mapping, listed):
        resource = _mapping(item.get("resource"))
        result.append(
            Operation(
                str(item.get("type")),
                str(resource.get("urn")),
                str(resource.get("type")),
                _mapping(resource.get("inputs")),
            )
        )
    return result


def identifier(operation: Operation) -> str | None:
    """Return the identifier that the Kubernetes plugin gives this resource: `namespace/name`, or `name`."""
    name, namespace = _names(operation)
    if name is None:
        return None
    return f"{namespace}/{name}" if namespace else name


def probe(operation: Operation) -> Probe | None:
    """Return how to ask the cluster for the object; None for what is not a Kubernetes object with a name."""
    name, namespace = _names(operation)
    if name is None or not operation.type.startswith("kubernetes:"):
        return None
    where = ["--namespace", namespace] if namespace else []
    if operation.type == RELEASE:
        return Probe(
            ["helm", "status", name, *where, "--output", "json"],
            ["helm", "uninstall", name, *where, "--wait", "--timeout", "2m"],
        )
    group, _, version = str(operation.inputs.get("apiVersion", "v1")).rpartition("/")
    kind = str(operation.inputs.get("kind"))
    resource = f"{kind}.{version}.{group}" if group else kind
    return Probe(["kubectl", "get", resource, name, *where, "--ignore-not-found", "--output", "name"], [])


def judge(operation: Operation, code: int, output: str) -> Verdict:
    """Return what the answer to a probe means: the object is there, only half of it, or not at all."""
    if code != 0:
        return "gone"
    if operation.type == RELEASE:
        status = _mapping(_mapping(json.loads(output)).get("info")).get("status")
        return "there" if status == "deployed" else "half"
    return "there" if output.strip() else "gone"


def _names(operation: Operation) -> tuple[str | None, str | None]:
    source = operation.inputs if operation.type == RELEASE else _mapping(operation.inputs.get("metadata"))
    name, namespace = source.get("name"), source.get("namespace")
    return (name if isinstance(name, str) else None, namespace if isinstance(namespace, str) else None)


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
