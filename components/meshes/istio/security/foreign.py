"""Objects of somebody else that Istio reads for the same pods as those of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from ....diagnostics import Diagnostic
from ....manifests import Manifest, object_ref
from ....security.foreign import allowed_by, decided_by, denied_by, narrowed_by

DRY_RUN = "istio.io/dry-run"
_EVERYTHING: Mapping[str, str] = {}


def beside(own: Sequence[Manifest], others: Iterable[Manifest], root: str) -> Iterator[Diagnostic]:
    """Find objects of others for the same pods.

    ALLOW policies add up, and any DENY policy wins (istio.io, Authorization Policy). Of PeerAuthentications and
    Sidecars, those with a selector go first, and the oldest one wins as a whole (Istio 1.31, pilot/pkg/model,
    authentication.go and push_context.go).

    Args:
        own: The objects of the stack.
        others: Those of the cluster that are not the stack's.
        root: The root namespace, whose objects are for all namespaces.
    """
    by_kind: dict[str, list[Manifest]] = {}
    for item in own:
        by_kind.setdefault(item["kind"], []).append(item)
    for other in others:
        same_kind = by_kind.get(other["kind"], [])
        for item in same_kind:
            if diagnostic := _compared(item, other, root):
                yield diagnostic
                break


def _compared(item: Manifest, other: Manifest, root: str) -> Diagnostic | None:
    if other["kind"] in ("PeerAuthentication", "Sidecar"):
        return _chosen(item, other, root)
    if not _meet(item, other, root):
        return None
    spec = _spec(other)
    if other["kind"] == "RequestAuthentication":
        shared = sorted(_issuers(item) & _issuers(other))
        message = f"It reads tokens of {', '.join(shared)} for the same pods, as {object_ref(item)} does."
        allowed = "one RequestAuthentication for each issuer"
        return Diagnostic("MSH575", str(object_ref(other)), None, message, allowed) if shared else None
    annotations: Mapping[str, str] = other["metadata"].get("annotations") or {}
    action = spec.get("action", "ALLOW")
    if other["kind"] != "AuthorizationPolicy" or action == "AUDIT" or annotations.get(DRY_RUN) == "true":
        return None
    if action == "ALLOW":
        # Without rules it allows nothing.
        return allowed_by(item, other) if spec.get("rules") else None
    return denied_by(item, other, "DENY" if action == "DENY" else "external authorization")


def _spec(item: Manifest) -> Mapping[str, Any]:
    return item.get("spec") or {}


def _labels(item: Manifest) -> Mapping[str, str]:
    """Return the labels of the pods that an object is for; none for every pod."""
    spec = _spec(item)
    if item["kind"] == "Sidecar":
        chosen: Mapping[str, Any] = spec.get("workloadSelector") or {}
        return cast("Mapping[str, str]", chosen.get("labels") or _EVERYTHING)
    chosen = spec.get("selector") or {}
    return cast("Mapping[str, str]", chosen.get("matchLabels") or _EVERYTHING)


def _chosen(item: Manifest, other: Manifest, root: str) -> Diagnostic | None:
    """Compare two objects of which Istio follows one: that with a selector, and of two such the older one."""
    namespace = item["metadata"]["namespace"]
    if namespace != other["metadata"]["namespace"] or (namespace == root and (_labels(item) or _labels(other))):
        # In the root namespace, selectors are ignored.
        return None
    if bool(_labels(item)) == bool(_labels(other)):
        return decided_by(item, other) if _meet(item, other, root) else None
    return narrowed_by(item, other) if _labels(other) else None


def _meet(item: Manifest, other: Manifest, root: str) -> bool:
    """Return True if both may be for one pod."""
    namespaces = {item["metadata"]["namespace"], other["metadata"]["namespace"]}
    # What has targetRefs is for gateways and waypoints: sidecars ignore it (pilot/pkg/model/policyattachment.go).
    attached = any(_spec(one).get("targetRefs") or _spec(one).get("targetRef") for one in (item, other))
    mine, theirs = _labels(item), _labels(other)
    fits = all(theirs.get(key, value) == value for key, value in mine.items())
    return (len(namespaces) == 1 or root in namespaces) and fits and not attached


def _issuers(item: Manifest) -> set[str]:
    rules = cast("list[Mapping[str, Any]]", _spec(item).get("jwtRules") or [])
    return {str(rule.get("issuer") or "") for rule in rules}
