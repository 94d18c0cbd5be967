from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from devcluster.provider import properties
from devcluster.provider.properties import UNKNOWN, Secret

_SIGNATURE = "4dabf18193072939515e22adb298388d"

_plain = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
_bags = st.dictionaries(st.text(max_size=8), _plain | _plain.map(Secret), max_size=4)


@given(_bags)
def test_a_bag_survives_the_way_to_the_engine_and_back(bag: dict[str, Any]) -> None:
    assert properties.decode(properties.encode(bag)) == bag


@given(_bags)
def test_reveal_leaves_no_secret(bag: dict[str, Any]) -> None:
    assert not properties.contains_secret(properties.reveal(bag))


def test_nulls_in_objects_are_left_out_and_in_lists_kept() -> None:
    bag = properties.encode({"a": None, "b": [None, 1], "c": {"d": None}})
    assert properties.decode(bag) == {"b": [None, 1], "c": {}}


def test_whole_numbers_come_back_as_int_and_fractions_as_float() -> None:
    decoded = properties.decode(properties.encode({"replicas": 3.0, "share": 0.5}))
    assert decoded == {"replicas": 3, "share": 0.5}
    assert isinstance(decoded["replicas"], int)


def _special(**fields: Any) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update({"x": fields})
    return struct


def test_an_output_value_that_is_secret_and_unknown_is_both() -> None:
    bag = properties.decode(_special(**{_SIGNATURE: "d0e6a833031e9bbcd3f4e8bde6ca49a4", "secret": True}))
    assert bag["x"] == Secret(UNKNOWN)
    assert properties.contains_unknown(bag)


def test_a_text_asset_is_its_text() -> None:
    bag = properties.decode(_special(**{_SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "a: 1"}))
    assert bag == {"x": "a: 1"}


def test_a_remote_asset_is_refused() -> None:
    remote = _special(**{_SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "uri": "https://example.invalid/values.yaml"})
    with pytest.raises(ValueError, match="remote"):
        properties.decode(remote)


def test_a_secret_does_not_show_in_its_text() -> None:
    assert "hush" not in repr(Secret("hush"))
    assert "hush" not in f"{[Secret('hush')]}"


def test_secrets_are_marked_by_path_and_a_list_with_one_as_a_whole() -> None:
    inputs = {"a": {"b": Secret("x"), "c": "y"}, "list": [{"k": Secret("z")}]}
    outputs = {"a": {"b": "x", "c": "y", "d": "new"}, "list": [{"k": "z"}], "other": 1}
    assert properties.mark_secrets(outputs, inputs) == {
        "a": {"b": Secret("x"), "c": "y", "d": "new"},
        "list": Secret([{"k": "z"}]),
        "other": 1,
    }


def test_the_data_of_a_kubernetes_secret_is_secret_though_the_program_did_not_say_so() -> None:
    live = {"kind": "Secret", "data": {"k": "eA=="}, "type": "Opaque", "metadata": {"labels": {"l": "x"}}}
    marked = properties.mark_secrets(live, {"metadata": {"labels": {"l": Secret("x")}}})
    assert marked["data"] == Secret({"k": "eA=="})
    assert marked["metadata"] == {"labels": {"l": Secret("x")}}
    assert marked["type"] == "Opaque"


@given(_bags)
def test_what_was_secret_stays_secret_when_marked_again(bag: dict[str, Any]) -> None:
    revealed = properties.reveal(bag)
    marked = properties.mark_secrets(revealed, bag)
    assert properties.reveal(marked) == revealed
    for key, value in bag.items():
        if isinstance(value, Secret):
            assert isinstance(marked[key], Secret)
