"""Sources and operations of rules as sets of requests: which takes all that another one takes. Pure.

Every answer is safe: `covers` says True only if it is so, `may_meet` says False only if it is so.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..traffic.model import Port, TextMatch
from .evaluate import host_matches
from .model import Identity, Network, Operation, Rule, Source

EVERYTHING = Operation()
_KINDS = ("account", "namespace", "trust-domain", "mesh")


@dataclass(frozen=True, slots=True)
class Part:
    """One source with one operation of a rule: a rule takes what one of its parts takes."""

    rule: Rule
    source: Source
    operation: Operation


def parts(rules: Iterable[Rule]) -> Iterator[Part]:
    """Yield the parts of rules."""
    for rule in rules:
        for source in rule.sources:
            for operation in rule.operations or (EVERYTHING,):
                yield Part(rule, source, operation)


def part_covers(outer: Part, inner: Part, trust_domain: str) -> bool:
    """Return True if a part of a rule takes all that a part of another rule takes, about the same Service."""
    return (
        set(outer.rule.claims) <= set(inner.rule.claims)
        and source_covers(outer.source, inner.source, trust_domain)
        and operation_covers(outer.operation, inner.operation, inner.rule.service.ports)
    )


def source_covers(outer: Source, inner: Source, trust_domain: str) -> bool:
    """Return True if every caller of a source is one of another source."""
    if outer.identity and not (inner.identity and identity_covers(outer.identity, inner.identity, trust_domain)):
        return False
    return not outer.networks or (
        bool(inner.networks)
        and all(any(_network_covers(wide, one) for wide in outer.networks) for one in inner.networks)
    )


def identity_covers(outer: Identity, inner: Identity, trust_domain: str) -> bool:
    """Return True if whoever has an identity has another one too."""
    if outer.kind == "mesh":
        return True
    if _KINDS.index(outer.kind) < _KINDS.index(inner.kind):
        return False
    if (outer.trust_domain or trust_domain) != (inner.trust_domain or trust_domain):
        return False
    if outer.kind == "trust-domain":
        return True
    return outer.namespace == inner.namespace and outer.account in ("", inner.account)


def operation_covers(outer: Operation, inner: Operation, ports: Sequence[Port] = ()) -> bool:
    """Return True if an operation takes all that another one takes.

    Args:
        outer: The operation.
        inner: The other one.
        ports: The ports of the Service, for an operation that names none.
    """
    asked = (inner.port,) if inner.port else ports
    if outer.port and not (asked and all(port.container == outer.port.container for port in asked)):
        return False
    return (
        (not outer.methods or (bool(inner.methods) and set(inner.methods) <= set(outer.methods)))
        and (
            not outer.paths
            or (bool(inner.paths) and all(any(wide.covers(one) for wide in outer.paths) for one in inner.paths))
        )
        and (
            not outer.hosts
            or (bool(inner.hosts) and all(any(_host_covers(wide, one) for wide in outer.hosts) for one in inner.hosts))
        )
        and all(
            any(other == name and _text_covers(condition, own) for other, own in inner.headers)
            for name, condition in outer.headers
        )
    )


def may_meet(one: Operation, two: Operation) -> bool:
    """Return False if no request is one of both operations, by their ports, methods and paths."""
    if one.port and two.port and one.port.container != two.port.container:
        return False
    if one.methods and two.methods and not set(one.methods) & set(two.methods):
        return False
    return not (one.paths and two.paths) or any(a.intersection(b) for a in one.paths for b in two.paths)


def _network_covers(outer: Network, inner: Network) -> bool:
    wide, narrow = ipaddress.ip_network(outer.cidr), ipaddress.ip_network(inner.cidr)
    if wide.version != narrow.version or not _within(narrow, wide):
        return False
    left_out = [ipaddress.ip_network(part) for part in inner.excluded]
    return all(
        not hole.overlaps(narrow) or any(_within(hole, other) for other in left_out)
        for hole in map(ipaddress.ip_network, outer.excluded)
    )


_IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _within(inner: _IpNetwork, outer: _IpNetwork) -> bool:
    if isinstance(inner, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)


def _host_covers(outer: str, inner: str) -> bool:
    # A name below another one: `*.a.example` has a host of `*.a.example` only, and one below it.
    return outer == inner or (host_matches(outer, inner.removeprefix("*.")) if outer.startswith("*.") else False)


def _text_covers(outer: TextMatch, inner: TextMatch) -> bool:
    if outer.kind == "present":
        return True
    if outer.kind == "exact":
        return inner == outer
    return inner.kind in ("exact", "prefix") and inner.value.startswith(outer.value)
