"""Recording rules: routes and the metrics of a mesh -> series that say the same of every mesh.

Interface::

    recording(planned, source, mesh) -> (groups, diagnostics)

Series, each with the labels mesh, namespace, service, version and those said here:

- `meshup:requests:rate1m`, `:rate5m`: requests per second, as clients count them; code_class
- `meshup:request_duration_ms_bucket:rate5m`: their durations in milliseconds; le
- `meshup:success:ratio5m`: the share that did not fail: no 5xx, and an answer at all
- `meshup:slow:ratio5m`: the share that took longer than the Service's objective allows; above (milliseconds)
- `meshup:split:requests:rate1m`: requests per second of a backend of a split; rule
- `meshup:split:declared_share`: its weight, 0 to 1; rule
- `meshup:split:share`: its measured share, 0 to 1, absent without requests; rule

`meshup:upstream:NAME` are the same series in the names of the mesh. A rule's expression has literal label values where
routes declare a backend, so that nothing is joined at run time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..diagnostics import Diagnostic
from ..traffic.model import Backend, Objective
from ..traffic.targets import Planned
from .promql import RecordingRule, RuleGroup, selector
from .source import MetricsSource, Window

WINDOWS: tuple[Window, ...] = ("1m", "5m")
SLOW = 500
"""Milliseconds above which a request is slow, where the Service has no objective for latency."""


@dataclass(frozen=True, slots=True)
class MeasuredBackend:
    """A backend of a rule whose requests are counted apart from all others.

    Attributes:
        route: Key of the route.
        namespace: Namespace of the Service that is called.
        service: That Service.
        version: The version, or the other Service, as the outputs name it.
        rule: Name of the rule.
        weight: Its weight, 0 to 100 percent.
        upstream: The labels of the mesh that count it.
    """

    route: str
    namespace: str
    service: str
    version: str
    rule: str
    weight: int
    upstream: Mapping[str, str]

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its neutral series."""
        return {"namespace": self.namespace, "service": self.service, "version": self.version}


def recording(planned: Sequence[Planned], source: MetricsSource, mesh: str) -> tuple[list[RuleGroup], list[Diagnostic]]:
    """Return the recording rules of a stack, and which splits they can't measure.

    Args:
        planned: The routes as they were compiled.
        source: The metrics that the proxies have.
        mesh: The mesh, a label of every series.
    """
    measured, diagnostics = backends(planned, source)
    groups = [
        RuleGroup("meshup-upstream", tuple(_upstream(source))),
        RuleGroup("meshup-requests", (*_requests(measured, mesh), *_slow(planned, mesh))),
    ]
    if measured:
        groups.append(RuleGroup("meshup-splits", tuple(_splits(measured, mesh))))
    return groups, diagnostics


def backends(planned: Sequence[Planned], source: MetricsSource) -> tuple[list[MeasuredBackend], list[Diagnostic]]:
    """Return the backends of all rules whose requests can be counted apart, and why the others can't.

    A rule is measured if all of its backends are told apart by the labels of the mesh, and no other rule sends requests
    to one of them: the counters do not say which rule sent a request.
    """
    found: list[tuple[Planned, str, Backend, Mapping[str, str] | None]] = [
        (plan, rule.name, backend, source.names(plan, backend.destination))
        for plan in planned
        for rule in plan.route.rules
        for backend in rule.backends
    ]
    uses = Counter(_frozen(names) for *_, names in found if names)
    for plan in planned:
        # The counters of a backend have mirrored requests among the others (Envoy 1.40, measured).
        mirrors = (mirror.destination for rule in plan.route.rules for mirror in rule.mirrors)
        uses.update(_frozen(names) for mirror in mirrors if (names := source.names(plan, mirror)))
    rules: dict[tuple[str, str], list[tuple[Planned, Backend, Mapping[str, str] | None]]] = {}
    for plan, rule, backend, names in found:
        rules.setdefault((plan.route.key, rule), []).append((plan, backend, names))
    measured: list[MeasuredBackend] = []
    diagnostics: list[Diagnostic] = []
    for (key, rule), parts in rules.items():
        reason = _unmeasurable(parts, uses, source)
        if reason and len(parts) > 1:
            where = parts[0][1].where or parts[0][0].route.where
            diagnostics.append(Diagnostic("MSH601", where, rule, reason, severity="info"))
        for plan, backend, names in () if reason else parts:
            service = plan.route.service
            label = backend.destination.label_for(service)
            measured.append(
                MeasuredBackend(key, service.namespace, service.name, label, rule, backend.weight, names or {})
            )
    return measured, diagnostics


def _unmeasurable(
    parts: Sequence[tuple[Planned, Backend, Mapping[str, str] | None]],
    uses: Mapping[frozenset[tuple[str, str]], int],
    source: MetricsSource,
) -> str:
    for _, backend, names in parts:
        name = backend.destination.label
        if names is None:
            return f"{source.title} do not tell '{name}' apart: its pods have no label 'version' of their own."
        if uses[_frozen(names)] > 1:
            return f"Other rules send or mirror requests to '{name}', and {source.title} do not say which one did."
    return ""


def _frozen(names: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(names.items())


def _upstream(source: MetricsSource) -> Iterator[RecordingRule]:
    for window in WINDOWS:
        yield RecordingRule(f"meshup:upstream:requests:rate{window}", source.requests(window))
    yield RecordingRule("meshup:upstream:request_duration_ms_bucket:rate5m", source.durations("5m"))


def _requests(measured: Sequence[MeasuredBackend], mesh: str) -> Iterator[RecordingRule]:
    """Rename what counts a declared backend, keep the rest under the names of the mesh."""
    series = [(f"requests:rate{window}", "code_class") for window in WINDOWS]
    series.append(("request_duration_ms_bucket:rate5m", "le"))
    renamed = [one for one in measured if one.upstream != one.labels]
    for name, by in series:
        upstream = f"meshup:upstream:{name}"
        for one in renamed:
            expression = f"sum by ({by}) ({upstream}{selector(one.upstream)})"
            yield RecordingRule(f"meshup:{name}", expression, {"mesh": mesh, **one.labels})
        others = " unless ".join([upstream, *(f"{upstream}{selector(one.upstream)}" for one in renamed)])
        yield RecordingRule(f"meshup:{name}", others, {"mesh": mesh})
    total = "sum by (mesh, namespace, service, version) (meshup:requests:rate5m)"
    failed = 'sum by (mesh, namespace, service, version) (meshup:requests:rate5m{code_class=~"5xx|"})'
    # Without the second part, what never failed would have no series.
    yield RecordingRule("meshup:success:ratio5m", f"1 - ({failed} or 0 * {total}) / ({total} > 0)")


def slow_bound(objective: Objective | None) -> int:
    """Return the milliseconds above which a request of a Service is slow."""
    return objective.latency[1] if objective and objective.latency else SLOW


def _slow(planned: Sequence[Planned], mesh: str) -> Iterator[RecordingRule]:
    """Compare with the bound of each Service that has one, and all others with the common one."""
    buckets, by = "meshup:request_duration_ms_bucket:rate5m", "sum by (mesh, namespace, service, version)"
    bounds: dict[tuple[str, str], int] = {}
    for plan in planned:
        service, bound = plan.route.service, slow_bound(plan.route.objective)
        if bound != SLOW:
            bounds.setdefault((service.namespace, service.name), bound)
    chosen = {key: {"mesh": mesh, "namespace": key[0], "service": key[1]} for key in bounds}
    common = {"mesh": mesh, "le": str(SLOW)}
    others = [f"{buckets}{selector({**one, 'le': str(SLOW)})}" for one in chosen.values()]
    within = [(SLOW, " unless ".join([f"{buckets}{selector(common)}", *others]))]
    within += [(bounds[key], f"{buckets}{selector({**one, 'le': str(bounds[key])})}") for key, one in chosen.items()]
    total = f"{by} ({buckets}{selector({'mesh': mesh, 'le': '+Inf'})})"
    for bound, fast in within:
        yield RecordingRule("meshup:slow:ratio5m", f"1 - {by} ({fast}) / ({total} > 0)", {"above": str(bound)})


def _splits(measured: Sequence[MeasuredBackend], mesh: str) -> Iterator[RecordingRule]:
    for one in measured:
        labels = {"mesh": mesh, **one.labels, "rule": one.rule}
        requests = f"sum(meshup:requests:rate1m{selector({'mesh': mesh, **one.labels})})"
        yield RecordingRule("meshup:split:requests:rate1m", f"{requests} or vector(0)", labels)
        yield RecordingRule("meshup:split:declared_share", f"vector({one.weight / 100:g})", labels)
    total = "sum by (mesh, namespace, service, rule) (meshup:split:requests:rate1m)"
    on = "on (mesh, namespace, service, rule) group_left ()"
    yield RecordingRule("meshup:split:share", f"meshup:split:requests:rate1m / {on} ({total} > 0)")
