"""`expose` of an application opens its entry Service through a gateway, for the paths of its own documentation."""

from typing import Any

import pytest

from stacks.plan import Plan
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build


def plan_of(**keys: Any) -> Plan:
    config: dict[str, Any] = {"traffic": {}, **keys}
    plan, faults = build(raw(**config))
    assert plan is not None
    assert faults == []
    return plan


def opened(plan: Plan) -> dict[str, Any]:
    """The rules of each host at the gateway."""
    items = [item for item in plan.traffic.manifests if item["metadata"]["namespace"] == "istio-ingress"]
    return {item["spec"]["hosts"][0]: item["spec"]["http"] for item in items}


def test_one_key_opens_bookinfo_for_the_paths_of_its_tutorial() -> None:
    plan = plan_of(bookinfo={"expose": True})
    (rule,) = opened(plan)["*"]
    paths = {next(iter(match["uri"].values())).rstrip("/") for match in rule["match"]}
    assert paths == {"/productpage", "/static", "/login", "/logout", "/api/v1/products"}
    (gateway,) = plan.gateways.objects
    assert [server["port"]["number"] for server in gateway["spec"]["servers"]] == [80]
    assert "public" in {release["name"] for release in plan.releases}


def test_both_samples_share_the_gateway() -> None:
    plan = plan_of(apps=["bookinfo", "emojivoto"], bookinfo={"expose": True}, emojivoto={"expose": True})
    first, second = opened(plan)["*"]
    assert first["route"][0]["destination"]["host"].startswith("productpage.")
    assert "match" not in second
    assert second["route"][0]["destination"]["host"].startswith("web-svc.")


@pytest.mark.parametrize("key", ["productpage", "front"])
def test_the_rules_of_a_route_of_its_own_hold_at_the_gateway(key: str) -> None:
    route = {"service": "productpage", "split": {"v1": 100}}
    plan = plan_of(bookinfo={"expose": {"hosts": ["b.example.com"]}}, traffic={key: route})
    (rule,) = opened(plan)["b.example.com"]
    assert rule["route"][0]["destination"]["subset"] == "v1"
    assert list(plan.traffic.summaries) == [key]


def test_a_route_that_names_its_gateway_itself_keeps_it() -> None:
    route = {"hosts": ["own.example.com"], "split": {"v1": 100}}
    plan = plan_of(bookinfo={"expose": True}, traffic={"productpage": route})
    assert list(opened(plan)) == ["own.example.com"]


def test_off_is_the_default_and_makes_nothing() -> None:
    for keys in ({}, {"bookinfo": {"expose": False}}):
        plan = plan_of(**keys)
        assert plan.gateways.gateways == ()
        assert plan.traffic.manifests == ()


def test_another_gateway_has_to_be_there() -> None:
    _, faults = build(raw(traffic={}, bookinfo={"expose": {"gateway": "other"}}))
    assert [(fault.code, fault.path) for fault in faults] == [("MSH401", "meshup:bookinfo.expose.gateway")]
