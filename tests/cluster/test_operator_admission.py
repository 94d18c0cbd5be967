"""The objects for the Prometheus operator are accepted by a real API server that serves the operator's own CRDs."""

from collections.abc import Iterator

import pytest
import yaml

from devcluster.embedded import Embedded
from tests.dataplane.traffic import kube_batch
from tests.unit.observability.addons import addon_of, plan_of
from tests.unit.traffic.schemas import operator_crds

pytestmark = pytest.mark.cluster

CHOSEN = {"enabled": True, "mode": "operator", "operator": {"labels": {"release": "kps"}}}
TRAFFIC = {"reviews": {"split": {"v1": 90, "v2": 10}, "slo": {"success": 99.9, "latency": {"p": 99, "below": "500ms"}}}}


@pytest.fixture(scope="module")
def api(embedded: Embedded) -> Iterator[Embedded]:
    """The cluster with the CRDs and the namespace of the objects; both go again."""
    crds = [yaml.load(file.read_text(), Loader=yaml.CSafeLoader) for file in operator_crds()]
    needed = [*crds, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prometheus"}}]
    try:
        kube_batch.apply(embedded, needed)
        yield embedded
    finally:
        kube_batch.delete(embedded, needed)


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_every_monitor_and_rule_is_accepted(api: Embedded, mesh: str) -> None:
    made = addon_of(plan_of({"mesh": mesh, "traffic": TRAFFIC, "prometheus": CHOSEN}), "prometheus").objects
    assert {one["kind"] for one in made} == {"PodMonitor", "PrometheusRule"}
    assert [fault for fault in kube_batch.dry_run(api, made) if fault] == []


def test_the_api_server_refuses_what_is_wrong(api: Embedded) -> None:
    """Otherwise the test above would prove nothing."""
    made = addon_of(plan_of({"traffic": TRAFFIC, "prometheus": CHOSEN}), "prometheus").objects
    monitor = next(one for one in made if one["kind"] == "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    wrong = {**monitor, "spec": {**monitor["spec"], "podMetricsEndpoints": [{**endpoint, "interval": "soon"}]}}
    assert kube_batch.dry_run(api, [wrong])[0]
