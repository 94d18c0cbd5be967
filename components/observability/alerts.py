"""Alerts: routes, their objectives and the metrics of a mesh -> alerting rules, each with the series that it needs.

Interface::

    stack_rules(planned, source, mesh, version, namespaces) -> StackRules    # recording rules, too
    alerting(planned, source, mesh, version, namespaces) -> groups

An alert says what is wrong for callers of a Service, or what soon will be. None fires on a handful of requests: each
compares counts with what chance would give. Windows and factors of objectives are those of the SRE Workbook, chapter 5
(alerting on SLOs, table 5-8), for 30 days.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..diagnostics import Diagnostic
from ..traffic.durations import duration_text
from ..traffic.model import Objective, Route
from ..traffic.targets import Planned
from .promql import INTERVAL_SECONDS, AlertingRule, RecordingRule, RuleGroup, selector
from .rules import MeasuredBackend, backends, recording, slow_bound
from .source import MetricsSource

Z_LIMIT = 3
"""How many standard deviations a canary must be worse than its baseline: by chance alone, once in 740 looks."""
FEWEST_PER_VERSION = 50
"""Requests in ten minutes below which versions are not compared."""
FEWEST_PER_SPLIT = 200
"""Requests in ten minutes below which a share is not compared with its weight."""
_FEWEST_FAILURES = 20
FAILED = "5xx|"
"""Classes of codes that are failures: no answer has none."""
_SPLIT = "mesh, namespace, service, rule"


class Burn(NamedTuple):
    """How fast an error budget may be spent.

    Attributes:
        factor: Times as fast as it lasts for 30 days.
        long: The window that must show it.
        short: The window that must show it too, so that the alert ends soon after the fault.
        severity: `page` or `ticket`.
        lasts: How long the budget of 30 days lasts at this rate.
    """

    factor: float
    long: str
    short: str
    severity: str
    lasts: str


BURNS = (
    Burn(14.4, "1h", "5m", "page", "2 days"),
    Burn(6, "6h", "30m", "page", "5 days"),
    Burn(3, "1d", "2h", "ticket", "10 days"),
    Burn(1, "3d", "6h", "ticket", "30 days"),
)


class StackRules(NamedTuple):
    """All rules of a stack.

    Attributes:
        recording: The recording rules.
        alerts: The alerting rules.
        diagnostics: Which splits they can't measure.
    """

    recording: list[RuleGroup]
    alerts: list[RuleGroup]
    diagnostics: list[Diagnostic]

    @property
    def groups(self) -> list[RuleGroup]:
        """The recording rules, then the alerts."""
        return [*self.recording, *self.alerts]


def stack_rules(
    planned: Sequence[Planned], source: MetricsSource, mesh: str, version: str, namespaces: Sequence[str]
) -> StackRules:
    """Return all rules of a stack; arguments as for `alerting`."""
    recorded, diagnostics = recording(planned, source, mesh)
    return StackRules(recorded, alerting(planned, source, mesh, version, namespaces), diagnostics)


def alerting(
    planned: Sequence[Planned], source: MetricsSource, mesh: str, version: str, namespaces: Sequence[str]
) -> list[RuleGroup]:
    """Return the alerting rules of a stack.

    Args:
        planned: The routes as they were compiled.
        source: The metrics that the proxies have.
        mesh: The mesh, a label of every series.
        version: The version that control plane and proxies are to have.
        namespaces: The namespaces in the mesh.
    """
    measured, _ = backends(planned, source)
    routes = [plan.route for plan in planned]
    groups = [
        RuleGroup("meshup-objectives", tuple(_objectives(routes, mesh))),
        RuleGroup("meshup-split-alerts", tuple(_split_alerts(measured))),
        RuleGroup("meshup-canaries", tuple(_canaries(measured, routes, mesh))),
        RuleGroup("meshup-services", tuple(_services(mesh))),
        RuleGroup(f"meshup-{source.name}", tuple(source.alerts(version, namespaces))),
    ]
    return [group for group in groups if group.rules]


def _objectives(routes: Sequence[Route], mesh: str) -> Iterator[RecordingRule | AlertingRule]:
    seen: set[str] = set()
    for route in routes:
        service, objective = route.service, route.objective
        if objective is None or service.host in seen:
            continue
        seen.add(service.host)
        place = {"mesh": mesh, "namespace": service.namespace, "service": service.name}
        title = f"{service.namespace}/{service.name}"
        if objective.success is not None:
            every = f"meshup:requests:rate5m{selector(place)}"
            failed = f"meshup:requests:rate5m{selector(place, 'code_class', FAILED)}"
            yield from _burns(
                "MeshupErrorBudgetBurn",
                "success",
                _Share(failed, every, 1 - objective.success / 100),
                place,
                f"{title} fails too often for {objective.success:g}%",
            )
        if objective.latency is not None:
            percent, bound = objective.latency
            series = "meshup:request_duration_ms_bucket:rate5m"
            every = f"{series}{selector({**place, 'le': '+Inf'})}"
            fast = f"{series}{selector({**place, 'le': str(bound)})}"
            yield from _burns(
                "MeshupLatencyBudgetBurn",
                "latency",
                _Share(fast, every, 1 - percent / 100, complement=True),
                place,
                f"{title} is too slow for {percent:g}% within {duration_text(bound)}",
            )


class _Share(NamedTuple):
    """A share of the requests that a budget limits.

    Attributes:
        part: Series per second of the part.
        every: Series per second of all requests.
        budget: The share that is allowed, 0 to 1.
        complement: Whether the share is of what is not in the part.
    """

    part: str
    every: str
    budget: float
    complement: bool = False

    def over(self, window: str) -> str:
        """Return the share over a window. Both sums are taken before they are divided, so that traffic may vary."""
        every = f"sum(sum_over_time({self.every}[{window}]))"
        part = f"(sum(sum_over_time({self.part}[{window}])) or vector(0))"
        return f"(1 - {part} / ({every} > 0))" if self.complement else f"({part} / ({every} > 0))"

    def spent(self, window: str) -> str:
        """Return how many requests spent the budget in a window."""
        every = f"sum(sum_over_time({self.every}[{window}]))"
        part = f"(sum(sum_over_time({self.part}[{window}])) or vector(0))"
        return f"({every} - {part}) * {INTERVAL_SECONDS}" if self.complement else f"{part} * {INTERVAL_SECONDS}"


def _burns(
    name: str, objective: str, share: _Share, place: dict[str, str], summary: str
) -> Iterator[RecordingRule | AlertingRule]:
    """Yield how fast a budget is spent in each window, 1 for just fast enough to last, and the alerts on that."""
    labels = {**place, "objective": objective}
    yield RecordingRule("meshup:slo:objective", f"vector({1 - share.budget:.10g})", labels)
    for window in dict.fromkeys(window for burn in BURNS for window in (burn.short, burn.long)):
        spent = f"{share.over(window)} / {share.budget:.10g}"
        yield RecordingRule("meshup:slo:burn", spent, {**labels, "window": window})
    for burn in BURNS:
        if burn.factor * share.budget >= 1:
            continue
        long, short = (f"meshup:slo:burn{selector({**labels, 'window': one})}" for one in (burn.long, burn.short))
        yield AlertingRule(
            name,
            f"{long} > {burn.factor} and on () {short} > {burn.factor} "
            f"and on () {share.spent(burn.long)} > {_FEWEST_FAILURES}",
            labels={**place, "severity": burn.severity, "window": burn.long},
            summary=f"{summary}: at this rate, the budget of 30 days lasts {burn.lasts}.",
        )


def _split_alerts(measured: Sequence[MeasuredBackend]) -> Iterator[RecordingRule | AlertingRule]:
    if not measured:
        return
    counted = f"sum_over_time(meshup:split:requests:rate1m[10m]) * {INTERVAL_SECONDS}"
    yield RecordingRule("meshup:split:requests:count10m", counted)
    yield RecordingRule("meshup:split:declared_share:avg10m", "avg_over_time(meshup:split:declared_share[10m])")
    total = f"sum by ({_SPLIT}) (meshup:split:requests:count10m)"
    to_all = f"/ on ({_SPLIT}) group_left ()"
    yield RecordingRule("meshup:split:share:avg10m", f"meshup:split:requests:count10m {to_all} ({total} > 0)")
    declared = "meshup:split:declared_share:avg10m"
    yield RecordingRule(
        "meshup:split:share:bound10m", f"0.01 + 3.9 * sqrt({declared} * (1 - {declared}) {to_all} ({total} > 0))"
    )
    yield AlertingRule(
        "MeshupSplitOffWeight",
        f"abs(meshup:split:share:avg10m - {declared}) > meshup:split:share:bound10m "
        f"and on ({_SPLIT}) {total} > {FEWEST_PER_SPLIT} "
        "unless changes(meshup:split:declared_share[10m]) > 0",
        hold="2m",
        labels={"severity": "ticket"},
        summary="{{ $labels.namespace }}/{{ $labels.service }}: the version {{ $labels.version }} is "
        "{{ $value | humanizePercentage }} off its weight in the rule {{ $labels.rule }}.",
    )


def _canaries(
    measured: Sequence[MeasuredBackend], routes: Sequence[Route], mesh: str
) -> Iterator[RecordingRule | AlertingRule]:
    objectives = {route.key: route.objective for route in routes}
    by_rule: dict[tuple[str, str], list[MeasuredBackend]] = {}
    for one in measured:
        by_rule.setdefault((one.route, one.rule), []).append(one)
    compared = False
    for parts in by_rule.values():
        baseline = max(parts, key=lambda one: one.weight)
        for canary in parts:
            if canary is not baseline:
                compared = True
                yield from _compared(canary, baseline, objectives[canary.route], mesh)
    if compared:
        where = "{{ $labels.namespace }}/{{ $labels.service }}: the version {{ $labels.version }}"
        for series, what in (("failure", "fails more often"), ("slow", "is slow more often")):
            yield AlertingRule(
                "MeshupCanaryWorse",
                f"meshup:canary:{series}_z > {Z_LIMIT}",
                hold="1m",
                labels={"severity": "page", "kind": series},
                summary=f"{where} {what} than {{{{ $labels.baseline }}}}, by {{{{ $value | humanize }}}} standard "
                "deviations.",
            )


def _compared(
    canary: MeasuredBackend, baseline: MeasuredBackend, objective: Objective | None, mesh: str
) -> Iterator[RecordingRule]:
    """Compare two versions: the two-proportion z-test, pooled, with one success and one failure added."""
    bound = slow_bound(objective)
    labels = {"mesh": mesh, **canary.labels, "baseline": baseline.version, "rule": canary.rule}

    def requests(one: MeasuredBackend, code_class: str = "") -> str:
        chosen = selector({"mesh": mesh, **one.labels}, *(("code_class", code_class) if code_class else ()))
        return f"sum(sum_over_time(meshup:requests:rate1m{chosen}[10m])) * {INTERVAL_SECONDS}"

    def within(one: MeasuredBackend, le: str) -> str:
        chosen = selector({"mesh": mesh, **one.labels, "le": le})
        return f"sum(sum_over_time(meshup:request_duration_ms_bucket:rate5m{chosen}[10m])) * {INTERVAL_SECONDS}"

    failures = [(f"({requests(one, FAILED)} or vector(0))", f"({requests(one)})") for one in (canary, baseline)]
    slow = [
        (f"({within(one, '+Inf')} - {within(one, str(bound))})", f"({within(one, '+Inf')})")
        for one in (canary, baseline)
    ]
    for series, ((bad, total), (bad_of_baseline, total_of_baseline)) in (("failure", failures), ("slow", slow)):
        pooled = f"(({bad} + {bad_of_baseline} + 1) / ({total} + {total_of_baseline} + 2))"
        spread = f"sqrt({pooled} * (1 - {pooled}) * (1 / {total} + 1 / {total_of_baseline}))"
        enough = f"{total} > {FEWEST_PER_VERSION} and {total_of_baseline} > {FEWEST_PER_VERSION}"
        expression = f"({bad} / {total} - {bad_of_baseline} / {total_of_baseline}) / {spread} and {enough}"
        yield RecordingRule(f"meshup:canary:{series}_z", expression, labels)


def _services(mesh: str) -> Iterator[AlertingRule]:
    rate = f"sum by (mesh, namespace, service) (meshup:requests:rate5m{selector({'mesh': mesh})})"
    before = f"sum by (mesh, namespace, service) (meshup:requests:rate5m{selector({'mesh': mesh})} offset 1h)"
    yield AlertingRule(
        "MeshupNoTraffic",
        f"({before} > 1) unless ({rate} > 0)",
        hold="10m",
        labels={"severity": "ticket"},
        summary="{{ $labels.namespace }}/{{ $labels.service }} gets no requests; an hour ago it had "
        "{{ $value | humanize }} a second.",
    )
    yield AlertingRule(
        "MeshupNoMetrics",
        f"absent(meshup:requests:rate1m{selector({'mesh': mesh})})",
        hold="15m",
        labels={"severity": "ticket", "mesh": mesh},
        summary=f"Prometheus has no request metrics of {mesh}: no alert on Services can fire.",
    )
