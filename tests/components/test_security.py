"""What the component of policies registers, and in which order."""

from typing import Any, cast

import pytest

from components.diagnostics import ConfigurationError
from components.manifests import Manifest, manifest
from components.security.component import Security, SecurityArgs
from tests.components.recorder import Record, by_name, recorded

POLICY = "security.istio.io/v1"


def policy(name: str, kind: str = "AuthorizationPolicy") -> Manifest:
    return manifest(POLICY, kind, name, "shop", {})


def registered(**args: Any) -> dict[str, Record]:
    def build() -> None:
        Security("security", cast("SecurityArgs", args))

    return by_name(recorded(build))


def waits_for(records: dict[str, Record], name: str) -> set[str]:
    names = {record.urn: record.name for record in records.values()}
    return {names[urn] for urn in records[name].dependencies}


OBJECTS = [policy("cart"), policy("pay"), policy("closed")]


def test_each_object_is_a_resource_that_waits_for_those_it_is_told_to() -> None:
    records = registered(objects=OBJECTS, after=[[], [], [0, 1]])
    names = [f"security-shop-{name}-authorizationpolicy" for name in ("cart", "pay", "closed")]
    assert set(records) == {"security", *names}
    assert {records[name].parent for name in names} == {records["security"].urn}
    assert {records[name].type for name in names} == {f"kubernetes:{POLICY}:AuthorizationPolicy"}
    assert [waits_for(records, name) for name in names] == [set(), set(), {*names[:2]}]


def test_without_an_order_objects_come_one_after_the_other() -> None:
    records = registered(objects=OBJECTS)
    assert waits_for(records, "security-shop-pay-authorizationpolicy") == {"security-shop-cart-authorizationpolicy"}
    assert waits_for(records, "security-shop-closed-authorizationpolicy") == {"security-shop-pay-authorizationpolicy"}


@pytest.mark.parametrize("after", [[[]], [[], [1], []], [[], [], [-1]]])
def test_an_order_that_no_registration_can_follow_is_refused(after: list[list[int]]) -> None:
    with pytest.raises(ConfigurationError, match="MSH005"):
        registered(objects=OBJECTS, after=after)
