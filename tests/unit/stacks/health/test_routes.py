"""What controllers say of routes and gateways, and lists that can't be read."""

from typing import Any

import pytest

from components.manifests import Manifest
from stacks import health
from stacks.health.routes import CONDITIONS, GATEWAYS
from stacks.health.workloads import WORKLOADS
from tests.unit.stacks.health.subjects import found, governed, namespace, subject

TRAFFIC = {"reviews": {"namespace": "bookinfo", "api": "gateway-api", "split": {"v1": 90, "v2": 10}}}
ROUTE = "HTTPRoute/bookinfo/reviews"


def condition(kind: str, status: str = "True", generation: int = 2) -> Manifest:
    return {
        "type": kind,
        "status": status,
        "reason": "BackendNotFound",
        "message": "no Service\nx.",
        "observedGeneration": generation,
    }


def parents(*conditions: Manifest) -> dict[str, Any]:
    return {"parents": [{"parentRef": {"name": "reviews"}, "conditions": list(conditions)}]}


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        (parents(condition("Accepted"), condition("ResolvedRefs")), []),
        (parents(condition("Accepted"), condition("ResolvedRefs", "False")), ["MSH785"]),
        (parents(condition("Accepted", "False"), condition("ResolvedRefs", "False")), ["MSH785", "MSH785"]),
        (parents(condition("Accepted", "False", generation=1)), ["MSH786"]),
        (parents(condition("PartiallyInvalid", "False")), []),
        (parents(condition("Accepted", "Unknown")), []),
        ({"conditions": [condition("Programmed", "False")], **parents()}, ["MSH785"]),
        (
            {"listeners": [{"name": "http", "conditions": [condition("ResolvedRefs", "False")]}], **parents()},
            ["MSH785"],
        ),
        ({}, ["MSH786"]),
    ],
)
def test_conditions_count_if_they_are_about_the_present_form(status: dict[str, Any], codes: list[str]) -> None:
    """Without it: a route to a Service that is not there answers 500, and `up` has succeeded."""

    def judge(objects: list[Manifest]) -> None:
        for item in objects:
            if item["kind"] == "HTTPRoute":
                item["metadata"]["generation"] = 2
                item["status"] = status

    assert found(CONDITIONS, governed(judge, traffic=TRAFFIC)) == [(code, ROUTE) for code in codes]


def test_a_condition_that_is_false_is_told_in_one_line_with_its_reason() -> None:
    def judge(objects: list[Manifest]) -> None:
        for item in objects:
            item["status"] = parents(condition("ResolvedRefs", "False"))

    asked = governed(judge, traffic=TRAFFIC)
    assert CONDITIONS.run(asked)[0].message == "ResolvedRefs at reviews is False: BackendNotFound, no Service x."


def test_a_check_whose_list_cant_be_read_finds_nothing_and_the_list_is_reported() -> None:
    asked = subject(namespace("bookinfo"), refused=["Deployment"])
    checked = {one.name: faults for one, faults in health.check(asked)}
    assert checked[WORKLOADS.name] == []
    assert checked["drift"] != []
    assert {fault.code for fault in asked.view.diagnostics} == {"MSH024"}


def test_routes_of_the_stack_are_its_own_whatever_its_organisation() -> None:
    listeners = [{"port": 80, "protocol": "http", "hosts": ["a.example"]}]
    keys: dict[str, Any] = {
        "gateways": {"public": {"api": "gateway-api", "listeners": listeners}},
        "traffic": {
            "productpage": {
                "namespace": "bookinfo",
                "api": "gateway-api",
                "gateway": "public",
                "hosts": ["a.example"],
                "split": {"v1": 100},
            }
        },
    }

    def owned_by(owner: str) -> list[tuple[str, str]]:
        def change(objects: list[Manifest]) -> None:
            for item in objects:
                item["metadata"]["annotations"] = {"meshup/stack": owner}

        return [(fault.code, fault.path) for fault in GATEWAYS.run(governed(change, **keys))]

    assert ("MSH416", "meshup:gateways.public") not in owned_by("acme/meshup/dev")
    assert ("MSH416", "meshup:gateways.public") in owned_by("acme/meshup/other")


def test_every_check_declares_the_codes_that_it_reports_and_has_a_name_of_its_own() -> None:
    names = [one.name for one in health.CHECKS]
    assert len(names) == len(set(names))
    listeners = [{"port": 443, "protocol": "https", "hosts": ["a.example"], "tls": {"secret": "a"}}]
    gateways = {"public": {"api": "gateway-api", "class": "other", "listeners": listeners}}
    asked = subject(namespace("istio-ingress"), gateways=gateways)
    for one, faults in health.check(asked):
        assert {fault.code for fault in faults} <= set(one.codes)
    found_there = {fault.code for one, faults in health.check(asked) if one.name == "gateways" for fault in faults}
    assert found_there == {"MSH413", "MSH418"}
