"""Istio's own charts, from the Go module that tools/istio pins."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
PLACES = {"base": "base", "istiod": "istio-control/istio-discovery", "gateway": "gateway"}


@functools.cache
def module(name: str = "istio.io/istio") -> Path | None:
    """The folder of a module that tools/istio pins, if Go is here and has it already."""
    go = shutil.which("go")
    if go is None:
        return None
    argv = [go, "list", "-m", "-f", "{{.Dir}}", name]
    found = subprocess.run(argv, cwd=REPOSITORY / "tools" / "istio", capture_output=True, text=True, check=False)
    folder = Path(found.stdout.strip())
    return folder if found.returncode == 0 and found.stdout.strip() and folder.is_dir() else None


def file(path: str, name: str = "istio.io/istio") -> Path:
    """A file of a module; skips the test where the module is not in the Go module cache."""
    folder = module(name)
    if folder is None:
        pytest.skip(f"the pinned module {name} is not in the Go module cache: `go mod download` in tools/istio")
    return folder / path


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
