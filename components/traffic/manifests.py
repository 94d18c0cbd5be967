"""What the compilers share: names, patterns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import permutations

from ..manifests import Manifest
from .model import Destination, Match, TextMatch, TextMatchKind

_META = frozenset("\\.+*?()|[]{}^$")


def filled(entries: Manifest) -> Manifest:
    """Return the entries that have a value: neither None nor an empty text, list or mapping."""
    return {key: value for key, value in entries.items() if value is not None and value not in ("", [], {})}


def reference(item: Manifest) -> str:
    """`Kind/namespace/name`, as the outputs name objects."""
    return f"{item['kind']}/{item['metadata']['namespace']}/{item['metadata']['name']}"


def version_service_name(destination: Destination) -> str:
    """Return the Service that selects only the pods of one version, or the Service itself."""
    service = destination.service.name
    return f"{service}-{destination.version.name}" if destination.version else service


def egress_name(host: str) -> str:
    """Return the name of the objects for a host outside the mesh. A wildcard and a host never get the same."""
    return f"any-egress-{host[2:]}" if host.startswith("*.") else f"egress-{host}"


def quote(text: str) -> str:
    """Return the text as a literal in a regular expression that RE2 and Rust's regex crate read the same."""
    return "".join(f"\\{character}" if character in _META else character for character in text)


def written_as(condition: TextMatch, kinds: Collection[TextMatchKind]) -> TextMatch:
    """Return the condition in a kind of comparison that the API has, else as a regular expression."""
    if condition.kind in kinds:
        return condition
    return TextMatch("regex", quote(condition.value) + ".*")


def cookie_pattern(cookies: tuple[tuple[str, TextMatch], ...]) -> str:
    """Return a pattern for the whole Cookie header that holds when every cookie is there, in any order.

    Neither RE2 nor Rust has look-ahead, so the orders are written out; the parser allows at most three cookies.
    """
    parts = [f"{quote(name)}={_cookie_value(match)}" for name, match in cookies]
    orders = ["(?:; ?|;.*; ?)".join(order) for order in permutations(parts)]
    body = orders[0] if len(orders) == 1 else f"(?:{'|'.join(orders)})"
    return f"(?:.*; ?)?{body}(?:;.*)?"


def _cookie_value(match: TextMatch) -> str:
    if match.kind == "exact":
        return quote(match.value)
    return (quote(match.value) if match.kind == "prefix" else "") + "[^;]*"


def all_headers(match: Match) -> list[tuple[str, TextMatch]]:
    """Return the header conditions, with the cookies as one condition on the Cookie header; sorted by name."""
    headers = list(match.headers)
    if match.cookies:
        headers.append(("cookie", TextMatch("regex", cookie_pattern(match.cookies))))
        headers.sort(key=lambda pair: pair[0])
    return headers


def match_text(matches: Sequence[Match]) -> str:
    """Return the condition of a rule in words: `all`, or the alternatives joined by ` or `."""
    return " or ".join(_one_match_text(match) for match in matches) or "all"


def _one_match_text(match: Match) -> str:
    parts: list[str] = []
    if match.path:
        parts.append(f"path {match.path.kind} {match.path.value}")
    if match.method:
        parts.append(f"method {match.method}")
    if match.grpc_service:
        parts.append(f"grpc {match.grpc_service}/{match.grpc_method or '*'}")
    for what, pairs in (("header", match.headers), ("cookie", match.cookies), ("query", match.query)):
        parts.extend(f"{what} {name} {text.kind} {text.value}".rstrip() for name, text in pairs)
    parts.extend(f"source {key}={value}" for key, value in match.source)
    if match.source_namespace:
        parts.append(f"source namespace {match.source_namespace}")
    return " and ".join(parts) or "all"
