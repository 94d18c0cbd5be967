"""Registers the objects that the routing core compiled.

There are two ways (docs/decisions/0002-scale.md): one Pulumi resource per object, or one Helm release per namespace,
from the chart in components/charts/routes, whose values are the objects.
"""

import base64
import gzip
import json
import os
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pulumi

from components import helm
from components.helm import HelmRelease
from components.manifests import Manifest, register

CHART = Path(__file__).parent / "charts" / "routes"
CHART_VERSION = "1.0.0"
RELEASE_TIMEOUT = 600
"""Seconds. Helm reads every object before it writes it, one after the other: 500 Services took up to two minutes on two
busy cores."""
LARGEST_RECORD = 900_000
"""Bytes that Helm's record of a release may have by `record_size`. A Secret takes 1 MiB (Kubernetes 1.36,
MaxSecretSize); real records were found a tenth larger than computed, since they hold the chart too."""


class TrafficArgs(TypedDict):
    """Arguments of `Traffic`."""

    objects: list[dict[str, Any]]
    """Manifests in order of creation: what others name comes first (components.routing.Compilation.objects)."""
    release: NotRequired[str]
    """The name of the Helm release that each namespace gets. Without it, every object is a resource of its own."""


def dependencies(objects: list[Manifest]) -> list[list[int]]:
    """Return, for each manifest, the positions of the earlier ones that it names.

    A VirtualService must not name a subset before its DestinationRule is there, nor an HTTPRoute a Service: for that
    moment, the requests would fail. Only what an object really names is waited for, so that routes of different
    Services are created side by side.
    """
    by_host: dict[str, list[int]] = {}
    result: list[list[int]] = []
    for position, item in enumerate(objects):
        names = _named(item.get("spec"), item["metadata"]["namespace"])
        result.append(sorted({earlier for name in names for earlier in by_host.get(name, [])}))
        for host in _defined(item):
            by_host.setdefault(host, []).append(position)
    return result


def _defined(item: Manifest) -> list[str]:
    metadata = item["metadata"]
    if item["kind"] == "DestinationRule":
        return [item["spec"]["host"]]
    return [f"{metadata['name']}.{metadata['namespace']}"] if item["kind"] == "Service" else []


def _named(value: Any, namespace: str) -> set[str]:
    """The hosts (`host`), and the names of backend and parent Services, anywhere in a spec."""
    names: set[str] = set()
    if isinstance(value, dict):
        fields: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType] # a manifest has text keys
        if isinstance(fields.get("host"), str):
            names.add(fields["host"])
        if isinstance(fields.get("name"), str):
            names.add(f"{fields['name']}.{fields.get('namespace', namespace)}")
        value = list(fields.values())
    if isinstance(value, list):
        items: list[Any] = value  # pyright: ignore[reportUnknownVariableType] # a manifest has plain lists
        for entry in items:
            names |= _named(entry, namespace)
    return names


def releases(objects: list[Manifest], name: str) -> list[HelmRelease]:
    """Return one release per namespace, in the order in which the namespaces are first met.

    Helm sorts kinds that it does not know by name, so a DestinationRule comes before the VirtualService that names its
    subsets, and a Service before both (Helm 3.20, pkg/releaseutil/kind_sorter.go). The objects carry the ownership that
    Helm would add, so that an object without a change needs no patch.
    """
    # A relative path is the same on every machine, an absolute one would be a change.
    chart = f"./{os.path.relpath(CHART)}"
    values: dict[str, dict[str, Manifest]] = {}
    for item in objects:
        metadata = item["metadata"]
        namespace = metadata["namespace"]
        owned = {
            **metadata,
            "labels": {**metadata.get("labels", {}), "app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                **metadata.get("annotations", {}),
                "meta.helm.sh/release-name": name,
                "meta.helm.sh/release-namespace": namespace,
            },
        }
        values.setdefault(namespace, {})[f"{item['kind']}/{metadata['name']}"] = {**item, "metadata": owned}
    return [
        {
            "role": namespace,
            "name": name,
            "namespace": namespace,
            "chart": chart,
            "version": CHART_VERSION,
            "values": {"objects": found},
            "timeout": RELEASE_TIMEOUT,
        }
        for namespace, found in values.items()
    ]


def record_size(release: HelmRelease) -> int:
    """Return how many bytes Helm's record of a release will have, nearly.

    The record is JSON with the values and the rendered manifest, compressed and in base64 (Helm 3.20,
    pkg/storage/driver/util.go).
    """
    objects = release["values"]["objects"]
    manifest = "\n---\n".join(json.dumps(item) for item in objects.values())
    record = json.dumps({"config": release["values"], "manifest": manifest})
    return len(base64.b64encode(gzip.compress(record.encode())))


def release_order(objects: list[Manifest]) -> dict[str, list[str]]:
    """Return, for each namespace, those that come before it because it names objects of theirs.

    Namespaces that name one another can't wait for each other: then the one that is met first goes first.
    """
    order: dict[str, list[str]] = {}
    for item, named in zip(objects, dependencies(objects), strict=True):
        namespace = item["metadata"]["namespace"]
        after = order.setdefault(namespace, [])
        for position in named:
            other = objects[position]["metadata"]["namespace"]
            earlier = other != namespace and list(order).index(other) < list(order).index(namespace)
            if earlier and other not in after:
                after.append(other)
    return order


class Traffic(pulumi.ComponentResource):
    """The routes and policies of a stack."""

    def __init__(self, name: str, args: TrafficArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:Traffic", name, {}, opts)
        if "release" in args:
            self._register_releases(name, args["objects"], args["release"])
        else:
            self._register_objects(name, args["objects"])
        self.register_outputs({})

    def _register_releases(self, name: str, objects: list[Manifest], release: str) -> None:
        made: dict[str, pulumi.Resource] = {}
        order = release_order(objects)
        for item in releases(objects, release):
            after = [made[namespace] for namespace in order[item["namespace"]]]
            options = pulumi.ResourceOptions(parent=self, depends_on=after)
            made[item["namespace"]] = helm.register(f"{name}-{item['role']}", item, options, awaited=False)

    def _register_objects(self, name: str, objects: list[Manifest]) -> None:
        made: list[pulumi.Resource] = []
        for item, named in zip(objects, dependencies(objects), strict=True):
            after = [made[position] for position in named]
            metadata = item["metadata"]
            role = f"{metadata['namespace']}-{metadata['name']}-{item['kind'].lower()}"
            made.append(register(f"{name}-{role}", item, pulumi.ResourceOptions(parent=self, depends_on=after)))
