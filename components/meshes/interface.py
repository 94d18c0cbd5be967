"""What a mesh provides: one object per mesh, in a folder of its own; `components.meshes.MESHES` lists them.

How a stack uses a mesh, in this order::

    mesh = MESHES[name]
    mesh.sections                                   # keys of the configuration -> classes of arguments
    mesh.namespaces(settings)                       # key path -> namespace that meshup makes
    mesh.charts(settings)                           # names of the charts that a directory of charts must have
    plan, diagnostics = mesh.plan(MeshRequest(...)) # plain data, from the configuration alone
    mesh.check_cluster(plan, view)                  # what the cluster lacks
    mesh.injected(plan)                             # what pods get, for `meshup preflight`
    mesh.certificate_places(plan)                   # where its certificates are, for `meshup health`
    mesh.gateway_api                                # which bundle of the Gateway API serves
    mesh.gateway_objects(...)                       # the objects of a gateway
    mesh.join(args)                                 # labels and annotations of a namespace in the mesh
    mesh.is_member(metadata)                        # whether a live namespace is in the mesh
    mesh.register(plan, options)                    # the only part that registers resources

Each step works on what the step before returned. Nothing outside of the mesh's folder asks for its name.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

import pulumi
from pydantic import Field

from ..addons.interface import Addon
from ..arguments import Arguments, Seconds, SecretNames
from ..arguments import Sections as SectionsOnly
from ..diagnostics import Diagnostic, nearest
from ..gateways.model import Gateway, GatewayApi
from ..gateways.settings import GatewaySettings
from ..helm import DEFAULT_TIMEOUT, ChartSource, HelmRelease
from ..manifests import Manifest
from ..observability.source import MetricsSource
from ..scalars import EXACT_VERSION, Version
from ..security.model import Account
from ..security.plane import SecurityPlane
from ..telemetry.plane import TelemetryPlane
from ..traffic.adoption import Home, Reading
from ..traffic.claims import ClaimReader
from ..traffic.model import Api
from ..traffic.proxies import PortReading
from ..traffic.targets import DataPlane, Target
from .adoption import Adopted, HelmRecord

Minor = tuple[int, int]
"""Major and minor version; of Linkerd's edge releases year and month."""
Patch = tuple[int, int, int]
Mtls = Literal["strict", "permissive"]
ExistingMtls = Literal["strict", "permissive", "disable"]


class Sections(SectionsOnly, Protocol):
    """The configuration of a stack, as far as meshes see it."""

    @property
    def gateways(self) -> Mapping[str, GatewaySettings]:
        """`meshup:gateways`."""
        ...


class ClusterView(Protocol):
    """What a mesh may ask of the cluster (stacks/cluster.py); tests answer from plain data."""

    def objects(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Manifest]:
        """Return all objects of a kind, such as `("v1", "Node")`."""
        ...


@dataclass(frozen=True)
class Versions:
    """The versions of a mesh.

    Attributes:
        pinned: What is installed unless the configuration or a directory of charts says otherwise.
        supported: First and last minor version whose charts have the values that the mesh sets.
        kubernetes: First and last Kubernetes, by the version of the mesh from which on this holds.
    """

    pinned: str
    supported: tuple[Minor, Minor]
    kubernetes: Mapping[Minor, tuple[Minor, Minor]]

    def unsupported(self, version: str) -> str:
        """Return which versions are supported if this is none of them, else ""."""
        (first, last), found = self.supported, minor(version)
        return "" if found is not None and first <= found <= last else f"{_dotted(first)} to {_dotted(last)}"

    def check(self, title: str, path: str, version: str | None) -> Iterator[Diagnostic]:
        """Refuse a version that is not supported."""
        if version is not None and (allowed := self.unsupported(version)):
            message = f"meshup does not support this version of {title}."
            yield Diagnostic("MSH306", path, version, message, allowed)

    def kubernetes_for(self, version: str) -> tuple[Minor, Minor]:
        """Return the first and the last Kubernetes that a version supports; of an unknown one, the widest."""
        found = minor(version)
        known = [since for since in self.kubernetes if found is not None and since <= found]
        if known:
            return self.kubernetes[max(known)]
        ranges = self.kubernetes.values()
        return min(first for first, _ in ranges), max(last for _, last in ranges)


def minor(version: str) -> Minor | None:
    """Return major and minor number of a version, None if it has none."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return None if numbers is None else (int(numbers[1]), int(numbers[2]))


def dotted(version: Minor) -> str:
    """Return major and minor number of a version as they are written."""
    return ".".join(map(str, version))


def unknown_releases(title: str, path: str, written: Iterable[str], releases: Sequence[str]) -> Iterator[Diagnostic]:
    """Refuse raw values of releases that a mesh does not have."""
    for name in written:
        if name not in releases:
            near = nearest(name, releases)
            message = f"{title} has no such release." + (f" Did you mean {near}?" if near else "")
            yield Diagnostic("MSH002", f"{path}.{name}", None, message, "one of " + ", ".join(releases))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


@dataclass(frozen=True)
class Signature:
    """How the objects of a mesh are recognised on a cluster, whoever installed it.

    Attributes:
        title: Its name in reports.
        injectors: Ends of the names of the webhooks that add its proxy to pods.
        validators: Ends of the names of the webhooks that judge its own objects.
        opt_in: An annotation of a namespace without which the injector adds nothing, and its values; "" where the
            selectors of the webhook decide.
        control_plane: Label and value of the Deployment that is its control plane.
    """

    title: str
    injectors: tuple[str, ...]
    validators: tuple[str, ...] = ()
    opt_in: tuple[str, tuple[str, ...]] = ("", ())
    control_plane: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class GatewayApiRange:
    """Which bundle of the Gateway API a mesh takes.

    Attributes:
        oldest: Oldest version.
        newest: Newest version.
        always: Whether the mesh needs it without any route of its kinds.
    """

    oldest: Patch
    newest: Patch
    always: bool = False


@dataclass(frozen=True)
class MeshRequest:
    """What a mesh is planned from.

    Attributes:
        settings: The configuration.
        mtls: `meshup:mtls`.
        gateways: The gateways of `meshup:gateways`.
        charts: Where charts come from.
        charts_version: The version of the charts in a directory, "" otherwise.
        secret: Keys of the configuration that are secrets, without `meshup:`.
        now: The time by which certificates are judged.
        read_file: Reads a file that the configuration names: its path, and the most bytes that are read. It raises an
            OSError whose text is the reason.
        mtls_is_set: Whether the configuration says it itself.
        view: The cluster, for a mesh that is not installed by this stack; None if it does not answer.
    """

    settings: Sections
    mtls: Mtls
    gateways: Sequence[Gateway]
    charts: ChartSource
    charts_version: str
    secret: frozenset[str]
    now: datetime
    read_file: Callable[[str, int], str]
    mtls_is_set: bool = False
    view: ClusterView | None = None


@dataclass(frozen=True, kw_only=True)
class ExistingMesh:
    """A control plane that meshup did not install.

    Attributes:
        version: Its version, as its charts have it; "" if nothing on the cluster says it.
        namespace: Its namespace.
        revision: The revision or tag by which a namespace joins; "" for the default one.
        trust_domain: Trust domain of the identities.
        cluster_domain: DNS domain of the cluster.
        mtls: Mutual TLS in the whole mesh; Istio may have it switched off.
        injection: Whether a webhook adds sidecars.
        opaque_ports: Ports whose protocol Linkerd does not detect.
        providers: Names of Istio's own extensionProviders; None if they are not known.
    """

    version: str
    namespace: str
    revision: str = ""
    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    mtls: ExistingMtls = "permissive"
    injection: bool = True
    opaque_ports: str = ""
    providers: tuple[str, ...] | None = None

    @property
    def accepted(self) -> Mtls:
        """What its workloads accept, as routes see it: where mutual TLS is off, they take plain text too."""
        return "strict" if self.mtls == "strict" else "permissive"

    def exact_version(self, otherwise: str) -> str:
        """Return the version, or another one if it is none that charts can have."""
        return self.version if EXACT_VERSION.fullmatch(self.version) else otherwise

    def output(self, kind: str) -> dict[str, Any]:
        """Return the stack output `mesh`."""
        return {
            "kind": kind,
            "installed": False,
            "version": self.version,
            "namespace": self.namespace,
            "revision": self.revision or "default",
            "mtls": self.mtls,
            "injection": self.injection,
            "gateways": [],
            "trustDomain": self.trust_domain,
            "clusterDomain": self.cluster_domain,
            "keptOnDestroy": {"objects": [], "commands": []},
        }


@dataclass(frozen=True, kw_only=True)
class MeshPlan:
    """What a mesh will have on the cluster: plain data. A mesh adds what it needs to register it.

    Attributes:
        name: The name of the mesh.
        version: The version of its charts.
        args: The arguments of its component.
        releases: The Helm releases, in the order in which they are installed.
        namespaces: The metadata of the namespaces that it makes.
        crds_role: The role of the release that installs the mesh's CustomResourceDefinitions.
        crds: The names of these.
        objects: Further objects that it makes, without those of charts.
        membership: Arguments of every `MeshNamespace` in the mesh beyond `name` and `mesh`.
        output: The stack output `mesh`.
        existing: What was found of a mesh that somebody else has installed; then only the namespace of the gateways is
            registered, if there is one.
    """

    name: str
    version: str
    args: Any
    releases: tuple[HelmRelease, ...]
    namespaces: tuple[Mapping[str, Any], ...]
    crds_role: str = ""
    crds: tuple[str, ...] = ()
    objects: tuple[Manifest, ...] = ()
    membership: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output: Mapping[str, Any] = field(default_factory=dict[str, Any])
    existing: ExistingMesh | None = None


@dataclass(frozen=True)
class Registered:
    """A mesh that is registered.

    Attributes:
        after: What applications wait for.
        pod_annotations: What their pods carry, so that they restart when the mesh needs it.
        outputs: Stack outputs that are known only at deployment.
        addon_values: Values of add-on charts that are known only at deployment, by the name of the add-on.
    """

    after: tuple[pulumi.Resource, ...]
    pod_annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    outputs: Mapping[str, pulumi.Input[Any]] = field(default_factory=dict[str, pulumi.Input[Any]])
    addon_values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


@dataclass(frozen=True)
class Membership:
    """What makes the pods of a namespace, or of a pod template, join a mesh."""

    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


class Sidecar(NamedTuple):
    """A proxy in a pod, or the one that the injector of a plan adds. What is "" is unknown.

    Attributes:
        version: Its version, as the tag of its image begins.
        revision: The revision of the control plane that injected it.
    """

    version: str
    revision: str = ""

    def serves(self, wanted: "Sidecar") -> bool:
        """Return whether it is what is wanted, as far as that is known. A tag may have a suffix: `-distroless`."""
        version = not (self.version and wanted.version) or f"{self.version}-".startswith(f"{wanted.version}-")
        return version and (not (self.revision and wanted.revision) or self.revision == wanted.revision)


class Hindrance(NamedTuple):
    """Why a node may not redirect the traffic of pods.

    Attributes:
        value: What was found on the node.
        message: What is wrong with it, in one sentence.
        allowed: What goes.
    """

    value: str
    message: str
    allowed: str


class CertificatePlace(NamedTuple):
    """Where a certificate of a mesh is on the cluster, in the namespace of its control plane.

    Attributes:
        title: What it is, as reports name it.
        kind: `Secret` or `ConfigMap`.
        names: Names that the object may have. Of several, that is in use whose certificate leads to the signer.
        keys: Keys of its data; the first with a value holds the certificate, and what follows it in a chain.
        signer: Title of the place with the authorities that have signed it, "" for none.
        webhooks: The Services of the webhooks whose caBundle it goes with: it is signed by the bundle, or in it. Empty
            for all of them, None for none.
    """

    title: str
    kind: Literal["Secret", "ConfigMap"]
    names: tuple[str, ...]
    keys: tuple[str, ...]
    signer: str = ""
    webhooks: tuple[str, ...] | None = None


def is_on_host_network(pod: Manifest) -> bool:
    """Return whether a pod has the network of its node, where no mesh adds a sidecar."""
    spec: Mapping[str, Any] = pod.get("spec") or {}
    return bool(spec.get("hostNetwork"))


def annotations_of(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the annotations in the metadata of a live object."""
    return metadata.get("annotations") or {}


def labels_of(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the labels in the metadata of a live object."""
    return metadata.get("labels") or {}


def is_running(pod: Manifest) -> bool:
    """Return True unless a pod has ended or is being deleted."""
    status: Mapping[str, Any] = pod.get("status") or {}
    return status.get("phase") not in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]


def image_tag(pod: Manifest, container: str) -> str | None:
    """Return the image tag of a container, "" for a digest; None if the pod has no such container.

    A native sidecar is among the init containers.
    """
    spec: Mapping[str, Any] = pod.get("spec") or {}
    containers: list[Mapping[str, Any]] = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    for item in containers:
        if item["name"] == container:
            name = str(item.get("image") or "").rpartition("/")[2]
            return "" if "@" in name else name.partition(":")[2]
    return None


class MeshSettings(Arguments):
    """What every mesh has in the configuration."""

    with_existing: ClassVar[frozenset[str]] = frozenset({"install", "namespace"})
    """Fields that may be set for a mesh that somebody else has installed."""

    install: bool = True
    """`false` uses a mesh that somebody else has installed, and installs nothing of it ([how](existing-mesh.md))."""
    version: Version | None = None
    """Exact version of the charts. Not set, that of a directory of charts, else the pinned one."""
    timeout_seconds: Seconds = DEFAULT_TIMEOUT
    """How long each release may take to become ready."""
    image_pull_secrets: SecretNames = ()
    """Names of Secrets with registry credentials, in the namespaces that the mesh makes."""
    values: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])
    """Raw chart values by release, merged last."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse settings of an installation where nothing is installed."""
        fields = type(self).model_fields
        names = {name: fields[name].alias or name for name in fields}
        for name in fields if not self.install else ():
            if name in self.model_fields_set - self.with_existing:
                message = "This is a setting of the installation, and install is false."
                allowed = f"besides install: {', '.join(sorted(names[n] for n in self.with_existing - {'install'}))}"
                yield Diagnostic("MSH052", f"{path}.{names[name]}", None, message, allowed)


def installs_nothing(args: MeshSettings, path: str) -> Iterator[Diagnostic]:
    """Refuse `install: false` for a component, which is there to install."""
    if not args.install:
        yield Diagnostic("MSH052", f"{path}.install", False, "This component installs the mesh.", "true")


SectionTypes = Mapping[str, type[Arguments]]
Presets = Mapping[str, Mapping[str, Any]]
Planned = TypeVar("Planned", bound=MeshPlan)


class Mesh(ABC, Generic[Planned]):
    """A mesh: what it installs, how a namespace joins it, which versions it goes with, what it refuses."""

    name: ClassVar[str]
    """Its name in the configuration."""
    settings: ClassVar[type[MeshSettings]]
    """The section `meshup:NAME` of the configuration."""
    further_sections: ClassVar[SectionTypes] = {}
    """Further keys of the configuration that are its own, with their classes."""
    versions: ClassVar[Versions]
    signature: ClassVar[Signature]
    webhook_ports: ClassVar[tuple[int, ...]]
    """Ports of its pods at which the API server calls its webhooks."""
    control_plane_ports: ClassVar[tuple[int, ...]]
    """Ports of its control plane that every sidecar calls."""
    native_from: ClassVar[Minor | None] = None
    """The oldest kubelet with native sidecars, where one older node turns them off on all; None if none does that."""
    gateway_api: ClassVar[GatewayApiRange]
    targets: ClassVar[tuple[Target, ...]]
    """What routes can be compiled to, in the order in which `api: auto` tries them."""
    security: ClassVar[SecurityPlane]
    """What policies are compiled to."""
    telemetry: ClassVar[TelemetryPlane]
    """What it does with traces and access logs."""
    metrics: ClassVar[tuple[MetricsSource, ...]]
    """The metrics that its proxies may have, the default first."""
    collector_in_mesh: ClassVar[bool] = False
    """Whether proxies send spans only to pods of the mesh, whose identity they know."""
    addons: ClassVar[tuple[Addon[Any], ...]] = ()
    """Add-ons that only this mesh has."""
    presets: ClassVar[Presets] = {}
    """Defaults of its section by environment, as they are written in a configuration."""
    gateway_apis: ClassVar[tuple[GatewayApi, ...]]
    """The APIs that a gateway can be declared in, the default first."""
    gateway_class: ClassVar[str] = ""
    """The GatewayClass that it serves itself, "" for none."""
    reserved_ports: ClassVar[frozenset[int]] = frozenset()
    """Ports that the pods of its own gateways use for themselves."""
    adopted_charts: ClassVar[tuple[str, ...]]
    """The charts whose releases `adopt` takes over; that of the control plane first."""
    anchors_annotation: ClassVar[str] = ""
    """Annotation of injected pods: the SHA-256 of the trust anchors, which are the first of `certificate_places`."""
    joined_by: ClassVar[frozenset[str]]
    """Keys of labels and annotations by which a namespace joins."""
    opt_outs: ClassVar[frozenset[str]] = frozenset()
    """Values of these labels and annotations with which a namespace outside of the mesh says so."""
    unsupported_settings: ClassVar[Mapping[str, str]] = {}
    """Keys of `meshup:namespaces` that this mesh does not have, each with the reason."""

    @property
    def data_plane(self) -> DataPlane:
        """The mesh as routes see it."""
        return self.targets[0].plane

    @property
    def claim_readers(self) -> Mapping[tuple[str, str], ClaimReader]:
        """How the Services that an object decides on are read, by its apiVersion and kind."""
        readers = dict(self.data_plane.claims)
        for target in self.targets:
            readers |= target.claims
        return readers

    @property
    def sections(self) -> SectionTypes:
        """The keys of the configuration that are its own, with their classes."""
        return {self.name: self.settings, **self.further_sections}

    def wanted_version(self, settings: Sections) -> str | None:
        """Return the version that the configuration asks for."""
        return settings.section(self.settings).version

    @abstractmethod
    def charts(self, settings: Sections) -> tuple[str, ...]:
        """Return the names of the charts that the mesh is installed from."""

    @abstractmethod
    def namespaces(self, settings: Sections) -> Mapping[str, str]:
        """Return the namespaces that the mesh makes, by the key that names each, such as `istio.namespace`."""

    @abstractmethod
    def gateway_namespace(self, settings: Sections) -> str:
        """Return the namespace of the gateways, which the mesh makes if there is one."""

    @abstractmethod
    def gateway_objects(
        self, gateway: Gateway, settings: GatewaySettings, namespaces: Sequence[str]
    ) -> Sequence[Manifest]:
        """Return the objects of a gateway, in order of creation.

        Args:
            gateway: The gateway.
            settings: Its settings.
            namespaces: The namespaces whose routes it takes.
        """

    @abstractmethod
    def plan(self, request: MeshRequest) -> tuple[Planned, list[Diagnostic]]:
        """Decide what the mesh will have. With an error among the diagnostics, the plan serves to find further ones."""

    @abstractmethod
    def read_port(self, plan: Planned, port: Mapping[str, Any], annotations: Mapping[str, str]) -> PortReading:
        """Return how the proxies read what arrives at a port of a Service.

        Args:
            plan: The plan of the mesh.
            port: The port, as in `spec.ports` of the Service.
            annotations: The annotations of the Service.
        """

    @abstractmethod
    def join(self, args: Any) -> Membership:
        """Return how a namespace joins.

        Args:
            args: `MeshNamespaceArgs`, or whatever has the mesh's own attributes of it.
        """

    @abstractmethod
    def is_member(self, metadata: Mapping[str, Any], revision: str = "") -> bool:
        """Return whether the pods of a live namespace join.

        Args:
            metadata: Its metadata.
            revision: The revision of the control plane, or one of its tags, where the mesh has those; "" is the default
                one. Ask for each name under which it injects.
        """

    @abstractmethod
    def wanted_sidecar(self, plan: Planned) -> Sidecar:
        """Return the sidecar that the injector of the plan adds to new pods."""

    @abstractmethod
    def sidecar(self, pod: Manifest) -> Sidecar | None:
        """Return the sidecar of a live pod, None if it has none."""

    @abstractmethod
    def choice(self, pod: Manifest) -> bool | None:
        """Return whether a pod asks for a sidecar, or against one, by itself; None if its namespace decides."""

    def strictest_pod_security(self, plan: Planned) -> str:
        """Return the strictest Pod Security Standard with which injected pods start, "" if that is not known."""
        del plan
        return "privileged"

    def namespace_objects(self, namespace: str, args: Any) -> tuple[Manifest, ...]:
        """Return the objects that a namespace needs for the mesh's own settings of it.

        Args:
            namespace: Its name.
            args: `NamespaceSettings`.
        """
        del namespace, args
        return ()

    @abstractmethod
    def register(self, plan: Planned, options: Callable[..., pulumi.ResourceOptions]) -> Registered:
        """Register the plan.

        Args:
            plan: What `plan` returned.
            options: Makes the options of a component from the resources that it depends on.
        """

    def gateway_account(self, gateway: Gateway, settings: Sections) -> Account | None:
        """Return the account of the pods of a gateway, which is their identity in the mesh.

        Args:
            gateway: A gateway of `meshup:gateways`.
            settings: The configuration.

        Returns:
            The account; None if another controller makes the pods, so that it is not known.
        """
        del gateway, settings
        return None

    def read_routes(self, api: Api, objects: Sequence[Manifest], home: Home) -> Reading:
        """Read the objects that decide on a Service, to write them as a route.

        Args:
            api: The API that they are of.
            objects: The objects, as `normal_route` returns them.
            home: The Service.
        """
        del api, objects, home
        return Reading()

    def normal_route(self, item: Manifest, domain: str) -> Manifest:
        """Return an object of a route as meshup would write the same: full host names, and defaults written out."""
        del domain
        return item

    @abstractmethod
    def find(self, settings: Sections, view: ClusterView) -> tuple[ExistingMesh | None, list[Diagnostic]]:
        """Find a mesh that somebody else has installed."""

    @abstractmethod
    def adopt(self, releases: Mapping[str, HelmRecord], mtls: Mtls) -> Adopted:
        """Return the settings with which a stack has releases of somebody else as they run.

        Args:
            releases: The releases by the name of their chart, that of the control plane among them.
            mtls: The mode of the mesh.
        """

    def check_cluster(self, plan: Planned, view: ClusterView) -> list[Diagnostic]:
        """Report what the cluster lacks for the plan."""
        del plan, view
        return []

    def cannot_redirect(self, kernel: Minor | None, system: str) -> Hindrance | None:
        """Return why a node may not redirect traffic by an init container, None if nothing tells of that.

        Args:
            kernel: Major and minor number of its kernel; None if they are not known.
            system: What the node says of its operating system (`status.nodeInfo.osImage`).
        """
        del kernel, system
        return None

    def cluster_networks(self, plan: Planned) -> str:
        """Return the networks that have to hold the cluster's pods and Services, comma-separated; "" for any."""
        del plan
        return ""

    @abstractmethod
    def certificate_places(self, plan: Planned) -> Sequence[CertificatePlace]:
        """Return where its certificates are on the cluster, the trust anchors first."""

    def injector_failure_policy(self, plan: Planned) -> str:
        """Return the failurePolicy of the webhooks that add sidecars, "" if it is not known."""
        del plan
        return ""

    def renderable(self, plan: Planned) -> Sequence[HelmRelease]:
        """Return the releases with values that render before deployment: what is known only then has a stand-in."""
        return plan.releases

    @abstractmethod
    def injected(self, plan: Planned) -> Mapping[str, Any]:
        """Return what the injector adds to the spec of a pod, as far as admission judges it.

        That is names, images, resources and capabilities of `initContainers` and `containers`. The same object is no
        sidecar that would start.
        """

    def trust_domain(self, settings: Sections) -> str:
        """Return the trust domain of the identities of a mesh that the stack installs."""
        del settings
        return "cluster.local"

    def cluster_domain(self, settings: Sections) -> str:
        """Return the DNS domain of the cluster, for the names of Services."""
        del settings
        return "cluster.local"
