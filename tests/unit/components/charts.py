"""Istio's own charts, from the Go module that tools/istio pins."""

from pathlib import Path
from typing import Any, cast

import yaml

from tests import modules

PLACES = {"base": "base", "istiod": "istio-control/istio-discovery", "gateway": "gateway"}


def file(path: str, name: str = "istio.io/istio") -> Path:
    """A file of a module."""
    return modules.directory(name) / path


def chart(name: str) -> Path:
    """The folder of a chart."""
    return file(f"manifests/charts/{PLACES[name]}")


def defaults(name: str) -> dict[str, Any]:
    """The default values of a chart, without the wrapper that Istio puts around them."""
    text = (chart(name) / "values.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["_internal_defaults_do_not_set"]


def paths(values: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted paths of all leaves."""
    found: list[str] = []
    for key, value in values.items():
        path = f"{prefix}.{key}" if prefix else key
        found += paths(cast("dict[str, Any]", value), path) if isinstance(value, dict) and value else [path]
    return found
