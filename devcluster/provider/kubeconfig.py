"""Which cluster the provider talks to: the effective kubeconfig, from files, content and overrides."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from devcluster.provider.objects import JsonObject

_FILE_KEYS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class KubeconfigError(Exception):
    """No usable kubeconfig; the message says why."""


def locate(setting: str, environment: Mapping[str, str]) -> list[tuple[str, Path]]:
    """Return the kubeconfig texts, each with the folder that its relative paths are meant from.

    Only the files of KUBECONFIG, or the one in the home folder, are such a folder's: the official plugin parses what
    `kubeconfig` names as it parses content (4.34, provider/pkg/provider/util.go).

    Args:
        setting: the provider's `kubeconfig`: a path, or the content itself, or empty.
        environment: read for KUBECONFIG (a list of paths) and HOME.

    Raises:
        KubeconfigError: there is none, or it can't be read.
    """
    if setting and ("\n" in setting or setting.lstrip().startswith("{")):
        return [(setting, Path.cwd())]
    folder: Path | None = None
    if setting:
        paths, folder = [Path(setting).expanduser()], Path.cwd()
    elif environment.get("KUBECONFIG"):
        paths = [Path(p) for p in environment["KUBECONFIG"].split(os.pathsep) if p]
    else:
        paths = [Path(environment.get("HOME", str(Path.home()))) / ".kube" / "config"]
    found: list[tuple[str, Path]] = []
    for path in paths:
        try:
            found.append((path.read_text(encoding="utf-8"), folder or path.absolute().parent))
        except FileNotFoundError:
            continue
        except OSError as error:
            message = f"{path}: {error.strerror}"
            raise KubeconfigError(message) from error
    if not found:
        message = f"no kubeconfig at {', '.join(map(str, paths))}"
        raise KubeconfigError(message)
    return found


def parse(text: str) -> JsonObject:
    """Return a kubeconfig; raises KubeconfigError where it is not one."""
    try:
        config: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The error's own text quotes the file, which holds credentials.
        message = "the kubeconfig is not YAML"
        raise KubeconfigError(message) from error
    if not isinstance(config, dict):
        message = "the kubeconfig is not a mapping"
        raise KubeconfigError(message)
    return cast("JsonObject", config)


def effective(
    sources: list[tuple[str, Path]], context: str = "", cluster: str = "", namespace: str = ""
) -> tuple[JsonObject, str]:
    """Merge the sources as kubectl does (the first to name a thing wins) and apply the provider's overrides.

    Returns:
        The kubeconfig, whose current context is the one to use and whose paths are absolute; and its namespace.

    Raises:
        KubeconfigError: the context, its cluster or its user is not in it.
    """
    merged: JsonObject = {"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": []}
    current = ""
    for text, folder in sources:
        config = parse(text)
        current = current or str(config.get("current-context") or "")
        for section in ("clusters", "contexts", "users"):
            known = {entry["name"] for entry in merged[section]}
            entries = cast("list[JsonObject]", config.get(section) or [])
            merged[section] += [_absolute(entry, folder) for entry in entries if entry["name"] not in known]
    wanted = context or current
    if not wanted:
        message = "no context is named and the kubeconfig has no current-context"
        raise KubeconfigError(message)
    chosen = _named(merged, "contexts", wanted)
    if chosen is None:
        message = f'context "{wanted}" does not exist'
        raise KubeconfigError(message)
    details = cast("JsonObject", chosen["context"])
    if cluster:
        details["cluster"] = cluster
    if namespace:
        details["namespace"] = namespace
    if _named(merged, "clusters", str(details.get("cluster", ""))) is None:
        message = f'cluster "{details.get("cluster", "")}" does not exist'
        raise KubeconfigError(message)
    if details.get("user") and _named(merged, "users", str(details["user"])) is None:
        message = f'user "{details["user"]}" does not exist'
        raise KubeconfigError(message)
    merged["current-context"] = wanted
    return merged, str(details.get("namespace") or "default")


def active_cluster(setting: str, context: str, cluster: str) -> JsonObject | None:
    """Return the cluster entry that a provider's own `kubeconfig` content leads to, None where that can't be told."""
    if not setting:
        return None
    try:
        config, _ = effective(locate(setting, {}), context, cluster)
    except KubeconfigError:
        return None
    details = cast("JsonObject", (_named(config, "contexts", config["current-context"]) or {}).get("context", {}))
    return _named(config, "clusters", str(details.get("cluster", "")))


def _named(config: JsonObject, section: str, name: str) -> JsonObject | None:
    return next((entry for entry in cast("list[JsonObject]", config[section]) if entry["name"] == name), None)


def _absolute(entry: JsonObject, folder: Path) -> JsonObject:
    result = copy.deepcopy(entry)
    for value in result.values():
        if isinstance(value, dict):
            fields = cast("JsonObject", value)
            for key in _FILE_KEYS:
                if fields.get(key):
                    fields[key] = str(folder / Path(str(fields[key])))
    return result
