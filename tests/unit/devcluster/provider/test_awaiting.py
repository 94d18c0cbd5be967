from typing import Any

import pytest

from devcluster.provider import awaiting
from devcluster.provider.awaiting import Rule, Snapshot, Verdict
from devcluster.provider.objects import JsonObject, Kind

_DEPLOYMENT = Kind("apps", "v1", "Deployment")
_SERVICE = Kind("", "v1", "Service")


def _rule(kind: Kind, inputs: JsonObject | None = None) -> Rule:
    rule = awaiting.rule_for(inputs or {}, kind)
    assert rule is not None
    return rule


def _decide(kind: Kind, obj: JsonObject) -> Verdict:
    return _rule(kind).decide(Snapshot(obj))


def _deployment(*, revision: str = "1", observed: int = 1, **conditions: str) -> JsonObject:
    reasons = {"Available": "MinimumReplicasUnavailable", "Progressing": "NewReplicaSetAvailable"}
    return {
        "metadata": {
            "name": "d",
            "uid": "d1",
            "generation": 1,
            "annotations": {awaiting.REVISION: revision},
        },
        "spec": {"replicas": 1, "template": {"spec": {}}},
        "status": {
            "observedGeneration": observed,
            "conditions": [
                {"type": kind, "status": status, "reason": reasons[kind], "message": "said so."}
                for kind, status in conditions.items()
            ],
        },
    }


def _replica_set(ready: int, revision: str = "1", wanted: int = 1) -> JsonObject:
    return {
        "metadata": {
            "uid": f"rs{revision}",
            "ownerReferences": [{"uid": "d1"}],
            "annotations": {awaiting.REVISION: revision},
        },
        "spec": {"replicas": wanted},
        "status": {"readyReplicas": ready},
    }


def _with(obj: JsonObject, *replica_sets: JsonObject, pods: tuple[JsonObject, ...] = ()) -> Verdict:
    related = {awaiting.REPLICA_SET: replica_sets, awaiting.POD: pods}
    return _rule(_DEPLOYMENT).decide(Snapshot(obj, None, related))


def test_a_deployment_with_its_replicas_ready_is_ready() -> None:
    verdict = _with(_deployment(Available="True"), _replica_set(1))
    assert verdict.ready
    assert verdict.messages == ("Deployment initialization complete",)


def test_a_deployment_that_the_controller_has_not_seen_in_its_present_form_is_not_ready() -> None:
    assert not _with(_deployment(observed=0, Available="True"), _replica_set(1)).ready


def test_a_deployment_waits_for_its_replicas_and_says_how_many_there_are() -> None:
    verdict = _with(_deployment(Available="False"), _replica_set(1, wanted=3))
    assert not verdict.ready
    assert verdict.messages == (
        "![MinimumReplicasUnavailable] said so.",
        "Waiting for app ReplicaSet to be available (1/3 Pods available)",
    )
    assert verdict.errors == (
        "[MinimumReplicasUnavailable] said so.",
        "Minimum number of live Pods was not attained",
    )


def test_a_rollout_is_done_only_when_the_new_replica_set_is_progressed_to() -> None:
    old, new = _replica_set(1, "1"), _replica_set(1, "2")
    assert not _with(_deployment(revision="2", Available="True"), old, new).ready
    assert _with(_deployment(revision="2", Available="True", Progressing="True"), old, new).ready
    assert not _with(_deployment(revision="2", Available="True", Progressing="True"), old).ready


def test_a_deployment_that_can_not_be_scheduled_says_why() -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "ns", "ownerReferences": [{"uid": "rs1"}]},
        "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]},
    }
    verdict = _with(_deployment(Available="False"), _replica_set(0), pods=(pod,))
    assert verdict.errors[-1] == "[Pod ns/p]: 0/1 nodes are available"


def test_a_deployment_waits_for_the_volumes_that_it_uses_and_for_no_others() -> None:
    deployment = _deployment(Available="True")
    deployment["spec"]["template"]["spec"]["volumes"] = [{"persistentVolumeClaim": {"claimName": "mine"}}]
    claims = [
        {"metadata": {"name": "mine"}, "status": {"phase": "Pending"}},
        {"metadata": {"name": "other"}, "status": {"phase": "Pending"}},
    ]
    snapshot = Snapshot(deployment, None, {awaiting.REPLICA_SET: [_replica_set(1)], awaiting.CLAIM: claims})
    verdict = _rule(_DEPLOYMENT).decide(snapshot)
    assert not verdict.ready
    assert verdict.errors[0] == "Failed to bind PersistentVolumeClaim(s): mine"


def _service(**spec: Any) -> JsonObject:
    return {"metadata": {"name": "s"}, "spec": {"clusterIP": "10.0.0.1", "selector": {"app": "a"}, **spec}}


def _slice(service: str, *endpoints: str) -> JsonObject:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": [e]} for e in endpoints],
    }


def _judge(service: JsonObject, *slices: JsonObject, settled: bool = True) -> Verdict:
    return _rule(_SERVICE).decide(Snapshot(service, None, {awaiting.ENDPOINT_SLICE: slices}, settled=settled))


def test_a_service_is_ready_when_it_has_had_endpoints_for_a_while() -> None:
    assert _judge(_service(), _slice("s", "10.1.0.1")).ready
    assert not _judge(_service(), _slice("s", "10.1.0.1"), settled=False).ready


def test_endpoints_of_another_service_do_not_count() -> None:
    verdict = _judge(_service(), _slice("other", "10.1.0.1"), _slice("s"))
    assert not verdict.ready
    assert verdict.messages == ("[1/3] Finding Pods to direct traffic to",)
    assert "does not target any Pods" in verdict.errors[0]


@pytest.mark.parametrize("spec", [{"type": "ExternalName"}, {"clusterIP": "None"}, {"selector": {}}])
def test_a_service_that_selects_nothing_waits_for_nothing(spec: JsonObject) -> None:
    assert _judge(_service(**spec), settled=False).ready


def test_a_load_balancer_waits_for_its_address() -> None:
    service = _service(type="LoadBalancer")
    verdict = _judge(service, _slice("s", "10.1.0.1"))
    assert verdict.messages == ("[2/3] Attempting to allocate IP address to Service",)
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert _judge(service, _slice("s", "10.1.0.1")).ready


def _stateful_set(generation: int, **status: Any) -> JsonObject:
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": generation, **status},
    }


def test_a_stateful_set_waits_for_replicas_and_revision() -> None:
    kind = Kind("apps", "v1", "StatefulSet")
    full = {"replicas": 2, "readyReplicas": 2, "currentReplicas": 2, "currentRevision": "r1", "updateRevision": "r1"}
    assert _decide(kind, _stateful_set(1, **full)).ready
    few = _decide(kind, _stateful_set(1, **full | {"readyReplicas": 1}))
    assert few.messages == ("[1/2] Waiting for StatefulSet to create Pods (1/2 Pods ready)",)
    rolling = _decide(kind, _stateful_set(2, **full | {"updateRevision": "r2"}))
    assert not rolling.ready
    assert "r1" in rolling.errors[0]


def test_a_daemon_set_waits_for_every_node_and_is_ready_where_there_is_none() -> None:
    kind = Kind("apps", "v1", "DaemonSet")

    def obj(**status: int) -> JsonObject:
        return {"metadata": {"generation": 1}, "spec": {}, "status": {"observedGeneration": 1, **status}}

    assert _decide(kind, obj(desiredNumberScheduled=0)).ready
    assert not _decide(kind, obj(desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=1)).ready
    assert not _decide(kind, obj(desiredNumberScheduled=1, updatedNumberScheduled=0, numberAvailable=1)).ready
    assert _decide(kind, obj(desiredNumberScheduled=1, updatedNumberScheduled=1, numberAvailable=1)).ready


def _conditions(**conditions: str) -> JsonObject:
    listed = [{"type": t, "status": s, "reason": "Because", "message": "of this"} for t, s in conditions.items()]
    return {"metadata": {"name": "o"}, "status": {"conditions": listed}}


def test_a_job_is_ready_when_complete_and_given_up_on_when_failed() -> None:
    kind = Kind("batch", "v1", "Job")
    assert _decide(kind, _conditions(Complete="True")).ready
    failed = _decide(kind, _conditions(Failed="True"))
    assert failed.failed
    assert failed.errors == ("[Because] of this",)
    assert not _decide(kind, _conditions()).failed


def test_a_pod_is_ready_or_done_or_given_up_on() -> None:
    assert _decide(awaiting.POD, _conditions(Ready="True")).ready
    assert _decide(awaiting.POD, {"status": {"phase": "Succeeded"}}).ready
    assert _decide(awaiting.POD, {"status": {"phase": "Failed", "message": "evicted"}}).failed


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "[ImagePullBackOff] no such image"),
        ({"terminated": {"exitCode": 3}}, "container 'c': container exited with code 3"),
        ({"waiting": {"reason": "ContainerCreating"}}, ""),
        ({"running": {}}, ""),
    ],
)
def test_what_keeps_a_container_from_running_is_named(state: JsonObject, problem: str) -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "ns"},
        "status": {"containerStatuses": [{"name": "c", "state": state}]},
    }
    assert awaiting.pod_problems(pod) == ((f"[Pod ns/p]: {problem}",) if problem else ())


def test_a_definition_is_ready_when_its_kind_is_served() -> None:
    kind = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    assert _decide(kind, _conditions(Established="True", NamesAccepted="True")).ready
    clash = _decide(kind, _conditions(NamesAccepted="False"))
    assert clash.errors == ("[Because] of this",)


@pytest.mark.parametrize(
    ("kind", "obj", "ready"),
    [
        ("PersistentVolumeClaim", {"status": {"phase": "Bound"}}, True),
        ("PersistentVolumeClaim", {"status": {"phase": "Pending"}}, False),
        ("PersistentVolume", {"status": {"phase": "Available"}}, True),
        ("PersistentVolume", {"status": {"phase": "Failed"}}, False),
        ("ReplicationController", {"spec": {"replicas": 2}, "status": {"availableReplicas": 2}}, True),
        ("ReplicationController", {"spec": {"replicas": 2}, "status": {}}, False),
        ("ResourceQuota", {"spec": {"hard": {"pods": "1"}}, "status": {"hard": {"pods": "1"}}}, True),
        ("ResourceQuota", {"spec": {"hard": {"pods": "1"}}, "status": {}}, False),
        ("Secret", {"type": "Opaque"}, True),
        ("Secret", {"type": "kubernetes.io/service-account-token"}, False),
        ("Secret", {"type": "kubernetes.io/service-account-token", "data": {"token": "dA=="}}, True),
    ],
)
def test_simple_kinds(kind: str, obj: JsonObject, *, ready: bool) -> None:
    assert _decide(Kind("", "v1", kind), obj).ready is ready


def test_a_claim_that_waits_for_its_first_consumer_is_ready() -> None:
    claim = {"spec": {"storageClassName": "late"}, "status": {"phase": "Pending"}}
    late = {"metadata": {"name": "late"}, "volumeBindingMode": "WaitForFirstConsumer"}
    snapshot = Snapshot(claim, None, {awaiting.STORAGE_CLASS: [late]})
    assert _rule(awaiting.CLAIM).decide(snapshot).ready


def _annotated(key: str, value: str) -> JsonObject:
    return {"metadata": {"annotations": {key: value}}}


def test_an_annotation_switches_waiting_off() -> None:
    assert awaiting.rule_for(_annotated("pulumi.com/skipAwait", "true"), _DEPLOYMENT) is None
    assert awaiting.rule_for(_annotated("pulumi.com/skipAwait", "false"), _DEPLOYMENT) is not None


def test_kinds_without_a_rule_are_not_waited_for() -> None:
    assert awaiting.rule_for({}, Kind("", "v1", "ConfigMap")) is None
    assert awaiting.rule_for({}, Kind("example.invalid", "v1", "Deployment")) is None


@pytest.mark.parametrize(
    ("expression", "obj", "met"),
    [
        ("condition=Ready", _conditions(Ready="True"), True),
        ("condition=Ready", _conditions(Ready="False"), False),
        ("condition=Ready=False", _conditions(Ready="False"), True),
        ("jsonpath={.status.phase}=Active", {"status": {"phase": "Active"}}, True),
        ("jsonpath={.status.phase}=Active", {"status": {"phase": "Terminating"}}, False),
        ("jsonpath={.status.list[0].ok}=true", {"status": {"list": [{"ok": True}]}}, True),
        ("jsonpath={.status.address}", {"status": {}}, False),
        ('["condition=A", "condition=B"]', _conditions(A="True", B="True"), True),
        ('["condition=A", "condition=B"]', _conditions(A="True"), False),
    ],
)
def test_an_annotation_names_what_to_wait_for(expression: str, obj: JsonObject, *, met: bool) -> None:
    rule = _rule(Kind("example.invalid", "v1", "Widget"), _annotated("pulumi.com/waitFor", expression))
    assert rule.decide(Snapshot(obj)).ready is met


@pytest.mark.parametrize("expression", ["Ready", "jsonpath=.status[?(@.x)]", "[1", '["whatever"]'])
def test_a_condition_that_can_not_be_read_is_refused(expression: str) -> None:
    with pytest.raises(awaiting.WaitForError, match=r"pulumi\.com/waitFor"):
        awaiting.parse_wait_for(expression)


def test_the_time_to_wait_is_the_resources_own_then_the_annotations_then_the_kinds() -> None:
    annotated = _annotated("pulumi.com/timeoutSeconds", "7")
    assert awaiting.timeout_seconds(annotated, 3, 600) == 3
    assert awaiting.timeout_seconds(annotated, 0, 600) == 7
    assert awaiting.timeout_seconds({}, 0, 600) == 600
    assert awaiting.timeout_seconds(_annotated("pulumi.com/timeoutSeconds", "soon"), 0, 600) == 600
