"""The command line of the bench: what to measure, the table, the file of results."""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from devcluster import paths
from devcluster.arguments import count
from devcluster.artefacts import ToolError
from devcluster.bench import figures, runs
from devcluster.bench.runs import Bench
from devcluster.cluster import ClusterError
from devcluster.embedded import Embedded
from devcluster.progress import Progress
from devcluster.stack import StackError

CLUSTER = "bench"
PARTS = ("compile", "preflight", "install", "scale")
SERVICES = (1, 10, 100)
FULL = 1000
MOST_OBJECTS = 200
"""Services above which one resource per object is measured only if asked for: it takes many minutes."""
_MOST = 100_000
RESULTS = Path(".bench") / "results.json"


def main(arguments: Sequence[str]) -> int:
    """Parse the arguments and run; a wrong one exits with 2."""
    return run(parser().parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; exit code 0 done, 1 failed, 130 interrupted."""
    errors = Console(stderr=True, highlight=False)
    found: list[figures.Figure] = []
    failures: list[figures.Failure] = []
    code = 0
    try:
        measure(options, found, failures)
    except (ToolError, ClusterError, StackError) as error:
        errors.print(f"bench: {error}", markup=False, soft_wrap=True)
        code = 1
    except KeyboardInterrupt:
        errors.print("bench: interrupted; its cluster is ended.")
        code = 130
    code = code or min(len(failures), 1)
    # What was measured until then is worth keeping: a full run takes long.
    collected = figures.collected(found)
    show(collected, failures, Console(highlight=False))
    target = paths.repository() / RESULTS
    target.parent.mkdir(exist_ok=True)
    written = figures.document(collected, failures, about(options) | {"complete": code == 0})
    target.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    print(f"Written to {RESULTS}.")
    return code


def measure(options: argparse.Namespace, found: list[figures.Figure], failures: list[figures.Failure]) -> None:
    """Measure all parts that are wanted, into two lists. A part that fails leaves the others alone, and the cluster is
    ended whatever happens.
    """
    services = [*options.services, *([FULL] if options.full and FULL not in options.services else [])]
    embedded = Embedded(CLUSTER)
    with Progress() as progress, tempfile.TemporaryDirectory(prefix="meshup-bench-") as folder:
        bench = Bench(embedded, progress, Path(folder), lambda: _start(embedded, progress), found, failures)
        parts = {
            "preflight": lambda: runs.preflight(bench),
            "install": lambda: runs.install(bench),
            "scale": lambda: runs.scale(bench, {count: ways(options.ways, count) for count in services}),
        }
        for _ in range(options.repeat):
            if "compile" in options.only:
                runs.compile_time(bench, services)
            for part in (part for part in parts if part in options.only):
                try:
                    _start(embedded, progress)
                    bench.attempt(part, runs.PROGRAM, parts[part])
                finally:
                    with progress.step("end the cluster"):
                        stack_file = paths.repository() / f"Pulumi.embedded-{CLUSTER}.yaml"
                        embedded.down(progress)
                        stack_file.unlink(missing_ok=True)


def _start(embedded: Embedded, progress: Progress) -> None:
    embedded.down(progress)
    embedded.toolbox.ensure(progress=progress)
    embedded.toolbox.ensure(["kubectl"], progress)
    embedded.cluster.up(embedded.toolbox, progress)
    embedded.prepare(embedded.stack)


def ways(wanted: Sequence[str], services: int) -> list[str]:
    """Return the ways to measure for so many Services: those that were asked for, else all that end in time."""
    return list(wanted) or [way for way in runs.WAYS if way != "objects" or services <= MOST_OBJECTS]


def show(found: Sequence[figures.Figure], failures: Sequence[figures.Failure], console: Console) -> None:
    """Print the table."""
    table = Table(*figures.HEADINGS, box=None, pad_edge=False)
    for row in figures.rows(found, failures):
        table.add_row(*row)
    console.print(table)


def about(options: argparse.Namespace) -> dict[str, object]:
    """Return what a reader of the figures must know of the run."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": {key: getattr(options, key) for key in ("only", "services", "full", "ways", "repeat")},
        "processors": os.cpu_count(),
        "memoryGiB": round(psutil.virtual_memory().total / 2**30, 1),
        "loadAverage": [round(value, 1) for value in os.getloadavg()],
        "python": platform.python_version(),
    }


def parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m devcluster.bench`."""
    made = argparse.ArgumentParser(
        prog="python -m devcluster.bench", description="What `pulumi up` costs, as ratios to helm and kubectl."
    )
    add_options(made)
    return made


def add_options(made: argparse.ArgumentParser) -> None:
    """Add the options of the bench to a parser."""
    made.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure only these parts")
    made.add_argument("--services", nargs="+", type=count(_MOST), default=SERVICES, help="numbers of Services")
    made.add_argument("--full", action="store_true", help=f"measure {FULL} Services too")
    made.add_argument(
        "--ways", nargs="+", choices=tuple(runs.WAYS), default=(), help="deliver the routes only in these ways"
    )
    made.add_argument("--repeat", type=count(_MOST), default=1, help="how often; medians are quoted")
