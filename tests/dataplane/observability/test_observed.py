"""What a real Prometheus and a real Zipkin say of counted requests through real Envoys, by either API of routes.

Requests are sent in batches, and after each, when Prometheus has scraped every proxy anew, what it has is kept.
promtool plays that again, one batch a minute, and evaluates the rules of the stack as `meshup rules` prints them. So
counts and shares can be compared exactly: they are sums of what the proxies counted, and no window cuts a batch in two.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.meshes import MESHES
from components.observability.dashboards import dashboards
from components.observability.promql import INTERVAL_SECONDS
from devcluster import traffic
from devcluster.workload import ADMIN_PORT
from tests import promtool
from tests.chance import plausible, plausible_share
from tests.dataplane.observability import replay
from tests.dataplane.observability.replay import Snapshot, moment
from tests.dataplane.observability.stand import DENIED, NAMESPACE, SERVICES, WEIGHTS, Stand, by_version
from tests.dataplane.test_make_up import kubectl
from tests.dataplane.traffic.bench import host, until
from tests.dataplane.traffic.request_batch import Sent

pytestmark = pytest.mark.dataplane

GOOD, BAD = 3, 5
"""Batches before and after v2 begins to fail."""
REQUESTS = 450
"""Requests of a batch for each Service."""
ERRORS = 5
"""Percent of the requests that v2 fails."""
NEAR = 1e-9
UNSEEN = {
    # Only where the authority is not istiod's own.
    "citadel_server_cert_chain_expiry_seconds",
    # Only after a fault.
    "pilot_total_xds_rejects",
    "sidecar_injection_failure_total",
}
"""Series that rules read and that a sound mesh of this kind does not have."""
VARIABLES = [{"namespace": NAMESPACE, "service": service, "rule": "split", "version": "v2"} for service in SERVICES]
SILENT = {
    # A plain Envoy counts a request that got no answer as 5xx.
    ("overview", "Requests by result"),
    ("service", "Requests by result"),
    ("resilience", "Requests by result"),
    ("security", "Issuer ends in"),
    ("control-plane", "Configuration that was not taken"),
}
"""Panels of which one query has no answer for the same reasons."""
BY_SERVICE = pytest.mark.parametrize("service", SERVICES)

_ADMIN = (
    "import sys, urllib.request as u;"
    "u.urlopen(u.Request(sys.argv[2], method=sys.argv[1], data=sys.stdin.buffer.read()), timeout=60)"
)


def admin(stand: Stand, method: str, path: str, body: str = "", **labels: str) -> None:
    """Tell a workload how to behave, at its own loopback."""
    pod = traffic.find_pod(stand.embedded.cluster.name, NAMESPACE, labels)
    argv = pod.enter_argv([sys.executable, "-c", _ADMIN, method, f"http://127.0.0.1:{ADMIN_PORT}{path}"])
    done = subprocess.run(argv, input=body.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@dataclass(frozen=True)
class Recorded:
    """What was sent and what was scraped.

    Attributes:
        batches: For each batch the statuses by Service and version.
        snapshots: What was scraped before the first batch, and after each.
    """

    batches: Sequence[Mapping[str, Mapping[str, Sequence[int]]]]
    snapshots: Sequence[Snapshot]

    def count(self, service: str, version: str, batches: slice, failed: bool = False) -> int:
        """Return how many requests a version answered, or failed."""
        found = [status for batch in self.batches[batches] for status in batch[service][version]]
        return sum(status >= 500 for status in found) if failed else len(found)


def batch(stand: Stand, requests: int) -> dict[str, dict[str, list[int]]]:
    """Send requests to both Services in turn, and return the statuses by Service and version."""
    answers = stand.send([Sent(host(service)) for _ in range(requests) for service in SERVICES])
    return {service: by_version(answers[number :: len(SERVICES)]) for number, service in enumerate(SERVICES)}


@pytest.fixture(scope="module")
def recorded(stand: Stand) -> Recorded:
    """Good traffic, then v2 fails five percent."""
    until(lambda: {a.version for a in stand.send([Sent(host(service)) for service in SERVICES] * 20)} == set(WEIGHTS))
    # A counter that is not there yet can't be compared with anything: the first request and the first failure of each
    # version go before.
    failing = [("x-workload-status", "500")]
    stand.send([Sent(host(service), headers=failing) for service in SERVICES] * 50)
    batch(stand, REQUESTS // 2)
    snapshots, batches = [stand.scraped()], list[dict[str, dict[str, list[int]]]]()
    try:
        for number in range(GOOD + BAD):
            if number == GOOD:
                share = json.dumps({"status": 500, "share": ERRORS / 100})
                admin(stand, "PUT", "/behaviour", share, app="reviews", version="v2")
            batches.append(batch(stand, REQUESTS))
            snapshots.append(stand.scraped())
    finally:
        admin(stand, "DELETE", "/behaviour", app="reviews", version="v2")
    return Recorded(batches, snapshots)


def expect(seconds: int, expression: str, *samples: tuple[str, float]) -> dict[str, Any]:
    """Return one expectation of a test of promtool."""
    found = [{"labels": labels, "value": value} for labels, value in samples]
    return {"expr": expression, "eval_time": f"{seconds}s", "exp_samples": found}


def equal(seconds: int, expression: str, value: str) -> dict[str, Any]:
    """Return the expectation that one series has a value, but for the last digits of a float."""
    return expect(seconds, f"sum(abs({expression} - {value}) < bool {NEAR})", ("{}", 1))


def play(stand: Stand, recorded: Recorded, folder: Path, expectations: Sequence[Mapping[str, Any]]) -> None:
    """Evaluate the rules of the stack on what was scraped."""
    test = {
        "interval": "15s",
        "input_series": replay.series(recorded.snapshots),
        "promql_expr_test": list(expectations),
    }
    promtool.check(folder, stand.rules["groups"], [test])


def chosen(service: str, version: str, **more: str) -> str:
    """Return a selector of neutral series."""
    labels = {"mesh": "istio", "namespace": NAMESPACE, "service": service, "version": version, **more}
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def test_the_split_and_the_errors_are_those_that_were_asked_for(recorded: Recorded) -> None:
    for service in SERVICES:
        counts = {version: recorded.count(service, version, slice(None)) for version in WEIGHTS}
        assert plausible(counts, WEIGHTS)
        failed, bad = (recorded.count(service, "v2", slice(GOOD, None), failed) for failed in (True, False))
        assert plausible_share(failed, bad, ERRORS)
        assert recorded.count(service, "v2", slice(GOOD), failed=True) == 0
        assert recorded.count(service, "v1", slice(None), failed=True) == 0


@BY_SERVICE
def test_the_shares_of_the_rules_are_the_counted_ones(
    stand: Stand, recorded: Recorded, service: str, tmp_path: Path
) -> None:
    expectations: list[dict[str, Any]] = []
    for version in WEIGHTS:
        labels = chosen(service, version)
        for number in range(1, GOOD + BAD + 1):
            own = slice(number - 1, number)
            count = recorded.count(service, version, own)
            total = sum(recorded.count(service, other, own) for other in WEIGHTS)
            expectations.append(equal(moment(number), f"meshup:split:share{labels}", f"{count} / {total}"))
        # All batches are within ten minutes, those in which v2 fails within five.
        end, bad = moment(GOOD + BAD), slice(GOOD, None)
        every = recorded.count(service, version, slice(None))
        # It is a sum of rates, the last of which comes one evaluation later.
        counted = f"meshup:split:requests:count10m{labels}"
        expectations.append(equal(end + INTERVAL_SECONDS, counted, str(every)))
        failed, total = (recorded.count(service, version, bad, failed) for failed in (True, False))
        expectations.append(equal(end, f"meshup:success:ratio5m{labels}", f"(1 - {failed} / {total})"))
        expectations.append(equal(end, f"meshup:split:declared_share{labels}", str(WEIGHTS[version] / 100)))
    play(stand, recorded, tmp_path, expectations)


def test_a_canary_that_fails_is_the_only_alert_and_good_traffic_gives_none(
    stand: Stand, recorded: Recorded, tmp_path: Path
) -> None:
    firing = 'count by (alertname, kind, namespace, service, version, severity) (ALERTS{alertstate="firing"})'
    good = [expect(moment(number), firing) for number in range(1, GOOD + 1)]
    labels = 'alertname="MeshupCanaryWorse", kind="failure", namespace="bookinfo", severity="page", version="v2"'
    worse = [(f'{{{labels}, service="{service}"}}', 1.0) for service in SERVICES]
    play(stand, recorded, tmp_path, [*good, expect(moment(GOOD + BAD), firing, *worse)])


def test_the_series_of_prometheus_are_those_that_the_rules_read(stand: Stand, recorded: Recorded) -> None:
    names = {dict(labels)["__name__"] for labels in recorded.snapshots[-1]}
    assert stand.names - names == UNSEEN
    apart = {(dict(one).get("app"), dict(one)["namespace"]) for one in recorded.snapshots[-1]}
    assert {("productpage", NAMESPACE), ("istiod", "istio-system")} <= apart


def test_a_workload_that_forges_series_changes_those_of_no_service(stand: Stand) -> None:
    real = "outbound|9080|v1|reviews.bookinfo.svc.cluster.local"
    codes = f'cluster_name="{real}",response_code_class'
    before = stand.scraped()
    forged = [
        f'envoy_cluster_upstream_rq{{{codes}="5xx"}} 1e9',
        f'envoy_cluster_upstream_rq{{{codes}="5xx",namespace="bookinfo",pod="other",app="other"}} 1e9',
        f'envoy_cluster_upstream_rq_total{{cluster_name="{real}"}} 1e9',
        'envoy_cluster_upstream_rq{cluster_name="outbound|9080|v9|forged.bookinfo.svc.cluster.local",'
        'response_code_class="5xx"} 1e9',
        'istio_requests_total{reporter="source",destination_service_name="reviews",'
        'destination_service_namespace="bookinfo",destination_version="v1",response_code="500"} 1e9',
        'istio_agent_forged{namespace="istio-system",pod="other"} 1e9',
    ]
    admin(stand, "PUT", "/metrics", "\n".join(forged) + "\n", app="productpage")
    try:
        # What it says of itself comes by its agent, under its own name: so it was scraped.
        (own,) = until(lambda: stand.ask("istio_agent_forged"))
        after = stand.scraped()
    finally:
        admin(stand, "DELETE", "/metrics", app="productpage")
    pod = traffic.find_pod(stand.embedded.cluster.name, NAMESPACE, {"app": "productpage"})
    assert (own["metric"]["namespace"], own["metric"]["pod"]) == (NAMESPACE, pod.name)
    assert after.keys() == before.keys()
    counted = [labels for labels in after if dict(labels)["__name__"].startswith("envoy_cluster_upstream_rq")]
    assert counted and all(after[labels] == before[labels] for labels in counted)
    assert not stand.ask('{__name__=~"istio_requests_total|.*forged.*", job!="meshup-istio-agents"}')
    assert not stand.ask('{__name__=~".+", cluster_name=~".*forged.*"}')
    assert not stand.ask('{__name__=~"(envoy|istio)_.+"} == 1e9 unless istio_agent_forged')


@BY_SERVICE
def test_each_request_is_a_trace_that_names_the_version_that_answered(stand: Stand, service: str) -> None:
    requests = [Sent(host(service), f"/traced-{service}/{number}") for number in range(300)]
    answers = stand.send(requests)
    path = f"/traced-{service}/"

    def traced() -> dict[str, list[dict[str, Any]]]:
        found = stand.spans(f"productpage.{NAMESPACE}", 2000)
        return {
            trace[0]["traceId"]: trace
            for trace in found
            if any(path in span.get("tags", {}).get("http.url", "") for span in trace)
        }

    # The client's sidecar and the server's tell of each by themselves, every five seconds.
    spans = 2 * len(requests)
    until(lambda: sum(map(len, traced().values())) >= spans)
    traces = traced()
    assert len(traces) == len(requests)
    assert sum(map(len, traces.values())) == spans
    said = dict(map(named, traces.values()))
    assert said == {number: answer.version for number, answer in enumerate(answers)}


def named(trace: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Return the number of a traced request, and the version that its spans name, both of which must say the same."""
    (client,) = (span for span in trace if span["kind"] == "CLIENT")
    (server,) = (span for span in trace if span["kind"] == "SERVER")
    upstream = client["tags"]["upstream_cluster.name"]
    found = re.search(r"outbound\|9080\|(v\d)\||outbound\|9080\|\|[a-z-]+-(v\d)\.", upstream)
    assert found, upstream
    assert server["tags"]["istio.canonical_revision"] == (found[1] or found[2])
    return int(client["tags"]["http.url"].rsplit("/", 1)[1]), found[1] or found[2]


def test_without_sampling_there_are_no_traces(stand: Stand) -> None:
    name, kind = "meshup", "telemetries.telemetry.istio.io"

    def sample(percent: float) -> None:
        patch = [{"op": "replace", "path": "/spec/tracing/0/randomSamplingPercentage", "value": percent}]
        kubectl(
            stand.embedded,
            *("--namespace", "istio-system", "patch", kind, name, "--type", "json", "--patch", json.dumps(patch)),
        )

    def traces(path: str) -> int:
        found = stand.spans(f"productpage.{NAMESPACE}", 3000)
        return sum(any(path in span.get("tags", {}).get("http.url", "") for span in one) for one in found)

    def sent(path: str, count: int = 1) -> None:
        stand.send([Sent(host(SERVICES[0]), path)] * count)

    sample(0)
    try:
        # Once a request is not traced, none is; the last of those that are still is sent within five seconds.
        numbers = iter(range(10_000))
        until(lambda: not sampled(stand, f"/untraced-yet/{next(numbers)}"))
        sent("/untraced/", 200)
    finally:
        sample(100)
    until(lambda: sampled(stand, f"/traced-again/{next(numbers)}"))
    sent("/traced-again/last/")
    # Spans are sent in order: what was traced before this one would be there.
    until(lambda: traces("/traced-again/last/") == 1)
    assert traces("/untraced/") == 0


def sampled(stand: Stand, path: str) -> bool:
    """Send a request, and say whether the sidecar has it traced: it tells the next one by a header."""
    (answer,) = stand.send([Sent(host(SERVICES[0]), path)])
    return answer.body["headers"].get("x-b3-sampled") == "1"


def queries() -> Iterator[tuple[str, str, str]]:
    """Yield the expressions of the dashboards for plain Envoys, each with its dashboard and panel."""
    (envoy,) = (source for source in MESHES["istio"].metrics if source.name == "envoy")
    for uid, board in dashboards(envoy, "istio").items():
        name = uid.removeprefix("meshup-istio-")
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield name, panel["title"], target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                query = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
                assert query
                yield name, f"${variable['name']}", query[1]


def test_every_query_of_the_dashboards_is_answered_by_prometheus(stand: Stand, recorded: Recorded) -> None:
    assert recorded.batches
    unanswered = [
        (board, panel, re.sub(r"\$([a-z]+)", partial(replaced, values), expression))
        for board, panel, expression in queries()
        for values in VARIABLES
    ]

    def settled() -> bool:
        """Send a little, and ask again: rules need some rounds, and rates two scrapes with a counter in them."""
        batch(stand, 20)
        denied = stand.send([Sent(host(service), DENIED) for service in SERVICES])
        assert {answer.status for answer in denied} == {403}
        unanswered[:] = [query for query in unanswered if not stand.ask(query[-1])]
        return Counter(query[:2] for query in unanswered) == dict.fromkeys(SILENT, len(VARIABLES))

    until(settled)


def replaced(values: Mapping[str, str], variable: re.Match[str]) -> str:
    """Return the value of a variable of a dashboard, as Grafana writes it."""
    return values[variable[1]]
