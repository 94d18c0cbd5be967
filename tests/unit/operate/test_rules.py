"""`meshup rules`: what a Prometheus of one's own loads is what meshup installs."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from operate.cli import app
from tests import promtool
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

TRAFFIC = {"reviews": {"namespace": "bookinfo", "split": {"v1": 90, "v2": 10}, "slo": {"success": 99.9}}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    config = {"meshup:environment": "dev", "meshup:apps": ["bookinfo"], "meshup:traffic": TRAFFIC}
    (tmp_path / "Pulumi.yaml").write_text("name: meshup\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))
    return tmp_path


def run(project: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["rules", "--directory", str(project), *arguments])
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def installed(mesh: str) -> dict[str, Any]:
    """Return the values with which meshup installs Prometheus for the same routes."""
    plan, _ = build(raw(mesh=mesh, traffic=TRAFFIC, prometheus={"enabled": True, "kubeStateMetrics": False}))
    assert plan is not None
    return next(item["values"] for item in plan.releases if item["name"] == "prometheus")


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_the_rules_are_those_that_meshup_installs_and_prometheus_takes_them(
    project: Path, mesh: str, tmp_path: Path
) -> None:
    code, out, err = run(project, "--mesh", mesh)
    assert (code, err) == (0, "")
    files = installed(mesh)["serverFiles"]
    assert yaml.safe_load(out)["groups"] == [
        *files["recording_rules.yml"]["groups"],
        *files["alerting_rules.yml"]["groups"],
    ]
    promtool.check(tmp_path, yaml.safe_load(out)["groups"])


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_the_jobs_are_those_that_meshup_installs(project: Path, mesh: str) -> None:
    code, out, _ = run(project, "--mesh", mesh, "--jobs")
    jobs = installed(mesh)["scrapeConfigs"]
    printed = {job["job_name"]: {**job, "enabled": True} for job in yaml.safe_load(out)["scrape_configs"]}
    assert code == 0
    assert printed == {name: job for name, job in jobs.items() if job["enabled"]}
    assert "&id" not in out


def test_other_metrics_give_other_rules_and_unknown_ones_a_message(project: Path) -> None:
    code, out, _ = run(project, "--metrics", "envoy")
    assert code == 0 and "envoy_cluster_upstream_rq" in out
    code, out, err = run(project, "--metrics", "linkerd")
    assert (code, out, err) == (2, "", "--metrics is 'linkerd'; allowed: istio, envoy.\n")


def test_a_configuration_with_a_fault_is_refused(project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text(
        yaml.safe_dump({"config": {"meshup:environment": "dev", "meshup:traffic": {"reviews": {"slo": {}}}}})
    )
    code, out, err = run(project)
    assert (code, out) == (1, "") and "MSH003" in err
