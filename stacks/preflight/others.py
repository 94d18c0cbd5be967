"""What others have on the cluster that the plan would collide with, or wait for in vain. Pure.

Other meshes by their webhooks, owners of objects and CustomResourceDefinitions are checked by every `up`
(stacks/checks.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, object_ref, part
from components.meshes import MESHES
from components.meshes.interface import annotations_of, labels_of
from stacks.checking import Check
from stacks.other_meshes import helm_release, selects

from .model import Subject

WEBHOOKS = (
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
)
CRDS = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
API_SERVICES = ("apiregistration.k8s.io/v1", "APIService")
SLICES = ("discovery.k8s.io/v1", "EndpointSlice")


def _webhooks(subject: Subject) -> list[Diagnostic]:
    """Report webhooks of others that fail closed, take pods of the plan, and have nobody who answers."""
    listed = [(kind, config) for version, kind in WEBHOOKS for config in subject.view.objects(version, kind)]
    return [fault for kind, config in listed for fault in _dead(subject, kind, config)]


def _dead(subject: Subject, kind: str, config: Manifest) -> Iterator[Diagnostic]:
    own = (*subject.mesh.signature.injectors, *subject.mesh.signature.validators)
    for hook in cast("list[Mapping[str, Any]]", config.get("webhooks") or []):
        service = part(hook, "clientConfig", "service")
        name = str(hook["name"])
        # The mesh's own are made anew with its control plane, and the dry run of a pod asks them.
        if not service or hook.get("failurePolicy", "Fail") != "Fail" or name.endswith(own) or not _takes_pods(hook):
            continue
        taken = [namespace for namespace in _namespaces(subject) if _selects(subject, hook, namespace)]
        where = (str(service.get("namespace")), str(service.get("name")))
        if taken and (why := _asleep(subject, *where)):
            message = (
                f"Its webhook {name} takes the pods of {', '.join(taken)}, and {why}: the API server then refuses them."
            )
            show = f"kubectl --namespace {where[0]} get services,endpointslices"
            yield Diagnostic("MSH740", f"{kind}/{config['metadata']['name']}", None, message, command=show)


def _takes_pods(hook: Mapping[str, Any]) -> bool:
    for rule in cast("list[Mapping[str, Sequence[str]]]", hook.get("rules") or []):
        groups, resources = rule.get("apiGroups") or (), rule.get("resources") or ()
        operations = rule.get("operations") or ()
        if {"", "*"} & {*groups} and {"pods", "*", "*/*"} & {*resources} and {"CREATE", "*"} & {*operations}:
            return True
    return False


def _namespaces(subject: Subject) -> list[str]:
    """Return the namespaces in which the plan makes pods."""
    releases = [release["namespace"] for release in subject.plan.releases]
    return list(dict.fromkeys([*releases, *subject.meshed]))


def _selects(subject: Subject, hook: Mapping[str, Any], namespace: str) -> bool:
    planned = [item["metadata"] for item in subject.plan.manifests if item["kind"] == "Namespace"]
    made = next((item for item in planned if item["name"] == namespace), dict[str, Any]())
    patches = (one.patch["metadata"] for one in subject.plan.joined if one.patch and one.name == namespace)
    patch = next(patches, dict[str, Any]())
    live = subject.existing.get(namespace, {})
    labels = {**labels_of(live), **labels_of(made), **labels_of(patch), "kubernetes.io/metadata.name": namespace}
    # Labels of pods are not known for charts: a selector of pods that asks for nothing takes all.
    return selects(hook.get("namespaceSelector"), labels) and selects(hook.get("objectSelector"), {})


def _asleep(subject: Subject, namespace: str, name: str) -> str:
    """Return why nobody answers at a Service, "" if somebody may."""
    if namespace not in subject.existing:
        return f"there is no namespace {namespace}"
    if name not in {item["metadata"]["name"] for item in subject.view.objects("v1", "Service", namespace)}:
        return f"there is no Service {namespace}/{name}"
    slices = [
        item
        for item in subject.view.objects(*SLICES, namespace)
        if labels_of(item["metadata"]).get("kubernetes.io/service-name") == name
    ]
    ends = [end for item in slices for end in cast("list[Mapping[str, Any]]", item.get("endpoints") or [])]
    ready = [end for end in ends if part(end, "conditions").get("ready", True) is not False]
    return "" if ready else f"the Service {namespace}/{name} has no ready endpoint"


def _installations(subject: Subject) -> list[Diagnostic]:
    """Report control planes that nothing but their pods shows: without webhooks, and not of this stack."""
    diagnostics: list[Diagnostic] = []
    if subject.plan.mesh.existing is not None:
        return diagnostics
    releases = {(release["name"], release["namespace"]) for release in subject.plan.releases}
    label, value = subject.mesh.signature.control_plane
    for item in subject.view.if_allowed("apps/v1", "Deployment"):
        metadata = item["metadata"]
        if labels_of(metadata).get(label) != value or helm_release(metadata) in releases:
            continue
        title = subject.mesh.signature.title
        by = "by Helm" if helm_release(metadata) else "without Helm: by its own command, an operator, or a provider"
        where = f"Deployment/{metadata['namespace']}/{metadata['name']}"
        message = f"A control plane of {title} that this stack has not made runs here, installed {by}."
        show = f"kubectl get deployments --all-namespaces --selector {label}={value} --show-labels"
        diagnostics.append(Diagnostic("MSH741", where, None, message, severity="warning", command=show))
    return diagnostics


def _labels(subject: Subject) -> list[Diagnostic]:
    """Report namespaces outside of the plan that two injectors claim, or two labels of one (Istio's IST0123)."""
    planned = {joined.name for joined in subject.plan.joined}
    diagnostics: list[Diagnostic] = []
    for name, metadata in subject.existing.items():
        carried = {**labels_of(metadata), **annotations_of(metadata)}
        keys = [
            f"{key}={carried[key]}"
            for mesh in MESHES.values()
            for key in sorted(mesh.joined_by)
            if key in carried and carried[key] not in mesh.opt_outs
        ]
        if len(keys) > 1 and name not in planned:
            message = f"The namespace says {' and '.join(keys)}: one of them decides, and not both."
            show = f"kubectl get namespace {name} --output yaml"
            diagnostics.append(
                Diagnostic("MSH742", f"Namespace/{name}", None, message, severity="warning", command=show)
            )
    return diagnostics


def _ending(subject: Subject) -> list[Diagnostic]:
    """Report namespaces and CustomResourceDefinitions of the plan that are being deleted, or not served."""
    diagnostics: list[Diagnostic] = []
    for namespace in _namespaces(subject):
        if "deletionTimestamp" in subject.existing.get(namespace, {}):
            message = "The namespace is being deleted, and takes no new object until it is gone."
            show = f"kubectl get namespace {namespace} --output yaml"
            diagnostics.append(Diagnostic("MSH743", f"Namespace/{namespace}", None, message, command=show))
    wanted = {object_ref(item).name for item in subject.objects if item["kind"] == CRDS[1]} | set(
        subject.plan.mesh.crds
    )
    for item in subject.view.objects(*CRDS):
        name = item["metadata"]["name"]
        if name not in wanted:
            continue
        show = f"kubectl get customresourcedefinition {name} --output yaml"
        if "deletionTimestamp" in item["metadata"]:
            message = "It is being deleted, with all of its objects."
            diagnostics.append(Diagnostic("MSH743", f"{CRDS[1]}/{name}", None, message, command=show))
        elif (found := _condition(item, "Established")).get("status") == "False":
            message = f"The API server does not serve it: {found.get('message') or found.get('reason') or 'no reason'}."
            diagnostics.append(Diagnostic("MSH744", f"{CRDS[1]}/{name}", None, message, command=show))
    return diagnostics


def _condition(item: Manifest, kind: str) -> Mapping[str, Any]:
    listed = cast("list[Mapping[str, Any]]", part(item, "status").get("conditions") or [])
    return next((one for one in listed if one.get("type") == kind), dict[str, Any]())


def _others(subject: Subject) -> list[Diagnostic]:
    return [*_webhooks(subject), *_installations(subject), *_labels(subject), *_ending(subject)]


def _services(subject: Subject) -> list[Diagnostic]:
    """Report what the plan relies on and the cluster does not have: aggregated APIs, metrics, load balancers."""
    services = subject.view.if_allowed(*API_SERVICES)
    diagnostics: list[Diagnostic] = []
    for item in services:
        found, name = _condition(item, "Available"), str(item["metadata"]["name"])
        if part(item, "spec", "service") and found.get("status") == "False":
            message = (
                f"This API does not answer ({found.get('reason')}). No namespace can be deleted meanwhile, so `pulumi "
                "destroy` would wait in vain."
            )
            show = f"kubectl get apiservice {name} --output yaml"
            diagnostics.append(
                Diagnostic("MSH750", f"APIService/{name}", None, message, severity="warning", command=show)
            )
    scaled = [str(object_ref(item)) for item in subject.objects if item["kind"] == "HorizontalPodAutoscaler"]
    metrics = [item for item in services if part(item, "spec").get("group") == "metrics.k8s.io"]
    if scaled and services and not metrics:
        message = (
            f"The cluster has no metrics API, by which {', '.join(scaled)} would scale: they stay at their minimum."
        )
        show = "kubectl get apiservices v1beta1.metrics.k8s.io"
        allowed = "metrics-server, or fixed replicas"
        diagnostics.append(Diagnostic("MSH751", "APIService", None, message, allowed, severity="warning", command=show))
    return [*diagnostics, *_balancers(subject)]


def _balancers(subject: Subject) -> Iterator[Diagnostic]:
    """Warn of Services of type LoadBalancer where no other one has an address, and some wait for one."""
    wanted = [
        str(object_ref(item)) for item in subject.missing("Service") if part(item, "spec").get("type") == "LoadBalancer"
    ]
    live = [one for one in subject.view.if_allowed("v1", "Service") if part(one, "spec").get("type") == "LoadBalancer"]
    served = [one for one in live if part(one, "status", "loadBalancer").get("ingress")]
    if wanted and live and not served:
        waiting = ", ".join(sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in live))
        message = f"{', '.join(wanted)} would wait for an address, as {waiting} does: nothing gives out addresses."
        show = "kubectl get services --all-namespaces --field-selector spec.type=LoadBalancer"
        allowed = "a load balancer, or serviceType: ClusterIP or NodePort"
        yield Diagnostic("MSH752", "Service", None, message, allowed, severity="warning", command=show)


OTHERS = Check(
    "others",
    "Nothing of others on the cluster stops the plan or decides in its place",
    ("MSH740", "MSH741", "MSH742", "MSH743", "MSH744"),
    _others,
)
SERVICES = Check(
    "services",
    "APIs, metrics and load balancers that the plan relies on are there",
    ("MSH750", "MSH751", "MSH752"),
    _services,
)
