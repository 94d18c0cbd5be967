"""The presets: of both samples each call that they make is answered, and every other pair is refused.

What is allowed is taken from the call graphs, not from the policy. Callers are all pods of both samples, a stranger of
the mesh, one outside of it, and the gateway.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

import pytest

from components.apps import emojivoto
from components.meshes import MESHES
from components.security.model import Account
from components.security.plane import AccessRequest
from components.security.world import Call
from components.traffic.model import Port, Service
from devcluster import traffic
from devcluster.kubelet.registry import RunningPod
from devcluster.stack import Stack
from devcluster.stackfile import Setting, with_settings
from tests.dataplane.security import bench as objects
from tests.dataplane.security import policies, samples, town
from tests.dataplane.security.bench import Bench
from tests.dataplane.security.town import ALLOWED, CLOSED, DENIED, EDGE, FRONT, GATEWAY, SHOP, Outcome
from tests.dataplane.traffic.bench import until

pytestmark = pytest.mark.dataplane

TIMES = 3
"""How often each request is sent, after those that older connections took."""


@dataclass(frozen=True)
class Caller:
    """A pod that calls; without one, an account that only has a certificate, or nobody."""

    account: Account | None
    pod: RunningPod | None


@pytest.fixture(scope="module")
def callers(bench: Bench) -> Iterator[list[Caller]]:
    """The callers; emojivoto runs beside Bookinfo, which the mesh has."""
    made = [objects.namespace("emojivoto"), *emojivoto.manifests(samples.EMOJIVOTO)]
    try:
        bench.apply(made)
        ready = ["--for=condition=Available", "--timeout=600s"]
        bench.kubectl("wait", "deployment", "--all", "--namespace", "emojivoto", *ready)
        found = [Caller(one.identity, bench.pod(one.namespace, **dict(one.labels))) for one in samples.WORLD.workloads]
        stranger = Caller(FRONT, bench.pod(SHOP, app="front"))
        yield [*found, stranger, Caller(Account(EDGE, GATEWAY), None), Caller(None, None)]
    finally:
        bench.delete(made)


def asked_of(service: Service, port: Port, caller: Account | None) -> AccessRequest:
    """A request that the Service knows; that of the caller, if it has one."""
    known = calls_of(service, port)
    call = next(iter([*(one for one in known if makes(one, caller)), *known]), None)
    if call is None:
        return AccessRequest(service, port, caller, path="/metrics")
    return AccessRequest(service, port, caller, grpc=port.grpc, method=call.method, path=call.example.partition("?")[0])


def calls_of(service: Service, port: Port) -> list[Call]:
    """The known calls of a port."""
    calls = samples.CALLS[service.namespace]
    return [one for one in calls if (one.service, one.port) == (service.name, port.number)]


def makes(call: Call, caller: Account | None) -> bool:
    """Whether a call is one of the caller: the gateway makes those of the users."""
    return caller is not None and caller == (call.caller or Account(EDGE, GATEWAY))


def expected(request: AccessRequest) -> Outcome:
    """What the call graph says."""
    if any(makes(call, request.caller) for call in calls_of(request.service, request.port)):
        return ALLOWED
    if request.caller is None:
        return CLOSED
    return Outcome(False, 200, "", 7) if request.grpc else DENIED


def outcomes(bench: Bench, caller: Caller, asked: Sequence[AccessRequest]) -> list[Outcome]:
    """Send requests from a pod through its sidecar, or straight to a pod."""
    if caller.pod:
        requests = [
            town.sent(one, bench.service(one.service.namespace, one.service.name).address, one.port.number)
            for one in asked
        ]
        return [town.observed(answer) for answer in bench.through(caller.pod, requests)]
    return town.straight(bench, asked, town.pods(bench, samples.SERVICES))


def test_each_call_is_answered_and_every_other_pair_is_refused(bench: Bench, callers: list[Caller]) -> None:
    manifests = [one.manifest for one in samples.closed("istio").objects]
    pairs = [
        (caller, asked_of(service, port, caller.account))
        for caller in callers
        for service in samples.SERVICES
        for port in service.ports
    ]
    plane = MESHES["istio"].security
    predicted = [town.predicted(plane.verdict(manifests, samples.WORLD, one, policies.MODE)) for _, one in pairs]
    assert predicted == [expected(one) for _, one in pairs]
    assert predicted.count(ALLOWED) == 11
    called = [caller.pod for caller in callers if caller.pod]
    with bench.applied(manifests, called):
        for caller in callers:
            asked = [one for who, one in pairs if who == caller]
            wanted = [expected(one) for one in asked]
            until(lambda c=caller, a=asked, w=wanted: outcomes(bench, c, a) == w)
            assert outcomes(bench, caller, asked * TIMES) == wanted * TIMES
        # Probes go on.
        for name in samples.CALLS:
            pods = json.loads(bench.kubectl("get", "pods", "--namespace", name, "-o", "json"))["items"]
            assert all(status["ready"] for pod in pods for status in pod["status"]["containerStatuses"])


SECURITY = "meshup:security"
POLICY = {"namespaces": {"bookinfo": {"default": "deny"}}, "preset": "bookinfo"}


def test_closing_bookinfo_by_the_program_and_opening_it_again_fails_no_allowed_request(
    bench: Bench, bookinfo: Stack
) -> None:
    cluster = bench.embedded.cluster.name
    before = bookinfo.file.read_text()
    page, stranger = bench.pod("bookinfo", app="productpage"), bench.pod("bookinfo", app="details")
    edges = [(page, traffic.Request("bookinfo", name, f"/{name}/0")) for name in ("details", "reviews", "ratings")] + [
        (bench.pod("bookinfo", app="reviews", version="v2"), traffic.Request("bookinfo", "ratings", "/ratings/0"))
    ]
    forbidden = traffic.Request("bookinfo", "reviews", "/reviews/0")

    def statuses() -> dict[int, int]:
        return dict(traffic.send(cluster, stranger, forbidden, 20).statuses)

    # Connections of other tests keep the policies of their time for a while.
    until(lambda: statuses() == {200: 20})
    with ExitStack() as running:
        results = [
            running.enter_context(traffic.continuous(cluster, source, request, rate=50)) for source, request in edges
        ]
        running.callback(bookinfo.file.write_text, before)
        bookinfo.file.write_text(with_settings(before, {SECURITY: cast("Setting", POLICY)}))
        bookinfo.up()
        until(lambda: statuses() == {403: 20})
        bookinfo.run(["preview", "--expect-no-changes"], quiet=True)
        bookinfo.file.write_text(before)
        bookinfo.up()
        until(lambda: statuses() == {200: 20})
    for (outcome,) in results:
        assert outcome.requests > 100
        assert outcome.failed == 0, outcome.failures
