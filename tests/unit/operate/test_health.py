"""`meshup health`: what it reads, which exit code it has, and what it says without a cluster."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.diagnostics import Diagnostic
from components.manifests import Manifest
from operate import health
from operate.cli import app
from operate.findings import Report, as_json
from stacks.cluster import Answer, ClusterView
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import GATEWAY_API, FakeCluster, item

NAMESPACES = [item("Namespace", {"name": name}) for name in ("istio-system", "bookinfo")]


class Refusing(FakeCluster):
    """A cluster whose API server refuses every dry run."""

    def dry_run(self, manifest: Manifest, manager: str) -> Answer:
        del manifest, manager
        return Answer(403, "refused", {})


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Report]:
    def run(*live: Manifest, refused: tuple[str, ...] = (), reached: bool = True, **keys: Any) -> Report:
        cluster = Refusing([*GATEWAY_API, *live], refused)
        fault = Diagnostic("MSH023", "kubernetes:context", "kind-dev", "No answer.")
        view = ClusterView(cluster, "v1.36.3")

        def connect(*_: object) -> tuple[Refusing | None, ClusterView | None, list[Diagnostic]]:
            return (cluster, view, []) if reached else (None, None, [fault])

        monkeypatch.setattr("operate.preflight.connect", connect)
        return health.run(raw(**keys), "dev", tmp_path)

    return run


def codes(report: Report, name: str) -> set[str]:
    return {fault.code for one in report.checked if one.name == name for fault in one.findings}


def test_a_stack_that_is_not_there_fails_in_every_check_that_needs_it(run: Callable[..., Report]) -> None:
    report = run(*NAMESPACES)
    document = json.loads(json.dumps(as_json(report)))
    assert (report.exit_code, document["command"], document["stack"], document["mesh"]) == (1, "health", "dev", "istio")
    failed = {one["name"] for one in document["checks"] if one["status"] == "failed"}
    assert failed == {"control-plane", "crds", "webhooks", "workloads", "drift"}


def test_a_list_that_cant_be_read_is_an_error_and_not_a_silent_pass(run: Callable[..., Report]) -> None:
    report = run(*NAMESPACES, refused=("Pod",))
    assert codes(report, "configuration") == {"MSH024"}
    assert codes(report, "sidecars") == set()


def test_a_wrong_configuration_and_no_cluster_end_before_the_checks(run: Callable[..., Report]) -> None:
    report = run(*NAMESPACES, mesh="other")
    assert [one.name for one in report.checked] == ["configuration"]
    assert report.exit_code == 1
    report = run(reached=False)
    assert codes(report, "configuration") == {"MSH023"}
    assert report.exit_code == 6


@pytest.mark.parametrize("argv", [["--output", "xml"], ["--wait", "5"]])
def test_a_wrong_command_line_is_a_matter_of_usage(argv: list[str]) -> None:
    assert CliRunner().invoke(app, ["health", *argv]).exit_code == 2
