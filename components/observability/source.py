"""The interface of metrics: how the series of one kind of proxy become neutral ones.

A mesh implements it in its folder. Neutral series have the labels `namespace`, `service`, `version` and, for requests,
`code_class` (`2xx`; "" for a request that got no answer). What a mesh calls the backend of a route is not the same
everywhere: a subset, a Service of its own, or the backend of a parent. So rules are made in two steps. `requests` and
`durations` give series in the mesh's own names; `names` says under which of these the requests for a declared backend
are counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ..traffic.model import Destination
from ..traffic.targets import Planned
from .counters import Counter
from .promql import AlertingRule

Window = Literal["1m", "5m"]
BOUNDS = (25, 50, 100, 250, 500, 1000, 10_000)
"""Milliseconds: the upper bounds of durations that the neutral series keep. Linkerd has these for backends, Istio and
Envoy have them among others (observability.md A7, measured with Envoy 1.40)."""
FAILED_GRPC = (2, 4, 7, 13, 14, 15)
"""gRPC statuses that count as failures: UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED, INTERNAL, UNAVAILABLE, DATA_LOSS
(linkerd2-proxy, classify.rs, edge-26.8.3)."""
Signal = Literal[
    "clients",
    "attempts",
    "retries",
    "timeouts",
    "ejected",
    "overflow",
    "rate_limited",
    "faults",
    "mutual_tls",
    "mutual_tls_edges",
    "denials",
    "authorizations",
    "certificates",
    "renewals",
    "issuer",
    "trust_anchor",
    "proxy_versions",
    "pushes",
    "push_delay",
    "rejections",
    "validations",
    "injections",
    "control_plane_cpu",
    "control_plane_memory",
    "proxy_memory",
]
"""What dashboards show beside the neutral series, in the order of the dashboards."""


class Query(NamedTuple):
    """A query of a panel.

    Attributes:
        expr: The expression. Those of a Service have the variables of Grafana `$namespace`, `$service` and `$version`,
            which stands for all of its versions, joined by `|` in parentheses.
        legend: The name of a series, with its labels in double braces; "" for a table.
    """

    expr: str
    legend: str = ""


class MetricsSource(ABC):
    """The metrics of one kind of proxy.

    Attributes:
        name: Its name in the configuration.
        title: For people.
        retries_counted: Whether the counters of backends count each attempt in place of each request.
        scraper_in_mesh: Whether Prometheus must be in the mesh to read them.
        requested: The counters of requests, as clients count them, by namespace, service, version, code_class.
        timed: The buckets of their durations in milliseconds, by namespace, service, version, le; cumulative.
        container: The container of the proxy, which has these metrics at `port` and `path`.
    """

    name: str
    title: str
    retries_counted: bool = False
    scraper_in_mesh: bool = False
    requested: Counter
    timed: Counter
    container: str
    port: int
    path: str

    def requests(self, window: Window) -> str:
        """Return requests per second by namespace, service, version, code_class, as clients count them."""
        return self.requested.per_second(window)

    def durations(self, window: Window) -> str:
        """Return the buckets per second of the durations in milliseconds, by namespace, service, version and le."""
        return self.timed.per_second(window)

    @abstractmethod
    def alerts(self, version: str, namespaces: Sequence[str]) -> Sequence[AlertingRule]:
        """Return the alerts on the mesh itself: control plane, certificates, proxies, policies.

        Args:
            version: The version that control plane and proxies are to have.
            namespaces: The namespaces in the mesh.
        """

    @abstractmethod
    def signals(self) -> Mapping[Signal, Sequence[Query]]:
        """Return the queries of what the proxies and the control plane tell; what they do not is left out."""

    @abstractmethod
    def jobs(self, control_plane: str) -> Sequence[Mapping[str, Any]]:
        """Return the scrape jobs for all that rules and alerts read.

        Args:
            control_plane: The namespace of the control plane.
        """

    @abstractmethod
    def names(self, planned: Planned, destination: Destination) -> Mapping[str, str] | None:
        """Return the labels of `requests` that count what a route sends to a destination; None if none tells it apart.

        Args:
            planned: The route as it was compiled.
            destination: The version, or the Service.
        """
