r"""Regular expressions as sets of texts: match, containment, disjointness, an example. No backtracking.

The syntax is what RE2 (Envoy) and Rust's regex crate (Linkerd) read the same, with characters of ASCII: literals, `.`,
classes, `\d \w \s` and their complements, groups, alternatives, `* + ? {n,m}`. A pattern always means the whole text,
as both meshes use it. `\d \w \s` are those of RE2, which are ASCII; `rust` writes a pattern so that Rust reads them so.

All answers are exact. They are decided on automata: one state for each character of the pattern written out
(Glushkov's construction), sets of states as integers, and sets of those only as far as a question needs them. What that
takes is counted (`counted`), because patterns of a few characters can take more than any machine has.
"""

from __future__ import annotations

import string
from collections import deque
from collections.abc import Generator, Hashable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeVar, cast

BEYOND = 1 << 128
"""Any character beyond ASCII; no pattern tells two of them apart."""
ALL = (BEYOND << 1) - 1
"""Every character, as a bit mask: one bit for each of ASCII, one for all others."""
MOST_SIZE = 4000
"""Characters and signs of a pattern whose repetitions are written out. Rust's regex crate stops at 10 MiB, which no
pattern of this size reaches when its classes are ASCII (tests/unit/traffic/test_patterns.py)."""
MOST_REPEATS = 1000
"""RE2's and Go's limit of a counted repetition, and of all that stand in each other together."""
MOST_DEPTH = 50
MOST_STEPS = 1_000_000
"""Steps of work on the questions of one compilation; each takes about a microsecond."""
_RANGES = 16
_PLAIN = string.ascii_lowercase + string.digits + string.ascii_uppercase + "/-_.~!$&'()*+,;=:@%?#[] \"<>\\^`{|}"
_CHARACTERS = _PLAIN + "".join(chr(code) for code in range(128) if chr(code) not in _PLAIN + "\n") + "é"
"""What texts that are compared are made of: one of each, the plain ones first. No header and no path has a line feed,
which `[^a]` takes and `.` does not."""

_SAMPLES = _CHARACTERS + "\n"
_CODES = [min(ord(character), 128) for character in reversed(_CHARACTERS)]
_PLACE = {code: place for place, code in enumerate(reversed(_CODES))}


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
"""What `.` is to RE2 and to Rust."""


class PatternError(ValueError):
    """The pattern is not one that both meshes read the same. The message says why."""


class TooMuchWork(Exception):  # noqa: N818 -- a limit, no error of the program
    """The questions of a compilation take more than MOST_STEPS steps.

    Attributes:
        patterns: Those on which most steps went, most first.
        between: Paths in the configuration of the matches that were compared, if they are known.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        super().__init__(f"more than {MOST_STEPS} steps")
        self.patterns = tuple(patterns)
        self.between: tuple[str, ...] = ()


_Answer = TypeVar("_Answer")
_NOTHING = object()


@dataclass(slots=True)
class Work:
    """What was asked, so that nothing is decided twice, and what it took.

    Attributes:
        steps: Steps so far.
        most: Steps at which TooMuchWork is raised.
        by_pattern: Steps that went on each pattern.
    """

    most: int = MOST_STEPS
    steps: int = 0
    by_pattern: dict[str, int] = field(default_factory=dict[str, int])
    automata: dict[str, Automaton] = field(default_factory=dict[str, "Automaton"])
    answers: dict[Hashable, object] = field(default_factory=dict[Hashable, object])

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

    def known(self, question: Hashable, kind: type[_Answer]) -> _Answer | None:
        """The answer to a question that was asked before."""
        found = self.answers.get(question, _NOTHING)
        return found if isinstance(found, kind) else None

    def automaton(self, pattern: str) -> Automaton:
        """The automaton of a pattern, made once."""
        found = self.automata.get(pattern)
        if found is None:
            found = self.automata[pattern] = copy(_built(pattern))
            found.forget()
            self.take(found.built, pattern)
        return found


_current: ContextVar[Work | None] = ContextVar("work", default=None)


@contextmanager
def counted(most: int = MOST_STEPS) -> Generator[Work]:
    """Count the work of all questions inside together, and keep their answers. Inside another one: as part of that."""
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    token = _current.set(Work(most))
    try:
        yield work()
    finally:
        _current.reset(token)


def work() -> Work:
    """The work that questions are counted to: that of `counted`, or, outside of it, of one question alone."""
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
        """How often the innermost part stands there when the counted repetitions around it are written out."""
        inner = max((part.copies for part in self.parts), default=1)
        return inner * max(1, self.least if self.most is None else self.most)

    @property
    def size(self) -> int:
        """Characters and signs when the repetitions are written out; a class of many ranges counts several times."""
        if self.kind == "set":
            return 1 + (self.mask & ~(self.mask << 1)).bit_count() // _RANGES
        inner = sum(part.size for part in self.parts)
        if self.kind == "repetition":
            return 1 + (inner * self.most if self.most is not None else inner * (self.least + 1) + 1)
        return inner + (1 + len(self.parts) if self.kind == "alternatives" else 0)

    @property
    def nullable(self) -> bool:
        """True if it takes the empty text."""
        if self.kind == "alternatives":
            return any(part.nullable for part in self.parts)
        if self.kind == "repetition":
            return self.least == 0 or self.parts[0].nullable
        return self.kind == "sequence" and all(part.nullable for part in self.parts)


class _Reader:
    """Recursive descent over one pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0

    def read(self) -> Node:
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

    def alternatives(self, depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise PatternError("The pattern nests too deeply.")
        parts = [self.sequence(depth)]
        while self.peek("|"):
            self.position += 1
            parts.append(self.sequence(depth))
        return parts[0] if len(parts) == 1 else Node("alternatives", parts=parts)

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.position < len(self.pattern) and self.pattern[self.position] not in "|)$":
            parts.append(self.repetition(depth))
        return Node("sequence", parts=parts)

    def repetition(self, depth: int) -> Node:
        node = self.atom(depth)
        counts = self.count()
        if counts is None:
            return node
        if self.peek("?"):
            # Lazy or greedy makes no difference to whether the whole text matches.
            self.position += 1
        if self.position < len(self.pattern) and self.pattern[self.position] in "*+?{":
            raise PatternError("A repetition is repeated.")
        repeated = Node("repetition", parts=[node], least=counts[0], most=counts[1])
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
        if negated:
            mask = ALL & ~mask
        if not mask:
            raise PatternError("No character is in the class.")
        return mask

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


@lru_cache(maxsize=4096)
def tree(pattern: str) -> Node:
    """The parts of a pattern.

    Raises:
        PatternError: The pattern is not one that both meshes read the same.
    """
    node = _Reader(pattern).read()
    if node.size > MOST_SIZE:
        raise PatternError("The pattern is too large when its repetitions are written out.")
    return node


def fault(pattern: str) -> str:
    """What is wrong with a pattern, or ""."""
    try:
        tree(pattern)
    except PatternError as error:
        return str(error)
    return ""


def rust(pattern: str) -> str:
    r"""The pattern for Rust's regex crate, whose `\d \w \s` are Unicode and make a pattern 40 times as large.

    Raises:
        PatternError: The pattern is not one that both meshes read the same.
    """
    return _written(tree(pattern))


def _written(node: Node) -> str:
    if node.kind == "set":
        return _written_set(node.mask)
    if node.kind == "alternatives":
        return f"(?:{'|'.join(_written(part) for part in node.parts)})"
    if node.kind == "sequence":
        return "".join(_written(part) for part in node.parts)
    (part,) = node.parts
    inner = _written(part)
    if part.kind in ("sequence", "repetition"):
        inner = f"(?:{inner})"
    counts = {(0, None): "*", (1, None): "+", (0, 1): "?"}
    most = "" if node.most is None else node.most
    written = f"{{{node.least}}}" if node.least == node.most else f"{{{node.least},{most}}}"
    return inner + counts.get((node.least, node.most), written)


def _written_set(mask: int) -> str:
    if mask == _ANY:
        return "."
    if mask == ALL:
        return "(?s:.)"
    if not mask & (mask - 1):
        return _written_character(mask.bit_length() - 1, _META)
    shown = ALL & ~mask if mask & BEYOND else mask
    parts: list[str] = []
    code = 0
    while shown >> code:
        if not shown >> code & 1:
            code += 1
            continue
        first = code
        while shown >> (code + 1) & 1:
            code += 1
        parts.append(_written_character(first, _CLASS_META))
        if code - first > 1:
            parts.append("-")
        if code > first:
            parts.append(_written_character(code, _CLASS_META))
        code += 1
    return f"[{'^' if mask & BEYOND else ''}{''.join(parts)}]"


def _written_character(code: int, meta: frozenset[str]) -> str:
    character = chr(code)
    if not character.isprintable():
        return f"\\x{code:02x}"
    return f"\\{character}" if character in meta else character


_Part = tuple[bool, int, int]
"""Whether a part takes the empty text, the states that it begins with, those that it ends with."""


class Automaton:
    """A pattern as states, one for each of its characters: a state is reached by reading its character.

    Sets of states are integers. State 0 is the start, before any character. `sets` numbers those sets that questions
    have met; `following` is what reading a character makes of one.
    """

    def __init__(self, pattern: str) -> None:
        node = tree(pattern)
        self.pattern = pattern
        self.masks = [0]
        self._links: dict[tuple[int, int], None] = {}
        nullable, first, last = self._build(node)
        self._link(1, first)
        self.ends = last | nullable
        self.classes: list[int] = _refined(self.masks[1:])
        self.class_of = [0] * ALL.bit_length()
        for number, part in enumerate(self.classes):
            for code in _bits(part):
                self.class_of[code] = number
        self._readers = [
            sum(1 << state for state, mask in enumerate(self.masks) if mask & part) for part in self.classes
        ]
        self._jumps, self._shifts = self._compressed()
        self.built = 100 + len(self.masks) * (2 + len(self.classes) // 2)
        self.forget()

    def forget(self) -> None:
        """Forget the sets that questions have met, so that the steps of the next ones do not depend on them."""
        self.sets = [1]
        self._numbers = {1: 0}
        self._following: list[list[int | None]] = [[None] * len(self.classes)]
        self._behinds: dict[int, int] = {}
        self._leads: dict[int, int] = {}

    def _build(self, node: Node) -> _Part:
        if node.kind == "set":
            state = 1 << len(self.masks)
            self.masks.append(node.mask)
            return False, state, state
        if node.kind == "repetition":
            return self._repeat(node)
        if node.kind == "alternatives":
            parts = [self._build(part) for part in node.parts]
            nullable, first, last = False, 0, 0
            for part in parts:
                nullable, first, last = nullable or part[0], first | part[1], last | part[2]
            return nullable, first, last
        found: _Part = (True, 0, 0)
        for part in node.parts:
            found = self._joined(found, self._build(part))
        return found

    def _joined(self, before: _Part, behind: _Part) -> _Part:
        self._link(before[2], behind[1])
        return (
            before[0] and behind[0],
            before[1] | (behind[1] if before[0] else 0),
            behind[2] | (before[2] if behind[0] else 0),
        )

    def _repeat(self, node: Node) -> _Part:
        (part,) = node.parts
        # Of a part that takes the empty text, fewer copies are as good as many, so none of the copies needs to: each
        # state then leads to the next copy alone.
        nullable = part.nullable
        least = 0 if nullable else node.least
        copies = max(least, 1) if node.most is None else node.most
        begin, before, end = 0, 0, 0
        for number in range(1, copies + 1):
            _, first, last = self._build(part)
            if number == 1:
                begin = first
            self._link(before, first)
            if number >= least:
                end |= last
            if node.most is None and number == copies:
                self._link(last, first)
            before = last
        return nullable or node.least == 0, begin, end

    def _link(self, before: int, behind: int) -> None:
        if before and behind:
            self._links[before, behind] = None

    def _compressed(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The links as few operations: (states, states behind them), and (states, how far behind them).

        Copies of a part are alike, so one shift does for all of them what each would need a link for.
        """
        alike: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for before, behind in self._links:
            low = min(before & -before, behind & -behind).bit_length() - 1
            alike.setdefault((before >> low, behind >> low), []).append((before, behind))
        jumps: dict[int, int] = {}
        shifts: dict[int, int] = {}
        for (before, behind), links in alike.items():
            if before.bit_count() * behind.bit_count() > len(links):
                for states, reached in links:
                    jumps[reached] = jumps.get(reached, 0) | states
                continue
            everywhere = 0
            lowest = before & -before
            for states, _ in links:
                everywhere |= (states & -states) // lowest
            for source in _bits(before):
                at = everywhere << source
                for target in _bits(behind):
                    shifts[target - source] = shifts.get(target - source, 0) | at
        return [(states, reached) for reached, states in jumps.items()], [(far, by) for by, far in shifts.items()]

    @cached_property
    def first(self) -> int:
        """The characters that a text of the pattern may begin with."""
        return self._union(self._behind(1))

    @cached_property
    def last(self) -> int:
        """The characters that a text of the pattern may end with."""
        return self._union(self.ends & ~1)

    @cached_property
    def literals(self) -> tuple[str, str]:
        """What every text of the pattern begins with and what it ends with."""
        node = tree(self.pattern)
        return _literal(node, 1)[0], _literal(node, -1)[0][::-1]

    @cached_property
    def sample(self) -> str:
        """Some text of the pattern, one of the shortest."""
        return _sample(tree(self.pattern))

    @cached_property
    def lengths(self) -> tuple[int, int | None]:
        """The length of the shortest text and of the longest, None without a longest."""
        return _lengths(tree(self.pattern))

    def _union(self, states: int) -> int:
        found = 0
        for state in _bits(states):
            found |= self.masks[state]
        return found

    def _behind(self, states: int) -> int:
        reached = 0
        for before, behind in self._jumps:
            if states & before:
                reached |= behind
        for before, by in self._shifts:
            if hit := states & before:
                reached |= hit << by if by > 0 else hit >> -by
        return reached

    def _after(self, number: int, done: Work) -> int:
        """The states behind a set of states."""
        found = self._behinds.get(number)
        if found is None:
            done.take(2 + len(self._jumps) + len(self._shifts) + len(self.masks) // 100, self.pattern)
            found = self._behinds[number] = self._behind(self.sets[number])
        return found

    def leads(self, number: int, done: Work) -> int:
        """The characters with which a text goes on behind a set of states."""
        found = self._leads.get(number)
        if found is None:
            done.take(1 + len(self.classes) // 4, self.pattern)
            behind = self._after(number, done)
            parts = zip(self.classes, self._readers, strict=True)
            found = self._leads[number] = sum(part for part, readers in parts if behind & readers)
        return found

    def following(self, number: int, character_class: int, done: Work) -> int:
        """The number of the set behind one, after a character of a class; -1 if no text goes on like that."""
        found = self._following[number][character_class]
        if found is not None:
            return found
        reached = self._after(number, done) & self._readers[character_class]
        found = self._numbers.get(reached) if reached else -1
        if found is None:
            done.take(1, self.pattern)
            found = self._numbers[reached] = len(self.sets)
            self.sets.append(reached)
            self._following.append([None] * len(self.classes))
        self._following[number][character_class] = found
        return found

    def accepts(self, number: int) -> bool:
        """True if a text may end in this set."""
        return number >= 0 and self.sets[number] & self.ends != 0


@lru_cache(maxsize=1024)
def _built(pattern: str) -> Automaton:
    return Automaton(pattern)


def _bits(states: int) -> list[int]:
    found: list[int] = []
    while states:
        low = states & -states
        found.append(low.bit_length() - 1)
        states ^= low
    return found


def _refined(masks: Sequence[int]) -> list[int]:
    """The characters in classes that no mask tells apart."""
    classes = [ALL]
    for mask in dict.fromkeys(masks):
        classes = [part for whole in classes for part in (whole & mask, whole & ~mask) if part]
    return classes


def _lengths(node: Node) -> tuple[int, int | None]:
    if node.kind == "set":
        return 1, 1
    inner = [_lengths(part) for part in node.parts]
    longest = [most for _, most in inner if most is not None]
    endless = len(longest) < len(inner)
    if node.kind == "alternatives":
        return min(least for least, _ in inner), None if endless else max(longest)
    if node.kind == "sequence":
        return sum(least for least, _ in inner), None if endless else sum(longest)
    ((least, most),) = inner
    if most == 0 or node.most == 0:
        return 0, 0
    return least * node.least, None if endless or most is None or node.most is None else most * node.most


def _sample(node: Node) -> str:
    if node.kind == "set":
        if not node.mask & (node.mask - 1 | BEYOND):
            return chr(node.mask.bit_length() - 1)
        return next(character for character in _SAMPLES if node.mask >> min(ord(character), 128) & 1)
    if node.kind == "alternatives":
        return min((_sample(part) for part in node.parts), key=len)
    return "".join(_sample(part) for part in node.parts) * (node.least if node.kind == "repetition" else 1)


def _literal(node: Node, direction: int) -> tuple[str, bool]:
    """The characters that a part is sure to begin with, or to end with, last first; and whether there are no others."""
    if node.kind == "set":
        single = not node.mask & (node.mask - 1) and not node.mask & BEYOND
        return (chr(node.mask.bit_length() - 1), True) if single else ("", False)
    if node.kind == "sequence":
        found = ""
        for part in node.parts[::direction]:
            literal, whole = _literal(part, direction)
            found += literal
            if not whole:
                return found, False
        return found, True
    return "", False


def matches(pattern: str, text: str) -> bool:
    """True if the pattern takes the whole text.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    done = work()
    question = ("matches", pattern, text)
    known = done.known(question, bool)
    if known is not None:
        return known
    done.answers[question] = found = _matches(done.automaton(pattern), text, done)
    return found


def _matches(found: Automaton, text: str, done: Work) -> bool:
    least, most = found.lengths
    if len(text) < least or (most is not None and len(text) > most):
        return False
    done.take(1 + len(text) // 4, found.pattern)
    number = 0
    for character in text:
        number = found.following(number, found.class_of[min(ord(character), 128)], done)
        if number < 0:
            return False
    return found.accepts(number)


def contains(outer: str, inner: str) -> bool:
    """True if every text of `inner` without a line feed is one of `outer`.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    if outer == inner:
        return True
    done = work()
    question = ("contains", outer, inner)
    known = done.known(question, bool)
    if known is None:
        a, b = done.automaton(outer), done.automaton(inner)
        done.take(2)
        known = _may_contain(a, b) and _matches(a, b.sample, done) and _example((b,), (a,), done) is None
        done.answers[question] = known
    return known


def _may_contain(a: Automaton, b: Automaton) -> bool:
    """False if shortest, longest, first or last characters show that `b` has a text that `a` has not."""
    (a_least, a_most), (b_least, b_most) = a.lengths, b.lengths
    if b_least < a_least or (a_most is not None and (b_most is None or b_most > a_most)):
        return False
    if (b.first & ~a.first | b.last & ~a.last) & _ANY:
        return False
    return b.literals[0].startswith(a.literals[0]) and b.literals[1].endswith(a.literals[1])


def disjoint(first: str, second: str) -> bool:
    """True if no text without a line feed matches both patterns.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    if first == second:
        return False
    done = work()
    question = ("disjoint", *sorted((first, second)))
    known = done.known(question, bool)
    if known is None:
        a, b = done.automaton(first), done.automaton(second)
        done.take(2)
        known = _must_be_disjoint(a, b) or _example((a, b), (), done) is None
        done.answers[question] = known
    return known


def _must_be_disjoint(a: Automaton, b: Automaton) -> bool:
    (a_least, a_most), (b_least, b_most) = a.lengths, b.lengths
    if (a_most is not None and a_most < b_least) or (b_most is not None and b_most < a_least):
        return True
    if (a_least or b_least) and not (a.first & b.first and a.last & b.last):
        return True
    (a_begin, a_end), (b_begin, b_end) = a.literals, b.literals
    return not (
        (a_begin.startswith(b_begin) or b_begin.startswith(a_begin))
        and (a_end.endswith(b_end) or b_end.endswith(a_end))
    )


def example(inside: Sequence[str], outside: Sequence[str] = ()) -> str | None:
    """A shortest text without a line feed that all of some patterns take and none of others; None if there is none.

    Raises:
        TooMuchWork: It takes too many steps.
    """
    done = work()
    question = ("example", tuple(sorted(set(inside))), tuple(sorted(set(outside))))
    if question not in done.answers:
        done.answers[question] = _example(
            tuple(done.automaton(pattern) for pattern in question[1]),
            tuple(done.automaton(pattern) for pattern in question[2]),
            done,
        )
    return cast("str | None", done.answers[question])


def _example(inside: tuple[Automaton, ...], outside: tuple[Automaton, ...], done: Work) -> str | None:
    listed = (*inside, *outside)
    named = tuple(automaton.pattern for automaton in listed)
    needed = len(inside)
    done.take(20 * (1 + len(listed)), *named)
    # The plain characters come last here, so that they are the ones that stay.
    together = zip(*([a.class_of[code] for code in _CODES] for a in listed), strict=True)
    steps = sorted(dict(zip(together, _CODES, strict=True)).items(), key=lambda item: _PLACE[item[1]])
    begin = tuple(0 for _ in listed)
    before: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None] = {begin: None}
    waiting = deque([begin])
    while waiting:
        here = waiting.popleft()
        if all(a.accepts(number) for a, number in zip(inside, here, strict=False)) and not any(
            a.accepts(number) for a, number in zip(outside, here[needed:], strict=True)
        ):
            return _spelled(before, here)
        live = ALL
        for a, number in zip(inside, here, strict=False):
            live &= a.leads(number, done)
        done.take(1 + len(steps) // 8 + len(listed) * sum(live >> code & 1 for _, code in steps), *named)
        for character_classes, code in steps:
            if not live >> code & 1:
                continue
            there: list[int] = []
            for a, number, character_class in zip(listed, here, character_classes, strict=True):
                number = a.following(number, character_class, done) if number >= 0 else -1  # noqa: PLW2901
                if number < 0 and len(there) < needed:
                    break
                there.append(number)
            else:
                reached = tuple(there)
                if reached not in before:
                    before[reached] = (here, code)
                    waiting.append(reached)
    return None


def _spelled(before: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None], end: tuple[int, ...]) -> str:
    codes: list[int] = []
    step = before[end]
    while step:
        codes.append(step[1])
        step = before[step[0]]
    return "".join("é" if code == ALL.bit_length() - 1 else chr(code) for code in reversed(codes))
