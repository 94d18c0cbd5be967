"""The command line of the embedded cluster: `python3 -m devcluster`."""

import argparse
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from devcluster import arguments, example, paths, traffic
from devcluster.artefacts import ToolError
from devcluster.bench import command as bench
from devcluster.catalogue import ON_DEMAND
from devcluster.cluster import ClusterError, Status
from devcluster.embedded import Embedded
from devcluster.observability import command as observing
from devcluster.observability.servers import PROMETHEUS_PORT, ZIPKIN_PORT
from devcluster.progress import Progress
from devcluster.stack import StackError, run_in_foreground
from devcluster.toolchain import Toolbox
from devcluster.traffic import TrafficError

_FAILED = 1
_MISUSE = 2
_NOT_FOUND = 127
_INTERRUPTED = 130

_MOST_REQUESTS = 10_000_000
"""Some hours of requests; and the exact test of so many takes seconds."""


def next_steps(name: str, service: str = "reviews") -> str:
    """Return what to try after `up`, with the commands for this cluster and the split of a Service."""
    key = f"meshup:traffic.{service}.split.{{}}"
    change = arguments.command_line("exec", name, f"-- pulumi config set --path '{key}' 50")
    steps = [
        ("change the split", change.format("v1")),
        ("", change.format("v2")),
        ("", arguments.make_line("up", name)),
        ("measure it again", arguments.make_line("traffic", name)),
        ("look around", f"{arguments.make_line('shell', name)}, then: kubectl get pods -A, pulumi stack output"),
        ("end it", arguments.make_line("down", name)),
    ]
    return "\n".join(["What to try next:", *(f"  {what:<22}{command}" for what, command in steps)])


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 misused, 130 interrupted."""
    options = _parser().parse_args(argv)
    errors = Console(stderr=True, highlight=False)
    try:
        paths.checked_name(getattr(options, "name", paths.DEFAULT_CLUSTER))
    except ValueError as error:
        errors.print(str(error), markup=False, soft_wrap=True)
        return _MISUSE
    try:
        return options.run(options)
    except (ToolError, ClusterError, StackError, TrafficError) as error:
        errors.print(f"[red]{options.command}:[/red]", end=" ")
        errors.print(str(error), markup=False, soft_wrap=True)
        return _FAILED
    except KeyboardInterrupt:
        errors.print(f"{options.command}: interrupted; the same command takes it up again.")
        return _INTERRUPTED


def up(options: argparse.Namespace) -> int:
    """Bring up the cluster and the stack, show the declared and the measured split."""
    console = Console(highlight=False)
    embedded = Embedded(options.name)
    with Progress() as progress:
        embedded.toolbox.ensure(progress=progress)
        embedded.cluster.up(embedded.toolbox, progress)
        if chosen := embedded.choose(options.example) if options.example else embedded.example:
            chosen.bring_up(embedded.cluster, embedded.environment(), progress)
        stack = embedded.stack
        with progress.step("Pulumi stack") as step:
            embedded.prepare(stack)
            step.remark = f"{stack.name}, configured in {stack.file.name}"
    stack.up()
    outputs = stack.outputs()
    console.print("\n[bold]Stack output trafficSplits[/bold]")
    console.print_json(data=outputs.get("trafficSplits"))
    others = ", ".join(sorted(outputs.keys() - {"trafficSplits"}))
    print(
        f"There are also {others}: `{arguments.make_line('shell', options.name)}`, then `pulumi stack output --json`."
    )
    code = 0
    if embedded.cluster.mode != "full":
        print(
            "\nEverything was declared, and accepted by the API. Injection and the measured split need network "
            f"namespaces, which are not used here: {embedded.cluster.reason}."
        )
    elif outputs.get("trafficSplits"):
        console.print("\n[bold]Measured split[/bold]")
        code = traffic.run(
            options.name,
            outputs,
            requests=options.requests,
            authority=options.authority or embedded.authority,
            console=console,
        )
    print(f"\n{next_steps(options.name, 'web' if chosen else 'reviews')}")
    return code


def down(options: argparse.Namespace) -> int:
    """End the cluster; its stack's state goes with it, its configuration file stays."""
    embedded = Embedded(options.name)
    with Progress() as progress, progress.step(f"end the cluster {options.name}") as step:
        if not embedded.cluster.directory.exists():
            step.remark = "it was not up"
        embedded.down(progress)
    return 0


def status(options: argparse.Namespace) -> int:
    """Show what runs; exit code 1 when the cluster is not ready."""
    console = Console(highlight=False)
    found = Embedded(options.name).cluster.status()
    if options.json:
        console.print_json(json.dumps(dataclasses.asdict(found), default=str), ensure_ascii=True)
    else:
        _show(found, console)
    return 0 if found.ready else _FAILED


def execute(options: argparse.Namespace) -> int:
    """Run a command where the cluster can be reached, with its tools, its kubeconfig and its stack."""
    command: list[str] = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not command:
        example = arguments.command_line("exec", options.name, "-- kubectl get pods -A")
        print(f"exec: name a command, for example `{example}`.", file=sys.stderr)
        return _MISUSE
    return _run_inside(Embedded(options.name), command)


def shell(options: argparse.Namespace) -> int:
    """Open the user's shell, as `exec` would."""
    return _run_inside(Embedded(options.name), [os.environ.get("SHELL") or "/bin/sh"], interactive=True)


def measure(options: argparse.Namespace) -> int:
    """Count requests through a sidecar; exit code 1 when a split does not hold."""
    embedded = Embedded(options.name)
    if embedded.cluster.mode != "full":
        raise TrafficError(f"No pod runs here, so nothing can be measured: {embedded.cluster.reason}.")
    embedded.toolbox.ensure()
    return traffic.run(
        options.name,
        embedded.stack.outputs(),
        requests=options.requests,
        authority=options.authority or embedded.authority,
        as_json=options.json,
        console=Console(highlight=False),
    )


def observe(options: argparse.Namespace) -> int:
    """Run Prometheus and Zipkin beside the cluster until Ctrl-C."""
    try:
        observing.run(
            Embedded(options.name),
            prometheus=options.prometheus,
            zipkin=options.zipkin,
            console=Console(highlight=False),
        )
    except OSError as error:
        raise ClusterError(str(error)) from error
    return 0


def tools(options: argparse.Namespace) -> int:
    """Find or build the tools; all that `up` needs, or those that are named."""
    toolbox = Toolbox()
    with Progress() as progress:
        if options.tool:
            toolbox.ensure(options.tool, progress)
        else:
            toolbox.ensure(progress=progress)
    print(f"The tools are ready in {toolbox.cache}.")
    return 0


def venv(_: argparse.Namespace) -> int:
    """Do nothing: the bootstrap has made the environment (devcluster/bootstrap.py)."""
    return 0


def _run_inside(embedded: Embedded, command: Sequence[str], *, interactive: bool = False) -> int:
    # First, because nothing needs building for a cluster that is not up.
    argv = embedded.cluster.exec_argv(command)
    embedded.toolbox.ensure()
    if command[0] in ON_DEMAND:
        embedded.toolbox.ensure([command[0]])
    embedded.toolbox.find(ON_DEMAND)
    environment = embedded.stack.shell_env() if interactive else embedded.stack.env()
    if shutil.which(command[0], path=environment["PATH"]) is None:
        print(f"exec: there is no command {command[0]!r}", file=sys.stderr)
        return _NOT_FOUND
    if interactive:
        print("kubectl, helm and pulumi work on this cluster here; `exit` leaves.", flush=True)
    return run_in_foreground(argv, Path.cwd(), environment)


def _show(found: Status, console: Console) -> None:
    if not found.exists:
        start = arguments.make_line("up", found.name)
        console.print(f"The cluster {found.name} is not up. `{start}` starts it.", markup=False, soft_wrap=True)
        return
    state = "[green]ready[/green]" if found.ready else "[red]not ready[/red]"
    console.print(f"Cluster [bold]{found.name}[/bold]: {state}, mode {found.mode}")
    for remark in (found.reason, found.fault):
        if remark:
            console.print(remark, markup=False)
    table = Table("process", "pid", "", "log", box=None, pad_edge=False)
    for process in found.processes:
        table.add_row(process.role, str(process.pid), "runs" if process.alive else "ended", str(process.log))
    console.print(table)
    for node, obstacle in found.nodes.items():
        console.print(f"node {node}: {obstacle or 'ready'}", markup=False)
    if found.pods:
        console.print("pods: " + ", ".join(f"{count} {phase}" for phase, count in found.pods.items()))
    inside = arguments.command_line("exec", found.name)
    console.print(f"kubeconfig: {found.kubeconfig} (inside `{inside}`)", markup=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m devcluster",
        description="A real Kubernetes API, istiod and Envoy on this machine, without Docker.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def named(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = command(name, run, text)
        variable = paths.CLUSTER_VARIABLE
        added.add_argument(
            "--name",
            default=paths.cluster_name(),
            help=f"the cluster; {variable} sets it too (default: {paths.DEFAULT_CLUSTER})",
        )
        return added

    upper = named("up", up, "cluster, Istio, Bookinfo and the split, measured")
    upper.add_argument(
        "--example",
        choices=example.names(),
        help="first an application that runs without a mesh, by kubectl; then join, split and open it",
    )
    named("down", down, "end the cluster and forget its stack")
    named("status", status, "what runs").add_argument("--json", action="store_true", help="for programs")
    executor = named("exec", execute, "run a command where the cluster can be reached")
    executor.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    named("shell", shell, "a shell with the tools, the kubeconfig and the stack of the cluster")
    measurer = named("traffic", measure, "count requests through a sidecar, against the declared split")
    measurer.add_argument("--json", action="store_true", help="for pipelines")
    for added in (upper, measurer):
        added.add_argument(
            "--authority",
            type=Path,
            metavar="FILE",
            help="certificates, PEM, by which a gateway's own is checked (default: the example's)",
        )
        added.add_argument(
            "--requests",
            type=arguments.count(_MOST_REQUESTS),
            default=traffic.REQUESTS,
            help=f"how many, at most {_MOST_REQUESTS} (default: %(default)s)",
        )
    observer = named("observe", observe, "Prometheus with the rules of the stack, and Zipkin, until Ctrl-C")
    for name, port in (("prometheus", PROMETHEUS_PORT), ("zipkin", ZIPKIN_PORT)):
        observer.add_argument(f"--{name}", type=int, default=port, metavar="PORT", help="where (default: %(default)s)")
    builder = command("tools", tools, "find or build every tool of the embedded cluster")
    builder.add_argument("tool", nargs="*", help="only these, for example istioctl")
    bencher = command("bench", bench.run, "measure `up` and `preview`, as ratios")
    bench.add_options(bencher)
    command("venv", venv, "make the virtual environment and nothing else")
    return parser
