import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.provider import release
from devcluster.provider.properties import Secret, contains_secret

_INPUTS: dict[str, Any] = {"name": "r", "namespace": "ns", "chart": "./chart", "timeout": 30, "compat": "true"}


def _full(**changes: Any) -> dict[str, Any]:
    return release.complete(release.with_defaults(_INPUTS | changes, "default"), "1.2.3")


def test_inputs_are_completed_with_every_default_and_the_charts_version() -> None:
    full = _full()
    assert full["version"] == "1.2.3"
    assert full["values"] == {}
    assert full["skipAwait"] is False
    assert "compat" not in full
    assert "repositoryOpts" not in full


def test_a_release_that_waits_gets_five_minutes_and_the_default_namespace() -> None:
    assert release.with_defaults({"chart": "c"}, "team") == {"chart": "c", "namespace": "team", "timeout": 300}
    assert "timeout" not in release.with_defaults({"chart": "c", "skipAwait": True}, "team")


def test_values_win_over_values_files_and_later_files_over_earlier_ones() -> None:
    files = ["a: {x: 1, y: 1}\nlist: [1]", "a: {y: 2, z: 2}"]
    full = _full(valueYamlFiles=files, values={"a": {"z": 3}, "list": [2]})
    assert full["values"] == {"a": {"x": 1, "y": 2, "z": 3}, "list": [2]}
    assert "valueYamlFiles" not in full


def test_a_values_file_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(release.ReleaseInputError, match="valueYamlFiles"):
        _full(valueYamlFiles=["- a"])


def test_nulls_are_taken_out_of_values_unless_they_are_wanted() -> None:
    values = {"a": None, "b": {"c": None, "d": [None, 1]}}
    assert _full(values=values)["values"] == {"b": {"d": [1]}}
    assert _full(values=values, allowNullValues=True)["values"] == values


_values = st.recursive(
    st.integers() | st.text(max_size=4),
    lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
).filter(lambda v: isinstance(v, dict))


@given(_values)
def test_merging_a_mapping_into_itself_changes_nothing(values: Any) -> None:
    assert release.merge_values(values, values) == values
    assert release.merge_values({}, values) == values == release.merge_values(values, {})


@pytest.mark.parametrize(
    ("inputs", "arguments"),
    [
        ({"chart": "./c"}, ["./c"]),
        ({"chart": "oci://h/c", "version": "1"}, ["oci://h/c", "--version", "1"]),
        (
            {"chart": "c", "repositoryOpts": {"repo": "https://h/charts"}},
            ["c", "--repo", "https://h/charts"],
        ),
        ({"chart": "c", "repositoryOpts": {"repo": "oci://h/charts/"}}, ["oci://h/charts/c"]),
        ({"chart": "c", "repositoryOpts": {"repo": "known"}}, ["known/c"]),
        ({"chart": "c", "devel": True}, ["c", "--devel"]),
        (
            {"chart": "c", "repositoryOpts": {"repo": "https://h", "caFile": "ca", "username": "u", "password": "p"}},
            ["repository/c", "--ca-file", "ca"],
        ),
    ],
)
def test_the_chart_is_found_where_the_inputs_say(inputs: dict[str, Any], arguments: list[str]) -> None:
    name = "repository" if inputs.get("repositoryOpts", {}).get("password") else ""
    assert release.chart_arguments(inputs, name) == arguments


def test_the_host_of_a_registry_is_known_from_chart_or_repository() -> None:
    assert release.registry_host({"chart": "oci://h:5000/x/c"}) == "h:5000"
    assert release.registry_host({"chart": "c", "repositoryOpts": {"repo": "oci://h/x"}}) == "h"


def test_neither_values_nor_passwords_are_ever_arguments() -> None:
    full = _full(values={"token": "hush"}, repositoryOpts={"repo": "https://h", "username": "u", "password": "hush"})
    for build in (release.install_arguments, release.upgrade_arguments):
        arguments = build(full, release.chart_arguments(full, "repository"))
        assert "hush" not in " ".join(arguments)
        assert arguments[arguments.index("--values") + 1] == "-"
    assert json.loads(release.values_text(full)) == {"token": "hush"}


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, {"--wait"}),
        ({"skipAwait": True, "waitForJobs": True}, set[str]()),
        ({"waitForJobs": True}, {"--wait", "--wait-for-jobs"}),
        ({"atomic": True, "createNamespace": True}, {"--wait", "--atomic", "--create-namespace"}),
        ({"skipCrds": True, "disableWebhooks": True}, {"--wait", "--skip-crds", "--no-hooks"}),
    ],
)
def test_inputs_become_flags_of_the_installation(changes: dict[str, Any], flags: set[str]) -> None:
    arguments = release.install_arguments(_full(**changes), ["./chart"])
    known = {"--wait", "--wait-for-jobs", "--atomic", "--create-namespace", "--skip-crds", "--no-hooks"}
    assert known & set(arguments) == flags
    assert arguments[:3] == ["install", "r", "./chart"]
    assert arguments[arguments.index("--timeout") + 1] == "30s"
    assert arguments[arguments.index("--namespace") + 1] == "ns"


def test_an_upgrade_keeps_all_history_unless_told_otherwise() -> None:
    upgrade = release.upgrade_arguments(_full(cleanupOnFail=True), ["./chart"])
    assert upgrade[upgrade.index("--history-max") + 1] == "0"
    assert "--cleanup-on-fail" in upgrade
    assert "--create-namespace" not in release.upgrade_arguments(_full(createNamespace=True), ["./chart"])
    limited = release.upgrade_arguments(_full(maxHistory=5), ["./chart"])
    assert limited[limited.index("--history-max") + 1] == "5"


def test_uninstalling_waits_where_installing_waited() -> None:
    assert "--wait" in release.uninstall_arguments(_full())
    assert "--wait" not in release.uninstall_arguments(_full(skipAwait=True))
    assert "--wait" in release.uninstall_arguments(_full(skipAwait=True, atomic=True))


def test_the_objects_of_a_manifest_are_listed_by_kind() -> None:
    manifest = """
---
# Source: c/templates/all.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: ns}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: ns}
---
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: r}
"""
    assert release.resource_names(manifest) == {
        "ConfigMap/v1": ["ns/a"],
        "Deployment.apps/apps/v1": ["ns/d"],
        "ClusterRole.rbac.authorization.k8s.io/rbac.authorization.k8s.io/v1": ["r"],
    }


_RECORD: dict[str, Any] = {
    "name": "r",
    "namespace": "ns",
    "version": 3,
    "info": {"status": "deployed"},
    "config": {"a": 2},
    "manifest": "",
    "chart": {"metadata": {"name": "c", "version": "1.2.4", "appVersion": "9"}},
}


def test_the_outputs_are_the_inputs_and_helms_own_record() -> None:
    outputs = release.applied(_full(values={"a": 1, "b": 1}), _RECORD)
    assert outputs["values"] == {"a": 2, "b": 1}
    assert outputs["version"] == "1.2.4"
    assert outputs["status"] == {
        "appVersion": "9",
        "chart": "c",
        "name": "r",
        "namespace": "ns",
        "revision": 3,
        "status": "deployed",
        "version": "1.2.4",
    }


def test_state_holds_secret_values_and_all_inputs_as_secrets() -> None:
    inputs = _full(values={"pw": "hush", "open": 1}) | {"values": {"pw": Secret("hush"), "open": 1}}
    state = release.checkpoint(release.applied(_full(values={"pw": "hush", "open": 1}), _RECORD), inputs)
    assert state["values"]["pw"] == Secret("hush")
    assert state["values"]["open"] == 1
    assert isinstance(state["__inputs"], Secret)
    recorded, outputs = release.parse_checkpoint(state)
    assert recorded == inputs
    assert not contains_secret(outputs)


def test_refreshed_outputs_give_inputs_without_what_is_computed() -> None:
    outputs = release.applied(_full(), _RECORD)
    assert release.as_inputs(outputs).keys() == _full().keys()


def test_a_changed_value_is_named_by_its_path_and_only_name_and_namespace_replace() -> None:
    old = _full(values={"g": {"k": 1}, "pw": Secret("x")})
    new = _full(values={"g": {"k": 2}, "pw": Secret("x")}, name="other", chart="./other")
    changes = {str(c): c.replace for c in release.compare(old, new)}
    assert changes == {"values.g.k": False, "name": True, "chart": False}
