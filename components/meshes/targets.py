"""All that routes can be compiled to."""

from collections.abc import Mapping

from ..traffic.manifests import Manifest
from ..traffic.objects import TrafficObject
from ..traffic.targets import DataPlane, Target, readers
from .istio.targets import TARGETS as ISTIO_TARGETS
from .linkerd.targets import TARGETS as LINKERD_TARGETS

TARGETS: tuple[Target, ...] = (*ISTIO_TARGETS, *LINKERD_TARGETS)
"""Of each mesh in the order in which `api: auto` tries them."""
PLANES: Mapping[str, DataPlane] = {target.mesh: target.plane for target in TARGETS}
"""The data plane of each mesh, by its name."""
_READERS = readers(TARGETS)


def traffic_object(item: Manifest) -> TrafficObject:
    """Return an object that is on a cluster, with the destinations that it offers and names."""
    return _READERS.get(item["kind"], TrafficObject)(item)
