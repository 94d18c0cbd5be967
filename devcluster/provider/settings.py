"""The provider's own configuration: what the stack sets under `kubernetes:` and the official plugin's variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from devcluster.provider import diff
from devcluster.provider.objects import JsonObject

_PREFIX = "kubernetes:config:"


class SettingsError(Exception):
    """A setting can't be read."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the provider was configured with. Names are those of the official plugin's provider arguments."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    namespace: str = ""
    server_side_apply: bool = True
    upsert_existing_objects: bool = False
    patch_force: bool = False
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False
    render_yaml_to_directory: str = ""
    mutability: diff.Mutability = field(default_factory=diff.Mutability)
    helm: Mapping[str, str] = field(default_factory=dict[str, str])


_FLAGS = {
    "server_side_apply": ("enableServerSideApply", "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY"),
    "upsert_existing_objects": ("upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
    "patch_force": ("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
    "delete_unreachable": ("deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
    "skip_update_unreachable": ("skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"),
}
_HELM = {
    "driver": ("driver", "PULUMI_K8S_HELM_DRIVER", "HELM_DRIVER"),
    "pluginsPath": ("pluginsPath", "PULUMI_K8S_HELM_PLUGINS_PATH", "HELM_PLUGINS"),
    "registryConfigPath": ("registryConfigPath", "PULUMI_K8S_HELM_REGISTRY_CONFIG_PATH", "HELM_REGISTRY_CONFIG"),
    "repositoryConfigPath": (
        "repositoryConfigPath",
        "PULUMI_K8S_HELM_REPOSITORY_CONFIG_PATH",
        "HELM_REPOSITORY_CONFIG",
    ),
    "repositoryCache": ("repositoryCache", "PULUMI_K8S_HELM_REPOSITORY_CACHE", "HELM_REPOSITORY_CACHE"),
}


def load(variables: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """Return the settings: the stack's own first, then the environment, then the defaults.

    Args:
        variables: as `ConfigureRequest` has them, with the prefix `kubernetes:config:`.
        environment: the process's environment.

    Raises:
        SettingsError: `helmReleaseSettings` is not an object.
    """

    def flag(name: str, variable: str, *, default: bool) -> bool:
        value = variables.get(_PREFIX + name) or environment.get(variable)
        return default if value is None else value == "true"

    flags = {attr: flag(*names, default=attr == "server_side_apply") for attr, names in _FLAGS.items()}
    helm: dict[str, str] = {}
    given = _object(variables.get(_PREFIX + "helmReleaseSettings", ""), "helmReleaseSettings")
    for key, variable, helm_variable in _HELM.values():
        value = given.get(key) or environment.get(variable)
        if value:
            helm[helm_variable] = str(value)
    return Settings(
        kubeconfig=variables.get(_PREFIX + "kubeconfig", ""),
        context=variables.get(_PREFIX + "context", ""),
        cluster=variables.get(_PREFIX + "cluster", ""),
        namespace=variables.get(_PREFIX + "namespace", ""),
        render_yaml_to_directory=variables.get(_PREFIX + "renderYamlToDirectory", ""),
        mutability=diff.Mutability(
            config_map=flag("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE", default=False),
            secret=flag("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE", default=False),
        ),
        helm=helm,
        **flags,
    )


def _object(text: str, name: str) -> JsonObject:
    if not text:
        return {}
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{name} is not a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise SettingsError(f"{name} is not a JSON object")
    return cast("JsonObject", value)


def is_true(value: Any) -> bool:
    """Say whether a property is set to true; the SDK sends flags of a provider as text."""
    return value is True or value == "true"


def strict_mode_failures(news: Mapping[str, Any], configured: Mapping[str, Any], urn: str) -> list[tuple[str, str]]:
    """Return what strict mode (`kubernetes:strictMode`) has against a provider's arguments: property and reason."""
    if not is_true(news.get("strictMode", configured.get("strictMode"))):
        return []
    failures: list[tuple[str, str]] = []
    if urn.rpartition("::")[2].startswith("default"):
        failures.append(("", "strict mode prohibits default provider"))
    failures += [
        (name, f'strict mode requires Provider "{name}" argument')
        for name in ("kubeconfig", "context")
        if not news.get(name)
    ]
    return failures
