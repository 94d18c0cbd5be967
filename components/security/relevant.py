"""Leave out the objects that can't concern a Service, so that to decide many requests takes less time. Pure.

Whoever asks `SecurityPlane.verdict` about all Services of a stack would have it read all objects for each request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, cast

from ..manifests import Manifest
from ..traffic.model import Service

_SELECTORS = ("selector", "podSelector")
"""Where an object says which pods it is for: of Istio's kinds, and of Linkerd's Server."""


def relevant(objects: Sequence[Manifest], service: Service) -> tuple[Manifest, ...]:
    """Return the objects without those that select other pods than a Service's, and without what refers to these only.

    All pods of a Service have the labels of its selector, so an object that demands another value of one of them
    selects none of them. Where nothing says that an object is for other pods, it stays.
    """
    labels = dict(service.selector)
    dropped: set[tuple[Any, ...]] = {
        _name(item) for item in objects if item["kind"] != "Namespace" and _is_for_others(item, labels)
    }
    kept = [item for item in objects if _name(item) not in dropped]
    # A policy may refer to a route, which refers to a Server.
    while gone := {_name(item) for item in kept if _refers_only_to(item, dropped)}:
        dropped |= gone
        kept = [item for item in kept if _name(item) not in gone]
    needed = {name for item in kept for name in _authentications(item)}
    needless = {name for item in objects if _name(item) in dropped for name in _authentications(item)} - needed
    return tuple(item for item in kept if _name(item) not in needless)


def _name(item: Manifest) -> tuple[Any, ...]:
    metadata = item["metadata"]
    return item["kind"], metadata.get("namespace", ""), metadata["name"]


def _is_for_others(item: Manifest, labels: Mapping[str, str]) -> bool:
    spec = _mapping(item.get("spec"))
    for key in _SELECTORS:
        wanted = _mapping(_mapping(spec.get(key)).get("matchLabels"))
        if any(name in labels and labels[name] != value for name, value in wanted.items()):
            return True
    return False


def _refers_only_to(item: Manifest, names: Set[tuple[Any, ...]]) -> bool:
    spec, namespace = _mapping(item.get("spec")), item["metadata"].get("namespace", "")
    listed: Any = spec.get("parentRefs")
    refs = cast("list[Any]", listed) if isinstance(listed, list) else [spec.get("targetRef")]
    found = [_mapping(ref) for ref in refs if ref]
    return bool(found) and all(
        (ref.get("kind"), ref.get("namespace", namespace), ref.get("name")) in names for ref in found
    )


def _authentications(item: Manifest) -> set[tuple[Any, ...]]:
    """Return the objects that a policy of Linkerd demands."""
    listed: Any = _mapping(item.get("spec")).get("requiredAuthenticationRefs")
    refs = map(_mapping, cast("list[Any]", listed) if isinstance(listed, list) else [])
    namespace = item["metadata"].get("namespace", "")
    return {(ref.get("kind"), ref.get("namespace", namespace), ref.get("name")) for ref in refs}


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
