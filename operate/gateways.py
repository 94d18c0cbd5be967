"""`meshup explain --host`: what the gateways of a stack do with a request from outside; as plain data and as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from components.diagnostics import ConfigurationError, Diagnostic
from components.gateways.model import HOST, Gateway, Listener, covers, most_specific
from components.meshes import MESHES
from components.traffic import Compilation, patterns
from components.traffic.edge import Edge
from components.traffic.evaluate import Request, evaluate, policies
from components.traffic.proxies import Proxy
from components.traffic.targets import Planned


def host_of(written: str) -> str:
    """Return a host as a gateway compares it: in lower case, without a port (Envoy, ignore_port_in_host_matching)."""
    return re.sub(r":\d+$", "", written.lower())


def unknown_host(gateways: Sequence[Gateway], host: str) -> list[Diagnostic]:
    """Return the fault of a host that no listener takes, or nothing."""
    hosts = list(dict.fromkeys(own for gateway in gateways for one in gateway.listeners for own in one.hosts))
    if not HOST.fullmatch(host) or host.startswith("*"):
        return [Diagnostic("MSH006", "--host", host, "This is no host that a caller can name.", "a DNS name")]
    if any(covers(own, host) for own in hosts):
        return []
    message = "No listener of the stack's gateways takes this host."
    return [
        Diagnostic("MSH402", "--host", host, message, f"hosts of listeners: {', '.join(hosts) or 'there are none'}")
    ]


def decide(
    compilation: Compilation, gateways: Sequence[Gateway], host: str, request: Request, proxy: Proxy | None = None
) -> list[dict[str, Any]]:
    """Decide a request from outside at each listener that takes its host.

    Args:
        compilation: The compiled routes, without an error.
        gateways: The gateways of the stack.
        host: The host that the caller names.
        request: The request.
        proxy: How the proxies of the mesh's version read requests.

    Raises:
        ConfigurationError: It takes too many steps (MSH163).
    """

    def decided(edge: Edge, plan: Planned) -> dict[str, Any]:
        return _decided(edge, plan, request, proxy)

    entries: list[dict[str, Any]] = []
    for gateway in gateways:
        for listener in _taking(gateway, host):
            what = (
                {"redirect": {"status": 301, "location": f"https://{host}{request.path}"}}
                if listener.redirect
                else _at(compilation, gateway, listener, host, decided)
            )
            place = {"gateway": gateway.name, "listener": listener.name}
            entries.append({**place, "port": listener.port, "protocol": listener.protocol, **what})
    return entries


def _taking(gateway: Gateway, host: str) -> Iterator[Listener]:
    """Yield the listener of each port that takes a host: the one whose host is the most specific."""
    for port in dict.fromkeys(listener.port for listener in gateway.listeners):
        own = {name: one for one in gateway.listeners if one.port == port for name in one.hosts}
        if taken := most_specific(host, own):
            yield own[taken]


def _at(
    compilation: Compilation,
    gateway: Gateway,
    listener: Listener,
    host: str,
    decided: Callable[[Edge, Planned], dict[str, Any]],
) -> dict[str, Any]:
    tls = {"tls": {"secret": listener.tls.secret, "mutual": bool(listener.tls.client_ca)}} if listener.tls else {}
    by_host = {edge.host: (edge, plan) for edge, plan in compilation.edges if edge.gateway.name == gateway.name}
    # A route whose host is wider than that of the listener takes what the listener takes.
    named = most_specific(host, (name for name in by_host if listener.takes(name)))
    if not named:
        return {**tls, "route": None, "reason": "No route takes this host: the answer is 404."}
    edge, plan = by_host[named]
    if listener.protocol == "tls":
        route = edge.owners[0]
        backends = [{"name": route.service.name, "weight": 100}]
        reason = "TLS is passed on unread, by the host that the client names (SNI)."
        return {"route": route.key, "host": named, "reason": reason, "backends": backends}
    return {**tls, "host": named, **decided(edge, plan)}


def _decided(edge: Edge, plan: Planned, request: Request, proxy: Proxy | None) -> dict[str, Any]:
    try:
        decision = evaluate(plan, request, proxy)
    except patterns.TooMuchWork:
        message = f"To decide the request takes more than {patterns.MOST_STEPS:,} steps."
        raise ConfigurationError([Diagnostic("MSH163", plan.route.where, None, message)]) from None
    passed = [{"rule": name, "because": why} for name, why in decision.passed]
    if decision.rule is None:
        return {"route": None, "reason": decision.reason, "passed": passed}
    owner = edge.owners[[rule.name for rule in edge.route.rules].index(decision.rule.name)]
    return {
        "route": owner.key,
        "rule": decision.rule.name,
        "reason": decision.reason,
        "backends": [
            {"name": backend.destination.label_for(owner.service), "weight": backend.weight}
            for backend in decision.rule.backends
        ],
        "policies": list(policies(owner, decision.rule)),
        "passed": passed,
    }


def split_by(gateways: Sequence[Gateway], mesh: str) -> list[str]:
    """Say who splits the requests, where that is not the mesh."""
    return [
        f"The controller of the GatewayClass {gateway.class_name} reads the routes of '{gateway.name}' and splits the "
        "requests over the Services of the versions; the mesh takes them from there."
        for gateway in gateways
        if gateway.api == "gateway-api" and gateway.class_name != MESHES[mesh].gateway_class
    ]


def show(entry: dict[str, Any], console: Console) -> None:
    """Print what the gateways do with a request, for people."""
    console.print(Text(f"{entry['host']}{entry['path']}", style="bold"))
    for listener in entry["listeners"]:
        for line in _lines(listener):
            console.print(Text(line))
    for note in entry["notes"]:
        console.print(Text(note, style="dim"))


def _lines(entry: dict[str, Any]) -> Iterator[str]:
    yield f"gateway {entry['gateway']}, port {entry['port']} ({entry['protocol']})"
    if "redirect" in entry:
        yield f"  {entry['redirect']['status']} to {entry['redirect']['location']}"
        return
    if "tls" in entry:
        mutual = ", and asks the client for a certificate" if entry["tls"]["mutual"] else ""
        yield f"  ends TLS with the Secret {entry['tls']['secret']}{mutual}"
    if entry["route"] is None:
        yield f"  {entry['reason']}"
        return
    rule = f", rule '{entry['rule']}'" if "rule" in entry else ""
    yield f"  route '{entry['route']}'{rule}: {entry['reason']}"
    if entry["backends"]:
        yield "  goes to " + ", ".join(f"{one['name']} {one['weight']}%" for one in entry["backends"])
    if entry.get("policies"):
        yield f"  with {', '.join(entry['policies'])}"
