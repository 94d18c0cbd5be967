"""Facts about Linkerd's charts: the paths and defaults of their values, and what their CRDs let the API server check.

`python -m tests.facts.linkerd DIRECTORY VERSION` writes both files beside this module. DIRECTORY holds
`values-CHART.yaml` of each chart (`helm show values`; `values-linkerd-control-plane-ha.yaml` is the chart's
values-ha.yaml) and `linkerd-crds.yaml` (`helm template` of the chart linkerd-crds without the Gateway API).
"""

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

_VALUES, _CRDS = (Path(__file__).with_name(f"linkerd-{what}.json") for what in ("values", "crds"))
Tree = dict[str, Any]

# Source: Kubernetes API, apiextensions.k8s.io/v1.
_SPEC = ("group", "scope", "versions")
_NAMES = ("kind", "listKind", "plural", "singular")
_VERSION = ("name", "served", "storage", "subresources")
_SUBSCHEMA = ("items", "additionalProperties", "not")
_SUBSCHEMAS = ("oneOf", "anyOf", "allOf")
_LIMITS = {
    *("type", "format", "enum", "default", "nullable", "required", "pattern"),
    *(f"{end}{what}" for end in ("min", "max") for what in ("imum", "Length", "Items", "Properties")),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems"),
    *(f"x-kubernetes-{what}" for what in ("int-or-string", "preserve-unknown-fields", "list-type", "list-map-keys")),
    *(f"x-kubernetes-{what}" for what in ("map-type", "embedded-resource")),
}
_PROSE = {"description", "title", "example", "externalDocs"}


def values(chart: str) -> Tree:
    """Return the default values of a chart by dotted path."""
    return _read(_VALUES)["facts"][chart]


def versions() -> set[str]:
    """Return the versions of the charts that the facts are of: one, unless a file was forgotten."""
    return {_read(file)["version"] for file in (_VALUES, _CRDS)}


def crds() -> list[Tree]:
    """Return Linkerd's CustomResourceDefinitions, as the API server takes them."""
    return _read(_CRDS)["facts"]


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of every leaf; an empty mapping is one."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(cast("Tree", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def facts_of_crd(crd: Tree) -> Tree:
    """Return a CustomResourceDefinition with nothing but what decides whether an object is valid.

    Raises:
        ValueError: A schema has a keyword that is not known here.
    """
    spec = {key: crd["spec"][key] for key in _SPEC}
    spec["names"] = {key: value for key, value in crd["spec"]["names"].items() if key in _NAMES}
    spec["versions"] = [
        {key: version[key] for key in _VERSION if key in version}
        | {"schema": {"openAPIV3Schema": facts_of_schema(version["schema"]["openAPIV3Schema"])}}
        for version in spec["versions"]
    ]
    metadata = {"name": crd["metadata"]["name"]}
    return {"apiVersion": crd["apiVersion"], "kind": crd["kind"], "metadata": metadata, "spec": spec}


def facts_of_schema(schema: Tree) -> Tree:
    """Return a schema without prose.

    Raises:
        ValueError: It has a keyword that is not known here.
    """
    facts: Tree = {}
    for key, value in schema.items():
        if key == "properties":
            facts[key] = {name: facts_of_schema(item) for name, item in value.items()}
        elif key in _SUBSCHEMA:
            facts[key] = facts_of_schema(cast("Tree", value)) if isinstance(value, dict) else value
        elif key in _SUBSCHEMAS:
            facts[key] = [facts_of_schema(item) for item in value]
        elif key == "x-kubernetes-validations":
            facts[key] = [{"rule": item["rule"]} for item in value]
        elif key in _LIMITS:
            facts[key] = value
        elif key not in _PROSE:
            raise ValueError(f"unknown keyword of a schema: {key}")
    return facts


@cache
def _read(file: Path) -> Any:
    return json.loads(file.read_text())


def _write(file: Path, version: str, facts: Any) -> None:
    # One fact a line for values, one CRD a line for CRDs: small, and a change of version can be read.
    depth = 2 if isinstance(facts, dict) else 1
    file.write_text(f'{{\n"version": {json.dumps(version)},\n"facts": {_lines(facts, depth)}\n}}\n')


def _lines(item: Any, depth: int) -> str:
    if depth == 0 or not item:
        return json.dumps(item)
    if isinstance(item, dict):
        rows = [f"{json.dumps(key)}: {_lines(value, depth - 1)}" for key, value in cast("Tree", item).items()]
        return "{\n" + ",\n".join(rows) + "\n}"
    return "[\n" + ",\n".join(_lines(value, depth - 1) for value in item) + "\n]"


def main(directory: Path, version: str) -> None:
    """Write the facts of one version."""
    charts = {
        file.stem.removeprefix("values-"): dict(leaves(yaml.safe_load(file.read_text())))
        for file in sorted(directory.glob("values-*.yaml"))
    }
    loaded = cast("list[Tree | None]", list(yaml.safe_load_all((directory / "linkerd-crds.yaml").read_text())))
    _write(_VALUES, version, charts)
    _write(_CRDS, version, [facts_of_crd(item) for item in loaded if item])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
