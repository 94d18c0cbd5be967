"""Whose objects are whose, on a real API server: handed over, imported, renamed, in the states of two stacks."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from devcluster.embedded import Embedded
from devcluster.stack import Stack
from stacks.ownership import ANNOTATION
from tests.conftest import program

pytestmark = pytest.mark.cluster

NAMESPACE = "istio-system"


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


def refused(stack: Stack) -> tuple[list[str], str]:
    """The codes of a preview that is refused, and what it says, without the breaks of its lines."""
    done = run(stack, "pulumi", "--non-interactive", "--color", "never", "preview")
    assert done.returncode != 0, done.stdout
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return re.findall(r"error (MSH\d+)", said), re.sub(r"\s+", " ", said)


def namespace(stack: Stack) -> dict[str, Any]:
    return json.loads(command(stack, "kubectl", "get", "namespace", NAMESPACE, "--output", "json"))["metadata"]


def owner(stack: Stack) -> str:
    return namespace(stack).get("annotations", {}).get(ANNOTATION, "")


@pytest.fixture(scope="module")
def stack(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A mesh without webhooks, applications and routes: its namespace is what is looked at."""
    settings: dict[str, Any] = {"meshup:apps": "[]", "meshup:traffic": {}, "meshup:istio": {"webhooks": False}}
    embedded.toolbox.ensure(["kubectl"])
    with program(embedded, tmp_path_factory.mktemp("ownership") / "program", settings) as subject:
        text = subject.file.read_text().replace('meshup:apps: "[]"', "meshup:apps: []")
        subject.file.write_text(text)
        yield subject


def test_an_object_of_somebody_else_comes_into_the_stack_and_is_never_lost_on_the_way(stack: Stack) -> None:
    command(stack, "kubectl", "create", "namespace", NAMESPACE)
    command(stack, "kubectl", "create", "configmap", "precious", "--namespace", NAMESPACE)
    before = namespace(stack)["uid"]

    def nothing_is_lost() -> bool:
        command(stack, "kubectl", "get", "configmap", "precious", "--namespace", NAMESPACE)
        return namespace(stack)["uid"] == before

    codes, said = refused(stack)
    assert codes == ["MSH026"]
    (line,) = re.findall(r"kubectl annotate [^`]*?meshup/stack=\S+", said)
    command(stack, *shlex.split(line))
    pulumi(stack, "preview")
    command(stack, "kubectl", "annotate", "namespace", NAMESPACE, f"{ANNOTATION}-")

    # Imported with no thought of where it stands in the program.
    token = "kubernetes:core/v1:Namespace"  # noqa: S105 - a type of Pulumi
    pulumi(stack, "import", token, "some-name", NAMESPACE, "--yes", "--generate-code=false")
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    assert nothing_is_lost()
    assert owner(stack) == f"organization/meshup/{stack.name}"
    assert "some-name" not in pulumi(stack, "stack", "--show-urns")
    pulumi(stack, "preview", "--expect-no-changes")

    # A stack of another name is the same stack.
    pulumi(stack, "stack", "rename", "renamed")
    renamed = replace(stack, name="renamed")
    said = pulumi(renamed, "up", "--yes", "--skip-preview")
    assert "MSH037" in said
    assert not re.search(r"\d+ (created|deleted|replaced)", said), said
    assert nothing_is_lost()
    assert owner(stack) == "organization/meshup/renamed"
    pulumi(renamed, "preview", "--expect-no-changes")

    # A copy of a stack that is still there is not.
    pulumi(renamed, "stack", "rename", stack.name)
    exported = stack.project / "state.json"
    exported.write_text(pulumi(stack, "stack", "export", "--show-secrets").replace("::renamed::", f"::{stack.name}::"))
    # What the cluster carries is now the name of a second stack, whose state has all of it.
    copy = replace(stack, name="renamed")
    pulumi(copy, "stack", "init", "renamed")
    pulumi(copy, "stack", "import", "--force", "--file", str(exported))
    codes, said = refused(stack)
    assert set(codes) == {"MSH036"}
    assert "both have it" in said
    pulumi(copy, "stack", "rm", "renamed", "--yes", "--force", "--preserve-config")
    pulumi(stack, "up", "--yes", "--skip-preview")
    assert nothing_is_lost()
    pulumi(stack, "preview", "--expect-no-changes")


def test_a_second_mesh_and_another_revision_are_refused_on_a_real_api_server(stack: Stack) -> None:
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector-elsewhere"},
        "webhooks": [
            {
                "name": "object.sidecar-injector.istio.io",
                "clientConfig": {"service": {"name": "istiod-elsewhere", "namespace": "elsewhere"}},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "failurePolicy": "Ignore",
                # It selects nothing, so that nobody waits for it.
                "objectSelector": {"matchLabels": {"istio.io/rev": "elsewhere"}},
            }
        ],
    }
    file = stack.project / "webhook.json"
    file.write_text(json.dumps(webhook))
    before = stack.file.read_text()
    command(stack, "kubectl", "apply", "--filename", str(file))
    try:
        pulumi(stack, "config", "set", "--path", "meshup:istio.revision", "canary")
        codes, said = refused(stack)
        assert sorted(codes) == ["MSH321", "MSH326"]
        assert "elsewhere/istiod-elsewhere" in said
        assert "istio-system/istiod" in said
    finally:
        stack.file.write_text(before)
        command(stack, "kubectl", "delete", "--filename", str(file))
    pulumi(stack, "preview", "--expect-no-changes")


def test_the_definitions_of_another_installation_are_handed_over_as_the_report_says(stack: Stack) -> None:
    name = "sidecars.networking.istio.io"
    before = json.loads(command(stack, "kubectl", "get", "customresourcedefinition", name, "--output", "json"))
    mark = ["meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-"]
    command(stack, "kubectl", "annotate", "customresourcedefinition", name, *mark)
    command(stack, "kubectl", "label", "customresourcedefinition", name, "app.kubernetes.io/managed-by-")
    codes, said = refused(stack)
    assert codes == ["MSH324"]
    for line in re.findall(r"kubectl (?:label|annotate) .*?(?:=Helm|release-namespace=istio-system)", said):
        command(stack, *shlex.split(line))
    pulumi(stack, "preview", "--expect-no-changes")
    after = json.loads(command(stack, "kubectl", "get", "customresourcedefinition", name, "--output", "json"))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
