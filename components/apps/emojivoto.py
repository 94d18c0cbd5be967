"""Emojivoto, Linkerd's sample application: a web front end, its two gRPC backends, and a bot that votes.

Facts from the manifest that Linkerd serves (run.linkerd.io/public/emojivoto.yml): names, labels, ports,
environment, images. That manifest has host names in the namespace `emojivoto`; here they follow the
namespace, that of the bot too. All programs listen above port 1024 and write no file.
"""

from collections.abc import Mapping
from typing import Any

import pulumi
from pydantic import Field

from ..arguments import Replicas
from ..manifests import Manifest
from ..scalars import Name, Registry, Tag
from ..security.model import Account
from ..security.world import Call
from ..traffic import Port, Service
from .interface import App, AppArgs, AppSection, AppSettings
from .workloads import Workloads, register_all, versioned_service

# renovate: datasource=docker depName=ghcr.io/buoyantio/emojivoto-web
EMOJIVOTO = "v11"
WEB_PORT = 80
GRPC_PORT = 8080
METRICS_PORT = 8801


class EmojivotoSettings(AppSettings):
    """Settings of emojivoto."""

    namespace: Name = "emojivoto"
    """Its namespace. meshup makes it, in the mesh. All host names follow it."""
    registry: Registry = "ghcr.io/buoyantio"
    """Registry and path of the images."""
    tag: Tag = EMOJIVOTO
    """Tag of the images."""
    replicas: Replicas = 1
    """Replicas of each Deployment but the bot's."""
    web_versions: dict[Name, Tag] = Field(default_factory=dict[Name, Tag])
    """Versions of the front end, each with the tag of its image, to split `web-svc` over. The first is the Deployment
    `web`, the others are `web-VERSION`; only the common version with the common tag if not set."""
    vote_bot: bool = True
    """Whether the bot votes all the time."""


class EmojivotoSection(EmojivotoSettings, AppSection):
    """The section `meshup:emojivoto`."""


class EmojivotoArgs(EmojivotoSettings, AppArgs):
    """Arguments of `Emojivoto`."""

    version: Tag = EMOJIVOTO
    """The version that pods are labelled with."""

    @property
    def front_ends(self) -> Mapping[str, str]:
        """The versions of the front end with their tags."""
        return self.web_versions or {self.version: self.tag}


def services(args: EmojivotoArgs) -> list[Service]:
    """Return the Services that routes may refer to, with their versions."""
    # Linkerd treats a port with an unknown appProtocol, such as grpc, as opaque; so only the port name is set.
    grpc = (Port(GRPC_PORT, "grpc"), Port(METRICS_PORT, "prom", "http"))
    return [
        versioned_service("emoji-svc", args.namespace, grpc, (args.version,)),
        versioned_service("voting-svc", args.namespace, grpc, (args.version,)),
        versioned_service("web-svc", args.namespace, (Port(WEB_PORT, "http", "http", GRPC_PORT),), args.front_ends),
    ]


def manifests(args: EmojivotoArgs) -> list[Manifest]:
    """Return the objects of the application: service accounts, Services, Deployments."""
    made = Workloads("emojivoto", args)
    names = ["web", *(f"web-{name}" for name in list(args.front_ends)[1:])]
    return [
        *(made.account(name, {"app.kubernetes.io/name": name}) for name in ("emoji", "voting", "web")),
        *(made.service(item, {"app": item.name}) for item in services(args)),
        *(_grpc(made, name, args.version, args.tag) for name in ("emoji", "voting")),
        *(_web(made, name, *chosen) for name, chosen in zip(names, args.front_ends.items(), strict=True)),
        *([_bot(made, args.version, args.tag)] if args.vote_bot else []),
    ]


def calls(args: EmojivotoArgs) -> list[Call]:
    """Return its call graph.

    From the sources of emojivoto e490d57: emojivoto-web/web/web.go and cmd/vote-bot. The bot has no account of its
    own. The front end has a method of VotingService for each of 100 emojis, so the whole service is meant.
    """
    pages = ("/", "/leaderboard", "/js", "/img/favicon.ico", {"prefix": "/dist"})
    data = ("/api/list", "/api/vote", "/api/leaderboard")
    service, vote = "emojivoto.v1", "/api/vote?choice=:doughnut:"

    def call(caller: Account | None, name: str, port: int, method: str, *paths: str | dict[str, str], to: str) -> Call:
        return Call(caller, name, args.namespace, port, method, paths, to)

    web, bot = (Account(args.namespace, name) for name in ("web", "default"))
    emojis = tuple(f"/{service}.EmojiService/{method}" for method in ("ListAll", "FindByShortcode"))
    votes = f"/{service}.VotingService"
    return [
        call(None, "web-svc", WEB_PORT, "GET", *pages, *data, to="/"),
        *([call(bot, "web-svc", WEB_PORT, "GET", *data[:2], to=vote)] if args.vote_bot else []),
        call(web, "emoji-svc", GRPC_PORT, "POST", *emojis, to=emojis[0]),
        call(web, "voting-svc", GRPC_PORT, "POST", {"prefix": votes}, to=f"{votes}/Results"),
    ]


def _deployment(
    made: Workloads, name: str, app: str, version: str, container: Mapping[str, Any], **more: Any
) -> Manifest:
    selector, labels = {"app": app, "version": version}, {"app.kubernetes.io/name": name}
    return made.deployment(name, selector, container, user=1000, labels=labels, **more)


def _resources(cpu: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": "32Mi"}, "limits": {"memory": "128Mi"}}


def _grpc(made: Workloads, name: str, version: str, tag: str) -> Manifest:
    container = made.container(
        name,
        f"emojivoto-{name}-svc:{tag}",
        _resources("100m"),
        ports={"grpc": GRPC_PORT, "prom": METRICS_PORT},
        ready=("/metrics", METRICS_PORT),
        environment={"GRPC_PORT": str(GRPC_PORT), "PROM_PORT": str(METRICS_PORT)},
    )
    return _deployment(made, name, f"{name}-svc", version, container, account=name)


def _web(made: Workloads, name: str, version: str, tag: str) -> Manifest:
    environment = {
        "WEB_PORT": str(GRPC_PORT),
        "EMOJISVC_HOST": f"emoji-svc.{made.namespace}:{GRPC_PORT}",
        "VOTINGSVC_HOST": f"voting-svc.{made.namespace}:{GRPC_PORT}",
        "INDEX_BUNDLE": "dist/index_bundle.js",
    }
    ports = {"http": GRPC_PORT}
    container = made.container(
        "web", f"emojivoto-web:{tag}", _resources("100m"), ports=ports, ready=("/", GRPC_PORT), environment=environment
    )
    return _deployment(made, name, "web-svc", version, container, account="web")


def _bot(made: Workloads, version: str, tag: str) -> Manifest:
    environment = {"WEB_HOST": f"web-svc.{made.namespace}:{WEB_PORT}"}
    container = made.container("vote-bot", f"emojivoto-web:{tag}", _resources("10m"), environment=environment)
    container["command"] = ["emojivoto-vote-bot"]
    return _deployment(made, "vote-bot", "vote-bot", version, container, replicas=1)


class Emojivoto(pulumi.ComponentResource):
    """The emojivoto application. Its namespace must already be in the mesh: pods are injected at creation."""

    def __init__(
        self, name: str, args: EmojivotoArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:Emojivoto", name, {}, opts)
        args = EmojivotoArgs.of(args)
        register_all(self, name, manifests(args), args.pod_annotations)
        self.register_outputs({})


APP = App(
    "emojivoto",
    EmojivotoSection,
    EmojivotoArgs,
    services,
    manifests,
    Emojivoto,
    entry=("web-svc", WEB_PORT, "/"),
    calls=calls,
)
