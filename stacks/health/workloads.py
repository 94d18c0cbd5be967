"""Whether the control plane runs in the planned version, and the workloads of the stack are ready. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, ObjectRef, object_ref, part
from components.meshes.interface import Sidecar, image_tag, labels_of
from stacks.checking import Check
from stacks.other_meshes import helm_release

from .model import Subject

_VERSION = re.compile(r"\d+\.\d+")
KINDS = ("Deployment", "StatefulSet", "DaemonSet")
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
"""Label of what a controller makes for a Gateway (Gateway API, GEP-1762)."""


def _control_plane(subject: Subject) -> list[Diagnostic]:
    title, (label, value) = subject.mesh.signature.title, subject.mesh.signature.control_plane
    namespace = subject.control_plane
    live = [
        item
        for item in subject.view.objects("apps/v1", "Deployment", namespace)
        if labels_of(item["metadata"]).get(label) == value
    ]
    if not live and not _is_managed(subject):
        message = f"There is no control plane of {title} in {namespace}."
        show = f"kubectl --namespace {namespace} get deployments --show-labels"
        return [Diagnostic("MSH770", f"Namespace/{namespace}", None, message, command=show)]
    stopped = [item for item in live if part(item, "spec").get("replicas") == 0]
    diagnostics: list[Diagnostic] = []
    if live and len(stopped) == len(live):
        message = f"The control plane of {title} is scaled to no pods."
        show = f"kubectl --namespace {namespace} get deployments --show-labels"
        diagnostics.append(Diagnostic("MSH770", f"Namespace/{namespace}", None, message, command=show))
    return [*diagnostics, *(fault for item in live for fault in _version(subject, item))]


def _is_managed(subject: Subject) -> bool:
    """Return whether somebody outside of the cluster answers for the control plane."""
    return subject.plan.mesh.existing is not None


def _version(subject: Subject, deployment: Manifest) -> Iterator[Diagnostic]:
    """Warn of a control plane none of whose images has the planned version."""
    wanted = subject.mesh.wanted_sidecar(subject.plan.mesh)
    template = part(deployment, "spec", "template")
    containers = cast("list[Mapping[str, Any]]", part(template, "spec").get("containers") or [])
    tags = [image_tag({"spec": template.get("spec")}, str(item["name"])) or "" for item in containers]
    # A digest, or a tag such as `latest`, tells no version.
    if not wanted.version or any(not _VERSION.search(tag) or Sidecar(tag).serves(wanted) for tag in tags):
        return
    metadata = deployment["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    show = f"kubectl --namespace {namespace} get deployment {name} --output wide"
    message = f"It runs {', '.join(sorted(set(tags)))}, and the stack has {wanted.version}."
    path = f"Deployment/{namespace}/{name}"
    yield Diagnostic("MSH772", path, None, message, wanted.version, severity="warning", command=show)


def _workloads(subject: Subject) -> list[Diagnostic]:
    planned = {object_ref(item) for item in subject.plan.manifests if item["kind"] in KINDS}
    releases = {(release["name"], release["namespace"]) for release in subject.plan.releases}
    of_gateways = {(gateway.namespace, gateway.name) for gateway in subject.plan.gateways.gateways}
    namespaces = {ref.namespace for ref in planned} | {namespace for _, namespace in releases}
    namespaces |= {*subject.meshed, *(namespace for namespace, _ in of_gateways)}
    diagnostics: list[Diagnostic] = []
    found: set[ObjectRef] = set()
    for namespace in sorted(namespaces & subject.existing.keys()):
        for kind in KINDS:
            for item in subject.view.objects("apps/v1", kind, namespace):
                metadata = item["metadata"]
                ref = ObjectRef("apps/v1", kind, metadata["name"], namespace)
                found.add(ref)
                of_gateway = (namespace, labels_of(metadata).get(GATEWAY_LABEL, "")) in of_gateways
                ours = ref in planned or helm_release(metadata) in releases or of_gateway
                if (ours or namespace in subject.meshed) and (fault := unready(kind, item)):
                    show = f"kubectl --namespace {namespace} describe {kind.lower()} {ref.name}"
                    diagnostics.append(Diagnostic("MSH771", str(ref), None, fault, command=show))
    for ref in sorted(planned - found):
        show = f"kubectl --namespace {ref.namespace} get {ref.kind.lower()}s"
        diagnostics.append(
            Diagnostic("MSH773", str(ref), None, "The stack has it, and the cluster does not.", command=show)
        )
    return diagnostics


def unready(kind: str, workload: Manifest) -> str:
    """Return what a workload still waits for, "" if it is ready in its present form."""
    spec, status = part(workload, "spec"), part(workload, "status")
    generation = int(workload["metadata"].get("generation") or 0)
    if int(status.get("observedGeneration") or 0) < generation:
        return "Its controller has not seen its last change yet."
    if kind == "DaemonSet":
        wanted = int(status.get("desiredNumberScheduled") or 0)
        ready, updated = status.get("numberReady"), status.get("updatedNumberScheduled")
        replaces = part(spec, "updateStrategy").get("type") != "OnDelete"
    else:
        replicas = spec.get("replicas")
        wanted = 1 if replicas is None else int(replicas)
        ready = status.get("availableReplicas" if kind == "Deployment" else "readyReplicas")
        updated = status.get("updatedReplicas")
        replaces = not spec.get("paused") and part(spec, "updateStrategy").get("type") != "OnDelete"
        # Pods below the partition keep their form on purpose.
        replaces = replaces and not part(spec, "updateStrategy", "rollingUpdate").get("partition")
    if int(ready or 0) < wanted:
        return f"{int(ready or 0)} of its {wanted} pods are ready{_reason(status)}."
    if replaces and int(updated or 0) < wanted:
        return f"{int(updated or 0)} of its {wanted} pods are of its present form: it is still being rolled out."
    if replaces and kind == "Deployment" and (older := int(status.get("replicas") or 0) - int(updated or 0)) > 0:
        return f"{older} of its pods are of an older form, and wait for new ones to be ready{_reason(status)}."
    return ""


def _reason(status: Mapping[str, Any]) -> str:
    conditions = cast("list[Mapping[str, Any]]", status.get("conditions") or [])
    by_type = {str(item.get("type")): item for item in conditions}
    failed = by_type.get("ReplicaFailure", {})
    stuck = by_type.get("Progressing", {})
    text = failed.get("message") if failed.get("status") == "True" else ""
    text = text or (stuck.get("message") if stuck.get("status") == "False" else "")
    return f": {' '.join(str(text).split()).rstrip('.')}" if text else ""


CONTROL_PLANE = Check(
    "control-plane", "The control plane is there, in the planned version", ("MSH770", "MSH772"), _control_plane
)
WORKLOADS = Check("workloads", "The workloads of the stack and of the mesh are ready", ("MSH771", "MSH773"), _workloads)
