"""Register plain Kubernetes manifests as Pulumi resources."""

import importlib.metadata
from typing import Any

import pulumi

from .manifests import Manifest

PLUGIN_VERSION = importlib.metadata.version("pulumi_kubernetes")
"""The version of Pulumi's Kubernetes plugin that the resources ask for."""


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
