"""Each strategy of docs/strategies does what its page says, counted, by every API of Istio that can do it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from components.apps import bookinfo
from components.traffic import Compilation, parse
from tests.chance import plausible, plausible_share
from tests.dataplane.traffic import examples
from tests.dataplane.traffic.bench import NAMESPACE, PORT, Bench, host, kubernetes_service
from tests.dataplane.traffic.request_batch import Sent
from tests.unit.traffic.helpers import compile_routes

pytestmark = pytest.mark.dataplane

APIS = ("istio", "gateway-api")
SENT = 400


@dataclass(frozen=True)
class Case:
    """What the requests with some headers should meet.

    Attributes:
        strategy: The file of docs/strategies.
        shares: Version -> percent.
        headers: What the requests carry.
        copies: Version -> percent of copies.
    """

    strategy: str
    shares: dict[str, int]
    headers: tuple[tuple[str, str], ...] = ()
    copies: tuple[str, int] | None = None


CASES = (
    Case("ab-testing", {"v1": 100}),
    Case("ab-testing", {"v1": 100}, (("cookie", "group=a"),)),
    Case("ab-testing", {"v2": 100}, (("cookie", "id=7; group=b"),)),
    Case("ab-testing", {"v2": 100}, (("x-group", "b"),)),
    Case("blue-green", {"v1": 100, "v2": 0}),
    Case("canary", {"v1": 95, "v2": 5}),
    Case("dark-launch", {"v1": 100}),
    Case("dark-launch", {"v3": 100}, (("x-staff", "anybody"),)),
    Case("shadowing", {"v1": 100}, copies=("v2", 25)),
)


# An HTTPRoute has no retries, which the canary asks for.
REFUSED = ("canary", "gateway-api")
POSSIBLE = [
    pytest.param(case, api, id=f"{case.strategy} by {api} {dict(case.headers)}")
    for case in CASES
    for api in APIS
    if (case.strategy, api) != REFUSED
]


def configuration() -> dict[str, Any]:
    """Every strategy for every API, each for a Service of its own in front of the pods of reviews."""
    (reviews,) = (
        service
        for service in bookinfo.services(bookinfo.BookinfoArgs(namespace=NAMESPACE))
        if service.name == "reviews"
    )
    described = {
        "namespace": NAMESPACE,
        "ports": [{"number": PORT, "protocol": "http"}],
        "selector": dict(reviews.selector),
        "versions": {version.name: dict(version.labels) for version in reviews.versions},
    }
    raw: dict[str, Any] = {}
    for file in sorted((examples.ROOT / "docs" / "strategies").glob("*.yaml")):
        body = yaml.safe_load(file.read_text())["config"]["meshup:traffic"]["reviews"]
        raw |= {f"{file.stem}-{api}": {**body, **described, "api": api} for api in APIS}
    return raw


@pytest.fixture(scope="module")
def strategies(bench: Bench) -> Iterator[Compilation]:
    """All strategies that Istio can do, in the Envoys."""
    possible = {
        name: body for name, body in configuration().items() if examples.compilation_of({name: body}, "istio", [])
    }
    routes, _ = parse(possible, "meshup:traffic", [])
    compilation = compile_routes(routes, "istio")
    objects = [*(kubernetes_service(route.service) for route in routes), *compilation.manifests]
    try:
        bench.apply(objects)
        bench.until_routed(compilation)
        yield compilation
    finally:
        bench.delete(objects)


def test_every_strategy_of_the_docs_is_tried(strategies: Compilation) -> None:
    tried = {case.strategy for case in CASES}
    assert {f"{name}-{APIS[0]}" for name in tried} == {name for name in configuration() if name.endswith(APIS[0])}
    assert set(configuration()) - set(strategies.summaries) == {"-".join(REFUSED)}


@pytest.mark.parametrize(("case", "api"), POSSIBLE)
def test_a_strategy_sends_requests_where_its_page_says(
    bench: Bench, strategies: Compilation, case: Case, api: str
) -> None:
    service = f"{case.strategy}-{api}"
    assert service in strategies.summaries
    path = f"/{service}"
    answers = bench.send([Sent(host(service), path, headers=case.headers)] * SENT)
    counts = Counter(answer.version for answer in answers)
    assert plausible(counts, case.shares), counts
    if case.copies:
        version, percent = case.copies
        target = bench.pod(app="reviews", version=version)
        copies = settled(lambda: bench.requests_by_path(target).get(path, 0))
        assert plausible_share(copies, SENT, percent), copies


def settled(count: Callable[[], int]) -> int:
    """A count when it grows no more: copies are sent beside the requests, so the last ones may still be under way."""
    last = -1
    while (now := count()) != last:
        last = now
        time.sleep(0.5)
    return now
