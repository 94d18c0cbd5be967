"""Linkerd on the real API server: the whole program, with charts of our own in place of Linkerd's (tests/charts)."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from components.meshes.linkerd.identity import certificates
from devcluster import stackfile
from devcluster.embedded import Embedded
from devcluster.stack import Stack
from devcluster.stackfile import Setting
from stacks.namespaces import RESTART_ANNOTATION
from tests import standins
from tests.cluster.command_lines import Arguments
from tests.conftest import as_account, grant, prepared_program, program

pytestmark = pytest.mark.cluster

_APPS = ["bookinfo", "emojivoto"]


@pytest.fixture(scope="module")
def charts(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart directory for both meshes: Istio's charts, stand-ins for Linkerd's, and the Gateway API."""
    folder = tmp_path_factory.mktemp("charts") / "charts"
    standins.charts(folder)
    for chart in embedded.toolbox.path("istio-charts").iterdir():
        (folder / chart.name).symlink_to(chart)
    shutil.copytree(embedded.toolbox.path("gateway-api-crds") / "standard", folder / "gateway-api")
    return folder


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


def traces(embedded: Embedded) -> dict[str, set[str]]:
    """What is on the cluster of Linkerd and of the Gateway API."""
    kinds = ("namespace", "crd", "mutatingwebhookconfiguration", "validatingwebhookconfiguration", "clusterrole")
    found = {kind: {name for name in names(embedded, kind) if "linkerd" in name} for kind in kinds}
    # That of the account which deploys.
    found["clusterrole"].discard("meshup-linkerd")
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


@dataclass(frozen=True)
class Deployed:
    """A stack that is up: what Pulumi said meanwhile, and the command lines of all processes."""

    stack: Stack
    said: str
    command_lines: str


@pytest.fixture(scope="module")
def deployed(embedded: Embedded, charts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Linkerd with everything, brought up once, by an account that has the documented rights and no others.

    A test that changes the stack leaves it as it was, except the last.
    """
    settings: dict[str, Setting] = {
        "meshup:mesh": "linkerd",
        "meshup:charts": {"directory": str(charts)},
        "meshup:linkerd": {"viz": {"enabled": True}},
        "meshup:istio": {"webhooks": False},
    }
    folder = tmp_path_factory.mktemp("linkerd")
    with program(embedded, folder / "program", settings) as admins:
        stack = as_account(embedded, admins, folder, "deployer")
        grant(embedded, "deployer", "linkerd")
        must(stack, "config", "set", "--path", "meshup:apps[1]", "emojivoto")
        with Arguments() as arguments:
            said = must(stack, "up", "--yes", "--skip-preview", "--logtostderr", "-v=3")
        yield Deployed(stack, said, "\n".join(arguments.seen))


def test_linkerd_its_applications_and_the_split_are_there(embedded: Embedded, deployed: Deployed) -> None:
    outputs = cast("dict[str, Any]", deployed.stack.outputs())
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


@pytest.mark.usefixtures("deployed")
def test_the_control_plane_and_the_pods_trust_the_anchor_that_signed_the_issuer(embedded: Embedded) -> None:
    issuer = read(embedded, "secret", "linkerd-identity-issuer", "-n", "linkerd")["data"]
    roots = read(embedded, "configmap", "linkerd-identity-trust-roots", "-n", "linkerd")["data"]["ca-bundle.crt"]
    assert certificates.is_signed_by(base64.b64decode(issuer["crt.pem"]).decode(), roots)
    deployment = read(embedded, "deployment", "web", "-n", "emojivoto")["spec"]["template"]["metadata"]
    control = read(embedded, "deployment", "linkerd-destination", "-n", "linkerd")["spec"]["template"]["metadata"]
    assert deployment["annotations"]["meshup/trust"] == control["annotations"]["meshup/trust"]


def test_it_stays_as_it_is_at_once_and_a_day_later(deployed: Deployed) -> None:
    for later in (timedelta(0), timedelta(days=1)):
        must(deployed.stack, "preview", "--expect-no-changes", at=datetime.now(UTC) + later)
    must(deployed.stack, "refresh", "--yes", "--expect-no-changes")


def test_no_key_is_in_the_state_the_log_the_outputs_or_a_command_line(embedded: Embedded, deployed: Deployed) -> None:
    stack = deployed.stack
    state = "".join(file.read_text(errors="replace") for file in stack.backend.rglob("*") if file.is_file())
    masked = must(stack, "stack", "output", "--json") + must(stack, "stack", "export")
    assert "linkerd-control-plane" in deployed.command_lines, "helm was seen"
    for line in key_material(embedded):
        for text in (deployed.said, state, masked, deployed.command_lines):
            assert line not in text


@pytest.mark.usefixtures("deployed")
def test_the_control_plane_renders_the_same_a_second_later(embedded: Embedded, charts: Path) -> None:
    assert rendered(embedded, charts) == rendered(embedded, charts, later=True)


def test_other_weights_change_the_route_only(deployed: Deployed) -> None:
    stack = deployed.stack
    before = stack.file.read_text()
    must(stack, "config", "set", "--path", "meshup:traffic.reviews.split.v1", "50")
    must(stack, "config", "set", "--path", "meshup:traffic.reviews.split.v2", "50")
    preview = json.loads(stack.run(["preview", "--json"], quiet=True))
    stack.file.write_text(before)
    changed = [step["urn"].split("::")[-1] for step in preview["steps"] if step["op"] != "same"]
    assert changed == ["traffic-bookinfo-reviews-httproute"]


def kubectl(embedded: Embedded, *arguments: str) -> None:
    argv = embedded.cluster.exec_argv(["kubectl", *arguments])
    done = subprocess.run(argv, env=embedded.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def patched(embedded: Embedded) -> tuple[dict[str, str], list[str]]:
    """The annotations of the Service `own`, and which field managers of meshup and Pulumi it has."""
    metadata = read(embedded, "service", "own", "-n", "default", "--show-managed-fields")["metadata"]
    managers = [entry["manager"] for entry in metadata["managedFields"]]
    return metadata.get("annotations", {}), [name for name in managers if not name.startswith("kubectl")]


def killed_up(embedded: Embedded, stack: Stack) -> None:
    """Run `pulumi up` until the Service has its annotation, and kill it with signal 9."""
    running = subprocess.Popen(
        stack.wrap(["pulumi", "--non-interactive", "up", "--yes", "--skip-preview"]),
        cwd=stack.project,
        env=stack.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while running.poll() is None and FAILURES not in patched(embedded)[0]:
        time.sleep(0.05)
    running.kill()
    running.wait()
    assert FAILURES in patched(embedded)[0]
    stack.recover()


ACCRUAL = "balancer.linkerd.io/failure-accrual"
FAILURES = f"{ACCRUAL}-consecutive-max-failures"


def test_a_service_of_somebody_else_gets_a_circuit_breaker_and_gives_it_back(
    embedded: Embedded, deployed: Deployed
) -> None:
    stack = deployed.stack
    before = stack.file.read_text()
    traffic = cast("dict[str, Any]", stackfile.configuration(before)["meshup:traffic"])
    up = ("up", "--yes", "--skip-preview")

    def eject_after(errors: int) -> None:
        own: dict[str, Any] = {
            "namespace": "default",
            "ports": [{"number": 80}],
            "circuitBreaker": {"consecutiveErrors": errors},
        }
        stack.file.write_text(stackfile.with_settings(before, {"meshup:traffic": {**traffic, "own": own}}))

    # No pod is behind it, so a run that waited for one would not end.
    kubectl(embedded, "create", "service", "clusterip", "own", "--tcp=80:8080", "-n", "default")
    kubectl(embedded, "annotate", "service", "own", "-n", "default", f"{FAILURES}=9", "kept=1")
    eject_after(3)
    taken = pulumi(stack, *up)
    assert (taken.returncode != 0, "MSH167" in taken.stderr + taken.stdout) == (True, True)
    assert patched(embedded) == ({FAILURES: "9", "kept": "1"}, [])
    kubectl(embedded, "annotate", "service", "own", "-n", "default", f"{FAILURES}-")

    killed_up(embedded, stack)
    # As if it was killed between the change on the cluster and its record.
    for item in json.loads(pulumi(stack, "stack", "export").stdout)["deployment"]["resources"]:
        if item["type"].endswith(":ServicePatch"):
            must(stack, "state", "delete", "--yes", item["urn"])
    eject_after(4)
    must(stack, *up)
    annotations, managers = patched(embedded)
    assert annotations == {
        ACCRUAL: "consecutive",
        FAILURES: "4",
        "kept": "1",
        "pulumi.com/patchFieldManager": managers[0],
        "pulumi.com/skipAwait": "true",
    }
    assert len(managers) == 1
    must(stack, "preview", "--expect-no-changes")

    stack.file.write_text(before)
    must(stack, *up)
    assert patched(embedded) == ({"kept": "1"}, [])


@pytest.mark.nightly
def test_a_namespace_of_somebody_else_joins_with_settings_of_its_proxies_and_leaves_as_it_was(
    embedded: Embedded, deployed: Deployed
) -> None:
    def annotations(kind: str, name: str) -> dict[str, str]:
        found = read(embedded, kind, name, "-n", "legacy")
        place = found if kind == "namespace" else found["spec"]["template"]
        return place["metadata"].get("annotations", {})

    stack = deployed.stack
    before = stack.file.read_text()
    kubectl(embedded, "create", "namespace", "legacy")
    kubectl(embedded, "annotate", "namespace", "legacy", "kept=1")
    kubectl(embedded, "create", "deployment", "web", "--image=web", "--namespace", "legacy")
    kubectl(embedded, "rollout", "status", "deployment/web", "--namespace", "legacy")
    joined = {"legacy": {"restart": True, "proxy": {"logLevel": "warn", "skipInboundPorts": "25"}}}
    stack.file.write_text(stackfile.with_settings(before, {"meshup:namespaces": joined}))
    must(stack, "up", "--yes", "--skip-preview")
    must(stack, "preview", "--expect-no-changes")
    found = annotations("namespace", "legacy")
    assert not found.pop("pulumi.com/patchFieldManager").startswith("pulumi")
    assert found == {
        "kept": "1",
        "linkerd.io/inject": "enabled",
        "config.linkerd.io/proxy-log-level": "warn",
        "config.linkerd.io/skip-inbound-ports": "25",
    }
    assert RESTART_ANNOTATION in annotations("deployment", "web")
    assert read(embedded, "deployment", "web", "-n", "legacy")["metadata"]["generation"] == 2

    stack.file.write_text(before)
    must(stack, "up", "--yes", "--skip-preview")
    must(stack, "preview", "--expect-no-changes")
    assert annotations("namespace", "legacy") == {"kept": "1"}
    assert RESTART_ANNOTATION not in annotations("deployment", "web")
    kubectl(embedded, "delete", "namespace", "legacy")


def test_a_stack_goes_to_the_other_mesh_and_leaves_nothing_of_the_first(embedded: Embedded, deployed: Deployed) -> None:
    """The way back is in the walkthrough (test_linkerd_walkthrough.py)."""
    stack = deployed.stack
    assert "linkerd-viz" in traces(embedded)["namespace"]
    grant(embedded, "deployer", "istio")
    must(stack, "config", "set", "meshup:mesh", "istio")
    must(stack, "up", "--yes", "--skip-preview")
    assert traces(embedded) == {}
    assert "istio-injection" in read(embedded, "namespace", "bookinfo")["metadata"]["labels"]
    assert "linkerd.io/inject" not in read(embedded, "namespace", "bookinfo")["metadata"].get("annotations", {})
    must(stack, "preview", "--expect-no-changes")


@pytest.mark.parametrize("chart", ["base", "istiod", "gateway"])
def test_the_rights_for_istio_are_enough_for_all_that_its_charts_hold(
    embedded: Embedded, deployed: Deployed, chart: str
) -> None:
    """Webhooks and gateways need real pods, so this cluster has none: the API server is asked without doing it."""
    helm = embedded.toolbox.path("helm")
    folder = embedded.toolbox.path("istio-charts") / chart
    # Scaled: with an autoscaler and a disruption budget, which the chart of the gateways makes by itself.
    scaled = {"istiod": ["--set", "autoscaleMin=2,autoscaleMax=3"]}.get(chart, [])
    render = [helm, "template", "other", folder, "--include-crds", "--namespace", "istio-system", *scaled]
    made = subprocess.run(render, capture_output=True, text=True, check=True)
    argv = deployed.stack.wrap(
        ["kubectl", "apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", "-"]
    )
    done = subprocess.run(
        argv, env=deployed.stack.env(), input=made.stdout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.nightly
def test_a_destroyed_stack_leaves_nothing_and_comes_up_again(embedded: Embedded, deployed: Deployed) -> None:
    stack = deployed.stack
    must(stack, "config", "set", "meshup:mesh", "linkerd")
    must(stack, "destroy", "--yes", "--skip-preview")
    assert traces(embedded) == {}
    assert names(embedded, "namespace").isdisjoint({*_APPS, "istio-system"})
    must(stack, "up", "--yes", "--skip-preview")
    must(stack, "preview", "--expect-no-changes")


def test_without_a_chart_source_the_message_says_what_to_set(embedded: Embedded, tmp_path: Path) -> None:
    bare = prepared_program(embedded, tmp_path / "program", {"meshup:mesh": "linkerd", "meshup:charts": {}})
    done = pulumi(bare, "preview")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "meshup:charts.directory" in said
    assert "MSH317" in said or "MSH318" in said
    assert "Traceback" not in said


def test_an_account_without_rights_gets_one_report_that_names_them(embedded: Embedded, tmp_path: Path) -> None:
    folder = tmp_path / "program"
    stack = as_account(embedded, prepared_program(embedded, folder, {}), tmp_path, "nobody")
    done = pulumi(stack, "preview")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "Traceback" not in said
    account = "system:serviceaccount:default:nobody may not list"
    for right in (
        "namespaces cluster-wide",
        "secrets in the namespace istio-system",
        "services in the namespace bookinfo",
    ):
        assert f"{account} {right}: 403" in said
