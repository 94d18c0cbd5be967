"""Istio's objects and verdicts for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from components.diagnostics import Diagnostic, errors
from components.manifests import Manifest, object_ref
from components.meshes.istio.security import ISTIO_SECURITY
from components.security.model import Mode, Policy
from components.security.plane import AccessRequest, Verdict
from components.security.world import World
from tests.unit.security.helpers import WORLD, request

MESH_WIDE: Mode = "strict"


def written(policy: Policy, world: World = WORLD) -> dict[str, Manifest]:
    """The objects of a policy that Istio does not refuse, by `Kind/namespace/name`."""
    assert not errors(faults(policy, world))
    items = [item.manifest for item in ISTIO_SECURITY.write(policy, world).objects]
    named = {str(object_ref(item)): item for item in items}
    assert len(named) == len(items)
    return named


def faults(policy: Policy, world: World = WORLD) -> list[Diagnostic]:
    """What Istio's checks find."""
    return list(ISTIO_SECURITY.check(policy, world))


def codes(policy: Policy, world: World = WORLD) -> list[str]:
    """The codes of what Istio's checks find."""
    return [one.code for one in faults(policy, world)]


def judged(objects: Sequence[Manifest], mode: Mode = MESH_WIDE, world: World = WORLD, **changes: Any) -> Verdict:
    """What Istio makes of productpage's request, or of a changed one."""
    return ISTIO_SECURITY.verdict(objects, world, request(**changes), mode)


def verdict(objects: Sequence[Manifest], asked: AccessRequest, mode: Mode = MESH_WIDE, world: World = WORLD) -> Verdict:
    """What Istio makes of a request."""
    return ISTIO_SECURITY.verdict(objects, world, asked, mode)


def objects(text: str, kind: str = "AuthorizationPolicy") -> list[Manifest]:
    """Objects of security.istio.io in the namespace bookinfo, written short: a document for each.

    `name`, `namespace`, `created` and `dry-run` are metadata; all else is the spec.
    """
    made: list[Manifest] = []
    for number, document in enumerate(yaml.safe_load_all(text)):
        spec: dict[str, Any] = dict(document or {})
        metadata: dict[str, Any] = {
            "name": spec.pop("name", f"p{number}"),
            "namespace": spec.pop("namespace", "bookinfo"),
        }
        if "created" in spec:
            metadata["creationTimestamp"] = f"2026-01-01T00:00:{spec.pop('created'):02}Z"
        if "dry-run" in spec:
            metadata["annotations"] = {"istio.io/dry-run": spec.pop("dry-run")}
        made.append({"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
    return made


def changed(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Arguments of `judged` with others in their place."""
    return {**base, **changes}
