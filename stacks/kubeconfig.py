"""Whether a kubeconfig has the shape that kubectl and the Kubernetes provider take.

The fields and their types are those of client-go (tools/clientcmd/api/v1/types.go, 0.36), which is strict about them: a
number where text belongs is refused, whatever it is used for. Unknown fields and fields without a value are ignored.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError


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


def fault(config: Mapping[str, Any]) -> str:
    """Say what is wrong with the shape of a kubeconfig, "" for nothing. No value is named: it may be a credential."""
    try:
        _Config.model_validate(config)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:40]}" for part in detail["loc"])[1:]
        return f"{place} must be {_TYPES.get(detail['type'], 'of another type')}"
    for key in ("clusters", "users", "contexts"):
        entries = cast("list[dict[str, str | None] | None]", config.get(key) or [])
        names = [(entry or {}).get("name") or "" for entry in entries]
        if len(set(names)) < len(names):
            return f"{key} has two entries of one name"
    return ""
