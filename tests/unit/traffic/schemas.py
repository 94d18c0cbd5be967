"""The schemas of the CRDs: Linkerd's from tests/facts, all others from the pinned Go modules."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema
import yaml

from tests import modules
from tests.facts import linkerd

ROOT = Path(__file__).resolve().parents[3]
Schema = dict[str, Any]


def operator_crds() -> list[Path]:
    """The files of the definitions of the Prometheus operator that objects of meshup are of."""
    operator = modules.directory("github.com/prometheus-operator/prometheus-operator")
    folder = operator / "example/prometheus-operator-crd"
    return [folder / f"monitoring.coreos.com_{plural}.yaml" for plural in ("podmonitors", "prometheusrules")]


@cache
def schemas() -> dict[tuple[str, str], Schema]:
    """OpenAPI schemas by apiVersion and kind."""
    istio = modules.directory("istio.io/istio") / "manifests/charts/base/files/crd-all.gen.yaml"
    gateway = modules.directory("sigs.k8s.io/gateway-api") / "config/crd/standard"
    crds = list(linkerd.crds())
    for file in (istio, *sorted(gateway.glob("*.yaml")), *operator_crds()):
        loaded = cast("list[Schema | None]", list(yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader)))
        crds += [item for item in loaded if item and item["kind"] == "CustomResourceDefinition"]
    found: dict[tuple[str, str], Schema] = {}
    for spec in (crd["spec"] for crd in crds):
        for version in spec["versions"]:
            if version["served"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema["properties"].update({"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}})
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def _strict(schema: Any) -> Any:
    """The schema as JSON Schema in which unknown fields are faults, as the API server prunes them."""
    if isinstance(schema, list):
        return [_strict(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    written: Schema = {key: _strict(value) for key, value in cast(Schema, schema).items()}
    if written.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    open_ended = written.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in written
    if isinstance(written.get("properties"), dict) and "type" in written and not open_ended:
        written["additionalProperties"] = False
    if written.get("nullable") is True and isinstance(written.get("type"), str):
        written["type"] = [written["type"], "null"]
    return written


@cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schemas()[api_version, kind])


def faults_of_object(item: dict[str, Any]) -> list[str]:
    """What the CRD of an object has against it. Objects of Kubernetes itself are not looked at."""
    if item["apiVersion"] == "v1":
        return []
    validator = _validator(item["apiVersion"], item["kind"])
    found: list[str] = []
    for error in validator.iter_errors(item):  # pyright: ignore[reportUnknownMemberType] -- jsonschema's stubs
        where = "/".join(str(part) for part in error.absolute_path)
        found.append(f"{item['kind']} {where}: {error.message[:200]}")
    return found
