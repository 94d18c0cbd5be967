"""Sets of HTTP requests as the matches of an HTTPRoute have them, and the one route that Linkerd picks. Pure.

Linkerd asks only the callers of the best route; the rules of a policy are joined. So each intersection of two areas
with other callers becomes an area of its own, with the callers of both, and must be preferred to each area around it.
Linkerd ranks the host first, then how much of the path is matched (an exact path and a regular expression count all of
it, a prefix itself), then headers and method (linkerd2-proxy, linkerd/http/route/src, edge-26.8.3 as observed; later
versions rank the method before headers, which changes nothing between an area and one inside of it). What ties goes to
the older route: `written` cuts the inner area out of the outer one then, by
regular expressions for its paths and headers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ....security.paths import EVERY_PATH, PathPattern
from ....traffic.manifests import quote
from ....traffic.model import TextMatch

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
"""The methods of a match (Gateway API v1.5.1, HTTPMethod)."""
MOST_AREAS = 256
"""Areas of a port, intersections among them. More are refused: so many rules for one port are not readable."""
MOST_HEADERS = 16
"""Headers of a match (Gateway API v1.5.1)."""
MOST_TEXT = 1024
"""Characters of a path (Gateway API v1.5.1)."""
MOST_VALUE = 4096
"""Characters of the value of a header (Gateway API v1.5.1)."""
_EXACT, _PREFIX, _REGEX = "Exact", "PathPrefix", "RegularExpression"
_PLAIN = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")
_UNCLEAN = ("//", "/./", "/../", "%2f", "%2F")
_IN_CLASS = frozenset("\\]^-[&~")

Callers = frozenset[object]


class TooManyError(Exception):
    """The areas of a port, or what is cut out of one, are more than a route can hold."""


@dataclass(frozen=True, slots=True)
class Area:
    """A set of HTTP requests: all conditions hold.

    Attributes:
        method: The method, "" for every one.
        path: The paths, compared as they are sent.
        headers: Name -> condition, sorted by name.
        host: The host, `*.` in front for all below, "" for every one.
    """

    method: str = ""
    path: PathPattern = EVERY_PATH
    headers: tuple[tuple[str, TextMatch], ...] = ()
    host: str = ""

    def covers(self, other: Area) -> bool:
        """Return True if every request of another area is in this one."""
        theirs = dict(other.headers)
        return (
            self.method in ("", other.method)
            and self.path.covers(other.path)
            and _host_covers(self.host, other.host)
            and all(name in theirs and _text_covers(condition, theirs[name]) for name, condition in self.headers)
        )

    def intersection(self, other: Area) -> Area | None:
        """Return the area of the requests that are in both, None if there are none."""
        if self.method and other.method and self.method != other.method:
            return None
        path = self.path.intersection(other.path)
        inner_host = next((b for a, b in ((self, other.host), (other, self.host)) if _host_covers(a.host, b)), None)
        if path is None or inner_host is None:
            return None
        headers = dict(self.headers)
        for name, condition in other.headers:
            own = headers.setdefault(name, condition)
            if _text_covers(own, condition):
                headers[name] = condition
            elif not _text_covers(condition, own):
                return None
        return Area(self.method or other.method, path, tuple(sorted(headers.items())), inner_host)

    @property
    def text(self) -> str:
        """All conditions, for names that stay the same."""
        headers = [f"{name} {condition.kind} {condition.value}" for name, condition in self.headers]
        return "; ".join((self.method, self.path.text, self.host, *headers))


@dataclass(frozen=True, slots=True)
class Form:
    """A match of an HTTPRoute, but for method and host.

    Attributes:
        kind: Type of the path match.
        value: Value of the path match.
        headers: Name -> condition; `regex` too.
    """

    kind: str
    value: str
    headers: tuple[tuple[str, TextMatch], ...] = ()


def close(given: Mapping[Area, Callers]) -> dict[Area, Callers]:
    """Return all areas that need a route, each with its callers: those that are given, and intersections.

    Args:
        given: The areas that rules name, with those whom the rules admit.

    Raises:
        TooManyError: There are more than MOST_AREAS.
    """

    def callers_of(area: Area) -> Callers:
        return frozenset[object]().union(*(callers for other, callers in given.items() if other.covers(area)))

    found: dict[Area, Callers] = {}
    waiting = list(given)
    while waiting:
        area = waiting.pop()
        if area in found:
            continue
        callers = callers_of(area)
        for other, theirs in found.items():
            if theirs != callers and (both := area.intersection(other)) is not None and both not in found:
                waiting.append(both)
        found[area] = callers
        if len(found) > MOST_AREAS:
            raise TooManyError(f"Its rules overlap in more than {MOST_AREAS} ways")
    return found


def written(areas: Mapping[Area, Callers]) -> dict[Area, list[Form]]:
    """Return the matches of each area, such that the narrowest area of a request wins.

    Args:
        areas: What `close` gave.

    Raises:
        TooManyError: There are more than MOST_HEADERS headers, or a text is longer than a route can have.
    """
    if any(len(area.headers) > MOST_HEADERS for area in areas):
        raise TooManyError(f"A match has more than {MOST_HEADERS} headers")
    cut: dict[Area, dict[Area, None]] = {area: {} for area in areas}
    kinds = {area: _natural(area.path) for area in areas}
    pairs = [
        (inner, outer)
        for inner in areas
        for outer in areas
        # A host is ranked before anything else, and an inner one is preferred.
        if inner.host == outer.host and areas[inner] != areas[outer] and outer.covers(inner)
    ]
    changed = True
    while changed:
        changed = False
        for inner, outer in pairs:
            has_more = len(inner.headers) > len(outer.headers) or (inner.method and not outer.method)
            whole = kinds[outer] != _PREFIX
            if whole and has_more and kinds[inner] == _PREFIX:
                kinds[inner], changed = _REGEX, True
            if has_more or inner in cut[outer] or not (whole or _ties_with_prefix(inner.path, outer.path)):
                continue
            cut[outer][inner], changed = None, True
            if inner.path != outer.path:
                kinds[outer] = _REGEX
    return {area: _forms(area, kinds[area], cut[area]) for area in areas}


@dataclass(frozen=True, slots=True)
class _Rest:
    """What is left of an area: what is cut out of its paths, and of its headers by name."""

    paths: frozenset[PathPattern] = frozenset()
    headers: tuple[tuple[str, frozenset[TextMatch]], ...] = ()


def _forms(area: Area, kind: str, inner: Iterable[Area]) -> list[Form]:
    """Return matches for an area without others that are inside of it, by the same names of headers and method.

    A request is outside of an inner area if its path is, or one of its headers: a match for each.
    """
    rests = [_Rest(headers=tuple((name, frozenset[TextMatch]()) for name, _ in area.headers))]
    for other in inner:
        rests = list(dict.fromkeys(part for rest in rests for part in _apart(area, rest, other)))
        if len(rests) > MOST_AREAS:
            raise TooManyError(f"Its rules overlap in more than {MOST_AREAS} ways")
    found: list[Form] = []
    for rest in rests:
        cuts = dict(rest.headers)
        headers = [(name, _without_texts(condition, cuts[name])) for name, condition in area.headers]
        kept = tuple((name, condition) for name, condition in headers if condition)
        if len(kept) == len(headers):
            found.append(Form(kind, _value(area.path, kind, rest.paths), kept))
    return found


def _apart(area: Area, rest: _Rest, other: Area) -> Iterator[_Rest]:
    theirs, cuts = dict(other.headers), dict(rest.headers)
    if other.path in rest.paths or any(theirs[name] in cut for name, cut in rest.headers):
        yield rest
        return
    if other.path != area.path:
        yield _Rest(rest.paths | {other.path}, rest.headers)
    for name, condition in area.headers:
        if theirs[name] != condition:
            changed = {**cuts, name: cuts[name] | {theirs[name]}}
            yield _Rest(rest.paths, tuple(changed.items()))


def _ties_with_prefix(path: PathPattern, prefix: PathPattern) -> bool:
    """Return True if some path of a pattern has no more matched characters than a prefix around it."""
    return path == prefix or path.matches("/" + "/".join(part or "" for part in prefix.segments))


def _host_covers(host: str, other: str) -> bool:
    if host.startswith("*."):
        return other.removeprefix("*").endswith(host[1:]) and other != host[2:]
    return host in ("", other)


def _text_covers(condition: TextMatch, other: TextMatch) -> bool:
    if condition.kind == "present":
        return True
    if condition.kind == "prefix":
        return other.kind in ("exact", "prefix") and other.value.startswith(condition.value)
    return condition == other


def _natural(path: PathPattern) -> str:
    """Return the type of a path match that is easiest to read. Linkerd ignores slashes at the end of a prefix."""
    if None in path.segments or (path.open and path.segments and not path.segments[-1]):
        return _REGEX
    text = "/" + "/".join(part or "" for part in path.segments)
    clean = _PLAIN.fullmatch(text) and not any(part in text for part in _UNCLEAN) and not text.endswith(("/..", "/."))
    return (_PREFIX if path.open else _EXACT) if clean else _REGEX


def _value(path: PathPattern, form: str, cut: Iterable[PathPattern]) -> str:
    if form != _REGEX:
        text = "/" + "/".join(part or "" for part in path.segments)
    else:
        text = expression(path, sorted(cut, key=lambda one: one.text))
    if len(text) > MOST_TEXT:
        raise TooManyError(f"A path match becomes longer than {MOST_TEXT} characters")
    return text


@dataclass(frozen=True, slots=True)
class _AnyBut:
    """A segment that is none of some texts; "" among them for at least one character."""

    texts: frozenset[str] = frozenset()


_Segment = str | _AnyBut
_SOME = _AnyBut(frozenset({""}))


@dataclass(frozen=True, slots=True)
class _Part:
    """A pattern of a difference of patterns."""

    segments: tuple[_Segment, ...]
    open: bool


def expression(path: PathPattern, cut: Sequence[PathPattern] = ()) -> str:
    """Return a regular expression for the paths of a pattern without those of others.

    Linkerd searches the leftmost match and compares its ends with the path (linkerd2-proxy, match/path.rs), so an
    expression with alternatives needs anchors.
    """
    parts = [_Part(tuple(_SOME if part is None else part for part in path.segments), path.open)]
    for other in cut:
        parts = [rest for part in parts for rest in _without(part, other)]
        if len(parts) > MOST_TEXT:
            raise TooManyError(f"A path match becomes longer than {MOST_TEXT} characters")
    texts = [_part_text(part) for part in parts]
    return texts[0] if len(texts) == 1 and not cut else f"^(?:{'|'.join(texts)})$"


def _without(part: _Part, other: PathPattern) -> list[_Part]:
    """Return patterns without common paths that have all paths of one but those of another."""
    have, theirs = len(part.segments), len(other.segments)
    if part.open and (theirs > have or (theirs == have and not other.open)):
        # Either nothing follows, or one more segment does.
        longer = _Part((*part.segments, _AnyBut()), open=True)
        rest = [longer] if theirs == have else _without(longer, other)
        # Without a segment it is no path.
        return [*(_without(_Part(part.segments, open=False), other) if have else ()), *rest]
    if theirs > have or (theirs < have and not other.open):
        return [part]
    rest: list[_Part] = []
    shared: list[_Segment] = []
    for position, segment in enumerate(other.segments):
        own = part.segments[position]
        outside = _outside(own, segment)
        if outside is not None:
            rest.append(_Part((*shared, outside, *part.segments[position + 1 :]), part.open))
        inside = _inside(own, segment)
        if inside is None:
            return [part]
        shared.append(inside)
    return rest


def _outside(own: _Segment, other: str | None) -> _Segment | None:
    """Return what of a segment is not in another one, None for nothing."""
    if isinstance(own, str):
        return own if own != other and (other is not None or not own) else None
    if other is not None:
        return _AnyBut(own.texts | {other})
    return None if "" in own.texts else ""


def _inside(own: _Segment, other: str | None) -> _Segment | None:
    """Return what of a segment is in another one, None for nothing."""
    if isinstance(own, str):
        return own if own == other or (other is None and own) else None
    if other is None:
        return _AnyBut(own.texts | {""})
    return None if other in own.texts else other


def _part_text(part: _Part) -> str:
    texts = [quote(one) if isinstance(one, str) else _but(one.texts) for one in part.segments]
    if part.open:
        return "".join(f"/{text}" for text in texts) + "(?:/.*)?" if texts else "/.*"
    return "/" + "/".join(texts)


def _but(texts: frozenset[str]) -> str:
    """Return an expression for a segment that is none of some texts. Rust's has no look-ahead: letter by letter."""
    first: dict[str, set[str]] = {}
    for text in texts:
        if text:
            first.setdefault(text[0], set()).add(text[1:])
    if not first:
        return "[^/]+" if "" in texts else "[^/]*"
    letters = "".join(f"\\{letter}" if letter in _IN_CLASS else letter for letter in sorted(first))
    choices = [f"[^/{letters}][^/]*"]
    choices += [quote(letter) + _but(frozenset(rest)) for letter, rest in sorted(first.items())]
    return f"(?:{'|'.join(choices)})" + ("" if "" in texts else "?")


def _without_texts(condition: TextMatch, cut: frozenset[TextMatch]) -> TextMatch | None:
    """Return a condition for a header without the values of others, all of which it takes; None for no value."""
    if not cut:
        return condition
    start = condition.value if condition.kind == "prefix" else ""
    values = {one.value[len(start) :] for one in cut if one.kind == "exact"}
    prefixes = {one.value[len(start) :] for one in cut if one.kind == "prefix"}
    rest = _not_among(values, prefixes)
    if rest is None:
        return None
    text = f"^{quote(start)}{rest}$"
    if len(text) > MOST_VALUE:
        raise TooManyError(f"A header match becomes longer than {MOST_VALUE} characters")
    return TextMatch("regex", text)


def _not_among(values: Collection[str], prefixes: Collection[str]) -> str | None:
    """Return an expression for the texts that are none of some values and begin with none of some prefixes."""
    if "" in prefixes:
        return None
    firsts = sorted({text[0] for text in (*values, *prefixes) if text})
    letters = "".join(f"\\{letter}" if letter in _IN_CLASS else letter for letter in firsts)
    choices = [f"[^{letters}].*" if letters else ".+"]
    for first in firsts:
        rest = _not_among(
            {one[1:] for one in values if one[:1] == first}, {one[1:] for one in prefixes if one[0] == first}
        )
        if rest is not None:
            choices.append(quote(first) + rest)
    return f"(?:{'|'.join(choices)})" + ("" if "" in values else "?")
