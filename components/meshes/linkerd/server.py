"""The Server of a port of some pods (policy.linkerd.io/v1beta3), edge-26.8.3.

Linkerd's webhook refuses a second Server for the same port of the same pods, so every feature that needs one asks for
it here, and gets one object for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...diagnostics import Diagnostic
from ...manifests import Manifest, manifest
from ...traffic.model import Mtls, Port, Service

API_VERSION = "policy.linkerd.io/v1beta3"
ACCESS_POLICY: dict[Mtls, str] = {"strict": "all-authenticated", "permissive": "all-unauthenticated"}
"""Who a Server admits (Linkerd, Server accessPolicy): what proxy.defaultInboundPolicy is for the whole mesh."""


@dataclass(slots=True)
class Server:
    """The Server of a port of some pods.

    Attributes:
        service: The Service that selects the pods, of those which asked for it the first one.
        port: The port of that Service, or one of the pods only.
        access: Whom it admits; "" for those whom the mesh admits.
        keys: What asked for it.
    """

    service: Service
    port: Port
    access: str = ""
    keys: list[str] = field(default_factory=list[str])

    @property
    def name(self) -> str:
        """Name of the object. A port of the pods that is none of the Service may have the number of one that is."""
        declared = self.port in self.service.ports
        return f"{self.service.name}-{self.port.number}" + ("" if declared else "-pod")


class Servers:
    """The Servers of a stack.

    A Server takes the place of the mesh's default for its pods, and admits nobody unless it is told to. So it says what
    the mesh says, unless something asks for more.
    """

    def __init__(self, mtls: Mtls) -> None:
        self.mtls: Mtls = mtls
        self.diagnostics: list[Diagnostic] = []
        self._servers: dict[tuple[str, frozenset[tuple[str, str]], int], Server] = {}

    def want(self, service: Service, port: Port, key: str, where: str, access: str = "") -> Server:
        """Ask for the Server of a port. All must have asked before the first one is written.

        Args:
            service: The Service that selects the pods.
            port: The port of it, or one of the pods only.
            key: The route, or whatever asks for it.
            where: Path in the configuration of what asks for it.
            access: Whom it must admit; "" for no wish.
        """
        pods = (service.namespace, frozenset(service.selector), port.container)
        server = self._servers.setdefault(pods, Server(service, port))
        if access and server.access not in ("", access):
            message = f"'{server.keys[0]}' admits {server.access} to port {port.container} of the same pods."
            remedy = "Let both admit the same clients."
            self.diagnostics.append(Diagnostic("MSH127", where, access, message, server.access, remedy))
        server.access = server.access or access
        server.keys.append(key)
        return server

    def write(self, server: Server) -> Manifest:
        """Write a Server."""
        spec = {
            "podSelector": {"matchLabels": dict(server.service.selector)},
            "port": server.port.container,
            "accessPolicy": server.access or ACCESS_POLICY[self.mtls],
        }
        return manifest(API_VERSION, "Server", server.name, server.service.namespace, spec)
