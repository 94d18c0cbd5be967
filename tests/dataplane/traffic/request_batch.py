"""Many different requests from inside a pod, through its sidecar, or from outside, and the answers in full.

Each may go to a place of its own, from an address of its own, under an identity of its own: the client then makes the
connection that a sidecar would.

`devcluster.load` repeats one request and counts; here each request is its own, and so is its answer. `send` is for
tests; it runs this module in another network namespace.
"""

import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from devcluster import paths

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Sent:
    """A request as it goes out.

    Attributes:
        host: The header Host, which is what Envoy chooses the route table's virtual host by.
        target: Path and query, as they are written on the wire.
        method: HTTP method.
        headers: Further headers, in this order; a name may stand twice. Values are sent in UTF-8; a lone surrogate from
            U+DC80 on stands for a byte that is none (PEP 383).
        address: Where it is sent, if not where all of a batch are.
        port: The port of that address.
        source: The address that it comes from, if not any.
        certificate: File with the certificate and key, PEM, that it is sent by TLS with; "" for plain text. The
            server's certificate is not checked.
        protocol: What is offered by ALPN then. Istio's proxies say `istio-http/1.1` of HTTP and `istio` of connections
            (pilot/pkg/xds/filters; pilot/pkg/networking/util/util.go).
    """

    host: str
    target: str = "/"
    method: str = "GET"
    headers: Pairs = ()
    address: str = ""
    port: int = 0
    source: str = ""
    certificate: str = ""
    protocol: str = "istio"


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status; 0 for no answer at all.
        headers: Response headers, names in lower case.
        body: What the workload said of itself and of the request; empty if Envoy answered.
        text: What Envoy answered.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    text: str = ""

    @property
    def version(self) -> str:
        """The version of the workload that answered, "" if none did."""
        return str(self.body.get("version", ""))

    @property
    def pod(self) -> str:
        """The pod that answered, "" if none did."""
        return str(self.body.get("pod", ""))


def send(
    enter: Callable[[list[str]], list[str]],
    address: str,
    port: int,
    requests: Sequence[Sent],
    *,
    connections: int = 4,
    timeout: float = 120.0,
) -> list[Answer]:
    """Send requests over a few kept-alive connections, and return their answers in order.

    Args:
        enter: Returns the command that runs another where they are sent from, such as `RunningPod.enter_argv`.
        address: Where connections are opened to. With an HTTP port, Envoy routes by Host and port, not by address.
        port: The port.
        requests: What to send.
        connections: How many requests are under way at once.
        timeout: Seconds for one answer.
    """
    work = {
        "address": address,
        "port": port,
        "connections": connections,
        "timeout": timeout,
        "requests": [asdict(request) for request in requests],
    }
    argv = enter([sys.executable, "-m", "tests.dataplane.traffic.request_batch"])
    done = subprocess.run(
        argv, cwd=paths.repository(), input=json.dumps(work), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [Answer(**answer) for answer in json.loads(done.stdout)]


class _TlsConnection(http.client.HTTPConnection):
    """TLS as a sidecar speaks it, without a look at the server's certificate."""

    def __init__(self, certificate: str, protocol: str, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.load_cert_chain(certificate)
        self.context.set_alpn_protocols([protocol])

    def connect(self) -> None:
        super().connect()
        self.sock = self.context.wrap_socket(self.sock)


class _Connection:
    def __init__(self, place: tuple[str, int], source: str, tls: tuple[str, str], timeout: float) -> None:
        (address, port), (certificate, protocol) = place, tls
        more: dict[str, Any] = {"timeout": timeout, "source_address": (source, 0) if source else None}
        if certificate:
            self.http = _TlsConnection(certificate, protocol, address, port, **more)
        else:
            self.http = http.client.HTTPConnection(address, port, **more)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for last in (False, True):
            try:
                return self._ask(request)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # An idle connection that the other side closed is opened again, once (RFC 9110, section 9.2.2).
                self.http.close()
                if last:
                    break
            except (OSError, http.client.HTTPException):
                self.http.close()
                break
        return {"status": 0}

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.http.putrequest(request["method"], request["target"], skip_host=True, skip_accept_encoding=True)
        for name, value in (("host", request["host"]), ("content-length", "0"), *request["headers"]):
            self.http.putheader(name, value.encode("utf-8", "surrogateescape"))
        self.http.endheaders()
        response = self.http.getresponse()
        content = response.read()
        try:
            body = json.loads(content)
        except ValueError:
            body, text = {}, content.decode(errors="replace")
        else:
            text = ""
        headers = {name.lower(): value for name, value in response.getheaders()}
        return {"status": response.status, "headers": headers, "body": body, "text": text}


def main() -> None:
    """Send what standard input holds and print the answers."""
    work = json.load(sys.stdin)
    count: int = work["connections"]
    requests: list[Any] = work["requests"]
    answers: list[Any] = [None] * len(requests)

    def share(number: int) -> None:
        connections: dict[tuple[Any, ...], _Connection] = {}
        for position in range(number, len(requests), count):
            request = requests[position]
            place = (request["address"], request["port"]) if request["address"] else (work["address"], work["port"])
            key = (place, request["source"], (request["certificate"], request["protocol"]))
            if key not in connections:
                connections[key] = _Connection(*key, work["timeout"])
            answers[position] = connections[key].ask(request)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(share, range(count)))
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
