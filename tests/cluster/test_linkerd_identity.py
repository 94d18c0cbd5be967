"""The identity of Linkerd through the real engine: made once, renewed within its window, rotated in three steps.

The certificates live in the state alone, so these tests need the engine and no cluster.
"""

import base64
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.meshes.linkerd.identity import certificates
from devcluster import paths
from devcluster.toolchain import Toolbox

pytestmark = pytest.mark.cluster

_PROGRAM = """
import json, pathlib
import pulumi
from components.meshes.linkerd.identity.component import CONTROL_PLANE_WEBHOOKS, Identity, IdentityPlan, Lifetime

asked = json.loads(pathlib.Path("plan.json").read_text())
plan = IdentityPlan(
    "managed", "cluster.local", tuple(asked["anchors"]), asked["signer"],
    Lifetime(3650, 90), Lifetime(365, 90), Lifetime(365, 90),
)
services = {key: (service, "linkerd") for key, service in CONTROL_PLANE_WEBHOOKS.items()}
made = Identity("identity", plan, services)
pulumi.export("identity", made.summary)
pulumi.export("bundle", made.trust_bundle)
pulumi.export("restart", made.restart_hash)
pulumi.export("issuer", made.issuer.certificate_pem)
pulumi.export("key", made.issuer.private_key_pem)
"""
_TOOLS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
_START = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Engine:
    """A Pulumi project in a folder of its own, run with a clock of its own."""

    def __init__(self, folder: Path, tools: Toolbox) -> None:
        """Take a project as it is in a folder, or make it."""
        self.folder = folder
        self.log = ""
        self._pulumi = str(tools.path("pulumi"))
        self._environment = tools.env() | {
            "PYTHONPATH": str(paths.repository()),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "of a test",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            # Which stack is selected is kept by the project's path, and a copy has another.
            "PULUMI_STACK": "test",
        }
        if not (folder / "backend").exists():
            (folder / "backend").mkdir()
            (folder / "Pulumi.yaml").write_text("name: identity\nruntime: python\n")
            (folder / "__main__.py").write_text(_PROGRAM)
            self.run("stack", "init", "test")

    def run(self, *arguments: str, at: datetime = _START, expect: int = 0) -> str:
        done = subprocess.run(
            [self._pulumi, "--non-interactive", "--logtostderr", "-v=3", *arguments],
            cwd=self.folder,
            env=self._environment | {"MESHUP_NOW": at.isoformat()},
            capture_output=True,
            text=True,
            check=False,
        )
        if "--show-secrets" not in arguments:
            self.log += done.stdout + done.stderr
        assert (done.returncode == 0) == (expect == 0), done.stdout + done.stderr[-3000:]
        return done.stdout

    def up(self, anchors: list[str], signer: str, at: datetime = _START, expect: int = 0) -> str:
        (self.folder / "plan.json").write_text(json.dumps({"anchors": anchors, "signer": signer}))
        return self.run("up", "--yes", "--skip-preview", at=at, expect=expect)

    def unchanged(self, at: datetime) -> None:
        self.run("preview", "--expect-no-changes", at=at)

    def outputs(self) -> dict[str, Any]:
        return json.loads(self.run("stack", "output", "--json", "--show-secrets"))


@pytest.fixture(scope="module")
def tools() -> Toolbox:
    toolbox = Toolbox()
    toolbox.ensure(_TOOLS)
    return toolbox


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tools: Toolbox) -> Engine:
    """Brought up with one anchor. Every test goes on with a copy of it, for the state is nothing but files."""
    engine = Engine(tmp_path_factory.mktemp("identity"), tools)
    engine.up(["a"], "a")
    return engine


@pytest.fixture
def engine(begun: Engine, tmp_path: Path, tools: Toolbox) -> Engine:
    shutil.copytree(begun.folder, tmp_path / "copy")
    engine = Engine(tmp_path / "copy", tools)
    engine.log = begun.log
    return engine


def keys_of(outputs: dict[str, Any]) -> set[str]:
    return certificates.members(outputs["bundle"])


def test_certificates_are_made_once_and_stay_for_months_and_are_renewed_in_their_window(engine: Engine) -> None:
    first = engine.outputs()
    assert certificates.is_signed_by(first["issuer"], first["bundle"])
    for later in (timedelta(hours=1), timedelta(days=274)):
        engine.unchanged(_START + later)
    on_another_day = engine.up(["a"], "a", at=_START + timedelta(days=10))
    assert engine.outputs() == first
    assert "(355 days left)" in on_another_day

    in_window = _START + timedelta(days=276)
    said = engine.run("preview", at=in_window)
    assert re.search(r"~ 4 to update", said), said
    engine.up(["a"], "a", at=in_window)
    second = engine.outputs()
    assert second["issuer"] != first["issuer"]
    assert second["key"] != first["key"]
    assert second["bundle"] == first["bundle"]
    assert second["restart"] == first["restart"], "a new issuer under the same anchor restarts nothing"
    engine.unchanged(in_window + timedelta(days=1))


def test_an_anchor_in_its_window_keeps_its_key_and_the_issuer(engine: Engine) -> None:
    late = _START + timedelta(days=3650 - 60)
    engine.up(["a"], "a", at=late)
    before = engine.outputs()
    engine.unchanged(late + timedelta(days=1))
    assert certificates.read(before["bundle"]).not_after > late + timedelta(days=3600)
    assert certificates.is_signed_by(before["issuer"], before["bundle"])


def test_a_trust_anchor_is_rotated_in_three_runs_each_of_which_can_be_the_last(engine: Engine) -> None:
    begun = engine.outputs()
    hashes = [begun["restart"]]

    engine.up(["a", "b"], "a")
    both = engine.outputs()
    hashes.append(both["restart"])
    assert keys_of(both) > keys_of(begun)
    assert both["issuer"] == begun["issuer"]
    engine.unchanged(_START + timedelta(days=1))

    engine.up(["a", "b"], "b")
    moved = engine.outputs()
    hashes.append(moved["restart"])
    assert moved["bundle"] == both["bundle"]
    assert moved["issuer"] != both["issuer"]
    engine.unchanged(_START + timedelta(days=1))

    engine.up(["b"], "b")
    ended = engine.outputs()
    hashes.append(ended["restart"])
    assert ended["issuer"] == moved["issuer"]
    assert keys_of(ended) == keys_of(both) - keys_of(begun)
    assert certificates.is_signed_by(ended["issuer"], ended["bundle"])
    assert len(set(hashes)) == 4, "each step restarts the workloads"
    engine.unchanged(_START + timedelta(days=1))


def test_a_rotation_that_leaves_out_a_step_is_refused_and_nothing_is_lost(engine: Engine) -> None:
    begun = engine.outputs()
    engine.up(["b"], "b", expect=1)
    assert "MSH216" in engine.log
    engine.up(["a", "b"], "b", expect=1)
    engine.up(["a", "b"], "a")
    assert engine.outputs()["issuer"] == begun["issuer"]


def test_no_private_key_is_in_the_state_the_log_or_the_masked_outputs(engine: Engine) -> None:
    key = engine.outputs()["key"]
    assert "BEGIN PRIVATE KEY" in key
    masked = engine.run("stack", "output", "--json") + engine.run("stack", "export")
    engine.run("refresh", "--yes", "--skip-preview")
    engine.run("preview", "--diff", at=_START + timedelta(days=300))
    engine.run("up", "--yes", "--diff", at=_START + timedelta(days=300))
    files = [file for file in (engine.folder / "backend").rglob("*") if file.is_file()]
    state = "".join(file.read_text(errors="replace") for file in files)
    for text in (masked, state, engine.log):
        assert "PRIVATE KEY" not in text
        # The third line is the public part, which is in the certificate as well.
        for line in key.splitlines()[1:3]:
            assert line not in text
            assert base64.b64encode(line.encode()).decode() not in text
    assert "ciphertext" in state
