"""The small HTTP process that stands in for an application container. Standard library only, run as a plain script.

It answers every request on every port of the container with JSON: who answered (`app`, `version`, `pod`,
`namespace`, `port`) and what was asked (`method`, `path`, `headers`). A request can ask for more, by header or by
query parameter:

| header | query | effect |
| --- | --- | --- |
| `x-workload-status: 503` | `status=503` | answer with this status |
| `x-workload-delay: 1.5` | `delay=1.5` | answer after so many seconds |
| `x-workload-fail-attempts: 2` | `fail-attempts=2` | 503 to the first two attempts of a request that reach this \
process; Envoy keeps `x-request-id` when it tries again |

The process as a whole is controlled over its admin port, on the pod's loopback only, where interception leaves it
alone (istio.io/istio, tools/istio-iptables: traffic of an application to its own loopback is not redirected):

| request | effect |
| --- | --- |
| `GET /requests` | `{"total", "byHost", "byPath", "recent"}`; a mirrored request shows by its Host, which is \
the other Service's |
| `DELETE /requests` | count from zero again |
| `PUT /behaviour` with `{"status": 503, "delay": 0.5, "share": 0.3}` | this is done to that share of all requests |
| `DELETE /behaviour` | answer normally again |
| `PUT /metrics` with any text | this is the page of metrics from now on |
| `DELETE /metrics` | the page counts requests again |

On SIGTERM it ends as an application does that was written for rolling updates: for two seconds it still takes
connections, since proxies learn of the pod's end a moment later, and asks its clients to open no further request on
those that they have; then it takes no more, and ends with the last request that is under way. A pod's grace period, and
`preStop` before it, hold as on any node.

A kubelet's probes are answered with 200 whatever the behaviour, and are not counted. Who scrapes `/metrics`, which is
known by the header `accept`, gets a page of metrics and is not counted either.

Bookinfo's services call each other as the originals do (istio.io/istio, samples/bookinfo/src): the answer has what
the others said in `upstreams`.

A client that speaks HTTP/2 from its first byte on, as a proxy does to a gRPC port, is answered as a gRPC server would:
each call gets one message, which is JSON and says who answered, and status 0. What was asked is not looked at, and not
counted.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ADMIN_PORT = 15900
READY_FOLDER = Path("/run/meshup")

_RECENT = 200
_KNOWN_REQUESTS = 10_000
_PROBE_AGENT = "kube-probe/"
# Every scraper takes this format (Prometheus, "Content negotiation"); Istio's agent passes the header on.
_METRICS, _SCRAPED = "/metrics", "version=0.0.4"
_HEAD_LIMIT = 65536
_DRAIN_SECONDS = 2.0
_POLL_SECONDS = 0.05
_UPSTREAM_SECONDS = 10.0
_DELAY_LIMIT = 3600.0

# Part of the image's name, path prefix, URLs called.
_UPSTREAMS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("bookinfo-productpage", "/productpage", ("http://details:9080/details/0", "http://reviews:9080/reviews/0")),
    ("bookinfo-reviews-v2", "/reviews", ("http://ratings:9080/ratings/0",)),
    ("bookinfo-reviews-v3", "/reviews", ("http://ratings:9080/ratings/0",)),
)
# What the originals pass on, so that traces and per-user routes span services.
_PASSED_ON = (
    "x-request-id",
    "traceparent",
    "tracestate",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "end-user",
    "cookie",
    "user-agent",
)

# RFC 9113, section 3.4 and 6; RFC 7541, appendix A.
_PREFACE = "PRI"
_PREFACE_REST = b"SM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_STATUS_200 = b"\x88"

_REASONS = {200: "OK", 404: "Not Found", 400: "Bad Request", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Request:
    """One request as received. Header names are in lower case; of a repeated one the values are joined."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path

    def instruction(self, name: str) -> str | None:
        """Return what a request tells this process to do: by the header `x-workload-<name>`, else a query parameter."""
        query = parse_qs(urlsplit(self.target).query)
        return self.headers.get(f"x-workload-{name}") or next(iter(query.get(name, [])), None)


@dataclass(frozen=True)
class Behaviour:
    """What happens to a share of all requests."""

    status: int = 200
    delay: float = 0.0
    share: float = 0.0


@dataclass
class Seen:
    """The requests that were counted."""

    total: int = 0
    by_host: Counter[str] = field(default_factory=Counter[str])
    by_path: Counter[str] = field(default_factory=Counter[str])
    attempts: OrderedDict[str, int] = field(default_factory=OrderedDict[str, int])
    recent: deque[Mapping[str, Any]] = field(default_factory=lambda: deque[Mapping[str, Any]](maxlen=_RECENT))

    def count(self, request: Request) -> int:
        """Take a request in. Returns which attempt of it this is, by its x-request-id, from 1 on."""
        self.total += 1
        self.by_host[request.headers.get("host", "")] += 1
        self.by_path[request.path] += 1
        self.recent.append({"method": request.method, "path": request.target, "headers": dict(request.headers)})
        identifier = request.headers.get("x-request-id")
        if identifier is None:
            return 1
        self.attempts[identifier] = self.attempts.get(identifier, 0) + 1
        if len(self.attempts) > _KNOWN_REQUESTS:
            self.attempts.popitem(last=False)
        return self.attempts[identifier]

    def report(self) -> dict[str, Any]:
        """Return the counts as `GET /requests` answers."""
        return {
            "total": self.total,
            "byHost": dict(self.by_host),
            "byPath": dict(self.by_path),
            "recent": list(self.recent),
        }


def decide(request: Request, behaviour: Behaviour, chance: float, attempt: int = 1) -> tuple[int, float]:
    """Return status and delay (seconds) of the answer.

    Args:
        request: What was asked; what it asks for itself comes first.
        behaviour: What the process was told to do.
        chance: A random number of [0, 1) that the behaviour's share is compared with.
        attempt: Which attempt of the request this is, from 1 on.
    """
    status, delay = (behaviour.status, behaviour.delay) if chance < behaviour.share else (200, 0.0)
    with contextlib.suppress(TypeError, ValueError):
        delay = float(request.instruction("delay") or delay)
    with contextlib.suppress(TypeError, ValueError):
        if attempt <= int(request.instruction("fail-attempts") or 0):
            status = 503
    with contextlib.suppress(TypeError, ValueError):
        status = int(request.instruction("status") or status)
    return status if 200 <= status <= 599 else 400, _bounded(delay)  # noqa: PLR2004


def _bounded(delay: float) -> float:
    """Return a delay that can be slept: no less than nothing, an hour at most, and 0 for what is no number."""
    return min(delay, _DELAY_LIMIT) if delay > 0 else 0.0


def upstreams(image: str, path: str) -> Sequence[str]:
    """Return the URLs that the container's own application would call to answer the path."""
    return next((urls for part, prefix, urls in _UPSTREAMS if part in image and path.startswith(prefix)), ())


def response(status: int, body: Mapping[str, Any] | str, extra: Mapping[str, str], *, keep: bool, head: bool) -> bytes:
    """Return the bytes of a response: a mapping as JSON, a text as a page of metrics."""
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}",
        f"content-type: {'text/plain; version=0.0.4' if isinstance(body, str) else 'application/json'}",
        f"content-length: {len(content)}",
        *(f"{name}: {value}" for name, value in extra.items()),
        *([] if keep else ["connection: close"]),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head else content)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return an HTTP/2 frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def grpc_answer(stream: int, body: Mapping[str, Any]) -> bytes:
    """Return the frames of a gRPC answer of one message: headers, the message, trailers."""
    content = json.dumps(body).encode()
    message = b"\0" + len(content).to_bytes(4) + content
    return (
        frame(_HEADERS, _END_HEADERS, stream, _STATUS_200 + _field("content-type", "application/grpc"))
        + frame(_DATA, 0, stream, message)
        + frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _field("grpc-status", "0"))
    )


def _field(name: str, value: str) -> bytes:
    """Return a header field as HPACK writes it without an index and without Huffman's code; below 127 bytes each."""
    return b"\0" + b"".join(bytes((len(part),)) + part.encode() for part in (name, value))


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one HTTP/1.1 request, or return None at the end of the connection.

    Raises:
        ValueError: It is no HTTP.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    return Request(method, target, headers := _headers(lines), await _body(reader, headers))


async def fetch(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Get a URL over a connection of its own. Returns status and body.

    Raises:
        OSError: The server can't be reached.
        ValueError: The answer is no HTTP.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        lines = [f"GET {parts.path or '/'} HTTP/1.1", f"host: {parts.netloc}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        await writer.drain()
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
        return int(first.split(" ")[1]), await _body(reader, _headers(rest))
    except asyncio.IncompleteReadError as fault:
        raise OSError("the connection was closed before an answer came") from fault
    finally:
        writer.close()


def _headers(lines: Sequence[str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        result[key] = f"{result[key]}, {value.strip()}" if key in result else value.strip()
    return result


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts: list[bytes] = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return b"".join(parts)
    return await reader.readexactly(int(headers.get("content-length", "0")))


class Workload:
    """The process: who it is, what it was told, what it has seen."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.behaviour = Behaviour()
        self.metrics: str | None = None
        """The page of metrics that it was told to have."""
        self.seen = Seen()
        self.draining = False
        self.busy: set[asyncio.StreamReader] = set()
        """The connections on which a request is under way."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, admin: bool) -> None:
        """Answer the requests of one connection."""
        try:
            while (request := await read_request(reader)) is not None:
                if request.method == _PREFACE:
                    await self.serve_http2(reader, writer)
                    break
                self.busy.add(reader)
                body: Mapping[str, Any] | str
                if admin:
                    status, body, extra = 200, self.administer(request), dict[str, str]()
                elif request.path == _METRICS and _SCRAPED in request.headers.get("accept", ""):
                    status, body, extra = 200, self.page(), dict[str, str]()
                else:
                    status, body, extra = await self.answer(request, writer.get_extra_info("sockname")[1])
                keep = not self.draining and request.headers.get("connection", "").lower() != "close"
                writer.write(response(status, body, extra, keep=keep, head=request.method == "HEAD"))
                await writer.drain()
                self.busy.discard(reader)
                if not keep:
                    break
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # The peer went away or does not speak HTTP: there is nobody to tell.
            pass
        finally:
            self.busy.discard(reader)
            writer.close()

    async def serve_http2(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the calls of one HTTP/2 connection, of whose preface `read_request` has taken the first line."""
        if await reader.readexactly(len(_PREFACE_REST)) != _PREFACE_REST:
            raise ValueError("the preface of HTTP/2 goes on otherwise")
        port = writer.get_extra_info("sockname")[1]
        writer.write(frame(_SETTINGS, 0, 0))
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
            if kind == _GOAWAY:
                break
            if kind in (_SETTINGS, _PING) and not flags & _ACK:
                writer.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))
            if kind == _DATA and payload:
                taken = len(payload).to_bytes(4)
                writer.write(frame(_WINDOW_UPDATE, 0, 0, taken) + frame(_WINDOW_UPDATE, 0, stream, taken))
            if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                writer.write(grpc_answer(stream, self.identity(port)))
                if self.draining:
                    writer.write(frame(_GOAWAY, 0, 0, stream.to_bytes(4) + bytes(4)))
            await writer.drain()

    def page(self) -> str:
        """Return the page of metrics."""
        if self.metrics is not None:
            return self.metrics
        return f"# TYPE workload_requests_total counter\nworkload_requests_total {self.seen.total}\n"

    def identity(self, port: int) -> dict[str, Any]:
        """Return who answers."""
        options = self.options
        return {
            "app": options.app,
            "version": options.version,
            "pod": options.pod,
            "namespace": options.namespace,
            "port": port,
        }

    async def answer(self, request: Request, port: int) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Return status, body and headers of the answer to an ordinary request."""
        status, delay = 200, 0.0
        if not request.headers.get("user-agent", "").startswith(_PROBE_AGENT):
            attempt = self.seen.count(request)
            status, delay = decide(request, self.behaviour, random.random(), attempt)  # noqa: S311 - no secret
        if delay:
            await asyncio.sleep(delay)
        options = self.options
        body: dict[str, Any] = {
            **self.identity(port),
            "method": request.method,
            "path": request.target,
            "headers": dict(request.headers),
        }
        if urls := upstreams(options.image, request.path):
            passed = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
            body["upstreams"] = await asyncio.gather(*(self.call(url, passed) for url in urls))
        return status, body, {"x-workload-pod": options.pod, "x-workload-version": options.version}

    async def call(self, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return what an upstream said, as part of an answer."""
        try:
            async with asyncio.timeout(_UPSTREAM_SECONDS):
                status, body = await fetch(url, headers)
            return {"url": url, "status": status, "answer": json.loads(body)}
        except (OSError, ValueError) as fault:
            return {"url": url, "status": 0, "error": str(fault) or type(fault).__name__}

    def administer(self, request: Request) -> dict[str, Any]:
        """Obey a request to the admin port and return what it is answered."""
        match request.method, request.path:
            case "GET", "/requests":
                return self.seen.report()
            case "DELETE", "/requests":
                self.seen = Seen()
            case "PUT", "/behaviour":
                wanted = json.loads(request.body)
                self.behaviour = Behaviour(
                    int(wanted.get("status", 200)), float(wanted.get("delay", 0)), float(wanted.get("share", 1))
                )
            case "DELETE", "/behaviour":
                self.behaviour = Behaviour()
            case "PUT", "/metrics":
                self.metrics = request.body.decode()
            case "DELETE", "/metrics":
                self.metrics = None
            case _:
                return {"error": f"{request.method} {request.path} is not known; see GET /requests, PUT /behaviour"}
        return {"done": True}

    async def run(self) -> None:
        """Serve until SIGTERM, then let what is under way finish."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        servers = [
            await asyncio.start_server(lambda r, w: self.serve(r, w, admin=False), "0.0.0.0", port, limit=_HEAD_LIMIT)  # noqa: S104 - a pod listens on its address
            for port in self.options.port
        ]
        servers.append(
            await asyncio.start_server(lambda r, w: self.serve(r, w, admin=True), "127.0.0.1", self.options.admin_port)
        )
        if self.options.ready_file:
            Path(self.options.ready_file).touch()
        await stop.wait()
        # Envoys elsewhere learn of the pod's end a moment later and may still send.
        self.draining = True
        await asyncio.sleep(_DRAIN_SECONDS)
        for server in servers:
            server.close()
        # A client that went away waits for nothing.
        while any(not reader.at_eof() for reader in self.busy):
            await asyncio.sleep(_POLL_SECONDS)


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description="Answer HTTP requests in place of an application.")
    for name in ("pod", "namespace", "app", "version", "image", "ready-file"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--port", type=int, action="append", default=[])
    parser.add_argument("--admin-port", type=int, default=ADMIN_PORT)
    asyncio.run(Workload(parser.parse_args()).run())


if __name__ == "__main__":
    main()
