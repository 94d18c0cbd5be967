"""How a namespace joins an Istio mesh."""

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
