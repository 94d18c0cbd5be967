"""A pod's volumes as plain files: what each contains, and what has to be asked of the API for it. Pure.

Source: Kubernetes API v1 (Volume). Kinds that no mesh component of the embedded cluster uses are empty folders.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devcluster.kubelet.spec import (
    ISTIOD_CONTAINER,
    PROXY_CONTAINER,
    Context,
    NotYet,
    Object,
    field_value,
    is_istiod,
    listed,
    mapped,
    mesh_config,
    mesh_config_map,
)

_MESH_CONFIG_VOLUME = "meshup-mesh-config"


@dataclass(frozen=True, order=True)
class TokenRequest:
    """A service account token that a volume projects.

    Attributes:
        audience: Empty for the API server's own.
        seconds: How long it is to be valid.
    """

    audience: str
    seconds: int


@dataclass(frozen=True)
class Needs:
    """What a pod's volumes and environment refer to, by name."""

    config_maps: frozenset[str]
    secrets: frozenset[str]
    tokens: frozenset[TokenRequest]


def needs(pod: Object) -> Needs:
    """Return what has to be read from the API before the pod can start."""
    config_maps: set[str] = set()
    secrets: set[str] = set()
    tokens: set[TokenRequest] = set()
    for part in [part for volume in listed(pod["spec"], "volumes") for part in _parts(volume)]:
        if "configMap" in part:
            config_maps.add(part["configMap"]["name"])
        elif "secret" in part:
            secrets.add(_secret_name(part["secret"]))
        elif "serviceAccountToken" in part:
            tokens.add(_token(part["serviceAccountToken"]))
    for container in [*listed(pod["spec"], "containers"), *listed(pod["spec"], "initContainers")]:
        origins = [mapped(entry, "valueFrom") for entry in listed(container, "env")]
        for origin in [*origins, *listed(container, "envFrom")]:
            config_maps |= {origin[kind]["name"] for kind in ("configMapKeyRef", "configMapRef") if kind in origin}
            secrets |= {origin[kind]["name"] for kind in ("secretKeyRef", "secretRef") if kind in origin}
    if is_istiod(pod):
        config_maps.add(mesh_config_map(pod))
    return Needs(frozenset(config_maps), frozenset(secrets), frozenset(tokens))


def contents(context: Context, tokens: Mapping[TokenRequest, str]) -> dict[str, dict[str, str]]:
    """Return the files of each volume: volume name, then path within it, then text.

    Raises:
        NotYet: A ConfigMap or Secret that is not optional is missing.
    """
    pod = context.pod
    result: dict[str, dict[str, str]] = {}
    for volume in listed(pod["spec"], "volumes"):
        files: dict[str, str] = {}
        for part in _parts(volume):
            files |= _files(part, context, tokens)
        result[volume["name"]] = files
    if is_istiod(pod):
        data = _required(context.source.config_maps, "ConfigMap", mesh_config_map(pod))
        result[_MESH_CONFIG_VOLUME] = {"mesh": mesh_config(data.get("mesh", ""))}
    return result


def mounts(pod: Object) -> dict[str, str]:
    """Return where the pod's volumes are: path in the pod to volume name.

    One file system serves all processes of a pod, so it shows the volumes of the mesh's own container; the stand-ins
    for applications use none.
    """
    result: dict[str, str] = {}
    for container in [*listed(pod["spec"], "initContainers"), *listed(pod["spec"], "containers")]:
        if container["name"] in (PROXY_CONTAINER, ISTIOD_CONTAINER):
            for mount in listed(container, "volumeMounts"):
                result[_in_run(mount["mountPath"].rstrip("/"))] = mount["name"]
    if is_istiod(pod):
        # istiod prefers this file to the ConfigMap (pilot/pkg/bootstrap/mesh.go) and watches it.
        result["/etc/istio/config"] = _MESH_CONFIG_VOLUME
    # Outer folders first.
    return dict(sorted(result.items()))


def empty_directories(pod: Object) -> frozenset[str]:
    """Return the volumes that the pod itself writes to."""
    return frozenset(v["name"] for v in listed(pod["spec"], "volumes") if not _parts(v))


def _in_run(path: str) -> str:
    """/var/run is a link to /run in a pod as it is on a host, and a mount needs the folder itself."""
    return path.removeprefix("/var") if path.startswith("/var/run/") else path


def _parts(volume: Object) -> Sequence[Object]:
    if "projected" in volume:
        return listed(volume["projected"], "sources")
    return [volume] if any(kind in volume for kind in ("configMap", "secret", "downwardAPI")) else []


def _files(part: Object, context: Context, tokens: Mapping[TokenRequest, str]) -> dict[str, str]:
    if "configMap" in part:
        return _keys(part["configMap"], "ConfigMap", part["configMap"]["name"], context.source.config_maps)
    if "secret" in part:
        return _keys(part["secret"], "Secret", _secret_name(part["secret"]), context.source.secrets)
    if "serviceAccountToken" in part:
        return {part["serviceAccountToken"]["path"]: tokens[_token(part["serviceAccountToken"])]}
    if "downwardAPI" in part:
        return {
            item["path"]: field_value(item["fieldRef"]["fieldPath"], context)
            for item in listed(part["downwardAPI"], "items")
            if "fieldRef" in item
        }
    return {}


def _keys(reference: Object, kind: str, name: str, available: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    if reference.get("optional") and name not in available:
        return {}
    data = _required(available, kind, name)
    items = listed(reference, "items")
    if not items:
        return dict(data)
    if missing := [i["key"] for i in items if i["key"] not in data and not reference.get("optional")]:
        raise NotYet(f"key {missing[0]} of {kind} {name}")
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}


def _required(available: Mapping[str, Mapping[str, str]], kind: str, name: str) -> Mapping[str, str]:
    if name not in available:
        raise NotYet(f"{kind} {name}")
    return available[name]


def _secret_name(reference: Object) -> str:
    # A Secret volume says secretName, a projected one name.
    return reference.get("secretName") or reference["name"]


def _token(projection: Object) -> TokenRequest:
    return TokenRequest(projection.get("audience") or "", int(projection.get("expirationSeconds") or 3600))


def decoded(data: Mapping[str, str] | None) -> dict[str, str]:
    """Return a Secret's data as text. Bytes that are not text are left out: no mesh component here reads any."""
    result: dict[str, str] = {}
    for key, value in (data or {}).items():
        try:
            result[key] = base64.b64decode(value).decode()
        except UnicodeDecodeError:
            continue
    return result
