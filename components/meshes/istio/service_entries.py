"""Hosts outside of the mesh -> ServiceEntry (networking.istio.io/v1), Istio 1.30: those of routes and of policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from ...manifests import Manifest, manifest
from .destination_rule import API_VERSION


class ExternalHost(Protocol):
    """A host with a port."""

    @property
    def host(self) -> str:
        """A DNS name; `*.` may lead it."""
        ...

    @property
    def port(self) -> int:
        """The port."""
        ...

    @property
    def protocol(self) -> str:
        """What is spoken there, as a ServiceEntry names it."""
        ...


def service_entries(namespace: str, hosts: Iterable[ExternalHost], name: Callable[[str], str]) -> Iterator[Manifest]:
    """Write a ServiceEntry for each host, for the workloads of one namespace.

    Args:
        namespace: The namespace.
        hosts: The hosts; each port of a host counts once.
        name: Returns the name of the object for a host.
    """
    by_host: dict[str, dict[int, ExternalHost]] = {}
    for one in hosts:
        by_host.setdefault(one.host, {}).setdefault(one.port, one)
    for host, ports in by_host.items():
        spec: Manifest = {
            "hosts": [host],
            "location": "MESH_EXTERNAL",
            # A wildcard has no address that could be looked up.
            "resolution": "NONE" if host.startswith("*") else "DNS",
            "ports": [
                {"number": number, "name": f"{one.protocol.lower()}-{number}", "protocol": one.protocol}
                for number, one in sorted(ports.items())
            ],
            "exportTo": ["."],
        }
        # MSH159 and MSH555 say what IST0134 says: without an address, Istio takes every connection on the port.
        tcp = any(one.protocol == "TCP" for one in ports.values())
        answered = {"galley.istio.io/analyze-suppress": "IST0134"} if tcp else None
        yield manifest(API_VERSION, "ServiceEntry", name(host), namespace, spec, annotations=answered)
