"""linkerd-viz: metrics, live request inspection (tap) and the dashboard of Linkerd.

Source of the facts: the chart linkerd-viz of edge-26.8.3. Its two self-signed certificates are given, so that two
renders are the same; and the job that labels its namespace is left out, because the namespace is made here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import pulumi

from ...addons.interface import Addon, AddonChart, AddonRequest, Address, addon_release
from ...addons.prometheus import PrometheusSettings
from ...arguments import HelmValue, Sections, helm_values
from ...helm import HelmRelease, merged, nested
from ...namespace import namespace_metadata
from ...scalars import SecretName
from ...security.model import Account
from .component import REPOSITORY, RESTART_KEY, webhook_values
from .identity.component import VIZ_WEBHOOKS
from .settings import VIZ, Certificates, LinkerdArgs, LinkerdSettings, VizSettings
from .versions import VERSIONS


class VizArgs(VizSettings):
    """Arguments of `Viz`."""

    linkerd: LinkerdArgs
    """The mesh that it belongs to: version, chart source, domains, registry, certificates."""
    prometheus_secret: Annotated[SecretName | None, HelmValue("prometheusCredsSecret")] = None
    """Secret in its namespace with `user` and `password` of Prometheus, if that asks for them."""


class VizAddon(Addon[VizArgs]):
    """linkerd-viz as an add-on of Linkerd: see `Addon`."""

    name = VIZ
    resource = ("Viz", "viz")
    repository = REPOSITORY
    # templates/web.yaml
    dashboard = ("web", 8084)
    reads = frozenset({"prometheus"})

    def namespace_in(self, settings: Sections) -> str:
        """Return its namespace, see `Addon`."""
        chosen = settings.section(LinkerdSettings).viz
        return chosen.namespace if chosen.enabled else ""

    def scrapers(self, settings: Sections) -> Sequence[Account | None]:
        """Return the account of its own Prometheus, if it has one (templates/prometheus.yaml)."""
        chosen = settings.section(LinkerdSettings).viz
        own = chosen.enabled and not chosen.prometheus_url and _shared(settings) is None
        return (Account(chosen.namespace, "prometheus"),) if own else ()

    def args(self, request: AddonRequest) -> VizArgs | None:
        """Return the arguments, see `Addon`. The arguments of the mesh have the source of the charts."""
        chosen = request.settings.section(LinkerdSettings).viz
        if not chosen.enabled:
            return None
        shared = _shared(request.settings)
        if chosen.prometheus_url or shared is None:
            return chosen.extended(VizArgs, linkerd=request.args)
        secret = shared.login.secret if shared.login and shared.login.type == "basic" else None
        return chosen.extended(VizArgs, linkerd=request.args, prometheus_url=shared.url, prometheus_secret=secret)

    def release(self, args: VizArgs) -> HelmRelease:
        """Return the release, without the certificates."""
        mesh = args.linkerd
        values: dict[str, Any] = {
            "identityTrustDomain": mesh.identity_domain,
            "createNamespaceMetadataJob": False,
            "prometheus.enabled": args.prometheus_url is None,
            **helm_values(mesh, VIZ),
            **helm_values(args),
        }
        if mesh.high_availability:
            replicas = ("metricsAPI.replicas", "tap.replicas", "tapInjector.replicas")
            values |= {"enablePodAntiAffinity": True, "enablePodDisruptionBudget": True, **dict.fromkeys(replicas, 3)}
        return addon_release(
            self,
            args,
            mesh.charts,
            version=mesh.version or VERSIONS.pinned,
            values=merged(nested(values), mesh.values.get("viz", {})),
            timeout=mesh.timeout_seconds,
        )

    def namespace(self, args: VizArgs) -> Mapping[str, Any]:
        """Return the namespace, with what the chart's own job would write into it afterwards."""
        url = args.prometheus_url
        annotations = {"viz.linkerd.io/external-prometheus": url} if url else {}
        labels = {"linkerd.io/extension": "viz"}
        return namespace_metadata(args.namespace, pod_security="privileged", labels=labels, annotations=annotations)


def _shared(settings: Sections) -> Address | None:
    """Return the Prometheus that scrapes for the stack, so with the labels that linkerd-viz reads; None without one."""
    chosen = settings.section(PrometheusSettings)
    return chosen.address() if chosen.enabled else None


ADDON = VizAddon()


def certificate_values(certificates: Certificates) -> dict[str, Any]:
    """Return the values of the certificates that linkerd-viz has: outputs, whose keys are secrets."""
    values = webhook_values(certificates, VIZ_WEBHOOKS)
    if certificates.restart_hash is not None:
        # The chart has no annotations for all pods; a label restarts them as well.
        values["podLabels"] = {RESTART_KEY: certificates.restart_hash}
    return values


class Viz(AddonChart):
    """linkerd-viz in a namespace of its own."""

    def __init__(
        self, name: str, args: VizArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        args = VizArgs.of(args)
        certificates = args.linkerd.certificates
        values = {} if certificates is None else certificate_values(certificates)
        super().__init__(replace(ADDON.plan(args), resource=("Viz", name)), values, opts)
