"""What can be asked for of traces and access logs: the features of the table in docs/observability.md.

The same form as for routes (components/traffic/capability.py): a mesh names the features that it can't do with the
reason (`TelemetryPlane.refusals`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..diagnostics import Diagnostic
from ..diagnostics.validation import join
from ..traffic.capability import Feature, refused
from .model import ACCESS_LOGS, TRACING, Asked
from .plane import TelemetryPlane
from .settings import AccessLogSettings, LoggedNamespace

Uses = Callable[[Asked], Iterator[str]]

_COLLECTOR = {"service": "collector", "namespace": "tracing", "port": 4317, "serviceAccount": "collector"}


def refusals(asked: Asked, plane: TelemetryPlane, planes: Sequence[TelemetryPlane]) -> Iterator[Diagnostic]:
    """Find what a mesh can't do.

    Args:
        asked: What a stack asks for.
        plane: The mesh.
        planes: All meshes, to name those that can.
    """
    return refused(FEATURES, asked, plane, planes, "MSH641")


def _collector(*protocols: str) -> Uses:
    def uses(asked: Asked) -> Iterator[str]:
        if asked.traces and asked.spans_to and asked.spans_to.protocol in protocols:
            yield asked.spans_to.path

    return uses


def _tag(kind: str) -> Uses:
    def uses(asked: Asked) -> Iterator[str]:
        for path, tags in (
            (TRACING, asked.tracing.tags),
            *((join(f"{TRACING}.namespaces", name), one.tags) for name, one in asked.tracing.namespaces.items()),
        ):
            yield from (join(f"{path}.tags", name) for name, tag in tags.items() if getattr(tag, kind) is not None)

    return uses


def _sampling(asked: Asked) -> Iterator[str]:
    if asked.tracing.sampling is not None:
        yield f"{TRACING}.sampling"


def _traced_namespaces(asked: Asked) -> Iterator[str]:
    return (join(f"{TRACING}.namespaces", name) for name in asked.tracing.namespaces)


def _logs(test: Callable[[AccessLogSettings], object], key: str) -> Uses:
    def uses(asked: Asked) -> Iterator[str]:
        if asked.access_logs.is_set and test(asked.access_logs):
            yield f"{ACCESS_LOGS}.{key}" if key else ACCESS_LOGS

    return uses


def _anywhere(test: Callable[[AccessLogSettings | LoggedNamespace], object], key: str) -> Uses:
    def uses(asked: Asked) -> Iterator[str]:
        chosen = asked.access_logs
        if test(chosen):
            yield f"{ACCESS_LOGS}.{key}"
        for name, one in chosen.namespaces.items():
            if test(one):
                yield f"{join(f'{ACCESS_LOGS}.namespaces', name)}.{key}"

    return uses


def _feature(name: str, title: str, uses: Uses, **example: Mapping[str, object]) -> Feature[Asked]:
    return Feature(name, title, uses, example, "Remove it, or choose a mesh that can.")


FEATURES = (
    _feature("otlp-grpc", "Spans by OTLP over gRPC", _collector("otlp-grpc"), tracing={"collector": _COLLECTOR}),
    _feature(
        "otlp-http",
        "Spans by OTLP over HTTP",
        _collector("otlp-http"),
        tracing={"collector": {**_COLLECTOR, "port": 4318, "protocol": "otlp-http"}},
    ),
    _feature(
        "zipkin",
        "Spans in the format of Zipkin",
        _collector("zipkin"),
        tracing={"collector": {**_COLLECTOR, "port": 9411, "protocol": "zipkin"}},
    ),
    _feature("sampling", "Traces: sampling", _sampling, tracing={"collector": _COLLECTOR, "sampling": 10}),
    _feature(
        "traced-namespaces",
        "Traces: what differs in a namespace",
        _traced_namespaces,
        tracing={"collector": _COLLECTOR, "namespaces": {"bookinfo": {"enabled": False}}},
    ),
    _feature(
        "tag-literal",
        "Traces: a tag with a fixed text",
        _tag("literal"),
        tracing={"collector": _COLLECTOR, "tags": {"team": {"literal": "shop"}}},
    ),
    _feature(
        "tag-header",
        "Traces: a tag from a header of the request",
        _tag("header"),
        tracing={"collector": _COLLECTOR, "tags": {"user": {"header": "x-user", "default": "nobody"}}},
    ),
    _feature(
        "tag-environment",
        "Traces: a tag from the environment of the proxy",
        _tag("environment"),
        tracing={"collector": _COLLECTOR, "tags": {"zone": {"environment": "ZONE"}}},
    ),
    _feature(
        "log-json", "Access log: JSON", _logs(lambda one: one.format == "json", ""), accessLogs={"format": "json"}
    ),
    _feature(
        "log-text", "Access log: text", _logs(lambda one: one.format == "text", ""), accessLogs={"format": "text"}
    ),
    _feature(
        "logged-namespaces",
        "Access log: on or off in a namespace",
        _logs(lambda one: one.namespaces, "namespaces"),
        accessLogs={"enabled": False, "namespaces": {"bookinfo": {}}},
    ),
    _feature(
        "log-fields",
        "Access log: further fields",
        _logs(lambda one: one.fields, "fields"),
        accessLogs={"fields": {"user": {"header": "x-user"}}},
    ),
    _feature(
        "log-errors",
        "Access log: failed requests only",
        _anywhere(lambda one: one.filter and one.filter.errors, "filter.errors"),
        accessLogs={"filter": {"errors": True}},
    ),
    _feature(
        "log-slow",
        "Access log: slow requests only",
        _anywhere(lambda one: one.filter and one.filter.slower_than, "filter.slowerThan"),
        accessLogs={"filter": {"slowerThan": "500ms"}},
    ),
    _feature(
        "log-sampling",
        "Access log: a share of the requests",
        _anywhere(lambda one: one.sampling is not None, "sampling"),
        accessLogs={"sampling": 1},
    ),
    _feature(
        "log-to-collector",
        "Access log: to an OpenTelemetry collector",
        _logs(lambda one: one.to == "collector", "to"),
        accessLogs={"to": "collector"},
        collector={"enabled": True},
    ),
)
"""All features, in the order of the table."""
