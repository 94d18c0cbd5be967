"""Traces and access logs on Istio: extensionProviders of the mesh configuration, and Telemetry objects.

Sources of the facts: Istio 1.30 (pilot/pkg/model/telemetry.go and telemetry_logging.go,
pilot/pkg/networking/core/tracing.go), its APIs telemetry/v1 and mesh/v1alpha1.

- A Telemetry without a selector holds for its namespace, one in the root namespace for the mesh; of several in one
  namespace, istiod takes the oldest. So both subjects share one object.
- What a namespace says of a provider, or of tags, replaces what the mesh says: so each object is written out in full.
  Metrics are named in none, and stay with the default provider.
- A provider whose Service istiod does not know switches tracing off, with a line in its log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...diagnostics import Diagnostic, one_of
from ...diagnostics.validation import join
from ...manifests import Manifest, manifest
from ...observability.source import FAILED_GRPC
from ...telemetry.model import ACCESS_LOGS, TRACING, Asked, Collector
from ...telemetry.plane import Home, TelemetryPlan, TelemetryPlane, not_to_be_told
from ...telemetry.settings import AccessLogSettings, FieldSettings, LogFilterSettings, TagSettings

API_VERSION = "telemetry.istio.io/v1"
KIND = "Telemetry"
NAME = "meshup"
SPANS, LOGS = "meshup-tracing", "meshup-access-log"
"""Names of the providers."""
BUILT_IN_LOGS = "envoy"
"""Istio's own provider of access logs: the standard output, in the form that the mesh configuration says."""
LOG_FIELDS: Mapping[str, str] = {
    "start_time": "%START_TIME%",
    "route_name": "%ROUTE_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}
"""Istio's own fields of a JSON log (EnvoyJSONLogFormatIstio); `meshup security learn` reads some of them."""
_ALL = 100
_IDS = 0x10000
"""A request ID is a random UUID: its first four hexadecimal digits draw a sample."""
_FAILED = (
    "has(request.method) ? !has(response.code) || response.code >= 500 || (has(request.headers) && "
    "'content-type' in request.headers && request.headers['content-type'].startsWith('application/grpc') && "
    f"response.grpc_status in {list(FAILED_GRPC)}) : response.flags > 0"
)
"""A request that failed as the rules count it (components/observability/source.py), or a connection that did. Envoy
1.40, seen: without an answer there is no `response.code`, and plain HTTP has a gRPC status that Envoy makes up."""


def providers(asked: Asked, domain: str) -> list[dict[str, Any]]:
    """Return the extensionProviders of the mesh configuration.

    Args:
        asked: What the stack asks for.
        domain: The DNS domain of the cluster.
    """
    found: list[dict[str, Any]] = []
    if asked.traces and asked.spans_to:
        found.append({"name": SPANS, **_span_provider(asked.spans_to, domain)})
    if asked.access_logs.is_set:
        found.append({"name": LOGS, **_log_provider(asked.access_logs, asked.logs_to, domain)})
    return found


def _span_provider(to: Collector, domain: str) -> dict[str, Any]:
    where: dict[str, Any] = {"service": to.host(domain), "port": to.port}
    if to.protocol == "zipkin":
        # Applications may forward either kind of header.
        return {"zipkin": {**where, "traceContextOption": "USE_B3_WITH_W3C_PROPAGATION"}}
    if to.protocol == "otlp-http":
        # Envoy has no default for the timeout, and drops the spans without one.
        return {"opentelemetry": {**where, "http": {"path": "/v1/traces", "timeout": "5s"}}}
    return {"opentelemetry": where}


def _log_provider(chosen: AccessLogSettings, to: Collector | None, domain: str) -> dict[str, Any]:
    own = {name: _operator(one) for name, one in chosen.fields.items()}
    if to is not None:
        where = {"service": to.host(domain), "port": to.port}
        form = {"labels": {**LOG_FIELDS, **own}} if chosen.format == "json" else None
        return {"envoyOtelAls": where | ({"logFormat": form} if form else {})}
    form = {"labels": {**LOG_FIELDS, **own}} if chosen.format == "json" else None
    return {"envoyFileAccessLog": {"path": "/dev/stdout"} | ({"logFormat": form} if form else {})}


def _operator(one: FieldSettings) -> str:
    """Return the value of a field as Envoy's format strings have it."""
    if one.header is not None:
        return f"%REQ({one.header})%"
    if one.environment is not None:
        return f"%ENVIRONMENT({one.environment})%"
    return str(one.literal).replace("%", "%%")


def expression(chosen: LogFilterSettings | None, sampling: float | None) -> str:
    """Return the CEL expression of the requests that are logged; "" for all of them.

    Args:
        chosen: The filter.
        sampling: Percent that are logged whatever the filter says; all, if neither is set.
    """
    parts: list[str] = []
    if chosen is not None and chosen.errors:
        parts.append(f"({_FAILED})")
    if chosen is not None and chosen.slower_than is not None:
        parts.append(f"request.duration > duration('{chosen.slower_than}ms')")
    if sampling == _ALL or not (parts or sampling is not None):
        return ""
    if sampling is not None:
        # The same at both ends of a request, and at all of a trace that forwards the ID.
        parts.append(f"(has(request.id) && request.id < '{round(sampling * _IDS / _ALL):04x}')")
    return " || ".join(parts)


class IstioTelemetry(TelemetryPlane):
    """Traces and access logs on Istio: see `TelemetryPlane`."""

    title = "Istio"
    refusals: Mapping[str, str] = {}

    def write(self, asked: Asked, home: Home, namespaces: Sequence[str]) -> TelemetryPlan:
        """Write a Telemetry for the mesh, and one for each namespace that differs."""
        del namespaces
        named = asked.namespaces.keys() - {home.namespace}
        objects = [
            manifest(API_VERSION, KIND, NAME, namespace, spec)
            for namespace in (home.namespace, *sorted(named))
            if (spec := _spec(asked, home, namespace))
        ]
        return TelemetryPlan(tuple(objects), diagnostics=tuple(_check(asked, home)))


def _spec(asked: Asked, home: Home, namespace: str) -> Manifest:
    mesh_wide = namespace == home.namespace
    tracing = _traced(asked, home, namespace, mesh_wide=mesh_wide)
    logged = _logged(asked, home, namespace, mesh_wide=mesh_wide)
    return ({"tracing": [tracing]} if tracing else {}) | ({"accessLogging": [logged]} if logged else {})


def _traced(asked: Asked, home: Home, namespace: str, *, mesh_wide: bool) -> Manifest:
    chosen, own = asked.tracing, asked.tracing.namespaces.get(namespace)
    if (
        not asked.traces
        or not (home.installed or chosen.provider)
        or (own is None and (not mesh_wide or chosen.enabled is False))
    ):
        return {}
    if own is not None and not own.enabled:
        return {"disableSpanReporting": True}
    sampling = chosen.sampling if own is None or own.sampling is None else own.sampling
    tags = asked.tags(namespace)
    return {
        "providers": [{"name": chosen.provider or SPANS}],
        **({} if sampling is None else {"randomSamplingPercentage": sampling}),
        **({"customTags": {name: _tag(tags[name]) for name in sorted(tags)}} if tags else {}),
    }


def _tag(tag: TagSettings) -> Manifest:
    if tag.literal is not None:
        return {"literal": {"value": tag.literal}}
    kind, name = ("header", tag.header) if tag.header is not None else ("environment", tag.environment)
    return {kind: {"name": name, **({} if tag.default is None else {"defaultValue": tag.default})}}


def _logged(asked: Asked, home: Home, namespace: str, *, mesh_wide: bool) -> Manifest:
    chosen, own = asked.access_logs, asked.access_logs.namespaces.get(namespace)
    if not chosen.is_set or (own is None and not mesh_wide):
        return {}
    logs: Manifest = {"providers": [{"name": LOGS if home.installed else BUILT_IN_LOGS}]}
    if not own.enabled if own is not None else chosen.enabled is False:
        return {**logs, "disabled": True}
    of_own = own is not None and (own.filter is not None or own.sampling is not None)
    source = own if own is not None and of_own else chosen
    written = expression(source.filter, source.sampling)
    return logs | ({"filter": {"expression": written}} if written else {})


def _check(asked: Asked, home: Home) -> Iterator[Diagnostic]:
    """Check that the providers are those of the mesh, and that no field of a log is said twice."""
    chosen, logs = asked.tracing, asked.access_logs
    for name in sorted(logs.fields.keys() & LOG_FIELDS):
        path = join(f"{ACCESS_LOGS}.fields", name)
        yield Diagnostic("MSH647", path, None, f"Each line has {LOG_FIELDS[name]} under this name.", "another name")
    if home.installed:
        if chosen.provider is not None:
            message = "This stack installs Istio, so it makes the provider itself."
            yield Diagnostic("MSH642", f"{TRACING}.provider", chosen.provider, message, "collector in its place")
        return
    if asked.traces and asked.spans_to is not None:
        yield not_to_be_told(asked.spans_to, f"the name of one of Istio's own providers in {TRACING}.provider")
    if chosen.provider is not None and home.providers is not None and chosen.provider not in home.providers:
        message = f"The Istio in {home.namespace} has no such provider."
        yield Diagnostic("MSH642", f"{TRACING}.provider", chosen.provider, message, one_of(home.providers) or "none")
    for key, is_set in (("fields", bool(logs.fields)), ("to", logs.to != "stdout")):
        if is_set:
            message = "Form and place of the access log are in the configuration of the Istio that is there."
            yield Diagnostic("MSH642", f"{ACCESS_LOGS}.{key}", None, message, "the access log without this key")


ISTIO_TELEMETRY = IstioTelemetry()
