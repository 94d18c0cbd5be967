import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster import bootstrap
from devcluster.bootstrap import BootstrapError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a repository whose lock file asks for nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / bootstrap.LOCK_FILE).write_text("# nothing\n")
    return folder


def test_the_environment_is_made_once_and_an_interrupted_one_anew(clone: Path) -> None:
    assert bootstrap.ensure(clone)
    assert not bootstrap.ensure(clone), "a second run is instant"
    python = clone / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-c", "import pip"], check=False).returncode == 0

    leftover = clone / ".venv" / "half-written"
    leftover.touch()
    (clone / ".venv" / "meshup-installing").touch()
    assert bootstrap.ensure(clone), "an interrupted installation is not trusted"
    assert not leftover.exists()
    assert not bootstrap.ensure(clone)


def uv_like(venv: Path) -> None:
    """An environment without pip, as `uv venv` makes it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)


def link(venv: Path) -> None:
    """A link to an environment of somebody else's."""
    uv_like(venv.with_name("elsewhere"))
    venv.symlink_to("elsewhere")


def moved(venv: Path) -> None:
    """An environment whose scripts name another place."""
    uv_like(venv)
    (venv / "meshup-installed").write_text("hash\n/another/.venv\n")


def broken(venv: Path) -> None:
    """An environment whose Python is gone."""
    uv_like(venv)
    (venv / "bin" / "python").unlink()


def killed(venv: Path) -> None:
    """An environment of somebody else's, in which an installation was cut short."""
    uv_like(venv)
    (venv / "meshup-installing").touch()


def dangling(venv: Path) -> None:
    """A link that leads nowhere."""
    venv.symlink_to("nowhere")


def file(venv: Path) -> None:
    """No environment at all."""
    venv.write_text("mine")


@pytest.mark.parametrize("make", [uv_like, link, moved, broken, killed, dangling, file])
def test_an_environment_that_was_made_by_other_means_is_never_removed(
    clone: Path, make: Callable[[Path], None]
) -> None:
    venv = clone / ".venv"
    make(venv)

    def everything() -> list[tuple[str, int]]:
        return [(str(path), path.lstat().st_mtime_ns) for path in sorted(clone.rglob("*"))]

    before = everything()
    with pytest.raises(BootstrapError, match="was not made by this command") as caught:
        bootstrap.ensure(clone)
    assert f"rm -r {venv}" in str(caught.value)
    assert everything() == before


def test_a_link_to_an_environment_with_the_same_packages_will_do(clone: Path) -> None:
    made = clone.with_name("made")
    made.mkdir()
    (made / "meshup-installed").write_text(bootstrap.stamp(clone / bootstrap.LOCK_FILE, made))
    (clone / ".venv").symlink_to(made)
    assert not bootstrap.ensure(clone)


def test_an_environment_that_has_pip_is_filled_whoever_made_it(clone: Path) -> None:
    venv = clone / ".venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    (venv / "mine").touch()
    assert bootstrap.ensure(clone)
    (venv / "meshup-installing").touch()
    assert bootstrap.ensure(clone), "an interrupted installation is not trusted"
    assert (venv / "mine").exists()
    assert not bootstrap.ensure(clone)


def test_a_changed_lock_file_is_noticed(tmp_path: Path) -> None:
    lock, venv = tmp_path / "requirements-dev.txt", tmp_path / ".venv"
    lock.write_text("a==1\n")
    before = bootstrap.stamp(lock, venv)
    lock.write_text("a==2\n")
    assert bootstrap.stamp(lock, venv) != before
    assert bootstrap.stamp(lock, tmp_path / "moved") != bootstrap.stamp(lock, venv)


def test_an_environment_is_complete_only_with_its_stamp_and_without_the_mark(tmp_path: Path) -> None:
    assert not bootstrap.is_complete(tmp_path, "x")
    (tmp_path / "meshup-installed").write_text("x")
    assert bootstrap.is_complete(tmp_path, "x")
    assert not bootstrap.is_complete(tmp_path, "y")
    (tmp_path / "meshup-installing").touch()
    assert not bootstrap.is_complete(tmp_path, "x")


@pytest.mark.parametrize(
    ("output", "said", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full", "run the same command again"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE",
            "requirements-dev.txt pins",
            "make lock",
        ),
        ("NewConnectionError('...: Failed to establish a new connection')", "can't be reached", "PIP_INDEX_URL"),
        ("ERROR: Could not find a version that satisfies the requirement ruff==9", "can't be reached", "ruff==9"),
        ("error: subprocess-exited-with-error\nfatal: x.h", "could not install", "x.h"),
    ],
)
def test_a_failed_installation_says_why_and_what_to_do(output: str, said: str, remedy: str) -> None:
    message = bootstrap.explain_pip(output, Path("/log"))
    assert said in message
    assert remedy in message


def test_an_unreachable_registry_stops_with_a_message_and_the_next_run_tries_again(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0", "PIP_FIND_LINKS": ""}.items():
        monkeypatch.setenv(name, value)
    (clone / bootstrap.LOCK_FILE).write_text("meshup-absent==1 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(BootstrapError, match="registry can't be reached"):
        bootstrap.ensure(clone)
    assert not bootstrap.is_complete(clone / ".venv", bootstrap.stamp(clone / bootstrap.LOCK_FILE, clone / ".venv"))


def test_the_command_line_needs_only_the_standard_library_until_the_environment_is_there() -> None:
    code = "import sys, devcluster.bootstrap; print([m for m in ('rich', 'yaml', 'psutil') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("sys.version_info = (3, 9, 1)", "meshup needs 3.11 or newer"),
        ("sys.platform = 'darwin'", "use a cluster of your own"),
    ],
)
def test_a_machine_that_will_not_do_is_told_so_and_what_to_do(patch: str, said: str) -> None:
    code = f"import sys; {patch}; from devcluster.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
