"""A real Prometheus with the generated hour in it, and the recorded series that promtool computes from the rules."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from components.observability.alerts import StackRules
from components.observability.promql import AlertingRule, RecordingRule
from tests import promql
from tests.pictures import scenario

PORT = 19_914
URL = f"http://127.0.0.1:{PORT}"
_TRIES = 100


class PrometheusError(Exception):
    """Prometheus or promtool ended, or refused a query."""


class Prometheus:
    """A Prometheus that answers queries of the hour that is shown."""

    def range(self, expression: str, start: int, end: int, step: int) -> list[dict[str, Any]]:
        """Return the series of an expression over time."""
        return _ask("query_range", query=expression, start=start, end=end, step=step)

    def now(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression at the end of the hour."""
        return _ask("query", query=expression, time=scenario.END)


@contextmanager
def prometheus(
    tools: dict[str, Path], folder: Path, rules: StackRules, samples: scenario.Samples
) -> Generator[Prometheus]:
    """Run Prometheus with all series in it.

    Args:
        tools: The commands `prometheus` and `promtool`.
        folder: An empty folder for its data.
        rules: The rules of the stack.
        samples: What the proxies show.

    Raises:
        PrometheusError: With what they said.
    """
    data = folder / "data"
    page = folder / "samples.txt"
    with page.open("w") as file:
        last = ""
        for name, labels, value, second in sorted(samples, key=lambda one: (one[0], one[1], one[3])):
            if name != last:
                file.write(f"# TYPE {name} unknown\n")
                last = name
            file.write(f"{name}{{{labels}}} {value:.10g} {second}\n")
        file.write("# EOF\n")
    _run(tools["promtool"], "tsdb", "create-blocks-from", "openmetrics", str(page), str(data), "--quiet")
    for at, level in enumerate(_levels(rules)):
        path = folder / f"rules-{at}.yml"
        # Named without its folder: the second at which promtool evaluates a group depends on the name of the file.
        groups = [{"name": "level", "interval": f"{scenario.STEP}s", "rules": level}]
        path.write_text(yaml.safe_dump({"groups": groups}, sort_keys=False))
        with _serving(tools["prometheus"], data, folder):
            _run(
                *(tools["promtool"], "tsdb", "create-blocks-from", "rules", "--url", URL, "--output-dir", str(data)),
                *("--start", str(scenario.START), "--end", str(scenario.END), "--eval-interval", "15s", path.name),
                folder=folder,
            )
    with _serving(tools["prometheus"], data, folder):
        yield Prometheus()


def _levels(rules: StackRules) -> Iterator[list[dict[str, Any]]]:
    """Yield rules so that each reads only series of those before it: promtool evaluates a file without its own results.

    An alert becomes a recording rule of the series that Prometheus would write for it, unless it has to hold for longer
    than the hour that is shown.
    """
    every = [rule for group in rules.groups for rule in group.rules]
    waiting = [
        _as_recording(rule) for rule in every if isinstance(rule, RecordingRule) or rule.hold[-1:] not in {"h", "d"}
    ]
    waiting = [rule for rule in waiting if rule["record"] != "meshup:split:declared_share"]
    while waiting:
        open_names = {rule["record"] for rule in waiting}
        ready = [
            rule
            for rule in waiting
            if not open_names & ({read.name for read in promql.selectors(rule["expr"])} - {rule["record"]})
        ]
        if not ready:
            raise PrometheusError(f"These rules read each other: {sorted(open_names)}.")
        yield ready
        waiting = [rule for rule in waiting if rule not in ready]


def _as_recording(rule: RecordingRule | AlertingRule) -> dict[str, Any]:
    if isinstance(rule, RecordingRule):
        return rule.plain()
    labels = {**rule.labels, "alertname": rule.alert, "alertstate": "firing"}
    return {"record": "ALERTS", "expr": f"({rule.expr}) * 0 + 1", "labels": labels}


@contextmanager
def _serving(command: Path, data: Path, folder: Path) -> Generator[None]:
    config, log = folder / "prometheus.yml", folder / "prometheus.log"
    config.write_text("global: {}\n")
    arguments = [
        *(str(command), f"--config.file={config}", f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=10y"),
        *(f"--web.listen-address=127.0.0.1:{PORT}", "--log.level=warn", "--storage.tsdb.max-block-duration=2h"),
    ]
    with log.open("w") as output, subprocess.Popen(arguments, stdout=output, stderr=output) as process:
        try:
            for _ in range(_TRIES):
                if process.poll() is not None:
                    raise PrometheusError(log.read_text())
                try:
                    with urllib.request.urlopen(f"{URL}/-/ready") as answer:  # noqa: S310
                        if answer.status == 200:
                            break
                except OSError:
                    time.sleep(0.2)
            yield
        finally:
            process.terminate()


def _ask(path: str, **parameters: object) -> list[dict[str, Any]]:
    query = urllib.parse.urlencode({name: str(value) for name, value in parameters.items()})
    try:
        with urllib.request.urlopen(f"{URL}/api/v1/{path}?{query}") as answer:  # noqa: S310
            return json.loads(answer.read())["data"]["result"]
    except urllib.error.HTTPError as error:
        raise PrometheusError(f"{parameters['query']}: {error.read().decode()}") from error


def _run(*command: str | Path, folder: Path | None = None) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise PrometheusError(done.stdout + done.stderr)


__all__: Sequence[str] = ("URL", "Prometheus", "PrometheusError", "prometheus")
