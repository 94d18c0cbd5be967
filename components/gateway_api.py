"""The one pinned bundle of the Gateway API for both meshes: its CustomResourceDefinitions and its upgrade guard.

It is installed here and not by a mesh's chart: Linkerd's chart has v1.1.1, which the guard of every bundle since 1.5.0
refuses, and its policy controller looks up the route kinds only at startup (policy-controller/runtime/src/args.rs,
edge-26.8.3). So the bundle is installed before the control plane.

The bundle is identified by a digest of its objects. Release manifest, Go module and a directory of files hold the same
objects (hack/build-install-yaml.sh of v1.5.1 concatenates the files), so all have the same digest.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, cast

import pulumi
from pydantic import Strict

from .arguments import Arguments
from .diagnostics import Diagnostic
from .manifests import Manifest
from .meshes.interface import GatewayApiRange
from .resources import register
from .scalars import FilePath

# renovate: datasource=github-releases depName=kubernetes-sigs/gateway-api
GATEWAY_API = "v1.5.1"
"""The pinned version, supported by every mesh (`Mesh.gateway_api`)."""

GATEWAY_API_DIGEST = "894a8ac09eb8e3585c673ebaf2abe49fe2b5e07276d1dc14f505f3f996819c53"
"""SHA-256 of the objects of its standard channel (`digest`)."""

GUARD = "safe-upgrades.gateway.networking.k8s.io"
"""ValidatingAdmissionPolicy of bundles since 1.5.0; it refuses older bundles, and experimental over standard ones."""

BUNDLE_VERSION = "gateway.networking.k8s.io/bundle-version"
CHANNEL = "gateway.networking.k8s.io/channel"
_NEEDED = ("httproutes.gateway.networking.k8s.io", "grpcroutes.gateway.networking.k8s.io")
_KINDS = ("CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
_PATH = "meshup:gatewayApi"


class GatewayApiSettings(Arguments):
    """The Gateway API bundle."""

    install: bool | None = None
    """`false` never installs it; `true` does so even where neither the mesh nor a route needs it."""
    manifest: FilePath | None = None
    """A file, or a directory of YAML files. Without it: `gateway-api` in the charts' directory, else the project's
    release."""


class GatewayApiArgs(Arguments):
    """Arguments of `GatewayApi`."""

    objects: Annotated[tuple[dict[str, Any], ...], Strict(False)]
    """The objects of the bundle, as `parse` returns them."""


def parse(
    documents: Iterable[Any], path: str, version: str = GATEWAY_API, pinned: str = GATEWAY_API_DIGEST
) -> tuple[list[Manifest], list[Diagnostic]]:
    """Check that a bundle is the pinned one.

    Args:
        documents: The contents of its YAML documents.
        path: Configuration path for diagnostics.
        version: The pinned version.
        pinned: The digest of its standard channel, as `digest` returns it.

    Returns:
        The objects in order of creation, and the diagnostics.
    """
    contents: list[Any] = [document for document in documents if document is not None]
    objects = [cast("Manifest", item) for item in contents if _is_part(item)]
    if not objects or len(objects) != len(contents):
        message = "The bundle holds something else than the objects of the Gateway API."
        return [], [Diagnostic("MSH311", path, None, message, f"the release manifest of {version}, standard channel")]
    actual = digest(objects)
    if actual != pinned:
        versions = sorted({_annotation(item["metadata"], BUNDLE_VERSION) for item in objects if _is_crd(item)})
        channels = sorted({_annotation(item["metadata"], CHANNEL) for item in objects if _is_crd(item)})
        message = (
            f"This is not the pinned bundle. It says version {', '.join(versions)}, channel {', '.join(channels)}."
        )
        allowed = f"{version}, standard, digest {pinned[:12]}"
        return [], [Diagnostic("MSH312", path, actual[:12], message, allowed)]
    return sorted(objects, key=lambda item: (_KINDS.index(item["kind"]), item["metadata"]["name"])), []


def digest(objects: Iterable[Manifest]) -> str:
    """Return the SHA-256 of the objects, independent of order, comments and YAML style."""
    try:
        lines = sorted(json.dumps(item, sort_keys=True, separators=(",", ":"), default=str) for item in objects)
    except TypeError:
        lines = []  # A key that is no text, which no object has.
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_bundle_object(name: str) -> bool:
    """Return True if a bundle has an object of this name: a CustomResourceDefinition or the guard."""
    return name == GUARD or name.endswith(".gateway.networking.k8s.io")


def existing(
    mesh: str,
    accepted: GatewayApiRange,
    crds: Sequence[Mapping[str, Any]],
    guards: Sequence[Mapping[str, Any]],
    is_ours: Mapping[str, bool],
) -> tuple[bool, list[Diagnostic]]:
    """Check whether the bundle on the cluster is compatible with the mesh.

    Args:
        mesh: The name of the mesh.
        accepted: The bundle versions that it supports.
        crds: Metadata of all CustomResourceDefinitions of the cluster.
        guards: Metadata of all its ValidatingAdmissionPolicies.
        is_ours: Name of an object -> whether this stack owns it.

    Returns:
        True if meshup installs or keeps the bundle, because it is missing or its own; and the diagnostics.
    """
    live = {str(item["name"]): item for item in crds if is_bundle_object(str(item["name"]))}
    foreign = {name: item for name, item in live.items() if not is_ours.get(name, False)}
    if not foreign:
        if any(item["name"] == GUARD and not is_ours.get(GUARD, False) for item in guards):
            message = f"The policy {GUARD} is on the cluster, without the bundle that it belongs to."
            return False, [Diagnostic("MSH315", _PATH, None, message)]
        return True, []
    lacking = [name for name in _NEEDED if name not in live]
    if lacking:
        message = f"The bundle on the cluster lacks {', '.join(lacking)}."
        return False, [
            Diagnostic("MSH313", _PATH, None, message, f"a whole bundle, such as v{_dotted(accepted.newest)}")
        ]
    oldest, newest = accepted.oldest, accepted.newest
    allowed = f"{_dotted(oldest)} to {_dotted(newest)}, standard channel"
    diagnostics: list[Diagnostic] = []
    for name in _NEEDED:
        version, channel = _annotation(live[name], BUNDLE_VERSION), _annotation(live[name], CHANNEL)
        numbers = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+)(-.*)?", version)
        if numbers is None or not oldest <= (int(numbers[1]), int(numbers[2]), int(numbers[3])) <= newest:
            message = f"{name} on the cluster is of a version that {mesh} does not take."
            diagnostics.append(Diagnostic("MSH313", _PATH, version, message, allowed))
        if channel != "standard":
            message = f"{name} on the cluster is of another channel; the guard of the standard one can't replace it."
            diagnostics.append(Diagnostic("MSH314", _PATH, channel, message, allowed))
    return False, diagnostics


class GatewayApi(pulumi.ComponentResource):
    """The Gateway API bundle. Resources that depend on it find every route kind served."""

    def __init__(
        self, name: str, args: GatewayApiArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:GatewayApi", name, {}, opts)
        args = GatewayApiArgs.of(args)
        crds: list[pulumi.Resource] = []
        for item in args.objects:
            body = {key: value for key, value in item.items() if key != "status"}
            # The guard is created last and deleted first, so that it never blocks its own bundle.
            after = [] if _is_crd(item) else list(crds)
            role = item["metadata"]["name"].split(".")[0]
            suffix = "" if _is_crd(item) else f"-{item['kind'].removeprefix('ValidatingAdmission').lower()}"
            made = register(f"{name}-{role}{suffix}", body, pulumi.ResourceOptions(parent=self, depends_on=after))
            crds.append(made)
        self.register_outputs({})


def _is_part(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    manifest = cast("Manifest", item)
    metadata: Any = manifest.get("metadata")
    name: Any = cast("Manifest", metadata).get("name") if isinstance(metadata, dict) else None
    named = isinstance(name, str) and name.endswith(".gateway.networking.k8s.io")
    return named and manifest.get("kind") in _KINDS


def _is_crd(item: Mapping[str, Any]) -> bool:
    return item["kind"] == "CustomResourceDefinition"


def _annotation(metadata: Mapping[str, Any], key: str) -> str:
    annotations: Any = metadata.get("annotations")
    return str(
        cast("Mapping[str, str]", annotations).get(key, "unknown") if isinstance(annotations, dict) else "unknown"
    )


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(str(part) for part in version)
