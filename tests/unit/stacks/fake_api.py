"""An API server on loopback: a cluster that has nothing, unless a test says otherwise."""

import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Generator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest

from devcluster import pki
from kubeaccess import connection

SECRET = "hunter2"  # noqa: S105 # of nobody
AUTHORITY, OTHER = pki.authority("of a test"), pki.authority("of somebody else")
SERVER = pki.issued(AUTHORITY, "server", addresses=["127.0.0.1"])
USER = pki.issued(AUTHORITY, "ops")

KINDS: dict[str, dict[str, tuple[str, bool]]] = {
    "v1": {
        "Namespace": ("namespaces", False),
        "Node": ("nodes", False),
        "Secret": ("secrets", True),
        "Service": ("services", True),
        "ServiceAccount": ("serviceaccounts", True),
        "ConfigMap": ("configmaps", True),
        "Pod": ("pods", True),
    },
    "apps/v1": {"Deployment": ("deployments", True)},
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": ("customresourcedefinitions", False)},
    "admissionregistration.k8s.io/v1": {
        "MutatingWebhookConfiguration": ("mutatingwebhookconfigurations", False),
        "ValidatingAdmissionPolicy": ("validatingadmissionpolicies", False),
        "ValidatingAdmissionPolicyBinding": ("validatingadmissionpolicybindings", False),
        "ValidatingWebhookConfiguration": ("validatingwebhookconfigurations", False),
    },
}
"""Kinds by group and version: plural name and whether it is namespaced. Not those of the mesh: it comes later."""


def listed(*metadata: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The answer that lists objects of one kind."""
    return 200, {"items": [{"metadata": item} for item in metadata]}


def empty(path: str) -> dict[str, Any] | None:
    """Return the answer to GET, None for what is not there."""
    path = path.partition("?")[0]
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [version for version in KINDS if "/" in version]
        return {"groups": [{"name": v.split("/")[0], "versions": [{"groupVersion": v}]} for v in versions]}
    version = path.removeprefix("/apis/" if path.startswith("/apis/") else "/api/")
    if version in KINDS:
        entries = [{"name": p, "kind": k, "namespaced": n} for k, (p, n) in KINDS[version].items()]
        return {"resources": [*entries, {"name": f"{entries[0]['name']}/status", "kind": "X", "namespaced": True}]}
    plurals = {plural for kinds in KINDS.values() for plural, _ in kinds.values()}
    return {"items": []} if path.rpartition("/")[2] in plurals else None


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Api(ThreadingHTTPServer):
    """Answers as `answers` says, by path: status and body; else as a cluster that has nothing.

    Attributes:
        refused: Ends of paths that are answered with 403.
        accepted: The Authorization header that is asked for, "" for any.
        deleted: The paths of DELETE.
        busy: How many times an answer of 429 is given before the cluster answers as it is; None for ever.
    """

    def __init__(self, *, tls: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with connection.piped(SERVER.certificate_pem) as certificate, connection.piped(SERVER.key_pem) as key:
                context.load_cert_chain(certificate, key)
            context.load_verify_locations(cadata=AUTHORITY.certificate_pem.decode())
            context.verify_mode = ssl.CERT_OPTIONAL
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.answers: dict[str, tuple[int, Any]] = {"/version": (200, {"gitVersion": "v1.36.3"})}
        self.refused: tuple[str, ...] = ()
        self.accepted = ""
        self.busy: int | None = None
        self.asked: list[str] = []
        self.deleted: list[str] = []
        self.certificates: list[Any] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address

    def kubeconfig(self, user: dict[str, Any] | None = None, context: str = "prod", **cluster: Any) -> dict[str, Any]:
        body = {
            "server": self.address,
            "certificate-authority-data": encoded(AUTHORITY.certificate_pem),
            **cluster,
        }
        return {
            "current-context": context,
            "contexts": [
                {"name": context, "context": {"cluster": "c"} if user is None else {"cluster": "c", "user": "u"}}
            ],
            "clusters": [{"name": "c", "cluster": body}],
            "users": [{"name": "u", "user": user or {}}],
        }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        api = cast("Api", self.server)
        api.asked.append(self.path)
        if isinstance(self.connection, ssl.SSLSocket):
            api.certificates.append(self.connection.getpeercert())
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if api.accepted and self.headers["Authorization"] != api.accepted:
            status, body = 401, {"message": "Unauthorized"}
        elif api.refused and self.path.endswith(api.refused):
            status, body = 403, {"message": "Forbidden"}
        elif self.command == "DELETE":
            api.deleted.append(self.path)
            status, body = 200, {}
        else:
            found = empty(self.path)
            usual = (404 if found is None else 200, found or {})
            status, body = api.answers.get(self.path, usual)
            if status == HTTPStatus.TOO_MANY_REQUESTS and api.busy is not None:
                status, body = (status, body) if api.busy else usual
                api.busy = max(api.busy - 1, 0)
        self.send_response(status)
        self.send_header("Retry-After", "86400")
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    do_POST = do_DELETE = do_GET  # noqa: N815 # named by http.server

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@contextlib.contextmanager
def serving(*, tls: bool = True) -> Generator[Api]:
    server = Api(tls=tls)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def api() -> Generator[Api]:
    with serving() as server:
        yield server
