"""The cluster that a stack names: it must be named, known to the kubeconfig, and answer."""

import json
import os
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import urllib3
import yaml
from kubernetes import client
from kubernetes import config as kubernetes_config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from components.routing import Diagnostic, errors
from components.routing.diagnostics import nearest
from stacks.settings import HIDDEN, ClusterSettings
from stacks.versions import Minor, minor

ANSWER_SECONDS = 5.0
"""How long a connection to the API server may take; reading an answer may take four times that."""
NOT_FOUND = HTTPStatus.NOT_FOUND.value
"""The status of what the API server does not have."""


def kubeconfig(cluster: ClusterSettings, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Find the kubeconfig and the context of a stack, without the network.

    The kubeconfig is `kubernetes:kubeconfig` (a path or the text itself), else the files of KUBECONFIG, else
    ~/.kube/config, as for the Kubernetes provider.

    Returns:
        The kubeconfig with `current-context` set to the named one, or empty; and the faults.
    """
    if not cluster.context and not cluster.kubeconfig:
        message = "Neither kubernetes:context nor kubernetes:kubeconfig is set."
        known = contexts(_ambient(environ))
        return {}, [Diagnostic("MSH020", "kubernetes:context", None, message, _one_of(known))]
    path = "kubernetes:kubeconfig" if cluster.kubeconfig else "KUBECONFIG"
    try:
        config = _parsed(cluster.kubeconfig) if cluster.kubeconfig else _ambient(environ)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError):
        config = {}
    if not contexts(config):
        shown = HIDDEN if "\n" in cluster.kubeconfig or "kubeconfig" in cluster.secret else cluster.kubeconfig or None
        message = "There is no kubeconfig with a context here."
        return {}, [Diagnostic("MSH021", path, shown, message, "the path of a kubeconfig file, or its text")]
    context = cluster.context or str(config.get("current-context") or "")
    if context not in contexts(config):
        near = nearest(context, contexts(config))
        hint = f" Did you mean {near}?" if near else ""
        message = f"The kubeconfig has no context {context!r}.{hint}"
        return {}, [Diagnostic("MSH022", "kubernetes:context", context, message, _one_of(contexts(config)))]
    return {**config, "current-context": context}, []


def contexts(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the contexts of a kubeconfig, in order of the file."""
    return [str(entry["name"]) for entry in entries(config, "contexts") if entry.get("name")]


def entries(config: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of a kubeconfig: `contexts`, `clusters` or `users`. What is no mapping in it is left out."""
    listed = config.get(key)
    if not isinstance(listed, list):
        return []
    return [cast("dict[str, Any]", entry) for entry in cast("list[Any]", listed) if isinstance(entry, dict)]


def _one_of(names: list[str]) -> str:
    return "one of " + ", ".join(names) if names else "the kubeconfig has no contexts yet"


def _parsed(text_or_path: str) -> dict[str, Any]:
    is_text = "\n" in text_or_path or text_or_path.lstrip().startswith("{")
    text = text_or_path if is_text else Path(text_or_path).expanduser().read_text(encoding="utf-8")
    loaded: Any = yaml.safe_load(text)
    return cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}


def _ambient(environ: Mapping[str, str]) -> dict[str, Any]:
    """The kubeconfig of the environment: files named first win over later ones, as in kubectl."""
    listed = environ.get("KUBECONFIG", "")
    files = [Path(entry) for entry in listed.split(os.pathsep) if entry] or [Path.home() / ".kube" / "config"]
    result: dict[str, Any] = {}
    for file in files:
        try:
            config = _absolute(_parsed(str(file)), file.parent)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        for key in ("contexts", "clusters", "users"):
            have = entries(result, key)
            names = {entry.get("name") for entry in have}
            result[key] = have + [entry for entry in entries(config, key) if entry.get("name") not in names]
        result.setdefault("current-context", config.get("current-context", ""))
    return result


def _absolute(config: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Paths in a kubeconfig are relative to its file."""
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    for kind, inner in (("clusters", "cluster"), ("users", "user")):
        for entry in entries(config, kind):
            body = cast("dict[str, Any]", entry.get(inner) or {})
            for key in files:
                if body.get(key):
                    body[key] = str(directory / str(body[key]))
    return config


class Cluster:
    """The API of the named cluster."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Prepare the connection; nothing is sent yet.

        Raises:
            ConfigException: The kubeconfig names a cluster or user that it does not have.
        """
        settings = client.Configuration()
        cast("Any", settings).retries = urllib3.Retry(total=1, backoff_factor=0.2)
        self._client: Any = cast("Any", kubernetes_config).new_client_from_config_dict(
            config, persist_config=False, client_configuration=settings
        )

    def request(
        self,
        method: str,
        path: str,
        accept: str = "application/json",
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | str | None = None,
        content: str = "application/json",
    ) -> dict[str, Any]:
        """Call the API and return its JSON answer.

        The client writes a mapping as JSON if the content is some JSON; a text goes out as it is with other content.

        Raises:
            ApiException: The server refuses.
            urllib3.exceptions.HTTPError: The server can't be reached.
        """
        prepared = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": accept, "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*prepared, _request_timeout=(ANSWER_SECONDS, 4 * ANSWER_SECONDS))
        data: bytes = answer.read()
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise ApiException(status=answer.status, reason=_message(data) or answer.reason)
        return cast("dict[str, Any]", json.loads(data))

    def apply(self, path: str, manifest: Mapping[str, Any], manager: str) -> None:
        """Apply a manifest on the server under a field manager, and take over the fields that it sets.

        Raises:
            ApiException: The server refuses.
            urllib3.exceptions.HTTPError: The server can't be reached.
        """
        query = {"fieldManager": manager, "force": "true"}
        # JSON is YAML.
        self.request("PATCH", path, query=query, body=json.dumps(manifest), content="application/apply-patch+yaml")

    def create_unmanaged(self, path: str, manifest: Mapping[str, Any]) -> None:
        """Create an object whose fields nobody manages, so that whoever applies it next meets no conflict.

        Raises:
            ApiException: The server refuses.
            urllib3.exceptions.HTTPError: The server can't be reached.
        """
        self.request("POST", path.rpartition("/")[0], body=manifest)
        # One empty entry resets the list (Kubernetes, "Server-Side Apply", clearing managedFields).
        body: dict[str, Any] = {"metadata": {"managedFields": [{}]}}
        self.request("PATCH", path, body=body, content="application/merge-patch+json")

    def metadata(self, api_version: str, plural: str, namespace: str | None) -> list[dict[str, Any]]:
        """Return the metadata of all objects of a kind, in a namespace or cluster-wide. An unknown kind has none."""
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        return [item["metadata"] for item in self.objects(api_version, plural, namespace, accept)]

    def objects(
        self, api_version: str, plural: str, namespace: str | None, accept: str = "application/json"
    ) -> list[dict[str, Any]]:
        """Return all objects of a kind, in a namespace or cluster-wide. An unknown kind has none.

        A list says of its items neither `apiVersion` nor `kind`, or not always.
        """
        try:
            answer = self.request("GET", collection(api_version, plural, namespace), accept)
        except ApiException as error:
            if cast("Any", error).status == NOT_FOUND:
                return []
            raise
        return cast("list[dict[str, Any]]", answer.get("items") or [])


def _message(answer: bytes) -> str:
    """What the API server says of an error: the message of a Status, if it is one."""
    try:
        said = json.loads(answer)
    except ValueError:
        return ""
    return str(cast("dict[str, Any]", said).get("message") or "") if isinstance(said, dict) else ""


def collection(api_version: str, plural: str, namespace: str | None) -> str:
    """Return the API path of a kind, in a namespace or cluster-wide."""
    group = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    return f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"


def connect(config: dict[str, Any], supported: tuple[Minor, Minor]) -> tuple[Cluster | None, list[Diagnostic]]:
    """Connect to the cluster of a kubeconfig's current context.

    Args:
        config: As `kubeconfig` returns it.
        supported: The first and the last version of Kubernetes that the mesh supports.
    """
    context = str(config["current-context"])
    try:
        cluster = Cluster(config)
        version = cluster.request("GET", "/version")
    except (ConfigException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        message = f"No answer within {ANSWER_SECONDS:g} seconds: {reason(error)}."
        return None, [Diagnostic("MSH023", "kubernetes:context", context, message)]
    except ApiException as error:
        return None, [refusal(context, error)]
    found = version_faults(version, supported)
    return (None if errors(found) else cluster), found


def version_faults(version: Mapping[str, Any], supported: tuple[Minor, Minor]) -> list[Diagnostic]:
    """Judge the answer of /version: too old is refused, newer than what the mesh knows is a warning.

    A mesh relies on what old versions lack. What a new one takes away is mostly nothing, and no mesh refuses it.
    """
    said = str(version.get("gitVersion", ""))
    found, (oldest, newest) = minor(said), supported
    if found is not None and found < oldest:
        allowed = f"{oldest[0]}.{oldest[1]} or later"
        return [Diagnostic("MSH025", "kubernetes:context", said, "The cluster is too old.", allowed)]
    if found is not None and found > newest:
        message = "The cluster is newer than what this version of the mesh is known to work on."
        allowed = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
        return [Diagnostic("MSH035", "kubernetes:context", said, message, allowed, severity="warning")]
    return []


def refusal(context: str, error: ApiException) -> Diagnostic:
    """Say what an error of the API server means."""
    status = int(cast("Any", error).status or 0)
    code = "MSH024" if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) else "MSH023"
    message = f"The API server answers {status} {cast('Any', error).reason}."
    return Diagnostic(code, "kubernetes:context", context, message)


def reason(error: Exception) -> str:
    """The innermost reason of a connection error in a few words, without addresses of objects in memory."""
    inner = getattr(error, "reason", None)
    while isinstance(inner, Exception):
        error, inner = inner, getattr(inner, "reason", None)
    text = str(error).split(": ", 1)[-1] if isinstance(error, urllib3.exceptions.HTTPError) else str(error)
    return re.sub(r"\s+", " ", text).rstrip(".") or type(error).__name__
