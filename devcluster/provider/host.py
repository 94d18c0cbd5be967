"""What the provider says to the engine while it works."""

from __future__ import annotations

import threading
from typing import Any, Protocol, cast

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class Log(Protocol):
    """Where an operation on one resource reports."""

    def status(self, text: str, *, warning: bool = False) -> None:
        """Show a passing status; the empty text clears it."""
        ...

    def warn(self, text: str) -> None:
        """Record a warning."""
        ...


class Host:
    """The engine's log service."""

    def __init__(self, address: str) -> None:
        self._stub = cast("Any", engine_pb2_grpc.EngineStub(grpc.insecure_channel(address)))

    def send(self, urn: str, text: str, severity: engine_pb2.LogSeverity.ValueType, *, ephemeral: bool) -> None:
        """Send one message; an engine that is gone is no reason to fail."""
        request = engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=ephemeral)
        try:
            self._stub.Log(request, timeout=5)
        except grpc.RpcError:
            return

    def for_resource(self, urn: str) -> ResourceLog:
        """Return the log of one operation."""
        return ResourceLog(self, urn)


class ResourceLog:
    """The log of one operation on one resource: shows nothing twice."""

    def __init__(self, host: Host, urn: str) -> None:
        self._host = host
        self._urn = urn
        self._shown = set[str]()
        self._lock = threading.Lock()

    def status(self, text: str, *, warning: bool = False) -> None:
        """Show a passing status, once; the empty text clears it."""
        with self._lock:
            if text in self._shown:
                return
            self._shown = (self._shown - {""}) | {text} if text else {""}
        severity = engine_pb2.WARNING if warning else engine_pb2.INFO
        self._host.send(self._urn, text, severity, ephemeral=True)

    def warn(self, text: str) -> None:
        """Record a warning."""
        self._host.send(self._urn, text, engine_pb2.WARNING, ephemeral=False)
