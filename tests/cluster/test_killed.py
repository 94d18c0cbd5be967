"""`pulumi up` is killed by SIGKILL while it joins a namespace, restarts its workloads and opens a gateway to them."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import paths
from devcluster.embedded import Embedded
from devcluster.stack import Stack
from devcluster.stackfile import Setting
from stacks.namespaces import RESTART_ANNOTATION
from tests.cluster.test_own_namespaces import pulumi
from tests.conftest import prepared_program
from tests.dataplane.test_make_up import configure, killed_up

pytestmark = [pytest.mark.cluster, pytest.mark.nightly]

# As soon as Pulumi says one of these, it is killed. They come in this order, so each run goes a bit further.
MOMENTS = (
    r"Release \S*public\S* creating",
    r"NamespacePatch \S+ creat",
    r"DeploymentPatch \S+ creat",
    r":Gateway \S+ creat",
    r"VirtualService \S+ creat",
)

GATEWAYS: dict[str, Any] = {
    "public": {"listeners": [{"port": 80, "protocol": "http", "hosts": ["shop.example.com"]}]},
}
NOTHING: dict[str, Setting] = {"meshup:namespaces": {}, "meshup:gateways": {}, "meshup:traffic": {}}


def run(embedded: Embedded, *argv: str) -> str:
    done = subprocess.run(
        embedded.cluster.exec_argv(argv), env=embedded.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def estate(embedded: Embedded) -> dict[str, tuple[Mapping[str, str], int, str]]:
    """The namespace and the Deployments: their labels, how often they were changed, and for which sidecar."""
    found: dict[str, tuple[Mapping[str, str], int, str]] = {}
    for kind in ("namespace/shop", "deployment/web-v1", "deployment/web-v2"):
        item = json.loads(run(embedded, "kubectl", "get", kind, "--namespace", "shop", "--output", "json"))
        template = item["spec"].get("template", {}).get("metadata", {}).get("annotations", {})
        metadata = item["metadata"]
        found[kind] = metadata.get("labels", {}), metadata.get("generation", 0), template.get(RESTART_ANNOTATION, "")
    return found


@pytest.fixture
def stack(embedded: Embedded, tmp_path: Path) -> Iterator[Stack]:
    """A mesh, and a shop that runs outside of it."""
    embedded.toolbox.ensure(["kubectl"])
    objects = str(paths.repository() / "devcluster" / "examples" / "shop" / "objects.yaml")
    run(embedded, "kubectl", "apply", "--filename", objects)
    run(embedded, "kubectl", "wait", "deployment", "--all", "--namespace", "shop", "--for=condition=Available")
    # Somebody kills Pulumi, so it writes checkpoints.
    subject = prepared_program(embedded, tmp_path / "program", NOTHING)
    subject.file.write_text(re.sub(r"meshup:apps:\n *- bookinfo\n", "meshup:apps: []\n", subject.file.read_text()))
    try:
        pulumi(subject, "up", "--yes", "--skip-preview")
        yield subject
    finally:
        subject.recover()
        pulumi(subject, "destroy", "--yes", "--skip-preview")
        run(embedded, "kubectl", "delete", "--filename", objects)


def test_killed_on_the_way_it_converges_and_restarts_nothing_twice(
    embedded: Embedded, stack: Stack, tmp_path: Path
) -> None:
    before = estate(embedded)
    discover = [str(paths.repository() / "meshup"), "discover", "web", "--namespace", "shop"]
    routes = yaml.safe_load(run(embedded, *discover, "--stack", stack.name, "--directory", str(stack.project)))
    routes["web"] |= {"gateway": "public", "hosts": ["shop.example.com"]}
    wanted: dict[str, Setting] = {"meshup:namespaces": {"shop": {"restart": True}}, "meshup:gateways": GATEWAYS}
    configure(stack, {**wanted, "meshup:traffic": routes})
    for number, moment in enumerate(MOMENTS):
        assert killed_up(stack, moment, tmp_path / f"{number}.log"), f"{moment} must be met, or nothing is proved"
        stack.recover()
    pulumi(stack, "up", "--yes", "--skip-preview")
    pulumi(stack, "preview", "--expect-no-changes")
    for kind, (labels, changes, sidecar) in estate(embedded).items():
        own, changes_before, _ = before[kind]
        joined = {"istio-injection": "enabled"} if kind == "namespace/shop" else {}
        assert labels == {**own, **joined}
        assert (changes - changes_before, bool(sidecar)) == ((0, False) if joined else (1, True)), kind

    configure(stack, NOTHING)
    pulumi(stack, "up", "--yes", "--skip-preview")
    pulumi(stack, "preview", "--expect-no-changes")
    assert {kind: labels for kind, (labels, *_) in estate(embedded).items()} == {
        kind: labels for kind, (labels, *_) in before.items()
    }
