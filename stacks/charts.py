"""Check the source of the mesh's charts before the first resource is registered.

A directory is read here. A repository or registry must only answer a request: Helm reads the charts.
"""

import shlex
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from components.diagnostics import Diagnostic, nearest
from components.helm import ChartSource, HelmRelease
from components.meshes.interface import Mesh
from components.scalars import EXACT_VERSION
from stacks import files

_PATH = "meshup:charts.directory"
_SECONDS = 10
_OCI = "oci://"


@dataclass(frozen=True)
class Charts:
    """Source and version of the charts.

    Attributes:
        source: For the components.
        version: Version of the charts in a directory; "" for a repository, whose version is configured.
    """

    source: ChartSource = field(default_factory=ChartSource)
    version: str = ""


def inspect(
    settings: ChartSource, mesh: Mesh[Any], names: Sequence[str], wanted: str | None
) -> tuple[Charts, list[Diagnostic]]:
    """Check the chart source of a stack.

    Args:
        settings: `meshup:charts`.
        mesh: The mesh.
        names: The charts that it needs; a sub-directory has the name of its chart.
        wanted: The configured version, or None.

    Returns:
        The charts and the diagnostics.
    """
    written = settings.directory
    if settings.repository is not None or written is None:
        return Charts(settings), []
    try:
        directory = files.expand_path(written)
    except files.UnreadableError as error:
        return Charts(), [Diagnostic("MSH301", _PATH, written, f"There is no such directory: {error}.")]
    source = settings.model_copy(update={"directory": str(directory)})
    if not files.is_directory(directory):
        return Charts(source), [Diagnostic("MSH301", _PATH, written, "There is no such directory.")]
    diagnostics: list[Diagnostic] = []
    versions: dict[str, str] = {}
    for name in names:
        version = _version(directory, name, written, diagnostics)
        if version is not None:
            versions[name] = version
            if wanted is not None and version != wanted:
                message = f"The chart {name} has version {version}, and the configuration asks for {wanted}."
                diagnostics.append(Diagnostic("MSH304", _PATH, written, message, wanted))
    if wanted is None and len(set(versions.values())) > 1:
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        message = f"The charts are not of one version: {listed}."
        diagnostics.append(Diagnostic("MSH304", _PATH, written, message, "charts of one version"))
    # A version that the configuration names is judged with it, wherever the charts come from (stacks/settings.py).
    for name, version in versions.items() if wanted is None else ():
        allowed = mesh.versions.unsupported(version)
        if allowed:
            message = f"meshup does not support version {version} of the chart {name}."
            diagnostics.append(Diagnostic("MSH306", _PATH, written, message, allowed))
    return Charts(source, next(iter(versions.values()), "")), diagnostics


def check_addon(settings: ChartSource, source: ChartSource, release: HelmRelease, repository: str) -> list[Diagnostic]:
    """Check the chart of an add-on in a directory of charts.

    Args:
        settings: `meshup:charts`.
        source: The directory as it was found.
        release: The release of the add-on.
        repository: The chart repository of its project, for the command that fetches the chart.

    Returns:
        The diagnostics.
    """
    written, directory = settings.directory, source.directory
    diagnostics: list[Diagnostic] = []
    if written is None or directory is None or not release["chart"].startswith(f"{directory}/"):
        return diagnostics
    name, wanted = release["chart"].rpartition("/")[2], release["version"]
    remedy = f"Put the chart there:\n{_pull(name, repository, wanted, directory)}"
    version = _version(Path(directory), name, written, diagnostics, remedy)
    if version not in (None, wanted):
        message = f"The chart {name} has version {version}, and {wanted} is wanted."
        diagnostics.append(Diagnostic("MSH304", _PATH, written, message, wanted))
    return diagnostics


def unreachable(releases: Sequence[HelmRelease]) -> list[Diagnostic]:
    """Request the index of each repository and the API of each registry, so that no run fails half-way for a chart."""
    by_place: dict[tuple[str, str], list[str]] = {}
    for release in releases:
        by_place.setdefault(_address(release), []).append(release["chart"].rpartition("/")[2])
    diagnostics: list[Diagnostic] = []
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
            diagnostics.append(Diagnostic("MSH318", "meshup:charts", place, message, "a repository, or a directory"))
    return diagnostics


def _address(release: HelmRelease) -> tuple[str, str]:
    """Return the repository of a chart and a URL to probe it with; both are "" for a directory."""
    repository = release.get("repository", "")
    if repository:
        return repository, f"{repository}/index.yaml"
    if release["chart"].startswith(_OCI):
        place = release["chart"].rpartition("/")[0]
        return place, f"https://{place.removeprefix(_OCI).partition('/')[0]}/v2/"
    return "", ""


def _registry_answers(place: str, error: Exception) -> bool:
    """Return True if a registry answered with an error: most require credentials (OCI distribution, section 4.1)."""
    refused = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
    return place.startswith(_OCI) and isinstance(error, urllib.error.HTTPError) and error.code in refused


def _pull(name: str, repository: str, version: str, directory: str) -> str:
    """Return the command that puts a chart into a directory of charts."""
    return shlex.join(
        ["helm", "pull", name, "--repo", repository, "--version", version, "--untar", "--untardir", directory]
    )


def _version(directory: Path, name: str, written: str, diagnostics: list[Diagnostic], remedy: str = "") -> str | None:
    file = directory / name / "Chart.yaml"
    if not files.is_directory(directory / name):
        available = _charts_in(directory)
        near = nearest(name, available)
        message = f"The directory has no chart {name}." + (f" Rename {near} to {name} if it is that." if near else "")
        allowed = f"a sub-directory {name}; there are: {', '.join(available[:20]) or 'none'}"
        diagnostics.append(Diagnostic("MSH302", _PATH, written, message, allowed, remedy))
        return None
    try:
        chart = files.document(files.text(file))
    except files.UnreadableError as error:
        message = f"{name}/Chart.yaml can't be read: {error}."
        diagnostics.append(Diagnostic("MSH303", _PATH, written, message, "name and version in Chart.yaml"))
        return None
    fields = cast("dict[Any, Any]", chart) if isinstance(chart, dict) else {}
    declared, version = fields.get("name"), fields.get("version")
    if declared is None or version is None:
        message = f"{name}/Chart.yaml has no name or no version."
        diagnostics.append(Diagnostic("MSH303", _PATH, written, message, "name and version in Chart.yaml"))
    elif declared != name:
        message = f"{name}/Chart.yaml is not that of the chart {name}, but of {str(declared)[:80]}."
        diagnostics.append(Diagnostic("MSH303", _PATH, written, message, f"name: {name}"))
    elif not isinstance(version, str) or not EXACT_VERSION.fullmatch(version):
        message = f"The version in {name}/Chart.yaml is not an exact one: {str(version)[:80]}."
        diagnostics.append(Diagnostic("MSH303", _PATH, written, message, "version: MAJOR.MINOR.PATCH in Chart.yaml"))
    else:
        return version
    return None


def _charts_in(directory: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in directory.iterdir() if (entry / "Chart.yaml").is_file())
    except OSError:
        return []
