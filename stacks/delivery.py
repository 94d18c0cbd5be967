"""How the objects of the traffic reach the cluster: each as a resource, or in a few Helm releases per namespace.

docs/decisions/0002-scale.md has the reasons and the figures.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from components.diagnostics import Diagnostic
from components.manifests import ObjectRef, object_ref
from components.traffic import component as traffic
from stacks.ownership import owner_of, with_owner
from stacks.plan import Plan

MANY_SERVICES = 100
"""Above it, a first `up` with one resource per object takes several times as long as kubectl apply."""
KEY = "meshup:delivery"
PREFIX = "meshup-traffic-"
"""What the names of the releases of every stack's traffic begin with."""


def release_prefix(owner: str) -> str:
    """Return what the names of a stack's releases begin with: two stacks may have routes in one namespace."""
    return f"{PREFIX}{hashlib.sha256(owner.encode()).hexdigest()[:8]}"


def decide(planned: Plan, way: Literal["objects", "release"], owner: str) -> tuple[Plan, list[Diagnostic]]:
    """Return the plan with what the chosen way needs, and what is to be said about it.

    Args:
        planned: The plan as it comes from the settings.
        way: `meshup:delivery`.
        owner: The stack, organisation/project/stack.
    """
    services = len({(route["namespace"], route["host"]) for route in planned.traffic.summaries.values()})
    if way == "objects":
        if services <= MANY_SERVICES:
            return planned, []
        message = f"The routes of {services} Services are {len(planned.traffic.objects)} resources."
        return planned, [Diagnostic("MSH027", KEY, way, message, severity="info")]
    # The stack's own transformation marks resources. What is inside of a release is no resource.
    objects = tuple({**item, "metadata": with_owner(item["metadata"], owner)} for item in planned.traffic.objects)
    prefix = release_prefix(owner)
    found: list[Diagnostic] = []
    for release in traffic.releases(list(objects), prefix):
        size = traffic.record_size(release)
        if size > traffic.LARGEST_RECORD:
            message = f"The release {release['namespace']}/{release['name']} would need a record of {size} bytes."
            found.append(Diagnostic("MSH028", KEY, way, message, f"at most {traffic.LARGEST_RECORD} bytes"))
    return replace(planned, traffic=replace(planned.traffic, objects=objects), release=prefix), found


def delivery_conflicts(planned: Plan, there: Mapping[ObjectRef, Mapping[str, Any]], owner: str) -> list[Diagnostic]:
    """Refuse to take over objects of this stack that were delivered in the other way, or under its former name.

    Pulumi makes new resources before it deletes old ones. With the ways changed, it would delete last what the cluster
    has only once: every route.

    Args:
        planned: What the stack is about to have.
        there: The metadata of those of its objects that exist.
        owner: The stack.
    """
    found: dict[str, str] = {}
    for item in planned.traffic.objects:
        metadata = there.get(object_ref(item))
        if metadata is None or (owner_of(metadata) != owner and object_ref(item) not in planned.taken):
            continue
        annotations = cast("Mapping[str, str]", metadata.get("annotations") or {})
        wanted = traffic.release_of(item, planned.release) if planned.release else ""
        release = annotations.get(traffic.RELEASE_ANNOTATION, "")
        if release != wanted:
            found[f"{item['kind']}/{item['metadata']['namespace']}/{item['metadata']['name']}"] = release
    if not found:
        return []
    now, before = ("release", "objects") if planned.release else ("objects", "release")
    releases = sorted({release for release in found.values() if release})
    if planned.release and releases:
        message = (
            f"{len(found)} objects are in releases that have the former name of this stack in theirs, such as "
            f"{releases[0]}. Pulumi would delete these, with every route in them, before it makes the new ones."
        )
        allowed = f"releases that begin with {planned.release}"
        remedy = (
            "Give the stack its former name again (`pulumi stack rename`), or hand the objects over as "
            "docs/decisions/0002-scale.md describes, first to objects and then back to release."
        )
        return [Diagnostic("MSH029", KEY, now, message, allowed, remedy)]
    message = (
        f"{len(found)} objects were delivered as {before}, the first one is {next(iter(found))}. "
        f"The names of this stack's releases begin with {release_prefix(owner)}."
    )
    return [Diagnostic("MSH029", KEY, now, message, before)]
