from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.provider import kubeconfig
from devcluster.provider.kubeconfig import KubeconfigError


def _config(**changes: Any) -> str:
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://c", "certificate-authority": "pki/ca.crt"}}],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
            {"name": "two", "context": {"cluster": "c", "user": "u"}},
        ],
        "users": [{"name": "u", "user": {"client-key": "/abs/key"}}],
        "current-context": "one",
    }
    return yaml.safe_dump(config | changes)


def test_the_current_context_and_its_namespace_are_used() -> None:
    config, namespace = kubeconfig.effective([(_config(), Path("/etc/k"))])
    assert (config["current-context"], namespace) == ("one", "team")


def test_a_named_context_and_namespace_win() -> None:
    config, namespace = kubeconfig.effective([(_config(), Path("/"))], context="two", namespace="mine")
    assert (config["current-context"], namespace) == ("two", "mine")
    assert kubeconfig.effective([(_config(), Path("/"))], context="two")[1] == "default"


def test_relative_paths_are_meant_from_the_file_and_absolute_ones_stay() -> None:
    config, _ = kubeconfig.effective([(_config(), Path("/etc/k"))])
    assert config["clusters"][0]["cluster"]["certificate-authority"] == "/etc/k/pki/ca.crt"
    assert config["users"][0]["user"]["client-key"] == "/abs/key"


def test_the_first_of_several_files_wins() -> None:
    other = _config(**{"current-context": "two", "clusters": [{"name": "c", "cluster": {"server": "https://other"}}]})
    config, _ = kubeconfig.effective([(_config(), Path("/")), (other, Path("/"))])
    assert config["current-context"] == "one"
    assert [c["cluster"]["server"] for c in config["clusters"]] == ["https://c"]


@pytest.mark.parametrize(
    ("changes", "context", "cluster", "message"),
    [
        ({}, "three", "", 'context "three" does not exist'),
        ({}, "", "nowhere", 'cluster "nowhere" does not exist'),
        ({"users": []}, "", "", 'user "u" does not exist'),
        ({"current-context": ""}, "", "", "current-context"),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], context: str, cluster: str, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        kubeconfig.effective([(_config(**changes), Path("/"))], context, cluster)


@pytest.mark.parametrize("text", ["- a list", "{unclosed: [secret-token"])
def test_a_text_that_is_no_kubeconfig_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(KubeconfigError) as caught:
        kubeconfig.effective([(text, Path("/"))])
    assert "secret-token" not in str(caught.value)


def test_content_a_path_and_the_variable_are_all_understood(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(_config())
    assert kubeconfig.locate(_config(), {})[0][0] == _config()
    # The official plugin parses it as content, which has no folder.
    assert kubeconfig.locate(str(file), {}) == [(_config(), Path.cwd())]
    assert kubeconfig.locate("", {"KUBECONFIG": f"{tmp_path}/none:{file}"}) == [(_config(), tmp_path)]


def test_no_kubeconfig_at_all_is_named_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=r"\.kube/config"):
        kubeconfig.locate("", {"HOME": str(tmp_path)})


def test_two_contents_lead_to_the_same_cluster_or_they_do_not() -> None:
    other = _config(clusters=[{"name": "c", "cluster": {"server": "https://other"}}])
    assert kubeconfig.active_cluster(_config(), "one", "") == kubeconfig.active_cluster(_config(), "two", "")
    assert kubeconfig.active_cluster(_config(), "one", "") != kubeconfig.active_cluster(other, "one", "")
    assert kubeconfig.active_cluster(_config(), "nowhere", "") is None
    assert kubeconfig.active_cluster("", "", "") is None
