"""What has to change in the cluster before a destination goes, so that no route names what is not there.

Pulumi changes destinations (subsets, per-version Services) before the routes that name them. That is right for new
ones. For those that go, it is the wrong way round: docs/decisions/0003-subsets-and-routes.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from components.manifests import Manifest, ObjectRef, object_ref
from components.traffic.component import ROUTE_KINDS, Destination, destinations


@dataclass(frozen=True)
class Transition:
    """What to write, in this order, before destinations go. Pulumi then finds little left to change.

    Attributes:
        added: Destinations that the moved routes need and the cluster lacks; they still have the subsets that go.
        moved: Routes in their new form, which no longer name what goes.
        removed: Routes that are no longer wanted and name what goes.
    """

    added: tuple[Manifest, ...] = ()
    moved: tuple[Manifest, ...] = ()
    removed: tuple[ObjectRef, ...] = ()


def offered(item: Mapping[str, Any]) -> set[Destination]:
    """Return the destinations that are there because of an object."""
    metadata, spec = item["metadata"], cast("Mapping[str, Any]", item.get("spec") or {})
    match item["kind"]:
        case "DestinationRule":
            return {(str(spec["host"]), name) for name in _subsets(spec)}
        case "Service":
            return {(f"{metadata['name']}.{metadata['namespace']}", "")}
        case "ServiceEntry":
            return {(host, "") for host in cast("list[str]", spec.get("hosts") or [])}
        case _:
            return set()


def named(item: Mapping[str, Any]) -> set[Destination]:
    """Return the destinations that an object sends requests to; none for an object that is no route."""
    if item["kind"] not in ROUTE_KINDS:
        return set()
    return set(destinations(item.get("spec"), item["metadata"]["namespace"]))


def lost(old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> set[Destination]:
    """Return the destinations that objects offer no longer."""
    return _all(offered, old) - _all(offered, new)


def transition(planned: Sequence[Manifest], live: Sequence[Manifest]) -> Transition:
    """Decide what to write before destinations go.

    Args:
        planned: The traffic of the stack, as it is to be.
        live: The traffic of the stack, as it is in the cluster.
    """
    now, wanted = {object_ref(item): item for item in live}, {object_ref(item): item for item in planned}
    going = lost(live, planned)
    stuck = [object_ref(item) for item in live if named(item) & going]
    moved = tuple(wanted[item] for item in stuck if item in wanted)
    needed = _all(named, moved) - _all(offered, live)
    return Transition(
        added=tuple(_with_subsets_of(now.get(object_ref(item)), item) for item in planned if offered(item) & needed),
        moved=moved,
        removed=tuple(item for item in stuck if item not in wanted),
    )


def _with_subsets_of(old: Manifest | None, new: Manifest) -> Manifest:
    """The new form of an object with the subsets that only the old one has."""
    if old is None or new["kind"] != "DestinationRule":
        return new
    subsets: dict[str, Any] = _subsets(cast("Manifest", old.get("spec") or {})) | _subsets(new["spec"])
    return {**new, "spec": {**new["spec"], "subsets": list(subsets.values())}}


def _subsets(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {subset["name"]: subset for subset in cast("list[dict[str, Any]]", spec.get("subsets") or [])}


def _all(function: Any, items: Iterable[Mapping[str, Any]]) -> set[Destination]:
    return {found for item in items for found in function(item)}
