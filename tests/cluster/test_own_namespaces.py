"""A namespace of somebody else joins a mesh and leaves it again, on a real API server with a real Pulumi.

Pods are no processes here and nobody injects: what restarts, what is owned and what is left are looked at.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from devcluster.embedded import Embedded
from devcluster.stack import Stack
from devcluster.stackfile import with_settings
from stacks.namespaces import RESTART_ANNOTATION
from stacks.patches import field_manager
from tests.conftest import as_account, grant, program

pytestmark = pytest.mark.cluster

WORKLOADS = {"Deployment": "web", "StatefulSet": "db", "DaemonSet": "agent"}
SETTINGS: dict[str, Any] = {"meshup:traffic": {}, "meshup:istio": {"webhooks": False}}


class Estate(NamedTuple):
    """A stack of an account that has the documented rights and no others, and the same as an administrator."""

    stack: Stack
    admin: Stack


def run(stack: Stack, *argv: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        stack.wrap(argv), cwd=stack.project, env=stack.env(), input=stdin, capture_output=True, text=True, check=False
    )


def command(stack: Stack, *argv: str, stdin: str = "") -> str:
    done = run(stack, *argv, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pulumi(stack: Stack, *argv: str) -> str:
    return command(stack, "pulumi", "--non-interactive", "--color", "never", *argv)


def up(stack: Stack, namespaces: Mapping[str, Any]) -> str:
    """Configure namespaces and bring them up."""
    configure(stack, namespaces)
    return pulumi(stack, "up", "--yes", "--skip-preview")


def configure(stack: Stack, namespaces: Mapping[str, Any]) -> None:
    stack.file.write_text(with_settings(stack.file.read_text(), {"meshup:namespaces": namespaces}))


def refused(stack: Stack) -> list[str]:
    """The codes of the errors of a preview."""
    done = run(stack, "pulumi", "--non-interactive", "--color", "never", "preview")
    assert done.returncode != 0, done.stdout
    return re.findall(r"error (MSH\d+)", done.stdout + done.stderr)


def live(stack: Stack, kind: str, name: str) -> dict[str, Any]:
    said = command(
        stack, "kubectl", "--namespace", "shop", "get", kind, name, "--show-managed-fields", "--output", "json"
    )
    return json.loads(said)


def labels(stack: Stack, namespace: str = "shop") -> dict[str, str]:
    """The labels of a namespace that Kubernetes has not set."""
    found = live(stack, "namespace", namespace)["metadata"]
    assert not found.get("annotations", {}).keys() - {"pulumi.com/patchFieldManager", "pulumi.com/patchForce"}
    return {key: value for key, value in found["labels"].items() if "kubernetes.io" not in key}


def restarted(stack: Stack) -> dict[str, tuple[int, str]]:
    """How often the template of each workload was changed, and for what meshup did it."""
    found: dict[str, tuple[int, str]] = {}
    for kind, name in WORKLOADS.items():
        item = live(stack, kind, name)
        annotations = item["spec"]["template"]["metadata"].get("annotations", {})
        found[name] = (item["metadata"]["generation"], annotations.get(RESTART_ANNOTATION, ""))
    return found


def workload(kind: str, name: str) -> dict[str, Any]:
    pod = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "a", "image": "example.invalid/a"}]}}
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": name}}, "template": pod}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec if kind == "DaemonSet" else {"replicas": 1, **spec},
    }


@pytest.fixture
def estate(embedded: Embedded, tmp_path: Path) -> Iterator[Estate]:
    embedded.toolbox.ensure(["kubectl"])
    with program(embedded, tmp_path / "program", SETTINGS) as subject:
        text = re.sub(r"(?m)^( *)meshup:apps:.*\n( *- .*\n)*", r"\1meshup:apps: []\n", subject.file.read_text())
        subject.file.write_text(text)
        command(subject, "kubectl", "create", "namespace", "shop")
        command(subject, "kubectl", "label", "namespace", "shop", "team=a")
        made = {"apiVersion": "v1", "kind": "List", "items": [workload(*item) for item in WORKLOADS.items()]}
        command(subject, "kubectl", "create", "--filename", "-", stdin=json.dumps(made))
        for kind, name in WORKLOADS.items():
            command(subject, "kubectl", "--namespace", "shop", "rollout", "status", f"{kind}/{name}", "--timeout=60s")
        account = as_account(embedded, subject, tmp_path, "joiner")
        grant(embedded, "joiner", "istio")
        try:
            yield Estate(account, subject)
        finally:
            command(subject, "kubectl", "delete", "namespace", "shop", "--ignore-not-found")


def test_a_namespace_of_somebody_else_joins_restarts_its_workloads_and_leaves_as_it_was(estate: Estate) -> None:
    stack, admin = estate
    before = restarted(admin)
    configure(stack, {"absent": {}})
    assert refused(stack) == ["MSH040"]

    # Joined without a restart: the pods are reported.
    said = up(stack, {"shop": {}, "default": {}})
    assert "kubectl --namespace shop rollout restart" in said
    assert labels(admin) == {"team": "a", "istio-injection": "enabled"}
    assert labels(admin, "default") == {"istio-injection": "enabled"}
    assert restarted(admin) == before

    # Each workload is restarted once, under the field manager of the stack, and not again.
    state = stack.project / "state.json"
    state.write_text(pulumi(stack, "stack", "export"))
    up(stack, {"shop": {"restart": True}, "default": {}})
    pulumi(stack, "preview", "--expect-no-changes")
    after = restarted(admin)
    assert {name: count for name, (count, _) in after.items()} == {
        name: count + 1 for name, (count, _) in before.items()
    }
    assert len({value for _, value in after.values()}) == 1
    manager = field_manager(f"organization/meshup/{stack.name}")
    for kind, name in (*WORKLOADS.items(), ("namespace", "shop")):
        managers = [entry["manager"] for entry in live(admin, kind, name)["metadata"]["managedFields"]]
        assert [entry for entry in managers if entry.startswith(("meshup", "pulumi"))] == [manager]
    # To ask for no further restarts takes none back.
    configure(stack, {"shop": {}, "default": {}})
    pulumi(stack, "preview", "--expect-no-changes")

    # As after `kill -9` before the state was written: the next run finds its own fields, and nobody restarts again.
    pulumi(stack, "stack", "import", "--file", str(state))
    up(stack, {"shop": {"restart": True}, "default": {}})
    assert restarted(admin) == after

    # Somebody else wants another value.
    command(admin, "kubectl", "label", "--overwrite", "namespace", "shop", "istio-injection=disabled")
    assert refused(stack) == ["MSH042"]
    up(stack, {"shop": {"restart": True, "takeOver": True}, "default": {}})
    assert labels(admin)["istio-injection"] == "enabled"
    # Somebody takes it away, which only a refresh sees.
    command(admin, "kubectl", "label", "namespace", "shop", "istio-injection-")
    assert "MSH047" in pulumi(stack, "preview", "--expect-no-changes")
    pulumi(stack, "up", "--yes", "--skip-preview", "--refresh")
    assert labels(admin)["istio-injection"] == "enabled"
    assert restarted(admin) == after

    # It leaves: first the label, then the workloads restart, without a sidecar.
    said = up(stack, {"default": {}})
    assert said.index("namespace-shop-leave deleted") < said.index("namespace-shop-deployment-web-restart deleting")
    assert labels(admin) == {"team": "a"}
    assert "annotations" not in live(admin, "namespace", "shop")["metadata"]
    assert restarted(admin) == {name: (count + 1, "") for name, (count, _) in after.items()}

    pulumi(stack, "destroy", "--yes", "--skip-preview")
    assert labels(admin, "default") == {}
    assert labels(admin) == {"team": "a"}
