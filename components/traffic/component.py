"""Registers the objects that the routing core compiled.

There are two ways (docs/decisions/0002-scale.md): one Pulumi resource per object, or a few Helm releases per namespace,
from the chart in components/charts/routes, whose values are the objects.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
from pydantic import Field

from .. import charts, helm
from ..arguments import Arguments, check_order
from ..diagnostics import Diagnostic
from ..helm import HelmRelease
from ..manifests import Manifest
from ..resources import register, register_patch

RELEASE_TIMEOUT = 600
"""Seconds. Helm reads every object before it writes it, one after the other."""
BUCKETS = {"destinations": 2, "routes": 4}
"""Releases of each part in a namespace, at most. Objects are spread by a hash of their names. Other numbers would move
objects to other releases, which Helm refuses, so they stay."""
ROUTE_KINDS = frozenset({"GRPCRoute", "HTTPLocalRateLimitPolicy", "HTTPRoute", "TLSRoute", "VirtualService"})
"""The kinds that name other objects: subsets, Services, a Server. All other kinds are destinations."""
RELEASE_ANNOTATION = "meta.helm.sh/release-name"
"""Set on every object of a release (Helm 3.20, pkg/action/validate.go)."""
LARGEST_RECORD = 900_000
"""Bytes that Helm's record of a release may have by `record_size`. A Secret takes 1 MiB (Kubernetes 1.36,
MaxSecretSize); real records were found a tenth larger than computed, since they hold the chart too."""


class TrafficArgs(Arguments):
    """Arguments of `Traffic`."""

    objects: list[dict[str, Any]]
    """Manifests in order of creation: what others name comes first (components.traffic.Compilation.manifests)."""
    after: list[list[int]] = Field(default_factory=list[list[int]])
    """For each object, the positions of those that it waits for (components.traffic.dependencies). Without it, a route
    waits for every earlier object that is no route."""
    patches: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    """Partial Services: annotations for Services that exist and that somebody else makes. Each is a resource."""
    release: str = ""
    """What the names of the Helm releases begin with. Without it, every object is a resource of its own."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse an order that no registration can follow."""
        yield from check_order(f"{path}.after", self.after, len(self.objects))


def release_of(item: Manifest, prefix: str) -> str:
    """Return the name of the release that an object belongs to, for as long as it lives.

    Args:
        item: The object. Its kind and name alone decide, so that no change of another object moves it.
        prefix: What the names of the stack's releases begin with.
    """
    part = "routes" if item["kind"] in ROUTE_KINDS else "destinations"
    digest = hashlib.sha256(item["metadata"]["name"].encode()).digest()
    return f"{prefix}-{part}-{digest[0] % BUCKETS[part]}"


def with_helm_ownership(item: Manifest, prefix: str) -> Manifest:
    """Return an object with the ownership that Helm would add, so that one without a change needs no patch."""
    metadata = item["metadata"]
    owned = {
        **metadata,
        "labels": {**metadata.get("labels", {}), "app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            **metadata.get("annotations", {}),
            RELEASE_ANNOTATION: release_of(item, prefix),
            "meta.helm.sh/release-namespace": metadata["namespace"],
        },
    }
    return {**item, "metadata": owned}


def releases(objects: list[Manifest], prefix: str) -> list[HelmRelease]:
    """Return the releases that deliver objects, destinations before routes, else in the order of the objects.

    Every namespace has at most as many as BUCKETS says. Helm reads all objects of a release three times to change one,
    so small releases make a small change fast; and destinations of all namespaces come before all routes, so that two
    Services may name one another.
    """
    values: dict[tuple[str, str], dict[str, str]] = {}
    for item in sorted(objects, key=lambda item: item["kind"] in ROUTE_KINDS):
        metadata = item["metadata"]
        bucket = values.setdefault((metadata["namespace"], release_of(item, prefix)), {})
        bucket[f"{item['kind']}/{metadata['name']}"] = json.dumps(with_helm_ownership(item, prefix))
    return [
        {
            "role": f"{namespace}-{name.removeprefix(prefix + '-')}",
            "name": name,
            "namespace": namespace,
            "chart": charts.ROUTES,
            "version": charts.VERSION,
            "values": {"objects": found},
            "timeout": RELEASE_TIMEOUT,
        }
        for (namespace, name), found in values.items()
    ]


def record_size(release: HelmRelease) -> int:
    """Return how many bytes Helm's record of a release will have, nearly.

    The record is JSON with the values and the rendered manifest, compressed and in base64 (Helm 3.20,
    pkg/storage/driver/util.go).
    """
    manifest = "\n---\n".join(release["values"]["objects"].values())
    record = json.dumps({"config": release["values"], "manifest": manifest})
    return len(base64.b64encode(gzip.compress(record.encode())))


class Traffic(pulumi.ComponentResource):
    """The routes and policies of a stack."""

    def __init__(
        self, name: str, args: TrafficArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:Traffic", name, {}, opts)
        checked = TrafficArgs.of(args)
        if checked.release:
            self._register_releases(name, checked.objects, checked.release)
        else:
            self._register_objects(name, checked.objects, checked.after)
        for patch in checked.patches:
            metadata = patch["metadata"]
            role = f"{metadata['namespace']}-{metadata['name']}-servicepatch"
            register_patch(f"{name}-{role}", patch, pulumi.ResourceOptions(parent=self))
        self.register_outputs({})

    def _register_releases(self, name: str, objects: list[Manifest], prefix: str) -> None:
        charts.ensure_routes()
        first: list[pulumi.Resource] = []
        for item in releases(objects, prefix):
            is_route = item["name"].startswith(f"{prefix}-routes-")
            options = pulumi.ResourceOptions(parent=self, depends_on=list(first) if is_route else None)
            made = helm.register(f"{name}-{item['role']}", item, options, awaited=False)
            if not is_route:
                first.append(made)

    def _register_objects(self, name: str, objects: list[Manifest], after: list[list[int]]) -> None:
        made: list[pulumi.Resource] = []
        destinations: list[int] = []
        for number, item in enumerate(objects):
            metadata = item["metadata"]
            positions = after[number] if after else destinations if item["kind"] in ROUTE_KINDS else []
            role = f"{metadata['namespace']}-{metadata['name']}-{item['kind'].lower()}"
            options = pulumi.ResourceOptions(parent=self, depends_on=[made[position] for position in positions])
            made.append(register(f"{name}-{role}", item, options))
            if item["kind"] not in ROUTE_KINDS:
                destinations.append(number)
