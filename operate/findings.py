"""How commands that check a cluster report what they find: a table, JSON or only the faults; and how they wait.

A command runs checks and hands a `Report` to `show`. `awaited` repeats the checks while something is wrong. The exit
codes are those of operations on a cluster: 0 nothing wrong, 1 errors, 2 usage, 6 no cluster.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from components.diagnostics import Diagnostic, errors, ordered

SCHEMA_VERSION = 1
"""Of the JSON document. It rises when a key goes or gets another meaning."""
OUTPUTS = ("table", "json", "short")
UNREACHABLE = 6
"""Exit code when the cluster does not answer."""
PAUSE = 2.0
"""Seconds between two rounds of `--wait`."""
_DURATION = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?")
_MARKS = {"error": "\N{MULTIPLICATION SIGN}", "warning": "‼", "info": "i"}
_WORDS = {"error": "failed", "warning": "warned", "info": "passed"}


class Checked(NamedTuple):
    """A check, and what it found.

    Attributes:
        name: Name in outputs.
        title: What is true if it finds nothing.
        findings: What it found.
    """

    name: str
    title: str
    findings: Sequence[Diagnostic]

    @property
    def status(self) -> str:
        """`passed`, `warned` or `failed`."""
        worst = next(iter(ordered(self.findings)), None)
        return _WORDS[worst.severity] if worst else "passed"


@dataclass(frozen=True)
class Report:
    """What a command found.

    Attributes:
        command: The command, such as `preflight`.
        subject: What was checked: stack, mesh, context.
        checked: The checks.
        reachable: Whether the cluster answers.
        more: Further keys of the JSON document.
        notes: Lines below the table.
    """

    command: str
    subject: Mapping[str, str]
    checked: Sequence[Checked]
    reachable: bool = True
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: Sequence[str] = ()

    @property
    def findings(self) -> list[Diagnostic]:
        """Everything that was found."""
        return [fault for one in self.checked for fault in one.findings]

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        if not self.reachable:
            return UNREACHABLE
        return 1 if errors(self.findings) else 0


def seconds(text: str) -> float | None:
    """Return a duration such as `5m`, `1h30m` or `20s` in seconds; None if it is none."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    hours, minutes, rest = (int(part or 0) for part in match.groups())
    return float(3600 * hours + 60 * minutes + rest)


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as the one JSON document of its command."""
    counts = {severity: sum(item.severity == severity for item in report.findings) for severity in _MARKS}
    return {
        "schemaVersion": SCHEMA_VERSION,
        "command": report.command,
        **report.subject,
        "success": report.exit_code == 0,
        "counts": {"errors": counts["error"], "warnings": counts["warning"], "notes": counts["info"]},
        "checks": [
            {
                "name": one.name,
                "title": one.title,
                "status": one.status,
                "findings": [fault.as_dict() for fault in ordered(one.findings)],
            }
            for one in report.checked
        ],
        **report.more,
    }


def as_table(report: Report, *, short: bool = False) -> str:
    """Return a report as text: each check with what it found, or only the checks that found something."""
    lines: list[str] = []
    for one in report.checked:
        if short and not one.findings:
            continue
        mark = {"passed": "√", "warned": _MARKS["warning"], "failed": _MARKS["error"]}[one.status]
        lines.append(
            f"{mark} {one.name}: {one.title}" if one.status == "passed" else f"{mark} {one.name}: {one.status}"
        )
        for fault in ordered(one.findings):
            lines += _lines(fault)
    if not short:
        lines += report.notes
        lines.append(_summary(report))
    return "".join(f"{line}\n" for line in lines)


def _lines(fault: Diagnostic) -> list[str]:
    """Return a finding as lines. Each stays whole, so that its commands can be copied."""
    value = f" ({fault.as_dict()['value']})" if fault.value is not None else ""
    lines = [f"    {_MARKS[fault.severity]} {fault.severity} {fault.code} {fault.path}{value}: {fault.message}"]
    lines += [f"      allowed: {fault.allowed}"] if fault.allowed else []
    prose, *commands = fault.remedy.split("\n")
    lines += [f"      remedy:  {prose}", *(f"               {command}" for command in commands)]
    lines += [f"      see:     {fault.command}"] if fault.command else []
    return [_printable(line) for line in lines]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _summary(report: Report) -> str:
    found = report.findings
    faults, warnings = len(errors(found)), sum(fault.severity == "warning" for fault in found)
    if not report.reachable:
        return "The cluster does not answer."
    counted = f"{len(report.checked)} checks, {_counted(faults, 'error')}, {_counted(warnings, 'warning')}."
    return f"{counted} `meshup explain CODE` says more about each code." if faults or warnings else counted


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def awaited(run: Callable[[], Report], longest: float, command: str) -> Report:
    """Run checks, and again until they find no error or the time is over. Progress is one line for each change.

    Args:
        run: Runs the checks, on a new view of the cluster.
        longest: Seconds to wait at most.
        command: The command, for the lines on standard error.
    """
    end, said = time.monotonic() + longest, ""
    while True:
        report = run()
        left = sorted({fault.code for fault in errors(report.findings)})
        if report.exit_code == 0 or time.monotonic() + PAUSE > end:
            return report
        waiting = f"meshup {command}: waiting: {_counted(len(errors(report.findings)), 'error')} ({', '.join(left)})"
        if waiting != said:
            print(waiting, file=sys.stderr, flush=True)
            said = waiting
        time.sleep(PAUSE)


def show(report: Report, output: str) -> None:
    """Print a report on standard output, in one of `OUTPUTS`."""
    text = (
        json.dumps(as_json(report), indent=2) + "\n" if output == "json" else as_table(report, short=output == "short")
    )
    sys.stdout.write(text)


__all__ = ["OUTPUTS", "UNREACHABLE", "Checked", "Report", "as_json", "as_table", "awaited", "seconds", "show"]
