"""The meshes: one folder and one object for each."""

from collections.abc import Mapping
from typing import Any

from .interface import Mesh
from .istio.mesh import IstioMesh
from .linkerd.mesh import LinkerdMesh

MESHES: Mapping[str, Mesh[Any]] = {mesh.name: mesh for mesh in (IstioMesh(), LinkerdMesh())}
"""By the name that `meshup:mesh` has. The first one is the default."""
