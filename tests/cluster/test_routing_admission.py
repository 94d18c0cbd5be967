"""What the routing core compiles is accepted by a real API server that serves the real CRDs of both meshes.

The dry run is strict, so an unknown field is a fault, and it runs the CEL rules of the CRDs. What istiod's webhook
says is in tests/dataplane/traffic/test_webhook.py.
"""

from collections.abc import Iterator, Sequence

import pytest

from devcluster.embedded import Embedded
from tests.dataplane.traffic import examples, kube_batch
from tests.dataplane.traffic.examples import MESHES, Example
from tests.facts import linkerd

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def api(embedded: Embedded) -> Iterator[Embedded]:
    """The cluster with the CRDs and the namespaces that the examples need; both go again."""
    theirs = [*examples.istio_crds(embedded.toolbox), *examples.gateway_api_crds(embedded.toolbox)]
    needed = [*theirs, *linkerd.crds(), *examples.namespaces()]
    try:
        kube_batch.apply(embedded, needed)
        yield embedded
    finally:
        kube_batch.delete(embedded, needed)


def refused(api: Embedded, chosen: Sequence[Example]) -> list[str]:
    """What the API server has against the objects of examples, with the name of the example."""
    named = [(example.name, item) for example in chosen for item in example.objects]
    assert named, "there is nothing to ask"
    faults = kube_batch.dry_run(api, [item for _, item in named])
    return [f"{name}: {fault}" for (name, _), fault in zip(named, faults, strict=True) if fault]


@pytest.mark.parametrize("mesh", MESHES)
def test_every_strategy_of_the_docs_is_accepted(api: Embedded, mesh: str) -> None:
    assert refused(api, list(examples.strategies(mesh))) == []


@pytest.mark.parametrize("mesh", MESHES)
def test_every_cell_of_the_capability_matrix_is_accepted(api: Embedded, mesh: str) -> None:
    assert refused(api, list(examples.cells(mesh))) == []


@pytest.mark.parametrize("mesh", MESHES)
def test_gateways_of_every_api_are_accepted(api: Embedded, mesh: str) -> None:
    assert refused(api, list(examples.gateways(mesh))) == []


def test_generated_routes_are_accepted(api: Embedded) -> None:
    chosen = examples.generated()
    assert {example.mesh for example in chosen} == set(MESHES)
    assert refused(api, chosen) == [], f"MESHUP_TEST_SEED={examples.seed_of_this_run()}"


def test_the_api_server_refuses_what_is_wrong(api: Embedded) -> None:
    """Otherwise the tests above would prove nothing."""
    (example,) = (e for e in examples.cells("istio") if e.name == "timeout by istio-route")
    (route,) = (item for item in example.objects if item["kind"] == "HTTPRoute")
    unknown = {**route, "spec": {**route["spec"], "timeout": "2s"}}
    rules = [{**rule, "timeouts": {"request": "1s", "backendRequest": "2s"}} for rule in route["spec"]["rules"]]
    against_a_rule = {**route, "spec": {**route["spec"], "rules": rules}}
    faults = kube_batch.dry_run(api, [route, unknown, against_a_rule])
    assert faults[0] == ""
    assert "timeout" in faults[1]
    assert "backendRequest timeout cannot be longer than request timeout" in faults[2]
