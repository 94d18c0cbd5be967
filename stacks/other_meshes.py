"""What runs on the cluster already and does not go with the plan: other meshes, and what a change would take away.

A webhook's name tells its mesh: it is fixed by the project, while labels,
names of objects and namespaces are chosen by whoever installs. Whose it is, Helm's annotations tell: what meshup
installs is in namespaces that carry the stack's own annotation (stacks/ownership.py).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.meshes import MESHES
from components.meshes.interface import Signature, annotations_of, labels_of
from stacks.cluster import ClusterView
from stacks.plan import Plan

Object = Mapping[str, Any]
Release = tuple[str, str]
"""Name and namespace of a Helm release."""


KNOWN: dict[str, Signature] = {
    **{mesh.name: mesh.signature for mesh in MESHES.values()},
    "consul": Signature(
        title="Consul",
        injectors=("consul-connect-injector.consul.hashicorp.com",),
        # It is called for all namespaces. Without an annotation of the pod, its own default decides, which is off.
        opt_in=("consul.hashicorp.com/connect-inject", ("true",)),
    ),
    "kuma": Signature(title="Kuma", injectors=("kuma-injector.kuma.io",)),
    "osm": Signature(title="Open Service Mesh", injectors=("osm-inject.k8s.io",)),
    "app-mesh": Signature(title="AWS App Mesh", injectors=("mpod.appmesh.k8s.aws", "appmesh-inject.aws.amazon.com")),
}
"""Meshes by the names of their webhooks: those of meshup, and by the charts of consul-k8s, kuma, osm and
aws-app-mesh-controller, others."""


_REGISTRATION = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class _Webhooks:
    """A webhook configuration of a mesh that this stack has not made."""

    mesh: str
    name: str
    webhooks: tuple[Object, ...]
    injects: bool


def check(plan: Plan, view: ClusterView, own: Collection[str]) -> list[Diagnostic]:
    """Find what is on the cluster and does not go with the plan.

    Args:
        plan: What the stack will have.
        view: The cluster.
        own: The namespaces that this stack has made.
    """
    namespaces = view.metadata("v1", "Namespace")
    deployments = [item for name in own for item in view.metadata("apps/v1", "Deployment", name)]
    names = {item["name"] for item in namespaces}
    others = [webhooks for config, webhooks in _webhooks(view) if not _is_ours(helm_release(config), plan, own, names)]
    diagnostics = [*_other_meshes(plan, others, namespaces), *_running(plan, deployments)]
    if plan.mesh.existing:
        return diagnostics
    return [
        *_same_mesh(plan, others, _releases(plan) & _helm_releases(deployments)),
        *diagnostics,
        *_crds(plan, view.metadata("apiextensions.k8s.io/v1", "CustomResourceDefinition")),
    ]


def helm_release(item: Object) -> Release | None:
    """Return the Helm release that an object belongs to, by its metadata (Helm 3, pkg/action/validate.go)."""
    annotations, labels = annotations_of(item), labels_of(item)
    name, namespace = (annotations.get(f"meta.helm.sh/release-{key}", "") for key in ("name", "namespace"))
    is_helms = labels.get("app.kubernetes.io/managed-by") == "Helm"
    return (name, namespace) if is_helms and name else None


def _helm_releases(items: Iterable[Object]) -> set[Release]:
    return {release for item in items if (release := helm_release(item)) is not None}


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector matches, as Kubernetes decides it. An empty one matches everything."""
    chosen = selector or {}
    exact = cast("Mapping[str, str]", chosen.get("matchLabels") or {})
    if any(labels.get(key) != value for key, value in exact.items()):
        return False
    return all(_holds(item, labels) for item in cast("list[Object]", chosen.get("matchExpressions") or []))


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], cast("list[str]", expression.get("values") or [])
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _webhooks(view: ClusterView) -> Iterator[tuple[Object, _Webhooks]]:
    """Return the webhook configurations of meshes, with their metadata."""
    mutating = view.objects(_REGISTRATION, "MutatingWebhookConfiguration")
    validating = view.objects(_REGISTRATION, "ValidatingWebhookConfiguration")
    for mesh, known in KNOWN.items():
        for configs, ends, injects in ((mutating, known.injectors, True), (validating, known.validators, False)):
            for config in configs:
                listed = cast("list[Object]", config.get("webhooks") or [])
                hooks = tuple(hook for hook in listed if _ends(str(hook["name"]), ends))
                if hooks:
                    yield config["metadata"], _Webhooks(mesh, config["metadata"]["name"], hooks, injects)


def _ends(name: str, ends: tuple[str, ...]) -> bool:
    """Return whether a name is one of these, or one of these after a prefix that ends with a dot or a dash."""
    return any(name == end or name.endswith((f".{end}", f"-{end}")) for end in ends)


def _is_ours(release: Release | None, plan: Plan, own: Collection[str], namespaces: Collection[str]) -> bool:
    if release is None:
        return False
    # Left behind by a namespace that is gone: Helm takes it over, for it has the names of our release.
    return release[1] in own or (release in _releases(plan) and release[1] not in namespaces)


def _releases(plan: Plan) -> set[Release]:
    return {(release["name"], release["namespace"]) for release in plan.releases}


def _where(hook: Object) -> str:
    """Return where a webhook is answered: a URL, or a Service."""
    client: Object = hook.get("clientConfig") or {}
    service: Object = client.get("service") or {}
    return str(client.get("url") or f"{service.get('namespace', '')}/{service.get('name', '')}")


def _same_mesh(plan: Plan, others: Sequence[_Webhooks], running: set[Release]) -> list[Diagnostic]:
    """Refuse a second control plane of the planned mesh: both would write the same objects of the cluster.

    Args:
        plan: What the stack is about to have.
        others: Webhooks that are not this stack's.
        running: The releases of this stack that run. Somebody else's webhooks may lead to them: a tag of a revision.
    """
    kind = plan.mesh.name
    diagnostics: list[Diagnostic] = []
    for other in others:
        if other.mesh != kind:
            continue
        where = ", ".join(sorted({_where(hook) for hook in other.webhooks}))
        title = KNOWN[kind].title
        managed = not plan.mesh.output["injection"] and _leads_to(other, _releases(plan), by_url=True)
        if managed or _leads_to(other, running):
            message = f"{other.name} is made elsewhere, and answered at {where}."
            diagnostics.append(Diagnostic("MSH323", "meshup:mesh", kind, message, severity="info"))
            continue
        message = f"Another {title} is on the cluster: the webhooks of {other.name} are answered at {where}."
        diagnostics.append(Diagnostic("MSH321", "meshup:mesh", kind, message, f"one {title} per cluster"))
    return diagnostics


def _leads_to(other: _Webhooks, releases: set[Release], *, by_url: bool = False) -> bool:
    """Return whether all webhooks lead to one of these control planes, or to a URL, where nothing more can be known."""
    places = [_where(hook) for hook in other.webhooks]
    names = {"/".join(reversed(release)) for release in releases}
    return all(place in names or (by_url and "://" in place) for place in places)


def _other_meshes(plan: Plan, others: Sequence[_Webhooks], namespaces: Sequence[Object]) -> list[Diagnostic]:
    """Refuse a mesh of another kind that injects where this stack does; say why another one may stay."""
    live = {item["name"]: item for item in namespaces}
    diagnostics: list[Diagnostic] = []
    for other in others:
        if other.mesh == plan.mesh.name or not other.injects:
            continue
        title = KNOWN[other.mesh].title
        taken = [
            namespace["name"]
            for namespace in (*plan.namespaces, *(item.patch["metadata"] for item in plan.joined if item.patch))
            if _injects(other, _final(live.get(namespace["name"], {}), namespace), _pods(plan, namespace))
        ]
        for name in taken:
            message = f"{title} ({other.name}) injects its proxy into the pods of this namespace as well."
            diagnostics.append(Diagnostic("MSH322", f"Namespace/{name}", None, message, "one mesh per namespace"))
        if not taken:
            message = f"{title} is on the cluster ({other.name}). It injects into no namespace of this stack."
            diagnostics.append(Diagnostic("MSH323", "meshup:mesh", plan.mesh.name, message, severity="info"))
    return diagnostics


def _final(live: Object, wanted: Object) -> Object:
    """Return the labels and annotations that a namespace will have: the live ones, overridden by meshup's."""
    return {
        "labels": {
            **(live.get("labels") or {}),
            **(wanted.get("labels") or {}),
            "kubernetes.io/metadata.name": wanted["name"],
        },
        "annotations": {**(live.get("annotations") or {}), **(wanted.get("annotations") or {})},
    }


def _pods(plan: Plan, namespace: Object) -> list[Mapping[str, str]]:
    """Return the labels of the pods that this stack makes in a namespace."""
    templates: list[Mapping[str, str]] = [
        item["spec"]["template"]["metadata"].get("labels", {})
        for app in plan.apps
        if app.namespace == namespace["name"]
        for item in app.objects
        if "template" in item.get("spec", {})
    ]
    none: list[Mapping[str, str]] = [{}]
    return templates or none


def _injects(other: _Webhooks, namespace: Object, pods: Sequence[Mapping[str, str]]) -> bool:
    key, values = KNOWN[other.mesh].opt_in
    if key and namespace["annotations"].get(key) not in values:
        return False
    return any(
        selects(hook.get("namespaceSelector"), namespace["labels"]) and selects(hook.get("objectSelector"), labels)
        for hook in other.webhooks
        for labels in pods
    )


def _crds(plan: Plan, crds: Sequence[Object]) -> list[Diagnostic]:
    """Refuse CustomResourceDefinitions that another release or tool has installed: Helm would not take them over."""
    release = next(item for item in plan.releases if item["role"] == plan.mesh.crds_role)
    wanted = (release["name"], release["namespace"])
    names = [item["name"] for item in crds if item["name"] in plan.mesh.crds and helm_release(item) != wanted]
    if not names:
        return []
    title = KNOWN[plan.mesh.name].title
    message = f"{len(names)} CustomResourceDefinitions of {title} are not of the release {'/'.join(wanted)}."
    listed = " ".join(sorted(names))
    remedy = (
        "If another installation still uses them, choose another cluster: they go with it when it is removed, with "
        "every route and policy. Else hand them over. No object is lost by that; later, the release keeps or removes "
        "them as its chart does.\n"
        f"kubectl label --overwrite customresourcedefinition {listed} app.kubernetes.io/managed-by=Helm\n"
        f"kubectl annotate --overwrite customresourcedefinition {listed} meta.helm.sh/release-name={wanted[0]} "
        f"meta.helm.sh/release-namespace={wanted[1]}"
    )
    return [
        Diagnostic("MSH324", f"CustomResourceDefinition/{min(names)}", None, message, "/".join(wanted), remedy),
    ]


def _running(plan: Plan, deployments: Sequence[Object]) -> list[Diagnostic]:
    """Judge what happens to the control planes of this stack that run.

    Another name or namespace of a release replaces it, and the old one is deleted first (components/helm.py): until
    several control planes can run side by side, there would be none in between. A change to the other mesh is sound:
    Pulumi makes the new one, moves the applications, and takes the old one away last.
    """
    diagnostics: list[Diagnostic] = []
    for mesh, known in KNOWN.items():
        label, value = known.control_plane
        if not label:
            continue
        control_planes = [item for item in deployments if labels_of(item).get(label) == value]
        running = _helm_releases(control_planes)
        if not running:
            continue
        names = ", ".join(sorted("/".join(reversed(release)) for release in running))
        if mesh != plan.mesh.name:
            message = (
                f"{known.title} runs ({names}) and goes in this run, after the applications have moved to "
                f"{KNOWN[plan.mesh.name].title}."
            )
            diagnostics.append(Diagnostic("MSH325", "meshup:mesh", plan.mesh.name, message, severity="warning"))
        elif plan.mesh.existing:
            message = f"This stack has installed {names}. With install: false it would be deleted."
            remedy = "To leave it as it runs, move out first: docs/adoption.md."
            diagnostics.append(Diagnostic("MSH057", f"meshup:{mesh}.install", False, message, "true", remedy))
        elif not running & _releases(plan):
            message = (
                f"The control plane {names} runs. With these settings it would be deleted before the new one is made."
            )
            path = f"meshup:{mesh}"
            diagnostics.append(Diagnostic("MSH326", path, None, message, "the revision and the namespace that it has"))
    return diagnostics
