"""Counted traffic: from the metrics and access logs of proxies to edges between accounts and Services. Pure.

Metrics that count who has called whom, and where their names and labels are from:

- Istio: `istio_requests_total` and `istio_tcp_connections_opened_total` of the receiver (Istio, "Istio Standard
  Metrics"). They name the account of the caller and the Service, but no port.
- Envoy: `envoy_cluster_upstream_rq` of the caller, of clusters `outbound|PORT|SUBSET|HOST`, where `proxyStatsMatcher`
  keeps it (measured with Istio 1.30's bootstrap). It names Service and port; the caller is the pod that was read.
- Linkerd: `inbound_http_authz_allow_total` and `inbound_tcp_authz_allow_total` of the receiver (linkerd2-proxy,
  app/inbound/src/metrics/authz.rs). They name the account of the caller and the port of the pod that was read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families

from components.manifests import Manifest
from components.meshes import MESHES
from components.security.model import Account
from components.security.world import World
from components.traffic.model import Pairs, Port, Service

PROXIES = {source.container: (source.port, source.path) for mesh in MESHES.values() for source in mesh.metrics}
"""The container of a sidecar -> port and path of its metrics."""
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SPIFFE = re.compile(r"spiffe://([^/]+)/ns/([^/]+)/sa/([^/]+)")
_LINKERD_NAME = re.compile(r"(.+)\.([^.]+)\.serviceaccount\.identity\.[^.]+\.(.+)")
_SERVER_NAME = re.compile(r"outbound_\.(\d+)_\.[^.]*_\.(.+)")
_REFUSED_CODES = ("401", "403")
_REFUSED_GRPC = ("7", "16")
_NO_ANSWER = ("", "0")
_TCP = ("tcp", "tls", "https", "mongo", "mysql", "redis")
_HTTP = ("http", "http2", "grpc", "grpc-web")


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a metric: its name, its labels, and the pod that was read if the labels do not say."""

    name: str
    labels: Mapping[str, str]
    value: float
    pod: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with a sidecar: where it is, who it is, the container of the sidecar, and which start of it runs."""

    namespace: str
    name: str
    account: str
    labels: Pairs
    address: str
    proxy: str
    started: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Caller:
    """Who mutual TLS has proved a caller to be. `trust_domain` is "" for that of the mesh."""

    account: Account
    trust_domain: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """A caller and a port of a Service that it has called: namespace and name of the Service, number of the port."""

    namespace: str
    service: str
    port: int
    caller: Caller


@dataclass(slots=True)
class Counted:
    """What was counted, each with the number of requests or connections.

    Attributes:
        edges: Calls that were let in.
        refused: Calls that were answered by nothing but 401, 403, or the same of gRPC.
        plain: Services that callers without an identity have called.
        portless: Caller and Service, as text, where the metrics do not say which of several ports it was.
        unknown: Where calls went that is no Service of the stack.
        requests: Method and path of calls, from access logs.
    """

    edges: dict[Edge, float] = field(default_factory=dict[Edge, float])
    refused: dict[Edge, float] = field(default_factory=dict[Edge, float])
    plain: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    portless: dict[tuple[str, str, Caller], float] = field(default_factory=dict[tuple[str, str, Caller], float])
    unknown: dict[str, float] = field(default_factory=dict[str, float])
    requests: dict[Edge, set[tuple[str, str]]] = field(default_factory=dict[Edge, set[tuple[str, str]]])


def parse_text(
    text: str, pod: tuple[str, str] | None = None, wanted: Callable[[str], bool] | None = None
) -> list[Sample]:
    """Read the metrics of a proxy (Prometheus, "Exposition formats"). What is no sample is skipped.

    prometheus_client reads one page of 10,000 lines in 160 ms (Envoy 1.40, 1.6 MB). So it gets only lines with names
    that are wanted: 4 ms.

    Args:
        text: The metrics.
        pod: Namespace and name of the pod that was read.
        wanted: Which names are read; without it, those that count who has called whom.
    """
    known: dict[str, bool] = {}
    found: list[Sample] = []
    for line in text.splitlines():
        name = match[0] if (match := _NAME.match(line)) else ""
        if name not in known:
            known[name] = wanted(name) if wanted else name in METRICS
        if known[name]:
            # The parser raises ValueError where it finds a fault, and IndexError where a line ends too early.
            with suppress(ValueError, IndexError):
                read = [sample for family in text_string_to_metric_families(line) for sample in family.samples]
                found += [Sample(one.name, one.labels, _number(one.value), pod) for one in read]
    return found


def parse_answer(metric: str, answer: Any) -> list[Sample]:
    """Read what Prometheus answers to an instant query.

    Args:
        metric: The metric that was asked for.
        answer: The answer (Prometheus, "HTTP API").

    Raises:
        ValueError: It is no vector.
    """
    try:
        if answer["status"] != "success" or answer["data"]["resultType"] != "vector":
            raise ValueError(str(answer.get("error") or "the answer is no vector"))
        results: list[Any] = answer["data"]["result"]
        return [
            Sample(metric, {str(key): str(value) for key, value in one["metric"].items()}, _number(one["value"][1]))
            for one in results
        ]
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ValueError("the answer is not one of Prometheus") from None


def query(metric: str, window: str) -> str:
    """Return the query for a metric: its highest values in a window, such as `7d`, that ends now.

    `increase` would miss a series whose one value is its first.
    """
    labels = ", ".join((*METRICS[metric], *(_SCRAPED if metric not in _NAMES_SERVICE else ())))
    return f"sum by ({labels}) (max_over_time({metric}[{window}]))"


def read_pods(manifests: Iterable[Manifest]) -> list[Pod]:
    """Return the running pods that have a sidecar."""
    found: list[Pod] = []
    for item in manifests:
        spec: dict[str, Any] = item.get("spec") or {}
        status: dict[str, Any] = item.get("status") or {}
        containers: list[dict[str, Any]] = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
        proxy = next((one["name"] for one in containers if one.get("name") in PROXIES), "")
        if proxy and status.get("phase") == "Running":
            metadata: dict[str, Any] = item["metadata"]
            labels: dict[str, str] = metadata.get("labels") or {}
            account, address = str(spec.get("serviceAccountName") or "default"), str(status.get("podIP") or "")
            place = (metadata.get("namespace", ""), metadata["name"])
            states: list[dict[str, Any]] = [
                *(status.get("containerStatuses") or []),
                *(status.get("initContainerStatuses") or []),
            ]
            container = next((str(one.get("containerID") or "") for one in states if one.get("name") == proxy), "")
            started = f"{metadata.get('uid') or ''} {container}"
            found.append(Pod(*place, account, tuple(sorted(labels.items())), address, proxy, started))
    return found


def count(samples: Iterable[Sample], pods: Sequence[Pod], world: World) -> Counted:
    """Add up who has called whom.

    Args:
        samples: The metrics of all proxies.
        pods: The pods of the cluster; empty with metrics that name both ends.
        world: The Services of the stack.
    """
    counter = _Counter(pods, world)
    for sample in samples:
        if sample.value > 0:
            counter.add(sample)
    found = counter.found
    found.refused = {edge: number for edge, number in found.refused.items() if edge not in found.edges}
    return found


def read_log(lines: Iterable[str], pods: Sequence[Pod], world: World) -> dict[Edge, set[tuple[str, str]]]:
    """Read method and path of calls from access logs in JSON, of Istio or Linkerd. What is no such line is skipped.

    Of Istio the caller is the pod whose address it is; of Linkerd the log names its account. Calls that were refused,
    and those of callers that are not known, are left out.
    """
    accounts = {pod.address: Account(pod.namespace, pod.account) for pod in pods if pod.address}
    known = _Names(world)
    found: dict[Edge, set[tuple[str, str]]] = {}
    for line in lines:
        entry = _entry(line)
        method, path = str(entry.get("method") or ""), _path(str(entry.get("path") or entry.get("uri") or ""))
        status = str(entry.get("response_code") or entry.get("status") or "")
        if not (method and path) or status in (*_REFUSED_CODES, *_NO_ANSWER):
            continue
        linkerd = "client.id" in entry
        caller = (
            identity(str(entry["client.id"]), world.trust_domain)
            if linkerd
            else _at_address(str(entry.get("downstream_remote_address") or ""), accounts)
        )
        called = _called_by_host(entry, caller) if linkerd else _called_by_cluster(entry)
        place = called and known.service(called[0])
        if caller and called and place and world.port_of(place, called[1]):
            edge = Edge(place.namespace, place.name, called[1], caller)
            found.setdefault(edge, set()).add((method, path))
    return found


def identity(text: str, trust_domain: str) -> Caller | None:
    """Return whom a principal names: a SPIFFE URI of Istio, or a name of Linkerd. None if it names no account."""
    if match := _SPIFFE.fullmatch(text):
        domain, namespace, account = match.groups()
    elif match := _LINKERD_NAME.fullmatch(text):
        account, namespace, domain = match.groups()
    else:
        return None
    return Caller(Account(namespace, account), "" if domain == trust_domain else domain)


class _Names:
    """Finds the Services of the stack by name. A Service that the routes make for one version is its Service."""

    def __init__(self, world: World) -> None:
        self._services = {one.host: one for one in world.services}
        for one in world.services:
            for version in one.versions:
                host = f"{one.name}-{version.name}.{one.namespace}.svc.{one.domain}"
                self._services.setdefault(host, one)
        self._domains = {one.domain for one in world.services}

    def service(self, host: str) -> Service | None:
        """Return the Service of a full name, with or without the domain of the cluster."""
        names = [host, *(f"{host}.svc.{domain}" for domain in self._domains), *(f"{host}.{d}" for d in self._domains)]
        return next((self._services[name] for name in names if name in self._services), None)


class _Counter:
    def __init__(self, pods: Sequence[Pod], world: World) -> None:
        self.found = Counted()
        self._world = world
        self._names = _Names(world)
        self._pods = {(pod.namespace, pod.name): pod for pod in pods}

    def add(self, sample: Sample) -> None:
        labels = sample.labels
        if sample.name in _NAMES_SERVICE:
            if labels.get("reporter") == "destination":
                self._add_istio(labels, sample.value)
        else:
            name = sample.pod or next(
                ((labels[place], labels[pod]) for place, pod in _PODS if labels.get(place) and labels.get(pod)), None
            )
            pod = self._pods.get(name) if name else None
            if pod is None:
                self._unknown(f"pod {'/'.join(name) if name else '?'}, which is not there", sample.value)
            elif sample.name.startswith("envoy_"):
                self._add_envoy(labels, sample.value, pod)
            else:
                self._add_linkerd(labels, sample.value, pod)

    def _add_istio(self, labels: Mapping[str, str], value: float) -> None:
        name, namespace = (labels.get(f"destination_service_{part}", "") for part in ("name", "namespace"))
        service = self._names.service(f"{name}.{namespace}")
        if service is None:
            self._unknown(f"{name}.{namespace}", value)
            return
        secure = labels.get("connection_security_policy") == "mutual_tls"
        caller = identity(labels.get("source_principal", ""), self._world.trust_domain) if secure else None
        protocol = labels.get("request_protocol", "")
        code, grpc = labels.get("response_code", ""), labels.get("grpc_response_status", "")
        if protocol != "tcp" and code in _NO_ANSWER:
            return
        refused = code in _REFUSED_CODES or grpc in _REFUSED_GRPC
        self._call(service, _ports_of(service, protocol), caller, value, refused=refused)

    def _add_envoy(self, labels: Mapping[str, str], value: float, pod: Pod) -> None:
        direction, number, _, host = [*labels.get("cluster_name", "").rstrip(";").split("|"), "", "", ""][:4]
        code = labels.get("response_code", "")
        if direction != "outbound" or code in _NO_ANSWER:
            return
        service = self._names.service(host)
        port = service and number.isdecimal() and self._world.port_of(service, int(number))
        if not (service and port):
            self._unknown(f"{host}:{number}", value)
            return
        caller = Caller(Account(pod.namespace, pod.account))
        self._call(service, [port], caller, value, refused=code in _REFUSED_CODES)

    def _add_linkerd(self, labels: Mapping[str, str], value: float, pod: Pod) -> None:
        number = labels.get("target_port") or labels.get("target_addr", "").rpartition(":")[2]
        own = set(pod.labels)
        behind = [
            (one, port)
            for one in self._world.services
            if one.namespace == pod.namespace and one.selector and set(one.selector) <= own
            for port in one.ports
            if str(port.container) == number
        ]
        caller = (
            identity(labels.get("client_id", ""), self._world.trust_domain) if labels.get("tls") == "true" else None
        )
        for service, port in behind:
            self._call(service, [port], caller, value, refused=False)
        if not behind and caller:
            self._unknown(f"port {number} of pod {pod.namespace}/{pod.name}", value)

    def _call(
        self, service: Service, ports: Sequence[Port], caller: Caller | None, value: float, *, refused: bool
    ) -> None:
        place = (service.namespace, service.name)
        if caller is None:
            if not refused:
                self.found.plain[place] = self.found.plain.get(place, 0) + value
        elif len(ports) == 1:
            counts = self.found.refused if refused else self.found.edges
            edge = Edge(*place, ports[0].number, caller)
            counts[edge] = counts.get(edge, 0) + value
        elif not refused:
            key = (*place, caller)
            self.found.portless[key] = self.found.portless.get(key, 0) + value

    def _unknown(self, what: str, value: float) -> None:
        self.found.unknown[what] = self.found.unknown.get(what, 0) + value


def _ports_of(service: Service, protocol: str) -> list[Port]:
    """Return the ports of a Service that requests of a protocol may have come to."""
    if len(service.ports) == 1:
        return list(service.ports)
    others = _HTTP if protocol == "tcp" else _TCP
    return [port for port in service.ports if (port.app_protocol or port.name.partition("-")[0]) not in others]


def _entry(line: str) -> dict[str, Any]:
    # A line that `kubectl logs --prefix` has put the name of the pod before.
    start = line.find("{")
    try:
        loaded: Any = json.loads(line[start:]) if start >= 0 else None
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}


def _path(text: str) -> str:
    """Return the path of a request target, without the query. "" if it has none."""
    if "://" in text:
        text = "/" + text.partition("://")[2].partition("/")[2]
    path = text.partition("?")[0].partition("#")[0]
    return path if path.startswith("/") else ""


def _at_address(text: str, accounts: Mapping[str, Account]) -> Caller | None:
    account = accounts.get(text.rpartition(":")[0].strip("[]"))
    return Caller(account) if account else None


def _called_by_cluster(entry: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return host and port that were called: the cluster in the log of a caller, the server name in a receiver's."""
    parts = str(entry.get("upstream_cluster") or "").rstrip(";").split("|")
    if parts[0] == "outbound" and len(parts) == len(("outbound", "port", "subset", "host")) and parts[1].isdecimal():
        return parts[3], int(parts[1])
    match = _SERVER_NAME.fullmatch(str(entry.get("requested_server_name") or ""))
    return (match[2], int(match[1])) if match and parts[0] == "inbound" else None


def _called_by_host(entry: Mapping[str, Any], caller: Caller | None) -> tuple[str, int] | None:
    """Return host and port that a request names. A name without a namespace is one of the caller's namespace."""
    uri = str(entry.get("uri") or "")
    authority = uri.partition("://")[2].partition("/")[0] if "://" in uri else str(entry.get("host") or "")
    host, _, number = authority.partition(":")
    if not host or caller is None:
        return None
    full = host if "." in host else f"{host}.{caller.account.namespace}"
    return full, int(number) if number.isdecimal() else 80


def _number(text: object) -> float:
    try:
        value = float(str(text))
    except ValueError:
        return 0.0
    return 0.0 if math.isnan(value) else value


_NAMES_SERVICE = ("istio_requests_total", "istio_tcp_connections_opened_total")
_SCRAPED = ("namespace", "pod", "kubernetes_namespace", "kubernetes_pod_name")
_PODS = (_SCRAPED[:2], _SCRAPED[2:])
"""Labels by which scrape configurations say namespace and pod: the chart's today, and Istio's samples before."""
_ISTIO = (
    "reporter",
    "source_principal",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "connection_security_policy",
)
METRICS: Mapping[str, tuple[str, ...]] = {
    "istio_requests_total": (*_ISTIO, "response_code", "grpc_response_status"),
    "istio_tcp_connections_opened_total": _ISTIO,
    "envoy_cluster_upstream_rq": ("cluster_name", "response_code"),
    "inbound_http_authz_allow_total": ("client_id", "tls", "target_addr", "target_port"),
    "inbound_tcp_authz_allow_total": ("client_id", "tls", "target_addr", "target_port"),
}
"""Metrics that count who has called whom -> the labels that are read."""
