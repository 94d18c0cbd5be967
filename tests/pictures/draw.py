"""A dashboard's JSON and the answers of Prometheus -> an SVG that looks as Grafana would show it."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

from tests.pictures import formats
from tests.pictures.scenario import END
from tests.pictures.server import Prometheus

WIDTH, ROW, GAP, TOP = 1200, 34, 7, 56
COLUMN = WIDTH / 24
HOUR, STEP = 3600, 30
_GROUND, _PANEL, _EDGE, _TEXT, _DIM = "#111217", "#181b1f", "#2c3036", "#d8d9da", "#8e9297"
_LETTER = 6.4
"""Width of a letter of 11 pixels, on average."""


class EmptyError(Exception):
    """A query that Prometheus answers with nothing."""


class Box(NamedTuple):
    """A place of the picture, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass
class Series:
    """A series of a panel.

    Attributes:
        name: As the legend has it.
        points: Values by second.
        look: What overrides the panel's own look, by Grafana's names.
        labels: The labels of the series.
    """

    name: str
    points: dict[int, float]
    look: dict[str, Any] = field(default_factory=dict[str, Any])
    labels: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def shown(self) -> bool:
        """Whether the legend names it."""
        return not self.look.get("custom.hideFrom", {}).get("legend", False)


class Drawing:
    """The picture of one dashboard.

    Attributes:
        board: The dashboard.
        source: Who answers its queries.
        values: What stands for its variables; several values as a list.
    """

    def __init__(self, board: Mapping[str, Any], source: Prometheus, values: Mapping[str, str | list[str]]) -> None:
        self.board, self.source, self.values = board, source, dict(values)
        self.marks: list[int] = []

    def svg(self) -> str:
        """Return the picture.

        Raises:
            EmptyError: A panel has no data.
        """
        self.marks = list(self._annotations())
        panels = list(self._panels())
        bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel, _ in panels)
        height = TOP + bottom * ROW + GAP
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'font-family="Inter, Helvetica, Arial, sans-serif" font-size="11">',
            _rectangle(Box(0, 0, WIDTH, height), _GROUND),
            *self._header(),
        ]
        for panel, values in panels:
            parts += self._panel(panel, values)
        return "\n".join([*parts, "</svg>", ""])

    def _header(self) -> Iterator[str]:
        yield _write(GAP + 6, 22, self.board["title"], size=16, weight=600)
        left = GAP + 6.0
        for variable in self.board["templating"]["list"]:
            label = variable.get("label") or variable["name"]
            value = self.values.get(variable["name"], "Prometheus")
            shown = "All" if isinstance(value, list) and variable.get("includeAll") else str(value)
            first, second = len(label) * _LETTER + 12, len(shown) * _LETTER + 14
            yield _rectangle(Box(left, 30, first + second, 19), _PANEL, edge=_EDGE)
            yield _write(left + 6, 43, label, color="#6e9fff" if variable["type"] == "datasource" else _DIM)
            yield _write(left + first + 4, 43, shown)
            left += first + second + 8
        yield _write(WIDTH - GAP - 6, 22, "Last 1 hour", anchor="end", color=_DIM)

    def _panels(self) -> Iterator[tuple[dict[str, Any], dict[str, str | list[str]]]]:
        """Yield panels with the values of variables; a repeated one once for each value, side by side."""
        for panel in self.board["panels"]:
            name = panel.get("repeat")
            if not name:
                yield panel, self.values
                continue
            every = self.values[name]
            width = 24 // max(len(every), 1)
            for at, value in enumerate(every):
                place = {**panel["gridPos"], "x": at * width, "w": width}
                yield {**panel, "gridPos": place}, {**self.values, name: value}

    def _annotations(self) -> Iterator[int]:
        for one in self.board["annotations"].get("list", []):
            last = 0
            for series in self._asked(one["expr"], self.values, step=15):
                for second in sorted(series.points):
                    if second - last > 60:
                        yield second
                    last = second

    def _asked(
        self, expression: str, values: Mapping[str, str | list[str]], legend: str = "", step: int = STEP
    ) -> list[Series]:
        query = substituted(expression, values)
        return [
            Series(
                _legend(legend, one["metric"]),
                {int(at): float(value) for at, value in one["values"]},
                labels=one["metric"],
            )
            for one in self.source.range(query, END - HOUR, END, step)
        ]

    def _panel(self, panel: Mapping[str, Any], values: Mapping[str, str | list[str]]) -> Iterator[str]:
        place = panel["gridPos"]
        box = Box(
            place["x"] * COLUMN + GAP / 2, TOP + place["y"] * ROW, place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        )
        title = substituted(panel["title"], values)
        if panel["type"] == "row":
            yield _write(box.x + 4, box.y + 18, f"▾ {title}", size=13, weight=600)
            return
        yield _rectangle(box, _PANEL, edge=_EDGE)
        yield _write(box.x + 10, box.y + 18, title, size=12, weight=600)
        inner = Box(box.x + 10, box.y + 28, box.width - 20, box.height - 36)
        if panel["type"] == "text":
            yield _write(inner.x, inner.y + 14, panel["options"]["content"], size=12)
        elif panel["type"] == "table":
            yield from self._table(panel, inner, values)
        elif panel["type"] == "heatmap":
            yield from _heatmap(panel, inner, self._series(panel, values))
        elif panel["type"] == "stat":
            yield from _stat(panel, box, self._series(panel, values))
        else:
            yield from _lines(panel, inner, self._series(panel, values), self.marks)

    def _series(self, panel: Mapping[str, Any], values: Mapping[str, str | list[str]]) -> list[Series]:
        found: list[Series] = []
        for target in panel["targets"]:
            series = self._asked(target["expr"], values, target.get("legendFormat", ""))
            found += [one for one in series if any(not math.isnan(value) for value in one.points.values())]
        if not found:
            raise EmptyError(f"{self.board['title']}, {panel['title']}: {[t['expr'] for t in panel['targets']]}")
        for one in found:
            for override in panel["fieldConfig"]["overrides"]:
                if re.fullmatch(override["matcher"]["options"].strip("/"), one.name):
                    one.look |= {part["id"]: part["value"] for part in override["properties"]}
        return found

    def _table(self, panel: Mapping[str, Any], box: Box, values: Mapping[str, str | list[str]]) -> Iterator[str]:
        rows: dict[tuple[str, ...], dict[str, str | float]] = {}
        changes = {one["id"]: one["options"] for one in panel["transformations"]}
        organized = changes["organize"]
        heads: dict[str, str] = organized["renameByName"]
        names = {name: heads[name] for name in sorted(heads, key=lambda name: organized["indexByName"][name])}
        several = len(panel["targets"]) > 1
        keys = [name for name in names if not name.startswith("Value")]
        for target in panel["targets"]:
            value = f"Value #{target['refId']}" if several else "Value"
            answers = self.source.now(substituted(target["expr"], values))
            if not answers and target["expr"].find("ALERTS") < 0:
                raise EmptyError(f"{self.board['title']}, {panel['title']}: {target['expr']}")
            for one in answers:
                key = tuple(one["metric"].get(name, "") for name in keys)
                rows.setdefault(key, dict(zip(keys, key, strict=True)))[value] = float(one["value"][1])
        order = panel["options"]["sortBy"][0]
        by = next(name for name, head in names.items() if head == order["displayName"])
        lines = sorted(rows.values(), key=lambda row: _sortable(row.get(by, "")), reverse=bool(order.get("desc")))
        looks = {
            one["matcher"]["options"]: {part["id"]: part["value"] for part in one["properties"]}
            for one in panel["fieldConfig"]["overrides"]
        }
        cells = [[_cell(row.get(name, ""), looks.get(head, {})) for name, head in names.items()] for row in lines]
        yield from _grid(box, list(names.values()), cells, [name.startswith("Value") for name in names])


def substituted(text: str, values: Mapping[str, str | list[str]]) -> str:
    """Return a text with values in place of variables, several as Grafana writes them for Prometheus."""

    def value(found: re.Match[str]) -> str:
        given = values.get(found[1], found[0])
        return given if isinstance(given, str) else f"({'|'.join(given)})"

    return re.sub(r"\$([a-z]\w*)", value, text)


def _legend(pattern: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), pattern)


def _sortable(value: str | float) -> tuple[int, float, str]:
    if isinstance(value, str):
        return (1, 0, value)
    return (0, value, "") if not math.isnan(value) else (2, 0, "")


def _cell(value: str | float, look: Mapping[str, Any]) -> tuple[str, str]:
    if isinstance(value, str):
        return value, _TEXT
    shade = formats.chosen(value, look["thresholds"]["steps"]) if "thresholds" in look else _TEXT
    return formats.text(value, look.get("unit", "short")), shade


def _grid(
    box: Box, heads: Sequence[str], cells: Sequence[Sequence[tuple[str, str]]], right: Sequence[bool]
) -> Iterator[str]:
    wanted = [max([len(head), *(len(row[at][0]) for row in cells)]) + 3 for at, head in enumerate(heads)]
    scale = box.width / sum(wanted)
    left, edges = box.x, list[float]()
    for part in wanted:
        edges.append(left)
        left += part * scale
    edges.append(left)
    for at, head in enumerate(heads):
        x = edges[at + 1] - 8 if right[at] else edges[at] + 4
        yield _write(x, box.y + 12, head, color="#6e9fff", weight=600, anchor="end" if right[at] else "start")
    for number, row in enumerate(cells):
        y = box.y + 34 + number * 22
        if y > box.y + box.height:
            break
        yield f'<path d="M{box.x:.0f} {y - 15:.0f}h{box.width:.0f}" stroke="{_EDGE}"/>'
        for at, (text, shade) in enumerate(row):
            x = edges[at + 1] - 8 if right[at] else edges[at] + 4
            yield _write(x, y, text, color=shade, anchor="end" if right[at] else "start", size=12)


def _stat(panel: Mapping[str, Any], box: Box, series: Sequence[Series]) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    points = {at: value for at, value in sorted(series[0].points.items()) if not math.isnan(value)}
    last = list(points.values())[-1]
    shade = formats.chosen(last, defaults["thresholds"]["steps"])
    low, high = min(points.values()), max(points.values())
    spread = (high - low) or 1
    inner = Box(box.x + 1, box.y + box.height - 36, box.width - 2, 34)
    path = "".join(
        f"{'L' if number else 'M'}{inner.x + (at - (END - HOUR)) / HOUR * inner.width:.1f} "
        f"{inner.y + inner.height * (0.85 - 0.7 * (value - low) / spread if high > low else 0.6):.1f}"
        for number, (at, value) in enumerate(points.items())
    )
    floor = inner.y + inner.height
    first = inner.x + (min(points) - (END - HOUR)) / HOUR * inner.width
    around = f"{path}L{inner.x + inner.width:.1f} {floor:.1f}L{first:.1f} {floor:.1f}Z"
    yield f'<path d="{around}" fill="{shade}" opacity=".14"/>'
    yield f'<path d="{path}" fill="none" stroke="{shade}" stroke-width="1.2" opacity=".8"/>'
    text = formats.text(last, defaults.get("unit", "short"), defaults.get("decimals"))
    yield _write(box.x + box.width / 2, box.y + 62, text, size=27, weight=600, color=shade, anchor="middle")


def _heatmap(panel: Mapping[str, Any], box: Box, series: Sequence[Series]) -> Iterator[str]:
    bounds = sorted((math.inf if one.labels["le"] == "+Inf" else float(one.labels["le"]), one) for one in series)
    plot = Box(box.x + 58, box.y, box.width - 62, box.height - 34)
    tall = plot.height / len(bounds)
    every = sorted(second for second in bounds[0][1].points if all(second in one.points for _, one in bounds))
    columns = [every[at : at + 2] for at in range(0, len(every), 2)]
    cells: dict[tuple[int, int], float] = {}
    for number, times in enumerate(columns):
        below = 0.0
        for at, (_, one) in enumerate(bounds):
            count = sum(one.points[second] for second in times) / len(times)
            cells[number, at] = max(0.0, count - below)
            below = max(below, count)
    most = max(cells.values()) or 1
    wide = plot.width / len(columns)
    for (number, at), count in cells.items():
        if count > most / 2000:
            strength = (count / most) ** 0.5
            place = Box(plot.x + number * wide, plot.y + plot.height - (at + 1) * tall, wide - 0.6, tall - 1)
            yield _rectangle(place, "#5794f2", opacity=0.08 + 0.92 * strength)
    for at, (bound, _) in enumerate(bounds):
        label = "more" if math.isinf(bound) else formats.text(bound, panel["options"]["yAxis"]["unit"])
        yield _write(plot.x - 6, plot.y + plot.height - (at + 0.5) * tall + 4, label, color=_DIM, anchor="end")
    yield from _clock(plot)
    yield _write(box.x, box.y + box.height, "requests per second, the more the brighter", color=_DIM)


def _lines(panel: Mapping[str, Any], box: Box, series: Sequence[Series], marks: Sequence[int]) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    for at, one in enumerate(series):
        one.look.setdefault("color", {"fixedColor": formats.PALETTE[at % len(formats.PALETTE)]})
    _pair(series)
    bars = [one for one in series if one.look.get("custom.drawStyle") == "bars"]
    main = [one for one in series if one not in bars]
    legend = list(_legend_rows(box, [one for one in series if one.shown]))
    plot = Box(box.x + 66, box.y, box.width - (114 if bars else 74), box.height - 26 - 16 * len(legend))
    if stacked:
        _stack(main)
    limits = _limits(main, defaults)
    yield from _bars(bars, plot)
    yield from _scale(plot, limits, unit)
    yield from _clock(plot)
    by_name = {one.name: one for one in main}
    for number, one in enumerate(main):
        below = by_name.get(one.look.get("custom.fillBelowTo", ""), main[number - 1] if stacked and number else None)
        yield from _line(one, plot, limits, opacity=custom.get("fillOpacity", 0), below=below)
    for value, shade in _thresholds(defaults):
        y = _y(plot, value, limits)
        yield f'<path d="M{plot.x:.0f} {y:.1f}h{plot.width:.0f}" stroke="{shade}" stroke-dasharray="6 5"/>'
    for second in marks:
        x = _x(plot, second)
        yield f'<path d="M{x:.1f} {plot.y:.0f}v{plot.height:.0f}" stroke="#f2495c" stroke-dasharray="3 3"/>'
        yield f'<path d="M{x - 4:.1f} {plot.y + plot.height + 5:.1f}h8l-4 -5z" fill="#f2495c"/>'
    for number, row in enumerate(legend):
        y = box.y + box.height - 16 * (len(legend) - number - 1)
        for x, one in row:
            shade = formats.color(one.look["color"]["fixedColor"])
            dash = ' stroke-dasharray="4 3"' if "custom.lineStyle" in one.look else ""
            yield f'<path d="M{x:.0f} {y - 4:.0f}h13" stroke="{shade}" stroke-width="3"{dash}/>'
            yield _write(x + 18, y, one.name)


def _pair(series: Sequence[Series]) -> None:
    """Give what is measured and what is declared of a version the same colour."""
    shades: dict[str, Any] = {}
    for one in series:
        words = one.name.split()
        if len(words) > 1 and words[-1] in {"measured", "declared"}:
            one.look["color"] = shades.setdefault(words[0], one.look["color"])


def _scale(plot: Box, limits: tuple[float, float], unit: str) -> Iterator[str]:
    low, high = limits
    # Round values of a size are those of its own unit.
    size = 2**20 if unit == "bytes" else 1
    for tick in (one * size for one in formats.ticks(low / size, high / size)):
        y = _y(plot, tick, limits)
        yield f'<path d="M{plot.x:.0f} {y:.1f}h{plot.width:.0f}" stroke="{_EDGE}" stroke-width=".7"/>'
        yield _write(plot.x - 6, y + 4, formats.text(tick, unit), color=_DIM, anchor="end")


def _thresholds(defaults: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    """Yield the values at which the panel draws a line, and its colour."""
    if defaults["custom"].get("thresholdsStyle"):
        for step in defaults["thresholds"]["steps"]:
            if step.get("value") is not None:
                yield step["value"], formats.color(step["color"])


def _legend_rows(box: Box, series: Sequence[Series]) -> Iterator[list[tuple[float, Series]]]:
    row: list[tuple[float, Series]] = []
    x = box.x
    for one in series:
        wide = 18 + len(one.name) * _LETTER + 14
        if row and x + wide > box.x + box.width:
            yield row
            row, x = [], box.x
        row.append((x, one))
        x += wide
    if row:
        yield row


def _stack(series: Sequence[Series]) -> None:
    """Put each series on top of those before it."""
    for below, one in itertools.pairwise(series):
        one.points = {at: value + below.points.get(at, 0) for at, value in one.points.items()}


def _limits(series: Sequence[Series], defaults: Mapping[str, Any]) -> tuple[float, float]:
    values = [value for one in series for value in one.points.values() if math.isfinite(value)]
    values += [value for value, _ in _thresholds(defaults)]
    low, high = min(values), max(values)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1
    low, high = defaults.get("min", low - room), defaults.get("max", high + room)
    return (low, high) if high > low else (low, low + 1)


def _bars(series: Sequence[Series], plot: Box) -> Iterator[str]:
    """Yield bars against an axis of their own, below the middle of the panel."""
    if not series:
        return
    wide = plot.width / (HOUR / STEP)
    most = max(value for one in series for value in one.points.values()) * 2.2
    for one in series:
        shade = formats.color(one.look["color"]["fixedColor"])
        path = "".join(
            f"M{_x(plot, at) - wide / 2:.1f} {plot.y + plot.height:.1f}v-{plot.height * value / most:.1f}"
            f"h{wide * 0.8:.1f}v{plot.height * value / most:.1f}z"
            for at, value in one.points.items()
            if math.isfinite(value)
        )
        yield f'<path d="{path}" fill="{shade}" opacity=".22"/>'
    for tick in formats.ticks(0, most, 3):
        text = formats.text(tick, "short")
        yield _write(plot.x + plot.width + 6, _y(plot, tick, (0, most)) + 4, text, color=_DIM)


def _line(
    one: Series, plot: Box, limits: tuple[float, float], *, opacity: float, below: Series | None
) -> Iterator[str]:
    """Yield a line, and what is filled between it and another one, or the axis."""
    low, high = limits

    def y(value: float) -> float:
        return _y(plot, min(max(value, low), high), limits)

    shade = formats.color(one.look["color"]["fixedColor"])
    parts = list(_parts(one.points))
    opacity = one.look.get("custom.fillOpacity", opacity) / 100
    for part in parts:
        path = "".join(
            f"{'L' if at else 'M'}{_x(plot, second):.1f} {y(value):.1f}" for at, (second, value) in enumerate(part)
        )
        if below is not None:
            back = "".join(
                f"L{_x(plot, second):.1f} {y(below.points[second]):.1f}"
                for second, _ in reversed(part)
                if second in below.points
            )
        else:
            base = y(max(low, 0) if high > 0 else high)
            back = f"L{_x(plot, part[-1][0]):.1f} {base:.1f}L{_x(plot, part[0][0]):.1f} {base:.1f}"
        if (
            opacity
            and not one.look.get("custom.lineStyle")
            and (below is not None or "custom.lineWidth" not in one.look)
        ):
            yield f'<path d="{path}{back}Z" fill="{shade}" opacity="{opacity:g}"/>'
        if one.look.get("custom.lineWidth", 1):
            dash = ' stroke-dasharray="7 5"' if "custom.lineStyle" in one.look else ""
            yield f'<path d="{path}" fill="none" stroke="{shade}" stroke-width="1.6" stroke-linejoin="round"{dash}/>'


def _parts(points: Mapping[int, float]) -> Iterator[list[tuple[int, float]]]:
    """Yield the parts of a line between gaps."""
    part: list[tuple[int, float]] = []
    for at, value in sorted(points.items()):
        if part and (at - part[-1][0] > 2 * STEP or not math.isfinite(value)):
            yield part
            part = []
        if math.isfinite(value):
            part.append((at, value))
    if part:
        yield part


def _x(plot: Box, second: int) -> float:
    return plot.x + (second - (END - HOUR)) / HOUR * plot.width


def _y(plot: Box, value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return plot.y + plot.height * (1 - (value - low) / (high - low))


def _clock(plot: Box) -> Iterator[str]:
    gap = 600 if plot.width > 300 else 1200
    for second in range(END - HOUR - (END - HOUR) % gap + gap, END + 1, gap):
        minute = second // 60 % 1440
        text = f"{minute // 60:02d}:{minute % 60:02d}"
        yield _write(_x(plot, second), plot.y + plot.height + 15, text, color=_DIM, anchor="middle")


def _rectangle(box: Box, fill: str, *, edge: str = "", opacity: float = 1) -> str:
    line = f' stroke="{edge}"' if edge else ""
    shade = f' opacity="{opacity:.2f}"' if opacity < 1 else ""
    corner = ' rx="3"' if edge else ""
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'fill="{fill}"{line}{shade}{corner}/>'
    )


def _write(
    x: float, y: float, text: str, *, size: int = 11, color: str = _TEXT, weight: int = 400, anchor: str = "start"
) -> str:
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    large = f' font-size="{size}"' if size != 11 else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}"{large}{bold}{place}>{escape(text)}</text>'
