"""When an object counts as ready, and what to say while it is not.

Every rule takes the object, what it was before the change, and the objects that belong to it, and answers with a
`Verdict`. The rules are those of pulumi-kubernetes (provider/pkg/await); `operations` asks the API server and waits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from devcluster.provider import objects
from devcluster.provider.objects import JsonObject, Kind

REVISION = "deployment.kubernetes.io/revision"

POD = Kind("", "v1", "Pod")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet")
CLAIM = Kind("", "v1", "PersistentVolumeClaim")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice")
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the cluster holds at one moment.

    Attributes:
        obj: the object that is waited for.
        last: the object before the change, None for one that was created.
        related: the objects of the rule's related kinds in the same namespace.
        settled: whether the related objects have not changed for the rule's settling time.
    """

    obj: JsonObject
    last: JsonObject | None = None
    related: Mapping[Kind, Sequence[JsonObject]] = field(default_factory=dict[Kind, Sequence[JsonObject]])
    settled: bool = True

    def of(self, kind: Kind) -> Sequence[JsonObject]:
        """Return the related objects of a kind."""
        return self.related.get(kind, ())


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the object is ready.

    Attributes:
        ready: it is.
        messages: what to show now; a leading `!` makes a warning of it.
        errors: what to report should waiting end here.
        failed: it can't become ready any more.
    """

    ready: bool
    messages: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """How to wait for a kind.

    Attributes:
        decide: the decision.
        related: kinds to look at besides.
        timeout: seconds, where neither the resource nor an annotation sets them.
        settle: seconds for which the related objects must be unchanged.
        on_read: whether a refresh judges the object, too.
    """

    decide: Callable[[Snapshot], Verdict]
    related: tuple[Kind, ...] = ()
    timeout: float = 600.0
    settle: float = 0.0
    on_read: bool = True


_NOTHING: JsonObject = {}


def _status(obj: Mapping[str, Any]) -> JsonObject:
    return objects.child(obj, "status")


def _spec(obj: Mapping[str, Any]) -> JsonObject:
    return objects.child(obj, "spec")


def _name(obj: Mapping[str, Any]) -> str:
    return str(objects.metadata(obj).get("name", ""))


def condition(obj: Mapping[str, Any], wanted: str) -> JsonObject:
    """Return a status condition by its type, empty where it is not there."""
    conditions = cast("list[JsonObject]", _status(obj).get("conditions") or [])
    return next((c for c in conditions if c.get("type") == wanted), _NOTHING)


def _holds(obj: Mapping[str, Any], wanted: str) -> bool:
    return condition(obj, wanted).get("status") == "True"


def _explain(found: JsonObject) -> str:
    return f"[{found.get('reason', '')}] {found.get('message', '')}" if found.get("reason") else ""


def _observed(obj: Mapping[str, Any]) -> bool:
    return _status(obj).get("observedGeneration") == objects.metadata(obj).get("generation")


def _owned(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    owners = cast("list[JsonObject]", objects.metadata(obj).get("ownerReferences") or [])
    return any(o.get("uid") == objects.metadata(owner).get("uid") for o in owners)


def pod_problems(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a pod is not ready, each with the pod's name; empty for one that is ready or just starting."""
    meta = objects.metadata(pod)
    prefix = f"[Pod {meta.get('namespace', '')}/{meta.get('name', '')}]: "
    problems: list[str] = []
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        problems.append(prefix + str(scheduled.get("message", "not scheduled")))
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in cast("list[JsonObject]", _status(pod).get(key) or []):
            state = cast("JsonObject", container.get("state") or {})
            waiting = cast("JsonObject", state.get("waiting") or {})
            ended = cast("JsonObject", state.get("terminated") or {})
            if waiting.get("reason") and waiting["reason"] not in ("ContainerCreating", "PodInitializing"):
                detail = str(waiting.get("message") or "container is waiting")
                problems.append(f"{prefix}[{waiting['reason']}] {detail}")
            elif ended.get("exitCode"):
                detail = str(ended.get("message") or f"container exited with code {ended['exitCode']}")
                problems.append(f"{prefix}container {container.get('name', '')!r}: {detail}")
    return tuple(problems)


def _deployment(snapshot: Snapshot) -> Verdict:
    deployment = snapshot.obj
    if not _observed(deployment):
        return Verdict(ready=False, errors=("The Deployment controller has not looked at this Deployment yet",))
    revision = objects.annotation(deployment, REVISION)
    available, progressing = condition(deployment, "Available"), condition(deployment, "Progressing")
    complaints = tuple(
        text for c in (progressing, available) if c and c.get("status") != "True" and (text := _explain(c))
    )
    messages = [f"!{text}" for text in complaints]

    replica_set = next(
        (
            rs
            for rs in snapshot.of(REPLICA_SET)
            if _owned(rs, deployment) and objects.annotation(rs, REVISION) == revision
        ),
        None,
    )
    replicas_ready = False
    if replica_set is not None and revision:
        wanted = int(_spec(replica_set).get("replicas", 1))
        ready = int(_status(replica_set).get("readyReplicas", 0))
        replicas_ready = ready >= wanted
        if not replicas_ready:
            messages.append(f"Waiting for app ReplicaSet to be available ({ready}/{wanted} Pods available)")
        elif wanted == 0:
            messages.append(f'!Replicas scaled to 0 for Deployment "{_name(deployment)}"')

    rolled_out = progressing.get("status") == "True" and progressing.get("reason") == "NewReplicaSetAvailable"
    claims = _unbound_claims(deployment, snapshot.of(CLAIM))
    messages += [f"!PersistentVolumeClaim: [{c}] is not ready" for c in claims]
    is_available = available.get("status") == "True"
    if is_available and replicas_ready and (revision == "1" or rolled_out) and not claims:
        return Verdict(ready=True, messages=(*messages, "Deployment initialization complete"))

    errors = list(complaints)
    if claims:
        errors.append(f"Failed to bind PersistentVolumeClaim(s): {', '.join(claims)}")
    if not is_available:
        errors.append("Minimum number of live Pods was not attained")
    elif not replicas_ready and revision == "1":
        errors.append("Minimum number of Pods to consider the application live was not attained")
    elif not rolled_out or not replicas_ready:
        errors.append("Attempted to roll forward to new ReplicaSet, but minimum number of Pods did not become live")
    if replica_set is not None:
        errors += [p for pod in snapshot.of(POD) if _owned(pod, replica_set) for p in pod_problems(pod)]
    return Verdict(ready=False, messages=tuple(messages), errors=tuple(errors))


def _unbound_claims(workload: JsonObject, claims: Sequence[JsonObject]) -> list[str]:
    template = cast("JsonObject", _spec(workload).get("template") or {})
    volumes = cast("list[JsonObject]", _spec(template).get("volumes") or [])
    used = {v["persistentVolumeClaim"].get("claimName") for v in volumes if v.get("persistentVolumeClaim")}
    return [_name(c) for c in claims if _name(c) in used and _status(c).get("phase") != "Bound"]


def _stateful_set(snapshot: Snapshot) -> Verdict:
    obj, spec, status = snapshot.obj, _spec(snapshot.obj), _status(snapshot.obj)
    wanted = int(spec.get("replicas", 1))
    ready = int(status.get("readyReplicas", 0))
    first = objects.metadata(obj).get("generation", 1) == 1
    on_delete = objects.child(spec, "updateStrategy").get("type") == "OnDelete"
    current, target = str(status.get("currentRevision", "")), str(status.get("updateRevision", ""))
    revision_ready = (not first and on_delete) or (current != "" and current == target)
    counts = [status.get("replicas", 0), ready]
    if first or not on_delete:
        counts.append(status.get("currentReplicas", 0))
    replicas_ready = all(count == wanted for count in counts)
    if _observed(obj) and revision_ready and replicas_ready:
        return Verdict(ready=True, messages=("StatefulSet initialization complete",))
    counted = ready if revision_ready else min(ready, int(status.get("updatedReplicas", 0)))
    if first:
        message = f"[1/2] Waiting for StatefulSet to create Pods ({counted}/{wanted} Pods ready)"
    elif not replicas_ready:
        message = f"[1/3] Waiting for StatefulSet update to roll out ({counted}/{wanted} Pods ready)"
    else:
        message = "[2/3] Waiting for StatefulSet to update .status.currentRevision"
    errors: list[str] = []
    if not replicas_ready:
        errors.append(f"{counted} out of {wanted} replicas succeeded readiness checks")
    if not revision_ready:
        errors.append(f'StatefulSet controller failed to advance from revision "{current}" to revision "{target}"')
    errors += [p for pod in snapshot.of(POD) if _owned(pod, obj) for p in pod_problems(pod)]
    return Verdict(ready=False, messages=(message,), errors=tuple(errors))


def _daemon_set(snapshot: Snapshot) -> Verdict:
    obj, status = snapshot.obj, _status(snapshot.obj)
    wanted = int(status.get("desiredNumberScheduled", 0))
    updated = int(status.get("updatedNumberScheduled", 0))
    available = int(status.get("numberAvailable", 0))
    if not _observed(obj):
        return Verdict(ready=False, errors=("The DaemonSet controller has not looked at this DaemonSet yet",))
    on_delete = objects.child(obj, "spec", "updateStrategy").get("type") == "OnDelete"
    if available >= wanted and (on_delete or updated >= wanted):
        return Verdict(ready=True, messages=("DaemonSet initialization complete",))
    message = f"Available: {available}/{wanted}" if updated >= wanted else f"Updated: {updated}/{wanted}"
    problems = tuple(p for pod in snapshot.of(POD) if _owned(pod, obj) for p in pod_problems(pod))
    return Verdict(ready=False, messages=(message,), errors=(message, *problems))


def _pod(snapshot: Snapshot) -> Verdict:
    pod, phase = snapshot.obj, _status(snapshot.obj).get("phase")
    if phase == "Succeeded" or _holds(pod, "Ready"):
        return Verdict(ready=True, messages=("Pod is ready",))
    problems = pod_problems(pod)
    unready = str(condition(pod, "Ready").get("message", ""))
    errors = (*problems, unready) if unready else problems
    if phase == "Failed":
        reason = str(_status(pod).get("message") or "the Pod failed")
        return Verdict(ready=False, messages=(f"!{reason}",), errors=errors or (reason,), failed=True)
    messages = tuple(f"!{p}" for p in problems) or ("Waiting for the Pod to be ready",)
    return Verdict(ready=False, messages=messages, errors=errors)


def _job(snapshot: Snapshot) -> Verdict:
    job = snapshot.obj
    if _holds(job, "Complete"):
        return Verdict(ready=True, messages=("Job ready",))
    problems = tuple(p for pod in snapshot.of(POD) if _owned(pod, job) for p in pod_problems(pod))
    if _holds(job, "Failed"):
        reason = _explain(condition(job, "Failed")) or "the Job failed"
        return Verdict(ready=False, messages=(f"!{reason}",), errors=(reason, *problems), failed=True)
    if not _status(job).get("startTime"):
        waiting = f'Waiting for Job "{objects.identity(job)}" to start'
    else:
        waiting = f'Waiting for Job "{objects.identity(job)}" to succeed'
    return Verdict(ready=False, messages=(waiting,), errors=(waiting, *problems))


def _service(snapshot: Snapshot) -> Verdict:
    service, spec = snapshot.obj, _spec(snapshot.obj)
    balancer = spec.get("type") == "LoadBalancer"
    assigned = not balancer or bool(objects.child(service, "status", "loadBalancer").get("ingress"))
    complete = ("Service initialization complete",)
    untargeted = spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None" or not spec.get("selector")
    slices = [
        s
        for s in snapshot.of(ENDPOINT_SLICE)
        if objects.child(s, "metadata", "labels").get("kubernetes.io/service-name") == _name(service)
    ]
    targeted = untargeted or any(s.get("endpoints") for s in slices)
    settled = untargeted or snapshot.settled
    if assigned and targeted and settled:
        return Verdict(ready=True, messages=complete)
    errors: list[str] = []
    if not targeted:
        errors.append(
            "Service does not target any Pods. Selected Pods may not be ready, or "
            "field '.spec.selector' may not match labels on any Pods"
        )
    if not assigned:
        errors.append("Service was not allocated an IP address; does your cloud provider support this?")
    waiting_for_address = targeted and settled
    message = (
        "[2/3] Attempting to allocate IP address to Service"
        if waiting_for_address
        else "[1/3] Finding Pods to direct traffic to"
    )
    return Verdict(ready=False, messages=(message,), errors=tuple(errors))


def _ingress(snapshot: Snapshot) -> Verdict:
    if objects.child(snapshot.obj, "status", "loadBalancer").get("ingress"):
        return Verdict(ready=True, messages=("Ingress initialization complete",))
    return Verdict(
        ready=False,
        messages=("Waiting for the Ingress to be given an address",),
        errors=("Ingress .status.loadBalancer field was not updated with a hostname/IP address",),
    )


def _claim(snapshot: Snapshot) -> Verdict:
    claim, phase = snapshot.obj, _status(snapshot.obj).get("phase")
    classes = {_name(c): c for c in snapshot.of(STORAGE_CLASS)}
    mode = classes.get(str(_spec(claim).get("storageClassName", "")), {}).get("volumeBindingMode")
    if phase == "Bound" or (mode == "WaitForFirstConsumer" and phase == "Pending"):
        return Verdict(ready=True)
    message = f"PersistentVolumeClaim is {phase or 'Pending'}, not Bound"
    return Verdict(ready=False, messages=(message,), errors=(message,))


def _volume(snapshot: Snapshot) -> Verdict:
    phase = _status(snapshot.obj).get("phase")
    return _when(phase in ("Available", "Bound"), f"PersistentVolume is {phase or 'Pending'}, not Available")


def _replication_controller(snapshot: Snapshot) -> Verdict:
    wanted = int(_spec(snapshot.obj).get("replicas", 1))
    have = int(_status(snapshot.obj).get("availableReplicas", 0))
    return _when(have == wanted, f"{have} out of {wanted} replicas are available")


def _resource_quota(snapshot: Snapshot) -> Verdict:
    accepted = _status(snapshot.obj).get("hard") == _spec(snapshot.obj).get("hard")
    return _when(accepted, "The quota controller has not taken over the limits yet")


def _secret(snapshot: Snapshot) -> Verdict:
    generated = snapshot.obj.get("type") == "kubernetes.io/service-account-token"
    return _when(not generated or bool(snapshot.obj.get("data")), "The token has not been filled in yet")


def _custom_resource_definition(snapshot: Snapshot) -> Verdict:
    crd = snapshot.obj
    names = condition(crd, "NamesAccepted")
    if names.get("status") == "False":
        reason = _explain(names)
        return Verdict(ready=False, messages=(f"!{reason}",), errors=(reason,))
    return _when(_holds(crd, "Established"), "The API server does not serve the new kind yet")


def _when(ready: bool, otherwise: str) -> Verdict:
    return Verdict(ready=True) if ready else Verdict(ready=False, messages=(otherwise,), errors=(otherwise,))


_RULES: dict[Kind, Rule] = {
    Kind("apps", "v1", "Deployment"): Rule(_deployment, (REPLICA_SET, POD, CLAIM)),
    Kind("apps", "v1", "StatefulSet"): Rule(_stateful_set, (POD,)),
    Kind("apps", "v1", "DaemonSet"): Rule(_daemon_set, (POD,)),
    Kind("batch", "v1", "Job"): Rule(_job, (POD,)),
    POD: Rule(_pod, timeout=300),
    # The official plugin takes 10 s. Here all is on one machine, and a Deployment waits for its pods itself.
    Kind("", "v1", "Service"): Rule(_service, (ENDPOINT_SLICE,), settle=2),
    Kind("networking.k8s.io", "v1", "Ingress"): Rule(_ingress),
    CLAIM: Rule(_claim, (STORAGE_CLASS,), timeout=300, on_read=False),
    Kind("", "v1", "PersistentVolume"): Rule(_volume, timeout=300, on_read=False),
    Kind("", "v1", "ReplicationController"): Rule(_replication_controller, on_read=False),
    Kind("", "v1", "ResourceQuota"): Rule(_resource_quota, timeout=60, on_read=False),
    Kind("", "v1", "Secret"): Rule(_secret, timeout=5, on_read=False),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition"): Rule(
        _custom_resource_definition, timeout=60, on_read=False
    ),
}


class WaitForError(Exception):
    """The `pulumi.com/waitFor` annotation can't be read."""


Predicate: TypeAlias = Callable[[JsonObject], bool]


def parse_wait_for(text: str) -> list[Predicate]:
    """Return the conditions of a `pulumi.com/waitFor` annotation, all of which must hold.

    The forms are those of `kubectl wait --for`: `condition=Ready`, `condition=Ready=False`,
    `jsonpath={.status.phase}=Running`, `jsonpath={.status.ready}`, or a JSON list of them.

    Raises:
        WaitForError: it is none of these.
    """
    expressions: list[str] = [text]
    if text.lstrip().startswith("["):
        try:
            loaded: Any = json.loads(text)
        except ValueError as error:
            raise WaitForError(f"{objects.WAIT_FOR}: {text!r} is not a JSON list") from error
        expressions = [str(item) for item in cast("list[Any]", loaded)]
    return [_parse_expression(expression) for expression in expressions]


def _parse_expression(expression: str) -> Predicate:
    named = re.fullmatch(r"condition=([^=]+)(?:=(.+))?", expression)
    if named:
        wanted, status = named.group(1), (named.group(2) or "True").lower()
        return lambda obj: str(condition(obj, wanted).get("status", "")).lower() == status
    path = re.fullmatch(r"jsonpath=\{?\.([\w.\[\]]+)\}?(?:=(.+))?", expression)
    if path:
        parts = re.findall(r"\w+", path.group(1))
        value = path.group(2)
        return lambda obj: _matches(obj, parts, value)
    raise WaitForError(f"{objects.WAIT_FOR}: {expression!r} is neither condition=TYPE nor jsonpath={{.path}}=VALUE")


def _matches(obj: JsonObject, parts: list[str], wanted: str | None) -> bool:
    value: Any = obj
    for part in parts:
        if isinstance(value, dict) and part in cast("JsonObject", value):
            value = cast("JsonObject", value)[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(part)]
        else:
            return False
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return wanted is None or text == wanted


def rule_for(inputs: Mapping[str, Any], kind: Kind) -> Rule | None:
    """Return how to wait for an object, None where it counts as ready as soon as it is accepted.

    Raises:
        WaitForError: the annotation that names the conditions can't be read.
    """
    if objects.annotation(inputs, objects.SKIP_AWAIT) == "true":
        return None
    expressions = objects.annotation(inputs, objects.WAIT_FOR)
    if not expressions:
        return _RULES.get(kind)
    predicates = parse_wait_for(expressions)

    def decide(snapshot: Snapshot) -> Verdict:
        met = all(predicate(snapshot.obj) for predicate in predicates)
        return _when(met, f"Waiting for {expressions}")

    return Rule(decide)


def timeout_seconds(inputs: Mapping[str, Any], requested: float, default: float) -> float:
    """Return the time to wait: the resource's custom timeout, else its annotation, else the rule's."""
    if requested > 0:
        return requested
    text = objects.annotation(inputs, objects.TIMEOUT_SECONDS)
    try:
        return float(text) if text else default
    except ValueError:
        return default


def deletion_message(obj: Mapping[str, Any]) -> str:
    """Return what to say of an object that is being deleted."""
    return "Resource scheduled for deletion" if objects.metadata(obj).get("deletionTimestamp") else ""
