"""Fields in which an object of the cluster is not as the plan has it. Pure.

Every field that the plan sets is compared. What it does not set may be a default of the API server: a field that is on
the cluster only is a difference where the server has said what it would store (`defaulted`), which includes defaults.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard, cast

from components.manifests import Manifest

_APART = ("apiVersion", "kind", "metadata", "status")
_HELMS = "app.kubernetes.io/managed-by"
"""Label that Helm sets on what it installs, in place of meshup's."""
_NOT_COMPARED = ("pulumi.com/", "meshup/stack")
"""Beginnings of keys: what Pulumi's provider is told, and the owner, which every `up` checks (stacks/ownership.py)."""
_LONGEST = 80


class Difference(NamedTuple):
    """A field that differs; values as JSON, "" for a field that is not set.

    Attributes:
        path: Where it is, such as `spec.http[0].route[1].weight`.
        planned: What the plan has.
        live: What the cluster has.
    """

    path: str
    planned: str
    live: str


def differences(planned: Manifest, live: Manifest, defaulted: Manifest | None = None) -> list[Difference]:
    """Return the fields in which an object differs from the plan, in the order of the plan.

    Args:
        planned: The object of the plan.
        live: That of the cluster.
        defaulted: That of the plan with the API server's defaults; None if it is not known.
    """
    expected = _body(planned if defaulted is None else defaulted)
    found = [*_metadata(planned, live), *_compare("", expected, _body(live))]
    if defaulted is not None:
        found += _added("", expected, _body(live))
    return found


def is_more(planned: Manifest, live: Manifest) -> bool:
    """Return whether the cluster has fields of an object that the plan does not set."""
    return any(True for _ in _added("", _body(planned), _body(live)))


def _body(item: Manifest) -> Mapping[str, Any]:
    return {key: value for key, value in item.items() if key not in _APART}


def _metadata(planned: Manifest, live: Manifest) -> Iterator[Difference]:
    """Compare the labels and annotations that the plan sets; others add theirs."""
    for kind in ("labels", "annotations"):
        wanted = cast("Mapping[str, str]", planned["metadata"].get(kind) or {})
        present = cast("Mapping[str, str]", live["metadata"].get(kind) or {})
        for key, value in wanted.items():
            if key != _HELMS and not key.startswith(_NOT_COMPARED) and present.get(key) != value:
                yield Difference(f'metadata.{kind}["{key}"]', _shown(value), _shown(present.get(key)))


def _compare(path: str, planned: Any, live: Any) -> Iterator[Difference]:
    """Return where the cluster lacks what the plan sets. An empty value, zero and false are as good as none."""
    if isinstance(planned, Mapping) and isinstance(live, Mapping):
        present = cast("Mapping[str, Any]", live)
        for key, value in cast("Mapping[str, Any]", planned).items():
            yield from _compare(f"{path}.{key}" if path else key, value, present.get(key))
    elif _is_list(planned) and _is_list(live) and len(planned) == len(live):
        for index, (one, other) in enumerate(zip(planned, live, strict=True)):
            yield from _compare(f"{path}[{index}]", one, other)
    elif not _same(planned, live):
        yield Difference(path, _shown(planned), _shown(live))


def _added(path: str, known: Any, live: Any) -> Iterator[Difference]:
    """Return what the cluster has beyond what is known."""
    if isinstance(known, Mapping) and isinstance(live, Mapping):
        listed = cast("Mapping[str, Any]", known)
        for key, value in cast("Mapping[str, Any]", live).items():
            where = f"{path}.{key}" if path else key
            if key in listed:
                yield from _added(where, listed[key], value)
            elif not _is_empty(value):
                yield Difference(where, _shown(None), _shown(value))
    elif _is_list(known) and _is_list(live) and len(known) == len(live):
        for index, (one, other) in enumerate(zip(known, live, strict=True)):
            yield from _added(f"{path}[{index}]", one, other)


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", False, 0) or (isinstance(value, (Mapping, Sequence)) and not value)


def _same(planned: Any, live: Any) -> bool:
    if isinstance(planned, bool) != isinstance(live, bool):
        return _is_empty(planned) and _is_empty(live)
    return planned == live or (_is_empty(planned) and _is_empty(live))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


__all__ = ["Difference", "differences", "is_more"]
