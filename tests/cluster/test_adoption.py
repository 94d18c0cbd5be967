"""An Istio of Helm and its routes become a stack's by `meshup adopt`, and leave it again as they run."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import paths
from devcluster.embedded import Embedded
from devcluster.stack import Stack
from tests.cluster.test_existing_mesh import ISTIOD, Estate, must
from tests.conftest import copied_program

pytestmark = pytest.mark.cluster

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5, baseEjectionTime: 30s}}
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{headers: {end-user: {exact: tester}}}]
    route: [{destination: {host: web, subset: v2}}]
  - route: [{destination: {host: web, subset: v1}, weight: 90}, {destination: {host: web, subset: v2}, weight: 10}]
    timeout: 2s
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - corsPolicy: {allowOrigins: [{exact: "*"}]}
    route: [{destination: {host: cart}}]
"""


@pytest.fixture
def estate(embedded: Embedded, tmp_path: Path) -> Iterator[Estate]:
    """An Istio of Helm with values of its own, and routes of kubectl."""
    embedded.toolbox.ensure(["kubectl", "helm"])
    made = Estate(embedded, tmp_path)
    charts = embedded.toolbox.path("istio-charts")
    values = ("--set", "meshConfig.accessLogFile=/dev/stdout", "--set", "autoscaleMin=2", "--set", "traceSampling=5")
    made.run("kubectl", "create", "namespace", "istio-system")
    made.run("helm", "install", "istio-base", str(charts / "base"), "-n", "istio-system")
    made.run("helm", "install", "istiod", str(charts / "istiod"), "-n", "istio-system", *ISTIOD, *values)
    (tmp_path / "shop.yaml").write_text(SHOP)
    made.run("kubectl", "get", "virtualservices,destinationrules", "-A")
    made.run("kubectl", "apply", "--filename", str(tmp_path / "shop.yaml"))
    yield made
    made.run("kubectl", "delete", "namespace", "shop")
    made.run("helm", "uninstall", "-n", "istio-system", "istiod", "istio-base")
    crds = made.run("kubectl", "get", "customresourcedefinitions", "-o", "name").split()
    made.run("kubectl", "delete", *(name for name in crds if name.endswith(".istio.io")))
    made.run("kubectl", "delete", "namespace", "istio-system")


def live(estate: Estate) -> dict[str, Any]:
    """What runs, by kind and name: the specs, without what is no part of them."""
    kinds = "deployments,virtualservices,destinationrules,services,peerauthentications,horizontalpodautoscalers"
    items = json.loads(estate.run("kubectl", "get", kinds, "-A", "-o", "json"))["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item.get("spec") for item in items}


def operations(stack: Stack) -> list[str]:
    done = json.loads(must(stack, "preview", "--json"))
    return [f"{step['op']} {step['urn'].rpartition('::')[2]}" for step in done["steps"] if step["op"] != "same"]


def test_what_helm_and_kubectl_made_is_adopted_and_left_again(estate: Estate) -> None:
    program = copied_program(estate.folder / "program")
    state = estate.folder / "state"
    state.mkdir()
    before = live(estate)
    meshup, context = str(paths.repository() / "meshup"), estate.embedded.cluster.context
    commands = estate.run(
        meshup, "adopt", "--stack", "mine", "--context", context, "--directory", str(program), "--write"
    )
    routes = yaml.safe_load((program / "routes.mine.yaml").read_text())
    assert set(routes) == {"web"}
    for command in commands.splitlines():
        estate.run(*shlex.split(command))
    stack = estate.embedded.stack_of(program, state, state / "passphrase", "mine")
    content = yaml.safe_load(stack.file.read_text())
    assert content["config"]["meshup:istio"] == {
        "version": "1.31.0-dev",
        "traceSampling": 5,
        "webhooks": False,
        "values": {"istiod": {"autoscaleMin": 2, "meshConfig": {"accessLogFile": "/dev/stdout"}}},
    }
    assert content["config"]["meshup:namespaces"] == {"shop": {}}
    # The pinned charts come from a repository that no test can reach.
    content["config"]["meshup:charts"] = {"directory": str(estate.embedded.toolbox.path("istio-charts"))}
    stack.file.write_text(yaml.safe_dump(content))
    stack.prepare({})
    planned = operations(stack)
    assert {operation.partition(" ")[0] for operation in planned} == {"create", "import", "update"}
    assert {"import istio-base", "import istio-istiod"} <= set(planned)
    must(stack, "up", "--yes", "--skip-preview")
    must(stack, "preview", "--expect-no-changes")
    releases = json.loads(estate.run("helm", "list", "-A", "-o", "json"))
    assert {(item["name"], item["revision"]) for item in releases} == {("istio-base", "2"), ("istiod", "2")}
    adopted = live(estate)
    changed = {name for name in before if adopted[name] != before[name]}
    # The hosts are written in full, and istiod gets the seccomp profile.
    assert changed == {"Deployment/istiod", "VirtualService/web", "DestinationRule/web"}

    # kubectl, which made the fields, does not stand in the way of a change.
    file = program / "routes.mine.yaml"
    file.write_text(file.read_text().replace("{v1: 90, v2: 10}", "{v1: 50, v2: 50}"))
    must(stack, "up", "--yes", "--skip-preview")
    adopted = live(estate)
    assert [part["weight"] for part in adopted["VirtualService/web"]["http"][1]["route"]] == [50, 50]

    content["config"]["meshup:retain"] = True
    stack.file.write_text(yaml.safe_dump(content | {"encryptionsalt": _salt(stack)}))
    must(stack, "up", "--yes", "--skip-preview")
    must(stack, "destroy", "--yes", "--skip-preview")
    assert live(estate) == adopted
    assert [item["name"] for item in json.loads(estate.run("helm", "list", "-A", "-o", "json"))] == [
        "istio-base",
        "istiod",
    ]


def _salt(stack: Stack) -> str:
    found = re.search(r"^encryptionsalt: (.+)$", stack.file.read_text(), re.MULTILINE)
    assert found
    return found[1]
