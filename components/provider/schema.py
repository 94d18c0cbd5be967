"""The schema of the Pulumi package, from the arguments and outputs that the components declare.

Pulumi's own analyzer (SDK 3.272, provider/experimental/analyzer.py) refuses `Annotated`, `Literal` and unions. The JSON
Schema of pydantic has all of them, and is translated here to Pulumi's form (pkg/codegen/schema/pulumi.json of
pulumi/pulumi). `python -m components.provider.schema` prints what schema.json has to hold.
"""

import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any, get_args

import pulumi
from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel
from pydantic.json_schema import models_json_schema

from ..arguments import DEFERRED, Arguments

PACKAGE = "meshup"
_ANY = {"$ref": "pulumi.json#/Any"}
_LANGUAGES = ("csharp", "go", "java", "nodejs", "python")

Schema = Mapping[str, Any]


def components() -> dict[str, type[pulumi.ComponentResource]]:
    """Return the public components by type token."""
    package = importlib.import_module("..", __package__)
    public = (getattr(package, name) for name in package.__all__)
    found = (item for item in public if isinstance(item, type) and issubclass(item, pulumi.ComponentResource))
    return {f"{PACKAGE}:index:{item.__name__}": item for item in found}


def outputs(component: type[pulumi.ComponentResource]) -> dict[str, Any]:
    """Return the outputs of a component with their types: its annotated attributes."""
    ours = [base for base in component.__mro__ if issubclass(base, pulumi.ComponentResource)][:-1]
    return {name: get_args(hint)[0] for base in ours for name, hint in inspect.get_annotations(base).items()}


def package_schema() -> dict[str, Any]:
    """Return the schema of the package, without its version."""
    found = components()
    models = {token: _arguments(component) for token, component in found.items()}
    _, described = models_json_schema([(model, "validation") for model in models.values()])
    definitions: Schema = described["$defs"]
    translation = Translation(definitions)
    resources = {token: translation.resource(item, models[token].__name__) for token, item in found.items()}
    types = {name: translation.members(item) for name, item in definitions.items() if "properties" in item}
    return {
        "name": PACKAGE,
        "displayName": PACKAGE,
        "description": "Istio or Linkerd on a Kubernetes cluster, and the traffic in it.",
        "license": "Apache-2.0",
        "language": {language: {"respectSchemaVersion": True} for language in _LANGUAGES},
        "resources": resources,
        "types": {f"{PACKAGE}:index:{name}": types[name] for name in sorted(translation.referred)},
    }


def _arguments(component: type[pulumi.ComponentResource]) -> type[Arguments]:
    hint = inspect.get_annotations(component.__init__)["args"]
    return next(item for item in (hint, *get_args(hint)) if isinstance(item, type) and issubclass(item, Arguments))


class Translation:
    """Translates pydantic's JSON Schema to Pulumi's schema; collects the referenced types."""

    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions
        self.referred: set[str] = set()

    def resource(self, component: type[pulumi.ComponentResource], arguments: str) -> Schema:
        """Translate a component."""
        inputs = self.members(self._definitions[arguments])
        hints = outputs(component)
        return {
            "isComponent": True,
            "description": inspect.cleandoc(component.__doc__ or ""),
            "inputProperties": inputs["properties"],
            "requiredInputs": inputs["required"],
            "properties": {to_camel(name): self._type(TypeAdapter(hint).json_schema()) for name, hint in hints.items()},
            "required": sorted(map(to_camel, hints)),
        }

    def members(self, definition: Schema) -> dict[str, Any]:
        """Translate a model."""
        properties: Schema = definition["properties"]
        return {
            "type": "object",
            "description": definition.get("description", ""),
            "properties": {name: self._property(schema) for name, schema in properties.items()},
            "required": sorted(definition.get("required", [])),
        }

    def _property(self, schema: Schema) -> dict[str, Any]:
        # A section without a docstring of its own is described by its class.
        section = self._definitions.get(schema.get("$ref", "").rpartition("/")[2], {})
        sentences: list[str] = [schema.get("description") or section["description"]]
        if choices := [str(value) for option in _options(schema) for value in option.get("enum", [])]:
            sentences.append(f"One of {', '.join(f'`{value}`' for value in choices)}.")
        default = schema.get("default")
        if default is not None and default != "" and not isinstance(default, list | dict):
            sentences.append(f"Default: `{default if isinstance(default, str) else json.dumps(default)}`.")
        return {**self._type(schema, plain=True), "description": " ".join(sentences)}

    def _type(self, schema: Schema, *, plain: bool = False) -> dict[str, Any]:
        """Translate a type; `plain` marks values that must be known at construction."""
        options = [option for option in _options(schema) if option.get("type") != "null"]
        if len(options) > 1:
            distinct = {json.dumps(found): found for found in (self._type(option, plain=plain) for option in options)}
            return {"oneOf": list(distinct.values())} if len(distinct) > 1 else next(iter(distinct.values()))
        (one,) = options
        kind, name = one.get("type"), one.get("$ref", "").rpartition("/")[2]
        definition = self._definitions.get(name, {})
        if name and "properties" not in definition:
            return self._type(definition, plain=plain)
        result: dict[str, Any] = {"type": kind} if kind else dict(_ANY)
        if name:
            self.referred.add(name)
            result = {"$ref": f"#/types/{PACKAGE}:index:{name}"}
        elif kind == "array":
            result["items"] = self._type(one["items"], plain=plain)
        elif kind == "object":
            values: Schema | bool = one.get("additionalProperties", True)
            result["additionalProperties"] = _ANY if isinstance(values, bool) else self._type(values, plain=plain)
        return result | ({"plain": True} if plain and not one.get(DEFERRED) else {})


def _options(schema: Schema) -> list[Schema]:
    return schema.get("anyOf", schema.get("oneOf", [schema]))


if __name__ == "__main__":
    print(json.dumps(package_schema(), indent=2))
