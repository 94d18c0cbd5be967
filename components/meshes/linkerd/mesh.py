"""Linkerd as a mesh of meshup: see `Mesh`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pulumi

from ...diagnostics import Diagnostic
from ...gateways.gateway_api import certificates, gateway_objects
from ...gateways.model import Gateway
from ...gateways.settings import GatewaySettings
from ...helm import HelmRelease, merged
from ...manifests import Manifest, part
from ...telemetry.model import asked
from ...traffic import gateway_api_adoption
from ...traffic.adoption import Home, Reading
from ...traffic.model import Api
from ...traffic.proxies import PortReading
from ..adoption import Adopted, HelmRecord
from ..existing import check as check_existing
from ..interface import (
    CertificatePlace,
    ClusterView,
    ExistingMesh,
    Hindrance,
    Membership,
    Mesh,
    MeshPlan,
    MeshRequest,
    Minor,
    Mtls,
    Presets,
    Registered,
    Sections,
    SectionTypes,
    Sidecar,
    Signature,
    dotted,
)
from . import adoption, existing, viz
from .component import CRDS, RESTART_KEY, Linkerd, check_nodes, gateway_namespace, namespaces, releases
from .http_route import APP_PROTOCOLS, LINKERD_ROUTE
from .identity.component import CONTROL_PLANE_WEBHOOKS, VIZ_WEBHOOKS, Identity, IdentityPlan
from .identity.decide import decide
from .identity.settings import IdentitySettings
from .membership import INJECT, LinkerdMembership, choice, is_member, join, sidecar
from .metrics import LINKERD_METRICS
from .security import LINKERD_SECURITY
from .service_profile import SERVICE_PROFILE
from .settings import Certificates, LinkerdArgs, LinkerdSettings
from .telemetry import LINKERD_TELEMETRY, tracing
from .versions import GATEWAY_API, VERSIONS

OPAQUE_PORTS = "25,587,3306,4444,5432,6379,9300,11211"
"""The default of `proxy.opaquePorts` (chart linkerd-control-plane, values.yaml)."""
CLUSTER_NETWORKS = "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8"
"""The default of `clusterNetworks` (the same)."""
PROXY_IMAGE = "cr.l5d.io/linkerd/proxy"
"""The default of `proxy.image.name` (the same)."""
SIDECAR_USER, INIT_USER = 2102, 65534
"""The users of the sidecar and of its init container (the same: proxy.uid and proxyInit.runAsUser)."""
STAND_IN = "-----BEGIN CERTIFICATE-----\nc3RhbmQtaW4=\n-----END CERTIFICATE-----\n"
"""In place of PEM that is made at deployment: the chart renders any text (edge-26.8.3)."""
NFT_KERNEL = (4, 18)
"""Linkerd's default `proxyInit.iptablesMode: nft` works with kernels that have nf_tables' compatibility layer."""
_OPAQUE = "config.linkerd.io/opaque-ports"


@dataclass(frozen=True, kw_only=True)
class LinkerdPlan(MeshPlan):
    """What Linkerd will have on the cluster; `identity` is None if somebody else has installed it."""

    args: LinkerdArgs
    identity: IdentityPlan | None


def control_plane_values(plan: LinkerdPlan) -> Mapping[str, Any]:
    """Return the values of the control plane's release; none if somebody else has installed it."""
    none: Mapping[str, Any] = {}
    return next((item["values"] for item in plan.releases if item["role"] == "control-plane"), none)


class LinkerdMesh(Mesh[LinkerdPlan]):
    """Linkerd's edge releases."""

    name = "linkerd"
    settings = LinkerdSettings
    further_sections: ClassVar[SectionTypes] = {"identity": IdentitySettings}
    versions = VERSIONS
    # Chart linkerd-control-plane, templates/proxy-injector-rbac.yaml and destination-rbac.yaml.
    signature = Signature(
        title="Linkerd",
        injectors=("linkerd-proxy-injector.linkerd.io",),
        validators=("linkerd-sp-validator.linkerd.io", "linkerd-policy-validator.linkerd.io"),
        # It is called for all namespaces and adds nothing without the annotation (pkg/inject, ShouldInject).
        opt_in=(INJECT, ("enabled", "ingress")),
        control_plane=("linkerd.io/control-plane-component", "destination"),
    )
    # Charts linkerd-control-plane and linkerd-viz: the injector, the validators of policies, the tap API.
    webhook_ports = (8443, 9443)
    # Identity, destination and policy, as the proxies ask for them (the same).
    control_plane_ports = (8080, 8086, 8090)
    gateway_api = GATEWAY_API
    targets = (LINKERD_ROUTE, SERVICE_PROFILE)
    security = LINKERD_SECURITY
    metrics = (LINKERD_METRICS,)
    collector_in_mesh = True
    telemetry = LINKERD_TELEMETRY
    addons = (viz.ADDON,)
    presets: ClassVar[Presets] = {
        "dev": {"proxyResources": {"requests": {"cpu": "10m", "memory": "20Mi"}, "limits": {"memory": "250Mi"}}},
        # Without an answer of the injector, a pod would start outside the mesh, silently.
        "staging": {"logFormat": "json", "webhookFailurePolicy": "Fail"},
        "prod": {"highAvailability": True, "webhookFailurePolicy": "Fail", "logFormat": "json"},
    }
    gateway_apis = ("gateway-api",)
    adopted_charts = ("linkerd-control-plane", "linkerd-crds")
    # pkg/inject (edge-26.8.3) writes it to every pod that it injects.
    anchors_annotation = "linkerd.io/trust-root-sha256"
    joined_by = frozenset({INJECT})
    opt_outs = frozenset({"disabled"})
    unsupported_settings: ClassVar[Mapping[str, str]] = {
        "revision": "Linkerd has one control plane per cluster, so it has no revisions.",
        "egress_hosts": "Linkerd's proxies ask for a Service when a pod calls it, so nothing is to be limited.",
    }

    def charts(self, settings: Sections) -> tuple[str, ...]:
        """Return the names of the charts, see `Mesh`."""
        cni = ("linkerd2-cni",) if settings.section(LinkerdSettings).cni else ()
        return ("linkerd-crds", "linkerd-control-plane", *cni)

    def namespaces(self, settings: Sections) -> Mapping[str, str]:
        """Return the namespaces, see `Mesh`."""
        chosen = settings.section(LinkerdSettings)
        viz = {"linkerd.viz.namespace": chosen.viz.namespace} if chosen.viz.enabled else {}
        gateways = {"linkerd.gatewayNamespace": chosen.gateway_namespace} if settings.gateways else {}
        return {"linkerd.namespace": chosen.namespace, **viz, **gateways}

    def gateway_namespace(self, settings: Sections) -> str:
        """Return `gatewayNamespace`."""
        return settings.section(LinkerdSettings).gateway_namespace

    def gateway_objects(
        self, gateway: Gateway, settings: GatewaySettings, namespaces: Sequence[str]
    ) -> Sequence[Manifest]:
        """Return the objects of a gateway, whose pods another controller makes, see `Mesh`."""
        annotations = {**settings.annotations, INJECT: "enabled"}
        made = gateway_objects(gateway, namespaces, addresses=settings.addresses, annotations=annotations)
        return [*certificates(gateway), *made]

    def trust_domain(self, settings: Sections) -> str:
        """Return the trust domain, see `Mesh`."""
        return settings.section(LinkerdSettings).identity_domain

    def cluster_domain(self, settings: Sections) -> str:
        """Return `clusterDomain`."""
        return settings.section(LinkerdSettings).cluster_domain

    def plan(self, request: MeshRequest) -> tuple[LinkerdPlan, list[Diagnostic]]:
        """Decide what Linkerd will have, see `Mesh`."""
        chosen, identity = request.settings.section(LinkerdSettings), request.settings.section(IdentitySettings)
        if not chosen.install:
            return self._existing(request)
        version = chosen.version or request.charts_version or VERSIONS.pinned
        args = chosen.extended(
            LinkerdArgs,
            version=version,
            charts=request.charts,
            mtls=request.mtls,
            with_gateway_namespace=bool(request.gateways),
            external_ca=identity.external_ca,
            tracing=chosen.tracing or tracing(asked(request.settings, self.telemetry.refusals), chosen.cluster_domain),
        )
        is_secret = "identity" in request.secret
        decided, diagnostics = decide(
            identity, args.identity_domain, request.now, request.read_file, is_secret=is_secret
        )
        if chosen.tracing and tracing(asked(request.settings, self.telemetry.refusals), args.cluster_domain):
            message = "meshup:tracing says where spans go, so it can't be said here too."
            diagnostics.append(Diagnostic("MSH007", "meshup:linkerd.tracing", None, message, "one of both"))
        planned = LinkerdPlan(
            name=self.name,
            version=version,
            args=args,
            identity=decided,
            releases=tuple(releases(args)),
            crds_role="crds",
            crds=CRDS,
            namespaces=tuple(namespaces(args)),
            output={
                "kind": self.name,
                "version": version,
                "namespace": args.namespace,
                "revision": "default",
                "mtls": args.mtls,
                "injection": True,
                "gateways": [],
                "highAvailability": args.high_availability,
                "trustDomain": args.identity_domain,
                "keptOnDestroy": {"objects": [], "commands": []},
            },
        )
        return planned, diagnostics

    def _existing(self, request: MeshRequest) -> tuple[LinkerdPlan, list[Diagnostic]]:
        """Plan with a Linkerd that somebody else has installed. Without a cluster, with the configuration alone."""
        chosen = request.settings.section(LinkerdSettings)
        domain = chosen.cluster_domain
        found, diagnostics = (None, list[Diagnostic]()) if request.view is None else existing.find(chosen, request.view)
        mesh = found or ExistingMesh(
            version=VERSIONS.pinned,
            namespace=chosen.namespace,
            trust_domain=domain,
            cluster_domain=domain,
            mtls=request.mtls,
        )
        if found is not None:
            written = domain if "cluster_domain" in chosen.model_fields_set else None
            diagnostics += check_existing(self, found, request, written)
        if request.settings.section(IdentitySettings) != IdentitySettings():
            message = "The certificates are those of the mesh that is there, since meshup:linkerd.install is false."
            diagnostics.append(Diagnostic("MSH052", "meshup:identity", None, message, "without this key"))
        version = mesh.exact_version(VERSIONS.pinned)
        known = {"namespace": mesh.namespace, "cluster_domain": mesh.cluster_domain, "trust_domain": mesh.trust_domain}
        planned = LinkerdPlan(
            name=self.name,
            version=version,
            args=chosen.extended(LinkerdArgs, version=version, charts=request.charts, mtls=mesh.accepted, **known),
            identity=None,
            releases=(),
            namespaces=(gateway_namespace(chosen),) if request.gateways else (),
            output=mesh.output(self.name),
            existing=mesh,
        )
        return planned, diagnostics

    def check_cluster(self, plan: LinkerdPlan, view: ClusterView) -> list[Diagnostic]:
        """Report what the cluster lacks for high availability."""
        return check_nodes(plan.args, view.objects("v1", "Node"))

    def cannot_redirect(self, kernel: Minor | None, system: str) -> Hindrance | None:
        """Return whether the kernel has nf_tables, see `Mesh`."""
        del system
        if kernel is None or kernel >= NFT_KERNEL:
            return None
        message = f"Its kernel {dotted(kernel)} may lack nf_tables, by which linkerd-init redirects traffic."
        return Hindrance(dotted(kernel), message, f"{dotted(NFT_KERNEL)}, or proxyInit.iptablesMode: legacy")

    def cluster_networks(self, plan: LinkerdPlan) -> str:
        """Return `clusterNetworks`, see `Mesh`. Those of an installation of somebody else are not known."""
        values = control_plane_values(plan)
        return "" if plan.existing else str(values.get("clusterNetworks") or CLUSTER_NETWORKS)

    def renderable(self, plan: LinkerdPlan) -> Sequence[HelmRelease]:
        """Return the releases with a stand-in for the issuer, without which the chart does not render, see `Mesh`."""
        stand_in = {
            "identityTrustAnchorsPEM": STAND_IN,
            "identity": {"issuer": {"tls": {"crtPEM": STAND_IN, "keyPEM": STAND_IN}}},
        }
        made: list[HelmRelease] = []
        for item in plan.releases:
            needs = item["role"] == "control-plane" and not plan.args.external_ca
            made.append({**item, "values": merged(stand_in, item["values"])} if needs else item)
        return made

    def certificate_places(self, plan: LinkerdPlan) -> Sequence[CertificatePlace]:
        """Return trust anchors, issuer and the certificates of the webhooks, see `Mesh`.

        Names and keys of the chart linkerd-control-plane of edge-26.8.3 (templates identity.yaml,
        destination-rbac.yaml, proxy-injector-rbac.yaml).
        """
        del plan
        anchors = "trust anchor"
        return (
            CertificatePlace(anchors, "ConfigMap", ("linkerd-identity-trust-roots",), ("ca-bundle.crt",)),
            CertificatePlace("issuer", "Secret", ("linkerd-identity-issuer",), ("crt.pem", "tls.crt"), signer=anchors),
            *(
                CertificatePlace(f"webhook {name}", "Secret", (f"{name}-k8s-tls",), ("tls.crt",), webhooks=(name,))
                for name in CONTROL_PLANE_WEBHOOKS.values()
            ),
        )

    def injector_failure_policy(self, plan: LinkerdPlan) -> str:
        """Return `webhookFailurePolicy`, see `Mesh`; the chart's default is Ignore (edge-26.8.3, values.yaml)."""
        return "" if plan.existing else str(control_plane_values(plan).get("webhookFailurePolicy") or "Ignore")

    def injected(self, plan: LinkerdPlan) -> Mapping[str, Any]:
        """Return the containers that the injector adds, see `Mesh` (edge-26.8.3, charts/partials)."""
        values = control_plane_values(plan)
        asked = part(values, "proxy", "resources")
        resources = {
            f"{kind}s": {name: amounts[kind] for name, amounts in asked.items() if amounts.get(kind)}
            for kind in ("request", "limit")
        }
        name = part(values, "proxy", "image").get("name") or PROXY_IMAGE
        drop: dict[str, Any] = {
            "capabilities": {"drop": ["ALL"]},
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "runAsUser": SIDECAR_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        proxy = {
            "name": "linkerd-proxy",
            "image": f"{name}:{self.wanted_sidecar(plan).version}",
            "resources": {kind: amounts for kind, amounts in resources.items() if amounts},
            "securityContext": drop,
        }
        if plan.args.cni:
            return {"initContainers": [{**proxy, "name": "linkerd-network-validator"}], "containers": [proxy]}
        init = {**drop, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}, "runAsUser": INIT_USER}
        return {"initContainers": [{**proxy, "name": "linkerd-init", "securityContext": init}], "containers": [proxy]}

    def read_port(self, plan: LinkerdPlan, port: Mapping[str, Any], annotations: Mapping[str, str]) -> PortReading:
        """Decide as Linkerd's policy controller does (edge-26, k8s/index/src/outbound): appProtocol, then opaque ports.

        The annotation of a namespace counts once the injector has copied it to the Service.
        """
        if port.get("protocol", "TCP") != "TCP":
            return PortReading("connections", f"its protocol is {port['protocol']}")
        if declared := str(port.get("appProtocol") or ""):
            known = declared in APP_PROTOCOLS
            return PortReading("requests" if known else "connections", f"its appProtocol is {declared}")
        opaque, where = annotations.get(_OPAQUE), f"the annotation {_OPAQUE} of the Service names it"
        if opaque is None:
            proxies: list[Any] = [item["values"].get("proxy") for item in plan.releases]
            default = (plan.existing and plan.existing.opaque_ports) or OPAQUE_PORTS
            opaque = str(next((proxy["opaquePorts"] for proxy in proxies if "opaquePorts" in (proxy or ())), default))
            where = "it is one of Linkerd's opaque ports (proxy.opaquePorts)"
        if any(_in_range(int(port["port"]), part) for part in opaque.split(",")):
            return PortReading("connections", where)
        return PortReading("requests", "Linkerd detects HTTP on it")

    def find(self, settings: Sections, view: ClusterView) -> tuple[ExistingMesh | None, list[Diagnostic]]:
        """Find a mesh that somebody else has installed, see `Mesh`."""
        return existing.find(settings.section(LinkerdSettings), view)

    def adopt(self, releases: Mapping[str, HelmRecord], mtls: Mtls) -> Adopted:
        """Return the settings of a stack that takes releases over, see `Mesh`."""
        return adoption.adopt(releases, mtls)

    def normal_route(self, item: Manifest, domain: str) -> Manifest:
        """Return an object as meshup would write the same, see `Mesh`."""
        del domain
        return gateway_api_adoption.normal(item)

    def read_routes(self, api: Api, objects: Sequence[Manifest], home: Home) -> Reading:
        """Read the objects of a Service, see `Mesh`."""
        if api == "service-profile":
            return adoption.read(objects, home)
        return gateway_api_adoption.read(objects, home, rust=True)

    def join(self, args: LinkerdMembership) -> Membership:
        """Return the annotations by which a namespace joins."""
        return join(args)

    def is_member(self, metadata: Mapping[str, Any], revision: str = "") -> bool:
        """Return whether the pods of a live namespace join, see `Mesh`."""
        return revision in ("", "default") and is_member(metadata)

    def wanted_sidecar(self, plan: LinkerdPlan) -> Sidecar:
        """Return the sidecar that the injector adds, see `Mesh`. The chart 2026.8.3 is edge-26.8.3."""
        if plan.existing is not None and not plan.existing.version:
            return Sidecar("")
        values = control_plane_values(plan)
        proxy: Mapping[str, Any] = values.get("proxy") or {}
        image: Mapping[str, Any] = proxy.get("image") or {}
        year, _, rest = plan.version.partition(".")
        return Sidecar(str(image.get("version") or values.get("linkerdVersion") or f"edge-{year[-2:]}.{rest}"))

    def sidecar(self, pod: Manifest) -> Sidecar | None:
        """Return the sidecar of a live pod, see `Mesh`."""
        return sidecar(pod)

    def choice(self, pod: Manifest) -> bool | None:
        """Return what a pod asks for by itself, see `Mesh`."""
        return choice(pod)

    def strictest_pod_security(self, plan: LinkerdPlan) -> str:
        """Return `restricted` with the CNI plugin, see `Mesh`."""
        if plan.existing is not None:
            return ""
        return "restricted" if plan.args.cni else "privileged"

    def register(self, plan: LinkerdPlan, options: Callable[..., pulumi.ResourceOptions]) -> Registered:
        """Register the certificates and Linkerd."""
        if plan.identity is None:
            raise ValueError("Linkerd of somebody else is not registered.")
        webhooks = {key: (service, plan.args.namespace) for key, service in CONTROL_PLANE_WEBHOOKS.items()}
        if plan.args.viz.enabled:
            webhooks |= {key: (service, plan.args.viz.namespace) for key, service in VIZ_WEBHOOKS.items()}
        identity = Identity("identity", plan.identity, webhooks)
        certificates = _certificates(identity)
        mesh = Linkerd("linkerd", plan.args.model_copy(update={"certificates": certificates}), options())
        restart = {} if identity.issuer is None else {RESTART_KEY: identity.restart_hash}
        return Registered(
            (mesh,), restart, {"identity": identity.summary}, {"linkerd-viz": viz.certificate_values(certificates)}
        )


def _in_range(number: int, written: str) -> bool:
    first, _, last = written.strip().partition("-")
    if not first.isdecimal():
        return False
    return int(first) <= number <= int(last if last.isdecimal() else first)


def _certificates(made: Identity) -> Certificates:
    pairs: list[Mapping[str, Any]] = [
        {"webhook": key, "certificate": pair.certificate_pem, "key": pair.private_key_pem}
        for key, pair in made.webhooks.items()
    ]
    if made.issuer is None:
        return Certificates.of({"webhooks": pairs})
    return Certificates.of(
        {
            "webhooks": pairs,
            "trust_bundle": made.trust_bundle,
            "issuer_certificate": made.issuer.certificate_pem,
            "issuer_key": made.issuer.private_key_pem,
            "restart_hash": made.restart_hash,
        }
    )
