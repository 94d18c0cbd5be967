"""Where the Gateway API bundle comes from: a file, a directory, or the project's release, once downloaded and kept."""

import contextlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from components import gateway_api
from components.manifests import Manifest
from components.routing import Diagnostic, errors
from stacks import versions
from stacks.settings import ChartSettings, GatewayApiSettings

DIRECTORY = "gateway-api"
"""The sub-directory of `meshup:charts.directory` that may hold the bundle."""

RELEASE = (
    f"https://github.com/kubernetes-sigs/gateway-api/releases/download/v{versions.GATEWAY_API}/standard-install.yaml"
)
"""The project's own release manifest of the standard channel."""

_SECONDS = 20
_MANIFEST = "meshup:gatewayApi.manifest"


def load(
    settings: GatewayApiSettings, charts: ChartSettings, environ: Mapping[str, str]
) -> tuple[list[Manifest], list[Diagnostic]]:
    """Return the objects of the pinned bundle, or the faults.

    A file or a directory that the configuration names comes first, then `gateway-api` beside the charts, then the
    release manifest. Whatever it is, it is checked against the pinned digest.
    """
    if settings.manifest is not None:
        return _local(Path(settings.manifest).expanduser(), _MANIFEST, settings.manifest)
    if charts.directory is not None:
        beside = Path(charts.directory).expanduser() / DIRECTORY
        if beside.exists():
            return _local(beside, "meshup:charts.directory", f"{charts.directory}/{DIRECTORY}")
    return _released(_kept(environ))


def _local(place: Path, path: str, written: str) -> tuple[list[Manifest], list[Diagnostic]]:
    try:
        files = sorted([*place.glob("*.yaml"), *place.glob("*.yml")]) if place.is_dir() else [place]
        files = [file for file in files if file.name != "kustomization.yaml"]
        text = "\n---\n".join(file.read_text(encoding="utf-8") for file in files)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        message = f"The Gateway API bundle can't be read: {reason}."
        return [], [Diagnostic("MSH311", path, written, message, "a file or a directory of YAML files")]
    return _parsed(text, path)


def _parsed(text: str, path: str) -> tuple[list[Manifest], list[Diagnostic]]:
    return gateway_api.parse(text, path, versions.GATEWAY_API, versions.GATEWAY_API_DIGEST)


def _released(kept: Path) -> tuple[list[Manifest], list[Diagnostic]]:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        objects, faults = _parsed(kept.read_text(encoding="utf-8"), _MANIFEST)
        if not faults:
            return objects, []
    try:
        with urllib.request.urlopen(RELEASE, timeout=_SECONDS) as answer:  # a constant
            text = answer.read().decode("utf-8")
    except (urllib.error.URLError, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", error)
        return [], [Diagnostic("MSH317", _MANIFEST, RELEASE, f"It can't be fetched: {reason}.")]
    objects, faults = _parsed(text, _MANIFEST)
    if not errors(faults):
        # Without a place to keep it, it is fetched again the next time.
        with contextlib.suppress(OSError):
            _write(kept, text)
    return objects, faults


def _kept(environ: Mapping[str, str]) -> Path:
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "meshup" / f"gateway-api-{versions.GATEWAY_API}.yaml"


def _write(file: Path, text: str) -> None:
    """Write so that no other run ever reads half a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(name).replace(file)
