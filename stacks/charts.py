"""Where the charts of the mesh come from, looked at before the first resource.

A directory is read here; a repository is only reached by Helm, so that a preview under mocks needs no network.
"""

import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from components.helm import ChartSource, HelmRelease
from components.routing import Diagnostic
from components.routing.diagnostics import nearest
from stacks.settings import ChartSettings

_PATH = "meshup:charts.directory"
_SECONDS = 10


@dataclass(frozen=True)
class Charts:
    """What is known of the charts.

    Attributes:
        source: For the components.
        version: The version of the charts, for a directory; "" for a repository, where the configuration says it.
    """

    source: ChartSource = field(default_factory=ChartSource)
    version: str = ""


def inspect(settings: ChartSettings, names: Sequence[str], wanted: str | None) -> tuple[Charts, list[Diagnostic]]:
    """Look at the chart source of a stack.

    Args:
        settings: `meshup:charts`.
        names: The charts that the mesh needs, which are also the names of the sub-directories.
        wanted: The version that the configuration asks for, if it does.

    Returns:
        What is known, and the faults.
    """
    if settings.repository is not None:
        return Charts({"repository": settings.repository}), []
    if settings.directory is None:
        return Charts(), []
    directory = Path(settings.directory).expanduser()
    source: ChartSource = {"directory": str(directory)}
    if not directory.is_dir():
        return Charts(source), [Diagnostic("MSH301", _PATH, settings.directory, "There is no such directory.")]
    found: list[Diagnostic] = []
    versions: dict[str, str] = {}
    for name in names:
        version = _version(directory, name, settings.directory, found)
        if version is not None:
            versions[name] = version
            if wanted is not None and version != wanted:
                message = f"The chart {name} has version {version}, and the configuration asks for {wanted}."
                found.append(Diagnostic("MSH304", _PATH, settings.directory, message, wanted))
    if wanted is None and len(set(versions.values())) > 1:
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        message = f"The charts are not of one version: {listed}."
        found.append(Diagnostic("MSH304", _PATH, settings.directory, message, "charts of one version"))
    return Charts(source, next(iter(versions.values()), "")), found


def unreachable(releases: Sequence[HelmRelease]) -> list[Diagnostic]:
    """Ask each HTTP repository for its index, so that a run does not fail half-way for want of a chart."""
    found: list[Diagnostic] = []
    for repository in dict.fromkeys(release.get("repository", "") for release in releases):
        if not repository:
            continue
        request = urllib.request.Request(f"{repository}/index.yaml")  # noqa: S310 # checked by settings
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310 # checked by settings
                pass
        except (urllib.error.URLError, OSError) as error:
            names = ", ".join(release["chart"] for release in releases if release.get("repository") == repository)
            message = f"The repository of {names} does not answer: {getattr(error, 'reason', error)}."
            found.append(Diagnostic("MSH318", "meshup:charts", repository, message, "a repository, or a directory"))
    return found


def _version(directory: Path, name: str, written: str, found: list[Diagnostic]) -> str | None:
    file = directory / name / "Chart.yaml"
    if not (directory / name).is_dir():
        there = sorted(entry.name for entry in directory.iterdir() if (entry / "Chart.yaml").is_file())
        near = nearest(name, there)
        message = f"The directory has no chart {name}." + (f" Did you mean to call {near} so?" if near else "")
        allowed = f"a sub-directory {name}; there are: {', '.join(there) or 'none'}"
        found.append(Diagnostic("MSH302", _PATH, written, message, allowed))
        return None
    try:
        chart: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        declared, version = chart["name"], chart["version"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        message = f"{name}/Chart.yaml can't be read, or has no name and version."
        found.append(Diagnostic("MSH303", _PATH, written, message, "name and version in Chart.yaml"))
        return None
    if declared != name:
        message = f"{name}/Chart.yaml is that of the chart {declared}."
        found.append(Diagnostic("MSH303", _PATH, written, message, f"name: {name}"))
        return None
    return str(version)
