"""The cluster that a stack names: it must be named, known to the kubeconfig, and answer."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from components.diagnostics import ConfigurationError, Diagnostic, errors, nearest
from components.diagnostics.validation import HIDDEN
from kubeaccess import connection
from stacks import api_requests, files
from stacks.api_requests import CONTEXT_PATH
from stacks.kubeconfig import fault as kubeconfig_fault
from stacks.settings import ClusterSettings
from stacks.versions import Minor, minor

ANSWER_SECONDS = 5.0
"""How long a connection to the API server may take; reading an answer may take four times that."""
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Asks for a list of objects without their contents."""

T = TypeVar("T")


class Served(NamedTuple):
    """How an API server serves a kind.

    Attributes:
        api_version: The group and version in which it does, as in a manifest.
        kind: As in a manifest.
        plural: The name of the kind in API paths.
        namespaced: Whether its objects are in namespaces.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool


def kubeconfig(cluster: ClusterSettings, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Find the kubeconfig and the context of a stack, without the network.

    The kubeconfig is `kubernetes:kubeconfig` (a path or the text itself), else the files of KUBECONFIG, else
    ~/.kube/config, as for the Kubernetes provider.

    Returns:
        The kubeconfig with `current-context` set to the named one and the provider's other choices in it, or empty; and
        the faults.
    """
    refused = _refused_settings(cluster, environ)
    config, found = _chosen(cluster, environ)
    return config, [*refused, *found]


def _chosen(cluster: ClusterSettings, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Diagnostic]]:
    named = bool(cluster.context or cluster.kubeconfig)
    path = "kubernetes:kubeconfig" if cluster.kubeconfig else "KUBECONFIG"
    wrong, config = "", dict[str, Any]()
    try:
        config = _parsed(cluster.kubeconfig) if cluster.kubeconfig else _ambient(environ)
    except files.UnreadableError as error:
        wrong = f"The kubeconfig can't be read: {error.reason}."
    if not named:
        message = "Neither kubernetes:context nor kubernetes:kubeconfig is set."
        return {}, [Diagnostic("MSH020", "kubernetes:context", None, message, _one_of(contexts(config)))]
    if not contexts(config):
        hidden = _is_text(cluster.kubeconfig) or "kubeconfig" in cluster.secret
        shown = HIDDEN if hidden else cluster.kubeconfig or environ.get("KUBECONFIG") or None
        wrong = wrong or "The kubeconfig has no context."
        return {}, [Diagnostic("MSH021", path, shown, wrong, "the path of a kubeconfig file, or its text")]
    context = cluster.context or str(config.get("current-context") or "")
    if context not in contexts(config):
        near = nearest(context, contexts(config))
        hint = f" Did you mean {near}?" if near else ""
        message = f"The kubeconfig has no context {context!r}.{hint}"
        return {}, [Diagnostic("MSH022", "kubernetes:context", context, message, _one_of(contexts(config)))]
    return _with_cluster({**config, "current-context": context}, cluster)


def _with_cluster(config: dict[str, Any], chosen: ClusterSettings) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Put `kubernetes:cluster` in place of the context's own cluster, as the provider does (clientcmd, overrides)."""
    name = chosen.provider.get("cluster", "")
    if not name:
        return config, []
    known = [str(entry["name"]) for entry in entries(config, "clusters") if entry.get("name")]
    if name not in known:
        near = nearest(name, known)
        message = "The kubeconfig has no such cluster." + (f" Did you mean {near}?" if near else "")
        shown = HIDDEN if "cluster" in chosen.secret else name
        return {}, [Diagnostic("MSH034", "kubernetes:cluster", shown, message, "one of " + ", ".join(known))]
    listed = [
        {**entry, "context": {**cast("dict[str, Any]", entry.get("context") or {}), "cluster": name}}
        if entry.get("name") == config["current-context"]
        else entry
        for entry in entries(config, "contexts")
    ]
    return {**config, "contexts": listed}, []


def _refused_settings(cluster: ClusterSettings, environ: Mapping[str, str]) -> list[Diagnostic]:
    """Settings of the provider by which it would do something else than what meshup looks at."""
    found: list[Diagnostic] = []
    if cluster.provider.get("renderYamlToDirectory"):
        message = "The provider would write manifests, Secrets in plain text among them, and deploy nothing."
        found.append(Diagnostic("MSH034", "kubernetes:renderYamlToDirectory", HIDDEN, message, "no value"))
    try:
        settings: Any = json.loads(cluster.provider.get("helmReleaseSettings") or "{}")
    except (ValueError, RecursionError):
        settings = {}
    written = cast("dict[str, Any]", settings).get("driver") if isinstance(settings, dict) else None
    variable = "PULUMI_K8S_HELM_DRIVER"
    path, driver = ("kubernetes:helmReleaseSettings.driver", written) if written else (variable, environ.get(variable))
    if driver and driver != "secret":
        message = "Helm would not keep its records in Secrets, where meshup looks for releases of an interrupted run."
        found.append(Diagnostic("MSH034", path, str(driver), message, "secret"))
    return found


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
    """Read a kubeconfig.

    Raises:
        files.UnreadableError: It is not there, or is none.
    """
    if _is_text(text_or_path):
        text = text_or_path
    elif text_or_path.startswith("~") and not text_or_path.startswith("~/"):
        raise files.UnreadableError("the Kubernetes provider fills in ~/ only, not the folder of another user")
    else:
        text = files.text(files.located(text_or_path))
    loaded = files.document(text)
    if not isinstance(loaded, dict):
        raise files.UnreadableError("it is empty" if loaded is None else "it is no mapping")
    config = cast("dict[str, Any]", loaded)
    if wrong := kubeconfig_fault(config):
        raise files.UnreadableError(wrong)
    return config


def _is_text(text_or_path: str) -> bool:
    return "\n" in text_or_path or text_or_path.lstrip().startswith("{")


def _ambient(environ: Mapping[str, str]) -> dict[str, Any]:
    """The kubeconfig of the environment: files named first win over later ones, as in kubectl."""
    listed = [entry for entry in environ.get("KUBECONFIG", "").split(os.pathsep) if entry]
    result: dict[str, Any] = {}
    missing: files.UnreadableError | None = None
    for written in listed or ["~/.kube/config"]:
        file: Path | None = None
        try:
            file = files.located(written)
            config = _absolute(_parsed(written), file.parent)
        except files.UnreadableError as error:
            # kubectl passes over a file that is not there, if another one is, and stops at one that is wrong.
            wrong = files.UnreadableError(f"{written[:200]!r}: {error.reason}")
            if file is None or not files.is_missing(file):
                raise wrong from None
            missing = missing or wrong
            continue
        for key in ("contexts", "clusters", "users"):
            have = entries(result, key)
            names = {entry.get("name") for entry in have}
            result[key] = have + [entry for entry in entries(config, key) if entry.get("name") not in names]
        result.setdefault("current-context", config.get("current-context", ""))
    if not result and missing:
        raise missing
    return result


def _absolute(config: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Paths in a kubeconfig are relative to its file."""
    keys = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    for kind, inner in (("clusters", "cluster"), ("users", "user")):
        for entry in entries(config, kind):
            body = cast("dict[str, Any]", entry.get(inner) or {})
            for key in keys:
                if body.get(key):
                    body[key] = str(directory / str(body[key]))
    return config


class ClusterError(ConfigurationError):
    """The cluster did not answer as it was asked. Carries the diagnostics.

    Attributes:
        status: The HTTP status, 0 where there was no answer.
    """

    def __init__(self, *diagnostics: Diagnostic, status: int = 0) -> None:
        super().__init__(diagnostics)
        self.status = status

    @property
    def brief(self) -> str:
        """The diagnostic in one line, for a run that is under way."""
        return f"{self.diagnostics[0].code}: {self.diagnostics[0].message} {self.diagnostics[0].remedy}"


class Cluster:
    """The API of the named cluster. Its methods raise nothing but ClusterError."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Prepare the connection: credentials are resolved, nothing is sent yet.

        Raises:
            ClusterError: The kubeconfig leads to no cluster, or its credentials can't be had.
        """
        self._config = config
        self._context = str(config["current-context"])
        self._client = self._connected()
        self._documents: dict[str, Any] = {}
        self._identity = ""

    def _connected(self) -> Any:
        settings = client.Configuration()
        # Without a limit of its own, Retry would sleep for as long as a Retry-After header says.
        cast("Any", settings).retries = urllib3.Retry(
            total=1, redirect=False, backoff_factor=0.2, respect_retry_after_header=False
        )
        try:
            return connection.client(self._config, settings)
        except connection.ConnectionConfigError as error:
            raise ClusterError(Diagnostic("MSH021", CONTEXT_PATH, self._context, str(error))) from None
        except connection.CredentialError as error:
            raise ClusterError(Diagnostic("MSH032", CONTEXT_PATH, self._context, str(error))) from None

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
            ClusterError: The server refuses, fails, or can't be reached.
        """
        sent: dict[str, Any] = {
            "query_params": list((query or {}).items()),
            "header_params": {"Accept": accept, "Content-Type": content},
            "body": body,
        }
        status, reason, data = self._send(method, path, sent)
        if status == HTTPStatus.UNAUTHORIZED and connection.may_change(self._config):
            # A token of a plugin or of a file expires while a long run goes on.
            self._client = self._connected()
            status, reason, data = self._send(method, path, sent)
        answer = _mapping(data)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES and answer is not None:
            return answer
        identity = self.identity() if status == HTTPStatus.FORBIDDEN else self._named_identity()
        said = str((answer or {}).get("message") or reason)
        what = api_requests.described(method, path)
        raise ClusterError(api_requests.refusal(self._context, what, identity, status, said), status=status)

    def _send(self, method: str, path: str, sent: Mapping[str, Any]) -> tuple[int, str, bytes]:
        try:
            prepared = self._client.param_serialize(method, path, **sent, auth_settings=["BearerToken"])
            answer = self._client.call_api(*prepared, _request_timeout=(ANSWER_SECONDS, 4 * ANSWER_SECONDS))
            return answer.status, str(answer.reason or ""), cast("bytes", answer.read())
        except (urllib3.exceptions.HTTPError, ApiException, OSError, ValueError) as error:
            what = api_requests.described(method, path)
            message = f"No answer to the request of {self._named_identity()} to {what}: {connection.reason(error)}."
            raise ClusterError(Diagnostic("MSH023", CONTEXT_PATH, self._context, message)) from None

    def identity(self) -> str:
        """Say as whom the API server sees the requests, as far as it tells."""
        if not self._identity:
            self._identity = self._named_identity()
            review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
            with contextlib.suppress(ClusterError):
                status, _, data = self._send(
                    "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"body": review}
                )
                answer = _mapping(data) if status == HTTPStatus.CREATED else None
                name = answer and cast("dict[str, Any]", answer.get("status") or {}).get("userInfo", {}).get("username")
                self._identity = str(name or self._identity)
        return self._identity

    def _named_identity(self) -> str:
        user = connection.user_of(self._config)
        return f"the user {user!r} of the kubeconfig" if user else "anonymous (the context names no user)"

    def apply(self, path: str, manifest: Mapping[str, Any], manager: str) -> None:
        """Apply a manifest on the server under a field manager, and take over the fields that it sets.

        Raises:
            ClusterError: The server refuses, fails, or can't be reached.
        """
        query = {"fieldManager": manager, "force": "true"}
        # JSON is YAML.
        self.request("PATCH", path, query=query, body=json.dumps(manifest), content="application/apply-patch+yaml")

    def create_unmanaged(self, path: str, manifest: Mapping[str, Any]) -> None:
        """Create an object whose fields nobody manages, so that whoever applies it next meets no conflict.

        Raises:
            ClusterError: The server refuses, fails, or can't be reached.
        """
        self.request("POST", path.rpartition("/")[0], body=manifest)
        # One empty entry resets the list (Kubernetes, "Server-Side Apply", clearing managedFields).
        body: dict[str, Any] = {"metadata": {"managedFields": [{}]}}
        self.request("PATCH", path, body=body, content="application/merge-patch+json")

    def kind(self, api_version: str, kind: str) -> Served | None:
        """Return how the API serves a kind, or None if it does not (yet).

        Raises:
            ClusterError: Discovery fails.
        """
        return self._served(api_version, lambda served: served.kind == kind)

    def _served(self, api_version: str, is_it: Callable[[Served], bool]) -> Served | None:
        """A kind that the API serves, in a version or else in another one of the same group, which has its objects too.

        Each document is asked for once. Only what discovery lists is there, and only what it does not list is not: a
        group that is listed and does not answer (an aggregated API whose server is down) is an error.
        """
        root, group = ("/apis", api_version.partition("/")[0]) if "/" in api_version else ("/api", "")
        listed = self._discovered(root, api_requests.versions)
        same = [version for version in listed if not group or version.partition("/")[0] == group]
        for version in sorted(same, key=lambda version: version != api_version):
            for entry in self._discovered(f"{root}/{version}", api_requests.resources):
                served = Served(version, *entry)
                if is_it(served):
                    return served
        return None

    def forget_kinds(self) -> None:
        """Ask discovery anew from now on: CustomResourceDefinitions may have come meanwhile."""
        self._documents.clear()

    def _discovered(self, path: str, parse: Callable[[Mapping[str, Any]], T]) -> T:
        """A document of discovery, parsed; asked for once, also if that failed."""
        if path not in self._documents:
            try:
                self._documents[path] = parse(self.request("GET", path))
            except (KeyError, TypeError, AttributeError):
                message = f"The answer of the API server to the request to get {path} is no list of what it serves."
                self._documents[path] = ClusterError(Diagnostic("MSH033", CONTEXT_PATH, self._context, message))
            except ClusterError as error:
                found = error.diagnostics[0]
                if found.code == "MSH031":
                    found = Diagnostic("MSH033", found.path, found.value, found.message)
                self._documents[path] = ClusterError(found, status=error.status)
        document = self._documents[path]
        if isinstance(document, ClusterError):
            raise document
        return document

    def path(self, api_version: str, kind: str, namespace: str, name: str) -> str:
        """Return the API path of an object.

        Raises:
            ClusterError: Discovery fails, or the API does not have the kind.
        """
        served = self.kind(api_version, kind)
        if served is None:
            message = f"The API server does not serve the kind {kind} of {api_version}."
            raise ClusterError(Diagnostic("MSH033", CONTEXT_PATH, self._context, message))
        return f"{collection(served.api_version, served.plural, namespace)}/{name}"

    def objects_of(
        self, api_version: str, kind: str, namespace: str, accept: str = "application/json"
    ) -> list[dict[str, Any]]:
        """Return all objects of a kind as `objects` does, by the name of the kind."""
        served = self.kind(api_version, kind)
        return self._listed(served, namespace, accept) if served else []

    def metadata(self, api_version: str, plural: str, namespace: str | None) -> list[dict[str, Any]]:
        """Return the metadata of all objects of a kind, in a namespace or cluster-wide.

        Raises:
            ClusterError: The objects can't be read. A kind that the API does not have is no error: it has none.
        """
        return [item["metadata"] for item in self.objects(api_version, plural, namespace, METADATA)]

    def objects(
        self, api_version: str, plural: str, namespace: str | None, accept: str = "application/json"
    ) -> list[dict[str, Any]]:
        """Return all objects of a kind, in a namespace or cluster-wide.

        A list says of its items neither `apiVersion` nor `kind`, or not always.

        Raises:
            ClusterError: The objects can't be read. A kind that the API does not have is no error: it has none.
        """
        served = self._served(api_version, lambda served: served.plural == plural)
        return self._listed(served, namespace, accept) if served else []

    def _listed(self, served: Served, namespace: str | None, accept: str) -> list[dict[str, Any]]:
        path = collection(served.api_version, served.plural, namespace)
        answer = self.request("GET", path, accept)
        try:
            return api_requests.items(answer)
        except (KeyError, TypeError, AttributeError):
            what = api_requests.described("GET", path)
            message = f"The answer of the API server to the request to {what} is no list of objects."
            raise ClusterError(Diagnostic("MSH031", CONTEXT_PATH, self._context, message)) from None


def _mapping(answer: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", said) if isinstance(said, dict) else None


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
    try:
        cluster = Cluster(config)
        version = cluster.request("GET", "/version")
    except ClusterError as error:
        return None, list(error.diagnostics)
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
        return [Diagnostic("MSH025", CONTEXT_PATH, said, "The cluster is too old.", allowed)]
    if found is not None and found > newest:
        message = "The cluster is newer than what this version of the mesh is known to work on."
        allowed = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
        return [Diagnostic("MSH035", CONTEXT_PATH, said, message, allowed, severity="warning")]
    return []
