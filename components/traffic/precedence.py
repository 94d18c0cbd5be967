"""Which rule takes a request: by the order of the list, or by what a target makes of it.

A description means its order: the first rule that matches. A VirtualService keeps it. HTTPRoutes have no order; each
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
    groups = {id(rule): number for number, rules in enumerate(target.groups(route)) for rule in rules}
    everywhere = target.every_path(route)
    listed: list[Atom] = []
    for index, rule in enumerate(route.rules):
        for match in rule.matches or (Match(),):
            path = path_of(match)
            listed.append(Atom(index, rule, match, everywhere if path == EVERY_PATH else path, groups[id(rule)]))
    return listed


def inversions(route: Route, target: Target, ranking: Ranking) -> list[Inversion]:
    """The pairs of rules whose order a ranking would not keep, each with a request.

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
"""For a path that is longer than any prefix which it is below."""


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
        """The paths by what the ranks depend on: all but the prefixes, and each of these."""
        lengths = (_ANY_LENGTH, *(len(one.value) for one in exact))
        self.ranks = [[ranking.rank(atom, length) for atom in listed] for length in lengths]
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
    rankings = target.rankings(route)
    return sorted(listed, key=lambda atom: rankings[0].rank(atom, len(path)), reverse=True) if rankings else [*listed]
