"""How both command lines end: an exit code, at most one line, no traceback, whatever their output is."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from operate import terminal

REPOSITORY = Path(__file__).resolve().parents[3]
MESHUP = ["-m", "operate", "explain", "--stack", "dev", "--header", "x: é"]
STATUS = ["-m", "devcluster", "status", "--name", "nowhere"]
COMMANDS = pytest.mark.parametrize("command", [MESHUP, STATUS], ids=["meshup", "devcluster"])


def run(command: list[str], redirection: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with its output redirected by a shell."""
    argv = ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, *command]
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment
    return subprocess.run(argv, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)


@COMMANDS
def test_a_full_device_is_one_line(command: list[str]) -> None:
    done = run(command, ">/dev/full")
    assert (done.returncode, done.stdout) == (1, "")
    name = "meshup" if command is MESHUP else "devcluster"
    assert done.stderr == f"{name}: cannot write: No space left on device\n"


@COMMANDS
@pytest.mark.parametrize("redirection", ["| true", ">&- 2>&-"])
def test_an_output_that_nobody_reads_is_no_fault_to_report(command: list[str], redirection: str) -> None:
    assert run(command, redirection).stderr == ""


@COMMANDS
def test_a_terminal_that_knows_only_ascii_gets_ascii(command: list[str]) -> None:
    done = run(command, PYTHONIOENCODING="ascii")
    assert done.stdout.isascii()
    assert "Traceback" not in done.stderr
    assert done.stdout != ""


def test_an_argument_that_is_not_text_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "operate", "explain", b"--path", b"/\xff"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.splitlines() == [b"meshup: '/\\udcff' is not text: its bytes are not UTF-8."]


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_ctrl_c_during_an_import_is_silent(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt\n")
    command = MESHUP if module == "typer" else STATUS
    done = run(command, PYTHONPATH=f"{tmp_path}:{REPOSITORY}")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "x: cannot write: Disk quota exceeded\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/state"), "x: [Errno 13] Permission denied: '/state'\n"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Refused"), "x: [Errno 111] Refused\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), ""),
    ],
)
def test_what_the_system_refuses_is_named(error: OSError, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise error

    assert terminal.guarded("x", fail) == 1
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("ended", "code"), [(None, 0), (2, 2), (SystemExit(), 0), (SystemExit(2), 2)])
def test_the_exit_code_is_the_commands_own(ended: int | SystemExit | None, code: int) -> None:
    def work() -> int | None:
        if isinstance(ended, SystemExit):
            raise ended
        return ended

    assert terminal.guarded("x", work) == code
