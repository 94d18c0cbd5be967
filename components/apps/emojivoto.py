"""Emojivoto, Linkerd's sample application: a web front end that asks two gRPC services, and a bot that votes.

Facts from the manifest that Linkerd serves (run.linkerd.io/public/emojivoto.yml): names, labels, ports,
environment, images. That manifest writes the host names for the namespace `emojivoto`; here they follow the
namespace. The bot is told its host in the same way. All programs listen above port 1024 and write no file.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi

from components.manifests import Manifest, register, with_pod_annotations, with_service_annotations
from components.routing import Port, Service, Version

DEFAULT_NAMESPACE = "emojivoto"
WEB_PORT = 80
GRPC_PORT = 8080
METRICS_PORT = 8801
DEFAULT_VERSION = "v11"
_USER = 1000
_ACCOUNTS = ("emoji", "voting", "web")
_LABELS = {"app.kubernetes.io/part-of": "emojivoto", "app.kubernetes.io/managed-by": "meshup"}


class EmojivotoArgs(TypedDict):
    """Arguments of `Emojivoto`."""

    registry: str
    """Registry and path of the images, such as ghcr.io/buoyantio."""
    tag: str
    """Tag of the images."""
    namespace: NotRequired[str]
    """An existing namespace, in the mesh or not; `emojivoto` if not set. All host names follow it."""
    web_versions: NotRequired[Mapping[str, str]]
    """Versions of the front end, each with the tag of its image, to split traffic over. The first is the Deployment
    `web`, the others are `web-VERSION`; only `v11` with the common tag if not set."""
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


def services(namespace: str = DEFAULT_NAMESPACE, web_versions: Mapping[str, str] | None = None) -> list[Service]:
    """Return the Services that routes may name, with their versions."""
    grpc = (Port(GRPC_PORT, "grpc"), Port(METRICS_PORT, "prom", "http"))
    declared = (
        ("emoji-svc", grpc, (DEFAULT_VERSION,)),
        ("voting-svc", grpc, (DEFAULT_VERSION,)),
        ("web-svc", (Port(WEB_PORT, "http", "http"),), tuple(web_versions or {DEFAULT_VERSION: ""})),
    )
    return [
        Service(
            name=name,
            namespace=namespace,
            ports=ports,
            versions=tuple(Version(version, (("version", version),)) for version in versions),
            selector=(("app", name),),
        )
        for name, ports, versions in declared
    ]


def manifests(args: EmojivotoArgs) -> list[Manifest]:
    """Return the objects of the application: service accounts, Services, Deployments."""
    web_versions = args.get("web_versions") or {DEFAULT_VERSION: args["tag"]}
    deployments = [_grpc(args, "emoji"), _grpc(args, "voting")]
    for position, (version, tag) in enumerate(web_versions.items()):
        deployments.append(_web(args, "web" if position == 0 else f"web-{version}", version, tag))
    if args.get("vote_bot", True):
        deployments.append(_bot(args))
    accounts = [_account(args, name) for name in _ACCOUNTS]
    # Linkerd takes connections to a port whose appProtocol it does not know, such as grpc, as opaque: the name says it.
    grpc_ports = [("grpc", GRPC_PORT, GRPC_PORT, ""), ("prom", METRICS_PORT, METRICS_PORT, "http")]
    plain = [
        _service(args, "emoji-svc", grpc_ports),
        _service(args, "voting-svc", grpc_ports),
        _service(args, "web-svc", [("http", WEB_PORT, GRPC_PORT, "http")]),
    ]
    annotations = args.get("service_annotations", {})
    return accounts + [with_service_annotations(item, annotations) for item in plain] + deployments


def _namespace(args: EmojivotoArgs) -> str:
    return args.get("namespace", DEFAULT_NAMESPACE)


def _metadata(args: EmojivotoArgs, name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "namespace": _namespace(args), "labels": {**labels, **_LABELS}}


def _account(args: EmojivotoArgs, name: str) -> Manifest:
    account: Manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(args, name, {"app.kubernetes.io/name": name}),
        # No container calls the Kubernetes API; the proxy brings a token of its own.
        "automountServiceAccountToken": False,
    }
    if args.get("image_pull_secrets"):
        account["imagePullSecrets"] = [{"name": secret} for secret in args.get("image_pull_secrets", [])]
    return account


def _service(args: EmojivotoArgs, name: str, ports: list[tuple[str, int, int, str]]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(args, name, {"app": name}),
        "spec": {
            "ports": [
                {
                    **{"name": port, "port": number, "targetPort": target, "protocol": "TCP"},
                    **({"appProtocol": protocol} if protocol else {}),
                }
                for port, number, target, protocol in ports
            ],
            "selector": {"app": name},
        },
    }


def _grpc(args: EmojivotoArgs, name: str) -> Manifest:
    container = _container(
        args,
        name,
        f"emojivoto-{name}-svc:{args['tag']}",
        cpu="100m",
        environment={"GRPC_PORT": str(GRPC_PORT), "PROM_PORT": str(METRICS_PORT)},
        ports={"grpc": GRPC_PORT, "prom": METRICS_PORT},
    )
    container["readinessProbe"] = {"httpGet": {"path": "/metrics", "port": METRICS_PORT}, "periodSeconds": 5}
    return _deployment(
        args,
        name,
        container,
        app=f"{name}-svc",
        version=DEFAULT_VERSION,
        account=name,
        replicas=args.get("replicas", 1),
    )


def _web(args: EmojivotoArgs, name: str, version: str, tag: str) -> Manifest:
    namespace = _namespace(args)
    environment = {
        "WEB_PORT": str(GRPC_PORT),
        "EMOJISVC_HOST": f"emoji-svc.{namespace}:{GRPC_PORT}",
        "VOTINGSVC_HOST": f"voting-svc.{namespace}:{GRPC_PORT}",
        "INDEX_BUNDLE": "dist/index_bundle.js",
    }
    container = _container(
        args, "web", f"emojivoto-web:{tag}", cpu="100m", environment=environment, ports={"http": GRPC_PORT}
    )
    container["readinessProbe"] = {"httpGet": {"path": "/", "port": GRPC_PORT}, "periodSeconds": 5}
    return _deployment(
        args, name, container, app="web-svc", version=version, account="web", replicas=args.get("replicas", 1)
    )


def _bot(args: EmojivotoArgs) -> Manifest:
    environment = {"WEB_HOST": f"web-svc.{_namespace(args)}:{WEB_PORT}"}
    container = _container(
        args, "vote-bot", f"emojivoto-web:{args['tag']}", cpu="10m", environment=environment, ports={}
    )
    container["command"] = ["emojivoto-vote-bot"]
    return _deployment(args, "vote-bot", container, app="vote-bot", version=DEFAULT_VERSION, account="", replicas=1)


def _container(
    args: EmojivotoArgs, name: str, image: str, *, cpu: str, environment: dict[str, str], ports: dict[str, int]
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": f"{args['registry'].rstrip('/')}/{image}",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": args.get("resources", {"requests": {"cpu": cpu, "memory": "32Mi"}, "limits": {"memory": "128Mi"}}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    if ports:
        container["ports"] = [
            {"name": port, "containerPort": number, "protocol": "TCP"} for port, number in ports.items()
        ]
    return container


def _deployment(
    args: EmojivotoArgs, name: str, container: dict[str, Any], *, app: str, version: str, account: str, replicas: int
) -> Manifest:
    selector = {"app": app, "version": version}
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if account:
        pod["serviceAccountName"] = account
    elif args.get("image_pull_secrets"):
        pod["imagePullSecrets"] = [{"name": secret} for secret in args.get("image_pull_secrets", [])]
    labels = {**selector, "app.kubernetes.io/name": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(args, name, labels),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": {**labels, **_LABELS}}, "spec": pod},
        },
    }


class Emojivoto(pulumi.ComponentResource):
    """The application. Its namespace must be in the mesh before: a pod is injected when it is made."""

    def __init__(self, name: str, args: EmojivotoArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:Emojivoto", name, {}, opts)
        accounts: dict[str, pulumi.Resource] = {}
        for item in manifests(args):
            account = ""
            if item["kind"] == "Deployment":
                account = item["spec"]["template"]["spec"].get("serviceAccountName", "")
            resource = register(
                f"{name}-{item['metadata']['name']}-{item['kind'].lower()}",
                with_pod_annotations(item, args.get("pod_annotations", {})),
                pulumi.ResourceOptions(parent=self, depends_on=[accounts[account]] if account else []),
            )
            if item["kind"] == "ServiceAccount":
                accounts[item["metadata"]["name"]] = resource
        self.register_outputs({})
