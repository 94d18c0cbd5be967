"""Dashboards against the types of Grafana 13, by TypeScript: nightly, and only where there is npm.

What is checked is the JSON as it is, as object literals, so that a field that Grafana does not know is an error.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.observability.dashboards import dashboards
from tests.unit.observability.test_dashboards import SOURCES

PACKAGES = ("typescript@7.0.2", "@grafana/schema@13.2.3")
TYPES = "./node_modules/@grafana/schema/dist/types/raw"
KINDS = ("timeseries", "stat", "table", "heatmap", "text")
# The enums of the types are strings in JSON.
HEAD = f"""
import type {{ Dashboard }} from "{TYPES}/dashboard/x/types.gen.d.ts";
{"".join(f'import type * as {kind} from "{TYPES}/composable/{kind}/panelcfg/x/types.gen.d.ts";' for kind in KINDS)}
type Plain<T> = T extends string ? `${{T}}` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Plain<U>[] : T extends object ? {{ [K in keyof T]: Plain<T[K]> }} : T;
"""


def known(board: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard without the fields that Grafana reads and its types lack, or that the builders left over."""
    made = json.loads(json.dumps(board))
    for variable in made["templating"]["list"]:
        for field in ("auto", "auto_count", "auto_min"):
            variable.pop(field, None)
    for annotation in made["annotations"].get("list", []):
        # What only the data source of Prometheus reads (grafana-prometheus 13, annotations.ts).
        assert annotation.pop("target")["expr"] == annotation.pop("expr")
        for field in ("step", "textFormat", "titleFormat"):
            annotation.pop(field)
    for panel in made["panels"]:
        if panel["type"] == "table":
            panel["options"].pop("footer")
    return made


def literals(boards: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield the declarations of all dashboards, and of the options and fields of their panels."""
    yield HEAD
    number = 0
    for board in boards:
        yield f"export const b{number}: Plain<Dashboard> = {json.dumps(board)};"
        number += 1
        for panel in board["panels"]:
            kind, number = panel["type"], number + 1
            if kind == "row":
                continue
            yield f"export const o{number}: Plain<{kind}.Options> = {json.dumps(panel['options'])};"
            custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom")
            if kind in {"timeseries", "table", "heatmap"} and custom:
                yield f"export const c{number}: Partial<Plain<{kind}.FieldConfig>> = {json.dumps(custom)};"


def compiled(folder: Path, boards: Iterator[dict[str, Any]]) -> str:
    """Return what TypeScript has to say."""
    (folder / "dashboards.ts").write_text("\n".join(literals(boards)))
    options = ("--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler")
    command = ["node_modules/.bin/tsc", *options, "dashboards.ts"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder).stdout


@pytest.mark.nightly
def test_dashboards_are_of_the_types_of_grafana(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here")
    (tmp_path / "package.json").write_text("{}")
    command = [npm, "install", "--silent", "--ignore-scripts", *PACKAGES]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    every = [known(board) for source, mesh in SOURCES for board in dashboards(source, mesh).values()]
    assert compiled(tmp_path, iter(every)) == ""
    wrong = {**every[0], "panels": [{**every[0]["panels"][0], "titel": "a"}]}
    assert "titel" in compiled(tmp_path, iter([wrong]))
