from typing import Any

from stacks import delivery, program, settings
from stacks.charts import Charts
from stacks.plan import plan
from tests.components.recorder import Record, recorded
from tests.unit.stacks.configs import raw

OWNER = "organization/meshup/dev"


def delivered(way: Any) -> list[Record]:
    chosen, _ = settings.load(raw(delivery=way), "dev")
    planned, _ = plan(chosen, Charts())
    planned, found = delivery.decide(planned, chosen.delivery, OWNER)
    assert found == []

    def build() -> None:
        program.deploy(planned, program.provider(chosen.cluster))

    return [record for record in recorded(build) if record.name.startswith("traffic-")]


def test_a_release_takes_the_place_of_the_objects_and_is_not_waited_for() -> None:
    (release,) = delivered("release")
    assert release.type == "kubernetes:helm.sh/v3:Release"
    assert (release.name, release.inputs["name"]) == ("traffic-bookinfo", delivery.release_name(OWNER))
    assert release.inputs["skipAwait"] is True
    assert release.inputs["maxHistory"] == 3
    assert release.inputs["createNamespace"] is False
    assert set(release.inputs["values"]["objects"]) == {"DestinationRule/reviews", "VirtualService/reviews"}


def test_objects_are_resources_each_by_default() -> None:
    assert sorted(record.name for record in delivered("objects")) == [
        "traffic-bookinfo-reviews-destinationrule",
        "traffic-bookinfo-reviews-virtualservice",
    ]
