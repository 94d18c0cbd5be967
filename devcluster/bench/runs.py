"""The measurements: each brings its things up and takes them away again."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import yaml

from devcluster import paths
from devcluster.bench import scenario
from devcluster.bench.figures import Failure, Figure, Run
from devcluster.bench.measure import BenchError, timed
from devcluster.bench.scenario import Apply, Json
from devcluster.embedded import Embedded
from devcluster.progress import Progress
from devcluster.stack import Stack, StackError

PROGRAM = "meshup"
BARE = "bare program"
TOOLS = "helm + kubectl"
KUBECTL = "kubectl"
OBJECTS = "meshup, objects"
RELEASE = "meshup, release"
WAYS = {"kubectl": KUBECTL, "objects": OBJECTS, "release": RELEASE}
_UP = ("up", "--yes", "--skip-preview")
_DESTROY = ("destroy", "--yes", "--skip-preview")
_PREVIEW = ("preview", "--expect-no-changes")
_BARE_PROJECT = "name: bare\nruntime:\n  name: python\n  options:\n    virtualenv: .venv\n"


@dataclass
class Bench:
    """One cluster, the progress that is shown, and the figures so far."""

    embedded: Embedded
    progress: Progress
    folder: Path
    """For what the bench writes: objects, values, the bare program."""
    renew: Callable[[], None]
    """Ends the cluster and starts it anew, empty."""
    figures: list[Figure] = field(default_factory=list[Figure])
    failures: list[Failure] = field(default_factory=list[Failure])

    def attempt(self, group: str, way: str, run: Callable[[], None]) -> bool:
        """Run a part of the bench and return whether it succeeded. A failure is kept, and the others go on.

        Args:
            group: As of a figure.
            way: The tool or the delivery that does it.
            run: Does it.
        """
        try:
            run()
        except (BenchError, StackError) as error:
            work = error.work if isinstance(error, WorkError) else ""
            self.failures.append(Failure(group, work, way, str(error)))
            self.progress.say(f"  {group}: {work or 'the work'}, {way}: failed\n{error}")
            return False
        return True

    def pulumi(self, stack: Stack, *arguments: str) -> Run:
        """Run pulumi and time it."""
        return timed(stack.wrap(["pulumi", "--non-interactive", *arguments]), stack.project, stack.env())

    def tool(self, *argv: str) -> Run:
        """Run helm or kubectl and time it."""
        return timed(self.embedded.cluster.exec_argv(argv), paths.repository(), self.embedded.environment())

    def file(self, name: str, content: object) -> str:
        """Write JSON into the folder and return its path."""
        path = self.folder / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return str(path)

    def configure(self, stack: Stack, **keys: object) -> None:
        """Set keys of the program."""
        content = yaml.safe_load(stack.file.read_text(encoding="utf-8"))
        content["config"] |= {f"meshup:{key}": value for key, value in keys.items()}
        stack.file.write_text(yaml.safe_dump(content), encoding="utf-8")

    def clear_kept(self, stack: Stack) -> list[list[str]]:
        """Return the commands that remove what the charts keep after a destroy, by the stack's own output."""
        mesh = cast("Json", stack.outputs().get("mesh") or {})
        kept = cast("Mapping[str, Sequence[str]]", mesh.get("keptOnDestroy") or {})
        return [shlex.split(command) for command in kept.get("commands", ())]


class WorkError(BenchError):
    """A piece of work failed."""

    def __init__(self, work: str, message: str) -> None:
        super().__init__(message)
        self.work = work


@dataclass(frozen=True)
class Group:
    """Figures of one table."""

    bench: Bench
    name: str
    baseline: str

    def note(self, work: str, way: str, run: Callable[[], Run], *, baseline: str | None = None) -> None:
        """Do the work, keep its figure, and show it.

        Raises:
            WorkError: It failed.
        """
        try:
            done = run()
        except BenchError as error:
            raise WorkError(work, str(error)) from error
        chosen = self.baseline if baseline is None else baseline
        self.bench.figures.append(Figure(self.name, work, way, (done,), chosen))
        self.bench.progress.say(f"  {self.name}: {work}, {way}: {done.seconds:.2f} s")


def compile_time(bench: Bench, services: Sequence[int]) -> None:
    """The routing core alone: time and peak memory, without Pulumi and without a cluster."""
    group = Group(bench, "compile", "")
    works = {f"{count} Services": scenario.routes(count) for count in services}
    for work, traffic in {**works, **scenario.worst()}.items():
        bench.attempt("compile", PROGRAM, partial(_compile, group, work, traffic))


def _compile(group: Group, work: str, traffic: Mapping[str, object]) -> None:
    done = compiled(traffic)
    seconds = cast("float", done["seconds"])
    refused = "".join(f", {code}" for code in cast("Sequence[str]", done["refused"]))
    run = Run(seconds, seconds, seconds, cast("float", done["mib"]))
    group.note(f"{work}{refused}", PROGRAM, lambda: run)


def compiled(traffic: Mapping[str, object]) -> Json:
    """Compile routes in a process of their own; returns seconds, MiB, the objects and the codes of faults.

    Raises:
        BenchError: The compiler fails.
    """
    done = subprocess.run(
        [sys.executable, "-"],
        input=scenario.compiler(traffic),
        cwd=paths.repository(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{', '.join(list(traffic)[:3])} do not compile:\n{done.stderr.strip()}")
    return cast("Json", json.loads(done.stdout))


def install(bench: Bench) -> None:
    """`up` from nothing and previews, against helm and kubectl, and against a bare program of the same resources.

    Raises:
        BenchError: The program itself failed, of which the others make copies.
        StackError: The same.
    """
    group = Group(bench, "install", TOOLS)
    stack = bench.embedded.stack
    group.note("up from nothing", PROGRAM, partial(bench.pulumi, stack, *_UP))
    group.note("preview, no change", PROGRAM, partial(bench.pulumi, stack, *_PREVIEW), baseline=BARE)
    group.note("up, no change", PROGRAM, partial(bench.pulumi, stack, *_UP), baseline=BARE)
    found = scenario.resources(cast("Json", json.loads(stack.run(["stack", "export"], quiet=True))))
    kept = bench.clear_kept(stack)
    group.note("destroy", PROGRAM, partial(bench.pulumi, stack, *_DESTROY))
    _clear(bench, kept)
    bare, tools = scenario.bare_program(found), scenario.baseline(found)
    for way, run in ((BARE, partial(_bare, bench, group, bare)), (TOOLS, partial(_tools, bench, group, tools))):
        if bench.attempt(group.name, way, run):
            _clear(bench, kept)
        else:
            # What a failed way leaves must not meet the next one.
            bench.renew()


def preflight(bench: Bench) -> None:
    """`meshup preflight` before the first `up`, and with everything there.

    Raises:
        BenchError: It finds an error on this cluster, or fails.
    """
    group, stack = Group(bench, "preflight", ""), bench.embedded.stack
    command = [sys.executable, "-m", "operate", "preflight", "--stack", stack.name, "--directory", str(stack.project)]
    check = partial(timed, stack.wrap(command), stack.project, stack.env())
    group.note("before the first up", PROGRAM, check)
    bench.pulumi(stack, *_UP)
    group.note("with Bookinfo there", PROGRAM, check)
    kept = bench.clear_kept(stack)
    bench.pulumi(stack, *_DESTROY)
    _clear(bench, kept)


def _clear(bench: Bench, kept: Sequence[Sequence[str]]) -> None:
    for command in kept:
        bench.tool(*command)


def _bare(bench: Bench, group: Group, program: str) -> None:
    project = bench.folder / "bare"
    project.mkdir(exist_ok=True)
    (project / "Pulumi.yaml").write_text(_BARE_PROJECT, encoding="utf-8")
    (project / "__main__.py").write_text(program, encoding="utf-8")
    if not (project / ".venv").exists():
        (project / ".venv").symlink_to(paths.repository() / ".venv")
    state = bench.folder / "bare-state"
    stack = bench.embedded.stack_of(project, state, bench.folder / "bare.passphrase", "bare")
    stack.prepare({"kubernetes:context": bench.embedded.cluster.context})
    group.note("up from nothing", BARE, partial(bench.pulumi, stack, *_UP))
    group.note("preview, no change", BARE, partial(bench.pulumi, stack, *_PREVIEW), baseline=BARE)
    group.note("up, no change", BARE, partial(bench.pulumi, stack, *_UP), baseline=BARE)
    group.note("destroy", BARE, partial(bench.pulumi, stack, *_DESTROY))


def _tools(bench: Bench, group: Group, steps: Sequence[scenario.Apply | scenario.Install]) -> None:
    """What a script would do: the steps one after the other, then wait until all is there."""
    make: list[list[str]] = []
    undo: list[list[str]] = []
    for position, step in enumerate(steps):
        if isinstance(step, Apply):
            file = bench.file(f"step-{position}.json", scenario.listed(step.objects))
            make.append(["kubectl", "apply", "--server-side", "--filename", file])
            undo.append(["kubectl", "delete", "--ignore-not-found", "--filename", file])
        else:
            values = bench.file(f"step-{position}.json", step.values)
            where = ["--namespace", step.namespace, "--wait"]
            make.append(["helm", "install", step.name, step.chart, *where, "--values", values])
            undo.append(["helm", "uninstall", step.name, *where])
    ready = ["--for=condition=Available", "deployments", "--all", "--all-namespaces", "--timeout=300s"]
    make.append(["kubectl", "wait", *ready])
    group.note("up from nothing", TOOLS, lambda: _sum([bench.tool(*command) for command in make]))
    group.note("destroy", TOOLS, lambda: _sum([bench.tool(*command) for command in reversed(undo)]))


def _sum(runs: Sequence[Run]) -> Run:
    return Run(sum(run.seconds for run in runs), sum(run.processor_seconds or 0.0 for run in runs))


def scale(bench: Bench, wanted: Mapping[int, Sequence[str]]) -> None:
    """Routes for a growing number of Services in one namespace, on a mesh that is there already.

    Args:
        bench: The cluster.
        wanted: For each number of Services, the ways (keys of WAYS) to measure.
    """
    _ready_for_routes(bench)
    for count, ways in wanted.items():
        group = Group(bench, f"scale {count}", KUBECTL)
        for way in ways:
            run = partial(_applied, bench, group, count) if way == "kubectl" else None
            if not bench.attempt(group.name, WAYS[way], run or partial(_delivered, bench, group, count, way)):
                bench.renew()
                _ready_for_routes(bench)


def _ready_for_routes(bench: Bench) -> None:
    stack = bench.embedded.stack
    bench.configure(stack, apps=[], traffic={}, trafficFile="")
    stack.run(list(_UP), quiet=True)
    bench.tool("kubectl", "create", "namespace", scenario.NAMESPACE)


def _applied(bench: Bench, group: Group, count: int) -> None:
    first = bench.file("routes.json", scenario.listed(_objects(count, 90)))
    changed = bench.file("changed.json", scenario.listed(_objects(count, 80)))
    apply = ("kubectl", "apply", "--server-side", "--filename")
    group.note("first up", KUBECTL, partial(bench.tool, *apply, first))
    unchanged = partial(bench.tool, "kubectl", "diff", "--server-side", "--filename", first)
    group.note("preview, no change", KUBECTL, unchanged)
    group.note("one weight changed", KUBECTL, partial(bench.tool, *apply, changed))
    group.note("routes removed", KUBECTL, partial(bench.tool, "kubectl", "delete", "--filename", first))


def _objects(count: int, weight: int) -> Sequence[Json]:
    return cast("Sequence[Json]", compiled(scenario.routes(count, weight))["objects"])


def _delivered(bench: Bench, group: Group, count: int, way: str) -> None:
    stack, title = bench.embedded.stack, WAYS[way]
    # In a file, since the configuration of a stack is one environment variable, which takes no 1,000 Services.
    file = bench.file("routes.yaml", scenario.routes(count))
    bench.configure(stack, delivery=way, trafficFile=file)
    up = partial(bench.pulumi, stack, *_UP)
    group.note("first up", title, up)
    group.note("preview, no change", title, partial(bench.pulumi, stack, *_PREVIEW))
    bench.file("routes.yaml", scenario.routes(count, 80))
    group.note("one weight changed", title, up)
    bench.configure(stack, trafficFile="")
    group.note("routes removed", title, up)
