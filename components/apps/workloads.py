"""Common parts of the sample applications: pure builders of objects, and their registration."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from ..manifests import Manifest
from ..resources import register
from ..traffic import Port, Service, Version
from .interface import AppArgs


@dataclass(frozen=True)
class Workloads:
    """Builds the objects of an application.

    Attributes:
        app: The application.
        args: The arguments of its component.
    """

    app: str
    args: AppArgs

    @property
    def namespace(self) -> str:
        """The namespace of all objects."""
        return self.args.namespace

    def account(self, name: str, labels: Mapping[str, str]) -> Manifest:
        """Return a service account without access to the Kubernetes API; the proxy brings a token of its own."""
        account = self._object("v1", "ServiceAccount", name, labels)
        return {**account, "automountServiceAccountToken": False, **self._pull_secrets()}

    def service(self, service: Service, labels: Mapping[str, str]) -> Manifest:
        """Return a Service with the ports and selector of the Service in routes."""
        ports = [
            {"name": p.name, "port": p.number, "targetPort": p.container, "protocol": "TCP"}
            | ({"appProtocol": p.app_protocol} if p.app_protocol else {})
            for p in service.ports
        ]
        manifest = self._object("v1", "Service", service.name, labels)
        manifest["spec"] = {"ports": ports, "selector": dict(service.selector)}
        return _with_service_annotations(manifest, self.args.service_annotations)

    def container(
        self,
        name: str,
        image: str,
        resources: Mapping[str, Any],
        *,
        ports: Mapping[str, int] | None = None,
        ready: tuple[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        read_only: bool = True,
    ) -> dict[str, Any]:
        """Return a container without privileges; `ready` is the path and the port of its readiness probe."""
        container: dict[str, Any] = {
            "name": name,
            "image": f"{self.args.registry}/{image}",
            "imagePullPolicy": "IfNotPresent",
            "resources": self.args.resources.plain() if self.args.resources else resources,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": read_only,
            },
        }
        if ports:
            container["ports"] = [{"name": port, "containerPort": n, "protocol": "TCP"} for port, n in ports.items()]
        if ready:
            container["readinessProbe"] = {"httpGet": {"path": ready[0], "port": ready[1]}, "periodSeconds": 5}
        if environment:
            container["env"] = [{"name": key, "value": value} for key, value in environment.items()]
        return container

    def deployment(
        self,
        name: str,
        selector: Mapping[str, str],
        container: Mapping[str, Any],
        *,
        user: int,
        account: str = "",
        replicas: int | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        volumes: Sequence[Mapping[str, Any]] = (),
    ) -> Manifest:
        """Return a Deployment of non-root pods. Both have `labels` besides the selector; pods have `annotations`."""
        deployment = self._object("apps/v1", "Deployment", name, {**selector, **(labels or {})})
        metadata: dict[str, Any] = {"labels": deployment["metadata"]["labels"]}
        if annotations:
            metadata["annotations"] = annotations
        pod: dict[str, Any] = {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            **({"serviceAccountName": account} if account else self._pull_secrets()),
        }
        if volumes:
            pod["volumes"] = volumes
        deployment["spec"] = {
            "replicas": self.args.replicas if replicas is None else replicas,
            "selector": {"matchLabels": selector},
            "template": {"metadata": metadata, "spec": pod},
        }
        return deployment

    def _object(self, api_version: str, kind: str, name: str, labels: Mapping[str, str]) -> Manifest:
        ours = {"app.kubernetes.io/part-of": self.app, "app.kubernetes.io/managed-by": "meshup"}
        metadata = {"name": name, "namespace": self.namespace, "labels": {**labels, **ours}}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata}

    def _pull_secrets(self) -> dict[str, Any]:
        names = self.args.image_pull_secrets
        return {"imagePullSecrets": [{"name": name} for name in names]} if names else {}


def versioned_service(name: str, namespace: str, ports: Iterable[Port], versions: Iterable[str]) -> Service:
    """Return a Service for routes: it selects by label `app`, its versions by label `version`."""
    labelled = tuple(Version(version, (("version", version),)) for version in versions)
    return Service(name=name, namespace=namespace, ports=tuple(ports), versions=labelled, selector=(("app", name),))


def _with_pod_annotations(manifest: Manifest, annotations: Mapping[str, pulumi.Input[str]]) -> Manifest:
    """Add annotations to the pod template of a Deployment; return any other manifest unchanged."""
    if manifest["kind"] != "Deployment" or not annotations:
        return manifest
    spec = manifest["spec"]
    metadata = spec["template"]["metadata"]
    merged = {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}}
    return {**manifest, "spec": {**spec, "template": {**spec["template"], "metadata": merged}}}


def _with_service_annotations(manifest: Manifest, annotations: Mapping[str, Mapping[str, str]]) -> Manifest:
    """Add the annotations for its name to a Service; return any other manifest unchanged."""
    name = manifest["metadata"]["name"]
    if manifest["kind"] != "Service" or name not in annotations:
        return manifest
    metadata = manifest["metadata"]
    return {
        **manifest,
        "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations[name]}},
    }


def register_all(
    parent: pulumi.ComponentResource,
    name: str,
    manifests: Iterable[Manifest],
    pod_annotations: Mapping[str, pulumi.Input[str]],
) -> None:
    """Register the objects of an application, service accounts first; each Deployment depends on its own."""
    accounts: dict[str, pulumi.Resource] = {}
    for item in manifests:
        account = ""
        if item["kind"] == "Deployment":
            account = item["spec"]["template"]["spec"].get("serviceAccountName", "")
        resource = register(
            f"{name}-{item['metadata']['name']}-{item['kind'].lower()}",
            _with_pod_annotations(item, pod_annotations),
            pulumi.ResourceOptions(parent=parent, depends_on=[accounts[account]] if account else []),
        )
        if item["kind"] == "ServiceAccount":
            accounts[item["metadata"]["name"]] = resource
