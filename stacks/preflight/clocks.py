"""Whether the clocks of this machine, of the API server and of the nodes agree. Pure.

Certificates are made and judged by three clocks. One that is behind takes a new certificate for one of the future.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from components.diagnostics import Diagnostic
from stacks.checking import Check

from .model import Subject

TOLERATED = 20
"""Seconds: Linkerd's issuer allows for that (chart linkerd-control-plane, identity.issuer.clockSkewAllowance)."""
STALE = 310
"""Seconds after which `linkerd check` takes a node's heartbeat for late: five minutes, and 10 seconds of tolerance."""
LEASES = ("coordination.k8s.io/v1", "Lease", "kube-node-lease")


def _run(subject: Subject) -> list[Diagnostic]:
    return [*_own(subject.probes.ahead), *_nodes(subject)]


def _own(ahead: float | None) -> list[Diagnostic]:
    if ahead is None or abs(ahead) <= TOLERATED:
        return []
    which = "ahead of" if ahead > 0 else "behind"
    message = f"The clock of the API server is {abs(ahead):.0f} s {which} the one of this machine."
    return [
        Diagnostic("MSH730", "clock", None, message, f"at most {TOLERATED} s", severity="warning", command="date --utc")
    ]


def _nodes(subject: Subject) -> list[Diagnostic]:
    """Compare the heartbeats of the nodes with the API server's clock."""
    now = subject.probes.now + (subject.probes.ahead or 0)
    diagnostics: list[Diagnostic] = []
    for lease in subject.view.if_allowed(*LEASES):
        spec: Mapping[str, Any] = lease.get("spec") or {}
        written = _seconds(spec.get("renewTime"))
        name = lease["metadata"]["name"]
        if written is None or -TOLERATED <= now - written <= STALE:
            continue
        ahead = written > now
        message = (
            f"Its kubelet has written the time {written - now:.0f} s ahead of the API server's."
            if ahead
            else f"Its kubelet has last written {now - written:.0f} s ago, by the API server's clock."
        )
        command = f"kubectl --namespace {LEASES[2]} get lease {name} --output yaml"
        allowed = f"at most {TOLERATED} s ahead, {STALE} s behind"
        diagnostics.append(
            Diagnostic("MSH731", f"Node/{name}", None, message, allowed, severity="warning", command=command)
        )
    return diagnostics


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


CLOCKS = Check("clocks", "The clocks of this machine, the API server and the nodes agree", ("MSH730", "MSH731"), _run)
