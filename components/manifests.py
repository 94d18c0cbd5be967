"""Register plain Kubernetes manifests as Pulumi resources."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any, NamedTuple

import pulumi

Manifest = dict[str, Any]
PLUGIN_VERSION = importlib.metadata.version("pulumi_kubernetes")
"""The version of Pulumi's Kubernetes plugin that the resources ask for."""


class ObjectRef(NamedTuple):
    """Reference to an object by kind and name. `namespace` is "" for a cluster-scoped object."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


def object_ref(manifest: Mapping[str, Any]) -> ObjectRef:
    """Return the reference to the object of a manifest."""
    metadata = manifest["metadata"]
    return ObjectRef(manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace", ""))


def with_pod_annotations(manifest: Manifest, annotations: Mapping[str, pulumi.Input[str]]) -> Manifest:
    """Add annotations to the pod template of a Deployment; return any other manifest unchanged."""
    if manifest["kind"] != "Deployment" or not annotations:
        return manifest
    spec = manifest["spec"]
    metadata = spec["template"]["metadata"]
    merged = {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}}
    return {**manifest, "spec": {**spec, "template": {**spec["template"], "metadata": merged}}}


def with_service_annotations(manifest: Manifest, annotations: Mapping[str, Mapping[str, str]]) -> Manifest:
    """Add the annotations for its name to a Service; return any other manifest unchanged."""
    name = manifest["metadata"]["name"]
    if manifest["kind"] != "Service" or name not in annotations:
        return manifest
    metadata = manifest["metadata"]
    return {
        **manifest,
        "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations[name]}},
    }


class KubernetesObject(pulumi.CustomResource):
    """An object of any kind, with the keys of Kubernetes.

    The classes of `pulumi_kubernetes` register the same. Importing those of core/v1 and apps/v1 takes 0.4 s, a quarter
    of the start of this program.
    """

    metadata: pulumi.Output[Any]

    def __init__(
        self, resource_name: str, manifest: Manifest, opts: pulumi.ResourceOptions, *, suffix: str = ""
    ) -> None:
        """Register a manifest.

        Args:
            resource_name: The Pulumi name.
            manifest: The object.
            opts: Options of the resource.
            suffix: `Patch` for a resource that owns only the fields of the manifest.
        """
        group = manifest["apiVersion"]
        token = f"kubernetes:{group if '/' in group else f'core/{group}'}:{manifest['kind']}{suffix}"
        opts = pulumi.ResourceOptions.merge(pulumi.ResourceOptions(version=PLUGIN_VERSION), opts)
        super().__init__(token, resource_name, dict(manifest), opts)


def register(resource_name: str, manifest: Manifest, opts: pulumi.ResourceOptions) -> KubernetesObject:
    """Register a manifest unchanged."""
    return KubernetesObject(resource_name, manifest, opts)


def register_patch(resource_name: str, manifest: Manifest, opts: pulumi.ResourceOptions) -> KubernetesObject:
    """Patch an object of another owner; the resource owns only the fields of the manifest."""
    return KubernetesObject(resource_name, manifest, opts, suffix="Patch")
