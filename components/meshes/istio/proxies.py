"""How the Envoys of Istio read a request, and which version of Istio has which.

Sources: Envoy's release notes 1.38.4 and 1.39.0 with the runtime guards `match_headers_individually`,
`re2_use_latin1_mode` and `strip_dotdot_segments_with_parameters`, both sides of which were seen in Envoy 1.40.
"""

from __future__ import annotations

import re

from ...traffic.proxies import Proxy

_RUNE = rb"[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
_RUNES = re.compile(rb"(?:" + _RUNE + rb")*")
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
    """Return the characters that RE2 sees in UTF-8, or None for invalid UTF-8, which meets no pattern.

    Beyond ASCII, only how many there are matters, because patterns are ASCII. RE2's `.` takes overlong forms and
    surrogates of three bytes too.
    """
    if not _RUNES.fullmatch(value):
        return None
    return "".join(rune.decode("ascii") if len(rune) == 1 else _STRANGE for rune in re.findall(_RUNE, value))


def _bytes(value: bytes) -> str | None:
    return value.decode("latin-1")


def _envoy(title: str, *, joins_headers: bool, latin1: bool) -> Proxy:
    return Proxy(
        "Envoy",
        title,
        _bytes if latin1 else _code_points,
        joins_headers=joins_headers,
        always_joined=_ALWAYS_JOINED,
        normalises_paths=True,
        strips_dot_parameters=latin1,
        joins_http2_cookies=True,
    )


ENVOY_1_38 = _envoy("Envoy of Istio 1.29.0 to 1.29.6 and 1.30.0 to 1.30.3", joins_headers=True, latin1=False)
ENVOY_1_38_4 = _envoy("Envoy of Istio 1.29.7, 1.30.4 and later patches", joins_headers=True, latin1=True)
ENVOY_1_39 = _envoy("Envoy 1.39 of Istio 1.31 and later", joins_headers=False, latin1=True)

PROXIES = (
    ((1, 31, 0), ENVOY_1_39),
    ((1, 30, 4), ENVOY_1_38_4),
    ((1, 30, 0), ENVOY_1_38),
    ((1, 29, 7), ENVOY_1_38_4),
    ((1, 29, 0), ENVOY_1_38),
)
"""First version of Istio with each proxy, newest first. Istio 1.29, 1.30 and 1.31 build on Envoy 1.37, 1.38 and 1.39
(istio/test-infra, jobs of istio/proxy); 1.29.7 and 1.30.4 have the fixes of Envoy 1.38.4 (ISTIO-SECURITY-2026-006)."""
