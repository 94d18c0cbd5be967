import json
from pathlib import Path
from typing import Any

import pytest

from components.manifests import Manifest, object_ref
from components.traffic import Compilation
from components.traffic import component as traffic
from stacks import delivery, settings
from stacks.delivery import Delivery
from stacks.ownership import ANNOTATION, Claims
from stacks.plan import compiled
from tests.dataplane.traffic.examples import MESHES, cells
from tests.unit.stacks.configs import NOW, raw

OWNER = "organization/meshup/dev"
NO_CLAIMS = Claims({}, frozenset(), ())


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


def compilation(count: int = 2, namespaces: int = 1) -> Compilation:
    found, diagnostics = compiled(settings.load(raw(apps=[], traffic=routes(count, namespaces)), "dev")[0], NOW)
    assert diagnostics == []
    return found


def objects_of(count: int = 2, namespaces: int = 1) -> list[Manifest]:
    return list(compilation(count, namespaces).manifests)


def delivered(mode: Any, owner: str = OWNER) -> Delivery:
    return delivery.deliver(compilation(), mode, owner)[0]


def metadata(item: Manifest) -> dict[str, Any]:
    return {"name": item["metadata"]["name"], "annotations": item["metadata"].get("annotations")}


def test_each_object_is_a_resource_unless_the_stack_says_otherwise() -> None:
    assert delivery.deliver(compilation(), "objects", OWNER) == (Delivery(compilation().manifests), [])
    assert settings.load(raw(), "dev")[0].delivery == "objects"


def test_above_a_hundred_services_a_note_says_what_would_be_faster() -> None:
    assert delivery.deliver(compilation(100), "objects", OWNER)[1] == []
    (note,) = delivery.deliver(compilation(101), "objects", OWNER)[1]
    assert (note.code, note.severity) == ("MSH027", "info")
    assert "101 Services" in note.message
    assert delivery.deliver(compilation(101), "release", OWNER)[1] == []


def test_objects_of_a_release_carry_the_stack_as_resources_do() -> None:
    found = delivered("release")
    assert all(item["metadata"]["annotations"][ANNOTATION] == OWNER for item in found.objects)


def test_stacks_have_releases_of_different_names_that_helm_takes() -> None:
    prefixes = {delivery.release_prefix(f"organization/meshup/{stack}") for stack in ("dev", "prod", "x" * 100)}
    assert len(prefixes) == 3
    found = [item for prefix in prefixes for item in traffic.releases(objects_of(50), prefix)]
    assert len({item["name"] for item in found}) == len(found)
    assert all(len(item["name"]) <= 53 for item in found)


def test_a_release_that_no_secret_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "LARGEST_RECORD", 1_000)
    _, found = delivery.deliver(compilation(50), "release", OWNER)
    assert {item.code for item in found} == {"MSH028"}
    assert "release ns0/meshup-traffic-" in found[0].message
    assert delivery.deliver(compilation(1), "release", OWNER)[1] == []


def test_twenty_thousand_services_of_a_namespace_fit_into_their_records() -> None:
    found = traffic.releases(objects_of(1_000), "r")
    assert all(20 * traffic.record_size(release) < traffic.LARGEST_RECORD for release in found)


@pytest.mark.parametrize("way", ["objects", "release"])
def test_objects_that_came_in_the_same_way_are_taken_up_again(way: Any) -> None:
    found = delivered(way)
    objects = list(found.objects)
    if way == "release":
        objects = [traffic.with_helm_ownership(item, found.release_prefix) for item in objects]
    there = {
        object_ref(item): {"annotations": {ANNOTATION: OWNER} | item["metadata"].get("annotations", {})}
        for item in objects
    }
    assert len(there) == 4
    assert delivery.delivery_conflicts(found, there, NO_CLAIMS, OWNER) == []


@pytest.mark.parametrize(("way", "release"), [("objects", "meshup-traffic-1"), ("release", None)])
def test_objects_that_came_in_the_other_way_are_not_taken_over(way: Any, release: str | None) -> None:
    found = delivered(way)
    annotations = {ANNOTATION: OWNER}
    if release:
        annotations[traffic.RELEASE_ANNOTATION] = release
    there = {object_ref(item): {"annotations": annotations} for item in found.objects}
    (refusal,) = delivery.delivery_conflicts(found, there, NO_CLAIMS, OWNER)
    assert (refusal.code, refusal.severity, refusal.value) == ("MSH029", "error", way)
    assert refusal.message.startswith("4 objects")


def test_releases_under_the_former_name_of_a_renamed_stack_are_not_replaced() -> None:
    found, former = delivered("release"), delivered("release", "organization/meshup/old")
    objects = [traffic.with_helm_ownership(item, former.release_prefix) for item in former.objects]
    there = {object_ref(item): item["metadata"] for item in objects}
    claims = Claims(dict.fromkeys(there, "urn"), frozenset(), ())
    (refusal,) = delivery.delivery_conflicts(found, there, claims, OWNER)
    assert (refusal.code, refusal.severity) == ("MSH029", "error")
    assert former.release_prefix in refusal.message
    assert "pulumi stack rename" in refusal.remedy


def test_objects_of_somebody_else_are_left_to_the_check_of_ownership() -> None:
    found = delivered("release")
    there = {object_ref(item): metadata(item) for item in objects_of()}
    assert there
    assert delivery.delivery_conflicts(found, there, NO_CLAIMS, OWNER) == []


def test_destinations_of_all_namespaces_come_before_all_routes() -> None:
    found = traffic.releases(objects_of(40, namespaces=2), "r")
    parts = [item["name"].split("-")[1] for item in found]
    assert parts == sorted(parts)
    for namespace in ("ns0", "ns1"):
        here = [item["name"].split("-")[1] for item in found if item["namespace"] == namespace]
        assert (here.count("destinations"), here.count("routes")) == (2, 4)
    assert len({item["role"] for item in found}) == len(found)
    for release in found:
        kind = "VirtualService" if "-routes-" in release["name"] else "DestinationRule"
        assert {key.split("/")[0] for key in release["values"]["objects"]} == {kind}


def test_an_object_stays_in_its_release_whatever_else_there_is() -> None:
    def places(count: int) -> dict[str, str]:
        found = traffic.releases(objects_of(count), "r")
        return {key: release["name"] for release in found for key in release["values"]["objects"]}

    few, many = places(10), places(200)
    assert len(few) == 20
    assert few == {key: name for key, name in many.items() if key in few}
    # These names are in clusters: another hash would move objects, which Helm refuses.
    assert (few["DestinationRule/s3"], few["VirtualService/s0"]) == ("r-destinations-1", "r-routes-0")


def test_every_kind_that_names_destinations_is_a_route() -> None:
    """By the examples of every cell of the capability matrix, so that a new kind is not forgotten."""
    kinds = {item["kind"] for mesh in MESHES for example in cells(mesh) for item in example.objects}
    naming = {item["kind"] for mesh in MESHES for example in cells(mesh) for item in example.objects if refers(item)}
    assert naming == kinds & traffic.ROUTE_KINDS


def refers(item: Manifest) -> bool:
    """Whether an object names subsets, backends, or another object of the Gateway API or of Linkerd."""
    text = json.dumps(item["spec"])
    return any(f'"{key}"' in text for key in ("destination", "backendRefs", "targetRef"))


def test_objects_of_a_release_carry_helms_ownership_and_are_else_as_compiled() -> None:
    objects = objects_of(1)
    before = json.dumps(objects)
    found = traffic.releases(objects, "r")
    assert len(found) == len(objects) == 2
    for item in objects:
        key = f"{item['kind']}/{item['metadata']['name']}"
        (release,) = (release for release in found if key in release["values"]["objects"])
        there = json.loads(release["values"]["objects"][key])
        assert there["spec"] == item["spec"]
        assert there["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert there["metadata"]["annotations"]["meta.helm.sh/release-name"] == release["name"]
        assert there["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == "ns0"
    assert json.dumps(objects) == before


def test_the_chart_is_the_one_in_the_repository_in_the_version_that_is_named() -> None:
    found = traffic.releases(objects_of(1), "r")
    assert {release["chart"] for release in found} == {"./components/charts/routes"}
    chart = Path("components/charts/routes/Chart.yaml").read_text(encoding="utf-8")
    assert all(f"version: {release['version']}\n" in chart for release in found)
