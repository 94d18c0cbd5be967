import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stacks import files, settings, traffic_file
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
        (b"a: {}\nb: {}\na: {}\n", "the key 'a' appears twice"),
        (b"a: {x: 1, x: 2}\n", "the key 'x' appears twice"),
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


ROUTES: dict[str, Any] = {"shop": {"namespace": "shop", "port": 80, "split": {"v1": 100}}}
BLOCK = "shop:\n  namespace: shop\n  port: 80\n  split: {v1: 100}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", BLOCK),
        ("# none yet", "# none yet\n" + BLOCK),
        ("---\n", "---\n" + BLOCK),
        ("a: {b: 1} # c", "a: {b: 1} # c\n" + BLOCK),
        ("ä: &x {b: 'ö'}\n\n# end\n...\n", "ä: &x {b: 'ö'}\n\n# end\n" + BLOCK + "...\n"),
        ("a:\r\n  b: |+\r\n    x\r\n\r\n", "a:\r\n  b: |+\r\n    x\r\n\r\n" + BLOCK.replace("\n", "\r\n")),
        ("\ufeffa: 1\n", "\ufeffa: 1\n" + BLOCK),
        ("  a: 1\n  b: 2\n", "  a: 1\n  b: 2\n" + textwrap.indent(BLOCK, "  ")),
        ("{}\n", '{\n"shop": {"namespace": "shop", "port": 80, "split": {"v1": 100}}}\n'),
        ('{"a": [1] # c\n}', '{"a": [1],\n"shop": {"namespace": "shop", "port": 80, "split": {"v1": 100}} # c\n}'),
    ],
)
def test_routes_are_added_and_every_other_byte_stays(before: str, after: str) -> None:
    assert traffic_file.with_routes(before, ROUTES, BLOCK) == after


@pytest.mark.parametrize("before", ["- a\n", "a: [", "a: |\n  x", "null\n", "shop: {}\n", "a: 1\n---\nb: 1\n"])
def test_a_file_to_which_nothing_can_be_added_is_refused(before: str) -> None:
    with pytest.raises(files.UnreadableError):
        traffic_file.with_routes(before, ROUTES, BLOCK)


@given(
    st.dictionaries(
        st.text("aö:# -", min_size=1), st.text() | st.integers() | st.lists(st.text(max_size=3)), max_size=4
    ),
    st.booleans(),
    st.booleans(),
)
def test_what_a_file_has_is_kept(there: dict[str, Any], flow: bool, unicode: bool) -> None:
    text = yaml.safe_dump(there, default_flow_style=flow, allow_unicode=unicode)
    added = traffic_file.with_routes(text, ROUTES, BLOCK)
    assert yaml.safe_load(added) == {**yaml.safe_load(text), **ROUTES}
    assert [line for line in text.splitlines() if line.strip("{}") and line not in added] == [] or flow
