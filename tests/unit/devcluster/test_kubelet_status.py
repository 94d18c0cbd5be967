from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from devcluster.kubelet import status
from devcluster.kubelet.status import ContainerState
from tests.unit.devcluster.test_kubelet_spec import a_pod

NOW = "2026-11-22T12:00:00Z"
RUNNING = ContainerState("running", since=NOW, ready=True, started=True)
STARTING = ContainerState("running", since=NOW)


def reported(pod: dict[str, Any], **states: ContainerState) -> dict[str, Any]:
    named = {name.replace("_", "-"): state for name, state in states.items()}
    return status.pod_status(pod, named, "10.244.128.7", "10.244.255.254", NOW)


def condition(report: dict[str, Any], kind: str) -> str:
    return next(c["status"] for c in report["conditions"] if c["type"] == kind)


MESHED = a_pod({"name": "reviews"}, {"name": "istio-proxy"}, initContainers=[{"name": "istio-init"}])
DONE = ContainerState("terminated", "Completed", since=NOW, ready=True)


def test_a_pod_is_ready_when_every_container_is() -> None:
    report = reported(MESHED, istio_init=DONE, reviews=RUNNING, istio_proxy=RUNNING)
    assert (report["phase"], condition(report, "Ready")) == ("Running", "True")
    assert [c["ready"] for c in report["containerStatuses"]] == [True, True]
    assert report["podIP"] == "10.244.128.7"


def test_a_pod_whose_envoy_is_not_ready_is_not_ready() -> None:
    report = reported(MESHED, istio_init=DONE, reviews=RUNNING, istio_proxy=STARTING)
    assert (report["phase"], condition(report, "Ready")) == ("Running", "False")


def test_a_pod_is_pending_while_interception_is_being_set_up() -> None:
    report = reported(MESHED, istio_init=STARTING, reviews=ContainerState(), istio_proxy=ContainerState())
    assert (report["phase"], condition(report, "Initialized")) == ("Pending", "False")


def test_a_failed_init_container_keeps_the_pod_from_being_initialized() -> None:
    failed = ContainerState("terminated", "Error", since=NOW, code=1)
    report = reported(MESHED, istio_init=failed, reviews=ContainerState(), istio_proxy=ContainerState())
    assert condition(report, "Initialized") == "False"


def test_a_native_sidecar_counts_for_readiness() -> None:
    pod = a_pod({"name": "reviews"}, initContainers=[{"name": "istio-proxy", "restartPolicy": "Always"}])
    unready = ContainerState("running", since=NOW, started=True)
    assert condition(reported(pod, reviews=RUNNING, istio_proxy=unready), "Ready") == "False"
    assert condition(reported(pod, reviews=RUNNING, istio_proxy=RUNNING), "Ready") == "True"


def test_an_init_container_that_the_node_does_not_run_counts_as_complete() -> None:
    pod = a_pod({"name": "reviews"}, initContainers=[{"name": "migrate"}])
    report = reported(pod, reviews=RUNNING)
    assert condition(report, "Ready") == "True"
    assert report["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"


def test_a_crash_shows_its_reason_code_and_count() -> None:
    crashed = ContainerState("waiting", "CrashLoopBackOff", "ended with 137", restarts=2, last=("Error", 137, NOW))
    entry = reported(MESHED, istio_init=DONE, reviews=crashed, istio_proxy=RUNNING)["containerStatuses"][0]
    assert entry["restartCount"] == 2
    assert entry["state"]["waiting"] == {"reason": "CrashLoopBackOff", "message": "ended with 137"}
    assert entry["lastState"]["terminated"]["exitCode"] == 137


def test_times_of_conditions_and_other_peoples_conditions_are_kept() -> None:
    old = "2026-11-22T11:00:00Z"
    current = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": old},
        {"type": "Ready", "status": "True", "lastTransitionTime": old},
        {"type": "ContainersReady", "status": "False", "lastTransitionTime": old},
    ]
    pod = {**MESHED, "status": {"conditions": current, "startTime": old}}
    report = reported(pod, istio_init=DONE, reviews=RUNNING, istio_proxy=RUNNING)
    times = {c["type"]: c["lastTransitionTime"] for c in report["conditions"]}
    assert times == {"PodScheduled": old, "Ready": old, "ContainersReady": NOW, "Initialized": NOW}
    assert report["startTime"] == old


@given(st.integers(min_value=0, max_value=10_000))
def test_the_back_off_grows_and_is_bounded(restarts: int) -> None:
    assert status.BACK_OFF_START <= status.back_off(restarts) <= status.back_off(restarts + 1) <= status.BACK_OFF_LIMIT
