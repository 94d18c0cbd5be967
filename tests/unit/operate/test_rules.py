"""`meshup rules`, `meshup dashboards`: what a Prometheus and a Grafana of one's own load is what meshup installs."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from components.meshes import MESHES
from components.observability.dashboards import dashboards
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


def run(project: Path, *arguments: str, command: str = "rules") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [command, "--directory", str(project), *arguments])
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


def test_metrics_of_the_stack_are_those_of_its_configuration(project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    config = yaml.safe_load(file.read_text())
    config["config"]["meshup:prometheus"] = {"metrics": "envoy"}
    file.write_text(yaml.safe_dump(config))
    assert "istio_requests_total" not in run(project)[1]
    # Those of another mesh are its own.
    assert "outbound_http_route" in run(project, "--mesh", "linkerd")[1].replace("(http|grpc)", "http")


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_dashboards_are_listed_and_written_as_grafana_reads_them(project: Path, mesh: str) -> None:
    made = dashboards(MESHES[mesh].metrics[0], mesh)
    code, out, err = run(project, "--mesh", mesh, command="dashboards")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(made)
    folder = project / "some" / "folder"
    code, out, err = run(project, "--mesh", mesh, "--output-dir", str(folder), command="dashboards")
    assert (code, err) == (0, "")
    assert {path.stem: json.loads(path.read_text()) for path in folder.iterdir()} == made
    assert out.splitlines() == [str(folder / f"{uid}.json") for uid in made]


def test_dashboards_of_unknown_metrics_and_in_a_file_are_refused(project: Path) -> None:
    code, out, err = run(project, "--metrics", "linkerd", command="dashboards")
    assert (code, out, err) == (2, "", "--metrics is 'linkerd'; allowed: istio, envoy.\n")
    there = project / "Pulumi.yaml"
    code, out, err = run(project, "--output-dir", str(there), command="dashboards")
    assert (code, out, err) == (2, "", f"{there} can't be written: File exists.\n")
