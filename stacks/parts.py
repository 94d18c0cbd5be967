"""What moves to components/meshes and components/apps: how each mesh and application is planned and registered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pulumi

from components.apps import bookinfo, emojivoto
from components.apps.bookinfo import Bookinfo, BookinfoArgs
from components.apps.emojivoto import Emojivoto, EmojivotoArgs
from components.diagnostics import Diagnostic
from components.helm import HelmRelease
from components.manifests import ObjectRef
from components.meshes.istio import component as istio
from components.meshes.istio.component import Istio, IstioArgs
from components.meshes.istio.mutual_tls import peer_authentication
from components.meshes.linkerd import component as linkerd
from components.meshes.linkerd import viz
from components.meshes.linkerd.component import RESTART_KEY, Certificates, Linkerd, LinkerdArgs, node_faults
from components.meshes.linkerd.identity import clock
from components.meshes.linkerd.identity.component import CONTROL_PLANE_WEBHOOKS, VIZ_WEBHOOKS, Identity, IdentityPlan
from components.meshes.linkerd.viz import Viz, VizArgs
from components.namespace import MeshNamespaceArgs
from components.traffic import Service
from stacks import identity, versions
from stacks.charts import Charts
from stacks.cluster import ClusterView
from stacks.settings import Settings, plain

Annotations = Mapping[str, Mapping[str, str]]


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


def _istio(settings: Settings, charts: Charts, environ: Mapping[str, str]) -> tuple[MeshPlan, list[Diagnostic]]:
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
    del environ
    plan = MeshPlan(
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
    return plan, []


def _linkerd(settings: Settings, charts: Charts, environ: Mapping[str, str]) -> tuple[MeshPlan, list[Diagnostic]]:
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
    certificates, diagnostics = _identity(settings, linkerd.trust_domain(args), environ)
    plan = MeshPlan(
        kind="linkerd",
        args={"linkerd": args, "viz": extension if enabled else None},
        releases=(*linkerd.releases(args), *(viz.releases(extension) if enabled else ())),
        namespaces=tuple(namespaces),
        objects=(),
        identity=certificates,
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
    return plan, diagnostics


def _bookinfo(settings: Settings, annotations: Annotations) -> AppPlan:
    chosen = settings.bookinfo
    args = cast(
        "bookinfo.BookinfoArgs",
        {
            "namespace": chosen.namespace,
            "registry": chosen.registry or versions.BOOKINFO_REGISTRY,
            "tag": chosen.tag or versions.BOOKINFO,
            "replicas": chosen.replicas,
            **_set(resources=plain(chosen.resources), image_pull_secrets=list(chosen.image_pull_secrets) or None),
            **_set(service_annotations=annotations or None),
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


def _emojivoto(settings: Settings, annotations: Annotations) -> AppPlan:
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
            **_set(service_annotations=annotations or None),
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


MESHES: dict[str, Callable[[Settings, Charts, Mapping[str, str]], tuple[MeshPlan, list[Diagnostic]]]] = {
    "istio": _istio,
    "linkerd": _linkerd,
}
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
APPS: dict[str, Callable[[Settings, Annotations], AppPlan]] = {"bookinfo": _bookinfo, "emojivoto": _emojivoto}


def check_cluster(plan: MeshPlan, view: ClusterView) -> list[Diagnostic]:
    """Report what the cluster lacks for a mesh."""
    return node_faults(plan.args["linkerd"], view.objects("v1", "Node")) if plan.kind == "linkerd" else []


def _identity(
    settings: Settings, domain: str, environ: Mapping[str, str]
) -> tuple[IdentityPlan | None, list[Diagnostic]]:
    try:
        now = clock.now(environ)
    except ValueError as error:
        return None, [Diagnostic("MSH221", clock.VARIABLE, None, f"{error}.")]
    return identity.inspect(settings.identity, domain, now, Path.cwd(), is_secret="identity" in settings.secret)


def register_mesh(plan: MeshPlan, options: Callable[..., pulumi.ResourceOptions]) -> "Registered":
    """Register a mesh."""
    return _REGISTER[plan.kind](plan, options)


def register_app(
    plan: AppPlan, pod_annotations: Mapping[str, pulumi.Input[str]], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """Register an application."""
    return _APPS[plan.name]({**plan.args, "pod_annotations": dict(pod_annotations)}, opts)


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


def _register_istio(planned: MeshPlan, options: Callable[..., pulumi.ResourceOptions]) -> Registered:
    return Registered((Istio("istio", cast("IstioArgs", planned.args), options()),))


def _register_linkerd(planned: MeshPlan, options: Callable[..., pulumi.ResourceOptions]) -> Registered:
    args, extension = planned.args["linkerd"], planned.args["viz"]
    webhooks = {key: (service, args["namespace"]) for key, service in CONTROL_PLANE_WEBHOOKS.items()}
    if extension:
        webhooks |= {key: (service, extension["namespace"]) for key, service in VIZ_WEBHOOKS.items()}
    certificates = Identity("identity", cast("IdentityPlan", planned.identity), webhooks)
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


_REGISTER: dict[str, Callable[[MeshPlan, Callable[..., pulumi.ResourceOptions]], Registered]] = {
    "istio": _register_istio,
    "linkerd": _register_linkerd,
}
_APPS: dict[str, Callable[[Any, pulumi.ResourceOptions], pulumi.Resource]] = {
    "bookinfo": lambda args, opts: Bookinfo("bookinfo", cast("BookinfoArgs", args), opts),
    "emojivoto": lambda args, opts: Emojivoto("emojivoto", cast("EmojivotoArgs", args), opts),
}


def _set(**values: Any) -> dict[str, Any]:
    """The values that are not None."""
    return {key: value for key, value in values.items() if value is not None}
