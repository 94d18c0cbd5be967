"""The interface: a `TelemetryPlane` is what a mesh does with traces and access logs, in its folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..diagnostics import Diagnostic
from ..diagnostics.report import Severity
from ..manifests import Manifest
from .model import TRACING, Asked, Collector


@dataclass(frozen=True)
class Home:
    """The mesh that traces and logs.

    Attributes:
        namespace: The namespace of its control plane.
        domain: The DNS domain of the cluster.
        installed: Whether this stack installs it.
        providers: Names of the providers of one that somebody else has installed; None if they are not known.
    """

    namespace: str
    domain: str
    installed: bool = True
    providers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TelemetryPlan:
    """What makes proxies trace and log, beside the values of the mesh: plain data.

    Attributes:
        objects: Objects of the mesh.
        annotations: Annotations of namespaces, by namespace.
        diagnostics: What is wrong, or worth knowing.
    """

    objects: tuple[Manifest, ...] = ()
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    diagnostics: tuple[Diagnostic, ...] = ()


class TelemetryPlane(ABC):
    """What a mesh does with traces and access logs.

    Attributes:
        title: For people.
        refusals: What it can't do: name of the feature (capability.py) -> reason.
    """

    title: str
    refusals: Mapping[str, str]

    def is_current(self, pod: Manifest, annotations: Mapping[str, str]) -> bool:
        """Return whether the proxy of a live pod does what the annotations of its namespace say."""
        del pod, annotations
        return True

    @abstractmethod
    def write(self, asked: Asked, home: Home, namespaces: Sequence[str]) -> TelemetryPlan:
        """Write the objects and annotations.

        Args:
            asked: What the stack asks for; nothing that is refused.
            home: The mesh.
            namespaces: The namespaces of the stack whose pods are in the mesh.
        """


def not_to_be_told(to: Collector, allowed: str) -> Diagnostic:
    """Return the diagnostic of a collector that a mesh of somebody else is not told of; an add-on is installed anyway.

    Args:
        to: The collector.
        allowed: What is allowed in its place.
    """
    message = "Where spans go to is a setting of the mesh, which somebody else has installed."
    severity: Severity = "error" if to.path.startswith(TRACING) else "warning"
    return Diagnostic("MSH642", to.path, None, message, allowed, severity=severity)
