from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.alias_generators import to_camel

from components.diagnostics.validation import HIDDEN, Form, plain_entries, validate

FORM = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


class Part(BaseModel):
    model_config = FORM
    name: str
    size: Annotated[int, Field(ge=1, le=9)] = 1


class Whole(BaseModel):
    model_config = FORM
    kind_of_it: Literal["one", "two"] = "one"
    parts: list[Part] = []
    named: dict[str, Part] = {}


def found(raw: dict[str, Any], **options: Any) -> list[tuple[str, str, object, str]]:
    return [(d.code, d.path, d.value, d.remedy) for d in validate(Whole, raw, "meshup:", **options)[1]]


def test_what_is_right_stays_and_each_fault_is_found_at_once() -> None:
    parts: list[Any] = [{"name": "a"}, {"name": 3}, {"size": 5}, {"name": "d", "size": 10}, {"name": "e", "sise": 2}]
    raw = {"kindOfIt": "twoo", "parts": parts, "named": {"x y": {"name": "f"}, "z": 1}}
    whole, diagnostics = validate(Whole, raw, "meshup:")
    assert whole == Whole(parts=[Part(name="a"), Part(name="d"), Part(name="e")], named={"x y": Part(name="f")})
    assert [(d.code, d.path) for d in diagnostics] == [
        ("MSH004", "meshup:kindOfIt"),
        ("MSH001", "meshup:parts[1].name"),
        ("MSH003", "meshup:parts[2].name"),
        ("MSH005", "meshup:parts[3].size"),
        ("MSH002", "meshup:parts[4].sise"),
        ("MSH001", "meshup:named.z"),
    ]


def test_the_data_stays_as_it_is() -> None:
    raw = {"parts": [{"name": 1}, {"name": "a"}]}
    validate(Whole, raw, "")
    assert raw == {"parts": [{"name": 1}, {"name": "a"}]}


def test_the_nearest_key_and_choice_are_suggested() -> None:
    assert found({"kindOfIt": "twoo"})[0][3] == "Did you mean 'two'?"
    assert found({"named": {"x": {"name": "a", "sise": 1}}})[0][1:] == (
        "meshup:named.x.sise",
        1,
        "Did you mean 'size'?",
    )


class Percent(BaseModel):
    model_config = FORM
    share: Annotated[float, Field(ge=0, le=100)] = 0
    steps: Annotated[int, Field(le=100_000_000)] = 0
    part: Annotated[float, Field(lt=0.5)] = 0


def test_a_bound_is_named_as_it_is_written() -> None:
    faults = validate(Percent, {"share": 200, "steps": 10**9, "part": 0.5}, "")[1]
    assert [fault.allowed for fault in faults] == ["at most 100", "at most 100000000", "less than 0.5"]


def test_the_value_of_a_secret_is_in_no_report() -> None:
    assert found({"kindOfIt": "twooo"}, hidden={"kindOfIt"})[0][2] == HIDDEN


def test_a_required_key_at_the_top_that_is_missing_leaves_no_instance() -> None:
    part, diagnostics = validate(Part, {"size": 2}, "component")
    assert part is None
    assert [(d.code, d.path) for d in diagnostics] == [("MSH003", "component.name")]


def test_a_mapping_with_a_key_that_is_no_text_is_not_plain_data_however_deep_it_is() -> None:
    entries, diagnostics = plain_entries({"right": {"a": [{"b": 1}]}, "wrong": {"a": [{False: 1}]}}, "meshup:")
    assert entries == {"right": {"a": [{"b": 1}]}}
    assert [(one.code, one.path) for one in diagnostics] == [("MSH014", "meshup:wrong")]


class Base(Form):
    """A form."""

    kept: int = 0
    """Of the base."""
    changed: int = 0
    """Of the base, and not of
    what extends it."""
    bare: int = 0


class Extended(Base):
    """Another one."""

    changed: int = 1
    added: Annotated[int, Field(description="Of the field.")] = 0
    """Not this."""
    last: int = 0
    """The last one."""


def test_a_field_is_described_by_its_declaration_else_by_the_docstring_below_it() -> None:
    assert Base.descriptions() == {"kept": "Of the base.", "changed": "Of the base, and not of\nwhat extends it."}
    assert Extended.descriptions() == {
        "kept": "Of the base.",
        "added": "Of the field.",
        "last": "The last one.",
    }
    made = create_model("Made", __base__=Extended, more=(int, Field(0, description="Of another.")))
    assert made.descriptions() == Extended.descriptions() | {"more": "Of another."}


def test_the_json_schema_has_the_descriptions() -> None:
    properties = Extended.model_json_schema()["properties"]
    described = {key: schema["description"] for key, schema in properties.items() if "description" in schema}
    assert described == Extended.descriptions()
