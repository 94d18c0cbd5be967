"""What has to change in the cluster before a destination goes, so that no route names what is not there.

Pulumi changes destinations (subsets, per-version Services) before the routes that name them. That is right for new
ones. For those that go, it is the wrong way round: docs/decisions/0003-subsets-and-routes.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.manifests import Manifest, ObjectRef, object_ref
from components.meshes import MERGERS
from components.traffic import TrafficObject
from components.traffic.objects import Subset


@dataclass(frozen=True)
class Transition:
    """What to write, in this order, before destinations go. Pulumi then finds little left to change.

    Attributes:
        added: Destinations that the moved routes need and the cluster lacks; they still have the subsets that go.
        moved: Routes in their new form, which no longer name what goes.
        removed: Routes that are no longer wanted and name what goes.
    """

    added: tuple[Manifest, ...] = ()
    moved: tuple[Manifest, ...] = ()
    removed: tuple[ObjectRef, ...] = ()


def lost(old: Iterable[TrafficObject], new: Iterable[TrafficObject]) -> set[Subset]:
    """Return the destinations that objects offer no longer."""
    return _offered(old) - _offered(new)


def transition(planned: Sequence[TrafficObject], live: Sequence[TrafficObject]) -> Transition:
    """Decide what to write before destinations go.

    Args:
        planned: The traffic of the stack, as it is to be.
        live: The traffic of the stack, as it is in the cluster.
    """
    now, wanted = ({object_ref(item.manifest): item for item in side} for side in (live, planned))
    going = lost(live, planned)
    stuck = [ref for ref, item in now.items() if item.names & going]
    moved = [wanted[ref] for ref in stuck if ref in wanted]
    needed = {name for item in moved for name in item.names} - _offered(live)
    return Transition(
        added=tuple(
            MERGERS[ref[:2]](now[ref].manifest, item.manifest) if ref in now and ref[:2] in MERGERS else item.manifest
            for ref, item in wanted.items()
            if item.offers & needed
        ),
        moved=tuple(item.manifest for item in moved),
        removed=tuple(ref for ref in stuck if ref not in wanted),
    )


def _offered(items: Iterable[TrafficObject]) -> set[Subset]:
    return {subset for item in items for subset in item.offers}
