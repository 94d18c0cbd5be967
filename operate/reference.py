"""What documentation and editors know of a stack's configuration: the tables of keys in docs/, and the JSON Schema of a
stack file. Both come from the declarations (components/arguments.py); `python -m operate.docs` writes them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticUndefined, core_schema

from components.arguments import Arguments, Autoscaling, Resources
from components.diagnostics.validation import section_of
from components.security.grammar import SecurityForm
from components.traffic.grammar import RouteForm
from stacks.environments import ENVIRONMENTS
from stacks.settings import FIELDS, KEYS, MAY_BE_SECRET, MODEL, PROVIDER_FLAGS, PROVIDER_KEYS, SECTIONS

SCHEMA = Path("schema", "stack.schema.json")
FILES = ("configuration.md", "gateways.md", "identity.md", "linkerd.md", "observability.md", "preflight.md")
_BLOCK = re.compile(r"<!-- generated: settings (\w+) -->\n.*?<!-- end -->", re.DOTALL)
_TYPES: dict[Any, str] = {
    str: "text",
    bool: "`true` or `false`",
    tuple: "list",
    Resources: "`{requests, limits}`",
    Autoscaling: "`{min, max, cpu}`",
}
_SECRET = {"$ref": "#/$defs/Secret"}
_SECURE = {
    "type": "object",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}
"""A value that `pulumi config set --secret` wrote."""
_DESCRIPTIONS = {MODEL.model_fields[name].alias or name: text for name, text in MODEL.descriptions().items()}
"""Of the keys of a stack."""


class _Schema(GenerateJsonSchema):
    """Refuse the keys of a mapping that do not match the pattern of its keys: pydantic lets them have any value."""

    def dict_schema(self, schema: core_schema.DictSchema) -> dict[str, Any]:
        """Return the schema of a mapping."""
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made


def pages(docs: Path) -> dict[Path, str]:
    """Return every generated file with its contents; files with tables keep the rest as it stands."""
    found = {docs / file: _BLOCK.sub(_block, (docs / file).read_text(encoding="utf-8")) for file in FILES}
    return found | {docs / SCHEMA: json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"}


def _block(block: re.Match[str]) -> str:
    table = keys() if block[1] == "keys" else section(block[1])
    return f"<!-- generated: settings {block[1]} -->\n{table}\n<!-- end -->"


def keys() -> str:
    """Return the keys of a stack as a table."""
    rows = [
        f"| `meshup:{key}` | {_type(info)} | {_default(info)} | {_line(_DESCRIPTIONS[key])} |"
        for key, info in FIELDS.items()
        if key in KEYS
    ]
    return "\n".join(["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows])


def section(key: str) -> str:
    """Return the keys of a section as a table."""
    kind = section_of(FIELDS[key])
    presets = {name for preset in ENVIRONMENTS.values() for name in preset.get(key, {})}
    rows = list(_rows(cast("type[Arguments]", kind), "", presets))
    return "\n".join([f"| key of `meshup:{key}` | type | default | meaning |", "| --- | --- | --- | --- |", *rows])


def _rows(kind: type[Arguments], prefix: str, presets: set[str]) -> Iterator[str]:
    descriptions = kind.descriptions()
    for name, info in kind.model_fields.items():
        key, inner = f"{prefix}{info.alias or name}", section_of(info)
        default = "preset" if key in presets else _default(info)
        yield f"| `{key}` | {_type(info)} | {default} | {_line(descriptions.get(name, ''))} |"
        if inner is not None and inner not in _TYPES:
            below = {tuple: "[]", dict: ".NAME"}.get(cast("type", get_origin(info.annotation)), "")
            yield from _rows(cast("type[Arguments]", inner), f"{key}{below}.", set())


def _type(info: FieldInfo) -> str:
    return _described(info.annotation, _bounds(info.metadata))


def _described(annotation: Any, bounds: Mapping[str, Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _described(arguments[0], {**bounds, **_bounds(arguments[1:])})
    if origin in (Union, UnionType):
        return _described(arguments[0], bounds)
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in arguments)
    if bounds:
        return _range(bounds.get("ge"), bounds.get("le"))
    return _TYPES.get(origin or annotation, "mapping")


def _range(least: Any, most: Any) -> str:
    if most is None:
        return f"at least {least}"
    return f"at most {most}" if least is None else f"{least} to {most}"


def _bounds(metadata: Iterable[Any]) -> dict[str, Any]:
    """Return the range that metadata of a field declares; a `Field` in an alias of a type has it inside."""
    flat = [inner for item in metadata for inner in (item, *getattr(item, "metadata", ()))]
    return {key: getattr(item, key) for item in flat for key in ("ge", "le") if hasattr(item, key)}


def _default(info: FieldInfo) -> str:
    value: Any = info.default
    if value is PydanticUndefined:
        return "" if info.default_factory is not None else "required"
    if value is None or value == () or isinstance(value, Arguments):
        return ""
    if isinstance(value, tuple):
        return f"`[{', '.join(cast('tuple[str, ...]', value))}]`"
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def _line(text: str) -> str:
    return " ".join(text.split())


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `Pulumi.<stack>.yaml`."""
    model = cast("dict[str, Any]", _without_noise(MODEL.model_json_schema(schema_generator=_Schema)))
    definitions: dict[str, Any] = model["$defs"] | {"Secret": _SECURE}
    del definitions["ClusterSettings"]
    for name, form in (("Route", RouteForm), ("Security", SecurityForm)):
        made = cast("dict[str, Any]", _without_noise(form.model_json_schema(schema_generator=_Schema)))
        definitions |= made.pop("$defs") | {name: made}
    sections = {key: model["properties"][key] for key in KEYS}
    sections["traffic"]["additionalProperties"] = {"$ref": "#/$defs/Route"}
    sections["security"] = {"description": _DESCRIPTIONS["security"], "$ref": "#/$defs/Security"}
    for key in MAY_BE_SECRET:
        for field in definitions[SECTIONS[key].__name__]["properties"].values():
            _let_be_secret(field)
        sections[key] = {"description": _DESCRIPTIONS[key], "anyOf": [sections[key], _SECRET]}
    flag = {"enum": [True, False, "true", "false"]}
    provider = {
        key: {"anyOf": [flag if key in PROVIDER_FLAGS else {"type": "string"}, _SECRET]} for key in PROVIDER_KEYS
    }
    config: dict[str, Any] = {
        "type": "object",
        "properties": {
            **{f"meshup:{key}": value for key, value in sections.items()},
            **{f"kubernetes:{key}": value for key, value in provider.items()},
        },
        # Keys of other projects and providers are not meshup's to judge.
        "patternProperties": {"^(?!meshup:|kubernetes:)[^:]+:": {}},
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A stack of meshup: Pulumi.<stack>.yaml",
        "type": "object",
        "properties": {"config": config},
        "$defs": definitions,
    }


def _without_noise(value: Any) -> Any:
    """Return a schema without the titles and empty defaults that pydantic adds."""
    if isinstance(value, list):
        return [_without_noise(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    noise = {key for key in ("title", "default") if not isinstance(fields.get(key), str | bool | int) or key == "title"}
    # A property may be called so as well; its value is a schema.
    return {key: _without_noise(item) for key, item in fields.items() if key not in noise or isinstance(item, dict)}


def _let_be_secret(field: dict[str, Any]) -> None:
    """Let a text be a secret, in place."""
    texts = [item for item in field.get("anyOf", [field]) if item.get("type") == "string"]
    if texts and "anyOf" in field:
        field["anyOf"].append(_SECRET)
    elif texts:
        kept = {key: field.pop(key) for key in list(field) if key not in ("description", "default")}
        field["anyOf"] = [kept, _SECRET]
