"""Every expression of rules, alerts and dashboards: it is PromQL, and it reads series that exist."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given

from components.apps.bookinfo import services
from components.meshes import TARGETS
from components.observability.alerts import stack_rules
from components.observability.dashboards import dashboards
from components.observability.promql import RecordingRule
from components.observability.source import MetricsSource
from components.traffic import compile_routes, parse
from tests import promql
from tests.facts.metrics import METRICS, SCRAPED
from tests.unit.observability.test_alerts import API_OF, ROUTES
from tests.unit.observability.test_dashboards import SOURCES, expressions
from tests.unit.observability.test_rules import compiled
from tests.unit.traffic import strategies

VALUES = {"namespace": "bookinfo", "service": "reviews", "rule": "split", "version": "(v1|v2)"}
"""What Grafana puts in place of variables; `version` has all its values."""
OF_A_SOURCE = pytest.mark.parametrize(("source", "mesh"), SOURCES, ids=[source.name for source, _ in SOURCES])


def rules(source: MetricsSource, mesh: str) -> list[Any]:
    """Return all rules of a stack with a split, an objective and a canary."""
    planned = compiled(ROUTES, mesh, API_OF[source.name]).planned
    made = stack_rules(planned, source, mesh, "1.30.3", ["bookinfo"])
    return [rule for group in made.groups for rule in group.rules]


def asked(source: MetricsSource, mesh: str) -> Iterator[str]:
    """Yield every expression of a mesh, with values for the variables of dashboards."""
    yield from (rule.expr for rule in rules(source, mesh))
    for board in dashboards(source, mesh).values():
        for _, expression in expressions(board):
            yield re.sub(r"\$([a-z]\w*)", lambda found: VALUES[found[1]], expression)


def unknown(expression: str, recorded: set[str]) -> list[str]:
    """Return the names and labels of an expression that no proxy and no rule writes."""
    faults: list[str] = []
    for read in promql.selectors(expression):
        for name in promql.written_out(read.name):
            if name in recorded:
                continue
            if name not in METRICS:
                faults.append(name)
            else:
                faults += [f"{name}.{label}" for label in read.labels - METRICS[name].labels - SCRAPED]
    return faults


@OF_A_SOURCE
def test_every_expression_is_promql_and_reads_what_is_written(source: MetricsSource, mesh: str) -> None:
    recorded = {rule.record for rule in rules(source, mesh) if isinstance(rule, RecordingRule)}
    count = 0
    for expression in asked(source, mesh):
        assert not unknown(expression, recorded), expression
        count += 1
    assert count > 100


@OF_A_SOURCE
def test_every_recorded_series_is_read_or_documented(source: MetricsSource, mesh: str) -> None:
    """A series that nobody reads costs memory for nothing."""
    recorded = {rule.record for rule in rules(source, mesh) if isinstance(rule, RecordingRule)}
    read = {name for expression in asked(source, mesh) for one in promql.selectors(expression) for name in [one.name]}
    assert recorded - read <= {"meshup:split:share"}


@given(strategies.configurations())
def test_the_rules_of_any_routes_are_promql(raw: dict[str, Any]) -> None:
    routes, _ = parse(raw, "meshup:traffic", services())
    for source, mesh in SOURCES:
        planned = compile_routes(routes, mesh, TARGETS).planned
        for group in stack_rules(planned, source, mesh, "1.30.3", ["bookinfo"]).groups:
            for rule in group.rules:
                promql.selectors(rule.expr)


@pytest.mark.parametrize(
    "wrong",
    [
        "rate(up)",
        "sum(up",
        "histogram_quantile(0.9, up[5m])",
        'up + "a"',
        "absent_over(up[5m])",
        "pilot_xds_push_errors > 0",
        "sum(response_total)",
        'up{namspace="a"}',
        '{__name__=~"outbound_(http|tcp)_route_request_statuses_total"}',
    ],
)
def test_a_wrong_expression_is_found(wrong: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        assert not unknown(wrong, set())
