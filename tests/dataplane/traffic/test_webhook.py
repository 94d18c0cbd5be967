"""istiod's own validation webhook accepts what the routing core compiles for Istio.

The CRDs of both meshes are tried in tests/cluster/test_routing_admission.py; the webhook checks what no schema can.
"""

from collections.abc import Iterator, Sequence

import pytest

from tests.dataplane.traffic import examples, kube_batch
from tests.dataplane.traffic.bench import Bench
from tests.dataplane.traffic.examples import Example

pytestmark = pytest.mark.dataplane


@pytest.fixture(scope="module", autouse=True)
def spaces(bench: Bench) -> Iterator[None]:
    """The namespaces that examples are in, besides the one of Bookinfo."""
    made = [item for item in examples.namespaces() if item["metadata"]["name"] != "bookinfo"]
    bench.apply(made)
    yield
    bench.delete(made)


def refused(bench: Bench, chosen: Sequence[Example]) -> list[str]:
    """What the webhook has against the objects of examples for Istio, with the name of the example."""
    named = [(e.name, item) for e in chosen if e.mesh == "istio" for item in e.objects]
    assert named, "there is nothing to ask"
    faults = kube_batch.dry_run(bench.embedded, [item for _, item in named])
    return [f"{name}: {fault}" for (name, _), fault in zip(named, faults, strict=True) if fault]


def test_every_strategy_of_the_docs_is_valid(bench: Bench) -> None:
    assert refused(bench, list(examples.strategies("istio"))) == []


def test_every_cell_of_the_capability_matrix_is_valid(bench: Bench) -> None:
    assert refused(bench, list(examples.cells("istio"))) == []


def test_gateways_of_every_api_are_valid(bench: Bench) -> None:
    assert refused(bench, list(examples.gateways("istio"))) == []


def test_generated_routes_are_valid(bench: Bench) -> None:
    assert refused(bench, examples.generated()) == [], f"MESHUP_TEST_SEED={examples.seed_of_this_run()}"


def test_the_webhook_refuses_what_only_it_can_see(bench: Bench) -> None:
    """Otherwise the tests above would prove nothing."""
    (example,) = (e for e in examples.cells("istio") if e.name == "split by virtual-service")
    (item,) = (item for item in example.objects if item["kind"] == "VirtualService")
    routes = [{**backend, "weight": 0} for backend in item["spec"]["http"][0]["route"]]
    wrong = {**item, "spec": {**item["spec"], "http": [{"route": routes}]}}
    right, fault = kube_batch.dry_run(bench.embedded, [item, wrong])
    assert right == ""
    assert "admission webhook" in fault
    assert "total destination weight" in fault
