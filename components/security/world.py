"""What is known of the workloads that rules are about: accounts, ports, probes, and who calls whom. Plain frozen data.

It is read from the manifests of the sample applications, and with a cluster from its workloads (`read_workloads`).
Rules hold without it; checks and the evaluator need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..traffic.model import Pairs, Port, Service
from ..traffic.proxies import PortReading
from .model import Account

ProbeKind = Literal["http", "tcp", "grpc", "exec"]
ServicePort = tuple[str, str, int]
"""Namespace and name of a Service, and the number of a port of it."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A liveness, readiness or startup probe.

    Attributes:
        kind: How the kubelet asks.
        port: The port of the pod, 0 for `exec`.
        path: The path, without the query, of an HTTP probe.
    """

    kind: ProbeKind
    port: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """Pods that are made from one template.

    Attributes:
        name: Name of the Deployment, StatefulSet, DaemonSet, Job or pod.
        namespace: Its namespace.
        kind: Its kind.
        account: The service account; `default` unless the template names one.
        labels: The labels of the pods.
        ports: Named ports of the containers -> number.
        declared: The numbers of all ports that the containers declare.
        probes: The probes of the containers.
        scraped: Port and path that Prometheus is told to scrape by annotations; None for nothing.
        meshed: Whether the pods have, or will have, a sidecar.
        bypassed: Ports, each as first and last number, that annotations keep away from the sidecar.
        direct_probes: Whether an annotation keeps Istio from asking probes itself.
        direct_metrics: Whether an annotation keeps Istio from scraping the application itself.
    """

    name: str
    namespace: str
    kind: str
    account: str
    labels: Pairs = ()
    ports: tuple[tuple[str, int], ...] = ()
    declared: tuple[int, ...] = ()
    probes: tuple[Probe, ...] = ()
    scraped: tuple[int, str] | None = None
    meshed: bool = True
    bypassed: tuple[tuple[int, int], ...] = ()
    direct_probes: bool = False
    direct_metrics: bool = False

    def bypasses(self, port: int) -> bool:
        """Return True if a port of the pods is kept away from the sidecar."""
        return any(first <= port <= last for first, last in self.bypassed)

    @property
    def identity(self) -> Account:
        """Its account with the namespace."""
        return Account(self.namespace, self.account)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that an application makes: an edge of its call graph.

    Attributes:
        caller: The account of the caller; None for callers from outside of the application: users, by a gateway.
        service: Name of the Service that is called.
        namespace: Its namespace.
        port: The port of the Service.
        method: HTTP method; "" for a TCP connection.
        paths: The paths, as `paths` of a rule has them (`/a`, `{prefix: /a}`, `{template: /a/{*}}`).
        example: One path, with a query where there is one, as the caller sends it.
        note: When the call is made, where that is not always.
        optional: Whether the application works without it.
    """

    caller: Account | None
    service: str
    namespace: str
    port: int
    method: str = "GET"
    paths: tuple[str | Mapping[str, str], ...] = ()
    example: str = "/"
    note: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Webhook:
    """A Service that the API server calls. It is outside of the mesh, so it has no identity.

    Attributes:
        name: Kind and name of the configuration that names the Service.
        service: Name of the Service.
        namespace: Its namespace.
        port: The port of the Service.
    """

    name: str
    service: str
    namespace: str
    port: int


@dataclass(frozen=True, slots=True)
class World:
    """What is known beside the rules.

    Attributes:
        services: The Services.
        workloads: The workloads behind them, and other callers.
        calls: The known call graph.
        gateways: The account of the pods of each gateway of `meshup:gateways`; None if it is not known.
        namespaces: The namespaces that the stack makes or the cluster has, and whether each joins the mesh; empty if
            they are not known.
        webhooks: What the API server calls in the cluster; empty without a cluster.
        readings: How the mesh reads what arrives at the ports of Services; a port may be missing.
        target_names: The ports of Services whose targetPort is a name, and that name.
        scoped: Namespaces whose proxies know only what meshup:namespaces lists (Istio's Sidecar).
        scrapers: The accounts that scrape the metrics of proxies; None for one that is not known.
        routed_hosts: Hosts outside of the cluster that routes open: namespace and host.
        trust_domain: Trust domain of the mesh.
        control_plane: Namespace of the mesh's control plane.
    """

    services: tuple[Service, ...] = ()
    workloads: tuple[Workload, ...] = ()
    calls: tuple[Call, ...] = ()
    gateways: Mapping[str, Account | None] = field(default_factory=dict[str, "Account | None"])
    namespaces: Mapping[str, bool] = field(default_factory=dict[str, bool])
    webhooks: tuple[Webhook, ...] = ()
    readings: Mapping[ServicePort, PortReading] = field(default_factory=dict[ServicePort, PortReading])
    target_names: Mapping[ServicePort, str] = field(default_factory=dict[ServicePort, str])
    scoped: frozenset[str] = frozenset()
    scrapers: tuple[Account | None, ...] = ()
    routed_hosts: frozenset[tuple[str, str]] = frozenset()
    trust_domain: str = "cluster.local"
    control_plane: str = ""
    # An index, filled at the first question: a stack has a thousand Services, and as many questions about each.
    _labelled: dict[tuple[str, tuple[str, str]], list[Workload]] = field(
        default_factory=dict[tuple[str, tuple[str, str]], list[Workload]], init=False, repr=False, compare=False
    )

    def behind(self, service: Service) -> list[Workload]:
        """Return the workloads that a Service selects."""
        if not self._labelled:
            for one in self.workloads:
                for label in one.labels:
                    self._labelled.setdefault((one.namespace, label), []).append(one)
        none: list[Workload] = []
        lists = [self._labelled.get((service.namespace, label), none) for label in service.selector]
        selector = set(service.selector)
        return [one for one in min(lists, key=len, default=none) if selector <= set(one.labels)]

    def accounts_of(self, service: Service) -> list[Account]:
        """Return the accounts under which the pods of a Service run, each once."""
        return list(dict.fromkeys(one.identity for one in self.behind(service)))

    def service(self, name: str, namespace: str) -> Service | None:
        """Return a Service, None if it is not known."""
        return next((one for one in self.services if (one.name, one.namespace) == (name, namespace)), None)

    def port_of(self, service: Service, number: int) -> Port | None:
        """Return the port of a Service with a number, None if it has none."""
        del self
        return next((port for port in service.ports if port.number == number), None)
