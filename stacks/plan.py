"""Settings and cluster -> Plan: all that a stack will have, as plain data, built once."""

from collections.abc import Iterable
from dataclasses import dataclass

from components.diagnostics import Diagnostic, errors
from components.manifests import Manifest, ObjectRef, object_ref
from components.meshes.targets import TARGETS
from components.namespace import MeshNamespaceArgs
from components.traffic import Compilation, compile_routes, parse
from components.traffic.model import CLUSTER_DOMAIN, Mesh
from stacks import charts, delivery, gateway_api, patches, versions
from stacks.cluster import ClusterView, check_version
from stacks.delivery import Delivery
from stacks.parts import APPS, CHARTS, MESHES, AppPlan, MeshPlan
from stacks.settings import Settings
from stacks.state import Stack


@dataclass(frozen=True)
class Plan:
    """All that a stack will have, in the order in which it is registered (stacks/program.py, `steps`).

    Attributes:
        gateway_api: The bundle of the Gateway API; empty if the cluster has one that serves, or none is needed.
        mesh: The mesh.
        namespaces: Those of the applications.
        apps: The applications.
        traffic: The compiled routes, for outputs and reports.
        delivery: The objects of the routes, and how they are delivered.
        patches: Annotations for Services that somebody else makes (stacks/patches.py).
    """

    mesh: MeshPlan
    namespaces: tuple[MeshNamespaceArgs, ...]
    apps: tuple[AppPlan, ...]
    traffic: Compilation
    delivery: Delivery
    patches: tuple[Manifest, ...]
    gateway_api: tuple[Manifest, ...]

    def objects(self) -> list[ObjectRef]:
        """Return every object that the stack will make, so without those of other people's charts."""
        namespaces = [ObjectRef("v1", "Namespace", item["name"]) for item in (*self.mesh.namespaces, *self.namespaces)]
        apps = [item for app in self.apps for item in app.objects]
        return [
            *map(object_ref, self.gateway_api),
            *namespaces,
            *self.mesh.objects,
            *map(object_ref, apps),
            *map(object_ref, self.delivery.objects),
        ]


def build(
    settings: Settings,
    found: Iterable[Diagnostic],
    stack: Stack,
    view: ClusterView | None,
) -> tuple[Plan | None, list[Diagnostic]]:
    """Decide what a stack will have. The same settings and the same cluster give the same plan.

    Args:
        settings: The settings of the stack.
        found: The diagnostics of the settings.
        stack: The stack.
        view: The cluster; None if it does not answer.

    Returns:
        The plan, and all diagnostics so far. There is no plan without a cluster, or with an error among the diagnostics
        of the settings, the charts, the mesh, the routes, and the version of the cluster.
    """
    names = CHARTS[settings.mesh](settings)
    source, of_charts = charts.inspect(settings.charts, settings.mesh, names, getattr(settings, settings.mesh).version)
    mesh, of_mesh = MESHES[settings.mesh](settings, source, stack.environ)
    traffic, of_traffic = compiled(settings)
    delivered, of_delivery = delivery.deliver(traffic, settings.delivery, stack.owner)
    diagnostics = [*found, *of_charts, *of_mesh, *of_traffic, *of_delivery]
    if view is not None:
        diagnostics += check_version(view.version, versions.kubernetes(settings.mesh, mesh.output["version"]))
    if view is None or errors(diagnostics):
        return None, diagnostics
    bundle, of_bundle = gateway_api.plan(settings, delivered.objects, stack, view)
    apps = _apps(settings, patches.by_namespace(traffic.patches))
    made = {(service.namespace, service.name) for app in apps for service in app.services}
    plan = Plan(
        mesh=mesh,
        namespaces=tuple(_namespace(app, mesh) for app in apps),
        apps=apps,
        traffic=traffic,
        delivery=delivered,
        patches=patches.plan(traffic.patches, made, stack.owner),
        gateway_api=bundle,
    )
    return plan, [*diagnostics, *of_bundle]


def compiled(settings: Settings, mesh: Mesh | None = None) -> tuple[Compilation, list[Diagnostic]]:
    """Read and compile the routes of a stack, without a cluster.

    Args:
        settings: The settings of the stack.
        mesh: A mesh to compile for in place of the stack's own.

    Returns:
        What was compiled, and all diagnostics of it.
    """
    target = mesh or settings.mesh
    services = [service for app in _apps(settings, {}) for service in app.services]
    domain = settings.linkerd.cluster_domain if target == "linkerd" else CLUSTER_DOMAIN
    routes, diagnostics = parse(settings.traffic, "meshup:traffic", services, domain)
    traffic = compile_routes(routes, target, TARGETS, services, settings.mtls)
    return traffic, [*diagnostics, *traffic.diagnostics]


def _apps(settings: Settings, annotations: patches.Annotations) -> tuple[AppPlan, ...]:
    """Plan the applications, with the annotations that routes ask for on their Services."""
    names = dict.fromkeys(settings.apps)
    return tuple(APPS[name](settings, annotations.get(getattr(settings, name).namespace, {})) for name in names)


def _namespace(app: AppPlan, mesh: MeshPlan) -> MeshNamespaceArgs:
    namespace: MeshNamespaceArgs = {"name": app.namespace, "mesh": mesh.kind}
    if mesh.revision:
        namespace["revision"] = mesh.revision
    return namespace
