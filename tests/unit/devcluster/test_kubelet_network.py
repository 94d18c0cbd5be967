import ipaddress
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster import netns
from devcluster.kubelet import network, services

RANGES = ("10.96.0.0/16", netns.LOAD_BALANCER_RANGE)


def a_service(name: str, address: str = "10.96.0.9", namespace: str = "bookinfo") -> dict[str, Any]:
    ports = [{"name": "http", "port": 9080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": address, "ports": ports}}


def a_slice(name: str, addresses: Sequence[str], *, ready: bool = True) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"{name}-x",
            "namespace": "bookinfo",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [a], "conditions": {"ready": ready}} for a in addresses],
        "ports": [{"name": "http", "port": 9081, "protocol": "TCP"}],
    }


def targets(rules: str) -> list[str]:
    return re.findall(r"--to-destination (\S+)", rules)


@given(st.integers(min_value=1, max_value=40))
def test_every_endpoint_gets_the_same_share(count: int) -> None:
    addresses = [f"10.244.128.{n}" for n in range(1, count + 1)]
    rules = services.nat_rules([a_service("reviews")], [a_slice("reviews", addresses)], netns.GATEWAY, RANGES)
    lines = [line for line in rules.splitlines() if "DNAT" in line]
    left, shares = 1.0, list[float]()
    for line in lines:
        found = re.search(r"--probability (\S+)", line)
        share = float(found[1]) if found else 1.0
        shares.append(left * share)
        left *= 1 - share
    assert shares == pytest.approx([1 / count] * count, rel=1e-6)
    assert sorted(targets(rules)) == sorted(f"{a}:9081" for a in addresses)


def test_endpoints_that_are_not_ready_and_services_without_an_address_get_no_rule() -> None:
    known = [a_service("reviews"), a_service("headless", "None")]
    slices = [a_slice("reviews", ["10.244.128.1"], ready=False), a_slice("headless", ["10.244.128.2"])]
    assert targets(services.nat_rules(known, slices, netns.GATEWAY, RANGES)) == []


def test_a_service_without_endpoints_is_refused_not_left_hanging() -> None:
    rules = services.nat_rules([a_service("reviews")], [], netns.GATEWAY, RANGES)
    for addresses in RANGES:
        assert f"-d {addresses} -p tcp -j REJECT --reject-with tcp-reset" in rules


def test_only_tcp_ports_get_rules() -> None:
    assert "--dport 53" not in services.nat_rules(
        [a_service("r")], [a_slice("r", ["10.244.128.1"])], netns.GATEWAY, RANGES
    )


def test_a_pod_knows_services_of_its_own_namespace_by_their_short_name() -> None:
    known = [a_service("reviews"), a_service("istiod", "10.96.0.8", "istio-system")]
    lines = services.hosts(known, [], "bookinfo", "p", "10.244.128.7").splitlines()
    assert "10.96.0.9 reviews.bookinfo.svc.cluster.local reviews.bookinfo.svc reviews.bookinfo reviews" in lines
    assert "10.96.0.8 istiod.istio-system.svc.cluster.local istiod.istio-system.svc istiod.istio-system" in lines
    assert "10.244.128.7 p" in lines


def test_a_headless_service_is_the_addresses_of_its_pods() -> None:
    known, slices = [a_service("db", "None")], [a_slice("db", ["10.244.128.1", "10.244.128.2"])]
    text = services.hosts(known, slices, "bookinfo", "p", "10.244.128.7")
    assert [line.split()[0] for line in text.splitlines() if " db.bookinfo " in line] == [
        "10.244.128.1",
        "10.244.128.2",
    ]


def test_a_pod_can_have_a_name_of_its_own() -> None:
    text = services.hosts(
        [a_service("reviews")], [], "bookinfo", "p", "10.244.128.7", others={"a.example.com": "10.244.128.9"}
    )
    assert "10.244.128.9 a.example.com" in text.splitlines()


def test_the_directory_of_services_names_address_and_ports() -> None:
    known = [a_service("reviews"), a_service("headless", "None")]
    assert services.directory(known) == {
        "bookinfo/reviews": {"address": "10.96.0.9", "external": "", "ports": {"http": 9080, "dns": 53}}
    }


def balanced(kind: str = "LoadBalancer") -> dict[str, Any]:
    service = a_service("reviews")
    ports = [{"name": "http", "port": 9080, "nodePort": 30080}]
    return {
        **service,
        "spec": {**service["spec"], "type": kind, "ports": ports},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.97.0.9"}]}},
    }


def test_a_load_balancer_and_a_node_port_lead_to_the_endpoints() -> None:
    rules = services.nat_rules([balanced()], [a_slice("reviews", ["10.244.128.1"])], netns.GATEWAY, RANGES)
    assert re.findall(r"-d (\S+)/32 -p tcp --dport (\d+) -j DNAT --to-destination (\S+)", rules) == [
        ("10.96.0.9", "9080", "10.244.128.1:9081"),
        ("10.97.0.9", "9080", "10.244.128.1:9081"),
        (netns.GATEWAY, "30080", "10.244.128.1:9081"),
    ]
    assert services.directory([balanced()])["bookinfo/reviews"]["external"] == "10.97.0.9"


def test_a_service_that_is_no_load_balancer_any_more_has_no_external_address() -> None:
    assert services.load_balancer_addresses(balanced("ClusterIP")) == []


@given(st.sets(st.integers(min_value=1, max_value=30)), st.integers(min_value=1, max_value=30))
def test_a_new_address_is_free_in_range_and_not_one_that_was_just_given_back(used: set[int], last: int) -> None:
    taken = {f"10.244.128.{n}" for n in used}
    after = f"10.244.128.{last}"
    address = network.free_address(taken, after)
    assert address not in taken
    assert address not in (after, netns.GATEWAY)
    assert network.in_range(address)


def test_addresses_go_around_at_the_end_of_the_range() -> None:
    last = str(ipaddress.IPv4Network(netns.KUBELET_RANGE)[-2])
    assert last == netns.GATEWAY
    assert network.free_address(set(), str(ipaddress.IPv4Address(last) - 1)) == "10.244.128.1"


@pytest.mark.parametrize("address", ["", "10.244.0.5", "127.0.0.1"])
def test_addresses_of_others_are_not_taken_over(address: str) -> None:
    assert not network.in_range(address)
