"""Who may connect to an add-on: its NetworkPolicy. Pure.

Prometheus, trace stores and collectors ask nobody for a password, so that the network has to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..manifests import Manifest, manifest
from ..security.network_policy import NAMESPACE_LABEL

CONFINED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""Security context of a container of an add-on: what the restricted Pod Security Standard asks for, and no writing."""
POD_CONFINED: Mapping[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
"""Security context of its pod, which an add-on adds a user to."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Namespaces whose pods may connect, and the ports of the add-on's pods."""

    namespaces: frozenset[str]
    ports: frozenset[int]


@dataclass(frozen=True, slots=True)
class Proxy:
    """What the sidecars of an add-on's pods take.

    Attributes:
        inbound_port: The port at which all traffic of the mesh arrives, where ports are not told apart any more; 0 if
            there is none.
        metrics: Who scrapes the sidecars, and their ports for that.
    """

    inbound_port: int
    metrics: Opening


def admitting(
    name: str, namespace: str, labels: Mapping[str, str], openings: Iterable[Opening], proxy: Proxy | None = None
) -> Manifest:
    """Return the NetworkPolicy of an add-on. Traffic from a pod's own node is always let in.

    Args:
        name: Its name.
        namespace: Its namespace.
        labels: The labels of its pods.
        openings: Who may connect.
        proxy: What its sidecars take; None if its pods are not in the mesh.
    """
    shared = frozenset({proxy.inbound_port} - {0}) if proxy else frozenset[int]()
    peers: dict[frozenset[int], set[str]] = {}
    for one in (*openings, *((proxy.metrics,) if proxy else ())):
        peers.setdefault(one.ports | shared, set()).update(one.namespaces)
    entries = [
        {
            "from": [{"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: item}}} for item in sorted(names)],
            "ports": [{"protocol": "TCP", "port": port} for port in sorted(ports)],
        }
        for ports, names in sorted(peers.items(), key=lambda item: sorted(item[0]))
        if names
    ]
    spec = {"podSelector": {"matchLabels": dict(labels)}, "policyTypes": ["Ingress"], "ingress": entries}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, namespace, spec)
