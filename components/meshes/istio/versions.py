"""The version of Istio that is pinned, and what each version goes with.

A comment `renovate: datasource=... depName=...` before a line lets Renovate raise the version in it (renovate.json).
"""

from ..interface import GatewayApiRange, Versions

# renovate: datasource=helm depName=istiod registryUrl=https://istio-release.storage.googleapis.com/charts
ISTIO = "1.30.3"

VERSIONS = Versions(
    pinned=ISTIO,
    supported=((1, 29), (1, 31)),
    # istio.io, support status of releases; the first one also in istioctl/pkg/install/k8sversion/version.go. The last
    # one of 1.31 is what the embedded cluster proves it on.
    kubernetes={
        (1, 29): ((1, 31), (1, 35)),
        (1, 30): ((1, 32), (1, 36)),
        (1, 31): ((1, 32), (1, 36)),
    },
)

GATEWAY_API = GatewayApiRange((1, 4, 0), (1, 5, 1))
"""Istio 1.30: pkg/config/schema/gatewayapi/minimumversions.go."""
