"""`devcluster observe`: Prometheus with the rules of the cluster's stack, and Zipkin, until Ctrl-C."""

import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from rich.console import Console

from devcluster import arguments, paths, stackfile
from devcluster.cluster import ClusterError
from devcluster.embedded import Embedded
from devcluster.observability import servers
from devcluster.progress import Progress
from devcluster.stack import Stack, StackError

_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "meshup:prometheus": {"metrics": "envoy"},
    "meshup:tracing": {
        "collector": {
            "service": "zipkin",
            "namespace": "zipkin",
            "port": servers.ZIPKIN_PORT,
            "protocol": "zipkin",
        },
        "sampling": 100,
    },
}
"""What a stack needs so that the proxies of the embedded cluster count and trace."""


def run(embedded: Embedded, *, prometheus: int, zipkin: int, console: Console) -> None:
    """Run both servers until they are interrupted.

    Args:
        embedded: The cluster, which is up, with its stack.
        prometheus: The port of this machine for Prometheus.
        zipkin: The port for Zipkin.
        console: Where to say how they are reached.

    Raises:
        ClusterError: A server does not become ready, or the API refuses Zipkin's Service.
        StackError: The rules can't be had from the stack.
        OSError: A port is taken.
    """
    if not embedded.cluster.runs_pods:
        raise ClusterError(f"There are no proxies to observe: {embedded.cluster.reason}.")
    stack = embedded.stack
    with Progress() as progress:
        embedded.toolbox.ensure(["prometheus", "zipkin"], progress)
        with progress.step("rules and scrape jobs"):
            rules, jobs = printed(stack), printed(stack, "--jobs")
        _apply(embedded, servers.zipkin_objects("zipkin"))
    with (
        tempfile.TemporaryDirectory(prefix="meshup-observe-") as folder,
        servers.zipkin(embedded, Path(folder), local=zipkin) as traces,
        servers.prometheus(
            embedded, Path(folder), jobs=jobs["scrape_configs"], rules=rules, local=prometheus
        ) as metrics,
    ):
        for line in (f"Prometheus  {metrics}", f"Zipkin      {traces}/zipkin/", *missing(stack)):
            console.print(line, markup=False, soft_wrap=True)
        console.print("Ctrl-C ends both. Then what they have seen is gone.")
        threading.Event().wait()


def printed(stack: Stack, *more: str) -> dict[str, Any]:
    """Return what `meshup rules` prints for the proxies of the embedded cluster.

    Args:
        stack: The stack.
        more: Further arguments, such as `--jobs`.

    Raises:
        StackError: It fails; the message is its own.
    """
    command = [str(paths.repository() / "meshup"), "rules", "--stack", stack.name, "--metrics", "envoy", *more]
    done = subprocess.run(
        stack.wrap([*command, "--directory", str(stack.project)]),
        env=stack.shell_env(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"`meshup rules` fails:\n{done.stderr.strip()}")
    return cast("dict[str, Any]", yaml.safe_load(done.stdout))


def missing(stack: Stack) -> list[str]:
    """Return what to do so that the proxies count and trace; nothing if they do."""
    own = stackfile.configuration(stack.file.read_text())
    lacking = {key: value for key, value in _SETTINGS.items() if key not in own}
    if not lacking:
        return []
    lines = [f"  {key}: {json.dumps(value)}" for key, value in lacking.items()]
    restart = arguments.command_line("exec", stack.environment[paths.CLUSTER_VARIABLE], "-- kubectl rollout restart")
    return [
        f"Proxies tell more with these settings in {stack.file.name}:",
        *lines,
        f"`make up` applies them; pods count from their next start on: `{restart} deployment -n bookinfo`.",
    ]


def _apply(embedded: Embedded, objects: list[dict[str, Any]]) -> None:
    command = embedded.cluster.exec_argv(["kubectl", "apply", "--filename", "-"])
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    done = subprocess.run(command, input=text, env=embedded.environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"kubectl apply: {done.stderr.strip()}")
