import re
from pathlib import Path
from typing import Any

import pytest

from devcluster import cli, embedded, paths

KUBECONFIG = "clusters:\n- name: meshup-dev\n  cluster: {server: x, certificate-authority-data: QUJD}\n"


def own(users: dict[str, object], *, pods: bool = True) -> dict[str, Any]:
    return dict(embedded.settings("meshup-dev", Path("/c"), Path("/g"), users, pods=pods))


def test_the_clusters_own_settings_name_its_context_its_charts_and_its_gateway_api() -> None:
    assert own({}) == {
        "kubernetes:context": "meshup-dev",
        "meshup:environment": "dev",
        "meshup:charts": {"directory": "/c"},
        "meshup:gatewayApi": {"manifest": "/g"},
    }


@pytest.mark.parametrize("source", [{"directory": "/mine"}, {"repository": "oci://mine.example/charts"}])
def test_charts_and_a_gateway_api_of_the_users_own_stay(source: dict[str, str]) -> None:
    found = own({"meshup:charts": source, "meshup:gatewayApi": {"manifest": "/mine.yaml"}})
    assert not {"meshup:charts", "meshup:gatewayApi"} & set(found)


def test_places_that_an_earlier_up_wrote_are_kept_up_to_date() -> None:
    old = str(paths.cache_dir() / "tools" / "old")
    found = own({"meshup:charts": {"directory": old}, "meshup:gatewayApi": {"manifest": old, "install": True}})
    assert found["meshup:charts"] == {"directory": "/c"}
    assert found["meshup:gatewayApi"] == {"manifest": "/g", "install": True}


def test_without_pods_the_webhooks_are_left_out_and_the_users_own_settings_of_istio_stay() -> None:
    found = own({"meshup:istio": {"replicas": 2, "webhooks": True}}, pods=False)
    assert found["meshup:istio"] == {"replicas": 2, "webhooks": False}


@pytest.mark.parametrize("text", ["", "config: {}", "config: [", "- a\n"])
def test_a_stack_file_that_has_no_settings_or_can_not_be_read_has_none(text: str) -> None:
    assert embedded.users_settings(text) == {}


def test_settings_are_read_from_a_stack_file() -> None:
    text = "config:\n  meshup:istio:\n    replicas: 2\n"
    assert embedded.users_settings(text) == {"meshup:istio": {"replicas": 2}}


def test_a_cluster_is_told_from_another_of_its_name_by_its_certificate_authority() -> None:
    assert embedded.authority(KUBECONFIG) == "QUJD"


def test_a_cluster_name_that_can_not_be_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--name", "../x"]) == 2
    assert "can't name a cluster" in capsys.readouterr().err


def test_a_command_on_a_cluster_that_is_not_up_says_how_to_start_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for command in (["exec", "--", "true"], ["traffic"], ["shell"]):
        assert cli.main(command) == 1
        assert "devcluster up" in capsys.readouterr().err
    assert cli.main(["status"]) == 1
    assert "not up" in capsys.readouterr().out


def test_a_tool_that_is_none_is_refused_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tools", "istioctll"]) == 1
    assert "No such tool: istioctll. There are: " in (said := capsys.readouterr().err)
    assert ", istioctl, " in said


def test_a_command_that_is_not_there_is_named_and_has_the_exit_code_that_a_shell_gives_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inside(_: object, argv: list[str]) -> list[str]:
        return argv

    def nothing(*_: object) -> dict[str, str]:
        return {}

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("devcluster.cluster.Cluster.exec_argv", inside)
    monkeypatch.setattr("devcluster.cluster.Cluster.environment", nothing)
    monkeypatch.setattr("devcluster.toolchain.Toolbox.ensure", nothing)
    assert cli.main(["exec", "--", "kubectll", "get"]) == 127
    assert capsys.readouterr().err == "exec: there is no command 'kubectll'\n"
    assert cli.main(["exec", "--", "sh", "-c", "kill -KILL $$"]) == 137


def test_exec_without_a_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["exec", "--"]) == 2
    assert "name a command" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["traffic", "up"])
@pytest.mark.parametrize("requests", ["0", "-1", "many", "", "1e3", "10000001", "9" * 5000])
def test_a_number_of_requests_that_makes_no_sense_is_refused(
    command: str, requests: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, f"--requests={requests}"])
    assert caught.value.code == 2
    assert f"argument --requests: {requests!r} is not a whole number from 1 to 10000000" in capsys.readouterr().err


def test_commands_that_are_suggested_name_the_cluster_where_it_is_not_the_one_by_default(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv(paths.CLUSTER_VARIABLE, raising=False)
    other = cli.next_steps("other")
    assert other.count("python3 -m devcluster exec --name other -- pulumi config set") == 2
    assert re.findall(r"make (\w+)(.{20})", other) == [
        (target, ' ARGS="--name other"') for target in ("up", "traffic", "shell", "down")
    ]
    assert "--name" not in cli.next_steps("dev")
    for argv in (["exec", "--name", "other", "--", "true"], ["traffic", "--name", "other"]):
        assert cli.main(argv) == 1
        assert "`python3 -m devcluster up --name other`" in capsys.readouterr().err
    assert cli.main(["status", "--name", "other"]) == 1
    assert '`make up ARGS="--name other"`' in capsys.readouterr().out
    monkeypatch.setenv(paths.CLUSTER_VARIABLE, "other")
    assert "--name" not in cli.next_steps("other")


def test_the_greeting_of_a_shell_is_only_for_a_cluster_that_is_up(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert cli.main(["shell"]) == 1
    assert capsys.readouterr().out == ""
