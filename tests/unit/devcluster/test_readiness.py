import json
from typing import Any

import pytest

from devcluster import readiness
from devcluster.readiness import Question

READY = {"type": "Ready", "status": "True"}


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        ({"status": {"conditions": [READY]}, "spec": {}}, ""),
        ({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "is not Ready"),
        ({"status": {"conditions": [{"type": "DiskPressure", "status": "True"}]}}, "is not Ready"),
        ({}, "is not Ready"),
        (
            {"status": {"conditions": [READY]}, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}},
            "has the not-ready taint",
        ),
        ({"status": {"conditions": [READY]}, "spec": {"taints": [{"key": "mine"}]}}, ""),
    ],
)
def test_a_node_takes_pods_when_it_is_ready_and_its_taint_is_gone(node: dict[str, Any], fault: str) -> None:
    assert readiness.node_fault(node) == fault


def test_a_node_that_is_created_is_kwoks() -> None:
    metadata = readiness.node_manifest("node-1")["metadata"]
    assert metadata["annotations"] == {readiness.NODE_ANNOTATION: "fake"}
    assert metadata["labels"]["kubernetes.io/hostname"] == "node-1"


def test_a_question_survives_its_way_into_the_namespace() -> None:
    question = Question("https://127.0.0.1:1", "ca", "crt", "key", timeout=3.5, health={"kwok": "u"}, nodes=["n"])
    assert Question(**json.loads(question.to_json())) == question
