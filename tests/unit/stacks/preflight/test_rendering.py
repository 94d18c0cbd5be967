"""What helm prints of a chart, with a command in its place."""

from pathlib import Path
from typing import Any

import pytest

from components.helm import HelmRelease
from stacks.preflight import rendering
from stacks.preflight.rendering import CHARTS, objects, render
from tests.unit.stacks.preflight.subjects import subject

RELEASE: HelmRelease = {
    "role": "istiod",
    "name": "istiod",
    "namespace": "istio-system",
    "chart": "/charts/istiod",
    "version": "1.30.3",
    "values": {"global": {"hub": "registry.example/istio"}},
    "timeout": 300,
}


def helm(folder: Path, script: str) -> dict[str, str]:
    """Put a script in helm's place; return an environment that finds it first."""
    command = folder / "helm"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_the_objects_of_a_release_are_what_helm_renders_with_its_values(tmp_path: Path) -> None:
    # What it is called with comes back as an object.
    script = """echo "kind: ConfigMap"; echo "apiVersion: v1"; echo "metadata: {name: x}"
echo "arguments: $*"; printf 'values: '; cat"""
    made = render([RELEASE], "v1.36.3", helm(tmp_path, script))
    (item,) = made.by_release["istiod"]
    assert item["values"] == RELEASE["values"]
    words = item["arguments"].split()
    assert words[:3] == ["template", "istiod", "/charts/istiod"]
    for option, value in (("--namespace", "istio-system"), ("--version", "1.30.3"), ("--kube-version", "v1.36.3")):
        assert words[words.index(option) + 1] == value
    assert not made.diagnostics


def test_a_chart_that_does_not_render_is_reported_and_the_others_are_not_lost(tmp_path: Path) -> None:
    script = """case $2 in istiod) echo 'Error: bad values' >&2; exit 1;; esac
printf 'kind: A\napiVersion: v1\nmetadata: {name: x}\n'"""
    other: HelmRelease = {**RELEASE, "name": "base"}
    made = render([RELEASE, other], "v1.36.3", helm(tmp_path, script))
    assert list(made.by_release) == ["base"]
    (fault,) = made.diagnostics
    assert (fault.code, fault.path) == ("MSH761", "Release/istio-system/istiod")
    assert "bad values" in fault.message


@pytest.mark.parametrize("script", ["sleep 5", "printf 'a: [\n'"])
def test_a_helm_that_hangs_or_prints_nonsense_is_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 1)
    made = render([RELEASE], "v1.36.3", helm(tmp_path, script))
    assert [fault.code for fault in made.diagnostics] == ["MSH761"]


def test_without_helm_that_is_said_unless_there_is_no_chart(tmp_path: Path) -> None:
    nowhere = {"PATH": str(tmp_path)}
    assert [fault.code for fault in render([RELEASE], "v1.36.3", nowhere).diagnostics] == ["MSH760"]
    assert not render([], "v1.36.3", nowhere).diagnostics
    assert CHARTS.run(subject()) == ()


def test_lists_are_taken_apart_and_what_is_no_object_is_left_out() -> None:
    item: dict[str, Any] = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "x"}}
    assert objects([None, "text", {"kind": "A"}, {"apiVersion": "v1", "kind": "List", "items": [item]}]) == [item]
