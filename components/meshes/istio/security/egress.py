"""Hosts outside of the cluster -> ServiceEntry and Sidecar (networking.istio.io/v1), Istio 1.30."""

from __future__ import annotations

from collections.abc import Iterator

from ....manifests import Manifest, manifest
from ....security.model import EgressHost, NamespacePolicy, Policy
from ....security.plane import SecurityObject
from .naming import CLOSES, EVERYWHERE, FIRST, NETWORKING_API


def egress_objects(policy: Policy) -> Iterator[SecurityObject]:
    """Write for each namespace that is closed the hosts that stay open, and what closes it."""
    for namespace in policy.namespaces:
        if namespace.egress and namespace.egress.deny:
            key = namespace.key
            for item in _entries(namespace):
                yield SecurityObject(item, FIRST, (key,))
            # Its sidecars know the whole mesh as before, and what the registry does not know is refused.
            spec: Manifest = {"egress": [{"hosts": ["*/*"]}], "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
            yield SecurityObject(manifest(NETWORKING_API, "Sidecar", EVERYWHERE, namespace.name, spec), CLOSES, (key,))


def entry_name(host: str) -> str:
    """Return the name of the ServiceEntry of a host. Those of routes begin with `egress-` or `any-egress-`."""
    return f"any-open-{host[2:]}" if host.startswith("*.") else f"open-{host}"


def _entries(namespace: NamespacePolicy) -> Iterator[Manifest]:
    by_host: dict[str, dict[int, EgressHost]] = {}
    for host in namespace.egress.hosts if namespace.egress else ():
        by_host.setdefault(host.host, {}).setdefault(host.port, host)
    for host, ports in by_host.items():
        spec: Manifest = {
            "hosts": [host],
            "location": "MESH_EXTERNAL",
            # A wildcard has no address that could be looked up.
            "resolution": "NONE" if host.startswith("*") else "DNS",
            "ports": [
                {"number": number, "name": f"{one.protocol.lower()}-{number}", "protocol": one.protocol}
                for number, one in sorted(ports.items())
            ],
            "exportTo": ["."],
        }
        # MSH555 says what IST0134 says: without an address, Istio takes every connection on the port.
        tcp = any(one.protocol == "TCP" for one in ports.values())
        answered = {"galley.istio.io/analyze-suppress": "IST0134"} if tcp else None
        yield manifest(NETWORKING_API, "ServiceEntry", entry_name(host), namespace.name, spec, annotations=answered)
