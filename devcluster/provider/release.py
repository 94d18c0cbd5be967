"""Helm releases as plain data: inputs, arguments of the helm command, what state records of a release.

The inputs are those of `kubernetes:helm.sh/v3:Release`; their defaults and the shape of the outputs are as
pulumi-kubernetes 4.29.0 leaves them in state.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlparse

import yaml

from devcluster.provider import diff, objects, properties
from devcluster.provider.objects import INPUTS_KEY, JsonObject

DEFAULT_TIMEOUT = 300
"""Seconds for which helm waits where the release sets none."""

_DEFAULTS: JsonObject = {
    "allowNullValues": False,
    "atomic": False,
    "chart": "",
    "cleanupOnFail": False,
    "createNamespace": False,
    "dependencyUpdate": False,
    "description": "",
    "devel": False,
    "disableCRDHooks": False,
    "disableOpenapiValidation": False,
    "disableWebhooks": False,
    "forceUpdate": False,
    "keyring": "",
    "lint": False,
    "name": "",
    "namespace": "",
    "postrender": "",
    "recreatePods": False,
    "renderSubchartNotes": False,
    "replace": False,
    "resetValues": False,
    "reuseValues": False,
    "skipAwait": False,
    "skipCrds": False,
    "timeout": 0,
    "values": {},
    "verify": False,
    "version": "",
    "waitForJobs": False,
}
_OPTIONAL = ("maxHistory", "repositoryOpts")
_REPOSITORY_KEYS = ("caFile", "certFile", "keyFile", "password", "repo", "username")
_COMPUTED = ("status", "resourceNames", "manifest", "checksum", INPUTS_KEY)
FORCE_NEW: tuple[diff.Path, ...] = (("name",), ("namespace",))
"""Inputs that name the release: another value is another release."""


class ReleaseInputError(Exception):
    """An input of a release can't be used."""


def with_defaults(news: Mapping[str, Any], namespace: str) -> JsonObject:
    """Return the inputs with namespace and timeout filled in; whatever else is given stays as it is."""
    inputs = {key: value for key, value in news.items() if value is not None}
    if not inputs.get("namespace"):
        inputs["namespace"] = namespace
    if not properties.reveal(inputs.get("skipAwait", False)):
        inputs.setdefault("timeout", DEFAULT_TIMEOUT)
    return inputs


def complete(inputs: Mapping[str, Any], version: str) -> JsonObject:
    """Return known inputs in full: every field with its default, the values files merged into the values.

    Args:
        inputs: plain inputs without unknown values.
        version: the version of the chart that they lead to.

    Raises:
        ReleaseInputError: a values file is not a mapping.
    """
    result = _DEFAULTS | {key: value for key, value in inputs.items() if key in _DEFAULTS}
    result |= {key: inputs[key] for key in _OPTIONAL if key in inputs}
    if isinstance(result.get("repositoryOpts"), dict):
        result["repositoryOpts"] = dict.fromkeys(_REPOSITORY_KEYS, "") | result["repositoryOpts"]
    values: JsonObject = {}
    for text in cast("list[str]", inputs.get("valueYamlFiles") or []):
        loaded: Any = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader
        if loaded is not None and not isinstance(loaded, dict):
            raise ReleaseInputError("a file of valueYamlFiles is not a mapping")
        values = merge_values(values, cast("JsonObject", loaded or {}))
    result["values"] = merge_values(values, cast("JsonObject", inputs.get("values") or {}))
    if not result["allowNullValues"]:
        result["values"] = without_nulls(result["values"])
    result["version"] = version
    return result


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # The C one reads large manifests ten times as fast.


def merge_values(base: JsonObject, over: JsonObject) -> JsonObject:
    """Return `base` with `over` merged in, object by object; lists and plain values are replaced."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge_values(merged[key], cast("JsonObject", value))
        else:
            merged[key] = value
    return merged


def without_nulls(value: Any) -> Any:
    """Return a copy without nulls, in objects and in lists."""
    match value:
        case dict():
            return {k: without_nulls(v) for k, v in cast("JsonObject", value).items() if v is not None}
        case list():
            return [without_nulls(item) for item in cast("list[Any]", value) if item is not None]
        case _:
            return value


def is_oci(release: Mapping[str, Any]) -> bool:
    """Say whether the chart comes from a container registry."""
    return str(release.get("chart", "")).startswith("oci://") or _repository(release).startswith("oci://")


def _repository(release: Mapping[str, Any]) -> str:
    return str(objects.child(release, "repositoryOpts").get("repo") or "")


def registry_host(release: Mapping[str, Any]) -> str:
    """Return the host of the chart's container registry."""
    chart = str(release.get("chart", ""))
    return urlparse(chart if chart.startswith("oci://") else _repository(release)).netloc


def registry_login(release: Mapping[str, Any]) -> bytes:
    """Return what `helm registry login` would write: the credentials of the chart's registry, as Docker has them."""
    options = objects.child(release, "repositoryOpts")
    pair = f"{options.get('username') or ''}:{options['password']}"
    auth = base64.b64encode(pair.encode()).decode()
    return json.dumps({"auths": {registry_host(release): {"auth": auth}}}).encode()


def repository_entry(release: Mapping[str, Any], name: str) -> bytes:
    """Return what `helm repo add` would write: one repository under a name, with its credentials. JSON is YAML."""
    options = objects.child(release, "repositoryOpts")
    entry = {"name": name, "url": str(options["repo"])}
    entry |= {key: str(options.get(key) or "") for key in ("username", "password", "caFile", "certFile", "keyFile")}
    return json.dumps({"apiVersion": "", "repositories": [entry]}).encode()


def chart_arguments(release: Mapping[str, Any], repository_name: str = "") -> list[str]:
    """Return the chart and where it comes from, as arguments of helm. Never a password.

    Args:
        release: the release's inputs.
        repository_name: the name under which the repository was added, where that was needed for its password.
    """
    options = objects.child(release, "repositoryOpts")
    chart, repository = str(release["chart"]), _repository(release)
    if chart.startswith("oci://"):
        arguments = [chart]
    elif repository.startswith("oci://"):
        arguments = [f"{repository.rstrip('/')}/{chart}"]
    elif repository_name:
        arguments = [f"{repository_name}/{chart}"]
    elif repository.startswith(("http://", "https://")):
        arguments = [chart, "--repo", repository]
    elif repository:
        arguments = [f"{repository}/{chart}"]  # A repository that `helm repo add` knows by name.
    else:
        arguments = [chart]
    if release.get("version"):
        arguments += ["--version", str(release["version"])]
    elif release.get("devel"):
        arguments.append("--devel")
    for key, flag in (("caFile", "--ca-file"), ("certFile", "--cert-file"), ("keyFile", "--key-file")):
        if options.get(key):
            arguments += [flag, str(options[key])]
    if release.get("verify"):
        arguments.append("--verify")
        if release.get("keyring"):
            arguments += ["--keyring", str(release["keyring"])]
    return arguments


_COMMON_FLAGS = {
    "atomic": "--atomic",
    "dependencyUpdate": "--dependency-update",
    "disableOpenapiValidation": "--disable-openapi-validation",
    "renderSubchartNotes": "--render-subchart-notes",
    "skipCrds": "--skip-crds",
}
_INSTALL_FLAGS = _COMMON_FLAGS | {
    "createNamespace": "--create-namespace",
    "disableWebhooks": "--no-hooks",
    "replace": "--replace",
}
_UPGRADE_FLAGS = _COMMON_FLAGS | {
    "cleanupOnFail": "--cleanup-on-fail",
    "disableWebhooks": "--no-hooks",
    "forceUpdate": "--force",
    "recreatePods": "--recreate-pods",
    "resetValues": "--reset-values",
    "reuseValues": "--reuse-values",
}


def _operation(release: Mapping[str, Any], command: str, flags: Mapping[str, str], chart: list[str]) -> list[str]:
    arguments = [command, str(release["name"]), *chart, "--namespace", str(release["namespace"])]
    # The values come by standard input: they may be secret, and arguments are for everybody to see.
    arguments += ["--values", "-", "--output", "json", "--timeout", timeout(release)]
    arguments += [flag for key, flag in flags.items() if release.get(key)]
    if not release.get("skipAwait"):
        arguments.append("--wait")
        if release.get("waitForJobs"):
            arguments.append("--wait-for-jobs")
    for key, flag in (("description", "--description"), ("postrender", "--post-renderer")):
        if release.get(key):
            arguments += [flag, str(release[key])]
    return arguments


def timeout(release: Mapping[str, Any]) -> str:
    """Return the time to wait as helm writes it; 0 counts as not set."""
    return f"{int(release.get('timeout') or DEFAULT_TIMEOUT)}s"


def install_arguments(release: Mapping[str, Any], chart: list[str]) -> list[str]:
    """Return the arguments of `helm install`; `chart` as `chart_arguments` gives it."""
    return _operation(release, "install", _INSTALL_FLAGS, chart)


def upgrade_arguments(release: Mapping[str, Any], chart: list[str]) -> list[str]:
    """Return the arguments of `helm upgrade`; `chart` as `chart_arguments` gives it."""
    arguments = _operation(release, "upgrade", _UPGRADE_FLAGS, chart)
    return [*arguments, "--history-max", str(int(release.get("maxHistory") or 0))]


def uninstall_arguments(release: Mapping[str, Any]) -> list[str]:
    """Return the arguments of `helm uninstall`; it waits where the installation waited."""
    arguments = ["uninstall", str(release["name"]), "--namespace", str(release["namespace"]), "--ignore-not-found"]
    if release.get("atomic") or not release.get("skipAwait"):
        arguments += ["--wait", "--timeout", timeout(release)]
    return arguments


def resource_names(manifest: str) -> dict[str, list[str]]:
    """Return the objects of a manifest by kind: `{"Deployment.apps/apps/v1": ["namespace/name"]}`."""
    names: dict[str, list[str]] = {}
    for document in yaml.load_all(manifest, Loader=_LOADER):
        if not isinstance(document, dict):
            continue
        obj = cast("JsonObject", document)
        api_version, kind = str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
        group = api_version.rpartition("/")[0]
        meta = cast("JsonObject", obj.get("metadata") or {})
        namespace, name = meta.get("namespace"), str(meta.get("name", ""))
        key = f"{kind}.{group}/{api_version}" if group else f"{kind}/{api_version}"
        names.setdefault(key, []).append(f"{namespace}/{name}" if namespace else name)
    return names


def applied(release: Mapping[str, Any], record: Mapping[str, Any]) -> JsonObject:
    """Return the release's outputs: its inputs, and what helm's own record says of it.

    Args:
        release: the inputs in full.
        record: helm's record: name, namespace, version (the revision), info, config, manifest, and metadata of the
            chart (`chart.metadata`).
    """
    chart = objects.child(record, "chart", "metadata")
    values = merge_values(objects.child(release, "values"), objects.child(record, "config"))
    status = {
        "appVersion": chart.get("appVersion", ""),
        "chart": chart.get("name", ""),
        "name": record.get("name"),
        "namespace": record.get("namespace"),
        "revision": record.get("version"),
        "status": objects.child(record, "info").get("status"),
        "version": chart.get("version", ""),
    }
    return {
        **release,
        "values": values,
        "version": chart.get("version", release.get("version", "")),
        "resourceNames": resource_names(str(record.get("manifest") or "")),
        "status": status,
    }


def checkpoint(outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> JsonObject:
    """Return what state records: the outputs with the inputs' secrets marked, and the inputs, secret as a whole."""
    return properties.mark_secrets(outputs, inputs) | {INPUTS_KEY: properties.Secret(dict(inputs))}


def parse_checkpoint(state: Mapping[str, Any]) -> tuple[JsonObject, JsonObject]:
    """Return inputs (with their secrets) and plain outputs that state recorded."""
    recorded = state.get(INPUTS_KEY)
    inputs = recorded.value if isinstance(recorded, properties.Secret) else recorded
    outputs = cast("JsonObject", properties.reveal({k: v for k, v in state.items() if k != INPUTS_KEY}))
    return cast("JsonObject", inputs or {}), outputs


def as_inputs(outputs: Mapping[str, Any]) -> JsonObject:
    """Return the inputs that outputs stand for."""
    return {key: value for key, value in outputs.items() if key not in _COMPUTED}


def values_text(release: Mapping[str, Any]) -> str:
    """Return the values as helm reads them from standard input: JSON, which is YAML."""
    return json.dumps(release.get("values") or {})


def compare(old_inputs: Mapping[str, Any], new_inputs: Mapping[str, Any]) -> list[diff.PropertyChange]:
    """Return what changes between two sets of inputs."""
    old, new = properties.reveal(dict(old_inputs)), properties.reveal(dict(new_inputs))
    return diff.mark_replacements(diff.compare(old, new), new, FORCE_NEW)


def initial_failure(identity: str, error: str) -> str:
    """Return the message for a release that helm recorded as failed when it was installed."""
    return (
        f'Helm release "{identity}" was created, but failed to initialize completely. Use Helm CLI to investigate.: '
        f"failed to become available within allocated timeout. Error: Helm Release {identity}: {error}"
    )


def upgrade_failure(identity: str, error: str) -> str:
    """Return the message for a release that helm recorded as failed when it was upgraded."""
    return (
        f'Helm release "{identity}" failed to initialize completely. Use Helm CLI to investigate.: '
        f"failed to become available within allocated timeout. Error: Helm Release {identity}: {error}"
    )
