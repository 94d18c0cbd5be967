"""Namespaces whose label no webhook of the mesh selects."""

from typing import Any

import pytest

from components.manifests import Manifest
from stacks.patches import field_manager
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import OWNER, compare, item, view_of
from tests.unit.stacks.test_existing_mesh import EXISTING, injector, istiod

SHOP = item("Namespace", {"name": "shop"})


def selecting(revision: str, tag: str = "", **selector: Any) -> Manifest:
    """The webhooks of a revision or tag, as Istio's charts write them."""
    made = injector(revision, tag)
    named = {"key": "istio.io/rev", "operator": "In", "values": [tag or revision or "default"]}
    enabled = {"key": "istio-injection", "operator": "In", "values": ["enabled"]}
    selectors: list[Any] = [{"matchExpressions": [named]}]
    selectors += [{"matchExpressions": [enabled]}] if "default" in (tag, revision or "default") else []
    hooks = [{**made["webhooks"][0], "namespaceSelector": one | selector} for one in selectors]
    return {**made, "webhooks": hooks}


def codes(namespaces: Any, *live: Manifest, **config: Any) -> list[tuple[str, str]]:
    found = compare(raw(apps=[], traffic={}, namespaces=namespaces, **config), view_of(*live))[2]
    return [(fault.path, str(fault.value)) for fault in found if fault.code == "MSH049"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, []), ({"revision": "canary"}, []), ({"revision": "prod"}, []), ({"revision": "typo"}, ["typo"])],
)
def test_a_revision_that_nobody_serves_is_reported(chosen: Any, expected: list[str]) -> None:
    webhooks = (selecting(""), selecting("canary"), selecting("canary", "prod"))
    assert [value for _, value in codes({"shop": chosen}, SHOP, *webhooks)] == expected


def test_what_this_stack_installs_need_not_be_there() -> None:
    assert codes({"shop": {}, "pay": {"create": True}}, SHOP) == []
    assert codes({"shop": {"revision": "canary"}}, SHOP) == [("meshup:namespaces.shop", "canary")]


def test_a_webhook_that_is_switched_off_takes_no_namespace() -> None:
    off = selecting("", matchLabels={"istio.io/deactivated": "never-match"})
    assert codes({"shop": {}}, SHOP, istiod(), off, **EXISTING) == [("meshup:namespaces.shop", "default")]
    assert codes({"shop": {}}, SHOP, istiod(), selecting(""), **EXISTING) == []


def test_the_former_label_of_this_stack_does_not_count() -> None:
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {"f:istio-injection": {}}}}
    managed = [{"manager": field_manager(OWNER), "fieldsV1": fields}]
    joined = {"name": "shop", "labels": {"istio-injection": "enabled"}, "managedFields": managed}
    hooks = selecting("canary")
    absent = {"key": "istio-injection", "operator": "DoesNotExist"}
    hooks["webhooks"][0]["namespaceSelector"]["matchExpressions"].append(absent)
    assert codes({"shop": {"revision": "canary"}}, item("Namespace", joined), hooks) == []
