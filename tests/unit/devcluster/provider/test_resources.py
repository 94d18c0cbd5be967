"""Check and Diff need no cluster; the rest is proved against a real API server in tests/cluster."""

from typing import Any

import pytest

from devcluster.provider import naming, objects
from devcluster.provider.properties import UNKNOWN, Secret
from devcluster.provider.resources import Difference, KubernetesResources, Naming, Resource, ResourceError
from devcluster.provider.settings import Settings


class _Heard:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def status(self, text: str, *, warning: bool = False) -> None:
        pass

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def _resources(**settings: Any) -> KubernetesResources:
    return KubernetesResources(Settings(**settings), "team", None, "connection refused")


def _resource(kind: str) -> Resource:
    return Resource(f"urn:pulumi:dev::p::kubernetes:{kind}::res")


_CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap"}


def _check(kind: str, news: dict[str, Any], olds: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    resource = _resource(kind)
    return _resources(**settings).check(resource, olds or {}, news, Naming(b"seed"), _Heard()).inputs


def test_check_names_an_object_and_puts_it_into_the_default_namespace() -> None:
    inputs = _check("core/v1:ConfigMap", _CONFIG_MAP | {"data": {"a": "1"}})
    assert inputs["metadata"]["name"].startswith("res-")
    assert inputs["metadata"]["namespace"] == "team"
    assert naming.is_autonamed(inputs)


def test_check_keeps_the_name_that_it_chose_before() -> None:
    first = _check("core/v1:ConfigMap", _CONFIG_MAP)
    assert _check("core/v1:ConfigMap", _CONFIG_MAP | {"data": {"a": "2"}}, first)["metadata"] == first["metadata"]


def test_check_turns_the_text_of_a_secret_into_secret_data() -> None:
    news = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": Secret("x")}}
    inputs = _check("core/v1:Secret", news)
    assert inputs["data"] == Secret({"k": "eA=="})
    assert "stringData" not in inputs


def test_check_leaves_metadata_alone_that_is_not_known() -> None:
    inputs = _check("core/v1:ConfigMap", _CONFIG_MAP | {"metadata": UNKNOWN})
    assert inputs["metadata"] == UNKNOWN


@pytest.mark.parametrize(
    ("kind", "news", "settings", "message"),
    [
        ("core/v1:ConfigMapList", {"items": []}, {}, "list resources"),
        ("core/v1:ConfigMapPatch", _CONFIG_MAP, {}, "metadata.name"),
        ("core/v1:ConfigMapPatch", _CONFIG_MAP, {"server_side_apply": False}, "Server-Side Apply"),
        ("core/v1:ConfigMap", _CONFIG_MAP | {"metadata": {"generateName": "x-"}}, {}, "generateName"),
    ],
)
def test_check_refuses_what_can_not_work(
    kind: str, news: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ResourceError, match=message):
        _check(kind, news, **settings)


def test_check_names_a_condition_that_can_not_be_read() -> None:
    news = _CONFIG_MAP | {"metadata": {"name": "n", "annotations": {objects.WAIT_FOR: "Ready"}}}
    checked = _resources().check(_resource("core/v1:ConfigMap"), {}, news, Naming(), _Heard())
    assert checked.failures[0][0] == "metadata"


def _diff(kind: str, live: dict[str, Any], old: dict[str, Any], new: dict[str, Any], *ignored: str) -> Difference:
    state = objects.checkpoint(old, live, old, "v1", "me")
    return _resources().diff(_resource(kind), state, new, ignored)


def _named(**fields: Any) -> dict[str, Any]:
    return _CONFIG_MAP | {"metadata": {"name": "n", "namespace": "ns"}} | fields


def test_what_the_server_added_is_no_change() -> None:
    inputs = _named(data={"a": "1"})
    live: dict[str, Any] = _named(data={"a": "1", "b": "2"}) | {"status": {}}
    live["metadata"] = live["metadata"] | {"uid": "u", "labels": {"l": "x"}}
    assert not _diff("core/v1:ConfigMap", live, inputs, inputs).changes


def test_a_change_by_others_that_a_refresh_found_is_a_change() -> None:
    inputs, live = _named(data={"a": "1"}), _named(data={"a": "drift"})
    found = _diff("core/v1:ConfigMap", live, inputs, inputs)
    assert found.replaces == ["data.a"]


def test_a_named_object_is_deleted_first_and_an_autonamed_one_last() -> None:
    old, new = _named(data={"a": "1"}), _named(data={"a": "2"})
    assert _diff("core/v1:ConfigMap", old, old, new).delete_before_replace
    marked = objects.with_annotation(new, objects.AUTONAMED, "true")
    assert not _diff(
        "core/v1:ConfigMap", old, objects.with_annotation(old, objects.AUTONAMED, "true"), marked
    ).delete_before_replace


def test_another_name_is_another_object_and_needs_no_deletion_first() -> None:
    old = _named()
    new = _CONFIG_MAP | {"metadata": {"name": "m", "namespace": "ns"}}
    found = _diff("core/v1:ConfigMap", old, old, new)
    assert found.replaces == ["metadata.name"]
    assert not found.delete_before_replace


def test_ignored_changes_are_none() -> None:
    old, new = _named(data={"a": "1"}), _named(data={"a": "2"})
    assert not _diff("core/v1:ConfigMap", old, old, new, "data").changes


def test_a_preview_without_a_cluster_returns_the_inputs_and_an_update_says_why_not() -> None:
    resource, given = _resource("core/v1:ConfigMap"), _named()
    assert _resources().create(resource, given, _Heard(), preview=True) == ("", given)
    with pytest.raises(ResourceError, match="unreachable: connection refused"):
        _resources().create(resource, given, _Heard(), preview=False)


def test_an_unreachable_cluster_stops_a_refresh_unless_the_user_said_otherwise() -> None:
    resource, log = _resource("core/v1:ConfigMap"), _Heard()
    with pytest.raises(ResourceError, match="PULUMI_K8S_DELETE_UNREACHABLE"):
        _resources().read(resource, "ns/n", _named(), _named(), log)
    assert "connection refused" in log.warnings[0]
    assert _resources(delete_unreachable=True).read(resource, "ns/n", _named(), _named(), log) is None
    kept = _resources(skip_update_unreachable=True).read(resource, "ns/n", _named(), _named(), log)
    assert kept == ("ns/n", _named(), _named())
