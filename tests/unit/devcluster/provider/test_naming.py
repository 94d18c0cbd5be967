import re

import pytest

from devcluster.provider import naming, objects


def test_an_unnamed_object_gets_the_resource_name_and_eight_hexadecimal_digits_and_is_marked() -> None:
    named = naming.assign_name({"kind": "ConfigMap"}, "cm", b"")
    assert re.fullmatch(r"cm-[0-9a-f]{8}", objects.metadata(named)["name"])
    assert naming.is_autonamed(named)


def test_the_same_seed_finds_the_same_name_and_none_finds_another() -> None:
    assert naming.suffix(b"seed") == naming.suffix(b"seed")
    assert naming.suffix(b"") != naming.suffix(b"")


@pytest.mark.parametrize("metadata", [{"name": "mine"}, {"generateName": "mine-"}])
def test_an_object_with_a_name_keeps_it(metadata: dict[str, str]) -> None:
    obj = {"metadata": metadata}
    assert naming.assign_name(obj, "cm", b"") == obj
    assert naming.adopt_name(obj, {"metadata": {"name": "old"}}) == obj


def test_metadata_that_is_not_known_yet_may_hold_a_name() -> None:
    assert naming.assign_name({"metadata": "unknown"}, "cm", b"") == {"metadata": "unknown"}


def test_a_name_that_was_chosen_before_is_kept() -> None:
    old = naming.assign_name({"metadata": {"namespace": "ns"}}, "cm", b"")
    new = naming.adopt_name({"metadata": {"namespace": "ns"}}, old)
    assert new == old


def test_a_name_that_the_program_chose_before_and_now_leaves_out_is_not_adopted() -> None:
    assert naming.adopt_name({"kind": "ConfigMap"}, {"metadata": {"name": "mine"}}) == {"kind": "ConfigMap"}


def test_the_name_that_the_stack_proposes_is_taken() -> None:
    named = naming.assign_name({}, "cm", b"", "prod-cm", naming.ENFORCE)
    assert objects.metadata(named)["name"] == "prod-cm"


def test_a_stack_without_automatic_names_refuses_an_unnamed_object() -> None:
    with pytest.raises(naming.NamingError, match=r"metadata\.name"):
        naming.assign_name({}, "cm", b"", None, naming.DISABLE)
