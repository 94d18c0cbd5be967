import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from devcluster import stack
from devcluster.stack import Stack, StackError


def lock(folder: Path, **changes: Any) -> Path:
    """Write a lock as pulumi v3.200.0 writes it."""
    file = folder / ".pulumi" / "locks" / "organization" / "meshup" / "embedded" / "1f6e.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "pid": os.getpid(),
        "username": "someone",
        "hostname": socket.gethostname(),
        "timestamp": datetime.now(UTC).isoformat(),
    } | changes
    file.write_text(json.dumps(content))
    return file


def read(file: Path) -> stack.Lock:
    found = stack.read_lock(file)
    assert found is not None
    return found


def test_a_lock_of_a_live_process_is_held(tmp_path: Path) -> None:
    assert stack.holder_lives(read(lock(tmp_path)))


def test_a_lock_of_a_process_that_ended_is_stale(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not stack.holder_lives(read(lock(tmp_path, pid=ended.pid)))


def test_a_later_process_with_the_same_number_does_not_hold_the_lock(tmp_path: Path) -> None:
    long_ago = datetime.fromtimestamp(time.time() - 10 * 86400 * 365, UTC).isoformat()
    assert not stack.holder_lives(read(lock(tmp_path, timestamp=long_ago)))


def test_a_lock_from_another_machine_is_never_taken_for_stale(tmp_path: Path) -> None:
    assert stack.holder_lives(read(lock(tmp_path, hostname="elsewhere", pid=2**22)))


@pytest.mark.parametrize("timestamp", ["2026-11-22T22:38:17.123456789Z", "2026-11-22T22:38:17.1+01:00"])
def test_gos_timestamps_are_understood(tmp_path: Path, timestamp: str) -> None:
    assert read(lock(tmp_path, timestamp=timestamp)).since > 0


def test_a_lock_that_is_half_written_is_none(tmp_path: Path) -> None:
    file = lock(tmp_path)
    file.write_text('{"pid": 1')
    assert stack.read_lock(file) is None
    assert stack.read_lock(tmp_path / "gone.json") is None


def test_a_second_run_is_refused_and_told_who_works(tmp_path: Path) -> None:
    subject = Stack(tmp_path, tmp_path, tmp_path / "pass", {})
    lock(subject.backend)
    with pytest.raises(StackError, match=f"pid {os.getpid()} on ") as caught:
        subject.recover()
    assert "run the same command again" in str(caught.value)


def test_the_environment_is_the_clusters_own_and_the_passphrase_is_a_file() -> None:
    base = {
        "PATH": "/bin",
        "PULUMI_CONFIG_PASSPHRASE": "mine",
        "PULUMI_ACCESS_TOKEN": "t",
        "PULUMI_BACKEND_URL": "s3://x",
    }
    env = Stack(Path("/p"), Path("/s"), Path("/s/pass"), base).env()
    assert env["PULUMI_BACKEND_URL"] == "file:///s/pulumi?metadata=skip"
    assert Path(env["PULUMI_CONFIG_PASSPHRASE_FILE"]) == Path("/s/pass")
    assert env["PATH"] == "/bin"
    assert not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN"} & set(env)


def test_in_a_shell_the_stack_is_the_selected_one() -> None:
    subject = Stack(Path("/p"), Path("/s"), Path("/s/pass"), {"PATH": "/bin", "PULUMI_STACK": "mine"})
    assert subject.env()["PULUMI_STACK"] == "embedded"
    assert subject.shell_env() == {key: value for key, value in subject.env().items() if key != "PULUMI_STACK"}


def test_the_default_cluster_has_the_stack_embedded_and_others_have_their_own() -> None:
    assert stack.stack_name("dev", "dev") == "embedded"
    assert stack.stack_name("ci", "dev") == "embedded-ci"
    assert stack.stack_name("ci", "dev", "shop") == "embedded-ci.shop"


def test_a_stack_never_shows_its_environment() -> None:
    assert "hunter2" not in repr(Stack(Path("/p"), Path("/s"), Path("/s/pass"), {"TOKEN": "hunter2"}))


def test_a_stack_file_with_secrets_of_a_lost_passphrase_is_refused_and_left_alone(tmp_path: Path) -> None:
    subject = Stack(tmp_path, tmp_path / "state", tmp_path / "pass", {})
    text = "encryptionsalt: v1:x\nconfig:\n  meshup:token:\n    secure: v1:y\n"
    subject.file.write_text(text)
    with pytest.raises(StackError, match="meshup:token"):
        subject.prepare({"kubernetes:context": "dev"})
    assert subject.file.read_text() == text
    assert not (tmp_path / "pass").exists()


def test_the_state_of_a_cluster_that_is_gone_is_forgotten_when_another_takes_its_name(tmp_path: Path) -> None:
    subject = Stack(tmp_path, tmp_path, tmp_path / "pass", {})
    subject.keep_only_for("first")
    (subject.backend / "kept").touch()
    subject.keep_only_for("first")
    assert (subject.backend / "kept").exists()
    subject.keep_only_for("second")
    assert not (subject.backend / "kept").exists()


def run_in_foreground(child: str, before: str = "") -> "subprocess.Popen[str]":
    """Run a shell script by `run_in_foreground` in a session of its own, with SIGINT as in a foreground shell: whoever
    runs the tests may ignore it (`nohup`, `&`), which children inherit.
    """
    code = (
        "import os, signal, sys; from pathlib import Path; from devcluster.stack import run_in_foreground\n"
        f"signal.signal(signal.SIGINT, signal.default_int_handler)\n{before}\n"
        f"sys.exit(run_in_foreground(['sh', '-c', {child!r}], Path('/'), os.environ))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_ctrl_c_lets_pulumi_end_in_order_and_keeps_its_exit_code() -> None:
    with run_in_foreground("trap 'echo ended; exit 3' INT; echo ready; while :; do sleep 0.05; done") as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate()
    assert (out, err, run.returncode) == ("ended\n", "", 3)


def test_ctrl_c_while_the_command_starts_is_its_own_affair_too() -> None:
    # The child's first word is in the parent's pipe before `Popen` knows that the child runs.
    before = "import subprocess as s; e = s.Popen._execute_child\n"
    before += "def late(*a, **k): e(*a, **k); signal.raise_signal(signal.SIGINT)\n"
    before += "s.Popen._execute_child = late"
    with run_in_foreground("echo done; exit 3", before) as run:
        out, err = run.communicate()
    assert (out, err, run.returncode) == ("done\n", "", 3)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_command_that_a_signal_ends_has_the_exit_code_that_a_shell_gives_it(number: signal.Signals) -> None:
    with run_in_foreground(f"ulimit -c 0; kill -{int(number)} $$") as run:
        run.communicate()
    assert run.returncode == 128 + number
