"""Validation of raw data by pydantic models, with every fault as a Diagnostic.

Interface::

    validate(model, raw, path, hidden=(), by_name=False) -> (instance, diagnostics)
    plain_entries(raw, path) -> (entries, diagnostics)    # first, for data from outside
    Form, Some, One                                       # bases of models of raw data
    refused(code, message, ...)                           # the error that a validator of a value raises
    inconsistent(code, message, ...)                      # the error of values that do not go together

A model declares types, ranges, choices and defaults, and forbids unknown keys. What pydantic reports gets its code,
path and wording here and nowhere else.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import count, pairwise
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from .report import Diagnostic, nearest, one_of

HIDDEN = "[secret]"
"""Stands for the value of a secret in a report."""
Location = tuple[int | str, ...]
_Tree = dict[int | str, "_Tree"]
Refusals = Iterable[tuple[Location, PydanticCustomError]]
"""Errors, each with its location below what is validated."""
Model = TypeVar("Model", bound=BaseModel)

MOST_HINTS = 200
"""Faults after which nothing is suggested any more, since that takes much longer than anything else here."""
MOST_DEPTH = 100
"""Mappings and lists in each other. The Gateway API's bundle has about 40; pydantic, json and yaml all go deeper."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ABSENT = object()
"""What is not there, which is something else than an entry without a value."""
_PARTIAL = "partial"
"""The context of a validation of data from which something is left out."""
_BRANCH = re.compile(r"<[a-z]+>|\[key\]")
"""Parts of a location that name no key: the tag of an alternative, and that the key itself is wrong."""
PRINTABLE = "^[ -~]*$"
"""The pattern of text of printable ASCII characters."""
_TYPES = {
    "string": "text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "model_attributes": "a mapping",
}
_WORDING = {
    "extra_forbidden": ("MSH002", "There is no key '{key}' here.", "{choices}"),
    "missing": ("MSH003", "The key '{key}' is missing.", ""),
    "too_short": ("MSH003", "There is nothing here.", "at least {min_length}"),
    "literal_error": ("MSH004", "The value is not in the allowed set.", "{choices}"),
    "string_too_short": ("MSH004", "The text is too short.", "at least {min_length} characters"),
    "string_too_long": ("MSH004", "The text is too long.", "at most {max_length} characters"),
    "string_pattern_mismatch": ("MSH004", "The text has characters that are not allowed here.", "{pattern}"),
    "greater_than_equal": ("MSH005", "The number is out of range.", "at least {ge}"),
    "greater_than": ("MSH005", "The number is out of range.", "more than {gt}"),
    "less_than_equal": ("MSH005", "The number is out of range.", "at most {le}"),
    "less_than": ("MSH005", "The number is out of range.", "less than {lt}"),
    "too_long": ("MSH005", "There are too many entries.", "at most {max_length}"),
    "finite_number": ("MSH001", "This must be a finite number.", "a finite number"),
    "invalid_key": ("MSH001", "Each key here must be text.", "text"),
    "union_tag_invalid": ("MSH001", "This must be {wanted}, not {kind}.", "{wanted}"),
    **{f"{kind}_type": ("MSH001", f"This must be {words}, not {{kind}}.", words) for kind, words in _TYPES.items()},
}
"""Code, message and what is allowed, by the type of pydantic's error (pydantic_core, ErrorType)."""


def refused(
    code: str,
    message: str,
    allowed: str = "",
    remedy: str = "",
    *,
    known: Iterable[str] = (),
    kept: bool = False,
    secret: bool = False,
) -> PydanticCustomError:
    """Return the error that a validator raises for a value that it does not take.

    Args:
        code: The code of the catalogue.
        message: What is wrong, one sentence.
        allowed: What is allowed instead, "" if the message says it.
        remedy: What to do, "" for the remedy of the catalogue.
        known: The words that are allowed: the report lists them and suggests the nearest.
        kept: The value is right in itself, so it is not left out.
        secret: The value holds a credential, so no report shows it.
    """
    known = tuple(known)
    context = {"message": message, "allowed": allowed or (one_of(known) if known else ""), "remedy": remedy}
    context |= {"code": code, "known": known, "kept": kept, "secret": secret}
    return PydanticCustomError(code, "{message}", context)  # pyright: ignore[reportArgumentType] -- a template is text


inconsistent = partial(refused, kept=True)
"""The error of values that do not go together: none is left out, and nothing is compared once something is left out."""


def is_partial(info: ValidationInfo) -> bool:
    """Return whether a faulty part is left out of the data, so that its values can't be compared with each other."""
    return info.context is _PARTIAL


def refuse_all(refusals: Refusals) -> None:
    """Raise all refusals, each at its location below the value that is validated."""
    details = [InitErrorDetails(type=error, loc=location, input=None) for location, error in refusals]
    if details:
        raise ValidationError.from_exception_data("", details)


def shape(value: object) -> str:
    """Return the tag of the shape of a value, which selects the short or the long form."""
    if isinstance(value, str):
        return "<text>"
    if isinstance(value, dict):
        return "<mapping>"
    if isinstance(value, list):
        return "<list>"
    return "<number>" if isinstance(value, int) and not isinstance(value, bool) else "<other>"


TEXT, NUMBER, LIST, MAPPING = Tag("<text>"), Tag("<number>"), Tag("<list>"), Tag("<mapping>")
BY_SHAPE = Discriminator(shape)
"""What is written decides its form: `Annotated[Annotated[A, TEXT] | Annotated[B, MAPPING], BY_SHAPE]`."""


@dataclass(frozen=True)
class Checked:
    """Metadata of a text type: its validator and its JSON Schema."""

    check: Callable[[str], str]
    pattern: str = ""
    longest: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        pattern = {"pattern": f"^({self.pattern})$"} if self.pattern else {}
        return {**handler(schema), **pattern, **({} if self.longest is None else {"maxLength": self.longest})}


class Form(BaseModel):
    """A mapping of a configuration: unknown keys are refused, nothing is coerced, nothing changes later.

    Attributes:
        exclusive: Pairs of keys of which only one may be set, each with the reason.
        nullable: Whether null stands for a key that is not set; it is refused otherwise.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)
    exclusive: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    nullable: ClassVar[bool] = False

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler.resolve_ref_schema(handler(schema))
        properties: dict[str, Any] = made.get("properties", {})
        for name, description in cls.descriptions().items():
            info = cls.model_fields[name]
            if not info.description and (key := info.alias or name) in properties:
                properties[key]["description"] = description
        for field in () if cls.nullable else properties.values():
            # An optional field may be left out, but not be null.
            kinds = [kind for kind in field.pop("anyOf", ()) if kind != {"type": "null"}]
            field.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
        if cls.exclusive:
            made["not"] = {"anyOf": [{"required": [one, other]} for one, other, _ in cls.exclusive]}
        return made

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """Return the description of each field that has one, by its name: of its `Field`, else the docstring below it.

        Pydantic would read the docstrings at every start (`use_attribute_docstrings`), which takes 0.2 of 1.1 s of
        processor time; only documents and schemas need them.
        """
        found: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, Form):
                found |= _docstrings(base)
        own = {name: info.description for name, info in cls.model_fields.items() if info.description}
        return {name: text for name in cls.model_fields if (text := own.get(name) or found.get(name))}

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """Return the faults of the keys that are written, whatever their values are."""
        return [
            ((), inconsistent("MSH007", reason, f"{one} or {other}"))
            for one, other, reason in cls.exclusive
            if written.get(one) is not None and written.get(other) is not None
        ]

    def contradictions(self) -> Refusals:
        """Return the faults of values that do not go together, each of which is right in itself."""
        return ()

    @model_validator(mode="wrap")
    @classmethod
    def _consistent(cls, raw: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if info.context is _PARTIAL or not isinstance(raw, dict):
            return handler(raw)
        written = cast("dict[str, Any]", raw)
        refusals = [*cls.conflicts(written)]
        if not cls.nullable and None in written.values():
            refusals += [((key,), _NO_VALUE) for key in _optional(cls) if key in written and written[key] is None]
        details: list[InitErrorDetails] = []
        try:
            form = handler(raw)
            refusals += form.contradictions()
            if not refusals:
                return form
        except ValidationError as error:
            if not refusals:
                raise
            details = [_again(detail) for detail in error.errors(include_url=False)]
        details += [InitErrorDetails(type=error, loc=location, input=None) for location, error in refusals]
        raise ValidationError.from_exception_data(cls.__name__, details)


@cache
def _docstrings(model: type[Form]) -> dict[str, str]:
    """Return the docstring below each field that a class itself declares; a field without one has an empty one."""
    try:
        source = inspect.getsource(model)
    except OSError:
        # It was made by `create_model`.
        return {}
    (declared,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(declared, ast.ClassDef)  # noqa: S101 - what the source of a class is
    found: dict[str, str] = {}
    for statement, following in pairwise([*declared.body, ast.Pass()]):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text)
            case ast.AnnAssign(target=ast.Name(id=name)), _:
                found[name] = ""
            case _:
                pass
    return found


class Some(Form):
    """At least one key is set."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        yield from super().conflicts(written)
        if not written:
            yield (), inconsistent("MSH003", "Nothing is set here.", known=keys_of(cls))


class One(Form):
    """Exactly one key is set."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            code = "MSH007" if self.model_fields_set else "MSH003"
            raise refused(code, "Exactly one key must be set.", known=keys_of(type(self)))
        return self

    @property
    def one(self) -> tuple[str, Any]:
        """The field that is set, and its value."""
        (name,) = self.model_fields_set
        return name, getattr(self, name)


def plain_entries(raw: object, path: str) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Return the entries of a mapping that are plain data, with text as keys, and a diagnostic for each that is not.

    Plain is what JSON can say, with finite numbers and not too deep. Everything else here relies on that.
    """
    if not isinstance(raw, Mapping):
        message = f"This must be a mapping, not {_kind(raw)}."
        return {}, [Diagnostic("MSH001", path, raw if impurity(raw) == "" else None, message, "a mapping")]
    entries: dict[str, Any] = {}
    diagnostics: list[Diagnostic] = []
    for key, value in cast("Mapping[Any, Any]", raw).items():
        if not isinstance(key, str) or impurity(key):
            message = f"Each key here must be text, and one is {_kind(key)}."
            diagnostics.append(Diagnostic("MSH001", path, None, message, remedy="Put the key in quotes."))
        elif reason := impurity(value, text_keys=True):
            diagnostics.append(Diagnostic("MSH014", join(path, key), None, reason))
        else:
            entries[key] = value
    return entries, diagnostics


def impurity(value: Any, *, text_keys: bool = False) -> str:
    """Return why a value is not plain data, or "". The search goes level by level, without recursion.

    Args:
        value: The value.
        text_keys: Whether keys of mappings must be text, as in JSON; YAML has numbers too.
    """
    level = [value]
    for depth in count():
        inside: list[Any] = []
        for item in level:
            if depth == MOST_DEPTH and isinstance(item, dict | list):
                return f"Mappings and lists are nested more than {MOST_DEPTH} deep."
            if isinstance(item, dict):
                entries = cast("dict[Any, Any]", item)
                if text_keys and not all(isinstance(key, str) for key in entries):
                    return "A key in it is not text. Put it in quotes."
                inside += entries
                inside += entries.values()
            elif isinstance(item, list):
                inside += cast("list[Any]", item)
            elif isinstance(item, str):
                if not item.isascii() and any("\ud800" <= character <= "\udfff" for character in item):
                    return "A text in it is not valid Unicode: it has half of a surrogate pair."
            elif item is not None and not isinstance(item, int | float):
                return "A value in it is neither text nor number, true or false."
            elif item is not None and not abs(item) <= sys.float_info.max:
                return "A number in it is not finite."
        if not inside:
            break
        level = inside
    return ""


def validate(
    model: type[Model],
    raw: object,
    path: str,
    hidden: Container[object] = (),
    *,
    by_name: bool = False,
    hints: int = MOST_HINTS,
) -> tuple[Model | None, list[Diagnostic]]:
    """Validate raw data, leave out what is wrong, and validate again, until the rest is right.

    Args:
        model: What the data must be.
        raw: The data. It stays as it is.
        path: The path of the data for messages, such as `meshup:`.
        hidden: First keys whose values no report shows.
        by_name: Whether the Python names of fields are taken as well as the keys of a configuration.
        hints: For how many faults the nearest word is looked for, which takes longer than anything else here.

    Returns:
        An instance of what is right, and a diagnostic for each fault. The instance is None if the model requires a key
        at the top that is missing or wrong.
    """
    rest: Any = raw
    details: list[ErrorDetails] = []
    instance: Model | None = None
    while instance is None and rest is not _ABSENT:
        try:
            instance = model.model_validate(rest, by_alias=True, by_name=by_name, context=_PARTIAL if details else None)
        except ValidationError as error:
            found = error.errors(include_url=False)
            wrong = [_keys(detail) for detail in found if details or not detail.get("ctx", {}).get("kept")]
            rest = _without(rest, _tree(wrong)) if wrong else rest
            # What is found once something is left out is a consequence of that.
            details = details or found
    return instance, [
        _diagnostic(model, raw, detail, path, hidden, suggest=number < hints) for number, detail in enumerate(details)
    ]


def join(where: str, key: str) -> str:
    """Return the path of `key` below `where`, as the user writes it."""
    if not _PLAIN_KEY.fullmatch(key):
        return f'{where}["{key}"]'
    return f"{where}.{key}" if where and not where.endswith(":") else f"{where}{key}"


def path_of(path: str, location: Iterable[int | str]) -> str:
    """Return the path of a location below `path`, as the user writes it."""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path = join(path, part)
    return path


def keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys of a model as they are written in a configuration."""
    return tuple(_fields(model))


def section_of(info: FieldInfo) -> type[BaseModel] | None:
    """Return the model that a field holds, alone, optional, in a list, or by name."""
    queue: list[Any] = [info.annotation]
    while queue:
        for annotation in _alternatives(queue.pop()):
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                return annotation
            if get_origin(annotation) in (tuple, list):
                queue.append(get_args(annotation)[0])
            if get_origin(annotation) is dict:
                queue.append(get_args(annotation)[1])
    return None


def _diagnostic(
    model: type[BaseModel], raw: object, detail: ErrorDetails, path: str, hidden: Container[object], *, suggest: bool
) -> Diagnostic:
    """Say in meshup's terms what pydantic found."""
    location = _keys(detail)
    kind, context = detail["type"], detail.get("ctx", {})
    written = _value_at(raw, location) if detail["input"] is None else detail["input"]
    secret = (bool(location) and location[0] in hidden) or bool(context.get("secret"))
    value: Any = None if kind == "missing" else HIDDEN if secret else written
    if kind.startswith("MSH"):
        code, message, allowed, remedy, choices = (
            context[k] for k in ("code", "message", "allowed", "remedy", "known")
        )
    else:
        choices = _choices(model, kind, location)
        code, message, allowed = _WORDING.get(kind, ("MSH001", "The value has the wrong type.", detail["msg"]))
        if kind in _WORDING:
            wanted = _words(context["expected_tags"]) if kind == "union_tag_invalid" else allowed
            bounds = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in context.items()}
            facts = bounds | {"key": location[-1] if location else "", "kind": _kind(written), "wanted": wanted}
            facts |= {"choices": one_of(choices)} if choices else {}
            message, allowed = message.format(**facts), allowed.format(**facts)
        quoted = code == "MSH001" and "text" in allowed and isinstance(written, bool | int | float)
        remedy = "Put the value in quotes." if quoted else ""
    if kind == "extra_forbidden":
        written, secret = location[-1], False
    if choices and suggest and not secret and isinstance(written, str) and (near := nearest(written, choices)):
        remedy = f"Did you mean '{near}'?"
    return Diagnostic(code, path_of(path, location), value, message, allowed, remedy)


def _choices(model: type[BaseModel], kind: str, location: Location) -> list[str]:
    """Return the words that are allowed at a location."""
    if kind == "extra_forbidden":
        return [key for at in _types_at(model, location[:-1]) if _is_model(at) for key in keys_of(at)]
    if kind != "literal_error":
        return []
    literals = (at for at in _types_at(model, location) if get_origin(at) is Literal)
    return ["true" if word is True else str(word) for at in literals for word in get_args(at) if word != ""]


def _words(expected_tags: str) -> str:
    """Return the shapes that a value may have, from the tags of the alternatives: `'<text>', '<mapping>'`."""
    shapes = {"text": "text", "number": "an integer", "list": "a list", "mapping": "a mapping"}
    return " or ".join(words for shape, words in shapes.items() if f"<{shape}>" in expected_tags)


def _value_at(value: Any, location: Location) -> Any:
    """Return the entry at a location, or None."""
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _again(detail: ErrorDetails) -> InitErrorDetails:
    """Return an error of pydantic in the form in which it can be raised again."""
    kind, context = detail["type"], detail.get("ctx", {})
    error: Any = PydanticCustomError(kind, "{message}", context) if kind.startswith("MSH") else kind  # pyright: ignore[reportArgumentType] -- a template is text
    return InitErrorDetails(type=error, loc=detail["loc"], input=detail["input"], ctx=context)


def _keys(detail: ErrorDetails) -> Location:
    """Return the keys and positions that lead to a fault."""
    return tuple(part for part in detail["loc"] if not (isinstance(part, str) and _BRANCH.fullmatch(part)))


def _tree(locations: Iterable[Location]) -> _Tree:
    """Return locations as a tree of their parts, without those below another one."""
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
    """Return the types that a model has at a location."""
    types: list[Any] = [model]
    for part in location:
        types = [inner for at in types for inner in _alternatives(_type_inside(at, part))]
    return types


def _type_inside(annotation: Any, part: int | str) -> Any:
    """Return the type of an entry of a model, a mapping or a list."""
    if _is_model(annotation):
        info = _fields(annotation).get(str(part))
        return info.annotation if info else None
    arguments, listed = get_args(annotation), get_origin(annotation) in (list, tuple)
    return arguments[0 if listed else -1] if arguments and listed == isinstance(part, int) else None


def _alternatives(annotation: Any) -> list[Any]:
    """Return the types that an annotation allows, without None."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [inner for argument in get_args(annotation) for inner in _alternatives(argument)]
    return [] if annotation in (None, type(None)) else [annotation]


_NO_VALUE = refused("MSH001", "The key has no value.", remedy="Write a value, or remove the key.")


@cache
def _optional(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys that need not be written: their fields take None, but a written null is a mistake."""
    return tuple(key for key, info in _fields(model).items() if not info.is_required() and info.default is None)


@cache
def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by the keys of a configuration."""
    return {info.alias or name: info for name, info in model.model_fields.items() if not info.exclude}


def _without(value: Any, faults: _Tree) -> Any:
    """Return a copy of the value without what the faults name; _ABSENT if they name the value, or what it lacks."""
    if not faults:
        return _ABSENT
    if not isinstance(value, dict | list):
        return _ABSENT
    held = cast("dict[Any, Any] | list[Any]", value)
    entries = dict(held if isinstance(held, dict) else enumerate(held))
    for part, inner in faults.items():
        if part not in entries:
            return _ABSENT
        entries[part] = _without(entries[part], inner)
    left = {part: entry for part, entry in entries.items() if entry is not _ABSENT}
    return left if isinstance(held, dict) else list(left.values())


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "nothing"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    ((list, tuple), "a list"),
    (Mapping, "a mapping"),
)


def _kind(value: object) -> str:
    """Return the type of the value in the words of YAML."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}")
