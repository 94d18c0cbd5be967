"""Register plain Kubernetes manifests as Pulumi resources."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pulumi
import pulumi_kubernetes as kubernetes

Manifest = dict[str, Any]


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


_TYPED: dict[tuple[str, str], Callable[..., pulumi.Resource]] = {
    ("v1", "Service"): kubernetes.core.v1.Service,
    ("v1", "ServiceAccount"): kubernetes.core.v1.ServiceAccount,
    ("apps/v1", "Deployment"): kubernetes.apps.v1.Deployment,
}
"""Kinds that the provider knows and waits for. Any other kind is a custom resource."""


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


def register(resource_name: str, manifest: Manifest, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Register one manifest unchanged: its keys are those of Kubernetes."""
    body = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    typed = _TYPED.get((manifest["apiVersion"], manifest["kind"]))
    if typed is not None:
        # Only the names of Python arguments are snake_case; keys inside them are sent unchanged.
        return typed(resource_name, **{_snake(key): value for key, value in body.items()}, opts=opts)
    return kubernetes.apiextensions.CustomResource(
        resource_name, api_version=manifest["apiVersion"], kind=manifest["kind"], opts=opts, **body
    )


def register_patch(resource_name: str, manifest: Manifest, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Patch the metadata of a Service of another owner; the resource owns only the patched fields."""
    return kubernetes.core.v1.ServicePatch(resource_name, metadata=manifest["metadata"], opts=opts)


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()
