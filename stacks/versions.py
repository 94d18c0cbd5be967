"""Every pinned chart, image and bundle, in one place.

A comment `renovate: datasource=... depName=...` before a line lets Renovate raise the version in it (renovate.json).
"""

# renovate: datasource=helm depName=istiod registryUrl=https://istio-release.storage.googleapis.com/charts
ISTIO = "1.30.3"

ISTIO_SUPPORTED = ((1, 29), (1, 31))
"""First and last minor version whose charts have the values that components/istio.py sets."""

KUBERNETES_MINIMUM = {(1, 29): (1, 31), (1, 30): (1, 32), (1, 31): (1, 32)}
"""Oldest Kubernetes for each minor version of Istio (istio.io, supported releases; for 1.30 also MinK8SVersion in
istioctl/pkg/install/k8sversion/version.go)."""

# renovate: datasource=helm depName=linkerd-control-plane registryUrl=https://helm.linkerd.io/edge
LINKERD = "2026.8.3"
"""The charts of edge-26.8.3."""

LINKERD_SUPPORTED = ((2026, 6), (2026, 12))
"""First and last year and month of edge releases whose charts have the values that components/linkerd.py sets: from
2.20 (edge-26.6.3) on."""

EMOJIVOTO_REGISTRY = "ghcr.io/buoyantio"

# renovate: datasource=docker depName=ghcr.io/buoyantio/emojivoto-web
EMOJIVOTO = "v11"

BOOKINFO_REGISTRY = "registry.istio.io/release"

# renovate: datasource=docker depName=registry.istio.io/release/examples-bookinfo-productpage-v1
BOOKINFO = "1.20.3"


def kubernetes_minimum(istio: str) -> tuple[int, int]:
    """Return the oldest Kubernetes, as (major, minor), that a version of Istio supports."""
    major, minor = istio.split(".")[:2]
    return KUBERNETES_MINIMUM.get((int(major), int(minor)), min(KUBERNETES_MINIMUM.values()))
