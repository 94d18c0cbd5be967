"""Zipkin, a store of traces in memory with an interface to look at them.

Source of the facts: the chart zipkin 0.4.0 of openzipkin (zipkin-slim 3.5.1). Zipkin has no login, and takes spans in
its own format alone, so that Linkerd's proxies need a collector before it.

Its memory is bounded twice: the heap is a part of the container's limit, and the oldest traces go when there are too
many spans (`MEM_MAX_SPANS`; zipkin-server's README.md has a million for a heap of 1 GiB). The chart writes `extraEnv`
without quotes, and Kubernetes takes no number there, so that the bound is set as the property that the variable
stands for.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..arguments import HelmValue, Names, Resources, helm_values, over_limit
from ..diagnostics import Diagnostic
from ..helm import HelmRelease, merged, nested
from ..manifests import Manifest
from ..scalars import Name
from .access import CONFINED, POD_CONFINED, Opening, admitting
from .interface import Addon, AddonRequest, AddonSettings, ServerSettings, addon_release

# renovate: datasource=helm depName=zipkin registryUrl=https://zipkin.io/zipkin-helm
CHART = "0.4.0"
REPOSITORY = "https://zipkin.io/zipkin-helm"
PORT = 9411
SERVICE = "zipkin"
HEAP = 70
"""Percentage of the memory limit that is Java's heap."""
BOUND = "zipkin.storage.mem.max-spans"
"""The property that `MEM_MAX_SPANS` sets (zipkin-server-shared.yml)."""
_USER = 1000
"""The user that the chart runs it as."""
_SMALL = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
CHART_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "4096Mi"}}
"""The resources of the chart, over which those that are set are laid."""


class ZipkinSettings(ServerSettings):
    """Settings of Zipkin."""

    service = SERVICE
    port = PORT

    namespace: Name = "zipkin"
    """Its namespace. meshup makes it."""
    spans: Annotated[int, Field(ge=1000, le=100_000_000)] = 300_000
    """How many spans are kept; the oldest traces go first. For more than twice as many, raise the memory too."""
    resources: Annotated[Resources | None, HelmValue("resources")] = None
    """Requests and limits; built in if not set. 70 percent of the memory limit are for spans."""
    readers: Names = ()
    """Further namespaces whose pods may connect."""
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Raw chart values, merged last."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the address and the resources."""
        yield from super().check(path)
        yield from over_limit(f"{path}.resources", self.resources, CHART_RESOURCES)


class ZipkinArgs(ZipkinSettings):
    """Arguments of Zipkin: its settings, and what it is planned from."""

    request: Any
    """An `AddonRequest`."""


class ZipkinAddon(Addon[ZipkinArgs]):
    """Zipkin as an add-on: see `Addon`."""

    name = "zipkin"
    resource = ("Zipkin", "zipkin")
    repository = REPOSITORY
    sections: ClassVar[Mapping[str, type[AddonSettings]]] = {"zipkin": ZipkinSettings}
    dashboard = (SERVICE, PORT)

    def args(self, request: AddonRequest) -> ZipkinArgs | None:
        """Return the arguments, see `Addon`."""
        chosen = request.settings.section(ZipkinSettings)
        return chosen.extended(ZipkinArgs, request=request) if chosen.enabled else None

    def release(self, args: ZipkinArgs) -> HelmRelease:
        """Return the release, see `Addon`."""
        request: AddonRequest = args.request
        options = (f"-XX:MaxRAMPercentage={HEAP}", "-XX:+ExitOnOutOfMemoryError", f"-D{BOUND}={args.spans}")
        values: dict[str, Any] = {
            "fullnameOverride": SERVICE,
            "service.port": PORT,
            "podSecurityContext": dict(POD_CONFINED),
            "securityContext": {**CONFINED, "runAsNonRoot": True, "runAsUser": _USER},
            "resources": _SMALL,
            "zipkin.storage.type": "mem",
            "zipkin.extraEnv": {"JAVA_OPTS": " ".join(options)},
            **helm_values(args),
        }
        return addon_release(
            self,
            args,
            request.other_charts,
            version=CHART,
            values=merged(nested(values), args.values),
        )

    def namespace(self, args: ZipkinArgs) -> Mapping[str, Any]:
        """Return the namespace, which is not in the mesh: no mesh needs Zipkin there, and what it serves is plain."""
        request: AddonRequest = args.request
        return request.namespace(args.namespace, meshed=False, pod_security="restricted")

    def objects(self, args: ZipkinArgs) -> Sequence[Manifest]:
        """Return the NetworkPolicy: one port takes spans and shows traces."""
        request: AddonRequest = args.request
        senders = request.callers(self.name, args.namespace, (*request.proxies, *args.readers))
        opening = Opening(senders, frozenset({PORT}))
        labels = {"app.kubernetes.io/name": self.name}
        return [admitting(SERVICE, args.namespace, labels, [opening])]


ADDON = ZipkinAddon()
