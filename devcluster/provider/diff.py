"""What a change of inputs does to an object: which paths change, and whether it must be replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from devcluster.provider.objects import JsonObject, Kind
from devcluster.provider.properties import UNKNOWN

Path: TypeAlias = tuple[str | int, ...]
Change: TypeAlias = Literal["add", "delete", "update"]


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """One path that changes."""

    path: Path
    change: Change
    replace: bool = False

    def __str__(self) -> str:
        """The path as Pulumi writes it: `spec.containers[0].image`, `labels["a.b"]`."""
        return render(self.path)


def render(path: Path) -> str:
    """Return a property path as Pulumi writes it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif any(char in part for char in '."[]'):
            escaped = part.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{part}" if text else part
    return text


def parse(text: str) -> tuple[str | int, ...]:
    """Return the parts of a property path; `*` stands for any key or index."""
    parts: list[str | int] = []
    rest = text
    while rest:
        if rest.startswith('["'):
            end = rest.index('"]')
            parts.append(rest[2:end].replace('\\"', '"'))
            rest = rest[end + 2 :]
        elif rest.startswith("["):
            end = rest.index("]")
            inner = rest[1:end]
            parts.append(int(inner) if inner.isdigit() else inner)
            rest = rest[end + 1 :]
        else:
            rest = rest.removeprefix(".")
            stop = min((rest.find(c) for c in ".[" if c in rest), default=len(rest))
            parts.append(rest[:stop])
            rest = rest[stop:]
    return tuple(parts)


def covers(prefix: Path, path: Path) -> bool:
    """Say whether `path` is at or below `prefix`; `*` in the prefix stands for any part."""
    return len(prefix) <= len(path) and all(mine in (theirs, "*") for mine, theirs in zip(prefix, path, strict=False))


def compare(old: Any, new: Any, path: Path = ()) -> list[PropertyChange]:
    """Return every path at which `new` differs from `old`; a new or gone object or list counts as one path."""
    match old, new:
        case dict(), dict():
            before, after = cast("JsonObject", old), cast("JsonObject", new)
            changes: list[PropertyChange] = []
            for key in sorted(before.keys() | after.keys()):
                here = (*path, key)
                if key not in before:
                    changes.append(PropertyChange(here, "add"))
                elif key not in after:
                    changes.append(PropertyChange(here, "delete"))
                else:
                    changes += compare(before[key], after[key], here)
            return changes
        case list(), list():
            old_items, new_items = cast("list[Any]", old), cast("list[Any]", new)
            common = min(len(old_items), len(new_items))
            changes = [c for i in range(common) for c in compare(old_items[i], new_items[i], (*path, i))]
            changes += [PropertyChange((*path, i), "add") for i in range(common, len(new_items))]
            return changes + [PropertyChange((*path, i), "delete") for i in range(common, len(old_items))]
        case _:
            same = old == new and isinstance(old, bool) == isinstance(new, bool)
            return [] if same and new != UNKNOWN else [PropertyChange(path, "update")]


def mark_replacements(
    changes: Iterable[PropertyChange], new: Mapping[str, Any], force_new: Sequence[Path]
) -> list[PropertyChange]:
    """Return the changes, with those marked that touch a field which can't be changed in place."""
    return [
        PropertyChange(c.path, c.change, replace=any(_touches(c, field, new) for field in force_new)) for c in changes
    ]


def _touches(change: PropertyChange, field: Path, new: Mapping[str, Any]) -> bool:
    if covers(field, change.path):
        return True
    if not covers(change.path, field):
        return False
    # The change adds or sets a whole object that holds the field.
    value: Any = new
    for part in field:
        if not isinstance(value, dict) or part not in cast("JsonObject", value):
            return False
        value = cast("JsonObject", value)[str(part)]
    return True


def without_ignored(changes: Iterable[PropertyChange], ignored: Iterable[str]) -> list[PropertyChange]:
    """Return the changes that `ignoreChanges` does not cover."""
    paths = [parse(text) for text in ignored]
    return [change for change in changes if not any(covers(path, change.path) for path in paths)]


@dataclass(frozen=True, slots=True)
class Mutability:
    """Which kinds' data may change in place (`enableConfigMapMutable`, `enableSecretMutable`)."""

    config_map: bool = False
    secret: bool = False


def _paths(*fields: str) -> tuple[Path, ...]:
    return tuple(parse(field) for field in fields)


_IDENTITY = _paths("metadata.name", "metadata.namespace")
_CONTAINER = [
    "args",
    "command",
    "env",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
]
_POD = [
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostname",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "volumes",
]
_VOLUME_SOURCES = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
]

# Fields that can't change in place. Source: pulumi-kubernetes provider/pkg/provider/diff.go.
_FORCE_NEW: dict[tuple[str, str, str], tuple[Path, ...]] = {
    ("apps", "v1", "DaemonSet"): _paths("spec.selector"),
    ("apps", "v1", "Deployment"): _paths("spec.selector"),
    ("apps", "v1", "StatefulSet"): _paths(
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("", "v1", "PersistentVolume"): _paths(*(f"spec.{source}" for source in _VOLUME_SOURCES)),
    ("", "v1", "PersistentVolumeClaim"): _paths("spec"),
    ("", "v1", "Pod"): _paths(
        *(f"spec.{field}" for field in _POD),
        *(f"spec.{kind}[*].{field}" for kind in ("containers", "initContainers") for field in _CONTAINER),
    ),
    ("", "v1", "ResourceQuota"): _paths("spec.scopes"),
    ("", "v1", "Service"): _paths("spec.clusterIP"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"): _paths("roleRef"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"): _paths("roleRef"),
    ("storage.k8s.io", "v1", "StorageClass"): _paths("parameters", "provisioner"),
    ("batch", "v1", "Job"): _paths("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
}


def force_new(kind: Kind, obj: Mapping[str, Any], mutability: Mutability, *, patch: bool) -> tuple[Path, ...]:
    """Return the fields of a kind that can't change in place; of a Patch resource only the target's identity."""
    if patch:
        return _IDENTITY
    immutable = obj.get("immutable") is True
    if kind == Kind("", "v1", "Secret") and (immutable or not mutability.secret):
        return _IDENTITY + _paths("type", "stringData", "data")
    if kind == Kind("", "v1", "ConfigMap") and (immutable or not mutability.config_map):
        return _IDENTITY + _paths("binaryData", "data")
    return _IDENTITY + _FORCE_NEW.get((kind.group, kind.version, kind.kind), ())
