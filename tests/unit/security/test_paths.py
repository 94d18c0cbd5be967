"""Patterns of paths are sets: what they match, cover and have in common agrees, for every path."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.security.paths import EVERY_PATH, PathPattern, exact, prefix, template

SEGMENTS = st.sampled_from(["", "a", "b", "ab"])
PATTERNS = st.builds(PathPattern, st.lists(SEGMENTS | st.none(), max_size=4).map(tuple), st.booleans()).filter(
    lambda pattern: pattern.segments or pattern.open
)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


def as_regex(pattern: PathPattern) -> str:
    """The same set, said in another way."""
    parts = "".join(f"/{'[^/]+' if part is None else part}" for part in pattern.segments)
    return parts + ("(/.*)?" if pattern.open and pattern.segments else "/.*" if pattern.open else "")


@given(PATTERNS, PATHS)
def test_a_pattern_matches_what_its_regular_expression_does(pattern: PathPattern, path: str) -> None:
    assert pattern.matches(path) == bool(re.fullmatch(as_regex(pattern), path))


@given(PATTERNS, PATTERNS, PATHS)
def test_the_intersection_has_the_paths_that_are_in_both(one: PathPattern, other: PathPattern, path: str) -> None:
    both = one.intersection(other)
    assert (both is not None and both.matches(path)) == (one.matches(path) and other.matches(path))


@given(PATTERNS, PATTERNS)
def test_the_intersection_is_the_same_both_ways_and_lies_in_both(one: PathPattern, other: PathPattern) -> None:
    both = one.intersection(other)
    assert both == other.intersection(one)
    if both is not None:
        assert one.covers(both) and other.covers(both)
        assert both.intersection(one) == both


def witness(pattern: PathPattern) -> list[str]:
    """Paths of a pattern that any pattern without them misses."""
    text = "/" + "/".join("zzz" if part is None else part for part in pattern.segments)
    longer = text.rstrip("/") if not pattern.segments else text
    return (
        ["/zzz", "/zzz/zzz", "/"]
        if not pattern.segments
        else [text, *([f"{longer}/", f"{longer}/zzz"] if pattern.open else [])]
    )


@given(PATTERNS, PATTERNS)
def test_a_pattern_covers_another_if_it_has_all_of_its_paths(one: PathPattern, other: PathPattern) -> None:
    """`zzz` is no text of a pattern, so what takes it takes any segment, but for an empty one."""
    assert all(map(other.matches, witness(other)))
    assert one.covers(other) == all(map(one.matches, witness(other)))


@given(PATTERNS, PATTERNS, PATHS)
def test_what_covers_matches_all(one: PathPattern, other: PathPattern, path: str) -> None:
    if one.covers(other) and other.matches(path):
        assert one.matches(path)


@given(PATTERNS)
def test_every_path_covers_all_and_each_pattern_itself(pattern: PathPattern) -> None:
    assert EVERY_PATH.covers(pattern) and pattern.covers(pattern)
    assert pattern.intersection(pattern) == pattern
    assert pattern.intersection(EVERY_PATH) == pattern


@given(PATTERNS)
def test_the_text_of_a_pattern_is_the_template_that_it_comes_from(pattern: PathPattern) -> None:
    assert template(pattern.text.replace("**", "{**}")) == pattern


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (exact("/a"), ["/a"], ["/a/", "/", "/ab", "a", "/A"]),
        (exact("/a/"), ["/a/"], ["/a", "/a//"]),
        (exact("/"), ["/"], ["", "//", "/a"]),
        (prefix("/a"), ["/a", "/a/", "/a/b/c"], ["/ab", "/", "/b/a"]),
        (prefix("/a/"), ["/a", "/a/", "/a/b"], ["/ab"]),
        (prefix("/"), ["/", "/a", "//"], ["", "a"]),
        (template("/a/{*}/b"), ["/a/x/b"], ["/a//b", "/a/b", "/a/x/y/b", "/a/x/b/"]),
        (template("/a/{**}"), ["/a", "/a/", "/a/b/c"], ["/ab"]),
        (template("/{*}"), ["/a"], ["/", "/a/"]),
    ],
    ids=lambda value: value.text if isinstance(value, PathPattern) else "",
)
def test_a_pattern_takes_its_paths_by_whole_segments(
    pattern: PathPattern, inside: list[str], outside: list[str]
) -> None:
    assert [path for path in inside if not pattern.matches(path)] == []
    assert [path for path in outside if pattern.matches(path)] == []
