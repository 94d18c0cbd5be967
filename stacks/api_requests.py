"""What a request to the Kubernetes API asks for, in words, and the diagnostic of an answer that is an error. Pure."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from components.diagnostics import Diagnostic

CONTEXT_PATH = "kubernetes:context"
"""Where a report finds what the cluster answers: the key that names the cluster."""

_PATH = re.compile(
    r"/(?:api/(?P<core>v\w+)|apis/(?P<group>[^/]+)/(?P<version>v\w+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?"
)
_LONGEST = 400
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def described(method: str, path: str) -> str:
    """Say verb, resource, name and namespace of a request, in the words of Kubernetes' access rules.

    Args:
        method: Of HTTP.
        path: Without a query, as the API has it.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return f"get {path}"
    name, namespace = match["name"], match["namespace"]
    verb = _VERBS.get(method, "get" if name else "list")
    resource = f"{match['plural']}.{match['group']}" if match["group"] else match["plural"]
    place = f"in the namespace {namespace}" if namespace else "cluster-wide"
    return f"{verb} {resource}{f' {name}' if name else ''} {place}"


def refusal(context: str, what: str, identity: str, status: int, said: str) -> Diagnostic:
    """Return the diagnostic of an answer that is no success.

    Args:
        context: The context of the kubeconfig.
        what: As `described` says it.
        identity: As whom the request was sent.
        status: The HTTP status.
        said: What the server says of it.
    """
    # It comes from outside: one line, no control characters, not without end.
    said = " ".join("".join(c if c.isprintable() else " " for c in said).split())[:_LONGEST].rstrip(".")
    if status == HTTPStatus.UNAUTHORIZED:
        message = f"The API server does not accept the credentials of {identity} (to {what}): 401 {said}."
        return Diagnostic("MSH024", CONTEXT_PATH, context, message)
    if status == HTTPStatus.FORBIDDEN:
        return Diagnostic("MSH024", CONTEXT_PATH, context, f"{identity} may not {what}: 403 {said}.")
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        said = "it is no JSON object"
    message = f"The API server answers {status} to the request of {identity} to {what}: {said}."
    return Diagnostic("MSH031", CONTEXT_PATH, context, message)


def versions(document: Mapping[str, Any]) -> list[str]:
    """Return the groups with their versions that `/api` or `/apis` lists, as manifests name them.

    Raises:
        KeyError, TypeError, AttributeError: The document is no such list.
    """
    groups: list[Any] = document.get("groups") or []
    found: list[str] = [
        *(document.get("versions") or []),
        *(v["groupVersion"] for group in groups for v in group["versions"]),
    ]
    return [version + "" for version in found]


def resources(document: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Return kind, plural name and whether it is namespaced, of each kind in a group and version.

    Raises:
        KeyError, TypeError, AttributeError: The document is no such list.
    """
    entries: list[Any] = document.get("resources") or []
    # What has a slash is a part of an object, such as its status.
    return [(e["kind"], e["name"], e["namespaced"] is True) for e in entries if "/" not in e["name"]]


def items(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of a list, each of which has a name.

    Raises:
        KeyError, TypeError, AttributeError: The document is no such list.
    """
    # An empty list may be null.
    found: list[Any] = [] if document["items"] is None else document["items"]
    return [item for item in found if item["metadata"]["name"] + ""]
