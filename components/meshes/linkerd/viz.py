"""linkerd-viz: metrics, live request inspection (tap) and the dashboard of Linkerd.

Source of the facts: the chart linkerd-viz of edge-26.8.3. Its two self-signed certificates are given, so that two
renders are the same; and the job that labels its namespace is left out, because the namespace is made here.
"""

from typing import Any, NotRequired, TypedDict

import pulumi

from ...helm import HelmRelease, merged, nested, register
from ...namespace import MeshNamespace, MeshNamespaceArgs
from .component import DEFAULT_NAMESPACE, RESTART_KEY, LinkerdArgs, release, trust_domain, under, webhook_values
from .identity.component import VIZ_WEBHOOKS

NAMESPACE = "linkerd-viz"
DASHBOARD_PORT = 8084
"""Port of the Service `web` of the dashboard (templates/web.yaml)."""


class VizArgs(TypedDict):
    """Arguments of `Viz`."""

    linkerd: LinkerdArgs
    """The mesh that it belongs to: version, chart source, domains, registry, certificates."""
    namespace: NotRequired[str]
    """Its namespace; `linkerd-viz` if not set."""
    prometheus_url: NotRequired[str]
    """An existing Prometheus, such as http://prometheus.monitoring:9090. Without it, the chart brings its own."""
    dashboard_hosts: NotRequired[str]
    """Regular expression of the host names under which the dashboard may be opened; the chart's own if not set."""


def releases(args: VizArgs) -> list[HelmRelease]:
    """Return the release of linkerd-viz, without the certificates."""
    mesh = args["linkerd"]
    url = args.get("prometheus_url", "")
    values: dict[str, Any] = {
        "linkerdNamespace": mesh.get("namespace", DEFAULT_NAMESPACE),
        "clusterDomain": mesh.get("cluster_domain", "cluster.local"),
        "identityTrustDomain": trust_domain(mesh),
        "createNamespaceMetadataJob": False,
        "prometheus.enabled": not url,
    }
    if mesh.get("high_availability", False):
        values |= {
            "enablePodAntiAffinity": True,
            "enablePodDisruptionBudget": True,
            "metricsAPI.replicas": 3,
            "tap.replicas": 3,
            "tapInjector.replicas": 3,
        }
    optional = {
        "prometheusUrl": url or None,
        "defaultRegistry": mesh.get("registry"),
        "defaultLogFormat": mesh.get("log_format"),
        "dashboard.enforcedHostRegexp": args.get("dashboard_hosts"),
        "imagePullSecrets": [{"name": name} for name in mesh.get("image_pull_secrets", [])] or None,
    }
    values |= {path: value for path, value in optional.items() if value is not None}
    raw = mesh.get("values", {}).get("viz", {})
    return [release(mesh, "viz", "linkerd-viz", args.get("namespace", NAMESPACE), merged(nested(values), raw))]


def namespace(args: VizArgs) -> MeshNamespaceArgs:
    """Return the namespace, with what the chart's own job would write into it afterwards."""
    url = args.get("prometheus_url", "")
    return {
        "name": args.get("namespace", NAMESPACE),
        "mesh": "none",
        "pod_security": "privileged",
        "labels": {"linkerd.io/extension": "viz"},
        "annotations": {"viz.linkerd.io/external-prometheus": url} if url else {},
    }


def access(args: VizArgs) -> dict[str, str]:
    """Return how the dashboard is opened."""
    where = args.get("namespace", NAMESPACE)
    return {
        "command": f"kubectl --namespace {where} port-forward service/web {DASHBOARD_PORT}:{DASHBOARD_PORT}",
        "url": f"http://localhost:{DASHBOARD_PORT}/",
    }


class Viz(pulumi.ComponentResource):
    """linkerd-viz in a namespace of its own."""

    def __init__(self, name: str, args: VizArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:Viz", name, {}, opts)
        declared = namespace(args)
        made = MeshNamespace(f"{name}-{declared['name']}", declared, pulumi.ResourceOptions(parent=self))
        for item in releases(args):
            certificates = args["linkerd"].get("certificates")
            if certificates is not None:
                values = webhook_values(certificates, VIZ_WEBHOOKS)
                if "restart_hash" in certificates:
                    # The chart has no annotations for all pods; a label restarts them as well.
                    values["podLabels"] = {RESTART_KEY: certificates["restart_hash"]}
                item["values"] = under(item["values"], values)
            register(f"{name}-release", item, pulumi.ResourceOptions(parent=self, depends_on=[made]))
        self.register_outputs({})
