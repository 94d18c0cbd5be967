"""Which Services an object decides on, be it compiled or from a cluster: so that two owners of routes find each other.

The names of objects do not tell: a VirtualService names its Services in `hosts`, an HTTPRoute in `parentRefs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ..manifests import Manifest

_CORE = ("", "core")


@dataclass(frozen=True, slots=True)
class Claim:
    """What an object decides for the requests to a Service.

    Attributes:
        host: The Service, by its full name.
        what: Where its requests go, or how connections to it are made.
        beside: Kinds that keep their effect beside it. Of any other kind, the mesh silently follows one of both.
    """

    host: str
    what: Literal["rules", "policies"] = "rules"
    beside: frozenset[str] = frozenset()


ClaimReader = Callable[[Manifest, str], Iterator[Claim]]
"""Reads the claims of an object, with the DNS domain of the cluster."""


def of_route(item: Manifest, domain: str) -> Iterator[Claim]:
    """Read the Services that a route of the Gateway API has as parents.

    The rules of several routes of a kind are joined, the most specific match first (Gateway API v1.5.1, HTTPRouteSpec).
    """
    spec: dict[str, Any] = item.get("spec") or {}
    parents: list[dict[str, Any]] = spec.get("parentRefs") or []
    for parent in parents:
        if parent.get("kind") == "Service" and parent.get("group") in _CORE:
            namespace = parent.get("namespace") or item["metadata"]["namespace"]
            yield Claim(f"{parent['name']}.{namespace}.svc.{domain}", beside=frozenset({item["kind"]}))
