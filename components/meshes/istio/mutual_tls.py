"""Mutual TLS between the workloads of an Istio mesh."""

from collections.abc import Mapping
from typing import Any

import pulumi

from ...arguments import Arguments
from ...manifests import Manifest
from ...resources import register
from ...scalars import Name
from ..interface import Mtls


class MutualTlsArgs(Arguments):
    """Arguments of `MutualTls`."""

    namespace: Name
    """The root namespace of the mesh: there the policy holds for every workload."""
    mode: Mtls
    """`strict` refuses plain text; `permissive` takes both, for the time of a migration."""


def peer_authentication(namespace: str, mode: Mtls) -> Manifest:
    """Return the mesh-wide PeerAuthentication.

    Its name must be `default`: istiod takes only a policy without a selector as mesh-wide, and this name is the
    convention that istioctl and Kiali look for.
    """
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {"mtls": {"mode": mode.upper()}},
    }


class MutualTls(pulumi.ComponentResource):
    """The mode of mutual TLS for the whole mesh."""

    def __init__(
        self, name: str, args: MutualTlsArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:MutualTls", name, {}, opts)
        args = MutualTlsArgs.of(args)
        policy = peer_authentication(args.namespace, args.mode)
        register(f"{name}-peer-authentication", policy, pulumi.ResourceOptions(parent=self))
        self.register_outputs({})
