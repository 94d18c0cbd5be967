"""Validation of raw data by a pydantic model, with every fault as a Diagnostic.

Interface::

    validate(model, raw, path, hidden=(), by_name=False) -> (instance, diagnostics)
    refused(code, message, allowed="", remedy="")    # the error that a validator of a field raises

A model declares types, ranges, choices and defaults, and forbids unknown keys. What pydantic reports gets its code,
path and wording here and nowhere else. A validator that refuses for a reason of its own raises `refused`.
"""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from .reader import MOST_HINTS, join, kind_of, one_of
from .report import Diagnostic, nearest

HIDDEN = "[secret]"
"""Stands for the value of a secret in a report."""
Location = tuple[int | str, ...]
_Tree = dict[int | str, "_Tree"]
Model = TypeVar("Model", bound=BaseModel)

_ABSENT = object()
"""What is not there, which is something else than an entry without a value."""
_BRANCH = re.compile(r"function-[a-z]+\[.*\]|<.*>|\[key\]", re.DOTALL)
"""Parts of a location that name no key: the function of a union's alternative, its tag (`<list>`), the key itself."""
_TYPES = {
    "string_type": "text",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
}
_RANGES = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def refused(code: str, message: str, allowed: str = "", remedy: str = "") -> PydanticCustomError:
    """The error that a validator raises for a value that it does not take.

    Args:
        code: The code of the catalogue.
        message: What is wrong, one sentence.
        allowed: What is allowed instead, "" if the message says it.
        remedy: What to do, "" for the remedy of the catalogue.
    """
    context = {"message": message, "allowed": allowed, "remedy": remedy}
    return PydanticCustomError(code, "{message}", context)  # pyright: ignore[reportArgumentType] -- a template is text


def validate(
    model: type[Model],
    raw: Mapping[str, Any],
    path: str,
    hidden: Container[object] = (),
    *,
    by_name: bool = False,
) -> tuple[Model | None, list[Diagnostic]]:
    """Validate raw data, leave out what is wrong, and validate again, until the rest is right.

    Args:
        model: What the data must be.
        raw: The data. It stays as it is.
        path: The path of the data for messages, such as `meshup:`.
        hidden: First keys whose values no report shows.
        by_name: Whether the Python names of fields are taken as well as the keys of a configuration.

    Returns:
        An instance of what is right, and a diagnostic for each fault. The instance is None if the model requires a key
        at the top that is missing or wrong.
    """
    rest: Any = raw
    details: list[ErrorDetails] = []
    instance: Model | None = None
    while instance is None and rest is not _ABSENT:
        try:
            instance = model.model_validate(rest, by_alias=True, by_name=by_name)
        except ValidationError as error:
            found = error.errors(include_url=False)
            # What was left out for its fault is not missing.
            known = {detail["loc"] for detail in details}
            details += [detail for detail in found if detail["loc"] not in known]
            rest = _without(rest, _tree(_keys(detail) for detail in found))
    return instance, diagnostics_of(model, details, path, hidden)


def diagnostics_of(
    model: type[BaseModel], details: Iterable[ErrorDetails], path: str, hidden: Container[object] = ()
) -> list[Diagnostic]:
    """The diagnostics of what pydantic found. The arguments are those of `validate`."""
    diagnostics: list[Diagnostic] = []
    for detail in details:
        diagnostics.append(_diagnostic(model, detail, path, hidden, suggest=len(diagnostics) < MOST_HINTS))
    return diagnostics


def path_of(path: str, location: Iterable[int | str]) -> str:
    """The path of a location below `path`, as the user writes it."""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path = join(path, part)
    return path


def keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a model as they are written in a configuration."""
    return tuple(_fields(model))


def section_of(info: FieldInfo) -> type[BaseModel] | None:
    """The model that a field holds, alone, optional, or in a list."""
    queue: list[Any] = [info.annotation]
    while queue:
        for annotation in _alternatives(queue.pop()):
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                return annotation
            if get_origin(annotation) in (tuple, list):
                queue.append(get_args(annotation)[0])
    return None


def _diagnostic(
    model: type[BaseModel], detail: ErrorDetails, path: str, hidden: Container[object], *, suggest: bool
) -> Diagnostic:
    """Say in meshup's terms what pydantic found."""
    location = _keys(detail)
    kind, context, written = detail["type"], detail.get("ctx", {}), detail["input"]
    secret = bool(location) and location[0] in hidden
    value: Any = HIDDEN if secret else written
    message, remedy = "", ""
    choices: list[str] = []
    match kind:
        case "extra_forbidden":
            choices = [key for at in _types_at(model, location[:-1]) if _is_model(at) for key in keys_of(at)]
            code, message, allowed = "MSH002", f"There is no key '{location[-1]}' here.", one_of(choices)
            written, secret = location[-1], False
        case "missing":
            code, message, allowed, value = "MSH003", f"The key '{location[-1]}' is missing.", "", None
        case "literal_error":
            choices = [str(c) for at in _types_at(model, location) if get_origin(at) is Literal for c in get_args(at)]
            code, message, allowed = "MSH004", "The value is not in the allowed set.", one_of(choices)
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            words, key = _RANGES[kind]
            code, message, allowed = "MSH005", "The number is out of range.", f"{words} {context[key]}"
        case _ if kind.startswith("MSH"):
            code, message, allowed, remedy = kind, context["message"], context["allowed"], context["remedy"]
        case _ if kind in _TYPES:
            code, allowed = "MSH001", _TYPES[kind]
            message = f"This must be {allowed}, not {kind_of(written)}."
            if allowed == "text" and isinstance(written, bool | int | float):
                remedy = "Put the value in quotes."
        case _:
            code, message, allowed = "MSH001", "The value has the wrong type.", detail["msg"]
    if suggest and not secret and isinstance(written, str) and (near := nearest(written, choices)):
        remedy = f"Did you mean '{near}'?"
    return Diagnostic(code, path_of(path, location), value, message, allowed, remedy)


def _keys(detail: ErrorDetails) -> Location:
    """The keys and positions that lead to a fault."""
    return tuple(part for part in detail["loc"] if not (isinstance(part, str) and _BRANCH.fullmatch(part)))


def _tree(locations: Iterable[Location]) -> _Tree:
    """Locations by their parts; where a location ends, what lies below it does not count."""
    tree: _Tree = {}
    for location in sorted(locations, key=len, reverse=True):
        at = tree
        for part in location:
            at = at.setdefault(part, {})
        at.clear()
    return tree


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _types_at(model: type[BaseModel], location: Sequence[int | str]) -> list[Any]:
    """The types that a model has at a location."""
    types: list[Any] = [model]
    for part in location:
        types = [inner for at in types for inner in _alternatives(_type_inside(at, part))]
    return types


def _type_inside(annotation: Any, part: int | str) -> Any:
    """The type of an entry of a model, a mapping or a list."""
    if _is_model(annotation):
        info = _fields(annotation).get(str(part))
        return info.annotation if info else None
    arguments = get_args(annotation)
    return arguments[0 if isinstance(part, int) else -1] if arguments else None


def _alternatives(annotation: Any) -> list[Any]:
    """The types that an annotation allows, without None."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [inner for argument in get_args(annotation) for inner in _alternatives(argument)]
    return [] if annotation in (None, type(None)) else [annotation]


@cache
def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys of a configuration."""
    return {info.alias or name: info for name, info in model.model_fields.items() if not info.exclude}


def _without(value: Any, faults: _Tree) -> Any:
    """A copy of the value without what the faults name; _ABSENT if they name the value, or what it does not have."""
    if not faults:
        return _ABSENT
    if isinstance(value, list | tuple):
        entries: dict[Any, Any] = dict(enumerate(cast("Iterable[Any]", value)))
    elif isinstance(value, Mapping):
        entries = dict(cast("Mapping[Any, Any]", value))
    else:
        return _ABSENT
    for part, inner in faults.items():
        if part not in entries:
            return _ABSENT
        entries[part] = _without(entries[part], inner)
    left = {part: entry for part, entry in entries.items() if entry is not _ABSENT}
    return left if isinstance(value, Mapping) else list(left.values())
