"""Precedence of rules: by the order of the list, or by the ranking of a target.

In the configuration, the first matching rule wins. A VirtualService keeps this order. HTTPRoutes have none; each
mesh ranks their matches by rules of its own (`Target.rankings`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from . import patterns
from .model import Destination, Match, Request, Route, Rule, TextMatch
from .overlap import EVERY_PATH, disjoint, path_matches, path_of
from .targets import Atom, Rank, Ranking, Target
from .witness import PathLimit, Witnesses


@dataclass(frozen=True, slots=True)
class Inversion:
    """A later rule that a target prefers, or may prefer, to an earlier one for some request.

    Attributes:
        earlier: The match of the first rule that the request meets.
        later: The match that the target prefers, whose rule has another outcome.
        tie: Whether the target ranks both equally, so that the older object wins.
        request: A request that shows it.
    """

    earlier: Atom
    later: Atom
    tie: bool
    request: Request


def atoms(route: Route, target: Target) -> list[Atom]:
    """Return the matches of all rules, in the order of the list."""
    groups = {id(rule): number for number, rules in enumerate(target.groups(route)) for rule in rules}
    everywhere = target.every_path(route)
    listed: list[Atom] = []
    for index, rule in enumerate(route.rules):
        for match in rule.matches or (Match(),):
            path = path_of(match)
            listed.append(Atom(index, rule, match, everywhere if path == EVERY_PATH else path, groups[id(rule)]))
    return listed


def inversions(route: Route, target: Target, ranking: Ranking) -> list[Inversion]:
    """Return the pairs of rules whose order a ranking inverts, each with a request.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    listed = atoms(route, target)
    order = _Order(target, listed, ranking)
    by_rules: dict[tuple[int, int], Inversion] = {}
    for second, later in enumerate(listed):
        for first, earlier in enumerate(listed[:second]):
            rules = (earlier.index, later.index)
            if earlier.index == later.index or rules in by_rules:
                continue
            try:
                inversion = order.inversion(first, second)
            except patterns.TooMuchWork as error:
                error.between = (earlier.match.where or earlier.rule.where, later.match.where or later.rule.where)
                raise
            if inversion:
                by_rules[rules] = inversion
    return list(by_rules.values())


_ANY_LENGTH = 1 << 30
"""Rank of a path that is longer than any prefix of it."""


class _Order:
    """How a target ranks the matches of a route."""

    def __init__(self, target: Target, listed: Sequence[Atom], ranking: Ranking) -> None:
        self.listed = listed
        self.witnesses = Witnesses(target.plane.pinned, [atom.match for atom in listed])
        self.conditions = [self.witnesses.conditions(atom.match) for atom in listed]
        self.outcomes = [outcome(atom.rule, atom.match) for atom in listed]
        prefixes = {atom.path.value for atom in listed if ranking.by_path and atom.path.kind == "prefix"}
        exact = [TextMatch("exact", prefix) for prefix in sorted(prefixes)]
        self.limits = [PathLimit(outside=tuple(exact)), *(PathLimit(inside=(one,)) for one in exact)]
        """Classes of paths on which ranks depend: all but the prefixes, and each prefix."""
        lengths = (_ANY_LENGTH, *(len(one.value) for one in exact))
        self.ranks = [[ranking.rank(atom, length) for atom in listed] for length in lengths]
        self.takes = [{0, *(n for n, one in enumerate(exact, 1) if _takes(atom, one.value))} for atom in listed]
        """The indices of the limits that may contain a path of a match."""

    def inversion(self, first: int, second: int) -> Inversion | None:
        """Return how the target inverts two matches, given by their positions."""
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
            # Report a preference rather than a tie.
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
        """Return True if another match precedes the first in the list, or the second in the target's ranking."""
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
    """Return the outcome of a request for a match of a rule: rules with equal outcomes may be swapped."""
    weights: dict[Destination, int] = {}
    for backend in rule.backends:
        weights[backend.destination] = weights.get(backend.destination, 0) + backend.weight
    shares = frozenset((destination, weight) for destination, weight in weights.items() if weight)
    policies = (rule.timeout, rule.retry, rule.fault, rule.headers, rule.rewrite, rule.redirect, *rule.mirrors)
    # The replaced part of the path depends on the match.
    replaced = path_of(match) if rule.rewrite and rule.rewrite.prefix else None
    return shares, tuple(policy and replace(policy, where="") for policy in policies), rule.retried, replaced


def ranked(listed: Sequence[Atom], route: Route, target: Target, path: str) -> list[Atom]:
    """Return the matches in the order in which a target tries them for a path. Ties keep the order of the list."""
    rankings = target.rankings(route)
    return sorted(listed, key=lambda atom: rankings[0].rank(atom, len(path)), reverse=True) if rankings else [*listed]
