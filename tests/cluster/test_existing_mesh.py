"""Stacks on a mesh that Helm has installed: two teams share an Istio; and Linkerd's stand-in charts."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.embedded import Embedded
from devcluster.stack import Stack
from tests import standins
from tests.conftest import ONE_CHECKPOINT, copied_program

pytestmark = pytest.mark.cluster

# No istiod runs here that would answer webhooks.
ISTIOD = ("--set", "global.operatorManageWebhooks=true", "--set", "global.configValidation=false")
REVIEWS: dict[str, Any] = {"reviews": {"namespace": "bookinfo", "split": {"v1": 90, "v2": 10}}}
WEB: dict[str, Any] = {"web-svc": {"namespace": "emojivoto", "rules": [{"timeout": "2s"}]}}

_READER = """
import pulumi

for team in ("platform", "team"):
    pulumi.export(team, pulumi.StackReference(f"organization/meshup/{team}").get_output("trafficSplits"))
"""


@dataclass(frozen=True)
class Estate:
    """A cluster with a mesh of Helm, and a folder for programs and their backend."""

    embedded: Embedded
    folder: Path

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            self.embedded.cluster.exec_argv(argv),
            env=self.embedded.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stack(self, name: str, settings: Mapping[str, Any]) -> Stack:
        program, state = self.folder / "program", self.folder / "state"
        if not program.exists():
            copied_program(program)
            state.mkdir()
        stack = self.embedded.stack_of(program, state, state / "passphrase", name)
        stack = replace(stack, environment={**stack.environment, **ONE_CHECKPOINT})
        self.embedded.prepare(stack)
        configure(stack, settings)
        return stack


def configure(stack: Stack, settings: Mapping[str, Any]) -> None:
    content = yaml.safe_load(stack.file.read_text())
    content["config"] |= settings
    stack.file.write_text(yaml.safe_dump(content))


def pulumi(stack: Stack, *arguments: str) -> "subprocess.CompletedProcess[str]":
    argv = ["pulumi", "--non-interactive", "--color", "never", *arguments]
    return subprocess.run(
        stack.wrap(argv), cwd=stack.project, env=stack.env(), capture_output=True, text=True, check=False
    )


def must(stack: Stack, *arguments: str) -> str:
    done = pulumi(stack, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(stack: Stack) -> list[str]:
    done = pulumi(stack, "preview")
    assert done.returncode != 0, done.stdout
    return re.findall(r"error (MSH\d+)", done.stdout + done.stderr)


@pytest.fixture
def estate(embedded: Embedded, tmp_path: Path) -> Iterator[Estate]:
    embedded.toolbox.ensure(["kubectl", "helm"])
    made = Estate(embedded, tmp_path)
    yield made
    for name in ("team", "platform"):
        if (tmp_path / "program" / f"Pulumi.{name}.yaml").exists():
            stack = embedded.stack_of(tmp_path / "program", tmp_path / "state", tmp_path / "state/passphrase", name)
            must(stack, "destroy", "--yes", "--skip-preview")


@pytest.fixture
def istio(estate: Estate) -> Iterator[Estate]:
    charts = estate.embedded.toolbox.path("istio-charts")
    # Other stacks have left theirs, with the namespace of their release.
    crds = estate.run("kubectl", "get", "customresourcedefinitions", "-o", "name").split()
    if left := [name for name in crds if name.endswith(".istio.io")]:
        estate.run("kubectl", "delete", *left)
    estate.run("kubectl", "create", "namespace", "mesh")
    estate.run("helm", "install", "base", str(charts / "base"), "-n", "mesh", "--set", "global.istioNamespace=mesh")
    estate.run(
        "helm",
        "install",
        "istiod",
        str(charts / "istiod"),
        "-n",
        "mesh",
        "--set",
        "global.istioNamespace=mesh",
        *ISTIOD,
    )
    yield estate
    estate.run("helm", "uninstall", "-n", "mesh", "istiod", "base")
    crds = estate.run("kubectl", "get", "customresourcedefinitions", "-o", "name").split()
    estate.run("kubectl", "delete", *(name for name in crds if name.endswith(".istio.io")))
    estate.run("kubectl", "delete", "namespace", "mesh")


def test_two_teams_share_an_istio_that_helm_has_installed(istio: Estate) -> None:
    common = {"meshup:istio": {"install": False, "namespace": "mesh"}}
    before = istio.run("helm", "list", "--all-namespaces", "--output", "json")
    platform = istio.stack("platform", {**common, "meshup:traffic": REVIEWS})
    team = istio.stack("team", {**common, "meshup:apps": ["emojivoto"], "meshup:traffic": WEB})
    must(platform, "up", "--yes", "--skip-preview")
    must(team, "up", "--yes", "--skip-preview")
    mesh = json.loads(must(team, "stack", "output", "mesh", "--json"))
    assert mesh["installed"] is False
    assert (mesh["version"], mesh["namespace"], mesh["mtls"]) == ("1.31.0-dev", "mesh", "permissive")
    must(platform, "preview", "--expect-no-changes")
    must(team, "preview", "--expect-no-changes")
    assert istio.run("helm", "list", "--all-namespaces", "--output", "json") == before

    # By another kind of object, and by one of the same name.
    service = {
        "ports": [{"number": 9080}],
        "versions": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
        "selector": {"app": "reviews"},
    }
    for api, code in (("gateway-api", "MSH055"), ("istio", "MSH026")):
        routes: dict[str, Any] = {**WEB, "reviews": {**REVIEWS["reviews"], **service, "api": api}}
        configure(team, {"meshup:traffic": routes})
        assert code in refused(team)
    configure(team, {"meshup:traffic": WEB})

    reader = istio.folder / "reader"
    reader.mkdir()
    options = f"{{virtualenv: {platform.project / '.venv'}}}"
    (reader / "Pulumi.yaml").write_text(f"name: reader\nruntime: {{name: python, options: {options}}}\n")
    (reader / "__main__.py").write_text(_READER)
    other = replace(team, project=reader, name="reader")
    must(other, "stack", "init", "reader")
    must(other, "up", "--yes", "--skip-preview")
    read = json.loads(must(other, "stack", "output", "--json"))
    assert read["platform"]["reviews"]["rules"][0]["backends"] == [
        {"name": "v1", "weight": 90},
        {"name": "v2", "weight": 10},
    ]
    assert set(read["team"]) == {"web-svc"}


def test_a_stack_works_on_a_linkerd_that_helm_has_installed(estate: Estate) -> None:
    charts = estate.folder / "charts"
    standins.charts(charts)
    bundle = estate.embedded.toolbox.path("gateway-api-crds") / "standard"
    estate.run("kubectl", "apply", "--server-side", "--filename", str(bundle))
    estate.run("kubectl", "create", "namespace", "linkerd")
    strict = ("--set", "proxy.defaultInboundPolicy=all-authenticated", "--set", "identity.externalCA=true")
    for name in ("linkerd-crds", "linkerd-control-plane"):
        estate.run("helm", "install", name, str(charts / name), "-n", "linkerd", *strict)
    # kubectl tries again while the API server is busy with the new kinds.
    estate.run("kubectl", "get", "httproutes,grpcroutes,serviceprofiles.linkerd.io,httproutes.policy.linkerd.io")
    try:
        linkerd = {"meshup:mesh": "linkerd", "meshup:linkerd": {"install": False}, "meshup:traffic": REVIEWS}
        stack = estate.stack("platform", linkerd)
        must(stack, "up", "--yes", "--skip-preview")
        mesh = json.loads(must(stack, "stack", "output", "mesh", "--json"))
        assert (mesh["version"], mesh["namespace"], mesh["mtls"]) == ("2026.8.3", "linkerd", "strict")
        must(stack, "preview", "--expect-no-changes")
        configure(stack, {"meshup:mtls": "permissive"})
        assert refused(stack) == ["MSH054"]
        configure(stack, {"meshup:mtls": "strict"})
        must(stack, "destroy", "--yes", "--skip-preview")
    finally:
        estate.run("helm", "uninstall", "-n", "linkerd", "linkerd-control-plane", "linkerd-crds")
        estate.run("kubectl", "delete", "namespace", "linkerd")
        estate.run("kubectl", "delete", "--filename", str(bundle))
