import json
from typing import Any

import pytest

from components.apps import bookinfo
from components.apps.bookinfo import BookinfoArgs
from components.mesh_namespace import MeshNamespaceArgs, metadata
from components.meshes import traffic_object
from components.namespace import POD_SECURITY_ENFORCE
from components.traffic import dependencies


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
