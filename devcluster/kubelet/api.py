"""The Kubernetes API as plain JSON: get, list, watch, patch, create, delete. A thin wrapper of the official client.

The client's own typed objects are not used: a watch of every pod must be cheap, and the pure modules want plain data.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kubeaccess import connection

_SECONDS = 10.0
_WATCH_SECONDS = 300


class ApiError(Exception):
    """The API refused a request or could not be asked.

    Attributes:
        code: The HTTP status, 0 when there was no answer.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Api:
    """One cluster's API. Its methods block and may be called from several threads."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client: Any = connection.client(yaml.safe_load(kubeconfig.read_text(encoding="utf-8")))
        self.host: str = self._client.configuration.host

    def get(self, path: str) -> dict[str, Any] | None:
        """Return the object at the path, or None if there is none."""
        try:
            return self._json("GET", path)
        except ApiError as fault:
            if fault.code == 404:  # noqa: PLR2004
                return None
            raise

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a JSON merge patch (RFC 7386)."""
        return self._json("PATCH", path, body, "application/merge-patch+json")

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post an object to a collection or a subresource."""
        return self._json("POST", path, body)

    def delete(self, path: str, options: Mapping[str, Any]) -> None:
        """Delete the object, if it is there and the preconditions in the options hold."""
        try:
            self._json("DELETE", path, options)
        except ApiError as fault:
            if fault.code not in (404, 409):
                raise

    def watch(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """List a collection and watch it until the server ends the watch.

        Yields:
            ("LISTED", the list) first, then (ADDED, MODIFIED or DELETED, the object).

        Raises:
            ApiError: The connection broke or the version is too old: list again.
        """
        listed = self._json("GET", path)
        version = listed["metadata"]["resourceVersion"]
        yield "LISTED", listed
        query = f"{path}?watch=true&resourceVersion={version}&timeoutSeconds={_WATCH_SECONDS}&allowWatchBookmarks=true"
        response = self._call("GET", query, timeout=(_SECONDS, _WATCH_SECONDS + 30))
        rest = b""
        try:
            for chunk in response.response.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 0), event["object"].get("message", "watch ended"))
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]
        except OSError as fault:
            raise ApiError(0, str(fault)) from fault
        finally:
            response.response.close()

    def _json(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, kind: str = "application/json"
    ) -> dict[str, Any]:
        response = self._call(method, path, body, kind)
        return json.loads(response.read())

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        timeout: float | tuple[float, float] = _SECONDS,
    ) -> Any:
        headers = {"Accept": "application/json", **({"Content-Type": kind} if body is not None else {})}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            response = self._client.call_api(
                method, self.host + path, header_params=headers, body=body, _request_timeout=timeout
            )
        except Exception as fault:
            # urllib3's many ways to say that there was no answer.
            raise ApiError(0, f"{method} {path}: {fault}") from fault
        if response.status >= 400:  # noqa: PLR2004
            raise ApiError(response.status, f"{method} {path}: {_message(response.read())}")
        return response


def _message(body: bytes) -> str:
    try:
        return json.loads(body).get("message", "")
    except ValueError:
        return body.decode(errors="replace")
