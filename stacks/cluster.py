"""The API of a stack's cluster, and a cached view of its objects. No other module reads a cluster."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from components.diagnostics import ConfigurationError, Diagnostic
from components.manifests import Manifest, ObjectRef, object_ref
from components.meshes.interface import Minor, minor
from kubeaccess import connection
from stacks import kubeconfig
from stacks.settings import ClusterSettings

ANSWER_SECONDS = 5.0
"""Timeout of a connection to the API server; the timeout of reading an answer is four times that."""
LONGEST_PAUSE_SECONDS = 2
"""How long a busy API server is waited for at most, each of three times."""
SIDE_BY_SIDE = 20
"""Requests that are sent at the same time at most."""
CONTEXT_PATH = "kubernetes:context"
"""Configuration key at which diagnostics about the cluster are reported."""
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Media type of a list of objects with their metadata only."""
_PATH = re.compile(
    r"/(?:api/(?P<core>v\w+)|apis/(?P<group>[^/]+)/(?P<version>v\w+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?"
)
_LONGEST_MESSAGE = 400
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

T = TypeVar("T")
Asked = TypeVar("Asked", bound=Hashable)


class Access(NamedTuple):
    """A right, as RBAC names it.

    Attributes:
        verb: Such as `create`.
        group: The API group, "" for the core one.
        resource: Plural name of the resource.
        namespace: The namespace, "" for all of them, or for what is in none.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""


class Resource(NamedTuple):
    """How a kind is served.

    Attributes:
        plural: Plural name in its path, and in RBAC.
        namespaced: Whether its objects are in namespaces.
    """

    plural: str
    namespaced: bool


class Answer(NamedTuple):
    """What the API server answers to a request.

    Attributes:
        status: The HTTP status.
        message: Its reason, "" if it has accepted.
        item: The object as it would be stored; empty if it is refused.
    """

    status: int
    message: str
    item: Manifest

    @property
    def accepted(self) -> bool:
        """Whether the object would be stored."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


class ClusterError(ConfigurationError):
    """A request to the API server failed. Carries one diagnostic.

    Attributes:
        answered: False if there was no response; further requests would fail as well.
    """

    def __init__(self, code: str, context: str, message: str, *, answered: bool = True) -> None:
        super().__init__([Diagnostic(code, CONTEXT_PATH, context, message)])
        self.answered = answered

    @property
    def brief(self) -> str:
        """The diagnostic in one line, for the log of a running `up`."""
        return f"{self.diagnostics[0].code}: {self.diagnostics[0].message} {self.diagnostics[0].remedy}"


class Cluster:
    """The API of the named cluster. Its methods raise nothing but ClusterError."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Resolve credentials; send nothing yet.

        Args:
            config: As `stacks.kubeconfig.find` returns it.

        Raises:
            ClusterError: The kubeconfig leads to no cluster, or its credentials can't be resolved.
        """
        self._config = config
        self._context = str(config["current-context"])
        self._client = self._connected()
        self._discovery: dict[str, Any] = {}
        self._identity = ""
        self._date: str | None = None

    def _connected(self) -> Any:
        settings = client.Configuration()
        # An API server that is busy, or that opens the storage of a new CustomResourceDefinition, says so by 429 and
        # Retry-After. Without the limit, Retry would sleep for as long as the header says.
        cast("Any", settings).retries = urllib3.Retry(
            total=3,
            connect=1,
            read=1,
            redirect=False,
            backoff_factor=0.2,
            retry_after_max=LONGEST_PAUSE_SECONDS,
            raise_on_status=False,
        )
        cast("Any", settings).connection_pool_maxsize = SIDE_BY_SIDE
        try:
            return connection.client(self._config, settings)
        except connection.ConnectionConfigError as error:
            raise ClusterError("MSH021", self._context, str(error), answered=False) from None
        except connection.CredentialError as error:
            raise ClusterError("MSH032", self._context, str(error), answered=False) from None

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

        The client serialises a mapping for a JSON content type and sends text as it is.

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
            # A token from a plugin or a file can expire during a long run.
            self._client = self._connected()
            status, reason, data = self._send(method, path, sent)
        answer = _mapping(data)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            if answer is not None:
                return answer
            reason = "it is not a JSON object"
        raise self._refusal(_request_text(method, path), status, str((answer or {}).get("message") or reason))

    def may(self, access: Access) -> bool:
        """Return whether the credentials have a right, as the API server's authorizers decide it.

        They don't see admission, quotas, or that a role may only give what its author has.

        Raises:
            ClusterError: The server refuses to say, or can't be reached.
        """
        attributes = {"verb": access.verb, "group": access.group, "resource": access.resource}
        attributes |= {"namespace": access.namespace} if access.namespace else {}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
        status = cast("Mapping[str, Any]", answer.get("status") or {})
        return status.get("allowed") is True

    def dry_run(self, manifest: Manifest, manager: str) -> Answer:
        """Return what the API server would make of an object; nothing is stored.

        Admission runs as for a real request: webhooks, policies, Pod Security, quotas. An object with a name is applied
        server-side, so that one that exists is judged as changed; one with `generateName` is created.

        Raises:
            ClusterError: The server can't be reached, or does not serve the kind.
        """
        ref = object_ref({**manifest, "metadata": {"name": "", **manifest["metadata"]}})
        path, query = self._path(ref), {"dryRun": "All", "fieldManager": manager}
        sent: dict[str, Any] = {"header_params": {"Accept": "application/json", "Content-Type": "application/json"}}
        if ref.name:
            sent["header_params"]["Content-Type"] = "application/apply-patch+yaml"
            method, query, sent["body"] = "PATCH", query | {"force": "true"}, json.dumps(manifest)
        else:
            method, path, sent["body"] = "POST", path.rpartition("/")[0], manifest
        status, reason, data = self._send(method, path, {**sent, "query_params": list(query.items())})
        answer = _mapping(data) or {}
        made = Answer(status, "", answer)
        return made if made.accepted else Answer(status, _one_line(str(answer.get("message") or reason)), {})

    def resources(self, api_version: str) -> Mapping[str, Resource]:
        """Return how the kinds of an apiVersion are served; empty if it is not.

        Raises:
            ClusterError: The server can't be reached, or its answer is no list of kinds.
        """
        root = "/apis" if "/" in api_version else "/api"
        listed = api_version in self._discovered(root, _versions)
        return self._discovered(f"{root}/{api_version}", _resources) if listed else {}

    def clock(self) -> float | None:
        """Return how many seconds the API server's clock is ahead of the own one; None if it does not say its time.

        HTTP tells whole seconds, so less than one is not told apart from none.

        Raises:
            ClusterError: The server can't be reached.
        """
        before = time.time()
        self.version()
        own = (before + time.time()) / 2
        if self._date is None:
            return None
        try:
            ahead = parsedate_to_datetime(self._date).timestamp() + 0.5 - own
        except ValueError:
            return None
        return ahead

    def _refusal(self, what: str, status: int, reason: str) -> ClusterError:
        reason = _one_line(reason)
        identity = self._named_identity()
        if status == HTTPStatus.UNAUTHORIZED:
            message = f"The API server does not accept the credentials of {identity} (to {what}): 401 {reason}."
            return ClusterError("MSH024", self._context, message)
        if status == HTTPStatus.FORBIDDEN:
            message = f"{self._seen_identity()} may not {what}: 403 {reason}."
            return ClusterError("MSH024", self._context, message)
        message = f"The API server answers {status} to the request of {identity} to {what}: {reason}."
        return ClusterError("MSH031", self._context, message)

    def _send(self, method: str, path: str, sent: Mapping[str, Any]) -> tuple[int, str, bytes]:
        try:
            prepared = self._client.param_serialize(method, path, **sent, auth_settings=["BearerToken"])
            answer = self._client.call_api(*prepared, _request_timeout=(ANSWER_SECONDS, 4 * ANSWER_SECONDS))
            self._date = answer.getheader("Date")
            return answer.status, str(answer.reason or ""), cast("bytes", answer.read())
        except (urllib3.exceptions.HTTPError, ApiException, OSError, ValueError) as error:
            what = _request_text(method, path)
            message = f"No answer to the request of {self._named_identity()} to {what}: {connection.reason(error)}."
            raise ClusterError("MSH023", self._context, message, answered=False) from None

    def _seen_identity(self) -> str:
        """Return the user name that the API server reports for the requests."""
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

    def version(self) -> str:
        """Return the version of the API server, such as v1.36.3.

        Raises:
            ClusterError: The server refuses, fails, or can't be reached.
        """
        return str(self.request("GET", "/version").get("gitVersion", ""))

    def objects(
        self, api_version: str, kind: str, namespace: str = "", *, metadata_only: bool = False
    ) -> list[Manifest]:
        """Return all objects of a kind, in a namespace or cluster-wide.

        If the API server does not serve this version, another one of the group is listed. Items of a list
        lack `apiVersion` and `kind`, or have them.

        Raises:
            ClusterError: The objects can't be listed. A kind that is not served has no objects; that is no error.
        """
        collection = self._collection(api_version, kind, namespace)
        if not collection:
            return []
        answer = self.request("GET", collection, _METADATA if metadata_only else "application/json")
        try:
            # An empty list may be null.
            listed: list[Manifest] = answer["items"] or []
            return [item for item in listed if item["metadata"]["name"] + ""]
        except (KeyError, TypeError, AttributeError):
            what = _request_text("GET", collection)
            message = f"The answer of the API server to the request to {what} is not a list of objects."
            raise ClusterError("MSH031", self._context, message) from None

    def pod_text(self, namespace: str, name: str, port: int, path: str) -> str:
        """Return what a pod answers to GET, through the API server (`pods/proxy`).

        Raises:
            ClusterError: The server refuses, the pod does not answer, or not with 200.
        """
        return self._proxied(f"/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/{path}", {})

    def service_text(self, namespace: str, name: str, port: int, path: str, query: Mapping[str, str]) -> str:
        """Return what a Service answers to GET, through the API server (`services/proxy`).

        Raises:
            ClusterError: The server refuses, no pod of the Service answers, or not with 200.
        """
        return self._proxied(f"/api/v1/namespaces/{namespace}/services/{name}:{port}/proxy/{path}", query)

    def _proxied(self, where: str, query: Mapping[str, str]) -> str:
        sent: dict[str, Any] = {"query_params": list(query.items()), "header_params": {"Accept": "*/*"}}
        status, reason, data = self._send("GET", where, sent)
        if status != HTTPStatus.OK:
            said = _mapping(data) or {}
            raise self._refusal(
                _request_text("GET", where), status, str(said.get("message") or said.get("error") or reason)
            )
        return data.decode(errors="replace")

    def apply(self, manifest: Manifest, manager: str) -> None:
        """Apply a manifest server-side under a field manager, forcing conflicts."""
        query = {"fieldManager": manager, "force": "true"}
        # JSON is YAML.
        body, content = json.dumps(manifest), "application/apply-patch+yaml"
        self.request("PATCH", self._path(object_ref(manifest)), query=query, body=body, content=content)

    def create_unmanaged(self, manifest: Manifest) -> None:
        """Create an object without managedFields, so that the next apply meets no conflict."""
        path = self._path(object_ref(manifest))
        self.request("POST", path.rpartition("/")[0], body=manifest)
        # One empty entry resets the list (Kubernetes, "Server-Side Apply", clearing managedFields).
        body: dict[str, Any] = {"metadata": {"managedFields": [{}]}}
        self.request("PATCH", path, body=body, content="application/merge-patch+json")

    def delete(self, ref: ObjectRef) -> None:
        """Delete an object."""
        self.request("DELETE", self._path(ref))

    def _path(self, ref: ObjectRef) -> str:
        collection = self._collection(ref.api_version, ref.kind, ref.namespace)
        if not collection:
            message = f"The API server does not serve the kind {ref.kind} of {ref.api_version}."
            raise ClusterError("MSH033", self._context, message)
        return f"{collection}/{ref.name}"

    def _collection(self, api_version: str, kind: str, namespace: str) -> str:
        """Return the API path of a kind in this or another version of its group; "" if it is not served.

        Each discovery document is requested once. A kind is served exactly if discovery lists it: a
        group that is listed and does not answer (an aggregated API whose server is down) is an error.
        """
        root, group = ("/apis", api_version.partition("/")[0]) if "/" in api_version else ("/api", "")
        listed = self._discovered(root, _versions)
        same = [version for version in listed if not group or version.partition("/")[0] == group]
        for version in sorted(same, key=lambda version: version != api_version):
            resource = self._discovered(f"{root}/{version}", _resources).get(kind)
            if resource:
                inside = f"/namespaces/{namespace}" if namespace else ""
                return f"{root}/{version}{inside}/{resource.plural}"
        return ""

    def forget_kinds(self) -> None:
        """Drop cached discovery: CustomResourceDefinitions may have been created since."""
        self._discovery.clear()

    def _discovered(self, path: str, parse: Callable[[Mapping[str, Any]], T]) -> T:
        """Return a parsed discovery document; request it once, even if that fails."""
        if path not in self._discovery:
            try:
                self._discovery[path] = parse(self.request("GET", path))
            except (KeyError, TypeError, AttributeError):
                message = f"The answer of the API server to the request to get {path} is not a list of what it serves."
                self._discovery[path] = ClusterError("MSH033", self._context, message)
            except ClusterError as error:
                fault = error.diagnostics[0]
                code = "MSH033" if fault.code == "MSH031" else fault.code
                self._discovery[path] = ClusterError(code, self._context, fault.message, answered=error.answered)
        document = self._discovery[path]
        if isinstance(document, ClusterError):
            raise document
        return document


def _mapping(answer: bytes) -> dict[str, Any] | None:
    try:
        loaded = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else None


def _request_text(method: str, path: str) -> str:
    """Return verb, resource, name and namespace of a request in RBAC terms."""
    match = _PATH.fullmatch(path)
    if match is None:
        return f"get {path}"
    name, namespace = match["name"], match["namespace"]
    verb = _VERBS.get(method, "get" if name else "list")
    resource = f"{match['plural']}.{match['group']}" if match["group"] else match["plural"]
    place = f"in the namespace {namespace}" if namespace else "cluster-wide"
    return f"{verb} {resource}{f' {name}' if name else ''} {place}"


def _versions(document: Mapping[str, Any]) -> list[str]:
    """Return the apiVersions that `/api` or `/apis` lists."""
    groups: list[Any] = document.get("groups") or []
    versions: list[str] = [
        *(document.get("versions") or []),
        *(version["groupVersion"] for group in groups for version in group["versions"]),
    ]
    return [version + "" for version in versions]


def _resources(document: Mapping[str, Any]) -> dict[str, Resource]:
    """Return how each kind of an apiVersion is served."""
    entries: list[Any] = document.get("resources") or []
    # A name with a slash is a subresource, such as status.
    return {
        entry["kind"]: Resource(entry["name"] + "", entry.get("namespaced") is True)
        for entry in entries
        if "/" not in entry["name"]
    }


def _one_line(text: str) -> str:
    """Return what a server says as one line of limited length, without control characters or a last full stop."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:_LONGEST_MESSAGE].rstrip(".")


def side_by_side(ask: Callable[[Asked], T], asked: Iterable[Asked]) -> dict[Asked, T]:
    """Ask several things of the cluster at the same time; return the answers by what was asked.

    Raises:
        ClusterError: One of the requests fails: the first, by the order of what is asked.
    """
    listed = list(dict.fromkeys(asked))
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return dict(zip(listed, pool.map(ask, listed), strict=True))


class ObjectLister(Protocol):
    """Source of a view: `Cluster`, or plain data in tests."""

    def objects(
        self, api_version: str, kind: str, namespace: str = "", *, metadata_only: bool = False
    ) -> list[Manifest]:
        """Return all objects of a kind, or raise ClusterError."""
        ...


class ClusterView:
    """The objects of a cluster. Every list is read once.

    A list that can't be read is empty and adds to `diagnostics`, so that one fault does not hide the next.

    Attributes:
        version: The version of the API server.
        diagnostics: The lists that can't be read, with reasons.
    """

    def __init__(self, cluster: ObjectLister, version: str) -> None:
        self.version = version
        self.diagnostics: list[Diagnostic] = []
        self._cluster = cluster
        self._lists: dict[tuple[str, str, str, bool], list[Manifest] | ClusterError] = {}
        self._lost: ClusterError | None = None
        self._failures = 0

    def objects(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Manifest]:
        """Return all objects of a kind, in a namespace or cluster-wide."""
        return self._read(api_version, kind, namespace, metadata_only=False)

    def metadata(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Manifest]:
        """Return the metadata of all objects of a kind, in a namespace or cluster-wide."""
        return [item["metadata"] for item in self._read(api_version, kind, namespace, metadata_only=True)]

    def existing(self, refs: Iterable[ObjectRef]) -> dict[ObjectRef, Manifest]:
        """Return the metadata of the objects that exist."""
        wanted = list(refs)
        names = {
            place: {metadata["name"]: metadata for metadata in self.metadata(*place)}
            for place in sorted({(ref.api_version, ref.kind, ref.namespace) for ref in wanted})
        }
        live = {ref: names[ref.api_version, ref.kind, ref.namespace].get(ref.name) for ref in wanted}
        return {ref: metadata for ref, metadata in live.items() if metadata is not None}

    def if_readable(self, check: Callable[[], T], otherwise: T) -> T:
        """Run a check. Return `otherwise` if a list that it needs can't be read: its result would be wrong."""
        before = self._failures
        result = check()
        return result if self._failures == before else otherwise

    def if_allowed(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Manifest]:
        """Return all objects of a kind, none if they can't be read: for what is only a remark."""
        key = (api_version, kind, namespace, False)
        if key not in self._lists:
            try:
                self._lists[key] = self._cluster.objects(api_version, kind, namespace)
            except ClusterError:
                return []
        listed = self._lists[key]
        return [] if isinstance(listed, ClusterError) else listed

    def _read(self, api_version: str, kind: str, namespace: str, *, metadata_only: bool) -> list[Manifest]:
        key = (api_version, kind, namespace, metadata_only)
        if key not in self._lists:
            try:
                if self._lost:
                    raise self._lost
                self._lists[key] = self._cluster.objects(api_version, kind, namespace, metadata_only=metadata_only)
            except ClusterError as error:
                self._lists[key] = error
                self._lost = None if error.answered else error
                self.diagnostics += error.diagnostics
        listed = self._lists[key]
        if isinstance(listed, ClusterError):
            self._failures += 1
            return []
        return listed


def connect(
    chosen: ClusterSettings, environ: Mapping[str, str]
) -> tuple[Cluster | None, ClusterView | None, list[Diagnostic]]:
    """Reach the cluster of a stack.

    Returns:
        Its API, its view, and the diagnostics. There is no view of a cluster that does not answer.
    """
    config, diagnostics = kubeconfig.find(chosen, environ)
    cluster = view = None
    try:
        if config:
            cluster = Cluster(config)
            view = ClusterView(cluster, cluster.version())
    except ClusterError as error:
        diagnostics += error.diagnostics
    return cluster, view, diagnostics


def check_version(version: str, supported: tuple[Minor, Minor]) -> list[Diagnostic]:
    """Refuse a cluster that is too old; warn of one that is newer than what the mesh is known to work on.

    A mesh relies on APIs that older versions lack. Newer versions seldom remove one, and no mesh refuses them.

    Args:
        version: The version of the API server, such as v1.36.3.
        supported: The first and the last version of Kubernetes that the mesh supports.
    """
    actual, (oldest, newest) = minor(version), supported
    if actual is not None and actual < oldest:
        allowed = f"{oldest[0]}.{oldest[1]} or later"
        return [Diagnostic("MSH025", CONTEXT_PATH, version, "The cluster is too old.", allowed)]
    if actual is not None and actual > newest:
        message = "The cluster is newer than what this version of the mesh is known to work on."
        allowed = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
        return [Diagnostic("MSH035", CONTEXT_PATH, version, message, allowed, severity="warning")]
    return []
