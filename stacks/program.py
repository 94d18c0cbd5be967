"""The thin shell of the program: look at the cluster, register the plan, export. It decides nothing."""

import importlib.metadata
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pulumi

from components import gateway_api as bundle
from components.apps.bookinfo import Bookinfo, BookinfoArgs
from components.apps.emojivoto import Emojivoto, EmojivotoArgs
from components.diagnostics import ConfigurationError, Diagnostic, errors, render
from components.gateway_api import GatewayApi
from components.manifests import ObjectRef, object_ref
from components.meshes.istio.component import Istio, IstioArgs
from components.meshes.linkerd.component import (
    RESTART_KEY,
    Certificates,
    Linkerd,
    LinkerdArgs,
    node_faults,
    trust_domain,
)
from components.meshes.linkerd.identity import clock
from components.meshes.linkerd.identity.component import CONTROL_PLANE_WEBHOOKS, VIZ_WEBHOOKS, Identity, IdentityPlan
from components.meshes.linkerd.viz import Viz, VizArgs
from components.namespace import MeshNamespace
from components.traffic.component import Traffic, TrafficArgs
from stacks import (
    charts,
    delivery,
    gateway_api,
    identity,
    kubeconfig,
    other_meshes,
    ownership,
    patches,
    settings,
    state,
    traffic_file,
    versions,
)
from stacks.cluster import Cluster, ClusterError, ClusterView, check_version
from stacks.hooks import transformation
from stacks.outputs import outputs
from stacks.plan import CHARTS, Plan, needs_gateway_api, plan
from stacks.settings import ClusterSettings, RawConfig, Settings
from stacks.state import Reader


@dataclass(frozen=True)
class Registered:
    """A mesh that is registered.

    Attributes:
        after: What applications wait for.
        pod_annotations: What their pods carry, so that they restart when the mesh needs it.
        outputs: Stack outputs that are known only at deployment.
    """

    after: tuple[pulumi.Resource, ...]
    pod_annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    outputs: Mapping[str, pulumi.Input[Any]] = field(default_factory=dict[str, pulumi.Input[Any]])


def _istio(planned: Plan, options: Callable[..., pulumi.ResourceOptions]) -> Registered:
    return Registered((Istio("istio", cast("IstioArgs", planned.mesh.args), options()),))


def _linkerd(planned: Plan, options: Callable[..., pulumi.ResourceOptions]) -> Registered:
    args, extension = planned.mesh.args["linkerd"], planned.mesh.args["viz"]
    webhooks = {key: (service, args["namespace"]) for key, service in CONTROL_PLANE_WEBHOOKS.items()}
    if extension:
        webhooks |= {key: (service, extension["namespace"]) for key, service in VIZ_WEBHOOKS.items()}
    certificates = Identity("identity", cast("IdentityPlan", planned.mesh.identity), webhooks)
    args = cast("LinkerdArgs", {**args, "certificates": _certificates(certificates)})
    mesh = Linkerd("linkerd", args, options())
    if extension:
        # Applications do not wait for it: it watches them, and they do without.
        Viz("viz", cast("VizArgs", {**extension, "linkerd": args}), options(mesh))
    restart = {} if certificates.issuer is None else {RESTART_KEY: certificates.restart_hash}
    return Registered((mesh,), restart, {"identity": certificates.summary})


def _certificates(made: Identity) -> Certificates:
    certificates: Certificates = {
        "webhooks": [
            {"webhook": key, "certificate": pair.certificate_pem, "key": pair.private_key_pem}
            for key, pair in made.webhooks.items()
        ]
    }
    if made.issuer is not None:
        certificates["trust_bundle"] = made.trust_bundle
        certificates["issuer_certificate"] = made.issuer.certificate_pem
        certificates["issuer_key"] = made.issuer.private_key_pem
        certificates["restart_hash"] = made.restart_hash
    return certificates


MESHES: dict[str, Callable[[Plan, Callable[..., pulumi.ResourceOptions]], Registered]] = {
    "istio": _istio,
    "linkerd": _linkerd,
}
APPS: dict[str, Callable[[Any, pulumi.ResourceOptions], pulumi.Resource]] = {
    "bookinfo": lambda args, opts: Bookinfo("bookinfo", cast("BookinfoArgs", args), opts),
    "emojivoto": lambda args, opts: Emojivoto("emojivoto", cast("EmojivotoArgs", args), opts),
}


def run() -> None:
    """The whole program.

    Raises:
        ConfigurationError: The configuration or the cluster is refused, before the first resource.
    """
    owner = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    chosen, planned, cluster = prepare(settings.read_config(), pulumi.get_stack(), owner, state.reader())
    pulumi.runtime.register_stack_transformation(transformation(chosen, planned, owner, cluster))
    later = deploy(planned, provider(chosen.cluster))
    for name, value in (outputs(planned) | later).items():
        pulumi.export(name, value)


def prepare(config: RawConfig, stack: str, owner: str, states: Reader) -> tuple[Settings, Plan, Cluster]:
    """Find every fault that can be found before the first resource.

    Args:
        config: As Pulumi hands it over.
        stack: Its name.
        owner: The stack, organisation/project/stack.
        states: What reads the state of a stack. It is asked only if an object that exists lacks the annotation.

    Raises:
        ConfigurationError: With all of them.
    """
    chosen, found = settings.load(config, stack)
    chosen, faults = traffic_file.added(chosen, Path.cwd())
    found += faults
    source, faults = charts.inspect(
        chosen.charts, chosen.mesh, CHARTS[chosen.mesh](chosen), getattr(chosen, chosen.mesh).version
    )
    found += faults
    planned, said = plan(chosen, source)
    found += said
    planned, said = delivery.decide(planned, chosen.delivery, owner)
    found += said
    planned = patches.decide(planned, owner)
    if chosen.mesh == "linkerd":
        planned, faults = _with_identity(chosen, planned)
        found += faults
    target, faults = kubeconfig.find(chosen.cluster, os.environ)
    found += faults
    cluster, view = None, None
    if target:
        try:
            cluster = Cluster(target)
            view = ClusterView(cluster, cluster.version())
        except ClusterError as error:
            found += error.diagnostics
    if view is not None:
        found += check_version(view.version, versions.kubernetes(chosen.mesh, planned.mesh.output["version"]))
    if view is not None and not errors(found):
        planned, faults = _looked_at(chosen, planned, view, owner, states)
        found += [*faults, *view.diagnostics]
    if errors(found) or cluster is None:
        raise ConfigurationError(found)
    if found:
        pulumi.log.warn(render(found))
    return chosen, planned, cluster


def _looked_at(
    chosen: Settings, planned: Plan, view: ClusterView, owner: str, states: Reader
) -> tuple[Plan, list[Diagnostic]]:
    """Compare the plan with the cluster."""
    planned, found = view.conclude(lambda: _with_gateway_api(chosen, planned, view, owner, states), (planned, []))
    found += charts.unreachable(planned.mesh.releases)
    for namespace in sorted({release["namespace"] for release in planned.mesh.releases}):
        # The hooks read Helm's records there: a right that is missing shows before the first resource.
        view.metadata("v1", "Secret", namespace)
    wanted = planned.objects()
    live = view.existing(wanted)
    claims = ownership.claims(wanted, live, owner, states)
    final = replace(planned, taken=claims.taken, former=claims.former)
    found += [*claims.faults, *ownership.taken_over(claims, owner)]
    found += delivery.delivery_conflicts(final, live, owner)
    applies = chosen.cluster.provider.get("enableServerSideApply", "true").lower() != "false"
    # These are expected to be somebody else's.
    services = [object_ref(item) for item in final.patches]
    found += view.conclude(lambda: patches.check(final, view.existing(services), owner, server_side_apply=applies), [])
    found += view.conclude(lambda: _linkerd_faults(final, view), [])
    found += view.conclude(lambda: _other_meshes(final, view, owner), [])
    return final, found


def _with_identity(chosen: Settings, planned: Plan) -> tuple[Plan, list[Diagnostic]]:
    try:
        now = clock.now(os.environ)
    except ValueError as error:
        return planned, [Diagnostic("MSH221", clock.VARIABLE, None, f"{error}.")]
    domain = trust_domain(planned.mesh.args["linkerd"])
    secret = "identity" in chosen.secret
    made, faults = identity.inspect(chosen.identity, domain, now, Path.cwd(), is_secret=secret)
    return replace(planned, mesh=replace(planned.mesh, identity=made)), faults


def _with_gateway_api(
    chosen: Settings, planned: Plan, view: ClusterView, owner: str, states: Reader
) -> tuple[Plan, list[Diagnostic]]:
    """Look for the bundle on the cluster; plan our own where there is none."""
    wanted = chosen.gateway_api.install
    if not (wanted or needs_gateway_api(chosen, planned)):
        return planned, []
    crd, policy = (
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    )
    crds, guards = view.metadata(*crd), view.metadata(*policy)
    live = {
        ObjectRef(*kind, item["name"]): item
        for kind, items in ((crd, crds), (policy, guards))
        for item in items
        if bundle.is_part(item["name"])
    }
    claims = ownership.claims(live, live, owner, states)
    ours = {item.name: ownership.owner_of(live[item]) == owner or item in claims.taken for item in live}
    # Nobody's, or another stack's, is not refused here: it may serve. What two stacks have is.
    if shared := [fault for fault in claims.faults if fault.code == "MSH036"]:
        return planned, shared
    install, faults = bundle.existing(chosen.mesh, crds, guards, ours)
    if not install or errors(faults):
        return planned, faults
    if wanted is False:
        message = "There is no Gateway API on the cluster, and install is false."
        return planned, [Diagnostic("MSH313", "meshup:gatewayApi.install", False, message, "true, or a bundle")]
    objects, faults = gateway_api.load(chosen.gateway_api, chosen.charts, os.environ)
    return replace(planned, gateway_api=tuple(objects)), faults


def _linkerd_faults(planned: Plan, view: ClusterView) -> list[Diagnostic]:
    if planned.mesh.kind != "linkerd":
        return []
    return node_faults(planned.mesh.args["linkerd"], view.objects("v1", "Node"))


def _other_meshes(planned: Plan, view: ClusterView, owner: str) -> list[Diagnostic]:
    registration = "admissionregistration.k8s.io/v1"
    namespaces = view.metadata("v1", "Namespace")
    own = [
        item["name"]
        for item in namespaces
        if ownership.owner_of(item) == owner or ObjectRef("v1", "Namespace", item["name"]) in planned.taken
    ]
    listed = other_meshes.Listed(
        mutating=view.objects(registration, "MutatingWebhookConfiguration"),
        validating=view.objects(registration, "ValidatingWebhookConfiguration"),
        crds=view.metadata("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        namespaces=namespaces,
        deployments=[item for name in own for item in view.metadata("apps/v1", "Deployment", name)],
    )
    return other_meshes.check(planned, listed, own)


def deploy(planned: Plan, kubernetes: pulumi.ProviderResource) -> dict[str, pulumi.Input[Any]]:
    """Register the plan in its order: Gateway API, mesh, namespaces, applications, traffic.

    Returns:
        The stack outputs that are known only at deployment.
    """

    def options(*after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(providers=[kubernetes], depends_on=list(after))

    first: list[pulumi.Resource] = []
    if planned.gateway_api:
        first.append(GatewayApi("gateway-api", {"objects": list(planned.gateway_api)}, options()))
    mesh = MESHES[planned.mesh.kind](planned, lambda *after: options(*first, *after))
    before = (*first, *mesh.after)
    namespaces = {
        namespace["name"]: MeshNamespace(f"namespace-{namespace['name']}", namespace, options(*before))
        for namespace in planned.namespaces
    }
    apps = [
        APPS[app.name](
            {**app.args, "pod_annotations": dict(mesh.pod_annotations)}, options(*before, namespaces[app.namespace])
        )
        for app in planned.apps
    ]
    if planned.traffic.objects or planned.patches:
        traffic: TrafficArgs = {"objects": list(planned.traffic.objects), "patches": list(planned.patches)}
        if planned.release:
            traffic["release"] = planned.release
        Traffic("traffic", traffic, options(*before, *namespaces.values(), *apps))
    return dict(mesh.outputs)


def provider(cluster: ClusterSettings) -> pulumi.ProviderResource:
    """The Kubernetes provider of the stack: its `kubernetes:*` keys, and upsert, which recovery needs.

    It is made without pulumi_kubernetes.Provider, which would write the path in KUBECONFIG into the state: every
    machine with another path would then see a change.
    """
    inputs = {"upsertExistingObjects": "true"} | cluster.provider
    return pulumi.ProviderResource(
        "kubernetes",
        "cluster",
        {key: pulumi.Output.secret(value) if key in cluster.secret else value for key, value in inputs.items()},
        pulumi.ResourceOptions(version=importlib.metadata.version("pulumi_kubernetes")),
    )
