"""The program: configuration -> settings -> cluster view -> plan -> register -> outputs."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pulumi

from components.addons.interface import AddonChart, AddonPlan
from components.apps import APPS
from components.apps.interface import AppPlan
from components.diagnostics import ConfigurationError, errors, render
from components.gateway_api import GatewayApi
from components.gateways.component import Gateways, GatewaysArgs, TlsSecretArgs
from components.gateways.model import Gateway
from components.manifests import Manifest
from components.meshes import MESHES
from components.meshes.interface import MeshPlan, Registered
from components.namespace import Joined, JoinedNamespace, Namespace
from components.resources import PLUGIN_VERSION
from components.security import order
from components.security.component import Security, SecurityArgs
from components.telemetry.component import Telemetry
from components.telemetry.plane import TelemetryPlan
from components.traffic import dependencies
from components.traffic.component import Traffic, TrafficArgs
from stacks import charts, checks, gateways, plan, preflight, settings, state, traffic_file
from stacks.cluster import Cluster, connect
from stacks.gateways import MOST_PEM, GatewaysPlan
from stacks.hooks import transformation
from stacks.outputs import outputs, overridden
from stacks.overrides import located
from stacks.ownership import Claims
from stacks.plan import Plan
from stacks.security import Secured
from stacks.settings import ClusterSettings, RawConfig, Settings
from stacks.state import Stack

Options = Callable[..., pulumi.ResourceOptions]
"""Returns the options of a component that depends on the given resources."""
Made = Mapping[str, Registered]
"""The registered steps, by name."""


class Prepared(NamedTuple):
    """A stack whose configuration and cluster have no error.

    Attributes:
        settings: Its settings.
        plan: What it will have.
        claims: The owners of existing objects.
        cluster: The API of its cluster.
    """

    settings: Settings
    plan: Plan
    claims: Claims
    cluster: Cluster


Address = Callable[[Gateway], str | None]
"""Returns the address of a gateway, None without one."""


def _no_address(gateway: Gateway) -> None:
    del gateway


class Step(NamedTuple):
    """A part of the plan that is registered.

    Attributes:
        name: Name by which later steps depend on it.
        after: The steps that it depends on.
        register: Registers it.
    """

    name: str
    after: tuple[str, ...]
    register: Callable[[Options, Made], Registered]


def run() -> None:
    """Run the whole program.

    Raises:
        ConfigurationError: The configuration or the cluster is refused, before the first resource.
    """
    owner = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    prepared = prepare(settings.read_config(), Stack(owner, state.reader(), os.environ))
    pulumi.runtime.register_stack_transformation(transformation(*prepared, owner))
    address = partial(gateways.address, cluster=prepared.cluster)
    later = register(prepared.plan, provider(prepared.settings.cluster), address)
    for name, value in (outputs(prepared.plan) | overridden(prepared.settings) | later).items():
        pulumi.export(name, value)


def prepare(config: RawConfig, stack: Stack) -> Prepared:
    """Validate the stack as far as possible before the first resource.

    Args:
        config: As Pulumi hands it over.
        stack: The stack.

    Raises:
        ConfigurationError: With all diagnostics.
    """
    chosen, diagnostics = settings.load(config, stack.name)
    chosen, more = traffic_file.with_file(chosen, Path.cwd())
    diagnostics += more
    cluster, view, more = connect(chosen.cluster, stack.environ)
    diagnostics += more
    planned, diagnostics = plan.build(chosen, diagnostics, stack, view)
    claims = None
    if planned is not None and view is not None:
        claims, more = checks.check(chosen, planned, stack, view)
        diagnostics += [*more, *charts.unreachable(planned.releases)]
        if chosen.preflight.before == "up" and cluster is not None and not errors(diagnostics):
            diagnostics += preflight.findings(chosen, planned, stack.owner, cluster, view)
    diagnostics = located(diagnostics, chosen.origins)
    if planned is None or claims is None or cluster is None or errors(diagnostics):
        raise ConfigurationError(diagnostics)
    if diagnostics:
        only_notes = all(diagnostic.severity == "info" for diagnostic in diagnostics)
        (pulumi.log.info if only_notes else pulumi.log.warn)(render(diagnostics))
    return Prepared(chosen, planned, claims, cluster)


def steps(planned: Plan, address: Address = _no_address) -> list[Step]:
    """Return the steps in order of registration, with their dependencies; arguments as for `register`."""
    mesh = ("gateway-api", "mesh")
    made = {item["name"]: item for item in planned.namespaces}
    joined = {item.name: item for item in planned.joined}
    namespaces = [
        Step(f"namespace-{name}", mesh, partial(_namespace, made.get(name), joined.get(name)))
        for name in dict.fromkeys((*made, *joined))
    ]
    inside = (*mesh, *(step.name for step in namespaces))
    # Before whatever it is about is there, and removed after it: so nothing is open that the policy closes.
    guards = [Step("security", inside, partial(_security, planned.security))] if planned.security.manifests else []
    guarded = tuple(step.name for step in guards)
    told = [Step("telemetry", inside, partial(_telemetry, planned.telemetry))] if planned.telemetry.objects else []
    apps = [Step(app.name, (*mesh, f"namespace-{app.namespace}", *guarded), partial(_app, app)) for app in planned.apps]
    wanted = planned.gateways.objects or planned.gateways.files
    inside += guarded
    entrances = [Step("gateways", inside, partial(_gateways, planned.gateways, address))] if wanted else []
    before = (*mesh, *(step.name for step in (*guards, *entrances, *namespaces, *apps)))
    return [
        Step("gateway-api", (), partial(_gateway_api, planned.gateway_api)),
        Step("mesh", ("gateway-api",), partial(_mesh, planned.mesh)),
        # Nothing depends on add-ons: applications work without them.
        *(Step(addon.name, mesh, partial(_addon, addon)) for addon in planned.addons),
        *namespaces,
        *guards,
        *told,
        *entrances,
        *apps,
        Step("traffic", before, partial(_traffic, planned)),
    ]


def register(
    planned: Plan, kubernetes: pulumi.ProviderResource, address: Address = _no_address
) -> dict[str, pulumi.Input[Any]]:
    """Register a plan, step by step.

    Args:
        planned: The plan.
        kubernetes: The Kubernetes provider.
        address: Returns the address of a gateway once it is deployed.

    Returns:
        The stack outputs that are known only at deployment.
    """
    made: dict[str, Registered] = {}
    outputs: dict[str, pulumi.Input[Any]] = {}
    for step in steps(planned, address):
        after = [resource for name in step.after for resource in made[name].after]
        made[step.name] = step.register(partial(_options, kubernetes, *after), made)
        outputs |= made[step.name].outputs
    return outputs


def _options(kubernetes: pulumi.ProviderResource, *after: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(providers=[kubernetes], depends_on=list(after))


def _gateway_api(objects: Sequence[Manifest], options: Options, _: Made) -> Registered:
    return Registered((GatewayApi("gateway-api", {"objects": list(objects)}, options()),) if objects else ())


def _mesh(mesh: MeshPlan, options: Options, _: Made) -> Registered:
    if mesh.existing is None:
        return MESHES[mesh.name].register(mesh, options)
    return Registered(tuple(Namespace(f"namespace-{item['name']}", item, options()) for item in mesh.namespaces))


def _addon(addon: AddonPlan, options: Options, made: Made) -> Registered:
    return Registered((AddonChart(addon, made["mesh"].addon_values.get(addon.name, {}), options()),))


def _security(planned: Secured, options: Options, _: Made) -> Registered:
    args = SecurityArgs(objects=list(planned.manifests), after=order.dependencies(planned.guarded.objects))
    return Registered((Security("security", args, options()),))


def _telemetry(planned: TelemetryPlan, options: Options, _: Made) -> Registered:
    return Registered((Telemetry("telemetry", {"objects": list(planned.objects)}, options()),))


def _gateways(planned: GatewaysPlan, address: Address, options: Options, _: Made) -> Registered:
    secrets = [
        TlsSecretArgs(
            name=name,
            namespace=namespace,
            certificate=pulumi.Output.secret(plan.read_file(certificate, MOST_PEM)),
            key=pulumi.Output.secret(plan.read_file(key, MOST_PEM)),
        )
        for (namespace, name), (certificate, key) in planned.files.items()
    ]
    args = GatewaysArgs(objects=list(planned.objects), secrets=secrets)
    made = Gateways("gateways", args, options())
    found = made.ready.apply(lambda _: gateways.output(planned, address))
    return Registered((made,), outputs={"gateways": found})


def _namespace(metadata: Mapping[str, Any] | None, joined: Joined | None, options: Options, _: Made) -> Registered:
    made: list[pulumi.Resource] = []
    if metadata is not None:
        made.append(Namespace(f"namespace-{metadata['name']}", metadata, options()))
    if joined is not None and not joined.is_empty:
        made.append(JoinedNamespace(f"namespace-{joined.name}", joined, options(*made)))
    return Registered(tuple(made))


def _app(app: AppPlan[Any], options: Options, made: Made) -> Registered:
    return Registered((APPS[app.name].register(app, made["mesh"].pod_annotations, options()),))


def _traffic(planned: Plan, options: Options, _: Made) -> Registered:
    objects, prefix = planned.delivery.objects, planned.delivery.release_prefix
    if not (objects or planned.patches):
        return Registered(())
    after = dependencies(planned.traffic.objects)
    args = TrafficArgs(objects=list(objects), after=after, patches=list(planned.patches), release=prefix)
    return Registered((Traffic("traffic", args, options()),))


def provider(cluster: ClusterSettings) -> pulumi.ProviderResource:
    """Return the Kubernetes provider of the stack: its `kubernetes:*` keys, and upsert, which recovery needs.

    It is made without pulumi_kubernetes.Provider, which would write the path in KUBECONFIG into the state: every
    machine with another path would then see a change.
    """
    inputs = {"upsertExistingObjects": "true"} | cluster.provider
    return pulumi.ProviderResource(
        "kubernetes",
        "cluster",
        {key: pulumi.Output.secret(value) if key in cluster.secret else value for key, value in inputs.items()},
        pulumi.ResourceOptions(version=PLUGIN_VERSION),
    )
