r"""Regular expressions as sets of texts: match, containment, disjointness, an example. No backtracking.

The syntax is what RE2 (Envoy) and Rust's regex crate (Linkerd) read the same, in ASCII: literals, `.`, classes,
`\d \w \s` and their complements, groups, alternatives, `* + ? {n,m}`. A pattern must match the whole text, as in both
meshes. `\d \w \s` are those of RE2, which are ASCII; `rust` writes a pattern so that Rust reads them so.

All answers are exact. They are decided on automata: one state for each character of the pattern with its repetitions
expanded (Glushkov's construction), sets of states as integers, and products of automata only as far as a question
needs them. The work is limited (`counted`), because short patterns can take exponential time.
"""

from __future__ import annotations

import re
import string
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf

BEYOND = 1 << 128
"""Any character beyond ASCII; no pattern distinguishes two of them."""
ALL = (BEYOND << 1) - 1
"""Every character, as a bit mask: one bit for each of ASCII, one for all others."""
MOST_SIZE = 4000
"""Largest size of a pattern with its repetitions expanded. Rust's regex crate stops at 10 MiB, which no pattern of
this size reaches when its classes are ASCII (tests/unit/traffic/test_patterns.py)."""
MOST_REPEATS = 1000
"""RE2's and Go's limit of a counted repetition, and of nested ones multiplied."""
MOST_DEPTH = 50
MOST_STEPS = 1_000_000
"""Steps of work on the questions of one compilation; each takes about a microsecond."""
_RANGES = 16
_MOST_SHIFTS = 64
_PLAIN = string.ascii_lowercase + string.digits + string.ascii_uppercase + "/-_.~!$&'()*+,;=:@%?#[] \"<>\\^`{|}"
_CHARACTERS = _PLAIN + "".join(chr(code) for code in range(128) if chr(code) not in _PLAIN + "\n") + "é"
"""The characters of examples, plain ones first: all but the line feed, which `[^a]` matches and `.` does not, and which
no header or path contains."""
_CODES = [min(ord(character), 128) for character in _CHARACTERS]


def _mask(characters: str) -> int:
    return sum(1 << ord(character) for character in set(characters))


_CLASSES = {
    "d": _mask(string.digits),
    "w": _mask(string.ascii_letters + string.digits + "_"),
    "s": _mask(" \t\n\f\r"),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_META = frozenset("\\.+*?()|[]{}^$")
_CLASS_META = frozenset("\\[]^-&~")
_ANY = ALL & ~_mask("\n")
"""The characters that `.` matches in RE2 and Rust."""
_SIGNS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
# Laziness does not affect whether the whole text matches.
_COUNT = re.compile(r"(?:(?P<sign>[*+?])|\{(?P<least>\d{1,4})(?P<comma>,(?P<most>\d{0,4}))?\})\??")


class PatternError(ValueError):
    """Both meshes do not interpret the pattern in the same way. The message says why."""


class TooMuchWork(Exception):  # noqa: N818 -- a limit, no error of the program
    """Comparing the patterns of a compilation takes more than MOST_STEPS steps.

    Attributes:
        patterns: The most expensive patterns, in descending order.
        between: Paths in the configuration of the matches that were compared, if they are known.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        super().__init__(f"more than {MOST_STEPS} steps")
        self.patterns = tuple(patterns)
        self.between: tuple[str, ...] = ()


@dataclass(slots=True)
class Work:
    """Steps and cached answers of questions about patterns.

    Attributes:
        most: Limit of steps, above which TooMuchWork is raised.
        steps: Steps so far.
        by_pattern: Steps that each pattern took.
    """

    most: int = MOST_STEPS
    steps: int = 0
    by_pattern: dict[str, int] = field(default_factory=dict[str, int])
    automata: dict[str, Automaton] = field(default_factory=dict[str, "Automaton"])
    behinds: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    matched: dict[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])
    examples: dict[_Question, str | None] = field(default_factory=dict["_Question", "str | None"])

    def take(self, steps: int, *patterns: str) -> None:
        """Count steps.

        Raises:
            TooMuchWork: There are too many.
        """
        self.steps += steps
        for pattern in patterns:
            self.by_pattern[pattern] = self.by_pattern.get(pattern, 0) + steps
        if self.steps > self.most:
            ranked = sorted(self.by_pattern, key=lambda pattern: (-self.by_pattern[pattern], pattern))
            raise TooMuchWork(ranked[:2])

    def automaton(self, pattern: str) -> Automaton:
        """Return the automaton of a pattern."""
        if pattern not in self.automata:
            self.automata[pattern] = _cached_automaton(pattern)
            self.take(self.automata[pattern].built, pattern)
        return self.automata[pattern]

    def behind(self, automaton: Automaton, states: int) -> int:
        """Return the successors of a set of states of an automaton."""
        key = (automaton.pattern, states)
        if key not in self.behinds:
            self.take(automaton.cost, automaton.pattern)
            self.behinds[key] = automaton.behind(states)
        return self.behinds[key]


_Question = tuple[tuple[str, ...], tuple[str, ...]]
_current: ContextVar[Work | None] = ContextVar("work", default=None)


@contextmanager
def counted() -> Generator[Work]:
    """Count the work of all questions inside and cache their answers. A nested context adds to the outer one."""
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    token = _current.set(Work())
    try:
        yield work()
    finally:
        _current.reset(token)


def work() -> Work:
    """Return the work of the enclosing `counted`, or, outside of it, that of a single question."""
    return _current.get() or Work()


@dataclass(slots=True)
class Node:
    """A part of a pattern: a set of characters, a sequence, alternatives or a repetition."""

    kind: str
    mask: int = 0
    parts: list[Node] = field(default_factory=list["Node"])
    least: int = 0
    most: int | None = None

    @property
    def copies(self) -> int:
        """Copies of the innermost part after expanding the counted repetitions around it."""
        inner = max((part.copies for part in self.parts), default=1)
        return inner * max(1, self.least if self.most is None else self.most)

    @property
    def size(self) -> int:
        """Characters and operators after expanding repetitions; a class of many ranges counts several times."""
        if self.kind == "set":
            return 1 + (self.mask & ~(self.mask << 1)).bit_count() // _RANGES
        inner = sum(part.size for part in self.parts)
        if self.kind == "repetition":
            return 1 + (inner * self.most if self.most is not None else inner * (self.least + 1) + 1)
        return inner + (1 + len(self.parts) if self.kind == "alternatives" else 0)


class _Reader:
    """Recursive descent over one pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0

    def read(self) -> Node:
        if not self.pattern.isascii():
            raise PatternError("The pattern has characters beyond ASCII.")
        # A pattern always matches the whole text: anchors at its ends are redundant.
        self.accept("^")
        node = self.alternatives(0)
        if self.position == len(self.pattern) - 1:
            self.accept("$")
        if self.next:
            raise PatternError(f"There is an unexpected '{self.next}' at {self.position}.")
        return node

    @property
    def next(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def accept(self, text: str) -> bool:
        found = self.pattern.startswith(text, self.position)
        self.position += len(text) if found else 0
        return found

    def take(self) -> str:
        if not self.next:
            raise PatternError("The pattern ends too early.")
        self.position += 1
        return self.pattern[self.position - 1]

    def alternatives(self, depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise PatternError("The pattern nests too deeply.")
        parts = [self.sequence(depth)]
        while self.accept("|"):
            parts.append(self.sequence(depth))
        return parts[0] if len(parts) == 1 else Node("alternatives", parts=parts)

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.next not in ("", "|", ")", "$"):
            parts.append(self.repetition(depth))
        return Node("sequence", parts=parts)

    def repetition(self, depth: int) -> Node:
        node = self.atom(depth)
        found = _COUNT.match(self.pattern, self.position)
        if found is None:
            if self.next == "{":
                raise PatternError(
                    "'{' does not begin a repetition such as {2} or {2,5}; write '\\{' for the character."
                )
            return node
        self.position = found.end()
        if self.next and self.next in "*+?{":
            raise PatternError("A repetition is repeated.")
        if found["sign"]:
            least, most = _SIGNS[found["sign"]]
        else:
            least = int(found["least"])
            most = int(found["most"]) if found["most"] else None if found["comma"] else least
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise PatternError("The repetition is out of range.")
        repeated = Node("repetition", parts=[node], least=least, most=most)
        if repeated.copies > MOST_REPEATS:
            raise PatternError(f"Repetitions in each other come to more than {MOST_REPEATS} copies.")
        return repeated

    def atom(self, depth: int) -> Node:
        character = self.take()
        if character == "(":
            return self.group(depth)
        if character == "[":
            return Node("set", self.character_class())
        if character == ".":
            return Node("set", _ANY)
        if character == "\\":
            return Node("set", self.escape())
        if character in "*+?{":
            raise PatternError(f"There is nothing to repeat before '{character}'.")
        if character in "^}]":
            raise PatternError(f"There is a bare '{character}'; write '\\{character}' for the character.")
        return Node("set", 1 << ord(character))

    def group(self, depth: int) -> Node:
        if not self.accept("?:") and self.next == "?":
            raise PatternError("Of the groups with '?', only (?:...) is read the same by both meshes.")
        node = self.alternatives(depth + 1)
        if not self.accept(")"):
            raise PatternError("A group is not closed.")
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
        negated = self.accept("^")
        mask = 0
        while not (mask and self.accept("]")):
            if self.next in ("[", "]"):
                raise PatternError("'[' and ']' must be escaped inside a class, and a class must not be empty.")
            mask |= self.class_item()
        mask = ALL & ~mask if negated else mask
        if not mask:
            raise PatternError("No character is in the class.")
        return mask

    def class_item(self) -> int:
        first = self.class_character()
        if self.next != "-" or self.pattern.startswith("-]", self.position):
            return first
        self.position += 1
        last = self.class_character()
        if first.bit_count() != 1 or last.bit_count() != 1 or last < first:
            raise PatternError("A range of a class runs backwards or has a class at an end.")
        return 2 * last - first

    def class_character(self) -> int:
        character = self.take()
        if character == "\\":
            return self.escape()
        if character in "&~-" and self.next == character:
            raise PatternError(f"'{character * 2}' in a class means something else to Linkerd; escape it.")
        return 1 << ord(character)


@lru_cache(maxsize=4096)
def tree(pattern: str) -> Node:
    """Parse a pattern.

    Raises:
        PatternError: The pattern is not one that both meshes read the same.
    """
    node = _Reader(pattern).read()
    if node.size > MOST_SIZE:
        raise PatternError("The pattern is too large when its repetitions are written out.")
    return node


def fault(pattern: str) -> str:
    """Return what is wrong with a pattern, or ""."""
    try:
        tree(pattern)
    except PatternError as error:
        return str(error)
    return ""


def rust(pattern: str) -> str:
    r"""Return the pattern for Rust's regex crate. Its `\d \w \s`, Unicode and 40 times as large, are replaced.

    Raises:
        PatternError: The pattern is not one that both meshes read the same.
    """
    return _unparse(tree(pattern))


def _unparse(node: Node) -> str:
    if node.kind == "set":
        return _unparse_set(node.mask)
    parts = [_unparse(part) for part in node.parts]
    if node.kind == "alternatives":
        return f"(?:{'|'.join(parts)})"
    if node.kind == "sequence":
        return "".join(parts)
    inner = f"(?:{parts[0]})" if node.parts[0].kind in ("sequence", "repetition") else parts[0]
    signs = {counts: sign for sign, counts in _SIGNS.items()}
    most = "" if node.most is None else node.most
    written = f"{{{node.least}}}" if node.least == node.most else f"{{{node.least},{most}}}"
    return inner + signs.get((node.least, node.most), written)


def _unparse_set(mask: int) -> str:
    if mask == _ANY:
        return "."
    if mask == ALL:
        return "(?s:.)"
    if mask.bit_count() == 1:
        return _unparse_character(mask.bit_length() - 1, _META)
    ranges: list[list[int]] = []
    for code in _bit_positions(ALL & ~mask if mask & BEYOND else mask):
        if ranges and ranges[-1][-1] == code - 1:
            ranges[-1].append(code)
        else:
            ranges.append([code])
    parts: list[str] = []
    for codes in ranges:
        ends = [_unparse_character(code, _CLASS_META) for code in dict.fromkeys((codes[0], codes[-1]))]
        parts.append(("-" if len(codes) > 2 else "").join(ends))  # noqa: PLR2004 -- both ends
    return f"[{'^' if mask & BEYOND else ''}{''.join(parts)}]"


def _unparse_character(code: int, meta: frozenset[str]) -> str:
    character = chr(code)
    if not character.isprintable():
        return f"\\x{code:02x}"
    return f"\\{character}" if character in meta else character


class Automaton:
    """A pattern as states, one for each of its characters: a state is reached by reading its character.

    Attributes:
        pattern: The pattern.
        states: Number of states. Sets of states are integers; state 0 is the start.
        shifts: By distance, the states with a successor at that distance. Copies of a part are alike,
            so one shift serves all of them.
        jumps: By target states, the source states of links that would take many shifts.
        ends: The accepting states.
        lengths: The length of the shortest text and of the longest.
        sample: One of the shortest texts.
        masks: The sets of characters in the pattern, each once.
        readers: For each character, the states that it leads to.
        built: Steps that it took to build.
        cost: Steps that `behind` takes.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.states = 1
        self.shifts: dict[int, int] = {}
        self.jumps: dict[int, int] = {}
        self.built = 100
        self._by_mask: dict[int, int] = {}
        node = tree(pattern)
        nullable, first, last = self._add(node)
        self.lengths, self.sample = _lengths(node), _sample(node)
        self._link(1, first)
        self.ends = last | nullable
        self.masks = tuple(self._by_mask)
        self.cost = 2 + len(self.jumps) + len(self.shifts) + self.states // 100
        self.readers = [
            sum(states for mask, states in self._by_mask.items() if mask >> code & 1)
            for code in range(ALL.bit_length())
        ]

    def _add(self, node: Node) -> tuple[bool, int, int]:
        """Add the states of a part; return whether it takes the empty text, its first states and its last ones."""
        if node.kind == "set":
            state = 1 << self.states
            self.states += 1
            self._by_mask[node.mask] = self._by_mask.get(node.mask, 0) | state
            return False, state, state
        if node.kind == "repetition":
            return self._repeat(node)
        if node.kind == "alternatives":
            added = [self._add(part) for part in node.parts]
            return any(part[0] for part in added), sum(part[1] for part in added), sum(part[2] for part in added)
        nullable, first, last = True, 0, 0
        for part in node.parts:
            part_nullable, part_first, part_last = self._add(part)
            self._link(last, part_first)
            first |= part_first if nullable else 0
            last = part_last | (last if part_nullable else 0)
            nullable = nullable and part_nullable
        return nullable, first, last

    def _repeat(self, node: Node) -> tuple[bool, int, int]:
        (part,) = node.parts
        if node.most == 0:
            return True, 0, 0
        nullable, first, last = self._add(part)
        begin = first
        # If a part matches the empty text, fewer copies match as well, so no copy needs to match it: each
        # state then leads to the next copy alone.
        least = 0 if nullable else node.least
        end = last if least <= 1 else 0
        for number in range(2, (max(least, 1) if node.most is None else node.most) + 1):
            before = last
            _, first, last = self._add(part)
            self._link(before, first)
            end |= last if number >= least else 0
        if node.most is None:
            self._link(last, first)
        return nullable or node.least == 0, begin, end

    def _link(self, before: int, behind: int) -> None:
        self.built += 2
        if before.bit_count() * behind.bit_count() > _MOST_SHIFTS:
            self.jumps[behind] = self.jumps.get(behind, 0) | before
            return
        for source in _bit_positions(before):
            self.built += 1
            for target in _bit_positions(behind):
                self.shifts[target - source] = self.shifts.get(target - source, 0) | 1 << source

    def behind(self, states: int) -> int:
        """Return the successors of a set of states for any character."""
        reached = 0
        for target, sources in self.jumps.items():
            if states & sources:
                reached |= target
        for distance, sources in self.shifts.items():
            if hit := states & sources:
                reached |= hit << distance if distance > 0 else hit >> -distance
        return reached


@lru_cache(maxsize=1024)
def _cached_automaton(pattern: str) -> Automaton:
    return Automaton(pattern)


def _bit_positions(states: int) -> list[int]:
    positions: list[int] = []
    while states:
        low = states & -states
        positions.append(low.bit_length() - 1)
        states ^= low
    return positions


def _lengths(node: Node) -> tuple[int, float]:
    """Return the length of the shortest text and of the longest."""
    if node.kind == "set":
        return 1, 1
    inner = [_lengths(part) for part in node.parts]
    least, most = [lengths[0] for lengths in inner], [lengths[1] for lengths in inner]
    if node.kind == "alternatives":
        return min(least), max(most)
    if node.kind == "sequence":
        return sum(least), sum(most)
    endless = 0 if most[0] == 0 else inf
    return least[0] * node.least, endless if node.most is None else most[0] * node.most if node.most else 0


def _sample(node: Node) -> str:
    """Return one of the shortest texts."""
    if node.kind == "set":
        return next((_CHARACTERS[place] for place, code in enumerate(_CODES) if node.mask >> code & 1), "\n")
    if node.kind == "alternatives":
        return min((_sample(part) for part in node.parts), key=len)
    return "".join(_sample(part) for part in node.parts) * (node.least if node.kind == "repetition" else 1)


def matches(pattern: str, text: str) -> bool:
    """Return True if the pattern matches the whole text.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    done = work()
    if (pattern, text) not in done.matched:
        automaton = done.automaton(pattern)
        least, most = automaton.lengths
        if not least <= len(text) <= most:
            return False
        done.take(1 + len(text) // 4, pattern)
        states = 1
        for character in text:
            states = done.behind(automaton, states) & automaton.readers[min(ord(character), 128)]
            if not states:
                break
        done.matched[pattern, text] = states & automaton.ends != 0
    return done.matched[pattern, text]


def contains(outer: str, inner: str) -> bool:
    """Return True if every text of `inner` without a line feed is one of `outer`.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    if outer == inner:
        return True
    done = work()
    a, b = done.automaton(outer), done.automaton(inner)
    done.take(2)
    if b.lengths[0] < a.lengths[0] or b.lengths[1] > a.lengths[1]:
        return False
    return matches(outer, b.sample) and example([inner], [outer]) is None


def disjoint(first: str, second: str) -> bool:
    """Return True if no text without a line feed matches both patterns.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    return first != second and example([first, second]) is None


def example(inside: Sequence[str], outside: Sequence[str] = ()) -> str | None:
    """Return a shortest text without a line feed that all of some patterns match and none of others; None if none is.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    done = work()
    question = tuple(sorted(set(inside))), tuple(sorted(set(outside)))
    if question not in done.examples:
        done.examples[question] = _example(question, done)
    return done.examples[question]


def _example(question: _Question, done: Work) -> str | None:
    """Search the product of the automata breadth-first."""
    needed, patterns = len(question[0]), (*question[0], *question[1])
    automata = [done.automaton(pattern) for pattern in patterns]
    codes = [code for code in _distinct_characters(automata) if all(a.readers[code] for a in automata[:needed])]
    done.take(10 * (1 + len(automata)) + len(codes), *patterns)
    begin = (1,) * len(automata)
    before: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None] = {begin: None}
    waiting = deque[tuple[int, ...]]([begin])
    while waiting:
        here = waiting.popleft()
        accepted = [states & a.ends != 0 for a, states in zip(automata, here, strict=True)]
        if all(accepted[:needed]) and not any(accepted[needed:]):
            return _text_to(before, here)
        done.take(2 + len(codes) * len(automata), *patterns)
        behind = [done.behind(a, states) for a, states in zip(automata, here, strict=True)]
        for code in codes:
            reached = tuple(states & a.readers[code] for a, states in zip(automata, behind, strict=True))
            if all(reached[:needed]) and reached not in before:
                before[reached] = (here, code)
                waiting.append(reached)
    return None


def _distinct_characters(automata: Sequence[Automaton]) -> list[int]:
    """Return one character of each class of characters that no pattern distinguishes, plain ones first."""
    classes = [_ANY]
    for mask in {mask for a in automata for mask in a.masks}:
        classes = [part for whole in classes for part in (whole & mask, whole & ~mask) if part]
    return sorted((next(code for code in _CODES if part >> code & 1) for part in classes), key=_CODES.index)


def _text_to(before: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None], end: tuple[int, ...]) -> str:
    text = ""
    while step := before[end]:
        end, code = step
        text = ("é" if 1 << code == BEYOND else chr(code)) + text
    return text
