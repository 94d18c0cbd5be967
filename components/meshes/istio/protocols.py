"""Which protocol Istio 1.30 reads at a port of a Service (pkg/config/kube/conversion.go)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...traffic.checks import HTTP_PREFIXES, OPAQUE_PREFIXES
from ...traffic.model import Port
from ...traffic.proxies import PortReading

_STANDARD_PROTOCOLS = {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https"}
"""What Istio reads in values of appProtocol that Kubernetes reserves."""
_SERVER_FIRST = (25, 53, 3306, 27017)
"""Ports that Istio takes for TCP unless name or appProtocol say otherwise (istio.io, Protocol Selection)."""


def read_port(port: Mapping[str, Any]) -> PortReading:
    """Select the protocol of a port, as `spec.ports` of a Service has it: by appProtocol, else by the name."""
    if port.get("protocol", "TCP") != "TCP":
        return PortReading("connections", f"its protocol is {port['protocol']}")
    declared = str(port.get("appProtocol") or "")
    text = declared or str(port.get("name") or "")
    where = f"its appProtocol is {declared}" if declared else f"its name is {text}" if text else "it has no name"
    word = _STANDARD_PROTOCOLS.get(declared, text).lower()
    word = "grpc-web" if word.startswith("grpc-web") else word.partition("-")[0]
    if word in HTTP_PREFIXES:
        return PortReading("requests", where)
    if word in OPAQUE_PREFIXES:
        return PortReading("connections", where)
    if port["port"] in _SERVER_FIRST:
        return PortReading("connections", f"Istio takes port {port['port']} for TCP, and {where}")
    return PortReading("detected", f"{where}, which names no protocol" if text else f"{where} and no appProtocol")


def reading(port: Port) -> PortReading:
    """Select the protocol of a known port."""
    return read_port({"port": port.number, "name": port.name, "appProtocol": port.app_protocol})
