import json
from typing import Any

import pytest

from components import traffic
from components.manifests import Manifest
from stacks import delivery, settings
from stacks.charts import Charts
from stacks.ownership import ANNOTATION, kept
from stacks.plan import Plan, plan
from tests.unit.stacks.configs import raw

OWNER = "organization/meshup/dev"


def routes(count: int, namespaces: int = 1) -> dict[str, Any]:
    return {
        f"s{number}": {
            "namespace": f"ns{number % namespaces}",
            "port": 80,
            "versions": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
            "split": {"v1": 90, "v2": 10},
        }
        for number in range(count)
    }


def planned(count: int = 2, namespaces: int = 1) -> Plan:
    found, said = plan(settings.load(raw(apps=[], traffic=routes(count, namespaces)), "dev")[0], Charts())
    assert said == []
    return found


def metadata(item: Manifest) -> dict[str, Any]:
    return {"name": item["metadata"]["name"], "annotations": item["metadata"].get("annotations")}


def test_each_object_is_a_resource_unless_the_stack_says_otherwise() -> None:
    before = planned()
    assert delivery.decide(before, "objects", OWNER) == (before, [])
    assert settings.load(raw(), "dev")[0].delivery == "objects"


def test_above_a_hundred_services_a_note_says_what_would_be_faster() -> None:
    assert delivery.decide(planned(100), "objects", OWNER)[1] == []
    (note,) = delivery.decide(planned(101), "objects", OWNER)[1]
    assert (note.code, note.severity) == ("MSH027", "info")
    assert "101 Services" in note.message
    assert delivery.decide(planned(101), "release", OWNER)[1] == []


def test_objects_of_a_release_carry_the_stack_as_resources_do() -> None:
    found, _ = delivery.decide(planned(), "release", OWNER)
    assert all(item["metadata"]["annotations"][ANNOTATION] == OWNER for item in found.traffic.objects)


def test_stacks_have_releases_of_different_names_that_helm_takes() -> None:
    names = {delivery.release_name(f"organization/meshup/{stack}") for stack in ("dev", "prod", "x" * 100)}
    assert len(names) == 3
    assert all(len(name) <= 53 for name in names)


def test_a_release_that_no_secret_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    (release,) = traffic.releases(list(planned(50).traffic.objects), "r")
    monkeypatch.setattr(traffic, "LARGEST_RECORD", traffic.record_size(release) // 2)
    _, found = delivery.decide(planned(50), "release", OWNER)
    assert [item.code for item in found] == ["MSH028"]
    assert "namespace ns0" in found[0].message


def test_ten_thousand_services_of_a_namespace_fit_into_one_record() -> None:
    (release,) = traffic.releases(list(planned(1_000).traffic.objects), "r")
    assert 10 * traffic.record_size(release) < traffic.LARGEST_RECORD


@pytest.mark.parametrize("way", ["objects", "release"])
def test_objects_that_came_in_the_same_way_are_taken_up_again(way: Any) -> None:
    found, _ = delivery.decide(planned(), way, OWNER)
    objects = list(found.traffic.objects)
    if way == "release":
        objects = [*traffic.releases(objects, found.release)[0]["values"]["objects"].values()]
    there = {
        kept(item): {"annotations": {ANNOTATION: OWNER} | item["metadata"].get("annotations", {})} for item in objects
    }
    assert len(there) == 4
    assert delivery.mixed(found, there, OWNER) == []


@pytest.mark.parametrize(("way", "release"), [("objects", "meshup-traffic-1"), ("release", None)])
def test_objects_that_came_in_the_other_way_are_not_taken_over(way: Any, release: str | None) -> None:
    found, _ = delivery.decide(planned(), way, OWNER)
    annotations = {ANNOTATION: OWNER}
    if release:
        annotations[delivery.RELEASE_ANNOTATION] = release
    there = {kept(item): {"annotations": annotations} for item in found.traffic.objects}
    (refusal,) = delivery.mixed(found, there, OWNER)
    assert (refusal.code, refusal.severity, refusal.value) == ("MSH029", "error", way)
    assert refusal.message.startswith("4 objects")


def test_objects_of_somebody_else_are_left_to_the_check_of_ownership() -> None:
    found, _ = delivery.decide(planned(), "release", OWNER)
    there = {kept(item): metadata(item) for item in planned().traffic.objects}
    assert there
    assert delivery.mixed(found, there, OWNER) == []


def test_a_namespace_has_one_release_with_its_objects_by_kind_and_name() -> None:
    found = traffic.releases(list(planned(4, namespaces=2).traffic.objects), "r")
    assert [(item["name"], item["namespace"]) for item in found] == [("r", "ns0"), ("r", "ns1")]
    assert set(found[0]["values"]["objects"]) == {
        "DestinationRule/s0",
        "DestinationRule/s2",
        "VirtualService/s0",
        "VirtualService/s2",
    }


def test_objects_of_a_release_carry_helms_ownership_and_are_else_as_compiled() -> None:
    objects = list(planned(1).traffic.objects)
    before = json.dumps(objects)
    (release,) = traffic.releases(objects, "r")
    for item in objects:
        wrapped = release["values"]["objects"][f"{item['kind']}/{item['metadata']['name']}"]
        assert wrapped["spec"] == item["spec"]
        assert wrapped["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert wrapped["metadata"]["annotations"]["meta.helm.sh/release-name"] == "r"
        assert wrapped["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == "ns0"
    assert json.dumps(objects) == before


def test_a_namespace_waits_for_the_ones_whose_objects_it_names_and_never_in_a_circle() -> None:
    def rule(namespace: str) -> Manifest:
        host = f"a.{namespace}.svc.cluster.local"
        return {"kind": "DestinationRule", "metadata": {"name": "a", "namespace": namespace}, "spec": {"host": host}}

    def route(namespace: str, host: str) -> Manifest:
        spec = {"http": [{"route": [{"destination": {"host": f"a.{host}.svc.cluster.local"}}]}]}
        return {"kind": "VirtualService", "metadata": {"name": "a", "namespace": namespace}, "spec": spec}

    assert traffic.release_order([rule("x"), rule("y"), route("y", "x")]) == {"x": [], "y": ["x"]}
    both = [rule("x"), rule("y"), route("y", "x"), route("x", "y")]
    assert traffic.release_order(both) == {"x": [], "y": ["x"]}


def test_the_chart_is_the_one_in_the_repository_in_the_version_that_is_named() -> None:
    chart = (traffic.CHART / "Chart.yaml").read_text(encoding="utf-8")
    assert f"version: {traffic.CHART_VERSION}\n" in chart
    (release,) = traffic.releases(list(planned(1).traffic.objects), "r")
    assert release["chart"] == "./components/charts/routes"
