from typing import Any

from components.apps import emojivoto
from components.apps.emojivoto import Emojivoto, EmojivotoArgs
from components.meshes.linkerd.http_route import APP_PROTOCOLS
from tests.components.recorder import by_name, recorded


def objects(**more: Any) -> dict[tuple[str, str], dict[str, Any]]:
    made = emojivoto.manifests(EmojivotoArgs.of(more))
    return {(item["kind"], item["metadata"]["name"]): item for item in made}


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_it_is_four_deployments_three_services_and_three_accounts() -> None:
    kinds = sorted(kind for kind, _ in objects())
    assert kinds == ["Deployment"] * 4 + ["Service"] * 3 + ["ServiceAccount"] * 3


def test_all_host_names_follow_the_namespace() -> None:
    made = objects(namespace="shop")
    assert environment(made["Deployment", "web"])["EMOJISVC_HOST"] == "emoji-svc.shop:8080"
    assert environment(made["Deployment", "web"])["VOTINGSVC_HOST"] == "voting-svc.shop:8080"
    assert environment(made["Deployment", "vote-bot"])["WEB_HOST"] == "web-svc.shop:80"
    assert "emojivoto:" not in str([environment(made["Deployment", name]) for name in ("web", "vote-bot")])
    assert {item["metadata"]["namespace"] for item in made.values()} == {"shop"}


def test_ports_are_named_and_say_their_protocol() -> None:
    for (kind, _), item in objects().items():
        if kind == "Service":
            for port in item["spec"]["ports"]:
                assert port["name"]
                # Linkerd forwards a port with another appProtocol as it is, and Istio reads the name.
                assert port.get("appProtocol", port["name"]) in ("http", "grpc")
                assert port.get("appProtocol", "") in APP_PROTOCOLS


def test_every_service_selects_pods_of_a_deployment_and_hits_its_port() -> None:
    made = objects()
    templates = [item["spec"]["template"] for (kind, _), item in made.items() if kind == "Deployment"]
    for (kind, name), item in made.items():
        if kind == "Service":
            chosen = [t for t in templates if item["spec"]["selector"].items() <= t["metadata"]["labels"].items()]
            assert len(chosen) == 1, name
            open_ports = {port["containerPort"] for port in chosen[0]["spec"]["containers"][0]["ports"]}
            assert {port["targetPort"] for port in item["spec"]["ports"]} <= open_ports


def test_the_bot_is_optional() -> None:
    assert ("Deployment", "vote-bot") not in objects(vote_bot=False)


def test_further_versions_of_the_front_end_are_deployments_with_their_own_label() -> None:
    versions = {"v11": "v11", "v12": "v12-rc"}
    made = objects(web_versions=versions)
    labels = {
        name: made["Deployment", name]["spec"]["template"]["metadata"]["labels"]["version"]
        for name in ("web", "web-v12")
    }
    assert labels == {"web": "v11", "web-v12": "v12"}
    image = made["Deployment", "web-v12"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "ghcr.io/buoyantio/emojivoto-web:v12-rc"
    web = next(
        service for service in emojivoto.services(EmojivotoArgs(web_versions=versions)) if service.name == "web-svc"
    )
    assert [version.name for version in web.versions] == ["v11", "v12"]


def test_the_services_for_routes_are_the_ones_that_are_made() -> None:
    made = objects()
    for service in emojivoto.services(EmojivotoArgs()):
        spec = made["Service", service.name]["spec"]
        assert [(port.number, port.name, port.app_protocol, port.container) for port in service.ports] == [
            (port["port"], port["name"], port.get("appProtocol", ""), port["targetPort"]) for port in spec["ports"]
        ]
        assert dict(service.selector) == spec["selector"]


def test_no_container_is_root_or_keeps_a_capability() -> None:
    for (kind, _), item in objects().items():
        if kind == "Deployment":
            pod = item["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"]
            assert pod["automountServiceAccountToken"] is False
            for container in pod["containers"]:
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
                assert container["resources"]["requests"]


def test_pods_carry_the_annotations_that_restart_them_and_services_those_of_the_traffic() -> None:
    args: dict[str, Any] = {
        "pod_annotations": {"meshup/trust": "1"},
        "service_annotations": {"web-svc": {"balancer.linkerd.io/failure-accrual": "consecutive"}},
    }

    def build() -> None:
        Emojivoto("emojivoto", args)

    records = by_name(recorded(build))
    template = records["emojivoto-web-deployment"].inputs["spec"]["template"]["metadata"]
    assert template["annotations"] == {"meshup/trust": "1"}
    assert records["emojivoto-web-svc-service"].inputs["metadata"]["annotations"]
    assert "annotations" not in records["emojivoto-emoji-svc-service"].inputs["metadata"]
