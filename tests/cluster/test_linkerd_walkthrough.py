"""docs/walkthrough, typed command by command: up on Istio, split, dashboard, the other mesh, clean up."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from devcluster.embedded import Embedded
from devcluster.stack import Stack
from devcluster.stackfile import Setting
from tests.cluster.test_linkerd_mesh import charts, must, names, read, traces
from tests.conftest import program
from tests.unit.linkerd.test_docs import commands

__all__ = ["charts"]
pytestmark = [pytest.mark.cluster, pytest.mark.nightly]


def weights(embedded: Embedded, kind: str, backends: str) -> list[int]:
    rule = read(embedded, kind, "reviews", "-n", "bookinfo")["spec"]
    return [entry["weight"] for entry in (rule.get("http") or rule.get("rules"))[0][backends]]


@pytest.fixture
def stack(embedded: Embedded, charts: Path, tmp_path: Path) -> Iterator[Stack]:
    settings: dict[str, Setting] = {
        "meshup:mesh": "istio",
        "meshup:charts": {"directory": str(charts)},
        # Nobody answers Istio's webhooks where pods are no processes.
        "meshup:istio": {"webhooks": False},
    }
    with program(embedded, tmp_path / "program", settings) as stack:
        yield stack


def test_the_walkthrough_does_what_it_says(embedded: Embedded, stack: Stack) -> None:
    must(stack, "config", "set", "--path", "meshup:apps[1]", "emojivoto")
    must(stack, "preview")
    must(stack, "up", "--yes", "--skip-preview")
    assert weights(embedded, "virtualservice", "route") == [90, 10]
    seen: dict[str, Any] = {}
    for command in commands("walkthrough/README.md"):
        # A reader answers the question; here it is answered beforehand.
        confirmed = [*command[1:], "--yes", "--skip-preview"] if command[1] in ("up", "destroy") else command[1:]
        if command[1] == "destroy":
            assert weights(embedded, "httproute", "backendRefs") == [50, 50]
            assert "istio-system" not in names(embedded, "namespace")
            assert "linkerd-viz" in names(embedded, "namespace")
        said = subprocess.run(
            stack.wrap(["pulumi", "--non-interactive", "--color", "never", *confirmed]),
            cwd=stack.project,
            env=stack.env(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, f"{command}: {said.stdout}{said.stderr}"
        if command[1] == "stack":
            seen[command[3]] = json.loads(said.stdout)
    splits = cast("dict[str, Any]", seen["trafficSplits"])
    assert [backend["weight"] for backend in splits["reviews"]["rules"][0]["backends"]] == [50, 50]
    assert set(seen["apps"]) == {"bookinfo", "emojivoto"}
    assert seen["dashboards"] == {}, "linkerd-viz belongs to Linkerd; on Istio there is none"
    assert traces(embedded) == {}
    assert names(embedded, "namespace").isdisjoint({"bookinfo", "emojivoto", "linkerd", "istio-system"})
