"""Requests that show something: one that some matches take and others do not, or that there is none.

A request here names each header, cookie and parameter once at most, and has characters that a client can send.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote as encoded

from . import patterns
from .capability import ISTIO_ROUTE, Target
from .manifests import all_headers
from .model import Match, Request, TextMatch
from .overlap import (
    EVERY_PATH,
    method_of,
    path_covers,
    path_disjoint,
    path_matches,
    path_of,
    path_pattern,
    text_covers,
    text_disjoint,
    text_matches,
    text_pattern,
)

Part = tuple[str, str]
"""What a condition is on: `path`, `method`, `header`, `cookie`, `query`, `source` or `namespace`, and its name."""
Conditions = Mapping[Part, TextMatch]

PATH: Part = ("path", "")
METHOD: Part = ("method", "")
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "REPORT")
"""Those that a match can ask for, the common ones first, and one that it can't."""

_SEGMENT = r"!$&'()*+,:;=@\-0-9A-Z\[\]_a-z~"
_ESCAPE = r"%(?:2[0-9A-CFa-cf]|3[A-Fa-f]|40|5[B-Eb-e]|60|7[B-DFb-df]|[89A-Fa-f][0-9A-Fa-f])"
_NO_DOT = rf"(?:[{_SEGMENT}]|{_ESCAPE})"
ENVOY_PATH = rf"(?:/(?:\.?{_NO_DOT}(?:\.|{_NO_DOT})*|\.\.(?:\.|{_NO_DOT})+)?)+"
"""The paths that Envoy compares: what `overlap.canonical_path` leaves as it is."""
_LINKERD_PATH = r"/[!-\"$->@-~]*"
_VALUE = r"(?:[!-~](?:[\t -~]*[!-~])?)?"
_COOKIE = r"[!#-+\--:<-\[\]-~]*"
_SENT = r"[!-%'-~]*"
_DECODED = r"[ -~]*"


@dataclass(frozen=True, slots=True)
class PathLimit:
    """Further conditions on the path of a request, and what it must not meet."""

    inside: tuple[TextMatch, ...] = ()
    outside: tuple[TextMatch, ...] = ()


class Witnesses:
    """Looks for requests to the rules of a route on a target.

    Args:
        target: The target; it says how paths and parameters are compared.
        matches: All matches of the route.
    """

    def __init__(self, target: Target, matches: Sequence[Match]) -> None:
        self.target = target
        asked = {method_of(match) for match in matches}
        self._method = next(method for method in _METHODS if method not in asked)
        # Where a match looks at the whole header Cookie, matches on cookies are conditions on it too.
        self._whole_cookie = any(name == "cookie" for match in matches for name, _ in match.headers)

    def conditions(self, match: Match) -> Conditions:
        """The conditions of a match, by what they are on. None on the path is one on every path."""
        found: dict[Part, TextMatch] = {}
        if path_of(match) != EVERY_PATH:
            found[PATH] = path_of(match)
        if method_of(match):
            found[METHOD] = TextMatch("exact", method_of(match))
        headers = all_headers(match) if self._whole_cookie else match.headers
        cookies = () if self._whole_cookie else match.cookies
        for what, named in (("header", headers), ("cookie", cookies), ("query", match.query)):
            found.update({(what, name): condition for name, condition in named})
        found.update({("source", key): TextMatch("exact", value) for key, value in match.source})
        if match.source_namespace:
            found["namespace", ""] = TextMatch("exact", match.source_namespace)
        return found

    def find(self, met: Sequence[Conditions], avoided: Sequence[Conditions], limit: PathLimit) -> Request | None:
        """A request that meets all of some matches and none of others; None if there is none.

        Raises:
            TooMuchWork: It takes too many steps.
        """
        patterns.work().take(5 + len(avoided))
        inside: dict[Part, frozenset[TextMatch]] = {PATH: frozenset(limit.inside)}
        for conditions in met:
            for part, condition in conditions.items():
                inside[part] = inside.get(part, frozenset()) | {condition}
        # A condition on what the request can leave out does not hold then.
        relevant = [
            conditions
            for conditions in avoided
            if all(part in inside and not self._excluded(part, inside[part], conditions[part]) for part in conditions)
        ]
        found = self._search(inside, {PATH: frozenset(limit.outside)}, relevant)
        return None if found is None else self._request(found)

    def _excluded(self, part: Part, inside: frozenset[TextMatch], condition: TextMatch) -> bool:
        apart = path_disjoint if part == PATH else text_disjoint
        return any(apart(condition, one) for one in inside)

    def _search(
        self,
        inside: Mapping[Part, frozenset[TextMatch]],
        outside: Mapping[Part, frozenset[TextMatch]],
        avoided: Sequence[Conditions],
    ) -> dict[Part, str] | None:
        """The texts of a request; where it meets a match that is avoided, each way out of that is tried."""
        patterns.work().take(2 + len(avoided))
        texts: dict[Part, str] = {}
        for part, conditions in inside.items():
            text = self._text(part, conditions, outside.get(part, frozenset()))
            if text is None:
                return None
            texts[part] = text
        met = next((c for c in avoided if all(_meets(part, c[part], texts[part]) for part in c)), None)
        if met is None:
            return texts
        for part, condition in met.items():
            tried = {**outside, part: outside.get(part, frozenset()) | {condition}}
            found = self._search(inside, tried, avoided)
            if found is not None:
                return found
        return None

    def _text(self, part: Part, inside: frozenset[TextMatch], outside: frozenset[TextMatch]) -> str | None:
        """A text that meets conditions and none of others."""
        exact = next((condition.value for condition in inside if condition.kind == "exact"), None)
        if exact is not None:
            met = all(_meets(part, condition, exact) for condition in inside)
            return exact if met and not any(_meets(part, condition, exact) for condition in outside) else None
        covers, pattern = (path_covers, path_pattern) if part == PATH else (text_covers, text_pattern)
        if any(covers(one, other) for one in outside for other in inside):
            return None
        near = [condition for condition in outside if not self._excluded(part, inside, condition)]
        wanted = [self._domain(part), *(pattern(condition) for condition in inside)]
        unwanted = [pattern(condition) for condition in near]
        text = patterns.example(wanted, unwanted)
        # An empty value is hard to see in a report.
        return patterns.example([*wanted, ".+"], unwanted) or "" if text == "" else text

    def _domain(self, part: Part) -> str:
        """The texts that can stand there."""
        envoy = self.target == ISTIO_ROUTE
        if part == PATH:
            return ENVOY_PATH if envoy else _LINKERD_PATH
        return {"cookie": _COOKIE, "query": _SENT if envoy else _DECODED}.get(part[0], _VALUE)

    def _request(self, texts: Mapping[Part, str]) -> Request:
        named = {
            what: [(name, text) for (kind, name), text in texts.items() if kind == what]
            for what in ("header", "cookie", "query", "source")
        }
        headers = named["header"]
        if named["cookie"]:
            headers.append(("cookie", "; ".join(f"{name}={value}" for name, value in named["cookie"])))
        query = named["query"]
        if self.target != ISTIO_ROUTE:
            query = [(encoded(name, safe=""), encoded(value, safe="-._~!$'()*,;:@/")) for name, value in query]
        namespace = texts.get(("namespace", ""), "")
        return Request(
            texts[PATH],
            texts.get(METHOD, self._method),
            tuple(headers),
            tuple(query),
            tuple(named["source"]),
            namespace,
        )


def _meets(part: Part, condition: TextMatch, text: str) -> bool:
    return path_matches(condition, text) if part == PATH else text_matches(condition, text)


def request_text(request: Request) -> str:
    """A request in one line, such as `GET /a?q=1 with header x: 1`."""
    query = "&".join(f"{name}={value}" for name, value in request.query)
    text = f"{request.method} {request.path}{'?' if query else ''}{query}"
    named = [f"header {name}: {value}" for name, value in request.headers]
    named += [f"source {key}={value}" for key, value in request.source]
    if request.source_namespace:
        named.append(f"source namespace {request.source_namespace}")
    return f"{text} with {', '.join(named)}" if named else text
