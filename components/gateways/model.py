"""The model of gateways, independent of mesh and API. Plain frozen data, without Pulumi: the routing core uses it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..diagnostics.validation import refused

GatewayApi = Literal["istio", "gateway-api"]
Protocol = Literal["http", "https", "tls"]
EVERY_HOST = "*"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST = re.compile(rf"\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
"""A DNS name, one with `*.` in front, or `*`."""
LONGEST_HOST = 180
"""The host is part of the name of an object, of at most 253 characters."""


def _public_host(host: str) -> str:
    allowed = "a DNS name in lower case, '*.' and a DNS name, or '*'"
    if not HOST.fullmatch(host):
        raise refused("MSH006", "This is not a host that callers from outside can use.", allowed)
    if host.rpartition(".")[2].isdecimal():
        raise refused("MSH006", "A gateway takes no address here, only a name.", allowed, "Use '*' for every host.")
    return host


PublicHost = Annotated[
    str,
    Field(max_length=LONGEST_HOST, json_schema_extra={"pattern": f"^({HOST.pattern})$"}),
    AfterValidator(_public_host),
]
"""A host that callers from outside use. `*.` in front takes all names below it, at any depth."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """The issuer of cert-manager that signs a certificate."""

    name: str
    kind: Literal["Issuer", "ClusterIssuer"]


@dataclass(frozen=True, slots=True)
class Tls:
    """How a listener ends TLS.

    Attributes:
        secret: The Secret with certificate and key, in the namespace of the gateway.
        files: The files with certificate and key from which the Secret is made; None if it is made elsewhere.
        issuer: The issuer that cert-manager asks for the Secret; None if it is made elsewhere.
        client_ca: The Secret with the certificate authority of clients; "" if clients need no certificate.
        min_version: The oldest version of TLS; "" for the proxy's own.
        where: Path in the configuration.
    """

    secret: str
    files: tuple[str, str] | None = None
    issuer: Issuer | None = None
    client_ca: str = ""
    min_version: Literal["", "1.2", "1.3"] = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """A port of a gateway, for some hosts.

    Attributes:
        name: Unique in the gateway, such as `https-443`.
        port: The port that callers use.
        protocol: `tls` is passed on unread.
        hosts: The hosts that it takes; `*` is every host.
        tls: How TLS ends; None unless the protocol is `https`.
        redirect: Whether every request is sent on to HTTPS.
        where: Path in the configuration.
    """

    name: str
    port: int
    protocol: Protocol
    hosts: tuple[str, ...] = (EVERY_HOST,)
    tls: Tls | None = None
    redirect: bool = False
    where: str = ""

    def takes(self, host: str) -> bool:
        """Return True if some name of a host or a wildcard comes in here."""
        return any(covers(own, host) or covers(host, own) for own in self.hosts)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway.

    Attributes:
        name: Its name, in the configuration and on the cluster.
        namespace: Its namespace.
        api: The API that it is declared in; routes must be compiled to the same.
        class_name: Its GatewayClass, "" with `api` istio.
        listeners: Its listeners; none if only its pods are wanted.
        service: The name of its Service; "" if the controller of its class chooses it, or there is none.
        where: Path in the configuration.
    """

    name: str
    namespace: str
    api: GatewayApi
    class_name: str = ""
    listeners: tuple[Listener, ...] = ()
    service: str = ""
    where: str = ""

    def serving(self, host: str) -> list[Listener]:
        """Return the listeners whose requests for a host go to routes."""
        return [one for one in self.listeners if not one.redirect and one.takes(host)]


def covers(wide: str, narrow: str) -> bool:
    """Return True if every name of a host or a wildcard is one of another."""
    if wide in (EVERY_HOST, narrow):
        return True
    return wide.startswith("*.") and narrow.removeprefix("*").endswith(wide[1:])


def most_specific(host: str, among: Iterable[str]) -> str:
    """Return which host or wildcard takes a request for a host, as a gateway decides it; "" for none."""
    return max((one for one in among if covers(one, host)), key=lambda one: (one == host, len(one)), default="")


def host_name(host: str) -> str:
    """Return a host as a part of the name of an object. A wildcard and a host never get the same."""
    return "any" if host == EVERY_HOST else f"any.{host[2:]}" if host.startswith("*.") else f"host.{host}"


def url(listener: Listener, host: str) -> str:
    """Return where callers find a host at a listener; "" if TLS is passed on unread, or the host is a wildcard."""
    default = {"http": 80, "https": 443}.get(listener.protocol)
    if default is None or host.startswith("*"):
        return ""
    return f"{listener.protocol}://{host}" + ("" if listener.port == default else f":{listener.port}") + "/"
