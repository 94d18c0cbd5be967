"""Subjects of health from plain data: a planned stack and a cluster on which it runs, with faults put in."""

import base64
from collections.abc import Callable, Collection
from copy import deepcopy
from typing import Any

from components.manifests import Manifest
from stacks.checking import Check
from stacks.cluster import ClusterView
from stacks.health import Subject
from tests.unit.stacks.configs import NOW, raw
from tests.unit.stacks.fake_view import GATEWAY_API, OWNER, FakeCluster, build, item, stack_of


def subject(
    *live: Manifest,
    refused: Collection[str] = (),
    **keys: Any,
) -> Subject:
    """Return a subject: the README's stack with other keys, on a cluster that has these objects.

    Args:
        live: Objects of the cluster.
        refused: Kinds that may not be listed.
        keys: Other keys of the configuration.
    """
    view = ClusterView(FakeCluster([*GATEWAY_API, *live], refused), "v1.36.3")
    stack = stack_of(environ={"MESHUP_NOW": NOW.isoformat()})
    made, diagnostics = build(raw(**keys), stack, view)
    assert made is not None, diagnostics
    return Subject(made, OWNER, view)


def governed(change: Callable[[list[Manifest]], None] = lambda _: None, **keys: Any) -> Subject:
    """Return a subject on whose cluster the routes and policies are, after a change."""
    stored = deepcopy(list(subject(**keys).governing))
    change(stored)
    return subject(*stored, **keys)


def found(check: Check[Subject], asked: Subject) -> list[tuple[str, str]]:
    """Return code and path of what a check finds; no code is reported that it does not declare."""
    diagnostics = check.run(asked)
    assert {fault.code for fault in diagnostics} <= set(check.codes)
    assert all(fault.remedy and fault.command for fault in diagnostics)
    return [(fault.code, fault.path) for fault in diagnostics]


def namespace(name: str, *, joined: bool = True, **annotations: str) -> Manifest:
    """A namespace, with Istio's label."""
    labels = {"istio-injection": "enabled"} if joined else {}
    return item("Namespace", {"name": name, "labels": labels, "annotations": annotations})


def secret(kind: str, name: str, where: str, **data: str) -> Manifest:
    """A Secret or ConfigMap with PEM text; `crt_pem` is the key crt.pem."""
    entries = {key.replace("_", "."): value for key, value in data.items()}
    if kind == "Secret":
        entries = {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}
    return item(kind, {"name": name, "namespace": where}, data=entries)


__all__ = ["found", "governed", "namespace", "secret", "subject"]
