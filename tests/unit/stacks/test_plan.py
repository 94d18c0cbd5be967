import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from components import gateway_api
from components.addons import ADDONS, zipkin
from components.apps import bookinfo, emojivoto
from components.diagnostics import errors
from components.helm import ChartSource
from components.meshes import MESHES
from devcluster import paths
from stacks.charts import inspect
from stacks.outputs import outputs
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build, planned, stack_of


def test_the_same_configuration_gives_the_same_plan() -> None:
    assert repr(planned(raw())) == repr(planned(raw()))
    assert json.dumps(outputs(planned(raw()))) == json.dumps(outputs(planned(raw())))


def test_another_weight_changes_only_the_virtual_service() -> None:
    before = planned(raw()).traffic.manifests
    other = raw(traffic={"reviews": {"namespace": "bookinfo", "split": {"v1": 50, "v2": 50}}})
    after = planned(other).traffic.manifests
    changed = [old["kind"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["VirtualService"]


@pytest.mark.parametrize(("mtls", "admitted"), [("strict", "all-authenticated"), ("permissive", "all-unauthenticated")])
def test_a_rate_limit_on_linkerd_admits_whom_the_mesh_admits(mtls: str, admitted: str) -> None:
    limited = {"reviews": {"namespace": "bookinfo", "rateLimit": {"requests": 10}}}
    objects = planned(raw(mesh="linkerd", mtls=mtls, traffic=limited)).traffic.manifests
    (server,) = (item for item in objects if item["kind"] == "Server")
    assert server["spec"]["accessPolicy"] == admitted


def test_hosts_of_routes_have_the_domain_that_linkerd_is_told() -> None:
    made = planned(raw(mesh="linkerd", linkerd={"clusterDomain": "corp.example"}))
    assert made.traffic.summaries["reviews"]["host"] == "reviews.bookinfo.svc.corp.example"


def test_production_has_two_istiods_or_more_and_strict_mutual_tls() -> None:
    made = planned(raw(environment="prod"), stack_of("organization/meshup/prod"))
    istiod = made.mesh.releases[1]["values"]
    assert istiod["autoscaleMin"] >= 2
    assert made.mesh.output["mtls"] == "strict"


def test_the_plan_names_every_object_that_the_stack_will_own() -> None:
    names = {(item.kind, item.namespace, item.name) for item in planned(raw()).objects()}
    assert {
        ("Namespace", "", "istio-system"),
        ("Namespace", "", "bookinfo"),
        ("PeerAuthentication", "istio-system", "default"),
        ("Deployment", "bookinfo", "reviews-v3"),
        ("VirtualService", "bookinfo", "reviews"),
        ("DestinationRule", "bookinfo", "reviews"),
    } <= names


def test_a_revision_reaches_namespaces_and_releases() -> None:
    made = planned(raw(istio={"revision": "canary"}))
    assert made.namespaces[0]["labels"]["istio.io/rev"] == "canary"
    assert made.mesh.releases[1]["name"] == "istiod-canary"


def test_the_outputs_are_those_of_the_contract() -> None:
    made = outputs(planned(raw()))
    contract: dict[str, Any] = {
        "namespace": "bookinfo",
        "host": "reviews.bookinfo.svc.cluster.local",
        "mesh": "istio",
        "api": "networking.istio.io/v1",
        "rules": [{"match": "all", "backends": [{"name": "v1", "weight": 90}, {"name": "v2", "weight": 10}]}],
        "objects": ["VirtualService/bookinfo/reviews", "DestinationRule/bookinfo/reviews"],
    }
    split = made["trafficSplits"]["reviews"]
    assert {key: split[key] for key in contract} == contract
    assert made["mesh"]["kind"] == "istio"
    assert made["mesh"]["injection"] is True
    assert "virtualservices.networking.istio.io" in made["mesh"]["keptOnDestroy"]["commands"][0]
    assert made["apps"]["bookinfo"]["services"]["reviews"]["versions"] == ["v1", "v2", "v3"]


def test_the_outputs_are_plain_data_with_camel_case_keys() -> None:
    made = outputs(planned(raw()))
    text = json.dumps(made)
    assert json.loads(text) == made
    keys = re.findall(r'"([^"]*)":', text)
    assert keys
    assert [key for key in keys if not re.fullmatch(r"[a-z][A-Za-z0-9-]*", key)] == []


def chart(folder: Path, name: str, text: str | None = None) -> None:
    (folder / name).mkdir(parents=True)
    if text != "":
        (folder / name / "Chart.yaml").write_text(text or f"name: {name}\nversion: 1.30.3\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("texts", "wanted", "codes"),
    [
        ({"base": None, "istiod": None}, None, []),
        ({"base": None, "istiod": None}, "1.30.3", []),
        ({"base": None}, None, ["MSH302"]),
        ({}, None, ["MSH302", "MSH302"]),
        ({"base": None, "istiod": ""}, None, ["MSH303"]),
        ({"base": None, "istiod": "name: istiod\n"}, None, ["MSH303"]),
        ({"base": None, "istiod": "name: [\n"}, None, ["MSH303"]),
        ({"base": None, "istiod": "name: cni\nversion: 1.30.3\n"}, None, ["MSH303"]),
        ({"base": None, "istiod": "name: istiod\nversion: 1.30.2\n"}, None, ["MSH304"]),
        ({"base": None, "istiod": None}, "1.30.2", ["MSH304", "MSH304"]),
        ({"base": "name: base\nversion: 1.20.0\n", "istiod": "name: istiod\nversion: 1.20.0\n"}, None, ["MSH306"] * 2),
        ({"base": None, "istiod": "name: istiod\nversion: latest\n"}, None, ["MSH303"]),
    ],
)
def test_a_chart_directory_is_looked_at_before_the_first_resource(
    tmp_path: Path, texts: dict[str, str | None], wanted: str | None, codes: list[str]
) -> None:
    for name, text in texts.items():
        chart(tmp_path, name, text)
    charts, found = inspect(ChartSource(directory=str(tmp_path)), MESHES["istio"], ("base", "istiod"), wanted)
    assert [fault.code for fault in found] == codes
    if not codes:
        assert charts.version == "1.30.3"


def test_a_chart_directory_that_is_not_there_is_one_fault(tmp_path: Path) -> None:
    found = inspect(ChartSource(directory=str(tmp_path / "none")), MESHES["istio"], ("base", "istiod"), None)[1]
    assert [fault.code for fault in found] == ["MSH301"]


@pytest.mark.parametrize(
    ("viz", "there", "codes"),
    [
        ({}, "2026.8.3", []),
        ({}, "2026.9.1", ["MSH304"]),
        ({}, None, ["MSH302"]),
        ({"version": "2026.9.1"}, "2026.9.1", []),
        ({"repository": "https://charts.example"}, None, []),
    ],
)
def test_the_chart_of_an_add_on_has_a_version_of_its_own(
    tmp_path: Path, viz: dict[str, Any], there: str | None, codes: list[str]
) -> None:
    for name in ("linkerd-crds", "linkerd-control-plane", *(["linkerd-viz"] if there else [])):
        version = there if name == "linkerd-viz" else "2026.8.3"
        chart(tmp_path, name, f"name: {name}\nversion: {version}\n")
    keys: dict[str, Any] = {"mesh": "linkerd", "linkerd": {"viz": {"enabled": True, **viz}}}
    found = build(raw(charts={"directory": str(tmp_path)}, **keys))[1]
    assert [fault.code for fault in errors(found)] == codes


def test_a_missing_chart_of_an_add_on_is_reported_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    chart(tmp_path, "base")
    chart(tmp_path, "istiod")
    found = build(raw(charts={"directory": str(tmp_path)}, zipkin={"enabled": True}))[1]
    (fault,) = errors(found)
    assert fault.code == "MSH302"
    assert fault.remedy.splitlines()[1:] == [
        f"helm pull zipkin --repo https://zipkin.io/zipkin-helm --version {zipkin.CHART} --untar --untardir {tmp_path}"
    ]


def test_every_pinned_version_has_a_marker_that_renovate_reads() -> None:
    rule = json.loads((paths.repository() / "renovate.json").read_text())["customManagers"][0]
    pattern = re.compile(rule["matchStrings"][0].replace("(?<", "(?P<"))
    (files,) = (file.strip("/") for file in rule["managerFilePatterns"])
    texts = [
        file.read_text()
        for file in (paths.repository() / "components").rglob("*.py")
        if re.search(files, file.relative_to(paths.repository()).as_posix())
    ]
    found = {match["currentValue"] for text in texts for match in pattern.finditer(text)}
    pinned = {mesh.versions.pinned for mesh in MESHES.values()}
    samples = {bookinfo.BOOKINFO, emojivoto.EMOJIVOTO}
    charts = {sys.modules[type(addon).__module__].CHART for addon in ADDONS.values()}
    assert found == pinned | samples | charts | {gateway_api.GATEWAY_API}
    assert sum(text.count("# renovate:") for text in texts) == len(found)


def test_every_pinned_mesh_is_one_that_is_supported() -> None:
    assert [mesh.versions.unsupported(mesh.versions.pinned) for mesh in MESHES.values()] == ["", ""]


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_a_clock_that_is_set_wrong_is_reported_on_every_mesh(mesh: str) -> None:
    diagnostics = build(raw(mesh=mesh), stack_of(environ={"MESHUP_NOW": "tomorrow"}))[1]
    assert [(fault.code, fault.path) for fault in errors(diagnostics)] == [("MSH221", "MESHUP_NOW")]


@pytest.mark.parametrize(("at", "codes"), [("2027-02-28", []), ("2027-03-02", ["MSH509"])])
def test_an_exception_of_the_policy_ends_by_the_clock_that_is_set(at: str, codes: list[str]) -> None:
    exception = {"namespace": "bookinfo", "service": "reviews", "mode": "permissive", "until": "2027-03-01"}
    config = raw(security={"mtls": {"exceptions": [exception]}})
    diagnostics = build(config, stack_of(environ={"MESHUP_NOW": f"{at}T12:00:00Z"}))[1]
    assert [fault.code for fault in errors(diagnostics)] == codes
