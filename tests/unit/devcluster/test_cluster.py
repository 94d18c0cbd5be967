import json
from pathlib import Path

import pytest

from devcluster import cluster
from devcluster.cluster import Cluster, ClusterError, State
from devcluster.components import PORTS
from devcluster.processes import ProcessId
from devcluster.progress import Progress
from devcluster.toolchain import Toolbox

STATE = State(
    marker="m",
    mode="full",
    reason="",
    ports=PORTS,
    nodes=2,
    processes={"etcd": ProcessId(1234567, 5, "boot")},
)


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Cluster("dev")


def recorded(dev: Cluster, text: str) -> None:
    dev.directory.mkdir(parents=True)
    (dev.directory / "cluster.json").write_text(text)


def test_the_state_is_read_back_as_it_was_written() -> None:
    assert State.from_json(STATE.to_json()) == STATE


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"processes": {"etcd": 1}}', '{"processes": {}, "other": 1}', "null"]
)
def test_a_damaged_state_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        State.from_json(text)


def test_a_process_of_another_boot_is_not_alive() -> None:
    assert not STATE.alive("etcd")
    assert not STATE.alive("kwok")


def test_a_damaged_record_is_reported_with_the_file_to_remove(dev: Cluster) -> None:
    recorded(dev, "{")
    with pytest.raises(ClusterError, match="remove the folder") as raised:
        dev.status()
    assert str(dev.directory) in str(raised.value)


def test_a_cluster_that_was_never_up_says_how_to_start_it(dev: Cluster) -> None:
    assert not dev.status().exists
    with pytest.raises(ClusterError, match="devcluster up"):
        dev.exec_argv(["true"])
    with pytest.raises(ClusterError, match="devcluster up"):
        dev.environment()


def test_a_cluster_that_does_not_run_after_a_reboot_says_so_in_its_status(dev: Cluster) -> None:
    recorded(dev, STATE.to_json())
    status = dev.status()
    assert status.exists
    assert not status.ready
    assert "does not run any more" in status.fault
    assert [(process.role, process.alive) for process in status.processes] == [("etcd", False)]


def test_a_cluster_whose_first_start_was_killed_says_so_in_its_status(dev: Cluster) -> None:
    recorded(dev, State(marker="m", mode="api", reason="", ports={}, nodes=1).to_json())
    assert "cut short" in dev.status().fault


def test_in_mode_api_commands_run_as_they_are_and_keep_other_hosts_proxies(dev: Cluster) -> None:
    recorded(dev, json.dumps(json.loads(STATE.to_json()) | {"mode": "api", "reason": "why"}))
    assert dev.exec_argv(["helm", "list"]) == ["helm", "list"]
    assert dev.environment()["NO_PROXY"] == "127.0.0.1,localhost"
    assert dev.environment()["KUBECONFIG"] == str(dev.kubeconfig)
    assert (dev.mode, dev.reason, dev.runs_pods) == ("api", "why", False)


def test_down_without_a_cluster_does_nothing(dev: Cluster) -> None:
    dev.down()
    assert not dev.directory.exists()


def test_down_after_a_reboot_removes_the_files_and_keeps_those_of_others(dev: Cluster) -> None:
    recorded(dev, STATE.to_json())
    (dev.directory / "etcd").mkdir()
    (dev.directory / "etcd" / "data").write_text("x")
    (dev.directory / "pulumi-passphrase").write_text("kept")
    dev.down()
    assert [path.name for path in dev.directory.iterdir()] == ["pulumi-passphrase"]


def test_a_folder_that_can_not_be_made_is_reported_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ClusterError, match="Not a directory"):
        Cluster("dev").up(Toolbox(), Progress())


def test_a_mode_that_does_not_exist_is_refused_before_anything_starts(
    dev: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cluster.MODE_VARIABLE, "both")
    with pytest.raises(ClusterError, match="'full' or 'api'"):
        dev.up(Toolbox(), Progress())
    assert not dev.directory.exists()
