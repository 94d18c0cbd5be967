"""Draw the picture of each dashboard: `python -m tests.pictures`, after `make test-tools`."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.meshes.istio.metrics import ENVOY_METRICS, ISTIO_METRICS
from components.observability.alerts import stack_rules
from components.observability.dashboards import dashboards
from devcluster import paths
from devcluster import prometheus as tools
from tests.pictures import scenario, server
from tests.pictures.draw import Drawing
from tests.unit.observability.test_rules import compiled

FOLDER = Path(__file__).parents[2] / "docs" / "observability"
MESH = "istio"
VALUES: Mapping[str, str | list[str]] = {
    "namespace": scenario.NAMESPACE,
    "service": "reviews",
    "rule": "split",
    "version": ["v1", "v2"],
}


def shown() -> Mapping[str, dict[str, Any]]:
    """Return the dashboards that are drawn, by the name of the file.

    Istio's own metrics do not tell retries and ejections, so that dashboard is the one of Envoy's statistics.
    """
    of_istio, of_envoy = dashboards(ISTIO_METRICS, MESH), dashboards(ENVOY_METRICS, MESH)
    resilience = f"meshup-{MESH}-resilience"
    return {
        uid.removeprefix(f"meshup-{MESH}-"): of_envoy[uid] if uid == resilience else board
        for uid, board in of_istio.items()
    }


def digest(board: Mapping[str, Any]) -> str:
    """Return what tells whether a picture is that of a dashboard."""
    return hashlib.sha256(json.dumps(board, sort_keys=True).encode()).hexdigest()[:16]


def main() -> int:
    """Draw all pictures and return the exit code."""
    release = Path("/etc/os-release")
    text = release.read_text() if release.is_file() else ""
    found = tools.on_machine(os.environ) or tools.kept(paths.cache_dir() / "tools", text)
    if not found:
        print("Prometheus is not here: `make test-tools`", file=sys.stderr)
        return 1
    planned = compiled(scenario.ROUTES, MESH, MESH).planned
    rules = stack_rules(planned, ISTIO_METRICS, MESH, "1.30.3", [scenario.NAMESPACE])
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, server.prometheus(found, Path(folder), rules) as source:
        for name, board in shown().items():
            values = dict(VALUES)
            if name == "overview":
                values["namespace"] = [scenario.NAMESPACE, "shop"]
            picture = Drawing(board, source, values).svg()
            (FOLDER / f"{name}.svg").write_text(picture.replace(">", f' data-dashboard="{digest(board)}">', 1))
            print(f"{name}.svg  {len(picture) // 1024} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
