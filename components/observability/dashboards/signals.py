"""Panels of the signals that not every source has: how each is shown, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..mesh_alerts import DAY, HOUR
from ..source import MetricsSource, Signal
from .panels import BLUE, GREEN, GREY, ORANGE, RED, YELLOW, Column, Line, Panel, Unit, lines, note, number, rows


class _Shown(NamedTuple):
    """How a signal is shown as lines.

    Attributes:
        title: The title of its panel.
        unit: Of its values.
        about: What is seen.
    """

    title: str
    unit: Unit
    about: str


_LINES: Mapping[Signal, _Shown] = {
    "clients": _Shown("Requests by client", "reqps", "Who calls this Service, as its callers' proxies count."),
    "attempts": _Shown("Requests and attempts", "reqps", "Attempts above the requests of clients are retries."),
    "retries": _Shown("Retries", "reqps", "Requests that were sent again, and what came of it."),
    "timeouts": _Shown("Timeouts", "reqps", "Requests that got no answer in the time that the route gives."),
    "ejected": _Shown("Endpoints", "short", "Endpoints that the circuit breaker took out, summed over all clients."),
    "overflow": _Shown("Requests that reached no endpoint", "reqps", "Why a proxy refused to send a request on."),
    "rate_limited": _Shown("Refused by rate limits", "reqps", "Requests above the rate limit of a Service."),
    "faults": _Shown("Injected faults", "reqps", "Requests that a route failed or delayed on purpose."),
    "denials": _Shown("Denials", "reqps", "Requests that a policy denied, by who was called."),
    "authorizations": _Shown(
        "Requests by what allowed them", "reqps", "Requests by the authorization that let them in."
    ),
    "renewals": _Shown("Certificates in five minutes", "short", "Certificates that the issuer signed, or refused to."),
    "proxy_versions": _Shown("Proxies by version", "short", "Proxies that are connected to the control plane."),
    "pushes": _Shown("Pushes", "ops", "Configuration that is sent to proxies, by type; `senderr` was not received."),
    "push_delay": _Shown("Delay of a change", "s", "How long a change takes until the mesh has it."),
    "rejections": _Shown(
        "Configuration that was not taken", "short", "In five minutes. Proxies go on with what they had."
    ),
    "validations": _Shown(
        "Objects validated", "short", "Objects of the mesh that the admission webhook saw, in five minutes."
    ),
    "injections": _Shown("Pods injected", "short", "Pods that the injector saw, in five minutes."),
    "control_plane_cpu": _Shown("CPU of the control plane", "short", "Cores."),
    "control_plane_memory": _Shown("Memory of the control plane", "bytes", "Resident memory."),
    "proxy_memory": _Shown("Memory of the proxies", "bytes", "What the sidecars cost."),
}
_EXPIRY = ((RED, None), (ORANGE, 60 * DAY), (GREEN, 90 * DAY))
_WORDS: Mapping[Signal, str] = {
    "mutual_tls": "the share of mutual TLS",
    "mutual_tls_edges": "mutual TLS by client and Service",
    "certificates": "the end of a pod's certificate",
    "issuer": "the end of the issuer's certificate",
    "trust_anchor": "the end of the trust anchor",
    "ejected": "endpoints that a circuit breaker took out",
}
_GOOD = (
    Line("(issued|valid|with a sidecar|succeeded by a retry|ready.*|requests of clients)", GREEN),
    Line("(refused|failed|taken out|given up).*", RED),
    Line("(attempts|retried|received by servers)", BLUE),
    Line("(without, as asked for|all, as .*)", GREY),
    Line("(no healthy|no endpoint|no response|not retried).*", ORANGE),
    Line("(no connection|the connection ended|idle)", YELLOW),
    Line("delayed.*", YELLOW),
)


def panels(source: MetricsSource, *signals: Signal, width: int = 12) -> list[Panel]:
    """Return panels for those signals that a source has."""
    known = source.signals()
    return [_panel(source, signal, width) for signal in signals if signal in known]


def missing(source: MetricsSource, *signals: Signal) -> list[Panel]:
    """Return a note on the signals that a source does not have; nothing if it has all."""
    known = source.signals()
    lacking = [_word(signal) for signal in signals if signal not in known]
    if not lacking:
        return []
    words = lacking[0] if len(lacking) == 1 else f"{', '.join(lacking[:-1])} and {lacking[-1]}"
    name = source.title[0].upper() + source.title[1:]
    return [note("Not measured", f"{name} do not tell {words}.")]


def _word(signal: Signal) -> str:
    return _WORDS.get(signal) or _LINES[signal].title.lower()


def _panel(source: MetricsSource, signal: Signal, width: int) -> Panel:
    queries = source.signals()[signal]
    shown = _LINES.get(signal)
    if shown is not None:
        styles: Sequence[Line] = () if signal in {"clients", "denials", "proxy_versions"} else _GOOD
        return lines(shown.title, shown.unit, queries, shown.about, width=width, styles=styles)
    (query,) = queries
    if signal == "certificates":
        return rows(
            "Certificates that end first",
            [Column("left", "s", query._replace(expr=f"bottomk(20, {query.expr})"))],
            "Proxies renew their certificates by themselves, long before they end.",
            labels={"namespace": "namespace", "pod": "pod"},
            sort="left",
            colors={"left": ((RED, None), (ORANGE, 6 * HOUR), (GREEN, 12 * HOUR))},
            width=width,
        )
    if signal == "mutual_tls_edges":
        return rows(
            "Mutual TLS by client and Service",
            [Column("mutual TLS", "percentunit", query)],
            "The share of the requests that came by mutual TLS, as the servers see them, with those of clients that "
            "have no sidecar.",
            labels={
                "client_namespace": "client's namespace",
                "client": "client",
                "namespace": "namespace",
                "service": "service",
            },
            sort="mutual TLS",
            colors={"mutual TLS": ((RED, None), (YELLOW, 0.9), (GREEN, 1))},
            width=width,
        )
    if signal == "mutual_tls":
        steps = ((RED, None), (YELLOW, 0.9), (GREEN, 1))
        about = "The share of the requests that came by mutual TLS, as the servers see them."
        return number("Mutual TLS", "percentunit", query, about, steps=steps, width=width)
    title = "Trust anchor ends in" if signal == "trust_anchor" else "Issuer ends in"
    return number(title, "s", query, "The certificate that signs others.", steps=_EXPIRY, width=width)
