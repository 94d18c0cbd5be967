"""`meshup security learn`: the allow list of what was called, from counted traffic.

`propose` decides, on plain data; `look_up` is the shell around it. The list opens what was counted and nothing else: by
account and port from metrics, by method and path where access logs have them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.diagnostics import ConfigurationError, Diagnostic, errors
from components.diagnostics.validation import join
from components.security.grammar import MOST_VALUES
from components.security.world import Call, World
from components.telemetry.model import ACCESS_LOGS
from components.telemetry.settings import AccessLogSettings
from components.traffic.grammar import path_fault
from components.traffic.model import Service
from operate.discover import as_yaml
from operate.metrics import (
    METRICS,
    PROXIES,
    Caller,
    Counted,
    Edge,
    Pod,
    Sample,
    count,
    parse_answer,
    parse_text,
    query,
    read_log,
    read_pods,
)
from operate.prometheus import PrometheusError, at_address
from operate.traffic import Compiled
from stacks.cluster import Cluster, ClusterError, ClusterView, connect
from stacks.settings import Settings

KEY = "meshup:security"
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_LONGEST_PATH = 500


@dataclass(frozen=True, slots=True)
class Proposal:
    """An allow list, and what it does not open.

    Attributes:
        security: A value of `meshup:security`.
        notes: What was not seen, or seen and not opened, each with the reason.
    """

    security: dict[str, Any]
    notes: tuple[str, ...]


def propose(counted: Counted, world: World, namespace: str = "", depth: int = 0) -> Proposal:
    """Propose the allow list of what was counted.

    Args:
        counted: What was counted.
        world: The Services, their known callers, and the accounts of gateways.
        namespace: Only Services of this namespace; "" for all of the stack.
        depth: Number of segments after which paths from logs become a prefix; 0 for exact paths only.
    """
    services = [one for one in world.services if namespace in ("", one.namespace)]
    allow = {_key(one, world): rules for one in services if (rules := list(_rules(one, counted, world, depth)))}
    namespaces = {name: {"default": "deny"} for name in sorted({one.namespace for one in services})}
    notes = _notes(counted, world, services)
    return Proposal({"namespaces": namespaces, "allow": allow}, tuple(notes))


def _key(service: Service, world: World) -> str:
    unique = sum(one.name == service.name for one in world.services) == 1
    return service.name if unique else f"{service.name}.{service.namespace}"


def _rules(service: Service, counted: Counted, world: World, depth: int) -> Iterator[dict[str, Any]]:
    """Yield the rules about a Service: one for all callers that ask for the same."""
    ports: dict[Caller, list[Edge]] = {}
    for edge in sorted(counted.edges):
        if (edge.namespace, edge.service) == (service.namespace, service.name):
            ports.setdefault(edge.caller, []).append(edge)
    callers: dict[str, tuple[list[dict[str, Any]], list[dict[str, str]]]] = {}
    for caller, edges in sorted(ports.items()):
        operations = [one for edge in edges for one in _operations(edge, service, counted, depth)]
        if len(edges) == len(service.ports) and all(set(one) == {"port"} for one in operations):
            operations = []
        same = callers.setdefault(json.dumps(operations), (operations, []))
        same[1].append(_source(caller, service, world))
    for operations, sources in callers.values():
        for start in range(0, len(sources), MOST_VALUES):
            yield {"from": sources[start : start + MOST_VALUES]} | ({"to": operations} if operations else {})


def _operations(edge: Edge, service: Service, counted: Counted, depth: int) -> Iterator[dict[str, Any]]:
    port = {"port": edge.port} if len(service.ports) > 1 else {}
    requests = counted.requests.get(edge, set())
    if not requests or _unwritable(requests):
        yield {"port": edge.port}
        return
    methods: dict[tuple[str, ...], list[str]] = {}
    for method in sorted({method for method, _ in requests}):
        paths = tuple(sorted(path for other, path in requests if other == method))
        methods.setdefault(paths, []).append(method)
    for paths, same in methods.items():
        patterns = list(_patterns(paths, depth))
        for start in range(0, len(patterns), MOST_VALUES):
            yield port | {"methods": same, "paths": patterns[start : start + MOST_VALUES]}


def _unwritable(requests: Iterable[tuple[str, str]]) -> list[str]:
    """Return the requests that no rule can have, such as those with a path that proxies read in another way."""
    return sorted(
        f"{method} {path}"
        for method, path in requests
        if method not in _METHODS or path_fault(path) or "*" in path or len(path) > _LONGEST_PATH
    )


def _patterns(paths: Sequence[str], depth: int) -> Iterator[str | dict[str, str]]:
    """Yield the paths, those with the same first segments as a prefix."""
    below: dict[str, list[str]] = {}
    for path in paths:
        segments = path[1:].split("/")
        start = "/" + "/".join(segments[:depth])
        below.setdefault(start if 0 < depth < len(segments) else path, []).append(path)
    for start, same in below.items():
        yield same[0] if len(same) == 1 else {"prefix": start}


def _source(caller: Caller, service: Service, world: World) -> dict[str, str]:
    account = caller.account
    if caller.trust_domain:
        return {"serviceAccount": str(account), "trustDomain": caller.trust_domain}
    gateway = next((name for name, own in world.gateways.items() if own == account), "")
    if gateway:
        return {"gateway": gateway}
    return {"serviceAccount": account.name if account.namespace == service.namespace else str(account)}


def _notes(counted: Counted, world: World, services: Sequence[Service]) -> Iterator[str]:
    """Yield what is not opened, with the reason."""
    places = {(one.namespace, one.name) for one in services}
    for call in world.calls:
        if (call.namespace, call.service) in places and not _was_seen(call, counted, world):
            note = f" ({call.note})" if call.note else ""
            yield f"not seen: {call.caller or 'callers from outside'} -> {_place(call)} {call.method}{note}".rstrip()
    called = {(edge.namespace, edge.service) for edge in counted.edges} | counted.plain.keys()
    for one in services:
        if (one.namespace, one.name) not in called:
            yield f"nothing was counted for the Service {one.namespace}/{one.name}: nobody may call it"
    for place, text in _closed(counted):
        if place in places:
            yield text
    for what, number in sorted(counted.unknown.items()):
        yield f"called {number:g} times, and no Service of the stack: {what}"
    if not counted.requests:
        yield "metrics have no paths: the rules are by account and port. Access logs (--log) narrow them."


def _closed(counted: Counted) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield calls that were counted and are not opened, or not narrowed: the Service, and the reason."""
    for edge, number in sorted(counted.refused.items()):
        text = f"refused {number:g} times, so not opened: {_text(edge.caller)} -> {_place(edge)}"
        yield (edge.namespace, edge.service), text
    for place, number in sorted(counted.plain.items()):
        yield place, f"called {number:g} times without an identity, so not opened: {'/'.join(place)}"
    for (namespace, name, caller), number in sorted(counted.portless.items()):
        yield (
            (namespace, name),
            f"called {number:g} times, and the metrics do not say at which of its ports, so not opened: "
            f"{_text(caller)} -> {namespace}/{name}",
        )
    for edge, requests in sorted(counted.requests.items()):
        if edge in counted.edges and (written := _unwritable(requests)):
            text = f"not narrowed, since no rule can have {written[0]}: {_text(edge.caller)} -> {_place(edge)}"
            yield (edge.namespace, edge.service), text


def _was_seen(call: Call, counted: Counted, world: World) -> bool:
    place = (call.namespace, call.service)
    edges = [edge for edge in counted.edges if (edge.namespace, edge.service, edge.port) == (*place, call.port)]
    if call.caller is None:
        gateways = {account for account in world.gateways.values() if account}
        return place in counted.plain or any(edge.caller.account in gateways for edge in edges)
    return any(edge.caller == Caller(call.caller) for edge in edges)


def _place(called: Call | Edge) -> str:
    return f"{called.namespace}/{called.service}:{called.port}"


def _text(caller: Caller) -> str:
    return f"{caller.account} of {caller.trust_domain}" if caller.trust_domain else str(caller.account)


def as_text(proposal: Proposal) -> str:
    """Return a proposal as YAML of a stack file; what it does not open is in comments above."""
    comments = "".join(f"# {note}\n" for note in proposal.notes)
    return comments + as_yaml({KEY: proposal.security})


def look_up(
    asked: Compiled,
    namespace: str = "",
    *,
    prometheus: str = "",
    window: str = "7d",
    logs: Iterable[Path] = (),
    depth: int = 0,
) -> tuple[Proposal, list[Diagnostic]]:
    """Propose the allow list of what the cluster of a stack has counted.

    Args:
        asked: The stack.
        namespace: Only Services of this namespace; "" for all of the stack.
        prometheus: Address of a Prometheus; "" reads the sidecars themselves, which count since they were started.
        window: How far back a Prometheus is asked, as it writes durations.
        logs: Files with access logs in JSON.
        depth: As for `propose`.

    Raises:
        ConfigurationError: The configuration has errors, nothing can be read, or nothing was counted.
    """
    cluster, view, unreachable = connect(asked.chosen.cluster, os.environ)
    if errors(asked.faults) or cluster is None or view is None:
        raise ConfigurationError([*asked.faults, *unreachable])
    world, files = asked.secured.world, list(logs)
    counted, diagnostics = counts(cluster, view, world, prometheus=prometheus, window=window, logs=files)
    return propose(counted, world, namespace, depth), [*diagnostics, *(incomplete(asked.chosen) if files else [])]


def incomplete(settings: Settings) -> list[Diagnostic]:
    """Warn of access logs that do not have every request: rules that they narrow would deny the others."""
    chosen = settings.section(AccessLogSettings)
    places = {ACCESS_LOGS: chosen} | {
        join(f"{ACCESS_LOGS}.namespaces", name): one for name, one in chosen.namespaces.items()
    }
    message = "Only some requests are logged, and paths that the logs do not have are not opened."
    return [
        Diagnostic("MSH652", where, None, message, severity="warning")
        for where, one in places.items()
        if one.filter is not None or one.sampling not in (None, 100)
    ]


def counts(
    cluster: Cluster,
    view: ClusterView,
    world: World,
    *,
    prometheus: str = "",
    window: str = "7d",
    logs: Iterable[Path] = (),
) -> tuple[Counted, list[Diagnostic]]:
    """Count the traffic of a cluster; arguments as for `look_up`.

    Raises:
        ConfigurationError: Nothing can be read, or nothing was counted.
    """
    pods = read_pods(view.objects("v1", "Pod"))
    samples, diagnostics = (ask(prometheus, window), []) if prometheus else read(cluster, pods)
    if faults := errors([*diagnostics, *view.diagnostics]):
        raise ConfigurationError(faults)
    counted = count(samples, pods, world)
    if not (counted.edges or counted.refused or counted.plain or counted.portless):
        message = f"{len(samples)} series were read, and none of them counts a call of a Service of the stack."
        raise ConfigurationError([Diagnostic("MSH597", (prometheus and "--prometheus") or KEY, None, message)])
    for path in logs:
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                for edge, requests in read_log(lines, pods, world).items():
                    counted.requests.setdefault(edge, set()).update(requests)
        except OSError as error:
            message = f"It can't be read: {error.strerror}."
            raise ConfigurationError([Diagnostic("MSH598", "--log", str(path), message)]) from None
    return counted, diagnostics


def read(cluster: Cluster, pods: Sequence[Pod]) -> tuple[list[Sample], list[Diagnostic]]:
    """Read the metrics of all sidecars through the API server. One that does not answer is a diagnostic."""
    samples: list[Sample] = []
    diagnostics: list[Diagnostic] = []
    for pod in pods:
        port, path = PROXIES[pod.proxy]
        try:
            text = cluster.pod_text(pod.namespace, pod.name, port, path)
        except ClusterError as error:
            message = f"The metrics of its sidecar can't be read: {error.diagnostics[0].message}"
            name = f"{pod.namespace}/{pod.name}"
            diagnostics.append(Diagnostic("MSH596", "Pod", name, message, severity="warning"))
            if not error.answered:
                break
        else:
            samples += parse_text(text, (pod.namespace, pod.name))
    return samples, diagnostics


def ask(address: str, window: str) -> list[Sample]:
    """Ask a Prometheus for all metrics that count calls.

    Raises:
        ConfigurationError: It does not answer, or not as a Prometheus does.
    """
    asked, samples = at_address(address), list[Sample]()
    for metric in METRICS:
        try:
            samples += parse_answer(metric, asked(query(metric, window)))
        except (PrometheusError, ValueError) as error:
            message = f"The Prometheus can't be asked: {str(error).rstrip('.')}."
            raise ConfigurationError([Diagnostic("MSH596", "--prometheus", address, message)]) from None
    return samples


__all__ = ["Proposal", "as_text", "ask", "counts", "look_up", "propose", "read"]
