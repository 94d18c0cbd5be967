"""Prometheus and promtool, for the tests of rules: those on PATH, else Debian's, unpacked in the cache."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from devcluster import artefacts, debian
from devcluster.artefacts import ToolError
from devcluster.catalogue import PROMETHEUS_TOOLS
from devcluster.progress import Step

OLDEST = (2, 42)
"""What Debian 12 has. The rules need nothing newer."""
_VERSION = re.compile(r"version (\d+)\.(\d+)")
_PACKAGE = ("prometheus",)


def on_machine(environ: Mapping[str, str]) -> dict[str, Path]:
    """Return both commands by name, if PATH has them in a version that will do; else nothing."""
    found: dict[str, Path] = {}
    for name in PROMETHEUS_TOOLS:
        path = shutil.which(name, path=environ.get("PATH", ""))
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False) if path else None
        version = _VERSION.search(said.stdout + said.stderr) if said else None
        if path is None or version is None or (int(version[1]), int(version[2])) < OLDEST:
            return {}
        found[name] = Path(path)
    return found


def kept(cache: Path, os_release: str) -> dict[str, Path]:
    """Return both commands that an earlier `fetched` left in the cache; empty when there are none."""
    target = _target(cache, os_release)
    return {name: target / "root" / "usr" / "bin" / name for name in PROMETHEUS_TOOLS} if target.is_dir() else {}


def fetched(cache: Path, os_release: str, step: Step) -> dict[str, Path]:
    """Return both commands from the cache, fetched there by apt if need be.

    Args:
        cache: The folder that keeps them.
        os_release: The text of /etc/os-release: packages differ from release to release.
        step: Shows what apt does now.

    Raises:
        ToolError: There is no apt, or the package can't be had.
    """
    if not debian.can_fetch():
        raise ToolError("Prometheus is not on this machine, and there is no apt-get to fetch it with. Install it.")

    def make(folder: Path) -> None:
        debian.fetch(_PACKAGE, folder, step)

    artefacts.ensure(_target(cache, os_release), make, step=step)
    return kept(cache, os_release)


def _target(cache: Path, os_release: str) -> Path:
    return debian.target(cache, "prometheus", os_release, _PACKAGE)
