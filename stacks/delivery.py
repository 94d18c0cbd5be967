"""Deliver the traffic objects: each as a Pulumi resource, or in a few Helm releases per namespace.

docs/decisions/0002-scale.md has the reasons and the figures.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, ObjectRef, object_ref
from components.traffic import Compilation, component
from stacks.ownership import Claims, owner_of, with_owner

MANY_SERVICES = 100
"""Above this number, a first `up` with one resource per object takes several times as long as kubectl apply."""
KEY = "meshup:delivery"
PREFIX = "meshup-traffic-"
"""Prefix of the names of all traffic releases, in every stack."""


def release_prefix(owner: str) -> str:
    """Return the release name prefix of a stack: two stacks may have routes in one namespace."""
    return f"{PREFIX}{hashlib.sha256(owner.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Delivery:
    """How the objects of the routes reach the cluster.

    Attributes:
        objects: In order of creation.
        release_prefix: Prefix of their Helm releases; "" if each object is a resource.
    """

    objects: tuple[Manifest, ...] = ()
    release_prefix: str = ""


def deliver(traffic: Compilation, mode: Literal["objects", "release"], owner: str) -> tuple[Delivery, list[Diagnostic]]:
    """Apply the delivery mode.

    Args:
        traffic: The compiled routes.
        mode: `meshup:delivery`.
        owner: The stack, organisation/project/stack.
    """
    if mode == "objects":
        services = len({(route["namespace"], route["host"]) for route in traffic.summaries.values()})
        message = f"The routes of {services} Services are {len(traffic.objects)} resources."
        note = Diagnostic("MSH027", KEY, mode, message, severity="info")
        return Delivery(traffic.manifests), [note] if services > MANY_SERVICES else []
    # The transformation of the stack annotates resources. Objects inside a Helm release bypass it.
    objects = tuple({**item, "metadata": with_owner(item["metadata"], owner)} for item in traffic.manifests)
    prefix = release_prefix(owner)
    diagnostics: list[Diagnostic] = []
    for release in component.releases(list(objects), prefix):
        size = component.record_size(release)
        if size > component.LARGEST_RECORD:
            message = f"The release {release['namespace']}/{release['name']} would need a record of {size} bytes."
            allowed = f"at most {component.LARGEST_RECORD} bytes"
            diagnostics.append(Diagnostic("MSH028", KEY, mode, message, allowed))
    return Delivery(objects, prefix), diagnostics


def delivery_conflicts(
    delivery: Delivery, live: Mapping[ObjectRef, Mapping[str, Any]], claims: Claims, owner: str
) -> list[Diagnostic]:
    """Refuse objects of this stack that another delivery mode or stack name delivered.

    Pulumi creates new resources before it deletes old ones. After a change of the delivery mode, old and new are the
    same objects, so Pulumi would delete every route last.

    Args:
        delivery: What the stack will have.
        live: The metadata of its existing objects.
        claims: The owners of these.
        owner: The stack, organisation/project/stack.
    """
    prefix, conflicts = delivery.release_prefix, dict[ObjectRef, str]()
    for item in delivery.objects:
        ref = object_ref(item)
        metadata = live.get(ref)
        if metadata is None or (owner_of(metadata) != owner and ref not in claims.taken_over):
            continue
        annotations = cast("Mapping[str, str]", metadata.get("annotations") or {})
        release = annotations.get(component.RELEASE_ANNOTATION, "")
        if release != (component.release_of(item, prefix) if prefix else ""):
            conflicts[ref] = release
    if not conflicts:
        return []
    now, before = ("release", "objects") if prefix else ("objects", "release")
    releases = sorted({release for release in conflicts.values() if release})
    if prefix and releases:
        message = (
            f"{len(conflicts)} objects are in releases that have the former name of this stack in theirs, such as "
            f"{releases[0]}. Pulumi would delete these, with every route in them, before it makes the new ones."
        )
        remedy = (
            "Give the stack its former name again (`pulumi stack rename`), or hand the objects over as "
            "docs/decisions/0002-scale.md describes, first to objects and then back to release."
        )
        return [Diagnostic("MSH029", KEY, now, message, f"releases that begin with {prefix}", remedy)]
    message = (
        f"{len(conflicts)} objects were delivered as {before}, the first one is {next(iter(conflicts))}. "
        f"The names of this stack's releases begin with {release_prefix(owner)}."
    )
    return [Diagnostic("MSH029", KEY, now, message, before)]
