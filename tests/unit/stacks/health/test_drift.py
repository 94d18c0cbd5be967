"""Fields that are not as the stack has them: edits that Pulumi does not see inside of a Helm release."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.manifests import Manifest, object_ref
from stacks.health.drift import differences, is_more
from stacks.health.routes import DRIFT
from tests.unit.stacks.health.subjects import found, governed, subject

REVIEWS = "VirtualService/bookinfo/reviews"
PLANNED: Manifest = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "a", "namespace": "b", "labels": {"app.kubernetes.io/managed-by": "meshup"}},
    "spec": {"rules": [{"backendRefs": [{"name": "v1", "port": 80, "weight": 90}], "matches": []}]},
}


def edited(change: Callable[[Manifest], None]) -> Manifest:
    live = deepcopy(PLANNED)
    change(live)
    return live


def the_route(objects: list[Manifest]) -> Manifest:
    return next(one for one in objects if str(object_ref(one)) == REVIEWS)


def shift(objects: list[Manifest]) -> None:
    the_route(objects)["spec"]["http"][0]["route"][0]["weight"] = 50


def test_a_cluster_as_planned_has_no_difference() -> None:
    assert found(DRIFT, governed()) == []


def test_a_weight_that_somebody_has_edited_is_named_with_both_values() -> None:
    """Without it: a split of 50/50 under a stack that says 90/10, and `pulumi preview` without a change."""
    asked = governed(shift)
    assert found(DRIFT, asked) == [("MSH779", REVIEWS)]
    message = DRIFT.run(asked)[0].message
    assert message == "spec.http[0].route[0].weight is 50, and the stack has 90."


def test_a_route_that_somebody_has_deleted_is_missing() -> None:
    """Without it: requests go to all versions, and the release still counts as deployed."""
    assert found(DRIFT, governed(lambda objects: objects.remove(the_route(objects)))) == [("MSH778", REVIEWS)]


def test_every_object_of_a_stack_that_is_not_deployed_is_missing() -> None:
    asked = subject()
    assert found(DRIFT, asked) == [("MSH778", str(object_ref(item))) for item in asked.governing]
    assert len(asked.governing) > 1


def test_a_field_that_only_the_cluster_has_counts_where_the_servers_defaults_are_known() -> None:
    """Without it: a fault that somebody has added delays every request, and no field of the stack differs."""

    def delay(objects: list[Manifest]) -> None:
        the_route(objects)["spec"]["http"][0]["fault"] = {"abort": {"httpStatus": 503}}

    asked = governed(delay)
    assert found(DRIFT, asked) == []
    planned = next(item for item, _ in asked.pairs if str(object_ref(item)) == REVIEWS)
    told = replace(asked, defaulted={object_ref(planned): planned})
    assert found(DRIFT, told) == [("MSH779", REVIEWS)]
    assert DRIFT.run(told)[0].message.startswith('spec.http[0].fault is {"abort"')


def test_many_differences_of_an_object_are_counted_after_the_first_ones() -> None:
    def strip(objects: list[Manifest]) -> None:
        the_route(objects)["metadata"]["annotations"] = {}
        the_route(objects)["spec"] = {"http": [{"route": [{}, {}]}]}

    messages = [fault.message for fault in DRIFT.run(governed(strip))]
    assert len(messages) <= 6
    assert all("the stack has" in message for message in messages)


def backend(live: Manifest, **changes: Any) -> None:
    live["spec"]["rules"][0]["backendRefs"][0].update(changes)


def labelled_by_helm(live: Manifest) -> None:
    live["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
    live["metadata"]["annotations"] = {"of": "others"}


def without_what_is_empty(live: Manifest) -> None:
    del live["spec"]["rules"][0]["matches"]
    live["status"] = {"parents": []}


def with_defaults(live: Manifest) -> None:
    backend(live, weight=90.0, kind="Service")


def weight_as_text(live: Manifest) -> None:
    backend(live, weight="90")


def without_weight(live: Manifest) -> None:
    backend(live, weight=None)


def one_rule_more(live: Manifest) -> None:
    live["spec"]["rules"].append({})


def without_spec(live: Manifest) -> None:
    del live["spec"]


WEIGHT = "spec.rules[0].backendRefs[0].weight"


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (labelled_by_helm, []),
        (without_what_is_empty, []),
        (with_defaults, []),
        (weight_as_text, [WEIGHT]),
        (without_weight, [WEIGHT]),
        (one_rule_more, ["spec.rules"]),
        (without_spec, ["spec"]),
    ],
)
def test_only_fields_that_the_plan_sets_differ(change: Callable[[Manifest], None], paths: list[str]) -> None:
    assert [one.path for one in differences(PLANNED, edited(change))] == paths


def test_defaults_of_the_server_are_no_difference_and_an_edit_of_one_is() -> None:
    def default(live: Manifest) -> None:
        live["spec"]["rules"][0]["backendRefs"][0].update(group="", kind="Service")
        live["spec"]["rules"][0]["matches"] = []

    stored = edited(default)
    assert is_more(PLANNED, stored)
    assert differences(PLANNED, stored, stored) == []
    other = deepcopy(stored)
    other["spec"]["rules"][0]["backendRefs"][0]["kind"] = "Other"
    other["spec"]["hostnames"] = ["x"]
    assert [one.path for one in differences(PLANNED, other, stored)] == [
        "spec.rules[0].backendRefs[0].kind",
        "spec.hostnames",
    ]


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("abc"), TREES, max_size=3))
def test_an_object_never_differs_from_itself(spec: dict[str, Any]) -> None:
    item = {**PLANNED, "spec": spec}
    assert differences(item, deepcopy(item), deepcopy(item)) == []
    assert not is_more(item, deepcopy(item))


@given(st.integers(1, 100), st.integers(1, 100))
def test_a_number_that_differs_is_always_found(one: int, other: int) -> None:
    planned, live = {**PLANNED, "spec": {"a": [{"w": one}]}}, {**PLANNED, "spec": {"a": [{"w": other}]}}
    assert [found.path for found in differences(planned, live)] == ["spec.a[0].w"] * (one != other)
