"""What is said of objects of somebody else that decide requests beside a policy, or in its place."""

from __future__ import annotations

from ..diagnostics import Diagnostic
from ..manifests import Manifest, object_ref


def allowed_by(item: Manifest, other: Manifest) -> Diagnostic:
    """Return the diagnostic for an object of somebody else that allows requests which an object of the policy closes.

    Args:
        item: The object of the policy.
        other: The object of somebody else.
    """
    message = f"It allows callers of the same pods, whatever {object_ref(item)} of this stack says."
    return Diagnostic("MSH572", str(object_ref(other)), None, message, severity="warning")


def denied_by(item: Manifest, other: Manifest, how: str) -> Diagnostic:
    """Return the diagnostic for an object of somebody else that may deny what an object of the policy allows.

    Args:
        item: The object of the policy.
        other: The object of somebody else.
        how: What it does with them, in the words of the mesh.
    """
    message = f"It decides on callers of the same pods first ({how}), whatever {object_ref(item)} of this stack allows."
    return Diagnostic("MSH573", str(object_ref(other)), None, message, severity="warning")


def decided_by(item: Manifest, other: Manifest) -> Diagnostic:
    """Return the diagnostic for two objects of which a mesh follows the older one.

    Args:
        item: The object of the policy.
        other: The object of somebody else.
    """
    message = f"It is for the same pods as {object_ref(item)} of this stack, and the mesh follows the older of both."
    return Diagnostic("MSH574", str(object_ref(other)), None, message, "one object for the same pods")


def narrowed_by(item: Manifest, other: Manifest) -> Diagnostic:
    """Return the diagnostic for an object of somebody else that wins for some pods over one for more of them.

    Args:
        item: The object of the policy.
        other: The object of somebody else.
    """
    message = f"It wins over {object_ref(item)} of this stack for the pods that it selects."
    return Diagnostic("MSH574", str(object_ref(other)), None, message, severity="warning")
