"""Packages of Debian, unpacked and not installed.

apt works on folders of its own, so nothing of the system changes and no root is needed.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from devcluster import artefacts
from devcluster.artefacts import ToolError
from devcluster.progress import Step

_APT_SECONDS = 180


def can_fetch() -> bool:
    """Return True if this machine has what `fetch` needs."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg-deb"))


def target(cache: Path, name: str, os_release: str, packages: Sequence[str]) -> Path:
    """Return where packages are kept: those of one release of the system are not for another.

    Args:
        cache: The folder that keeps them.
        name: Name of the tool.
        os_release: The text of /etc/os-release.
        packages: The names of the packages.
    """
    return cache / f"{name}-{artefacts.digest(os_release, *packages)}"


def fetch(packages: Sequence[str], folder: Path, step: Step) -> Path:
    """Fetch packages and unpack them.

    Args:
        packages: The names of the packages; nothing that they depend on is fetched.
        folder: An empty folder; the packages are unpacked in `root` in it.
        step: Shows what apt does now.

    Returns:
        The folder `root`.

    Raises:
        ToolError: The packages can't be had; the message is apt's own.
    """
    apt = folder / "apt"
    options = {
        "Dir::State": apt / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": apt / "cache",
        # Without this apt, as root, hands the download to a user that can't enter the cache folder.
        "APT::Sandbox::User": "",
        "Acquire::Retries": "2",
    }
    flags = [f"-o{key}={value}" for key, value in options.items()]
    for part in ("state/lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True)
    step.update("(apt: package lists)")
    _run(["apt-get", *flags, "-qq", "update"], apt)
    step.update("(apt: packages)")
    _run(["apt-get", *flags, "-qq", "download", *packages], apt)
    root = folder / "root"
    for package in sorted(apt.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], apt)
    shutil.rmtree(apt)
    return root


def _run(argv: list[str], cwd: Path) -> None:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=_APT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ToolError(f"{argv[0]} gave no answer in {_APT_SECONDS} s.") from None
    if done.returncode != 0:
        raise ToolError(
            "apt could not fetch it:\n" + "\n".join(f"  {e}" for e in done.stderr.strip().splitlines()[-3:])
        )
