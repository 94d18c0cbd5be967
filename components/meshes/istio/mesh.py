"""Istio as a mesh of meshup: see `Mesh`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pulumi

from ...addons.prometheus import PrometheusSettings
from ...diagnostics import Diagnostic
from ...gateways.model import Gateway
from ...gateways.settings import GatewaySettings
from ...helm import merged
from ...manifests import Manifest, part
from ...namespace import namespace_metadata
from ...security.model import Account
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
    Sidecar,
    Signature,
)
from . import adoption, existing
from .component import CA_SECRETS, CONFIG_MAPS, CRDS, ROOT_CONFIG_MAP, Istio, namespaces, releases
from .gateways import RESERVED_PORTS, account, objects, pods
from .http_route import ISTIO_ROUTE
from .membership import (
    INJECTION,
    REVISION,
    IstioMembership,
    IstioNamespace,
    choice,
    is_member,
    join,
    namespace_objects,
    sidecar,
)
from .metrics import ENVOY_METRICS, ISTIO_METRICS
from .mutual_tls import peer_authentication
from .protocols import read_port
from .security import ISTIO_SECURITY
from .settings import HUB, SIDECAR_RESOURCES, SIDECAR_USER, IstioArgs, IstioSettings
from .telemetry import ISTIO_TELEMETRY, providers
from .versions import GATEWAY_API, VERSIONS
from .virtual_service import VIRTUAL_SERVICE

NO_IPTABLES = re.compile(r"(?:Red Hat Enterprise Linux|Rocky Linux|AlmaLinux|CentOS Stream|Oracle Linux)\D*(?:9|1\d)\b")
"""Systems whose kernels do not load iptable_nat by themselves (Istio, platform prerequisites)."""


@dataclass(frozen=True, kw_only=True)
class IstioPlan(MeshPlan):
    """What Istio will have on the cluster."""

    args: IstioArgs


class IstioMesh(Mesh[IstioPlan]):
    """Istio in sidecar mode."""

    name = "istio"
    settings = IstioSettings
    versions = VERSIONS
    # Chart istio-discovery, templates/mutatingwebhook.yaml and validatingwebhookconfiguration.yaml.
    signature = Signature(
        title="Istio",
        injectors=("sidecar-injector.istio.io",),
        validators=("validation.istio.io",),
        control_plane=("app", "istiod"),
    )
    # Chart istio-discovery, templates/service.yaml: https-webhook and https-dns.
    webhook_ports = (15017,)
    control_plane_ports = (15012,)
    # From this kubelet on, `auto` makes sidecars native; one older node turns that off for all (1.30).
    native_from = (1, 33)
    gateway_api = GATEWAY_API
    targets = (VIRTUAL_SERVICE, ISTIO_ROUTE)
    security = ISTIO_SECURITY
    metrics = (ISTIO_METRICS, ENVOY_METRICS)
    telemetry = ISTIO_TELEMETRY
    presets: ClassVar[Presets] = {
        "dev": {
            "replicas": 1,
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
            "proxyResources": {
                "requests": {"cpu": "10m", "memory": "64Mi"},
                "limits": {"cpu": "1000m", "memory": "512Mi"},
            },
            "accessLog": "text",
            "traceSampling": 100,
        },
        "staging": {
            "autoscaling": {"min": 1, "max": 3},
            "resources": {"requests": {"cpu": "200m", "memory": "1Gi"}},
            "accessLog": "json",
            "traceSampling": 10,
        },
        # While no istiod answers, no pod starts in a meshed namespace. With two replicas, the chart adds a
        # PodDisruptionBudget.
        "prod": {
            "autoscaling": {"min": 2, "max": 5},
            "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}},
            "accessLog": "off",
            "traceSampling": 1,
        },
    }
    gateway_apis = ("istio", "gateway-api")
    gateway_class = "istio"
    reserved_ports = RESERVED_PORTS
    adopted_charts = ("istiod", "base")
    joined_by = frozenset({INJECTION, REVISION})
    opt_outs = frozenset({"disabled"})
    unsupported_settings: ClassVar[Mapping[str, str]] = {
        "proxy": "Istio reads settings of sidecars from pods and from meshup:istio, not from namespaces."
    }

    def charts(self, settings: Sections) -> tuple[str, ...]:
        """Return the names of the charts, see `Mesh`."""
        chart = settings.section(IstioSettings).gateways or any(
            gateway.api in (None, "istio") for gateway in settings.gateways.values()
        )
        return ("base", "istiod", "gateway") if chart else ("base", "istiod")

    def namespaces(self, settings: Sections) -> Mapping[str, str]:
        """Return the namespaces, see `Mesh`."""
        chosen = settings.section(IstioSettings)
        wanted = chosen.gateways or settings.gateways
        gateways = {"istio.gatewayNamespace": chosen.gateway_namespace} if wanted else {}
        return {"istio.namespace": chosen.namespace, **gateways}

    def plan(self, request: MeshRequest) -> tuple[IstioPlan, list[Diagnostic]]:
        """Decide what Istio will have, see `Mesh`."""
        chosen = request.settings.section(IstioSettings)
        if not chosen.install:
            return self._existing(request)
        version = chosen.version or request.charts_version or VERSIONS.pinned
        by_chart = [gateway for gateway in request.gateways if gateway.api == "istio"]
        args = chosen.extended(
            IstioArgs,
            version=version,
            charts=request.charts,
            mtls=request.mtls,
            gateway_pods=tuple(pods(gateway, request.settings.gateways[gateway.name]) for gateway in by_chart),
            with_gateway_namespace=bool(request.gateways),
            envoy_statistics=request.settings.section(PrometheusSettings).metrics == ENVOY_METRICS.name,
            providers=tuple(
                providers(asked(request.settings, self.telemetry.refusals), self.cluster_domain(request.settings))
            ),
        )
        kept = [
            *(f"CustomResourceDefinition/{name}" for name in CRDS),
            *(f"ConfigMap/*/{name}" for name in CONFIG_MAPS),
        ]
        commands = [
            "kubectl delete customresourcedefinition " + " ".join(CRDS),
            *(
                f"kubectl delete configmap --all-namespaces --field-selector metadata.name={name}"
                for name in CONFIG_MAPS
            ),
        ]
        made = tuple(releases(args))
        base = next(release for release in made if release["role"] == "base")
        excluded = base["values"].get("base", {}).get("excludedCRDs") or ()
        planned = IstioPlan(
            name=self.name,
            version=version,
            args=args,
            releases=made,
            crds_role=base["role"],
            crds=tuple(name for name in CRDS if name not in excluded),
            namespaces=tuple(namespaces(args)),
            objects=(peer_authentication(args.namespace, args.mtls),),
            membership={"revision": args.revision} if args.revision else {},
            output={
                "kind": self.name,
                "version": version,
                "namespace": args.namespace,
                "revision": args.revision or "default",
                "mtls": args.mtls,
                "injection": args.webhooks,
                "gateways": [gateway.name for gateway in (*args.gateways, *args.gateway_pods)],
                "keptOnDestroy": {"objects": kept, "commands": commands},
            },
        )
        return planned, []

    def read_port(self, plan: IstioPlan, port: Mapping[str, Any], annotations: Mapping[str, str]) -> PortReading:
        """Select the protocol as Istio does, see `Mesh`."""
        del plan, annotations
        return read_port(port)

    def _existing(self, request: MeshRequest) -> tuple[IstioPlan, list[Diagnostic]]:
        """Plan with an Istio that somebody else has installed. Without a cluster, with the configuration alone."""
        chosen = request.settings.section(IstioSettings)
        found, diagnostics = (None, list[Diagnostic]()) if request.view is None else existing.find(chosen, request.view)
        mesh = found or ExistingMesh(version=VERSIONS.pinned, namespace=chosen.namespace, mtls=request.mtls)
        if found is not None:
            diagnostics += check_existing(self, found, request)
        for gateway in request.gateways:
            if gateway.api == "istio":
                message = "Pods of gateways are installed with the mesh, and install is false."
                where = f"meshup:gateways.{gateway.name}.api"
                diagnostics.append(Diagnostic("MSH052", where, "istio", message, "gateway-api"))
        known = {"namespace": mesh.namespace, "revision": mesh.revision or None, "mtls": mesh.accepted}
        version = mesh.exact_version(VERSIONS.pinned)
        planned = IstioPlan(
            name=self.name,
            version=version,
            args=chosen.extended(IstioArgs, version=version, charts=request.charts, **known),
            releases=(),
            namespaces=(namespace_metadata(chosen.gateway_namespace),) if request.gateways else (),
            membership={"revision": mesh.revision} if mesh.revision else {},
            output=mesh.output(self.name),
            existing=mesh,
        )
        return planned, diagnostics

    def gateway_namespace(self, settings: Sections) -> str:
        """Return `gatewayNamespace`."""
        return settings.section(IstioSettings).gateway_namespace

    def gateway_objects(
        self, gateway: Gateway, settings: GatewaySettings, namespaces: Sequence[str]
    ) -> Sequence[Manifest]:
        """Return the objects of a gateway, see `Mesh`."""
        return objects(gateway, settings, namespaces)

    def trust_domain(self, settings: Sections) -> str:
        """Return the trust domain, which raw values set (chart istio-discovery, values meshConfig.trustDomain)."""
        values = settings.section(IstioSettings).values.get("istiod", {})
        config: Mapping[str, Any] = values.get("meshConfig") or {}
        return str(config.get("trustDomain") or super().trust_domain(settings))

    def gateway_account(self, gateway: Gateway, settings: Sections) -> Account | None:
        """Return the account of a gateway whose pods Istio makes, see `Mesh`."""
        raw = settings.section(IstioSettings).values
        name = account(gateway, merged(raw.get("gateway", {}), raw.get(gateway.name, {})))
        return Account(gateway.namespace, name) if name else None

    def find(self, settings: Sections, view: ClusterView) -> tuple[ExistingMesh | None, list[Diagnostic]]:
        """Find a mesh that somebody else has installed, see `Mesh`."""
        return existing.find(settings.section(IstioSettings), view)

    def adopt(self, releases: Mapping[str, HelmRecord], mtls: Mtls) -> Adopted:
        """Return the settings of a stack that takes releases over, see `Mesh`."""
        return adoption.adopt(releases, mtls)

    def read_routes(self, api: Api, objects: Sequence[Manifest], home: Home) -> Reading:
        """Read the objects of a Service, see `Mesh`."""
        reading = adoption.read(objects, home)
        if api == "gateway-api":
            routes = gateway_api_adoption.read(objects, home, rust=False)
            reading.rules, reading.versions = routes.rules, reading.versions | routes.versions
        return reading

    def normal_route(self, item: Manifest, domain: str) -> Manifest:
        """Return an object as meshup would write the same, see `Mesh`."""
        return gateway_api_adoption.normal(adoption.normal(item, domain))

    def join(self, args: IstioMembership) -> Membership:
        """Return the label by which a namespace joins."""
        return join(args)

    def is_member(self, metadata: Mapping[str, Any], revision: str = "") -> bool:
        """Return whether the pods of a live namespace join, see `Mesh`."""
        return is_member(metadata, revision)

    def wanted_sidecar(self, plan: IstioPlan) -> Sidecar:
        """Return the sidecar that istiod adds, see `Mesh`."""
        if plan.existing is not None:
            # Its revision may be a tag, and a pod tells the revision behind it.
            return Sidecar(plan.existing.version)
        values = next(item["values"] for item in plan.releases if item["role"] == "istiod")
        shared: Mapping[str, Any] = values.get("global") or {}
        return Sidecar(str(shared.get("tag") or plan.version), plan.args.revision or "default")

    def cannot_redirect(self, kernel: Minor | None, system: str) -> Hindrance | None:
        """Return whether the system loads the modules of iptables, see `Mesh`."""
        del kernel
        if NO_IPTABLES.search(system) is None:
            return None
        message = "This system does not load the kernel modules by which istio-init redirects traffic."
        allowed = "iptable_nat, iptable_mangle, xt_REDIRECT, xt_owner loaded on the nodes, or global.nativeNftables"
        return Hindrance(system, message, allowed)

    def certificate_places(self, plan: IstioPlan) -> Sequence[CertificatePlace]:
        """Return the root and the authority of istiod, see `Mesh`.

        istiod signs with `cacerts` where that is given to it, else with its own `istio-ca-secret` (Istio 1.31,
        pilot/pkg/bootstrap/istio_ca.go, security/pkg/pki/ca/ca.go). It writes its root to a ConfigMap of each
        namespace, and as caBundle to its webhooks.
        """
        del plan
        root = "trust anchor"
        return (
            CertificatePlace(root, "ConfigMap", (ROOT_CONFIG_MAP,), ("root-cert.pem",), webhooks=()),
            CertificatePlace("issuer", "Secret", CA_SECRETS, ("cert-chain.pem", "ca-cert.pem", "tls.crt"), signer=root),
        )

    def injector_failure_policy(self, plan: IstioPlan) -> str:
        """Return that of the chart istio-discovery, see `Mesh` (Istio 1.31, templates/mutatingwebhook.yaml)."""
        return "" if plan.existing else "Fail"

    def injected(self, plan: IstioPlan) -> Mapping[str, Any]:
        """Return the containers that istiod adds, see `Mesh` (chart istio-discovery, files/injection-template.yaml)."""
        none: Mapping[str, Any] = {}
        values = next((item["values"] for item in plan.releases if item["role"] == "istiod"), none)
        shared = part(values, "global")
        resources = merged(SIDECAR_RESOURCES, part(shared, "proxy", "resources"))
        tag = shared.get("tag") or plan.version
        image = f"{shared.get('hub') or HUB}/proxyv2:{tag}"
        drop: dict[str, Any] = {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False}
        user = {**drop, "runAsNonRoot": True, "runAsUser": SIDECAR_USER}
        proxy = {"name": "istio-proxy", "image": image, "resources": resources, "securityContext": user}
        if self.strictest_pod_security(plan) == "restricted":
            return {"initContainers": [{**proxy, "name": "istio-validation"}], "containers": [proxy]}
        root = {**drop, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]}, "runAsUser": 0}
        return {"initContainers": [{**proxy, "name": "istio-init", "securityContext": root}], "containers": [proxy]}

    def strictest_pod_security(self, plan: IstioPlan) -> str:
        """Return `restricted` with Istio's CNI plugin, which raw values turn on, see `Mesh`."""
        if plan.existing is not None:
            return ""
        values = next(item["values"] for item in plan.releases if item["role"] == "istiod")
        pilot: Mapping[str, Any] = values.get("pilot") or {}
        cni: Mapping[str, Any] = pilot.get("cni") or values.get("cni") or {}
        return "restricted" if cni.get("enabled") else "privileged"

    def sidecar(self, pod: Manifest) -> Sidecar | None:
        """Return the sidecar of a live pod, see `Mesh`."""
        return sidecar(pod)

    def choice(self, pod: Manifest) -> bool | None:
        """Return what a pod asks for by itself, see `Mesh`."""
        return choice(pod)

    def namespace_objects(self, namespace: str, args: IstioNamespace) -> tuple[Manifest, ...]:
        """Return the Sidecar of a namespace, see `Mesh`."""
        return namespace_objects(namespace, args)

    def register(self, plan: IstioPlan, options: Callable[..., pulumi.ResourceOptions]) -> Registered:
        """Register Istio."""
        return Registered((Istio("istio", plan.args, options()),))
