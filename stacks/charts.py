"""Where the charts of the mesh come from, looked at before the first resource.

A directory is read here. A repository or registry is only asked whether it answers: Helm reads the charts.
"""

import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from components.helm import ChartSource, HelmRelease
from components.routing import Diagnostic
from components.routing.diagnostics import nearest
from stacks.settings import ChartSettings
from stacks.versions import unsupported

_PATH = "meshup:charts.directory"
_SECONDS = 10
_OCI = "oci://"


@dataclass(frozen=True)
class Charts:
    """What is known of the charts.

    Attributes:
        source: For the components.
        version: The version of the charts, for a directory; "" for a repository, where the configuration says it.
    """

    source: ChartSource = field(default_factory=ChartSource)
    version: str = ""


def inspect(
    settings: ChartSettings, mesh: str, names: Sequence[str], wanted: str | None
) -> tuple[Charts, list[Diagnostic]]:
    """Look at the chart source of a stack.

    Args:
        settings: `meshup:charts`.
        mesh: `istio` or `linkerd`.
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
    # A version that the configuration names is judged with it, wherever the charts come from (stacks/settings.py).
    for name, version in versions.items() if wanted is None else ():
        allowed = unsupported(mesh, version)
        if allowed:
            message = f"meshup does not support version {version} of the chart {name}."
            found.append(Diagnostic("MSH306", _PATH, settings.directory, message, allowed))
    return Charts(source, next(iter(versions.values()), "")), found


def unreachable(releases: Sequence[HelmRelease]) -> list[Diagnostic]:
    """Ask each repository for its index, and each registry for its API, so that no run fails half-way for a chart."""
    by_place: dict[tuple[str, str], list[str]] = {}
    for release in releases:
        by_place.setdefault(_place(release), []).append(release["chart"].rpartition("/")[2])
    found: list[Diagnostic] = []
    for (place, asked), names in by_place.items():
        if not place:
            continue
        try:
            with urllib.request.urlopen(asked, timeout=_SECONDS):  # noqa: S310 # checked by settings
                pass
        except (urllib.error.URLError, OSError) as error:
            if _registry_answers(place, error):
                continue
            message = f"The repository of {', '.join(names)} does not answer: {getattr(error, 'reason', error)}."
            found.append(Diagnostic("MSH318", "meshup:charts", place, message, "a repository, or a directory"))
    return found


def _place(release: HelmRelease) -> tuple[str, str]:
    """Where a chart comes from, and the address that shows whether that answers; empty for a directory."""
    repository = release.get("repository", "")
    if repository:
        return repository, f"{repository}/index.yaml"
    if release["chart"].startswith(_OCI):
        place = release["chart"].rpartition("/")[0]
        return place, f"https://{place.removeprefix(_OCI).partition('/')[0]}/v2/"
    return "", ""


def _registry_answers(place: str, error: Exception) -> bool:
    """Whether an error is an answer of a registry: most want credentials there (OCI distribution, section 4.1)."""
    refused = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
    return place.startswith(_OCI) and isinstance(error, urllib.error.HTTPError) and error.code in refused


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
