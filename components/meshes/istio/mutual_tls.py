"""Mutual TLS between the workloads of an Istio mesh."""

from typing import Any, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

MTLS_MODES = ("strict", "permissive")
"""`strict` refuses plain text; `permissive` takes both, for the time of a migration."""


class MutualTlsArgs(TypedDict):
    """Arguments of `MutualTls`."""

    namespace: str
    """The root namespace of the mesh: there the policy holds for every workload."""
    mode: str
    """`strict` or `permissive`."""


def peer_authentication(mode: str) -> dict[str, Any]:
    """Return name and spec of the mesh-wide PeerAuthentication (security.istio.io/v1).

    Its name must be `default`: istiod takes only a policy without a selector as mesh-wide, and this name is the
    convention that istioctl and Kiali look for.
    """
    return {"name": "default", "spec": {"mtls": {"mode": mode.upper()}}}


class MutualTls(pulumi.ComponentResource):
    """The mode of mutual TLS for the whole mesh."""

    def __init__(self, name: str, args: MutualTlsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:MutualTls", name, {}, opts)
        policy = peer_authentication(args["mode"])
        kubernetes.apiextensions.CustomResource(
            f"{name}-peer-authentication",
            api_version="security.istio.io/v1",
            kind="PeerAuthentication",
            metadata={"name": policy["name"], "namespace": args["namespace"]},
            spec=policy["spec"],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
