import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.diagnostics import errors, render
from components.manifests import ObjectRef, object_ref
from components.diagnostics.validation import HIDDEN
from devcluster.provider import kubeconfig
from kubeaccess import connection
from stacks import ownership, settings, state, target, versions
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
    config, found = target.kubeconfig(ClusterSettings(), environ)
    assert config == {}
    assert [(fault.code, fault.path) for fault in found] == [("MSH020", "kubernetes:context")]
    assert found[0].allowed == "one of kind-dev, prod"
    assert "pulumi config set kubernetes:context" in found[0].remedy


def test_the_named_context_becomes_the_current_one(environ: dict[str, str]) -> None:
    config, found = target.kubeconfig(ClusterSettings(context="kind-dev"), environ)
    assert found == []
    assert config["current-context"] == "kind-dev"


def test_a_context_that_does_not_exist_is_refused_with_the_nearest(environ: dict[str, str]) -> None:
    config, found = target.kubeconfig(ClusterSettings(context="kind-def"), environ)
    assert config == {}
    assert [fault.code for fault in found] == ["MSH022"]
    assert "Did you mean kind-dev?" in found[0].message


@pytest.mark.parametrize("text", ["", "[1]", "{", "contexts: 3", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text, encoding="utf-8")
    found = target.kubeconfig(ClusterSettings(kubeconfig=str(file)), {})[1]
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
    (CONFIG | {"x": settings.nested(settings.MOST_DEPTH)}, "more than 100 mappings and lists"),
]


@pytest.mark.parametrize(("config", "place"), WRONG)
def test_what_kubectl_refuses_in_a_kubeconfig_is_refused_by_its_place(config: dict[str, Any], place: str) -> None:
    # kubectl 1.36 refuses each of these but the last; `kubectl config view` was asked.
    text = json.dumps(config)
    (fault,) = target.kubeconfig(ClusterSettings(context="prod", kubeconfig=text), {})[1]
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
    assert target.kubeconfig(ClusterSettings(context="prod", kubeconfig=json.dumps(config)), {})[1] == []


def test_one_of_several_kubeconfigs_may_be_missing_but_not_wrong(tmp_path: Path, environ: dict[str, str]) -> None:
    there, missing = environ["KUBECONFIG"], tmp_path / "missing"
    chosen = ClusterSettings(context="prod")
    assert target.kubeconfig(chosen, {"KUBECONFIG": f"{missing}{os.pathsep}{there}"})[1] == []
    (tmp_path / "wrong").write_text("contexts: 3\n")
    (fault,) = target.kubeconfig(chosen, {"KUBECONFIG": f"{tmp_path / 'wrong'}{os.pathsep}{there}"})[1]
    assert (fault.code, fault.path) == ("MSH021", "KUBECONFIG")
    assert "contexts must be a list" in fault.message
    (fault,) = target.kubeconfig(chosen, {"KUBECONFIG": f"{missing}{os.pathsep}{missing}"})[1]
    assert "no such file" in fault.message


def test_no_yaml_error_quotes_a_kubeconfig() -> None:
    for text in ("users: *hunter2\n", "a: 1\na: [hunter2\n", "a: &hunter2 [*hunter2]\n", "a: !hunter2 x\n"):
        found = target.kubeconfig(ClusterSettings(kubeconfig=text), {})[1]
        assert [fault.code for fault in found] == ["MSH021"]
        assert "hunter2" not in render(found)


def test_the_text_of_a_kubeconfig_is_never_printed() -> None:
    text = "users: hunter2\ncontexts: []\n"
    found = target.kubeconfig(ClusterSettings(kubeconfig=text), {})[1]
    assert [fault.code for fault in found] == ["MSH021"]
    assert "hunter2" not in render(found)


def test_a_kubeconfig_of_the_stack_names_the_cluster_by_itself() -> None:
    config, found = target.kubeconfig(ClusterSettings(kubeconfig=yaml.safe_dump(CONFIG)), {})
    assert found == []
    assert config["current-context"] == "prod"


def test_paths_in_a_kubeconfig_are_relative_to_its_file(tmp_path: Path) -> None:
    own = CONFIG | {"clusters": [{"name": "c", "cluster": {"server": "x", "certificate-authority": "ca.crt"}}]}
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(own), encoding="utf-8")
    config = target.kubeconfig(ClusterSettings(context="prod"), {"KUBECONFIG": str(file)})[0]
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
    guard, found = target.kubeconfig(ClusterSettings(context=context, kubeconfig=setting, provider=keys), environ)
    assert found == []
    plugin, _ = kubeconfig.effective(kubeconfig.locate(setting, environ), context, cluster, "n")
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
    found = target.kubeconfig(ClusterSettings(context="prod", kubeconfig=text, provider=keys), environ)[1]
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
    assert (
        target.kubeconfig(ClusterSettings(context="prod", kubeconfig=yaml.safe_dump(TWO), provider=keys), environ)[1]
        == []
    )


def test_a_cluster_that_does_not_answer_is_one_fault_with_the_reason() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{free.getsockname()[1]}"
        config = CONFIG | {"clusters": [{"name": "c", "cluster": {"server": server}}]}
        cluster, found = target.connect(config, ((1, 32), (1, 36)))
    assert cluster is None
    assert [(fault.code, fault.value) for fault in found] == [("MSH023", "prod")]
    assert "refused" in found[0].message
    assert "0x" not in found[0].message


@pytest.mark.parametrize(
    ("mesh", "mesh_version", "kubernetes", "codes"),
    [
        ("istio", "1.30.3", "v1.31.9", ["MSH025"]),
        ("istio", "1.30.3", "v1.32.0", []),
        ("istio", "1.30.3", "v1.36.3+k3s1", []),
        ("istio", "1.30.3", "v1.37.0", ["MSH035"]),
        ("istio", "1.29.6", "v1.31.0-gke.1", []),
        ("istio", "1.29.6", "v1.36.0", ["MSH035"]),
        # Linkerd's own range, whatever Istio's is.
        ("linkerd", "2026.8.3", "v1.30.14", ["MSH025"]),
        ("linkerd", "2026.8.3", "v1.31.0", []),
        ("linkerd", "2026.12.1", "v1.36.0", []),
        ("linkerd", "2026.8.3", "v2.0.0", ["MSH035"]),
        ("linkerd", "2026.8.3", "", []),
    ],
)
def test_a_cluster_that_is_too_old_is_refused_and_one_that_is_too_new_is_a_warning(
    mesh: str, mesh_version: str, kubernetes: str, codes: list[str]
) -> None:
    found = target.version_faults({"gitVersion": kubernetes}, versions.kubernetes(mesh, mesh_version))
    assert [fault.code for fault in found] == codes
    assert errors(found) == [fault for fault in found if fault.code == "MSH025"]


def test_every_supported_version_of_a_mesh_has_a_range_of_kubernetes_of_its_own() -> None:
    for mesh, (first, last) in versions.SUPPORTED.items():
        ranges = versions.KUBERNETES[mesh]
        assert min(ranges) == first
        assert max(ranges) <= last
        for at in (first, last):
            oldest, newest = versions.kubernetes(mesh, f"{at[0]}.{at[1]}.0")
            assert oldest < newest
            assert (oldest, newest) == ranges[max(since for since in ranges if since <= at)]


OWNER = "organization/meshup/dev"
NAMESPACE = ObjectRef("v1", "Namespace", "bookinfo")


FORMER = "organization/meshup/old"
URN = "urn:pulumi:dev::meshup::kubernetes:core/v1:Namespace::anything"
HAS_IT = {NAMESPACE: URN}
CLAIMS: dict[str, tuple[str | None, dict[str, dict[ObjectRef, str] | None], list[str]]] = {
    "not there": (None, {}, []),
    "ours": (OWNER, {}, []),
    "ours, and in the state": (OWNER, {OWNER: HAS_IT}, []),
    "nobody's": ("", {OWNER: {}}, ["MSH026"]),
    "nobody's, and the state can't be read": ("", {OWNER: None}, ["MSH026"]),
    "nobody's, and imported": ("", {OWNER: HAS_IT}, ["taken"]),
    "another stack's": (FORMER, {OWNER: {}, FORMER: HAS_IT}, ["MSH026"]),
    "of a stack that is gone, and never ours": (FORMER, {OWNER: {}, FORMER: {}}, ["MSH026"]),
    "of a stack that is renamed, or has moved": (FORMER, {OWNER: HAS_IT, FORMER: {}}, ["taken", FORMER]),
    "in the states of two stacks": (FORMER, {OWNER: HAS_IT, FORMER: HAS_IT}, ["MSH036"]),
    "in ours, and the other state can't be read": (FORMER, {OWNER: HAS_IT, FORMER: None}, ["MSH036"]),
}
"""By name: the stack that the object carries, what the states have, and what comes of it."""


@pytest.mark.parametrize("name", CLAIMS)
def test_only_an_object_of_this_stack_is_taken_over(name: str) -> None:
    carried, states, expected = CLAIMS[name]
    metadata: dict[str, Any] = {"annotations": {ownership.ANNOTATION: carried} if carried else None}
    there = {} if carried is None else {NAMESPACE: metadata}
    found = ownership.claims([NAMESPACE], there, OWNER, lambda stack: states.get(stack, {}))
    taken = ["taken"] if found.taken else []
    assert [*taken, *found.former, *(fault.code for fault in found.faults)] == expected
    assert found.taken in ({}, HAS_IT)
    assert [fault.severity for fault in ownership.taken_over(found, OWNER)] == ["warning" for _ in taken]
    assert all(fault.path == "Namespace/bookinfo" for fault in found.faults)


def test_the_state_is_not_asked_while_every_object_carries_the_stack() -> None:
    there = {NAMESPACE: {"annotations": {ownership.ANNOTATION: OWNER}}}

    def ask(stack: str) -> dict[ObjectRef, str]:
        raise AssertionError(stack)

    assert ownership.claims([NAMESPACE], there, OWNER, ask).faults == ()


def test_the_report_names_the_command_that_hands_an_object_over_and_suggests_no_removal() -> None:
    route = ObjectRef("gateway.networking.k8s.io/v1", "HTTPRoute", "reviews", "bookinfo")
    there: dict[ObjectRef, dict[str, Any]] = {NAMESPACE: {}, route: {"annotations": {ownership.ANNOTATION: FORMER}}}
    found = ownership.claims([NAMESPACE, route], there, OWNER, lambda _: {}).faults
    first, second = found
    # A command that is broken over lines would run in parts when it is copied.
    commands = [line.strip() for line in render(found).splitlines() if line.strip().startswith("kubectl")]
    assert [line.rsplit(" ", 1)[-1] for line in commands] == [f"meshup/stack={OWNER}"] * 2
    assert f"kubectl annotate namespace bookinfo meshup/stack={OWNER}" in first.remedy
    assert "with everything in it" in first.remedy
    assert (
        "kubectl annotate --overwrite --namespace bookinfo httproute.v1.gateway.networking.k8s.io reviews "
        f"meshup/stack={OWNER}" in second.remedy
    )
    # To import what another stack has, or to delete it, would take it from that stack.
    for fault in (first, second):
        assert "pulumi import" not in fault.remedy
        assert "kubectl delete" not in fault.remedy


@pytest.mark.parametrize(
    ("error", "is_absent"),
    [
        (f'invocation of pulumi:pulumi:readStackResourceOutputs returned an error: unknown stack "{FORMER}"', True),
        # Asked of a backend of files for a stack of Pulumi Cloud.
        ("invocation of f returned an error: organization name must be 'organization'", True),
        ('invocation of f returned an error: unknown stack "another"', False),
        ("invocation of f returned an error: incorrect passphrase", False),
        ("", False),
    ],
)
def test_a_stack_that_is_not_there_is_told_from_one_that_can_not_be_read(error: str, is_absent: bool) -> None:
    assert state.absent(FORMER, error) == ({} if is_absent else None)


def test_a_state_has_the_objects_of_its_resources_and_those_in_the_releases_of_the_traffic() -> None:
    def resource(type_: str, api_version: str, kind: str, **metadata: str) -> dict[str, Any]:
        return {"type": type_, "outputs": {"apiVersion": api_version, "kind": kind, "metadata": metadata}}

    route = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "s", "namespace": "a"},
    }
    release = "kubernetes:helm.sh/v3:Release"
    listed = {
        "namespace": resource("kubernetes:core/v1:Namespace", "v1", "Namespace", name="bookinfo"),
        "patch": resource("kubernetes:core/v1:ServicePatch", "v1", "Service", name="web", namespace="shop"),
        "traffic": {
            "type": release,
            "outputs": {"name": "meshup-traffic-1-a", "values": {"objects": {"x": json.dumps(route)}}},
        },
        "istiod": {"type": release, "outputs": {"name": "istiod", "values": {"objects": {"x": "no object"}}}},
        "component": {"type": "meshup:index:Istio", "outputs": {"namespace": "istio-system"}},
        "provider": {"type": "pulumi:providers:kubernetes", "outputs": {"kubeconfig": "x"}},
    }
    assert state.objects(listed) == {NAMESPACE: "namespace", object_ref(route): "traffic"}


def record(release: str, revision: int, status: str) -> dict[str, Any]:
    return {"name": f"sh.helm.release.v1.{release}.v{revision}", "labels": {"status": status}}


RECORDS = [
    record("istiod", 2, "pending-upgrade"),
    record("istiod", 1, "deployed"),
    record("istiod-canary", 1, "pending-install"),
    {"name": "istio-ca-secret"},
]


def test_before_a_create_no_record_of_the_release_may_be_left() -> None:
    names = ["sh.helm.release.v1.istiod.v1", "sh.helm.release.v1.istiod.v2"]
    assert ownership.stale_records("istiod", "create", RECORDS) == names


def test_before_an_update_only_what_is_pending_is_taken_away() -> None:
    assert ownership.stale_records("istiod", "update", RECORDS) == ["sh.helm.release.v1.istiod.v2"]


def test_the_mark_of_the_stack_joins_the_annotations_that_are_there() -> None:
    assert ownership.with_owner({"name": "a", "annotations": {"b": "c"}}, OWNER) == {
        "name": "a",
        "annotations": {"b": "c", ownership.ANNOTATION: OWNER},
    }
