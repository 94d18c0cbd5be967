"""The shell of `meshup preflight`: what it needs of a command line, of files and of a cluster."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operate import preflight
from operate.cli import app
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import item, view_of


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack without a kubeconfig."""
    (tmp_path / "Pulumi.yaml").write_text("name: meshup\n")
    config = "config:\n  kubernetes:context: kind-dev\n  meshup:apps: [bookinfo]\n"
    (tmp_path / "Pulumi.dev.yaml").write_text(config)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    return tmp_path


@pytest.mark.parametrize(
    "arguments", [["--output", "xml"], ["--wait", "5"], ["--wait", "-1m"], ["--stack", "nobody"], ["--sideways"]]
)
def test_a_wrong_command_line_ends_with_2_and_says_what_is_allowed(project: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["preflight", "--directory", str(project), *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr


def test_without_a_cluster_the_document_says_why_and_the_exit_code_is_6(project: Path) -> None:
    done = CliRunner().invoke(app, ["preflight", "--directory", str(project), "--output", "json"])
    document = json.loads(done.stdout)
    assert (done.exit_code, document["success"]) == (6, False)
    (check,) = document["checks"]
    assert (check["name"], check["status"], check["findings"][0]["code"]) == ("configuration", "failed", "MSH021")


def test_all_faults_of_a_configuration_are_there_without_a_cluster_too(project: Path) -> None:
    report = preflight.run(raw(apps=["nothing"], mtls="maybe"), "dev", project)
    assert {"MSH004", "MSH021"} <= {fault.code for fault in report.findings}


def test_secrets_are_said_to_stay_closed(project: Path) -> None:
    with (project / "Pulumi.dev.yaml").open("a") as file:
        file.write("  meshup:identity:\n    secure: v1:abc\n")
    done = CliRunner().invoke(app, ["preflight", "--directory", str(project)])
    assert "goes on without meshup:identity" in done.stderr


def test_the_help_says_what_the_exit_codes_mean() -> None:
    shown = CliRunner().invoke(app, ["preflight", "--help"], env={"COLUMNS": "200"}).stdout
    assert "6 the cluster does not answer" in shown and "Nothing is deployed" in shown


def test_the_owner_is_who_has_made_the_namespaces_on_the_cluster() -> None:
    def owned(*owners: str) -> str:
        made = [
            item("Namespace", {"name": str(number), "annotations": {"meshup/stack": owner}})
            for number, owner in enumerate(owners)
        ]
        return preflight.owner_on(view_of(*made), "dev")

    assert owned() == "organization/meshup/dev"
    assert owned("acme/meshup/dev", "acme/meshup/prod") == "acme/meshup/dev"
    assert owned("acme/meshup/dev", "other/meshup/dev") == "organization/meshup/dev"
    assert preflight.owner_on(view_of(), "acme/meshup/dev") == "acme/meshup/dev"
