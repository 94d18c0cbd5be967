"""The policy of a stack: what is known of its workloads, its objects, and what they change on the cluster. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from components.apps.interface import AppPlan
from components.diagnostics import Diagnostic, errors
from components.gateways.model import Gateway
from components.manifests import Manifest
from components.meshes import MESHES
from components.meshes.interface import ExistingMesh, Mesh
from components.security.compile import SecurityCompilation, compile_policy
from components.security.model import Mode, Policy
from components.security.parse import parse
from components.security.workloads import read_workloads
from components.security.world import Call, World
from components.traffic import Route, Service
from stacks.settings import Settings

PATH = "meshup:security"


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
    routes: Iterable[Route],
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
    routes = list(routes)
    services = {(one.namespace, one.name): replace(one, domain=domain) for app in apps for one in app.services}
    for service in (one for route in routes for one in _services(route)):
        services.setdefault((service.namespace, service.name), service)
    joins = {app.namespace: True for app in apps} | {name: one.inject for name, one in settings.namespaces.items()}
    return World(
        services=tuple(services.values()),
        workloads=read_workloads([item for app in apps for item in app.objects], _meshed(kind, joins)),
        calls=tuple(call for app in apps for call in app.calls),
        gateways={one.name: kind.gateway_account(one, settings) for one in gateways},
        namespaces=joins,
        scoped=frozenset(
            name
            for name, one in settings.namespaces.items()
            if one.inject and any(item["kind"] == "Sidecar" for item in kind.namespace_objects(name, one))
        ),
        routed_hosts=frozenset((route.service.namespace, egress.host) for route in routes for egress in route.egress),
        trust_domain=found.trust_domain if found else kind.trust_domain(settings),
        control_plane=found.namespace if found else kind.namespaces(settings)[f"{mesh}.namespace"],
    )


def _services(route: Route) -> list[Service]:
    destinations = [one.destination for rule in route.rules for one in (*rule.backends, *rule.mirrors)]
    return [route.service, *(one.service for one in destinations)]


def _meshed(kind: Mesh[Any], joins: Mapping[str, bool]) -> Any:
    def meshed(pod: Manifest) -> bool:
        choice = kind.choice(pod)
        return joins.get(pod["metadata"]["namespace"], False) if choice is None else choice

    return meshed
