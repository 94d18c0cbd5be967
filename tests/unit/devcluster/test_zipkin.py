"""Zipkin as a tool: what is missing is said, and only the pinned jar is kept."""

import hashlib
from pathlib import Path

import pytest

from devcluster import zipkin
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


def fetched(tmp_path: Path, path: Path) -> dict[str, Path]:
    return zipkin.fetched(tmp_path / "cache", {"PATH": str(path)}, Step("zipkin", lambda _: None))


@pytest.mark.parametrize(("missing", "package"), [("java", "openjdk-17-jre-headless"), ("mvn", "maven")])
def test_what_is_not_on_the_machine_is_named_with_the_package_that_has_it(
    tmp_path: Path, path: Path, missing: str, package: str
) -> None:
    (path / missing).unlink()
    with pytest.raises(ToolError, match=rf"needs `{missing}`.*Debian: {package}"):
        fetched(tmp_path, path)


def test_an_old_java_is_refused(tmp_path: Path, path: Path) -> None:
    command(path, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    with pytest.raises(ToolError, match="Java 17 or newer; `java` on PATH is 11"):
        fetched(tmp_path, path)


def test_what_maven_says_is_passed_on(tmp_path: Path, path: Path) -> None:
    command(path, "mvn", "echo no such artifact; exit 1")
    with pytest.raises(ToolError, match=r"could not fetch .*\n  no such artifact"):
        fetched(tmp_path, path)


def test_another_jar_than_the_pinned_one_is_not_kept(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ToolError, match="is not the pinned one"):
        fetched(tmp_path, path)
    assert zipkin.kept(tmp_path / "cache") == {}


def test_the_pinned_jar_is_kept_and_run_from_where_it_is(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipkin, "SHA256", hashlib.sha256(b"other\n").hexdigest())
    found = fetched(tmp_path, path)
    jar = found["zipkin"].parent / "zipkin.jar"
    assert jar.read_text() == "other\n"
    assert f"-jar '{jar}'" in found["zipkin"].read_text()
