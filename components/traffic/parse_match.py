"""Reading the conditions of a rule: path, method, headers, cookies, query parameters, source. Used by parse.py only."""

from __future__ import annotations

import re
from typing import cast

from ..diagnostics.reader import Reader, join, labels, one_of
from . import patterns
from .manifests import cookie_pattern
from .model import Match, TextMatch, TextMatchKind
from .overlap import canonical_path

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
MATCH_KEYS = ("path", "method", "headers", "cookies", "query", "source", "sourceNamespace", "grpc")
PATH_KINDS = ("exact", "prefix", "regex")
TEXT_KINDS = ("exact", "prefix", "regex", "present")
COOKIE_KINDS = ("exact", "prefix", "present")
MOST_CONDITIONS = 16
"""Gateway API v1.5.1: headers and query parameters per match."""
MOST_COOKIES = 2
"""Cookies share one header, and patterns without look-ahead must write out every order of them."""
LONGEST_NAME = 256
LONGEST_PATTERN = 500
LONGEST_COOKIE = 128
LONGEST_PATH = 1024
LONGEST_PREFIX = 500
LONGEST_REGEX = 1024
"""Istio's webhook takes no longer regular expression, and quoting may double a text (validateStringRegexp)."""
LONGEST_GRPC = 500
"""Each of service and method; together they are a path."""
LONGEST_VALUE = 4096
NEVER_THERE = ("keep-alive", "proxy-connection", "transfer-encoding")
"""Headers of the connection (RFC 9110, section 7.6.1) that Envoy was seen to remove whatever their value. Connection,
Upgrade and TE are there when a request asks for an upgrade, or for trailers."""
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_QUERY_VALUE = re.compile(r"[A-Za-z0-9._~!$'()*,;:@/-]{0,500}")
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_GRPC_SERVICE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_GRPC_METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TOKEN_ALLOWED = "1 to 256 letters, digits and !#$%&'*+.^_`|~-"  # noqa: S105 -- an HTTP token, no secret


def read_match(reader: Reader, value: object, where: str) -> Match | None:
    """One match, or None after a fault."""
    before = len(reader.faults)
    body = reader.mapping(value, where, MATCH_KEYS)
    if body is None:
        return None
    if not body:
        reader.fault("MSH103", where, {}, "The match has no condition.", remedy="Leave 'match' out for every request.")
    path = _path(reader, body["path"], join(where, "path")) if "path" in body else None
    method = reader.choice(body["method"], join(where, "method"), METHODS) if "method" in body else ""
    headers = _named(reader, body, "headers", where)
    cookies = _named(reader, body, "cookies", where)
    query = _named(reader, body, "query", where)
    if cookies and any(name == "cookie" for name, _ in headers):
        reader.fault("MSH113", where, ["headers.cookie", "cookies"], "Both are conditions on the header Cookie.")
    source = labels(reader, body["source"], join(where, "source")) if "source" in body else ()
    namespace: str | None = ""
    if "sourceNamespace" in body:
        namespace = reader.label(body["sourceNamespace"], join(where, "sourceNamespace"), "namespace")
    service, rpc = _grpc(reader, body, where)
    if len(reader.faults) > before:
        return None
    return Match(path, method or "", headers, cookies, query, source or (), namespace or "", service, rpc, where)


def is_everything(match: Match) -> bool:
    """True for a match that holds for every request."""
    rest = (match.method, match.headers, match.cookies, match.query, match.source, match.source_namespace)
    if any(rest) or match.grpc_service:
        return False
    return match.path is None or match.path == TextMatch("prefix", "/")


def path_fault(path: str) -> str:
    """What is wrong with a literal path, or "". The rules are those of the Gateway API v1.5.1 HTTPPathMatch."""
    if not path.startswith("/"):
        return "The path does not start with '/'."
    for part in ("//", "/./", "/../", "%2f", "%2F", "#", "?", " "):
        if part in path:
            return f"The path contains '{part}'."
    if path.endswith(("/.", "/..")):
        return "The path ends with '/.' or '/..'."
    if not _PATH.fullmatch(path):
        return "The path has a character that is not legal in one."
    read = canonical_path(path)
    return "" if read == path else f"Envoy reads the path as '{read}' before it compares."


def _path(reader: Reader, value: object, where: str) -> TextMatch | None:
    found = _text_match(reader, value, where, PATH_KINDS)
    if found is None or found.kind == "regex":
        return found
    if fault := path_fault(found.value):
        allowed = "a path that starts with '/', without '?', '#', '//', '/./' and '/../'"
        reader.fault("MSH118", where, found.value, fault, allowed)
        return None
    if found.kind == "prefix":
        # The Gateway API ignores a trailing slash of a prefix: whole segments count.
        return TextMatch("prefix", found.value.rstrip("/") or "/")
    return found


def _named(reader: Reader, body: dict[str, object], key: str, where: str) -> tuple[tuple[str, TextMatch], ...]:
    """Conditions by name: headers (names in lower case), cookies or query parameters."""
    if key not in body:
        return ()
    at = join(where, key)
    most = MOST_COOKIES if key == "cookies" else MOST_CONDITIONS
    found = reader.mapping(body[key], at) or {}
    if body[key] == {}:
        reader.fault("MSH103", at, {}, "There is no condition: every request would match.", remedy=f"Remove '{key}'.")
    if len(found) > most:
        reader.fault("MSH105", at, len(found), f"There are {len(found)} conditions.", f"at most {most}")
        return ()
    pairs: dict[str, TextMatch] = {}
    for name, raw in found.items():
        place = join(at, name)
        if not TOKEN.fullmatch(name):
            reader.fault("MSH119", place, name, "This is not a legal name.", TOKEN_ALLOWED)
            continue
        folded = name.lower() if key == "headers" else name
        if key == "headers" and folded == "host":
            message = "Linkerd sees no header Host in HTTP/2; the Service that is called is known by the route."
            reader.fault("MSH119", place, name, message, "any other header")
            continue
        if key == "headers" and folded in NEVER_THERE:
            message = "It belongs to the connection: the proxies remove it before they look for a rule."
            reader.fault("MSH119", place, name, message, "a header of the request")
            continue
        if folded in pairs:
            reader.fault("MSH113", place, name, f"The header '{folded}' stands twice; case does not count.")
        match = _text_match(reader, raw, place, COOKIE_KINDS if key == "cookies" else TEXT_KINDS)
        if match and key == "cookies" and not _COOKIE_VALUE.fullmatch(match.value):
            reader.fault("MSH104", place, match.value, "A cookie can't have this value.", "no blanks, quotes, ',', ';'")
        elif match and key == "query" and match.kind != "regex" and not _QUERY_VALUE.fullmatch(match.value):
            allowed = "letters, digits and -._~!$'()*,;:@/"
            reader.fault("MSH104", place, match.value, "Envoy compares this encoded, Linkerd decoded.", allowed)
        elif match:
            pairs[folded] = match
    named = tuple(sorted(pairs.items()))
    if key == "cookies" and len(cookie_pattern(named)) > LONGEST_REGEX:
        message = "Together the cookies make a regular expression that is too long."
        reader.fault("MSH105", at, len(cookie_pattern(named)), message, f"at most {LONGEST_REGEX} characters")
    return named


def _text_match(reader: Reader, value: object, where: str, kinds: tuple[str, ...]) -> TextMatch | None:
    """Text (compared exactly), or a mapping with exactly one kind of comparison."""
    if isinstance(value, str):
        value = {"exact": value}
    elif isinstance(value, (bool, int, float)):
        # YAML reads `x-beta: true` and `x-version: 2` as other types than the text that a request has.
        reader.text(value, where)
        return None
    body = reader.mapping(value, where, kinds)
    if body is None:
        return None
    if len(body) != 1:
        code = "MSH113" if body else "MSH103"
        reader.fault(code, where, sorted(body), "Exactly one comparison must be set.", one_of(kinds))
        return None
    ((kind, raw),) = body.items()
    at = join(where, kind)
    if kind == "present":
        if raw is not True:
            reader.fault("MSH104", at, raw, "'present' can only be true.", "true")
        return TextMatch("present")
    longest = LONGEST_VALUE if kind == "exact" else LONGEST_PATTERN
    if kinds == PATH_KINDS and kind != "regex":
        longest = LONGEST_PATH if kind == "exact" else LONGEST_PREFIX
    elif kinds == COOKIE_KINDS:
        longest = LONGEST_COOKIE
    text = reader.text(raw, at, longest=longest)
    if text and kind == "regex" and (fault := patterns.fault(text)):
        reader.fault("MSH120", at, text, fault, "what RE2 and Rust read the same, over ASCII; at most 500 characters")
    return TextMatch(cast(TextMatchKind, kind), text) if text else None


def _grpc(reader: Reader, body: dict[str, object], where: str) -> tuple[str, str]:
    """The gRPC service and method, "" for none."""
    if "grpc" not in body:
        return "", ""
    at = join(where, "grpc")
    for key in ("path", "method", "query"):
        if key in body:
            reader.fault("MSH113", at, ["grpc", key], f"'grpc' takes the place of '{key}': gRPC fixes path and method.")
    grpc = reader.mapping(body["grpc"], at, ("service", "method"), ("service",)) or {}
    names = {"service": "", "method": ""}
    for key in names:
        text = reader.text(grpc[key], join(at, key), longest=LONGEST_GRPC) if key in grpc else None
        if text and not (_GRPC_SERVICE if key == "service" else _GRPC_METHOD).fullmatch(text):
            reader.fault(
                "MSH104", join(at, key), text, "This is not a gRPC name.", "letters, digits and '_', dots in a service"
            )
        names[key] = text or ""
    return names["service"], names["method"]
