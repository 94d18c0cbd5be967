"""Whether conditions contain each other or exclude each other. Exact for all parts of a match, not a comparison of
texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import quote as quote_path

from . import patterns
from .manifests import quote
from .model import Match, Pairs, TextMatch

Named = tuple[tuple[str, TextMatch], ...]
EVERY_PATH = TextMatch("prefix", "/")


def path_of(match: Match) -> TextMatch:
    """The path condition of a match; gRPC fixes it, and none is every path."""
    if match.grpc_service and match.grpc_method:
        return TextMatch("exact", f"/{match.grpc_service}/{match.grpc_method}")
    if match.grpc_service:
        return TextMatch("prefix", f"/{match.grpc_service}")
    return match.path or EVERY_PATH


def method_of(match: Match) -> str:
    """The method that a match asks for, or ""; gRPC is always POST."""
    return match.method or ("POST" if match.grpc_service else "")


def covers(outer: Match, inner: Match) -> bool:
    """True if every request of `inner` is one of `outer`.

    Raises:
        TooMuchWork: It takes too many steps; `between` says where the matches are.
    """
    return _compared(_covers, outer, inner)


def disjoint(first: Match, second: Match) -> bool:
    """True if no request meets both.

    Raises:
        TooMuchWork: It takes too many steps; `between` says where the matches are.
    """
    return _compared(_disjoint, first, second)


_Item = TypeVar("_Item")


class Earlier(Generic[_Item]):
    """Matches in the order in which they were added, with what belongs to each; found by the path that they take."""

    def __init__(self) -> None:
        self._all: list[tuple[Match, _Item]] = []
        self._at: dict[TextMatch, list[int]] = {}
        self._patterns: list[int] = []

    def add(self, match: Match, item: _Item) -> None:
        """Add a match."""
        path = path_of(match)
        places = self._patterns if path.kind == "regex" else self._at.setdefault(path, [])
        places.append(len(self._all))
        self._all.append((match, item))

    def covering(self, match: Match) -> tuple[Match, _Item] | None:
        """The first that takes every request of a match, and what belongs to it.

        Raises:
            TooMuchWork: It takes too many steps.
        """
        return next((self._all[at] for at in self._near(path_of(match)) if covers(self._all[at][0], match)), None)

    def _near(self, path: TextMatch) -> Iterable[int]:
        """The positions of those whose path may take all of a path."""
        if path.kind == "regex":
            return range(len(self._all))
        segments = path.value.rstrip("/").split("/")
        above = [EVERY_PATH, *(TextMatch("prefix", "/".join(segments[:end])) for end in range(2, len(segments) + 1))]
        patterns.work().take(len(above))
        found = [at for prefix in above for at in self._at.get(prefix, ())]
        return sorted([*found, *self._patterns, *(self._at.get(path, ()) if path.kind == "exact" else ())])


def _compared(question: Callable[[Match, Match], bool], one: Match, two: Match) -> bool:
    try:
        patterns.work().take(2)
        return question(one, two)
    except patterns.TooMuchWork as error:
        error.between = (one.where, two.where)
        raise


def _covers(outer: Match, inner: Match) -> bool:
    return (
        method_of(outer) in ("", method_of(inner))
        and _labels_cover(outer.source, inner.source)
        and outer.source_namespace in ("", inner.source_namespace)
        and path_covers(path_of(outer), path_of(inner))
        and _named_cover(outer.headers, inner.headers)
        and _named_cover(outer.cookies, inner.cookies)
        and _named_cover(outer.query, inner.query)
    )


def _disjoint(first: Match, second: Match) -> bool:
    methods = {method_of(first), method_of(second)} - {""}
    namespaces = {first.source_namespace, second.source_namespace} - {""}
    labels = dict(first.source)
    return (
        len(methods) > 1
        or len(namespaces) > 1
        or any(labels.get(key, value) != value for key, value in second.source)
        or path_disjoint(path_of(first), path_of(second))
        or _named_disjoint(first.headers, second.headers)
        or _named_disjoint(first.cookies, second.cookies)
        or _named_disjoint(first.query, second.query)
    )


_UNESCAPED = re.compile(r"%(2[DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9AEae])")
_ESCAPED = re.compile(r"[^!$%&'()*+,\-./0-9:;=@A-Z\[\]_a-z~]")


def canonical_path(path: str) -> str:
    """The path as Envoy compares it, which Istio sets to normalise paths (observed with Envoy 1.40, Istio 1.30).

    Backslashes are slashes; what needs no escape has none, what needs one has it; `.` and `..` are resolved; several
    slashes stay. Linkerd compares a path as it comes.
    """
    path = path.partition("#")[0].replace("\\", "/")
    path = _UNESCAPED.sub(lambda escape: chr(int(escape[1], 16)), path)
    path = _ESCAPED.sub(lambda character: quote_path(character[0], safe=""), path)
    kept: list[str] = []
    segments = path.split("/")[1:]
    for position, segment in enumerate(segments):
        if segment == ".." and kept:
            kept.pop()
        if segment not in (".", ".."):
            kept.append(segment)
        elif position == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def path_matches(condition: TextMatch, path: str) -> bool:
    """True if the path (without query) meets the condition. A prefix counts whole segments."""
    if condition.kind == "regex":
        return patterns.matches(condition.value, path)
    if condition.kind == "exact":
        return path == condition.value
    return condition.value in ("/", path) or path.startswith(condition.value + "/")


def text_matches(condition: TextMatch, text: str) -> bool:
    """True if a header, cookie or parameter that is there meets the condition."""
    match condition.kind:
        case "present":
            return True
        case "exact":
            return text == condition.value
        case "prefix":
            return text.startswith(condition.value)
        case "regex":
            return patterns.matches(condition.value, text)


def path_covers(outer: TextMatch, inner: TextMatch) -> bool:
    """True if every path of `inner` is one of `outer`."""
    if outer in (EVERY_PATH, inner):
        return True
    if inner.kind == "exact":
        return path_matches(outer, inner.value)
    if outer.kind == "exact":
        return False
    if outer.kind == inner.kind == "prefix":
        return path_matches(outer, inner.value)
    return patterns.contains(path_pattern(outer), path_pattern(inner))


def path_disjoint(first: TextMatch, second: TextMatch) -> bool:
    """True if no path meets both."""
    if first.kind == "exact":
        return not path_matches(second, first.value)
    if second.kind == "exact":
        return not path_matches(first, second.value)
    if first.kind == second.kind == "prefix":
        return not (path_matches(first, second.value) or path_matches(second, first.value))
    return patterns.disjoint(path_pattern(first), path_pattern(second))


def text_covers(outer: TextMatch, inner: TextMatch) -> bool:
    """True if every text of `inner` is one of `outer`."""
    if outer.kind == "present" or outer == inner:
        return True
    if inner.kind == "exact":
        return text_matches(outer, inner.value)
    if outer.kind == "exact":
        return False
    if outer.kind == inner.kind == "prefix":
        return inner.value.startswith(outer.value)
    return patterns.contains(text_pattern(outer), text_pattern(inner))


def text_disjoint(first: TextMatch, second: TextMatch) -> bool:
    """True if no text meets both."""
    if first.kind == "exact":
        return not text_matches(second, first.value)
    if second.kind == "exact":
        return not text_matches(first, second.value)
    if "present" in (first.kind, second.kind):
        return False
    if first.kind == second.kind == "prefix":
        return not (first.value.startswith(second.value) or second.value.startswith(first.value))
    return patterns.disjoint(text_pattern(first), text_pattern(second))


@lru_cache(maxsize=4096)
def path_pattern(condition: TextMatch) -> str:
    """The paths of a condition as a pattern."""
    if condition.kind == "exact":
        return quote(condition.value)
    if condition.kind == "regex":
        return condition.value
    return "/.*" if condition.value == "/" else f"{quote(condition.value)}(?:/.*)?"


@lru_cache(maxsize=4096)
def text_pattern(condition: TextMatch) -> str:
    """The texts of a condition on a header, cookie or parameter as a pattern."""
    patterns_of = {"regex": condition.value, "prefix": quote(condition.value) + ".*", "present": ".*"}
    return patterns_of.get(condition.kind, quote(condition.value))


def _named_cover(outer: Named, inner: Named) -> bool:
    known = dict(inner)
    return all(name in known and text_covers(condition, known[name]) for name, condition in outer)


def _named_disjoint(first: Named, second: Named) -> bool:
    known = dict(first)
    return any(name in known and text_disjoint(known[name], condition) for name, condition in second)


def _labels_cover(outer: Pairs, inner: Pairs) -> bool:
    return set(outer) <= set(inner)
