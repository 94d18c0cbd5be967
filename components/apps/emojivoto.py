"""Emojivoto, Linkerd's sample application: a web front end that asks two gRPC services, and a bot that votes.

Facts from the manifest that Linkerd serves (run.linkerd.io/public/emojivoto.yml): names, labels, ports,
environment, images. That manifest writes the host names for the namespace `emojivoto`; here they follow the
namespace. The bot is told its host in the same way. All programs listen above port 1024 and write no file.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi

from ..manifests import Manifest
from ..traffic import Port, Service
from .workloads import Workloads, declared, register_all

DEFAULT_NAMESPACE = "emojivoto"
WEB_PORT = 80
GRPC_PORT = 8080
METRICS_PORT = 8801


class EmojivotoArgs(TypedDict):
    """Arguments of `Emojivoto`."""

    registry: str
    """Registry and path of the images, such as ghcr.io/buoyantio."""
    tag: str
    """Tag of the images."""
    namespace: NotRequired[str]
    """An existing namespace, in the mesh or not; `emojivoto` if not set. All host names follow it."""
    version: NotRequired[str]
    """The version that pods are labelled with; the tag if not set."""
    web_versions: NotRequired[Mapping[str, str]]
    """Versions of the front end, each with the tag of its image, to split traffic over. The first is the Deployment
    `web`, the others are `web-VERSION`; only the common version with the common tag if not set."""
    vote_bot: NotRequired[bool]
    """Whether the bot votes all the time; True if not set."""
    replicas: NotRequired[int]
    """Replicas of each Deployment but the bot's; 1 if not set."""
    resources: NotRequired[dict[str, Any]]
    """Resource requests and limits of every container, in place of the built-in ones."""
    image_pull_secrets: NotRequired[list[str]]
    """Names of Secrets in the namespace with registry credentials."""
    pod_annotations: NotRequired[dict[str, pulumi.Input[str]]]
    """Further annotations of all pods. A change restarts them."""
    service_annotations: NotRequired[dict[str, dict[str, str]]]
    """Further annotations by name of the Service: Linkerd reads circuit breaking from there."""


def services(
    namespace: str = DEFAULT_NAMESPACE, version: str = "", web_versions: Mapping[str, str] | None = None
) -> list[Service]:
    """Return the Services that routes may name, with their versions: `version`, and those of the front end."""
    # Linkerd takes connections to a port whose appProtocol it does not know, such as grpc, as opaque: the name says it.
    grpc = (Port(GRPC_PORT, "grpc"), Port(METRICS_PORT, "prom", "http"))
    return [
        declared("emoji-svc", namespace, grpc, (version,)),
        declared("voting-svc", namespace, grpc, (version,)),
        declared("web-svc", namespace, (Port(WEB_PORT, "http", "http", GRPC_PORT),), web_versions or (version,)),
    ]


def manifests(args: EmojivotoArgs) -> list[Manifest]:
    """Return the objects of the application: service accounts, Services, Deployments."""
    made = Workloads("emojivoto", args)
    version, tag = args.get("version", args["tag"]), args["tag"]
    web_versions = args.get("web_versions") or {version: tag}
    names = ["web", *(f"web-{name}" for name in list(web_versions)[1:])]
    return [
        *(made.account(name, {"app.kubernetes.io/name": name}) for name in ("emoji", "voting", "web")),
        *(made.service(item, {"app": item.name}) for item in services(made.namespace, version, web_versions)),
        *(_grpc(made, name, version, tag) for name in ("emoji", "voting")),
        *(_web(made, name, *chosen) for name, chosen in zip(names, web_versions.items(), strict=True)),
        *([_bot(made, version, tag)] if args.get("vote_bot", True) else []),
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
    """The application. Its namespace must be in the mesh before: a pod is injected when it is made."""

    def __init__(self, name: str, args: EmojivotoArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:Emojivoto", name, {}, opts)
        register_all(self, name, manifests(args), args.get("pod_annotations", {}))
        self.register_outputs({})
