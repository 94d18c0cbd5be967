import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster import netns
from devcluster.netns import Way


def test_the_ranges_do_not_overlap_and_the_gateway_is_no_pod_of_kwok() -> None:
    kwok, kubelet = ipaddress.ip_network(netns.POD_RANGE), ipaddress.ip_network(netns.KUBELET_RANGE)
    assert not kwok.overlaps(kubelet)
    assert ipaddress.ip_address(netns.GATEWAY) in kubelet


def test_root_tries_a_plain_namespace_first_and_others_need_a_user_namespace() -> None:
    assert netns.ways(0) == [Way(user=False), Way(user=True)]
    assert netns.ways(1000) == [Way(user=True)]


def test_only_a_user_namespace_asks_for_mapped_users() -> None:
    assert "--user" not in Way(user=False).unshare_argv
    assert {"--user", "--map-root-user", "--map-auto", "--net"} <= set(Way(user=True).unshare_argv)


@given(st.ip_addresses(v=4, network=netns.KUBELET_RANGE), st.ip_addresses(v=4, network=netns.KUBELET_RANGE))
def test_every_pod_has_an_interface_name_of_its_own_that_linux_accepts(
    one: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    names = [netns.interface_name(str(address)) for address in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    assert all(len(name) <= 15 for name in names)


@pytest.mark.parametrize(
    ("uid_map", "expected"),
    [
        ("         0          0 4294967295\n", True),
        ("         0       1000          1\n", False),
        ("         0       1000          1\n         1     100000      65536\n", True),
        ("         0       1000          1\n         1     100000       1336\n", False),
        ("         0       1000          1\n         1     100000       1337\n", True),
        ("", False),
    ],
)
def test_the_sidecars_user_is_looked_for_in_every_mapped_range(uid_map: str, expected: bool) -> None:
    assert netns.maps_user(uid_map, 1337) is expected


@pytest.mark.parametrize(
    ("user", "message", "remedy"),
    [
        (False, "unshare: unshare failed: Operation not permitted", "root"),
        (True, "unshare: failed to find newuidmap", "/etc/subuid"),
        (True, "newuidmap: uid range [0-1) -> [1000-1001) not allowed", "/etc/subuid"),
        (True, "unshare: unshare failed: Operation not permitted", "user namespace is not allowed"),
    ],
)
def test_a_refusal_is_explained_with_the_systems_words_and_the_remedy(user: bool, message: str, remedy: str) -> None:
    explained = netns.explained(Way(user=user), message)
    assert message in explained
    assert remedy in explained
