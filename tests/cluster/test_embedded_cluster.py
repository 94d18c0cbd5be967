"""The embedded control plane itself: real etcd, API server, controllers, scheduler and kwok."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from devcluster import netns, paths, processes
from devcluster.catalogue import PULUMI_TOOLS
from devcluster.cluster import CONTROL_PLANE, MODE_VARIABLE, Cluster, ClusterError
from devcluster.progress import Progress
from devcluster.stack import Stack, StackError
from devcluster.toolchain import Toolbox
from tests.cluster.snippets import Run, interpreter
from tests.conftest import nightly

# Seconds; only ends a test that would hang: no machine is so busy.
_AT_MOST = 900

pytestmark = pytest.mark.cluster

_TOOLS = (*CONTROL_PLANE, "pilot-agent", "pilot-discovery", "envoy-bootstrap", "iptables")

# Runs inside the cluster's namespace, before the snippet of a test. `wait` returns the first true answer.
_PRELUDE = """
import time
from kubernetes import client, config
from kubernetes.client.rest import ApiException
config.load_kube_config()
core, apps = client.CoreV1Api(), client.AppsV1Api()

def wait(ask, seconds=300):
    end = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < end:
        time.sleep(0.1)
    return answer

def gone(ask):
    try:
        ask()
    except ApiException as error:
        return error.status == 404
    return False
"""

_UP = """
import sys
from devcluster.cluster import Cluster
from devcluster.progress import Progress
from devcluster.toolchain import Toolbox
tools = Toolbox()
tools.ensure(sys.argv[3:])
with Progress() as progress:
    Cluster(sys.argv[1]).up(tools, progress, mode=sys.argv[2] or None)
"""


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clusters of these tests are kept apart from the user's own and from those of another run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv(MODE_VARIABLE, raising=False)
        yield


@pytest.fixture(scope="module")
def tools(state: None) -> Toolbox:  # noqa: ARG001 - it captures the environment
    toolbox = Toolbox()
    toolbox.ensure(_TOOLS)
    return toolbox


@pytest.fixture(scope="module", params=["full", "api"])
def cluster(request: "pytest.FixtureRequest", tools: Toolbox) -> Iterator[Cluster]:
    if request.param == "full" and not (support := netns.supported()).full:
        pytest.skip(f"network namespaces are not to be had here: {support.reason}")
    it = Cluster(f"test-{request.param}")
    try:
        with Progress() as progress:
            it.up(tools, progress, mode=request.param)
        yield it
    finally:
        it.down()


@pytest.fixture
def other() -> Iterator[Cluster]:
    """A cluster in mode api that a test brings up itself."""
    it = Cluster("test-other")
    yield it
    it.down()


@pytest.fixture(scope="module")
def inside(cluster: Cluster) -> Iterator[Run]:
    with interpreter(cluster, _PRELUDE) as run:
        yield run


def start_up(name: str, mode: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _UP, name, mode, *_TOOLS],
        cwd=paths.repository(),
        stderr=subprocess.PIPE,
        text=True,
    )


def marker(cluster: Cluster) -> str:
    return json.loads((cluster.directory / "cluster.json").read_text())["marker"]


def test_every_node_takes_pods_and_status_says_so(cluster: Cluster) -> None:
    status = cluster.status()
    assert status.ready, status
    assert status.nodes == {"node-1": ""}
    assert {process.role for process in status.processes if process.alive} >= set(CONTROL_PLANE)


def test_the_kubeconfig_names_the_cluster(cluster: Cluster, inside: Run) -> None:
    contexts = inside("answer = [c['name'] for c in config.list_kube_config_contexts()[0]]")
    assert contexts == [f"meshup-{cluster.name}"]


def test_pods_of_a_deployment_become_ready_with_distinct_addresses_of_the_pod_range(inside: Run) -> None:
    pods = inside(
        """
pod = {"containers": [{"name": "web", "image": "web:1"}], "initContainers": [{"name": "init", "image": "init:1"}]}
apps.create_namespaced_deployment("default", {"metadata": {"name": "web"}, "spec": {
    "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}})
core.create_namespaced_service("default", {"metadata": {"name": "web"}, "spec": {
    "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}})
assert wait(lambda: apps.read_namespaced_deployment("web", "default").status.available_replicas == 3)
slices = client.DiscoveryV1Api()
def addresses():
    found = slices.list_namespaced_endpoint_slice("default", label_selector="kubernetes.io/service-name=web").items
    ready = [a for s in found for e in s.endpoints or [] if e.conditions.ready for a in e.addresses]
    return ready if len(ready) == 3 else None
answer = {"pods": [p.status.pod_ip for p in core.list_namespaced_pod("default", label_selector="app=web").items],
      "endpoints": wait(addresses)}
""",
    )
    assert len(set(pods["pods"])) == 3
    assert all(address.startswith("10.244.") for address in pods["pods"])
    assert sorted(pods["endpoints"]) == sorted(pods["pods"])


def test_a_job_completes_and_a_statefulset_rolls_out_in_order(inside: Run) -> None:
    result = inside(
        """
pod = {"containers": [{"name": "work", "image": "work:1"}]}
client.BatchV1Api().create_namespaced_job("default", {"metadata": {"name": "once"}, "spec": {
    "completions": 2, "template": {"spec": {**pod, "restartPolicy": "Never"}}}})
apps.create_namespaced_stateful_set("default", {"metadata": {"name": "set"}, "spec": {
    "serviceName": "set", "replicas": 2, "selector": {"matchLabels": {"app": "set"}},
    "template": {"metadata": {"labels": {"app": "set"}}, "spec": pod}}})
batch = client.BatchV1Api()
answer = [wait(lambda: batch.read_namespaced_job("once", "default").status.succeeded == 2),
      wait(lambda: apps.read_namespaced_stateful_set("set", "default").status.ready_replicas == 2)]
""",
    )
    assert result == [True, True]


def test_a_namespace_is_deleted_with_all_that_is_in_it(inside: Run) -> None:
    deleted = inside(
        """
core.create_namespace({"metadata": {"name": "gone"}})
core.create_namespaced_config_map("gone", {"metadata": {"name": "map"}})
wait(lambda: not gone(lambda: core.read_namespaced_service_account("default", "gone")))
core.create_namespaced_pod("gone", {"metadata": {"name": "pod"},
                                    "spec": {"containers": [{"name": "web", "image": "web:1"}]}})
wait(lambda: core.read_namespaced_pod("pod", "gone").status.phase == "Running")
core.delete_namespace("gone")
answer = wait(lambda: gone(lambda: core.read_namespace("gone")))
""",
    )
    assert deleted is True


def test_a_custom_resource_definition_is_established_and_validates_its_objects(inside: Run) -> None:
    status = inside(
        """
schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"weight": {"type": "integer"}}}}}
crds = client.ApiextensionsV1Api()
crds.create_custom_resource_definition({"metadata": {"name": "splits.test.meshup"}, "spec": {
    "group": "test.meshup", "scope": "Namespaced", "names": {"plural": "splits", "kind": "Split"},
    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}})
established = lambda: any(c.type == "Established" and c.status == "True" for c in
    crds.read_custom_resource_definition("splits.test.meshup").status.conditions or [])
assert wait(established)
objects = client.CustomObjectsApi()
def create(name, weight):
    try:
        objects.create_namespaced_custom_object("test.meshup", "v1", "default", "splits", {
            "apiVersion": "test.meshup/v1", "kind": "Split", "metadata": {"name": name}, "spec": {"weight": weight}})
    except ApiException as error:
        return error.status
    return 201
assert wait(lambda: create("good", 90) in (201, 409))
answer = create("bad", "many")
""",
    )
    assert status == 422


def test_a_service_accounts_token_is_known_to_the_api_and_has_only_the_rights_it_was_given(inside: Run) -> None:
    result = inside(
        """
core.create_namespaced_service_account("default", {"metadata": {"name": "reader"}})
rbac = client.RbacAuthorizationV1Api()
rbac.create_namespaced_role("default", {"metadata": {"name": "reader"}, "rules": [
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]})
rbac.create_namespaced_role_binding("default", {"metadata": {"name": "reader"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
    "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}]})
ask = lambda audiences: core.create_namespaced_service_account_token("reader", "default", {
    "spec": {"audiences": audiences, "expirationSeconds": 600}}).status.token
review = client.AuthenticationV1Api().create_token_review({
    "spec": {"token": ask(["istio-ca"]), "audiences": ["istio-ca"]}})
settings = client.Configuration.get_default_copy()
settings.cert_file = settings.key_file = None
settings.api_key = {"authorization": "Bearer " + ask(None)}
as_reader = client.CoreV1Api(client.ApiClient(settings))
def status(call):
    try:
        call()
    except ApiException as error:
        return error.status
    return 200
allowed = wait(lambda: status(lambda: as_reader.list_namespaced_config_map("default")) == 200)
answer = [review.status.user.username, allowed, status(lambda: as_reader.list_namespaced_secret("default"))]
""",
    )
    assert result == ["system:serviceaccount:default:reader", True, 403]


def test_up_again_changes_nothing_and_adds_the_nodes_that_are_asked_for(cluster: Cluster, tools: Toolbox) -> None:
    before = {process.role: process.pid for process in cluster.status().processes}
    with Progress() as progress:
        cluster.up(tools, progress, nodes=2)
    status = cluster.status()
    assert {process.role: process.pid for process in status.processes} == before
    assert status.nodes == {"node-1": "", "node-2": ""}


def killed(victims: Iterable[processes.ProcessId]) -> None:
    """Kill processes and wait until they are dead: on a busy machine SIGKILL takes its time."""
    victims = list(victims)
    assert victims
    for process in victims:
        process.send(signal.SIGKILL)
    deadline = time.monotonic() + 300
    while any(process.alive for process in victims):
        assert time.monotonic() < deadline, "SIGKILL has no effect"
        time.sleep(0.02)


@pytest.mark.parametrize("role", ["etcd", "kube-apiserver", "kwok"])
def test_up_starts_what_has_died_and_leaves_the_rest(cluster: Cluster, tools: Toolbox, role: str) -> None:
    before = {process.role: process.pid for process in cluster.status().processes}
    killed(process for process in processes.with_marker(marker(cluster)) if process.pid == before[role])
    with Progress() as progress:
        cluster.up(tools, progress)
    status = cluster.status()
    after = {process.role: process.pid for process in status.processes}
    assert status.ready, status
    # The controllers may leave when the API does; what does not depend on the role has to stay.
    assert after[role] != before[role]
    assert role == "etcd" or after["etcd"] == before["etcd"]


def test_after_a_power_cut_up_brings_the_same_cluster_back(cluster: Cluster, tools: Toolbox, inside: Run) -> None:
    uid = inside('answer = core.create_namespaced_config_map("default", {"metadata": {"name": "kept"}}).metadata.uid')
    killed(processes.with_marker(marker(cluster)))
    assert not cluster.status().ready
    with Progress() as progress:
        cluster.up(tools, progress)
    assert cluster.status().ready
    # The one before is in a network namespace that is gone.
    with interpreter(cluster, _PRELUDE) as now:
        assert now('answer = core.read_namespaced_config_map("kept", "default").metadata.uid') == uid


def test_a_running_cluster_does_not_change_its_mode(cluster: Cluster, tools: Toolbox) -> None:
    with Progress() as progress, pytest.raises(ClusterError, match="take it down first"):
        cluster.up(tools, progress, mode="api" if cluster.mode == "full" else "full")


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.7, 1.5, 3.0] if nightly() else [0.05, 0.7, 3.0])
def test_up_converges_after_a_kill_at_any_moment(other: Cluster, seconds: float) -> None:
    first = start_up(other.name, "full" if netns.supported().full else "api")
    while not other.directory.exists() and first.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    first.kill()
    first.communicate()
    second = start_up(other.name, "")
    output = second.communicate(timeout=_AT_MOST)[1]
    assert second.returncode == 0, output
    status = other.status()
    assert status.ready, status
    recorded = {process.pid for process in status.processes}
    strays = [p for p in processes.with_marker(marker(other)) if not recorded & set(processes.ancestry(p.pid))]
    assert strays == []


def unrecorded(cluster: Cluster, role: str) -> processes.ProcessId:
    """Take a process out of the cluster's record."""
    record = cluster.directory / "cluster.json"
    state = json.loads(record.read_text())
    process = processes.ProcessId(**state["processes"].pop(role))
    record.write_text(json.dumps(state))
    assert process.alive
    return process


def test_two_ups_at_once_make_one_cluster_and_down_leaves_what_others_keep_in_its_folder(
    other: Cluster, tools: Toolbox
) -> None:
    both = [start_up(other.name, "api") for _ in range(2)]
    outputs = [each.communicate(timeout=_AT_MOST)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], outputs
    assert any("Another command is at work" in output for output in outputs)
    assert other.status().ready

    def every_process_is_recorded() -> bool:
        recorded = {process.pid for process in other.status().processes}
        return {process.pid for process in processes.with_marker(marker(other))} == recorded

    assert every_process_is_recorded()
    # As a killed `up` leaves one that it could not record any more.
    lost = unrecorded(other, "kwok")
    with Progress() as progress:
        other.up(tools, progress)
    assert not lost.alive
    assert every_process_is_recorded()

    lost, theirs = unrecorded(other, "kwok"), marker(other)
    kept = other.directory / "pulumi-passphrase"
    kept.write_text("kept")
    other.down()
    assert not lost.alive
    assert processes.with_marker(theirs) == []
    assert list(other.directory.iterdir()) == [kept]
    kept.unlink()
    assert not other.status().exists
    other.down()
    assert not other.directory.exists()


def test_a_component_that_can_not_start_is_reported_with_its_log(
    other: Cluster, tools: Toolbox, tmp_path: Path
) -> None:
    broken = tmp_path / "kwok"
    broken.write_text("#!/bin/sh\necho the disk is on fire >&2\nexit 3\n")
    broken.chmod(0o755)

    class Broken(Toolbox):
        def path(self, tool: str) -> Path:
            return broken if tool == "kwok" else tools.path(tool)

    with Progress() as progress, pytest.raises(ClusterError) as raised:
        other.up(Broken(), progress, mode="api")
    assert "kwok has ended by itself" in str(raised.value)
    assert "the disk is on fire" in str(raised.value)
    assert str(other.directory / "logs" / "kwok.log") in str(raised.value)


def test_down_waits_for_an_up_that_is_at_work(other: Cluster) -> None:
    first = start_up(other.name, "api")
    while not (other.directory / "cluster.json").exists() and first.poll() is None:
        time.sleep(0.01)
    ended = threading.Thread(target=other.down)
    ended.start()
    output = first.communicate(timeout=_AT_MOST)[1]
    ended.join(timeout=_AT_MOST)
    assert first.returncode == 0, output
    assert not other.directory.exists()


def test_in_a_shell_pulumi_selects_stacks_and_commands_keep_their_own(tools: Toolbox, tmp_path: Path) -> None:
    tools.ensure(["pulumi"])
    (tmp_path / "Pulumi.yaml").write_text("name: empty\nruntime: python\n")
    stack = Stack(tmp_path, tmp_path / "state", tmp_path / "passphrase", tools.env())
    stack.prepare({})

    def shell(*arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", "--non-interactive", "stack", *arguments],  # noqa: S607 - found by the PATH of the environment
            cwd=tmp_path,
            env=stack.shell_env(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert shell("--show-name") == "embedded"
    shell("init", "other", "--no-select")
    shell("select", "other")
    assert shell("--show-name") == "other"
    assert stack.run(["stack", "--show-name"], quiet=True).strip() == "embedded"


def test_pulumi_itself_checks_what_the_documentation_says(tools: Toolbox, tmp_path: Path) -> None:
    tools.ensure(PULUMI_TOOLS)
    declared = yaml.safe_load((paths.repository() / "Pulumi.yaml").read_text())["config"]
    runtime = {"name": "python", "options": {"virtualenv": str(paths.repository() / ".venv")}}
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "meshup", "runtime": runtime, "config": declared}))
    (tmp_path / "__main__.py").write_text("print('the program runs')\n")
    stack = Stack(tmp_path, tmp_path / "state", tmp_path / "passphrase", tools.env())
    stack.prepare({})
    (salt,) = (line for line in stack.file.read_text().splitlines() if line.startswith("encryptionsalt:"))
    text = f"{salt}\nconfig:\n  meshup:mesh: 5\n"
    documented = (paths.repository() / "docs" / "configuration.md").read_text()
    for config, said in (
        ("meshup:apps: [1]", "configuration key 'apps' must be of type 'array<string>'"),
        ("meshup:istio: []", "configuration key 'istio' must be of type 'object'"),
        ("meshup:traffic:", "configuration key 'traffic' must be of type 'object'"),
        ("meshup:traffic: {a: 1, a: 2}", "getting stack configuration: "),
    ):
        stack.file.write_text(f"{text}  {config}\n")
        with pytest.raises(StackError) as refused:
            stack.run(["preview"], quiet=True)
        assert said in str(refused.value)
        assert said.replace("'istio'", "'traffic'") in documented
    stack.file.write_text(f"{text}  meshup:nosuch: [1]\n")
    assert "the program runs" in stack.run(["preview"], quiet=True)
