"""The servers as processes in the network namespace of an embedded cluster, for as long as somebody wants them."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from devcluster import netns
from devcluster.cluster import ClusterError
from devcluster.embedded import Embedded
from devcluster.observability import discovery
from devcluster.observability.forward import forwarded

PROMETHEUS_PORT = 9090
ZIPKIN_PORT = 9411
_TARGETS = "targets-{}.json"
_READY_SECONDS = 120.0
_DISCOVERY_SECONDS = 5.0
_LOG_LINES = 15


def configuration(jobs: Sequence[Mapping[str, Any]], rules: str, interval: str) -> dict[str, Any]:
    """Return the configuration of a Prometheus for jobs that discover pods.

    Args:
        jobs: The scrape jobs, with `kubernetes_sd_configs`.
        rules: The name of the file of rules.
        interval: How often it scrapes, such as `15s`.
    """
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": "15s"},
        "rule_files": [rules],
        "scrape_configs": [discovery.with_files(job, _TARGETS.format(job["job_name"])) for job in jobs],
    }


@contextlib.contextmanager
def prometheus(
    embedded: Embedded,
    folder: Path,
    *,
    jobs: Sequence[Mapping[str, Any]],
    rules: Mapping[str, Any],
    interval: str = "15s",
    local: int = 0,
) -> Generator[str]:
    """Run a Prometheus that scrapes the pods of a cluster, while the body of the `with` statement runs.

    Args:
        embedded: The cluster, which is up, with the tool `prometheus`.
        folder: An empty folder, for its configuration, targets, series and log.
        jobs: The scrape jobs, as `meshup rules --jobs` has them.
        rules: The rules, as `meshup rules` has them.
        interval: How often it scrapes.
        local: The port of this machine that leads to it; 0 for any that is free.

    Yields:
        Its URL, from outside of the cluster.

    Raises:
        ClusterError: It does not become ready.
    """
    (folder / "rules.yml").write_text(yaml.safe_dump(dict(rules), sort_keys=False))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(jobs, "rules.yml", interval), sort_keys=False))
    discover(embedded, folder, jobs)
    command = [
        str(embedded.toolbox.path("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}",
    ]
    stop = threading.Event()
    watch = threading.Thread(target=_keep_discovering, args=(embedded, folder, jobs, stop), daemon=True)
    with (
        _process(embedded, command, folder / "prometheus.log") as process,
        forwarded(embedded.cluster, "127.0.0.1", PROMETHEUS_PORT, local) as url,
    ):
        _until_ready(f"{url}/-/ready", process, folder / "prometheus.log")
        watch.start()
        try:
            yield url
        finally:
            stop.set()
            watch.join()


@contextlib.contextmanager
def zipkin(embedded: Embedded, folder: Path, *, local: int = 0) -> Generator[str]:
    """Run a Zipkin, with what it gets in memory, while the body of the `with` statement runs.

    Pods reach it at `netns.GATEWAY`, port `ZIPKIN_PORT`; `zipkin_objects` makes a Service of it.

    Args:
        embedded: The cluster, which is up, with the tool `zipkin`.
        folder: For its log.
        local: The port of this machine that leads to it; 0 for any that is free.

    Yields:
        Its URL, from outside of the cluster.

    Raises:
        ClusterError: It does not become ready.
    """
    variables = {"QUERY_PORT": str(ZIPKIN_PORT), "STORAGE_TYPE": "mem", "MEM_MAX_SPANS": "100000"}
    command = [str(embedded.toolbox.path("zipkin"))]
    with (
        _process(embedded, command, folder / "zipkin.log", variables) as process,
        forwarded(embedded.cluster, netns.GATEWAY, ZIPKIN_PORT, local) as url,
    ):
        _until_ready(f"{url}/health", process, folder / "zipkin.log")
        yield url


def zipkin_objects(namespace: str) -> list[dict[str, Any]]:
    """Return a namespace with the Service `zipkin` in it, whose only endpoint is the server of `zipkin`."""
    place = {"name": "zipkin", "namespace": namespace}
    port = {"name": "http-query", "port": ZIPKIN_PORT}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": {"ports": [port]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**place, "labels": {"kubernetes.io/service-name": "zipkin"}},
            "addressType": "IPv4",
            "ports": [port],
            "endpoints": [{"addresses": [netns.GATEWAY], "conditions": {"ready": True}}],
        },
    ]


def discover(embedded: Embedded, folder: Path, jobs: Sequence[Mapping[str, Any]]) -> None:
    """Write the targets of each job into a file of its own, as the pods are now.

    Raises:
        ClusterError: The API does not answer.
    """
    command = embedded.cluster.exec_argv(["kubectl", "get", "pods", "--all-namespaces", "--output", "json"])
    done = subprocess.run(command, env=embedded.environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"The pods can't be listed: {done.stderr.strip()}")
    pods: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    for job in jobs:
        names = discovery.namespaces(job)
        found = [pod for pod in pods if not names or pod["metadata"]["namespace"] in names]
        file = folder / _TARGETS.format(job["job_name"])
        text = json.dumps(discovery.targets(found))
        if not file.exists() or file.read_text() != text:
            # Prometheus reads a file as soon as it changes, and must not see half of it.
            partial = file.with_suffix(".partial")
            partial.write_text(text)
            partial.rename(file)


def _keep_discovering(
    embedded: Embedded, folder: Path, jobs: Sequence[Mapping[str, Any]], stop: threading.Event
) -> None:
    while not stop.wait(_DISCOVERY_SECONDS):
        # The targets that were there stay, as with any discovery whose API is away.
        with contextlib.suppress(ClusterError):
            discover(embedded, folder, jobs)


@contextlib.contextmanager
def _process(
    embedded: Embedded, command: Sequence[str], log: Path, variables: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run a command inside of the cluster, in a process group of its own, which is ended as a whole."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            embedded.cluster.exec_argv(command),
            env={**embedded.environment(), **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
                break


def _until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=10):  # noqa: S310 - it is http
            return
        time.sleep(0.1)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    raise ClusterError(f"{log.stem} does not become ready; its last lines, of {log}:\n{last}")
