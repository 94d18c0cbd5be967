"""Compare the policy of a stack with the cluster: objects of others, and what callers will meet. Pure."""

from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import replace

from components.diagnostics import Diagnostic
from components.diagnostics.validation import join
from components.manifests import Manifest, object_ref
from components.meshes import MESHES
from components.meshes.interface import annotations_of
from components.security import checks
from components.security.world import World
from stacks import patches, security, security_changes
from stacks.cluster import ClusterView
from stacks.namespaces import PATH as NAMESPACES
from stacks.ownership import owner_of
from stacks.plan import Plan
from stacks.security import PATH
from stacks.security_changes import Rules
from stacks.settings import Settings
from stacks.state import Stack


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
    world = security.observed(plan.mesh, plan.security, view)
    changed: list[Diagnostic] = []
    found, _ = kind.find(settings, view)
    # Before there is a mesh, nobody is denied anything.
    if found is not None:
        namespaces = [item for item in live if item["kind"] == "Namespace"]
        made = [*planned, *_namespaces(plan, namespaces, patches.field_manager(stack.owner))]
        then = security_changes.after(made, [item for item in live if item not in namespaces], is_ours)
        changed = _changes(
            plan, world, Rules(live, found.mtls), Rules(then, policy.mode), security.services_of(world, view)
        )
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
    diagnostics = security_changes.report(changed, world, complete=complete)
    if before.mode != then.mode:
        # The mesh's own objects come before those of the policy.
        own = [item for item in plan.mesh.objects if (item["apiVersion"], item["kind"]) in plane.kinds]
        middle = Rules(security_changes.after(own, before.objects, lambda _: False), then.mode)
        between, _ = security_changes.changes(plane, secured, before, middle, services)
        diagnostics += security_changes.report_interrupted(security_changes.interrupted(changed, between))
    return diagnostics


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
