"""Where `meshup top` and `meshup watch` read: a Prometheus with the neutral series, or the proxies themselves."""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from components.addons.interface import Address
from components.addons.prometheus import PrometheusSettings
from components.diagnostics import ConfigurationError, Diagnostic, errors
from components.observability.rules import backends
from components.observability.source import MetricsSource
from components.traffic.model import Service
from components.traffic.targets import Planned
from operate import metrics, rules
from operate.metrics import PROXIES, Pod
from operate.prometheus import Ask, PrometheusError, at_address, behind_service
from operate.top import (
    WINDOW,
    Counts,
    Look,
    Sample,
    Watch,
    added,
    by_version,
    read_page,
    renamed,
    source_of,
    splits,
    summed,
    together,
)
from operate.traffic import Compiled
from stacks.cluster import Cluster, ClusterError, connect

AT_ONCE = 8
"""How many proxies are read at a time."""
SILENT = 60.0
"""Seconds in which a proxy that could not be read is not asked again: an answer that never comes takes half of it."""
_TIMED = 300.0
_SERVICE = re.compile(
    r"http://(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)(?:\.svc(?:\.[a-z0-9.-]+)?)?(?::(?P<port>[0-9]+))?/?"
)
"""The address of a Service, as pods of the cluster reach it. One with a path goes elsewhere."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read at one time.

    Attributes:
        source: The metrics that were read.
        counts: What was counted, under neutral names.
        seconds: How long it was counted.
        timed_seconds: How long durations were, if that is not the same.
        notes: What could not be read.
    """

    source: MetricsSource
    counts: Counts
    seconds: float
    timed_seconds: float = 0.0
    notes: tuple[Diagnostic, ...] = ()


class Source(ABC):
    """Where figures come from.

    Attributes:
        kind: `prometheus` or `proxies`.
    """

    kind: str

    @abstractmethod
    def read(self) -> Reading | None:
        """Read once. None if nothing can be said before the next time.

        Raises:
            ConfigurationError: Nothing can be read.
        """


class Prometheus(Source):
    """A Prometheus that computes the series of `meshup rules`."""

    kind = "prometheus"

    def __init__(self, ask: Ask, source: MetricsSource, mesh: str, address: str) -> None:
        """Ask nothing yet.

        Args:
            ask: Asks it.
            source: The metrics that it reads.
            mesh: The mesh, a label of the series.
            address: Where it is, for reports.
        """
        self._ask, self._source, self._mesh, self._address = ask, source, mesh, address

    def read(self) -> Reading:
        """Read the neutral series, see `Source`."""
        requests = self._series("meshup:requests:rate1m")
        buckets = self._series("meshup:request_duration_ms_bucket:rate5m")
        counts = Counts(
            summed(((*_place(one), one.labels.get("code_class", "")), one.value * WINDOW) for one in requests),
            summed(((*_place(one), one.labels.get("le", "")), one.value * _TIMED) for one in buckets),
        )
        notes: list[Diagnostic] = []
        if not requests:
            message = f"It has no series meshup:requests:rate1m of {self._mesh}."
            notes.append(Diagnostic("MSH662", "Prometheus", self._address, message, severity="warning"))
        return Reading(self._source, counts, WINDOW, _TIMED, tuple(notes))

    def _series(self, name: str) -> list[metrics.Sample]:
        try:
            return metrics.parse_answer(name, self._ask(f'{name}{{mesh="{self._mesh}"}}'))
        except (PrometheusError, ValueError) as error:
            message = f"It can't be asked: {error}."
            raise ConfigurationError([Diagnostic("MSH661", "Prometheus", self._address, message)]) from None


def _place(sample: metrics.Sample) -> tuple[str, str, str]:
    labels = sample.labels
    return labels.get("namespace", ""), labels.get("service", ""), labels.get("version", "")


class Proxies(Source):
    """The counters of the proxies, read through the API server: what they add from look to look."""

    kind = "proxies"

    def __init__(
        self,
        cluster: Cluster,
        sources: Sequence[MetricsSource],
        planned: Sequence[Planned],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet.

        Args:
            cluster: The cluster.
            sources: The metrics that its proxies may have; those that are there are read, the first of them.
            planned: The routes.
            clock: Says the time in seconds.
        """
        self._cluster, self._sources, self._planned, self._clock = cluster, sources, planned, clock
        self._last: Look | None = None
        self._parts: list[tuple[float, dict[str, Counts]]] = []
        self._silent: dict[str, tuple[float, Diagnostic]] = {}

    def read(self) -> Reading | None:
        """Read all proxies, see `Source`. The first time says nothing yet."""
        before, (look, notes) = self._last, self._look()
        self._last = look
        if before is None:
            return None
        seconds = look.at - before.at
        self._parts.append((seconds, {one.name: added(before, look, one.name) for one in self._sources}))
        while sum(seconds for seconds, _ in self._parts[1:]) >= WINDOW:
            del self._parts[0]
        source = source_of(look, self._sources)
        if not any(pages.get(source.name) for pages in look.pages.values()):
            message = f"None of {len(look.pages)} proxies has counted a request that it sent to a Service."
            notes.append(Diagnostic("MSH663", "Pod", None, message, severity="warning"))
        counts = together(part[source.name] for _, part in self._parts)
        measured, _ = backends(self._planned, source)
        named = renamed(counts, self._planned, measured, source)
        return Reading(source, named, sum(seconds for seconds, _ in self._parts), notes=tuple(notes))

    def _look(self) -> tuple[Look, list[Diagnostic]]:
        pods = metrics.read_pods(self._cluster.objects("v1", "Pod"))
        at = self._clock()
        pages: dict[str, dict[str, Counts]] = {}
        self._silent = {key: found for key, found in self._silent.items() if found[0] > at}
        asked = [pod for pod in pods if _key(pod) not in self._silent]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for pod, page in zip(asked, pool.map(self._page, asked), strict=True):
                if isinstance(page, Diagnostic):
                    self._silent[_key(pod)] = (self._clock() + SILENT, page)
                else:
                    pages[_key(pod)] = page
        notes = [self._silent[_key(pod)][1] for pod in pods if _key(pod) in self._silent]
        return Look(at, frozenset(map(_key, pods)), pages), notes

    def _page(self, pod: Pod) -> dict[str, Counts] | Diagnostic:
        port, path = PROXIES[pod.proxy]
        try:
            return read_page(self._cluster.pod_text(pod.namespace, pod.name, port, path), self._sources)
        except ClusterError as error:
            message = f"Its proxy is not counted: {error.diagnostics[0].message}"
            return Diagnostic("MSH660", "Pod", f"{pod.namespace}/{pod.name}", message, severity="warning")


def _key(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.name} {pod.started}"


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched.

    Attributes:
        source: Where figures come from.
        mesh: The mesh.
        planned: The routes.
    """

    source: Source
    mesh: str
    planned: Sequence[Planned]

    def split(self, sample: Sample, service: Service) -> Watch:
        """Return the measured rules of a Service beside a sample. Those that can't be measured are notes."""
        measured, diagnostics = backends(self.planned, rules.sources(self.mesh)[sample.metrics])
        routes = [plan.route for plan in self.planned if plan.route.service.host == service.host]
        objective = next((route.objective for route in routes if route.objective), None)
        own = [note for note in diagnostics if any(note.path.startswith(route.where) for route in routes)]
        noted = replace(sample, notes=(*sample.notes, *own))
        return Watch(noted, service, splits(sample, service, measured, objective))

    def samples(self, interval: float) -> Iterator[Sample]:
        """Yield a sample after each interval. What can't be read after the first one is a note.

        Raises:
            ConfigurationError: Nothing can be read at first.
        """
        last: Sample | None = None
        while True:
            began = time.monotonic()
            now = datetime.now(UTC)
            try:
                reading = self.source.read()
            except ConfigurationError as error:
                if last is None:
                    raise
                kept = last.metrics, last.seconds, last.versions
                yield Sample(now, self.mesh, self.source.kind, *kept, tuple(error.diagnostics))
            else:
                if reading is not None:
                    versions = by_version(reading.counts, reading.seconds, reading.timed_seconds)
                    read = self.source.kind, reading.source.name, reading.seconds
                    last = Sample(now, self.mesh, *read, versions, reading.notes)
                    yield last
            time.sleep(max(interval - (time.monotonic() - began), 0.0))


def watched(asked: Compiled, name: str, prometheus: str, *, proxies: bool) -> Watched:
    """Find what is read: the Prometheus at an address, that of the stack, or else its proxies.

    Args:
        asked: The stack.
        name: That of the metrics that its proxies have; "" for what `meshup:prometheus` says, or is found.
        prometheus: Address of a Prometheus; "" for none.
        proxies: Read the proxies, whatever Prometheus there is.

    Raises:
        ConfigurationError: The configuration has errors, or the cluster can't be reached.
    """
    if faults := errors(asked.faults):
        raise ConfigurationError(faults)
    mesh, planned = asked.mesh.name, asked.compilation.planned
    chosen = asked.chosen.section(PrometheusSettings)
    known = rules.sources(mesh)
    name = name or ("" if chosen.metrics == "auto" else chosen.metrics)
    sources = [known[name]] if name in known else list(known.values())
    if prometheus:
        return Watched(Prometheus(at_address(prometheus), sources[0], mesh, prometheus), mesh, planned)
    cluster, _, unreachable = connect(asked.chosen.cluster, os.environ)
    if cluster is None or errors(unreachable):
        raise ConfigurationError(unreachable)
    where = None if proxies else chosen.address()
    if where is not None:
        return Watched(Prometheus(_asking(where, cluster), sources[0], mesh, where.url), mesh, planned)
    return Watched(Proxies(cluster, sources, planned), mesh, planned)


def _asking(where: Address, cluster: Cluster) -> Ask:
    """Return what asks the Prometheus of a stack: through the API server if its address is that of a Service.

    Raises:
        ConfigurationError: It wants a login, which is in a Secret for pods.
    """
    if where.login is not None:
        message = "It wants a login, which only pods have."
        raise ConfigurationError([Diagnostic("MSH661", "Prometheus", where.url, message)])
    if service := _SERVICE.fullmatch(where.url):
        return behind_service(cluster, service["namespace"], service["name"], int(service["port"] or 80))
    return at_address(where.url)
