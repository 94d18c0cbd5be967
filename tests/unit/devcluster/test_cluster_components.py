import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import components, netns
from devcluster.components import PORTS, Layout
from devcluster.kubelet import spec

FULL = Layout(Path("/state/dev"), PORTS, real_pods=True)
API = Layout(Path("/state/dev"), {name: 20000 + number for number, name in enumerate(PORTS)}, real_pods=False)


def option(arguments: list[str], name: str) -> str:
    found = [argument.split("=", 1)[1] for argument in arguments if argument.startswith(f"--{name}=")]
    assert len(found) == 1, (name, arguments)
    return found[0]


@pytest.mark.parametrize("layout", [FULL, API])
def test_every_component_listens_on_its_own_port(layout: Layout) -> None:
    ports = {
        "etcd": option(components.etcd(layout), "listen-client-urls").rpartition(":")[2],
        "etcd-peer": option(components.etcd(layout), "listen-peer-urls").rpartition(":")[2],
        "kube-apiserver": option(components.kube_apiserver(layout), "secure-port"),
        "kube-controller-manager": option(components.kube_controller_manager(layout), "secure-port"),
        "kube-scheduler": option(components.kube_scheduler(layout), "secure-port"),
        "kwok": option(components.kwok(layout), "server-address").rpartition(":")[2],
    }
    assert {name: int(port) for name, port in ports.items()} == layout.ports
    assert len(set(ports.values())) == len(PORTS)


def test_on_a_shared_loopback_nothing_listens_elsewhere() -> None:
    assert option(components.kube_apiserver(API), "bind-address") == "127.0.0.1"
    assert option(components.kube_apiserver(FULL), "bind-address") == "0.0.0.0"  # noqa: S104


def test_etcd_serves_only_clients_with_a_certificate_of_its_own_authority() -> None:
    arguments = components.etcd(API)
    assert {"--client-cert-auth", "--peer-client-cert-auth"} <= set(arguments)
    assert option(arguments, "trusted-ca-file") == "/state/dev/pki/etcd-ca.crt"
    assert option(arguments, "listen-client-urls").startswith("https://127.0.0.1:")


def test_the_api_server_talks_to_the_etcd_of_its_cluster_and_calls_webhooks_at_endpoints() -> None:
    arguments = components.kube_apiserver(API)
    assert option(arguments, "etcd-servers") == option(components.etcd(API), "listen-client-urls")
    assert "--enable-aggregator-routing=true" in arguments


def test_health_is_asked_where_the_components_listen() -> None:
    for name, url in API.health.items():
        assert f":{API.ports[name]}/" in url


def test_the_kubeconfig_has_one_context_named_after_the_cluster() -> None:
    found: dict[str, Any] = yaml.safe_load(components.kubeconfig("dev", "https://127.0.0.1:1", b"ca", b"crt", b"key"))
    assert found["current-context"] == "meshup-dev"
    assert [entry["name"] for entry in found["contexts"]] == ["meshup-dev"]
    assert found["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert base64.b64decode(found["users"][0]["user"]["client-key-data"]) == b"key"


def test_kwok_gives_addresses_of_its_own_range_and_keeps_the_nodes_leases() -> None:
    arguments = components.kwok(FULL)
    assert option(arguments, "cidr") == netns.POD_RANGE
    assert int(option(arguments, "node-lease-duration-seconds")) > 0


def test_kwok_leaves_alone_exactly_what_the_kubelet_takes() -> None:
    assert set(components.REAL_CONTAINERS) == {spec.PROXY_CONTAINER, spec.ISTIOD_CONTAINER}
    assert components.RUN_ANNOTATION == spec.RUN_ANNOTATION
    pods = [stage for stage in components.stages(real_pods=True) if stage["spec"]["resourceRef"]["kind"] == "Pod"]
    for stage in pods:
        conditions = stage["spec"]["selector"]["matchExpressions"]
        assert all(condition in conditions for condition in components.not_real()), stage["metadata"]["name"]


def test_without_a_kubelet_kwok_plays_every_pod() -> None:
    text = components.stages_yaml(real_pods=False)
    assert "istio-proxy" not in text
    assert {stage["metadata"]["name"] for stage in yaml.safe_load_all(text)} == {
        "node-ready",
        "pod-ready",
        "pod-complete",
        "pod-delete",
        "load-balancer",
    }


def test_a_load_balancer_gets_the_address_that_its_cluster_address_has_in_another_range() -> None:
    (stage,) = [s for s in components.stages(real_pods=True) if s["spec"]["resourceRef"]["kind"] == "Service"]
    assert 'printf "10.97.%s" ( trimPrefix "10.96." .spec.clusterIP )' in stage["spec"]["next"]["statusTemplate"]
    assert (components.SERVICE_RANGE, netns.LOAD_BALANCER_RANGE) == ("10.96.0.0/16", "10.97.0.0/16")


def test_nodes_are_numbered() -> None:
    assert components.node_names(3) == ["node-1", "node-2", "node-3"]
