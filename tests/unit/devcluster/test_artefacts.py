import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from devcluster import artefacts
from devcluster.artefacts import ToolError

REPOSITORY = Path(__file__).resolve().parents[3]


def write(folder: Path) -> None:
    (folder / "tool").write_text("whole")


def test_a_thing_is_made_once_and_then_found(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "etcd-1"
    assert artefacts.ensure(target, write)
    assert not artefacts.ensure(target, write)
    assert (target / "tool").read_text() == "whole"


def test_a_failure_leaves_nothing_that_could_be_taken_for_the_thing(tmp_path: Path) -> None:
    target = tmp_path / "etcd-1"

    def fail(folder: Path) -> None:
        write(folder)
        raise RuntimeError("compiler")

    with pytest.raises(RuntimeError, match="compiler"):
        artefacts.ensure(target, fail)
    assert [path.name for path in tmp_path.iterdir()] == [".etcd-1.lock"]
    assert artefacts.ensure(target, write)


def test_kill_9_in_the_middle_leaves_nothing_usable_and_the_next_run_makes_it_whole(tmp_path: Path) -> None:
    target = tmp_path / "etcd-1"
    program = (
        "import sys, time, pathlib; from devcluster import artefacts\n"
        "def make(folder):\n"
        "    (folder / 'tool').write_text('half'); print('making', flush=True); time.sleep(60)\n"
        "artefacts.ensure(pathlib.Path(sys.argv[1]), make)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program, str(target)], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stdout.readline() == b"making\n"
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()

    assert not target.exists()
    assert artefacts.ensure(target, write)
    assert (target / "tool").read_text() == "whole"
    assert not list(tmp_path.glob("*.partial-*")), "what the killed run left is swept up"


def test_two_runs_at_once_make_a_thing_once_and_both_have_it(tmp_path: Path) -> None:
    target = tmp_path / "etcd-1"
    made: list[int] = []

    def slow(folder: Path) -> None:
        made.append(1)
        time.sleep(0.3)
        write(folder)

    results: list[bool] = []
    runs = [threading.Thread(target=lambda: results.append(artefacts.ensure(target, slow))) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(made) == 1
    assert sorted(results) == [False, False, True]


def test_a_run_that_waits_for_another_can_be_stopped(tmp_path: Path) -> None:
    target = tmp_path / "etcd-1"
    begun, release, stop = threading.Event(), threading.Event(), threading.Event()

    def slow(folder: Path) -> None:
        begun.set()
        release.wait(600)
        write(folder)

    first = threading.Thread(target=artefacts.ensure, args=(target, slow))
    first.start()
    begun.wait(600)
    stop.set()
    with pytest.raises(ToolError, match="Stopped"):
        artefacts.ensure(target, write, stop=stop)
    release.set()
    first.join()
    assert (target / "tool").read_text() == "whole"


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "The disk is full"), (errno.EDQUOT, "The disk is full"), (errno.EROFS, "can't be written")],
)
def test_an_error_of_the_file_system_says_what_to_do(tmp_path: Path, number: int, said: str) -> None:
    def fail(_: Path) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(ToolError, match=said) as caught:
        artefacts.ensure(tmp_path / "etcd-1", fail)
    assert "run the same command again" in str(caught.value)


def test_a_digest_tells_apart_parts_that_join_to_the_same_text() -> None:
    assert artefacts.digest("ab", "c") != artefacts.digest("a", "bc")
    assert artefacts.digest("ab", "c") == artefacts.digest(b"ab", "c")


def test_read_only_folders_as_in_gos_module_cache_can_be_removed(tmp_path: Path) -> None:
    inner = tmp_path / "partial" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0o500)
    artefacts.remove_tree(tmp_path / "partial")
    assert not (tmp_path / "partial").exists()
