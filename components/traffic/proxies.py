"""How a proxy reads a request before it compares it, and what arrives at a port, as data.

Which proxy a version of a mesh has is in components/meshes/.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_plus

from .model import Pairs
from .overlap import canonical_path

_DOT_PARAMETERS = re.compile(r"(?<=/)(\.\.?);[^/]*")


@dataclass(frozen=True, slots=True)
class Proxy:
    """How a proxy reads a request.

    Attributes:
        name: What it is called.
        title: The proxy and the versions of the mesh that have it.
        characters: The characters of a header's value that a pattern is compared with; None if no pattern takes it.
        decodes_parameters: Whether query parameters are decoded, and all values of a name count; else the first, as it
            is sent.
        joins_headers: Whether the values of a repeated header are compared as one text, joined by ",". Otherwise any
            of them may meet a condition.
        always_joined: The headers that are joined anyway.
        normalises_paths: Whether a path is normalised before it is compared.
        strips_dot_parameters: Whether `/..;x/` is read as `/../`.
        joins_http2_cookies: Whether the Cookie headers of an HTTP/2 request are joined by "; " first.
    """

    name: str
    title: str
    characters: Callable[[bytes], str | None]
    decodes_parameters: bool = False
    joins_headers: bool = False
    always_joined: frozenset[str] = field(default_factory=frozenset[str])
    normalises_paths: bool = False
    strips_dot_parameters: bool = False
    joins_http2_cookies: bool = False

    def path(self, path: str) -> str:
        """Return the path as it is compared."""
        if self.strips_dot_parameters:
            path = _DOT_PARAMETERS.sub(r"\1", path)
        return canonical_path(path) if self.normalises_paths else path

    def headers(self, headers: Pairs) -> dict[str, list[str]]:
        """Return the values that each header is compared by; any of them may meet a condition."""
        repeated: dict[str, list[str]] = {}
        for name, value in headers:
            repeated.setdefault(name, []).append(value)
        return {
            name: [",".join(values)] if self.joins_headers or name in self.always_joined else values
            for name, values in repeated.items()
        }

    def header_text(self, value: str) -> str | None:
        """Return the text of a header that patterns are compared with. A value is sent in UTF-8."""
        return self.characters(value.encode("utf-8", "surrogateescape"))

    def parameters(self, query: Pairs) -> dict[str, list[str]]:
        """Return the values that each query parameter is compared by; any of them may meet a condition."""
        if not self.decodes_parameters:
            return {name: [value] for name, value in reversed(query)}
        decoded: dict[str, list[str]] = {}
        for name, value in query:
            decoded.setdefault(unquote_plus(name), []).append(unquote_plus(value))
        return decoded


@dataclass(frozen=True, slots=True)
class PortReading:
    """How the proxies of a mesh read what arrives at a port of a Service.

    Attributes:
        kind: `requests`; `connections`, which no rule on requests reaches; or `detected`, by the first bytes.
        reason: Why, part of a sentence.
    """

    kind: Literal["requests", "connections", "detected"]
    reason: str
