"""Prometheus as an add-on, on a real engine and a real API server, with a chart that stands in for the real one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import stackfile
from devcluster.embedded import Embedded
from devcluster.stack import Stack
from tests import promtool
from tests.conftest import prepared_program

pytestmark = pytest.mark.cluster

STAND_IN = Path(__file__).parents[1] / "charts" / "prometheus"
ROUTE: dict[str, Any] = {
    "namespace": "default",
    "port": 80,
    "versions": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
    "split": {"v1": 90, "v2": 10},
    "slo": {"success": 99.9},
}


def kubectl(stack: Stack, *arguments: str) -> str:
    """Ask the cluster of a stack."""
    command = stack.wrap(["kubectl", "--namespace", "prometheus", *arguments])
    done = subprocess.run(command, cwd=stack.project, env=stack.env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(stack: Stack) -> dict[str, Any]:
    """Return the files of Prometheus as they are on the cluster."""
    data = json.loads(kubectl(stack, "get", "configmap", "prometheus", "--output", "json"))["data"]
    return {name: yaml.safe_load(text) for name, text in data.items()}


@pytest.fixture(scope="module")
def stack(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A mesh without webhooks, one route and Prometheus; the charts are Istio's and the stand-in."""
    folder = tmp_path_factory.mktemp("prometheus")
    embedded.toolbox.ensure(["kubectl", "istio-charts"])
    charts = folder / "charts"
    charts.mkdir()
    for chart in (*embedded.toolbox.path("istio-charts").iterdir(), STAND_IN):
        (charts / chart.name).symlink_to(chart)
    settings: dict[str, Any] = {
        "meshup:apps": "[]",
        "meshup:charts": {"directory": str(charts)},
        "meshup:istio": {"webhooks": False},
        "meshup:traffic": {"s": ROUTE},
        "meshup:prometheus": {"enabled": True, "kubeStateMetrics": False},
    }
    subject = prepared_program(embedded, folder, settings)
    subject.file.write_text(subject.file.read_text().replace('meshup:apps: "[]"', "meshup:apps: []"))
    subject.up()
    yield subject
    subject.recover()
    subject.run(["destroy", "--yes", "--skip-preview"], quiet=True)


def test_the_rules_of_the_routes_reach_prometheus_and_nothing_drifts(stack: Stack, tmp_path: Path) -> None:
    found = files(stack)
    groups = [*found["recording_rules.yml"]["groups"], *found["alerting_rules.yml"]["groups"]]
    promtool.check(tmp_path, groups)
    names = {rule.get("record") or rule["alert"] for group in groups for rule in group["rules"]}
    assert {"meshup:split:declared_share", "MeshupErrorBudgetBurn"} <= names
    jobs = [job["job_name"] for job in found["prometheus.yml"]["scrape_configs"]]
    assert jobs == ["meshup-istio-agents", "meshup-istio-proxies", "meshup-istiod", "prometheus"]
    stack.run(["preview", "--expect-no-changes"], quiet=True)


def test_only_who_is_named_may_read_it(stack: Stack) -> None:
    policy = json.loads(kubectl(stack, "get", "networkpolicy", "prometheus", "--output", "json"))["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert len(policy["ingress"][0]["from"]) == 1


def test_another_weight_is_another_declared_share(stack: Stack) -> None:
    text = stack.file.read_text()
    changed = {"s": {**ROUTE, "split": {"v1": 50, "v2": 50}}}
    stack.file.write_text(stackfile.with_settings(text, {"meshup:traffic": changed}))
    stack.up()
    rules = [rule for group in files(stack)["recording_rules.yml"]["groups"] for rule in group["rules"]]
    shares = [rule["expr"] for rule in rules if rule["record"] == "meshup:split:declared_share"]
    assert shares == ["vector(0.5)", "vector(0.5)"]
