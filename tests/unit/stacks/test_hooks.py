import json
from typing import Any

from stacks.hooks import manager_of, objects_of


def test_a_route_is_moved_under_the_name_of_the_plugin_that_manages_it() -> None:
    fields = [{"manager": "istiod", "operation": "Update"}, {"manager": "pulumi-kubernetes-1f2e", "operation": "Apply"}]
    assert manager_of(fields) == "pulumi-kubernetes-1f2e"
    assert manager_of([{"manager": "kubectl"}]) == "pulumi-kubernetes"


def test_a_release_stands_for_its_objects_and_a_resource_for_itself() -> None:
    rule: dict[str, Any] = {"kind": "DestinationRule", "metadata": {"name": "reviews"}, "spec": {}}
    assert objects_of({"chart": "routes", "values": {"objects": {"DestinationRule/reviews": json.dumps(rule)}}}) == [
        rule
    ]
    assert objects_of(rule) == [rule]
    assert objects_of(None) == []
