import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.diagnostics import render
from components.diagnostics.validation import HIDDEN
from devcluster.provider import kubeconfig as plugin_kubeconfig
from kubeaccess import connection
from stacks import settings
from stacks.kubeconfig import find
from stacks.settings import ClusterSettings

CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "prod",
    "contexts": [
        {"name": "kind-dev", "context": {"cluster": "c", "user": "u"}},
        {"name": "prod", "context": {"cluster": "c", "user": "u"}},
    ],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "hunter2"}}],
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    return {"KUBECONFIG": str(file)}


def test_the_current_context_is_never_taken(environ: dict[str, str]) -> None:
    config, found = find(ClusterSettings(), environ)
    assert config == {}
    assert [(fault.code, fault.path) for fault in found] == [("MSH020", "kubernetes:context")]
    assert found[0].allowed == "one of kind-dev, prod"
    assert "pulumi config set kubernetes:context" in found[0].remedy


def test_the_named_context_becomes_the_current_one(environ: dict[str, str]) -> None:
    config, found = find(ClusterSettings(context="kind-dev"), environ)
    assert found == []
    assert config["current-context"] == "kind-dev"


def test_a_context_that_does_not_exist_is_refused_with_the_nearest(environ: dict[str, str]) -> None:
    config, found = find(ClusterSettings(context="kind-def"), environ)
    assert config == {}
    assert [fault.code for fault in found] == ["MSH022"]
    assert "Did you mean kind-dev?" in found[0].message


@pytest.mark.parametrize("text", ["", "[1]", "{", "contexts: 3", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text, encoding="utf-8")
    found = find(ClusterSettings(kubeconfig=str(file)), {})[1]
    assert [(fault.code, fault.path) for fault in found] == [("MSH021", "kubernetes:kubeconfig")]


def user(**keys: Any) -> dict[str, Any]:
    return CONFIG | {"users": [{"name": "u", "user": keys}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    (CONFIG | {"current-context": ["prod"]}, "current-context must be text"),
    (CONFIG | {"contexts": {"prod": {}}}, "contexts must be a list"),
    (CONFIG | {"contexts": [3]}, "contexts[0] must be a mapping"),
    (CONFIG | {"clusters": [{"name": 1}]}, "clusters[0].name must be text"),
    (CONFIG | {"clusters": [{"name": "c", "cluster": []}]}, "clusters[0].cluster must be a mapping"),
    (CONFIG | {"clusters": [{"cluster": {"server": 6443}}]}, "clusters[0].cluster.server must be text"),
    (
        CONFIG | {"clusters": [{"name": "c", "cluster": {"insecure-skip-tls-verify": "true"}}]},
        "clusters[0].cluster.insecure-skip-tls-verify must be true or false",
    ),
    (user(token=1234), "users[0].user.token must be text"),
    (user(exec={"command": ["aws"]}), "users[0].user.exec.command must be text"),
    (user(exec={"command": "aws", "env": [{"name": 1}]}), "users[0].user.exec.env[0].name must be text"),
    (user(**{"client-key-data": "%hunter2"}), "users[0].user.client-key-data must be base64"),
    (CONFIG | {"users": [*CONFIG["users"], *CONFIG["users"]]}, "users has two entries of one name"),
    (CONFIG | {"kind": "Pod"}, "kind must be that of a kubeconfig"),
    (CONFIG | {"x": settings.nested(settings.MOST_DEPTH)}, "nested more than 100 deep"),
]


@pytest.mark.parametrize(("config", "place"), WRONG)
def test_what_kubectl_refuses_in_a_kubeconfig_is_refused_by_its_place(config: dict[str, Any], place: str) -> None:
    # kubectl 1.36 refuses each of these but the last; `kubectl config view` was asked.
    text = json.dumps(config)
    (fault,) = find(ClusterSettings(context="prod", kubeconfig=text), {})[1]
    assert (fault.code, fault.path, fault.value) == ("MSH021", "kubernetes:kubeconfig", HIDDEN)
    assert place in fault.message
    assert "hunter2" not in render([fault])


def test_what_is_not_used_in_a_kubeconfig_may_be_empty() -> None:
    config: dict[str, Any] = CONFIG | {
        "clusters": None,
        "users": [None, {"name": "u", "user": None}],
        "preferences": {},
        "other": 3,
    }
    assert find(ClusterSettings(context="prod", kubeconfig=json.dumps(config)), {})[1] == []


def test_one_of_several_kubeconfigs_may_be_missing_but_not_wrong(tmp_path: Path, environ: dict[str, str]) -> None:
    there, missing = environ["KUBECONFIG"], tmp_path / "missing"
    chosen = ClusterSettings(context="prod")
    assert find(chosen, {"KUBECONFIG": f"{missing}{os.pathsep}{there}"})[1] == []
    (tmp_path / "wrong").write_text("contexts: 3\n")
    (fault,) = find(chosen, {"KUBECONFIG": f"{tmp_path / 'wrong'}{os.pathsep}{there}"})[1]
    assert (fault.code, fault.path) == ("MSH021", "KUBECONFIG")
    assert "contexts must be a list" in fault.message
    (fault,) = find(chosen, {"KUBECONFIG": f"{missing}{os.pathsep}{missing}"})[1]
    assert "no such file" in fault.message


def test_no_yaml_error_quotes_a_kubeconfig() -> None:
    for text in ("users: *hunter2\n", "a: 1\na: [hunter2\n", "a: &hunter2 [*hunter2]\n", "a: !hunter2 x\n"):
        found = find(ClusterSettings(kubeconfig=text), {})[1]
        assert [fault.code for fault in found] == ["MSH021"]
        assert "hunter2" not in render(found)


def test_the_text_of_a_kubeconfig_is_never_printed() -> None:
    text = "users: hunter2\ncontexts: []\n"
    found = find(ClusterSettings(kubeconfig=text), {})[1]
    assert [fault.code for fault in found] == ["MSH021"]
    assert "hunter2" not in render(found)


def test_a_kubeconfig_of_the_stack_names_the_cluster_by_itself() -> None:
    config, found = find(ClusterSettings(kubeconfig=yaml.safe_dump(CONFIG)), {})
    assert found == []
    assert config["current-context"] == "prod"


def test_paths_in_a_kubeconfig_are_relative_to_its_file(tmp_path: Path) -> None:
    own = CONFIG | {"clusters": [{"name": "c", "cluster": {"server": "x", "certificate-authority": "ca.crt"}}]}
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(own), encoding="utf-8")
    config = find(ClusterSettings(context="prod"), {"KUBECONFIG": str(file)})[0]
    assert config["clusters"][0]["cluster"]["certificate-authority"] == str(tmp_path / "ca.crt")


TWO: dict[str, Any] = CONFIG | {
    "clusters": [
        {"name": "c", "cluster": {"server": "https://one"}},
        {"name": "other", "cluster": {"server": "https://two"}},
    ],
    "contexts": [*CONFIG["contexts"], {"name": "second", "context": {"cluster": "other", "user": "u"}}],
}


@pytest.mark.parametrize("written", ["path", "text", "variable"])
@pytest.mark.parametrize("context", ["prod", "second"])
@pytest.mark.parametrize("cluster", ["", "c", "other"])
@pytest.mark.parametrize("authority", ["ca.crt", "/pki/ca.crt"])
def test_the_guard_looks_at_the_cluster_that_the_plugin_deploys_to(
    tmp_path: Path, written: str, context: str, cluster: str, authority: str
) -> None:
    clusters = [{**c, "cluster": {**c["cluster"], "certificate-authority": authority}} for c in TWO["clusters"]]
    text = yaml.safe_dump(TWO | {"clusters": clusters})
    file = tmp_path / "config"
    file.write_text(text, encoding="utf-8")
    setting = {"path": str(file), "text": text, "variable": ""}[written]
    environ = {"KUBECONFIG": str(file)} if written == "variable" else {}
    keys = {"context": context, "cluster": cluster, "kubeconfig": setting, "namespace": "n", "clusterIdentifier": "i"}
    guard, found = find(ClusterSettings(context=context, kubeconfig=setting, provider=keys), environ)
    assert found == []
    plugin, _ = plugin_kubeconfig.effective(plugin_kubeconfig.locate(setting, environ), context, cluster, "n")
    seen, used = (dict(connection.cluster_of(config)) for config in (guard, plugin))
    for one in (seen, used):
        one["certificate-authority"] = str(Path(one["certificate-authority"]).absolute())
    assert seen == used
    assert connection.user_of(guard) == connection.user_of(plugin)


@pytest.mark.parametrize(
    ("keys", "environ", "path", "allowed"),
    [
        ({"cluster": "othre"}, {}, "kubernetes:cluster", "one of c, other"),
        ({"renderYamlToDirectory": "out"}, {}, "kubernetes:renderYamlToDirectory", "no value"),
        ({"helmReleaseSettings": '{"driver": "memory"}'}, {}, "kubernetes:helmReleaseSettings.driver", "secret"),
        ({}, {"PULUMI_K8S_HELM_DRIVER": "configmap"}, "PULUMI_K8S_HELM_DRIVER", "secret"),
    ],
)
def test_a_setting_that_leads_the_provider_elsewhere_is_refused(
    keys: dict[str, str], environ: dict[str, str], path: str, allowed: str
) -> None:
    text = yaml.safe_dump(TWO)
    found = find(ClusterSettings(context="prod", kubeconfig=text, provider=keys), environ)[1]
    assert [(fault.code, fault.path, fault.allowed) for fault in found] == [("MSH034", path, allowed)]


@pytest.mark.parametrize(
    ("keys", "environ"),
    [
        ({"helmReleaseSettings": '{"driver": "secret"}'}, {"PULUMI_K8S_HELM_DRIVER": "sql"}),
        ({"helmReleaseSettings": "[]", "renderYamlToDirectory": ""}, {}),
        ({}, {"PULUMI_K8S_HELM_DRIVER": "secret"}),
    ],
)
def test_a_setting_that_changes_nothing_of_it_is_taken(keys: dict[str, str], environ: dict[str, str]) -> None:
    assert find(ClusterSettings(context="prod", kubeconfig=yaml.safe_dump(TWO), provider=keys), environ)[1] == []
