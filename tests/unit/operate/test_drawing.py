"""The picture of a graph: well-formed, the same each time, with every node and edge in its place."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operate.drawing import Edge, Kind, Node, draw

SVG = "{http://www.w3.org/2000/svg}"
KINDS: tuple[Kind, ...] = ("all", "some", "unused", "denied")


def document(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 -- our own


def parsed(nodes: list[Node], edges: list[Edge]) -> ElementTree.Element:
    return document(draw("t", nodes, edges))


def box(root: ElementTree.Element, key: str) -> tuple[float, float, float, float]:
    """Return left, top, width and height of a node that is a box."""
    group = next(one for one in root.iter(f"{SVG}g") if one.get("data-node") == key)
    border = group.find(f"{SVG}rect")
    assert border is not None
    x, y, w, h = (float(border.get(name, "")) for name in ("x", "y", "width", "height"))
    return x, y, w, h


def edges_in(root: ElementTree.Element) -> list[tuple[str | None, str | None, str | None]]:
    groups = [one for one in root.iter(f"{SVG}g") if "data-from" in one.attrib]
    return [(one.get("data-from"), one.get("data-to"), one.get("data-kind")) for one in groups]


graphs = st.integers(1, 8).flatmap(
    lambda size: st.tuples(
        st.just([Node(f"n{number}", f"n{number}") for number in range(size)]),
        st.lists(
            st.builds(
                Edge,
                st.integers(0, size - 1).map(lambda number: f"n{number}"),
                st.integers(0, size - 1).map(lambda number: f"n{number}"),
                st.text(max_size=50),
                st.sampled_from(KINDS),
            ),
            max_size=20,
        ),
    )
)


@given(graphs)
def test_every_graph_is_drawn_whole_within_the_picture_and_always_alike(graph: tuple[list[Node], list[Edge]]) -> None:
    nodes, edges = graph
    root = parsed(nodes, edges)
    assert edges_in(root) == [(edge.source, edge.target, edge.kind) for edge in edges]
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    boxes = [box(root, node.key) for node in nodes]
    for x, y, w, h in boxes:
        assert min(x, y) >= 0 and x + w <= width and y + h <= height
    for number, (x, y, w, h) in enumerate(boxes):
        for a, b, c, d in boxes[number + 1 :]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y, "two nodes overlap"
    for path in root.iter(f"{SVG}path"):
        if "marker-end" in path.attrib:
            rights = [float(number) for number in re.findall(r"[MH](-?[\d.]+)", path.get("d", ""))]
            assert rights and min(rights) >= 0 and max(rights) <= width
    assert draw("t", nodes, edges) == draw("t", list(nodes), list(edges))


@given(graphs)
def test_an_arrow_points_right_unless_it_closes_a_circle(graph: tuple[list[Node], list[Edge]]) -> None:
    nodes, edges = graph
    forward = [edge for edge in edges if edge.source < edge.target]
    root = parsed(nodes, forward)
    for edge in forward:
        left, _, width, _ = box(root, edge.source)
        assert left + width < box(root, edge.target)[0]


def test_labels_at_a_node_stand_apart_and_left_of_it() -> None:
    nodes = [Node(name, name) for name in "abcd"]
    root = parsed(nodes, [Edge(name, "d", f"call of {name}", "all") for name in "abc"])
    labels = [one for one in root.iter(f"{SVG}text") if one.get("class") == "label"]
    heights = sorted(float(one.get("y", "")) for one in labels)
    assert all(second - first >= 16 for first, second in pairwise(heights))
    assert all(float(one.get("x", "")) + len(one.text or "") * 6.6 < box(root, "d")[0] for one in labels)


def test_kinds_differ_by_colour_stroke_and_head() -> None:
    text = draw("t", [Node("a", "a"), Node("b", "b")], [Edge("a", "b", "x", kind) for kind in KINDS])
    style = document(text).findtext(f"{SVG}style") or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for part in (light, dark):
        colours = [re.search(rf"(?<!head)\.{kind} {{ stroke: (#\w+)", part) for kind in KINDS]
        assert len({found[1] for found in colours if found}) == len(KINDS)
    dashes = [re.search(rf"\.{kind} {{ stroke: #\w+; stroke-dasharray: ([\d ]+)", light) for kind in KINDS]
    assert len({found[1] if found else "" for found in dashes}) == len(KINDS)
    heads = [re.search(rf'class="head {kind}" d="([^"]+)"', text) for kind in ("all", "unused", "denied")]
    assert len({found[1] for found in heads if found}) == 3


@pytest.mark.parametrize("odd", ["<&>\"'", "a\x00\x1bb", "\ud800", "]]>", "\N{SNOWMAN} f\u00fcr"])
def test_no_text_breaks_the_document(odd: str) -> None:
    text = draw(odd, [Node(odd, odd, (odd,)), Node("b", "b")], [Edge(odd, "b", odd, "some")])
    root = document(text)
    assert text.encode()
    assert len(edges_in(root)) == 1


def test_a_long_label_is_cut_and_whole_in_the_title_of_its_edge() -> None:
    label = "GET /" + "x" * 100
    root = parsed([Node("a", "a"), Node("b", "b")], [Edge("a", "b", label, "some")])
    titles = [one.findtext(f"{SVG}title") for one in root.iter(f"{SVG}g") if "data-from" in one.attrib]
    assert titles == [f"a -> b: {label}"]
    assert all(label not in (one.text or "") for one in root.iter(f"{SVG}text"))


def test_nothing_is_a_picture_too() -> None:
    assert parsed([], []).tag == f"{SVG}svg"
