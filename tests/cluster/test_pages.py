"""The pages of docs on an estate of one's own, typed command by command, with their YAML blocks as the configuration.

Commands and blocks are taken out of the pages and unpacked by number, so a block that is added needs its place here.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from devcluster import paths
from devcluster.embedded import Embedded
from devcluster.example import Example
from devcluster.stack import Stack
from tests.cluster.test_adoption import SHOP
from tests.cluster.test_existing_mesh import ISTIOD
from tests.conftest import ONE_CHECKPOINT, as_account, copied_program

pytestmark = [pytest.mark.cluster, pytest.mark.nightly]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """A page of docs."""

    name: str

    @property
    def text(self) -> str:
        return (paths.repository() / "docs" / self.name).read_text()

    def blocks(self, language: str) -> list[str]:
        return [text for found, text in _BLOCK.findall(self.text) if found == language]

    def configurations(self) -> list[dict[str, Any]]:
        loaded = [cast("dict[str, Any]", yaml.safe_load(block)) for block in self.blocks("yaml")]
        return [block["config"] for block in loaded if "config" in block]

    def commands(self) -> list[list[str]]:
        """The commands of each block, except those of `make`, which tests/dataplane/test_make_up.py runs."""
        blocks = [block.splitlines() for block in self.blocks("sh")]
        return [lines for lines in blocks if not lines[0].startswith("make ")]


@dataclass(frozen=True)
class Reader:
    """Somebody with a cluster and the program, who types what a page says."""

    embedded: Embedded
    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / "program"

    def stack(self, name: str = "dev", config: Mapping[str, Any] | None = None) -> Stack:
        """Make a stack with the configuration of a page and what the reader has to put in its place."""
        state = self.folder / "state"
        stack = self.embedded.stack_of(self.program, state, state / "passphrase", name)
        stack = replace(stack, environment={**stack.environment, **ONE_CHECKPOINT})
        if config is None:
            return stack
        self.embedded.prepare(stack)
        content = yaml.safe_load(stack.file.read_text())
        own = {key: content["config"][key] for key in ("kubernetes:context", "meshup:charts", "meshup:gatewayApi")}
        istio = config.get("meshup:istio", {})
        # Nobody answers Istio's webhooks where pods are no processes.
        own["meshup:istio"] = istio if istio.get("install") is False else {**istio, "webhooks": False}
        stack.file.write_text(yaml.safe_dump(content | {"config": {**config, **own}}))
        return stack

    def typed(self, command: str) -> str:
        """Return a command as this reader types it."""
        charts = self.embedded.toolbox.path("istio-charts")
        for pattern, own in {
            r"\bkind-dev\b": self.embedded.cluster.context,
            r"\bbase --repo \S+ --version \S+": str(charts / "base"),
            r"\bistiod --repo \S+ --version \S+": shellwords(str(charts / "istiod"), *ISTIOD),
            # What a reader answers to Pulumi's questions.
            r"^pulumi (up|destroy)": r"pulumi \1 --yes --skip-preview",
            r"^pulumi (state delete|stack rm)": r"pulumi \1 --yes",
        }.items():
            command = re.sub(pattern, own, command)
        return command

    def attempt(self, command: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        done = subprocess.run(
            self.embedded.cluster.exec_argv(["sh", "-c", self.typed(command)]),
            cwd=self.program,
            env=self.stack().shell_env() | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def type(self, *commands: str) -> str:
        """Run commands, which must succeed; return what the last one printed."""
        said = ""
        for command in commands:
            code, said, errors = self.attempt(command)
            assert code == 0, f"{command}: {said}{errors}"
        return said

    def read(self, *arguments: str) -> Any:
        return json.loads(self.type(shellwords("kubectl", "get", *arguments, "--output", "json")))

    def labels(self, namespace: str) -> dict[str, str]:
        """The labels of a namespace that Kubernetes has not set."""
        found = self.read("namespace", namespace)["metadata"]["labels"]
        return {key: value for key, value in found.items() if key != "kubernetes.io/metadata.name"}

    def apply(self, text: str) -> None:
        file = self.folder / "objects.yaml"
        file.write_text(text)
        self.type(f"kubectl apply --filename {file}")


def shellwords(*words: str) -> str:
    assert not any(set(word) & set(" '\"$") for word in words)
    return " ".join(words)


@pytest.fixture
def reader(embedded: Embedded, tmp_path: Path) -> Iterator[Reader]:
    embedded.toolbox.ensure(["kubectl", "helm"])
    (copied_program(tmp_path / "program") / "meshup").symlink_to(paths.repository() / "meshup")
    subject = Reader(embedded, tmp_path)
    (tmp_path / "state").mkdir()
    before = {item["metadata"]["name"] for item in subject.read("namespaces")["items"]}
    subject.stack("dev", {})
    yield subject
    # Teams before the platform.
    for name in ("shop", "platform", "dev"):
        if subject.stack(name).exists:
            subject.type(f"pulumi destroy --stack {name}")
    left = {item["metadata"]["name"] for item in subject.read("namespaces")["items"]} - before
    if releases := [name for name in ("istiod", "istio-base") if name in subject.type("helm list -A --short")]:
        subject.type(f"helm uninstall --namespace istio-system {' '.join(releases)}")
    if left:
        subject.type(f"kubectl delete namespace {' '.join(left)}")
    crds = subject.type("kubectl get customresourcedefinitions --output name").split()
    if istios := [name for name in crds if name.endswith(".istio.io")]:
        subject.type(f"kubectl delete {' '.join(istios)}")


def shop(reader: Reader, *commands: str) -> None:
    """A Service with pods that run without a mesh."""
    reader.type("kubectl create namespace shop", "kubectl label namespace shop team=a", *commands)
    reader.type("kubectl wait deployment --all --namespace shop --for=condition=Available --timeout=2m")


def test_own_namespaces(reader: Reader) -> None:
    page = Page("own-namespaces.md")
    joined, in_default = page.configurations()
    (show,), keep_pay, (outputs,) = page.commands()
    shop(
        reader,
        "kubectl create namespace legacy",
        "kubectl label namespace shop pod-security.kubernetes.io/enforce=baseline",
        "kubectl create deployment web --image=web --replicas=2 --namespace shop",
    )
    reader.stack("dev", joined)
    code, said, _ = reader.attempt("pulumi preview")
    assert (code != 0, "MSH045" in said) == (True, True)
    (allow,) = re.findall(r"`(kubectl label [^`]*pod-security[^`]*)`", page.text)
    reader.type(allow)
    said = reader.type("pulumi up")
    assert "2 pods do not have the sidecar" in re.sub(r"\s+", " ", said)
    (restart,) = re.findall(r"kubectl --namespace shop rollout restart \S+", said)
    assert restart in page.text
    reader.type(restart)
    assert re.search(r"manager: meshup-\w{8}$", reader.type(show), re.MULTILINE)
    assert {name: entry["created"] for name, entry in json.loads(reader.type(outputs)).items()} == {
        "shop": False,
        "default": False,
        "pay": True,
        "legacy": False,
    }
    assert [reader.labels(name).get("istio-injection") for name in ("shop", "default", "pay", "legacy")] == [
        "enabled",
        "enabled",
        "enabled",
        None,
    ]

    joined["meshup:namespaces"]["pay"] = {}
    reader.stack("dev", joined)
    code, said, _ = reader.attempt("pulumi preview")
    assert (code != 0, "MSH044" in said) == (True, True)
    reader.type(*keep_pay, "pulumi up", "pulumi preview --expect-no-changes")

    reader.stack("dev", in_default)
    reader.type("pulumi up", "pulumi preview --expect-no-changes")
    assert "reviews" in [
        item["metadata"]["name"] for item in reader.read("services", "--namespace", "default")["items"]
    ]
    reader.type("pulumi destroy")
    assert reader.labels("shop") == {"team": "a", "pod-security.kubernetes.io/enforce": "privileged"}
    assert reader.labels("default") == {}
    assert reader.labels("pay")["istio-injection"] == "enabled"


def versions(reader: Reader, service: str, port: str, **replicas: int) -> None:
    """A Service whose pods have the label `version`."""
    objects: list[Any] = [
        {
            **{"apiVersion": "v1", "kind": "Service", "metadata": {"name": service, "namespace": "shop"}},
            "spec": {"selector": {"app": service}, "ports": [{"name": "http", "port": 80, "targetPort": port}]},
        }
    ]
    for version, count in replicas.items():
        labels = {"app": service, "version": version}
        container = {"name": "app", "image": "app", "ports": [{"name": "web", "containerPort": 8080}]}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        metadata = {"name": f"{service}-{version}", "namespace": "shop"}
        spec: Any = {"replicas": count, "selector": {"matchLabels": labels}, "template": template}
        objects.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    reader.type("kubectl create namespace shop")
    reader.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    reader.type("kubectl wait deployment --all --namespace shop --for=condition=Available --timeout=2m")


def test_own_services(reader: Reader) -> None:
    page = Page("own-services.md")
    (block,) = (yaml.safe_load(text)["meshup:traffic"] for text in page.blocks("yaml"))
    (one, all_of_it, write), (compare,) = page.commands()
    versions(reader, "shop", "web", v1=9, v2=1)
    reader.stack("dev", {"meshup:trafficFile": "routes.yaml"})
    assert yaml.safe_load(reader.type(one)) == block
    assert json.loads(reader.type(all_of_it)) == block
    reader.type(write)
    assert yaml.safe_load((reader.program / "routes.yaml").read_text()) == block
    code, said, noted = reader.attempt(compare)
    assert (code, "MSH173" in said + noted) == (0, True), said + noted


def test_existing_mesh(reader: Reader) -> None:
    page = Page("existing-mesh.md")
    (config,) = page.configurations()
    (commands,) = page.commands()
    reader.stack("dev", config)
    mesh = json.loads(reader.type(*commands))
    assert (mesh["installed"], mesh["namespace"], mesh["mtls"]) == (False, "istio-system", "permissive")
    reader.type("pulumi preview --expect-no-changes")
    assert reader.labels("bookinfo")["istio-injection"] == "enabled"
    route = reader.read("virtualservice", "reviews", "--namespace", "bookinfo")["spec"]["http"][0]["route"]
    assert [entry["weight"] for entry in route] == [90, 10]
    reader.type("pulumi destroy")
    assert set(reader.type("helm list --all-namespaces --short").split()) == {"istio-base", "istiod"}


def test_several_stacks(reader: Reader) -> None:
    page = Page("several-stacks.md")
    *_, role = page.blocks("yaml")
    names = re.findall(r"# Pulumi\.(\w+)\.yaml", page.text)
    for name, config in zip(names, page.configurations(), strict=True):
        reader.stack(name, config)
    ups, (protect, unprotect) = page.commands()
    reader.type(*ups)

    other = reader.folder / "other"
    other.mkdir()
    options = f"{{virtualenv: {reader.program / '.venv'}}}"
    (other / "Pulumi.yaml").write_text(f"name: other\nruntime: {{name: python, options: {options}}}\n")
    (program,) = page.blocks("python")
    (other / "__main__.py").write_text(program)
    said = reader.type(
        f"cd {other} && pulumi stack init other && pulumi up --yes --skip-preview && pulumi stack output --json"
    )
    assert '"weight": 90' in said

    reader.apply(role)
    team = as_account(reader.embedded, reader.stack("shop"), reader.folder, "team")
    bind = "kubectl create {} team --serviceaccount=default:team"
    reader.type(bind.format("clusterrolebinding") + f" --clusterrole={yaml.safe_load(role)['metadata']['name']}")
    reader.type(bind.format("rolebinding") + " --clusterrole=edit --namespace bookinfo")
    code, said, errors = reader.attempt(
        "pulumi preview --stack shop --expect-no-changes", {"KUBECONFIG": team.environment["KUBECONFIG"]}
    )
    assert code == 0, said + errors

    reader.type(protect)
    assert reader.attempt("pulumi destroy --stack platform")[0] != 0
    reader.type(unprotect, "pulumi preview --stack shop --expect-no-changes")


def test_gateways(reader: Reader) -> None:
    page = Page("gateways.md")
    (config,) = page.configurations()
    versions(reader, "web", "web", v1=1, v2=1)
    reader.stack("dev", config)
    said = reader.type("pulumi up")
    (secret,) = re.findall(r"kubectl --namespace \S+ create secret tls .*", said)
    example = Example("shop", reader.folder / "certificates")
    example.issue()
    for option, ending in (("cert", "crt"), ("key", "key")):
        secret = secret.replace(f"--{option}=FILE", f"--{option}={example.state / example.host}.{ending}")
    reader.type(secret, "pulumi preview --expect-no-changes")
    for block in page.blocks("console"):
        command, _, printed = block.removeprefix("$ ").partition("\n")
        assert reader.type(f"./{command} --stack dev").strip() == printed.strip()
    (outputs,) = set(re.findall(r"pulumi stack output gateways --json", page.text))
    gateway = json.loads(reader.type(outputs))["public"]
    assert "https://shop.example.com/" in json.dumps(gateway)
    assert gateway["address"]


def test_adoption(reader: Reader) -> None:
    page = Page("adoption.md")
    (show, write), hand_over, move_out = page.commands()
    existing = Page("existing-mesh.md").commands()[0]
    reader.type(*(command for command in existing if not command.startswith("pulumi")))
    reader.apply(SHOP)

    def live() -> dict[str, Any]:
        kinds = "deployments,virtualservices,destinationrules,services,peerauthentications"
        items = reader.read(kinds, "--all-namespaces")["items"]
        return {f"{item['kind']}/{item['metadata']['name']}": item["spec"] for item in items}

    before = live()
    assert "VirtualService.spec.http[0].corsPolicy can't be written" in "".join(reader.attempt(show)[1:])
    reader.type(write)
    file = reader.stack("mine").file
    # The repository of the pinned charts can't be reached here.
    charts = {"meshup:charts": {"directory": str(reader.embedded.toolbox.path("istio-charts"))}}
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(content | {"config": content["config"] | charts}))
    for command in hand_over:
        said = reader.type(command)
        if "--diff" in command:
            assert "import" in said
            assert not re.search(r"^\s*(\+-|-) ?\S+:\S+:", said, re.MULTILINE), said
    adopted = live()
    assert before.keys() <= adopted.keys()
    reader.type(*move_out)
    assert live() == adopted
    assert "mine" not in reader.type("pulumi stack ls")
    assert set(reader.type("helm list --all-namespaces --short").split()) == {"istio-base", "istiod"}


def test_zero_trust(reader: Reader) -> None:
    page = Page("walkthrough/zero-trust.md")
    (base,) = page.configurations()
    steps = [block for block in map(yaml.safe_load, page.blocks("yaml")) if "config" not in block]
    (access, learn), explains = page.commands()

    def up(step: Mapping[str, Any]) -> dict[str, Any]:
        """Deploy a step, and return the policies that there are then."""
        reader.stack("dev", {**base, **step})
        reader.type("pulumi up")
        kinds = ("peerauthentications", "requestauthentications", "authorizationpolicies", "sidecars", "serviceentries")
        items = reader.read(",".join((*kinds, "networkpolicies")), "--all-namespaces")["items"]
        return {f"{one['kind']}/{one['metadata']['namespace']}/{one['metadata']['name']}": one["spec"] for one in items}

    found = [up(steps[0])]
    assert "bookinfo/bookinfo-productpage" in reader.type(access)
    # Where pods are no processes, no proxy has counted anything.
    code, said, noted = reader.attempt(learn)
    assert (code, "MSH597" in said + noted) == (1, True)
    for step in steps[1:]:
        found.append(up(step))
        if "preset" in step["meshup:security"] and "everybody" in json.dumps(step["meshup:security"].get("allow")):
            answers = [json.loads(reader.type(f"{command} --json")) for command in explains]
            assert [one["access"][0]["allowed"] for one in answers] == [True, False]
    reader.type("pulumi preview --expect-no-changes")
    # But for the exception that changes nothing yet, each step is another policy.
    assert len({json.dumps(one, sort_keys=True) for one in found}) >= len(steps) - 1
    for step, before in reversed(list(zip(steps, found, strict=True))[:-1]):
        assert up(step) == before
