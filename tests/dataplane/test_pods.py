"""Pods that are real processes: they come, fail, restart and go as on any node, and tests can tell them what to do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil
import pytest

from devcluster import traffic
from devcluster.cluster import KUBELET
from devcluster.embedded import Embedded
from devcluster.kubelet import registry
from devcluster.kubelet.registry import RunningPod
from devcluster.progress import Progress
from devcluster.stack import Stack
from devcluster.traffic import Outcome, Request
from devcluster.workload import ADMIN_PORT

pytestmark = [pytest.mark.dataplane, pytest.mark.usefixtures("bookinfo")]

T = TypeVar("T")

# Only ends a test that would hang: no machine is so busy.
SECONDS = 600.0
RATINGS = Request("bookinfo", "ratings")

_ASK = """
import sys, urllib.request
method, url, body = sys.argv[1:]
request = urllib.request.Request(url, body.encode() or None, method=method)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def until(ask: Callable[[], T]) -> T:
    end = time.monotonic() + SECONDS
    while not (answer := ask()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return answer


def kubectl(full: Embedded, *arguments: str, text: str = "") -> str:
    argv = full.cluster.exec_argv(["kubectl", *arguments])
    done = subprocess.run(argv, env=full.environment(), input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pods(full: Embedded, namespace: str = "bookinfo", **labels: str) -> list[RunningPod]:
    return registry.running(registry.pods_folder(full.cluster.name), namespace, labels)


def reported(full: Embedded, pod: str, namespace: str = "bookinfo") -> dict[str, Any]:
    return json.loads(kubectl(full, "get", "pod", pod, "-n", namespace, "-o", "json"))["status"]


def ready(full: Embedded) -> bool:
    listed = json.loads(kubectl(full, "get", "pods", "-n", "bookinfo", "-o", "json"))["items"]
    conditions = [c for pod in listed for c in pod["status"].get("conditions", []) if c["type"] == "Ready"]
    return len(conditions) == len(listed) and all(c["status"] == "True" for c in conditions)


def asked(pod: RunningPod, method: str, url: str, body: str = "") -> "subprocess.CompletedProcess[str]":
    """Send a request from inside a pod."""
    argv = pod.enter_argv([sys.executable, "-c", _ASK, method, url, body])
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def admin(pod: RunningPod, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    done = asked(pod, method, f"http://127.0.0.1:{ADMIN_PORT}{path}", json.dumps(body) if body else "")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def workload_process(pod: RunningPod) -> psutil.Process:
    children = psutil.Process(pod.pid).children()
    return next(child for child in children if "/opt/meshup/workload.py" in child.cmdline())


def sent(full: Embedded, request: Request, requests: int) -> Outcome:
    source = traffic.find_pod(full.cluster.name, "bookinfo", {"app": "productpage"})
    return traffic.send(full.cluster.name, source, request, requests)


@pytest.fixture
def apply(full: Embedded, tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Put objects into the cluster, and take them away after the test."""
    files: list[Path] = []

    def do(item: dict[str, Any]) -> None:
        file = tmp_path / f"{len(files)}.json"
        file.write_text(json.dumps(item))
        kubectl(full, "apply", "-f", str(file))
        files.append(file)

    yield do
    for file in reversed(files):
        kubectl(full, "delete", "-f", str(file))


def virtual_service(host: str, *routes: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": f"test-{host}", "namespace": "bookinfo"},
        "spec": {"hosts": [host], "http": list(routes)},
    }


def to(host: str) -> list[dict[str, Any]]:
    return [{"destination": {"host": host}}]


def test_a_deployment_is_replaced_without_a_failed_request(full: Embedded) -> None:
    (before,) = pods(full, app="ratings")
    source = traffic.find_pod(full.cluster.name, "bookinfo", {"app": "productpage"})
    with traffic.continuous(full.cluster.name, source, RATINGS) as meanwhile:
        kubectl(full, "rollout", "restart", "deployment/ratings-v1", "-n", "bookinfo")
        kubectl(full, "rollout", "status", "deployment/ratings-v1", "-n", "bookinfo", f"--timeout={SECONDS}s")
        until(lambda: before.name not in {pod.name for pod in pods(full, app="ratings")})
    assert meanwhile[0].requests > 0
    assert meanwhile[0].failed == 0, meanwhile[0].failures
    (after,) = pods(full, app="ratings")
    assert after.address != before.address
    assert not psutil.pid_exists(before.pid)
    assert not before.folder.exists()


def test_a_workload_that_dies_is_started_again_and_counted(full: Embedded) -> None:
    (pod,) = pods(full, app="details")
    workload_process(pod).kill()

    def restarted() -> dict[str, Any] | None:
        status = reported(full, pod.name)
        entry = next(c for c in status["containerStatuses"] if c["name"] == "details")
        return entry if entry["restartCount"] == 1 and entry["ready"] else None

    entry = cast("dict[str, Any]", until(restarted))
    assert entry["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGKILL
    until(lambda: ready(full))
    assert sent(full, Request("bookinfo", "details"), 20).failed == 0


def test_nothing_survives_a_killed_kubelet_and_up_brings_the_pods_back(full: Embedded) -> None:
    before = pods(full)
    processes = [child for pod in before for child in psutil.Process(pod.pid).children(recursive=True)]
    assert len(processes) > 2 * len(before)
    status = next(p for p in full.cluster.status().processes if p.role == KUBELET)
    os.kill(status.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=SECONDS)
    assert not alive
    with Progress() as progress:
        full.cluster.up(full.toolbox, progress)
    until(lambda: len(pods(full)) == len(before) and ready(full))
    assert {pod.address for pod in pods(full)} == {pod.address for pod in before}
    assert sent(full, RATINGS, 100).failed == 0


def test_a_plain_pod_runs_outside_the_mesh_and_strict_mutual_tls_refuses_it(
    full: Embedded, apply: Callable[[dict[str, Any]], None]
) -> None:
    metadata = {
        "name": "plain",
        "namespace": "default",
        "labels": {"app": "plain"},
        "annotations": {"devcluster.meshup/run": "true"},
    }
    containers = [{"name": "plain", "image": "plain", "ports": [{"containerPort": 8080}]}]
    apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}})
    kubectl(full, "wait", "pod/plain", "-n", "default", "--for=condition=Ready", f"--timeout={SECONDS}s")
    (plain,) = pods(full, "default", app="plain")
    itself = asked(plain, "GET", "http://127.0.0.1:8080/")
    assert json.loads(itself.stdout)["pod"] == "plain"
    reviews = registry.service(registry.pods_folder(full.cluster.name), "bookinfo", "reviews")
    refused = asked(plain, "GET", f"http://{reviews.address}:9080/")
    assert refused.returncode != 0
    assert "reset" in refused.stderr.lower() or "RemoteDisconnected" in refused.stderr, refused.stderr


def test_the_caller_of_a_meshed_request_is_known_by_its_certificate(full: Embedded) -> None:
    source = traffic.find_pod(full.cluster.name, "bookinfo", {"app": "productpage"})
    ratings = registry.service(registry.pods_folder(full.cluster.name), "bookinfo", "ratings")
    answer = json.loads(asked(source, "GET", f"http://{ratings.address}:9080/").stdout)
    assert "URI=spiffe://cluster.local/ns/bookinfo/sa/" in answer["headers"]["x-forwarded-client-cert"]


def test_a_request_can_ask_for_its_status_and_for_failing_attempts(
    full: Embedded, apply: Callable[[dict[str, Any]], None]
) -> None:
    teapot = sent(full, Request("bookinfo", "ratings", headers={"x-workload-status": "418"}), 10)
    assert dict(teapot.statuses) == {418: 10}
    failing = Request("bookinfo", "ratings", headers={"x-workload-fail-attempts": "2"})
    # By default Istio does not try a 503 again (pilot/pkg/networking/core/route/retry: defaultRetryOn).
    assert dict(sent(full, failing, 10).statuses) == {503: 10}
    apply(virtual_service("ratings", {"retries": {"attempts": 2, "retryOn": "5xx"}, "route": to("ratings")}))
    until(lambda: dict(sent(full, failing, 10).statuses) == {200: 10})
    hopeless = Request("bookinfo", "ratings", headers={"x-workload-fail-attempts": "3"})
    assert dict(sent(full, hopeless, 10).statuses) == {503: 10}


def test_a_process_can_be_told_to_fail_and_counts_what_it_sees(full: Embedded) -> None:
    (pod,) = pods(full, app="ratings")
    admin(pod, "DELETE", "/requests")
    admin(pod, "PUT", "/behaviour", {"status": 500})
    try:
        assert dict(sent(full, RATINGS, 25).statuses) == {500: 25}
    finally:
        admin(pod, "DELETE", "/behaviour")
    assert dict(sent(full, RATINGS, 25).statuses) == {200: 25}
    assert admin(pod, "GET", "/requests")["total"] == 50


def test_mirrored_requests_reach_the_mirror_and_are_told_apart_by_their_host(
    full: Embedded, apply: Callable[[dict[str, Any]], None]
) -> None:
    (details,) = pods(full, app="details")
    admin(details, "DELETE", "/requests")
    apply(virtual_service("ratings", {"route": to("ratings"), "mirror": {"host": "details"}}))

    def mirrored() -> int:
        assert dict(sent(full, RATINGS, 20).answers) == {("ratings", "v1"): 20}
        return sum(n for host, n in admin(details, "GET", "/requests")["byHost"].items() if "ratings" in host)

    # The route takes a moment to reach the sidecar.
    until(mirrored)


def test_an_injected_fault_and_a_timeout_are_envoys_own(
    full: Embedded, apply: Callable[[dict[str, Any]], None]
) -> None:
    abort = {"abort": {"httpStatus": 418, "percentage": {"value": 100}}}
    faulty = {"match": [{"headers": {"x-case": {"exact": "fault"}}}], "fault": abort, "route": to("ratings")}
    apply(virtual_service("ratings", faulty, {"timeout": "0.3s", "route": to("ratings")}))
    fault = Request("bookinfo", "ratings", headers={"x-case": "fault"})
    until(lambda: dict(sent(full, fault, 10).statuses) == {418: 10})
    # The workload would answer in the end, so it is Envoy that has ended them.
    slow = Request("bookinfo", "ratings", headers={"x-workload-delay": "60"}, timeout=120)
    assert dict(sent(full, slow, 3).statuses) == {504: 3}
    source = traffic.find_pod(full.cluster.name, "bookinfo", {"app": "productpage"})
    routes = asked(source, "GET", "http://127.0.0.1:15000/config_dump?resource=dynamic_route_configs").stdout
    assert '"timeout": "0.300s"' in routes
    assert sent(full, RATINGS, 10).failed == 0


def test_a_change_of_the_mesh_configuration_reaches_the_running_istiod(full: Embedded) -> None:
    (istiod,) = pods(full, "istio-system", app="istiod")
    # Asked from elsewhere it wants credentials.
    shown = "http://127.0.0.1:15014/debug/mesh"
    config_map = json.loads(kubectl(full, "get", "configmap", "istio", "-n", "istio-system", "-o", "json"))
    text = config_map["data"]["mesh"]

    def write(mesh: str) -> None:
        patch = json.dumps({"data": {"mesh": mesh}})
        kubectl(full, "patch", "configmap", "istio", "-n", "istio-system", "--type=merge", f"--patch={patch}")

    def active() -> dict[str, Any]:
        return json.loads(asked(istiod, "GET", shown).stdout)

    try:
        write(f"{text.rstrip()}\nconnectTimeout: 7s\n")
        until(lambda: active().get("connectTimeout") == "7s")
        # What a plain Envoy lacks stays out.
        assert not active()["defaultProviders"].get("metrics")
    finally:
        write(text)
    until(lambda: active().get("connectTimeout") != "7s")


def test_pulumi_still_finds_the_stack_as_it_left_it(bookinfo: Stack) -> None:
    bookinfo.run(["preview", "--expect-no-changes"], quiet=True)
