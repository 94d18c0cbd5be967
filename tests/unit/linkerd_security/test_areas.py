"""Areas of requests: which route Linkerd picks among those that are written for them."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.meshes.linkerd.security.areas import (
    Area,
    Callers,
    Form,
    TooManyError,
    close,
    expression,
    written,
)
from components.security.paths import PathPattern, exact, prefix, template
from components.traffic.model import TextMatch

SEGMENTS = ("a", "b", "ab", "abc", "")
PATTERNS = st.builds(
    PathPattern, st.lists(st.sampled_from([*SEGMENTS, None]), max_size=3).map(tuple), st.booleans()
).filter(lambda one: one.open or bool(one.segments))
PATHS = st.lists(st.sampled_from([*SEGMENTS, "x", "a-b", "..", "abcd"]), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
TEXTS = (
    *(TextMatch("exact", value) for value in ("", "a", "ab", "b", "abc")),
    *(TextMatch("prefix", value) for value in ("a", "ab")),
    TextMatch("present"),
)
HEADERS = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(TEXTS)).map(
    lambda found: tuple(sorted(found.items()))
)
AREAS = st.builds(
    Area, st.sampled_from(["", "GET", "POST"]), PATTERNS, HEADERS, st.sampled_from(["", "h", "*.h", "g.h"])
)
ALICE, BOB, CAROL = (frozenset({name}) for name in ("alice", "bob", "carol"))


def matches(kind: str, value: str, path: str) -> int | None:
    """How much of a path Linkerd matches (linkerd2-proxy, linkerd/http/route/src/http/match/path.rs)."""
    if kind == "Exact":
        return len(path) if path == value else None
    if kind == "RegularExpression":
        found = re.search(value, path)
        return len(path) if found and found.span() == (0, len(path)) else None
    if value == "/":
        return 1
    trimmed = value.rstrip("/")
    rest = path.rstrip("/").removeprefix(trimmed)
    return len(trimmed) if path.startswith(trimmed) and (not rest or rest.startswith("/")) else None


def fits(text: TextMatch, value: str | None) -> bool:
    """Whether a header has a value that a match takes (linkerd/http/route/src/http/match/header.rs)."""
    if value is None or text.kind == "present":
        return value is not None
    if text.kind == "regex":
        found = re.search(text.value, value)
        return found is not None and found.span() == (0, len(value))
    return value == text.value if text.kind == "exact" else value.startswith(text.value)


def ranks(area: Area, form: Form, request: Mapping[str, str]) -> tuple[int, ...] | None:
    """The rank of a match for a request, None if it does not match."""
    length = matches(form.kind, form.value, request["path"])
    host, wanted = request["host"], area.host
    if length is None or area.method not in ("", request["method"]):
        return None
    if wanted and not (host.endswith(wanted[1:]) and host != wanted[2:] if wanted.startswith("*") else host == wanted):
        return None
    if not all(fits(text, request.get(name)) for name, text in form.headers):
        return None
    return (2 if host == wanted else len(wanted) > 0, len(wanted), length, len(form.headers), bool(area.method))


VALUES = st.sampled_from(["", "a", "ab", "abc", "abcd", "ac", "b", "c"])
REQUESTS = st.fixed_dictionaries(
    {"path": PATHS, "method": st.sampled_from(["GET", "POST", "PUT"]), "host": st.sampled_from(["h", "g.h", "f.g.h"])},
    optional={"x": VALUES, "y": VALUES},
)


@given(PATTERNS, st.lists(PATTERNS, max_size=3), PATHS)
def test_an_expression_takes_the_paths_of_a_pattern_without_those_that_are_cut_out(
    pattern: PathPattern, cut: list[PathPattern], path: str
) -> None:
    wanted = pattern.matches(path) and not any(other.matches(path) for other in cut)
    assert (matches("RegularExpression", expression(pattern, cut), path) is not None) == wanted


@given(st.dictionaries(AREAS, st.sampled_from([ALICE, BOB, CAROL, ALICE | BOB]), min_size=1, max_size=4), REQUESTS)
def test_the_best_route_has_the_callers_of_every_area_that_takes_the_request(
    areas: dict[Area, Callers], request_: dict[str, str]
) -> None:
    found = written(closed := close(areas))
    ranked = [
        (rank, area)
        for area, forms in found.items()
        for form in forms
        if (rank := ranks(area, form, request_)) is not None
    ]
    takes = [
        callers
        for area, callers in areas.items()
        if ranks(area, Form("RegularExpression", expression(area.path), area.headers), request_)
    ]
    wanted = frozenset[object]().union(*takes)
    best = max((rank for rank, _ in ranked), default=())
    # Ties go to the older route, which may be any.
    assert {closed[area] for rank, area in ranked if rank == best} == ({wanted} if takes else set())


def test_paths_stay_readable_where_linkerd_prefers_the_narrower_one_by_itself() -> None:
    areas = {Area(path=prefix("/a")): ALICE, Area(path=exact("/a/b")): BOB, Area("GET", prefix("/a")): CAROL}
    forms = written(close(areas)).values()
    assert {(form.kind, form.value) for (form,) in forms} == {("PathPrefix", "/a"), ("Exact", "/a/b")}


def test_a_path_that_ties_with_its_prefix_is_cut_out_of_it() -> None:
    forms = written(close({Area(path=prefix("/a")): ALICE, Area(path=exact("/a")): BOB}))
    assert forms[Area(path=exact("/a"))] == [Form("Exact", "/a")]
    (form,) = forms[Area(path=prefix("/a"))]
    assert form.kind == "RegularExpression"
    assert [bool(re.search(form.value, path)) for path in ("/a", "/a/", "/a/b", "/ab")] == [False, True, True, False]


def test_inside_of_a_template_a_prefix_becomes_an_expression() -> None:
    areas = {Area(path=template("/{*}/{**}")): ALICE, Area("GET", prefix("/a/b")): BOB}
    assert written(close(areas))[Area("GET", prefix("/a/b"))] == [Form("RegularExpression", "/a/b(?:/.*)?")]


def test_a_prefix_that_ends_with_an_empty_segment_becomes_an_expression_since_linkerd_trims_slashes() -> None:
    area = Area(path=template("/a//{**}"))
    assert written({area: ALICE})[area] == [Form("RegularExpression", "/a/(?:/.*)?")]


def test_a_header_that_ties_is_cut_out_of_the_wider_condition() -> None:
    wide = Area(headers=(("x", TextMatch("present")),))
    narrow = (TextMatch("exact", "ab"), TextMatch("prefix", "c"))
    areas = {wide: ALICE, **{Area(headers=(("x", one),)): BOB for one in narrow}}
    ((_, condition),) = written(close(areas))[wide][0].headers
    values = ("", "a", "ab", "abc", "b", "c", "cd")
    assert [value for value in values if re.search(condition.value, value)] == ["", "a", "abc", "b"]


def test_areas_that_overlap_in_too_many_ways_are_refused() -> None:
    areas: dict[Area, Callers] = {
        Area(headers=((f"x{number:02}", TextMatch("present")),)): frozenset({number}) for number in range(10)
    }
    with pytest.raises(TooManyError, match="more than 256 ways"):
        close(areas)


def test_an_expression_that_is_too_long_for_a_route_is_refused() -> None:
    areas = {Area(path=template("/{*}")): ALICE} | {Area(path=exact(f"/{'x' * 50}{n}")): BOB for n in range(20)}
    with pytest.raises(TooManyError, match="1024"):
        written(close(areas))
