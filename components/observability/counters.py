"""Counters of proxies and what they mean, told once: for Prometheus as an expression, for a page of a proxy by line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .promql import relabelled

_GROUP = re.compile(r"\$\{?(\d)\}?")


class Matcher(NamedTuple):
    """A condition of Prometheus on a label. A label that is not there is "". A pattern must match all of the value."""

    label: str
    operator: Literal["=", "!=", "=~", "!~"]
    value: str

    def holds(self, text: str) -> bool:
        """Return whether the value of the label meets it."""
        met = text == self.value if self.operator in ("=", "!=") else re.fullmatch(self.value, text) is not None
        return met is not self.operator.startswith("!")


class Renaming(NamedTuple):
    """A `label_replace` of Prometheus: where `pattern` matches all of the label `source`, `label` becomes `text`."""

    label: str
    text: str
    source: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Counter:
    """Counters that proxies keep, and how their labels become neutral ones.

    Patterns are read by Prometheus (RE2) and by Python: only what means the same to both may be in them.

    Attributes:
        name: The name of the metric, or a pattern of names.
        where: Which of its series count.
        by: The labels that are read.
        renamings: How these become neutral ones, one after the other.
        neutral: The neutral labels.
    """

    name: str
    where: tuple[Matcher, ...]
    by: tuple[str, ...]
    renamings: tuple[Renaming, ...]
    neutral: tuple[str, ...]

    def per_second(self, window: str) -> str:
        """Return the expression of Prometheus for its increase per second over a window, by neutral labels."""
        conditions = [f"{one.label}{one.operator}{json.dumps(one.value)}" for one in self.where]
        named = self.name if self.name.isidentifier() else ""
        if not named:
            conditions.insert(0, f"__name__=~{json.dumps(self.name)}")
        series = f"{named}{{{', '.join(conditions)}}}"
        # A pattern stands in quotes, where a backslash is written twice.
        written = [one._replace(pattern=json.dumps(one.pattern)[1:-1]) for one in self.renamings]
        counted = relabelled(f"sum by ({', '.join(self.by)}) (rate({series}[{window}]))", *written)
        return f"sum by ({', '.join(self.neutral)}) ({counted})"

    def named(self, name: str) -> bool:
        """Return whether metrics of this name are counters of these."""
        return re.fullmatch(self.name, name) is not None

    def read(self, name: str, labels: Mapping[str, str]) -> tuple[str, ...] | None:
        """Return the values of the neutral labels of a line of a page; None if it does not count.

        Args:
            name: The name of the metric.
            labels: Its labels.
        """
        if not self.named(name) or not all(one.holds(labels.get(one.label, "")) for one in self.where):
            return None
        made = {label: labels.get(label, "") for label in self.by}
        for label, text, source, pattern in self.renamings:
            if found := re.fullmatch(pattern, made.get(source, "")):
                made[label] = _GROUP.sub(lambda group, found=found: found[int(group[1])] or "", text)
        return tuple(made.get(label, "") for label in self.neutral)


REQUESTS = ("namespace", "service", "version", "code_class")
"""Neutral labels of requests."""
DURATIONS = ("namespace", "service", "version", "le")
"""Neutral labels of the buckets of durations."""
