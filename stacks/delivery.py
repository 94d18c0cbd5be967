"""How the objects of the traffic reach the cluster: each as a resource, or as one Helm release per namespace.

docs/decisions/0002-scale.md has the reasons and the figures.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from components import traffic
from components.routing import Diagnostic
from stacks.ownership import Kept, holder, kept, marked
from stacks.plan import Plan

MANY_SERVICES = 100
"""Above it, a first `up` with one resource per object takes several times as long as kubectl apply."""
KEY = "meshup:delivery"
RELEASE_ANNOTATION = "meta.helm.sh/release-name"
"""Set on every object of a release (Helm 3.20, pkg/action/validate.go)."""


def release_name(owner: str) -> str:
    """Return the name of a stack's releases. Two stacks may have routes in one namespace, so it differs by stack."""
    return f"meshup-traffic-{hashlib.sha256(owner.encode()).hexdigest()[:8]}"


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
    objects = tuple({**item, "metadata": marked(item["metadata"], owner)} for item in planned.traffic.objects)
    name = release_name(owner)
    found: list[Diagnostic] = []
    for release in traffic.releases(list(objects), name):
        size = traffic.record_size(release)
        if size > traffic.LARGEST_RECORD:
            message = f"The release of namespace {release['namespace']} would need a record of {size} bytes."
            found.append(Diagnostic("MSH028", KEY, way, message, f"at most {traffic.LARGEST_RECORD} bytes"))
    return replace(planned, traffic=replace(planned.traffic, objects=objects), release=name), found


def mixed(planned: Plan, there: Mapping[Kept, Mapping[str, Any]], owner: str) -> list[Diagnostic]:
    """Refuse to take over objects of this stack that were delivered in the other way.

    Pulumi makes new resources before it deletes old ones. With the ways changed, it would delete last what the cluster
    has only once: every route.

    Args:
        planned: What the stack is about to have.
        there: The metadata of those of its objects that exist.
        owner: The stack.
    """
    found: list[str] = []
    for item in planned.traffic.objects:
        metadata = there.get(kept(item))
        if metadata is None or holder(metadata) != owner:
            continue
        annotations = cast("Mapping[str, str]", metadata.get("annotations") or {})
        if annotations.get(RELEASE_ANNOTATION, "") != planned.release:
            found.append(f"{item['kind']}/{item['metadata']['namespace']}/{item['metadata']['name']}")
    if not found:
        return []
    now, before = ("release", "objects") if planned.release else ("objects", "release")
    message = (
        f"{len(found)} objects were delivered as {before}, the first one is {found[0]}. "
        f"The releases of this stack are called {release_name(owner)}."
    )
    return [Diagnostic("MSH029", KEY, now, message, before)]
