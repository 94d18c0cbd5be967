"""`meshup top` and `meshup watch`: counters of proxies -> figures of each Service and version. Pure.

The way of the data: pages of proxies -> `Counts` of each (`read_page`) -> what was added between two looks (`added`) ->
those of the last minute together (`together`) -> names of routes in place of the mesh's own (`renamed`) -> `Figures` by
version -> tables, lines and JSON. A Prometheus gives the neutral series, which are `Counts` with these names already.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from components.diagnostics import Diagnostic, ordered
from components.observability.alerts import FEWEST_PER_VERSION, Z_LIMIT
from components.observability.rules import MeasuredBackend, slow_bound
from components.observability.source import BOUNDS, MetricsSource
from components.traffic.manifests import version_service_name
from components.traffic.model import Objective, Service
from components.traffic.targets import Planned
from operate.metrics import parse_text
from shares.statistics import CONFIDENCE, HEADINGS, SIGNIFICANCE, Share, measured, p_value, two_proportions

SCHEMA_VERSION = 1
"""Of the JSON documents."""
WINDOW = 60.0
"""Seconds over which figures are computed, at most: as `meshup:requests:rate1m`."""
FAILED = ("5xx", "")
"""Classes of codes that count as failures; "" got no answer."""
_NO_VERSION = ("", "unknown")
"""What Istio and Envoy say of pods without a version."""
Place = tuple[str, str, str]
"""Namespace, Service, version."""
Key = tuple[str, ...]
"""A `Place`, and the class of the code or the bound of the bucket."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests, and the cumulative buckets of their durations, by namespace, Service, version and class or bound."""

    requests: Mapping[Key, float] = field(default_factory=dict[Key, float])
    buckets: Mapping[Key, float] = field(default_factory=dict[Key, float])

    def __bool__(self) -> bool:
        return bool(self.requests or self.buckets)


@dataclass(frozen=True, slots=True)
class Look:
    """What all proxies have counted at one time.

    Attributes:
        at: When, in seconds of some clock.
        known: The proxies that were there. A container that was started anew is another one.
        pages: What each of those that answered has counted, by the name of the `MetricsSource`.
    """

    at: float
    known: frozenset[str]
    pages: Mapping[str, Mapping[str, Counts]]


def read_page(text: str, sources: Sequence[MetricsSource]) -> dict[str, Counts]:
    """Return what a proxy has counted, by the name of each of the metrics that it may have."""

    def wanted(name: str) -> bool:
        return any(counter.named(name) for source in sources for counter in (source.requested, source.timed))

    samples = parse_text(text, wanted=wanted)
    return {
        source.name: Counts(
            *(
                summed((key, one.value) for one in samples if (key := counter.read(one.name, one.labels)))
                for counter in (source.requested, source.timed)
            )
        )
        for source in sources
    }


def summed(parts: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """Add up values with the same key."""
    found: dict[Key, float] = {}
    for key, value in parts:
        found[key] = found.get(key, 0) + value
    return found


def together(parts: Iterable[Counts]) -> Counts:
    """Add up counts."""
    listed = list(parts)
    return Counts(
        summed(item for part in listed for item in part.requests.items()),
        summed(item for part in listed for item in part.buckets.items()),
    )


def since(before: Counts, after: Counts) -> Counts:
    """Return what one proxy has added. A counter that is less than before has started anew at 0."""
    return Counts(_since(before.requests, after.requests), _since(before.buckets, after.buckets))


def _since(before: Mapping[Key, float], after: Mapping[Key, float]) -> dict[Key, float]:
    return {key: value if value < (base := before.get(key, 0)) else value - base for key, value in after.items()}


def added(before: Look, after: Look, source: str) -> Counts:
    """Return what all proxies have added between two looks.

    A proxy that is new has counted everything since. One that was there and did not answer before, or does not now, is
    left out: nobody knows what of its counts is new.

    Args:
        before: The earlier look.
        after: The later one.
        source: The name of the metrics.
    """
    parts: list[Counts] = []
    for proxy, pages in after.pages.items():
        if proxy in before.pages:
            parts.append(since(before.pages[proxy].get(source, Counts()), pages.get(source, Counts())))
        elif proxy not in before.known:
            parts.append(pages.get(source, Counts()))
    return together(parts)


def source_of(look: Look, sources: Sequence[MetricsSource]) -> MetricsSource:
    """Return the first of the metrics that some proxy has; the first of all if none has any."""
    present = {name for pages in look.pages.values() for name, counts in pages.items() if counts}
    return next((source for source in sources if source.name in present), sources[0])


def renamed(
    counts: Counts, planned: Sequence[Planned], measured_backends: Sequence[MeasuredBackend], source: MetricsSource
) -> Counts:
    """Name what routes send requests to as the routes do, in place of the mesh's own labels.

    Args:
        counts: By the labels of the mesh.
        planned: The routes. What counts a version that is no measured backend gets the name of that version as well.
        measured_backends: The backends whose requests are told apart.
        source: The metrics of the counts.
    """
    names: list[tuple[Mapping[str, str], Place]] = [
        (one.upstream, (one.namespace, one.service, one.version)) for one in measured_backends
    ]
    for plan in planned:
        rules = plan.route.rules
        destinations = [backend.destination for rule in rules for backend in rule.backends]
        destinations += [mirror.destination for rule in rules for mirror in rule.mirrors]
        for one in destinations:
            upstream = source.names(plan, one)
            if upstream and one.version and upstream.get("service") in (version_service_name(one), one.service.name):
                names.append((upstream, (one.service.namespace, one.service.name, one.version.name)))
    known: dict[Place, Place] = {}

    def name(key: Key) -> Key:
        place = (key[0], key[1], key[2])
        if place not in known:
            labels = dict(zip(("namespace", "service", "version"), place, strict=True))
            taken = (new for wanted, new in names if wanted.items() <= labels.items())
            known[place] = next(taken, place)
        return (*known[place], *key[3:])

    return Counts(
        summed((name(key), value) for key, value in counts.requests.items()),
        summed((name(key), value) for key, value in counts.buckets.items()),
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """What requests were like.

    Attributes:
        seconds: How long they were counted.
        requests: How many there were.
        failed: How many of them failed.
        buckets: How many took so many milliseconds at most; all of them are at infinity.
    """

    seconds: float
    requests: float = 0.0
    failed: float = 0.0
    buckets: Mapping[float, float] = field(default_factory=dict[float, float])

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0

    @property
    def success(self) -> float | None:
        """The share that did not fail, 0 to 1; None without a request."""
        return 1 - self.failed / self.requests if self.requests > 0 else None

    def quantile(self, share: float) -> float | None:
        """Return the milliseconds in which a share of the requests was answered, None without any.

        It is interpolated between bounds, as `histogram_quantile` of Prometheus does; above the highest bound, it is
        that one.
        """
        counted = _cumulative(self.buckets)
        total = counted[-1][1] if counted else 0.0
        if total <= 0 or not math.isinf(counted[-1][0]):
            return None
        rank, low, below = share * total, 0.0, 0.0
        for bound, count in counted:
            if count >= rank and count > 0:
                return low if math.isinf(bound) else low + (bound - low) * (rank - below) / max(count - below, 1e-9)
            low, below = bound, count
        return low

    def slower(self, bound: int) -> tuple[float, float]:
        """Return how many took longer than a bound, in milliseconds, and how many were timed."""
        counted = dict(_cumulative(self.buckets))
        total = counted.get(math.inf, 0.0)
        return total - min(counted.get(float(bound), 0.0), total), total


def _cumulative(buckets: Mapping[float, float]) -> list[tuple[float, float]]:
    """Return the buckets by bound. None has fewer than one before: a counter that started anew could seem so."""
    found: list[tuple[float, float]] = []
    for bound, count in sorted(buckets.items()):
        found.append((bound, max(count, found[-1][1] if found else 0.0)))
    return found


def by_version(counts: Counts, seconds: float, timed_seconds: float = 0.0) -> dict[Place, Figures]:
    """Return the figures of each version of each Service.

    Args:
        counts: What was counted, under neutral names.
        seconds: How long requests were counted.
        timed_seconds: How long durations were, if that is not the same. They are brought to the same number of seconds.
    """
    scale = seconds / timed_seconds if timed_seconds else 1.0
    found: dict[Place, Figures] = {}
    for key, value in counts.requests.items():
        one = found.get(place := _place(key), Figures(seconds))
        failed = value if key[3] in FAILED else 0.0
        found[place] = replace(one, requests=one.requests + value, failed=one.failed + failed)
    for key, value in counts.buckets.items():
        one = found.get(place := _place(key), Figures(seconds))
        bound = math.inf if key[3] == "+Inf" else float(key[3])
        found[place] = replace(one, buckets={**one.buckets, bound: one.buckets.get(bound, 0.0) + value * scale})
    return found


def _place(key: Key) -> Place:
    return key[0], key[1], _version(key[1], key[2])


def _version(service: str, name: str) -> str:
    """Return a version; "" where it is none. Linkerd names the Service where a route has no versions.

    What a proxy or a Prometheus says of itself must not control a terminal.
    """
    return "" if name in (*_NO_VERSION, service) else "".join(one if one.isprintable() else "?" for one in name)


def all_of(parts: Iterable[Figures], seconds: float) -> Figures:
    """Return the figures of several versions as one."""
    whole = Figures(seconds)
    for part in parts:
        bounds = {*whole.buckets, *part.buckets}
        buckets = {bound: whole.buckets.get(bound, 0.0) + part.buckets.get(bound, 0.0) for bound in bounds}
        whole = Figures(seconds, whole.requests + part.requests, whole.failed + part.failed, buckets)
    return whole


@dataclass(frozen=True, slots=True)
class Sample:
    """What was counted until some time.

    Attributes:
        at: The time.
        mesh: The mesh.
        read: Where it was read: `prometheus` or `proxies`.
        metrics: The name of the metrics that were read.
        seconds: How long it was counted.
        versions: The figures of each version of each Service.
        notes: What could not be read, or is not measured.
    """

    at: datetime
    mesh: str
    read: str
    metrics: str
    seconds: float
    versions: Mapping[Place, Figures]
    notes: tuple[Diagnostic, ...] = ()

    def of(self, service: Service) -> dict[str, Figures]:
        """Return the figures of the versions of a Service, by name."""
        own = (service.namespace, service.name)
        return {place[2]: one for place, one in sorted(self.versions.items()) if place[:2] == own}

    def head(self) -> dict[str, Any]:
        """Return what every document begins with."""
        return {
            "schemaVersion": SCHEMA_VERSION,
            "at": self.at.isoformat(timespec="milliseconds"),
            "mesh": self.mesh,
            "read": self.read,
            "metrics": self.metrics,
            "seconds": round(self.seconds, 3),
        }

    def title(self) -> str:
        """Return what a table is of, in one line."""
        where = "Prometheus" if self.read == "prometheus" else f"proxies, {self.metrics} metrics"
        return f"{self.at:%H:%M:%S}  last {self.seconds:.0f} s, from {where}"


# -- all Services


def top_json(sample: Sample, services: Sequence[Service]) -> dict[str, Any]:
    """Return the document of `meshup top`."""
    entries: list[dict[str, Any]] = []
    for service in services:
        versions = sample.of(service)
        entry = {"namespace": service.namespace, "service": service.name}
        listed = [{"version": name, **_plain(one)} for name, one in versions.items()]
        entries.append({**entry, **_plain(all_of(versions.values(), sample.seconds)), "versions": listed})
    return {**sample.head(), "services": entries, "notes": _notes_json(sample)}


def _plain(one: Figures) -> dict[str, Any]:
    success = one.success
    return {
        "requestsPerSecond": round(one.rate, 3),
        "requests": round(one.requests),
        "failed": round(one.failed),
        "success": None if success is None else round(success, 6),
        "p50Milliseconds": _rounded(one.quantile(0.5)),
        "p99Milliseconds": _rounded(one.quantile(0.99)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _notes_json(sample: Sample) -> list[dict[str, Any]]:
    return [note.as_dict() for note in ordered(sample.notes)]


_FIGURES = ("req/s", "success", "p50", "p99")


def top_rows(sample: Sample, services: Sequence[Service]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table: Service, version, and figures; a Service as a whole has no version."""
    for service in services:
        versions = sample.of(service)
        name = f"{service.namespace}/{service.name}"
        yield (name, "", *_cells(all_of(versions.values(), sample.seconds)))
        if versions.keys() - {""}:
            for version, one in versions.items():
                yield ("", version or "-", *_cells(one))


def top_view(sample: Sample, services: Sequence[Service]) -> RenderableType:
    """Return the table of `meshup top`."""
    table = _table(("Service", "version"), _FIGURES)
    for row in top_rows(sample, services):
        style = "bold" if row[0] and row[2] != "0.0" else "dim" if row[2] == "0.0" else None
        table.add_row(*map(Text, row), style=style)
    return Group(Text(sample.title(), style="bold"), table, *_notes(sample))


def top_lines(sample: Sample, services: Sequence[Service]) -> Iterator[str]:
    """Yield the same as lines, for what is no terminal."""
    for service in services:
        versions = sample.of(service)
        name = f"{service.namespace}/{service.name}"
        yield _line(sample, name, _cells(all_of(versions.values(), sample.seconds)))
        if versions.keys() - {""}:
            for version, one in versions.items():
                yield _line(sample, f"{name} {version or '-'}", _cells(one))
    yield from _note_lines(sample)


def _line(sample: Sample, name: str, cells: Sequence[str], more: str = "") -> str:
    rate, success, p50, p99 = cells
    return f"{sample.at:%H:%M:%S} {name} {rate} req/s success {success} p50 {p50} p99 {p99}{more}"


def _cells(one: Figures) -> tuple[str, str, str, str]:
    success = "-" if one.success is None else f"{one.success:.2%}"
    if success == "100.00%" and one.failed > 0:
        success = "99.99%"
    return f"{one.rate:.1f}", success, _duration(one.quantile(0.5)), _duration(one.quantile(0.99))


def _duration(value: float | None) -> str:
    """Return milliseconds as text. Below the first bound, and above the last, nobody knows more."""
    if value is None:
        return "-"
    if value <= BOUNDS[0]:
        return f"<{BOUNDS[0]}ms"
    if value >= BOUNDS[-1]:
        return f">{BOUNDS[-1] / 1000:.0f}s"
    return f"{value:.0f}ms" if value < 1000 else f"{value / 1000:.1f}s"  # noqa: PLR2004 -- a second


# -- one Service


@dataclass(frozen=True, slots=True)
class Against:
    """A version beside the one with the highest weight: by how many standard deviations it is worse.

    Attributes:
        baseline: That version.
        failures: For failures; None with too few requests.
        slow: For slow requests; the same.
    """

    baseline: str
    failures: float | None
    slow: float | None

    @property
    def worse(self) -> bool:
        """Whether it is worse beyond chance, as MeshupCanaryWorse has it."""
        return any(z is not None and z > Z_LIMIT for z in (self.failures, self.slow))


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a split.

    Attributes:
        share: Its weight, and its share.
        figures: Its figures.
        against: Beside the baseline; None for the baseline itself.
    """

    share: Share
    figures: Figures
    against: Against | None


@dataclass(frozen=True, slots=True)
class Split:
    """A rule with its weights, beside what was counted.

    Attributes:
        rule: The name of the rule.
        versions: Its versions.
        p_value: How likely counts so far off are under the weights.
    """

    rule: str
    versions: tuple[Version, ...]
    p_value: float

    @property
    def requests(self) -> int:
        """Requests of all of its versions."""
        return sum(one.share.count for one in self.versions)

    @property
    def holds(self) -> bool | None:
        """Whether the counts agree with the weights; None without a request."""
        return self.p_value >= SIGNIFICANCE if self.requests else None


def splits(
    sample: Sample, service: Service, backends: Sequence[MeasuredBackend], objective: Objective | None = None
) -> list[Split]:
    """Return the measured rules of a Service.

    Args:
        sample: What was counted.
        service: The Service.
        backends: The backends that are measured, of all Services.
        objective: What callers of the Service can rely on.
    """
    figures = sample.of(service)
    own = [one for one in backends if (one.namespace, one.service) == (service.namespace, service.name)]
    bound = slow_bound(objective)
    found: list[Split] = []
    for rule in dict.fromkeys((one.route, one.rule) for one in own):
        parts = [one for one in own if (one.route, one.rule) == rule]
        counted = {
            one.version: figures.get(_version(service.name, one.version), Figures(sample.seconds)) for one in parts
        }
        weights = {one.version: one.weight for one in parts}
        counts = {version: round(one.requests) for version, one in counted.items()}
        baseline = max(parts, key=lambda one: one.weight).version
        versions = tuple(
            Version(
                share,
                counted[share.backend],
                None if share.backend == baseline else _against(counted, share.backend, baseline, bound),
            )
            for share in measured(counts, weights)
        )
        found.append(Split(rule[1], versions, p_value(counts, weights)))
    return found


def _against(figures: Mapping[str, Figures], version: str, baseline: str, bound: int) -> Against:
    one, other = figures[version], figures[baseline]
    failures = ((one.failed, one.requests), (other.failed, other.requests))
    return Against(baseline, _compared(*failures), _compared(one.slower(bound), other.slower(bound)))


def _compared(one: tuple[float, float], baseline: tuple[float, float]) -> float | None:
    enough = min(one[1], baseline[1]) > FEWEST_PER_VERSION
    return two_proportions(*one, *baseline) if enough else None


@dataclass(frozen=True, slots=True)
class Watch:
    """A Service that is watched: a sample, and the measured rules of the Service."""

    sample: Sample
    service: Service
    splits: Sequence[Split]

    @property
    def name(self) -> str:
        """Namespace and name of the Service."""
        return f"{self.service.namespace}/{self.service.name}"

    def others(self) -> dict[str, Figures]:
        """Return the figures of versions that no measured rule has; of the Service if it has no such rule."""
        listed = {_version(self.service.name, one.share.backend) for split in self.splits for one in split.versions}
        found = {name: one for name, one in self.sample.of(self.service).items() if name not in listed}
        return found or ({} if self.splits else {"": Figures(self.sample.seconds)})


def watch_json(watch: Watch) -> dict[str, Any]:
    """Return the document of `meshup watch`."""
    sample, service = watch.sample, watch.service
    rules = [
        {
            "rule": split.rule,
            "requests": split.requests,
            "pValue": split.p_value,
            "holds": split.holds,
            "versions": [_version_json(one) for one in split.versions],
        }
        for split in watch.splits
    ]
    others = [{"version": name, **_plain(one)} for name, one in watch.others().items()]
    return {
        **sample.head(),
        "namespace": service.namespace,
        "service": service.name,
        **_plain(all_of(sample.of(service).values(), sample.seconds)),
        "confidence": CONFIDENCE,
        "significance": SIGNIFICANCE,
        "splits": rules,
        "others": others,
        "notes": _notes_json(sample),
    }


def _version_json(one: Version) -> dict[str, Any]:
    share, against = one.share, one.against
    measured_share = {"share": share.observed, "low": share.low, "high": share.high} if share.counted else None
    compared = against and {
        "baseline": against.baseline,
        "failuresZ": _rounded(against.failures),
        "slowZ": _rounded(against.slow),
        "worse": against.worse,
    }
    return {
        "version": share.backend,
        "weight": share.expected,
        "measured": measured_share,
        **_plain(one.figures),
        "against": compared,
    }


def watch_view(watch: Watch) -> RenderableType:
    """Return the tables of `meshup watch`: one for each rule, and one of what no rule measures. 80 columns suffice."""
    parts: list[RenderableType] = [Text(f"{watch.name}  {watch.sample.title()}", style="bold")]
    for split in watch.splits:
        table = _table(("version",), (*HEADINGS, *_FIGURES))
        for one in split.versions:
            style = "red" if one.against and one.against.worse else None
            table.add_row(*map(Text, (one.share.backend, *one.share.cells(), *_cells(one.figures))), style=style)
        compared = [
            Text(f"{one.share.backend} is {text}.", style="bold red" if one.against and one.against.worse else "")
            for one in split.versions
            if (text := _against_text(one.against))
        ]
        parts += [Text(f"\nrule {split.rule}"), table, _verdict(split), *compared]
    others = watch.others()
    if others:
        table = _table(("version",), _FIGURES)
        for name, figures in others.items():
            table.add_row(*map(Text, (name or "-", *_cells(figures))))
        parts += [Text("\nin no measured split"), table]
    return Group(*parts, *_notes(watch.sample))


def watch_lines(watch: Watch) -> Iterator[str]:
    """Yield the same as lines, for what is no terminal."""
    sample, name = watch.sample, watch.name
    for split in watch.splits:
        for one in split.versions:
            weight, requests, share, interval = one.share.cells()
            more = f" weight {weight} share {share} ({interval}) of {split.requests}, {requests} its own"
            compared = _against_text(one.against)
            more += f"; {compared}" if compared else ""
            yield _line(sample, f"{name} {one.share.backend} rule {split.rule}", _cells(one.figures), more)
        yield f"{sample.at:%H:%M:%S} {name} rule {split.rule}: {_verdict(split).plain}"
    for version, figures in watch.others().items():
        yield _line(sample, f"{name} {version or '-'}", _cells(figures))
    yield from _note_lines(sample)


def _against_text(against: Against | None) -> str:
    if against is None:
        return ""
    if against.failures is None and against.slow is None:
        return f"not compared with {against.baseline} yet: that takes more than {FEWEST_PER_VERSION} requests of each"
    parts = [
        f"{what} {z:+.1f} sd" for what, z in (("failures", against.failures), ("slow", against.slow)) if z is not None
    ]
    return f"{'WORSE than' if against.worse else 'like'} {against.baseline}: {', '.join(parts)}"


def _verdict(split: Split) -> Text:
    if split.holds is None:
        return Text("No requests: nothing is measured.", style="dim")
    if split.holds:
        return Text(f"The counts agree with the weights (p = {split.p_value:.3g}).", style="green")
    text = f"The counts do not agree with the weights (p = {split.p_value:.3g}, below {SIGNIFICANCE:g})."
    return Text(text, style="bold red")


def _table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _notes(sample: Sample) -> list[RenderableType]:
    return [Text(line, style="yellow") for line in _note_lines(sample)]


def _note_lines(sample: Sample) -> Iterator[str]:
    for note in ordered(sample.notes):
        value = f" {note.value}" if note.value else ""
        yield f"{note.severity} {note.code} {note.path}{value}: {note.message} {note.remedy}"
