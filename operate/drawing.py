"""Draw a directed graph as SVG: in layers from left to right, so that arrows point right wherever there is no circle.

The same graph gives the same bytes. No font is measured: the text is monospaced, and its width is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

Shape = Literal["box", "round", "hexagon", "ellipse"]
Kind = Literal["all", "some", "unused", "denied"]

_CHARACTER = 7.3
"""Width of a character of the monospaced font at 12 pixels, in pixels."""
_LINE = 16
_PORT = 18
"""Least distance of the ends of two edges at a node, in pixels."""
_PAD = 12
_CURVE = 70
"""Room between two layers for the edges to bend, in pixels."""
_GAP = 22
"""Least distance of two nodes of a layer, in pixels."""
_MARGIN = 24
_LANE = 14
_SWEEPS = 8
_LONGEST_LABEL = 38
_LEGEND: tuple[tuple[Kind, str], ...] = (
    ("all", "every request"),
    ("some", "some requests"),
    ("unused", "open, no known call needs it"),
    ("denied", "a known call, denied"),
)
_STYLE = """
text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2328 }
text.title { font-weight: bold }
text.label { font-size: 11px; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; paint-order: stroke }
.ground { fill: #ffffff }
.node { fill: #f6f8fa; stroke: #57606a; stroke-width: 1.5 }
.edge { fill: none; stroke-width: 1.6 }
.all { stroke: #0a6640 } .some { stroke: #0550ae; stroke-dasharray: 7 4 }
.unused { stroke: #8a5300; stroke-dasharray: 9 3 2 3 } .denied { stroke: #b3001b; stroke-dasharray: 2 4 }
.head { stroke-width: 1.4; stroke-dasharray: none }
.head.all { fill: #0a6640 } .head.some { fill: #ffffff } .head.unused { fill: #8a5300 } .head.denied { fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } text.label { stroke: #0d1117 } .ground { fill: #0d1117 }
.node { fill: #161b22; stroke: #8b949e }
.all { stroke: #56d364 } .some { stroke: #79c0ff } .unused { stroke: #e3b341 } .denied { stroke: #ff7b72 }
.head.all { fill: #56d364 } .head.some { fill: #0d1117 } .head.unused { fill: #e3b341 }
}
"""
_HEADS: Mapping[Kind, str] = {
    "all": "M1 1 L11 6 L1 11 Z",
    "some": "M1 1 L11 6 L1 11 Z",
    "unused": "M1 6 L6 2 L11 6 L6 10 Z",
    "denied": "M2 2 L10 10 M2 10 L10 2",
}


@dataclass(frozen=True, slots=True)
class Node:
    """A node.

    Attributes:
        key: Unique.
        title: Its first line.
        lines: Further lines.
        shape: How it is drawn.
    """

    key: str
    title: str
    lines: tuple[str, ...] = ()
    shape: Shape = "box"


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow.

    Attributes:
        source: Key of a node.
        target: Key of a node.
        label: Stands at its end; cut if it is long.
        kind: How it is drawn.
    """

    source: str
    target: str
    label: str
    kind: Kind


@dataclass(eq=False)
class _Item:
    """Something that has a place in a layer: a node, or where a long edge passes it."""

    order: int
    node: Node | None = None
    layer: int = 0
    width: float = 0
    height: float = 0
    x: float = 0
    y: float = 0
    before: list[_Item] = field(default_factory=list["_Item"])
    after: list[_Item] = field(default_factory=list["_Item"])

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


@dataclass(eq=False)
class _Line:
    """An edge with the items that it leads through, the first and the last one its ends."""

    edge: Edge
    way: list[_Item]
    back: bool = False
    start: float = 0
    end: float = 0


def draw(title: str, nodes: Sequence[Node], edges: Sequence[Edge]) -> str:
    """Return the SVG document of a graph.

    Args:
        title: What it shows.
        nodes: The nodes; their order decides where nothing else does.
        edges: The edges between them.
    """
    items = {node.key: _Item(number, node) for number, node in enumerate(nodes)}
    lines = _lines(items, edges)
    layers = _layers(items, lines)
    _order(layers)
    _size(items.values(), lines)
    right, bottom = _place(layers, lines)
    lane = bottom + _GAP
    paths: list[str] = []
    for line in lines:
        path, lane = _back(line, lane) if line.back else (_forward(line), lane)
        paths.append(_edge(line, path))
    drawn = [_node(item, item.node) for item in items.values() if item.node]
    legend, legend_width = _legend(lane + _MARGIN)
    width, height = max(right, legend_width) + _MARGIN, lane + 2 * _MARGIN + _LINE
    size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>',
            f"<title>{_text(title)}</title>",
            f"<style>{_STYLE}</style>",
            "<defs>",
            *(_marker(kind) for kind in _HEADS),
            "</defs>",
            f'<rect class="ground" width="{_n(width)}" height="{_n(height)}"/>',
            *paths,
            *drawn,
            *legend,
            "</svg>\n",
        ]
    )


# -- layout


def _lines(items: Mapping[str, _Item], edges: Iterable[Edge]) -> list[_Line]:
    """Return the edges as lines. Those that would close a circle lead back, found in the order of the nodes."""
    lines = [_Line(edge, [items[edge.source], items[edge.target]]) for edge in edges]
    leaving: dict[int, list[_Line]] = {}
    for line in lines:
        leaving.setdefault(line.way[0].order, []).append(line)
    entering = {line.way[1].order for line in lines if line.way[0] is not line.way[1]}
    state: dict[int, int] = {}
    open_, done = 1, 2
    # What nothing calls comes first, so that circles are cut as far from the callers as can be.
    for root in sorted(items.values(), key=lambda item: (item.order in entering, item.order)):
        stack = [(root, iter(leaving.get(root.order, ())))] if root.order not in state else []
        state.setdefault(root.order, open_)
        while stack:
            item, rest = stack[-1]
            line = next(rest, None)
            if line is None:
                state[item.order] = done
                stack.pop()
                continue
            target = line.way[1]
            if state.get(target.order) == open_:
                line.back = True
            elif target.order not in state:
                state[target.order] = open_
                stack.append((target, iter(leaving.get(target.order, ()))))
    return lines


def _layers(items: Mapping[str, _Item], lines: Sequence[_Line]) -> list[list[_Item]]:
    """Give each node the layer after all that call it, and each line a place in the layers that it passes."""
    forward = [line for line in lines if not line.back]
    waiting: dict[int, int] = {}
    for line in forward:
        waiting[line.way[1].order] = waiting.get(line.way[1].order, 0) + 1
    leaving: dict[int, list[_Item]] = {}
    for line in forward:
        leaving.setdefault(line.way[0].order, []).append(line.way[1])
    ready = [item for item in items.values() if not waiting.get(item.order)]
    for item in ready:
        for target in leaving.get(item.order, ()):
            target.layer = max(target.layer, item.layer + 1)
            waiting[target.order] -= 1
            if not waiting[target.order]:
                ready.append(target)
    entered = {line.way[1].order for line in forward}
    for item in ready:
        # What nothing calls stands next to what it calls.
        if item.order not in entered and item.order in leaving:
            item.layer = min(target.layer for target in leaving[item.order]) - 1
    layers: list[list[_Item]] = [[] for _ in range(max((item.layer for item in items.values()), default=0) + 1)]
    for item in items.values():
        layers[item.layer].append(item)
    for line in forward:
        source, target = line.way
        passed = [_Item(source.order, layer=layer, height=_PORT) for layer in range(source.layer + 1, target.layer)]
        for item in passed:
            layers[item.layer].append(item)
        line.way = [source, *passed, target]
        for first, second in zip(line.way, line.way[1:], strict=False):
            first.after.append(second)
            second.before.append(first)
    return layers


def _order(layers: Sequence[list[_Item]]) -> None:
    """Sort each layer by the middle of the neighbours' places (barycenters), forth and back."""
    places = {id(item): place for items in layers for place, item in enumerate(items)}

    def after(item: _Item) -> float:
        return sum(places[id(one)] for one in item.before) / len(item.before) if item.before else places[id(item)]

    def before(item: _Item) -> float:
        return sum(places[id(one)] for one in item.after) / len(item.after) if item.after else places[id(item)]

    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        for layer in layers if forth else reversed(layers):
            layer.sort(key=after if forth else before)
            places |= {id(item): place for place, item in enumerate(layer)}


def _size(items: Iterable[_Item], lines: Sequence[_Line]) -> None:
    """Give each node the size of its text, and room for the ends of its edges."""
    leaving = Counter(id(line.way[0]) for line in lines)
    entering = Counter(id(line.way[-1]) for line in lines)
    for item in items:
        node = item.node
        if node is None:
            continue
        texts = [node.title, *node.lines]
        ends = max(leaving[id(item)], entering[id(item)])
        slanted = 0 if node.shape in ("box", "round") else 2 * _PAD
        item.width = max(len(text) for text in texts) * _CHARACTER + 2 * _PAD + slanted
        item.height = max(len(texts) * _LINE + _PAD, ends * _PORT + _PAD)


def _place(layers: Sequence[Sequence[_Item]], lines: Sequence[_Line]) -> tuple[float, float]:
    """Give everything its place. Return the right and the lower end."""
    heights = [sum(item.height for item in layer) + _GAP * (len(layer) - 1) for layer in layers]
    tallest, x = max(heights, default=0), float(_MARGIN)
    labels: dict[int, float] = {}
    for line in lines:
        number = line.way[-1].layer
        labels[number] = max(labels.get(number, 0), _width(line))
    for layer, height in zip(layers, heights, strict=True):
        x += labels.get(layer[0].layer if layer else 0, 0) + (_CURVE if x > _MARGIN else 0)
        width = max((item.width for item in layer), default=0)
        y = _MARGIN + (tallest - height) / 2
        for item in layer:
            item.x, item.y = x, y
            item.width = item.width if item.node else width
            y += item.height + _GAP
        x += width
    _ends(lines)
    return x, _MARGIN + tallest


def _ends(lines: Sequence[_Line]) -> None:
    """Say where each line meets its source and its target: in the order of what is at the other end."""
    leaving: dict[int, list[_Line]] = {}
    entering: dict[int, list[_Line]] = {}
    for line in lines:
        leaving.setdefault(id(line.way[0]), []).append(line)
        entering.setdefault(id(line.way[-1]), []).append(line)
    for same in leaving.values():
        same.sort(key=lambda one: (one.back, one.way[1].middle))
        for place, line in enumerate(same):
            line.start = line.way[0].middle + (place - (len(same) - 1) / 2) * _PORT
    for same in entering.values():
        same.sort(key=lambda one: (one.back, one.way[-2].middle))
        for place, line in enumerate(same):
            line.end = line.way[-1].middle + (place - (len(same) - 1) / 2) * _PORT


def _width(line: _Line) -> float:
    return len(_label(line.edge)) * _CHARACTER + 2 * _PAD


def _label(edge: Edge) -> str:
    return edge.label if len(edge.label) <= _LONGEST_LABEL else edge.label[: _LONGEST_LABEL - 1] + "…"


# -- output


def _forward(line: _Line) -> str:
    """Return the path of a line: it bends between layers, and is straight where its label stands."""
    source, *passed, target = line.way
    x, y = source.x + source.width, line.start
    path = f"{_start(source, y)} H{_n(x)}"
    for item in passed:
        path += _bend(x, y, item.x, item.middle) + f" H{_n(item.x + item.width)}"
        x, y = item.x + item.width, item.middle
    straight = target.x - _width(line)
    return path + _bend(x, y, straight, line.end) + f" H{_n(_tip(line))}"


def _start(item: _Item, y: float) -> str:
    """Return the beginning of a path: in the middle of a node, which is drawn above it, so that there is no gap."""
    return f"M{_n(item.x + item.width / 2)} {_n(y)}"


def _bend(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (x + to_x) / 2
    return f" C{_n(half)} {_n(y)} {_n(half)} {_n(to_y)} {_n(to_x)} {_n(to_y)}"


def _back(line: _Line, lane: float) -> tuple[str, float]:
    """Return the path of a line that leads back, below everything, and the lane that is free then."""
    source, target = line.way[0], line.way[-1]
    x, lane = source.x + source.width, lane + _LANE
    left = target.x - _width(line) - _PAD
    down = x + _PAD
    path = f"{_start(source, line.start)} H{_n(down)} V{_n(lane)} H{_n(left)} V{_n(line.end)} H{_n(_tip(line))}"
    return path, lane


def _tip(line: _Line) -> float:
    return line.way[-1].x - 2


def _edge(line: _Line, path: str) -> str:
    edge = line.edge
    x = line.way[-1].x - _width(line) + _PAD / 2
    ends = f"data-from={quoteattr(_clean(edge.source))} data-to={quoteattr(_clean(edge.target))}"
    return (
        f'<g {ends} data-kind="{edge.kind}">'
        f"<title>{_text(f'{edge.source} -> {edge.target}: {edge.label}')}</title>"
        f'<path class="edge {edge.kind}" d="{path}" marker-end="url(#head-{edge.kind})"/>'
        f'<text class="label" x="{_n(x)}" y="{_n(line.end - 4)}">{_text(_label(edge))}</text></g>'
    )


def _node(item: _Item, node: Node) -> str:
    x, y, w, h = item.x, item.y, item.width, item.height
    if node.shape == "hexagon":
        m = y + h / 2
        points = f"{_n(x)},{_n(m)} {_n(x + _PAD)},{_n(y)} {_n(x + w - _PAD)},{_n(y)} {_n(x + w)},{_n(m)} "
        points += f"{_n(x + w - _PAD)},{_n(y + h)} {_n(x + _PAD)},{_n(y + h)}"
        border = f'<polygon class="node" points="{points}"/>'
    elif node.shape == "ellipse":
        border = (
            f'<ellipse class="node" cx="{_n(x + w / 2)}" cy="{_n(y + h / 2)}" rx="{_n(w / 2)}" ry="{_n(h / 2)}" '
            'stroke-dasharray="3 3"/>'
        )
    else:
        corner = _PAD if node.shape == "round" else 2
        border = f'<rect class="node" x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" rx="{corner}"/>'
    texts = [node.title, *node.lines]
    top = y + (h - len(texts) * _LINE) / 2 + _LINE - 4
    written = "".join(
        f'<text{"" if number else _TITLE} text-anchor="middle" x="{_n(x + w / 2)}" y="{_n(top + number * _LINE)}">'
        f"{_text(text)}</text>"
        for number, text in enumerate(texts)
    )
    return f"<g data-node={quoteattr(_clean(node.key))}>{border}{written}</g>"


_TITLE = ' class="title"'


def _legend(y: float) -> tuple[list[str], float]:
    """Return the legend, and how wide it is."""
    made: list[str] = []
    x = float(_MARGIN)
    for kind, text in _LEGEND:
        made.append(
            f'<path class="edge {kind}" d="M{_n(x)} {_n(y)} H{_n(x + 40)}" marker-end="url(#head-{kind})"/>'
            f'<text x="{_n(x + 50)}" y="{_n(y + 4)}">{_text(text)}</text>'
        )
        x += 50 + len(text) * _CHARACTER + 2 * _PAD
    return made, x


def _marker(kind: Kind) -> str:
    return (
        f'<marker id="head-{kind}" viewBox="0 0 12 12" refX="10" refY="6" markerWidth="10" markerHeight="10" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="head {kind}" d="{_HEADS[kind]}"/></marker>'
    )


def _n(number: float) -> str:
    """Return a number with at most one decimal."""
    return f"{number:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    return escape(_clean(text))


def _clean(text: str) -> str:
    """Return a text without the characters that XML 1.0 can't hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
