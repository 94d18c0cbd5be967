"""Whether the pods of the mesh have their sidecar, ready, and of the planned version. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, part
from components.meshes.interface import Sidecar, annotations_of, is_running
from stacks.checking import Check

from .certificates import held, places
from .model import Subject


def _run(subject: Subject) -> list[Diagnostic]:
    diagnostics: list[Diagnostic] = []
    anchors = _anchors(subject)
    for namespace, revision in subject.meshed.items():
        if namespace not in subject.existing:
            message = "The stack has pods in this namespace of the mesh, and the namespace does not exist."
            show = "kubectl get namespaces --show-labels"
            diagnostics.append(Diagnostic("MSH780", f"Namespace/{namespace}", None, message, command=show))
            continue
        # Another revision is served by another control plane, or is a tag: what that injects is not known here.
        own = revision == str(subject.plan.mesh.output["revision"])
        wanted = subject.mesh.wanted_sidecar(subject.plan.mesh) if own else Sidecar("")
        for pod in subject.view.objects("v1", "Pod", namespace):
            if is_running(pod) and subject.mesh.choice(pod) is not False:
                diagnostics += _pod(subject, namespace, pod, wanted, anchors)
    return diagnostics


def _pod(subject: Subject, namespace: str, pod: Manifest, wanted: Sidecar, anchors: set[str]) -> Iterator[Diagnostic]:
    name = pod["metadata"]["name"]
    path = f"Pod/{namespace}/{name}"
    show = f"kubectl --namespace {namespace} describe pod {name}"
    sidecar = subject.mesh.sidecar(pod)
    if sidecar is None:
        message = "It has no sidecar: it is outside of the mesh, its policies and its routes."
        yield Diagnostic("MSH781", path, None, message, command=show)
        return
    if not sidecar.serves(wanted):
        of = f" of the revision {sidecar.revision}" if sidecar.revision != wanted.revision and sidecar.revision else ""
        message = f"Its sidecar has the version {sidecar.version}{of}."
        allowed = " ".join(text for text in (wanted.version, wanted.revision) if text)
        yield Diagnostic("MSH782", path, None, message, allowed, severity="warning", command=show)
    if why := _unready(subject, pod):
        yield Diagnostic("MSH783", path, None, f"Its sidecar is not ready{why}.", command=show)
    trusted = annotations_of(pod["metadata"]).get(subject.mesh.anchors_annotation, "")
    if trusted and anchors and trusted not in anchors:
        message = (
            "Its sidecar was started with other trust anchors than the mesh has now, and reads them at start only."
        )
        yield Diagnostic("MSH784", path, None, message, severity="warning", command=show)


def _unready(subject: Subject, pod: Manifest) -> str | None:
    """Return why the sidecar of a pod is not ready, "" without a reason; None if it is."""
    proxy = str(cast("list[Any]", subject.mesh.injected(subject.plan.mesh)["containers"])[0]["name"])
    status = part(pod, "status")
    kinds = ("containerStatuses", "initContainerStatuses")
    listed = [one for kind in kinds for one in cast("list[Mapping[str, Any]]", status.get(kind) or [])]
    mine = next((one for one in listed if one["name"] == proxy), None)
    if mine is not None and mine.get("ready"):
        return None
    waiting = part(mine or {}, "state", "waiting")
    reason, detail = str(waiting.get("reason") or ""), " ".join(str(waiting.get("message") or "").split()).rstrip(".")
    said = f": {reason}" if reason else ""
    return f"{said}, {detail}" if said and detail else said or " yet"


def _anchors(subject: Subject) -> set[str]:
    """Return the SHA-256 that the injector writes of the trust anchors of today, with and without a last line feed."""
    if not subject.mesh.anchors_annotation:
        return set()
    text = held(subject, places(subject)[0]).text
    forms = {text, text.strip(), f"{text.strip()}\n"} if text else set[str]()
    return {hashlib.sha256(form.encode()).hexdigest() for form in forms}


SIDECARS = Check(
    "sidecars",
    "The pods of the mesh have their sidecar, ready and of the planned version",
    ("MSH780", "MSH781", "MSH782", "MSH783", "MSH784"),
    _run,
)
