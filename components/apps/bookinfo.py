"""Bookinfo, Istio's sample application: four Services, six Deployments.

Facts from samples/bookinfo/platform/kube/bookinfo.yaml and samples/bookinfo/src of Istio 1.30: names, labels, ports,
images, and that every image answers GET /health on its port. The images run as user 1000 (details, productpage,
ratings) and 1001 (reviews), so all pods are non-root, without capabilities and without privilege escalation. The root
file system of reviews stays writable: Open Liberty writes its output and its class cache there.
"""

from typing import Any, NotRequired, TypedDict

import pulumi

from components.manifests import Manifest, register, with_pod_annotations, with_service_annotations
from components.routing import Port, Service, Version

PORT = 9080
DEFAULT_NAMESPACE = "bookinfo"
_VERSIONS = {"details": ("v1",), "ratings": ("v1",), "reviews": ("v1", "v2", "v3"), "productpage": ("v1",)}
_USERS = {"details": 1000, "ratings": 1000, "reviews": 1001, "productpage": 1000}
_LABELS = {"app.kubernetes.io/part-of": "bookinfo", "app.kubernetes.io/managed-by": "meshup"}
_SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
# Java and eight gunicorn workers.
_LARGE = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
_RESOURCES = {"details": _SMALL, "ratings": _SMALL, "reviews": _LARGE, "productpage": _LARGE}


class BookinfoArgs(TypedDict):
    """Arguments of `Bookinfo`."""

    registry: str
    """Registry and path of the images, such as registry.istio.io/release."""
    tag: str
    """Tag of the images."""
    namespace: NotRequired[str]
    """An existing namespace, in the mesh or not; `bookinfo` if not set."""
    replicas: NotRequired[int]
    """Replicas of each Deployment; 1 if not set."""
    resources: NotRequired[dict[str, Any]]
    """Resource requests and limits of every container, in place of the built-in ones."""
    image_pull_secrets: NotRequired[list[str]]
    """Names of Secrets in the namespace with registry credentials."""
    pod_annotations: NotRequired[dict[str, pulumi.Input[str]]]
    """Further annotations of all pods. A change restarts them."""
    service_annotations: NotRequired[dict[str, dict[str, str]]]
    """Further annotations by name of the Service: Linkerd reads circuit breaking from there."""


def services(namespace: str = DEFAULT_NAMESPACE) -> list[Service]:
    """Return the Services that routes may name, with their versions."""
    return [
        Service(
            name=app,
            namespace=namespace,
            ports=(Port(PORT, "http", "http"),),
            versions=tuple(Version(version, (("version", version),)) for version in versions),
            selector=(("app", app),),
        )
        for app, versions in _VERSIONS.items()
    ]


def manifests(args: BookinfoArgs) -> list[Manifest]:
    """Return the objects of the application: service accounts, Services, Deployments."""
    accounts: list[Manifest] = []
    plain: list[Manifest] = []
    deployments: list[Manifest] = []
    for app, versions in _VERSIONS.items():
        accounts.append(_account(args, app))
        plain.append(_service(args, app))
        deployments.extend(_deployment(args, app, version) for version in versions)
    annotations = args.get("service_annotations", {})
    return accounts + [with_service_annotations(item, annotations) for item in plain] + deployments


def _metadata(args: BookinfoArgs, name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "namespace": args.get("namespace", DEFAULT_NAMESPACE), "labels": {**labels, **_LABELS}}


def _account(args: BookinfoArgs, app: str) -> Manifest:
    account: Manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(args, f"bookinfo-{app}", {"account": app}),
        # No container of Bookinfo calls the Kubernetes API; the sidecar brings a token of its own.
        "automountServiceAccountToken": False,
    }
    if args.get("image_pull_secrets"):
        account["imagePullSecrets"] = [{"name": name} for name in args.get("image_pull_secrets", [])]
    return account


def _service(args: BookinfoArgs, app: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(args, app, {"app": app, "service": app}),
        "spec": {
            "ports": [
                {"name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP", "appProtocol": "http"},
            ],
            "selector": {"app": app},
        },
    }


def _deployment(args: BookinfoArgs, app: str, version: str) -> Manifest:
    selector = {"app": app, "version": version}
    template: dict[str, Any] = {"labels": {**selector, **_LABELS}}
    if app == "productpage":
        template["annotations"] = {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(PORT),
            "prometheus.io/path": "/metrics",
        }
    pod: dict[str, Any] = {
        "serviceAccountName": f"bookinfo-{app}",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USERS[app],
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(args, app, version)],
    }
    if app in ("productpage", "reviews"):
        pod["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(args, f"{app}-{version}", selector),
        "spec": {
            "replicas": args.get("replicas", 1),
            "selector": {"matchLabels": selector},
            "template": {"metadata": template, "spec": pod},
        },
    }


def _container(args: BookinfoArgs, app: str, version: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": app,
        "image": f"{args['registry'].rstrip('/')}/examples-bookinfo-{app}-{version}:{args['tag']}",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": args.get("resources", _RESOURCES[app]),
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 5},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": app != "reviews",
        },
    }
    if app == "reviews":
        container["env"] = [{"name": "LOG_DIR", "value": "/tmp/logs"}]  # noqa: S108 # a path in the container
    if app in ("productpage", "reviews"):
        container["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 # a path in the container
    return container


class Bookinfo(pulumi.ComponentResource):
    """The application. Its namespace must be labelled for the mesh before: a pod is injected when it is made."""

    def __init__(self, name: str, args: BookinfoArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:Bookinfo", name, {}, opts)
        accounts: dict[str, pulumi.Resource] = {}
        for item in manifests(args):
            account = item["spec"]["template"]["spec"]["serviceAccountName"] if item["kind"] == "Deployment" else ""
            resource = register(
                f"{name}-{item['metadata']['name']}-{item['kind'].lower()}",
                with_pod_annotations(item, args.get("pod_annotations", {})),
                pulumi.ResourceOptions(parent=self, depends_on=[accounts[account]] if account else []),
            )
            if item["kind"] == "ServiceAccount":
                accounts[item["metadata"]["name"]] = resource
        self.register_outputs({})
