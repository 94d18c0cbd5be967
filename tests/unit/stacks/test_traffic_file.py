import json
from pathlib import Path
from typing import Any

import pytest

from stacks import settings, traffic_file
from stacks.settings import Settings
from tests.unit.stacks.configs import raw


def chosen(**keys: Any) -> Settings:
    return settings.load(raw(**keys), "dev")[0]


def test_routes_of_the_file_stand_among_those_of_the_stack(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text("ratings: {namespace: bookinfo, split: {v1: 100}}\n")
    found, faults = traffic_file.with_file(chosen(trafficFile="routes.yaml"), tmp_path)
    assert faults == []
    assert list(found.traffic) == ["reviews", "ratings"]
    assert found.traffic["ratings"] == {"namespace": "bookinfo", "split": {"v1": 100}}


def test_without_the_key_nothing_is_read(tmp_path: Path) -> None:
    before = chosen()
    assert traffic_file.with_file(before, tmp_path) == (before, [])


def test_a_file_may_use_anchors_and_merge_keys(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("a: &a {namespace: x, port: 80}\nb: {<<: *a, port: 81}\n")
    found, faults = traffic_file.with_file(chosen(traffic={}, trafficFile="r.yaml"), tmp_path)
    assert (found.traffic["b"], faults) == ({"namespace": "x", "port": 81}, [])


def test_an_empty_file_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("# none yet\n")
    found, faults = traffic_file.with_file(chosen(trafficFile="r.yaml"), tmp_path)
    assert (list(found.traffic), faults) == (["reviews"], [])


def test_the_file_takes_more_than_an_environment_variable_can(tmp_path: Path) -> None:
    routes = {f"s{number}": {"namespace": "default", "port": 80, "split": {"v1": 100}} for number in range(3_000)}
    (tmp_path / "r.json").write_text(json.dumps(routes))
    found, faults = traffic_file.with_file(chosen(traffic={}, trafficFile="r.json"), tmp_path)
    assert (found.traffic, faults) == (routes, [])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: [", "not YAML"),
        (b"- a\n- b\n", "no mapping"),
        (b"a: {}\nb: {}\na: {}\n", "the key 'a' stands twice"),
        (b"a: {x: 1, x: 2}\n", "the key 'x' stands twice"),
        (b"a: !!python/object/apply:os.system [true]\n", "not YAML"),
        (b"reviews: {split: {v1: 100}}\n", "in the file and in meshup:traffic: reviews"),
    ],
)
def test_a_file_that_can_not_be_used_is_refused_with_its_reason(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "r.yaml").write_bytes(content)
    before = chosen(trafficFile="r.yaml")
    found, (fault,) = traffic_file.with_file(before, tmp_path)
    assert found == before
    assert (fault.code, fault.path, fault.value) == ("MSH030", "meshup:trafficFile", "r.yaml")
    assert said in fault.message
