"""The real CRDs, as far as they are on this machine: Istio's and the Gateway API's in the Go module cache, Linkerd's
in ../shared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
Schema = dict[str, Any]


def module_directory(tool: str, module: str) -> Path:
    """Where Go keeps a pinned module; skips where it is absent."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the CRDs are in Go modules, and go is not on PATH")
    directory = ROOT / "tools" / tool
    run = subprocess.run(
        [go, "list", "-mod=mod", "-m", "-f", "{{.Dir}}", module],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off"},
    )
    found = run.stdout.strip()
    if run.returncode or not found or not Path(found).is_dir():
        pytest.skip(f"the Go module {module} is not downloaded: go mod download in tools/{tool}")
    return Path(found)


@cache
def schemas() -> dict[tuple[str, str], Schema]:
    """OpenAPI schemas by apiVersion and kind."""
    istio = module_directory("istio", "istio.io/istio")
    gateway = module_directory("gateway-api", "sigs.k8s.io/gateway-api")
    linkerd = ROOT.parent / "shared" / "data" / "linkerd-crds.yaml"
    if not linkerd.exists():
        pytest.skip("Linkerd's CRDs are in ../shared, which is absent")
    files = [
        istio / "manifests/charts/base/files/crd-all.gen.yaml",
        *sorted((gateway / "config/crd/standard").glob("*.yaml")),
        linkerd,
    ]
    found: dict[tuple[str, str], Schema] = {}
    for file in files:
        for crd in cast("list[Schema | None]", list(yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader))):
            if not crd or crd["kind"] != "CustomResourceDefinition":
                continue
            spec = crd["spec"]
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
