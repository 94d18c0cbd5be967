"""The objects that routes compile to, each once, with the destinations that it offers and names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..diagnostics import Diagnostic
from ..manifests import Manifest
from .manifests import reference

Subset = tuple[str, str]
"""A host and a subset of it, "" for the host itself. An HTTPRoute names a Service, whose host is `name.namespace`."""
WHOLE_HOST = "*"
"""In place of a subset: the policies for every request to a host. Nothing names it."""


@dataclass(frozen=True, slots=True)
class TrafficObject:
    """An object and the destinations that it has to do with.

    Attributes:
        manifest: The object.
        offers: The destinations that exist because of it.
        names: The destinations that it sends requests to.
    """

    manifest: Manifest
    offers: frozenset[Subset] = frozenset()
    names: frozenset[Subset] = frozenset()


Reader = Callable[[Manifest], TrafficObject]
"""Reads the destinations of an object of one kind, be it compiled or from a cluster."""


def dependencies(objects: Sequence[TrafficObject]) -> list[list[int]]:
    """Return, for each object, the positions of the earlier ones that offer a host which it names.

    A VirtualService must not name a subset before its DestinationRule is there, nor an HTTPRoute a Service: for that
    moment, the requests would fail. Only what an object really names is waited for, so that routes of different
    Services are created side by side.
    """
    by_host: dict[str, list[int]] = {}
    result: list[list[int]] = []
    for position, item in enumerate(objects):
        hosts = {host for host, _ in item.names}
        result.append(sorted({earlier for host in hosts for earlier in by_host.get(host, ())}))
        for host in {host for host, _ in item.offers}:
            by_host.setdefault(host, []).append(position)
    return result


class Objects:
    """Collects the objects of all routes.

    Args:
        where: Path in the configuration of each route, by its key.
        readers: How the destinations of an object are read, by its kind.
    """

    def __init__(self, where: Mapping[str, str], readers: Mapping[str, Reader]) -> None:
        self.where = where
        self.readers = readers
        self.made: dict[str, tuple[Manifest, str]] = {}
        self.patches: dict[str, Manifest] = {}
        self.names: dict[str, list[str]] = {key: [] for key in where}
        self.diagnostics: list[Diagnostic] = []

    def add(self, item: Manifest, keys: Sequence[str]) -> None:
        """Add an object that routes share. Two different objects of one name are a fault."""
        name = reference(item)
        made, owner = self.made.setdefault(name, (item, keys[0]))
        if made != item:
            self.diagnostics.append(
                Diagnostic(
                    "MSH127",
                    self.where[keys[0]],
                    name,
                    f"'{owner}' and '{keys[0]}' both make an object {name}, with different contents.",
                    remedy="Rename a rule, a version or a Service.",
                )
            )
        self._name(name, keys)

    def patch(self, item: Manifest, keys: Sequence[str]) -> None:
        """Add a change of an object that somebody else makes."""
        name = reference(item)
        self.patches[name] = item
        self._name(name, keys)

    def _name(self, name: str, keys: Iterable[str]) -> None:
        for key in keys:
            if name not in self.names[key]:
                self.names[key].append(name)

    def listed(self) -> tuple[TrafficObject, ...]:
        """Return the objects in order of creation."""
        return tuple(self.readers.get(item["kind"], TrafficObject)(item) for item, _ in self.made.values())
