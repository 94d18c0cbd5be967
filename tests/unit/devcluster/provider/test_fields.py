from typing import Any

from devcluster.provider import fields


def _live(*entries: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}, "spec": spec}


def _entry(manager: str, operation: str, *names: str, **more: Any) -> dict[str, Any]:
    owned: dict[str, Any] = {"f:spec": {f"f:{name}": {} for name in names}}
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": owned, **more}


def test_the_first_apply_takes_over_what_the_create_owned() -> None:
    taken = fields.take_over(_live(_entry("me", "Update", "replicas")), "me")
    assert taken is not None
    assert [(e["manager"], e["operation"]) for e in taken] == [("me", "Apply")]
    assert taken[0]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}


def test_what_was_applied_before_and_what_kubectl_changed_are_joined() -> None:
    live = _live(_entry("me", "Apply", "a"), _entry("kubectl-edit", "Update", "b"), _entry("hpa", "Update", "c"))
    taken = fields.take_over(live, "me")
    assert taken is not None
    owners = {e["manager"]: e["fieldsV1"]["f:spec"] for e in taken}
    assert owners == {"hpa": {"f:c": {}}, "me": {"f:a": {}, "f:b": {}}}


def test_controllers_keep_what_they_own_and_the_status_is_theirs() -> None:
    live = _live(_entry("me", "Apply", "a"), _entry("me", "Update", "b", subresource="status"))
    assert fields.take_over(live, "me") is None


def test_an_ignored_field_that_another_manages_is_left_out_of_the_apply() -> None:
    live = _live(_entry("me", "Apply", "image"), _entry("hpa", "Update", "replicas"), replicas=7, image="a")
    inputs = {"spec": {"replicas": 1, "image": "b"}}
    assert fields.keep_ignored(inputs, live, "me", ["spec.replicas"]) == {"spec": {"image": "b"}}


def test_an_ignored_field_of_our_own_keeps_its_live_value() -> None:
    live = _live(_entry("me", "Apply", "replicas"), replicas=7)
    assert fields.keep_ignored({"spec": {"replicas": 1}}, live, "me", ["spec.replicas"]) == {"spec": {"replicas": 7}}


def test_inputs_are_not_changed_in_place() -> None:
    inputs = {"spec": {"replicas": 1}}
    fields.keep_ignored(inputs, _live(replicas=7), "me", ["spec.replicas"])
    assert inputs == {"spec": {"replicas": 1}}
