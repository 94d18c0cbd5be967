"""Draw the picture of each dashboard: `python -m tests.pictures`, after `make test-tools`."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.meshes.istio.metrics import ENVOY_METRICS, ISTIO_METRICS
from components.meshes.linkerd.metrics import LINKERD_METRICS
from components.observability.alerts import stack_rules
from components.observability.dashboards import dashboards
from devcluster import paths
from devcluster import prometheus as tools
from tests.pictures import linkerd, scenario, server
from tests.pictures.draw import Drawing, EmptyError
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


@contextmanager
def answering(mesh: str, commands: dict[str, Path]) -> Generator[server.Prometheus]:
    """Run a Prometheus that has seen the generated hour of a mesh.

    Args:
        mesh: The mesh.
        commands: The commands `prometheus` and `promtool`.

    Raises:
        PrometheusError: With what it says.
    """
    source, api, samples = (
        (ISTIO_METRICS, "istio", scenario.samples())
        if mesh == MESH
        else (LINKERD_METRICS, "gateway-api", linkerd.samples())
    )
    planned = compiled(scenario.ROUTES, mesh, api).planned
    rules = stack_rules(planned, source, mesh, "1.30.3", [scenario.NAMESPACE])
    with tempfile.TemporaryDirectory() as folder, server.prometheus(commands, Path(folder), rules, samples) as running:
        yield running


def picture(board: Mapping[str, Any], source: server.Prometheus) -> str:
    """Return the picture of a dashboard.

    Raises:
        EmptyError: A panel has no data.
    """
    values = dict(VALUES)
    if not any(variable["name"] == "service" for variable in board["templating"]["list"]):
        values["namespace"] = [scenario.NAMESPACE, "shop"]
    return Drawing(board, source, values).svg().replace(">", f' data-dashboard="{digest(board)}">', 1)


def main() -> int:
    """Draw all pictures and return the exit code."""
    release = Path("/etc/os-release")
    text = release.read_text() if release.is_file() else ""
    found = tools.on_machine(os.environ) or tools.kept(paths.cache_dir() / "tools", text)
    if not found:
        print("Prometheus is not here: `make test-tools`", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    try:
        with answering(MESH, found) as source:
            for name, board in shown().items():
                drawn = picture(board, source)
                (FOLDER / f"{name}.svg").write_text(drawn)
                print(f"{name}.svg  {len(drawn) // 1024} kB")
    except (server.PrometheusError, EmptyError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
