"""Zipkin's server, for the tests of traces: its jar by Maven, kept in the cache; Java of the machine runs it.

Zipkin and not Jaeger, measured on 2 cores: the jar is fetched in 13 s, ready 5 s after its start, and takes 200 MB of
memory and 3 s of processor time; Jaeger 2 would be a build of 2,093 Go packages.
"""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from devcluster import artefacts
from devcluster.artefacts import ToolError
from devcluster.progress import Step

# renovate: datasource=maven depName=io.zipkin:zipkin-server
VERSION = "3.6.1"
SHA256 = "d8326e0ed4f43855dba81228f688554706e52578a7c782d9a90b73f8680654a1"
OLDEST_JAVA = 17
_COORDINATES = f"io.zipkin:zipkin-server:{VERSION}:jar:exec"
# Without a version, Maven would take the newest one. 3.8.1 runs with any Maven from 3.6.3 on.
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_JAR = "zipkin.jar"
_JAVA_VERSION = re.compile(r'version "(\d+)')
_SECONDS = 400
# A server for some thousand requests: little memory, quick to start.
_OPTIONS = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"


def kept(cache: Path) -> dict[str, Path]:
    """Return the command `zipkin` that an earlier `fetched` left in the cache; empty when there is none."""
    target = _target(cache)
    return {"zipkin": target / "zipkin"} if target.is_dir() else {}


def fetched(cache: Path, environ: Mapping[str, str], step: Step) -> dict[str, Path]:
    """Return the command `zipkin` from the cache, its jar fetched there by Maven if need be.

    Args:
        cache: The folder that keeps it.
        environ: The environment, whose PATH has Maven and Java. Maven's own settings say where it fetches from.
        step: Shows what is at hand.

    Raises:
        ToolError: There is no Maven or no Java 17, or the jar can't be had, or is another one.
    """
    java, maven = _command("java", "openjdk-17-jre-headless", environ), _command("mvn", "maven", environ)
    found = _java_version(java, environ)
    if found < OLDEST_JAVA:
        raise ToolError(
            f"Zipkin needs Java {OLDEST_JAVA} or newer; `java` on PATH is {found or 'of no known version'}."
        )
    jar = _target(cache) / _JAR
    artefacts.ensure(_target(cache), lambda folder: _fetch(folder, jar, maven, environ, step), step=step)
    return kept(cache)


def launcher(jar: Path) -> str:
    """Return the script that runs the jar."""
    return f"#!/bin/sh\nexec java {_OPTIONS} -jar '{jar}' \"$@\"\n"


def _target(cache: Path) -> Path:
    return cache / f"zipkin-{artefacts.digest(SHA256, launcher(Path(_JAR)))}"


def _command(name: str, package: str, environ: Mapping[str, str]) -> str:
    found = shutil.which(name, path=environ.get("PATH", ""))
    if found is None:
        raise ToolError(f"Zipkin needs `{name}`, which is not on this machine. Install it (Debian: {package}).")
    return found


def _java_version(java: str, environ: Mapping[str, str]) -> int:
    done = subprocess.run([java, "-version"], env=dict(environ), capture_output=True, text=True, check=False)
    version = _JAVA_VERSION.search(done.stderr)
    return int(version[1]) if version else 0


def _fetch(folder: Path, final: Path, maven: str, environ: Mapping[str, str], step: Step) -> None:
    step.update("(Maven: 135 MB)")
    wanted = [f"-Dartifact={_COORDINATES}", f"-DoutputDirectory={folder}", "-Dmdep.stripVersion=true"]
    try:
        done = subprocess.run(
            [maven, "--batch-mode", "--quiet", _PLUGIN, *wanted],
            env=dict(environ),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"Maven gave no answer in {_SECONDS} s.") from None
    jars = list(folder.glob("*.jar"))
    if done.returncode != 0 or len(jars) != 1:
        last = "\n".join(f"  {line}" for line in (done.stdout + done.stderr).strip().splitlines()[:5])
        raise ToolError(f"Maven could not fetch {_COORDINATES}:\n{last}")
    with jars[0].open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ToolError(f"Maven's {_COORDINATES} is not the pinned one: its SHA-256 is {found}, and not {SHA256}.")
    jars[0].rename(folder / _JAR)
    script = folder / "zipkin"
    script.write_text(launcher(final))
    script.chmod(0o755)
