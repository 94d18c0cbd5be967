"""Rules of Prometheus as plain data, and parts of expressions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INTERVAL_SECONDS = 15
"""How often rules are evaluated: as often as the proxies are scraped."""


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A recording rule of Prometheus.

    Attributes:
        record: The name of the series.
        expr: The expression.
        labels: Labels that every series of it has.
    """

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def plain(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        labels = {"labels": dict(sorted(self.labels.items()))} if self.labels else {}
        return {"record": self.record, "expr": self.expr, **labels}


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """An alerting rule of Prometheus.

    Attributes:
        alert: Its name.
        expr: What is wrong, as an expression that is empty while nothing is.
        labels: Labels of the alert; `severity` among them, `page` or `ticket`.
        summary: What is wrong, one sentence.
        hold: How long it must be wrong, such as `2m`; "" for no time.
    """

    alert: str
    expr: str
    labels: Mapping[str, str]
    summary: str
    hold: str = ""

    def plain(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        return {
            "alert": self.alert,
            "expr": self.expr,
            **({"for": self.hold} if self.hold else {}),
            "labels": dict(sorted(self.labels.items())),
            "annotations": {"summary": self.summary},
        }


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """A group of rules, evaluated one after the other.

    Attributes:
        name: Unique name.
        rules: The rules.
    """

    name: str
    rules: tuple[RecordingRule | AlertingRule, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        return {"name": self.name, "interval": f"{INTERVAL_SECONDS}s", "rules": [rule.plain() for rule in self.rules]}


def selector(labels: Mapping[str, str], *pattern: str) -> str:
    """Return a selector of exact label values, quoted as PromQL reads them.

    Args:
        labels: The values by label.
        pattern: Another label, and a regular expression that all of its value must match.
    """
    parts = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(labels.items())]
    if pattern:
        parts.append(f"{pattern[0]}=~{json.dumps(pattern[1])}")
    return "{" + ", ".join(parts) + "}"


def relabelled(expression: str, *renamings: tuple[str, str, str, str]) -> str:
    """Return an expression whose series get labels from others: (label, text, from label, pattern) each."""
    for label, text, source, pattern in renamings:
        expression = f'label_replace({expression}, "{label}", "{text}", "{source}", "{pattern}")'
    return expression


def share(part: str, every: str) -> str:
    """Return the share of a part by the same labels: 0 where the part has no series, nothing where there is nothing."""
    return f"({part} or 0 * {every}) / ({every} > 0)"
