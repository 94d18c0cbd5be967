"""`meshup:tracing` and `meshup:accessLogs`: what may be written."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ..arguments import Arguments, Percent
from ..diagnostics.validation import Checked, Refusals, inconsistent, refused
from ..scalars import Name, Text
from ..traffic.grammar import Duration, PortNumber, Token

MOST_FIELDS = 32
_LONGEST = 256
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
_KEY = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"


def _line(value: str) -> str:
    if not 0 < len(value) <= _LONGEST or not value.isprintable() or not value.isascii():
        allowed = f"1 to {_LONGEST} printable ASCII characters"
        raise refused("MSH004", "Proxies can't write this text into a span or a log.", allowed)
    return value


Line = Annotated[str, Checked(_line, "[ -~]+", _LONGEST)]
Key = Annotated[str, Field(pattern=f"^{_KEY}$")]
Variable = Annotated[str, Field(pattern=f"^{_VARIABLE}$")]
Protocol = Literal["otlp-grpc", "otlp-http", "zipkin"]


class FieldSettings(Arguments):
    """Where a value comes from: one of the three."""

    literal: Line | None = None
    """This text."""
    header: Token | None = None
    """A header of the request."""
    environment: Variable | None = None
    """An environment variable of the proxy."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """Refuse none and several sources."""
        yield from super().conflicts(written)
        found = [key for key in ("literal", "header", "environment") if written.get(key) is not None]
        if len(found) != 1:
            code = "MSH007" if found else "MSH003"
            yield (), inconsistent(code, "Exactly one of the keys must be set.", "one of literal, header, environment")


class TagSettings(FieldSettings):
    """A tag of every span."""

    exclusive = (("literal", "default", "A literal is always there."),)

    default: Line | None = None
    """What is written where there is no such header or variable."""


class ExistingCollector(Arguments):
    """A collector that exists already."""

    service: Name
    """Its Service."""
    namespace: Name
    """The namespace of the Service."""
    port: PortNumber
    """The port of the Service: 4317 for `otlp-grpc`, 4318 for `otlp-http` and 9411 for `zipkin` are usual."""
    protocol: Protocol = "otlp-grpc"
    """What it understands."""
    service_account: Name | None = None
    """Linkerd: the service account of its pods, which have to be in the mesh."""


Tags = Annotated[dict[Key, TagSettings], Field(max_length=MOST_FIELDS)]


class TracedNamespace(Arguments):
    """Tracing in one namespace, where it differs."""

    enabled: bool = True
    """`false`: the proxies report no spans. What they forward stays traced."""
    sampling: Percent | None = None
    """Percent of the traces that begin at a proxy of this namespace."""
    tags: Tags = Field(default_factory=dict[Key, TagSettings])
    """Further tags, which win over those of the mesh."""


class TracingSettings(Arguments):
    """Traces: where proxies send their spans, and of how many requests."""

    exclusive = (("collector", "provider", "A provider has its own collector."),)

    enabled: bool | None = None
    """Not set, requests are traced if there is a collector: `collector`, `provider`, or an add-on of the stack.
    `false`: only those in `namespaces` are."""
    collector: ExistingCollector | None = None
    """The collector, if it is none of the stack's add-ons."""
    provider: Text | None = None
    """Of an Istio that somebody else has installed: the name of one of its extensionProviders."""
    sampling: Percent | None = None
    """Percent of the traces that begin at a proxy: the first proxy of a request decides for all others. Not set, what
    `traceSampling` of `meshup:istio` says."""
    tags: Tags = Field(default_factory=dict[Key, TagSettings])
    """Tags of every span, by name."""
    namespaces: dict[Name, TracedNamespace] = Field(default_factory=dict[Name, TracedNamespace])
    """What differs in namespaces of the stack."""


class LogFilterSettings(Arguments):
    """Which requests are logged: those of any key that is set."""

    errors: bool = False
    """Requests that failed: a 5xx, a failed gRPC status, no answer at all; and connections that failed."""
    slower_than: Duration | None = None
    """Requests that took longer, such as `500ms`."""


class LoggedNamespace(Arguments):
    """The access log in one namespace. What is not set is as in the mesh."""

    enabled: bool = True
    """`false`: nothing is logged."""
    filter: LogFilterSettings | None = None
    """Which requests are logged."""
    sampling: Percent | None = None
    """Percent of the requests that are logged, whatever the filter says of them."""


class AccessLogSettings(Arguments):
    """Access logs of the proxies: of which requests, in which form, and where to."""

    enabled: bool | None = None
    """Not set, `true` if anything else is; else what `accessLog` of `meshup:istio` says. `false`: only `namespaces`
    that say otherwise log."""
    format: Literal["json", "text"] = "json"
    """Of each line: JSON, or the mesh's own text."""
    fields: Annotated[dict[Key, FieldSettings], Field(max_length=MOST_FIELDS)] = Field(
        default_factory=dict[Key, FieldSettings]
    )
    """Further fields of JSON, by name."""
    to: Literal["stdout", "collector"] = "stdout"
    """Where the lines go: to the output of the proxy's container, or by OTLP to the stack's OpenTelemetry collector."""
    filter: LogFilterSettings | None = None
    """Which requests are logged; without it, all are."""
    sampling: Percent | None = None
    """Percent of the requests that are logged, whatever the filter says of them; 0 with a filter and 100 without one,
    if it is not set."""
    namespaces: dict[Name, LoggedNamespace] = Field(default_factory=dict[Name, LoggedNamespace])
    """What differs in namespaces of the stack."""

    @property
    def is_set(self) -> bool:
        """Whether anything is said here."""
        return bool(self.model_fields_set)
