"""Check gateways for contradictions in themselves and with each other. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ..arguments import repeated
from ..diagnostics import Diagnostic, one_of
from .gateway_api import MOST_LISTENERS, MOST_PARENTS
from .model import Gateway, Listener

HTTPS_PORT = 443


def check_gateway(gateway: Gateway, apis: Sequence[str], mesh: str, reserved: Collection[int]) -> Iterator[Diagnostic]:
    """Check one gateway.

    Args:
        gateway: The gateway.
        apis: The APIs of gateways that the mesh has.
        mesh: The mesh, for people.
        reserved: Ports that the pods of the mesh's own gateways need for themselves.
    """
    if gateway.api not in apis:
        yield Diagnostic("MSH407", f"{gateway.where}.api", gateway.api, f"{mesh} has no such gateways.", one_of(apis))
    elif gateway.api == "gateway-api" and not gateway.class_name:
        message = f"{mesh} has no gateway of its own, so a GatewayClass of another controller is needed."
        remedy = "Install a controller, such as Envoy Gateway, and name its GatewayClass in 'class'."
        yield Diagnostic("MSH407", f"{gateway.where}.class", None, message, "a GatewayClass on the cluster", remedy)
    yield from _check_listeners(gateway)
    if gateway.api == "gateway-api":
        yield from _check_gateway_api(gateway)
    for listener in gateway.listeners:
        if listener.port in reserved:
            message = f"The pods of the gateway use port {listener.port} themselves."
            yield Diagnostic("MSH420", f"{listener.where}.port", listener.port, message, "any other port")
        if listener.redirect and not any(_leads_to(listener, other) for other in gateway.listeners):
            message = f"Requests are sent on to port {HTTPS_PORT}, where no listener for https takes these hosts."
            remedy = f"Add a listener for https on port {HTTPS_PORT} with the hosts of this one."
            yield Diagnostic("MSH406", f"{listener.where}.redirect", "https", message, remedy=remedy)
        if listener.tls and listener.tls.min_version and gateway.api != "istio":
            message = "The Gateway API has no field for it."
            yield Diagnostic("MSH419", f"{listener.tls.where}.minVersion", listener.tls.min_version, message)


def _check_gateway_api(gateway: Gateway) -> Iterator[Diagnostic]:
    """Find what one object of the Gateway API does not take, and mutual TLS, which it has for whole ports."""
    hosts = sum(len(listener.hosts) for listener in gateway.listeners)
    if hosts > MOST_LISTENERS:
        message = f"Each host of a listener is a listener of its own in the Gateway API, so there are {hosts}."
        yield Diagnostic("MSH005", f"{gateway.where}.listeners", None, message, f"at most {MOST_LISTENERS}")
    first: dict[int, Listener] = {}
    for listener in gateway.listeners:
        if listener.redirect and len(listener.hosts) > MOST_PARENTS:
            message = "A redirect is one HTTPRoute, with each host as a parent."
            remedy = "Divide the hosts among several listeners of the port, or leave them out."
            path, allowed = f"{listener.where}.hosts", f"at most {MOST_PARENTS}"
            yield Diagnostic("MSH005", path, None, message, allowed, remedy)
        other = first.setdefault(listener.port, listener) if listener.tls else None
        if listener.tls and other and other.tls and listener.tls.client_ca != other.tls.client_ca:
            has = f"is {other.tls.client_ca}" if other.tls.client_ca else "is not set"
            message = f"The Gateway API has one authority of clients for a port, which {has} at {other.where}."
            path, value = f"{listener.tls.where}.clientCa", listener.tls.client_ca or None
            yield Diagnostic("MSH404", path, value, message, "the same for all listeners of a port", "Use other ports.")


def _leads_to(listener: Listener, other: Listener) -> bool:
    return other.protocol == "https" and other.port == HTTPS_PORT and any(other.takes(host) for host in listener.hosts)


def _check_listeners(gateway: Gateway) -> Iterator[Diagnostic]:
    """Find ports with two protocols, and hosts that two listeners of a port take."""
    ports: dict[int, Listener] = {}
    taken: dict[tuple[int, str], Listener] = {}
    for listener in gateway.listeners:
        first = ports.setdefault(listener.port, listener)
        # TLS that is ended and TLS that is passed on are told apart by the host that the client names (SNI).
        if (first.protocol == "http") != (listener.protocol == "http"):
            message = f"Port {listener.port} is {first.protocol} at {first.where}."
            yield Diagnostic("MSH404", f"{listener.where}.protocol", listener.protocol, message, first.protocol)
            continue
        yield from repeated(f"{listener.where}.hosts[{{}}]", listener.hosts)
        for host in listener.hosts:
            other = taken.setdefault((listener.port, host), listener)
            if other is not listener:
                message = f"{other.where} takes this host on port {listener.port} already."
                yield Diagnostic("MSH404", f"{listener.where}.hosts", host, message, "one listener for a host and port")
