"""Find a request that meets some matches and not others, or decide that none exists.

A request found here has each header, cookie and parameter at most once, and only characters that a client can send.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote as encoded

from . import patterns
from .manifests import all_headers
from .model import Match, Request, TextMatch
from .overlap import EVERY_PATH, METHOD, PATH, Conditions, Part, conditions_of, method_of, texts_of
from .proxies import Proxy

_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "REPORT")
"""The methods that a match can require, common ones first, and one that it can't."""

_SEGMENT = r"!$&'()*+,:;=@\-0-9A-Z\[\]_a-z~"
_ESCAPE = r"%(?:2[0-9A-CFa-cf]|3[A-Fa-f]|40|5[B-Eb-e]|60|7[B-DFb-df]|[89A-Fa-f][0-9A-Fa-f])"
_NO_DOT = rf"(?:[{_SEGMENT}]|{_ESCAPE})"
NORMAL_PATH = rf"(?:/(?:\.?{_NO_DOT}(?:\.|{_NO_DOT})*|\.\.(?:\.|{_NO_DOT})+)?)+"
"""The paths that `overlap.canonical_path` does not change."""
_ANY_PATH = r"/[!-\"$->@-~]*"
_VALUE = r"(?:[!-~](?:[\t -~]*[!-~])?)?"
_COOKIE = r"[!#-+\--:<-\[\]-~]*"
_SENT = r"[!-%'-~]*"
_DECODED = r"[ -~]*"


@dataclass(frozen=True, slots=True)
class PathLimit:
    """Further conditions on the path of a request: those it meets and those it does not."""

    inside: tuple[TextMatch, ...] = ()
    outside: tuple[TextMatch, ...] = ()


class Witnesses:
    """Find requests to the rules of a route.

    Args:
        proxy: Determines how paths and parameters are compared.
        matches: All matches of the route.
    """

    def __init__(self, proxy: Proxy, matches: Sequence[Match]) -> None:
        self.proxy = proxy
        asked = {method_of(match) for match in matches}
        self._method = next(method for method in _METHODS if method not in asked)
        # If a match has a condition on the header Cookie, matches on cookies become conditions on it too.
        self._whole_cookie = any(name == "cookie" for match in matches for name, _ in match.headers)

    def conditions(self, match: Match) -> Conditions:
        """Return the conditions of a match by part, without one on the path if every path meets it."""
        if self._whole_cookie:
            match = replace(match, headers=all_headers(match), cookies=())
        found = conditions_of(match)
        return {part: condition for part, condition in found.items() if (part, condition) != (PATH, EVERY_PATH)}

    def find(self, met: Sequence[Conditions], avoided: Sequence[Conditions], limit: PathLimit) -> Request | None:
        """Find a request that meets all of some matches and none of others; None if there is none.

        Raises:
            TooMuchWork: It takes too many steps.
        """
        patterns.work().take(5 + len(avoided))
        inside: dict[Part, frozenset[TextMatch]] = {PATH: frozenset(limit.inside)}
        for conditions in met:
            for part, condition in conditions.items():
                inside[part] = inside.get(part, frozenset()) | {condition}
        # A request without this part does not meet the condition.
        relevant = [
            conditions
            for conditions in avoided
            if all(part in inside and not self._excluded(part, inside[part], conditions[part]) for part in conditions)
        ]
        found = self._search(inside, {PATH: frozenset(limit.outside)}, relevant)
        return None if found is None else self._request(found)

    def _excluded(self, part: Part, inside: frozenset[TextMatch], condition: TextMatch) -> bool:
        return any(texts_of(part).disjoint(condition, one) for one in inside)

    def _search(
        self,
        inside: Mapping[Part, frozenset[TextMatch]],
        outside: Mapping[Part, frozenset[TextMatch]],
        avoided: Sequence[Conditions],
    ) -> dict[Part, str] | None:
        """Find the texts of a request. Where it meets an avoided match, try to break each condition of that match."""
        patterns.work().take(2 + len(avoided))
        texts: dict[Part, str] = {}
        for part, conditions in inside.items():
            text = self._text(part, conditions, outside.get(part, frozenset()))
            if text is None:
                return None
            texts[part] = text
        met = next((c for c in avoided if all(texts_of(part).meets(c[part], texts[part]) for part in c)), None)
        if met is None:
            return texts
        for part, condition in met.items():
            tried = {**outside, part: outside.get(part, frozenset()) | {condition}}
            found = self._search(inside, tried, avoided)
            if found is not None:
                return found
        return None

    def _text(self, part: Part, inside: frozenset[TextMatch], outside: frozenset[TextMatch]) -> str | None:
        """Find a text that meets all of some conditions and none of others."""
        texts = texts_of(part)
        exact = next((condition.value for condition in inside if condition.kind == "exact"), None)
        if exact is not None:
            met = all(texts.meets(condition, exact) for condition in inside)
            return exact if met and not any(texts.meets(condition, exact) for condition in outside) else None
        if any(texts.covers(one, other) for one in outside for other in inside):
            return None
        near = [condition for condition in outside if not self._excluded(part, inside, condition)]
        wanted = [self._domain(part), *(texts.pattern(condition) for condition in inside)]
        unwanted = [texts.pattern(condition) for condition in near]
        text = patterns.example(wanted, unwanted)
        # Prefer a value that is not empty: it is easier to see in a report.
        return patterns.example([*wanted, ".+"], unwanted) or "" if text == "" else text

    def _domain(self, part: Part) -> str:
        """Return the pattern of the texts that a client can send for a part."""
        if part == PATH:
            return NORMAL_PATH if self.proxy.normalises_paths else _ANY_PATH
        query = _DECODED if self.proxy.decodes_parameters else _SENT
        return {"cookie": _COOKIE, "query": query}.get(part[0], _VALUE)

    def _request(self, texts: Mapping[Part, str]) -> Request:
        named = {
            what: [(name, text) for (kind, name), text in texts.items() if kind == what]
            for what in ("header", "cookie", "query", "source")
        }
        headers = named["header"]
        if named["cookie"]:
            headers.append(("cookie", "; ".join(f"{name}={value}" for name, value in named["cookie"])))
        query = named["query"]
        if self.proxy.decodes_parameters:
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


def request_text(request: Request) -> str:
    """Return a request in one line, such as `GET /a?q=1 with header x: 1`."""
    query = "&".join(f"{name}={value}" for name, value in request.query)
    text = f"{request.method} {request.path}{'?' if query else ''}{query}"
    named = [f"header {name}: {value}" for name, value in request.headers]
    named += [f"source {key}={value}" for key, value in request.source]
    if request.source_namespace:
        named.append(f"source namespace {request.source_namespace}")
    return f"{text} with {', '.join(named)}" if named else text
