"""`meshup rules`: what a Prometheus of one's own needs of a stack, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from components.diagnostics import Diagnostic
from components.meshes import MESHES
from components.observability.alerts import stack_rules
from components.observability.source import MetricsSource
from operate.traffic import Compiled
from stacks.plan import own_parts


def sources(mesh: str) -> Mapping[str, MetricsSource]:
    """Return the metrics that the proxies of a mesh may have, by name, the default first."""
    return {source.name: source for source in MESHES[mesh].metrics}


def rule_file(asked: Compiled, source: MetricsSource) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Return a rule file of Prometheus with all recording and alerting rules, and what they can't measure.

    Args:
        asked: The stack, without an error.
        source: The metrics that its proxies have.
    """
    namespaces = sorted(own_parts(asked.chosen).joined)
    made = stack_rules(asked.compilation.planned, source, asked.mesh.name, asked.mesh.version, namespaces)
    return {"groups": [group.plain() for group in made.groups]}, made.diagnostics


def scrape_file(asked: Compiled, source: MetricsSource) -> dict[str, Any]:
    """Return the scrape jobs for what the rules read, as Prometheus reads them in `scrape_config_files`."""
    return {"scrape_configs": [dict(job) for job in source.jobs(asked.mesh.output["namespace"])]}


def as_yaml(data: Mapping[str, Any]) -> str:
    """Return a file of Prometheus as text. Nothing in it refers to another part of it."""
    return yaml.dump(dict(data), Dumper=_Plain, sort_keys=False, width=120)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True
