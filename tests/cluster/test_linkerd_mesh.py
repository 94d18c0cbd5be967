"""Linkerd on the real API server: the whole program, with charts of our own in place of Linkerd's (tests/charts)."""

import base64
import contextlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from components.identity import certificates
from devcluster import paths
from devcluster.embedded import Embedded
from devcluster.stack import Stack
from tests.conftest import Programs

pytestmark = pytest.mark.cluster

_CRDS = paths.repository().parent / "shared" / "data" / "linkerd-crds.yaml"
_APPS = ["bookinfo", "emojivoto"]


@pytest.fixture(scope="module")
def charts(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart directory for both meshes: Istio's charts, stand-ins for Linkerd's, and the Gateway API."""
    if not _CRDS.is_file():
        pytest.skip("Linkerd's CRDs are in ../shared/data, which is absent")
    folder = tmp_path_factory.mktemp("charts") / "charts"
    shutil.copytree(paths.repository() / "tests" / "charts", folder)
    (folder / "linkerd-crds" / "files").mkdir()
    shutil.copy(_CRDS, folder / "linkerd-crds" / "files" / "crds.yaml")
    for chart in embedded.toolbox.path("istio-charts").iterdir():
        (folder / chart.name).symlink_to(chart)
    shutil.copytree(embedded.toolbox.path("gateway-api-crds") / "standard", folder / "gateway-api")
    return folder


@pytest.fixture
def linkerd(program: Programs, charts: Path) -> Stack:
    stack = program(
        {
            "meshup:mesh": "linkerd",
            "meshup:charts": {"directory": str(charts)},
            "meshup:linkerd": {"viz": {"enabled": True}},
            "meshup:istio": {"webhooks": False},
        }
    )
    must(stack, "config", "set", "--path", "meshup:apps[1]", "emojivoto")
    return stack


def read(embedded: Embedded, *arguments: str) -> Any:
    argv = embedded.cluster.exec_argv(["kubectl", "get", *arguments, "-o", "json"])
    done = subprocess.run(argv, env=embedded.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def names(embedded: Embedded, kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in read(embedded, kind)["items"]}


def pulumi(stack: Stack, *arguments: str, at: datetime | None = None) -> "subprocess.CompletedProcess[str]":
    clock = {"MESHUP_NOW": at.isoformat()} if at else {}
    return subprocess.run(
        stack.wrap(["pulumi", "--non-interactive", "--color", "never", *arguments]),
        cwd=stack.project,
        env=stack.env() | clock,
        capture_output=True,
        text=True,
        check=False,
    )


def must(stack: Stack, *arguments: str, at: datetime | None = None) -> str:
    done = pulumi(stack, *arguments, at=at)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Arguments:
    """The command lines of all processes that this machine starts while something runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._before = set(psutil.process_iter())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            # Those that ran before are many where tests run side by side, and reading them takes its time.
            for process in set(psutil.process_iter()) - self._before:
                with contextlib.suppress(psutil.Error):
                    self.seen.add("\n".join(process.cmdline()))

    def __enter__(self) -> "Arguments":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def traces(embedded: Embedded) -> dict[str, set[str]]:
    """What is on the cluster of Linkerd and of the Gateway API."""
    kinds = ("namespace", "crd", "mutatingwebhookconfiguration", "validatingwebhookconfiguration", "clusterrole")
    found = {kind: {name for name in names(embedded, kind) if "linkerd" in name} for kind in kinds}
    found["crd"] |= {name for name in names(embedded, "crd") if name.endswith("gateway.networking.k8s.io")}
    found["guard"] = names(embedded, "validatingadmissionpolicy")
    return {kind: those for kind, those in found.items() if those}


def key_material(embedded: Embedded) -> list[str]:
    """The lines that hold the private number of every key on the cluster, as PEM and as base64 of it.

    The third line of a P-256 key in PKCS#8 is its public part, which is in the certificate as well.
    """
    keys: list[str] = []
    for namespace in ("linkerd", "linkerd-viz"):
        for secret in read(embedded, "secret", "-n", namespace)["items"]:
            for field, value in cast("dict[str, str]", secret.get("data") or {}).items():
                if field in ("tls.key", "key.pem"):
                    keys.append(base64.b64decode(value).decode())
    assert len(keys) == 6, "issuer, three webhooks, tap and its injector"
    lines = [line for key in keys for line in key.splitlines()[1:3]]
    return lines + [base64.b64encode(key.encode()).decode()[40:120] for key in keys]


def rendered(embedded: Embedded, charts: Path, *, later: bool = False) -> str:
    """Render the control plane's chart again with the values of the release. It draws certificates and reads the
    clock, unless the values give it both."""
    if later:
        time.sleep(1.1)
    helm = str(embedded.toolbox.path("helm"))
    release, namespace = "linkerd-control-plane", "linkerd"
    values = embedded.cluster.exec_argv([helm, "get", "values", release, "-n", namespace, "-o", "yaml"])
    render = [helm, "template", release, str(charts / release), "-n", namespace, "--values", "-"]
    given = subprocess.run(values, env=embedded.environment(), capture_output=True, text=True, check=True).stdout
    return subprocess.run(
        render, env=embedded.environment(), input=given, capture_output=True, text=True, check=True
    ).stdout


def test_linkerd_comes_up_stays_as_it_is_and_shows_no_key(embedded: Embedded, linkerd: Stack, charts: Path) -> None:
    with Arguments() as arguments:
        said = must(linkerd, "up", "--yes", "--skip-preview", "--logtostderr", "-v=3")
    outputs = cast("dict[str, Any]", linkerd.outputs())
    namespace = read(embedded, "namespace", "linkerd")["metadata"]
    assert namespace["labels"]["linkerd.io/is-control-plane"] == "true"
    assert namespace["annotations"]["linkerd.io/inject"] == "disabled"
    for app in _APPS:
        annotations = read(embedded, "namespace", app)["metadata"]["annotations"]
        assert annotations["linkerd.io/inject"] == "enabled"
    assert outputs["mesh"]["kind"] == "linkerd"
    assert [entry["role"] for entry in outputs["identity"]["certificates"]] == [
        "anchor first",
        "issuer",
        "linkerd-proxy-injector",
        "linkerd-sp-validator",
        "linkerd-policy-validator",
        "tap",
        "tap-injector",
    ]
    route = read(embedded, "httproute", "reviews", "-n", "bookinfo")
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    weights = [(backend["name"], backend["weight"]) for backend in route["spec"]["rules"][0]["backendRefs"]]
    assert weights == [("reviews-v1", 90), ("reviews-v2", 10)]

    issuer = read(embedded, "secret", "linkerd-identity-issuer", "-n", "linkerd")["data"]
    roots = read(embedded, "configmap", "linkerd-identity-trust-roots", "-n", "linkerd")["data"]["ca-bundle.crt"]
    assert certificates.is_signed_by(base64.b64decode(issuer["crt.pem"]).decode(), roots)
    deployment = read(embedded, "deployment", "web", "-n", "emojivoto")["spec"]["template"]["metadata"]
    control = read(embedded, "deployment", "linkerd-destination", "-n", "linkerd")["spec"]["template"]["metadata"]
    assert deployment["annotations"]["meshup/trust"] == control["annotations"]["meshup/trust"]

    today = datetime.now(UTC)
    for later in (timedelta(0), timedelta(hours=1), timedelta(days=1)):
        must(linkerd, "preview", "--expect-no-changes", at=today + later)
    must(linkerd, "refresh", "--yes", "--expect-no-changes")

    state = "".join(file.read_text(errors="replace") for file in linkerd.backend.rglob("*") if file.is_file())
    masked = must(linkerd, "stack", "output", "--json") + must(linkerd, "stack", "export")
    for line in key_material(embedded):
        for text in (said, state, masked, "\n".join(arguments.seen)):
            assert line not in text

    assert rendered(embedded, charts) == rendered(embedded, charts, later=True)

    must(linkerd, "config", "set", "--path", "meshup:traffic.reviews.split.v1", "50")
    must(linkerd, "config", "set", "--path", "meshup:traffic.reviews.split.v2", "50")
    preview = json.loads(linkerd.run(["preview", "--json"], quiet=True))
    changed = [step["urn"].split("::")[-1] for step in preview["steps"] if step["op"] != "same"]
    assert changed == ["traffic-bookinfo-reviews-httproute"]


def test_a_stack_goes_to_the_other_mesh_and_back_and_leaves_nothing_of_the_first(
    embedded: Embedded, linkerd: Stack
) -> None:
    must(linkerd, "up", "--yes", "--skip-preview")
    assert "linkerd-viz" in traces(embedded)["namespace"]
    must(linkerd, "config", "set", "meshup:mesh", "istio")
    must(linkerd, "up", "--yes", "--skip-preview")
    assert traces(embedded) == {}
    assert "istio-injection" in read(embedded, "namespace", "bookinfo")["metadata"]["labels"]
    assert "linkerd.io/inject" not in read(embedded, "namespace", "bookinfo")["metadata"].get("annotations", {})
    must(linkerd, "preview", "--expect-no-changes")
    must(linkerd, "config", "set", "meshup:mesh", "linkerd")
    must(linkerd, "up", "--yes", "--skip-preview")
    assert names(embedded, "namespace").isdisjoint({"istio-system"})
    must(linkerd, "destroy", "--yes", "--skip-preview")
    assert traces(embedded) == {}
    must(linkerd, "up", "--yes", "--skip-preview")
    must(linkerd, "preview", "--expect-no-changes")


@pytest.fixture
def bare(program: Programs) -> Iterator[Stack]:
    yield program({"meshup:mesh": "linkerd", "meshup:charts": {}})


def test_without_a_chart_source_the_message_says_what_to_set(bare: Stack) -> None:
    done = pulumi(bare, "preview")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "meshup:charts.directory" in said
    assert "MSH317" in said or "MSH318" in said
    assert "Traceback" not in said
