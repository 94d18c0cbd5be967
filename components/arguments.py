"""Arguments of components and sections of a stack's configuration: every setting is declared once, as a field.

Interface::

    class Arguments                         # base: unknown keys are refused, nothing is coerced, nothing changes later
    Arguments.of(args) -> Self              # what the constructor of a component calls: a model, or a plain mapping
    Arguments.plain() -> dict               # keys as in a configuration, without what is not set
    Arguments.check(path) -> Diagnostics    # to override: how fields go together
    check_all(arguments, path)              # the same for all that stands in it
    HelmValue(path, chart, convert)         # metadata of a field: the chart value that it sets
    helm_values(arguments, chart) -> dict   # chart values by dotted path
    Deferred                                # a text that may be known only at deployment

A field has its constraint (components/scalars.py has the grammars of single values), its default, its description (the
docstring below it) and the chart values that it sets. The validation of `Pulumi.<stack>.yaml` and of a component's
arguments, the tables of docs/, the JSON Schema of the stack file and the schema of the Pulumi package come from that.

Names are snake_case in Python and camelCase in a configuration. The arguments of a component may have either, since the
package host of Pulumi passes a mapping with snake_case keys, whole numbers as floats, and enum members.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Protocol, Self, TypeVar, cast

import pulumi
from pydantic import ConfigDict, Field, GetCoreSchemaHandler, Strict
from pydantic_core import core_schema

from .diagnostics import ConfigurationError, Diagnostic, errors
from .diagnostics.validation import Form, join, validate
from .scalars import Bytes, Name, Quantity, SecretName, amount

Replicas = Annotated[int, Field(ge=1, le=100)]
Seconds = Annotated[int, Field(ge=10, le=3600)]
Percent = Annotated[float, Field(ge=0, le=100)]
# YAML has lists, and a frozen model wants tuples: only here, a value may be of another type than declared.
Names = Annotated[tuple[Name, ...], Strict(False)]
SecretNames = Annotated[tuple[SecretName, ...], Strict(False)]


DEFERRED = "x-deferred"
"""Marks a `Deferred` in a JSON Schema."""


class _AnyValue:
    """Metadata of a field: pydantic takes the value as it is, since it may be an Output."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(self, _schema: core_schema.CoreSchema, _handler: Any) -> dict[str, Any]:
        return {"type": "string", DEFERRED: True}


# pydantic can't resolve the forward reference in pulumi.Input[str], which is the same.
Deferred = Annotated[str | Awaitable[str] | pulumi.Output[str], _AnyValue()]
"""A text that may be known only at deployment."""


@dataclass(frozen=True)
class HelmValue:
    """Metadata of a field: a chart value that it sets, unless it is None or empty.

    Attributes:
        path: Dotted path of the value.
        chart: The chart, for arguments that several charts take values of; see `helm_values`.
        convert: What the chart has in place of the value; None leaves the value out.
    """

    path: str
    chart: str = ""
    convert: Callable[[Any], Any] | None = None


Extended = TypeVar("Extended", bound="Arguments")


class Arguments(Form):
    """Arguments of a component, or a section of the configuration."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)
    nullable = True

    @classmethod
    def of(cls, args: Self | Mapping[str, Any]) -> Self:
        """Return arguments that are valid.

        Args:
            args: The arguments, or a mapping with snake_case or camelCase keys.

        Raises:
            ConfigurationError: With all faults.
        """
        made, diagnostics = None, list[Diagnostic]()
        if isinstance(args, Mapping):
            made, diagnostics = validate(cls, _unwired(args), cls.__name__, by_name=True)
        else:
            made = args
        if made is not None:
            diagnostics += check_all(made, cls.__name__)
        if made is None or errors(diagnostics):
            raise ConfigurationError(diagnostics)
        return made

    def extended(self, kind: "type[Extended]", **more: Any) -> "Extended":
        """Return arguments of a class that has these fields and more. Nothing is validated again.

        Args:
            kind: The class, such as `IstioArgs` for `IstioSettings`.
            more: Its further fields, and other values of these.
        """
        return kind.model_construct(**{**dict(self), **more})

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check how the fields go together. Sections inside are checked by themselves.

        Args:
            path: Path of this section in reports, such as `meshup:istio`.
        """
        del path
        yield from ()

    def plain(self) -> dict[str, Any]:
        """Return a plain mapping with the keys of a configuration, without what is not set."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Sections(Protocol):
    """The configuration of a stack (stacks/settings.py), as far as components see it."""

    def section(self, kind: type[Extended]) -> Extended:
        """Return the section that is declared by a class, such as `IstioSettings`."""
        ...


def check_all(arguments: Arguments, path: str) -> list[Diagnostic]:
    """Check a section and all sections inside of it."""
    diagnostics = list(arguments.check(path))
    for name, info in type(arguments).model_fields.items():
        value: Any = getattr(arguments, name)
        where = f"{path}{'' if path.endswith(':') else '.'}{info.alias or name}"
        if isinstance(value, Arguments):
            diagnostics += check_all(value, where)
        elif isinstance(value, dict):
            for key, item in cast("dict[str, Any]", value).items():
                if isinstance(item, Arguments):
                    diagnostics += check_all(item, join(where, key))
        elif isinstance(value, tuple):
            for position, item in enumerate(cast("tuple[Any, ...]", value)):
                if isinstance(item, Arguments):
                    diagnostics += check_all(item, f"{where}[{position}]")
    return diagnostics


def helm_values(arguments: Arguments, chart: str = "") -> dict[str, Any]:
    """Return the chart values of all fields that are set and have one for this chart, by dotted path."""
    values: dict[str, Any] = {}
    for name, info in type(arguments).model_fields.items():
        for item in info.metadata:
            if isinstance(item, HelmValue) and item.chart == chart:
                value: Any = getattr(arguments, name)
                if isinstance(value, Arguments):
                    value = value.plain()
                if value is not None and item.convert is not None:
                    value = item.convert(value)
                if value is not None and value not in ((), {}, []):
                    values[item.path] = list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
    return values


class Quantities(Arguments):
    """CPU, memory and ephemeral storage as Kubernetes quantities."""

    cpu: Quantity | None = None
    """Such as `500m` or `2`."""
    memory: Bytes | None = None
    """Such as `512Mi`."""
    ephemeral_storage: Annotated[Bytes | None, Field(alias="ephemeral-storage")] = None
    """Such as `1Gi`."""


class Resources(Arguments):
    """Kubernetes resource requests and limits."""

    requests: Quantities | None = None
    """What the scheduler reserves."""
    limits: Quantities | None = None
    """What a container may use at most."""


class Autoscaling(Arguments):
    """A horizontal pod autoscaler."""

    min: Replicas
    """Fewest replicas."""
    max: Replicas
    """Most replicas."""
    cpu: Annotated[int | None, Field(ge=1, le=100)] = None
    """Average CPU use, in percent of the request, above which replicas are added."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse a minimum above the maximum."""
        if self.min > self.max:
            yield Diagnostic("MSH005", f"{path}.min", self.min, "min is above max.", f"at most {self.max}")


def repeated(path: str, names: Sequence[str]) -> Iterator[Diagnostic]:
    """Report names that stand twice in a list.

    Args:
        path: Path of an entry, with `{}` for its position.
        names: The names.
    """
    for position, name in enumerate(names):
        if name in names[:position]:
            where = path.format(position)
            yield Diagnostic("MSH012", where, name, "This is in the list already.", "each name once")


def check_order(path: str, after: Sequence[Sequence[int]], count: int) -> Iterator[Diagnostic]:
    """Refuse an order in which objects can't be registered.

    Args:
        path: Its path in the arguments.
        after: For each object, the positions of those that it waits for; empty for no order.
        count: How many objects there are.
    """
    if after and len(after) != count:
        allowed = f"{count} lists, one for each object"
        yield Diagnostic("MSH005", path, len(after), "Not every object has its list.", allowed)
    for number, positions in enumerate(after):
        for position in positions:
            if not 0 <= position < number:
                message = "An object can wait only for objects that stand before it."
                yield Diagnostic("MSH005", f"{path}[{number}]", position, message, f"0 to {number - 1}")


def over_limit(
    path: str, resources: Resources | None, chart: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[Diagnostic]:
    """Report requests above their limit. Helm lays what is set over what the chart has, so both can come from there.

    Args:
        path: Path of the resources.
        resources: What is set.
        chart: The resources of the chart.
    """
    written = resources.plain() if resources else {}
    requests, limits = ({**(chart or {}).get(kind, {}), **written.get(kind, {})} for kind in ("requests", "limits"))
    for name in sorted(requests.keys() & limits.keys()):
        ours = [kind for kind in ("requests", "limits") if name in written.get(kind, {})]
        if ours and amount(requests[name]) > amount(limits[name]):
            whose = "" if len(ours) > 1 else f" The chart sets the {'limit' if ours == ['requests'] else 'request'}."
            message = f"The {name} request of {requests[name]} is above the limit of {limits[name]}.{whose}"
            yield Diagnostic("MSH015", path, written, message, "requests that are at most the limits")


def _unwired(value: Any) -> Any:
    """Return a value without what the wire of Pulumi makes of it: whole floats, enum members."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _unwired(inner) for key, inner in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_unwired(inner) for inner in cast("list[Any]", value)]
    return value
