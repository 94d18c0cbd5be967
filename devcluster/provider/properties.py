"""Pulumi's property values as plain Python data, with secrets kept as such.

On the wire a property bag is a `google.protobuf.Struct`; special values are objects with a signature key
(sdk/go/common/resource/plugin/rpc.go and sdk/python `runtime/rpc.py` of Pulumi 3.200).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from google.protobuf import struct_pb2

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine sends for a value that is not known before deployment."""

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the protocol's marker of a secret, not one
_ASSET = "c44067f5952c0a294b673a41bacd8c17"
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that state must hold encrypted and no message may show."""

    value: Any

    def __repr__(self) -> str:
        """Never the value: this may end in a log."""
        return "Secret(...)"


def decode(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Return the bag as plain data: whole numbers as int, secrets as `Secret`, nulls in objects left out."""
    return {key: _decode(value) for key, value in struct.fields.items() if value.WhichOneof("kind") != "null_value"}


def _decode(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_decode(item) for item in value.list_value.values]
        case "struct_value":
            return _decode_object(value.struct_value)
        case _:
            return None


def _decode_object(struct: struct_pb2.Struct) -> Any:
    fields = struct.fields
    signature = fields[_SIGNATURE].string_value if _SIGNATURE in fields else ""
    match signature:
        case "":
            return decode(struct)
        case sig if sig == _SECRET:
            return Secret(_decode(fields["value"]))
        case sig if sig == _OUTPUT:
            value = _decode(fields["value"]) if "value" in fields else UNKNOWN
            return Secret(value) if "secret" in fields and fields["secret"].bool_value else value
        case sig if sig == _ASSET:
            return _asset_text(decode(struct))
        case sig if sig == _RESOURCE:
            return fields["urn"].string_value
        case sig:
            message = f"unknown kind of property value {sig!r}"
            raise ValueError(message)


def _asset_text(asset: Mapping[str, Any]) -> str:
    """Return the text of an asset; raises ValueError for one that is neither text nor a file."""
    if "text" in asset:
        return str(asset["text"])
    if "path" in asset:
        return Path(str(asset["path"])).read_text(encoding="utf-8")
    message = "only text and file assets are supported, not a remote one; read it in the program"
    raise ValueError(message)


def encode(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return plain data as a property bag; nulls in objects are left out, secrets are marked."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        if value is not None:
            struct.fields[key].CopyFrom(_encode(value))
    return struct


def _encode(value: Any) -> struct_pb2.Value:  # noqa: PLR0911 - one line per kind of value
    match value:
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case Secret():
            marked = struct_pb2.Struct()
            marked.fields[_SIGNATURE].string_value = _SECRET
            marked.fields["value"].CopyFrom(_encode(value.value))
            return struct_pb2.Value(struct_value=marked)
        case Mapping():
            return struct_pb2.Value(struct_value=encode(cast("Mapping[str, Any]", value)))
        case list() | tuple():
            items = cast("list[Any]", value)
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode(item) for item in items]))
        case _:
            message = f"can't hand a {type(value).__name__} to the engine"
            raise TypeError(message)


def reveal(value: Any) -> Any:
    """Return a copy of `value` with every secret replaced by what it holds."""
    match value:
        case Secret():
            return reveal(value.value)
        case dict():
            return {key: reveal(item) for key, item in cast("dict[str, Any]", value).items()}
        case list():
            return [reveal(item) for item in cast("list[Any]", value)]
        case _:
            return value


def contains_secret(value: Any) -> bool:
    """Say whether a secret is anywhere in `value`."""
    match value:
        case Secret():
            return True
        case dict():
            return any(contains_secret(item) for item in cast("dict[str, Any]", value).values())
        case list():
            return any(contains_secret(item) for item in cast("list[Any]", value))
        case _:
            return False


def contains_unknown(value: Any) -> bool:
    """Say whether a value that is not known yet is anywhere in `value`."""
    match value:
        case Secret():
            return contains_unknown(value.value)
        case dict():
            return any(contains_unknown(item) for item in cast("dict[str, Any]", value).values())
        case list():
            return any(contains_unknown(item) for item in cast("list[Any]", value))
        case _:
            return value == UNKNOWN


def mark_secrets(outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return `outputs` with everything marked secret that is secret in `inputs`, and the data of every Secret.

    Objects are compared key by key. A list with a secret anywhere in it becomes one secret: a server may reorder it.
    A Kubernetes Secret's `data` and `stringData` are secret whether or not the program said so.
    """
    marked = dict(outputs)
    if outputs.get("kind") == "Secret":
        marked |= {key: Secret(reveal(outputs[key])) for key in ("data", "stringData") if key in outputs}
    for key, given in inputs.items():
        value = marked.get(key)
        if value is None or isinstance(value, Secret):
            continue
        if isinstance(value, dict) and isinstance(given, dict):
            marked[key] = mark_secrets(cast("dict[str, Any]", value), cast("dict[str, Any]", given))
        elif contains_secret(given):
            marked[key] = Secret(value)
    return marked
