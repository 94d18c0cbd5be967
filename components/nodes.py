"""Which nodes take which pods, as Kubernetes decides it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

LINUX = ("kubernetes.io/os", "linux")
"""The label of nodes that run Linux."""


def is_ready(node: Mapping[str, Any]) -> bool:
    """Return whether a node says that it is ready."""
    status: Mapping[str, Any] = node.get("status") or {}
    conditions = cast("list[Mapping[str, str]]", status.get("conditions") or [])
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def takes_pods(
    node: Mapping[str, Any], selector: Mapping[str, str], tolerations: Sequence[Mapping[str, str]] = ()
) -> bool:
    """Return whether a node takes pods: ready, not cordoned, selected, its taints tolerated.

    Args:
        node: A node, as the API server has it.
        selector: The `nodeSelector` of the pods.
        tolerations: Their tolerations.
    """
    spec: Mapping[str, Any] = node.get("spec") or {}
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    selected = all(labels.get(key) == value for key, value in selector.items())
    taints = cast("list[Mapping[str, str]]", spec.get("taints") or [])
    barred = [
        taint
        for taint in taints
        if taint.get("effect") in ("NoSchedule", "NoExecute")
        and not any(_tolerates(toleration, taint) for toleration in tolerations)
    ]
    return is_ready(node) and selected and not barred and not spec.get("unschedulable", False)


def _tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    """As Kubernetes decides it (core/v1, Toleration.ToleratesTaint): what is empty matches everything."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")
