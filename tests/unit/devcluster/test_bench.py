import ast
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from components.traffic import parse
from devcluster import paths
from devcluster.bench import command, measure, runs, scenario
from devcluster.bench.figures import Failure, Figure, Run, against, collected, document, ratio, rows
from devcluster.bench.measure import BenchError
from devcluster.bench.runs import Bench
from devcluster.progress import Progress
from devcluster.stack import StackError
from tests.unit.traffic.helpers import compile_routes


def figure(way: str, *seconds: float, work: str = "up", group: str = "install", baseline: str = "kubectl") -> Figure:
    return Figure(group, work, way, tuple(Run(value) for value in seconds), baseline)


def test_a_ratio_says_how_many_times_the_baseline_it_is() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) is None


def test_the_median_of_the_runs_is_quoted_and_the_largest_memory() -> None:
    runs = (Run(9.0, 5.0, 2.0, 80.0), Run(1.0, 3.0, 1.0, 120.0), Run(4.0, 6.0, 3.0, 90.0))
    quoted = Figure("install", "preview", "meshup", runs)
    assert (quoted.seconds, quoted.program_seconds, quoted.program_mib) == (4.0, 2.0, 120.0)
    assert quoted.processor_seconds == 5.0
    assert quoted.program_share == 0.5


def test_what_has_no_program_has_no_share() -> None:
    assert figure("kubectl", 1.0).program_share is None
    assert figure("kubectl", 1.0).program_mib is None


def test_repeated_runs_of_one_thing_become_one_figure_in_order() -> None:
    found = collected([figure("a", 1.0), figure("b", 5.0), figure("a", 3.0)])
    assert [(item.way, item.seconds) for item in found] == [("a", 2.0), ("b", 5.0)]


def test_a_figure_is_compared_with_the_same_work_of_the_same_group_only() -> None:
    others = [
        figure("kubectl", 1.0, group="scale 10"),
        figure("kubectl", 2.0, work="destroy"),
        figure("kubectl", 4.0),
    ]
    mine = figure("meshup", 6.0)
    assert against(mine, [*others, mine]) == others[2]
    assert against(figure("meshup", 6.0, baseline=""), others) is None


def test_the_table_has_ratios_and_names_a_group_once() -> None:
    found = [figure("kubectl", 4.0), figure("meshup", 6.0), figure("kubectl", 0.25, group="scale 10")]
    assert [(row[0], row[2], row[3], row[4]) for row in rows(found)] == [
        ("install", "kubectl", "4.0 s", "1.00 x"),
        ("", "meshup", "6.0 s", "1.50 x"),
        ("scale 10", "kubectl", "250 ms", "1.00 x"),
    ]


def test_the_table_shows_share_and_memory_of_the_program() -> None:
    row = rows([Figure("install", "preview", "meshup", (Run(4.0, 3.0, 1.0, 99.6),))])[0]
    assert row[5:] == ("3.0 s", "1.0 s, 25%", "100 MiB")


def test_the_file_has_every_run_and_null_where_nothing_was_measured() -> None:
    program = Figure("install", "preview", "meshup", (Run(4.0, 3.0, 1.0, 90.0),), "bare")
    bare = Figure("install", "preview", "bare", (Run(2.0, 1.0, 0.5, 60.0),), "bare")
    written = json.loads(
        json.dumps(
            document(
                [program, bare, figure("kubectl", 1.0, 3.0)],
                [Failure("scale 1", "first up", "meshup", "no")],
                {"command": "x"},
            )
        )
    )
    assert written["command"] == "x"
    assert written["figures"][0]["ratio"] == 2.0
    assert written["figures"][0]["programMiBRatio"] == 1.5
    assert written["figures"][0]["processorSeconds"] == 3.0
    assert written["figures"][2]["runs"] == [1.0, 3.0]
    assert written["figures"][2]["programShare"] is None
    assert written["failures"] == [{"group": "scale 1", "work": "first up", "way": "meshup", "message": "no"}]


def test_the_generated_routes_compile_without_a_word() -> None:
    found, faults = parse(scenario.routes(3), "meshup:traffic", [])
    compiled = compile_routes(found, mesh="istio")
    assert [*faults, *compiled.diagnostics] == []
    assert len(compiled.manifests) == 6


def test_another_weight_changes_only_the_first_route() -> None:
    before, after = scenario.routes(3), scenario.routes(3, 80)
    assert [key for key in before if before[key] != after[key]] == ["s0"]


def test_the_compiler_prints_what_the_bench_reads() -> None:
    program = scenario.compiler(scenario.routes(2, 70))
    ast.parse(program)
    namespace: dict[str, Any] = {"print": lambda text: namespace.update(said=text)}  # pyright: ignore[reportUnknownLambdaType]
    exec(program, namespace)  # noqa: S102 - the generated program is what is tested
    said = json.loads(namespace["said"])
    assert said["seconds"] > 0
    assert said["mib"] > 1
    weights = [route["weight"] for item in said["objects"] if item["metadata"]["name"] == "s0"
               for http in item["spec"].get("http", []) for route in http["route"]]  # fmt: skip
    assert weights == [70, 30]


URN = "urn:pulumi:test::meshup::"


def resource(type_: str, name: str, inputs: Mapping[str, Any], *after: str) -> dict[str, object]:
    custom = type_.startswith(("kubernetes:", "pulumi:providers"))
    return {
        "type": type_,
        "urn": f"{URN}{type_}::{name}",
        "custom": custom,
        "inputs": inputs,
        "dependencies": list(after),
    }


NAMESPACE = resource(
    "kubernetes:core/v1:Namespace",
    "mesh-namespace",
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}, "__autonamed": False},
)
ISTIOD = resource(
    "kubernetes:helm.sh/v3:Release",
    "istiod",
    {
        "name": "istiod",
        "namespace": "istio-system",
        "chart": "/charts/istiod",
        "version": "1.2.3",
        "values": {"pilot": {"env": {"A": "b'\"c"}}},
        "skipAwait": False,
        "lint": False,
    },
    str(NAMESPACE["urn"]),
)
ROUTE = resource(
    "kubernetes:networking.istio.io/v1:VirtualService",
    "route",
    {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "r"}, "spec": {"http": []}},
    str(ISTIOD["urn"]),
)
STATE = {
    "deployment": {
        "resources": [
            {"type": "pulumi:pulumi:Stack", "urn": f"{URN}stack"},
            {"type": "pulumi:providers:kubernetes", "urn": f"{URN}provider"},
            NAMESPACE,
            ISTIOD,
            {"type": "meshup:index:Traffic", "urn": f"{URN}traffic"},
            ROUTE,
        ]
    }
}


def test_only_kubernetes_resources_are_taken_from_a_state() -> None:
    assert scenario.resources(STATE) == [NAMESPACE, ISTIOD, ROUTE]
    assert scenario.resources({}) == []


def placed(
    type_: str, name: str, parent: Mapping[str, object] | None, *after: Mapping[str, object]
) -> dict[str, object]:
    """A resource below a parent, which depends on others."""
    dependencies = [str(item["urn"]) for item in after]
    return resource(type_, name, {}, *dependencies) | {"parent": str(parent["urn"]) if parent else URN}


def test_what_comes_after_a_component_comes_after_all_that_is_in_it_and_what_is_in_it_after_all_before_it() -> None:
    kind = "kubernetes:core/v1:ConfigMap"
    outer = placed("meshup:index:Outer", "outer", None)
    inner = placed("meshup:index:Inner", "inner", outer)
    deep = placed(kind, "deep", inner)
    beside = placed(kind, "beside", outer, deep)
    second = placed("meshup:index:Second", "second", None, outer)
    hidden = placed("pulumi-python:dynamic:Resource", "hidden", second) | {"custom": True}
    child = placed(kind, "child", second)
    last = placed(kind, "last", None, hidden)
    state = {"deployment": {"resources": [outer, inner, deep, beside, second, hidden, child, last]}}
    names = {str(item["urn"]): str(item["urn"]).rpartition("::")[2] for item in state["deployment"]["resources"]}
    found = {names[str(r["urn"])]: [names[u] for u in r["dependencies"]] for r in scenario.resources(state)}  # pyright: ignore
    assert found == {
        "deep": [],
        "beside": ["deep"],
        "child": ["deep", "beside"],
        "last": ["deep", "beside"],
    }


def test_the_baseline_applies_and_installs_in_the_order_of_the_state() -> None:
    steps = scenario.baseline([NAMESPACE, NAMESPACE, ISTIOD, ROUTE])
    kinds: list[Sequence[str] | str] = [
        [str(item["kind"]) for item in step.objects] if isinstance(step, scenario.Apply) else step.name
        for step in steps
    ]
    assert kinds == [["Namespace", "Namespace"], "istiod", ["VirtualService"]]
    first = steps[0]
    assert isinstance(first, scenario.Apply)
    assert "__autonamed" not in first.objects[0]


def test_the_bare_program_registers_the_same_things_in_the_same_order() -> None:
    program = scenario.bare_program([NAMESPACE, ISTIOD, ROUTE])
    ast.parse(program)
    lines = program.splitlines()[3:]
    assert lines[0].startswith("r0 = k8s.core.v1.Namespace('mesh-namespace', metadata={'name': 'istio-system'}, ")
    assert "r1 = k8s.helm.v3.Release('istiod', name='istiod'" in lines[1]
    assert "skip_await=False" in lines[1]
    assert "lint" not in lines[1]
    assert lines[1].endswith("depends_on=[r0]))")
    assert "api_version='networking.istio.io/v1', kind='VirtualService'" in lines[2]
    assert lines[2].endswith("depends_on=[r1]))")


def test_peak_memory_is_read_from_the_status_of_a_process() -> None:
    assert measure.peak_mib("Name:\tpython\nVmHWM:\t   92160 kB\nVmRSS:\t 1 kB\n") == 90.0
    assert measure.peak_mib("Name:\tpython\nState:\tZ (zombie)\n") is None


def test_one_resource_per_object_is_left_out_where_it_takes_too_long_unless_it_is_asked_for() -> None:
    assert command.ways((), 100) == ["kubectl", "objects", "release"]
    assert command.ways((), 1000) == ["kubectl", "release"]
    assert command.ways(("objects",), 1000) == ["objects"]


@pytest.mark.parametrize("wrong", [["--services", "0"], ["--services", "x"], ["--only", "nothing"], ["--ways", "ftp"]])
def test_wrong_options_are_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        command.parser().parse_args(wrong)
    assert refusal.value.code == 2


class Recording(Bench):
    """A bench whose commands are only noted, but for those that are to fail."""

    def __init__(self, folder: Path, fails: str) -> None:
        def export(*_: object, **__: object) -> str:
            self.called("stack run")
            return json.dumps(STATE)

        def nothing(*_: object) -> SimpleNamespace:
            return bare

        bare = SimpleNamespace(name="bare", prepare=list)
        stack = SimpleNamespace(name="mine", file=folder / "Pulumi.mine.yaml", outputs=dict, run=export)
        stack.file.write_text("config: {}\n")
        embedded: Any = SimpleNamespace(stack=stack, cluster=SimpleNamespace(context="c"), stack_of=nothing)
        super().__init__(embedded, Progress(Console(quiet=True)), folder, lambda: self.called("renew"))
        self.calls: list[str] = []
        self.fails = fails

    def called(self, what: str) -> None:
        self.calls.append(what)
        if what.startswith(self.fails):
            raise BenchError(f"{what} failed")

    def pulumi(self, stack: Any, *arguments: str) -> Run:
        self.called(f"{stack.name} {arguments[0]}")
        return Run(1.0)

    def tool(self, *argv: str) -> Run:
        self.called(" ".join(argv[:2]))
        return Run(1.0)


def test_a_way_that_fails_leaves_the_rows_of_the_others_and_its_own_before_it(tmp_path: Path) -> None:
    bench = Recording(tmp_path, "bare preview")
    runs.install(bench)
    assert bench.failures == [Failure("install", "preview, no change", runs.BARE, "bare preview failed")]
    made = [(item.way, item.work) for item in bench.figures if item.way != runs.PROGRAM]
    assert made == [(runs.BARE, "up from nothing"), (runs.TOOLS, "up from nothing"), (runs.TOOLS, "destroy")]
    assert bench.calls.index("bare preview") < bench.calls.index("renew") < bench.calls.index("kubectl apply")


def test_routes_that_fail_in_one_way_are_measured_in_the_others_on_a_new_cluster(tmp_path: Path) -> None:
    bench = Recording(tmp_path, "kubectl diff")
    runs.scale(bench, {1: ["kubectl", "release"], 2: ["kubectl"]})
    assert [(f.group, f.work, f.way) for f in bench.failures] == [
        (f"scale {count}", "preview, no change", runs.KUBECTL) for count in (1, 2)
    ]
    assert [item.work for item in bench.figures if item.way == runs.RELEASE] == [
        "first up",
        "preview, no change",
        "one weight changed",
        "routes removed",
    ]
    assert bench.calls.count("renew") == 2
    assert bench.calls.count("kubectl create") == 3


def test_a_run_with_a_failed_part_shows_it_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(_: object, found: list[Figure], failures: list[Failure]) -> None:
        found.append(figure("kubectl", 4.0))
        failures.append(Failure("install", "up from nothing", runs.BARE, "no namespace"))

    monkeypatch.setattr(command, "measure", measured)
    monkeypatch.setattr(command.paths, "repository", lambda: tmp_path)
    assert command.main([]) == 1
    assert re.search(r"bare +failed", capsys.readouterr().out)
    written = json.loads((tmp_path / command.RESULTS).read_text())
    assert (written["complete"], len(written["figures"]), len(written["failures"])) == (False, 1, 1)


def test_what_is_no_failure_of_a_part_is_not_taken_for_one(tmp_path: Path) -> None:
    bench = Recording(tmp_path, "nothing")

    def broken(error: BaseException) -> None:
        raise error

    assert not bench.attempt("scale", runs.PROGRAM, lambda: broken(StackError("locked")))
    assert bench.failures == [Failure("scale", "", runs.PROGRAM, "locked")]
    with pytest.raises(KeyboardInterrupt):
        bench.attempt("scale", runs.PROGRAM, lambda: broken(KeyboardInterrupt()))


@pytest.mark.parametrize(
    "target", ["up", "down", "status", "traffic", "shell", "tools", "test", "tests", "test-unit", "bench"]
)
def test_the_arguments_of_make_reach_the_one_command_that_they_are_for(target: str) -> None:
    argv = ["make", "--dry-run", "--always-make", target, "ARGS=--for-this"]
    said = subprocess.run(argv, cwd=paths.repository(), capture_output=True, text=True, check=True).stdout
    assert sum("--for-this" in line for line in said.splitlines()) == 1
