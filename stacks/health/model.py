"""What checks after an `up` are made of: a plan, a view of the cluster, and answers of it, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from components.manifests import Manifest, ObjectRef, object_ref
from components.meshes import MESHES
from components.meshes.interface import Mesh
from stacks.cluster import ClusterView
from stacks.plan import Plan

NAMESPACE = ("v1", "Namespace")


@dataclass(frozen=True)
class Subject:
    """A stack and its cluster after an `up`.

    Attributes:
        plan: What the stack has.
        owner: The stack, organisation/project/stack.
        view: The cluster.
        defaulted: Objects of the plan as the API server would store them, with its defaults, as far as it was asked.
    """

    plan: Plan
    owner: str
    view: ClusterView
    defaulted: Mapping[ObjectRef, Manifest] = field(default_factory=dict[ObjectRef, Manifest])

    @property
    def mesh(self) -> Mesh[Any]:
        """The mesh."""
        return MESHES[self.plan.mesh.name]

    @property
    def control_plane(self) -> str:
        """The namespace of the control plane."""
        return str(self.plan.mesh.output["namespace"])

    @cached_property
    def existing(self) -> Mapping[str, Mapping[str, Any]]:
        """The metadata of the namespaces of the cluster, by name."""
        return {item["name"]: item for item in self.view.metadata(*NAMESPACE)}

    @cached_property
    def meshed(self) -> Mapping[str, str]:
        """The namespaces whose pods have a sidecar, each with the revision that injects."""
        own = str(self.plan.mesh.output["revision"])
        joined = {item.name: item.revision for item in self.plan.joined if item.inject}
        return {app.namespace: own for app in self.plan.apps} | joined

    @cached_property
    def governing(self) -> Sequence[Manifest]:
        """The objects of the plan that say what the mesh does: routes, policies, gateways, telemetry."""
        plan = self.plan
        return [
            *plan.mesh.objects,
            *plan.security.manifests,
            *plan.telemetry.objects,
            *plan.gateways.objects,
            *(item for joined in plan.joined for item in joined.objects),
            *plan.delivery.objects,
        ]

    @cached_property
    def pairs(self) -> Sequence[tuple[Manifest, Manifest | None]]:
        """The objects of `governing`, each with that of the cluster; None if it is not there or can't be read."""
        refs = [object_ref(item) for item in self.governing]
        lists = {
            place: {item["metadata"]["name"]: item for item in self.view.objects(*place)}
            for place in sorted({(ref.api_version, ref.kind, ref.namespace) for ref in refs})
        }
        found = [lists[ref.api_version, ref.kind, ref.namespace].get(ref.name) for ref in refs]
        return list(zip(self.governing, found, strict=True))


__all__ = ["NAMESPACE", "Subject"]
