"""A Linkerd that somebody else has installed.

Sources: the chart linkerd-control-plane of edge-26.8.3 (templates config.yaml, which keeps the values of the chart in a
ConfigMap, destination.yaml and proxy-injector-rbac.yaml).
"""

import re

from ...diagnostics import Diagnostic
from ..existing import (
    document,
    inside,
    labelled,
    not_found,
    service_namespaces,
    several,
    version_of,
    webhooks,
)
from ..interface import ClusterView, ExistingMesh
from .settings import LinkerdSettings

INJECTOR = "linkerd-proxy-injector.linkerd.io"
_PATH = "meshup:linkerd"
_EDGE = re.compile(r"edge-(\d\d)\.(\d+)\.(\d+)")
_STRICT = ("all-authenticated", "cluster-authenticated", "deny")
"""Default inbound policies that refuse plain text."""


def find(settings: LinkerdSettings, view: ClusterView) -> tuple[ExistingMesh | None, list[Diagnostic]]:
    """Find the control plane of a stack that installs none.

    Its namespace is the configured one, else that of the Service that answers the injector.
    """
    injectors = webhooks(view, INJECTOR)
    led = service_namespaces(injectors)
    chosen = "namespace" in settings.model_fields_set or not led
    namespaces = [settings.namespace] if chosen else led
    planes = labelled(view, namespaces, "linkerd.io/control-plane-component", "destination")
    found = sorted({item["metadata"]["namespace"] for item in planes})
    if len(found) > 1:
        return None, [several("Linkerd", _PATH, "namespace", found)]
    if not found:
        return None, [not_found("Linkerd", _PATH, namespaces, led)]
    values = document(view, found[0], "linkerd-config", "values")
    domain = inside(values, "clusterDomain") or settings.cluster_domain
    policy = inside(values, "proxy.defaultInboundPolicy")
    mesh = ExistingMesh(
        version=chart_version(inside(values, "linkerdVersion")) or version_of(planes[0], "destination"),
        namespace=found[0],
        trust_domain=inside(values, "identityTrustDomain") or domain,
        cluster_domain=domain,
        mtls="strict" if policy in _STRICT else "permissive",
        injection=bool(injectors),
        opaque_ports=inside(values, "proxy.opaquePorts"),
    )
    return mesh, []


def chart_version(release: str) -> str:
    """Return the version of the charts of an edge release: `2026.8.3` of edge-26.8.3 (bin/compute-edge-version).

    Of the stable releases, which ended before the edge releases that meshup supports, the number; any other one as it
    is.
    """
    edge = _EDGE.fullmatch(release)
    return f"20{edge[1]}.{edge[2]}.{edge[3]}" if edge else release.removeprefix("stable-")
