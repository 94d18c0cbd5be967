"""Settings -> Plan: all that a stack will have, as plain data, in order.

A mesh is a function in MESHES, an application one in APPS. Both take the settings and return what to register; the
classes that register it are in stacks/program.py under the same names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from components.apps import bookinfo, emojivoto
from components.diagnostics import Diagnostic, errors
from components.helm import HelmRelease
from components.manifests import Manifest, ObjectRef, object_ref
from components.meshes.istio import component as istio
from components.meshes.istio.component import IstioArgs
from components.meshes.istio.mutual_tls import peer_authentication
from components.meshes.linkerd import component as linkerd
from components.meshes.linkerd import viz
from components.meshes.linkerd.component import LinkerdArgs
from components.meshes.linkerd.identity.component import IdentityPlan
from components.namespace import MeshNamespaceArgs
from components.traffic import Compilation, Service, compile_routes, parse
from components.traffic.model import CLUSTER_DOMAIN, Mesh
from stacks import versions
from stacks.charts import Charts
from stacks.settings import Settings, plain


@dataclass(frozen=True)
class MeshPlan:
    """The mesh.

    Attributes:
        kind: `istio` or `linkerd`.
        args: The arguments of its component.
        releases: What the component will install.
        namespaces: The namespaces that it will make.
        objects: Further objects that it will make.
        revision: The revision that namespaces name to be in the mesh, "" for the default.
        output: The stack output `mesh`.
        identity: Linkerd's certificates.
        dashboards: The stack output `dashboards`.
    """

    kind: str
    args: Mapping[str, Any]
    releases: tuple[HelmRelease, ...]
    namespaces: tuple[MeshNamespaceArgs, ...]
    objects: tuple[ObjectRef, ...]
    revision: str
    output: Mapping[str, Any]
    identity: IdentityPlan | None = None
    dashboards: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class AppPlan:
    """A sample application.

    Attributes:
        name: The name of it in `meshup:apps`.
        namespace: Its namespace.
        args: The arguments of its component.
        objects: What the component will make.
        services: Its Services, for routes.
        entry: The Service that a person opens, its port, and the path.
    """

    name: str
    namespace: str
    args: Mapping[str, Any]
    objects: tuple[Mapping[str, Any], ...]
    services: tuple[Service, ...]
    entry: tuple[str, int, str]


@dataclass(frozen=True)
class Plan:
    """All that a stack will have."""

    mesh: MeshPlan
    namespaces: tuple[MeshNamespaceArgs, ...] = ()
    apps: tuple[AppPlan, ...] = ()
    traffic: Compilation = field(default_factory=Compilation)
    gateway_api: tuple[Manifest, ...] = ()
    patches: tuple[Manifest, ...] = ()
    """Annotations for Services that somebody else makes (stacks/patches.py)."""
    release: str = ""
    """What the names of the Helm releases of the traffic begin with; "" if each object is a resource."""
    taken: Mapping[ObjectRef, str] = field(default_factory=dict[ObjectRef, str])
    """Objects of the stack that do not carry its annotation yet, with the URN that they have in its state."""
    former: frozenset[str] = frozenset()
    """The names of the stack that they carry instead."""

    def objects(self) -> list[ObjectRef]:
        """Return every object that the stack will make, so without those of other people's charts."""
        namespaces = [ObjectRef("v1", "Namespace", item["name"]) for item in (*self.mesh.namespaces, *self.namespaces)]
        apps = [object_ref(item) for app in self.apps for item in app.objects]
        crds = [object_ref(item) for item in self.gateway_api]
        return [*crds, *namespaces, *self.mesh.objects, *apps, *(object_ref(item) for item in self.traffic.objects)]


def _istio(settings: Settings, charts: Charts) -> MeshPlan:
    chosen = settings.istio
    version = chosen.version or charts.version or versions.ISTIO
    args = cast(
        "IstioArgs",
        {
            "version": version,
            "charts": charts.source,
            "namespace": chosen.namespace,
            "gateway_namespace": chosen.gateway_namespace,
            "profile": chosen.profile,
            "access_log": chosen.access_log,
            "mtls": settings.mtls,
            "egress": chosen.egress,
            "webhooks": chosen.webhooks,
            "timeout": chosen.timeout_seconds,
            "values": chosen.values,
            "gateways": [
                cast(
                    "istio.Gateway",
                    _set(
                        name=gateway.name,
                        service_type=gateway.service_type,
                        replicas=gateway.replicas,
                        autoscaling=plain(gateway.autoscaling),
                        resources=plain(gateway.resources),
                    ),
                )
                for gateway in chosen.gateways
            ],
            **_set(
                revision=chosen.revision,
                replicas=chosen.replicas,
                autoscaling=plain(chosen.autoscaling),
                resources=plain(chosen.resources),
                proxy_resources=plain(chosen.proxy_resources),
                trace_sampling=chosen.trace_sampling,
                hub=chosen.hub,
                tag=chosen.tag,
                image_pull_secrets=list(chosen.image_pull_secrets) or None,
            ),
        },
    )
    policy = peer_authentication(settings.mtls)
    return MeshPlan(
        kind="istio",
        args=args,
        releases=tuple(istio.releases(args)),
        namespaces=tuple(istio.namespaces(args)),
        objects=(ObjectRef("security.istio.io/v1", "PeerAuthentication", policy["name"], chosen.namespace),),
        revision=chosen.revision or "",
        output={
            "kind": "istio",
            "version": version,
            "namespace": chosen.namespace,
            "revision": chosen.revision or "default",
            "mtls": settings.mtls,
            "injection": chosen.webhooks,
            "gateways": [gateway.name for gateway in chosen.gateways],
            "keptOnDestroy": {
                "objects": [
                    *(f"CustomResourceDefinition/{name}" for name in istio.CRDS),
                    *(f"ConfigMap/*/{name}" for name in istio.CONFIG_MAPS),
                ],
                "commands": [
                    "kubectl delete customresourcedefinition " + " ".join(istio.CRDS),
                    *(
                        f"kubectl delete configmap --all-namespaces --field-selector metadata.name={name}"
                        for name in istio.CONFIG_MAPS
                    ),
                ],
            },
        },
    )


def _linkerd(settings: Settings, charts: Charts) -> MeshPlan:
    chosen = settings.linkerd
    version = chosen.version or charts.version or versions.LINKERD
    args = cast(
        "LinkerdArgs",
        {
            "version": version,
            "charts": charts.source,
            "namespace": chosen.namespace,
            "cluster_domain": chosen.cluster_domain,
            "high_availability": chosen.high_availability,
            "mtls": settings.mtls,
            "cni": chosen.cni,
            "heartbeat": chosen.heartbeat,
            "external_ca": settings.identity.external_ca,
            "timeout": chosen.timeout_seconds,
            "values": chosen.values,
            **_set(
                trust_domain=chosen.trust_domain,
                webhook_failure_policy=chosen.webhook_failure_policy,
                proxy_resources=plain(chosen.proxy_resources),
                proxy_log_level=chosen.proxy_log_level,
                log_level=chosen.log_level,
                log_format=chosen.log_format,
                native_sidecar=chosen.native_sidecar,
                opaque_ports=chosen.opaque_ports,
                skip_inbound_ports=chosen.skip_inbound_ports,
                skip_outbound_ports=chosen.skip_outbound_ports,
                cluster_networks=chosen.cluster_networks,
                tracing=chosen.tracing.model_dump() if chosen.tracing else None,
                registry=chosen.registry,
                image_pull_secrets=list(chosen.image_pull_secrets) or None,
            ),
        },
    )
    extension = cast(
        "viz.VizArgs",
        {
            "linkerd": args,
            "namespace": chosen.viz.namespace,
            **_set(prometheus_url=chosen.viz.prometheus_url, dashboard_hosts=chosen.viz.dashboard_hosts),
        },
    )
    enabled = chosen.viz.enabled
    namespaces = linkerd.namespaces(args)
    if enabled:
        namespaces.append(viz.namespace(extension))
    return MeshPlan(
        kind="linkerd",
        args={"linkerd": args, "viz": extension if enabled else None},
        releases=(*linkerd.releases(args), *(viz.releases(extension) if enabled else ())),
        namespaces=tuple(namespaces),
        objects=(),
        revision="",
        output={
            "kind": "linkerd",
            "version": version,
            "namespace": chosen.namespace,
            "revision": "default",
            "mtls": settings.mtls,
            "injection": True,
            "gateways": [],
            "highAvailability": chosen.high_availability,
            "trustDomain": linkerd.trust_domain(args),
            "keptOnDestroy": {"objects": [], "commands": []},
        },
        dashboards={"linkerd-viz": viz.access(extension)} if enabled else {},
    )


def _bookinfo(settings: Settings) -> AppPlan:
    chosen = settings.bookinfo
    args = cast(
        "bookinfo.BookinfoArgs",
        {
            "namespace": chosen.namespace,
            "registry": chosen.registry or versions.BOOKINFO_REGISTRY,
            "tag": chosen.tag or versions.BOOKINFO,
            "replicas": chosen.replicas,
            **_set(resources=plain(chosen.resources), image_pull_secrets=list(chosen.image_pull_secrets) or None),
        },
    )
    return AppPlan(
        name="bookinfo",
        namespace=chosen.namespace,
        args=args,
        objects=tuple(bookinfo.manifests(args)),
        services=tuple(bookinfo.services(chosen.namespace)),
        entry=("productpage", bookinfo.PORT, "/productpage"),
    )


def _emojivoto(settings: Settings) -> AppPlan:
    chosen = settings.emojivoto
    tag = chosen.tag or versions.EMOJIVOTO
    args = cast(
        "emojivoto.EmojivotoArgs",
        {
            "namespace": chosen.namespace,
            "registry": chosen.registry or versions.EMOJIVOTO_REGISTRY,
            "tag": tag,
            "version": versions.EMOJIVOTO,
            "web_versions": chosen.web_versions or {versions.EMOJIVOTO: tag},
            "vote_bot": chosen.vote_bot,
            "replicas": chosen.replicas,
            **_set(resources=plain(chosen.resources), image_pull_secrets=list(chosen.image_pull_secrets) or None),
        },
    )
    return AppPlan(
        name="emojivoto",
        namespace=chosen.namespace,
        args=args,
        objects=tuple(emojivoto.manifests(args)),
        services=tuple(emojivoto.services(chosen.namespace, versions.EMOJIVOTO, chosen.web_versions)),
        entry=("web-svc", emojivoto.WEB_PORT, "/"),
    )


MESHES: dict[str, Callable[[Settings, Charts], MeshPlan]] = {"istio": _istio, "linkerd": _linkerd}
CHARTS: dict[str, Callable[[Settings], tuple[str, ...]]] = {
    "istio": lambda settings: ("base", "istiod", "gateway") if settings.istio.gateways else ("base", "istiod"),
    "linkerd": lambda settings: (
        "linkerd-crds",
        "linkerd-control-plane",
        *(("linkerd2-cni",) if settings.linkerd.cni else ()),
        *(("linkerd-viz",) if settings.linkerd.viz.enabled else ()),
    ),
}
"""The charts that a mesh needs."""
APPS: dict[str, Callable[[Settings], AppPlan]] = {"bookinfo": _bookinfo, "emojivoto": _emojivoto}


def plan(settings: Settings, charts: Charts) -> tuple[Plan, list[Diagnostic]]:
    """Decide what the stack will have. The same settings give the same plan.

    Returns:
        The plan and what is to be said about its traffic. With an error among it, the plan has no traffic.
    """
    mesh = MESHES[settings.mesh](settings, charts)
    apps = tuple(APPS[name](settings) for name in dict.fromkeys(settings.apps))
    traffic, said = compiled(settings, [service for app in apps for service in app.services])
    namespaces: list[MeshNamespaceArgs] = []
    for app in apps:
        namespace: MeshNamespaceArgs = {"name": app.namespace, "mesh": mesh.kind}
        if mesh.revision:
            namespace["revision"] = mesh.revision
        namespaces.append(namespace)
    if errors(said):
        traffic = Compilation()
    patched = tuple(_patched(app, traffic) for app in apps)
    return Plan(mesh, tuple(namespaces), patched, traffic, patches=_foreign(apps, traffic)), said


def compiled(
    settings: Settings, services: Sequence[Service], mesh: Mesh | None = None
) -> tuple[Compilation, list[Diagnostic]]:
    """Read and compile the traffic of a stack.

    Args:
        settings: The settings of the stack.
        services: The Services of its applications.
        mesh: A mesh to compile for in place of the stack's own.

    Returns:
        What was compiled, and all that is to be said about it.
    """
    target = mesh or settings.mesh
    domain = settings.linkerd.cluster_domain if target == "linkerd" else CLUSTER_DOMAIN
    routes, faults = parse(settings.traffic, "meshup:traffic", services, domain)
    traffic = compile_routes(routes, target, services, settings.mtls)
    return traffic, [*faults, *traffic.diagnostics]


def _patched(app: AppPlan, traffic: Compilation) -> AppPlan:
    """The application with the annotations that the traffic asks for on its Services."""
    annotations = {
        patch["metadata"]["name"]: dict(patch["metadata"]["annotations"])
        for patch in traffic.patches
        if patch["metadata"]["namespace"] == app.namespace
    }
    return replace(app, args={**app.args, "service_annotations": annotations}) if annotations else app


def _foreign(apps: Sequence[AppPlan], traffic: Compilation) -> tuple[Manifest, ...]:
    """The patches of Services which no application of the stack makes."""
    ours = {(service.namespace, service.name) for app in apps for service in app.services}
    return tuple(
        patch for patch in traffic.patches if (patch["metadata"]["namespace"], patch["metadata"]["name"]) not in ours
    )


def needs_gateway_api(settings: Settings, planned: Plan) -> bool:
    """Whether the bundle has to be there: for Linkerd always, for Istio if a route is one of its kinds."""
    group = "gateway.networking.k8s.io/"
    return settings.mesh == "linkerd" or any(item["apiVersion"].startswith(group) for item in planned.traffic.objects)


def _set(**values: Any) -> dict[str, Any]:
    """The values that are not None."""
    return {key: value for key, value in values.items() if value is not None}
