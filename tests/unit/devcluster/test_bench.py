import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from components.routing import compile_routes, parse
from devcluster.bench import command, measure, scenario
from devcluster.bench.figures import Figure, Run, against, collected, document, ratio, rows


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
    written = json.loads(json.dumps(document([program, bare, figure("kubectl", 1.0, 3.0)], {"command": "x"})))
    assert written["command"] == "x"
    assert written["figures"][0]["ratio"] == 2.0
    assert written["figures"][0]["programMiBRatio"] == 1.5
    assert written["figures"][0]["processorSeconds"] == 3.0
    assert written["figures"][2]["runs"] == [1.0, 3.0]
    assert written["figures"][2]["programShare"] is None


def test_the_generated_routes_compile_without_a_word() -> None:
    found, faults = parse(scenario.routes(3), "meshup:traffic", [])
    compiled = compile_routes(found, mesh="istio")
    assert [*faults, *compiled.diagnostics] == []
    assert len(compiled.objects) == 6


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
    return {"type": type_, "urn": f"{URN}{type_}::{name}", "inputs": inputs, "dependencies": list(after)}


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
