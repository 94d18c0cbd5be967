"""Circuit breakers of Linkerd on Services that the stack does not make."""

from typing import Any

import pytest

from components.diagnostics import Diagnostic
from components.manifests import ObjectRef
from stacks import patches
from stacks.settings import RawConfig
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import OWNER, compare, item, planned, view_of

ACCRUAL = "balancer.linkerd.io/failure-accrual"
FAILURES = f"{ACCRUAL}-consecutive-max-failures"
WEB: dict[str, Any] = {"namespace": "shop", "ports": [{"number": 80}], "circuitBreaker": {"consecutiveErrors": 3}}
PLACE = "meshup:traffic.web.circuitBreaker"
SERVICE = ObjectRef("v1", "Service", "web", "shop")


def linkerd(traffic: dict[str, Any]) -> RawConfig:
    return raw(mesh="linkerd", traffic=traffic)


def metadata(annotations: dict[str, str], manager: str, operation: str = "Apply") -> dict[str, Any]:
    """As the API server gives it. The field managers are those that `kubectl get --show-managed-fields` prints."""
    owned: dict[str, Any] = {f"f:{key}": {} for key in annotations}
    entry: dict[str, Any] = {
        "manager": manager,
        "operation": operation,
        "fieldsV1": {"f:metadata": {"f:annotations": owned}},
    }
    other: dict[str, Any] = {
        "manager": "kubectl-create",
        "operation": "Update",
        "fieldsV1": {"f:spec": {"f:selector": {}}},
    }
    return {"name": "web", "annotations": annotations, "managedFields": [entry, other]}


def check(live: dict[str, Any] | None) -> list[Diagnostic]:
    plan = planned(linkerd({"web": WEB}))
    view = view_of(*([] if live is None else [item("Service", {"namespace": "shop", **live})]))
    return patches.check(plan.patches, plan.traffic, view, OWNER)


def codes(live: dict[str, Any] | None) -> list[tuple[str, str]]:
    return [(fault.code, fault.path) for fault in check(live)]


def test_a_service_of_somebody_else_is_patched_and_one_of_an_application_has_the_annotations_itself() -> None:
    both = planned(linkerd({"web": WEB, "reviews": {"circuitBreaker": {"consecutiveErrors": 5}}}))
    (patch,) = both.patches
    assert patch["metadata"]["name"] == "web"
    assert patch["metadata"]["annotations"] == {
        ACCRUAL: "consecutive",
        FAILURES: "3",
        "pulumi.com/patchFieldManager": patches.field_manager(OWNER),
        "pulumi.com/skipAwait": "true",
    }
    assert both.apps[0].args.service_annotations["reviews"][FAILURES] == "5"
    assert SERVICE not in both.objects()


def test_every_stack_has_one_field_manager_of_its_own() -> None:
    names = {patches.field_manager(owner) for owner in (OWNER, OWNER, "organization/meshup/prod")}
    assert len(names) == 2


def test_what_is_there_and_free_is_patched() -> None:
    ours = patches.field_manager(OWNER)
    for live in (
        {"name": "web"},
        metadata({}, "kubectl-create"),
        metadata({"example.com/a": "1"}, "helm"),
        metadata({FAILURES: "7"}, ours),
        # With the same value, both own it (Kubernetes, "Server-Side Apply").
        metadata({ACCRUAL: "consecutive", FAILURES: "3"}, "kubectl-annotate", "Update"),
        {"name": "web", "annotations": {FAILURES: "7"}},
    ):
        assert codes(live) == []


@pytest.mark.parametrize("operation", ["Apply", "Update"])
def test_a_value_of_another_manager_is_a_conflict_that_names_it(operation: str) -> None:
    (fault,) = check(metadata({FAILURES: "7"}, "kubectl-annotate", operation))
    assert (fault.code, fault.path, fault.severity) == ("MSH167", PLACE, "error")
    for part in ("kubectl-annotate", f"{FAILURES}=7", "3"):
        assert part in fault.message
    assert codes(metadata({FAILURES: "7"}, patches.field_manager("organization/meshup/prod"))) == [("MSH167", PLACE)]


def test_a_service_that_is_not_there_is_refused() -> None:
    assert codes(None) == [("MSH166", PLACE)]


def test_a_plugin_that_cannot_patch_is_refused_where_something_is_to_be_patched() -> None:
    provider = {"context": "kind-dev", "enableServerSideApply": "false"}
    web = item("Service", {"name": "web", "namespace": "shop"}, spec={"ports": [{"port": 80}]})
    shop = item("Namespace", {"name": "shop"})

    def refused(**keys: Any) -> list[str]:
        _, _, diagnostics = compare(raw(**keys, kubernetes=provider), view_of(web, shop))
        return [fault.path for fault in diagnostics if fault.severity == "error"]

    assert refused(traffic={}) == []
    assert refused(mesh="linkerd", traffic={"web": WEB}) == ["kubernetes:enableServerSideApply"]
    assert refused(traffic={}, namespaces={"shop": {}}) == ["kubernetes:enableServerSideApply"]
