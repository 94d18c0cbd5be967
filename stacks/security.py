"""The policy of a stack: what is known of its workloads, its objects, and what they change on the cluster. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from components.addons import ADDONS
from components.apps.interface import AppPlan
from components.diagnostics import Diagnostic, errors
from components.gateways.model import Gateway
from components.manifests import Manifest
from components.meshes import MESHES
from components.meshes.interface import ExistingMesh, Mesh, MeshPlan, annotations_of
from components.security.compile import SecurityCompilation, compile_policy
from components.security.model import Mode, Policy
from components.security.parse import parse
from components.security.workloads import read_webhooks, read_workloads
from components.security.world import Call, ServicePort, World
from components.traffic import Route, Service
from components.traffic.proxies import PortReading
from stacks.cluster import ClusterView
from stacks.namespaces import joins
from stacks.settings import Settings

PATH = "meshup:security"
_WORKLOADS = (
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
)
_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


@dataclass(frozen=True)
class Secured:
    """The policy of a stack, compiled.

    Attributes:
        policy: The policy.
        world: What is known of the Services and workloads that it is about.
        guarded: Its objects, and what else has to be so on the cluster.
    """

    policy: Policy
    world: World
    guarded: SecurityCompilation = field(default_factory=SecurityCompilation)

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """Its own objects, in order of creation."""
        return tuple(item.manifest for item in self.guarded.objects)

    def deciding(self, others: Iterable[Manifest] = ()) -> list[Manifest]:
        """Return what requests are decided by: its objects, and its annotations as Namespaces that carry them.

        Args:
            others: Further objects, such as those of routes, among which are Linkerd's Servers.
        """
        namespaces = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": dict(annotations)}}
            for name, annotations in self.guarded.annotations.items()
        ]
        return [*self.manifests, *others, *namespaces]


def secured(
    settings: Settings,
    world: World,
    mesh: str,
    *,
    presets: Mapping[str, Sequence[Call]],
    exposures: Mapping[str, Sequence[str]],
    found: ExistingMesh | None,
    today: date,
) -> tuple[Secured, list[Diagnostic]]:
    """Read and compile the policy of a stack, without a cluster.

    Args:
        settings: The settings of the stack.
        world: What is known, as `known` returns it.
        mesh: The mesh.
        presets: The call graphs of applications, by name.
        exposures: The gateways by which callers from outside reach a Service, by its host.
        found: What the cluster says of the mesh, if somebody else has installed it.
        today: Exceptions that have ended by then are refused.

    Returns:
        The compiled policy, and all diagnostics. With an error among them, it has no objects.
    """
    mode: Mode = found.mtls if found else settings.mtls
    policy, diagnostics = parse(
        settings.security,
        PATH,
        world.services,
        domain=found.cluster_domain if found else MESHES[mesh].cluster_domain(settings),
        trust_domain=world.trust_domain,
        gateways=world.gateways,
        mode=mode,
        environment=settings.environment,
        today=today,
        presets=presets,
        exposures=exposures,
    )
    # The policy may declare further Services.
    world = replace(world, services=policy.services or world.services)
    if policy.empty or errors(diagnostics):
        return Secured(policy, world), diagnostics
    guarded = compile_policy(policy, mesh, [kind.security for kind in MESHES.values()], world)
    return Secured(policy, world, guarded), [*diagnostics, *guarded.diagnostics]


def known(
    settings: Settings,
    mesh: str,
    apps: Sequence[AppPlan[Any]],
    routes: Sequence[Route],
    gateways: Iterable[Gateway],
    *,
    found: ExistingMesh | None,
) -> World:
    """Return what a configuration says of Services, workloads and callers.

    Args:
        settings: The settings of the stack.
        mesh: The mesh.
        apps: Its applications.
        routes: Its routes.
        gateways: Its gateways.
        found: What the cluster says of the mesh, if somebody else has installed it.
    """
    kind = MESHES[mesh]
    domain = found.cluster_domain if found else kind.cluster_domain(settings)
    services = {(one.namespace, one.name): replace(one, domain=domain) for app in apps for one in app.services}
    for service in (one for route in routes for one in _services(route)):
        services.setdefault((service.namespace, service.name), service)
    namespaces = {app.namespace: True for app in apps}
    namespaces |= {name: one.inject for name, one in settings.namespaces.items()}
    return World(
        services=tuple(services.values()),
        workloads=read_workloads([item for app in apps for item in app.objects], _meshed(kind, namespaces)),
        calls=tuple(call for app in apps for call in app.calls),
        gateways={one.name: kind.gateway_account(one, settings) for one in gateways},
        namespaces=namespaces,
        scoped=frozenset(
            name
            for name, one in settings.namespaces.items()
            if one.inject and any(item["kind"] == "Sidecar" for item in kind.namespace_objects(name, one))
        ),
        scrapers=tuple(one for addon in (*kind.addons, *ADDONS.values()) for one in addon.scrapers(settings)),
        routed_hosts=frozenset((route.service.namespace, egress.host) for route in routes for egress in route.egress),
        trust_domain=found.trust_domain if found else kind.trust_domain(settings),
        control_plane=found.namespace if found else kind.namespaces(settings)[f"{mesh}.namespace"],
    )


def _services(route: Route) -> list[Service]:
    destinations = [one.destination for rule in route.rules for one in (*rule.backends, *rule.mirrors)]
    return [route.service, *(one.service for one in destinations)]


def _meshed(kind: Mesh[Any], injected: Mapping[str, bool]) -> Any:
    def meshed(pod: Manifest) -> bool:
        choice = kind.choice(pod)
        return injected.get(pod["metadata"]["namespace"], False) if choice is None else choice

    return meshed


def observed(mesh: MeshPlan, secured: Secured, view: ClusterView | None) -> World:
    """Return what is known of Services, workloads and callers, with what the cluster says of them.

    Args:
        mesh: The plan of the mesh.
        secured: The policy of the stack.
        view: The cluster; without one, how the mesh reads ports is added alone.
    """
    kind, known = MESHES[mesh.name], secured.world
    readings, names = _ports(mesh, known, services_of(known, view) if view else {})
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


def services_of(world: World, view: ClusterView) -> dict[tuple[str, str], Manifest]:
    """Return the Services of the cluster in the namespaces of those that are known, by namespace and name."""
    return {
        (namespace, item["metadata"]["name"]): item
        for namespace in sorted({one.namespace for one in world.services})
        for item in view.objects("v1", "Service", namespace)
    }


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
