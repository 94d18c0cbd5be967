from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.provider import diff
from devcluster.provider.diff import Mutability, Path, PropertyChange
from devcluster.provider.objects import Kind
from devcluster.provider.properties import UNKNOWN

_json = st.recursive(
    st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
_paths = st.lists(st.text(alphabet='ab."[]', min_size=1, max_size=4).filter(lambda s: "]" not in s), max_size=4)


def _as_text(changes: list[PropertyChange]) -> dict[str, str]:
    return {str(c): c.change + ("-replace" if c.replace else "") for c in changes}


@given(_json)
def test_equal_values_do_not_differ(value: Any) -> None:
    assert diff.compare(value, value) == []


@given(_json, _json)
def test_unequal_values_differ_somewhere(one: Any, other: Any) -> None:
    assert bool(diff.compare(one, other)) == (one != other)


@given(_paths)
def test_a_path_is_read_as_it_was_written(parts: list[str]) -> None:
    assert diff.parse(diff.render(tuple(parts))) == tuple(parts)


def test_paths_are_written_as_pulumi_writes_them() -> None:
    assert diff.render(("spec", "containers", 0, "image")) == "spec.containers[0].image"
    assert diff.render(("metadata", "labels", "a.b/c")) == 'metadata.labels["a.b/c"]'
    assert diff.parse('metadata.labels["a.b/c"].x[3][*]') == ("metadata", "labels", "a.b/c", "x", 3, "*")


def test_changes_are_named_by_the_deepest_path_that_both_sides_have() -> None:
    old = {"a": 1, "gone": {"x": 1}, "list": [1, {"k": 1}, 3]}
    new = {"a": 2, "added": {"y": 1}, "list": [1, {"k": 2}]}
    assert _as_text(diff.compare(old, new)) == {
        "a": "update",
        "added": "add",
        "gone": "delete",
        "list[1].k": "update",
        "list[2]": "delete",
    }


def test_a_value_that_is_not_known_yet_counts_as_a_change() -> None:
    assert _as_text(diff.compare({"a": 1}, {"a": UNKNOWN})) == {"a": "update"}


def test_true_and_one_are_not_the_same() -> None:
    assert diff.compare({"a": True}, {"a": 1})


def _force(kind: Kind, obj: dict[str, Any] | None = None, mutability: Mutability | None = None) -> tuple[Path, ...]:
    return diff.force_new(kind, obj or {}, mutability or Mutability(), patch=False)


_CONFIG_MAP = Kind("", "v1", "ConfigMap")
_DEPLOYMENT = Kind("apps", "v1", "Deployment")


def test_the_data_of_a_config_map_is_replaced_and_its_labels_are_not() -> None:
    old = {"metadata": {"labels": {"l": "1"}}, "data": {"a": "1"}}
    new = {"metadata": {"labels": {"l": "2"}}, "data": {"a": "2", "b": "3"}}
    changes = diff.mark_replacements(diff.compare(old, new), new, _force(_CONFIG_MAP))
    assert _as_text(changes) == {
        "metadata.labels.l": "update",
        "data.a": "update-replace",
        "data.b": "add-replace",
    }


def test_a_mutable_config_map_is_updated_unless_it_is_marked_immutable() -> None:
    mutable = Mutability(config_map=True)
    assert ("data",) not in _force(_CONFIG_MAP, {}, mutable)
    assert ("data",) in _force(_CONFIG_MAP, {"immutable": True}, mutable)


def test_a_change_inside_an_immutable_object_replaces() -> None:
    old = {"spec": {"selector": {"matchLabels": {"app": "a"}}, "replicas": 1}}
    new = {"spec": {"selector": {"matchLabels": {"app": "b"}}, "replicas": 2}}
    changes = diff.mark_replacements(diff.compare(old, new), new, _force(_DEPLOYMENT))
    assert _as_text(changes) == {"spec.replicas": "update", "spec.selector.matchLabels.app": "update-replace"}


def test_adding_an_object_that_holds_an_immutable_field_replaces() -> None:
    new: dict[str, Any] = {"spec": {"selector": {}}}
    changes = diff.mark_replacements(diff.compare({}, new), new, _force(_DEPLOYMENT))
    assert _as_text(changes) == {"spec": "add-replace"}
    other = {"spec": {"replicas": 1}}
    assert _as_text(diff.mark_replacements(diff.compare({}, other), other, _force(_DEPLOYMENT))) == {"spec": "add"}


def test_an_image_of_a_pod_replaces_it_and_one_of_a_deployment_does_not() -> None:
    old = {"spec": {"containers": [{"image": "a"}]}}
    new = {"spec": {"containers": [{"image": "b"}]}}
    changes = diff.compare(old, new)
    assert diff.mark_replacements(changes, new, _force(Kind("", "v1", "Pod")))[0].replace
    assert not diff.mark_replacements(changes, new, _force(_DEPLOYMENT))[0].replace


@pytest.mark.parametrize("field", ["name", "namespace"])
def test_another_name_or_namespace_is_another_object_for_every_kind(field: str) -> None:
    old, new = {"metadata": {field: "a"}}, {"metadata": {field: "b"}}
    for patch in (False, True):
        fields = diff.force_new(_DEPLOYMENT, {}, Mutability(), patch=patch)
        assert diff.mark_replacements(diff.compare(old, new), new, fields)[0].replace


def test_a_patch_resource_changes_everything_else_in_place() -> None:
    fields = diff.force_new(_CONFIG_MAP, {}, Mutability(), patch=True)
    assert ("data",) not in fields


def test_ignored_paths_cover_what_is_below_them() -> None:
    changes = diff.compare({"a": {"b": 1}, "c": [{"d": 1}]}, {"a": {"b": 2}, "c": [{"d": 2}]})
    assert _as_text(diff.without_ignored(changes, ["a"])) == {"c[0].d": "update"}
    assert _as_text(diff.without_ignored(changes, ["a.b", "c[*].d"])) == {}
    assert len(diff.without_ignored(changes, ["a.bb"])) == 2
