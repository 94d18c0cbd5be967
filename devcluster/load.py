"""Sends HTTP requests one after another over one kept-alive connection and counts who answered.

Standard library only. It runs in a pod's network namespace, where the sidecar intercepts the requests, or in the
cluster's own, from where they go to a gateway, by TLS if a server name is given. It gives up after 20 requests in a row
without any answer. Prints one JSON object: `requests`, `seconds`, `answers` (a list of `{"app", "version", "count"}`),
`statuses`, `failures` (the first few, in words), `failed`, `reconnects`.

A connection that the other side closed while it was idle is opened again and the request sent once more, as RFC 9110,
section 9.2.2, has clients do; these are the `reconnects`.
"""

import argparse
import http.client
import json
import os
import select
import ssl
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

_EXAMPLES = 5
# When nothing answers at all, more requests only cost time.
_GIVE_UP = 20


@dataclass
class Tally:
    """What came back."""

    requests: int = 0
    reconnects: int = 0
    answers: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    statuses: Counter[int] = field(default_factory=Counter[int])
    failures: list[str] = field(default_factory=list[str])
    failed: int = 0
    unanswered: int = 0
    """How many of the last requests in a row had no HTTP answer at all."""

    def answer(self, status: int, body: bytes) -> None:
        """Count an answer. Only a 2xx one of a workload is no failure."""
        self.requests += 1
        self.unanswered = 0
        self.statuses[status] += 1
        if not 200 <= status < 300:  # noqa: PLR2004
            self.failure(f"status {status}: {body[:100].decode(errors='replace')}")
            return
        try:
            content = cast("dict[str, Any]", json.loads(body))
            self.answers[str(content["app"]), str(content["version"])] += 1
        except (ValueError, KeyError, TypeError):
            self.failure(f"not a workload's answer: {body[:100].decode(errors='replace')}")

    def failure(self, what: str) -> None:
        """Count a failure and keep the first few in words."""
        self.failed += 1
        if len(self.failures) < _EXAMPLES:
            self.failures.append(what)

    def lost(self, fault: Exception) -> None:
        """Count a request that had no answer."""
        self.requests += 1
        self.unanswered += 1
        self.failure(f"{type(fault).__name__}: {fault}")

    def report(self, seconds: float) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "requests": self.requests,
            "seconds": round(seconds, 3),
            "answers": [
                {"app": app, "version": version, "count": n} for (app, version), n in sorted(self.answers.items())
            ],
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "failed": self.failed,
            "failures": self.failures,
            "reconnects": self.reconnects,
        }


class _TlsConnection(http.client.HTTPConnection):
    """HTTPS to an address whose certificate is for another name."""

    def __init__(self, address: str, port: int, timeout: float, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(address, port, timeout=timeout)
        self._context, self._server_name = context, server_name

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._server_name)


class Client:
    """One kept-alive connection."""

    def __init__(self, address: str, port: int, timeout: float, tls: tuple[ssl.SSLContext, str] | None = None) -> None:
        """Name the server; nothing is sent yet.

        Args:
            address: Where it listens.
            port: Its port.
            timeout: Seconds for one request.
            tls: How its certificate is checked, and its name there, which is sent as SNI.
        """
        plain = http.client.HTTPConnection(address, port, timeout=timeout)
        self._connection = _TlsConnection(address, port, timeout, *tls) if tls else plain
        self._used = False

    def send(self, method: str, path: str, headers: Mapping[str, str], tally: Tally) -> None:
        """Send a request and count its answer, or that it had none."""
        try:
            self._connection.request(method, path, headers=dict(headers))
            response = self._connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as fault:
            self._connection.close()
            if self._used:
                self._used = False
                tally.reconnects += 1
                self.send(method, path, headers, tally)
                return
            tally.lost(fault)
            return
        except (OSError, http.client.HTTPException) as fault:
            self._connection.close()
            self._used = False
            tally.lost(fault)
            return
        self._used = True
        try:
            body = response.read()
        except (OSError, http.client.HTTPException) as fault:
            self._connection.close()
            self._used = False
            tally.lost(fault)
            return
        tally.answer(response.status, body)


def main() -> None:
    """Send what the arguments say, until the count is reached or standard input closes."""
    parser = argparse.ArgumentParser(description="Send counted HTTP requests.")
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server-name", default="", help="send by TLS, to this name")
    parser.add_argument("--authority", help="file with the certificates of the authorities that are trusted, PEM")
    parser.add_argument("--certificate", help="file with the client's own certificate and key, PEM")
    parser.add_argument("--path", default="/")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--header", action="append", default=[], help="NAME: VALUE")
    parser.add_argument("--requests", type=int, default=0, help="0: until standard input closes")
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second at most; 0: no bound")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one request")
    options = parser.parse_args()
    headers = {name.strip(): value.strip() for name, _, value in (h.partition(":") for h in options.header)}
    tls = (_context(options), options.server_name) if options.server_name else None
    client, tally = Client(options.address, options.port, options.timeout, tls), Tally()
    begun = time.monotonic()
    while tally.unanswered < _GIVE_UP and (tally.requests < options.requests if options.requests else not _closed()):
        client.send(options.method, options.path, headers, tally)
        if options.rate:
            time.sleep(max(begun + tally.requests / options.rate - time.monotonic(), 0.0))
    print(json.dumps(tally.report(time.monotonic() - begun)))


def _context(options: argparse.Namespace) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.authority)
    if options.certificate:
        context.load_cert_chain(options.certificate)
    return context


def _closed() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


if __name__ == "__main__":
    main()
