"""What checks before an `up` are made of: a plan, a view of the cluster, and what was asked of it, as plain data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from components.diagnostics import Diagnostic
from components.helm import HelmRelease
from components.manifests import Manifest, ObjectRef, object_ref, part
from components.meshes import MESHES
from components.meshes.interface import Mesh
from stacks.cluster import Access, Answer, ClusterView, Resource
from stacks.plan import Plan
from stacks.settings import Settings

Kind = tuple[str, str]
"""apiVersion and kind."""
NAMESPACE = ("v1", "Namespace")


@dataclass(frozen=True)
class Rendered:
    """The objects of the charts.

    Attributes:
        by_release: The objects by the name of the release, in order of the chart.
        diagnostics: The charts that can't be rendered.
    """

    by_release: Mapping[str, Sequence[Manifest]] = field(default_factory=dict[str, Sequence[Manifest]])
    diagnostics: Sequence[Diagnostic] = ()


@dataclass(frozen=True)
class Probes:
    """What was asked of the API server beside its objects.

    Attributes:
        kinds: How the kinds of the plan are served, or will be.
        served: Those of them that are served now.
        allowed: Rights that were asked for, and whether the credentials have them.
        applied: Answers to a dry run of objects of the plan.
        pods: Answers to a dry run of a pod, by namespace.
        ahead: Seconds that the API server's clock is ahead of the own one; None if that is unknown.
        now: The own time, in seconds since 1970.
    """

    kinds: Mapping[Kind, Resource] = field(default_factory=dict[Kind, Resource])
    served: frozenset[Kind] = frozenset()
    allowed: Mapping[Access, bool] = field(default_factory=dict[Access, bool])
    applied: Mapping[ObjectRef, Answer] = field(default_factory=dict[ObjectRef, Answer])
    pods: Mapping[str, Answer] = field(default_factory=dict[str, Answer])
    ahead: float | None = None
    now: float = 0.0


@dataclass(frozen=True)
class Subject:
    """A stack and its cluster before an `up`.

    Attributes:
        settings: The settings of the stack.
        plan: What it will have.
        owner: The stack, organisation/project/stack.
        view: The cluster.
        rendered: The objects of the charts.
        probes: What was asked of the API server.
    """

    settings: Settings
    plan: Plan
    owner: str
    view: ClusterView
    rendered: Rendered = Rendered()
    probes: Probes = Probes()

    @property
    def mesh(self) -> Mesh[Any]:
        """The mesh."""
        return MESHES[self.plan.mesh.name]

    @cached_property
    def objects(self) -> Sequence[Manifest]:
        """All objects that the plan and its charts have, as far as they could be rendered."""
        return [*self.plan.manifests, *of_charts(self.plan.releases, self.rendered, self.probes.kinds)]

    @cached_property
    def existing(self) -> Mapping[str, Mapping[str, Any]]:
        """The metadata of the namespaces of the cluster, by name."""
        return {item["name"]: item for item in self.view.metadata(*NAMESPACE)}

    @cached_property
    def meshed(self) -> Sequence[str]:
        """The namespaces whose pods will have a sidecar: those of applications, and of `meshup:namespaces`."""
        of_apps = [app.namespace for app in self.plan.apps]
        return list(dict.fromkeys([*of_apps, *(item.name for item in self.plan.joined if item.inject)]))

    def missing(self, *kinds: str) -> list[Manifest]:
        """Return the objects of some kinds, all in namespaces, that are not on the cluster yet."""
        made: list[Manifest] = []
        for item in self.objects:
            ref = object_ref(item)
            if ref.kind in kinds:
                live = self.view.objects(ref.api_version, ref.kind, ref.namespace)
                made += [] if any(one["metadata"]["name"] == ref.name for one in live) else [item]
        return made


def kind_of(item: Mapping[str, Any]) -> Kind:
    """Return apiVersion and kind of an object."""
    return str(item["apiVersion"]), str(item["kind"])


def of_charts(
    releases: Sequence[HelmRelease], rendered: Rendered, kinds: Mapping[Kind, Resource]
) -> Iterator[Manifest]:
    """Return the objects of charts, each with the namespace in which Helm makes it."""
    for release in releases:
        for item in rendered.by_release.get(release["name"], ()):
            resource = kinds.get(kind_of(item))
            metadata: Mapping[str, Any] = item["metadata"]
            if resource is not None and resource.namespaced and not metadata.get("namespace"):
                yield {**item, "metadata": {**metadata, "namespace": release["namespace"]}}
            else:
                yield item


def declared_kinds(objects: Sequence[Manifest]) -> dict[Kind, Resource]:
    """Return how the kinds of CustomResourceDefinitions among these objects will be served."""
    return {
        (f"{item['spec']['group']}/{version['name']}", item["spec"]["names"]["kind"]): Resource(
            item["spec"]["names"]["plural"], item["spec"]["scope"] == "Namespaced"
        )
        for item in objects
        if item["kind"] == "CustomResourceDefinition"
        for version in item["spec"]["versions"]
    }


def templates(item: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Return the pod templates of a workload, each with the number of its pods."""
    spec = part(item, "spec")
    if item["kind"] in ("Deployment", "StatefulSet", "ReplicaSet"):
        replicas = spec.get("replicas")
        yield spec["template"], 1 if replicas is None else int(replicas)
    elif item["kind"] in ("DaemonSet", "Job"):
        yield spec["template"], 1
    elif item["kind"] == "CronJob":
        yield spec["jobTemplate"]["spec"]["template"], 1


def pods_of(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the spec of the pods of a template."""
    return template.get("spec") or {}


__all__ = [
    "NAMESPACE",
    "Kind",
    "Probes",
    "Rendered",
    "Subject",
    "declared_kinds",
    "kind_of",
    "of_charts",
    "pods_of",
    "templates",
]
