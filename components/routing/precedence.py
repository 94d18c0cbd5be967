"""Which rule takes a request: by the order of the list, or by what each target makes of it.

A description means its order: the first rule that matches. A VirtualService keeps it. HTTPRoutes have no order; each
mesh ranks their matches by rules of its own:

* Istio 1.30 (pilot, sortHTTPRoutes): exact before prefix before regex, then the longer text, then a method, then more
headers, then more
  query parameters, then the order of the list.
* Linkerd edge-26.8.3 (linkerd/http/route and observed): the longer matched part of the path, where exact and regex
count the whole
  path; then more headers, more query parameters, a method; then the order of the list within one object. Other
  versions of the proxy rank a method before headers and query parameters (linkerd2-proxy 3865944); what was observed
  holds. For gRPC: the longer service, the longer method, more headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.routing import patterns
from components.routing.capability import ISTIO_ROUTE, LINKERD_ROUTE, Target
from components.routing.gateway_api import route_kind
from components.routing.linkerd import grouped
from components.routing.manifests import all_headers, quote
from components.routing.model import Match, Route, Rule, TextMatch
from components.routing.overlap import EVERY_PATH, disjoint, method_of, path_of

Rank = tuple[int, ...]
_KIND_RANK = {"exact": 3, "prefix": 2, "regex": 1}
EVERY_PATH_AS_REGEX = TextMatch("regex", ".*")
"""As short as can be, because Istio prefers the longer pattern."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One match of one rule, as a target sees it.

    Attributes:
        index: Position of the rule in the list.
        rule: The rule.
        match: The match; one without conditions for a rule that takes everything.
        path: The path condition that is compiled.
        group: Number of the object that carries it.
    """

    index: int
    rule: Rule
    match: Match
    path: TextMatch
    group: int = 0


@dataclass(frozen=True, slots=True)
class Inversion:
    """A later rule that a target prefers to an earlier one, for requests that both match."""

    earlier: Atom
    later: Atom
    tie: bool


def atoms(route: Route, target: Target) -> list[Atom]:
    """The matches of all rules, in the order of the list."""
    groups: dict[int, int] = {}
    if target == LINKERD_ROUTE:
        groups = {id(rule): number for number, (_, _, rules) in enumerate(grouped(route)) for rule in rules}
    everywhere = every_path(route, target)
    found: list[Atom] = []
    for index, rule in enumerate(route.rules):
        for match in rule.matches or (Match(),):
            path = path_of(match)
            found.append(Atom(index, rule, match, everywhere if path == EVERY_PATH else path, groups.get(id(rule), 0)))
    return found


def every_path(route: Route, target: Target) -> TextMatch:
    """How "every path" is written. Istio ranks any prefix above any regex, so beside a regex it must be one too."""
    if target == ISTIO_ROUTE and any(
        match.path and match.path.kind == "regex" for rule in route.rules for match in rule.matches
    ):
        return EVERY_PATH_AS_REGEX
    return EVERY_PATH


def inversions(route: Route, target: Target, *, other_linkerd: bool = False) -> list[Inversion]:
    """The pairs of rules whose order a target would not keep. Empty for targets that keep the order.

    Args:
        route: The route.
        target: Where it is compiled to.
        other_linkerd: Rank as other versions of Linkerd's proxy do: a method before headers and query parameters.
    """
    if target not in (ISTIO_ROUTE, LINKERD_ROUTE):
        return []
    listed = atoms(route, target)
    grpc = route_kind(route, target.mesh) == "GRPCRoute"
    found: list[Inversion] = []
    for position, later in enumerate(listed):
        for earlier in listed[:position]:
            if earlier.index == later.index:
                continue
            order = _compare(earlier, later, target, grpc=grpc, other_linkerd=other_linkerd)
            tie = order == 0 and earlier.group != later.group
            if (order < 0 or tie) and not disjoint(earlier.match, later.match):
                found.append(Inversion(earlier, later, tie))
    return found


def ranked(listed: Sequence[Atom], route: Route, target: Target, path: str) -> list[Atom]:
    """The matches in the order in which a target tries them for a path. Ties keep the order of the list."""
    if target not in (ISTIO_ROUTE, LINKERD_ROUTE):
        return list(listed)
    grpc = route_kind(route, target.mesh) == "GRPCRoute"
    return sorted(listed, key=lambda atom: _rank(atom, target, len(path), grpc=grpc), reverse=True)


def _rank(atom: Atom, target: Target, length: int, *, grpc: bool) -> Rank:
    """The rank of a match for a request whose path has `length` characters; the higher one is preferred."""
    if target == ISTIO_ROUTE:
        return _istio_rank(atom, grpc=grpc)
    if grpc:
        return _linkerd_grpc_rank(atom)
    return (len(atom.path.value) if atom.path.kind == "prefix" else length, *_linkerd_rest(atom))


def _istio_rank(atom: Atom, *, grpc: bool) -> Rank:
    method = 1 if method_of(atom.match) else 0
    if grpc:
        # A GRPCRoute sets no method, and no path at all for every call.
        method = 0
        if not atom.match.grpc_service:
            return (-1, 0, 0, len(all_headers(atom.match)), 0)
    return (
        _KIND_RANK[atom.path.kind],
        len(atom.path.value),
        method,
        len(all_headers(atom.match)),
        len(atom.match.query),
    )


def _linkerd_grpc_rank(atom: Atom) -> Rank:
    return (len(atom.match.grpc_service), len(atom.match.grpc_method), len(all_headers(atom.match)))


def _linkerd_rest(atom: Atom) -> Rank:
    return (len(all_headers(atom.match)), len(atom.match.query), 1 if method_of(atom.match) else 0)


def _compare(earlier: Atom, later: Atom, target: Target, *, grpc: bool, other_linkerd: bool) -> int:
    """The worst case over the requests that both match: 1 the earlier is preferred, 0 a tie, -1 the later may be."""
    if target == ISTIO_ROUTE:
        return _sign(_istio_rank(earlier, grpc=grpc), _istio_rank(later, grpc=grpc))
    if grpc:
        return _sign(_linkerd_grpc_rank(earlier), _linkerd_grpc_rank(later))
    return _compare_on_linkerd(earlier, later, other_linkerd=other_linkerd)


def _compare_on_linkerd(earlier: Atom, later: Atom, *, other_linkerd: bool) -> int:
    rests = _linkerd_rest(earlier), _linkerd_rest(later)
    if other_linkerd:
        rests = (rests[0][2:] + rests[0][:2]), (rests[1][2:] + rests[1][:2])
    rest = _sign(*rests)
    first, second = earlier.path, later.path
    if first.kind == "prefix" and second.kind == "prefix":
        return _sign((len(first.value),), (len(second.value),)) or rest
    if first.kind == "prefix":
        return -1 if _reaches_below(second, first.value) else rest
    if second.kind == "prefix" and not _takes(first, second.value):
        # The earlier one counts the whole path: it is ahead, unless the path can be just the prefix.
        return 1
    return rest


def _takes(condition: TextMatch, path: str) -> bool:
    """True if an exact path or a regex takes this path."""
    return condition.value == path if condition.kind == "exact" else patterns.matches(condition.value, path)


def _reaches_below(condition: TextMatch, prefix: str) -> bool:
    """True if an exact path or a regex may take a path that is longer than the prefix and below it."""
    below = "/.+" if prefix == "/" else f"{quote(prefix)}/.*"
    if condition.kind == "exact":
        return patterns.matches(below, condition.value)
    return not patterns.disjoint(condition.value, below)


def _sign(first: Rank, second: Rank) -> int:
    return (first > second) - (first < second)
