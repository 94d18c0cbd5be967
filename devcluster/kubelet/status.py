"""What the kubelet reports of a pod: a pure function from its containers' states to the Pod's status.

Source: Kubernetes API v1 (PodStatus) and "Pod Lifecycle".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from devcluster.kubelet.spec import Object, listed, mapped

Phase = Literal["waiting", "running", "terminated"]


@dataclass(frozen=True)
class ContainerState:
    """One container now.

    Attributes:
        reason: Why it waits or ended, as the API names it.
        since: When this state began, RFC 3339.
        code: The exit code of a terminated one.
        restarts: How often it was started again.
        last: The reason, code and time of its last end, if it was started again.
    """

    phase: Phase = "waiting"
    reason: str = "ContainerCreating"
    message: str = ""
    since: str = ""
    ready: bool = False
    started: bool = False
    code: int = 0
    restarts: int = 0
    last: tuple[str, int, str] | None = None


BACK_OFF_START = 1.0
BACK_OFF_LIMIT = 60.0
BACK_OFF_RESET = 120.0


def back_off(restarts: int) -> float:
    """Return the seconds to wait before starting a container again: 1, 2, 4 ... 60.

    A kubelet begins at 10 s and ends at 5 min; a cluster on a laptop that lives for an hour has less patience.
    """
    return min(BACK_OFF_START * 2 ** min(restarts, 10), BACK_OFF_LIMIT)


def pod_status(
    pod: Object, states: Mapping[str, ContainerState], address: str, node_address: str, now: str
) -> dict[str, Any]:
    """Return the status to report.

    Args:
        pod: The Pod as the API has it; times in its conditions are kept while they don't change.
        states: Every container that runs for it, by name. A container that is not there counts as complete: it is an
            init container whose image the node does not have.
        address: The pod's address, empty before it has one.
        node_address: The node's.
        now: The time, RFC 3339.
    """
    spec: Mapping[str, Any] = pod["spec"]
    inits = listed(spec, "initContainers")
    mains = listed(spec, "containers")
    complete = ContainerState("terminated", "Completed", since=now, ready=True)
    own = {c["name"]: states.get(c["name"], complete) for c in [*inits, *mains]}
    initialized = all(
        (own[c["name"]].started if c.get("restartPolicy") == "Always" else _succeeded(own[c["name"]])) for c in inits
    )
    sidecars_ready = all(own[c["name"]].ready for c in inits if c.get("restartPolicy") == "Always")
    ready = initialized and sidecars_ready and all(own[c["name"]].ready for c in mains)
    running = initialized and any(own[c["name"]].phase != "waiting" or own[c["name"]].restarts for c in mains)
    result: dict[str, Any] = {
        "phase": "Running" if running else "Pending",
        "hostIP": node_address,
        "hostIPs": [{"ip": node_address}],
        "startTime": mapped(pod, "status").get("startTime") or now,
        "conditions": _conditions(pod, {"Initialized": initialized, "ContainersReady": ready, "Ready": ready}, now),
        "initContainerStatuses": [_container_status(c, own[c["name"]]) for c in inits],
        "containerStatuses": [_container_status(c, own[c["name"]]) for c in mains],
    }
    if address:
        result |= {"podIP": address, "podIPs": [{"ip": address}]}
    return result


def _succeeded(state: ContainerState) -> bool:
    return state.phase == "terminated" and state.code == 0


def _conditions(pod: Object, wanted: Mapping[str, bool], now: str) -> list[dict[str, Any]]:
    current = listed(mapped(pod, "status"), "conditions")
    known = {c["type"]: c for c in current}
    kept = [dict(c) for c in current if c["type"] not in wanted]
    for kind, value in wanted.items():
        text = "True" if value else "False"
        before = mapped(known, kind)
        since = before.get("lastTransitionTime") if before.get("status") == text else None
        condition: dict[str, Any] = {"type": kind, "status": text, "lastTransitionTime": since or now}
        if not value and kind != "Initialized":
            condition |= {"reason": "ContainersNotReady"}
        kept.append(condition)
    return kept


def _container_status(container: Object, state: ContainerState) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": state.ready,
        "started": state.started,
        "restartCount": state.restarts,
        "state": _state(state),
        "lastState": {},
    }
    if state.last is not None:
        reason, code, ended = state.last
        result["lastState"] = {"terminated": {"reason": reason, "exitCode": code, "finishedAt": ended}}
    return result


def _state(state: ContainerState) -> dict[str, Any]:
    match state.phase:
        case "waiting":
            detail = {"reason": state.reason}
            return {"waiting": detail | ({"message": state.message} if state.message else {})}
        case "running":
            return {"running": {"startedAt": state.since}}
        case "terminated":
            return {"terminated": {"reason": state.reason, "exitCode": state.code, "finishedAt": state.since}}
