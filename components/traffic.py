"""Registers the objects that the routing core compiled."""

from typing import Any, TypedDict

import pulumi

from components.manifests import Manifest, register


class TrafficArgs(TypedDict):
    """Arguments of `Traffic`."""

    objects: list[dict[str, Any]]
    """Manifests in order of creation: what others name comes first (components.routing.Compilation.objects)."""


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


class Traffic(pulumi.ComponentResource):
    """The routes and policies of a stack."""

    def __init__(self, name: str, args: TrafficArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("meshup:index:Traffic", name, {}, opts)
        made: list[pulumi.Resource] = []
        for item, named in zip(args["objects"], dependencies(args["objects"]), strict=True):
            after = [made[position] for position in named]
            metadata = item["metadata"]
            role = f"{metadata['namespace']}-{metadata['name']}-{item['kind'].lower()}"
            made.append(register(f"{name}-{role}", item, pulumi.ResourceOptions(parent=self, depends_on=after)))
        self.register_outputs({})
