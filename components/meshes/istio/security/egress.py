"""Hosts outside of the cluster -> ServiceEntry and Sidecar (networking.istio.io/v1), Istio 1.30."""

from __future__ import annotations

from collections.abc import Iterator

from ....manifests import Manifest, manifest
from ....security.model import Policy
from ....security.plane import SecurityObject
from ..service_entries import service_entries
from .naming import CLOSES, EVERYWHERE, FIRST, NETWORKING_API


def egress_objects(policy: Policy) -> Iterator[SecurityObject]:
    """Write for each namespace that is closed the hosts that stay open, and what closes it."""
    for namespace in policy.namespaces:
        if namespace.egress and namespace.egress.deny:
            key = namespace.key
            for item in service_entries(namespace.name, namespace.egress.hosts, entry_name):
                yield SecurityObject(item, FIRST, (key,))
            # Its sidecars know the whole mesh as before, and what the registry does not know is refused.
            spec: Manifest = {"egress": [{"hosts": ["*/*"]}], "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
            yield SecurityObject(manifest(NETWORKING_API, "Sidecar", EVERYWHERE, namespace.name, spec), CLOSES, (key,))


def entry_name(host: str) -> str:
    """Return the name of the ServiceEntry of a host. Those of routes begin with `egress-` or `any-egress-`."""
    return f"any-open-{host[2:]}" if host.startswith("*.") else f"open-{host}"
