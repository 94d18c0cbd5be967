from typing import Any, cast

import pytest

from components.diagnostics import ConfigurationError
from components.traffic.component import Traffic, TrafficArgs
from stacks import delivery, program
from stacks.settings import ClusterSettings
from tests.components.recorder import Record, recorded
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import OWNER, planned


def delivered(mode: Any) -> list[Record]:
    plan = planned(raw(delivery=mode))

    def build() -> None:
        program.register(plan, program.provider(ClusterSettings(context="kind-dev")))

    return [record for record in recorded(build) if record.name.startswith("traffic-")]


def test_releases_take_the_place_of_the_objects_and_are_not_waited_for() -> None:
    destinations, routes = delivered("release")
    assert [item.name.rpartition("-")[0] for item in (destinations, routes)] == [
        "traffic-bookinfo-destinations",
        "traffic-bookinfo-routes",
    ]
    assert destinations.urn in routes.dependencies
    for item in (destinations, routes):
        assert item.type == "kubernetes:helm.sh/v3:Release"
        assert item.inputs["name"].startswith(delivery.release_prefix(OWNER))
        assert item.inputs["skipAwait"] is True
        assert item.inputs["maxHistory"] == 3
        assert item.inputs["createNamespace"] is False
    assert set(destinations.inputs["values"]["objects"]) == {"DestinationRule/reviews"}
    assert set(routes.inputs["values"]["objects"]) == {"VirtualService/reviews"}


def test_objects_are_resources_each_by_default() -> None:
    assert sorted(record.name for record in delivered("objects")) == [
        "traffic-bookinfo-reviews-destinationrule",
        "traffic-bookinfo-reviews-virtualservice",
    ]


@pytest.mark.parametrize("release", [{}, {"release": "r"}])
def test_a_patch_is_a_resource_of_its_own_whatever_the_delivery(release: Any) -> None:
    metadata = {"name": "web", "namespace": "shop", "annotations": {"a": "b"}}
    patch = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    args = cast("TrafficArgs", {"objects": [], "patches": [patch], **release})

    def build() -> None:
        Traffic("traffic", args)

    _, record = recorded(build)
    assert (record.type, record.name) == ("kubernetes:core/v1:ServicePatch", "traffic-shop-web-servicepatch")
    assert record.inputs == {"apiVersion": "v1", "kind": "Service", "metadata": metadata}


def objects(*kinds: str) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": kind,
            "metadata": {"name": f"o{number}", "namespace": "shop"},
            "spec": {},
        }
        for number, kind in enumerate(kinds)
    ]


def test_routes_wait_for_the_destinations_before_them_unless_their_order_is_given() -> None:
    made = objects("DestinationRule", "VirtualService", "DestinationRule", "VirtualService")

    def waited_for(args: dict[str, Any]) -> dict[str, list[str]]:
        def build() -> None:
            Traffic("traffic", args)

        records = recorded(build)[1:]
        names = {record.urn: record.name.split("-")[2] for record in records}
        waited = (sorted(names[urn] for urn in record.dependencies if urn in names) for record in records)
        return dict(zip(names.values(), waited, strict=True))

    assert waited_for({"objects": made}) == {"o0": [], "o1": ["o0"], "o2": [], "o3": ["o0", "o2"]}
    in_order = {"objects": made, "after": [[], [], [1], [2]]}
    assert waited_for(in_order) == {"o0": [], "o1": [], "o2": ["o1"], "o3": ["o2"]}


@pytest.mark.parametrize("after", [[[]], [[0], []], [[], [1]], [[], [-1]]])
def test_an_order_that_can_not_be_followed_is_refused(after: list[list[int]]) -> None:
    with pytest.raises(ConfigurationError, match="MSH005"):
        TrafficArgs.of({"objects": objects("DestinationRule", "VirtualService"), "after": after})
