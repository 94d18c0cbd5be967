"""Access logs and samples of traces as real Envoys have them: what is logged is what was asked for, and no more.

Whether spans arrive is a test of its own, with a real Zipkin. Here the collector is a Service without any pod: the
proxies decide about a sample, and tell the next one, all the same.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from components.meshes.istio.telemetry import LOG_FIELDS
from devcluster.embedded import Embedded
from devcluster.kubelet.registry import RunningPod
from devcluster.stack import Stack
from devcluster.stackfile import with_settings
from tests.chance import plausible_share
from tests.dataplane.traffic import kube_batch
from tests.dataplane.traffic.bench import Bench, host, until
from tests.dataplane.traffic.request_batch import Sent

pytestmark = [pytest.mark.cluster, pytest.mark.dataplane, pytest.mark.nightly]

SPANS = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "spans", "namespace": "default"},
    "spec": {"ports": [{"name": "http", "port": 9411}]},
}
SAMPLED, LOGGED, SLOW_MS, REQUESTS = 25, 10, 400, 400
SETTINGS: dict[str, Any] = {
    "meshup:tracing": {
        "collector": {"service": "spans", "namespace": "default", "port": 9411, "protocol": "zipkin"},
        "sampling": SAMPLED,
    },
    "meshup:accessLogs": {
        "fields": {"sampled": {"header": "x-b3-sampled"}, "share": {"literal": "100%"}},
        "namespaces": {
            "bookinfo": {"filter": {"errors": True, "slowerThan": f"{SLOW_MS}ms"}, "sampling": LOGGED},
        },
    },
}


@pytest.fixture(scope="module")
def bench(full: Embedded, bookinfo: Stack) -> Iterator[Bench]:
    """The mesh with these settings, which are taken back."""
    before = bookinfo.file.read_text()
    kube_batch.apply(full, [SPANS])
    try:
        bookinfo.file.write_text(with_settings(before, SETTINGS))
        bookinfo.up()
        bench = Bench(full)
        until(lambda: all(_is_told(bench, pod) for pod in (bench.source, details(bench))))
        yield bench
    finally:
        bookinfo.file.write_text(before)
        bookinfo.up()
        kube_batch.delete(full, [SPANS])


def _is_told(bench: Bench, pod: RunningPod) -> bool:
    text = bench.envoy_has(pod, "dynamic_listeners")
    return f"duration('{SLOW_MS}ms')" in text and '"random_sampling"' in text


def details(bench: Bench) -> RunningPod:
    return bench.pod(app="details")


def send(bench: Bench, wishes: list[Mapping[str, str]], path: str = "/details") -> list[str]:
    """Send a request with each of these headers, and return their IDs."""
    ids = [wish.get("x-request-id", with_start("")) for wish in wishes]
    requests = [
        Sent(f"{host('details')}:9080", path, headers=[*{**wish, "x-request-id": own}.items()])
        for wish, own in zip(wishes, ids, strict=True)
    ]
    assert all(answer.status for answer in bench.send(requests))
    return ids


def logged(bench: Bench, pod: RunningPod) -> dict[str, dict[str, Any]]:
    """What a proxy has logged of the requests that were sent before, by their IDs."""
    (last,) = send(bench, [{"x-workload-status": "500"}])
    file: Path = pod.folder / "logs" / "istio-proxy.log"

    def entries() -> dict[str, dict[str, Any]]:
        lines = file.read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return {_plain(entry["request_id"]): entry for entry in found if entry["request_id"]}

    until(lambda: last in entries())
    return {own: entry for own, entry in entries().items() if own != last}


def with_start(digits: str) -> str:
    return _plain(digits + str(uuid.uuid4())[len(digits) :])


def _plain(own: str) -> str:
    """The ID of a request without the digit in which Envoy notes that it is traced (extensions/request_id/uuid)."""
    return f"{own[:14]}4{own[15:]}"


def test_failed_and_slow_requests_and_a_share_of_the_others_are_logged_and_no_more(bench: Bench) -> None:
    failed = send(bench, [{"x-workload-status": "500"}, {"x-workload-status": "503"}])
    slow = send(bench, [{"x-workload-delay": str(1.5 * SLOW_MS / 1000)}])
    refused = send(bench, [{"x-workload-status": "404", "x-request-id": with_start("ffff")}])
    others = send(bench, [{"x-request-id": with_start(f"{number:04x}")} for number in range(0, 0x10000, 0x400)])
    drawn = [one for one in others if int(one[:4], 16) < round(0x10000 * LOGGED / 100)]
    assert 0 < len(drawn) < len(others)
    for pod in (bench.source, details(bench)):
        found = logged(bench, pod).keys()
        assert found >= {*failed, *slow, *drawn}
        assert not found & ({*others} - {*drawn} | {*refused})


def test_a_line_has_istios_own_fields_and_those_that_were_added(bench: Bench) -> None:
    (own,) = send(bench, [{"x-workload-status": "500"}], "/details?secret=1")
    entry = logged(bench, bench.source)[own]
    assert entry.keys() == {*LOG_FIELDS, "sampled", "share"}
    assert (entry["method"], entry["response_code"], entry["share"]) == ("GET", 500, "100%")
    assert entry["upstream_cluster"].startswith("outbound|9080||details.bookinfo.svc.cluster.local")


def test_the_first_proxy_draws_the_sample_and_tells_the_next_one(bench: Bench) -> None:
    ids = {*send(bench, [{"x-workload-status": "500"}] * REQUESTS)}
    entries = [entry for own, entry in logged(bench, details(bench)).items() if own in ids]
    said = [entry["sampled"] for entry in entries]
    assert len(said) == REQUESTS
    assert {*said} == {"0", "1"}
    assert plausible_share(said.count("1"), REQUESTS, SAMPLED)


def test_a_decision_that_a_request_brings_along_is_kept(bench: Bench) -> None:
    trace = {"x-b3-traceid": "1" * 32, "x-b3-spanid": "2" * 16, "x-workload-status": "500"}
    for decision in ("0", "1"):
        ids = {*send(bench, [{**trace, "x-b3-sampled": decision}] * 20)}
        entries = [entry for own, entry in logged(bench, details(bench)).items() if own in ids]
        assert [entry["sampled"] for entry in entries] == [decision] * 20
