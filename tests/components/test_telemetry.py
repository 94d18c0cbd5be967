"""What makes proxies trace and log is registered once its mesh and its namespaces are there."""

from typing import Any

from tests.components.recorder import by_name
from tests.components.test_program import behind, registered
from tests.unit.telemetry.plans import ZIPKIN

SETTINGS: dict[str, Any] = {
    "tracing": {"collector": ZIPKIN, "namespaces": {"bookinfo": {"sampling": 100}}},
    "accessLogs": {"filter": {"errors": True}},
}


def test_each_object_waits_for_the_mesh_and_for_its_namespace() -> None:
    records = by_name(registered(**SETTINGS))
    made = {name for name, record in records.items() if record.type.endswith(":Telemetry") and record.parent}
    objects = {"telemetry-istio-system-telemetry", "telemetry-bookinfo-telemetry"}
    assert objects <= made
    for name in objects:
        assert {"istio-istiod", "namespace-bookinfo-namespace"} <= behind(records, name)
        assert records[name].inputs["metadata"]["name"] == "meshup"


def test_a_stack_without_traces_and_logs_registers_nothing_for_them() -> None:
    assert not [record for record in registered() if record.type.endswith(":Telemetry")]
