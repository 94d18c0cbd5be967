"""Jaeger 2, a store of traces in memory with an interface to look at them.

Source of the facts: the chart jaeger 4.11.1 of jaegertracing (Jaeger 2.19), whose only workload is an all-in-one
Deployment. Jaeger has no login. The chart mounts a configuration of one's own (`userconfig`) from a ConfigMap with a
fixed name and without a checksum, so that a change would restart nothing: here a setting is an argument of the
container, which the built-in configuration is overridden by (`--set`, cmd/jaeger/internal/command.go and
all-in-one.yaml), and what is written into `userconfig` by `values` gets a checksum in the environment.
"""

import hashlib
import json
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

# renovate: datasource=helm depName=jaeger registryUrl=https://jaegertracing.github.io/helm-charts
CHART = "4.11.1"
REPOSITORY = "https://jaegertracing.github.io/helm-charts"
SERVICE = "jaeger"
OTLP_GRPC, OTLP_HTTP, ZIPKIN = 4317, 4318, 9411
"""Ports that take spans."""
QUERY, QUERY_GRPC = 16686, 16685
"""Ports that show traces: the interface and its API, and the same API by gRPC."""
BOUND = "extensions.jaeger_storage.backends.some_storage.memory.max_traces"
"""How many traces the built-in configuration keeps (cmd/jaeger/internal/all-in-one.yaml)."""
CHECKSUM = "MESHUP_CONFIG_CHECKSUM"
_USER = 10001
"""The user that the chart runs it as."""
_SMALL = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


class JaegerSettings(ServerSettings):
    """Settings of Jaeger."""

    service = SERVICE
    port = QUERY

    namespace: Name = "jaeger"
    """Its namespace. meshup makes it."""
    traces: Annotated[int, Field(ge=100, le=10_000_000)] = 50_000
    """How many traces are kept in memory; the oldest go first."""
    resources: Annotated[Resources | None, HelmValue("jaeger.resources")] = None
    """Requests and limits; built in if not set."""
    readers: Names = ()
    """Further namespaces whose pods may connect."""
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Raw chart values, merged last. `userconfig` replaces the whole configuration of Jaeger, `traces` with it."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the address and the resources."""
        yield from super().check(path)
        yield from over_limit(f"{path}.resources", self.resources)
        if "traces" in self.model_fields_set and "userconfig" in self.values:
            message = "`userconfig` replaces the configuration of Jaeger, this bound with it."
            yield Diagnostic("MSH635", f"{path}.traces", self.traces, message, remedy="Write the bound there.")


class JaegerArgs(JaegerSettings):
    """Arguments of Jaeger: its settings, and what it is planned from."""

    request: Any
    """An `AddonRequest`."""


class JaegerAddon(Addon[JaegerArgs]):
    """Jaeger as an add-on: see `Addon`."""

    name = "jaeger"
    resource = ("Jaeger", "jaeger")
    repository = REPOSITORY
    sections: ClassVar[Mapping[str, type[AddonSettings]]] = {"jaeger": JaegerSettings}
    dashboard = (SERVICE, QUERY)

    def args(self, request: AddonRequest) -> JaegerArgs | None:
        """Return the arguments, see `Addon`."""
        chosen = request.settings.section(JaegerSettings)
        return chosen.extended(JaegerArgs, request=request) if chosen.enabled else None

    def release(self, args: JaegerArgs) -> HelmRelease:
        """Return the release, see `Addon`."""
        request: AddonRequest = args.request
        own = args.values.get("userconfig")
        values: dict[str, Any] = {
            "fullnameOverride": SERVICE,
            "jaeger.podSecurityContext": {**POD_CONFINED, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER},
            "jaeger.securityContext": dict(CONFINED),
            "jaeger.serviceAccount.automountServiceAccountToken": False,
            "jaeger.resources": _SMALL,
            # It overrides the built-in configuration, which `userconfig` replaces.
            **({"jaeger.args": [f"--set={BOUND}={args.traces}"]} if own is None else {}),
            **({"jaeger.extraEnv": [{"name": CHECKSUM, "value": _digest(own)}]} if own is not None else {}),
            **helm_values(args),
        }
        return addon_release(
            self,
            args,
            request.other_charts,
            version=CHART,
            values=merged(nested(values), args.values),
        )

    def namespace(self, args: JaegerArgs) -> Mapping[str, Any]:
        """Return the namespace: in the mesh where proxies send spans to a pod of the mesh only."""
        request: AddonRequest = args.request
        return request.namespace(args.namespace, meshed=request.collector_in_mesh, pod_security="restricted")

    def objects(self, args: JaegerArgs) -> Sequence[Manifest]:
        """Return the NetworkPolicy: proxies may only send, readers may also look."""
        request: AddonRequest = args.request
        takes, shows = {OTLP_GRPC, OTLP_HTTP, ZIPKIN}, {QUERY, QUERY_GRPC}
        readers = request.callers(self.name, args.namespace, args.readers)
        openings = [
            Opening(frozenset(request.proxies) - readers, frozenset(takes)),
            Opening(readers, frozenset(takes | shows)),
        ]
        labels = {"app.kubernetes.io/name": self.name}
        proxy = request.proxy if request.collector_in_mesh else None
        made = admitting(SERVICE, args.namespace, labels, openings, proxy)
        return [made]


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


ADDON = JaegerAddon()
