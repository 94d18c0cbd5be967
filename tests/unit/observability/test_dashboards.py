"""Dashboards of Grafana: valid for its schema, the same for both meshes, with the series that alerts read."""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest

from components.meshes import MESHES
from components.observability.alerts import Z_LIMIT, stack_rules
from components.observability.dashboards import dashboards
from components.observability.promql import AlertingRule, RecordingRule
from components.observability.source import MetricsSource, Signal
from tests.unit.observability.test_rules import compiled

SOURCES = [(source, mesh) for mesh, found in MESHES.items() for source in found.metrics]
BOARDS = [
    pytest.param(board, id=f"{source.name}-{uid}")
    for source, mesh in SOURCES
    for uid, board in dashboards(source, mesh).items()
]
GRID = 24
# Grafana 13: plugins of the core. `graph`, `singlestat` and `table-old` were of Angular, which Grafana 12 took out.
KINDS = {"timeseries", "stat", "table", "heatmap", "text", "row"}
_VARIABLE = re.compile(r"\$([a-z]\w*)")
"""Grafana leaves `$1` of label_replace as it is: there is no variable of that name."""


def of_source(source: MetricsSource) -> str:
    """Return the mesh of a source."""
    return next(mesh for one, mesh in SOURCES if one is source)


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels of a dashboard, without headings and texts."""
    yield from (panel for panel in board["panels"] if panel["type"] not in {"row", "text"})


def expressions(board: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a dashboard, and what has each."""
    for panel in panels(board):
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    yield from ((one["name"], one["expr"]) for one in board["annotations"].get("list", []))
    for one in board["templating"]["list"]:
        if one["type"] == "query":
            query = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"])
            assert query
            yield one["name"], query[1]


def rectangle(panel: Mapping[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    return set(
        itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
    )


@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_is_one_that_grafana_loads(board: dict[str, Any]) -> None:
    assert board["schemaVersion"] == 42
    assert {panel["type"] for panel in board["panels"]} <= KINDS
    assert len(board["uid"]) <= 40 and re.fullmatch(r"[a-zA-Z0-9_-]+", board["uid"])
    assert all(panel["title"] for panel in board["panels"])
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("board", BOARDS)
def test_panels_lie_beside_each_other(board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        cells = rectangle(panel)
        assert cells and not cells & taken, panel["title"]
        taken |= cells
    # The grid is full, whatever a mesh has no metric for.
    assert taken == set(itertools.product(range(GRID), range(max(y for _, y in taken) + 1)))


@pytest.mark.parametrize("board", BOARDS)
def test_every_query_asks_the_data_source_that_is_chosen(board: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    first = board["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert first["current"]["value"] == "prometheus"
    for panel in panels(board):
        assert panel["datasource"] == chosen
        assert panel["targets"] and all(target["datasource"] == chosen for target in panel["targets"])
        # @grafana/schema has no type for these (grafana-prometheus 13, PromQuery).
        fields = {"expr", "legendFormat", "refId", "datasource", "range", "instant", "format"}
        assert all(set(target) <= fields for target in panel["targets"])
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
    for one in [*board["templating"]["list"][1:], *board["annotations"].get("list", [])]:
        assert one["datasource"] == chosen


@pytest.mark.parametrize("board", BOARDS)
def test_a_query_names_only_variables_that_the_dashboard_has(board: dict[str, Any]) -> None:
    known = {one["name"] for one in board["templating"]["list"]}
    for title, expression in expressions(board):
        assert set(_VARIABLE.findall(expression)) <= known, title
    for panel in board["panels"]:
        assert set(_VARIABLE.findall(panel["title"])) <= known
        assert panel.get("repeat") in {None, *known}


@pytest.mark.parametrize("board", BOARDS)
def test_a_variable_that_may_have_several_values_is_compared_as_an_expression(board: dict[str, Any]) -> None:
    """Grafana escapes its values for a regular expression, and joins them by `|`."""
    several = [one["name"] for one in board["templating"]["list"] if one.get("multi")]
    for title, expression in expressions(board):
        for name in several:
            assert f'="${name}' not in expression, title


@pytest.mark.parametrize(("source", "mesh"), SOURCES, ids=[source.name for source, _ in SOURCES])
def test_each_signal_is_shown_or_said_to_be_missing(source: MetricsSource, mesh: str) -> None:
    boards = dashboards(source, mesh).values()
    shown = [expression for board in boards for _, expression in expressions(board)]
    notes = [panel["options"]["content"] for board in boards for panel in board["panels"] if panel["type"] == "text"]
    known = source.signals()
    for queries in known.values():
        assert all(any(query.expr in expression for expression in shown) for query in queries)
    lacking = set(get_args(Signal)) - set(known)
    assert bool(lacking) == bool(notes)
    assert sum(len(re.split(", | and ", note.split(" do not tell ")[1])) for note in notes) >= len(lacking)


def test_both_meshes_have_the_same_dashboards_of_neutral_series() -> None:
    def neutral(source: MetricsSource, mesh: str) -> dict[str, list[tuple[str, str]]]:
        return {
            uid.replace(mesh, ""): [
                (title, expression.replace(f'mesh="{mesh}"', ""))
                for title, expression in expressions(board)
                if "meshup:" in expression
            ]
            for uid, board in dashboards(source, mesh).items()
        }

    first, *others = (neutral(source, mesh) for source, mesh in SOURCES)
    assert all(one == first for one in others)


def test_uids_tell_meshes_apart() -> None:
    defaults = [(found.metrics[0], mesh) for mesh, found in MESHES.items()]
    every = [uid for source, mesh in defaults for uid in dashboards(source, mesh)]
    assert len(set(every)) == len(every)


def test_the_split_shows_the_band_and_the_deviations_that_alerts_compare_with() -> None:
    source = MESHES["istio"].metrics[0]
    planned = compiled({"reviews": {"namespace": "bookinfo", "split": {"v1": 90, "v2": 10}}}, "istio", "istio").planned
    rules = [rule for group in stack_rules(planned, source, "istio", "1.30.3", []).groups for rule in group.rules]
    recorded = {rule.record for rule in rules if isinstance(rule, RecordingRule)}
    compared = [
        rule.expr
        for rule in rules
        if isinstance(rule, AlertingRule) and rule.alert in {"MeshupSplitOffWeight", "MeshupCanaryWorse"}
    ]
    split = dashboards(source, "istio")["meshup-istio-split"]
    shown = " ".join(expression for _, expression in expressions(split))
    names = {name for expression in compared for name in re.findall(r"meshup:[\w:]+", expression)}
    assert {"meshup:split:share:bound10m", "meshup:canary:failure_z"} <= names <= recorded
    assert all(name in shown for name in names)
    worse = next(panel for panel in panels(split) if panel["title"] == "Worse than the baseline")
    assert [step["value"] for step in worse["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [None, Z_LIMIT]


def test_the_band_of_a_version_is_filled_down_to_a_line_that_the_panel_has() -> None:
    split = dashboards(*SOURCES[0])[f"meshup-{SOURCES[0][1]}-split"]
    for panel in panels(split):
        names = {target["legendFormat"] for target in panel["targets"] if "legendFormat" in target}
        filled = [
            value["value"]
            for override in panel["fieldConfig"]["overrides"]
            for value in override["properties"]
            if value["id"] == "custom.fillBelowTo"
        ]
        assert set(filled) <= names
        assert bool(filled) == ("repeat" in panel)


def test_the_same_input_gives_the_same_bytes() -> None:
    assert dashboards(*SOURCES[0]) == dashboards(*SOURCES[0])
