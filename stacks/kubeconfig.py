"""Find, merge and validate the kubeconfig and context of a stack.

The fields and their types are those of client-go (tools/clientcmd/api/v1/types.go, 0.36), which is strict about them: a
number in a text field is refused, even if unused. Unknown fields and fields without a value are ignored.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from components.diagnostics import Diagnostic, nearest
from components.diagnostics.validation import HIDDEN
from stacks import files
from stacks.settings import ClusterSettings

Kubeconfig = dict[str, Any]
_EMPTY: Kubeconfig = {}


def _base64(value: str) -> str:
    try:
        # Go's decoder ignores line ends.
        base64.b64decode(value.translate({10: None, 13: None}), validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "no base64") from None
    return value


Text = str | None
Data = Annotated[str, AfterValidator(_base64)] | None


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, alias_generator=lambda name: name.replace("_", "-"))


class _Extension(_Part):
    name: Text = None


class _Cluster(_Part):
    server: Text = None
    tls_server_name: Text = None
    insecure_skip_tls_verify: bool | None = None
    certificate_authority: Text = None
    certificate_authority_data: Data = None
    proxy_url: Text = None
    disable_compression: bool | None = None
    extensions: list[_Extension | None] | None = None


class _Provider(_Part):
    name: Text = None
    config: dict[str, Text] | None = None


class _Variable(_Part):
    name: Text = None
    value: Text = None


class _Exec(_Part):
    command: Text = None
    args: list[Text] | None = None
    env: list[_Variable | None] | None = None
    api_version: Annotated[Text, Field(alias="apiVersion")] = None
    install_hint: Annotated[Text, Field(alias="installHint")] = None
    provide_cluster_info: Annotated[bool | None, Field(alias="provideClusterInfo")] = None
    interactive_mode: Annotated[Text, Field(alias="interactiveMode")] = None


class _User(_Part):
    client_certificate: Text = None
    client_certificate_data: Data = None
    client_key: Text = None
    client_key_data: Data = None
    token: Text = None
    token_file: Annotated[Text, Field(alias="tokenFile")] = None
    impersonate: Annotated[Text, Field(alias="as")] = None
    as_uid: Text = None
    as_groups: list[Text] | None = None
    as_user_extra: dict[str, list[Text] | None] | None = None
    username: Text = None
    password: Text = None
    auth_provider: _Provider | None = None
    exec: _Exec | None = None
    extensions: list[_Extension | None] | None = None


class _Context(_Part):
    cluster: Text = None
    user: Text = None
    namespace: Text = None
    extensions: list[_Extension | None] | None = None


class _NamedCluster(_Part):
    name: Text = None
    cluster: _Cluster | None = None


class _NamedUser(_Part):
    name: Text = None
    user: _User | None = None


class _NamedContext(_Part):
    name: Text = None
    context: _Context | None = None


class _Preferences(_Part):
    colors: bool | None = None
    extensions: list[_Extension | None] | None = None


class _Config(_Part):
    kind: Literal["Config", ""] | None = None
    api_version: Annotated[Literal["v1", ""] | None, Field(alias="apiVersion")] = None
    current_context: Text = None
    preferences: _Preferences | None = None
    clusters: list[_NamedCluster | None] | None = None
    users: list[_NamedUser | None] | None = None
    contexts: list[_NamedContext | None] | None = None
    extensions: list[_Extension | None] | None = None


_TYPES = {
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "base64": "base64",
    "literal_error": "that of a kubeconfig: v1, Config",
}


def find(cluster: ClusterSettings, environ: Mapping[str, str]) -> tuple[Kubeconfig, list[Diagnostic]]:
    """Find the kubeconfig and the context of a stack, without the network.

    The kubeconfig is `kubernetes:kubeconfig` (a path or the text itself), else the files of KUBECONFIG, else
    ~/.kube/config, as for the Kubernetes provider.

    Returns:
        The kubeconfig with `current-context` and the provider's other overrides applied, or empty; and
        the diagnostics.
    """
    diagnostics = _provider_diagnostics(cluster, environ)
    reason, config = "The kubeconfig has no context.", Kubeconfig()
    try:
        config = _parse(cluster.kubeconfig) if cluster.kubeconfig else _merged(environ)
    except files.UnreadableError as error:
        reason = f"The kubeconfig can't be read: {error.reason}."
    contexts = _names(config, "contexts")
    allowed = _one_of(contexts) if contexts else "the kubeconfig has no contexts yet"
    context = cluster.context or str(config.get("current-context") or "")
    if not (cluster.context or cluster.kubeconfig):
        message = "Neither kubernetes:context nor kubernetes:kubeconfig is set."
        fault = Diagnostic("MSH020", "kubernetes:context", None, message, allowed)
    elif not contexts:
        path = "kubernetes:kubeconfig" if cluster.kubeconfig else "KUBECONFIG"
        hidden = _is_text(cluster.kubeconfig) or "kubeconfig" in cluster.secret
        shown = HIDDEN if hidden else cluster.kubeconfig or environ.get("KUBECONFIG") or None
        fault = Diagnostic("MSH021", path, shown, reason, "the path of a kubeconfig file, or its text")
    elif context not in contexts:
        message = f"The kubeconfig has no context {context!r}.{_hint(context, contexts)}"
        fault = Diagnostic("MSH022", "kubernetes:context", context, message, allowed)
    else:
        return _with_cluster({**config, "current-context": context}, cluster, diagnostics), diagnostics
    return {}, [*diagnostics, fault]


def _with_cluster(config: Kubeconfig, chosen: ClusterSettings, diagnostics: list[Diagnostic]) -> Kubeconfig:
    """Override the context's cluster with `kubernetes:cluster`, as the provider does (clientcmd, overrides)."""
    name, clusters = chosen.provider.get("cluster", ""), _names(config, "clusters")
    if not name:
        return config
    if name not in clusters:
        message = f"The kubeconfig has no such cluster.{_hint(name, clusters)}"
        shown = HIDDEN if "cluster" in chosen.secret else name
        diagnostics.append(Diagnostic("MSH034", "kubernetes:cluster", shown, message, _one_of(clusters)))
        return {}
    contexts = [
        {**entry, "context": {**(entry.get("context") or _EMPTY), "cluster": name}}
        if entry.get("name") == config["current-context"]
        else entry
        for entry in _entries(config, "contexts")
    ]
    return {**config, "contexts": contexts}


def _provider_diagnostics(cluster: ClusterSettings, environ: Mapping[str, str]) -> list[Diagnostic]:
    """Refuse provider settings that make meshup's checks look at something else than the provider deploys to."""
    diagnostics: list[Diagnostic] = []
    if cluster.provider.get("renderYamlToDirectory"):
        message = "The provider would write manifests, Secrets in plain text among them, and deploy nothing."
        diagnostics.append(Diagnostic("MSH034", "kubernetes:renderYamlToDirectory", HIDDEN, message, "no value"))
    try:
        settings: Any = json.loads(cluster.provider.get("helmReleaseSettings") or "{}")
    except (ValueError, RecursionError):
        settings = {}
    configured = cast("dict[str, Any]", settings).get("driver") if isinstance(settings, dict) else None
    path, driver = "kubernetes:helmReleaseSettings.driver", configured
    if not configured:
        path = "PULUMI_K8S_HELM_DRIVER"
        driver = environ.get(path)
    if driver and driver != "secret":
        message = "Helm would not keep its records in Secrets, where meshup looks for releases of an interrupted run."
        diagnostics.append(Diagnostic("MSH034", path, str(driver), message, "secret"))
    return diagnostics


def _entries(config: Kubeconfig, key: str) -> list[dict[str, Any]]:
    """Return `contexts`, `clusters` or `users`; an entry may be empty in the file."""
    return [entry for entry in config.get(key) or () if entry]


def _names(config: Kubeconfig, key: str) -> list[str]:
    return [entry["name"] for entry in _entries(config, key) if entry.get("name")]


def _one_of(names: Iterable[str]) -> str:
    return "one of " + ", ".join(names)


def _hint(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f" Did you mean {near}?" if near else ""


def _is_text(text_or_path: str) -> bool:
    return "\n" in text_or_path or text_or_path.lstrip().startswith("{")


def _parse(text_or_path: str) -> Kubeconfig:
    """Read a kubeconfig.

    Raises:
        files.UnreadableError: It does not exist or is invalid. The message quotes no value: it may be a credential.
    """
    if _is_text(text_or_path):
        text = text_or_path
    elif text_or_path.startswith("~") and not text_or_path.startswith("~/"):
        raise files.UnreadableError("the Kubernetes provider fills in ~/ only, not the folder of another user")
    else:
        text = files.text(files.expand_path(text_or_path))
    loaded = files.document(text)
    if not isinstance(loaded, dict):
        raise files.UnreadableError("it is empty" if loaded is None else "it is not a mapping")
    config = cast("Kubeconfig", loaded)
    try:
        _Config.model_validate(config)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:40]}" for part in detail["loc"])[1:]
        reason = f"{place} must be {_TYPES.get(detail['type'], 'of another type')}"
        raise files.UnreadableError(reason) from None
    for key in ("clusters", "users", "contexts"):
        listed: list[Kubeconfig | None] = config.get(key) or []
        names = [(entry or _EMPTY).get("name") or "" for entry in listed]
        if len(set(names)) < len(names):
            raise files.UnreadableError(f"{key} has two entries of one name")
    return config


def _merged(environ: Mapping[str, str]) -> Kubeconfig:
    """Merge the kubeconfigs of the environment: earlier files win, as in kubectl."""
    listed = [entry for entry in environ.get("KUBECONFIG", "").split(os.pathsep) if entry]
    result: Kubeconfig = {}
    missing: files.UnreadableError | None = None
    for written in listed or ["~/.kube/config"]:
        file: Path | None = None
        try:
            file = files.expand_path(written)
            config = _absolute(_parse(written), file.parent)
        except files.UnreadableError as error:
            # kubectl skips a missing file if another one exists, and stops at an invalid one.
            wrong = files.UnreadableError(f"{written[:200]!r}: {error.reason}")
            if file is None or not files.is_missing(file):
                raise wrong from None
            missing = missing or wrong
            continue
        for key in ("contexts", "clusters", "users"):
            earlier = _entries(result, key)
            names = {entry.get("name") for entry in earlier}
            result[key] = earlier + [entry for entry in _entries(config, key) if entry.get("name") not in names]
        result.setdefault("current-context", config.get("current-context", ""))
    if not result and missing:
        raise missing
    return result


def _absolute(config: Kubeconfig, directory: Path) -> Kubeconfig:
    """Resolve the paths in a kubeconfig against its directory."""
    for kind, inner in (("clusters", "cluster"), ("users", "user")):
        for entry in _entries(config, kind):
            body: dict[str, Any] = entry.get(inner) or {}
            for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
                if body.get(key):
                    body[key] = str(directory / body[key])
    return config
