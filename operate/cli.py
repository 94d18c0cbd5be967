"""The one entry point of the `meshup` command. Each subcommand is a thin shell around pure functions."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from components.diagnostics import ConfigurationError, Diagnostic, errors, ordered, render
from components.meshes import MESHES
from components.observability.source import MetricsSource
from components.traffic.evaluate import Request, request_from
from components.traffic.model import Port, Service
from operate import access as accessing
from operate import adopt as adopting
from operate import callers, findings, graph, matrix, sampling, stackfile, top
from operate import discover as discovering
from operate import explain as explaining
from operate import gateways as entrances
from operate import health as healthy
from operate import learn as learning
from operate import preflight as flying
from operate import rules as measuring
from operate.discover import VERSION_LABELS
from operate.traffic import Compiled, compared, compiled, deciding
from stacks import gateways, settings

REFUSED = 1
"""Exit code when the configuration has a fault."""
USAGE = 2
"""Exit code when the command line or the files do not fit together."""

app = typer.Typer(
    help="Runs around `pulumi up`: explains and checks what a stack does with traffic.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
security = typer.Typer(help="Works on who may call whom.", no_args_is_help=True)
app.add_typer(security, name="security")


@app.command()
def explain(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERVICE|CODE]...", help="Routes, all if none; or codes."),
    ] = None,
    *,
    stack: Annotated[str, typer.Option(envvar="PULUMI_STACK", help="The stack; needed if there are several.")] = "",
    directory: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the project; else the nearest around the working directory, else meshup's own."
        ),
    ] = None,
    mesh: Annotated[str, typer.Option(help=f"Explain for this mesh instead: {' or '.join(MESHES)}.")] = "",
    path: Annotated[str, typer.Option(help="Decide a request: its path, with or without a query.")] = "",
    method: Annotated[str, typer.Option(help="Its method.")] = "GET",
    header: Annotated[list[str] | None, typer.Option(help="'Name: value'; repeatable.")] = None,
    query: Annotated[list[str] | None, typer.Option(help="'name=value'; repeatable.")] = None,
    host: Annotated[str, typer.Option(help="Decide a request from outside, for this host at the gateways.")] = "",
    source: Annotated[list[str] | None, typer.Option(help="'label=value' of the caller; repeatable.")] = None,
    source_namespace: Annotated[str, typer.Option(help="Namespace of the caller.")] = "",
    caller: Annotated[
        str,
        typer.Option("--from", help="May this account, NAMESPACE/WORKLOAD or gateway:NAME call the Service?"),
    ] = "",
    plain: Annotated[
        bool, typer.Option("--plain", help="The caller has no identity: it is outside of the mesh.")
    ] = False,
    address: Annotated[str, typer.Option(help="The address of the caller.")] = "",
    port: Annotated[str, typer.Option(help="The port of the Service, by number or name; all of them without.")] = "",
    jwt: Annotated[str, typer.Option(help="Claims of the caller's token: JSON, or a file with it.")] = "",
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="Compare with the stack's cluster; with --from, decide by its objects."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a stack does with requests, or what a code of a report means.

    Of routes: rule by rule, backends, policies, objects; and with a request, which rule takes it.
    With a caller: whether it may call the Service, by which rule and object, and what opens it.
    """
    words = names or []
    if any(map(explaining.is_code, words)):
        _explain_codes(words, as_json=as_json)
        return
    if caller or plain or address or port or jwt:
        host = entrances.host_of(host)
        request = _request(path or "/", method, header, query, (source, source_namespace))
        _, _, asked = _compiled(stack, directory, mesh, cluster=cluster)
        options = _Options(words, request or Request(), caller, plain, address, port, jwt, host)
        _explain_access(asked, options, as_json=as_json)
        return
    host = entrances.host_of(host)
    request = _request(path or ("/" if host else ""), method, header, query, (source, source_namespace))
    folder, name, asked = _compiled(stack, directory, mesh, cluster=cluster)
    found = asked.faults
    # A refused configuration may lack the very routes that are asked for.
    if not errors(found):
        found += explaining.unknown_routes(words, [plan.route.key for plan in asked.compilation.planned])
    listed = gateways.declared(asked.chosen, mesh)[0]
    found += entrances.unknown_host(listed, host) if host and not errors(found) else []
    compilation = asked.compilation
    if cluster and not errors(found):
        found += compared(asked, words)
        compilation = replace(compilation, diagnostics=ordered([*compilation.diagnostics, *found]))
    if errors(found):
        _report(found)
    try:
        explanation = explaining.explain(compilation, words, None if host else request, asked.proxy)
        if host and request:
            explanation["entry"] = {
                "host": host,
                "path": request.path,
                "listeners": entrances.decide(compilation, listed, host, request, asked.proxy),
                "notes": entrances.split_by(listed, mesh or asked.chosen.mesh),
            }
    except ConfigurationError as error:
        _report(error.diagnostics)
    if cluster:
        explanation["cluster"] = asked.chosen.cluster.context
    if as_json:
        sys.stdout.write(json.dumps(explanation, indent=2) + "\n")
    elif host:
        entrances.show(explanation["entry"], Console())
    elif explanation["routes"]:
        explaining.show(explanation, Console())
    else:
        print(f"The stack '{name}' declares no routes: set `meshup:traffic` in {stackfile.file_of(folder, name)}.")


class _Options(NamedTuple):
    """What the command line says of a call."""

    services: Sequence[str]
    request: Request
    caller: str
    plain: bool
    address: str
    port: str
    jwt: str
    host: str


def _measured(asked: Compiled, metrics: str) -> MetricsSource:
    """Return the metrics of a stack's proxies; ends if the mesh has none of that name."""
    source = measuring.source_of(asked, metrics)
    if source is None:
        _fail(f"--metrics is {metrics!r}; allowed: {', '.join(measuring.sources(asked.mesh.name))}.", USAGE)
    return source


def _compiled(stack: str, directory: Path | None, mesh: str, *, cluster: bool) -> tuple[Path, str, Compiled]:
    """Return the folder of the project, the name of the stack, and its routes and policy."""
    folder, name, raw = _stack(stack, directory)
    if mesh and mesh not in MESHES:
        _fail(f"--mesh is {mesh!r}; allowed: {', '.join(MESHES)}.", USAGE)
    return folder, name, compiled(raw, name, mesh, folder, with_cluster=cluster)


def _deciding(asked: Compiled) -> tuple[accessing.Security, list[Diagnostic]]:
    """Return what decides on requests. End the command if the configuration is refused, or its cluster not there."""
    faults = [*asked.faults, *asked.unreachable]
    if errors(faults):
        _report(faults)
    return deciding(asked)


def _explain_access(asked: Compiled, options: _Options, *, as_json: bool) -> None:
    """Print whether a caller may call Services."""
    if not options.services:
        _fail("Name the Service that is called: meshup explain SERVICE --from CALLER.", USAGE)
    security, found = _deciding(asked)
    claims, faults = callers.claims_of(options.jwt)
    found += faults
    requests: list[tuple[callers.Caller, Service, Sequence[Port]]] = []
    for word in options.services:
        service, faults = callers.service_of(word, security, security.routes)
        found += faults
        if service is None:
            continue
        ports, faults = callers.ports_of(service, options.port)
        caller, unknown = callers.caller_of(
            options.caller, security, service.namespace, plain=options.plain, address=options.address
        )
        found += [*faults, *unknown]
        requests += [(caller, service, ports)] if caller else []
    if errors(found):
        _report(found)
    sent = options.request
    request = accessing.Asked(
        method=sent.method,
        path=sent.path,
        headers=sent.headers,
        query=sent.query,
        source=sent.source,
        source_namespace=sent.source_namespace,
        host=options.host,
        claims=claims,
        now=time.time(),
    )
    try:
        asks = [accessing.ask(security, caller, service, ports, request) for caller, service, ports in requests]
        entries = [entry for listed, _ in asks for entry in listed]
        entrance = _entrance(asked, security, options, requests[0][0])
    except ConfigurationError as error:
        _report(error.diagnostics)
    found += accessing.diagnostics([answer for _, answers in asks for answer in answers])
    if as_json:
        notes = [note.as_dict() for note in ordered(found)]
        whole = {"schemaVersion": accessing.SCHEMA_VERSION, "mesh": asked.mesh.name, "access": entries, "notes": notes}
        sys.stdout.write(json.dumps(whole | ({"entry": entrance} if entrance else {}), indent=2) + "\n")
    else:
        accessing.show(entries, Console())
        if entrance:
            entrances.show(entrance, Console())
    _end_with(found, as_json=as_json)


def _entrance(
    asked: Compiled, security: accessing.Security, options: _Options, caller: callers.Caller
) -> dict[str, Any] | None:
    """Return what a gateway does with the request for a host, None without a gateway or a host."""
    if caller.kind != "gateway" or not options.host:
        return None
    own = [one for one in gateways.declared(asked.chosen, asked.mesh.name)[0] if one.name == caller.gateway]
    if faults := entrances.unknown_host(own, options.host):
        _report(faults)
    decided = entrances.decide(asked.compilation, own, options.host, options.request, security.proxy)
    notes = entrances.split_by(own, asked.mesh.name)
    return {"host": options.host, "path": options.request.path, "listeners": decided, "notes": notes}


def _end_with(found: Sequence[Diagnostic], *, as_json: bool) -> None:
    """Print what is to be said beside the output, and fail if something of it is an error: a defect of meshup."""
    faults = errors(found)
    if not as_json:
        _print_notes([note for note in found if note not in faults])
    if faults:
        _fail("".join(f"error {fault.code} {fault.path}: {fault.message}\n" for fault in ordered(faults)), REFUSED)


@app.command()
def access(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]...", help="Services; without them, all that are known.")
    ] = None,
    *,
    stack: Annotated[str, typer.Option(envvar="PULUMI_STACK", help="The stack; needed if there are several.")] = "",
    directory: Annotated[Path | None, typer.Option(help="The folder of the project, as for explain.")] = None,
    mesh: Annotated[str, typer.Option(help=f"For this mesh instead: {' or '.join(MESHES)}.")] = "",
    cluster: Annotated[
        bool, typer.Option("--cluster", help="By the objects of the stack's cluster, in place of the planned ones.")
    ] = False,
    output: Annotated[str, typer.Option(help="table, json, or svg: a picture of the graph.")] = "table",
) -> None:
    """Print who may call whom: all callers and Services that are known.

    Calls of the applications that are denied are marked, and what is open without need.
    """
    if output not in ("table", "json", "svg"):
        _fail(f"--output is {output!r}; allowed: table, json, svg.", USAGE)
    _, _, asked = _compiled(stack, directory, mesh, cluster=cluster)
    security, found = _deciding(asked)
    chosen: list[Service] = []
    for word in names or []:
        service, faults = callers.service_of(word, security, security.routes)
        found += faults
        chosen += [service] if service else []
    if errors(found):
        _report(found)
    made = matrix.build(security, chosen)
    found += accessing.diagnostics(made.answers)
    if output == "json":
        notes = [note.as_dict() for note in ordered(found)]
        sys.stdout.write(json.dumps(matrix.as_json(made, notes), indent=2) + "\n")
    elif output == "svg":
        sys.stdout.write(graph.svg(made, security.world))
    else:
        matrix.show(made, Console())
    _end_with(found, as_json=output == "json")


@app.command()
def rules(
    *,
    stack: Annotated[str, typer.Option(envvar="PULUMI_STACK", help="The stack; needed if there are several.")] = "",
    directory: Annotated[Path | None, typer.Option(help="The folder of the project, as for explain.")] = None,
    mesh: Annotated[str, typer.Option(help=f"For this mesh instead: {' or '.join(MESHES)}.")] = "",
    metrics: Annotated[str, typer.Option(help="Metrics that the proxies have, in place of the stack's.")] = "",
    jobs: Annotated[bool, typer.Option("--jobs", help="Print the scrape jobs in place of the rules.")] = False,
) -> None:
    """Print recording rules and alerts for a Prometheus of your own.

    They are those that meshup:prometheus installs.
    With --jobs, print what Prometheus has to scrape for them.
    """
    _, _, asked = _compiled(stack, directory, mesh, cluster=False)
    if errors(asked.faults):
        _report(asked.faults)
    source = _measured(asked, metrics)
    if jobs:
        sys.stdout.write(measuring.as_yaml(measuring.scrape_file(asked, source)))
        return
    made, diagnostics = measuring.rule_file(asked, source)
    _print_notes(diagnostics)
    sys.stdout.write(measuring.as_yaml(made))


@app.command("dashboards")
def boards(
    *,
    stack: Annotated[str, typer.Option(envvar="PULUMI_STACK", help="The stack; needed if there are several.")] = "",
    directory: Annotated[Path | None, typer.Option(help="The folder of the project, as for explain.")] = None,
    mesh: Annotated[str, typer.Option(help=f"For this mesh instead: {' or '.join(MESHES)}.")] = "",
    metrics: Annotated[str, typer.Option(help="Metrics that the proxies have, in place of the stack's.")] = "",
    output_dir: Annotated[
        Path | None, typer.Option(help="Write each dashboard to UID.json in this folder, which is made if need be.")
    ] = None,
) -> None:
    """Write the dashboards for a Grafana of your own; without --output-dir, list them.

    They are those that meshup:grafana installs. They read the series of `meshup rules`.
    """
    _, _, asked = _compiled(stack, directory, mesh, cluster=False)
    if errors(asked.faults):
        _report(asked.faults)
    made = measuring.boards(asked, _measured(asked, metrics))
    if output_dir is None:
        sys.stdout.write("".join(f"{uid:<32}{board['description']}\n" for uid, board in made.items()))
        return
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for uid, board in made.items():
            path = output_dir / f"{uid}.json"
            path.write_text(json.dumps(board, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            sys.stdout.write(f"{path}\n")
    except OSError as error:
        _fail(f"{output_dir} can't be written: {error.strerror}.", USAGE)


@app.command("top")
def top_command(
    *,
    stack: Annotated[str, typer.Option(envvar="PULUMI_STACK", help="The stack; needed if there are several.")] = "",
    directory: Annotated[Path | None, typer.Option(help="The folder of the project, as for explain.")] = None,
    interval: Annotated[float, typer.Option(min=1, max=3600, help="Seconds from one sample to the next.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one sample and end.")] = False,
    prometheus: Annotated[str, typer.Option(help="Address of a Prometheus with the series of meshup rules.")] = "",
    proxies: Annotated[
        bool, typer.Option("--proxies", help="Read the proxies, whatever Prometheus the stack has.")
    ] = False,
    metrics: Annotated[str, typer.Option(help="Metrics that the proxies have, in place of those that are found.")] = "",
    output: Annotated[str, typer.Option(help="table; or json: a document for each sample, one on a line.")] = "table",
) -> None:
    """Show what all Services of a stack get: requests per second, success, latency, by version.

    The figures are those of the last minute, or since the start, and clients' proxies count them.
    They come from the stack's Prometheus if it has one, else from the proxies through the API server.
    What can't be read is said below the table. Ctrl-C ends it.

    meshup top --stack dev                    # live
    meshup top --stack dev --once             # one table, of two looks 2 s apart
    meshup top --stack dev --output json      # for programs
    """
    following = _following(stack, directory, _Reading(interval, prometheus, metrics, output, once, proxies))
    services = following.asked.secured.world.services
    following.run(
        lambda sample: top.top_json(sample, services),
        lambda sample: top.top_view(sample, services),
        lambda sample: top.top_lines(sample, services),
    )


@app.command()
def watch(
    name: Annotated[str, typer.Argument(metavar="SERVICE", help="NAME, NAME.NAMESPACE, or a route.")],
    *,
    stack: Annotated[str, typer.Option(envvar="PULUMI_STACK", help="The stack; needed if there are several.")] = "",
    directory: Annotated[Path | None, typer.Option(help="The folder of the project, as for explain.")] = None,
    interval: Annotated[float, typer.Option(min=1, max=3600, help="Seconds from one sample to the next.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one sample and end.")] = False,
    prometheus: Annotated[str, typer.Option(help="Address of a Prometheus, as for top.")] = "",
    proxies: Annotated[bool, typer.Option("--proxies", help="Read the proxies, as for top.")] = False,
    metrics: Annotated[str, typer.Option(help="Metrics that the proxies have, as for top.")] = "",
    output: Annotated[str, typer.Option(help="table; or json: a document for each sample, one on a line.")] = "table",
) -> None:
    """Show whether the split of a Service holds: each version's weight beside its measured share.

    The interval is that in which the true share is, with 99 % confidence; it narrows with requests.
    Each version is compared with the one of the highest weight: failures, slow requests, in standard
    deviations (sd). Above 3 it is worse, and no accident.
    The weights are those of the stack file, so that a change that is not deployed yet shows, too.

    meshup watch reviews --stack dev                        # live
    meshup watch reviews --stack dev --once --interval 60   # the share of one minute
    """
    following = _following(stack, directory, _Reading(interval, prometheus, metrics, output, once, proxies))
    asked, watched = following.asked, following.watched
    known = callers.Known(asked.secured.policy, asked.secured.world, complete=False)
    service, faults = callers.service_of(name, known, watched.planned)
    if service is None:
        _report(faults)

    following.run(
        lambda sample: top.watch_json(watched.split(sample, service)),
        lambda sample: top.watch_view(watched.split(sample, service)),
        lambda sample: top.watch_lines(watched.split(sample, service)),
    )


class _Reading(NamedTuple):
    """What the command line says of the samples."""

    interval: float
    prometheus: str
    metrics: str
    output: str
    once: bool
    proxies: bool


@dataclass(frozen=True)
class _Following:
    """Samples of a stack, and how they are shown."""

    asked: Compiled
    watched: sampling.Watched
    reading: _Reading

    def run(
        self,
        document: Callable[[top.Sample], dict[str, Any]],
        view: Callable[[top.Sample], RenderableType],
        lines: Callable[[top.Sample], Iterable[str]],
    ) -> None:
        """Show sample after sample until Ctrl-C, or one."""
        console, once = Console(), self.reading.once
        samples = self.watched.samples(self.reading.interval)
        try:
            if self.reading.output == "table" and console.is_terminal and not once:
                with Live(Text("Reading ..."), console=console, auto_refresh=False) as live:
                    for sample in samples:
                        live.update(view(sample), refresh=True)
            for sample in samples:
                if self.reading.output == "json":
                    print(json.dumps(document(sample), indent=2 if once else None), flush=True)
                elif console.is_terminal:
                    console.print(view(sample))
                else:
                    print("\n".join(lines(sample)), flush=True)
                if once:
                    return
        except ConfigurationError as error:
            # The configuration is right: what is wrong is what was read.
            _fail(
                "\n".join(f"error {one.code} {one.path}: {one.message} {one.remedy}" for one in error.diagnostics),
                REFUSED,
            )
        except KeyboardInterrupt:
            return


def _following(stack: str, directory: Path | None, reading: _Reading) -> _Following:
    """Return the samples of a stack. End the command if its configuration is refused, or its cluster not there."""
    if reading.output not in ("table", "json"):
        _fail(f"--output is {reading.output!r}; allowed: table, json.", USAGE)
    folder, name, raw = _stack(stack, directory)
    asked = compiled(raw, name, "", folder, with_cluster=not reading.prometheus)
    known = measuring.sources(asked.mesh.name)
    if reading.metrics and reading.metrics not in known:
        _fail(f"--metrics is {reading.metrics!r}; allowed: {', '.join(known)}.", USAGE)
    try:
        watched = sampling.watched(asked, reading.metrics, reading.prometheus, proxies=reading.proxies)
    except ConfigurationError as error:
        _report(error.diagnostics)
    return _Following(asked, watched, reading)


def _checked(
    command: str,
    run: Callable[[settings.RawConfig, str, Path], findings.Report],
    *,
    stack: str,
    directory: Path | None,
    output: str,
    wait: str,
) -> NoReturn:
    """Run a command that checks a cluster, and end with its exit code."""
    if output not in findings.OUTPUTS:
        _fail(f"--output is {output!r}; allowed: {', '.join(findings.OUTPUTS)}.", USAGE)
    longest = findings.seconds(wait)
    if longest is None:
        _fail(f"--wait is {wait!r}; allowed: hours, minutes and seconds, such as 5m or 1m30s.", USAGE)
    folder, name, raw = _stack(stack, directory)
    if raw.secret:
        hidden = ", ".join(sorted(raw.secret))
        print(f"meshup {command}: secrets stay closed, so it goes on without {hidden}.", file=sys.stderr)
    asked = stack if stack.count("/") else name
    report = findings.awaited(lambda: run(raw, asked, folder), longest, command)
    findings.show(report, output)
    raise typer.Exit(report.exit_code)


_CheckedStack = Annotated[
    str, typer.Option(envvar="PULUMI_STACK", help="The stack: NAME, or ORGANISATION/PROJECT/NAME.")
]
_CheckedFolder = Annotated[Path | None, typer.Option(help="The folder of the project, as for explain.")]
_CheckedOutput = Annotated[str, typer.Option(help="table, json, or short: only what is wrong.")]
_CheckedWait = Annotated[
    str, typer.Option(metavar="DURATION", help="Check again until nothing is wrong, at most so long: 5m, 90s.")
]


@app.command()
def preflight(
    *,
    stack: _CheckedStack = "",
    directory: _CheckedFolder = None,
    output: _CheckedOutput = "table",
    wait: _CheckedWait = "0s",
) -> None:
    """Check what would stop or spoil the next `pulumi up`.

    The plan of the stack is made and held against its cluster: rights, nodes, room, admission, networks, other meshes.
    Nothing is deployed, nothing is stored.

    Exit codes: 0 nothing wrong (there may be warnings), 1 errors, 2 usage, 6 the cluster does not answer.
    """
    _checked("preflight", flying.run, stack=stack, directory=directory, output=output, wait=wait)


@app.command()
def health(
    *,
    stack: _CheckedStack = "",
    directory: _CheckedFolder = None,
    output: _CheckedOutput = "table",
    wait: _CheckedWait = "0s",
) -> None:
    """Check what of a deployed stack does not work, or is not as the stack has it.

    Control plane, webhooks, certificates, workloads, the sidecar of each pod, and what controllers say of routes. Every
    field of routes, policies and gateways is compared with the plan: also where Helm releases hide it from Pulumi.
    Objects are read, and nothing is deployed or stored.

    Exit codes: 0 nothing wrong (there may be warnings), 1 errors, 2 usage, 6 the cluster does not answer.
    """
    _checked("health", healthy.run, stack=stack, directory=directory, output=output, wait=wait)


@app.command()
def discover(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]...", help="Services; without them, all of the namespace.")
    ] = None,
    *,
    namespace: Annotated[str, typer.Option(help="The namespace; found by the name of the Service without it.")] = "",
    stack: Annotated[str, typer.Option(envvar="PULUMI_STACK", help="The stack, whose cluster is read.")] = "",
    directory: Annotated[Path | None, typer.Option(help="The folder of the project, as for explain.")] = None,
    context: Annotated[str, typer.Option(help="A context of the kubeconfig, in place of the stack's cluster.")] = "",
    mesh: Annotated[str, typer.Option(help=f"The mesh, without a stack: {' or '.join(MESHES)}.")] = "",
    version_label: Annotated[
        str, typer.Option(help=f"The label by which pods tell their version, in place of {VERSION_LABELS[0]}.")
    ] = "",
    write: Annotated[bool, typer.Option("--write", help="Add the routes to the stack's meshup:trafficFile.")] = False,
    output: Annotated[str, typer.Option(help="yaml or json.")] = "yaml",
) -> None:
    """Print routes that say what Services of the cluster are and do today.

    They have the ports, selectors, and versions by the labels of the pods.
    The split is today's, so that the routes change nothing.
    """
    if not (names or namespace):
        _fail("Name Services, or a namespace: meshup discover [SERVICE]... [--namespace NAMESPACE].", USAGE)
    if output not in ("yaml", "json"):
        _fail(f"--output is {output!r}; allowed: yaml, json.", USAGE)
    if mesh and mesh not in MESHES:
        _fail(f"--mesh is {mesh!r}; allowed: {', '.join(MESHES)}.", USAGE)
    if write and context and not stack:
        _fail("--write needs a stack, whose file is written: --stack NAME.", USAGE)
    if context and not stack:
        folder, name, raw = Path.cwd(), "dev", settings.RawConfig(meshup={"environment": "dev"})
    else:
        folder, name, raw = _stack(stack, directory)
    if context:
        raw = replace(raw, kubernetes={**raw.kubernetes, "context": context})
    asked = compiled(raw, name, mesh, folder, with_cluster=True)
    try:
        routes, diagnostics = discovering.look_up(asked, names or [], namespace, version_label, only_new=write)
        _print_notes(diagnostics)
        if write:
            file = discovering.write(asked, folder, routes)
            print(f"{file}: {', '.join(routes) or 'nothing'} added.", file=sys.stderr)
    except ConfigurationError as error:
        _report(error.diagnostics)
    text = discovering.as_yaml(routes) if output == "yaml" else json.dumps(routes, indent=2) + "\n"
    sys.stdout.write(text if routes or output == "json" else "")


@app.command()
def adopt(
    *,
    stack: Annotated[str, typer.Option(help="The stack that is to have it: NAME, or ORGANISATION/PROJECT/NAME.")],
    context: Annotated[str, typer.Option(help="The context of the kubeconfig.")],
    directory: Annotated[Path | None, typer.Option(help="The folder of the project, as for explain.")] = None,
    mesh: Annotated[str, typer.Option(help=f"The mesh, where both are there: {' or '.join(MESHES)}.")] = "",
    write: Annotated[bool, typer.Option("--write", help="Write the files of the stack.")] = False,
) -> None:
    """Print how a stack takes over a mesh that Helm has installed, and its routes.

    That is the configuration, the routes, and the commands that hand the objects over.
    What stays as it is, is said with the reason.
    """
    if mesh and mesh not in MESHES:
        _fail(f"--mesh is {mesh!r}; allowed: {', '.join(MESHES)}.", USAGE)
    folder, name = directory or stackfile.project_folder(Path.cwd()), stackfile.short_name(stack)
    owner = stack if stack.count("/") == len(("organisation", "project")) else f"organization/{settings.PROJECT}/{name}"
    try:
        adoption, diagnostics = adopting.look_up(owner, mesh, context)
        made = adopting.texts(adoption, folder, name)
        _print_notes(diagnostics)
        if write:
            adopting.write(made)
            print(f"{', '.join(map(str, made))} written.", file=sys.stderr)
    except ConfigurationError as error:
        _report(error.diagnostics)
    for path, text in made.items() if not write else ():
        sys.stdout.write(f"# {path.name}\n{text}\n")
    sys.stdout.write("".join(f"{command}\n" for command in adoption.commands))


@security.command()
def learn(
    *,
    stack: Annotated[str, typer.Option(envvar="PULUMI_STACK", help="The stack, whose cluster is read.")] = "",
    directory: Annotated[Path | None, typer.Option(help="The folder of the project, as for explain.")] = None,
    namespace: Annotated[str, typer.Option(help="Only Services of this namespace.")] = "",
    prometheus: Annotated[
        str, typer.Option(help="Address of a Prometheus; without it, each sidecar is read through the API server.")
    ] = "",
    window: Annotated[str, typer.Option(help="How far back the Prometheus is asked.")] = "7d",
    log: Annotated[list[Path] | None, typer.Option(help="File with access logs in JSON; repeatable.")] = None,
    prefix: Annotated[
        int, typer.Option(min=0, max=9, help="Number of segments after which paths from logs become a prefix.")
    ] = 0,
    output: Annotated[str, typer.Option(help="yaml or json.")] = "yaml",
) -> None:
    """Print the allow list of the calls that proxies have counted.

    It opens nothing else. What was not seen, or seen and not opened, is said in comments.
    """
    if output not in ("yaml", "json"):
        _fail(f"--output is {output!r}; allowed: yaml, json.", USAGE)
    if not re.fullmatch(r"[1-9][0-9]{0,5}[smhdwy]", window):
        _fail(f"--window is {window!r}; allowed: a number and one of s, m, h, d, w, y, such as 7d.", USAGE)
    folder, name, raw = _stack(stack, directory)
    asked = compiled(raw, name, "", folder, with_cluster=True)
    try:
        proposal, diagnostics = learning.look_up(
            asked, namespace, prometheus=prometheus, window=window, logs=log or [], depth=prefix
        )
    except ConfigurationError as error:
        _report(error.diagnostics)
    _print_notes(diagnostics)
    if output == "json":
        found = {"meshup:security": proposal.security, "notes": list(proposal.notes)}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        sys.stdout.write(learning.as_text(proposal))


def _print_notes(diagnostics: Sequence[Diagnostic]) -> None:
    for note in ordered(diagnostics):
        print(f"{note.severity} {note.code} {note.path}: {note.message}", file=sys.stderr)


def _request(
    path: str,
    method: str,
    header: list[str] | None,
    query: list[str] | None,
    caller: tuple[list[str] | None, str],
) -> Request | None:
    """Return the request that the options describe, None if there are none."""
    if path and not path.startswith("/"):
        _fail(f"--path is {path!r}; a path starts with '/', as in /reviews/1?lang=en.", USAGE)
    source, source_namespace = caller
    if not (path or header or query or source or source_namespace or method.upper() != "GET"):
        return None
    plain = request_from(path or "/", method, _pairs(header, ":", "--header"), _pairs(query, "=", "--query"))
    labels = tuple(_pairs(source, "=", "--source"))
    request = Request(plain.path, plain.method, plain.headers, plain.query, labels, source_namespace)
    if faults := explaining.request_faults(request):
        _report(faults, USAGE)
    return request


def _stack(stack: str, directory: Path | None) -> tuple[Path, str, settings.RawConfig]:
    """Return the folder of the project, and the name and the configuration of the stack."""
    folder = directory or stackfile.project_folder(Path.cwd())
    try:
        name = stackfile.short_name(stack) or _only_stack(folder)
        return folder, name, stackfile.read(folder, name)
    except stackfile.StackFileError as error:
        _fail(str(error), USAGE)


def _explain_codes(words: list[str], *, as_json: bool) -> None:
    """Print what codes mean."""
    explanations = {word: explaining.explain_code(word) for word in words}
    if unknown := [explaining.unknown_code(word) for word, explanation in explanations.items() if not explanation]:
        _fail("\n".join(unknown), USAGE)
    found = [explanation for explanation in explanations.values() if explanation]
    if as_json:
        sys.stdout.write(json.dumps({"codes": found}, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(map(explaining.code_text, found)))


def _only_stack(directory: Path) -> str:
    known = stackfile.stacks_in(directory)
    if len(known) == 1:
        return known[0]
    listed = f"Stacks here: {', '.join(known)}." if known else f"There is no Pulumi.<stack>.yaml in {directory}."
    raise stackfile.StackFileError(f"Name the stack: --stack NAME, or PULUMI_STACK. {listed}")


def _pairs(values: list[str] | None, sign: str, option: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for value in values or []:
        name, found, text = value.partition(sign)
        if not found or not name.strip():
            raise typer.BadParameter(f"{value!r} is not NAME{sign}VALUE", param_hint=option)
        pairs.append((name.strip(), text.strip()))
    return pairs


def _report(diagnostics: Iterable[Diagnostic], code: int = REFUSED) -> NoReturn:
    """End a command with a report: nothing would have been deployed by it, whatever is wrong."""
    _fail(render(diagnostics, "Nothing was changed."), code)


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(message.rstrip("\n") + "\n")
    raise typer.Exit(code)


__all__ = ["app"]
