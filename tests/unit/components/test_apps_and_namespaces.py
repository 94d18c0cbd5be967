import json
from datetime import date
from typing import Any

import pytest

from components.apps import APPS, bookinfo
from components.apps.bookinfo import BookinfoArgs
from components.diagnostics import render
from components.mesh_namespace import MeshNamespaceArgs, metadata
from components.meshes import traffic_object
from components.namespace import POD_SECURITY_ENFORCE
from components.security.evaluate import decide
from components.security.model import Account
from components.security.parse import parse, path_pattern
from components.security.plane import AccessRequest
from components.security.world import World
from components.traffic import dependencies
from stacks.settings import MODEL


def objects(kind: str) -> list[dict[str, Any]]:
    return [item for item in bookinfo.manifests(BookinfoArgs()) if item["kind"] == kind]


def test_bookinfo_has_four_services_six_deployments_and_their_accounts() -> None:
    assert sorted(item["metadata"]["name"] for item in objects("Service")) == [
        "details",
        "productpage",
        "ratings",
        "reviews",
    ]
    assert [item["metadata"]["name"] for item in objects("Deployment")] == [
        "details-v1",
        "ratings-v1",
        "reviews-v1",
        "reviews-v2",
        "reviews-v3",
        "productpage-v1",
    ]
    accounts = {item["metadata"]["name"] for item in objects("ServiceAccount")}
    assert {d["spec"]["template"]["spec"]["serviceAccountName"] for d in objects("Deployment")} == accounts


def test_every_version_that_routes_may_name_has_a_deployment_with_its_labels() -> None:
    pods = [d["spec"]["template"]["metadata"]["labels"].items() for d in objects("Deployment")]
    for service in bookinfo.services():
        for version in service.versions:
            assert any(set(service.selector + version.labels) <= set(labels) for labels in pods)


def test_every_pod_is_as_confined_as_pod_security_restricted_asks() -> None:
    for deployment in objects("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        container = pod["containers"][0]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}


CHOICES: list[tuple[str, dict[str, Any]]] = [
    ("bookinfo", {}),
    ("bookinfo", {"namespace": "books"}),
    ("emojivoto", {"webVersions": {"v11": "v11", "v12": "v12"}}),
    ("emojivoto", {"namespace": "votes", "voteBot": False}),
]


@pytest.mark.parametrize(("name", "chosen"), CHOICES)
def test_callers_and_services_of_a_call_graph_are_those_of_the_manifests(name: str, chosen: dict[str, Any]) -> None:
    app = APPS[name]
    args = app.args.of(chosen)
    pods = [item["spec"]["template"]["spec"] for item in app.manifests(args) if item["kind"] == "Deployment"]
    accounts = {Account(args.namespace, pod.get("serviceAccountName", "default")) for pod in pods}
    services = {service.name: [port.number for port in service.ports] for service in app.services(args)}
    calls = app.calls(args)
    assert {call.caller for call in calls} - {None} <= accounts
    assert {call.namespace for call in calls} == {args.namespace}
    assert all(call.port in services[call.service] for call in calls)
    assert {call.service for call in calls} == set(services)
    assert all(any(path_pattern(path).matches(call.example.partition("?")[0]) for path in call.paths) for call in calls)


def edges(name: str) -> set[tuple[str, str, int, str]]:
    calls = APPS[name].calls(APPS[name].args.of({}))
    return {(call.caller.name if call.caller else "", call.service, call.port, call.method) for call in calls}


def test_the_call_graph_of_bookinfo_has_the_edge_from_productpage_to_ratings() -> None:
    assert edges("bookinfo") == {
        ("", "productpage", 9080, "GET"),
        ("", "productpage", 9080, "POST"),
        ("bookinfo-productpage", "details", 9080, "GET"),
        ("bookinfo-productpage", "reviews", 9080, "GET"),
        ("bookinfo-productpage", "ratings", 9080, "GET"),
        ("bookinfo-reviews", "ratings", 9080, "GET"),
    }


def test_the_bot_of_emojivoto_calls_under_the_default_account() -> None:
    assert edges("emojivoto") == {
        ("", "web-svc", 80, "GET"),
        ("default", "web-svc", 80, "GET"),
        ("web", "emoji-svc", 8080, "POST"),
        ("web", "voting-svc", 8080, "POST"),
    }


ALLOWED: list[tuple[str, str, str, str]] = [
    *(("", "productpage", "GET", path) for path in ("/", "/index.html", "/static/img/a.png", "/logout", "/health")),
    *(("", "productpage", "GET", path) for path in ("/metrics", "/api/v1/products", "/api/v1/products/0")),
    *(("", "productpage", "GET", f"/api/v1/products/0/{part}") for part in ("reviews", "ratings")),
    ("", "productpage", "POST", "/login"),
    ("bookinfo-productpage", "ratings", "GET", "/ratings/1"),
    ("default", "web-svc", "GET", "/api/vote"),
    ("web", "emoji-svc", "POST", "/emojivoto.v1.EmojiService/FindByShortcode"),
    ("web", "voting-svc", "POST", "/emojivoto.v1.VotingService/VoteDoughnut"),
]
REFUSED: list[tuple[str, str, str, str]] = [
    ("", "productpage", "GET", "/login"),
    ("", "productpage", "GET", "/api/v1/products/0/details"),
    ("bookinfo-productpage", "ratings", "POST", "/ratings/1"),
    ("bookinfo-productpage", "ratings", "GET", "/ratings"),
    ("bookinfo-details", "ratings", "GET", "/ratings/1"),
    ("default", "web-svc", "GET", "/api/leaderboard"),
    ("default", "web-svc", "GET", "/"),
    ("web", "emoji-svc", "POST", "/emojivoto.v1.EmojiService/Other"),
    ("web", "voting-svc", "POST", "/emojivoto.v1.EmojiService/ListAll"),
    ("default", "voting-svc", "POST", "/emojivoto.v1.VotingService/VoteDoughnut"),
]


@pytest.mark.parametrize("name", ["bookinfo", "emojivoto"])
def test_a_preset_opens_the_edges_of_an_application_and_no_other_in_a_closed_namespace(name: str) -> None:
    plan = APPS[name].plan(MODEL.model_validate({"environment": "dev"}))
    entry = next(service for service in plan.services if service.name == plan.entry[0])
    gateway = Account("gateways", "public")
    policy, diagnostics = parse(
        {"namespaces": {plan.namespace: {"default": "deny"}}, "preset": name},
        "meshup:security",
        plan.services,
        mode="strict",
        environment="prod",
        today=date(2026, 12, 1),
        gateways={"public": gateway},
        presets={name: plan.calls},
        exposures={entry.host: ["public"]},
    )
    assert not diagnostics, render(diagnostics)
    services = {service.name: service for service in plan.services}
    world = World(plan.services, gateways={"public": gateway})
    for expected, listed in ((True, ALLOWED), (False, REFUSED)):
        for caller, callee, method, path in listed:
            if callee not in services:
                continue
            service = services[callee]
            account = Account(plan.namespace, caller) if caller else gateway
            request = AccessRequest(
                service, service.ports[0], account, method=method, path=path, grpc=service.ports[0].grpc
            )
            assert decide(policy, world, request).allowed is expected, (caller, callee, method, path)


def test_no_object_of_bookinfo_has_a_null() -> None:
    made = bookinfo.manifests(BookinfoArgs(image_pull_secrets=("a",), replicas=2))
    assert "null" not in json.dumps(made)


def namespace(**args: Any) -> dict[str, Any]:
    return metadata(MeshNamespaceArgs.of({"name": "a", **args}))


@pytest.mark.parametrize(
    ("args", "labels"),
    [
        ({"mesh": "istio"}, {"istio-injection": "enabled"}),
        ({"mesh": "istio", "revision": "canary"}, {"istio.io/rev": "canary"}),
        ({"mesh": "istio", "labels": {"istio-injection": "enabled"}, "revision": "a"}, {"istio.io/rev": "a"}),
        ({"mesh": "linkerd"}, {}),
        ({"mesh": "none"}, {}),
    ],
)
def test_a_namespace_has_the_injection_label_or_the_revision_never_both(args: Any, labels: dict[str, str]) -> None:
    written = namespace(**args)["labels"]
    assert {key: value for key, value in written.items() if "istio" in key} == labels


def test_linkerd_reads_an_annotation() -> None:
    assert namespace(mesh="linkerd")["annotations"] == {"linkerd.io/inject": "enabled"}


def test_only_a_namespace_outside_the_mesh_can_do_without_the_rights_of_the_init_container() -> None:
    assert namespace(mesh="none")["labels"][POD_SECURITY_ENFORCE] == "baseline"
    assert namespace(mesh="istio")["labels"][POD_SECURITY_ENFORCE] == "privileged"
    restricted = namespace(mesh="istio", pod_security="restricted")
    assert restricted["labels"][POD_SECURITY_ENFORCE] == "restricted"


def item(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n"}, "spec": spec}


def test_a_route_waits_for_the_destinations_that_it_names_and_for_no_others() -> None:
    named = [
        item("DestinationRule", "a", {"host": "a.n.svc"}),
        item("DestinationRule", "b", {"host": "b.n.svc"}),
        item("Service", "b-v1", {}),
        item("VirtualService", "a", {"http": [{"route": [{"destination": {"host": "a.n.svc"}}]}]}),
        item("HTTPRoute", "b", {"rules": [{"backendRefs": [{"name": "b-v1", "port": 1}]}]}),
        item("HTTPRoute", "c", {"rules": [{"backendRefs": [{"name": "b-v1", "namespace": "other"}]}]}),
    ]
    assert dependencies([traffic_object(item) for item in named]) == [[], [], [], [0], [2], []]
