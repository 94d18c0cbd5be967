"""`meshup rules`, `meshup dashboards`: what a Prometheus and a Grafana of one's own need of a stack, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from components.addons.prometheus import PrometheusSettings
from components.diagnostics import Diagnostic
from components.meshes import MESHES
from components.observability.alerts import stack_rules
from components.observability.source import MetricsSource
from operate.traffic import Compiled
from stacks.plan import own_parts


def sources(mesh: str) -> Mapping[str, MetricsSource]:
    """Return the metrics that the proxies of a mesh may have, by name, the default first."""
    return {source.name: source for source in MESHES[mesh].metrics}


def source_of(asked: Compiled, named: str) -> MetricsSource | None:
    """Return the metrics that the proxies of a stack have; None if the mesh has none of that name.

    Args:
        asked: The stack.
        named: Their name; "" for what `meshup:prometheus` says, or else the mesh's own.
    """
    known = sources(asked.mesh.name)
    if named:
        return known.get(named)
    return known.get(asked.chosen.section(PrometheusSettings).metrics, next(iter(known.values())))


def boards(asked: Compiled, source: MetricsSource) -> Mapping[str, dict[str, Any]]:
    """Return the dashboards of a stack by uid, as Grafana reads them from files."""
    from components.observability.dashboards import dashboards  # noqa: PLC0415 - a tenth of a second for one command

    return dashboards(source, asked.mesh.name)


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
