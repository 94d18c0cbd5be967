"""Typed reading of raw configuration that notes every fault instead of stopping at the first.

Each method takes the raw value and its path, and returns the typed value, or None after noting a fault. The caller
goes on with what it has, so that one run finds all faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

from .report import Diagnostic, nearest

Pairs = tuple[tuple[str, str], ...]
"""Names with their values, in order."""

DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DURATION = re.compile(r"([0-9]{1,5})(ms|s|m|h)")
_DURATION_PARTS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_DURATION = 86_400_000
"""24 hours in milliseconds: the longest duration that every target can write."""


MOST_LISTED = 40
"""Allowed words that a report lists."""
MOST_HINTS = 200
"""Faults after which nothing is suggested any more, since that takes much longer than anything else here."""


def join(where: str, key: str) -> str:
    """The path of `key` below `where`, as the user writes it."""
    if not _PLAIN_KEY.fullmatch(key):
        return f'{where}["{key}"]'
    return f"{where}.{key}" if where and not where.endswith(":") else f"{where}{key}"


def one_of(values: Iterable[str]) -> str:
    """The allowed values as a sentence part."""
    listed = list(values)
    more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
    return "one of " + ", ".join(listed[:MOST_LISTED]) + more if listed else "nothing"


def duration_text(milliseconds: int) -> str:
    """The duration as an integer and one unit, `90s` or `1500ms`: the form that every target reads the same.

    Linkerd drops or rejects `1m30s`, the Gateway API takes at most five digits (Linkerd edge-26.8.3, observed;
    Gateway API v1.5.1, GEP-2257).
    """
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


class Reader:
    """Collects the faults of one document."""

    def __init__(self) -> None:
        self.faults: list[Diagnostic] = []

    def fault(self, code: str, where: str, value: object, message: str, allowed: str = "", *, remedy: str = "") -> None:
        """Notes one fault."""
        self.faults.append(Diagnostic(code, where, value, message, allowed, remedy))

    def nearest(self, word: str, known: Iterable[str]) -> str | None:
        """The known word that is most likely meant. After many faults, nobody reads it and it is not looked for."""
        return nearest(word, known) if len(self.faults) < MOST_HINTS else None

    def mapping(
        self, value: object, where: str, known: tuple[str, ...] = (), required: tuple[str, ...] = ()
    ) -> dict[str, object] | None:
        """A mapping with text keys. With `known`, unknown keys are faults and left out; missing `required` keys are
        faults.
        """
        if not isinstance(value, Mapping):
            self.fault(
                "MSH101", where, value, f"This must be a mapping, not {kind_of(value)}.", "a mapping of keys to values"
            )
            return None
        found: dict[str, object] = {}
        for key, item in cast(Mapping[object, object], value).items():
            if not isinstance(key, str):
                self.fault(
                    "MSH101",
                    where,
                    key,
                    f"Each key here must be text, and one is {kind_of(key)}.",
                    remedy="Put the key in quotes.",
                )
            elif known and key not in known:
                guess = self.nearest(key, known)
                self.fault(
                    "MSH102",
                    join(where, key),
                    item,
                    f"There is no key '{key}' here.",
                    one_of(known),
                    remedy=f"Did you mean '{guess}'?" if guess else "Remove the key.",
                )
            else:
                found[key] = item
        for key in required:
            if key not in found:
                self.fault("MSH103", join(where, key), None, f"The key '{key}' is missing.", remedy=f"Add '{key}'.")
        return found

    def items(self, value: object, where: str, *, most: int = 0) -> list[tuple[object, str]]:
        """The items of a list, each with its path; after a fault, the first `most` of them."""
        if not isinstance(value, (list, tuple)):
            self.fault("MSH101", where, value, f"This must be a list, not {kind_of(value)}.", "a list")
            return []
        listed = cast("list[object]", value)
        if most and len(listed) > most:
            self.fault("MSH105", where, len(listed), f"The list has {len(listed)} items.", f"at most {most} items")
            listed = listed[:most]
        return [(item, f"{where}[{index}]") for index, item in enumerate(listed)]

    def text(self, value: object, where: str, *, longest: int = 1024) -> str | None:
        """A text of 1 to `longest` printable characters."""
        if not isinstance(value, str):
            self.fault(
                "MSH101",
                where,
                value,
                f"This must be text, not {kind_of(value)}.",
                "text",
                remedy="Put the value in quotes.",
            )
            return None
        if not 0 < len(value) <= longest or not value.isprintable() or not value.isascii():
            self.fault(
                "MSH104",
                where,
                value,
                "The text is empty, too long or has characters that are not printable ASCII.",
                f"1 to {longest} printable ASCII characters",
            )
            return None
        return value

    def label(self, value: object, where: str, what: str) -> str | None:
        """A DNS label (RFC 1123)."""
        text = value if isinstance(value, str) else None
        if text is None:
            self.fault(
                "MSH101",
                where,
                value,
                f"The {what} must be text, not {kind_of(value)}.",
                "text",
                remedy="Put the name in quotes.",
            )
            return None
        if not DNS_LABEL.fullmatch(text):
            self.fault(
                "MSH108",
                where,
                text,
                f"'{text[:80]}' is not a legal {what}.",
                "a DNS label: a-z, 0-9 and '-', at most 63",
            )
            return None
        return text

    def choice(self, value: object, where: str, allowed: tuple[str, ...], *, any_case: bool = False) -> str | None:
        """One of a set of words, as it stands there. With `any_case`, `HTTP` and `http` are one word."""
        if isinstance(value, str):
            written = value.casefold() if any_case else value
            for word in allowed:
                if written == (word.casefold() if any_case else word):
                    return word
        guess = self.nearest(value, allowed) if isinstance(value, str) else None
        self.fault(
            "MSH104",
            where,
            value,
            "The value is not in the allowed set.",
            one_of(allowed),
            remedy=f"Did you mean '{guess}'?" if guess else "",
        )
        return None

    def integer(self, value: object, where: str, least: int, most: int, *, code: str = "MSH105") -> int | None:
        """An integer from `least` to `most`. True, 5.0 and "5" are not integers."""
        allowed = f"an integer from {least} to {most}"
        if isinstance(value, bool) or not isinstance(value, int):
            wrong = "a fraction" if isinstance(value, float) else kind_of(value)
            self.fault(
                code if code != "MSH105" else "MSH101", where, value, f"This must be an integer, not {wrong}.", allowed
            )
            return None
        if not least <= value <= most:
            self.fault(code, where, value, "The number is out of range.", allowed)
            return None
        return value

    def percent(self, value: object, where: str) -> float | None:
        """A percentage from 0.0001 to 100: what Envoy can tell apart (a millionth)."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fault(
                "MSH101", where, value, f"This must be a number, not {kind_of(value)}.", "a number from 0.0001 to 100"
            )
            return None
        if not 0.0001 <= value <= 100:  # noqa: PLR2004 -- percent
            self.fault("MSH105", where, value, "The percentage is out of range.", "a number from 0.0001 to 100")
            return None
        return float(value)

    def duration(self, value: object, where: str) -> int | None:
        """A duration in milliseconds, written as an integer and one unit."""
        allowed = "an integer of at most five digits and one unit of ms, s, m, h; from 1ms to 24h"
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if found:
            milliseconds = int(found[1]) * _UNIT_MS[found[2]]
            if 0 < milliseconds <= LONGEST_DURATION:
                return milliseconds
        self.fault(
            "MSH115",
            where,
            value,
            "This is not a duration that every mesh reads the same.",
            allowed,
            remedy=_duration_remedy(value),
        )
        return None


def labels(reader: Reader, value: object, where: str) -> Pairs | None:
    """Labels of pods, at least one."""
    found = reader.mapping(value, where)
    if found is None:
        return None
    if not found:
        reader.fault("MSH103", where, {}, "There is no label.", "at least one label with its value")
        return None
    pairs: list[tuple[str, str]] = []
    for key, item in found.items():
        at = join(where, key)
        if not _LABEL_KEY.fullmatch(key):
            reader.fault("MSH108", at, key, "This is not a legal label key.", "a Kubernetes label key")
        elif not isinstance(item, str):
            reader.fault("MSH101", at, item, "A label's value is text.", "text", remedy="Put the value in quotes.")
        elif not _LABEL_VALUE.fullmatch(item):
            reader.fault("MSH108", at, item, "This is not a legal label value.", "a Kubernetes label value")
        else:
            pairs.append((key, item))
    return tuple(sorted(pairs)) if len(pairs) == len(found) else None


def _duration_remedy(value: object) -> str:
    """Writes out what a compound or fractional duration comes to, where that is clear."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "Add the unit, such as s or ms."
    if not isinstance(value, str):
        return ""
    parts = list(_DURATION_PARTS.finditer(value[:64]))
    if not parts or "".join(part[0] for part in parts) != value:
        return ""
    milliseconds = round(sum(float(part[1]) * _UNIT_MS[part[2]] for part in parts))
    if not 0 < milliseconds <= LONGEST_DURATION or not _DURATION.fullmatch(duration_text(milliseconds)):
        return ""
    return f"Write '{duration_text(milliseconds)}'."


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "nothing"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    ((list, tuple), "a list"),
    (Mapping, "a mapping"),
)


def kind_of(value: object) -> str:
    """The type of the value in the words of YAML."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}")
