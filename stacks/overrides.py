"""`meshup:trafficOverrides`: fields of shared routes that a stack has in another way. Pure.

An override has the shape of the routes. Mappings merge, everything else replaces; in a mapping that stands for a list,
a key names an entry: by its name, its version or its Service, or by its position from 0.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from components.diagnostics import Diagnostic, nearest, one_of
from components.diagnostics.validation import join

KEY = "meshup:trafficOverrides"
TRAFFIC = "meshup:traffic"
_ROUTE = re.compile(r'meshup:traffic(?:\.([A-Za-z0-9_-]+)|\["([^"]*)"\])')
_NAMING = ("name", "version", "service")
_LONGEST_VALUE = 60
_ABSENT = object()


@dataclass(frozen=True)
class Override:
    """A field of a route that the stack has in another way.

    Attributes:
        route: The key of the route.
        path: Path of the field in the merged routes.
        where: Path of the field in the overrides.
        shared: The value in the shared route, as JSON; "" if it has none.
        value: The value in this stack.
    """

    route: str
    path: str
    where: str
    shared: str
    value: Any


@dataclass(frozen=True)
class Origins:
    """Where the fields of routes were written.

    Attributes:
        file: The name of the traffic file.
        of_file: The keys of its routes.
        overrides: The fields that the stack has in another way.
    """

    file: str = ""
    of_file: frozenset[str] = frozenset()
    overrides: tuple[Override, ...] = ()

    def source(self, route: str) -> str:
        """Return where a route is written."""
        return self.file if route in self.of_file else TRAFFIC


def merge(
    routes: Mapping[str, Any], overrides: Mapping[str, Any], origins: Origins
) -> tuple[dict[str, Any], Origins, list[Diagnostic]]:
    """Merge overrides over routes.

    Args:
        routes: The shared routes.
        overrides: The value of `meshup:trafficOverrides`.
        origins: Where the routes were written.

    Returns:
        The merged routes, where their fields were written, and the diagnostics: a note for each override.
    """
    merged, diagnostics = dict(routes), list[Diagnostic]()
    made: list[Override] = []
    known = [key for key in routes if isinstance(cast("object", key), str)]
    for key, changes in overrides.items():
        where = join(KEY, key)
        if key not in routes:
            near = nearest(key, known)
            message = f"There is no route '{key}' to override."
            remedy = f"Did you mean '{near}'?" if near else ""
            diagnostics.append(Diagnostic("MSH184", where, key, message, one_of(known), remedy))
        elif not isinstance(changes, dict):
            diagnostics.append(Diagnostic("MSH001", where, changes, "This must be a mapping.", "fields of the route"))
        elif isinstance(routes[key], dict):
            merger = _Merger(key, diagnostics, made)
            merged[key] = merger.merged(routes[key], changes, join(TRAFFIC, key), where)
    for override in made:
        source = origins.source(override.route)
        message = f"{source} has {override.shared or 'nothing'} here."
        diagnostics.append(Diagnostic("MSH185", override.where, override.value, message, severity="info"))
    return merged, replace(origins, overrides=tuple(made)), diagnostics


class _Merger:
    """Merges the overrides of one route, and collects what they change."""

    def __init__(self, route: str, diagnostics: list[Diagnostic], made: list[Override]) -> None:
        self.route = route
        self.diagnostics = diagnostics
        self.made = made

    def merged(self, shared: Any, changes: Any, path: str, where: str) -> Any:
        """Return a value of the route with its changes."""
        if isinstance(changes, dict) and isinstance(shared, dict):
            fields = dict(cast("dict[str, Any]", shared))
            for key, change in cast("dict[Any, Any]", changes).items():
                name = str(key)
                fields[name] = self.merged(fields.get(name, _ABSENT), change, join(path, name), join(where, name))
            return fields
        if isinstance(changes, dict) and isinstance(shared, list):
            return self.entries(cast("list[Any]", shared), cast("dict[Any, Any]", changes), path, where)
        text = "" if shared is _ABSENT else json.dumps(shared, ensure_ascii=False, default=str)
        if len(text) > _LONGEST_VALUE:
            text = text[:_LONGEST_VALUE] + "…"
        self.made.append(Override(self.route, path, where, text, changes))
        return cast("Any", changes)

    def entries(self, shared: Sequence[Any], changes: Mapping[Any, Any], path: str, where: str) -> list[Any]:
        """Return a list of the route with changes of its entries."""
        result = list(shared)
        for key, change in changes.items():
            name = str(key)
            position = _position(shared, name)
            if position is None:
                known = [*_names(shared), *map(str, range(len(shared)))]
                near = nearest(name, _names(shared))
                message = f"The list has no entry '{name}'."
                remedy = f"Did you mean '{near}'?" if near else ""
                self.diagnostics.append(Diagnostic("MSH184", join(where, name), name, message, one_of(known), remedy))
                continue
            result[position] = self.merged(shared[position], change, f"{path}[{position}]", join(where, name))
        return result


def _names(entries: Iterable[Any]) -> list[str]:
    fields = [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]
    return [str(entry[key]) for entry in fields for key in _NAMING if key in entry]


def _position(entries: Sequence[Any], name: str) -> int | None:
    for key in _NAMING:
        found = [
            place
            for place, entry in enumerate(entries)
            if isinstance(entry, dict) and cast("dict[str, Any]", entry).get(key) == name
        ]
        if len(found) == 1:
            return found[0]
    return int(name) if name.isascii() and name.isdecimal() and int(name) < len(entries) else None


def located(diagnostics: Iterable[Diagnostic], origins: Origins) -> list[Diagnostic]:
    """Return diagnostics of merged routes with paths to where each value was written.

    A diagnostic of a mapping that is written in both places, such as a split, names both.
    """
    if not (origins.of_file or origins.overrides):
        return list(diagnostics)
    return [_located(diagnostic, origins) for diagnostic in diagnostics]


def _located(diagnostic: Diagnostic, origins: Origins) -> Diagnostic:
    found = _ROUTE.match(diagnostic.path)
    if found is None:
        return diagnostic
    route, path = found[1] or found[2], diagnostic.path
    overrides = [override for override in origins.overrides if override.route == route]
    for override in overrides:
        if _is_below(path, override.path):
            return replace(diagnostic, path=override.where + path[len(override.path) :])
    inside = [override.where for override in overrides if _is_below(override.path, path)]
    message = diagnostic.message
    if inside and found.end() < len(path):
        message += f" Of these, {', '.join(inside[:5])} {'is' if len(inside) == 1 else 'are'} this stack's own."
    if route in origins.of_file:
        path = f"{origins.file}: {path.removeprefix(TRAFFIC).removeprefix('.')}"
    return replace(diagnostic, path=path, message=message)


def _is_below(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}["))
