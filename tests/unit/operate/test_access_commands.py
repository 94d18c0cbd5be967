"""`meshup explain --from` and `meshup access` as commands: on both meshes, without a cluster and with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from components.diagnostics import Diagnostic
from components.manifests import Manifest
from operate import traffic
from operate.cli import app
from stacks.cluster import ClusterView
from tests.unit.operate.test_explain import PROJECT, write
from tests.unit.stacks.fake_view import view_of

MESHES = ["istio", "linkerd"]
CLOSED: dict[str, Any] = {
    "meshup:environment": "dev",
    "meshup:apps": ["bookinfo"],
    "meshup:security": {"namespaces": {"bookinfo": {"default": "deny"}}, "preset": "bookinfo"},
}
EXPOSED = CLOSED | {"meshup:bookinfo": {"expose": True}}
"""Linkerd has no gateway of its own, so this is for Istio."""
EDGES = {
    ("bookinfo/bookinfo-productpage", "details"),
    ("bookinfo/bookinfo-productpage", "reviews"),
    ("bookinfo/bookinfo-productpage", "ratings"),
    ("bookinfo/bookinfo-reviews", "ratings"),
}
"""../reference/security.md, section 6: the call graph of Bookinfo."""


KEYS = json.dumps(
    {"keys": [{"kty": "RSA", "kid": "a", "e": "AQAB", "n": "u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt"}]}
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    write(tmp_path, CLOSED)
    return tmp_path


def secured(project: Path, **security: Any) -> None:
    write(project, {**CLOSED, "meshup:security": {**CLOSED["meshup:security"], **security}})


def run(project: Path, command: str, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [command, "--directory", str(project), *arguments])
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def entry(project: Path, *arguments: str) -> dict[str, Any]:
    code, out, err = run(project, "explain", "--json", *arguments)
    assert code == 0, err
    (found,) = json.loads(out)["access"]
    return found


def matrix(project: Path, *arguments: str) -> dict[str, Any]:
    code, out, err = run(project, "access", "--output", "json", *arguments)
    assert code == 0, err
    return json.loads(out)


# -- explain --from


@pytest.mark.parametrize("mesh", MESHES)
def test_a_call_of_the_application_is_allowed_by_a_rule_and_an_object(project: Path, mesh: str) -> None:
    found = entry(project, "reviews", "--from", "bookinfo/productpage", "--path", "/reviews/1", "--mesh", mesh)
    assert found["allowed"] and found["policy"]["rule"]
    assert found["object"].split("/")[:2] == ["AuthorizationPolicy", "bookinfo"]
    assert found["contradiction"] is None


@pytest.mark.parametrize(
    ("mesh", "body"),
    # linkerd-observed.md, section on authorization; Envoy's RBAC filter has that body.
    [("istio", "RBAC: access denied"), ("linkerd", "")],
)
def test_any_other_call_is_denied_with_the_status_and_body_of_the_mesh(project: Path, mesh: str, body: str) -> None:
    found = entry(project, "reviews", "--from", "bookinfo/ratings", "--path", "/reviews/1", "--mesh", mesh)
    assert not found["allowed"]
    assert (found["answer"]["status"], found["answer"]["body"]) == (403, body)
    assert "reviews" in found["opening"]["configuration"]["allow"]


@pytest.mark.parametrize(("mesh", "closed"), [("istio", True), ("linkerd", False)])
def test_a_plain_caller_meets_a_closed_connection_on_istio_and_403_on_linkerd(
    project: Path, mesh: str, closed: bool
) -> None:
    found = entry(project, "reviews", "--plain", "--path", "/reviews/1", "--mesh", mesh)
    assert not found["allowed"]
    assert (found["answer"]["connectionClosed"], found["answer"]["status"]) == (closed, None if closed else 403)


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize(
    ("caller", "service", "path"),
    [("bookinfo/ratings", "reviews", "/reviews/1"), ("bookinfo/reviews", "details", "/a/b"), ("", "ratings", "/x")],
)
def test_what_is_said_to_open_a_call_opens_it(project: Path, mesh: str, caller: str, service: str, path: str) -> None:
    asked = (service, *(("--from", caller) if caller else ("--plain",)), "--path", path, "--mesh", mesh)
    before = entry(project, *asked)
    assert not before["allowed"]
    secured(project, **before["opening"]["configuration"])
    after = entry(project, *asked)
    assert after["allowed"], after
    assert after["contradiction"] is None


def test_that_linkerd_lets_everybody_call_a_probe_is_said_and_is_no_defect(project: Path) -> None:
    asked = ("reviews", "--from", "bookinfo/ratings", "--path", "/health")
    found = entry(project, *asked, "--mesh", "linkerd")
    assert (found["allowed"], found["policy"]["allowed"]) == (True, False)
    assert "probe" in found["deviation"]
    assert "lets everybody call the path of a probe" in run(project, "explain", *asked, "--mesh", "linkerd")[1]
    assert not entry(project, *asked)["allowed"]


def test_the_route_of_an_allowed_call_is_said(project: Path) -> None:
    route = {"reviews": {"rules": [{"name": "all", "rewrite": {"path": "/health"}, "backends": {"v2": 100}}]}}
    write(project, {**CLOSED, "meshup:traffic": route})
    found = entry(project, "reviews", "--from", "bookinfo/productpage", "--path", "/reviews/1")
    assert (found["route"]["key"], found["route"]["rule"]) == ("reviews", "all")
    (arrival,) = found["arrives"]
    assert (arrival["path"], arrival["allowed"]) == ("/health", False)


def test_the_listener_of_a_gateway_is_said_for_a_host(project: Path) -> None:
    write(project, EXPOSED)
    asked = ("productpage", "--from", "gateway:public", "--host", "shop.example.com", "--path", "/productpage")
    code, out, err = run(project, "explain", *asked, "--json")
    assert code == 0, err
    whole = json.loads(out)
    assert whole["access"][0]["allowed"]
    assert whole["entry"]["listeners"][0]["gateway"] == "public"


def test_a_token_is_given_by_its_claims(project: Path, tmp_path: Path) -> None:
    issuer = "https://issuer.example.com"
    jwt = {"issuer": issuer, "jwks": KEYS, "require": True, "claims": {"scope": ["write"]}}
    secured(project, authentication={"reviews": {"jwt": [jwt]}})
    asked = ("reviews", "--from", "bookinfo/productpage", "--path", "/reviews/1")
    without = entry(project, *asked)
    assert not without["allowed"] and issuer in without["opening"]["advice"]
    file = tmp_path / "claims.json"
    file.write_text(json.dumps({"iss": issuer, "sub": "me", "scope": "read write"}))
    assert entry(project, *asked, "--jwt", str(file))["allowed"]
    assert not entry(project, *asked, "--jwt", json.dumps({"iss": issuer, "sub": "me", "exp": 1}))["allowed"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["reviews", "--from", "bookinfo/productpag"], "MSH580", "Did you mean 'bookinfo/productpage'?"),
        (["reviews", "--from", "gateway:publc"], "MSH580", "gateway:public"),
        (["reviewz", "--from", "bookinfo/productpage"], "MSH581", "Did you mean 'reviews'?"),
        (["reviews", "--from", "bookinfo/productpage", "--port", "80"], "MSH582", "one of 9080"),
        (["reviews", "--from", "bookinfo/productpage", "--jwt", "{"], "MSH583", "not JSON"),
        (["reviews", "--plain", "--address", "here"], "MSH017", "IP address"),
    ],
)
def test_what_is_not_known_is_refused_with_its_code(project: Path, arguments: list[str], code: str, said: str) -> None:
    write(project, EXPOSED)
    status, out, err = run(project, "explain", *arguments)
    assert (status, out) == (1, "")
    assert code in err and said in err


@pytest.mark.parametrize(
    "arguments", [["--from", "bookinfo/productpage"], ["reviews", "--plain", "--path", "reviews"], ["--port", "1"]]
)
def test_a_command_line_without_service_or_path_is_a_usage_error(project: Path, arguments: list[str]) -> None:
    assert run(project, "explain", *arguments)[0] == 2


def test_a_refused_policy_is_reported_and_nothing_is_decided(project: Path) -> None:
    secured(project, allow={"reviewz": [{"from": [{"everybody": True}]}]})
    for command in (["explain", "reviews", "--plain"], ["access"]):
        status, out, err = run(project, *command)
        assert (status, out) == (1, "")
        assert "meshup:security.allow.reviewz" in err


words = st.one_of(
    st.sampled_from(["reviews", "bookinfo/reviews", "gateway:public", "9080", "{}", "/x", "10.0.0.1", "--plain"]),
    st.text(st.characters(codec="utf-8"), max_size=8),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(words, st.dictionaries(st.sampled_from(["--from", "--port", "--jwt", "--address", "--host", "--method"]), words))
def test_no_command_line_ends_in_a_traceback(project: Path, name: str, options: dict[str, str]) -> None:
    arguments = [part for option in options.items() for part in option]
    code, _, err = run(project, "explain", *arguments, "--", name)
    assert code in (0, 1, 2)
    assert "Traceback" not in err


# -- access


@pytest.mark.parametrize("mesh", MESHES)
def test_the_matrix_of_a_closed_application_is_its_call_graph_and_both_meshes_agree(project: Path, mesh: str) -> None:
    made = matrix(project, "--mesh", mesh)
    assert (made["schemaVersion"], made["mesh"], made["decidedBy"]) == (1, mesh, "plan")
    assert {(one["caller"], one["service"]) for one in made["access"] if one["access"] != "none"} == EDGES
    assert not [one for one in made["access"] if one["unused"] or not all(c["allowed"] for c in one["calls"])]
    assert made["diagnostics"] == []


def test_the_gateway_that_opens_the_application_is_a_caller(project: Path) -> None:
    write(project, EXPOSED)
    open_ = {(one["caller"], one["service"]) for one in matrix(project)["access"] if one["access"] != "none"}
    assert open_ == EDGES | {("gateway public", "productpage")}


def test_a_rule_for_the_path_of_a_probe_says_that_linkerd_opens_it_to_all(project: Path) -> None:
    rule = {"from": [{"serviceAccount": "bookinfo-details"}], "to": [{"methods": ["GET"], "paths": ["/health"]}]}
    secured(project, allow={"reviews": [rule]})

    def operations(mesh: str, caller: str) -> list[str]:
        cells = matrix(project, "reviews", "--mesh", mesh)["access"]
        return next(one["operations"] for one in cells if one["caller"] == f"bookinfo/bookinfo-{caller}")

    assert operations("istio", "details") == operations("linkerd", "details") == ["GET /health"]
    assert (operations("istio", "ratings"), operations("linkerd", "ratings")) == ([], ["GET /health (not by a rule)"])


def test_both_meshes_have_the_same_matrix(project: Path) -> None:
    istio, linkerd = (matrix(project, "--mesh", mesh)["access"] for mesh in MESHES)
    assert istio == linkerd


def test_an_open_stack_has_a_matrix_too(project: Path) -> None:
    write(project, {key: value for key, value in CLOSED.items() if key != "meshup:security"})
    extents = {(one["caller"] == "plain", one["access"]) for one in matrix(project)["access"]}
    assert extents == {(False, "all"), (True, "none")}


@pytest.mark.parametrize("mesh", MESHES)
def test_the_picture_is_an_svg_with_each_edge(project: Path, mesh: str) -> None:
    code, out, _ = run(project, "access", "--output", "svg", "--mesh", mesh)
    assert code == 0
    root = ElementTree.fromstring(out)  # noqa: S314 -- our own
    drawn = {(one.get("data-from"), one.get("data-to")) for one in root.iter() if one.get("data-from")}
    assert drawn == {
        (source.replace("bookinfo/bookinfo-", "") + ("" if " " in source else ".bookinfo"), f"{target}.bookinfo")
        for source, target in EDGES
    }
    assert out == run(project, "access", "--output", "svg", "--mesh", mesh)[1]


def test_the_table_has_all_and_services_can_be_chosen(project: Path) -> None:
    code, out, _ = run(project, "access")
    assert code == 0
    assert "any other" in out
    chosen = matrix(project, "ratings")
    assert [service["name"] for service in chosen["services"]] == ["ratings"]
    assert "MSH581" in run(project, "access", "rating")[2]


def test_an_output_that_there_is_not_is_refused(project: Path) -> None:
    code, _, err = run(project, "access", "--output", "png")
    assert code == 2
    assert "table, json, svg" in err


# -- with a cluster


def on(patch: pytest.MonkeyPatch, *live: Manifest, refused: tuple[str, ...] = ()) -> None:
    def connect(*_: object) -> tuple[None, ClusterView, list[Diagnostic]]:
        return None, view_of(*live, refused=refused), []

    patch.setattr(traffic, "connect", connect)


NAMESPACE: Manifest = {"kind": "Namespace", "metadata": {"name": "bookinfo", "labels": {"istio-injection": "enabled"}}}
OPEN_RATINGS: Manifest = {
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "ratings", "namespace": "bookinfo"},
    "spec": {
        "selector": {"matchLabels": {"app": "ratings"}},
        "rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}],
    },
}


def test_the_objects_of_the_cluster_decide_and_the_difference_is_said(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, NAMESPACE, OPEN_RATINGS)
    asked = ("ratings", "--from", "bookinfo/reviews", "--path", "/ratings/1", "--cluster")
    found = entry(project, *asked)
    assert (found["allowed"], found["planned"]["allowed"], found["differs"]) == (False, True, True)
    assert found["object"] in (None, "AuthorizationPolicy/bookinfo/ratings")
    assert "MSH585" in run(project, "explain", *asked)[2]
    # Nothing of the stack is there: what no policy of the cluster selects is open.
    assert entry(project, "reviews", "--from", "bookinfo/ratings", "--cluster")["allowed"]


def test_the_matrix_of_the_cluster_is_by_its_objects(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, NAMESPACE, OPEN_RATINGS)
    made = matrix(project, "--cluster")
    assert made["decidedBy"] == "cluster"
    denied = [call for one in made["access"] for call in one["calls"] if not call["allowed"]]
    assert {call["call"] for call in denied} == {"GET /ratings/0"}
    assert {note["code"] for note in made["diagnostics"]} == {"MSH585"}


def test_a_cluster_that_can_not_be_read_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MSH020" in run(project, "access", "--cluster")[2]
    on(monkeypatch, NAMESPACE, refused=("AuthorizationPolicy",))
    for command in (["access"], ["explain", "reviews", "--plain"]):
        status, out, err = run(project, *command, "--cluster")
        assert (status, out) == (1, "")
        assert "MSH024" in err
