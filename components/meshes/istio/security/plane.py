"""What Istio 1.30 makes of a policy, and of a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ....diagnostics import Diagnostic
from ....manifests import Manifest
from ....security.model import Mode, Policy
from ....security.plane import AccessRequest, Guarded, SecurityPlane, Verdict
from ....security.world import World
from . import foreign
from .authentication import peer_authentications, request_authentications
from .authorization import authorization_policies
from .checks import check
from .egress import egress_objects
from .evaluate import verdict
from .naming import NETWORKING_API, SECURITY_API

_FOREIGN = (
    "A sidecar refuses certificates of another trust domain (observed with Istio 1.30.3). As one of "
    "meshConfig.trustDomainAliases, its accounts would be those of the mesh."
)
_REFUSALS = {
    "caller-trust-domain": _FOREIGN,
    "caller-foreign-account": _FOREIGN,
    "egress-networks": "A ServiceEntry opens single ports: none opens every port of a network.",
}
_KINDS = (
    *((SECURITY_API, kind) for kind in ("PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy")),
    *((NETWORKING_API, kind) for kind in ("Sidecar", "ServiceEntry")),
)
_MESH_PORTS = {15020: "probes and metrics", 15021: "readiness", 15090: "metrics"}


class IstioSecurity(SecurityPlane):
    """Istio in sidecar mode."""

    name = "istio"
    title = "Istio"
    refusals = _REFUSALS
    kinds = tuple(
        (SECURITY_API, kind) for kind in ("PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy")
    )
    mesh_ports = _MESH_PORTS
    has_agent = True

    def check(self, policy: Policy, world: World) -> Iterable[Diagnostic]:
        """Check what Istio reads otherwise than the policy means it, see `SecurityPlane`."""
        return check(policy, world)

    def beside(self, own: Sequence[Manifest], others: Iterable[Manifest], world: World) -> Iterable[Diagnostic]:
        """Find objects of others for the same pods, see `SecurityPlane`."""
        return foreign.beside(own, others, world.control_plane)

    def write(self, policy: Policy, world: World) -> Guarded:
        """Write the objects of a policy, see `SecurityPlane`."""
        objects = [
            *peer_authentications(policy),
            *request_authentications(policy),
            *authorization_policies(policy, world),
            *egress_objects(policy),
        ]
        return Guarded(tuple(sorted(objects, key=lambda item: item.phase)))

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        """Decide a request, see `SecurityPlane`."""
        return verdict(objects, world, request, mode)


ISTIO_SECURITY = IstioSecurity()
