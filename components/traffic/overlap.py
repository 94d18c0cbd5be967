"""Decide exactly whether one match covers another or is disjoint from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import quote as quote_path

from . import patterns
from .manifests import quote
from .model import Match, TextMatch

Named = tuple[tuple[str, TextMatch], ...]
Part = tuple[str, str]
"""Part of a request: `path`, `method`, `header`, `cookie`, `query`, `source` or `namespace`, and its name."""
Conditions = Mapping[Part, TextMatch]

PATH: Part = ("path", "")
METHOD: Part = ("method", "")
EVERY_PATH = TextMatch("prefix", "/")


def path_of(match: Match) -> TextMatch:
    """Return the path condition of a match: that of gRPC, or every path if there is none."""
    if match.grpc_service and match.grpc_method:
        return TextMatch("exact", f"/{match.grpc_service}/{match.grpc_method}")
    if match.grpc_service:
        return TextMatch("prefix", f"/{match.grpc_service}")
    return match.path or EVERY_PATH


def method_of(match: Match) -> str:
    """Return the method that a match requires, or ""; gRPC is always POST."""
    return match.method or ("POST" if match.grpc_service else "")


def conditions_of(match: Match) -> dict[Part, TextMatch]:
    """Return the conditions of a match by part of the request."""
    exact = [(METHOD, method_of(match))] if method_of(match) else []
    exact += [(("source", key), value) for key, value in match.source]
    exact += [(("namespace", ""), match.source_namespace)] if match.source_namespace else []
    conditions = {part: TextMatch("exact", value) for part, value in exact}
    conditions[PATH] = path_of(match)
    for what, named in (("header", match.headers), ("cookie", match.cookies), ("query", match.query)):
        conditions |= {(what, name): condition for name, condition in named}
    return conditions


def covers(outer: Match, inner: Match) -> bool:
    """Return True if every request of `inner` is one of `outer`.

    Raises:
        TooMuchWork: It takes too many steps; `between` says where the matches are.
    """

    def decide(wide: Conditions, narrow: Conditions) -> bool:
        return all(
            part in narrow and texts_of(part).covers(condition, narrow[part]) for part, condition in wide.items()
        )

    return _compared(decide, outer, inner)


def disjoint(first: Match, second: Match) -> bool:
    """Return True if no request meets both.

    Raises:
        TooMuchWork: It takes too many steps; `between` says where the matches are.
    """

    def decide(one: Conditions, two: Conditions) -> bool:
        return any(part in two and texts_of(part).disjoint(condition, two[part]) for part, condition in one.items())

    return _compared(decide, first, second)


def _compared(question: Callable[[Conditions, Conditions], bool], one: Match, two: Match) -> bool:
    try:
        patterns.work().take(2)
        return question(conditions_of(one), conditions_of(two))
    except patterns.TooMuchWork as error:
        error.between = (one.where, two.where)
        raise


_Item = TypeVar("_Item")


class Earlier(Generic[_Item]):
    """Matches with an item each, in the order in which they were added, indexed by path."""

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
        """Return the first match that covers another one, and its item.

        Raises:
            TooMuchWork: It takes too many steps.
        """
        return next((self._all[at] for at in self._near(path_of(match)) if covers(self._all[at][0], match)), None)

    def _near(self, path: TextMatch) -> Iterable[int]:
        """Return the positions of matches whose path condition may cover a path."""
        if path.kind == "regex":
            return range(len(self._all))
        segments = path.value.rstrip("/").split("/")
        above = [EVERY_PATH, *(TextMatch("prefix", "/".join(segments[:end])) for end in range(2, len(segments) + 1))]
        patterns.work().take(len(above))
        positions = [at for prefix in above for at in self._at.get(prefix, ())]
        return sorted([*positions, *self._patterns, *(self._at.get(path, ()) if path.kind == "exact" else ())])


_UNESCAPED = re.compile(r"%(2[DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9AEae])")
_ESCAPED = re.compile(r"[^!$%&'()*+,\-./0-9:;=@A-Z\[\]_a-z~]")


def canonical_path(path: str) -> str:
    """Return the path as Envoy compares it: Istio makes it normalise paths (observed with Envoy 1.40, Istio 1.30).

    Backslashes become slashes; percent-encoding is normalised; `.` and `..` are resolved; several
    slashes stay. Linkerd compares a path unchanged.
    """
    path = path.partition("#")[0].replace("\\", "/")
    path = _UNESCAPED.sub(lambda escape: chr(int(escape[1], 16)), path)
    path = _ESCAPED.sub(lambda character: quote_path(character[0], safe=""), path)
    resolved: list[str] = []
    segments = path.split("/")[1:]
    for position, segment in enumerate(segments):
        if segment == ".." and resolved:
            resolved.pop()
        if segment not in (".", ".."):
            resolved.append(segment)
        elif position == len(segments) - 1:
            resolved.append("")
    return "/" + "/".join(resolved)


def path_matches(condition: TextMatch, path: str) -> bool:
    """Return True if the path (without query) meets the condition. A prefix counts whole segments."""
    if condition.kind == "regex":
        return patterns.matches(condition.value, path)
    if condition.kind == "exact":
        return path == condition.value
    return condition.value in ("/", path) or path.startswith(condition.value + "/")


def text_matches(condition: TextMatch, text: str) -> bool:
    """Return True if the value of a header, cookie or parameter meets the condition."""
    match condition.kind:
        case "present":
            return True
        case "exact":
            return text == condition.value
        case "prefix":
            return text.startswith(condition.value)
        case "regex":
            return patterns.matches(condition.value, text)


@lru_cache(maxsize=4096)
def path_pattern(condition: TextMatch) -> str:
    """Return a condition on the path as a pattern."""
    if condition.kind == "exact":
        return quote(condition.value)
    if condition.kind == "regex":
        return condition.value
    return "/.*" if condition.value == "/" else f"{quote(condition.value)}(?:/.*)?"


@lru_cache(maxsize=4096)
def text_pattern(condition: TextMatch) -> str:
    """Return a condition on a header, cookie or parameter as a pattern."""
    patterns_of = {"regex": condition.value, "prefix": quote(condition.value) + ".*", "present": ".*"}
    return patterns_of.get(condition.kind, quote(condition.value))


@dataclass(frozen=True, slots=True)
class Texts:
    """Comparison of the texts of a part of a request.

    Attributes:
        meets: Returns whether a text meets a condition.
        pattern: Returns a condition as a pattern.
        every: The condition that every text meets.
    """

    meets: Callable[[TextMatch, str], bool]
    pattern: Callable[[TextMatch], str]
    every: TextMatch

    def covers(self, outer: TextMatch, inner: TextMatch) -> bool:
        """Return True if every text of `inner` is one of `outer`."""
        if outer in (self.every, inner):
            return True
        if inner.kind == "exact" or outer.kind == inner.kind == "prefix":
            return self.meets(outer, inner.value)
        return outer.kind != "exact" and patterns.contains(self.pattern(outer), self.pattern(inner))

    def disjoint(self, first: TextMatch, second: TextMatch) -> bool:
        """Return True if no text meets both."""
        kinds = {first.kind, second.kind}
        if "exact" in kinds:
            exact, other = (first, second) if first.kind == "exact" else (second, first)
            return not self.meets(other, exact.value)
        if kinds == {"prefix"}:
            return not (self.meets(first, second.value) or self.meets(second, first.value))
        return "present" not in kinds and patterns.disjoint(self.pattern(first), self.pattern(second))


PATH_TEXTS = Texts(path_matches, path_pattern, EVERY_PATH)
VALUE_TEXTS = Texts(text_matches, text_pattern, TextMatch("present"))


def texts_of(part: Part) -> Texts:
    """Return how the texts of a part are compared: a prefix of a path counts whole segments."""
    return PATH_TEXTS if part == PATH else VALUE_TEXTS
