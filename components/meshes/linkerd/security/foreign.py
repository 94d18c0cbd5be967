"""Objects of somebody else that Linkerd reads for the same pods as those of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from ....diagnostics import Diagnostic
from ....manifests import Manifest, object_ref
from ....security.foreign import allowed_by, decided_by
from ....security.world import World
from .scraping import ADMIN_NAME, ADMIN_PORT


def beside(own: Sequence[Manifest], others: Iterable[Manifest], world: World) -> Iterator[Diagnostic]:
    """Find objects of others for the same pods.

    Of two Servers of a port the older one is read; authorizations add up; of the routes on a Server the best one is
    asked; one EgressNetwork of a namespace is read (edge-26.8.3, policy-controller/k8s/index).

    Args:
        own: The objects of the stack.
        others: Those of the cluster that are not the stack's.
        world: The workloads, whose containers name ports.
    """
    by_place: dict[tuple[str, str], list[Manifest]] = {}
    for item in own:
        by_place.setdefault((item["kind"], item["metadata"]["namespace"]), []).append(item)

    def ours(kind: str, other: Manifest) -> list[Manifest]:
        return by_place.get((kind, other["metadata"]["namespace"]), [])

    for other in others:
        kind = other["kind"]
        if kind == "Server":
            yield from (decided_by(item, other) for item in ours(kind, other) if _same_port(item, other, world))
        elif kind == "EgressNetwork":
            yield from (decided_by(item, other) for item in ours(kind, other)[:1])
        elif kind == "AuthorizationPolicy":
            yield from (allowed_by(item, other) for item in _targets(_target(other), other, ours)[:1])
        elif kind == "ServerAuthorization":
            yield from (allowed_by(item, other) for item in ours("Server", other) if _authorizes(other, item))
        elif kind in ("HTTPRoute", "GRPCRoute"):
            parents = cast("list[Mapping[str, Any]]", _spec(other).get("parentRefs") or [])
            for item in ours("Server", other):
                if any(one.get("kind") == "Server" and one["name"] == item["metadata"]["name"] for one in parents):
                    yield _best_route(item, other)


def _spec(item: Manifest) -> Mapping[str, Any]:
    return item.get("spec") or {}


def _target(item: Manifest) -> Mapping[str, Any]:
    return _spec(item).get("targetRef") or {}


def _targets(target: Mapping[str, Any], other: Manifest, ours: Any) -> list[Manifest]:
    """Return those of our objects that an AuthorizationPolicy is for. That of a Namespace is for all of its Servers."""
    kind = str(target.get("kind", ""))
    if kind == "Namespace":
        return ours("Server", other)
    return [item for item in ours(kind, other) if item["metadata"]["name"] == target.get("name")]


def _labels(item: Manifest) -> Mapping[str, str]:
    selector: Mapping[str, Any] = _spec(item).get("podSelector") or {}
    return cast("Mapping[str, str]", selector.get("matchLabels") or {})


def _same_port(item: Manifest, other: Manifest, world: World) -> bool:
    """Return True if two Servers may be for one port of one pod. A name is that of a container's port."""
    mine, theirs = _labels(item), _labels(other)
    if any(theirs.get(key, value) != value for key, value in mine.items()):
        return False
    number, port = _spec(item).get("port"), _spec(other).get("port")
    if number == port:
        return True
    named = {
        (name, declared)
        for one in world.workloads
        if one.namespace == item["metadata"]["namespace"]
        for name, declared in one.ports
    }
    return (port, number) in {*named, (ADMIN_NAME, ADMIN_PORT)}


def _authorizes(other: Manifest, server: Manifest) -> bool:
    chosen: Mapping[str, Any] = _spec(other).get("server") or {}
    if "name" in chosen:
        return chosen["name"] == server["metadata"]["name"]
    selector: Mapping[str, Any] = chosen.get("selector") or {}
    wanted = cast("Mapping[str, str]", selector.get("matchLabels") or {})
    labels = cast("Mapping[str, str]", server["metadata"].get("labels") or {})
    return wanted.items() <= labels.items()


def _best_route(item: Manifest, other: Manifest) -> Diagnostic:
    message = (
        f"It is a route of {object_ref(item)} of this stack. Of the routes of a Server, only the one that fits a "
        "request best is asked."
    )
    return Diagnostic("MSH576", str(object_ref(other)), None, message, severity="warning")
