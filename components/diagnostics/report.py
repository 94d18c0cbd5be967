"""The coded faults of meshup and how they print.

Interface::

    Diagnostic(code, path, value, message, allowed="", remedy="", severity="error", command="")
    ConfigurationError(diagnostics)      # str() is the rendered report
    render(diagnostics) -> str           # plain text, all faults, stable order
    CATALOGUE: dict[str, Code]           # code -> title, meaning, remedy (components/diagnostics/codes.py)

A function that looks for faults returns a list of `Diagnostic`; it raises nothing. Who can't go on raises
`ConfigurationError` once, with all of them.
"""

from __future__ import annotations

import difflib
import json
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .codes import CATALOGUE, Code

__all__ = [
    "CATALOGUE",
    "Code",
    "ConfigurationError",
    "Diagnostic",
    "Severity",
    "errors",
    "nearest",
    "one_of",
    "ordered",
    "render",
]

Severity = Literal["error", "warning", "info"]
_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}
_HEADINGS: dict[Severity, tuple[str, str]] = {
    "error": ("fault", "faults"),
    "warning": ("warning", "warnings"),
    "info": ("note", "notes"),
}
MOST_LISTED = 40
"""Allowed words that a report lists."""
_VALUE_WIDTH = 100
_TEXT_WIDTH = 110
_LONGEST_INDEX = 9
_MOST_SHOWN = 500
_LONGEST_ROW = 4000
_REFUSED = "The configuration is refused; nothing was deployed."


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong, or worth knowing, about the configuration.

    Attributes:
        code: A code of the catalogue, such as `MSH110`.
        path: The field as the user writes it, such as `meshup:traffic.reviews.split.v1`.
        value: What stands there. Never a secret: it is printed. None prints as no value.
        message: What is wrong with it, one sentence.
        allowed: What is allowed instead: a sentence, or "" if the message says it.
        remedy: What to do. "" takes the remedy of the catalogue. Further lines are commands, and stay as they are.
        severity: `error` refuses the configuration; `warning` and `info` are only reported.
        command: A command that shows what was found, "" where the configuration alone shows it.

    Raises:
        KeyError: The code is not in the catalogue, which is a defect of meshup.
    """

    code: str
    path: str
    value: object
    message: str
    allowed: str = ""
    remedy: str = ""
    severity: Severity = "error"
    command: str = ""

    def __post_init__(self) -> None:
        entry = CATALOGUE[self.code]
        if not self.remedy:
            object.__setattr__(self, "remedy", entry.remedy)

    @property
    def title(self) -> str:
        """The heading that the catalogue gives to the code."""
        return CATALOGUE[self.code].title

    def as_dict(self) -> dict[str, str]:
        """Return the diagnostic for JSON outputs: text only, stable keys."""
        return {
            "code": self.code,
            "severity": self.severity,
            "path": self.path,
            "value": _show(self.value),
            "message": self.message,
            "allowed": self.allowed,
            "remedy": self.remedy,
            "command": self.command,
        }


class ConfigurationError(Exception):
    """The configuration is refused. Carries every diagnostic; `str()` is the report for the user."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = ordered(diagnostics)
        super().__init__(render(self.diagnostics))


def errors(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the diagnostics that refuse the configuration."""
    return [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]


def ordered(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return the diagnostics without repetitions: errors first, then by path (numbers by value), code and message."""
    by_text = {(d.severity, d.path, d.code, d.message, _show(d.value)): d for d in diagnostics}
    return tuple(
        sorted(
            by_text.values(), key=lambda d: (_RANK[d.severity], _path_key(d.path), d.code, d.message, _show(d.value))
        )
    )


def render(diagnostics: Iterable[Diagnostic], refused: str = _REFUSED) -> str:
    """Return the report of all diagnostics as plain text, in a stable order. Empty for no diagnostics.

    Args:
        diagnostics: The diagnostics.
        refused: What errors among them come to, a sentence.
    """
    listed = ordered(diagnostics)
    if not listed:
        return ""
    counts: list[str] = []
    for severity, (singular, plural) in _HEADINGS.items():
        count = sum(1 for diagnostic in listed if diagnostic.severity == severity)
        if count:
            counts.append(f"{count} {singular if count == 1 else plural}")
    failed = bool(errors(listed))
    outcome = refused if failed else "The configuration is accepted."
    blocks = [f"meshup found {' and '.join(counts)}. {outcome}"]
    blocks.extend(_block(diagnostic) for diagnostic in listed[:_MOST_SHOWN])
    if len(listed) > _MOST_SHOWN:
        blocks.append(
            f"The first {_MOST_SHOWN} are shown. {len(listed) - _MOST_SHOWN} more follow once these are gone."
        )
    if failed:
        blocks.append("`meshup explain CODE` and docs/diagnostics.md say more about each code.")
    return "\n\n".join(blocks) + "\n"


def one_of(values: Iterable[str]) -> str:
    """Return the allowed values as a sentence part."""
    listed = list(values)
    more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
    return "one of " + ", ".join(listed[:MOST_LISTED]) + more if listed else "nothing"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` is most likely a misspelling of, or None. Case does not count."""
    folded = {candidate.casefold(): candidate for candidate in sorted(known, reverse=True)}
    found = difflib.get_close_matches(word.casefold(), sorted(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def _block(diagnostic: Diagnostic) -> str:
    lines = [f"{diagnostic.severity} {diagnostic.code} {diagnostic.title}"]
    rows = [("at", diagnostic.path)]
    if diagnostic.value is not None:
        rows.append(("value", _show(diagnostic.value)))
    rows += [("problem", diagnostic.message), ("allowed", diagnostic.allowed), ("remedy", diagnostic.remedy)]
    for label, text in rows:
        if text:
            lead = f"  {label:<8} "
            # A command that is broken over lines would run in parts when it is copied.
            prose, *commands = text.split("\n") if label == "remedy" else [text]
            # What the user wrote can be in any row: nothing in it may control the terminal, or fail to be printed.
            shown = _printable(prose if len(prose) <= _LONGEST_ROW else prose[: _LONGEST_ROW - 1] + "…")
            lines.append(
                textwrap.fill(
                    shown,
                    width=_TEXT_WIDTH,
                    initial_indent=lead,
                    subsequent_indent=" " * len(lead),
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
            lines += [" " * len(lead) + command for command in commands]
    if diagnostic.command:
        # In one line, as commands of a remedy.
        lines.append(f"  {'see':<8} {_printable(diagnostic.command)}")
    return "\n".join(lines)


def _show(value: object) -> str:
    """Return the value in one line, as JSON where possible, cut to a readable length."""
    if value is None:
        return ""
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    text = _printable(text[: _VALUE_WIDTH + 1])
    return text if len(text) <= _VALUE_WIDTH else text[: _VALUE_WIDTH - 1] + "…"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def _path_key(path: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts `rules[2]` before `rules[10]`."""
    return tuple(
        (0, int(part), "") if part.isdecimal() and len(part) <= _LONGEST_INDEX else (1, 0, part)
        for part in re.split(r"(\d+)", path)
        if part
    )
