"""Build the plan of a stack from settings and cluster: plain data, built once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, cast

from components import clock
from components.addons import ADDONS
from components.addons.interface import Addon, AddonPlan, AddonRequest
from components.apps import APPS
from components.apps.interface import AppPlan
from components.diagnostics import Diagnostic, errors
from components.diagnostics.validation import join
from components.gateways.model import Gateway
from components.helm import ChartSource, HelmRelease
from components.manifests import Manifest, ObjectRef, object_ref
from components.mesh_namespace import MeshNamespaceArgs, metadata
from components.meshes import MESHES, TARGETS
from components.meshes.interface import ExistingMesh, MeshPlan, MeshRequest
from components.namespace import Joined
from components.security import checks
from components.telemetry.plane import TelemetryPlan
from components.traffic import Compilation, Route, compile_routes, parse
from stacks import charts, delivery, files, gateway_api, gateways, namespaces, patches, security, telemetry
from stacks.charts import Charts
from stacks.cluster import ClusterView, check_version
from stacks.delivery import Delivery
from stacks.gateways import GatewaysPlan
from stacks.security import Secured
from stacks.services import OwnParts
from stacks.settings import Settings
from stacks.state import Stack


@dataclass(frozen=True)
class Plan:
    """Everything that a stack registers (in the order of `stacks.program.steps`).

    Attributes:
        gateway_api: The Gateway API bundle; empty if the cluster has a compatible one, or none is needed.
        mesh: The mesh.
        addons: The add-ons.
        namespaces: The metadata of the namespaces that the stack makes for applications and `meshup:namespaces`.
        joined: How the namespaces of `meshup:namespaces` are in the mesh.
        apps: The applications.
        security: The compiled policy.
        telemetry: Traces and access logs.
        traffic: The compiled routes, for outputs and reports.
        delivery: The objects of the routes, and how they are delivered.
        patches: Annotations for Services of other owners (stacks/patches.py).
        gateways: The gateways, their objects and the files of their certificates.
        now: The time by which certificates and exceptions of the policy are judged; nothing is registered by it.
    """

    mesh: MeshPlan
    addons: tuple[AddonPlan, ...]
    namespaces: tuple[Mapping[str, Any], ...]
    joined: tuple[Joined, ...]
    apps: tuple[AppPlan[Any], ...]
    security: Secured
    telemetry: TelemetryPlan
    traffic: Compilation
    delivery: Delivery
    patches: tuple[Manifest, ...]
    gateway_api: tuple[Manifest, ...]
    gateways: GatewaysPlan
    now: datetime = field(compare=False, repr=False)

    @property
    def releases(self) -> list[HelmRelease]:
        """The Helm releases of third-party charts."""
        return [*self.mesh.releases, *(addon.release for addon in self.addons if addon.release)]

    @property
    def deciding(self) -> list[Manifest]:
        """The objects by which the mesh decides who may do what; annotations of namespaces apart."""
        kinds = set(MESHES[self.mesh.name].security.kinds)
        joined = (item for one in self.joined for item in one.objects)
        others = (*self.mesh.objects, *joined, *self.delivery.objects)
        return [*self.security.manifests, *(one for one in others if (one["apiVersion"], one["kind"]) in kinds)]

    @property
    def annotations(self) -> Mapping[str, Mapping[str, str]]:
        """The annotations that namespaces get beside those of the mesh, by namespace."""
        return annotations(self.security, self.telemetry)

    @property
    def manifests(self) -> list[Manifest]:
        """Every object that the stack creates, except those of third-party charts, and Secrets made of files."""
        of_addons = (addon.namespace for addon in self.addons)
        made = (*self.mesh.namespaces, *of_addons, *self.namespaces)
        return [
            *self.gateway_api,
            *({"apiVersion": "v1", "kind": "Namespace", "metadata": dict(item)} for item in made),
            *self.mesh.objects,
            *self.security.manifests,
            *self.telemetry.objects,
            *(item for addon in self.addons for item in addon.objects),
            *self.gateways.objects,
            *(item for joined in self.joined for item in joined.objects),
            *(item for app in self.apps for item in app.objects),
            *self.delivery.objects,
        ]

    def objects(self) -> list[ObjectRef]:
        """Return every object that the stack creates, except those of third-party charts."""
        files = (ObjectRef("v1", "Secret", name, namespace) for namespace, name in self.gateways.files)
        return [*map(object_ref, self.manifests), *files]


def build(
    settings: Settings,
    settings_diagnostics: Iterable[Diagnostic],
    stack: Stack,
    view: ClusterView | None,
) -> tuple[Plan | None, list[Diagnostic]]:
    """Build the plan of a stack. The same settings and cluster give the same plan.

    Args:
        settings: The settings of the stack.
        settings_diagnostics: The diagnostics of the settings.
        stack: The stack.
        view: The cluster; None if it does not answer.

    Returns:
        The plan, and all diagnostics so far. There is no plan without a cluster, or with an error among the diagnostics
        of the settings, the charts, the mesh, the routes, and the version of the cluster.
    """
    kind = MESHES[settings.mesh]
    source, chart_diagnostics = charts.inspect(
        settings.charts, kind, kind.charts(settings) if installs(settings) else (), kind.wanted_version(settings)
    )
    now, clock_diagnostics = clock.read(stack.environ)
    listed = gateways.declared(settings)[0]
    gateway_diagnostics = gateways.check_files(listed, read_file, now)
    mesh, mesh_diagnostics = kind.plan(request(settings, source, now, view))
    if view is not None and view.diagnostics:
        # What was found in lists that can't be read would be wrong.
        mesh_diagnostics = view.diagnostics
    (policy, policy_diagnostics), (traffic, traffic_diagnostics) = policy_and_routes(
        settings, now, kind.name, mesh.existing
    )
    telemetered = telemetry.planned(settings, mesh, own_parts(settings).joined)
    addons = _addons(settings, mesh, source.source, traffic)
    repositories = {addon.name: addon.repository for addon in (*kind.addons, *ADDONS.values())}
    chart_diagnostics += [
        fault
        for addon in addons
        if addon.release
        for fault in charts.check_addon(settings.charts, source.source, addon.release, repositories[addon.name])
    ]
    if not errors(policy_diagnostics):
        # Without a look at the cluster; what that adds is found when the plan is compared with it.
        world = security.observed(mesh, policy, None)
        found = checks.check(policy.policy, world, traffic.planned, kind.security)
        policy_diagnostics += errors(found)
    delivered, delivery_diagnostics = delivery.deliver(traffic, settings.delivery, stack.owner)
    diagnostics = [
        *settings_diagnostics,
        *clock_diagnostics,
        *chart_diagnostics,
        *mesh_diagnostics,
        *gateway_diagnostics,
        *telemetered.diagnostics,
        *policy_diagnostics,
        *traffic_diagnostics,
        *delivery_diagnostics,
        *(fault for addon in addons for fault in addon.diagnostics),
    ]
    if view is not None:
        diagnostics += check_version(view.version, kind.versions.kubernetes_for(mesh.version))
    if view is None or errors(diagnostics):
        return None, diagnostics
    planned_gateways = gateways.plan(settings, listed, traffic)
    by_its_api = (*planned_gateways.objects, *policy.manifests, *delivered.objects)
    bundle, bundle_diagnostics = gateway_api.plan(settings, by_its_api, stack, view)
    apps = _apps(settings, patches.by_namespace(traffic.patches))
    wanted = annotations(policy, telemetered)
    entries = namespaces.entries(settings.namespaces, mesh, stack.owner, wanted)
    joined, join_diagnostics = view.if_readable(lambda: namespaces.plan(entries, view), otherwise=((), []))
    made = {(service.namespace, service.name) for app in apps for service in app.services}
    plan = Plan(
        mesh=mesh,
        addons=addons,
        namespaces=(
            *(_namespace(app, mesh, wanted) for app in apps if app.namespace not in settings.namespaces),
            *namespaces.created(entries),
        ),
        joined=joined,
        apps=apps,
        security=policy,
        telemetry=telemetered,
        traffic=traffic,
        delivery=delivered,
        patches=patches.plan(traffic.patches, made, stack.owner),
        gateway_api=bundle,
        gateways=planned_gateways,
        now=now,
    )
    return plan, [*diagnostics, *bundle_diagnostics, *join_diagnostics]


def annotations(policy: Secured, planned: TelemetryPlan) -> dict[str, Mapping[str, str]]:
    """Return the annotations that policy and access logs ask for, by namespace."""
    both = (policy.guarded.annotations, planned.annotations)
    return {name: {**both[0].get(name, {}), **both[1].get(name, {})} for one in both for name in one}


def compiled(
    settings: Settings, now: datetime, mesh: str = "", found: ExistingMesh | None = None
) -> tuple[Compilation, list[Diagnostic]]:
    """Read and compile the routes of a stack, without a cluster.

    Args:
        settings: The settings of the stack.
        now: The time; exceptions of the policy that have ended by then are refused.
        mesh: A mesh to compile for in place of the stack's own.
        found: What the cluster says of the mesh, if somebody else has installed it.

    Returns:
        The compiled routes, and all diagnostics, those of the policy among them.
    """
    (_, diagnostics), (traffic, more) = policy_and_routes(settings, now, mesh, found)
    return traffic, [*diagnostics, *more]


def policy_and_routes(
    settings: Settings, now: datetime, mesh: str = "", found: ExistingMesh | None = None
) -> tuple[tuple[Secured, list[Diagnostic]], tuple[Compilation, list[Diagnostic]]]:
    """Read and compile the policy and the routes of a stack, each with its diagnostics; arguments as for `compiled`."""
    kind = mesh or settings.mesh
    parsed = _parsed(settings, kind, found)
    policy, diagnostics = _secured(settings, now, kind, parsed, found)
    return (policy, diagnostics), _compiled(settings, kind, parsed, policy, found)


def secured(
    settings: Settings, now: datetime, mesh: str = "", found: ExistingMesh | None = None
) -> tuple[Secured, list[Diagnostic]]:
    """Read and compile the policy of a stack, without a cluster; arguments as for `compiled`."""
    return _secured(settings, now, mesh or settings.mesh, _parsed(settings, mesh or settings.mesh, found), found)


class _Parsed(NamedTuple):
    """The routes of a stack, with what they are read with.

    Attributes:
        apps: The applications.
        gateways: The gateways.
        routes: The routes.
        added: For each route that opens an application, the path of the key that asks for it.
        diagnostics: The diagnostics.
    """

    apps: tuple[AppPlan[Any], ...]
    gateways: list[Gateway]
    routes: Sequence[Route]
    added: Mapping[str, str]
    diagnostics: list[Diagnostic]


def _parsed(settings: Settings, mesh: str, found: ExistingMesh | None) -> _Parsed:
    apps = _apps(settings, {})
    domain = found.cluster_domain if found else MESHES[mesh].cluster_domain(settings)
    listed, gateway_diagnostics = gateways.declared(settings, mesh)
    written, added = with_exposed(settings)
    services = [service for app in apps for service in app.services]
    routes, diagnostics = parse(written, "meshup:traffic", services, domain, listed)
    return _Parsed(apps, listed, routes, added, [*gateway_diagnostics, *_at_expose(diagnostics, added)])


def _secured(
    settings: Settings, now: datetime, mesh: str, parsed: _Parsed, found: ExistingMesh | None
) -> tuple[Secured, list[Diagnostic]]:
    world = security.known(settings, mesh, parsed.apps, parsed.routes, parsed.gateways, found=found)
    presets = {app.name: app.calls for app in parsed.apps}
    exposures: dict[str, list[str]] = {}
    for route in parsed.routes:
        if route.exposure:
            exposures.setdefault(route.service.host, []).append(route.exposure.gateway.name)
    return security.secured(settings, world, mesh, presets=presets, exposures=exposures, found=found, today=now.date())


def _compiled(
    settings: Settings, mesh: str, parsed: _Parsed, policy: Secured, found: ExistingMesh | None
) -> tuple[Compilation, list[Diagnostic]]:
    """Compile the routes, among whose objects are some that the policy asks for."""
    services = [service for app in parsed.apps for service in app.services]
    mtls = found.accepted if found else settings.mtls
    traffic = compile_routes(parsed.routes, mesh, TARGETS, services, mtls, guards=policy.guarded.guards)
    traffic = replace(traffic, diagnostics=tuple(_at_expose(traffic.diagnostics, parsed.added)))
    return traffic, [*parsed.diagnostics, *traffic.diagnostics]


def _at_expose(diagnostics: Iterable[Diagnostic], added: Mapping[str, str]) -> list[Diagnostic]:
    """Return diagnostics with the path that is written, for routes that are there because an application is opened."""
    paths = {join("meshup:traffic", key): where for key, where in added.items()}
    return [
        replace(fault, path=f"{paths[route]}{fault.path[len(route) :]}")
        if (route := next((one for one in paths if fault.path == one or fault.path.startswith(f"{one}.")), ""))
        else fault
        for fault in diagnostics
    ]


def with_exposed(settings: Settings) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Return the routes of a stack, with those by which its applications are opened to callers outside of the cluster.

    A route that there is for the Service takes the gateway over, unless it names one itself.

    Returns:
        The routes, and for each that is added the path of the key that asks for it.
    """
    routes, added = dict(settings.traffic), dict[str, str]()
    for app in (APPS[name] for name in dict.fromkeys(settings.apps)):
        chosen, service = settings.section(app.section), app.entry[0]
        if chosen.expose is None:
            continue
        opened: dict[str, Any] = {"gateway": chosen.expose.gateway}
        opened |= {"hosts": list(chosen.expose.hosts)} if chosen.expose.hosts else {}
        opened |= {"paths": list(app.paths)} if app.paths else {}
        own = {"service": service, "namespace": chosen.namespace}
        key = next((key for key, route in routes.items() if _is_for(key, route, own)), None)
        if key is None:
            free = service if service not in routes else f"{app.name}-{service}"
            routes[free] = {**own, **opened}
            added[free] = f"meshup:{app.name}.expose"
        elif not {"gateway", "hosts"} & routes[key].keys():
            routes[key] = {**opened, **routes[key]}
    return routes, added


def _is_for(key: str, route: object, own: Mapping[str, str]) -> bool:
    """Return True if a route, as it is written, is for a Service."""
    if not isinstance(route, dict):
        return False
    written = {"service": key, "namespace": own["namespace"], **cast("dict[str, Any]", route)}
    return all(written[name] == value for name, value in own.items())


def own_parts(settings: Settings) -> OwnParts:
    """Return the Services and namespaces that the stack makes itself."""
    apps = _apps(settings, {})
    of_apps = {app.namespace for app in apps} - settings.namespaces.keys()
    made = {name for name, chosen in settings.namespaces.items() if chosen.create}
    joined = {name for name, chosen in settings.namespaces.items() if chosen.inject}
    services = frozenset((service.namespace, service.name) for app in apps for service in app.services)
    return OwnParts(services, frozenset(of_apps | made), frozenset(of_apps | joined))


def installs(settings: Settings) -> bool:
    """Return whether the stack installs its mesh."""
    return settings.section(MESHES[settings.mesh].settings).install


def request(settings: Settings, source: Charts, now: datetime, view: ClusterView | None = None) -> MeshRequest:
    """Return the input of `Mesh.plan`."""
    return MeshRequest(
        settings=settings,
        mtls=settings.mtls,
        gateways=gateways.declared(settings)[0],
        charts=source.source,
        charts_version=source.version,
        secret=settings.secret,
        now=now,
        read_file=read_file,
        mtls_is_set="mtls" in settings.model_fields_set,
        view=view,
    )


def read_file(path: str, most_bytes: int) -> str:
    """Read a file that the configuration names.

    Raises:
        OSError: It can't be read; the text is the reason.
    """
    try:
        return files.text(files.expand_path(path), most_bytes)
    except files.UnreadableError as error:
        raise OSError(str(error)) from None


def _addons(settings: Settings, mesh: MeshPlan, source: ChartSource, traffic: Compilation) -> tuple[AddonPlan, ...]:
    kind = MESHES[mesh.name]
    membership = kind.join(MeshNamespaceArgs(name=mesh.name, mesh=mesh.name, **mesh.membership))
    accounts = [kind.gateway_account(one, settings) for one in gateways.declared(settings)[0]]
    known = (*kind.addons, *ADDONS.values())
    asked = AddonRequest(
        settings=settings,
        mesh=mesh.name,
        args=mesh.args,
        version=mesh.version,
        control_plane=mesh.output["namespace"],
        metrics=kind.metrics,
        membership=(membership.labels, membership.annotations),
        namespaces=sorted(own_parts(settings).joined),
        routes=traffic.planned,
        charts=source,
        plane=kind.security,
        collector_in_mesh=kind.collector_in_mesh,
        gateways=sorted({one.namespace for one in accounts if one}),
        readers=_readers(settings, known),
        scrapers=sorted({one.namespace for addon in known for one in addon.scrapers(settings) if one}),
    )
    wanted = [(addon, addon.args(asked)) for addon in known]
    return tuple(addon.plan(args) for addon, args in wanted if args is not None)


def _readers(settings: Settings, known: Sequence[Addon[Any]]) -> dict[str, list[str]]:
    """Return for each add-on the namespaces of those that connect to it."""
    there = [(addon, namespace) for addon in known if (namespace := addon.namespace_in(settings))]
    return {one.name: sorted({where for addon, where in there if one.name in addon.reads}) for one in known}


def _apps(settings: Settings, annotations: patches.Annotations) -> tuple[AppPlan[Any], ...]:
    """Plan the applications, with the annotations that routes require on their Services."""
    apps = [APPS[name] for name in dict.fromkeys(settings.apps)]
    return tuple(app.plan(settings, annotations.get(settings.section(app.section).namespace, {})) for app in apps)


def _namespace(app: AppPlan[Any], mesh: MeshPlan, annotations: Mapping[str, Mapping[str, str]]) -> Mapping[str, Any]:
    of_policy = dict(annotations.get(app.namespace, {}))
    args = MeshNamespaceArgs(name=app.namespace, mesh=mesh.name, annotations=of_policy, **mesh.membership)
    return metadata(args)
