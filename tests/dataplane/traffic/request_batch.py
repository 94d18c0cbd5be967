"""Many different requests from inside a pod, through its sidecar, or from outside, and the answers in full.

`devcluster.load` repeats one request and counts; here each request is its own, and so is its answer. `send` is for
tests; it runs this module in another network namespace.
"""

import http.client
import json
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
    """

    host: str
    target: str = "/"
    method: str = "GET"
    headers: Pairs = ()


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status; 0 for no answer at all.
        headers: Response headers, names in lower case.
        body: What the workload said of itself and of the request; empty if Envoy answered.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])

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


class _Connection:
    def __init__(self, address: str, port: int, timeout: float) -> None:
        self.http = http.client.HTTPConnection(address, port, timeout=timeout)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for last in (False, True):
            try:
                return self._ask(request)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # An idle connection that the other side closed is opened again, once (RFC 9110, section 9.2.2).
                self.http.close()
                if last:
                    break
            except OSError:
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
            body = {}
        headers = {name.lower(): value for name, value in response.getheaders()}
        return {"status": response.status, "headers": headers, "body": body}


def main() -> None:
    """Send what standard input holds and print the answers."""
    work = json.load(sys.stdin)
    count: int = work["connections"]
    connections = [_Connection(work["address"], work["port"], work["timeout"]) for _ in range(count)]
    requests: list[Any] = work["requests"]
    answers: list[Any] = [None] * len(requests)

    def share(number: int) -> None:
        for position in range(number, len(requests), count):
            answers[position] = connections[number].ask(requests[position])

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(share, range(count)))
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
