"""Helm releases of a mesh that somebody else has installed, as the settings of a stack that takes them over."""

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from ..arguments import Arguments, HelmValue, helm_values
from ..diagnostics.validation import validate
from ..helm import merged
from ..manifests import Manifest
from ..traffic.adoption import differences

Values = dict[str, Any]
_SECRET_TYPE = "helm.sh/release.v1"  # noqa: S105 - a type of Secrets


@dataclass(frozen=True)
class HelmRecord:
    """The last record of a Helm release.

    Attributes:
        name: Name of the release.
        namespace: Its namespace.
        secret: Name of the Secret that has the record.
        status: Such as `deployed`.
        chart: Name of its chart.
        version: Version of its chart.
        values: The values that it was installed with, without those of the chart.
    """

    name: str
    namespace: str
    secret: str
    status: str
    chart: str
    version: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Adopted:
    """Settings with which a stack has the releases as they run.

    Attributes:
        sections: Sections of the configuration, by key.
        notes: What a `pulumi up` would change all the same.
        commands: What is to be run before it, such as to save certificates in files.
    """

    sections: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = field(default=())


def records(secrets: Iterable[Manifest]) -> list[HelmRecord]:
    """Read the last record of each release (Helm 3, pkg/storage/driver/util.go: base64 and gzip of JSON)."""
    last: dict[tuple[str, str], tuple[int, HelmRecord]] = {}
    for item in secrets:
        if item.get("type") != _SECRET_TYPE:
            continue
        metadata = item["metadata"]
        try:
            packed = base64.b64decode(base64.b64decode(item["data"]["release"]))
            release: Values = json.loads(gzip.decompress(packed))
            chart = release["chart"]["metadata"]
            record = HelmRecord(
                name=str(release["name"]),
                namespace=str(release["namespace"]),
                secret=str(metadata["name"]),
                status=str(release["info"]["status"]),
                chart=str(chart["name"]),
                version=str(chart["version"]),
                values=cast("Values", release.get("config") or {}),
            )
        except (KeyError, TypeError, ValueError, OSError, EOFError, zlib.error, binascii.Error):
            continue
        place, number = (record.namespace, record.name), int(release.get("version", 0))
        if place not in last or last[place][0] < number:
            last[place] = (number, record)
    return [record for _, record in last.values()]


def settings_of(kind: type[Arguments], values: Mapping[str, Any], chart: str = "") -> tuple[Values, Values]:
    """Return the settings that express chart values, as they are written, and the values that none expresses.

    A setting is taken if it gives exactly the values that are there.
    """
    settings: Values = {}
    rest = merged(values)
    for name, info in kind.model_fields.items():
        items = [item for item in info.metadata if isinstance(item, HelmValue) and item.chart == chart]
        if not items:
            continue
        key = info.alias or name
        for candidate in _candidates(items, info.annotation, values):
            model, diagnostics = validate(kind, {key: candidate}, key)
            if model is None or diagnostics:
                continue
            paths = {item.path for item in items}
            made = {path: value for path, value in helm_values(model, chart).items() if path in paths}
            if made and all(_at(values, path) == value for path, value in made.items()):
                if getattr(model, name) != info.default:
                    settings[key] = candidate
                for path in made:
                    _remove(rest, path)
                break
    return settings, rest


def _candidates(items: list[HelmValue], annotation: Any, values: Mapping[str, Any]) -> list[Any]:
    if any(item.convert for item in items):
        return [option for option in get_args(annotation) if isinstance(option, str)]
    value = _at(values, items[0].path)
    return [] if value is None else [value]


def _at(values: Mapping[str, Any], path: str) -> Any:
    here: Any = values
    for key in path.split("."):
        here = cast("Mapping[str, Any]", here).get(key) if isinstance(here, Mapping) else None
    return here


def _remove(values: Values, path: str) -> None:
    """Remove a value, and the mappings that are empty without it."""
    key, _, below = path.partition(".")
    if below:
        _remove(values[key], below)
    if not below or not values[key]:
        del values[key]


def without(values: Mapping[str, Any], *paths: str) -> Values:
    """Return values without some of them."""
    rest = merged(values)
    for path in paths:
        if _at(rest, path) is not None:
            _remove(rest, path)
    return rest


def notes(found: Iterable[HelmRecord], made: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Return what the releases of a stack would change of those that run.

    Args:
        found: The releases that run.
        made: Values of the releases of the stack, by name.
    """
    for record in found:
        if record.name not in made:
            yield f"the release {record.name} keeps running beside this stack: meshup's own are {', '.join(made)}"
        else:
            for difference in differences(record.values, made[record.name], record.name):
                yield f"value {difference}"
