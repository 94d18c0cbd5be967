"""Namespaces of the configuration: how each joins the mesh, which workloads restart, what stands in the way. Pure.

A namespace that exists belongs to somebody else. meshup owns one label or annotation on it, by server-side apply under
the field manager of the stack (stacks/patches.py), so that whatever else it carries stays as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast, get_args

from components.diagnostics import Diagnostic
from components.diagnostics.validation import join
from components.manifests import Manifest
from components.mesh_namespace import MeshNamespaceArgs, NamespaceSettings, metadata
from components.meshes import MESHES
from components.meshes.interface import Mesh, MeshPlan, Sidecar, annotations_of, is_running, labels_of
from components.namespace import POD_SECURITY_ENFORCE, Joined, PodSecurity
from stacks import patches
from stacks.cluster import ClusterView
from stacks.ownership import owner_of

PATH = "meshup:namespaces"
RESTART_ANNOTATION = "meshup/sidecar"
"""Annotation of a pod template: the mesh, version and revision for which meshup has restarted the workload."""
RESTARTABLE = ("Deployment", "StatefulSet", "DaemonSet")
"""The kinds of apps/v1 that replace their pods when the template changes."""
MOST_NAMED = 10
"""Workloads that a message names."""


class Controller(NamedTuple):
    """What makes the pods, or a pod that nothing makes."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True)
class Entry:
    """A namespace of the configuration, with what it is planned from.

    Attributes:
        name: The namespace.
        settings: Its settings.
        mesh: The plan of the mesh.
        owner: The stack, organisation/project/stack.
        annotations: What the policy of the stack asks for.
    """

    name: str
    settings: NamespaceSettings
    mesh: MeshPlan
    owner: str
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def kind(self) -> Mesh[Any]:
        """The mesh."""
        return MESHES[self.mesh.name]

    @property
    def path(self) -> str:
        """Its path in reports."""
        return join(PATH, self.name)

    @property
    def manager(self) -> str:
        """The field manager of the stack."""
        return patches.field_manager(self.owner)

    @property
    def revision(self) -> str:
        """The revision or tag that injects, or `default`."""
        return self.settings.revision or str(self.mesh.output["revision"])

    @property
    def args(self) -> MeshNamespaceArgs:
        """The arguments of the namespace as one that meshup makes."""
        chosen = self.settings
        membership: dict[str, Any] = {**self.mesh.membership}
        if chosen.revision:
            membership["revision"] = chosen.revision
        return MeshNamespaceArgs(
            name=self.name,
            mesh=self.mesh.name if chosen.inject else "none",
            pod_security=chosen.pod_security,
            proxy=chosen.proxy,
            annotations=dict(self.annotations),
            **membership,
        )


@dataclass
class Report:
    """The pods of a namespace that are not as the mesh would make them now.

    Attributes:
        faults: What is wrong with the pods of each controller.
        restarting: The controllers that the plan restarts.
        restarted: The controllers that meshup has restarted for the same sidecar already.
        unable: Those whose pods no restart replaces, each with the reason.
    """

    faults: Mapping[Controller, Sequence[str]]
    restarting: set[Controller] = field(default_factory=set[Controller])
    restarted: set[Controller] = field(default_factory=set[Controller])
    unable: dict[Controller, str] = field(default_factory=dict[Controller, str])


def entries(
    namespaces: Mapping[str, NamespaceSettings],
    mesh: MeshPlan,
    owner: str,
    annotations: Mapping[str, Mapping[str, str]],
) -> list[Entry]:
    """Return the namespaces of the configuration with what they are planned from.

    Args:
        namespaces: `meshup:namespaces`.
        mesh: The plan of the mesh.
        owner: The stack, organisation/project/stack.
        annotations: What the policy of the stack asks for, by namespace.
    """
    return [Entry(name, chosen, mesh, owner, annotations.get(name, {})) for name, chosen in namespaces.items()]


def created(items: Iterable[Entry]) -> list[Mapping[str, Any]]:
    """Return the metadata of the namespaces that the stack makes."""
    return [metadata(entry.args) for entry in items if entry.settings.create]


def plan(items: Iterable[Entry], view: ClusterView) -> tuple[tuple[Joined, ...], list[Diagnostic]]:
    """Decide how each namespace is in the mesh, and which workloads restart, by the pods of the cluster.

    Returns:
        The plan of each, and warnings of pods that are left as they are.
    """
    joined: list[Joined] = []
    diagnostics: list[Diagnostic] = []
    for entry in items:
        report = Report(_faults(entry, view))
        restarts = _restarts(entry, view, report)
        joined.append(_joined(entry, restarts))
        diagnostics += _warnings(entry, report)
    return tuple(joined), diagnostics


def _joined(entry: Entry, restarts: Sequence[Manifest]) -> Joined:
    name, chosen = entry.name, entry.settings
    if not chosen.inject:
        return Joined(name, chosen.create, inject=False, revision="")
    patch = None
    if not chosen.create:
        member = entry.kind.join(entry.args)
        metadata: dict[str, Any] = {"name": name}
        if member.labels:
            metadata["labels"] = dict(member.labels)
        if member.annotations or entry.annotations:
            metadata["annotations"] = {**entry.annotations, **member.annotations}
        force = {"pulumi.com/patchForce": "true"} if chosen.take_over else {}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        patch = patches.with_manager(manifest, entry.owner, force)
    objects = entry.kind.namespace_objects(name, chosen)
    return Joined(name, chosen.create, True, entry.revision, patch, objects, restarts)


def _faults(entry: Entry, view: ClusterView) -> dict[Controller, list[str]]:
    """Return what is wrong with the sidecars of running pods, by what makes the pods."""
    wanted = entry.kind.wanted_sidecar(entry.mesh)
    if entry.revision != entry.mesh.output["revision"]:
        # It is served by another control plane, or it is a tag: what that injects is not known here.
        wanted = Sidecar("")
    replica_sets: dict[str, Controller | None] = {
        item["name"]: _controller(item) for item in view.metadata("apps/v1", "ReplicaSet", entry.name)
    }
    faults: dict[Controller, list[str]] = {}
    for pod in view.objects("v1", "Pod", entry.name):
        if not is_running(pod):
            continue
        sidecar, choice = entry.kind.sidecar(pod), entry.kind.choice(pod)
        if fault := _fault(sidecar, choice, wanted, injected=entry.settings.inject):
            made_by = _controller(pod["metadata"]) or Controller("Pod", pod["metadata"]["name"])
            if made_by.kind == "ReplicaSet":
                made_by = replica_sets.get(made_by.name) or made_by
            faults.setdefault(made_by, []).append(fault)
    return faults


def _controller(metadata: Mapping[str, Any]) -> Controller | None:
    references = cast("list[Mapping[str, Any]]", metadata.get("ownerReferences") or [])
    return next((Controller(item["kind"], item["name"]) for item in references if item.get("controller")), None)


def _fault(live: Sidecar | None, choice: bool | None, wanted: Sidecar, *, injected: bool) -> str:
    """Return what is wrong with the sidecar of a pod, or ""."""
    if choice is None and not injected:
        return "" if live is None else "with a sidecar"
    if choice is False:
        return ""
    if live is None:
        return "without a sidecar"
    if live.serves(wanted):
        return ""
    of_other_revision = bool(live.revision and wanted.revision) and live.revision != wanted.revision
    return f"with that of {live.version}" + (f" and the revision {live.revision}" if of_other_revision else "")


def _restarts(entry: Entry, view: ClusterView, report: Report) -> list[Manifest]:
    """Return the patches that restart workloads, and note in the report what they do.

    A patch that has restarted its workload stays in the plan for as long as the workload carries it: without it, Pulumi
    would take the annotation away, and that restarts the pods once more (docs/decisions/0006-namespaces.md).
    """
    value = f"{entry.mesh.name}/{entry.mesh.version}/{entry.revision}"
    made: list[Manifest] = []
    for kind in RESTARTABLE:
        for workload in sorted(view.objects("apps/v1", kind, entry.name), key=lambda item: item["metadata"]["name"]):
            controller = Controller(kind, workload["metadata"]["name"])
            live, is_ours = _carried(workload, entry.manager)
            reason = _never_rolls(workload)
            if reason:
                report.unable[controller] = reason
            if not entry.settings.inject:
                if is_ours:
                    # The end of its patch restarts it.
                    report.restarting.add(controller)
                continue
            wants = entry.settings.restart and controller in report.faults and not reason
            if is_ours and live == value:
                report.restarted.add(controller)
            elif wants and (is_ours or live is None):
                report.restarting.add(controller)
                live, is_ours = value, True
            if is_ours:
                made.append(_restart(controller, entry, live or value))
    return made


def _carried(workload: Manifest, manager: str) -> tuple[str | None, bool]:
    """Return the annotation of a workload's template, and whether it is of this field manager."""
    spec: Mapping[str, Any] = workload.get("spec") or {}
    template: Mapping[str, Any] = spec.get("template") or {}
    value = annotations_of(template.get("metadata") or {}).get(RESTART_ANNOTATION)
    path = ("spec", "template", "metadata", "annotations", RESTART_ANNOTATION)
    return value, manager in patches.owners(workload["metadata"], *path)


def _never_rolls(workload: Manifest) -> str:
    """Return why a change of the template replaces no pod, or ""."""
    spec: Mapping[str, Any] = workload.get("spec") or {}
    if spec.get("paused"):
        return "is paused"
    strategy: Mapping[str, Any] = spec.get("updateStrategy") or {}
    return "has the update strategy OnDelete" if strategy.get("type") == "OnDelete" else ""


def _restart(controller: Controller, entry: Entry, value: str) -> Manifest:
    manifest = {
        "apiVersion": "apps/v1",
        "kind": controller.kind,
        "metadata": {"name": controller.name, "namespace": entry.name},
        "spec": {"template": {"metadata": {"annotations": {RESTART_ANNOTATION: value}}}},
    }
    return patches.with_manager(manifest, entry.owner)


def _warnings(entry: Entry, report: Report) -> list[Diagnostic]:
    """Return a warning of the pods that stay as they are, with the command that replaces them."""
    left = {key: faults for key, faults in sorted(report.faults.items()) if key not in report.restarting}
    if not left:
        return []
    count, title, inject = sum(map(len, left.values())), entry.kind.signature.title, entry.settings.inject
    pods = f"{count} pod{'' if count == 1 else 's'}"
    if inject:
        what = f"{pods} {'does' if count == 1 else 'do'} not have the sidecar of {title} {entry.mesh.version}"
    else:
        what = f"{pods} still {'has' if count == 1 else 'have'} a sidecar of {title}"
    listed = [f"{key} ({_counted(faults)})" for key, faults in left.items()]
    message = f"{what}: {_listed(listed)}."
    done = {*report.restarted, *report.unable}
    commanded = [str(key) for key in left if key.kind in RESTARTABLE and key not in done]
    again = [str(key) for key in left if key in report.restarted and key not in report.unable]
    others = [str(key) for key in left if key.kind not in RESTARTABLE]
    remedies = [f"{key} {report.unable[key]}: delete its pods." for key in left if key in report.unable]
    if again:
        remedies.append(f"meshup has restarted {_listed(again)} for this already: look at the events of the pods.")
    if others:
        remedies.append(f"Nobody restarts {_listed(others)}: delete and make them again.")
    if commanded:
        either = "Restart them" if entry.settings.restart or not inject else "Set `restart: true`, or restart them"
        remedies.append(f"{either}:\nkubectl --namespace {entry.name} rollout restart {' '.join(commanded)}")
    return [Diagnostic("MSH046", entry.path, None, message, "", " ".join(remedies), severity="warning")]


def _counted(faults: Sequence[str]) -> str:
    return ", ".join(f"{faults.count(fault)} {fault}" for fault in sorted(set(faults)))


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def check(items: Iterable[Entry], joined: Sequence[Joined], view: ClusterView) -> list[Diagnostic]:
    """Find namespaces that can't join, or that would not be what the configuration says.

    Args:
        items: The namespaces of the configuration.
        joined: What `plan` returned for them.
        view: The cluster.
    """
    if not joined:
        return []
    live = {item["name"]: item for item in view.metadata("v1", "Namespace")}
    diagnostics: list[Diagnostic] = []
    for entry, made in zip(items, joined, strict=True):
        found = live.get(entry.name)
        if made.created:
            level = entry.settings.pod_security or "privileged"
            diagnostics += _pod_security(entry, f"{entry.path}.podSecurity", level) if made.inject else []
        elif found is None:
            message = "There is no such namespace on the cluster."
            remedy = f"Make it first, or let meshup make it: write `create: true` under {entry.path}."
            diagnostics.append(Diagnostic("MSH040", entry.path, entry.name, message, "", remedy))
        elif "deletionTimestamp" in found:
            message = "The namespace is being deleted, with everything in it."
            remedy = "Wait until it is gone and make it again, or remove the entry."
            diagnostics.append(Diagnostic("MSH040", entry.path, entry.name, message, "", remedy))
        elif owner_of(found) == entry.owner:
            message = (
                "This stack has made the namespace. Without `create: true`, it would delete it with everything in it."
            )
            diagnostics.append(Diagnostic("MSH044", entry.path, entry.name, message, "create: true"))
        elif made.patch is None:
            diagnostics += _meshed_by_others(entry, found)
        else:
            diagnostics += [
                *_pod_security(entry, entry.path, labels_of(found).get(POD_SECURITY_ENFORCE, "privileged")),
                *_contradicting(entry, made.patch, found),
                *_conflicts(entry, made.patch, found),
                *_lost(entry, found),
            ]
    return diagnostics


def _conflicts(entry: Entry, patch: Manifest, found: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Refuse to overwrite what somebody else has set."""
    theirs = _without_ours(found, entry.manager)
    for kind, key, wanted in _fields(patch):
        written = theirs[kind].get(key, wanted)
        if written == wanted or entry.settings.take_over:
            continue
        if key == patches.MANAGER_ANNOTATION:
            message = f"Another stack of meshup has joined this namespace, under the field manager {written}."
        else:
            managers = ", ".join(patches.owners(found, "metadata", kind, key)) or "Somebody"
            message = f"{managers} set {key}={written}; meshup would set {wanted}."
        yield Diagnostic("MSH042", entry.path, entry.name, message)


def _lost(entry: Entry, found: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Warn of a namespace from which somebody has taken what meshup had set."""
    keys = [key for mesh in MESHES.values() for key in mesh.joined_by]
    owned = [
        key
        for key in (*keys, patches.MANAGER_ANNOTATION)
        for kind in ("labels", "annotations")
        if entry.manager in patches.owners(found, "metadata", kind, key)
    ]
    if owned == [patches.MANAGER_ANNOTATION] and not any(
        key in {**labels_of(found), **annotations_of(found)} for key in keys
    ):
        message = "meshup had joined this namespace, and somebody has taken its label or annotation away since."
        yield Diagnostic("MSH047", entry.path, entry.name, message, severity="warning")


def _fields(patch: Manifest) -> Iterator[tuple[str, str, str]]:
    for kind in ("labels", "annotations"):
        for key, value in cast("dict[str, str]", patch["metadata"].get(kind) or {}).items():
            yield kind, key, value


def _without_ours(found: Mapping[str, Any], manager: str) -> dict[str, dict[str, str]]:
    """Return the labels and annotations of a namespace that do not go when this stack gives up its own."""
    live = {"labels": labels_of(found), "annotations": annotations_of(found)}
    return {
        kind: {key: value for key, value in fields.items() if patches.owners(found, "metadata", kind, key) != [manager]}
        for kind, fields in live.items()
    }


def _contradicting(entry: Entry, patch: Manifest, found: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Refuse labels of others by which another mesh, or another revision, injects as well or instead."""
    theirs = _without_ours(found, entry.manager)
    own = {key for _, key, _ in _fields(patch)}
    for mesh in MESHES.values():
        is_other = mesh.name != entry.mesh.name
        written = [
            (kind, key, value)
            for kind, fields in theirs.items()
            for key, value in sorted(fields.items())
            if key in mesh.joined_by - own
        ]
        if not written or (is_other and not joins(mesh, theirs)):
            continue
        kind, key, value = written[0]
        verb = "label" if kind == "labels" else "annotate"
        title = mesh.signature.title
        why = f"{title} injects here" if is_other else f"{title} injects by one of both"
        message = f"The namespace has {key}={value}, which is not this stack's: {why}."
        remedy = f"Remove it, if nobody needs it:\nkubectl {verb} namespace {entry.name} {key}-"
        yield Diagnostic("MSH043", entry.path, entry.name, message, "", remedy)


def joins(mesh: Mesh[Any], metadata: Mapping[str, Any]) -> bool:
    """Return whether any revision of a mesh injects into a namespace."""
    revisions = {"", *(labels_of(metadata).get(key, "") for key in mesh.joined_by)}
    return any(mesh.is_member(metadata, revision) for revision in revisions)


def _meshed_by_others(entry: Entry, found: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Warn of a namespace that shall stay outside, and is in a mesh by somebody else's label."""
    for mesh in MESHES.values():
        if joins(mesh, _without_ours(found, entry.manager)):
            message = f"{mesh.signature.title} injects here all the same, by a label or annotation of somebody else."
            yield Diagnostic("MSH048", f"{entry.path}.inject", False, message, severity="warning")


def _pod_security(entry: Entry, path: str, level: str) -> Iterator[Diagnostic]:
    """Refuse a Pod Security Standard that injected pods violate."""
    levels, strictest = get_args(PodSecurity), entry.kind.strictest_pod_security(entry.mesh)
    allowed = strictest or "privileged"
    if level in levels and levels.index(level) > levels.index(allowed):
        unless = "" if strictest else " unless the mesh has a CNI plugin"
        message = (
            f"The namespace enforces the Pod Security Standard {level}, which refuses pods with a sidecar{unless}."
        )
        severity = "error" if strictest else "warning"
        yield Diagnostic("MSH045", path, level, message, f"{allowed}, or less strict", severity=severity)
