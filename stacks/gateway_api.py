"""Load the Gateway API bundle from a file, a directory, or the project's release, which is cached."""

import contextlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from components import gateway_api
from components.diagnostics import Diagnostic, errors
from components.gateway_api import GATEWAY_API, GatewayApiSettings
from components.helm import ChartSource
from components.manifests import Manifest, ObjectRef
from components.meshes import MESHES
from stacks import files, ownership
from stacks.cluster import ClusterView
from stacks.settings import Settings
from stacks.state import Stack

DIRECTORY = "gateway-api"
"""The sub-directory of `meshup:charts.directory` that may hold the bundle."""

RELEASE = f"https://github.com/kubernetes-sigs/gateway-api/releases/download/{GATEWAY_API}/standard-install.yaml"
"""The project's own release manifest of the standard channel."""

_GROUP = "gateway.networking.k8s.io/"
_SECONDS = 20
_MANIFEST = "meshup:gatewayApi.manifest"


def plan(
    settings: Settings, objects: Sequence[Manifest], stack: Stack, view: ClusterView
) -> tuple[tuple[Manifest, ...], list[Diagnostic]]:
    """Load the bundle if the stack has to install it.

    It does if nobody else installed it, and the mesh, a route or the settings require it.

    Args:
        settings: The settings of the stack.
        objects: The objects of its routes.
        stack: The stack.
        view: The cluster.
    """
    install = settings.gateway_api.install
    # A mesh that is there has the bundle that it needs, and whoever runs it has the bundle: routes only look at it.
    is_there = not settings.section(MESHES[settings.mesh].settings).install
    by_routes = any(item["apiVersion"].startswith(_GROUP) for item in objects)
    needed = by_routes or (MESHES[settings.mesh].gateway_api.always and not is_there)
    if not (install or needed):
        return (), []
    missing, diagnostics = view.if_readable(lambda: _missing(settings.mesh, stack, view), (False, []))
    if not missing or errors(diagnostics):
        return (), diagnostics
    if install is False or (is_there and install is None):
        reason = "install is false" if install is False else "the mesh is that of somebody else"
        message = f"There is no Gateway API on the cluster, and {reason}."
        return (), [Diagnostic("MSH313", "meshup:gatewayApi.install", install, message, "true, or a bundle")]
    bundle, diagnostics = load(settings.gateway_api, settings.charts, stack.environ)
    return tuple(bundle), diagnostics


def _missing(mesh: str, stack: Stack, view: ClusterView) -> tuple[bool, list[Diagnostic]]:
    """Return True if nobody else installed the bundle, and check a bundle of somebody else."""
    crd = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    policy = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")
    crds, policies = view.metadata(*crd), view.metadata(*policy)
    live = {
        ObjectRef(*kind, item["name"]): item
        for kind, items in ((crd, crds), (policy, policies))
        for item in items
        if gateway_api.is_bundle_object(item["name"])
    }
    claims = ownership.claims(live, live, stack.owner, stack.states)
    is_ours = {
        ref.name: ownership.owner_of(metadata) == stack.owner or ref in claims.taken_over
        for ref, metadata in live.items()
    }
    # A bundle of another owner may be compatible. One that two stacks own is refused.
    shared = [fault for fault in claims.diagnostics if fault.code == "MSH036"]
    return (False, shared) if shared else gateway_api.existing(mesh, MESHES[mesh].gateway_api, crds, policies, is_ours)


def load(
    settings: GatewayApiSettings, charts: ChartSource, environ: Mapping[str, str]
) -> tuple[list[Manifest], list[Diagnostic]]:
    """Return the objects of the pinned bundle and the diagnostics.

    Sources in order: the configured file or directory, `gateway-api` beside the charts, the
    release manifest. Each is checked against the pinned digest.
    """
    if settings.manifest is not None:
        return _local(settings.manifest, _MANIFEST)
    if charts.directory is not None:
        beside = f"{charts.directory}/{DIRECTORY}"
        with contextlib.suppress(files.UnreadableError):
            if files.is_directory(files.expand_path(beside)):
                return _local(beside, "meshup:charts.directory")
    return _released(environ)


def _local(written: str, path: str) -> tuple[list[Manifest], list[Diagnostic]]:
    try:
        texts = _texts(files.expand_path(written))
    except files.UnreadableError as error:
        message = f"The Gateway API bundle can't be read: {error}."
        return [], [Diagnostic("MSH311", path, written, message, "a file or a directory of YAML files")]
    return parse_bundle("\n---\n".join(texts), path)


def _texts(place: Path) -> list[str]:
    """Return the text of a file, or of each YAML file of a directory."""
    if not files.is_directory(place):
        return [files.text(place)]
    try:
        entries = sorted([*place.glob("*.yaml"), *place.glob("*.yml")])
    except OSError as error:
        raise files.UnreadableError(str(error.strerror)) from None
    texts: list[str] = []
    remaining_bytes = files.MOST_BYTES
    for file in entries:
        if file.name != "kustomization.yaml":
            texts.append(files.text(file, remaining_bytes))
            remaining_bytes -= len(texts[-1].encode())
    return texts


def parse_bundle(text: str, path: str) -> tuple[list[Manifest], list[Diagnostic]]:
    """Read a bundle and check that it is the pinned one.

    Args:
        text: YAML documents.
        path: Configuration path for diagnostics.

    Returns:
        The objects in order of creation, and the diagnostics.
    """
    try:
        return gateway_api.parse(files.documents(text), path)
    except files.UnreadableError as error:
        allowed = f"the release manifest of {GATEWAY_API}"
        return [], [Diagnostic("MSH311", path, None, f"The bundle can't be read: {error}.", allowed)]


def _released(environ: Mapping[str, str]) -> tuple[list[Manifest], list[Diagnostic]]:
    with contextlib.suppress(files.UnreadableError):
        objects, diagnostics = parse_bundle(files.text(_cached(environ)), _MANIFEST)
        if not diagnostics:
            return objects, []
    try:
        with urllib.request.urlopen(RELEASE, timeout=_SECONDS) as answer:
            text = answer.read(files.MOST_BYTES).decode("utf-8")
    except (urllib.error.URLError, http.client.HTTPException, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", error)
        return [], [Diagnostic("MSH317", _MANIFEST, RELEASE, f"It can't be fetched: {reason}.")]
    objects, diagnostics = parse_bundle(text, _MANIFEST)
    if not errors(diagnostics):
        # Without a writable cache, it is fetched again next time.
        with contextlib.suppress(OSError, files.UnreadableError):
            _write(_cached(environ), text)
    return objects, diagnostics


def _cached(environ: Mapping[str, str]) -> Path:
    cache = files.expand_path(environ.get("XDG_CACHE_HOME") or "~/.cache")
    return cache / "meshup" / f"gateway-api-{GATEWAY_API.removeprefix('v')}.yaml"


def _write(file: Path, text: str) -> None:
    """Write atomically: a concurrent run never reads a partial file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(name).replace(file)
