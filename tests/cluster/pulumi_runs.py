"""Pulumi programs run through the embedded plugin on a real API server."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from devcluster.catalogue import PULUMI_TOOLS
from devcluster.cluster import CONTROL_PLANE, Cluster
from devcluster.progress import Progress
from devcluster.toolchain import Toolbox
from tests.cluster.snippets import Run, interpreter
from tests.conftest import ONE_CHECKPOINT

_TOOLS = (*CONTROL_PLANE, *PULUMI_TOOLS)

# Runs where the cluster can be reached; `ask(method, path, body)` is one request to its API.
_PRELUDE = """
from devcluster.provider import kubeconfig
from devcluster.provider.client import ApiError, Client
import os
config, _ = kubeconfig.effective(kubeconfig.locate("", os.environ))
ask = Client(config).request
MERGE = "application/merge-patch+json"
"""


class Bench:
    """A cluster with the tools to run programs on it."""

    def __init__(self, tools: Toolbox, cluster: Cluster, ask: Run) -> None:
        """Make it.

        Args:
            tools: for the commands.
            cluster: it is up.
            ask: runs a snippet of Python beside the cluster's API; returns what it assigns to `answer`.
        """
        self.cluster = cluster
        self.ask = ask
        self.environment = tools.env({**os.environ, **cluster.environment()})

    def run(
        self, command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command where the cluster can be reached."""
        return subprocess.run(
            self.cluster.exec_argv(command),
            cwd=folder,
            env=environment or self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


class Program:
    """A Pulumi program in a folder of its own, with its own backend."""

    def __init__(self, bench: Bench, folder: Path, state: Path) -> None:
        """Make its stack `dev`.

        Args:
            bench: where it runs.
            folder: the program; Pulumi.yaml is there.
            state: for the backend and Pulumi's own files.
        """
        self._bench = bench
        self.folder = folder
        self.backend = state / "backend"
        self.backend.mkdir(parents=True)
        self.environment = {
            **bench.environment,
            **ONE_CHECKPOINT,
            "PULUMI_HOME": str(state / "home"),
            "PULUMI_BACKEND_URL": f"file://{self.backend}",
            "PULUMI_CONFIG_PASSPHRASE": "of a test",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
        }
        self.pulumi("stack", "init", "dev")

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run pulumi; returns what it printed and how it ended."""
        command = ["pulumi", "--non-interactive", "--color", "never", *arguments]
        return self._bench.run(command, self.folder, self.environment | variables)

    def pulumi(self, *arguments: str, **variables: str) -> str:
        """Run pulumi, which must succeed; returns its standard output."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, *arguments: str, **variables: str) -> str:
        """Run `pulumi up`, which must succeed."""
        return self.pulumi("up", "--yes", "--skip-preview", *arguments, **variables)

    def destroy(self) -> str:
        """Run `pulumi destroy`, which must succeed."""
        return self.pulumi("destroy", "--yes", "--skip-preview")

    def outputs(self, *, secrets: bool = False) -> dict[str, Any]:
        """Return the stack outputs."""
        arguments = ["--show-secrets"] if secrets else []
        return cast("dict[str, Any]", json.loads(self.pulumi("stack", "output", "--json", *arguments)))

    def state(self) -> list[dict[str, Any]]:
        """Return the resources in state, as they are stored: secrets encrypted."""
        # What `pulumi stack export` prints, without starting it: tests ask many times.
        (file,) = self.backend.glob(".pulumi/stacks/*/dev.json")
        latest: Any = json.loads(file.read_text())["checkpoint"]["latest"]
        return cast("list[dict[str, Any]]", latest.get("resources") or [])

    def configure(self, key: str, value: str | None) -> None:
        """Do what `pulumi config set` does, or `config rm` for None, without starting it."""
        name = yaml.safe_load((self.folder / "Pulumi.yaml").read_text())["name"]
        file = self.folder / "Pulumi.dev.yaml"
        content: dict[str, Any] = yaml.safe_load(file.read_text()) or {}
        config: dict[str, Any] = content.setdefault("config", {})
        config.pop(key := key if ":" in key else f"{name}:{key}", None)
        if value is not None:
            config[key] = value
        file.write_text(yaml.safe_dump(content))

    def resource(self, name: str) -> dict[str, Any]:
        """Return a resource in state by its name in the program."""
        return next(r for r in self.state() if r["urn"].endswith(f"::{name}"))


def bench(folder: Path) -> Iterator[Bench]:
    """Bring up a cluster for one test module, and take it down."""
    tools = Toolbox()
    tools.ensure(_TOOLS)
    with pytest.MonkeyPatch.context() as patch:
        # Apart from the user's own clusters and those of another run.
        patch.setenv("XDG_STATE_HOME", str(folder))
        cluster = Cluster("provider")
        try:
            with Progress() as progress:
                # No pod of these tests is a process, so no namespace is needed.
                cluster.up(tools, progress, mode="api")
            with interpreter(cluster, _PRELUDE) as ask:
                yield Bench(tools, cluster, ask)
        finally:
            cluster.down()
