"""Compare the policy of a stack with the cluster: objects of others, and what callers will meet. Pure."""

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from components.diagnostics import Diagnostic
from components.diagnostics.validation import join
from components.manifests import Manifest, object_ref
from components.meshes import MESHES
from components.meshes.interface import MeshPlan, annotations_of
from components.security import checks
from components.security.model import Policy
from components.security.workloads import read_webhooks, read_workloads
from components.security.world import ServicePort, World
from components.traffic.proxies import PortReading
from stacks import patches, security_changes
from stacks.cluster import ClusterView
from stacks.namespaces import PATH as NAMESPACES
from stacks.namespaces import joins
from stacks.ownership import owner_of
from stacks.plan import Plan
from stacks.security import PATH, Secured
from stacks.security_changes import Rules
from stacks.settings import Settings
from stacks.state import Stack

_WORKLOADS = (
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Pod"),
)
_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def check(settings: Settings, plan: Plan, stack: Stack, view: ClusterView, own: Collection[str]) -> list[Diagnostic]:
    """Compare the policy of a stack with the cluster.

    Args:
        settings: The settings of the stack.
        plan: What the stack will have.
        stack: The stack.
        view: The cluster.
        own: The names of this stack in annotations of its objects.
    """
    kind, policy = MESHES[plan.mesh.name], plan.security.policy
    planned = plan.deciding
    refs = set(map(object_ref, planned))

    def is_ours(item: Manifest) -> bool:
        return item["kind"] != "Namespace" and owner_of(item["metadata"]) in own

    # Without a policy, the account of the stack need not have the rights to read those of others.
    kinds = [(one["apiVersion"], one["kind"]) for one in plan.security.manifests]
    listed = view.if_allowed if policy.empty else view.objects
    live = list(security_changes.live_objects(kind.security, listed, kinds))
    if policy.empty and not any(is_ours(item) and object_ref(item) not in refs for item in live):
        return []
    world = observed(plan.mesh, plan.security, view)
    changed: list[Diagnostic] = []
    found, _ = kind.find(settings, view)
    # Before there is a mesh, nobody is denied anything.
    if found is not None:
        namespaces = [item for item in live if item["kind"] == "Namespace"]
        made = [*planned, *_namespaces(plan, namespaces, patches.field_manager(stack.owner))]
        then = security_changes.after(made, [item for item in live if item not in namespaces], is_ours)
        changed = _changes(plan, world, Rules(live, found.mtls), Rules(then, policy.mode), _services(world, view))
    others = [item for item in live if not (item["kind"] == "Namespace" or is_ours(item) or object_ref(item) in refs)]
    return [
        *_annotated(settings, plan),
        *kind.security.beside(planned, others, world),
        *checks.check(policy, world, plan.traffic.planned, kind.security),
        *changed,
    ]


def _annotated(settings: Settings, plan: Plan) -> Iterator[Diagnostic]:
    """Find namespaces whose annotations the policy needs and the stack can't set."""
    made = {item["name"] for item in plan.namespaces}
    for name, annotations in plan.security.guarded.annotations.items():
        chosen = settings.namespaces.get(name)
        where = join(f"{PATH}.namespaces", name)
        if chosen is None and name not in made:
            message = "The mesh needs an annotation of this namespace for it, and the namespace is not the stack's."
            remedy = f"Join it: {NAMESPACES} {{{name}: {{}}}}."
            yield Diagnostic("MSH577", where, name, message, "", remedy)
        written = chosen.proxy.annotations() if chosen else {}
        for key in sorted(written.keys() & annotations.keys()):
            if written[key] != annotations[key]:
                message = f"The policy sets {key}={annotations[key]}."
                path = join(f"{join(NAMESPACES, name)}.proxy", "defaultInboundPolicy")
                yield Diagnostic("MSH578", path, written[key], message, "without this key")


def _changes(
    plan: Plan, world: World, before: Rules, then: Rules, there: Container[tuple[str, str]]
) -> list[Diagnostic]:
    """Say what the next `up` will deny and open at the Services that are there."""
    services = [one for one in world.services if (one.namespace, one.name) in there]
    secured, plane = replace(plan.security, world=world), MESHES[plan.mesh.name].security
    changed, complete = security_changes.changes(plane, secured, before, then, services)
    return security_changes.report(changed, world, complete=complete)


def _services(world: World, view: ClusterView) -> dict[tuple[str, str], Manifest]:
    """Return the Services of the cluster in the namespaces of those that are known."""
    return {
        (namespace, item["metadata"]["name"]): item
        for namespace in sorted({one.namespace for one in world.services})
        for item in view.objects("v1", "Service", namespace)
    }


def _namespaces(plan: Plan, live: Iterable[Manifest], manager: str) -> Iterator[Manifest]:
    """Return the namespaces of the cluster with the annotations that they will have."""
    made = {item["name"]: item for item in plan.namespaces}
    patched = {item.name: annotations_of(item.patch["metadata"]) for item in plan.joined if item.patch}
    for item in live:
        metadata = item["metadata"]
        name = metadata["name"]
        if name in made:
            annotations = annotations_of(made[name])
        else:
            kept = {
                key: value
                for key, value in annotations_of(metadata).items()
                if patches.owners(metadata, "metadata", "annotations", key) != [manager]
            }
            annotations = {**kept, **patched.get(name, {})}
        yield {**item, "metadata": {**metadata, "annotations": dict(annotations)}}


def observed(mesh: MeshPlan, secured: Secured, view: ClusterView | None) -> World:
    """Return what is known of Services, workloads and callers, with what the cluster says of them.

    Args:
        mesh: The plan of the mesh.
        secured: The policy of the stack.
        view: The cluster; without one, how the mesh reads ports is added alone.
    """
    kind, known = MESHES[mesh.name], secured.world
    readings, names = _ports(mesh, known, _services(known, view) if view else {})
    if view is None:
        return replace(known, readings=readings)
    live = {item["name"]: item for item in view.metadata("v1", "Namespace")}
    namespaces = {name: joins(kind, metadata) for name, metadata in live.items()} | dict(known.namespaces)

    def meshed(pod: Manifest) -> bool:
        if pod.get("status") is not None:
            return kind.sidecar(pod) is not None
        choice = kind.choice(pod)
        return namespaces.get(pod["metadata"]["namespace"], False) if choice is None else choice

    wanted = sorted(_namespaces_of(secured.policy, known) & live.keys())
    listed = [
        {**item, "apiVersion": api_version, "kind": name}
        for namespace in wanted
        for api_version, name in _WORKLOADS
        for item in view.objects(api_version, name, namespace)
    ]
    annotations = {name: annotations_of(metadata) for name, metadata in live.items()}
    planned = {(one.kind, one.namespace, one.name): one for one in known.workloads}
    found = {(one.kind, one.namespace, one.name): one for one in read_workloads(listed, meshed, annotations)}
    hooks = [
        {**item, "kind": name} for name in _WEBHOOKS for item in view.objects("admissionregistration.k8s.io/v1", name)
    ]
    return replace(
        known,
        workloads=tuple((found | planned).values()),
        namespaces=namespaces,
        webhooks=read_webhooks(hooks),
        readings=readings,
        target_names=names,
    )


def _namespaces_of(policy: Policy, world: World) -> set[str]:
    """Return the namespaces whose pods are called, or call, by what the policy says."""
    called = {one.namespace for one in world.services}
    callers = {
        source.identity.namespace
        for rule in policy.rules
        for source in rule.sources
        if source.identity and not source.identity.trust_domain
    }
    return (called | callers | {one.name for one in policy.namespaces}) - {""}


def _ports(
    mesh: MeshPlan, world: World, there: Mapping[tuple[str, str], Manifest]
) -> tuple[dict[ServicePort, PortReading], dict[ServicePort, str]]:
    """Return how the mesh reads the ports of Services, as declared unless they are there; and names of target ports."""
    kind = MESHES[mesh.name]
    readings: dict[ServicePort, PortReading] = {}
    names: dict[ServicePort, str] = {}
    for service in world.services:
        live = there.get((service.namespace, service.name), {})
        ports: list[Mapping[str, Any]] = [
            {"port": port.number, "name": port.name, "appProtocol": port.app_protocol} for port in service.ports
        ]
        annotations: Mapping[str, str] = {}
        if live.get("spec"):
            ports, annotations = live["spec"].get("ports") or [], annotations_of(live["metadata"])
        for port in ports:
            place = (service.namespace, service.name, port["port"])
            readings[place] = kind.read_port(mesh, port, annotations)
            if isinstance(port.get("targetPort"), str):
                names[place] = port["targetPort"]
    return readings, names
