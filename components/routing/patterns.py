r"""Regular expressions as sets of texts: match, containment, disjointness. No backtracking, so no pattern is slow.

The syntax is what RE2 (Envoy) and Rust's regex crate (Linkerd) read the same, over ASCII: literals, `.`, classes,
`\d \w \s` and their complements, groups, alternatives, `* + ? {n,m}`. A pattern always means the whole text, as
both meshes use it. Containment and disjointness are decided on automata (Thompson's construction, subsets on the fly)
and are exact; only beyond `MOST_STATES` explored states the answer is the careful one.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

ALL = (1 << 128) - 1
"""Every ASCII character, as a bit mask."""
LINE = ALL & ~(1 << ord("\n"))
"""What `.` takes, and what a path or a header can have: every character but the line feed."""
BEYOND_ASCII = 1
"""Stands for every character beyond ASCII: no pattern can name it, so `.` and negated classes take it as they take
those."""
MOST_STATES = 4000
MOST_REPEATS = 1000
"""RE2's and Go's limit of a counted repetition, and of all that stand in each other together."""
MOST_DEPTH = 50


def _mask(characters: str) -> int:
    return sum(1 << ord(character) for character in set(characters))


_CLASSES = {
    "d": _mask(string.digits),
    "w": _mask(string.ascii_letters + string.digits + "_"),
    "s": _mask(" \t\n\f\r"),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}


class PatternError(ValueError):
    """The pattern is not one that both meshes read the same. The message says why."""


@dataclass(slots=True)
class _Node:
    """A part of a pattern: a set of characters, a sequence, alternatives or a repetition."""

    kind: str
    mask: int = 0
    parts: list[_Node] = field(default_factory=list["_Node"])
    least: int = 0
    most: int | None = None

    @property
    def copies(self) -> int:
        """How often the innermost part stands there when the counted repetitions around it are written out."""
        inner = max((part.copies for part in self.parts), default=1)
        return inner * max(1, self.least if self.most is None else self.most)


class _Reader:
    """Recursive descent over one pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0

    def read(self) -> _Node:
        if not self.pattern.isascii():
            raise PatternError("The pattern has characters beyond ASCII.")
        # A pattern always means the whole text: anchors at its ends say nothing more.
        if self.pattern.startswith("^"):
            self.position = 1
        node = self.alternatives(0)
        if self.peek("$") and self.position == len(self.pattern) - 1:
            self.position += 1
        if self.position < len(self.pattern):
            raise PatternError(f"There is an unexpected '{self.pattern[self.position]}' at {self.position}.")
        return node

    def peek(self, text: str) -> bool:
        return self.pattern.startswith(text, self.position)

    def take(self) -> str:
        if self.position >= len(self.pattern):
            raise PatternError("The pattern ends too early.")
        character = self.pattern[self.position]
        self.position += 1
        return character

    def alternatives(self, depth: int) -> _Node:
        if depth > MOST_DEPTH:
            raise PatternError("The pattern nests too deeply.")
        parts = [self.sequence(depth)]
        while self.peek("|"):
            self.position += 1
            parts.append(self.sequence(depth))
        return parts[0] if len(parts) == 1 else _Node("alternatives", parts=parts)

    def sequence(self, depth: int) -> _Node:
        parts: list[_Node] = []
        while self.position < len(self.pattern) and self.pattern[self.position] not in "|)$":
            parts.append(self.repetition(depth))
        return _Node("sequence", parts=parts)

    def repetition(self, depth: int) -> _Node:
        node = self.atom(depth)
        counts = self.count()
        if counts is None:
            return node
        if self.peek("?"):
            # Lazy or greedy makes no difference to whether the whole text matches.
            self.position += 1
        if self.position < len(self.pattern) and self.pattern[self.position] in "*+?{":
            raise PatternError("A repetition is repeated.")
        repeated = _Node("repetition", parts=[node], least=counts[0], most=counts[1])
        if repeated.copies > MOST_REPEATS:
            raise PatternError(f"Repetitions in each other come to more than {MOST_REPEATS} copies.")
        return repeated

    def count(self) -> tuple[int, int | None] | None:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.peek(sign):
                self.position += 1
                return counts
        if not self.peek("{"):
            return None
        end = self.pattern.find("}", self.position)
        least, comma, most = self.pattern[self.position + 1 : end].partition(",")
        if end < 0 or not least.isdecimal() or (most and not most.isdecimal()) or len(least) > 4 or len(most) > 4:  # noqa: PLR2004 -- digits
            raise PatternError("'{' does not begin a repetition such as {2} or {2,5}; write '\\{' for the character.")
        self.position = end + 1
        low = int(least)
        high = int(most) if most else (None if comma else low)
        if max(low, high or 0) > MOST_REPEATS or (high is not None and high < low):
            raise PatternError("The repetition is out of range.")
        return low, high

    def atom(self, depth: int) -> _Node:
        character = self.take()
        if character == "(":
            return self.group(depth)
        if character == "[":
            return _Node("set", self.character_class())
        if character == ".":
            return _Node("set", LINE)
        if character == "\\":
            return _Node("set", self.escape())
        if character in "*+?{":
            raise PatternError(f"There is nothing to repeat before '{character}'.")
        if character in "^}]":
            raise PatternError(f"There is a bare '{character}'; write '\\{character}' for the character.")
        return _Node("set", 1 << ord(character))

    def group(self, depth: int) -> _Node:
        if self.peek("?:"):
            self.position += 2
        elif self.peek("?"):
            raise PatternError("Of the groups with '?', only (?:...) is read the same by both meshes.")
        node = self.alternatives(depth + 1)
        if not self.peek(")"):
            raise PatternError("A group is not closed.")
        self.position += 1
        return node

    def escape(self) -> int:
        character = self.take()
        if character in _CLASSES:
            return _CLASSES[character]
        if character.lower() in _CLASSES:
            return ALL & ~_CLASSES[character.lower()]
        if character in _CONTROLS:
            return 1 << ord(_CONTROLS[character])
        if character in string.ascii_letters + string.digits + " <>" or not character.isprintable():
            raise PatternError(f"'\\{character}' is not read the same by both meshes.")
        return 1 << ord(character)

    def character_class(self) -> int:
        negated = self.peek("^")
        if negated:
            self.position += 1
        mask = 0
        while not self.peek("]") or mask == 0:
            if self.peek("]") or self.peek("["):
                raise PatternError("'[' and ']' must be escaped inside a class, and a class must not be empty.")
            mask |= self.class_item()
        self.position += 1
        return ALL & ~mask if negated else mask

    def class_item(self) -> int:
        first = self.class_character()
        if not self.peek("-") or self.pattern.startswith("-]", self.position):
            return first
        self.position += 1
        last = self.class_character()
        low, high = first.bit_length() - 1, last.bit_length() - 1
        if first != 1 << low or last != 1 << high or high < low:
            raise PatternError("A range of a class runs backwards or has a class at an end.")
        return sum(1 << code for code in range(low, high + 1))

    def class_character(self) -> int:
        character = self.take()
        if character == "\\":
            return self.escape()
        if character in "&~-" and self.peek(character):
            raise PatternError(f"'{character * 2}' in a class means something else to Linkerd; escape it.")
        return 1 << ord(character)


@dataclass(slots=True)
class Automaton:
    """A nondeterministic automaton: `jumps` without input, `steps` on a character of a mask."""

    jumps: list[list[int]] = field(default_factory=list[list[int]])
    steps: list[list[tuple[int, int]]] = field(default_factory=list[list[tuple[int, int]]])
    start: int = 0
    end: int = 0

    def state(self) -> int:
        """Adds a state."""
        if len(self.jumps) >= MOST_STATES:
            raise PatternError("The pattern is too large.")
        self.jumps.append([])
        self.steps.append([])
        return len(self.jumps) - 1

    def build(self, node: _Node, start: int) -> int:
        """Adds a part behind `start`; returns its last state."""
        if node.kind == "set":
            end = self.state()
            self.steps[start].append((node.mask, end))
            return end
        if node.kind == "sequence":
            for part in node.parts:
                start = self.build(part, start)
            return start
        if node.kind == "alternatives":
            end = self.state()
            for part in node.parts:
                first = self.state()
                self.jumps[start].append(first)
                self.jumps[self.build(part, first)].append(end)
            return end
        return self._repeat(node, start)

    def _repeat(self, node: _Node, start: int) -> int:
        part = node.parts[0]
        for _ in range(node.least):
            start = self.build(part, start)
        end = self.state()
        if node.most is None:
            loop = self.state()
            self.jumps[start].append(loop)
            self.jumps[self.build(part, loop)].append(loop)
            self.jumps[loop].append(end)
            return end
        for _ in range(node.most - node.least):
            self.jumps[start].append(end)
            start = self.build(part, start)
        self.jumps[start].append(end)
        return end

    def closure(self, states: frozenset[int]) -> frozenset[int]:
        """The states and all that they reach without input."""
        found = set(states)
        waiting = list(states)
        while waiting:
            for following in self.jumps[waiting.pop()]:
                if following not in found:
                    found.add(following)
                    waiting.append(following)
        return frozenset(found)

    def after(self, states: frozenset[int], mask: int) -> frozenset[int]:
        """The states behind any character of the mask."""
        reached = frozenset(end for state in states for step, end in self.steps[state] if step & mask)
        return self.closure(reached) if reached else reached


@lru_cache(maxsize=4096)
def automaton(pattern: str) -> Automaton:
    """The automaton of a pattern.

    Raises:
        PatternError: The pattern is not one that both meshes read the same.
    """
    found = Automaton()
    found.start = found.state()
    found.end = found.build(_Reader(pattern).read(), found.start)
    return found


def fault(pattern: str) -> str:
    """What is wrong with a pattern, or ""."""
    try:
        automaton(pattern)
    except PatternError as error:
        return str(error)
    return ""


def matches(pattern: str, text: str) -> bool:
    """True if the pattern takes the whole text. Only `.` and negated classes take a character beyond ASCII."""
    found = automaton(pattern)
    states = found.closure(frozenset((found.start,)))
    for character in text:
        states = found.after(states, 1 << (ord(character) if character.isascii() else BEYOND_ASCII))
        if not states:
            return False
    return found.end in states


def contains(outer: str, inner: str) -> bool:
    """True if it is proved that every text of `inner` is one of `outer`."""
    if outer == inner:
        return True
    return not any(in_inner and not in_outer for in_inner, in_outer in _walk(inner, outer, needs_both=False))


def disjoint(first: str, second: str) -> bool:
    """True if it is proved that no text matches both patterns."""
    return not any(in_first and in_second for in_first, in_second in _walk(first, second, needs_both=True))


def _walk(first: str, second: str, *, needs_both: bool) -> Iterator[tuple[bool, bool]]:
    """For every reachable pair of states: whether each pattern accepts there. Beyond the limit: (True, needs_both)."""
    a, b = automaton(first), automaton(second)
    begin = (a.closure(frozenset((a.start,))), b.closure(frozenset((b.start,))))
    seen = {begin}
    waiting = [begin]
    while waiting:
        if len(seen) > MOST_STATES:
            yield True, needs_both
            return
        in_a, in_b = waiting.pop()
        yield a.end in in_a, b.end in in_b
        for mask in _alphabet(
            [step for state in in_a for step, _ in a.steps[state]],
            [step for state in in_b for step, _ in b.steps[state]],
        ):
            pair = (a.after(in_a, mask), b.after(in_b, mask))
            if pair[0] and (pair[1] or not needs_both) and pair not in seen:
                seen.add(pair)
                waiting.append(pair)


def _alphabet(first: list[int], second: list[int]) -> list[int]:
    """The characters in classes that no step tells apart, one mask for each class that `first` takes a step on."""
    # Only a decoded parameter can have a line feed; patterns that differ in nothing else are taken to be equal.
    classes = [LINE]
    for mask in {*first, *second}:
        classes = [part for whole in classes for part in (whole & mask, whole & ~mask) if part]
    taken = 0
    for mask in first:
        taken |= mask
    return [part for part in classes if part & taken]
