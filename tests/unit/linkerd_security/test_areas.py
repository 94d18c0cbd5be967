"""Areas of requests: which route Linkerd picks among those that are written for them."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.meshes.linkerd.security.areas import (
    Area,
    Callers,
    TooManyError,
    UnrankedError,
    close,
    expression,
    written,
)
from components.security.paths import EVERY_PATH, PathPattern, exact, prefix, template
from components.traffic.model import TextMatch

SEGMENTS = ("a", "b", "ab", "abc", "")
PATTERNS = st.builds(
    PathPattern, st.lists(st.sampled_from([*SEGMENTS, None]), max_size=3).map(tuple), st.booleans()
).filter(lambda one: one.open or bool(one.segments))
PATHS = st.lists(st.sampled_from([*SEGMENTS, "x", "a-b", "..", "abcd"]), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
HEADERS = st.lists(
    st.sampled_from([("x", TextMatch("exact", "1")), ("y", TextMatch("present")), ("z", TextMatch("prefix", "ab"))]),
    unique=True,
).map(lambda pairs: tuple(sorted(pairs)))
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


def ranks(area: Area, form: tuple[str, str], request: Mapping[str, str]) -> tuple[int, ...] | None:
    """The rank of a match for a request, None if it does not match."""
    length = matches(*form, request["path"])
    host, wanted = request["host"], area.host
    if length is None or area.method not in ("", request["method"]):
        return None
    if wanted and not (host.endswith(wanted[1:]) and host != wanted[2:] if wanted.startswith("*") else host == wanted):
        return None
    for name, text in area.headers:
        value = request.get(name)
        if value is None or not (text.kind == "present" or value.startswith(text.value)):
            return None
        if text.kind == "exact" and value != text.value:
            return None
    return (2 if host == wanted else len(wanted) > 0, len(wanted), length, len(area.headers), bool(area.method))


REQUESTS = st.fixed_dictionaries(
    {"path": PATHS, "method": st.sampled_from(["GET", "POST", "PUT"]), "host": st.sampled_from(["h", "g.h", "f.g.h"])},
    optional={"x": st.sampled_from(["1", "2"]), "y": st.just("1"), "z": st.sampled_from(["abc", "b"])},
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
    forms = written(closed := close(areas))
    ranked = [(rank, area) for area, form in forms.items() if (rank := ranks(area, form, request_)) is not None]
    takes = [
        callers
        for area, callers in areas.items()
        if ranks(area, ("RegularExpression", expression(area.path)), request_)
    ]
    wanted = frozenset[object]().union(*takes)
    best = max((rank for rank, _ in ranked), default=())
    # Ties go to the older route, which may be any.
    assert {closed[area] for rank, area in ranked if rank == best} == ({wanted} if takes else set())


def test_paths_stay_readable_where_linkerd_prefers_the_narrower_one_by_itself() -> None:
    areas = {Area(path=prefix("/a")): ALICE, Area(path=exact("/a/b")): BOB, Area("GET", prefix("/a")): CAROL}
    forms = written(close(areas))
    assert set(forms.values()) == {("PathPrefix", "/a"), ("Exact", "/a/b")}


def test_a_path_that_ties_with_its_prefix_is_cut_out_of_it() -> None:
    forms = written(close({Area(path=prefix("/a")): ALICE, Area(path=exact("/a")): BOB}))
    assert forms[Area(path=exact("/a"))] == ("Exact", "/a")
    kind, value = forms[Area(path=prefix("/a"))]
    assert kind == "RegularExpression"
    assert [bool(re.search(value, path)) for path in ("/a", "/a/", "/a/b", "/ab")] == [False, True, True, False]


def test_inside_of_a_template_a_prefix_becomes_an_expression() -> None:
    areas = {Area(path=template("/{*}/{**}")): ALICE, Area("GET", prefix("/a/b")): BOB}
    assert written(close(areas))[Area("GET", prefix("/a/b"))] == ("RegularExpression", "/a/b(?:/.*)?")


def test_a_prefix_that_ends_with_an_empty_segment_becomes_an_expression_since_linkerd_trims_slashes() -> None:
    area = Area(path=template("/a//{**}"))
    assert written({area: ALICE})[area] == ("RegularExpression", "/a/(?:/.*)?")


def test_two_conditions_on_one_header_that_tie_are_refused_with_both_areas() -> None:
    areas = {
        Area(path=EVERY_PATH, headers=(("x", TextMatch("present")),)): ALICE,
        Area(path=EVERY_PATH, headers=(("x", TextMatch("exact", "1")),)): BOB,
    }
    with pytest.raises(UnrankedError) as caught:
        written(close(areas))
    assert caught.value.inner.example() == "GET /, x: 1"
    assert caught.value.outer in areas


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
