"""Every pinned chart, image and bundle, and what each mesh supports, in one place.

A comment `renovate: datasource=... depName=...` before a line lets Renovate raise the version in it (renovate.json).
"""

import re

from components.traffic.model import Mesh

Minor = tuple[int, int]
"""Major and minor version; of Linkerd's edge releases year and month."""

# renovate: datasource=helm depName=istiod registryUrl=https://istio-release.storage.googleapis.com/charts
ISTIO = "1.30.3"

ISTIO_SUPPORTED: tuple[Minor, Minor] = ((1, 29), (1, 31))
"""First and last minor version whose charts have the values that components/meshes/istio/component.py sets."""

# renovate: datasource=helm depName=linkerd-control-plane registryUrl=https://helm.linkerd.io/edge
LINKERD = "2026.8.3"
"""The charts of edge-26.8.3."""

LINKERD_SUPPORTED: tuple[Minor, Minor] = ((2026, 6), (2026, 12))
"""First and last year and month of edge releases whose charts have the values that components/meshes/linkerd sets:
from 2.20 (edge-26.6.3) on."""

PINNED: dict[Mesh, str] = {"istio": ISTIO, "linkerd": LINKERD}

# renovate: datasource=github-releases depName=kubernetes-sigs/gateway-api
GATEWAY_API = "v1.5.1"
"""The version inside what Istio 1.30 (go.mod) and Linkerd 2.20 (features/gateway-api) both take."""

GATEWAY_API_DIGEST = "894a8ac09eb8e3585c673ebaf2abe49fe2b5e07276d1dc14f505f3f996819c53"
"""SHA-256 over the objects of its standard channel (components/gateway_api.py, `digest`)."""

EMOJIVOTO_REGISTRY = "ghcr.io/buoyantio"

# renovate: datasource=docker depName=ghcr.io/buoyantio/emojivoto-web
EMOJIVOTO = "v11"

BOOKINFO_REGISTRY = "registry.istio.io/release"

# renovate: datasource=docker depName=registry.istio.io/release/examples-bookinfo-productpage-v1
BOOKINFO = "1.20.3"


SUPPORTED: dict[str, tuple[Minor, Minor]] = {"istio": ISTIO_SUPPORTED, "linkerd": LINKERD_SUPPORTED}

KUBERNETES: dict[str, dict[Minor, tuple[Minor, Minor]]] = {
    "istio": {
        (1, 29): ((1, 31), (1, 35)),
        (1, 30): ((1, 32), (1, 36)),
        (1, 31): ((1, 32), (1, 36)),
    },
    "linkerd": {LINKERD_SUPPORTED[0]: ((1, 31), (1, 36))},
}
"""First and last Kubernetes by mesh and by its version, from that version on.

Istio: istio.io, support status of releases; the first one also in istioctl/pkg/install/k8sversion/version.go. The last
one of 1.31 is what the embedded cluster proves it on. Linkerd: the first one is what `linkerd check` of edge-26.8.3
asks for (pkg/healthcheck); the last one is that of the time of 2.20 (linkerd.io, supported Kubernetes versions: all
that are supported when a version ships).
"""


def minor(version: str) -> Minor | None:
    """Return major and minor number of a version, None if it has none."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return None if numbers is None else (int(numbers[1]), int(numbers[2]))


def unsupported(mesh: str, version: str) -> str:
    """Return which versions of a mesh meshup supports if this is none of them, else ""."""
    first, last = SUPPORTED[mesh]
    found = minor(version)
    if found is not None and first <= found <= last:
        return ""
    return f"{first[0]}.{first[1]} to {last[0]}.{last[1]}"


def kubernetes(mesh: str, version: str) -> tuple[Minor, Minor]:
    """Return the first and the last Kubernetes that a version of a mesh supports; of an unknown one, the widest."""
    ranges = KUBERNETES[mesh]
    found = minor(version)
    known = [since for since in ranges if found is not None and since <= found]
    if not known:
        return min(first for first, _ in ranges.values()), max(last for _, last in ranges.values())
    return ranges[max(known)]
