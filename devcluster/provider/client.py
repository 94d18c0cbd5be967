"""The Kubernetes API over HTTP: discovery, apply, read and delete of objects of any kind.

`kubeaccess` does the connection (certificates, tokens, credential plugins, pooling) with `kubernetes.client`; kinds are
found by the API server's aggregated discovery, so that any kind works, known to the library or not.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import quote, urlencode

from kubernetes.client import Configuration
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from devcluster.provider import objects
from devcluster.provider.objects import JsonObject, Kind, Schema
from kubeaccess import connection

_CONNECTIONS = 64  # The engine asks for many resources at once.
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_TIMEOUT = (10.0, 60.0)  # Seconds to connect, and between two bytes. An admission webhook may take 30 s.


class ApiError(Exception):
    """The API server refused a request; the text is its own message."""

    def __init__(self, status: JsonObject) -> None:
        self.code = int(status.get("code") or 0)
        self.reason = str(status.get("reason") or "")
        self.details = cast("JsonObject", status.get("details") or {})
        super().__init__(str(status.get("message") or self.reason))

    @property
    def not_found(self) -> bool:
        """Whether the object (or its namespace) is not there."""
        return self.code == 404  # noqa: PLR2004 - HTTP

    @property
    def namespace_not_found(self) -> bool:
        """Whether it is the namespace that is missing."""
        return self.not_found and self.details.get("kind") == "namespaces"

    @property
    def already_exists(self) -> bool:
        """Whether an object of that name is there already."""
        return self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """Whether another manager owns a field, or the object changed meanwhile."""
        return self.reason == "Conflict"

    @property
    def forbidden(self) -> bool:
        """Whether the caller may not do this."""
        return self.code == 403  # noqa: PLR2004 - HTTP

    @property
    def immutable_field(self) -> bool:
        """Whether a field was changed that can't change."""
        return self.code == 422 and "field is immutable" in str(self)  # noqa: PLR2004 - HTTP


class UnreachableError(Exception):
    """The API server can't be reached."""


class NoMatchError(Exception):
    """The API server does not know the kind."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(f'no matches for kind "{kind.kind}" in version "{kind.api_version}"')


@dataclass(frozen=True, slots=True)
class ApiResource:
    """How the API serves a kind."""

    kind: Kind
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of a collection, or of one object."""
        root = f"/apis/{self.kind.group}" if self.kind.group else "/api"
        scope = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        return f"{root}/{self.kind.version}{scope}/{self.plural}" + (f"/{quote(name)}" if name else "")


class Client:
    """A connection to one API server. Safe for use by several threads."""

    def __init__(self, kubeconfig: JsonObject) -> None:
        self._kubeconfig = kubeconfig
        self._api = self._connected()
        self._lock = threading.Lock()
        self._resources: dict[Kind, ApiResource] | None = None
        self._documents: dict[str, JsonObject] = {}

    def _connected(self) -> Any:
        configuration = Configuration()
        configuration.connection_pool_maxsize = _CONNECTIONS
        return connection.client(self._kubeconfig, configuration)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: JsonObject | list[JsonObject] | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> JsonObject:
        """Send one request and return the answer's object; raises ApiError or UnreachableError."""
        url = path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": content_type}
        status, text = self._send(method, url, headers, body)
        if status == 401 and connection.may_change(self._kubeconfig):  # noqa: PLR2004 - HTTP
            # A token of a credential plugin expires while a long `up` goes on.
            try:
                self._api = self._connected()
            except connection.CredentialError as error:
                raise UnreachableError(str(error)) from error
            status, text = self._send(method, url, headers, body)
        try:
            answer = cast("JsonObject", json.loads(text))
        except ValueError:
            answer = {"message": text.decode(errors="replace").strip(), "code": status}
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP
            raise ApiError({"code": status} | answer)
        return answer

    def _send(
        self, method: str, url: str, headers: dict[str, str], body: JsonObject | list[JsonObject] | None
    ) -> tuple[int, bytes]:
        try:
            serialised = self._api.param_serialize(
                method, url, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response = self._api.call_api(*serialised, _request_timeout=_TIMEOUT)
            return int(response.status), cast("bytes", response.read())
        except (HTTPError, ApiException, OSError) as error:
            raise UnreachableError(connection.reason(error)) from error

    def version(self) -> JsonObject:
        """Return the server's version; the cheapest proof that it answers."""
        return self.request("GET", "/version")

    def resource(self, kind: Kind) -> ApiResource:
        """Return how a kind is served; raises NoMatchError where it is not.

        A kind that is not known is looked for again: its CustomResourceDefinition may have come since.
        """
        with self._lock:
            if self._resources is None or kind not in self._resources:
                self._resources = self._discover()
            if kind not in self._resources:
                raise NoMatchError(kind)
            return self._resources[kind]

    def resource_if_known(self, kind: Kind) -> ApiResource | None:
        """Return how a kind is served, None where it is not (yet)."""
        try:
            return self.resource(kind)
        except NoMatchError:
            return None

    def _discover(self) -> dict[Kind, ApiResource]:
        found: dict[Kind, ApiResource] = {}
        for path in ("/api", "/apis"):
            answer = self.request("GET", path, accept=_DISCOVERY)
            for group in answer.get("items", []):
                group_name = str(group.get("metadata", {}).get("name", ""))
                for version in group.get("versions", []):
                    for entry in version.get("resources", []):
                        served = entry.get("responseKind", {})
                        kind = Kind(group_name, str(version["version"]), str(served.get("kind", "")))
                        namespaced = entry.get("scope") == "Namespaced"
                        found.setdefault(kind, ApiResource(kind, str(entry["resource"]), namespaced))
        return found

    def schema(self, kind: Kind) -> Schema | None:
        """Return a kind's OpenAPI schema, None where the server publishes none. Documents are kept."""
        path = f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
        with self._lock:
            document = self._documents.get(path)
            if document is None:
                try:
                    document = self.request("GET", f"/openapi/v3/{path}")
                except ApiError:
                    document = {}
                self._documents[path] = document
        return Schema(document, kind) if document else None

    def get(self, kind: Kind, namespace: str, name: str) -> JsonObject:
        """Return an object; raises ApiError (404) where there is none."""
        return self.request("GET", self.resource(kind).path(namespace, name))

    def list(self, kind: Kind, namespace: str, *, field_selector: str = "") -> list[JsonObject]:
        """Return all objects of a kind in a namespace."""
        query = {"fieldSelector": field_selector} if field_selector else {}
        answer = self.request("GET", self.resource(kind).path(namespace), query)
        return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in answer.get("items", [])]

    def create(self, obj: JsonObject, manager: str, *, dry_run: bool) -> JsonObject:
        """Create an object; raises ApiError (AlreadyExists) where one of that name is there."""
        query = {"fieldManager": manager, "fieldValidation": "Warn"} | _dry_run(dry_run)
        return self.request("POST", self._path(obj, collection=True), query, obj)

    def apply(self, obj: JsonObject, manager: str, *, force: bool, dry_run: bool) -> JsonObject:
        """Apply an object by server-side apply, as `manager`; raises ApiError (Conflict) where another owns a field."""
        query = {"fieldManager": manager, "fieldValidation": "Warn", "force": str(force).lower()} | _dry_run(dry_run)
        return self.request("PATCH", self._path(obj), query, obj, content_type="application/apply-patch+yaml")

    def replace(self, obj: JsonObject, manager: str, *, dry_run: bool) -> JsonObject:
        """Replace an object as a whole."""
        query = {"fieldManager": manager, "fieldValidation": "Warn"} | _dry_run(dry_run)
        return self.request("PUT", self._path(obj), query, obj)

    def patch(
        self,
        obj: JsonObject,
        body: JsonObject | list[JsonObject],
        manager: str,
        *,
        form: Literal["json", "merge"],
        dry_run: bool = False,
    ) -> JsonObject:
        """Patch the object that `obj` names."""
        content_type = {"json": "application/json-patch+json", "merge": "application/merge-patch+json"}[form]
        query = {"fieldManager": manager} | _dry_run(dry_run)
        return self.request("PATCH", self._path(obj), query, body, content_type=content_type)

    def delete(self, obj: JsonObject, propagation: str) -> None:
        """Ask for an object's deletion; it may live on until its finalizers are done."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        self.request("DELETE", self._path(obj), body=body)

    def _path(self, obj: JsonObject, *, collection: bool = False) -> str:
        resource = self.resource(objects.kind_of(obj))
        meta = objects.metadata(obj)
        namespace = str(meta.get("namespace") or "default") if resource.namespaced else ""
        return resource.path(namespace, "" if collection else str(meta["name"]))


def _dry_run(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
