"""The schema of the Pulumi package, and what its server makes of arguments."""

import asyncio
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pulumi.errors import InputPropertiesError
from pydantic import Field
from pydantic.json_schema import models_json_schema

from components.arguments import Arguments, Deferred
from components.provider.host import SCHEMA, ComponentServer
from components.provider.schema import Translation, components, package_schema


class Inner(Arguments):
    """Something inside."""

    kind: Literal["one", "two"] = "one"
    """Its kind."""


class Outer(Arguments):
    """Something with every form of type."""

    count: int
    """How many."""
    share: float | None = None
    """A part."""
    inner: Inner | None = None
    """What is inside."""
    several: tuple[Inner, ...] = ()
    """A list."""
    tags: dict[str, Deferred] = Field(default_factory=dict[str, Deferred])
    """Tags."""
    secret: Deferred | None = None
    """A secret."""
    either: int | str = 1
    """A number or a name."""
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Anything."""


def test_the_schema_is_that_of_the_classes() -> None:
    assert json.loads(SCHEMA.read_text()) == package_schema(), (
        "python -m components.provider.schema > components/provider/schema.json"
    )


def test_every_public_component_is_in_it_with_a_description_of_every_property() -> None:
    schema = package_schema()
    assert set(schema["resources"]) == set(components())
    for item in schema["resources"].values():
        assert item["description"]
        assert all(found["description"] for found in item["inputProperties"].values())
    assert not any("__" in name for name in schema["types"]), "two classes of arguments have one name"


def test_every_form_of_type_is_translated() -> None:
    _, described = models_json_schema([(Outer, "validation")])
    translation = Translation(described["$defs"])
    members = translation.members(described["$defs"]["Outer"])
    found = {
        name: {key: value for key, value in item.items() if key != "description"}
        for name, item in members["properties"].items()
    }
    inner = {"$ref": "#/types/meshup:index:Inner", "plain": True}
    anything = {"$ref": "pulumi.json#/Any"}
    assert found == {
        "count": {"type": "integer", "plain": True},
        "share": {"type": "number", "plain": True},
        "inner": inner,
        "several": {"type": "array", "items": inner, "plain": True},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}, "plain": True},
        "secret": {"type": "string"},
        "either": {"oneOf": [{"type": "integer", "plain": True}, {"type": "string", "plain": True}]},
        "values": {"type": "object", "additionalProperties": anything, "plain": True},
    }
    assert members["required"] == ["count"]
    assert translation.referred == {"Inner"}
    kind = translation.members(described["$defs"]["Inner"])["properties"]["kind"]
    assert kind == {"type": "string", "plain": True, "description": "Its kind. One of `one`, `two`. Default: `one`."}


def test_all_faults_of_arguments_are_reported_at_their_properties() -> None:
    async def construct() -> None:
        ComponentServer("0.0.0", "{}").construct("apps", "meshup:index:Bookinfo", {"replicas": 1.5, "tagg": "1"})

    with pytest.raises(InputPropertiesError) as raised:
        asyncio.run(construct())
    assert {item["property_path"] for item in raised.value.errors or []} == {"replicas", "tagg"}


def test_the_plugin_installs_the_package_beside_it() -> None:
    plugin = Path("plugin")
    assert (plugin / (plugin / "requirements.txt").read_text().strip() / "pyproject.toml").is_file()
