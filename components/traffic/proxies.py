"""How the proxies of the meshes read a request before they compare it, as data. Used by `meshup explain`.

Sources: Envoy's release notes 1.38.4 and 1.39.0 with the runtime guards `match_headers_individually`,
`re2_use_latin1_mode` and `strip_dotdot_segments_with_parameters`, both sides of which were seen in Envoy 1.40;
linkerd2-proxy, linkerd/http/route (match/header.rs, match/query_param.rs). Which version of a mesh has which proxy is
in stacks/versions.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from .model import Mesh, Pairs
from .overlap import canonical_path

_DOT_PARAMETERS = re.compile(r"(?<=/)(\.\.?);[^/]*")
_RUNE = rb"[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
_RUNES = re.compile(rb"(?:" + _RUNE + rb")*")
_VISIBLE = re.compile(r"[\t -~]*")
_STRANGE = "\N{REPLACEMENT CHARACTER}"
_ALWAYS_JOINED = frozenset(
    (
        *("accept", "accept-encoding", "access-control-request-headers", "access-control-request-method"),
        *("authorization", "cache-control", "content-encoding", "content-type", "expect", "grpc-accept-encoding"),
        *("grpc-timeout", "if-match", "if-modified-since", "if-none-match", "origin", "pragma", "referer"),
        *("user-agent", "via", "x-client-trace-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port"),
        *("x-forwarded-proto", "x-request-id"),
    )
)
"""Headers that Envoy 1.40 was seen to keep as one text when they are repeated."""


def _code_points(value: bytes) -> str | None:
    """The characters that RE2 sees in UTF-8, or None: a text that is none meets no pattern.

    Beyond ASCII, only how many there are matters, because patterns are ASCII. RE2's `.` takes overlong forms and
    surrogates of three bytes too.
    """
    if not _RUNES.fullmatch(value):
        return None
    return "".join(rune.decode("ascii") if len(rune) == 1 else _STRANGE for rune in re.findall(_RUNE, value))


def _bytes(value: bytes) -> str | None:
    return value.decode("latin-1")


def _visible(value: bytes) -> str | None:
    """The text, or None unless it is visible ASCII (`HeaderValue::to_str` of Rust's http crate)."""
    text = value.decode("latin-1")
    return text if _VISIBLE.fullmatch(text) else None


def _first_as_sent(query: Pairs) -> dict[str, list[str]]:
    return {name: [value] for name, value in reversed(query)}


def _any_decoded(query: Pairs) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in query:
        found.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return found


@dataclass(frozen=True, slots=True)
class Proxy:
    """How a proxy reads a request.

    Attributes:
        title: The proxy and the versions of the mesh that have it.
        characters: The characters of a header's value that a pattern is compared with; None if no pattern takes it.
        parameters: The values that each query parameter is compared by; any of them may meet a condition.
        joins_headers: Whether the values of a repeated header are compared as one text, joined by ",". Otherwise any
            of them may meet a condition.
        always_joined: The headers that are joined anyway.
        normalises_paths: Whether a path is normalised before it is compared.
        strips_dot_parameters: Whether `/..;x/` is read as `/../`.
        joins_http2_cookies: Whether the Cookie headers of an HTTP/2 request are joined by "; " first.
    """

    title: str
    characters: Callable[[bytes], str | None]
    parameters: Callable[[Pairs], dict[str, list[str]]]
    joins_headers: bool = False
    always_joined: frozenset[str] = field(default_factory=frozenset[str])
    normalises_paths: bool = False
    strips_dot_parameters: bool = False
    joins_http2_cookies: bool = False

    def path(self, path: str) -> str:
        """The path as it is compared."""
        if self.strips_dot_parameters:
            path = _DOT_PARAMETERS.sub(r"\1", path)
        return canonical_path(path) if self.normalises_paths else path

    def headers(self, headers: Pairs) -> dict[str, list[str]]:
        """The values that each header is compared by; any of them may meet a condition."""
        found: dict[str, list[str]] = {}
        for name, value in headers:
            found.setdefault(name, []).append(value)
        return {
            name: [",".join(values)] if self.joins_headers or name in self.always_joined else values
            for name, values in found.items()
        }

    def header_text(self, value: str) -> str | None:
        """The text of a header that patterns are compared with. A value is sent in UTF-8."""
        return self.characters(value.encode("utf-8", "surrogateescape"))


def _envoy(title: str, *, joins_headers: bool, latin1: bool) -> Proxy:
    return Proxy(
        title,
        _bytes if latin1 else _code_points,
        _first_as_sent,
        joins_headers,
        _ALWAYS_JOINED,
        normalises_paths=True,
        strips_dot_parameters=latin1,
        joins_http2_cookies=True,
    )


ENVOY_1_38 = _envoy("Envoy of Istio 1.29.0 to 1.29.6 and 1.30.0 to 1.30.3", joins_headers=True, latin1=False)
ENVOY_1_38_4 = _envoy("Envoy of Istio 1.29.7, 1.30.4 and later patches", joins_headers=True, latin1=True)
ENVOY_1_39 = _envoy("Envoy 1.39 of Istio 1.31 and later", joins_headers=False, latin1=True)
LINKERD = Proxy("linkerd2-proxy", _visible, _any_decoded)

PROXIES: dict[Mesh, tuple[Proxy, ...]] = {
    "istio": (ENVOY_1_38, ENVOY_1_38_4, ENVOY_1_39),
    "linkerd": (LINKERD,),
}
"""The proxies of each mesh that read requests differently. The first is that of the pinned version."""
