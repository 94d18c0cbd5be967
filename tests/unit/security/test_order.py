"""The order in which the objects of a policy are created."""

from hypothesis import given
from hypothesis import strategies as st

from components.manifests import manifest
from components.security.order import CLOSING, dependencies
from components.security.plane import SecurityObject


def made(name: str, phase: int, *keys: str, namespace: str = "shop") -> SecurityObject:
    return SecurityObject(manifest("v1", "Any", name, namespace, {}), phase, keys)


def before(objects: list[SecurityObject]) -> dict[str, set[str]]:
    names = [item.manifest["metadata"]["name"] for item in objects]
    return {
        name: {names[number] for number in positions}
        for name, positions in zip(names, dependencies(objects), strict=True)
    }


def test_services_are_guarded_side_by_side_and_the_namespace_is_closed_last() -> None:
    objects = [
        made("caller-of-cart", 0, "cart"),
        made("caller-of-pay", 0, "pay"),
        made("cart", 1, "cart"),
        made("pay", 1, "pay"),
        made("closed", CLOSING, "shop"),
    ]
    assert before(objects) == {
        "caller-of-cart": set(),
        "caller-of-pay": set(),
        "cart": {"caller-of-cart"},
        "pay": {"caller-of-pay"},
        "closed": {"caller-of-cart", "caller-of-pay", "cart", "pay"},
    }


def test_an_object_that_is_shared_by_two_rules_comes_before_both() -> None:
    objects = [made("caller", 0, "cart", "pay"), made("cart", 1, "cart"), made("pay", 1, "pay")]
    assert before(objects) == {"caller": set(), "cart": {"caller"}, "pay": {"caller"}}


def test_an_object_that_names_no_part_of_the_policy_waits_for_all_and_all_wait_for_it() -> None:
    objects = [made("caller", 0, "cart"), made("unnamed", 1), made("pay", 2, "pay"), made("cart", 2, "cart")]
    assert before(objects) == {
        "caller": set(),
        "unnamed": {"caller"},
        "pay": {"unnamed"},
        "cart": {"caller", "unnamed"},
    }


def test_namespaces_do_not_wait_for_each_other() -> None:
    objects = [made("cart", 1, "cart"), made("closed", CLOSING, "bank", namespace="bank")]
    assert before(objects) == {"cart": set(), "closed": set()}


OBJECTS = st.lists(
    st.tuples(st.integers(0, 6), st.lists(st.sampled_from("abc"), max_size=2, unique=True), st.sampled_from("mn")),
    max_size=12,
)


@given(OBJECTS)
def test_what_closes_waits_for_every_earlier_phase_of_its_namespace(drawn: list[tuple[int, list[str], str]]) -> None:
    listed = [
        made(str(number), phase, *keys, namespace=namespace)
        for number, (phase, keys, namespace) in enumerate(sorted(drawn, key=lambda one: one[0]))
    ]
    for number, positions in enumerate(dependencies(listed)):
        item = listed[number]
        assert all(position < number and listed[position].phase < item.phase for position in positions)
        if item.phase >= CLOSING:
            namespace = item.manifest["metadata"]["namespace"]
            assert set(positions) == {
                position
                for position, other in enumerate(listed[:number])
                if other.phase < item.phase and other.manifest["metadata"]["namespace"] == namespace
            }
