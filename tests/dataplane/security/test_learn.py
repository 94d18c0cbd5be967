"""What real Envoys have counted: it becomes the allow list of `meshup security learn`, and nothing else; and it is what
`meshup watch` shows.
"""

import json
import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.apps import bookinfo as application
from components.meshes.istio.metrics import KEPT_STATISTICS
from components.security.world import Call
from devcluster import paths, traffic
from devcluster.embedded import Embedded
from devcluster.kubelet import registry
from devcluster.stack import Stack
from tests.dataplane.test_make_up import declared, kubectl
from tests.dataplane.traffic import request_batch
from tests.dataplane.traffic.bench import until
from tests.dataplane.traffic.request_batch import Sent

pytestmark = [pytest.mark.cluster, pytest.mark.dataplane, pytest.mark.nightly]

NAMESPACE, PORT, TIMES = "bookinfo", 9080, 3
CALLERS = ("productpage-v1", "reviews-v2")
# An Envoy keeps no counters of clusters unless it is told to (docs/security.md).
COUNTED = yaml.safe_dump({"proxyStatsMatcher": {"inclusionRegexps": list(KEPT_STATISTICS)}})
CALLS = [call for call in application.calls() if call.caller]


def annotate(full: Embedded, value: str | None) -> None:
    """Have the callers' proxies count, or not any more. Their pods are made anew."""
    annotations = {"metadata": {"annotations": {"proxy.istio.io/config": value}}}
    for name in CALLERS:
        patch = json.dumps({"spec": {"template": annotations}})
        kubectl(full, "--namespace", NAMESPACE, "patch", "deployment", name, "--type", "merge", "--patch", patch)
    for name in CALLERS:
        kubectl(full, "--namespace", NAMESPACE, "rollout", "status", f"deployment/{name}", "--timeout", "5m")
        app, _, version = name.partition("-")
        # The pod before counts nothing, or has counted for another test.
        until(partial(is_alone, full, app, version))


def labels(app: str, version: str) -> dict[str, str]:
    return {"app": app, "version": version}


def is_alone(full: Embedded, app: str, version: str) -> bool:
    return len(registry.running(folder(full), NAMESPACE, labels(app, version))) == 1


def folder(full: Embedded) -> Path:
    return registry.pods_folder(full.cluster.name)


@pytest.fixture
def counting(full: Embedded, bookinfo: Stack) -> Iterator[Stack]:
    annotate(full, COUNTED)
    yield bookinfo
    annotate(full, None)


def call(full: Embedded, calls: Sequence[Call]) -> None:
    """Make calls of the application, from the pods that make them, through their sidecars."""
    for one in calls:
        assert one.caller
        app = one.caller.name.removeprefix("bookinfo-")
        pod = traffic.find_pod(full.cluster.name, NAMESPACE, labels(app, "v2" if app == "reviews" else "v1"))
        address = registry.service(folder(full), NAMESPACE, one.service).address
        requests = [Sent(f"{one.service}:{PORT}", one.example, one.method)] * TIMES
        assert {answer.status for answer in request_batch.send(pod.enter_argv, address, PORT, requests)} == {200}


def learned(full: Embedded, stack: Stack) -> str:
    argv = [str(paths.repository() / "meshup"), "security", "learn", "--stack", "test", "--namespace", NAMESPACE]
    done = subprocess.run(
        full.cluster.exec_argv([*argv, "--directory", str(stack.file.parent)]),
        env=stack.shell_env(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_proposal_has_the_edges_that_were_called_and_marks_the_others(full: Embedded, counting: Stack) -> None:
    forgotten = next(one for one in CALLS if one.note and one.service == "ratings")
    made = [one for one in CALLS if one != forgotten]
    assert len({(one.caller, one.service) for one in made}) == 3
    call(full, made)
    said = learned(full, counting)
    proposal = yaml.safe_load(said)["meshup:security"]
    assert proposal["namespaces"] == {NAMESPACE: {"default": "deny"}}
    edges = {
        (source["serviceAccount"], service)
        for service, rules in proposal["allow"].items()
        for rule in rules
        for source in rule["from"]
    }
    assert edges == {(one.caller.name, one.service) for one in made if one.caller}
    assert f"# not seen: {forgotten.caller} -> {NAMESPACE}/ratings:{PORT} GET" in said

    call(full, [forgotten])
    said = learned(full, counting)
    ratings = yaml.safe_load(said)["meshup:security"]["allow"]["ratings"]
    assert ratings == [{"from": [{"serviceAccount": "bookinfo-productpage"}, {"serviceAccount": "bookinfo-reviews"}]}]


def test_watch_and_top_show_the_shares_that_were_counted(full: Embedded, counting: Stack) -> None:
    with following(full, counting, "watch", "reviews") as watch, following(full, counting, "top") as top:
        # What was sent before the first look is in no sample, and all that follows is in those of the next minute.
        before = [next(watch), next(top)]
        result = traffic.measure(full.cluster.name, declared(counting), 600)
        counts = {share.backend: share.count for share in result.shares}
        # Envoy adds to its histograms every five seconds only.
        watched = until_counted(watch, lambda one: one["p99Milliseconds"] and one["splits"][0]["requests"], 600)
        shown = until_counted(top, lambda one: reviews(one)["requests"], 600)
    assert [before[0]["requests"], reviews(before[1])["requests"]] == [0, 0]
    (split,) = watched["splits"]
    assert {one["version"]: one["requests"] for one in split["versions"]} == counts
    assert {one["version"]: one["measured"]["share"] for one in split["versions"]} == {
        share.backend: share.observed for share in result.shares
    }
    assert {one["version"]: (one["measured"]["low"], one["measured"]["high"]) for one in split["versions"]} == {
        share.backend: (share.low, share.high) for share in result.shares
    }
    assert split["holds"] is result.holds
    assert {one["version"]: one["requests"] for one in reviews(shown)["versions"]} == counts
    assert (watched["success"], watched["notes"]) == (1, [])


def reviews(sample: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in sample["services"] if one["service"] == "reviews")


def until_counted(
    samples: Iterator[dict[str, Any]], count: Callable[[dict[str, Any]], int | None], wanted: int
) -> dict[str, Any]:
    """Return the first sample that has all requests. They leave after a minute: then none comes."""
    return next(sample for sample in islice(samples, 40) if (count(sample) or 0) >= wanted)


@contextmanager
def following(full: Embedded, stack: Stack, *command: str) -> Generator[Iterator[dict[str, Any]]]:
    """Run a command of meshup that goes on, and yield its documents."""
    argv = [str(paths.repository() / "meshup"), *command, "--proxies", "--output", "json", "--interval", "1"]
    process = subprocess.Popen(
        full.cluster.exec_argv([*argv, "--stack", "test", "--directory", str(stack.file.parent)]),
        env=stack.shell_env(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        yield map(json.loads, process.stdout)
    finally:
        process.terminate()
        process.wait()
