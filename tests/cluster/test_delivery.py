"""Routes in Helm releases: the chart under helm itself, the whole way on a real API server."""

import json
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.traffic import component as traffic
from devcluster import stackfile
from devcluster.embedded import Embedded
from devcluster.stack import Stack, StackError
from devcluster.toolchain import Toolbox
from tests.conftest import prepared_program

pytestmark = pytest.mark.cluster

ROUTES = Path(__file__).resolve().parents[2] / "components" / "charts" / "routes"
KINDS = "virtualservices.networking.istio.io,destinationrules.networking.istio.io"
SERVICES = 20
HANDED_OVER: dict[str, Any] = {
    "manager": "handover",
    "operation": "Update",
    "apiVersion": "networking.istio.io/v1",
    "fieldsType": "FieldsV1",
    "fieldsV1": {"f:metadata": {"f:annotations": {"f:meshup/stack": {}}}},
}
"""Leaves helm no field: two managers of one field could not change it by server-side apply."""


def routes(weight: int = 90, count: int = SERVICES, versions: tuple[str, str] = ("v1", "v2")) -> dict[str, Any]:
    """Services in a namespace that is there already; weight and versions are those of the first one."""
    return {"s0": routed(weight, versions)} | {f"s{number}": routed(90, ("v1", "v2")) for number in range(1, count)}


def routed(weight: int, versions: tuple[str, str]) -> dict[str, Any]:
    one, two = versions
    return {
        "namespace": "default",
        "port": 80,
        "versions": {one: {"version": one}, two: {"version": two}},
        "split": {one: weight, two: 100 - weight},
    }


def set_keys(stack: Stack, **keys: Any) -> None:
    named = {f"meshup:{key}": value for key, value in keys.items()}
    stack.file.write_text(stackfile.with_settings(stack.file.read_text(), named))


def command(stack: Stack, *argv: str) -> str:
    done = subprocess.run(
        stack.wrap(argv), cwd=stack.project, env=stack.env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def live(stack: Stack) -> dict[str, dict[str, Any]]:
    items = json.loads(command(stack, "kubectl", "get", KINDS, "--namespace", "default", "--output", "json"))["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in items}


def versions(stack: Stack) -> dict[str, str]:
    return {name: item["metadata"]["resourceVersion"] for name, item in live(stack).items()}


def releases(stack: Stack) -> list[str]:
    return command(stack, "helm", "list", "--namespace", "default", "--short").split()


@pytest.fixture(scope="module")
def stack(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A mesh without webhooks and without applications: the routes are what is looked at."""
    embedded.toolbox.ensure(["kubectl"])
    settings: dict[str, Any] = {
        "meshup:apps": "[]",
        "meshup:traffic": routes(),
        "meshup:istio": {"webhooks": False},
        "meshup:delivery": "release",
    }
    subject = prepared_program(embedded, tmp_path_factory.mktemp("delivery"), settings)
    text = subject.file.read_text().replace('meshup:apps: "[]"', "meshup:apps: []")
    subject.file.write_text(text)
    subject.up()
    yield subject
    subject.recover()
    subject.run(["destroy", "--yes", "--skip-preview"], quiet=True)
    assert live_is_gone(subject)


def live_is_gone(stack: Stack) -> bool:
    return "VirtualService" not in command(
        stack, "kubectl", "get", KINDS, "--namespace", "default", "--ignore-not-found", "--output", "name"
    )


def test_every_number_and_text_arrives_as_it_was_compiled(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "big": 429496729,
        "million": 1000000,
        "largest": 4294967295,
        "percent": 0.1,
        "zero": 0,
        "off": False,
        "text": '1e6 {{ .Values }} <b> "quoted" \\d+\n---\n: #',
        "empty": {},
        "list": ["*", "~", "yes"],
    }
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Kind", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
        for name in ("egress-api.example.com", "reviews")
    ]
    found = [release["values"] for release in traffic.releases(objects, "r")]
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"objects": {key: text for item in found for key, text in item["objects"].items()}}))
    toolbox = Toolbox()
    toolbox.ensure(["helm"])
    done = subprocess.run(
        [toolbox.path("helm"), "template", "r", ROUTES, "--values", values], capture_output=True, text=True, check=True
    )
    assert "e+" not in done.stdout
    rendered = [document for document in yaml.safe_load_all(done.stdout) if document]
    assert [item["metadata"]["name"] for item in rendered] == ["egress-api.example.com", "reviews"]
    assert all(item["spec"] == spec for item in rendered)
    assert all(type(item["spec"]["million"]) is int for item in rendered)


def test_a_second_preview_finds_nothing_to_do(stack: Stack) -> None:
    assert len(live(stack)) == 2 * SERVICES
    stack.run(["preview", "--expect-no-changes"], quiet=True)


def test_a_weight_is_shown_in_the_preview_and_changes_exactly_one_object(stack: Stack) -> None:
    before = versions(stack)
    set_keys(stack, traffic=routes(80))
    shown = stack.run(["preview", "--diff"], quiet=True)
    assert "VirtualService/s0" in shown
    assert "VirtualService/s1" not in shown
    assert re.search(r"weight: 90 => 80", shown), shown
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    after = versions(stack)
    assert {name for name in after if after[name] != before[name]} == {"VirtualService/s0"}
    weights = [item["weight"] for item in live(stack)["VirtualService/s0"]["spec"]["http"][0]["route"]]
    assert weights == [80, 20]


def test_a_route_that_is_taken_out_goes_and_the_others_stay(stack: Stack) -> None:
    before = versions(stack)
    set_keys(stack, traffic=routes(80, SERVICES - 1))
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    gone = {f"VirtualService/s{SERVICES - 1}", f"DestinationRule/s{SERVICES - 1}"}
    assert versions(stack) == {name: version for name, version in before.items() if name not in gone}
    set_keys(stack, traffic=routes(80))
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    assert len(live(stack)) == 2 * SERVICES


def test_a_version_takes_the_place_of_another_with_no_route_to_a_subset_that_is_not_there(stack: Stack) -> None:
    def generation(item: str) -> int:
        return live(stack)[item]["metadata"]["generation"]

    before, others = generation("DestinationRule/s0"), versions(stack)
    set_keys(stack, traffic=routes(80, versions=("v1", "v3")))
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    after = live(stack)
    assert [part["destination"]["subset"] for part in after["VirtualService/s0"]["spec"]["http"][0]["route"]] == [
        "v1",
        "v3",
    ]
    assert {subset["name"] for subset in after["DestinationRule/s0"]["spec"]["subsets"]} == {"v1", "v3"}
    # First with both the old and the new subset, and without the old one when the route had left it.
    assert generation("DestinationRule/s0") == before + 2
    written = {name: int(version) for name, version in versions(stack).items()}
    assert written["VirtualService/s0"] < written["DestinationRule/s0"]
    changed = {name for name, version in versions(stack).items() if version != others[name]}
    assert changed == {"VirtualService/s0", "DestinationRule/s0"}
    stack.run(["preview", "--expect-no-changes"], quiet=True)


def test_a_route_moves_to_a_version_of_a_new_service_that_is_there_before_it(stack: Stack) -> None:
    """Of s0, v3 goes; s99 and its v9 come. Helm then takes over what was made before it, and whoever changes it."""
    there = routes(80, versions=("v1", "v3"))
    del there["s0"]["versions"]["v3"], there["s0"]["split"]
    there["s0"]["rules"] = [
        {"backends": [{"version": "v1", "weight": 80}, {"service": "s99", "version": "v9", "weight": 20}]}
    ]
    there["s99"] = routed(90, ("v8", "v9"))
    set_keys(stack, traffic=there)
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    written = {name: int(version) for name, version in versions(stack).items()}
    assert written["VirtualService/s0"] < written["DestinationRule/s0"]
    made = live(stack)["DestinationRule/s99"]["metadata"]
    assert made["generation"] == 1
    assert made["creationTimestamp"]
    stack.run(["preview", "--expect-no-changes"], quiet=True)
    before = identity(stack, "DestinationRule/s99")
    there["s99"] = routed(90, ("v7", "v9"))
    set_keys(stack, traffic=there)
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    assert identity(stack, "DestinationRule/s99") == before
    assert {subset["name"] for subset in live(stack)["DestinationRule/s99"]["spec"]["subsets"]} == {"v7", "v9"}
    set_keys(stack, traffic=routes(80))
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    assert len(live(stack)) == 2 * SERVICES


def identity(stack: Stack, item: str) -> str:
    return live(stack)[item]["metadata"]["uid"]


def test_the_other_way_of_delivery_is_refused_before_anything_happens(stack: Stack) -> None:
    before = versions(stack)
    set_keys(stack, delivery="objects")
    with pytest.raises(StackError, match="MSH029"):
        stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    assert versions(stack) == before
    set_keys(stack, delivery="release")


def killed_in_an_upgrade(stack: Stack, weight: int) -> bool:
    """Kill an `up` as soon as Helm has recorded that an upgrade begins; return False if it was over before."""
    set_keys(stack, traffic=routes(weight, SERVICES + 20))
    selector = "owner=helm,status=pending-upgrade"
    query = ["kubectl", "get", "secrets", "--namespace", "default", "--selector", selector, "--output", "name"]
    watching = subprocess.Popen(
        stack.wrap([*query, "--watch"]), cwd=stack.project, env=stack.env(), stdout=subprocess.PIPE
    )
    argv = stack.wrap(["pulumi", "--non-interactive", "up", "--yes", "--skip-preview"])
    running = subprocess.Popen(
        argv, cwd=stack.project, env=stack.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert watching.stdout is not None
    try:
        while running.poll() is None and not select.select([watching.stdout], [], [], 0.1)[0]:
            pass
        running.send_signal(signal.SIGKILL)
        return running.wait() == -signal.SIGKILL
    finally:
        watching.kill()
        watching.communicate()


def test_a_killed_up_is_taken_up_again(stack: Stack) -> None:
    # The record of an upgrade is there for a moment only.
    assert any(killed_in_an_upgrade(stack, weight) for weight in (70, 71, 72)), "no upgrade could be killed"
    # A half-written one makes the state unreadable (devcluster/stack.py).
    assert list(stack.backend.rglob("*.attrs")) == []
    stack.up()
    assert len(live(stack)) == 2 * (SERVICES + 20)
    stack.run(["preview", "--expect-no-changes"], quiet=True)


def test_routes_can_be_handed_over_to_the_other_way_and_back_without_being_touched(
    stack: Stack, tmp_path: Path
) -> None:
    names = releases(stack)
    prefix = names[0].rsplit("-", 2)[0]
    assert all(name.startswith(prefix) for name in names)
    there = live(stack)
    identities = {key: item["metadata"]["uid"] for key, item in there.items()}
    specs = {key: item["spec"] for key, item in there.items()}

    def unchanged() -> bool:
        now = live(stack)
        same = {key: item["metadata"]["uid"] for key, item in now.items()} == identities
        return same and {key: item["spec"] for key, item in now.items()} == specs

    # docs/decisions/0002-scale.md, "Changing the way".
    forget_traffic(stack)
    records = f"owner=helm,name in ({','.join(names)})"
    command(stack, "kubectl", "delete", "secrets", "--namespace", "default", "--selector", records)
    where = [KINDS, "--namespace", "default", "--selector", "app.kubernetes.io/managed-by=Helm"]
    command(stack, "kubectl", "annotate", *where, "meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-")
    clean = json.dumps([{"op": "replace", "path": "/metadata/managedFields", "value": [HANDED_OVER]}])
    for item in command(stack, "kubectl", "get", *where, "--output", "name").split():
        command(stack, "kubectl", "patch", item, "--namespace", "default", "--type", "json", "--patch", clean)
    set_keys(stack, delivery="objects")
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    assert unchanged()
    stack.run(["preview", "--expect-no-changes"], quiet=True)

    # Pulumi alone holds the fields now, so it may change them.
    set_keys(stack, traffic=routes(60, len(there) // 2))
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    specs = {key: item["spec"] for key, item in live(stack).items()}

    forget_traffic(stack)
    where = [KINDS, "--namespace", "default", "--selector", "app.kubernetes.io/managed-by=meshup"]
    listed = json.loads(command(stack, "kubectl", "get", *where, "--output", "json"))
    listed["items"] = [traffic.with_helm_ownership(item, prefix) for item in listed["items"]]
    (tmp_path / "listed.json").write_text(json.dumps(listed))
    command(stack, "kubectl", "replace", "--filename", str(tmp_path / "listed.json"))
    set_keys(stack, delivery="release")
    stack.run(["up", "--yes", "--skip-preview"], quiet=True)
    assert unchanged()
    stack.run(["preview", "--expect-no-changes"], quiet=True)


def forget_traffic(stack: Stack) -> None:
    """Take the routes out of Pulumi's state, and leave them in the cluster."""
    resources = json.loads(stack.run(["stack", "export"], quiet=True))["deployment"]["resources"]
    (traffic,) = [item["urn"] for item in resources if item["type"] == "meshup:index:Traffic"]
    stack.run(["state", "delete", "--yes", "--target-dependents", traffic], quiet=True)
