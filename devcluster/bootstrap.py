"""The virtual environment of the repository: made from the lock file, and re-entered.

`python3 -m devcluster` starts with whatever Python there is. This module needs only its standard library; it makes
`.venv` with every dependency of requirements-dev.txt, checked by hash, and runs the same command again inside.
"""

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from devcluster import paths

MINIMUM = (3, 11)
LOCK_FILE = "requirements-dev.txt"
# The stamp says what was installed; the mark says that an installation began and did not end; the third that this
# module has made the folder, so that it may remove it.
_STAMP = "meshup-installed"
_MARK = "meshup-installing"
_OWN = "meshup-made"
_LOG = "meshup-install.log"


class BootstrapError(Exception):
    """The environment can't be made. The message says why and what to do."""


def enter(arguments: list[str]) -> None:
    """Go on in the repository's environment: return when in it already, else replace the process.

    Raises:
        BootstrapError: The environment can't be made.
    """
    repository = paths.repository()
    made = ensure(repository)
    venv = repository / ".venv"
    if Path(sys.prefix).resolve() == venv.resolve() and not made:
        return
    python = venv / "bin" / "python"
    os.execv(python, [str(python), "-m", "devcluster", *arguments])  # noqa: S606 - the same program, no shell


def ensure(repository: Path) -> bool:
    """Install the packages of the lock file into `.venv`, unless they are. Return whether anything was installed.

    One that was made by other means is filled if it has a pip, and never removed.

    Raises:
        BootstrapError: It can't be made.
    """
    venv = repository / ".venv"
    wanted = stamp(repository / LOCK_FILE, venv)
    if is_complete(venv, wanted):
        return False
    try:
        with _locked(repository):
            if is_complete(venv, wanted):
                return False
            _install(venv, repository / LOCK_FILE)
            _entry_point(repository, venv)
            (venv / _STAMP).write_text(wanted)
            (venv / _MARK).unlink()
    except OSError as error:
        raise BootstrapError(f"{venv} can't be made: {error}") from error
    return True


def stamp(lock_file: Path, venv: Path) -> str:
    """Return the mark of a complete installation: the content of the lock file, and the place, which scripts name: of a
    link, where it leads.
    """
    return f"{hashlib.sha256(lock_file.read_bytes()).hexdigest()}\n{venv.resolve()}\n"


def is_complete(venv: Path, wanted: str) -> bool:
    """Say whether an environment holds what is wanted, and no installation into it was cut short."""
    try:
        return (venv / _STAMP).read_text() == wanted and not (venv / _MARK).exists()
    except OSError:
        return False


def explain_pip(output: str, log: Path) -> str:
    """Return what a failed pip run means and what to do, from what it printed."""
    lower = output.lower()
    if "no space left on device" in lower or "disk quota exceeded" in lower:
        return "The disk is full. Free about 1 GiB and run the same command again."
    if "do not match the hashes" in lower:
        return (
            f"A package is not the one that {LOCK_FILE} pins. Nothing of it was installed.\n"
            "A mirror in between may serve another file. If you changed the requirements, run `make lock`."
        )
    if re.search(
        r"newconnectionerror|connecttimeout|readtimeout|connection (?:refused|reset|broken)|name resolution"
        r"|max retries exceeded|proxyerror|sslerror|(?:403|407|429|50\d) .*error|could not find a version",
        lower,
    ):
        return (
            f"The package registry can't be reached, or lacks a pinned package:\n{_tail(output)}\n"
            "Check the network and the proxy, or name a mirror with PIP_INDEX_URL. Then run the same command again."
        )
    return f"pip could not install the dependencies. The whole log is {log}:\n{_tail(output)}"


def _tail(output: str) -> str:
    return "\n".join(f"  {line}" for line in output.strip().splitlines()[-6:])


def _install(venv: Path, lock_file: Path) -> None:
    python, mark, own = venv / "bin" / "python", venv / _MARK, venv / _OWN
    interrupted = mark.exists()
    fault = obstacle(venv)
    if fault and (venv.is_symlink() or not own.exists()):
        raise BootstrapError(
            f"{venv} was not made by this command, so it is left alone; and it can't be used: {fault}.\n"
            f"Rename it, or remove it if nothing else needs it (`rm -r {shlex.quote(str(venv))}`), and run the same "
            "command again."
        )
    if fault or (interrupted and own.exists()):
        shutil.rmtree(venv)
        interrupted = False
    fresh = _is_empty(venv)
    venv.mkdir(exist_ok=True)
    if fresh:
        own.touch()
    mark.touch()
    started = time.monotonic()
    print(f"Python dependencies: installing {lock_file.name} into .venv (once, about a minute) ...", file=sys.stderr)
    if fresh:
        made = subprocess.run([sys.executable, "-m", "venv", str(venv)], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise BootstrapError(_explain_venv(made.stdout + made.stderr))
    log = venv / _LOG
    argv = [str(python), "-m", "pip", "install", "--require-hashes", "--no-input", "--progress-bar=off"]
    if interrupted:
        # What was half installed looks whole to pip.
        argv.append("--force-reinstall")
    with log.open("w") as output:
        done = subprocess.run(
            [*argv, "--disable-pip-version-check", "-r", str(lock_file)],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise BootstrapError(explain_pip(log.read_text(errors="replace"), log))
    print(f"Python dependencies: ready ({time.monotonic() - started:.0f} s)", file=sys.stderr)


def _explain_venv(output: str) -> str:
    if "ensurepip" in output or "No module named venv" in output:
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        return (
            "This Python can't make virtual environments: its venv module is not installed.\n"
            f"On Debian and Ubuntu: `apt-get install {name}`. Then run the same command again."
        )
    if "No space left" in output:
        return "The disk is full. Free about 1 GiB and run the same command again."
    return f"The virtual environment could not be made:\n{_tail(output)}"


def obstacle(venv: Path) -> str:
    """Return why packages can't be installed into an environment, or "" where they can: it may not be there yet."""
    if venv.is_symlink():
        return "it is a link, and what it leads to has not the packages of this folder"
    if not venv.is_dir() or _is_empty(venv):
        return "it is a file" if venv.exists() and not venv.is_dir() else ""
    stamp_file = venv / _STAMP
    if stamp_file.exists() and str(venv.resolve()) not in stamp_file.read_text().splitlines():
        return "it was made for another place"
    check = f"import sys, pip; sys.exit(sys.version_info < {MINIMUM})"
    try:
        done = subprocess.run([str(venv / "bin" / "python"), "-c", check], capture_output=True, check=False)
    except OSError:
        return "its Python does not run"
    if done.returncode != 0:
        return f"its Python has no pip, as uv makes it, or is older than {MINIMUM[0]}.{MINIMUM[1]}"
    return ""


def _is_empty(venv: Path) -> bool:
    return not venv.exists() or (venv.is_dir() and not any(venv.iterdir()))


def _entry_point(repository: Path, venv: Path) -> None:
    script = venv / "bin" / "meshup"
    script.write_text(
        f"#!{venv}/bin/python\n"
        "import runpy\n"
        "import sys\n\n"
        f"sys.path.insert(0, {str(repository)!r})\n"
        'runpy.run_module("operate", run_name="__main__", alter_sys=True)\n'
    )
    script.chmod(0o755)


@contextmanager
def _locked(repository: Path) -> Generator[None]:
    name = hashlib.sha256(str(repository).encode()).hexdigest()[:16]
    path = paths.cache_dir() / f"venv-{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Python dependencies: another run is installing them; waiting ...", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
