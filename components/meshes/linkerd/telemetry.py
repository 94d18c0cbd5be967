"""Traces and access logs on Linkerd: chart values of the proxies, and an annotation of namespaces.

Sources of the facts: the chart linkerd-control-plane 2026.8.3 (values `proxy.tracing`), linkerd2-proxy 29637b64f (the
proxy records a span only of a request that carries a trace context, `traceparent` or B3), and linkerd.io, HTTP Access
Logging.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...diagnostics import Diagnostic
from ...manifests import Manifest
from ...telemetry.model import TRACING, Asked
from ...telemetry.plane import Home, TelemetryPlan, TelemetryPlane, not_to_be_told
from ..interface import annotations_of
from .settings import TracingSettings

ACCESS_LOG = "config.linkerd.io/access-log"
"""Annotation of a namespace or a pod that the injector reads, so that it holds for new pods."""
_VARIABLE = "LINKERD2_PROXY_ACCESS_LOG"
_FORMATS = {"json": "json", "text": "apache"}
_OTLP = "Its proxies send spans by OTLP over gRPC only."
_CALLERS = "Its proxies start no trace: they report spans of requests that carry a trace context already."
_WHOLE_LOG = "Its proxies log every HTTP request that comes in, in one of two fixed forms."


def tracing(asked: Asked, domain: str) -> TracingSettings | None:
    """Return how the proxies send spans, None if they send none.

    Args:
        asked: What the stack asks for.
        domain: The DNS domain of the cluster.
    """
    to = asked.spans_to
    if not asked.traces or to is None or not to.service_account:
        return None
    return TracingSettings(
        endpoint=f"{to.host(domain)}:{to.port}",
        service_account=to.service_account,
        namespace=to.namespace,
        labels={name: tag.literal for name, tag in sorted(asked.tags().items()) if tag.literal is not None},
    )


class LinkerdTelemetry(TelemetryPlane):
    """Traces and access logs on Linkerd: see `TelemetryPlane`."""

    title = "Linkerd"
    refusals: Mapping[str, str] = {
        "otlp-http": _OTLP,
        "zipkin": _OTLP,
        "sampling": _CALLERS,
        "traced-namespaces": "All proxies of the mesh have the same settings of tracing.",
        "tag-header": "Its spans have the headers that the proxy chooses.",
        "tag-environment": "Its chart names no variables of the proxy for tags.",
        "log-fields": _WHOLE_LOG,
        "log-errors": _WHOLE_LOG,
        "log-slow": _WHOLE_LOG,
        "log-sampling": _WHOLE_LOG,
        "log-to-collector": "Its proxies write the log to the standard error of their container.",
    }

    def is_current(self, pod: Manifest, annotations: Mapping[str, str]) -> bool:
        """Compare the form of the log of a proxy, unless its pod says which, see `TelemetryPlane`."""
        wanted = annotations_of(pod["metadata"]).get(ACCESS_LOG, annotations.get(ACCESS_LOG))
        spec: Mapping[str, Any] = pod.get("spec") or {}
        containers: list[Mapping[str, Any]] = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
        variables: list[Mapping[str, Any]] = next(
            (one.get("env") or [] for one in containers if one["name"] == "linkerd-proxy"), list[Mapping[str, Any]]()
        )
        return wanted in (None, next((one.get("value") for one in variables if one["name"] == _VARIABLE), ""))

    def write(self, asked: Asked, home: Home, namespaces: Sequence[str]) -> TelemetryPlan:
        """Write the annotations, and say what the proxies do with traces."""
        diagnostics: list[Diagnostic] = []
        to = asked.spans_to
        if asked.traces and to is not None:
            if not home.installed:
                diagnostics.append(not_to_be_told(to, "enabled: false"))
            elif not to.service_account:
                message = "Linkerd's proxies send spans only to pods whose identity they know."
                allowed = "the service account of the collector's pods, which are in the mesh"
                diagnostics.append(Diagnostic("MSH643", f"{to.path}.serviceAccount", None, message, allowed))
            else:
                diagnostics.append(Diagnostic("MSH644", TRACING, None, _CALLERS, severity="info"))
        logs = asked.access_logs
        own = {name: logs.namespaces[name].enabled for name in logs.namespaces}
        logged = {name: own.get(name, logs.is_set and logs.enabled is not False) for name in namespaces}
        annotations = {name: {ACCESS_LOG: _FORMATS[logs.format]} for name, wanted in logged.items() if wanted}
        return TelemetryPlan(annotations=annotations, diagnostics=tuple(diagnostics))


LINKERD_TELEMETRY = LinkerdTelemetry()
