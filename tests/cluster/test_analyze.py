"""`istioctl analyze` reports nothing on what meshup compiles: the examples of the docs and of the capability matrix."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.apps import bookinfo
from components.gateways.settings import GatewaySettings
from components.meshes import MESHES
from devcluster.toolchain import Toolbox
from tests.dataplane.traffic import examples
from tests.dataplane.traffic.examples import Example, Manifest
from tests.unit.traffic.helpers import GATEWAYS

pytestmark = pytest.mark.cluster

MESSAGES_FOUND = 79
"""istioctl's exit code when a message reaches the threshold (istioctl/pkg/analyze, AnalyzerFoundIssuesError)."""


@pytest.fixture(scope="module")
def istioctl() -> Path:
    toolbox = Toolbox()
    toolbox.ensure(["istioctl"])
    return toolbox.path("istioctl")


def application() -> list[Manifest]:
    """What the routes are about: Bookinfo with its namespace, as meshup makes them."""
    namespace: Manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": bookinfo.DEFAULTS.namespace, "labels": {"istio-injection": "enabled"}},
    }
    return [namespace, *bookinfo.manifests(bookinfo.DEFAULTS)]


def analyzed(istioctl: Path, folder: Path, objects: Sequence[Manifest]) -> list[dict[str, Any]]:
    """The messages of `istioctl analyze` on objects, without a cluster."""
    file = folder / "objects.yaml"
    file.write_text("\n---\n".join(json.dumps(item) for item in [*application(), *objects]))
    options = ["--use-kube=false", "--all-namespaces", "--output=json", "--failure-threshold=Info"]
    argv = [str(istioctl), "analyze", *options, str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (0, MESSAGES_FOUND), done.stderr
    return json.loads(done.stdout)


def by_message(istioctl: Path, folder: Path, chosen: Sequence[Example]) -> list[str]:
    """The messages of all examples, each with the example's name. Every example is analyzed on its own."""
    assert chosen
    return [
        f"{example.name}: {message['code']} {message['origin']} {message['message']}"
        for example in chosen
        for message in analyzed(istioctl, folder, example.objects)
    ]


def test_nothing_is_reported_on_the_strategies_of_the_docs(istioctl: Path, tmp_path: Path) -> None:
    assert by_message(istioctl, tmp_path, list(examples.strategies("istio"))) == []


def test_nothing_is_reported_on_the_cells_of_the_capability_matrix(istioctl: Path, tmp_path: Path) -> None:
    gateways = [item for one in GATEWAYS for item in MESHES["istio"].gateway_objects(one, GatewaySettings(), [])]
    chosen = [replace(example, objects=(*gateways, *example.objects)) for example in examples.cells("istio")]
    assert by_message(istioctl, tmp_path, chosen) == []


def test_a_subset_that_is_missing_is_reported(istioctl: Path, tmp_path: Path) -> None:
    """Otherwise the tests above would prove nothing."""
    example = next(example for example in examples.strategies("istio") if example.name == "canary by istio")
    without = [item for item in example.objects if item["kind"] != "DestinationRule"]
    assert {message["code"] for message in analyzed(istioctl, tmp_path, without)} == {"IST0101"}
