"""Services of somebody else on a real API server: discovered, written down, compared."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import paths
from devcluster.embedded import Embedded
from devcluster.stack import Stack
from tests.conftest import prepared_program

pytestmark = pytest.mark.cluster

NAMESPACE = "own-services"
PYTHON = paths.repository() / ".venv" / "bin" / "python"


def deployment(version: str, replicas: int) -> dict[str, Any]:
    labels = {"app": "shop", "version": version}
    container = {"name": "app", "image": "shop", "ports": [{"name": "web", "containerPort": 8080}]}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    metadata = {"name": f"shop-{version}", "namespace": NAMESPACE}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop", "namespace": NAMESPACE},
    "spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]},
}
LABELS = {"istio-injection": "enabled"}
OBJECTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": LABELS}},
    SERVICE,
    deployment("v1", 3),
    deployment("v2", 1),
]


def run(stack: Stack, *argv: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    command = stack.wrap(argv)
    return subprocess.run(
        command, cwd=paths.repository(), env=stack.env(), input=text, capture_output=True, text=True, check=False
    )


def kubectl(stack: Stack, *argv: str, text: str = "") -> None:
    done = run(stack, "kubectl", *argv, text=text)
    assert done.returncode == 0, done.stderr


def meshup(stack: Stack, *argv: str) -> "subprocess.CompletedProcess[str]":
    return run(stack, str(PYTHON), "-m", "operate", *argv, "--stack", stack.name, "--directory", str(stack.project))


def test_what_discover_writes_agrees_with_the_cluster_until_the_cluster_changes(
    embedded: Embedded, tmp_path: Path
) -> None:
    embedded.toolbox.ensure(["kubectl"])
    settings: dict[str, Any] = {"meshup:traffic": {}, "meshup:trafficFile": "routes.yaml"}
    stack = prepared_program(embedded, tmp_path, settings)
    listed = {"apiVersion": "v1", "kind": "List", "items": OBJECTS}
    kubectl(stack, "apply", "--filename", "-", text=json.dumps(listed))
    try:
        for item in ("v1", "v2"):
            kubectl(stack, "rollout", "status", f"deployment/shop-{item}", "--namespace", NAMESPACE, "--timeout=2m")
        written = meshup(stack, "discover", "shop", "--write")
        assert (written.returncode, written.stdout) == (0, (stack.project / "routes.yaml").read_text()), written.stderr
        assert yaml.safe_load(written.stdout)["shop"] == {
            "namespace": NAMESPACE,
            "ports": [{"number": 80, "protocol": "http", "targetPort": 8080}],
            "selector": {"app": "shop"},
            "versions": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
            "split": {"v1": 75, "v2": 25},
        }
        compared = meshup(stack, "explain", "shop", "--cluster", "--json")
        assert (compared.returncode, json.loads(compared.stdout)["notes"]) == (0, []), compared.stderr

        changed = {"spec": {"selector": {"app": "shop", "version": "v1"}}}
        kubectl(stack, "patch", "service", "shop", "--namespace", NAMESPACE, "--patch", json.dumps(changed))
        refused = meshup(stack, "explain", "shop", "--cluster")
        assert refused.returncode == 1
        assert "MSH177" in refused.stderr
    finally:
        kubectl(stack, "delete", "namespace", NAMESPACE, "--wait=false")
