"""What the tests of add-ons share: plans, releases, and the value paths of charts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from components.addons.interface import AddonPlan
from components.helm import HelmRelease
from stacks.plan import Plan
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

TYPES: Mapping[str, type] = {"string": str, "bool": bool, "int": int, "map": dict, "list": list}
"""Types of values as the facts name them; a null default says nothing."""


def value_paths(chart: str) -> dict[str, dict[str, Any]]:
    """Return the value paths of a chart with their types, as its values.yaml has them."""
    return json.loads((Path(__file__).parents[2] / "facts" / f"{chart}-paths.json").read_text())["paths"]


def plan_of(keys: Mapping[str, Any]) -> Plan:
    """Return the plan of a stack with some keys of the configuration, whatever is worth knowing of it."""
    made, diagnostics = build(raw(**dict(keys)))
    assert made is not None, diagnostics
    return made


def addon_of(plan: Plan, name: str) -> AddonPlan:
    return next(item for item in plan.addons if item.name == name)


def release(plan: Plan, name: str) -> HelmRelease:
    return next(item for item in plan.releases if item["name"] == name)


def set_paths(values: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], prefix: str = "") -> dict[str, Any]:
    """Return the values by dotted path; a mapping of the chart's own ends a path."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and known.get(path, {}).get("type") != "map":
            found |= set_paths(cast("dict[str, Any]", value), known, f"{path}.")
        else:
            found[path] = value
    return found


def admitted(policy: Mapping[str, Any]) -> dict[str, set[int]]:
    """Return the ports that a NetworkPolicy opens, by namespace of the callers."""
    found: dict[str, set[int]] = {}
    for entry in policy["spec"]["ingress"]:
        for peer in entry["from"]:
            (name,) = peer["namespaceSelector"]["matchLabels"].values()
            found.setdefault(name, set()).update(port["port"] for port in entry["ports"])
    return found
