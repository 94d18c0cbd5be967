"""A policy is switched on, changed and off on a real API server with a real Pulumi. Pods are no processes here."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster import paths
from devcluster.embedded import Embedded
from devcluster.stack import Stack
from devcluster.stackfile import Setting, with_settings
from tests import standins
from tests.conftest import as_account, grant, program

pytestmark = pytest.mark.cluster

POLICY: dict[str, Any] = {"namespaces": {"bookinfo": {"default": "deny"}}, "preset": "bookinfo"}
SPLIT: dict[str, Any] = {"namespace": "bookinfo", "split": {"v1": 90, "v2": 10}}
LIMITED: dict[str, Any] = {**SPLIT, "rateLimit": {"requests": 10}}
KINDS = {
    "istio": (
        "authorizationpolicies.security.istio.io,requestauthentications,serviceentries,sidecars.networking.istio.io"
    ),
    "linkerd": (
        "authorizationpolicies.policy.linkerd.io,meshtlsauthentications,networkauthentications,servers,egressnetworks,"
        "httproutes.gateway.networking.k8s.io,httplocalratelimitpolicies"
    ),
}
URN = re.compile(r"urn:\S+::traffic-bookinfo-reviews-9080-server")


def run(stack: Stack, *argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        stack.wrap(argv), cwd=stack.project, env=stack.env(), capture_output=True, text=True, check=False
    )


def command(stack: Stack, *argv: str) -> str:
    done = run(stack, *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pulumi(stack: Stack, *argv: str) -> str:
    return command(stack, "pulumi", "--non-interactive", "--color", "never", *argv)


def configure(stack: Stack, **keys: Setting) -> None:
    settings = {f"meshup:{key}": value for key, value in keys.items()}
    stack.file.write_text(with_settings(stack.file.read_text(), settings))


def up(stack: Stack) -> str:
    """Bring the stack up, and hold that nothing is left to do."""
    said = pulumi(stack, "up", "--yes", "--skip-preview")
    pulumi(stack, "preview", "--expect-no-changes")
    return said


def objects(stack: Stack, mesh: str, namespace: str = "bookinfo") -> set[str]:
    """The objects of policies in a namespace."""
    said = command(stack, "kubectl", "--namespace", namespace, "get", KINDS[mesh], "--output", "json")
    return {f"{item['kind']}/{item['metadata']['name']}" for item in json.loads(said)["items"]}


def decided(stack: Stack, *argv: str) -> dict[str, Any]:
    """What `meshup access` says: `access` are the cells, `diagnostics` where cluster and configuration differ."""
    here = paths.repository()
    options = ("--stack", stack.name, "--directory", str(stack.project), "--output", "json")
    call = (str(here / ".venv" / "bin" / "python"), "-m", "operate", "access", *options, *argv)
    done = subprocess.run(stack.wrap(call), cwd=here, env=stack.env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def server(stack: Stack) -> str:
    """The URN of Linkerd's Server of reviews."""
    (urn,) = set(URN.findall(pulumi(stack, "stack", "--show-urns")))
    return urn


def changed(preview: str, sign: str) -> set[str]:
    """The names of the resources that a preview creates (+), updates (~) or deletes (-)."""
    return {found[1] for found in re.finditer(rf"(?m)^ *{re.escape(sign)} +\S+ (\S+) ", preview)}


@pytest.fixture(params=["istio", "linkerd"])
def mesh(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stack(embedded: Embedded, tmp_path: Path, mesh: str) -> Iterator[Stack]:
    """A stack with Bookinfo, of an account with the documented rights and no others."""
    embedded.toolbox.ensure(["kubectl"])
    settings: dict[str, Setting] = {"meshup:traffic": {"reviews": SPLIT}}
    if mesh == "linkerd":
        charts = tmp_path / "charts"
        standins.charts(charts)
        shutil.copytree(embedded.toolbox.path("gateway-api-crds") / "standard", charts / "gateway-api")
        settings |= {"meshup:mesh": "linkerd", "meshup:charts": {"directory": str(charts)}, "meshup:istio": {}}
    else:
        settings |= {"meshup:istio": {"webhooks": False}}
    with program(embedded, tmp_path / "program", settings) as subject:
        account = as_account(embedded, subject, tmp_path, f"guard-{mesh}")
        grant(embedded, f"guard-{mesh}", mesh)
        yield account


def test_a_policy_is_switched_on_and_off_beside_a_rate_limit_and_leaves_nothing(stack: Stack, mesh: str) -> None:
    up(stack)
    without = objects(stack, mesh)

    # On: the preview names what changes, and for whom.
    configure(stack, security=POLICY)
    preview = pulumi(stack, "preview")
    assert "MSH570" in preview
    assert "MSH571" not in preview
    assert re.search(r"denied: reviews\.bookinfo:9080 \(GET /reviews/0\) from .*bookinfo-ratings", preview)
    assert not re.search(r"denied: reviews\.bookinfo:9080 .*bookinfo-productpage", preview)
    created = changed(preview, "+")
    assert any(name.startswith("security-bookinfo-reviews") for name in created)
    assert not changed(preview, "-")
    open_yet = decided(stack, "--cluster")
    assert {note["code"] for note in open_yet["diagnostics"]} == {"MSH585"}
    up(stack)
    on = objects(stack, mesh)
    assert without < on
    assert any("reviews" in name for name in on - without)
    live = decided(stack, "--cluster")
    assert (live["access"], live["diagnostics"]) == (decided(stack)["access"], [])

    # A rate limit beside it: on Linkerd both have one Server, which stays.
    before = server(stack) if mesh == "linkerd" else ""
    configure(stack, traffic={"reviews": LIMITED})
    preview = pulumi(stack, "preview")
    assert not {name for name in changed(preview, "-") if "server" in name}
    up(stack)
    if mesh == "linkerd":
        assert server(stack) == before
    configure(stack, traffic={"reviews": SPLIT})
    up(stack)
    if mesh == "linkerd":
        assert server(stack) == before
    assert objects(stack, mesh) == on

    # Off and on again: what opens is named, and nothing of it is left.
    configure(stack, security={})
    preview = pulumi(stack, "preview")
    assert "opened: reviews.bookinfo:9080" in preview
    assert "denied:" not in preview
    assert changed(preview, "-") >= created - {"security"}
    up(stack)
    assert objects(stack, mesh) == without
    configure(stack, security=POLICY)
    up(stack)
    assert objects(stack, mesh) == on

    shown = json.loads(pulumi(stack, "stack", "output", "security", "--json"))
    assert shown["services"]["bookinfo/ratings"]["guarded"]
    pulumi(stack, "destroy", "--yes", "--skip-preview")
    if mesh == "istio":
        # Its CustomResourceDefinitions stay.
        assert objects(stack, mesh) == set()
    assert run(stack, "kubectl", "get", "namespace", "bookinfo").returncode != 0
