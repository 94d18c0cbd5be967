"""Parts of dashboards: panels, variables, and how they lie on Grafana's grid of 24 columns.

What is built is dashboard JSON with the schema 42 of Grafana 13, by grafana-foundation-sdk 0.0.21. None of the types of
panels is of Angular, which Grafana 12 no longer loads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

from ..promql import selector
from ..source import Query

DATA_SOURCE = "prometheus"
"""The uid of the data source that dashboards show first."""
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"
_COLUMNS = 24
_REFERENCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")

Unit = Literal["reqps", "percentunit", "ms", "s", "bytes", "short", "ops"]
Builder = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | text.Panel
_Builder = TypeVar("_Builder", timeseries.Panel, stat.Panel, table.Panel, heatmap.Panel)
_Asked = TypeVar("_Asked", timeseries.Panel, stat.Panel)


class Panel(NamedTuple):
    """A panel and its size.

    Attributes:
        builder: The panel.
        width: Columns, of 24.
        height: Rows of the grid, about 30 pixels each.
    """

    builder: Builder
    width: int
    height: int


class Column(NamedTuple):
    """A column of values of a table.

    Attributes:
        head: Its head.
        unit: Of its values.
        query: A query with a value for each row.
    """

    head: str
    unit: Unit
    query: Query


@dataclass(frozen=True, slots=True)
class Line:
    """How the series of some name look.

    Attributes:
        pattern: A regular expression for the name.
        color: A name of Grafana's, or a colour of CSS; "" for one of the palette.
        dashed: Whether the line is dashed.
        hidden: Whether there is no line, as for the edge of a band.
        band_to: The name of the series down to which the room is filled; "" for none.
        bars: Whether it is drawn as bars against an axis of its own, on the right.
    """

    pattern: str
    color: str = ""
    dashed: bool = False
    hidden: bool = False
    band_to: str = ""
    bars: bool = False

    def properties(self) -> list[dashboard.DynamicConfigValue]:
        """Return what overrides the look of the panel."""
        values: dict[str, Any] = {}
        if self.color:
            values["color"] = {"mode": "fixed", "fixedColor": self.color}
        if self.dashed:
            values["custom.lineStyle"] = {"fill": "dash", "dash": [8, 6]}
        if self.hidden or self.band_to:
            values |= {"custom.lineWidth": 0, "custom.hideFrom": {"legend": True, "tooltip": False, "viz": False}}
        if self.band_to:
            values |= {"custom.fillBelowTo": self.band_to, "custom.fillOpacity": 18}
        if self.bars:
            values |= {
                "custom.drawStyle": "bars",
                "custom.lineWidth": 0,
                "custom.fillOpacity": 25,
                "custom.axisPlacement": "right",
                "custom.axisLabel": "requests",
                "unit": "short",
                "min": 0,
            }
        return [dashboard.DynamicConfigValue(name, value) for name, value in values.items()]


CODES = (
    Line("2xx", GREEN),
    Line("3xx", BLUE),
    Line("4xx", YELLOW),
    Line("5xx", RED),
    Line("no answer", "dark-red"),
)


def lines(
    title: str,
    unit: Unit,
    queries: Sequence[Query],
    about: str = "",
    *,
    width: int = 12,
    height: int = 8,
    low: float | None = 0,
    high: float | None = None,
    limit: float | None = None,
    styles: Sequence[Line] = (),
    stacked: bool = False,
    each: str = "",
) -> Panel:
    """Return a panel of lines over time.

    Args:
        title: Its title.
        unit: Of the values, as Grafana names it.
        queries: One or more.
        about: What is seen, for the tooltip of the title.
        width: Columns.
        height: Rows.
        low: The least value of the axis; None to fit.
        high: The highest; None to fit.
        limit: A value that is drawn as a dashed red line.
        styles: Looks of some series.
        stacked: Whether areas are stacked.
        each: The variable for each of whose values the panel is repeated; "" for none.
    """
    panel = timeseries.Panel().unit(unit).line_width(1.5).fill_opacity(40 if stacked else 6)
    panel = panel.show_points(common.VisibilityMode.NEVER).axis_border_show(False)
    legend = options.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM)
    panel = panel.legend(legend.display_mode(common.LegendDisplayMode.LIST))
    panel = panel.tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    if low is not None:
        panel = panel.min(low)
    if high is not None:
        panel = panel.max(high)
    if stacked:
        panel = panel.stacking(options.StackingConfig().mode(common.StackingMode.NORMAL))
    if limit is not None:
        mode = options.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(mode).thresholds(_steps(("transparent", None), (RED, limit)))
    for style in styles:
        panel = panel.override_by_regexp(f"/^{style.pattern}$/", style.properties())
    if each:
        panel = panel.repeat(each).repeat_direction("h").max_per_row(_COLUMNS // width)
    return Panel(_asked(_named(panel, title, about), queries), width, height)


def number(
    title: str,
    unit: Unit,
    query: Query,
    about: str = "",
    *,
    steps: Sequence[tuple[str, float | None]] = ((BLUE, None),),
    width: int = 4,
    decimals: int | None = None,
) -> Panel:
    """Return a panel that shows the last value large, with its course behind it.

    Args:
        title: Its title.
        unit: Of the value.
        query: A query with one series.
        about: What is seen.
        steps: Colours, and the value from which on each holds; None for the first.
        width: Columns.
        decimals: Digits behind the point; None for what suits.
    """
    panel = stat.Panel().unit(unit).graph_mode(common.BigValueGraphMode.AREA).thresholds(_steps(*steps))
    panel = panel.reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.color_mode(common.BigValueColorMode.VALUE).no_value("none")
    if decimals is not None:
        panel = panel.decimals(decimals)
    return Panel(_asked(_named(panel, title, about), [query]), width, 4)


def rows(
    title: str,
    columns: Sequence[Column],
    about: str = "",
    *,
    labels: Mapping[str, str],
    sort: str,
    descending: bool = False,
    colors: Mapping[str, Sequence[tuple[str, float | None]]] | None = None,
    width: int = 12,
    height: int = 8,
    empty: str = "none",
) -> Panel:
    """Return a table with a row for each set of labels, and a column for each query.

    Args:
        title: Its title.
        columns: Columns of values.
        about: What is seen.
        labels: The heads of the columns of labels, in order; labels that are not named are not shown.
        sort: The head of the column by which rows are ordered.
        descending: Whether the largest comes first.
        colors: Colours by head of a column, as for `number`.
        width: Columns.
        height: Rows.
        empty: What is shown where there is no row.
    """
    order_by = options.TableSortByFieldState().display_name(sort).desc(descending)
    panel = table.Panel().no_value(empty).sort_by([order_by])
    values = [f"Value #{chr(ord('A') + at)}" for at in range(len(columns))] if len(columns) > 1 else ["Value"]
    if len(columns) > 1:
        panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    names = {**labels, **{value: head for value, (head, _, _) in zip(values, columns, strict=True)}}
    chosen: dict[str, Any] = {"include": {"names": list(names)}}
    keep = dashboard.DataTransformerConfig(id_val="filterFieldsByName", options=chosen)
    order = {"indexByName": {name: at for at, name in enumerate(names)}, "renameByName": names}
    panel = panel.with_transformation(keep)
    panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=order))
    for head, unit, _ in columns:
        look = [dashboard.DynamicConfigValue("unit", unit)]
        if colors and head in colors:
            steps = [{"color": color, "value": value} for color, value in colors[head]]
            look.append(dashboard.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": steps}))
            look.append(dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        panel = panel.override_by_name(head, look)
    panel = _named(panel, title, about)
    for at, (_, _, query) in enumerate(columns):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + at)).datasource(_REFERENCE)
        panel = panel.with_target(target.instant().format(PromQueryFormat.TABLE))
    return Panel(panel, width, height)


def heat(title: str, unit: Unit, expr: str, about: str = "", *, width: int = 12, height: int = 8) -> Panel:
    """Return a heat map of the buckets of a histogram, as many a second.

    Args:
        title: Its title.
        unit: Of the bounds.
        expr: The buckets, by the label `le`.
        about: What is seen.
        width: Columns.
        height: Rows.
    """
    axis = heatmap.YAxisConfig().unit(unit)
    panel = heatmap.Panel().calculate(False).y_axis(axis).color(heatmap.HeatmapColorOptions().scheme("Blues").steps(32))
    target = prometheus.Dataquery().expr(expr).ref_id("A").datasource(_REFERENCE).range()
    target = target.format(PromQueryFormat.HEATMAP).legend_format("{{le}}")
    return Panel(_named(panel, title, about).with_target(target), width, height)


def note(title: str, content: str, *, width: int = 24, height: int = 2) -> Panel:
    """Return a panel of text, in Markdown."""
    panel = text.Panel().mode(TextMode.MARKDOWN).content(content).title(title)
    return Panel(panel, width, height)


def variable(name: str, label: str, values: str, *, every: bool = False, hidden: bool = False) -> build.QueryVariable:
    """Return a variable with the values of a label.

    Args:
        name: Its name.
        label: For people.
        values: The query, `label_values(series, label)`.
        every: Whether it stands for all values at once, where none is chosen.
        hidden: Whether it is not shown.
    """
    made = build.QueryVariable(name).label(label).query(values).datasource(_REFERENCE)
    made = made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    if every:
        made = made.multi(True).include_all(True).current(dashboard.VariableOption(True, ["All"], ["$__all"]))
    return made.hide(dashboard.VariableHide.HIDE_VARIABLE) if hidden else made


def board(
    mesh: str,
    name: str,
    title: str,
    about: str,
    sections: Sequence[tuple[str, Sequence[Panel]]],
    *,
    variables: Sequence[build.QueryVariable] = (),
    annotations: Sequence[tuple[str, str, str, str]] = (),
) -> dict[str, Any]:
    """Return a dashboard as plain data.

    Args:
        mesh: The mesh, a part of its uid and of its title.
        name: The rest of the uid.
        title: For people.
        about: What it is for.
        sections: Panels under a heading each; "" for none. Panels fill rows from the left; those of a row that is not
            full get wider.
        variables: Besides the data source.
        annotations: Marks in time: name, colour, query, text.
    """
    made = build.Dashboard(f"{title} ({mesh.capitalize()})").uid(f"meshup-{mesh}-{name}").description(about)
    made = made.tags(["meshup", mesh]).time("now-1h", "now").refresh("30s").readonly()
    made = made.tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    current = dashboard.VariableOption(True, "Prometheus", DATA_SOURCE)
    source = build.DatasourceVariable("datasource").label("Prometheus").type("prometheus").current(current)
    made = made.with_variable(source)
    for one in variables:
        made = made.with_variable(one)
    links = build.DashboardLink("meshup").type(dashboard.DashboardLinkType.DASHBOARDS).tags(["meshup", mesh])
    made = made.link(links.as_dropdown(True).include_vars(True).keep_time(True).icon("external link"))
    for kind, color, expr, mark in annotations:
        query = prometheus.Dataquery().expr(expr).ref_id("A")
        made = made.annotation(
            build.AnnotationQuery()
            .name(kind)
            .icon_color(color)
            .enable(True)
            .datasource(_REFERENCE)
            .target(query)
            .expr(expr)
            .title_format(kind)
            .text_format(mark)
            .step("15s")
        )
    number_of, down = 0, 0
    for heading, panels in sections:
        if heading:
            place = dashboard.GridPos(h=1, w=_COLUMNS, x=0, y=down)
            number_of, down = number_of + 1, down + 1
            made = made.with_row(build.Row(heading).id(number_of).grid_pos(place))
        for row in _rows(panels):
            left = 0
            for panel in row:
                number_of += 1
                place = dashboard.GridPos(h=panel.height, w=panel.width, x=left, y=down)
                made = made.with_panel(panel.builder.id(number_of).grid_pos(place))
                left += panel.width
            down += max(panel.height for panel in row)
    return _plain(made.build())


def _rows(panels: Sequence[Panel]) -> Iterator[list[Panel]]:
    """Yield the rows of panels. Where a panel is left out, the others take its room."""
    row: list[Panel] = []
    for panel in panels:
        if sum(one.width for one in row) + panel.width > _COLUMNS:
            yield _stretched(row)
            row = []
        row.append(panel)
    if row:
        yield _stretched(row)


def _stretched(row: Sequence[Panel]) -> list[Panel]:
    room, rest = divmod(_COLUMNS - sum(panel.width for panel in row), len(row))
    return [panel._replace(width=panel.width + room + (at < rest)) for at, panel in enumerate(row)]


def place(mesh: str, *, service: bool = True, **labels: str) -> str:
    """Return the selector of neutral series of what the variables name.

    Args:
        mesh: The mesh.
        service: Whether a Service is chosen; else all of the namespaces.
        labels: Further labels.
    """
    chosen = {"namespace": "$namespace", "service": "$service"} if service else {}
    return selector({"mesh": mesh, **chosen, **labels})


def _plain(made: dashboard.Dashboard) -> dict[str, Any]:
    return json.loads(JSONEncoder(sort_keys=True).encode(made))


def _steps(*steps: tuple[str, float | None]) -> build.ThresholdsConfig:
    made = [dashboard.Threshold(value=value, color=color) for color, value in steps]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)


def _named(panel: _Builder, title: str, about: str) -> _Builder:
    made = panel.title(title).datasource(_REFERENCE)
    return made.description(about) if about else made


def _asked(panel: _Asked, queries: Sequence[Query]) -> _Asked:
    for at, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).datasource(_REFERENCE)
        panel = panel.with_target(target.ref_id(chr(ord("A") + at)).range())
    return panel
