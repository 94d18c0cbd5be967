"""`meshup top` and `meshup watch`: counts of proxies become rates, shares and verdicts, and never a wrong one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from components.diagnostics import ConfigurationError
from components.meshes import MESHES
from components.observability.promql import RecordingRule
from components.observability.rules import backends, recording
from components.observability.source import MetricsSource
from components.traffic.model import Port, Service
from operate import sampling, top
from operate.cli import app
from operate.prometheus import PrometheusError
from operate.sampling import Prometheus, Proxies, Watched
from operate.top import Counts, Figures, Look, Sample
from operate.traffic import compiled
from stacks.cluster import Cluster, ClusterError
from tests.unit.operate.test_explain import PROJECT, write
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

SOURCES = {source.name: source for mesh in MESHES.values() for source in mesh.metrics}
REVIEWS = Service("reviews", "bookinfo", (Port(9080, "http"),))
AT = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)
SPLIT = {"reviews": {"namespace": "bookinfo", "split": {"v1": 90, "v2": 10}}}
BOUNDS = ("25", "50", "100", "250", "500", "1000", "10000", "+Inf")


def key(*parts: str) -> tuple[str, ...]:
    return parts


def planned(mesh: str = "istio", api: str = "", traffic: Mapping[str, Any] = SPLIT) -> Sequence[Any]:
    routes = {name: {**route, **({"api": api} if api else {})} for name, route in traffic.items()}
    plan, _ = build(raw(mesh=mesh, traffic=routes))
    assert plan is not None
    return plan.traffic.planned


# -- pages of proxies


def envoy(version: str, count: int, *, code: str = "2xx", fast: int | None = None, service: str = "reviews") -> str:
    """Return the lines of an Envoy, with codes and classes under one name as Istio's bootstrap has them."""
    cluster = f'cluster_name="outbound|9080|{version}|{service}.bookinfo.svc.cluster.local"'
    within = count if fast is None else fast
    lines = [f'envoy_cluster_upstream_rq{{response_code_class="{code}",{cluster}}} {count}']
    lines += [f'envoy_cluster_upstream_rq{{response_code="{code[0]}00",{cluster}}} {count}']
    lines += [
        f'envoy_cluster_upstream_rq_time_bucket{{{cluster},le="{bound}"}} '
        f"{count if bound in ('1000', '10000', '+Inf') else within}"
        for bound in ("0.5", "5", *BOUNDS)
    ]
    return "\n".join(lines) + "\n"


def istio(version: str, count: int, code: str = "200") -> str:
    labels = (
        f'reporter="source",destination_service_namespace="bookinfo",destination_service_name="reviews",'
        f'destination_version="{version}",response_code="{code}",grpc_response_status=""'
    )
    return f"istio_requests_total{{{labels}}} {count}\n"


def linkerd(backend: str, count: int, *, status: str = "200", error: str = "", parent: str = "reviews") -> str:
    labels = (
        f'parent_kind="Service",parent_namespace="bookinfo",parent_name="{parent}",backend_kind="Service",'
        f'backend_namespace="bookinfo",backend_name="{backend}",http_status="{status}",error="{error}"'
    )
    return f"outbound_http_route_backend_response_statuses_total{{{labels}}} {count}\n"


HTTPROUTE = "gateway-api"
PAGES: list[tuple[str, str, str, str]] = [
    ("istio", "", "envoy", envoy("v1", 9) + envoy("v2", 1)),
    ("istio", HTTPROUTE, "envoy", envoy("", 9, service="reviews-v1") + envoy("", 1, service="reviews-v2")),
    ("istio", "", "istio", istio("v1", 9) + istio("v2", 1)),
    ("linkerd", "", "linkerd", linkerd("reviews-v1", 9) + linkerd("reviews-v2", 1)),
]


@pytest.mark.parametrize(("mesh", "api", "name", "page"), PAGES, ids=lambda value: str(value)[:12])
def test_the_versions_of_a_split_are_found_in_the_pages_of_every_mesh(
    mesh: str, api: str, name: str, page: str
) -> None:
    routes = planned(mesh, api)
    sources = list(MESHES[mesh].metrics)
    look = Look(1.0, frozenset({"a"}), {"a": top.read_page(page, sources)})
    source = top.source_of(look, sources)
    assert source.name == name
    counts = top.added(Look(0.0, frozenset(), {}), look, name)
    named = top.renamed(counts, routes, backends(routes, source)[0], source)
    assert {place: one.requests for place, one in top.by_version(named, 1.0).items()} == {
        ("bookinfo", "reviews", "v1"): 9,
        ("bookinfo", "reviews", "v2"): 1,
    }


def test_a_request_without_an_answer_and_a_5xx_have_failed() -> None:
    page = (
        linkerd("reviews", 5) + linkerd("reviews", 3, status="", error="TIMEOUT") + linkerd("reviews", 2, status="503")
    )
    counts = top.read_page(page, [SOURCES["linkerd"]])["linkerd"]
    (figures,) = top.by_version(counts, 10.0).values()
    assert (figures.requests, figures.failed, figures.rate) == (10, 5, 1.0)
    assert figures.success == 0.5


def test_a_service_without_versions_has_none_whatever_the_mesh_calls_it() -> None:
    pages = {
        "linkerd": linkerd("ratings", 1, parent="ratings"),
        "envoy": envoy("", 1, service="ratings"),
        "istio": istio("unknown", 1),
    }
    for name, page in pages.items():
        places = top.by_version(top.read_page(page, [SOURCES[name]])[name], 1.0)
        assert [place[2] for place in places] == [""]


def test_no_version_controls_the_terminal_or_is_read_as_markup() -> None:
    counts = Counts({key("bookinfo", "reviews", "\x1b[2J[/bold] \n", "2xx"): 5.0})
    sample = a_sample(top.by_version(counts, 60.0))
    console = Console(width=100)
    with console.capture() as captured:
        console.print(top.top_view(sample, [REVIEWS]))
    for text in (captured.get(), "\n".join(top.top_lines(sample, [REVIEWS]))):
        assert "?[2J[/bold] ?" in text


# -- from look to look


@dataclass
class Proxy:
    """A proxy of a model: how often its container was started, what it has counted, and whether it answers."""

    start: int = 0
    counted: int = 0
    silent: bool = False
    gone: bool = False


Event = tuple[str, int]


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.tuples(st.just("count"), st.integers(0, 1000)),
                st.tuples(st.sampled_from(["restart", "silence", "answer", "go", "come"]), st.just(0)),
            ),
            min_size=2,
            max_size=2,
        ),
        max_size=12,
    )
)
def test_what_is_added_is_what_was_counted_between_two_answers(steps: list[list[Event]]) -> None:
    proxies = [Proxy(), Proxy()]
    before, since = _look(0, proxies), [0, 0]
    # What each of them adds to the next look: None if nobody can know.
    answered: list[int | None] = [0, 0]
    for at, events in enumerate(steps, 1):
        for index, (what, number) in enumerate(events):
            proxy = proxies[index]
            if what == "count" and not proxy.gone:
                proxy.counted += number
                since[index] += number
            elif what in ("restart", "come") and (proxy.gone or what == "restart"):
                proxies[index] = Proxy(proxy.start + 1)
                since[index], answered[index] = 0, 0
            elif what in ("silence", "answer"):
                proxy.silent = what == "silence"
            elif what == "go":
                proxy.gone = True
        after = _look(at, proxies)
        expected = sum(
            since[index]
            for index, proxy in enumerate(proxies)
            if not (proxy.gone or proxy.silent or answered[index] is None)
        )
        added = sum(top.added(before, after, "m").requests.values())
        assert added == expected
        for index, proxy in enumerate(proxies):
            answered[index] = None if proxy.silent and not proxy.gone else 0
            since[index] = 0
        before = after


def _look(at: int, proxies: Sequence[Proxy]) -> Look:
    there = {f"{index} {one.start}": one for index, one in enumerate(proxies) if not one.gone}
    pages = {
        name: {"m": Counts({("n", "s", "v", "2xx"): float(one.counted)})}
        for name, one in there.items()
        if not one.silent
    }
    return Look(float(at), frozenset(there), pages)


COUNTED = st.dictionaries(
    st.tuples(st.just("n"), st.just("s"), st.sampled_from(["v1", "v2"]), st.sampled_from(["2xx", "5xx"])),
    st.integers(0, 10**9).map(float),
)


@given(COUNTED, COUNTED)
def test_a_counter_that_started_anew_adds_what_it_has_now_and_no_rate_is_negative(
    before: dict[top.Key, float], after: dict[top.Key, float]
) -> None:
    added = top.since(Counts(before), Counts(after)).requests
    assert added.keys() == after.keys()
    for one, value in added.items():
        assert 0 <= value <= after[one]
        assert value == after[one] - before.get(one, 0) or (value == after[one] and after[one] < before[one])


def test_what_a_proxy_no_longer_has_is_no_restart_of_the_others() -> None:
    before = Counts({key("n", "s", "v1", "2xx"): 100.0, key("n", "s", "v2", "2xx"): 100.0})
    after = Counts({key("n", "s", "v1", "2xx"): 101.0})
    assert top.since(before, after).requests == {key("n", "s", "v1", "2xx"): 1.0}


# -- figures


def figures(requests: float = 0.0, failed: float = 0.0, **buckets: float) -> Figures:
    bounds = {math.inf if name == "inf" else float(name[1:]): value for name, value in buckets.items()}
    return Figures(60.0, requests, failed, bounds)


def test_quantiles_are_those_of_prometheus() -> None:
    # histogram_quantile(0.5 and 0.99) by hand: 100 requests, 60 within 25, 90 within 50, 100 within 100.
    one = figures(_25=60, _50=90, _100=100, inf=100)
    assert one.quantile(0.5) == pytest.approx(25 * 50 / 60)
    assert one.quantile(0.99) == pytest.approx(50 + 50 * 9 / 10)
    assert figures(_25=0, _10000=0, inf=5).quantile(0.5) == 10_000
    assert figures(_25=5).quantile(0.5) is None
    assert figures(_25=0, inf=0).quantile(0.5) is None
    assert one.slower(50) == (10, 100)
    # A bucket that started anew has fewer than a narrower one.
    assert figures(_25=10, _50=5, inf=10).slower(50) == (0, 10)


@given(st.dictionaries(st.sampled_from([float(bound.replace("+", "")) for bound in BOUNDS]), st.integers(0, 1000)))
def test_quantiles_of_any_buckets_are_in_order_and_within_the_bounds(counts: dict[float, int]) -> None:
    one = Figures(1.0, 0, 0, {bound: float(count) for bound, count in counts.items()})
    low, high = one.quantile(0.5), one.quantile(0.99)
    assert (low is None) == (high is None)
    if low is not None and high is not None:
        assert 0 <= low <= high <= 10_000


def test_a_failure_is_never_rounded_away() -> None:
    sample = a_sample({("bookinfo", "reviews", ""): figures(1_000_000, 1)})
    assert "99.99%" in "\n".join(top.top_lines(sample, [REVIEWS]))


def a_sample(versions: Mapping[top.Place, Figures]) -> Sample:
    return Sample(AT, "istio", "proxies", "envoy", 60.0, versions)


def watching(traffic: Mapping[str, Any] = SPLIT, /, **versions: Figures) -> top.Watch:
    routes = planned(traffic=traffic)
    sample = a_sample({("bookinfo", "reviews", name): one for name, one in versions.items()})
    return Watched(Proxies(FakeCluster([]), [SOURCES["envoy"]], routes), "istio", routes).split(sample, REVIEWS)


def test_a_share_stands_beside_its_weight_and_the_verdict_is_that_of_make_traffic() -> None:
    held = watching(v1=figures(1810), v2=figures(190))
    document = top.watch_json(held)
    (split,) = document["splits"]
    assert split["holds"] is True
    assert [(one["version"], one["weight"], one["measured"]["share"]) for one in split["versions"]] == [
        ("v1", 0.9, 0.905),
        ("v2", 0.1, 0.095),
    ]
    (off,) = top.watch_json(watching(v1=figures(1000), v2=figures(1000)))["splits"]
    assert off["holds"] is False


def test_without_traffic_there_is_no_share_and_no_verdict() -> None:
    watch = watching()
    (split,) = top.watch_json(watch)["splits"]
    assert split["holds"] is None
    assert [one["measured"] for one in split["versions"]] == [None, None]
    text = "\n".join(top.watch_lines(watch))
    assert "No requests" in text and "nan" not in text


def test_a_canary_that_fails_more_is_worse_from_enough_requests_on() -> None:
    (split,) = watching(v1=figures(900, 0), v2=figures(100, 5)).splits
    against = split.versions[1].against
    assert split.versions[0].against is None
    assert against is not None and against.worse and against.baseline == "v1"
    (few,) = watching(v1=figures(900, 0), v2=figures(50, 5)).splits
    assert few.versions[1].against is not None and not few.versions[1].against.worse


def test_a_canary_that_is_slow_more_often_is_worse_at_the_bound_of_the_objective() -> None:
    slow: dict[str, Figures] = {
        "v1": figures(900, 0, _100=900, _500=900, inf=900),
        "v2": figures(100, 0, _100=50, _500=100, inf=100),
    }
    (split,) = watching(**slow).splits
    assert split.versions[1].against is not None and not split.versions[1].against.worse
    promised = {"reviews": {**SPLIT["reviews"], "slo": {"latency": {"p": 99, "below": "100ms"}}}}
    (split,) = watching(promised, **slow).splits
    assert split.versions[1].against is not None and split.versions[1].against.worse


def test_a_version_that_no_rule_names_and_a_rule_that_no_metric_measures_are_said() -> None:
    watch = watching(v1=figures(90), v2=figures(10), v3=figures(5))
    assert [one["version"] for one in top.watch_json(watch)["others"]] == ["v3"]
    rules = [
        {"name": "testers", "match": {"headers": {"x": "1"}}, "backends": {"v1": 50, "v2": 50}},
        {"name": "rest", "backends": {"v1": 90, "v2": 10}},
    ]
    shared = watching({"reviews": {"namespace": "bookinfo", "rules": rules}}, v1=figures(90), v2=figures(10))
    assert not shared.splits
    assert {note.code for note in shared.sample.notes} == {"MSH601"}
    assert set(shared.others()) == {"v1", "v2"}


def test_tables_lines_and_documents_have_the_same_figures() -> None:
    watch = watching(v1=figures(1810, 2, _25=1810, inf=1810), v2=figures(190, 0, _25=0, _50=190, inf=190))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(top.watch_view(watch))
        console.print(top.top_view(watch.sample, [REVIEWS]))
    lines = "\n".join([*top.watch_lines(watch), *top.top_lines(watch.sample, [REVIEWS])])
    for text in (captured.get(), lines):
        for shown in ("90.50%", "99.89%", "<25ms", "50ms", "30.2", "33.3"):
            assert shown in text
    document = top.top_json(watch.sample, [REVIEWS])
    assert document["schemaVersion"] == top.SCHEMA_VERSION
    assert document["services"][0]["requests"] == 2000
    assert document["services"][0]["versions"][0]["requestsPerSecond"] == 30.167


# -- the shell


@dataclass
class FakeCluster(Cluster):
    """A cluster with pages that a test changes. A page of None does not answer."""

    pods: list[tuple[str, str | None]]
    served: list[str] = field(default_factory=list[str])

    def objects(self, api_version: str, kind: str, namespace: str = "", *, metadata_only: bool = False) -> list[Any]:
        assert (api_version, kind, namespace, metadata_only) == ("v1", "Pod", "", False)
        return [
            {
                "metadata": {"name": name, "namespace": "bookinfo", "uid": name},
                "spec": {"containers": [{"name": "istio-proxy"}]},
                "status": {"phase": "Running", "containerStatuses": [{"name": "istio-proxy", "containerID": "a"}]},
            }
            for name, _ in self.pods
        ]

    def service_text(self, namespace: str, name: str, port: int, path: str, query: Mapping[str, str]) -> str:
        self.served.append(f"{namespace}/{name}:{port}/{path}?{query['query']}")
        return SERVED

    def pod_text(self, namespace: str, name: str, port: int, path: str) -> str:
        self.served.append(f"{namespace}/{name}:{port}/{path}")
        page = dict(self.pods)[name]
        if page is None:
            raise ClusterError("MSH031", "dev", "The API server answers 503.")
        return page


def reading(cluster: FakeCluster, sources: Sequence[MetricsSource] = (SOURCES["istio"], SOURCES["envoy"])) -> Proxies:
    # Each look asks for the time once, and once more for each proxy that does not answer.
    ticks = iter(range(0, 10_000, 2))
    return Proxies(cluster, sources, planned(), lambda: float(next(ticks)))


def test_proxies_are_read_where_istio_has_their_metrics_and_the_first_look_says_nothing() -> None:
    cluster = FakeCluster([("productpage", envoy("v1", 5))])
    proxies = reading(cluster)
    assert proxies.read() is None
    cluster.pods = [("productpage", envoy("v1", 14) + envoy("v2", 1)), ("other", envoy("v2", 3))]
    found = proxies.read()
    assert found is not None and found.source.name == "envoy"
    assert {place: one.requests for place, one in top.by_version(found.counts, found.seconds).items()} == {
        ("bookinfo", "reviews", "v1"): 9,
        ("bookinfo", "reviews", "v2"): 4,
    }
    assert cluster.served[0] == "bookinfo/productpage:15090/stats/prometheus"


def test_a_proxy_that_does_not_answer_is_reported_and_not_asked_again_for_a_minute() -> None:
    cluster = FakeCluster([("a", envoy("v1", 5)), ("b", None)])
    proxies = reading(cluster)
    proxies.read()
    for _ in range(3):
        found = proxies.read()
        assert found is not None
        assert [(note.code, note.value) for note in found.notes] == [("MSH660", "bookinfo/b")]
    assert sum("/b:" in asked for asked in cluster.served) == 1


def test_proxies_without_a_counter_are_told_apart_from_no_traffic() -> None:
    proxies = reading(FakeCluster([("a", "envoy_server_live 1\n")]))
    proxies.read()
    found = proxies.read()
    assert found is not None and [note.code for note in found.notes] == ["MSH663"]
    lines = "\n".join(top.top_lines(replace(a_sample({}), notes=found.notes), [REVIEWS]))
    assert "set `meshup:prometheus: {metrics: envoy}`, run `pulumi up`, and restart the pods." in lines
    quiet = reading(FakeCluster([("a", envoy("v1", 5))]))
    quiet.read()
    found = quiet.read()
    assert found is not None and not found.notes
    assert top.by_version(found.counts, found.seconds)["bookinfo", "reviews", "v1"].rate == 0


def test_figures_are_of_the_last_minute() -> None:
    cluster = FakeCluster([("a", envoy("v1", 0))])
    proxies = reading(cluster)
    proxies.read()
    for count in range(1, 41):
        cluster.pods = [("a", envoy("v1", count))]
        found = proxies.read()
        assert found is not None
        assert sum(found.counts.requests.values()) == min(count, 30)
        assert found.seconds == min(2.0 * count, 60.0)


def series(name: str, labels: Mapping[str, str], value: float) -> Any:
    return {"metric": {"__name__": name, "mesh": "istio", **labels}, "value": [1.0, str(value)]}


def answering(*results: Any) -> Callable[[str], Any]:
    def ask(expression: str) -> Any:
        found = [one for one in results if expression == f'{one["metric"]["__name__"]}{{mesh="istio"}}']
        return {"status": "success", "data": {"resultType": "vector", "result": found}}

    return ask


def test_a_prometheus_gives_the_neutral_series() -> None:
    v1 = {"namespace": "bookinfo", "service": "reviews", "version": "v1"}
    ask = answering(
        series("meshup:requests:rate1m", {**v1, "code_class": "2xx"}, 9),
        series("meshup:requests:rate1m", {**v1, "code_class": "5xx"}, 1),
        series("meshup:request_duration_ms_bucket:rate5m", {**v1, "le": "25"}, 5),
        series("meshup:request_duration_ms_bucket:rate5m", {**v1, "le": "+Inf"}, 10),
    )
    found = Prometheus(ask, SOURCES["istio"], "istio", "here").read()
    one = top.by_version(found.counts, found.seconds, found.timed_seconds)["bookinfo", "reviews", "v1"]
    assert (one.rate, one.requests, one.success) == (10, 600, 0.9)
    assert one.slower(25) == (300, 600)
    assert not found.notes


def test_a_prometheus_without_the_rules_or_that_is_none_is_said() -> None:
    found = Prometheus(answering(), SOURCES["istio"], "istio", "here").read()
    assert [note.code for note in found.notes] == ["MSH662"]

    def broken(expression: str) -> Any:
        raise PrometheusError(f"no answer to {expression}")

    with pytest.raises(ConfigurationError, match="MSH661"):
        Prometheus(broken, SOURCES["istio"], "istio", "here").read()
    with pytest.raises(ConfigurationError, match="MSH661"):
        Prometheus(lambda _: {"status": "error", "error": "bad"}, SOURCES["istio"], "istio", "here").read()


SERVED = '{"status": "success", "data": {"resultType": "vector", "result": []}}'


@pytest.mark.parametrize(
    ("section", "asked"),
    [
        ({"enabled": True}, "prometheus/prometheus:9090"),
        ({"url": "http://main.monitoring.svc.cluster.local"}, "monitoring/main:80"),
        ({"url": "http://main.monitoring.svc:9091"}, "monitoring/main:9091"),
    ],
)
def test_the_prometheus_of_a_stack_is_asked_through_the_api_server(
    section: dict[str, Any], asked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster = FakeCluster([])
    watched = chosen(section, cluster, monkeypatch, tmp_path)
    assert watched.source.read() is not None
    assert cluster.served[0] == f'{asked}/api/v1/query?meshup:requests:rate1m{{mesh="istio"}}'


def test_a_prometheus_with_a_path_is_asked_at_its_address_and_one_with_a_login_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster = FakeCluster([])
    watched = chosen({"url": "http://127.0.0.1:1/prometheus"}, cluster, monkeypatch, tmp_path)
    with pytest.raises(ConfigurationError, match="does not answer"):
        watched.source.read()
    login = {"url": "http://main.monitoring.svc", "login": {"type": "basic", "secret": "prometheus"}}
    with pytest.raises(ConfigurationError, match="MSH661"):
        chosen(login, cluster, monkeypatch, tmp_path)
    assert not cluster.served
    assert chosen(login, cluster, monkeypatch, tmp_path, proxies=True).source.kind == "proxies"


def chosen(
    section: dict[str, Any],
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    proxies: bool = False,
) -> Watched:
    def connect(*_: Any) -> tuple[Cluster, None, list[Any]]:
        return cluster, None, []

    monkeypatch.setattr(sampling, "connect", connect)
    asked = compiled(raw(prometheus=section), "dev", "", folder)
    return sampling.watched(asked, "", "", proxies=proxies)


def test_what_fails_after_the_first_sample_is_a_note_and_the_figures_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    v1 = {"namespace": "bookinfo", "service": "reviews", "version": "v1", "code_class": "2xx"}
    good = answering(series("meshup:requests:rate1m", v1, 9))
    broken: list[str] = []

    def ask(expression: str) -> Any:
        return {"status": "error"} if broken else good(expression)

    monkeypatch.setattr("operate.sampling.time.sleep", broken.append)
    samples = Watched(Prometheus(ask, SOURCES["istio"], "istio", "here"), "istio", planned()).samples(1.0)
    first = next(samples)
    second = next(samples)
    assert second.versions == first.versions
    assert [note.code for note in second.notes] == ["MSH661"]


# -- the commands


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = {"meshup:environment": "dev", "meshup:apps": ["bookinfo"], "meshup:traffic": SPLIT}
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    write(tmp_path, config)
    cluster = FakeCluster([("productpage", envoy("v1", 9) + envoy("v2", 1))])

    def connect(*_: Any) -> tuple[Cluster, None, list[Any]]:
        return cluster, None, []

    def unread(*_: Any) -> tuple[None, None, list[Any]]:
        return None, None, []

    monkeypatch.setattr(sampling, "connect", connect)
    monkeypatch.setattr("operate.traffic.connect", unread)
    monkeypatch.setattr("operate.sampling.time.sleep", list[float]().append)
    return tmp_path


def run(project: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*arguments, "--stack", "dev", "--directory", str(project)])
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_once_prints_one_document_or_one_set_of_lines(project: Path) -> None:
    code, out, err = run(project, "top", "--once", "--output", "json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert {one["service"] for one in document["services"]} == {"productpage", "details", "reviews", "ratings"}
    code, out, err = run(project, "watch", "reviews", "--once")
    assert (code, err) == (0, "")
    assert "bookinfo/reviews v1 rule" in out and "weight 90% share -" in out


def test_a_service_that_is_not_there_is_no_fault_of_the_configuration(project: Path) -> None:
    code, out, err = run(project, "watch", "reviewz", "--once")
    assert (code, out) == (1, "")
    assert err.startswith("meshup found 1 fault. Nothing was changed.\n\nerror MSH581")


@pytest.mark.parametrize("address", ["prometheus:9090", "ftp://prometheus", "/prometheus"])
def test_an_address_without_a_scheme_is_named_and_not_asked(project: Path, address: str) -> None:
    code, _, err = run(project, "top", "--once", "--prometheus", address)
    assert (code, f"its address '{address}' has to start with http:// or https://" in err) == (1, True)


def test_without_an_end_there_is_a_document_on_each_line_until_it_is_interrupted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("operate.sampling.time.sleep", sleep)
    code, out, _ = run(project, "watch", "reviews", "--output", "json")
    assert code == 0
    documents = [json.loads(line) for line in out.splitlines()]
    assert len(documents) == 3
    assert {one["schemaVersion"] for one in documents} == {top.SCHEMA_VERSION}


@pytest.mark.parametrize("command", [("top",), ("watch", "reviews")])
def test_on_a_terminal_one_table_stays_up_to_date(
    project: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    written = StringIO()
    monkeypatch.setattr("operate.cli.Console", partial(Console, file=written, force_terminal=True, width=100))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("operate.sampling.time.sleep", sleep)
    code, out, err = run(project, *command)
    assert (code, out, err) == (0, "", "")
    # What a terminal shows of it in the end: the last of the tables.
    shown = pyte.Screen(100, 60)
    pyte.Stream(shown).feed(written.getvalue().replace("\n", "\r\n"))
    text = "\n".join(shown.display)
    assert written.getvalue().count("req/s") >= 3
    assert text.count("req/s") == 1
    assert "bookinfo/reviews" in text


@pytest.mark.parametrize("mesh", list(MESHES))
def test_the_rules_compute_every_series_that_a_prometheus_is_asked_for(mesh: str) -> None:
    asked: list[str] = []

    def ask(expression: str) -> Any:
        asked.append(expression.partition("{")[0])
        return {"status": "success", "data": {"resultType": "vector", "result": []}}

    for source in MESHES[mesh].metrics:
        Prometheus(ask, source, mesh, "here").read()
        groups, _ = recording(planned(mesh), source, mesh)
        recorded = {rule.record for group in groups for rule in group.rules if isinstance(rule, RecordingRule)}
        assert len(asked) == 2
        assert set(asked) <= recorded
        asked.clear()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("top", "--output", "svg"), "--output is 'svg'"),
        (("top", "--metrics", "linkerd"), "--metrics is 'linkerd'"),
        (("top", "--interval", "0"), "--interval"),
        (("watch",), "SERVICE"),
    ],
)
def test_a_wrong_option_is_a_matter_of_usage(project: Path, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run(project, *arguments)
    assert code == 2
    assert message in err


def test_an_unknown_service_and_a_prometheus_that_is_not_there_are_refused(project: Path) -> None:
    code, _, err = run(project, "watch", "review", "--once")
    assert code == 1 and "Did you mean 'reviews'?" in err
    code, _, err = run(project, "top", "--once", "--prometheus", "http://127.0.0.1:1")
    assert code == 1 and "MSH661" in err


def test_without_a_cluster_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    write(tmp_path, {"meshup:environment": "dev", "meshup:apps": ["bookinfo"], "kubernetes:context": "dev"})
    code, _, err = run(tmp_path, "top", "--once")
    assert code == 1 and "MSH02" in err
