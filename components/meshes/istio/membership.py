"""How a namespace joins an Istio mesh."""

from collections.abc import Mapping
from typing import Any, cast

from ...arguments import Arguments
from ...scalars import Revision
from ..interface import Membership

INJECTION, REVISION = "istio-injection", "istio.io/rev"


class IstioMembership(Arguments):
    """Arguments of a namespace that are Istio's."""

    revision: Revision | None = None
    """Istio: the revision or revision tag whose control plane injects. Without it, the default revision does."""


def join(args: IstioMembership) -> Membership:
    """Return the label by which a namespace joins.

    Istio reads `istio-injection` before `istio.io/rev`, so a namespace with both ignores its revision (istioctl analyze
    IST0123): it gets exactly one of them.
    """
    return Membership({REVISION: args.revision} if args.revision else {INJECTION: "enabled"})


def is_member(metadata: Mapping[str, Any], revision: str) -> bool:
    """Return whether the control plane of a revision, or of a tag, injects into the pods of a live namespace.

    `istio-injection`, whatever its value, hides `istio.io/rev`; its `enabled` asks for the revision or tag `default`
    (chart istio-discovery, templates/mutatingwebhook.yaml and revision-tags-mwc.yaml).
    """
    labels = cast("Mapping[str, str]", metadata.get("labels") or {})
    if INJECTION in labels:
        return labels[INJECTION] == "enabled" and revision in ("", "default")
    return labels.get(REVISION) == (revision or "default")
