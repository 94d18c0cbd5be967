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

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from . import patterns
from .capability import ISTIO_ROUTE, LINKERD_ROUTE, Target
from .gateway_api import route_kind
from .linkerd import grouped
from .model import Destination, Match, Request, Route, Rule, TextMatch
from .overlap import EVERY_PATH, disjoint, method_of, path_matches, path_of
from .witness import PathLimit, Witnesses

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
    """A later rule that a target takes, or may take, for a request that an earlier one stands for.

    Attributes:
        earlier: The match of the first rule that the request meets.
        later: The match that the target prefers, with another outcome.
        tie: Whether the target prefers neither, and the older object wins.
        request: A request that shows it.
    """

    earlier: Atom
    later: Atom
    tie: bool
    request: Request


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
    """The pairs of rules whose order a target would not keep, each with a request; empty for targets that keep it.

    Args:
        route: The route.
        target: Where it is compiled to.
        other_linkerd: Rank as other versions of Linkerd's proxy do: a method before headers and query parameters.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    if target not in (ISTIO_ROUTE, LINKERD_ROUTE):
        return []
    listed = atoms(route, target)
    order = _Order(route, target, listed, other_linkerd=other_linkerd)
    found: dict[tuple[int, int], Inversion] = {}
    for second, later in enumerate(listed):
        for first, earlier in enumerate(listed[:second]):
            rules = (earlier.index, later.index)
            if earlier.index == later.index or rules in found:
                continue
            try:
                inversion = order.inversion(first, second)
            except patterns.TooMuchWork as error:
                error.between = (earlier.match.where or earlier.rule.where, later.match.where or later.rule.where)
                raise
            if inversion:
                found[rules] = inversion
    return list(found.values())


_ANY_LENGTH = 1 << 30
"""For a path that is longer than any prefix which it is below."""


class _Order:
    """How a target ranks the matches of a route.

    Only on Linkerd the rank depends on the path: what counts the whole path is ahead of every prefix that it is below,
    and no longer when the path is just the prefix.
    """

    def __init__(self, route: Route, target: Target, listed: Sequence[Atom], *, other_linkerd: bool) -> None:
        grpc = route_kind(route, target.mesh) == "GRPCRoute"
        self.listed = listed
        self.witnesses = Witnesses(target, [atom.match for atom in listed])
        self.conditions = [self.witnesses.conditions(atom.match) for atom in listed]
        self.outcomes = [outcome(atom.rule, atom.match) for atom in listed]
        by_path = target == LINKERD_ROUTE and not grpc
        prefixes = {atom.path.value for atom in listed if atom.path.kind == "prefix"} if by_path else set[str]()
        exact = [TextMatch("exact", prefix) for prefix in sorted(prefixes)]
        self.limits = [PathLimit(outside=tuple(exact)), *(PathLimit(inside=(one,)) for one in exact)]
        """The paths by what the ranks depend on: all but the prefixes, and each of these."""
        self.ranks = [
            [_rank(atom, target, length, grpc=grpc, other_linkerd=other_linkerd) for atom in listed]
            for length in (_ANY_LENGTH, *(len(one.value) for one in exact))
        ]
        self.takes = [{0, *(n for n, one in enumerate(exact, 1) if _takes(atom, one.value))} for atom in listed]
        """The numbers of those limits in which there may be a path that a match takes."""

    def inversion(self, first: int, second: int) -> Inversion | None:
        """How the target breaks the order of two matches, given by their positions."""
        patterns.work().take(3)
        earlier, later = self.listed[first], self.listed[second]
        if self.outcomes[first] == self.outcomes[second]:
            return None
        apart = earlier.group != later.group
        limits = [
            number
            for number in sorted(self.takes[first] & self.takes[second], reverse=True)
            if (ranks := self.ranks[number])[second] > ranks[first] or (apart and ranks[second] == ranks[first])
        ]
        if not limits or disjoint(earlier.match, later.match):
            return None
        met = (self.conditions[first], self.conditions[second])
        for number in limits:
            ranks = self.ranks[number]
            avoided = [self.conditions[n] for n in range(len(self.listed)) if self._ahead(n, first, second, ranks)]
            beside = [
                self.conditions[n]
                for n, atom in enumerate(self.listed)
                if ranks[n] == ranks[second] and atom.group != later.group and self.outcomes[n] != self.outcomes[second]
            ]
            # A request that shows a preference says more than one that shows a tie.
            if ranks[first] != ranks[second]:
                request = self.witnesses.find(met, [*avoided, *beside], self.limits[number])
                if request:
                    return Inversion(earlier, later, tie=False, request=request)
            if beside:
                request = self.witnesses.find(met, avoided, self.limits[number])
                if request:
                    return Inversion(earlier, later, tie=True, request=request)
        return None

    def _ahead(self, other: int, first: int, second: int, ranks: Sequence[Rank]) -> bool:
        """True if a further match would be taken before the first by the list, or before the second by the target."""
        atom, later = self.listed[other], self.listed[second]
        if atom.index < self.listed[first].index:
            return True
        if atom.index == later.index:
            return False
        return ranks[other] > ranks[second] or (
            ranks[other] == ranks[second] and atom.group == later.group and atom.index < later.index
        )


def _takes(atom: Atom, path: str) -> bool:
    return path_matches(path_of(atom.match), path)


def outcome(rule: Rule, match: Match) -> Hashable:
    """What becomes of a request that a rule takes by one of its matches: rules with the same one may change places."""
    weights: dict[Destination, int] = {}
    for backend in rule.backends:
        weights[backend.destination] = weights.get(backend.destination, 0) + backend.weight
    shares = frozenset((destination, weight) for destination, weight in weights.items() if weight)
    policies = (rule.timeout, rule.retry, rule.fault, rule.headers, rule.rewrite, rule.redirect, *rule.mirrors)
    # What is replaced of the path depends on the match.
    replaced = path_of(match) if rule.rewrite and rule.rewrite.prefix else None
    return shares, tuple(policy and replace(policy, where="") for policy in policies), rule.retried, replaced


def ranked(listed: Sequence[Atom], route: Route, target: Target, path: str) -> list[Atom]:
    """The matches in the order in which a target tries them for a path. Ties keep the order of the list."""
    if target not in (ISTIO_ROUTE, LINKERD_ROUTE):
        return list(listed)
    grpc = route_kind(route, target.mesh) == "GRPCRoute"
    return sorted(listed, key=lambda atom: _rank(atom, target, len(path), grpc=grpc), reverse=True)


def _rank(atom: Atom, target: Target, length: int, *, grpc: bool, other_linkerd: bool = False) -> Rank:
    """The rank of a match for a request whose path has `length` characters; the higher one is preferred."""
    if target == ISTIO_ROUTE:
        return _istio_rank(atom, grpc=grpc)
    if grpc:
        return _linkerd_grpc_rank(atom)
    headers, query, method = _headers(atom.match), len(atom.match.query), 1 if method_of(atom.match) else 0
    rest = (method, headers, query) if other_linkerd else (headers, query, method)
    return (len(atom.path.value) if atom.path.kind == "prefix" else length, *rest)


def _istio_rank(atom: Atom, *, grpc: bool) -> Rank:
    method = 1 if method_of(atom.match) else 0
    if grpc:
        # A GRPCRoute sets no method, and no path at all for every call.
        method = 0
        if not atom.match.grpc_service:
            return (-1, 0, 0, _headers(atom.match), 0)
    return (
        _KIND_RANK[atom.path.kind],
        len(atom.path.value),
        method,
        _headers(atom.match),
        len(atom.match.query),
    )


def _linkerd_grpc_rank(atom: Atom) -> Rank:
    return (len(atom.match.grpc_service), len(atom.match.grpc_method), _headers(atom.match))


def _headers(match: Match) -> int:
    """How many header conditions are written; the cookies are one of them."""
    return len(match.headers) + (1 if match.cookies else 0)
