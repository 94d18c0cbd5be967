"""What is asked of the API server: its defaults, for objects that have more fields on the cluster than in the plan."""

from copy import deepcopy
from typing import Any

import pytest

from components.manifests import Manifest
from stacks import health
from stacks.cluster import Answer, Cluster, ClusterError, ClusterView
from stacks.health.routes import DRIFT
from tests.unit.stacks.fake_view import GATEWAY_API, OWNER, FakeCluster
from tests.unit.stacks.health.subjects import subject

TRAFFIC = {"reviews": {"namespace": "bookinfo", "api": "gateway-api", "split": {"v1": 90, "v2": 10}}}


class Defaulting(Cluster):
    """An API server that adds a field to what is tried, or fails."""

    def __init__(self, error: ClusterError | None = None) -> None:
        self.tried: list[Manifest] = []
        self.error = error

    def dry_run(self, manifest: Manifest, manager: str) -> Answer:
        del manager
        self.tried.append(manifest)
        if self.error:
            raise self.error
        return Answer(201, "", stored(manifest))


def stored(item: Manifest, **changes: Any) -> Manifest:
    """An object as the API server stores it, with a default, and for a Service an address of its own."""
    own = {"clusterIP": f"10.0.0.{len(changes)}"} if item["kind"] == "Service" else {}
    return {**deepcopy(item), "spec": {**deepcopy(item["spec"]), "defaulted": "yes", **own, **changes}}


def probed(server: Cluster, **changes: Any) -> health.Subject:
    asked = subject(traffic=TRAFFIC)
    live = [stored(item, **changes) for item in asked.governing]
    view = ClusterView(FakeCluster([*GATEWAY_API, *live]), "v1.36.3")
    return health.probe(asked.plan, OWNER, server, view)


def test_defaults_of_the_api_server_are_no_difference_and_other_fields_are() -> None:
    assert DRIFT.run(probed(Defaulting())) == []
    faults = DRIFT.run(probed(Defaulting(), added="by hand"))
    assert {fault.code for fault in faults} == {"MSH779"}
    assert all(fault.message == 'spec.added is "by hand", and the stack does not set it.' for fault in faults)


def test_what_is_tried_has_a_name_of_its_own_and_no_service_is_tried_whose_address_would_differ() -> None:
    server = Defaulting()
    made = probed(server)
    kinds = {item["kind"] for item in made.governing}
    assert "Service" in kinds
    assert {item["kind"] for item in server.tried} == kinds - {"Service"}
    assert all("name" not in item["metadata"] and item["metadata"]["generateName"] for item in server.tried)


def test_objects_whose_defaults_the_server_refuses_to_say_are_compared_by_what_the_plan_sets() -> None:
    refused = ClusterError("MSH031", "kind-dev", "refused")
    made = probed(Defaulting(refused), added="by hand")
    assert made.defaulted == {}
    assert DRIFT.run(made) == []


def test_a_server_that_is_gone_ends_the_checks() -> None:
    with pytest.raises(ClusterError):
        probed(Defaulting(ClusterError("MSH023", "kind-dev", "gone", answered=False)))


def test_an_object_that_is_stored_as_planned_is_not_tried() -> None:
    asked, server = subject(traffic=TRAFFIC), Defaulting()
    view = ClusterView(FakeCluster([*GATEWAY_API, *deepcopy(list(asked.governing))]), "v1.36.3")
    health.probe(asked.plan, OWNER, server, view)
    assert server.tried == []
