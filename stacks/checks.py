"""Check the plan against the cluster: permissions, ownership, delivery, Services, patches, nodes, meshes."""

from dataclasses import replace

from components.diagnostics import Diagnostic
from components.manifests import ObjectRef
from components.meshes import MESHES
from stacks import (
    delivery,
    gateways,
    injection,
    namespaces,
    other_meshes,
    ownership,
    patches,
    prometheus_operator,
    security_checks,
    services,
    shared_services,
    telemetry,
)
from stacks.cluster import ClusterView
from stacks.ownership import Claims
from stacks.plan import Plan, own_parts
from stacks.settings import Settings
from stacks.state import Stack, release_ref


def check(settings: Settings, plan: Plan, stack: Stack, view: ClusterView) -> tuple[Claims, list[Diagnostic]]:
    """Compare a plan with the cluster.

    Args:
        settings: The settings of the stack.
        plan: What the stack will have.
        stack: The stack.
        view: The cluster.

    Returns:
        The owners of the existing objects, and the diagnostics.
    """
    for namespace in sorted({release["namespace"] for release in plan.releases}):
        # The hooks list Helm's Secrets: report a missing permission before the first resource.
        view.metadata("v1", "Secret", namespace)
    wanted = plan.objects()
    live = view.existing(wanted)
    claims = ownership.claims(wanted, live, stack.owner, stack.states)
    claims = replace(claims, imports=_imports(plan, view, stack))

    def of_others() -> list[Diagnostic]:
        return other_meshes.check(plan, view, _own_namespaces(view, claims, stack.owner))

    def of_patches() -> list[Diagnostic]:
        return patches.check(plan.patches, plan.traffic, view, stack.owner)

    def of_services() -> list[Diagnostic]:
        return services.check(plan.traffic, plan.mesh, own_parts(settings), view)

    def of_routes() -> list[Diagnostic]:
        return shared_services.check(plan, view, {stack.owner, *claims.former})

    def of_telemetry() -> list[Diagnostic]:
        return [*telemetry.check(settings, plan.mesh, plan.telemetry, view, {stack.owner, *claims.former})]

    def of_gateways() -> list[Diagnostic]:
        return gateways.check(plan.gateways, view, {stack.owner, *claims.former}, plan.now)

    def of_namespaces() -> list[Diagnostic]:
        entries = namespaces.entries(settings.namespaces, plan.mesh, stack.owner, plan.annotations)
        return namespaces.check(entries, plan.joined, view)

    def of_operator() -> list[Diagnostic]:
        return prometheus_operator.check(settings, plan, view)

    def of_policy() -> list[Diagnostic]:
        return security_checks.check(settings, plan, stack, view, {stack.owner, *claims.former})

    has_patches = plan.patches or any(item.patch or item.restarts for item in plan.joined)
    return claims, [
        *claims.diagnostics,
        *delivery.delivery_conflicts(plan.delivery, live, claims, stack.owner),
        *(patches.check_provider(settings.cluster.provider) if has_patches else []),
        *view.if_readable(of_services, otherwise=[]),
        *view.if_readable(of_patches, otherwise=[]),
        *view.if_readable(of_namespaces, otherwise=[]),
        *view.if_readable(lambda: injection.check(plan, view), otherwise=[]),
        *view.if_readable(lambda: MESHES[plan.mesh.name].check_cluster(plan.mesh, view), otherwise=[]),
        *view.if_readable(of_others, otherwise=[]),
        *view.if_readable(of_routes, otherwise=[]),
        *view.if_readable(of_telemetry, otherwise=[]),
        *view.if_readable(of_gateways, otherwise=[]),
        *view.if_readable(of_policy, otherwise=[]),
        *view.if_readable(of_operator, otherwise=[]),
        *view.diagnostics,
    ]


def _imports(plan: Plan, view: ClusterView, stack: Stack) -> frozenset[ObjectRef]:
    """Return the releases that are handed over to the stack, and not in its state yet."""
    refs = [
        release_ref(item["name"], item["namespace"])
        for item in plan.releases
        if ownership.handed_over(item["name"], view.metadata("v1", "Secret", item["namespace"]), stack.owner)
    ]
    state = (stack.states(stack.owner) or {}) if refs else {}
    return frozenset(ref for ref in refs if ref not in state)


def _own_namespaces(view: ClusterView, claims: Claims, owner: str) -> list[str]:
    return [
        item["name"]
        for item in view.metadata("v1", "Namespace")
        if ownership.owner_of(item) == owner or ObjectRef("v1", "Namespace", item["name"]) in claims.taken_over
    ]
