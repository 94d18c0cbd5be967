"""The version of Linkerd that is pinned, and what each version goes with.

A comment `renovate: datasource=... depName=...` before a line lets Renovate raise the version in it (renovate.json).
"""

from ..interface import GatewayApiRange, Versions

# renovate: datasource=helm depName=linkerd-control-plane registryUrl=https://helm.linkerd.io/edge
LINKERD = "2026.8.3"
"""The charts of edge-26.8.3."""

VERSIONS = Versions(
    pinned=LINKERD,
    # Year and month of edge releases: from 2.20 (edge-26.6.3) on, the charts have the values that are set here.
    supported=((2026, 6), (2026, 12)),
    # The first one is what `linkerd check` of edge-26.8.3 asks for (pkg/healthcheck); the last one is that of the time
    # of 2.20 (linkerd.io, supported Kubernetes versions: all that are supported when a version ships).
    kubernetes={(2026, 6): ((1, 31), (1, 36))},
)

GATEWAY_API = GatewayApiRange((1, 2, 1), (1, 5, 1), always=True)
"""Linkerd 2.20: features/gateway-api. Its policy controller looks for the route kinds at its start."""
