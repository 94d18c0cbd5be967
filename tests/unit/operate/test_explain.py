"""`meshup explain`: what it prints for a stack, for people and as JSON, and how it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.diagnostics import Diagnostic
from components.manifests import Manifest
from components.meshes import MESHES
from components.meshes.istio import proxies
from operate import stackfile, traffic
from operate.cli import app
from stacks.cluster import ClusterView
from tests.unit.stacks.fake_view import view_of
from tests.unit.stacks.test_services import SHOP, namespace, pod, service

PROJECT = "name: meshup\nruntime: python\nconfig:\n  mesh: {type: string, default: istio}\n"
STACK: dict[str, Any] = {
    "meshup:environment": "dev",
    "meshup:apps": ["bookinfo"],
    "meshup:traffic": {
        "reviews": {
            "rules": [
                {
                    "name": "testers",
                    "match": {"headers": {"end-user": "jason"}},
                    "backends": {"v2": 100},
                    "timeout": "2s",
                },
                {"name": "rest", "backends": {"v1": 90, "v3": 10}},
            ]
        }
    },
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    write(tmp_path, STACK)
    return tmp_path


def write(directory: Path, config: dict[str, Any], stack: str = "dev") -> None:
    (directory / f"Pulumi.{stack}.yaml").write_text(json.dumps({"config": config}))


def run(project: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["explain", "--directory", str(project), *arguments])
    return result.exit_code, result.stdout, result.stderr


def explained(project: Path, *arguments: str) -> dict[str, Any]:
    code, out, err = run(project, "--json", *arguments)
    assert code == 0, err
    return json.loads(out)


def test_a_key_that_stands_twice_is_refused_as_pulumi_does(project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    file.write_text("config:\n  meshup:traffic:\n    reviews:\n      split: {v1: 100, v2: 0, v1: 0}\n")
    code, _, err = run(project)
    assert code == 2
    assert "the key 'v1' appears twice" in err


def test_a_path_that_is_none_is_refused_with_an_example(project: Path) -> None:
    code, out, err = run(project, "--path", "reviews/1")
    assert (code, out) == (2, "")
    assert "starts with '/'" in err


def test_the_request_is_repeated_with_every_value_of_a_name(project: Path) -> None:
    asked = explained(project, "--path", "/a?b=1&b=2", "--header", "x: 1", "--header", "x: 2")["request"]
    assert asked == {
        "method": "GET",
        "path": "/a",
        "headers": [{"name": "x", "value": "1"}, {"name": "x", "value": "2"}],
        "query": [{"name": "b", "value": "1"}, {"name": "b", "value": "2"}],
    }


def test_hosts_have_the_domain_that_linkerd_is_told(project: Path) -> None:
    write(project, {**STACK, "meshup:mesh": "linkerd", "meshup:linkerd": {"clusterDomain": "corp.example"}})
    assert explained(project)["routes"]["reviews"]["host"] == "reviews.bookinfo.svc.corp.example"
    assert explained(project, "--mesh", "istio")["routes"]["reviews"]["host"] == "reviews.bookinfo.svc.cluster.local"


def test_the_rules_of_a_route_are_listed_with_backends_policies_and_objects(project: Path) -> None:
    route = explained(project)["routes"]["reviews"]
    assert [rule["name"] for rule in route["rules"]] == ["testers", "rest"]
    assert route["rules"][0]["match"] == "header end-user exact jason"
    assert route["rules"][0]["policies"] == ["timeout 2s"]
    assert [(backend["name"], backend["weight"]) for backend in route["rules"][1]["backends"]] == [
        ("v1", 90),
        ("v3", 10),
    ]
    assert route["objects"] == ["VirtualService/bookinfo/reviews", "DestinationRule/bookinfo/reviews"]


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
@pytest.mark.parametrize(
    ("header", "rule", "passed"), [("End-User: jason", "testers", []), ("x: y", "rest", ["testers"])]
)
def test_a_request_is_taken_by_the_same_rule_on_both_meshes(
    project: Path, mesh: str, header: str, rule: str, passed: list[str]
) -> None:
    decision = explained(project, "--mesh", mesh, "--path", "/reviews/1?a=b", "--header", header)["routes"]["reviews"][
        "decision"
    ]
    assert decision["rule"] == rule
    assert [entry["rule"] for entry in decision["passed"]] == passed


def test_the_table_shows_the_rule_and_the_shares(project: Path) -> None:
    code, out, _ = run(project, "--path", "/")
    assert code == 0
    assert "The rule 'rest' takes it." in out
    assert "goes to v1 90%, v3 10%" in out


def test_a_refused_configuration_is_reported_whole_and_exits_1(project: Path) -> None:
    write(project, {**STACK, "meshup:traffic": {"reviews": {"split": {"v1": 90, "v9": 9}}}})
    code, out, err = run(project)
    assert (code, out) == (1, "")
    assert "MSH107" in err
    assert "MSH110" in err
    assert "Traceback" not in err


def test_routes_that_are_not_there_are_named_with_the_nearest_one_and_all_that_are(project: Path) -> None:
    routes = {name: {"split": {"v1": 100}} for name in ("reviews", "ratings", "details")}
    write(project, {**STACK, "meshup:traffic": routes})
    code, _, err = run(project, "reviewz", "rating", "unlike")
    assert code == 1
    assert err.count("MSH155") == 3
    assert err.count("one of reviews, ratings, details") == 3
    assert "Did you mean 'reviews'?" in err
    assert "Did you mean 'ratings'?" in err
    assert "Name one of the routes of `meshup:traffic`." in err


@pytest.mark.parametrize("asked", [(), ("--path", "/"), ("--mesh", "linkerd")])
def test_a_stack_without_routes_is_said_to_have_none(project: Path, asked: tuple[str, ...]) -> None:
    write(project, {"meshup:environment": "dev"}, "prod")
    code, out, _ = run(project, "--stack", "prod", *asked)
    assert code == 0
    assert "The stack 'prod' declares no routes" in out
    assert str(project / "Pulumi.prod.yaml") in out
    assert explained(project, "--stack", "prod", *asked)["routes"] == {}


def test_the_project_is_the_nearest_folder_around_the_working_directory_else_the_commands_own(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inner = project / "docs" / "deep"
    inner.mkdir(parents=True)
    assert stackfile.project_folder(inner) == project
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert stackfile.project_folder(elsewhere) == Path(__file__).resolve().parents[3]


def test_a_stack_may_be_named_with_its_organization_and_project(project: Path) -> None:
    assert explained(project, "--stack", "organization/meshup/dev")["routes"]


@pytest.mark.parametrize("stack", ["qa", "../dev2", "organization/meshup/qa"])
def test_a_stack_that_is_not_there_is_named_with_those_that_are(project: Path, stack: str) -> None:
    code, _, err = run(project, "--stack", stack)
    assert code == 2
    assert f"There is no file Pulumi.{Path(stack).name}.yaml in {project}. Stacks with a file here: dev." in err


def test_a_folder_that_is_none_is_named(project: Path) -> None:
    result = CliRunner().invoke(app, ["explain", "--stack", "dev", "--directory", str(project / "Pulumi.yaml")])
    assert result.exit_code == 2
    assert "There is no file Pulumi.yaml in" in result.stderr


def test_a_request_that_takes_too_much_work_to_decide_is_refused(project: Path) -> None:
    patterns = {f"x{number}": {"regex": f"[ab]*a(?:[ab]{{{number + 30}}}|c)"} for number in range(16)}
    write(project, {**STACK, "meshup:traffic": {"reviews": {"rules": [{"match": {"headers": patterns}}, {}]}}})
    value = "".join(random.Random(1).choices("ab", k=18_000)) + "a" * 46  # noqa: S311 -- no secret
    code, out, err = run(project, *(text for name in patterns for text in ("--header", f"{name}: {value}")))
    assert (code, out) == (1, "")
    assert "MSH163" in err
    assert "[ab]*a" in err


def test_several_stacks_need_a_choice(project: Path) -> None:
    write(project, STACK, "prod")
    code, _, err = run(project)
    assert code == 2
    assert "dev, prod" in err
    assert run(project, "--stack", "prod")[0] == 0


@pytest.mark.parametrize(("text", "said"), [("a: [", "can't be read"), ("- 1", "not a mapping")])
def test_a_file_that_is_no_configuration_is_named(project: Path, text: str, said: str) -> None:
    (project / "Pulumi.dev.yaml").write_text(text)
    code, _, err = run(project)
    assert code == 2
    assert said in err


def test_a_header_without_a_colon_is_a_usage_error(project: Path) -> None:
    code, _, err = run(project, "--header", "end-user")
    assert code == 2
    assert "--header" in err


def test_a_secret_of_the_stack_is_never_needed(project: Path) -> None:
    write(project, {**STACK, "kubernetes:kubeconfig": {"secure": "v1:abc"}})
    assert explained(project)["routes"]


def test_words_that_old_yaml_reads_as_booleans_are_text(project: Path) -> None:
    traffic = "{on: {namespace: shop, port: 80, versions: {yes: {v: on}, no: {v: off}}, split: {yes: 90, no: 10}}}"
    (project / "Pulumi.dev.yaml").write_text(f"config: {{meshup:environment: dev, meshup:traffic: {traffic}}}")
    rule = explained(project)["routes"]["on"]["rules"][0]
    assert [backend["name"] for backend in rule["backends"]] == ["yes", "no"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--method", "G ET"], "MSH170", "--method"),
        (["--method", ""], "MSH170", "--method"),
        (["--path", "/a b"], "MSH170", "/a%20b"),
        (["--path", "/caf\u00e9"], "MSH170", "/caf%C3%A9"),
        (["--path", "/?q=a\u00e9"], "MSH170", "q=a%C3%A9"),
        (["--query", "q=a b"], "MSH170", "q=a%20b"),
        (["--header", "na me: x"], "MSH119", "na me"),
        (["--header", "x: a\x01b"], "MSH170", "control character"),
        (["--source", "-a=b"], "MSH006", "--source"),
        (["--source", "a=b c"], "MSH006", "--source"),
        (["--source-namespace", "Shop_1"], "MSH006", "--source-namespace"),
    ],
)
def test_a_request_that_nobody_can_send_is_refused(project: Path, arguments: list[str], code: str, said: str) -> None:
    exit_code, out, err = run(project, *arguments)
    assert (exit_code, out) == (2, "")
    assert code in err
    assert said in err


@pytest.mark.parametrize(
    ("version", "rule", "elsewhere"),
    [
        ("", "rest", "Envoy 1.39"),
        ("1.29.7", "rest", "Envoy 1.39"),
        ("1.31.0", "testers", "1.30.0 to 1.30.3"),
    ],
)
def test_a_repeated_header_is_read_as_the_version_of_the_mesh_does_and_the_others_are_said(
    project: Path, version: str, rule: str, elsewhere: str
) -> None:
    write(project, {**STACK, "meshup:istio": {"version": version} if version else {}})
    asked = ("--header", "end-user: ann", "--header", "end-user: jason")
    decision = explained(project, *asked)["routes"]["reviews"]["decision"]
    assert decision["rule"] == rule
    assert elsewhere in " ".join(other["with"] for other in decision["elsewhere"])
    assert {other["rule"] for other in decision["elsewhere"]} == {"testers", "rest"} - {rule}
    assert "otherwise with Envoy" in run(project, *asked)[1]
    linkerd = explained(project, *asked, "--mesh", "linkerd")["routes"]["reviews"]["decision"]
    assert (linkerd["rule"], linkerd["elsewhere"]) == ("testers", [])


def test_the_pinned_versions_are_those_that_the_routing_core_answers_for() -> None:
    for mesh in MESHES.values():
        assert mesh.data_plane.proxy(mesh.versions.pinned) is mesh.data_plane.pinned
    istio = MESHES["istio"]
    assert istio.data_plane.proxy("1.0.0") is istio.data_plane.proxy(istio.versions.pinned), (
        "the embedded cluster's charts"
    )
    first = istio.data_plane.proxy("1.29.6"), istio.data_plane.proxy("1.30.3")
    assert first == (proxies.ENVOY_1_38, proxies.ENVOY_1_38)
    assert istio.data_plane.proxy("1.30.4-rc.1") is proxies.ENVOY_1_38_4


def test_a_code_is_explained_with_its_remedy_and_example_and_needs_no_stack(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path, "MSH131")
    assert code == 0
    assert out.startswith("MSH131 Feature not available")
    assert "What to do: " in out and "mirror: {version: v2}" in out


def test_codes_are_explained_as_json_and_an_alias_says_what_reports_use_now(tmp_path: Path) -> None:
    old, new = explained(tmp_path, "MSH101", "MSH001")["codes"]
    assert (old["code"], old["now"], new["now"]) == ("MSH101", "MSH001", "MSH001")
    assert old["meaning"] == new["meaning"] and old["remedy"] and old["example"]


def test_a_code_that_there_is_not_is_refused_with_the_nearest(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "MSH13l")
    assert (code, out) == (2, "")
    assert err.startswith("There is no code MSH13l. Did you mean MSH")


def with_cluster(patch: pytest.MonkeyPatch, project: Path, *live: Manifest, refused: tuple[str, ...] = ()) -> None:
    """A stack with a route for a Service of somebody else, on a cluster of plain data."""
    write(project, STACK | {"meshup:traffic": {"shop": SHOP}})

    def connect(*_: object) -> tuple[None, ClusterView, list[Diagnostic]]:
        return None, view_of(*live, refused=refused), []

    patch.setattr(traffic, "connect", connect)


def test_with_a_cluster_the_services_of_the_routes_are_looked_up(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cluster(monkeypatch, project, namespace(), service(), pod("v1"))
    assert explained(project)["notes"] == []
    (note,) = explained(project, "--cluster")["notes"]
    assert (note["code"], note["severity"], note["path"]) == ("MSH179", "warning", "meshup:traffic.shop.split.v2")
    shown = run(project, "--cluster")[1]
    assert "Compared with the cluster." in shown
    assert "warning MSH179" in shown


def test_a_service_that_differs_from_its_route_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cluster(monkeypatch, project, namespace(), service(selector={"app": "other"}), pod("v1"))
    code, out, err = run(project, "--cluster")
    assert (code, out) == (1, "")
    assert "MSH177" in err


def test_a_cluster_that_can_not_be_read_is_a_fault_with_a_code(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MSH020" in run(project, "--cluster")[2]
    with_cluster(monkeypatch, project, namespace(), service(), refused=("Pod",))
    code, _, err = run(project, "--cluster")
    assert code == 1
    assert "MSH024" in err
    assert "MSH179" not in err
