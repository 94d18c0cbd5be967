"""Check a policy against the pods that it guards: their ports, probes, metrics, and who else must reach them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from ..diagnostics import Diagnostic
from ..diagnostics.report import Severity
from ..traffic.model import Port, Service
from .coverage import parts
from .evaluate import decide, operation_takes
from .model import Jwt
from .plane import AccessRequest
from .view import SECTION, View, rule_where
from .world import Probe, Workload

_METRICS_PORTS = ("metrics", "prom", "prometheus")
"""Names of ports, or parts of them between dashes, by which Prometheus is commonly told what to scrape."""
_METRICS_PATH = "/metrics"


def check(view: View) -> Iterator[Diagnostic]:
    """Find what a policy closes, or leaves open, of the pods themselves."""
    for service in view.guarded_services:
        yield from _check_bypassed(view, service)
        yield from _check_target_names(view, service)
        yield from _check_undeclared(view, service)
        yield from _check_metrics_ports(view, service)
    yield from _check_probes(view)
    yield from _check_scraping(view)
    yield from _check_webhooks(view)
    yield from _check_key_servers(view)


def _where(view: View, service: Service) -> str:
    """Return the path of what guards a Service."""
    tokens = view.policy.authentication_of(service)
    spaces = [one.where for one in view.policy.namespaces if one.name == service.namespace]
    found = [*map(rule_where, view.rules_of(service)), tokens.where if tokens else "", *spaces]
    return next(filter(None, found), SECTION)


def _check_bypassed(view: View, service: Service) -> Iterator[Diagnostic]:
    for port in service.ports:
        past = sorted({f"{one.kind} {one.name}" for one in view.behind(service) if one.bypasses(port.container)})
        if not past:
            continue
        named = [
            operation.where or rule_where(rule)
            for rule in view.rules_of(service)
            for operation in rule.operations
            if operation.port and operation.port.container == port.container
        ]
        message = (
            f"An annotation of {', '.join(past)} keeps port {port.container} away from the sidecar: everybody reaches "
            f"port {port.number} of {service.name}."
        )
        where = named[0] if named else _where(view, service)
        yield Diagnostic("MSH547", where, port.number, message, severity="error" if named else "warning")


def _check_target_names(view: View, service: Service) -> Iterator[Diagnostic]:
    for port in service.ports:
        name = view.world.target_names.get((service.namespace, service.name, port.number))
        if name is None:
            continue
        numbers = {one.name: number for one in view.behind(service) for key, number in one.ports if key == name}
        others = sorted({f"{pod} has {number}" for pod, number in numbers.items() if number != port.container})
        if others:
            message = (
                f"Port {port.number} of {service.name} leads to the port '{name}' of the pods, which is not the same "
                f"everywhere: the policy is written for {port.container}, and {', '.join(others)}."
            )
            where = _where(view, service)
            yield Diagnostic("MSH540", where, port.number, message, severity="warning")


def _check_undeclared(view: View, service: Service) -> Iterator[Diagnostic]:
    """Report ports of a Service that none of its pods declares, though all of them declare some."""
    behind = view.behind(service)
    if not behind or not all(one.declared for one in behind):
        return
    declared = sorted({number for one in behind for number in one.declared})
    for port in service.ports:
        if port.container not in declared:
            message = (
                f"Port {port.number} of {service.name} leads to port {port.container}, which none of its pods "
                f"declares. They declare {', '.join(map(str, declared))}."
            )
            remedy = "Write the targetPort of the Service, if it has another one: policies hold for ports of pods."
            where = _where(view, service)
            yield Diagnostic("MSH540", where, port.number, message, remedy=remedy, severity="warning")


def _guards(view: View, workload: Workload) -> list[Service]:
    """Return the guarded Services of a workload that refuse what no rule allows."""
    return [one for one in view.selecting(workload) if view.closes(one)]


def _is_strict(view: View, workload: Workload, port: int) -> bool:
    """Return True if a port of a workload demands mutual TLS."""
    services = view.selecting(workload)
    # Exceptions are written for Services: one that makes the port permissive holds for the pods.
    return (
        all(view.policy.mode_of(service, Port(port)) == "strict" for service in services)
        if services
        else (view.policy.mode == "strict")
    )


def _check_probes(view: View) -> Iterator[Diagnostic]:
    for workload in view.world.workloads:
        if not workload.meshed or (view.plane.has_agent and not workload.direct_probes):
            continue
        for probe in workload.probes:
            reason = _closed_probe(view, workload, probe)
            if reason:
                path = f" {probe.path}" if probe.path else ""
                message = (
                    f"The {probe.kind} probe{path} at port {probe.port} of {workload.kind} {workload.name}: {reason}"
                )
                guards = [one for one in _guards(view, workload) if any(p.container == probe.port for p in one.ports)]
                where = _where(view, guards[0]) if guards else f"{SECTION}.mtls"
                yield Diagnostic("MSH543", where, workload.name, message, severity="warning")


def _closed_probe(view: View, workload: Workload, probe: Probe) -> str:
    """Return why a probe tells nothing of an application, "" if it does."""
    if probe.kind == "exec" or workload.bypasses(probe.port):
        return ""
    guarded = any(port.container == probe.port for one in _guards(view, workload) for port in one.ports)
    if view.plane.has_agent and (guarded or _is_strict(view, workload, probe.port)):
        return "an annotation makes the kubelet ask itself, without an identity, and the port demands one."
    return view.plane.closed_probes.get(probe.kind, "") if guarded else ""


def _is_open_to_prometheus(view: View, service: Service, port: Port, path: str) -> bool:
    """Return True if some rule opens a path of metrics to whom Prometheus can be."""
    request = AccessRequest(service, port, path=path)
    if decide(view.policy, view.world, request).allowed:
        return True
    return any(
        operation_takes(part.operation, request)
        and not part.source.gateway
        and (part.operation.paths or part.source.identity is None or part.source.identity.kind != "account")
        for part in parts(view.opening_rules(service))
    )


def _check_scraping(view: View) -> Iterator[Diagnostic]:
    for workload in view.world.workloads:
        if workload.scraped is None or not workload.meshed or (view.plane.has_agent and not workload.direct_metrics):
            continue
        number, path = workload.scraped
        if workload.bypasses(number):
            continue
        guards = [
            (service, port) for service in _guards(view, workload) for port in service.ports if port.container == number
        ]
        for service, port in guards:
            if not _is_open_to_prometheus(view, service, port, path):
                what = f"GET {path} of {workload.kind} {workload.name}"
                yield _closed_metrics(view, service, port, what, "warning")
        if not guards and _is_strict(view, workload, number):
            message = (
                f"Port {number} of {workload.kind} {workload.name}, which Prometheus is told to scrape, demands mutual "
                "TLS: a Prometheus outside of the mesh gets nothing."
            )
            yield Diagnostic("MSH544", f"{SECTION}.mtls", number, message, severity="info")


def _check_metrics_ports(view: View, service: Service) -> Iterator[Diagnostic]:
    """Report ports that are for metrics by their name."""
    scraped = {one.scraped[0] for one in view.behind(service) if one.scraped}
    for port in service.ports if view.closes(service) else ():
        is_metrics = any(part in _METRICS_PORTS for part in port.name.split("-")) and port.container not in scraped
        if is_metrics and not _is_open_to_prometheus(view, service, port, _METRICS_PATH):
            yield _closed_metrics(view, service, port, f"The port '{port.name}'", "info")


def _closed_metrics(view: View, service: Service, port: Port, what: str, severity: Severity) -> Diagnostic:
    message = f"{what} is closed to Prometheus: no rule of {service.name} opens port {port.number} for it."
    remedy = (
        f"Write a rule for {service.name} with the account of Prometheus, port {port.number} and the path of the "
        "metrics, if they are needed."
    )
    return Diagnostic("MSH544", _where(view, service), port.number, message, remedy=remedy, severity=severity)


def _check_webhooks(view: View) -> Iterator[Diagnostic]:
    for hook in view.world.webhooks:
        service = view.world.service(hook.service, hook.namespace)
        port = view.world.port_of(service, hook.port) if service else None
        if service is None or port is None or not _has_sidecar(view, service):
            continue
        if any(one.bypasses(port.container) for one in view.behind(service)):
            continue
        # The API server speaks TLS of its own, so the proxy sees a connection.
        decision = decide(view.policy, view.world, AccessRequest(service, port, http=False))
        if not decision.allowed:
            message = (
                f"The API server calls port {port.number} of {service.name} for {hook.name}, and has no identity. "
                f"{decision.reason} What the webhook decides on can't be created or changed then."
            )
            remedy = "Open the port to everybody, by an exception with mode permissive and a rule with that port."
            where = decision.where or f"{SECTION}.mtls"
            yield Diagnostic("MSH545", where, hook.name, message, remedy=remedy, severity="warning")


def _has_sidecar(view: View, service: Service) -> bool:
    """Return True unless the pods of a Service are known to have no sidecar."""
    behind = view.behind(service)
    return any(one.meshed for one in behind) if behind else view.world.namespaces.get(service.namespace, True)


def _check_key_servers(view: View) -> Iterator[Diagnostic]:
    """Report servers of keys in the mesh, which the control plane, outside of it, asks in vain."""
    for tokens in view.policy.authentications:
        for jwt in tokens.jwt:
            found = _key_server(view, jwt)
            if found is None or not _has_sidecar(view, found[0]):
                continue
            service, port = found
            if any(one.bypasses(port.container) for one in view.behind(service)):
                continue
            url = urlsplit(jwt.jwks_uri)
            # A proxy sees no path in TLS that is not its own.
            request = AccessRequest(service, port, http=url.scheme == "http", path=url.path or "/")
            decision = decide(view.policy, view.world, request)
            if not decision.allowed:
                message = (
                    f"The control plane fetches the keys, and has no identity. {decision.reason} Without the keys, "
                    "every token is refused."
                )
                remedy = (
                    f"Write the keys as jwks, or open port {port.number} of {service.name}: an exception with mode "
                    "permissive, and a rule for everybody if the Service is guarded."
                )
                certain = bool(view.behind(service))
                where = f"{jwt.where or tokens.where}.jwksUri"
                severity = "error" if certain else "warning"
                yield Diagnostic("MSH549", where, jwt.jwks_uri, message, remedy=remedy, severity=severity)


def _key_server(view: View, jwt: Jwt) -> tuple[Service, Port] | None:
    """Return the known Service, and its port, that keys are fetched from; None for others."""
    if not jwt.jwks_uri:
        return None
    url = urlsplit(jwt.jwks_uri)
    host = (url.hostname or "").rstrip(".")
    number = url.port or (443 if url.scheme == "https" else 80)
    for service in view.services:
        names = (f"{service.name}.{service.namespace}", f"{service.name}.{service.namespace}.svc", service.host)
        port = view.world.port_of(service, number)
        if host in names and port is not None:
            return service, port
    return None
