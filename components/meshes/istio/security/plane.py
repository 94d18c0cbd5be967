"""What Istio 1.30 makes of a policy, and of a request."""

from __future__ import annotations

from collections.abc import Sequence

from ....manifests import Manifest
from ....security.model import Mode, Policy
from ....security.plane import AccessRequest, Guarded, SecurityPlane, Verdict
from ....security.world import World

_REFUSALS: dict[str, str] = {}
_MESH_PORTS = {15020: "probes and metrics", 15021: "readiness", 15090: "metrics"}


class IstioSecurity(SecurityPlane):
    """Istio in sidecar mode."""

    name = "istio"
    title = "Istio"
    refusals = _REFUSALS
    mesh_ports = _MESH_PORTS

    def write(self, policy: Policy, world: World) -> Guarded:
        """Write the objects of a policy, see `SecurityPlane`."""
        raise NotImplementedError

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        """Decide a request, see `SecurityPlane`."""
        raise NotImplementedError


ISTIO_SECURITY = IstioSecurity()
