"""A stack as plain data: what its state or its registrations say of each resource, without what differs by run.

An entry is what decides whether a later preview changes something: URN, parent, dependencies, provider, inputs and
options.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pulumi
import pytest
import yaml
from google.protobuf import json_format

from devcluster.golang import with_chart_version
from stacks import program
from tests import modules, standins
from tests.baseline.stacks import CHARTS, CONTEXT, NAME
from tests.components.recorder import Record, recorded
from tests.unit.stacks import fake_api

Entry = dict[str, Any]
ISTIO = "1.31.0-dev"
"""What the charts of the embedded cluster have as their version."""
_SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105 - the mark of a secret on Pulumi's wire
_OF_THE_RUN = {"meshup/trust", "subject", "serialNumber", "notBefore", "notAfter", "fingerprint", "daysLeft", "expires"}
"""Properties that differ with each certificate."""
_OPTIONS = (
    "protect",
    "deleteBeforeReplace",
    "ignoreChanges",
    "additionalSecretOutputs",
    "aliasURNs",
    "aliases",
    "customTimeouts",
    "replaceOnChanges",
    "retainOnDelete",
    "deletedWith",
    "importId",
    "hooks",
)
_PROJECT = "::meshup::"
_STACK = "pulumi:pulumi:Stack"
_PROVIDER = "pulumi:providers:kubernetes"
_LONG = ("CustomResourceDefinition", "ValidatingAdmissionPolicy")
_RELEASE = "kubernetes:helm.sh/v3:Release"


def of_state(state: Mapping[str, Any], places: Mapping[str, str]) -> tuple[list[Entry], Entry]:
    """Return the resources of an exported state, and the stack outputs.

    Args:
        state: What `pulumi stack export` says.
        places: Paths and names of this machine, and what stands for each.
    """
    resources = cast("list[dict[str, Any]]", state["deployment"]["resources"])
    outputs = next(r for r in resources if r["type"] == _STACK)["outputs"]
    made = [r for r in resources if r["type"] != _STACK and not _is_default_provider(r["urn"])]
    return [_entry(r, places) for r in made], cast("Entry", masked(outputs, places))


def of_records(records: list[Record], places: Mapping[str, str]) -> list[Entry]:
    """Return resources as they were registered, with their options."""
    types: dict[str, str] = {}
    entries: list[Entry] = []
    for record in records:
        # Under mocks a URN has the type of the parent, and not those of the parent's parents.
        above = types.get(record.parent, "")
        types[record.urn] = f"{above}${record.type}" if above else record.type
        urn = f"{record.urn[: record.urn.index(_PROJECT)]}{_PROJECT}{types[record.urn]}::{record.name}"
        said = json_format.MessageToDict(record.request)
        by_property = {key: value.get("urns", []) for key, value in said.get("propertyDependencies", {}).items()}
        entry = _entry({**said, "urn": urn, "inputs": record.inputs, "propertyDependencies": by_property}, places)
        said["aliases"] = [alias for alias in said.get("aliases", []) if not _is_of_sdk(alias)]
        options = {key: said[key] for key in _OPTIONS if said.get(key)}
        entries.append(entry | ({"options": options} if options else {}))
    return entries


def _is_of_sdk(alias: Entry) -> bool:
    """Say whether the SDK has given an alias: an older version of the same kind."""
    spec = alias.get("spec", {})
    return spec.get("type", "").startswith("kubernetes:") and not any(spec.get(key) for key in ("name", "parentUrn"))


def masked(value: Any, places: Mapping[str, str]) -> Any:
    """Return a value without secrets, certificates and what is called differently on each machine."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if _SECRET in fields:
            return "[secret]"
        return {key: "[of the run]" if key in _OF_THE_RUN else masked(item, places) for key, item in fields.items()}
    if isinstance(value, list):
        return [masked(item, places) for item in cast("list[Any]", value)]
    if isinstance(value, str):
        if "-----BEGIN" in value:
            return "[certificate]"
        for place, name in places.items():
            value = value.replace(place, name)
        return value
    # Every number is a float on the wire.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _entry(resource: Mapping[str, Any], places: Mapping[str, str]) -> Entry:
    parent, provider = resource.get("parent", ""), _urn(resource.get("provider", "").rpartition("::")[0])
    by_property = cast("dict[str, list[str]]", resource.get("propertyDependencies", {}))
    entry: Entry = {
        "urn": _urn(resource["urn"]),
        "parent": "" if f"::{_STACK}::" in parent else _name(parent),
        "provider": "" if _is_default_provider(provider) else provider,
        "dependencies": sorted(map(_name, resource.get("dependencies", []))),
        "propertyDependencies": {key: sorted(map(_name, urns)) for key, urns in by_property.items() if urns},
        "inputs": masked(_checked(resource["type"], resource.get("inputs", {})), places),
    }
    return {key: value for key, value in entry.items() if value}


def _is_default_provider(urn: str) -> bool:
    """Say whether the engine has made a provider by itself, which the program does not register."""
    return "::pulumi:providers:" in urn and _name(urn).startswith("default")


def _urn(urn: str) -> str:
    """Return a URN as the engine makes it; under mocks the stack is part of the type."""
    return urn.replace(f"{_STACK}$", "")


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _checked(kind: str, inputs: Mapping[str, Any]) -> Entry:
    """Return inputs without what the plugin's Check adds, and long ones by their digest."""
    if kind == _RELEASE:
        # A field that the program does not set is in the state with its default.
        return {key: value for key, value in inputs.items() if value not in (False, "", 0, {}) and key != "compat"}
    if kind == _PROVIDER:
        return {key: value for key, value in inputs.items() if key not in ("version", "__internal")}
    if inputs.get("kind") in _LONG:
        canonical = json.dumps(masked(inputs["spec"], {}), sort_keys=True)
        return {**inputs, "spec": hashlib.sha256(canonical.encode()).hexdigest()}
    return dict(inputs)


def charts(folder: Path) -> Path:
    """Make a folder of charts for both meshes: Istio's own, and stand-ins for Linkerd's."""
    standins.charts(folder)
    for name, place in {"base": "base", "istiod": "istio-control/istio-discovery", "gateway": "gateway"}.items():
        shutil.copytree(modules.directory("istio.io/istio") / "manifests" / "charts" / place, folder / name)
        for path in (folder / name, folder / name / "Chart.yaml"):
            path.chmod(0o700)
        chart = folder / name / "Chart.yaml"
        chart.write_text(with_chart_version(chart.read_text(), ISTIO))
    return folder


def bundle() -> Path:
    """Return the folder of the Gateway API's CRDs."""
    return modules.directory("sigs.k8s.io/gateway-api") / "config" / "crd" / "standard"


def registered(settings: Mapping[str, Any], source: Path, folder: Path) -> tuple[list[Entry], Entry]:
    """Run the whole program under mocks; return what it registers, and the stack outputs.

    Args:
        settings: The configuration of the stack.
        source: The folder of charts.
        folder: For temporary files.
    """
    config = {
        **settings,
        "kubernetes:context": CONTEXT,
        "meshup:charts": {"directory": str(source)},
        "meshup:gatewayApi": {"manifest": str(bundle())},
    }
    exported: dict[str, Any] = {}
    outputs: Entry = {}

    def build() -> Any:
        program.run()
        return pulumi.Output.all(**exported).apply(outputs.update)

    with fake_api.serving(tls=False) as api, pytest.MonkeyPatch.context() as patch:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(api.kubeconfig({}, CONTEXT)))
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
        patch.setenv("PULUMI_CONFIG", json.dumps(texts))
        patch.setenv("KUBECONFIG", str(kubeconfig))
        patch.setattr(pulumi, "export", exported.__setitem__)
        patch.setattr(pulumi, "get_organization", lambda: "organization")  # As in a file backend.
        records = recorded(build, stack=NAME)
    places = {str(source): CHARTS}
    return of_records(records, places), cast("Entry", masked(outputs, places))


def differences(wanted: list[Entry], wanted_outputs: Entry, actual: list[Entry], actual_outputs: Entry) -> list[str]:
    """Return what differs between two snapshots of a stack, a line for each field."""
    ours, theirs = ({entry["urn"]: entry for entry in entries} for entries in (actual, wanted))
    found = [f"{urn}: no longer registered" for urn in theirs if urn not in ours]
    found += [f"{urn}: new" for urn in ours if urn not in theirs]
    for urn in theirs.keys() & ours.keys():
        found += _differences(theirs[urn], ours[urn], _name(urn))
    return sorted([*found, *_differences(wanted_outputs, actual_outputs, "outputs")])


def _differences(wanted: Any, actual: Any, path: str) -> Iterator[str]:
    one, other = (_fields(value) for value in (wanted, actual))
    found: list[str] = []
    if type(wanted) is type(actual):
        for key in sorted(one.keys() | other.keys()):
            found += _differences(one.get(key), other.get(key), f"{path} {key}")
    yield from found
    # Also two JSON texts that say the same in another order.
    if wanted != actual and not found:
        yield f"{path}: {json.dumps(wanted)} -> {json.dumps(actual)}"


def _fields(value: Any) -> Entry:
    """Return the fields of an object, also of one in a JSON text, or the elements of a list by their number."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    if isinstance(value, dict):
        return cast("Entry", value)
    return (
        {f"{index:03}": item for index, item in enumerate(cast("list[Any]", value))} if isinstance(value, list) else {}
    )


_FILE = Path(__file__).with_name("recorded.json")


def write(revision: str, stacks: Mapping[str, tuple[list[Entry], Entry]]) -> None:
    """Write the recording: each resource once, with the stacks that have it, a line for each."""
    lines: dict[str, list[str]] = {}
    for name, (entries, _) in stacks.items():
        for entry in entries:
            lines.setdefault(json.dumps(entry, sort_keys=True), []).append(name)
    resources = ",\n".join(f'{{"stacks": {json.dumps(names)}, "entry": {line}}}' for line, names in lines.items())
    outputs = ",\n".join(f"{json.dumps(name)}: {json.dumps(said)}" for name, (_, said) in stacks.items())
    text = f'{{\n"revision": "{revision}",\n"resources": [\n{resources}\n],\n"outputs": {{\n{outputs}\n}}\n}}\n'
    _FILE.write_text(text)


def read(stack: str) -> tuple[list[Entry], Entry]:
    """Return what was recorded of a stack."""
    recording = json.loads(_FILE.read_text())
    return [r["entry"] for r in recording["resources"] if stack in r["stacks"]], recording["outputs"][stack]
