"""An API server with TLS on loopback: a cluster that has nothing, unless a test says otherwise."""

import base64
import json
import ssl
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest

from devcluster import pki
from kubeaccess import connection
from tests.unit.stacks import discovery

SECRET = "hunter2"  # noqa: S105 # of nobody
AUTHORITY, OTHER = pki.authority("of a test"), pki.authority("of somebody else")
SERVER = pki.issued(AUTHORITY, "server", addresses=["127.0.0.1"])
USER = pki.issued(AUTHORITY, "ops")


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Api(ThreadingHTTPServer):
    """Answers as `answers` says, by path: status and body; else as a cluster that has nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with connection.piped(SERVER.certificate_pem) as certificate, connection.piped(SERVER.key_pem) as key:
            context.load_cert_chain(certificate, key)
        context.load_verify_locations(cadata=AUTHORITY.certificate_pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.answers: dict[str, tuple[int, Any]] = {"/version": (200, {"gitVersion": "v1.36.3"})}
        self.asked: list[str] = []
        self.certificates: list[Any] = []
        self.accepted = ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address

    def kubeconfig(self, user: dict[str, Any] | None = None, **cluster: Any) -> dict[str, Any]:
        body = {
            "server": f"https://127.0.0.1:{self.server_address[1]}",
            "certificate-authority-data": encoded(AUTHORITY.certificate_pem),
            **cluster,
        }
        return {
            "current-context": "prod",
            "contexts": [
                {"name": "prod", "context": {"cluster": "c"} if user is None else {"cluster": "c", "user": "u"}}
            ],
            "clusters": [{"name": "c", "cluster": body}],
            "users": [{"name": "u", "user": user or {}}],
        }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        api = cast("Api", self.server)
        api.asked.append(self.path)
        api.certificates.append(cast("ssl.SSLSocket", self.connection).getpeercert())
        if api.accepted and self.headers["Authorization"] != api.accepted:
            status, body = 401, {"message": "Unauthorized"}
        else:
            found = discovery.answer(self.path)
            status, body = api.answers.get(self.path, (404 if found is None else 200, found or {}))
        self.send_response(status)
        self.send_header("Retry-After", "86400")
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    do_POST = do_GET  # noqa: N815 # named by http.server

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def api() -> Generator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
