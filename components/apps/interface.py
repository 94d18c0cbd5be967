"""Interface of sample applications; `components.apps.APPS` lists them.

How a stack uses an application::

    plan = app.plan(settings)                         # plain data: its Services, for routes
    plan = app.plan(settings, service_annotations)    # with what the traffic asks for on its Services
    app.register(plan, pod_annotations, options)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

import pulumi
from pydantic import BeforeValidator, Field

from ..arguments import Arguments, Deferred, Replicas, Resources, SecretNames, Sections, over_limit
from ..diagnostics import Diagnostic
from ..gateways.settings import Hosts
from ..manifests import Manifest
from ..scalars import Name, Registry, Tag
from ..security.world import Call
from ..traffic import Service


class AppSettings(Arguments):
    """Settings of every application."""

    namespace: Name
    """Its namespace. meshup makes it, in the mesh."""
    registry: Registry
    """Registry and path of the images."""
    tag: Tag
    """Tag of the images."""
    replicas: Replicas = 1
    """Replicas of each Deployment."""
    resources: Resources | None = None
    """Requests and limits of every container; built in if not set."""
    image_pull_secrets: SecretNames = ()
    """Names of Secrets in the namespace with registry credentials."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the resources."""
        yield from over_limit(f"{path}.resources", self.resources)


class ExposeSettings(Arguments):
    """The gateway by which callers outside of the cluster open an application."""

    gateway: Name = "public"
    """A gateway of `meshup:gateways`. `public` is made, with a listener for http on port 80, if it is not there."""
    hosts: Hosts = ()
    """The hosts that callers use; every host of the gateway if not set."""


def _switch(value: object) -> object:
    """Return what `true` and `false` stand for."""
    return {} if value is True else None if value is False else value


class AppSection(AppSettings):
    """The section of an application in the configuration of a stack."""

    expose: Annotated[ExposeSettings | None, BeforeValidator(_switch, json_schema_input_type=bool | ExposeSettings)] = (
        None
    )
    """`true`, or `{gateway, hosts}`: opens the application to callers outside of the cluster, for the paths that its
    own documentation opens."""


class AppArgs(AppSettings):
    """Arguments of every application. Its namespace exists, in a mesh or not."""

    pod_annotations: dict[str, Deferred] = Field(default_factory=dict)
    """Further annotations of all pods. A change restarts them."""
    service_annotations: dict[str, dict[str, str]] = Field(default_factory=dict[str, dict[str, str]])
    """Further annotations by name of the Service: Linkerd reads circuit breaking from there."""


Args = TypeVar("Args", bound=AppArgs)


@dataclass(frozen=True)
class AppPlan(Generic[Args]):
    """Plan of an application: plain data.

    Attributes:
        name: The name of it in `meshup:apps`.
        args: The arguments of its component.
        objects: The objects that the component creates.
        services: Its Services, for routes.
        entry: The Service that a person opens, its port, and the path.
        calls: The calls that it makes, and those of its users.
    """

    name: str
    args: Args
    objects: tuple[Manifest, ...]
    services: tuple[Service, ...]
    entry: tuple[str, int, str]
    calls: tuple[Call, ...] = ()

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.args.namespace


@dataclass(frozen=True)
class App(Generic[Args]):
    """An application.

    Attributes:
        name: Name in `meshup:apps`, and key of its section in the configuration.
        section: The class of that section.
        args: The class of its arguments.
        services: Returns the Services that routes may name, with their versions.
        manifests: Returns its objects: service accounts, Services, Deployments.
        component: Registers them.
        entry: The Service that a person opens, its port, and the path.
        calls: Returns its call graph: every call that it makes, and those of its users.
        paths: What a gateway opens, as `paths` of a route has it; empty for every path.
    """

    name: str
    section: type[AppSection]
    args: type[Args]
    services: Callable[[Args], Sequence[Service]]
    manifests: Callable[[Args], Sequence[Manifest]]
    component: Callable[[str, Args, pulumi.ResourceOptions], pulumi.Resource]
    entry: tuple[str, int, str]
    calls: Callable[[Args], Sequence[Call]]
    paths: tuple[str | Mapping[str, str], ...] = ()

    def plan(
        self, settings: Sections, service_annotations: Mapping[str, Mapping[str, str]] | None = None
    ) -> AppPlan[Args]:
        """Plan the application."""
        chosen = settings.section(self.section)
        args = chosen.extended(self.args, service_annotations=service_annotations or {})
        services, calls = tuple(self.services(args)), tuple(self.calls(args))
        return AppPlan(self.name, args, tuple(self.manifests(args)), services, self.entry, calls)

    def register(
        self, plan: AppPlan[Args], pod_annotations: Mapping[str, pulumi.Input[str]], opts: pulumi.ResourceOptions
    ) -> pulumi.Resource:
        """Register the plan."""
        args = plan.args.model_copy(update={"pod_annotations": dict(pod_annotations)})
        return self.component(self.name, args, opts)
