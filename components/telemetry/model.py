"""What a stack asks for of traces and access logs, with the collectors that they go to; the same for every mesh."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..arguments import Arguments, Sections
from .settings import AccessLogSettings, Protocol, TagSettings, TracingSettings

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
    """

    tracing: TracingSettings
    access_logs: AccessLogSettings
    spans_to: Collector | None = None
    logs_to: Collector | None = None

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


def asked(sections: Sections) -> Asked:
    """Return what a configuration asks for."""
    tracing, logs = sections.section(TracingSettings), sections.section(AccessLogSettings)
    own = tracing.collector
    if own is None:
        return Asked(tracing, logs)
    account = own.service_account or ""
    to = Collector(own.service, own.namespace, own.port, own.protocol, account, f"{TRACING}.collector")
    return Asked(tracing, logs, spans_to=to)
