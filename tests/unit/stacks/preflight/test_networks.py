"""Networks: settings that bypass a mesh, webhooks out of reach, addresses that the mesh does not know."""

from typing import Any

import pytest

from components.manifests import Manifest
from stacks.cluster import Answer
from stacks.preflight import Probes
from stacks.preflight.networks import NETWORKS
from tests.unit.stacks.fake_view import item
from tests.unit.stacks.preflight.subjects import found, node, subject

SHOP: dict[str, Any] = {"apps": [], "traffic": {}, "namespaces": {"shop": {}}}


def cilium(**data: str) -> Manifest:
    named = {key.replace("_", "-"): value for key, value in data.items()}
    return item("ConfigMap", {"name": "cilium-config", "namespace": "kube-system"}, data=named)


PATH = "ConfigMap/kube-system/cilium-config"
CILIUM: list[tuple[dict[str, str], bool]] = [
    ({"kube_proxy_replacement": "false"}, False),
    ({"kube_proxy_replacement": "true"}, True),
    ({"kube_proxy_replacement": "true", "bpf_lb_sock": "false"}, True),
    ({"kube_proxy_replacement": "strict", "bpf_lb_sock_hostns_only": "false"}, True),
    ({"kube_proxy_replacement": "true", "bpf_lb_sock_hostns_only": "true"}, False),
    ({"bpf_lb_sock": "true"}, True),
    ({}, False),
]


@pytest.mark.parametrize(("data", "bypasses"), CILIUM)
def test_cilium_bypasses_sidecars_where_it_balances_in_the_sockets_of_pods(
    data: dict[str, str], *, bypasses: bool
) -> None:
    assert found(NETWORKS, subject(cilium(**data))) == [("MSH710", PATH)] * bypasses


def test_cilium_removes_the_plugin_of_a_mesh_that_has_one() -> None:
    exclusive, shared = cilium(), cilium(cni_exclusive="false")
    for mesh, section in (("linkerd", {"cni": True}), ("istio", {"values": {"istiod": {"cni": {"enabled": True}}}})):
        keys: dict[str, Any] = {"mesh": mesh, mesh: section}
        assert found(NETWORKS, subject(exclusive, **keys)) == [("MSH711", PATH)]
        assert found(NETWORKS, subject(shared, **keys)) == []
    assert found(NETWORKS, subject(exclusive)) == []


@pytest.mark.parametrize(
    ("env", "wrong"),
    [
        ({"ENABLE_POD_ENI": "true"}, True),
        ({"ENABLE_POD_ENI": "true", "POD_SECURITY_GROUP_ENFORCING_MODE": "standard"}, False),
        ({}, False),
    ],
)
def test_interfaces_of_pods_that_bypass_the_node_are_a_warning(env: dict[str, str], *, wrong: bool) -> None:
    listed = [{"name": name, "value": value} for name, value in env.items()]
    spec = {"template": {"spec": {"containers": [{"name": "aws-node", "env": listed}]}}}
    aws = item("DaemonSet", {"name": "aws-node", "namespace": "kube-system"}, spec=spec)
    assert found(NETWORKS, subject(aws)) == [("MSH712", "DaemonSet/kube-system/aws-node")] * wrong


def of_provider(provider: str, *, public: bool = False) -> Manifest:
    made = node()
    addresses = [{"type": "InternalIP", "address": "10.0.0.1"}]
    addresses += [{"type": "ExternalIP", "address": "192.0.2.1"}] if public else []
    return {**made, "spec": {"providerID": f"{provider}://x/y"}, "status": {**made["status"], "addresses": addresses}}


def test_webhooks_that_a_providers_api_server_may_not_reach_are_a_warning_until_one_has_answered() -> None:
    warned = [("MSH713", "Node")]
    assert found(NETWORKS, subject(of_provider("gce"))) == warned
    assert found(NETWORKS, subject(of_provider("gce", public=True))) == []
    assert found(NETWORKS, subject(of_provider("aws"))) == warned
    assert found(NETWORKS, subject(of_provider("kind"))) == []
    assert found(NETWORKS, subject(of_provider("gce"), istio={"webhooks": False})) == []
    status = {"sidecar.istio.io/status": "{}"}
    spec = {"containers": [{"name": "istio-proxy", "image": "proxyv2:1.30.3"}]}
    answered = Probes(pods={"shop": Answer(201, "", {"metadata": {"annotations": status}, "spec": spec})})
    joined = item("Namespace", {"name": "shop", "labels": {"istio-injection": "enabled"}})
    hooks = [{"name": "namespace.sidecar-injector.istio.io"}]
    injector = item("MutatingWebhookConfiguration", {"name": "injector"}, webhooks=hooks)
    assert found(NETWORKS, subject(of_provider("gce"), joined, injector, probes=answered, **SHOP)) == []
    # What a dry run accepts where no webhook is yet proves nothing.
    assert found(NETWORKS, subject(of_provider("gce"), joined, probes=answered, **SHOP)) == warned


def test_addresses_outside_of_linkerds_networks_are_named_by_what_has_them() -> None:
    strange = item("Pod", {"name": "p", "namespace": "x"}, spec={}, status={"podIP": "11.0.0.7"})
    on_node = item("Pod", {"name": "q", "namespace": "x"}, spec={"hostNetwork": True}, status={"podIP": "11.0.0.8"})
    service = item("Service", {"name": "s", "namespace": "x"}, spec={"clusterIPs": ["None"]})
    path = "meshup:linkerd.clusterNetworks"
    assert found(NETWORKS, subject(strange, on_node, service, mesh="linkerd")) == [("MSH714", path)]
    assert found(NETWORKS, subject(on_node, service, mesh="linkerd")) == []
    wide = {"clusterNetworks": "11.0.0.0/8,fd00::/8"}
    assert found(NETWORKS, subject(strange, mesh="linkerd", linkerd=wide)) == []
    other = item("Service", {"name": "s", "namespace": "x"}, spec={"clusterIPs": ["10.96.0.1", "2001:db8::1"]})
    messages = [fault.message for fault in NETWORKS.run(subject(other, mesh="linkerd"))]
    assert messages == ["Services outside of them: 2001:db8::1."]
    assert found(NETWORKS, subject(strange)) == []


def policy(name: str, egress: list[dict[str, Any]] | None, selector: dict[str, Any] | None = None) -> Manifest:
    spec: dict[str, Any] = {"podSelector": selector or {}, "policyTypes": ["Egress"]}
    return item(
        "NetworkPolicy",
        {"name": name, "namespace": "shop"},
        spec=spec if egress is None else {**spec, "egress": egress},
    )


DENY = policy("deny", None)
OPENED: list[tuple[list[dict[str, Any]], bool]] = [
    ([], False),
    ([{}], True),
    ([{"to": [{"namespaceSelector": {}}]}], True),
    ([{"ports": [{"port": 53, "protocol": "UDP"}]}], False),
    ([{"ports": [{"port": 15012}]}], True),
    ([{"ports": [{"port": 15000, "endPort": 15020}]}], True),
    ([{"ports": [{"port": 15012, "protocol": "UDP"}]}], False),
    ([{"ports": [{"port": "https-dns"}]}], True),
]


@pytest.mark.parametrize(("rules", "opened"), OPENED)
def test_a_namespace_that_denies_egress_has_to_open_the_control_plane(
    rules: list[dict[str, Any]], *, opened: bool
) -> None:
    live = [item("Namespace", {"name": "shop"}), DENY, policy("dns", rules, {"matchLabels": {"a": "b"}})]
    assert found(NETWORKS, subject(*live, **SHOP)) == [("MSH715", "Namespace/shop")] * (not opened)


def test_a_policy_for_some_pods_or_for_ingress_closes_no_namespace() -> None:
    some = policy("some", [], {"matchLabels": {"a": "b"}})
    ingress = item("NetworkPolicy", {"name": "i", "namespace": "shop"}, spec={"podSelector": {}, "policyTypes": []})
    assert found(NETWORKS, subject(item("Namespace", {"name": "shop"}), some, ingress, **SHOP)) == []


def test_lists_that_may_not_be_read_are_no_findings() -> None:
    asked = subject(cilium(kube_proxy_replacement="true"), DENY, refused=["ConfigMap", "NetworkPolicy", "Pod"])
    assert found(NETWORKS, asked) == [] == asked.view.diagnostics
