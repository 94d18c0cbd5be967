"""The promise of `make up`: the split that is declared holds in counted requests, moves with it, and comes and goes
cleanly, whatever is killed on the way."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from devcluster import stackfile, traffic
from devcluster.components import RUN_ANNOTATION
from devcluster.embedded import Embedded
from devcluster.example import Example
from devcluster.kubelet import registry
from devcluster.progress import Progress
from devcluster.stack import Stack, StackError
from devcluster.stackfile import Setting
from devcluster.traffic import Request, Result, Split
from tests.chance import plausible
from tests.conftest import nightly

pytestmark = pytest.mark.dataplane

REQUESTS = 1000
# Where `pulumi up` is killed: as soon as it says this. Each lies in another part of the work.
MOMENTS = (
    r"Release istio-base creating",
    r"Release istio-istiod creating",
    r"Release istio-istiod created",
    r"Namespace \S+ creat",
    r"Deployment \S+ creating",
    r"Deployment \S+ created",
    r"VirtualService \S+ creat",
)


PLAIN: dict[str, Setting] = {
    "meshup:namespaces": {},
    "meshup:gateways": {},
    "meshup:traffic": {"reviews": {"namespace": "bookinfo", "split": {"v1": 90, "v2": 10}}},
}
GREETER: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            **{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "greeter", "namespace": "default"}},
            "spec": {"selector": {"app": "greeter"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        },
        {
            **{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "greeter", "namespace": "default"}},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "greeter"}},
                "template": {
                    "metadata": {"labels": {"app": "greeter"}, "annotations": {RUN_ANNOTATION: "true"}},
                    "spec": {
                        "containers": [{"name": "greeter", "image": "greeter", "ports": [{"containerPort": 8080}]}],
                    },
                },
            },
        },
    ],
}


def declared(stack: Stack) -> Split:
    """Return the split of reviews that the stack outputs promise."""
    outputs = cast("dict[str, Any]", stack.outputs()["trafficSplits"])
    return next(split for split in traffic.splits(outputs) if split.service == "reviews")


def measured(full: Embedded, stack: Stack) -> Result:
    return traffic.measure(full.cluster.name, declared(stack), REQUESTS)


def holds(result: Result) -> bool:
    """Say whether a split holds; the command itself refuses a right one more often (`traffic.SIGNIFICANCE`)."""
    counts = {share.backend: share.count for share in result.shares}
    return result.outcome.failed == 0 and plausible(counts, result.split.weights)


def set_split(stack: Stack, **weights: int) -> None:
    for version, weight in weights.items():
        stack.run(["config", "set", "--path", f"meshup:traffic.reviews.split.{version}", str(weight)], quiet=True)


def changes(stack: Stack) -> list[tuple[str, str]]:
    """Return what an `up` would do, by operation and kind; what stays the same is left out."""
    preview = json.loads(stack.run(["preview", "--json"], quiet=True))
    steps = [(step["op"], step["urn"].split("::")[2].split("$")[-1].split(":")[-1]) for step in preview["steps"]]
    return [(op, kind) for op, kind in steps if op != "same"]


def kubectl(full: Embedded, *arguments: str) -> str:
    argv = full.cluster.exec_argv(["kubectl", *arguments])
    done = subprocess.run(argv, env=full.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_declared_split_holds_in_counted_requests(full: Embedded, bookinfo: Stack) -> None:
    result = measured(full, bookinfo)
    assert result.outcome.requests == REQUESTS
    assert result.outcome.failed == 0
    assert {share.backend: share.expected for share in result.shares} == {"v1": 0.9, "v2": 0.1}
    assert holds(result)


def test_the_measurement_refuses_a_split_that_was_not_declared(full: Embedded, bookinfo: Stack) -> None:
    split = declared(bookinfo)
    other = Split(split.service, split.namespace, split.host, {"v1": 50, "v2": 50})
    assert not traffic.measure(full.cluster.name, other, REQUESTS).holds


def test_every_pod_of_bookinfo_has_the_sidecar_that_the_webhook_injected(full: Embedded, bookinfo: Stack) -> None:
    assert bookinfo.outputs()["mesh"]
    pods = json.loads(kubectl(full, "get", "pods", "-n", "bookinfo", "-o", "json"))["items"]
    assert len(pods) == 6
    for pod in pods:
        containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        assert "istio-proxy" in {container["name"] for container in containers}
        assert all(status["ready"] for status in pod["status"]["containerStatuses"])


def test_with_strict_mutual_tls_a_request_from_outside_the_mesh_is_refused(full: Embedded, bookinfo: Stack) -> None:
    assert cast("dict[str, Any]", bookinfo.outputs()["mesh"])["mtls"] == "strict"
    pods = registry.running(registry.pods_folder(full.cluster.name), "bookinfo", {"app": "reviews"})
    code = "import sys, urllib.request\nprint(urllib.request.urlopen(f'http://{sys.argv[1]}:9080/', timeout=60).status)"
    argv = full.cluster.exec_argv([sys.executable, "-c", code, pods[0].address])
    done = subprocess.run(argv, env=full.environment(), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "reset" in done.stderr.lower() or "RemoteDisconnected" in done.stderr, done.stderr


def test_right_after_up_a_preview_and_a_refresh_find_nothing(bookinfo: Stack) -> None:
    bookinfo.run(["preview", "--expect-no-changes"], quiet=True)
    bookinfo.run(["refresh", "--yes", "--skip-preview", "--expect-no-changes"], quiet=True)


def test_other_weights_change_the_virtual_service_only_and_move_the_shares_without_a_failed_request(
    full: Embedded, bookinfo: Stack
) -> None:
    cluster = full.cluster.name
    source = traffic.choose_source(registry.running(registry.pods_folder(cluster)), declared(bookinfo))
    try:
        for weights in ({"v1": 50, "v2": 50}, {"v1": 0, "v2": 100}):
            set_split(bookinfo, **weights)
            assert changes(bookinfo) == [("update", "VirtualService")]
            with traffic.continuous(cluster, source, Request("bookinfo", "reviews")) as meanwhile:
                bookinfo.up()
            assert meanwhile[0].requests > 0
            assert meanwhile[0].failed == 0, meanwhile[0].failures
            result = measured(full, bookinfo)
            assert {share.backend: round(share.expected * 100) for share in result.shares} == weights
            assert holds(result)
    finally:
        set_split(bookinfo, v1=90, v2=10)
        bookinfo.up()
    assert holds(measured(full, bookinfo))


def test_weights_that_do_not_sum_to_100_stop_before_anything_changes(full: Embedded, bookinfo: Stack) -> None:
    set_split(bookinfo, v1=90, v2=9)
    try:
        with pytest.raises(StackError):
            bookinfo.run(["up", "--yes", "--skip-preview"], quiet=True)
    finally:
        set_split(bookinfo, v1=90, v2=10)
    assert changes(bookinfo) == []
    assert holds(measured(full, bookinfo))


def killed_up(stack: Stack, moment: str, log: Path) -> bool:
    """Run `pulumi up` and kill it with SIGKILL as soon as it says something. Returns whether it did."""
    argv = stack.wrap(["pulumi", "--non-interactive", "up", "--yes", "--skip-preview"])
    with log.open("w") as errors:
        process = subprocess.Popen(
            argv, cwd=stack.project, env=stack.env(), stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            if re.search(moment, line):
                process.kill()
                process.wait()
                process.stdout.close()
                return True
        process.wait()
        process.stdout.close()
    return False


def configure(stack: Stack, settings: Mapping[str, Setting]) -> None:
    stack.file.write_text(stackfile.with_settings(stack.file.read_text(), settings))


def containers(full: Embedded, namespace: str) -> dict[str, set[str]]:
    """Return the names of the containers of each pod of a namespace, all of which must be ready."""
    pods = json.loads(kubectl(full, "get", "pods", "--namespace", namespace, "-o", "json"))["items"]
    alive = {pod["metadata"]["name"]: pod for pod in pods if "deletionTimestamp" not in pod["metadata"]}
    assert all(status["ready"] for pod in alive.values() for status in pod["status"]["containerStatuses"])
    return {
        name: {c["name"] for c in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", []))}
        for name, pod in alive.items()
    }


@pytest.fixture(scope="module")
def shop(full: Embedded, bookinfo: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The shop, and a greeter in `default`: both run before their namespaces join the mesh."""
    before = stackfile.configuration(bookinfo.file.read_text())
    subject = Example("shop", tmp_path_factory.mktemp("shop") / "state")
    greeter = subject.state.with_name("greeter.json")
    greeter.write_text(json.dumps(GREETER))
    with Progress() as progress:
        subject.bring_up(full.cluster, full.environment(), progress)
    try:
        kubectl(full, "apply", "--filename", str(greeter))
        kubectl(full, "rollout", "status", "deployment/greeter", "--namespace", "default")
        yield subject
    finally:
        # Unless the destroy of the last test has let go of them.
        if stackfile.configuration(bookinfo.file.read_text()) != before | PLAIN:
            configure(bookinfo, PLAIN)
            bookinfo.up()
        for file in (greeter, subject.objects):
            kubectl(full, "delete", "--filename", str(file))


def test_what_runs_without_a_mesh_is_joined_split_and_opened_without_a_failed_request(
    full: Embedded, bookinfo: Stack, shop: Example
) -> None:
    cluster = full.cluster.name
    wanted = cast("dict[str, Setting]", stackfile.configuration(shop.stack))
    # In the mesh, but not restarted: callers from outside reach pods that have no sidecar.
    joined: dict[str, Setting] = {"meshup:namespaces": {"shop": {}, "default": {}}}
    configure(bookinfo, {key: wanted[key] for key in ("meshup:gateways", "meshup:traffic")} | joined)
    bookinfo.up()
    assert list(containers(full, "shop").values()) == [{"web"}] * 4
    assert list(containers(full, "default").values()) == [{"greeter"}] * 2
    outputs = cast("dict[str, Any]", bookinfo.outputs())
    splits = traffic.splits(outputs["trafficSplits"], outputs["gateways"])
    web = next(split for split in splits if split.service == "web")
    assert web.edge is not None
    assert web.weights == {"v1": 95, "v2": 5}

    configure(bookinfo, {"meshup:namespaces": {name: {"restart": True} for name in ("shop", "default")}})
    source = traffic.find_pod(cluster, "bookinfo", {"app": "productpage"})
    with (
        traffic.continuous(cluster, None, traffic.edge_request(web.edge, shop.authority)) as outside,
        traffic.continuous(cluster, source, Request("default", "greeter")) as inside,
    ):
        bookinfo.up()
    for (outcome,) in (outside, inside):
        assert outcome.requests > 0
        assert outcome.failed == 0, outcome.failures
    with_sidecar = containers(full, "shop") | containers(full, "default")
    assert len(with_sidecar) == 6
    assert all("istio-proxy" in names for names in with_sidecar.values())
    assert holds(traffic.measure(cluster, web, REQUESTS, authority=shop.authority))
    bookinfo.run(["preview", "--expect-no-changes"], quiet=True)


def let_go(full: Embedded, namespace: str, labels: Mapping[str, str], container: str, pods: int) -> set[str]:
    """Assert that a namespace has its own labels only, and that so many pods run without a sidecar. Returns these."""
    found = json.loads(kubectl(full, "get", "namespace", namespace, "-o", "json"))["metadata"]
    assert found["labels"] == {**labels, "kubernetes.io/metadata.name": namespace}
    for workload in kubectl(full, "get", "deployments", "--namespace", namespace, "-o", "name").split():
        kubectl(full, "rollout", "status", workload, "--namespace", namespace)
    running = containers(full, namespace)
    assert list(running.values()) == [{container}] * pods
    return set(running)


def test_destroyed_killed_on_the_way_and_brought_up_again_it_converges(
    full: Embedded, bookinfo: Stack, shop: Example, tmp_path: Path
) -> None:
    bookinfo.run(["destroy", "--yes", "--skip-preview"], quiet=True)
    webs = let_go(full, shop.name, {"team": "storefront"}, "web", 4)
    let_go(full, "default", {}, "greeter", 2)
    web = next(pod for pod in registry.running(registry.pods_folder(full.cluster.name), shop.name) if pod.name in webs)
    assert traffic.send(full.cluster.name, web, Request("default", "greeter"), 20).failed == 0
    configure(bookinfo, PLAIN)
    kinds = "namespace,clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration"
    left = kubectl(full, "get", kinds, "-o", "name")
    assert not re.search(r"istio|bookinfo", left), left

    moments = MOMENTS if nightly() else MOMENTS[1::2]
    killed = 0
    for number, moment in enumerate(moments):
        killed += killed_up(bookinfo, moment, tmp_path / f"{number}.log")
        bookinfo.recover()
    assert killed > len(moments) / 2, "the moments must be met, or nothing is proved"

    bookinfo.up()
    bookinfo.run(["preview", "--expect-no-changes"], quiet=True)
    assert holds(measured(full, bookinfo))


def test_a_second_run_at_once_is_refused_and_says_who_works(bookinfo: Stack) -> None:
    argv = bookinfo.wrap(["pulumi", "--non-interactive", "refresh", "--yes", "--skip-preview"])
    first = subprocess.Popen(argv, cwd=bookinfo.project, env=bookinfo.env(), stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    try:
        first.stdout.readline()
        with pytest.raises(StackError, match=f"pid {first.pid} "):
            bookinfo.up()
    finally:
        first.communicate()
    assert first.returncode == 0
