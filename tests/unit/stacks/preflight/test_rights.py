"""Rights: what a plan needs, how it is asked for, and how a missing one is reported."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks.cluster import Access, Resource
from stacks.preflight import rights
from tests.unit.stacks.preflight.subjects import subject

KINDS = {
    ("v1", "Namespace"): Resource("namespaces", False),
    ("v1", "Service"): Resource("services", True),
    ("apps/v1", "Deployment"): Resource("deployments", True),
}


def needs(**keys: Any) -> dict[Access, str]:
    asked = subject(**keys)
    return rights.needed(asked.settings, asked.plan, asked.plan.manifests, KINDS)


def test_a_plan_needs_every_verb_that_its_objects_will_meet_where_they_are() -> None:
    found = needs()
    for verb in ("get", "create", "patch", "delete"):
        assert Access(verb, "", "namespaces") in found
        assert found[Access(verb, "apps", "deployments", "bookinfo")].startswith("Deployment/bookinfo/")
    assert Access("create", "apps", "deployments") not in found
    assert Access("create", "", "namespaces", "bookinfo") not in found


def test_a_namespace_of_somebody_else_is_only_patched() -> None:
    asked = subject(apps=[], traffic={}, namespaces={"shop": {}})
    found = rights.needed(asked.settings, asked.plan, [], KINDS)
    assert {access.verb for access in found if access.resource == "namespaces"} == {"get", "patch"}


@pytest.mark.parametrize(
    ("settings", "resource"), [({}, "secrets"), ({"helmReleaseSettings": '{"driver": "configmap"}'}, "configmaps")]
)
def test_helm_keeps_its_records_in_the_namespaces_of_the_releases(settings: dict[str, str], resource: str) -> None:
    asked = subject(kubernetes={"context": "kind-dev", **settings})
    found = rights.needed(asked.settings, asked.plan, [], {})
    records = {access for access in found if access.resource in ("secrets", "configmaps")}
    assert records == {Access(verb, "", resource, "istio-system") for verb in rights.RECORDS}


def test_a_right_in_all_namespaces_is_one_in_each_of_them() -> None:
    wanted = {Access("create", "apps", "deployments", "a"): "x", Access("create", "apps", "deployments", "b"): "y"}
    assert rights.everywhere(wanted) == {Access("create", "apps", "deployments")}
    allowed = {Access("create", "apps", "deployments"): True}
    assert rights.left(wanted, allowed) == [] == rights.missing(wanted, allowed)
    assert rights.missing(wanted, {rights.EVERYTHING: True}) == []


def test_missing_rights_are_one_finding_for_each_resource_and_namespace_with_the_command_that_shows_it() -> None:
    wanted = {Access(verb, "apps", "deployments", "a"): "Deployment/a/x" for verb in ("create", "patch", "delete")}
    made, ended = rights.missing(wanted, {})
    assert (made.code, made.severity, made.path) == ("MSH700", "error", "deployments.apps/a")
    assert "may not create, patch deployments.apps in the namespace a, as Deployment/a/x needs" in made.message
    assert made.command == "kubectl auth can-i create deployments.apps --namespace a"
    assert (ended.code, ended.severity) == ("MSH701", "warning")


@given(st.sets(st.tuples(st.sampled_from(["get", "create", "delete"]), st.sampled_from(["", "a", "b"]))), st.data())
def test_exactly_the_rights_that_no_answer_grants_are_reported(
    asked: set[tuple[str, str]], data: st.DataObject
) -> None:
    wanted = {Access(verb, "", "services", namespace): "it" for verb, namespace in asked}
    granted = data.draw(st.sets(st.sampled_from(sorted(wanted)))) if wanted else set[Access]()
    allowed = {access: access in granted for access in wanted}
    lacking = {
        (access.verb, access.namespace)
        for access in wanted
        if access not in granted and access._replace(namespace="") not in granted
    }
    found = rights.missing(wanted, allowed)
    said = {
        (verb, fault.path.partition("/")[2])
        for fault in found
        for verb in fault.message.removeprefix("The credentials may not ").split(" services")[0].split(", ")
    }
    assert said == lacking
