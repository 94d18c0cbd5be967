import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from devcluster import processes
from devcluster.processes import MARKER_VARIABLE, ProcessId

MARKER = f"test-{os.getpid()}"


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    environment = processes.detached_environment(os.environ, MARKER)
    process = subprocess.Popen(["sleep", "86400"], env=environment)  # noqa: S607
    yield process
    process.kill()
    process.wait()


def identity(pid: int) -> ProcessId:
    found = ProcessId.of(pid)
    assert found is not None
    return found


def settled(sleeper: "subprocess.Popen[bytes]") -> None:
    """The environment of a child is its parent's until it has executed its program."""
    while b"sleep" not in open(f"/proc/{sleeper.pid}/cmdline", "rb").read():  # noqa: PTH123, SIM115
        time.sleep(0.01)


@pytest.mark.parametrize("command", ["sleep", "a b", "(x) y", ") S 1 1"])
def test_state_and_start_time_are_read_whatever_the_command_is_called(command: str) -> None:
    fields = " ".join(str(number) for number in range(4, 22))
    assert processes.parse_stat(f"123 ({command}) S {fields} 98765 0 0\n") == ("S", 98765)


def test_a_process_is_alive_until_it_ends(sleeper: "subprocess.Popen[bytes]") -> None:
    process = identity(sleeper.pid)
    assert process.alive
    sleeper.kill()
    deadline = time.monotonic() + 300
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    # It is not waited for yet: an ended process that still has an entry is not alive.
    assert not process.alive


def test_a_process_with_the_same_number_is_another_one(sleeper: "subprocess.Popen[bytes]") -> None:
    process = identity(sleeper.pid)
    assert not ProcessId(process.pid, process.started - 1, process.boot).alive
    assert not ProcessId(process.pid, process.started, "another boot").alive


def test_a_recycled_number_is_never_signalled(sleeper: "subprocess.Popen[bytes]") -> None:
    process = identity(sleeper.pid)
    assert processes.end([ProcessId(process.pid, process.started - 1, process.boot)], grace_seconds=0.1) == []
    assert process.alive


def test_processes_of_a_cluster_are_found_by_its_marker(sleeper: "subprocess.Popen[bytes]") -> None:
    settled(sleeper)
    assert [process.pid for process in processes.with_marker(MARKER)] == [sleeper.pid]
    assert processes.with_marker(MARKER[:-1]) == []


def test_one_that_ignores_the_polite_signal_is_ended_after_its_grace_period() -> None:
    script = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(86400)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        assert processes.end([identity(stubborn.pid)], grace_seconds=0.2) == []
        assert stubborn.wait() == -9


def test_ancestry_leads_from_a_process_over_its_parent_to_the_first(sleeper: "subprocess.Popen[bytes]") -> None:
    chain = processes.ancestry(sleeper.pid)
    assert chain[:2] == [sleeper.pid, os.getpid()]
    assert len(chain) == len(set(chain))


def test_the_environment_of_a_component_has_the_marker_and_no_proxy() -> None:
    base = {"PATH": "/bin", "https_proxy": "http://proxy", "NO_PROXY": "x", "ALL_PROXY": "y"}
    assert processes.detached_environment(base, "m") == {"PATH": "/bin", MARKER_VARIABLE: "m"}
