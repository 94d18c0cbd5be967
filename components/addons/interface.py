"""Interface of add-ons: one chart beside the mesh each.

`components.addons.ADDONS` lists those that go with any mesh, `Mesh.addons` those of one mesh. How a stack uses them,
after it has planned and registered the mesh::

    args = addon.args(AddonRequest(...))                           # None if it is not wanted
    plan = addon.plan(args)                                        # plain data
    AddonChart(plan, registered.addon_values.get(addon.name, {}), options)
"""

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

import pulumi

from ..arguments import Arguments, Sections
from ..diagnostics import Diagnostic
from ..helm import DEFAULT_TIMEOUT, ChartSource, HelmRelease, chart_release, merged, register
from ..manifests import MANAGED_BY, Manifest
from ..namespace import Namespace, namespace_metadata
from ..observability.source import MetricsSource
from ..passwords import GeneratedPassword, Password
from ..resources import register as register_object
from ..scalars import Name, Repository, SecretName, ServerUrl, Version
from ..security.model import Account
from ..security.plane import SecurityPlane
from ..traffic.targets import Planned
from .access import Opening, Proxy


class AddonSettings(Arguments):
    """Settings of every add-on."""

    enabled: bool = False
    """Whether it is installed."""
    namespace: Name
    """Its namespace. meshup makes it."""
    version: Version | None = None
    """Exact version of its chart, if it is another than the pinned one or that of a directory of charts."""
    repository: Repository | None = None
    """Where its chart comes from, if that is another place than `meshup:charts` or its own project."""


class Login(Arguments):
    """How add-ons log in to a server of one's own."""

    type: Literal["basic", "bearer"]
    """`basic`: a user and a password; `bearer`: a token."""
    secret: SecretName
    """A Secret in the namespace of each add-on that connects, with the keys `user` and `password`, or `token`. It is
    yours: put it there before, or while the first `up` waits for the pods that need it."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the Secret."""
        return ("user", "password") if self.type == "basic" else ("token",)


@dataclass(frozen=True)
class Address:
    """Where a server is that add-ons connect to.

    Attributes:
        url: Its address as pods of the cluster reach it, without a slash at the end.
        login: How to log in to a server of one's own; None if it asks for nothing, as the add-ons of meshup.
        namespace: The namespace of an add-on of this stack, "" for a server of one's own.
    """

    url: str
    login: Login | None = None
    namespace: str = ""


class ServerSettings(AddonSettings):
    """Settings of an add-on that others connect to: it is installed, or it is there already."""

    service: ClassVar[str]
    """Its Service."""
    port: ClassVar[int]
    """The HTTP port of its Service."""

    url: ServerUrl | None = None
    """Address of one that you run already, as pods of the cluster reach it, in place of `enabled`."""
    login: Login | None = None
    """How to log in there, if it asks for that."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse an address of one that is to be installed, and a login without an address."""
        yield from super().check(path)
        if self.installed and self.url is not None:
            yield Diagnostic("MSH620", f"{path}.url", None, "It is to be installed as well.", "enabled, or url")
        if self.login is not None and self.url is None:
            message = "There is a login, and no address of a server of your own."
            yield Diagnostic("MSH003", f"{path}.url", None, message)

    @property
    def installed(self) -> bool:
        """Whether it runs in its namespace."""
        return self.enabled

    def address(self) -> Address | None:
        """Return where it is, None if there is none."""
        if self.url is not None:
            return Address(self.url, self.login)
        if not self.installed:
            return None
        return Address(f"http://{self.service}.{self.namespace}.svc:{self.port}", namespace=self.namespace)


Args = TypeVar("Args", bound=AddonSettings)


@dataclass(frozen=True, kw_only=True)
class AddonRequest:
    """What add-ons are planned from.

    Attributes:
        settings: The configuration.
        mesh: The name of the mesh.
        args: The arguments of the mesh.
        version: The version of the mesh.
        control_plane: The namespace of its control plane.
        metrics: The metrics that its proxies may have, the default first.
        membership: Labels and annotations of a namespace in the mesh.
        namespaces: The namespaces in the mesh whose pods have sidecars.
        gateways: The namespaces of gateways.
        plane: The ports of proxies, and how policies are written.
        collector_in_mesh: See `Mesh`.
        readers: For each add-on the namespaces of those that connect to it.
        scrapers: The namespaces of those that scrape proxies.
        routes: The routes as they were compiled.
        charts: Where charts come from.
    """

    settings: Sections
    mesh: str
    args: Arguments
    version: str
    control_plane: str
    metrics: Sequence[MetricsSource]
    membership: tuple[Mapping[str, str], Mapping[str, str]]
    namespaces: Sequence[str]
    routes: Sequence[Planned]
    charts: ChartSource
    plane: SecurityPlane
    collector_in_mesh: bool = False
    gateways: Sequence[str] = ()
    readers: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    scrapers: Sequence[str] = ()

    @property
    def proxy(self) -> Proxy:
        """What the sidecars of an add-on take."""
        return Proxy(self.plane.inbound_port, Opening(frozenset(self.scrapers), frozenset(self.plane.mesh_ports)))

    def namespace(self, name: str, *, meshed: bool, pod_security: str) -> Mapping[str, Any]:
        """Return the metadata of a namespace of an add-on; what injects its sidecars has privileges."""
        if not meshed:
            return namespace_metadata(name, pod_security=pod_security)
        labels, annotations = self.membership
        return namespace_metadata(name, pod_security="privileged", labels=labels, annotations=annotations)

    @property
    def other_charts(self) -> ChartSource:
        """Where charts come from that are not of the mesh's project, whose repository does not have them."""
        return ChartSource(directory=self.charts.directory)

    def callers(self, addon: str, namespace: str, further: Iterable[str]) -> frozenset[str]:
        """Return the namespaces that may connect to an add-on: its own, those of add-ons that read it, and others."""
        return frozenset({namespace, *self.readers.get(addon, ()), *further})

    @property
    def proxies(self) -> list[str]:
        """The namespaces whose proxies may send spans."""
        return sorted({*self.namespaces, *self.gateways})


@dataclass(frozen=True, kw_only=True)
class AddonPlan:
    """Plan of an add-on: plain data.

    Attributes:
        name: The name of the add-on.
        resource: Class and Pulumi name of its component.
        release: Its Helm release; None if objects are all that it has.
        namespace: The metadata of its namespace.
        dashboard: How its dashboard is opened, for the stack output `dashboards`; empty for none.
        awaited: See `Addon`.
        objects: Further objects in its namespace, created before the release.
        passwords: By name of a Secret among these objects, the password that is generated into it.
        diagnostics: What is worth knowing, or wrong.
    """

    name: str
    resource: tuple[str, str]
    release: HelmRelease | None
    namespace: Mapping[str, Any]
    dashboard: Mapping[str, str] = field(default_factory=dict[str, str])
    awaited: bool = True
    objects: tuple[Manifest, ...] = ()
    passwords: Mapping[str, GeneratedPassword] = field(default_factory=dict[str, GeneratedPassword])
    diagnostics: tuple[Diagnostic, ...] = ()


class Addon(ABC, Generic[Args]):
    """A chart beside the mesh. Nothing depends on it."""

    name: ClassVar[str]
    """Name of the chart and of the release; key of the stack output `dashboards`."""
    resource: ClassVar[tuple[str, str]]
    """Class and Pulumi name of its component."""
    repository: ClassVar[str]
    """The chart repository of its project."""
    sections: ClassVar[Mapping[str, "type[AddonSettings]"]] = {}
    """Its own sections of a stack's configuration, with their classes."""
    awaited: ClassVar[bool] = True
    """Whether Helm waits for its workloads; False for a chart without any."""
    dashboard: ClassVar[tuple[str, int] | None] = None
    """Service and port of its dashboard."""
    reads: ClassVar[frozenset[str]] = frozenset()
    """Names of the add-ons that it connects to, if they are there."""

    def scrapers(self, settings: Sections) -> Sequence[Account | None]:
        """Return the service accounts of its pods that read the metrics of proxies; None for one that is not known."""
        del settings
        return ()

    def namespace_in(self, settings: Sections) -> str:
        """Return its namespace, "" if it is not installed."""
        chosen = (settings.section(kind) for kind in self.sections.values())
        return next((one.namespace for one in chosen if one.enabled), "")

    @abstractmethod
    def args(self, request: AddonRequest) -> Args | None:
        """Return the arguments of the add-on, None if it is disabled."""

    @abstractmethod
    def release(self, args: Args) -> HelmRelease | None:
        """Return the Helm release, if it has one; `addon_release` makes it."""

    @abstractmethod
    def namespace(self, args: Args) -> Mapping[str, Any]:
        """Return the metadata of its namespace."""

    def objects(self, args: Args) -> Sequence[Manifest]:
        """Return further objects in its namespace."""
        del args
        return ()

    def passwords(self, args: Args) -> Mapping[str, GeneratedPassword]:
        """Return the passwords that are generated into Secrets among these objects, by name of the Secret."""
        del args
        return {}

    def login(self, args: Args) -> Mapping[str, str]:
        """Return how to log in, for the stack output `dashboards`: a user, and the command that shows a password."""
        del args
        return {}

    def check(self, args: Args) -> Sequence[Diagnostic]:
        """Return what is wrong, or worth knowing."""
        del args
        return ()

    def plan(self, args: Args) -> AddonPlan:
        """Plan the add-on."""
        release = self.release(args)
        opened: dict[str, str] = {}
        if self.dashboard is not None and release is not None:
            service, port = self.dashboard
            where = f"--namespace {release['namespace']}"
            opened = {
                "command": f"kubectl {where} port-forward service/{service} {port}:{port}",
                "url": f"http://localhost:{port}/",
                **self.login(args),
            }
        return AddonPlan(
            name=self.name,
            resource=self.resource,
            release=release,
            namespace=self.namespace(args),
            dashboard=opened,
            awaited=self.awaited,
            objects=tuple(self.objects(args)),
            passwords=self.passwords(args),
            diagnostics=tuple(self.check(args)),
        )


def addon_release(
    addon: Addon[Args],
    args: Args,
    charts: ChartSource,
    *,
    version: str,
    values: dict[str, Any],
    timeout: int = DEFAULT_TIMEOUT,
) -> HelmRelease:
    """Return the release of an add-on; its configured version and repository override the arguments."""
    source = ChartSource(repository=args.repository) if args.repository else charts
    version = args.version or version
    made = chart_release(addon.name, source, addon.repository, version=version, namespace=args.namespace, values=values)
    made["role"], made["timeout"] = addon.resource[1], timeout
    return made


def plain_object(kind: str, name: str, namespace: str) -> Manifest:
    """Return a ConfigMap or a Secret without data, with meshup's label."""
    metadata = {"name": name, "namespace": namespace, "labels": dict(MANAGED_BY)}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


class AddonChart(pulumi.ComponentResource):
    """An add-on in a namespace of its own."""

    def __init__(self, plan: AddonPlan, values: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        """Register an add-on.

        Args:
            plan: What to register.
            values: Further chart values, which may be known only at deployment. The plan's values override them.
            opts: Of the component.
        """
        kind, name = plan.resource
        super().__init__(f"meshup:index:{kind}", name, {}, opts)
        where = plan.namespace["name"]
        namespace = Namespace(f"{name}-{where}", plan.namespace, pulumi.ResourceOptions(parent=self))
        made: list[pulumi.Resource] = [namespace]
        for item in plan.objects:
            role = f"{item['metadata']['name']}-{item['kind'].lower()}"
            options = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
            wanted = plan.passwords.get(item["metadata"]["name"]) if item["kind"] == "Secret" else None
            if wanted is None:
                made.append(register_object(f"{name}-{role}", item, options))
                continue
            password = Password(f"{name}-{role}-password", wanted, pulumi.ResourceOptions(parent=self))
            hidden = pulumi.ResourceOptions(additional_secret_outputs=["data"])
            options = pulumi.ResourceOptions.merge(options, hidden)
            made.append(register_object(f"{name}-{role}", _with_password(item, wanted.key, password), options))
        if plan.release is not None:
            release: HelmRelease = {**plan.release, "values": merged(values, plan.release["values"])}
            child = pulumi.ResourceOptions(parent=self, depends_on=made)
            register(f"{name}-release", release, child, awaited=plan.awaited)
        self.register_outputs({})


def _with_password(secret: Manifest, key: str, password: Password) -> Manifest:
    """Return a Secret with a password in its data. It is a secret of Pulumi wherever it stands."""
    encoded = pulumi.Output.secret(password.value).apply(lambda text: base64.b64encode(text.encode()).decode())
    return {**secret, "data": {**secret.get("data", {}), key: encoded}}
