"""What a stack asks for of traces and access logs, with the collectors that they go to; the same for every mesh."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from ..addons import collector, jaeger, zipkin
from ..addons.collector import CollectorSettings
from ..addons.jaeger import JaegerSettings
from ..addons.zipkin import ZipkinSettings
from ..arguments import Arguments, Sections
from .settings import AccessLogSettings, ExistingCollector, Protocol, TagSettings, TracingSettings

TRACING, ACCESS_LOGS = "meshup:tracing", "meshup:accessLogs"
SECTIONS: Mapping[str, type[Arguments]] = {"tracing": TracingSettings, "accessLogs": AccessLogSettings}
"""The sections of a stack's configuration."""


@dataclass(frozen=True)
class Collector:
    """What proxies send to.

    Attributes:
        service: The Service.
        namespace: Its namespace.
        port: Its port.
        protocol: What it understands.
        service_account: The service account of its pods, "" if it is not known.
        path: The key of the configuration that asks for it.
    """

    service: str
    namespace: str
    port: int
    protocol: Protocol
    service_account: str
    path: str

    def host(self, domain: str) -> str:
        """Return the name of the Service in a cluster with this DNS domain."""
        return f"{self.service}.{self.namespace}.svc.{domain}"


@dataclass(frozen=True)
class Asked:
    """What a stack asks for.

    Attributes:
        tracing: `meshup:tracing`.
        access_logs: `meshup:accessLogs`.
        spans_to: The collector of the spans; None if there is none.
        logs_to: The collector of access logs; None if there is none, or they do not go to one.
        unheard: Add-ons that take spans, where the proxies speak to none of them.
    """

    tracing: TracingSettings
    access_logs: AccessLogSettings
    spans_to: Collector | None = None
    logs_to: Collector | None = None
    unheard: tuple[Collector, ...] = ()

    @property
    def traces(self) -> bool:
        """Whether spans are reported anywhere."""
        chosen = self.tracing
        somewhere = chosen.enabled is not False or any(one.enabled for one in chosen.namespaces.values())
        return somewhere and bool(self.spans_to or chosen.provider)

    @property
    def namespaces(self) -> Mapping[str, str]:
        """The namespaces that the settings name, each with its path."""
        named = {name: f"{ACCESS_LOGS}.namespaces.{name}" for name in self.access_logs.namespaces}
        return named | {name: f"{TRACING}.namespaces.{name}" for name in self.tracing.namespaces}

    def tags(self, namespace: str = "") -> Mapping[str, TagSettings]:
        """Return the tags of spans in the mesh, or in a namespace."""
        own = self.tracing.namespaces.get(namespace)
        return {**self.tracing.tags, **(own.tags if own else {})}


def asked(sections: Sections, refused: Container[str] = ()) -> Asked:
    """Return what a configuration asks for.

    Args:
        sections: The configuration.
        refused: The protocols that the proxies do not speak, which the stack's own add-ons may have beside others.
    """
    tracing, logs = sections.section(TracingSettings), sections.section(AccessLogSettings)
    own = _of_ones_own(tracing.collector)
    addons = [] if tracing.collector or tracing.provider else list(_addons(sections))
    spans_to = own or next((one for one in addons if one.protocol not in refused), None)
    takes_logs = [one for one in (own, *_addons(sections)) if one and one.service != jaeger.SERVICE]
    logs_to = next((one for one in takes_logs if one.protocol == "otlp-grpc"), None) if logs.to == "collector" else None
    return Asked(tracing, logs, spans_to, logs_to, () if spans_to else tuple(addons))


def _of_ones_own(chosen: ExistingCollector | None) -> Collector | None:
    if chosen is None:
        return None
    account = chosen.service_account or ""
    return Collector(chosen.service, chosen.namespace, chosen.port, chosen.protocol, account, f"{TRACING}.collector")


def _addons(sections: Sections) -> Iterator[Collector]:
    """Yield the add-ons of the stack that take spans: what sends them on, before what keeps them."""
    chosen = sections.section(CollectorSettings), sections.section(ZipkinSettings), sections.section(JaegerSettings)
    takes: tuple[tuple[str, int, Protocol], ...] = (
        (collector.SERVICE, collector.OTLP_GRPC, "otlp-grpc"),
        (zipkin.SERVICE, zipkin.PORT, "zipkin"),
        (jaeger.SERVICE, jaeger.OTLP_GRPC, "otlp-grpc"),
    )
    for settings, (name, port, protocol) in zip(chosen, takes, strict=True):
        if settings.enabled:
            # Chart, Service and service account have one name.
            yield Collector(name, settings.namespace, port, protocol, name, f"meshup:{name}")
