"""`meshup discover`: what it prints is what the cluster has, compiles, and agrees with the cluster."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from components.diagnostics import Diagnostic, errors
from components.manifests import Manifest
from components.meshes import MESHES
from operate import discover as discovering
from operate import stackfile, traffic
from operate.cli import app
from stacks import charts, files, plan, settings
from stacks.cluster import ClusterView
from stacks.services import OwnParts
from tests.unit.stacks.configs import NOW, raw
from tests.unit.stacks.fake_view import compare, item, view_of
from tests.unit.stacks.test_services import namespace, pod, service

PLANS = {
    name: mesh.plan(plan.request(chosen, charts.Charts(chosen.charts), NOW))[0]
    for name, mesh in MESHES.items()
    for chosen in (settings.load(raw(mesh=name), "dev")[0],)
}


def discovered(*live: Manifest, mesh: str = "istio", label: str = "") -> tuple[dict[str, Any], list[Diagnostic]]:
    view = view_of(namespace(mesh=mesh), *live)
    chosen = view.objects("v1", "Service")
    return discovering.discover(chosen, view, PLANS[mesh], OwnParts(), label=label, taken=())


def route(*live: Manifest, mesh: str = "istio", label: str = "") -> dict[str, Any]:
    return discovered(*live, mesh=mesh, label=label)[0]["shop"]


def test_a_service_with_two_versions_is_split_as_its_ready_pods_are() -> None:
    found = route(service(), pod("v1"), pod("v1"), pod("v2"), pod("v2", ready=False))
    assert found == {
        "namespace": "shop",
        "ports": [{"number": 80, "protocol": "http", "targetPort": 8080}],
        "selector": {"app": "shop"},
        "versions": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
        "split": {"v1": 67, "v2": 33},
    }


@pytest.mark.parametrize(
    ("pods", "split"),
    [
        ((pod("v1"),), {"v1": 100}),
        ((pod("v1"), pod("v2", ready=False)), {"v1": 100, "v2": 0}),
        ((pod("v1", ready=False), pod("v2", ready=False)), {"v1": 50, "v2": 50}),
        ((pod("1.2.3"), pod("1_2_3")), {"1-2-3": 50, "1-2-3-2": 50}),
        ((pod("V2"),), {"v2": 100}),
        ((pod(""),), {"none": 100}),
    ],
)
def test_versions_get_legal_names_and_todays_shares(pods: tuple[Manifest, ...], split: dict[str, int]) -> None:
    assert route(service(), *pods)["split"] == split


def test_without_versions_every_request_goes_to_the_service_as_today() -> None:
    without = pod("x", labels={"app": "shop"})
    for live in ((), (without,), (without, pod("v1"))):
        found, notes = discovered(service(), *live)
        assert found["shop"]["rules"] == [{"name": "all"}]
        assert "split" not in found["shop"]
        assert [note.code for note in notes] == (["MSH181"] if len(live) == 2 else [])


def test_versions_whose_pods_have_other_ports_are_not_split_where_that_takes_a_service_of_each() -> None:
    other = pod("v2")
    other["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": 9090}]
    live = (service(ports=[{"port": 80, "targetPort": "web"}]), pod("v1"), other)
    assert route(*live)["split"] == {"v1": 50, "v2": 50}
    found, notes = discovered(*live, mesh="linkerd")
    assert found["shop"]["rules"] == [{"name": "all"}]
    assert [note.code for note in notes] == ["MSH181"]
    assert "leads to port 8080 or 9090" in notes[0].message


def test_a_label_of_ones_own_may_tell_the_version() -> None:
    blue = pod("x", labels={"app": "shop", "color": "blue", "version": "v1"})
    assert route(service(), blue, label="color")["versions"] == {"blue": {"color": "blue"}}
    recommended = pod("x", labels={"app": "shop", "app.kubernetes.io/version": "7"})
    assert route(service(), recommended)["versions"] == {"7": {"app.kubernetes.io/version": "7"}}


@pytest.mark.parametrize(
    ("live", "mesh", "expected"),
    [
        ([{"port": 80}], "istio", {"port": 80}),
        ([{"port": 80, "targetPort": "web"}], "istio", {"ports": [{"number": 80, "targetPort": 8080}]}),
        ([{"port": 80, "targetPort": "none"}], "istio", {"port": 80}),
        (
            [{"port": 5432, "name": "tcp-db"}, {"port": 80, "name": "http"}],
            "istio",
            {"port": 80, "ports": [{"number": 5432, "protocol": "tcp"}, {"number": 80, "protocol": "http"}]},
        ),
        ([{"port": 80, "name": "grpc"}], "istio", {"ports": [{"number": 80, "protocol": "grpc"}]}),
        # A Service of a version with appProtocol grpc would be opaque to Linkerd; the name says nothing to it.
        ([{"port": 80, "name": "grpc"}], "linkerd", {"port": 80}),
        ([{"port": 80, "appProtocol": "http"}], "linkerd", {"ports": [{"number": 80, "protocol": "http"}]}),
    ],
)
def test_ports_are_written_as_the_grammar_takes_them(
    live: list[dict[str, Any]], mesh: str, expected: dict[str, Any]
) -> None:
    found = route(service(ports=live), pod("v1"), mesh=mesh)
    assert {key: value for key, value in found.items() if key in ("port", "ports")} == expected


@pytest.mark.parametrize(
    ("live", "mesh"),
    [
        (service(type="ExternalName", ports=None, selector=None), "istio"),
        (service(selector=None), "istio"),
        (service(ports=[{"port": 53, "protocol": "UDP"}]), "istio"),
        (service(ports=[{"port": 80, "name": "redis"}]), "istio"),
        (service(ports=[{"port": 3306}]), "linkerd"),
        (service(clusterIP="None"), "linkerd"),
    ],
)
def test_a_service_that_no_route_goes_with_is_said_and_left_out(live: Manifest, mesh: str) -> None:
    found, notes = discovered(live, mesh=mesh)
    assert (found, [note.code for note in notes]) == ({}, ["MSH181"])


@given(st.lists(st.integers(0, 500), min_size=1, max_size=16).filter(any))
def test_shares_sum_to_100_and_nobody_who_answers_gets_nothing(counts: list[int]) -> None:
    found = discovering.shares(counts)
    assert sum(found) == 100
    assert [share > 0 for share in found] == [count > 0 for count in counts]
    ordered = sorted(zip(counts, found, strict=True))
    assert all(one[1] <= other[1] for one, other in pairwise(ordered))


WORDS = ["", "v1", "v2", "1", "1.0", "12e45", "0x1f", "true", "null", "a_b", "A.b", "x" * 63]


@st.composite
def ports(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {"port": draw(st.sampled_from([80, 443, 3306, 5432, 8080]))}
    made["targetPort"] = draw(st.sampled_from([80, 8080, "web", "admin", "nowhere"]))
    made["protocol"] = draw(st.sampled_from(["TCP", "TCP", "UDP"]))
    names = ["", "http", "http-web", "grpc", "grpc-web", "web", "tcp-x", "https", "mongo"]
    protocols = ["", "", "http", "kubernetes.io/h2c", "kubernetes.io/ws", "grpc", "tcp", "mine.example/x"]
    said = {"name": draw(st.sampled_from(names)), "appProtocol": draw(st.sampled_from(protocols))}
    return made | {key: value for key, value in said.items() if value}


@st.composite
def services(draw: st.DrawFn) -> Manifest:
    listed = st.lists(ports(), min_size=1, max_size=3, unique_by=lambda port: (port["port"], port["protocol"]))
    selectors = [{"app": "shop"}, {"app": "shop", "tier": "12e45"}, {"app": "shop", "version": "v1"}, None]
    return service(
        draw(st.sampled_from(["shop", "s", "x" * 60])),
        ports=draw(listed),
        selector=draw(st.sampled_from(selectors)),
        clusterIP=draw(st.sampled_from(["10.0.0.1", "10.0.0.1", "None"])),
    )


LABELS = st.fixed_dictionaries(
    {"app": st.sampled_from(["shop", "shop", "other"])},
    optional={
        "version": st.sampled_from(WORDS),
        "tier": st.just("12e45"),
        "app.kubernetes.io/version": st.sampled_from(WORDS),
    },
)


@st.composite
def pods(draw: st.DrawFn) -> Manifest:
    made = pod("x", ready=draw(st.booleans()), labels=draw(LABELS))
    opened = draw(st.lists(st.sampled_from([("web", 8080), ("web", 9090), ("admin", 81)]), max_size=2))
    containers = [{"name": "app", "ports": [{"name": name, "containerPort": number} for name, number in opened]}]
    return made | {"spec": {"containers": containers}}


@given(services(), st.lists(pods(), max_size=6), st.sampled_from(list(MESHES)))
def test_what_is_printed_parses_compiles_and_agrees_with_the_cluster(
    live: Manifest, running: list[Manifest], mesh: str
) -> None:
    found, _ = discovered(live, *running, mesh=mesh)
    if not found:
        return
    text = discovering.as_yaml(found)
    assert files.document(text, files.UniqueKeys) == found
    assert yaml.load(text, Loader=stackfile.Loader) == found  # noqa: S506 # a safe loader
    view = view_of(namespace(mesh=mesh), live, *running)
    diagnostics = compare(raw(mesh=mesh, apps=[], traffic=found), view)[2]
    assert errors(diagnostics) == []
    assert "MSH180" not in {fault.code for fault in diagnostics}, "every pod is of a version"


# The command


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config: dict[str, Any] = {"meshup:environment": "dev", "meshup:trafficFile": "routes.yaml", "meshup:traffic": {}}
    (tmp_path / "Pulumi.yaml").write_text("name: meshup\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text(json.dumps({"config": config}))
    on_cluster(monkeypatch, namespace(), service(), service("cart"), pod("v1"))
    return tmp_path


def on_cluster(patch: pytest.MonkeyPatch, *live: Manifest) -> None:
    def connect(*_: object) -> tuple[None, ClusterView, list[Diagnostic]]:
        return None, view_of(*live), []

    patch.setattr(traffic, "connect", connect)


def run(project: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["discover", "--directory", str(project), *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_block_is_on_standard_output_and_else_nothing(project: Path) -> None:
    code, out, err = run(project, "shop")
    assert (code, err) == (0, "")
    assert yaml.safe_load(out) == {"shop": route(service(), pod("v1"))}
    assert json.loads(run(project, "shop", "--output", "json")[1]) == yaml.safe_load(out)
    assert list(yaml.safe_load(run(project, "--namespace", "shop")[1])) == ["shop", "cart"]


def test_write_adds_to_the_file_what_is_new_and_touches_nothing_else(project: Path) -> None:
    file = project / "routes.yaml"
    file.write_text("# ours\nother:   {namespace: x, port: 80, split: {v1: 100}}\n\n# the end\n")
    before = file.read_text()
    assert run(project, "shop", "--write")[0] == 0
    after = file.read_text()
    assert after.startswith(before)
    assert list(yaml.safe_load(after)) == ["other", "shop"]
    code, _, err = run(project, "shop", "--write")
    assert (code, file.read_text()) == (1, after)
    assert "MSH182" in err
    code, out, err = run(project, "--namespace", "shop", "--write")
    assert (code, list(yaml.safe_load(out))) == (0, ["cart"])
    assert "info MSH182 shop/shop" in err


def test_write_makes_the_file_and_keeps_its_mode_later(project: Path) -> None:
    assert run(project, "shop", "--write")[0] == 0
    file = project / "routes.yaml"
    file.chmod(0o640)
    assert run(project, "cart", "--write")[0] == 0
    assert (file.stat().st_mode & 0o777, list(yaml.safe_load(file.read_text()))) == (0o640, ["shop", "cart"])
    assert sorted(path.name for path in project.iterdir()) == ["Pulumi.dev.yaml", "Pulumi.yaml", "routes.yaml"]


def test_write_without_a_file_says_how_to_name_one(project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text('{"config": {"meshup:environment": "dev"}}')
    code, _, err = run(project, "shop", "--write")
    assert code == 1
    assert "pulumi config set meshup:trafficFile" in err


def test_a_configuration_that_says_another_mesh_than_meant_is_refused(project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text('{"config": {"meshup:environment": "dev", "meshup:mesh": "linkrd"}}')
    code, out, err = run(project, "shop")
    assert (code, out) == (1, "")
    assert "MSH004" in err


def test_the_same_name_in_another_namespace_gets_another_key(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "routes.yaml").write_text("shop: {namespace: other, port: 80, split: {v1: 100}}\n")
    found = yaml.safe_load(run(project, "shop")[1])
    assert found["shop-shop"]["service"] == "shop"
    taken = {key: {"namespace": "other", "port": 80, "split": {"v1": 100}} for key in ("shop", "shop-shop")}
    (project / "routes.yaml").write_text(json.dumps(taken))
    assert list(yaml.safe_load(run(project, "shop")[1])) == ["shop-shop-2"]
    elsewhere = item("Service", {"name": "shop", "namespace": "two"}, spec={})
    on_cluster(monkeypatch, service(), elsewhere)
    assert "shop, two" in run(project, "shop")[2]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Name Services, or a namespace"),
        (("shop", "--output", "xml"), 2, "--output"),
        (("shop", "--mesh", "osm"), 2, "--mesh"),
        (("shop", "--write", "--context", "kind"), 2, "--stack NAME"),
        (("shopp",), 1, "Did you mean 'shop'?"),
        (("--namespace", "shops"), 1, "Did you mean 'shop'?"),
    ],
)
def test_what_can_not_be_asked_is_said(project: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    found = run(project, *arguments)
    assert (found[0], found[1]) == (code, "")
    assert said in found[2]


def test_a_route_that_is_there_is_said_for_the_split_is_by_pods(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = item("VirtualService", {"name": "theirs", "namespace": "shop"}, spec={"hosts": ["shop"], "http": [{}]})
    on_cluster(monkeypatch, namespace(), service(), service("cart"), pod("v1"), theirs)
    assert "warning MSH182 shop/shop: VirtualService/shop/theirs decides" in run(project, "shop")[2]
    assert "MSH182" not in run(project, "cart")[2]


def test_what_meshup_makes_itself_is_not_discovered(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = service("shop-v1", {"labels": {"app.kubernetes.io/managed-by": "meshup"}})
    on_cluster(monkeypatch, namespace(), service(), made)
    assert list(yaml.safe_load(run(project, "--namespace", "shop")[1])) == ["shop"]
