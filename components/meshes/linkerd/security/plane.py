"""What Linkerd edge-26.8.3 makes of a policy, and of a request."""

from __future__ import annotations

from collections.abc import Sequence

from ....manifests import Manifest
from ....security.model import Mode, Policy
from ....security.plane import AccessRequest, Guarded, SecurityPlane, Verdict
from ....security.world import World

_REFUSALS: dict[str, str] = {}
_MESH_PORTS = {4190: "tap", 4191: "probes and metrics of the proxy"}


class LinkerdSecurity(SecurityPlane):
    """Linkerd."""

    name = "linkerd"
    title = "Linkerd"
    refusals = _REFUSALS
    mesh_ports = _MESH_PORTS
    inbound_port = 4143

    def write(self, policy: Policy, world: World) -> Guarded:
        """Write the objects of a policy, see `SecurityPlane`."""
        raise NotImplementedError

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        """Decide a request, see `SecurityPlane`."""
        raise NotImplementedError


LINKERD_SECURITY = LinkerdSecurity()
