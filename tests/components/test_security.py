"""What the component of policies registers, and in which order; and where it stands in that of a stack."""

from typing import Any, cast

import pytest

from components.diagnostics import ConfigurationError
from components.manifests import Manifest, manifest
from components.meshes import MESHES
from components.security.component import Security, SecurityArgs
from components.security.order import CLOSING
from stacks import program, settings
from stacks.plan import Plan
from tests.components.recorder import Record, by_name, recorded
from tests.components.test_program import behind
from tests.unit.stacks.configs import raw
from tests.unit.stacks.test_security import plan_of

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


BOOKINFO: dict[str, Any] = {"namespaces": {"bookinfo": {"default": "deny"}}, "preset": "bookinfo"}


def stack(mesh: str, **keys: Any) -> tuple[Plan, dict[str, Record]]:
    made: dict[str, Any] = {"mesh": mesh, "security": BOOKINFO, **keys}
    config = raw(**made)
    plan, cluster = plan_of(config), settings.load(config, "dev")[0].cluster

    def build() -> None:
        program.register(plan, program.provider(cluster))

    return plan, by_name(recorded(build))


@pytest.mark.parametrize("mesh", MESHES)
def test_a_policy_comes_after_its_namespaces_and_before_pods_and_routes(mesh: str) -> None:
    plan, records = stack(mesh)
    policies = {name for name, record in records.items() if record.parent == records["security"].urn}
    assert len(policies) == len(plan.security.manifests)
    for name in policies:
        assert "namespace-bookinfo-namespace" in behind(records, name)
        assert any(other.startswith(f"{mesh}-") for other in behind(records, name))
    assert policies <= behind(records, "bookinfo-reviews-v1-deployment")
    routes = [name for name, record in records.items() if record.parent == records["traffic"].urn]
    assert all(policies <= behind(records, name) for name in routes)


def test_what_closes_a_namespace_waits_for_what_opens_its_services() -> None:
    plan, records = stack("istio")
    objects = {
        f"security-bookinfo-{one.manifest['metadata']['name']}-{one.manifest['kind'].lower()}": one.phase
        for one in plan.security.guarded.objects
    }
    closing = [name for name, phase in objects.items() if phase >= CLOSING]
    opening = {name for name, phase in objects.items() if phase < CLOSING}
    assert closing
    assert opening
    for name in closing:
        assert opening <= behind(records, name)


def test_on_linkerd_the_server_comes_after_the_policies_of_its_port() -> None:
    _, records = stack("linkerd", traffic={})
    policies = {name for name in records if name.startswith("security-bookinfo-reviews")}
    assert policies
    assert policies <= behind(records, "traffic-bookinfo-reviews-9080-server")


@pytest.mark.parametrize("mesh", MESHES)
def test_every_object_of_a_policy_is_registered_once_at_a_name_of_its_own(mesh: str) -> None:
    plan, records = stack(mesh)
    wanted = {(item.kind, item.namespace, item.name) for item in plan.objects()}
    found = [
        (record.inputs["kind"], record.inputs["metadata"].get("namespace", ""), record.inputs["metadata"]["name"])
        for record in records.values()
        if "metadata" in record.inputs
    ]
    assert len(found) == len(set(found))
    assert wanted <= set(found)


def test_without_a_policy_there_is_no_component_for_it() -> None:
    _, records = stack("istio", security={})
    assert "security" not in records
