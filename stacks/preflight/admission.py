"""What the API server and its admission say to the objects of a plan, and to a pod in each meshed namespace. Pure.

Webhooks, admission policies, Pod Security, quotas and limits answer for themselves in a dry run, which stores nothing.
An object in a namespace that does not exist yet can't be tried, nor can one of a kind that is not served yet.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, ObjectRef, object_ref
from components.meshes.existing import webhooks
from stacks.checking import Check
from stacks.cluster import Answer

from .model import Subject, kind_of, pods_of, templates

MANAGER = "meshup-preflight"
"""Field manager of dry runs, which is stored nowhere."""
MOST_TRIED = 25
"""Objects of one kind in one namespace that are tried; the others meet the same admission."""
PAUSE = "registry.k8s.io/pause:3.10"
"""Image of the pod that is tried. Nothing pulls it."""
_REASONS = (
    (re.compile("failed calling webhook"), "MSH704"),
    (re.compile("violates PodSecurity"), "MSH705"),
    (re.compile(r"(?:exceeded|failed) quota|usage per (?:Container|Pod)|limit to request ratio"), "MSH706"),
    (re.compile(r"denied (?:the )?request|ValidatingAdmissionPolicy"), "MSH703"),
    (re.compile("attempting to grant RBAC permissions"), "MSH709"),
)
"""What the API server writes when something of its admission refuses (Kubernetes 1.36: the plugins of
plugin/pkg/admission, apiserver/pkg/admission/plugin, and pkg/registry/rbac), and the code of that."""
_NO_RIGHT = re.compile(r"User \S+ cannot")


def tried(subject: Subject) -> list[Manifest]:
    """Return the objects that a dry run can judge: of kinds that are served, in namespaces that exist."""
    counted: dict[tuple[str, str, str], int] = {}
    chosen: list[Manifest] = []
    for item in subject.objects:
        resource, ref = subject.probes.kinds.get(kind_of(item)), object_ref(item)
        if kind_of(item) not in subject.probes.served or resource is None:
            continue
        if resource.namespaced and ref.namespace not in subject.existing:
            continue
        # A definition is up to a megabyte of schema; those of one group meet the same admission.
        of_group = ref.name.partition(".")[2] if ref.kind == "CustomResourceDefinition" else ""
        key = (*kind_of(item), ref.namespace or of_group)
        counted[key] = counted.get(key, 0) + 1
        if counted[key] <= (1 if of_group else MOST_TRIED):
            chosen.append(item)
    return chosen


def pods(subject: Subject) -> dict[str, Manifest]:
    """Return a pod for each meshed namespace that exists: what one of the plan looks like to admission.

    Where nothing injects yet, it has the containers that the mesh will add.
    """
    made: dict[str, Manifest] = {}
    for namespace in subject.meshed:
        if namespace not in subject.existing:
            continue
        template = next(
            (
                template
                for item in subject.objects
                if item["kind"] in ("Deployment", "StatefulSet") and object_ref(item).namespace == namespace
                for template, _ in templates(item)
            ),
            None,
        )
        labels: Mapping[str, str] = {"app": MANAGER}
        containers: list[Any] = [{"name": "probe", "image": PAUSE}]
        if template is not None:
            labels = cast("Mapping[str, str]", template["metadata"].get("labels") or labels)
            containers = list(pods_of(template).get("containers") or containers)
        spec: dict[str, Any] = {"containers": containers}
        if not injects(subject, namespace):
            added = subject.mesh.injected(subject.plan.mesh)
            spec = {
                "initContainers": list(added.get("initContainers") or ()),
                "containers": [*containers, *(added.get("containers") or ())],
            }
        made[namespace] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": f"{MANAGER}-", "namespace": namespace, "labels": dict(labels)},
            "spec": spec,
        }
    return made


def injects(subject: Subject, namespace: str) -> bool:
    """Return whether new pods of a namespace get a sidecar today: it has joined, and there is a webhook of the mesh."""
    revision = next((item.revision for item in subject.plan.joined if item.name == namespace), "")
    own = str(subject.plan.mesh.output["revision"])
    revisions = {"" if name == "default" else name for name in (revision or own, own)}
    metadata = subject.existing.get(namespace, {})
    joined = any(subject.mesh.is_member(metadata, name) for name in revisions)
    return joined and any(webhooks(subject.view, end) for end in subject.mesh.signature.injectors)


def _objects(subject: Subject) -> list[Diagnostic]:
    diagnostics: list[Diagnostic] = []
    for ref, answer in subject.probes.applied.items():
        code = code_of(answer, pod=False)
        if code:
            diagnostics.append(Diagnostic(code, str(ref), None, f"{answer.message}.", command=_show(ref)))
    return _fewer(diagnostics)


def _fewer(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Report once what the same webhook that does not answer does to many objects."""
    kept: dict[str, Diagnostic] = {}
    for fault in diagnostics:
        kept.setdefault(fault.message if fault.code == "MSH704" else f"{fault.path} {fault.message}", fault)
    return list(kept.values())


def _show(ref: ObjectRef) -> str:
    if ref.kind == "Namespace":
        return f"kubectl get namespace {ref.name} --output yaml"
    return "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations,validatingadmissionpolicies"


def code_of(answer: Answer, *, pod: bool) -> str:
    """Return the code of what refuses an object, "" if nothing does, or if only a right is missing (rights.py)."""
    if answer.accepted:
        return ""
    found = next((code for words, code in _REASONS if words.search(answer.message)), "")
    if found or (answer.status == HTTPStatus.FORBIDDEN and _NO_RIGHT.search(answer.message)):
        return {"MSH703": "MSH707"}.get(found, found) if pod else found
    return "MSH707" if pod else "MSH702"


def _pods(subject: Subject) -> list[Diagnostic]:
    diagnostics: list[Diagnostic] = []
    for namespace, answer in subject.probes.pods.items():
        code = code_of(answer, pod=True)
        path = f"Namespace/{namespace}"
        if code:
            message = f"A pod of the plan is refused here: {answer.message}."
            show = {
                "MSH705": f"kubectl get namespace {namespace} --show-labels",
                "MSH706": f"kubectl --namespace {namespace} describe resourcequotas,limitranges",
            }
            command = show.get(code, "kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations")
            diagnostics.append(Diagnostic(code, path, None, message, command=command))
        elif answer.accepted and injects(subject, namespace):
            diagnostics += _sidecar(subject, namespace, answer.item)
    return diagnostics


def _sidecar(subject: Subject, namespace: str, pod: Manifest) -> Iterator[Diagnostic]:
    """Report a namespace that has joined, and whose pods get no sidecar."""
    if subject.mesh.sidecar(pod) is None and subject.mesh.choice(pod) is not False:
        title = subject.mesh.signature.title
        message = f"The namespace has joined {title}, and a pod that is tried here comes back without a sidecar."
        command = "kubectl get mutatingwebhookconfigurations --output yaml"
        yield Diagnostic("MSH708", f"Namespace/{namespace}", None, message, command=command)


OBJECTS = Check(
    "objects",
    "The API server and its admission accept the objects of the plan",
    ("MSH702", "MSH703", "MSH704", "MSH709"),
    _objects,
)
PODS = Check(
    "pods",
    "Pods with a sidecar are accepted in the namespaces of the mesh",
    ("MSH704", "MSH705", "MSH706", "MSH707", "MSH708"),
    _pods,
)
