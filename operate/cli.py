"""The one entry point of the `meshup` command. Each subcommand is a thin shell around pure functions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from components.diagnostics import ConfigurationError, Diagnostic, errors, render
from components.meshes import MESHES
from components.traffic import Compilation
from components.traffic.evaluate import Request, request_from
from components.traffic.proxies import Proxy
from operate import explain as explaining
from operate import stackfile
from stacks import charts, plan, settings, traffic_file

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


@app.callback()
def main() -> None:
    """Keeps `explain` a subcommand."""


@app.command()
def explain(
    services: Annotated[
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
    source: Annotated[list[str] | None, typer.Option(help="'label=value' of the caller; repeatable.")] = None,
    source_namespace: Annotated[str, typer.Option(help="Namespace of the caller.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what the routes of a stack do: rule by rule, backends, policies, objects; and which rule takes a
    request. Or print what a code of a report means.
    """
    words = services or []
    if any(map(explaining.is_code, words)):
        _explain_codes(words, as_json=as_json)
        return
    if path and not path.startswith("/"):
        _fail(f"--path is {path!r}; a path starts with '/', as in /reviews/1?lang=en.", USAGE)
    request = None
    if path or header or query or source or source_namespace or method.upper() != "GET":
        plain = request_from(path or "/", method, _pairs(header, ":", "--header"), _pairs(query, "=", "--query"))
        request = Request(
            plain.path,
            plain.method,
            plain.headers,
            plain.query,
            tuple(_pairs(source, "=", "--source")),
            source_namespace,
        )
        if faults := explaining.request_faults(request):
            _fail(render(faults), USAGE)
    folder = directory or stackfile.project_folder(Path.cwd())
    try:
        name = stackfile.short_name(stack) or _only_stack(folder)
        raw = stackfile.read(folder, name)
    except stackfile.StackFileError as error:
        _fail(str(error), USAGE)
    if mesh and mesh not in MESHES:
        _fail(f"--mesh is {mesh!r}; allowed: {', '.join(MESHES)}.", USAGE)
    compilation, proxy, found = compiled(raw, name, mesh, folder)
    # A refused configuration may lack the very routes that are asked for.
    if not errors(found):
        found += explaining.unknown_routes(words, [plan.route.key for plan in compilation.planned])
    if errors(found):
        _fail(render(found), REFUSED)
    try:
        explanation = explaining.explain(compilation, words, request, proxy)
    except ConfigurationError as error:
        _fail(str(error), REFUSED)
    if as_json:
        sys.stdout.write(json.dumps(explanation, indent=2) + "\n")
    elif explanation["routes"]:
        explaining.show(explanation, Console())
    else:
        print(f"The stack '{name}' declares no routes: set `meshup:traffic` in {stackfile.file_of(folder, name)}.")


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


def compiled(
    raw: settings.RawConfig, stack: str, mesh: str, directory: Path
) -> tuple[Compilation, Proxy, list[Diagnostic]]:
    """The routes of a stack, compiled; how its proxies read requests; and every fault of its traffic and of what its
    traffic rests on.
    """
    chosen, found = settings.load(raw, stack)
    chosen, unreadable = traffic_file.with_file(chosen, directory)
    found += unreadable
    target = MESHES[mesh or chosen.mesh]
    compilation, said = plan.compiled(chosen, target.name)
    # Charts of a directory say their version; what is wrong with them is a matter of `pulumi up`.
    wanted = target.wanted_version(chosen)
    source, _ = charts.inspect(chosen.charts, target, target.charts(chosen), wanted)
    version = wanted or source.version or target.versions.pinned
    return compilation, target.data_plane.proxy(version), [*errors(found), *errors(said)]


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


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(message.rstrip("\n") + "\n")
    raise typer.Exit(code)


__all__ = ["app"]
