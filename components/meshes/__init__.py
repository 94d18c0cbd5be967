"""The meshes: one folder and one object for each."""

from collections.abc import Mapping
from typing import Any

from ..manifests import Manifest
from ..traffic.objects import TrafficObject
from ..traffic.targets import Target, readers
from .interface import Mesh
from .istio.mesh import IstioMesh
from .linkerd.mesh import LinkerdMesh

MESHES: Mapping[str, Mesh[Any]] = {mesh.name: mesh for mesh in (IstioMesh(), LinkerdMesh())}
"""By the name that `meshup:mesh` has. The first one is the default."""
TARGETS: tuple[Target, ...] = tuple(target for mesh in MESHES.values() for target in mesh.targets)
"""All that routes can be compiled to."""
_READERS = readers(TARGETS)
MERGERS = {kind: merge for target in TARGETS for kind, merge in target.plane.mergers.items()}
"""How an object keeps the destinations that only its former self has, by its apiVersion and kind."""


def traffic_object(item: Manifest) -> TrafficObject:
    """Return an object that is on a cluster, with the destinations that it offers and names."""
    return _READERS.get(item["kind"], TrafficObject)(item)
