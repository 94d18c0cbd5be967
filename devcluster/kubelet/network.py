"""The cluster's end of a pod's link, its address, and the rules for Services. Runs in the cluster's namespace."""

import ipaddress
import os
import subprocess
from collections.abc import Collection
from typing import Any, cast

from pyroute2 import IPRoute  # pyright: ignore[reportMissingTypeStubs] - it has none

from devcluster import netns
from devcluster.kubelet import services


def free_address(used: Collection[str], after: str = "") -> str:
    """Return the next address of the pods' range that nobody has, after the last one given out, around the end.

    Going around keeps an address that was just freed from being given to another pod while Envoys still know it.

    Args:
        used: The addresses in use.
        after: The address given out last.

    Raises:
        LookupError: All are in use.
    """
    network = ipaddress.IPv4Network(netns.KUBELET_RANGE)
    first, count = int(network.network_address) + 1, network.num_addresses - 2
    start = int(ipaddress.IPv4Address(after)) - first + 1 if after else 0
    taken = {*used, netns.GATEWAY}
    for offset in range(count):
        address = str(ipaddress.IPv4Address(first + (start + offset) % count))
        if address not in taken:
            return address
    raise LookupError(f"all {count} addresses of {netns.KUBELET_RANGE} are in use")


def in_range(address: str) -> bool:
    """Say whether an address can be a real pod's."""
    return bool(address) and ipaddress.ip_address(address) in ipaddress.ip_network(netns.KUBELET_RANGE)


def connect(address: str, process: int) -> None:
    """Join the network namespace of a process by a veth pair, its end named eth0, and route the address there."""
    name = netns.interface_name(address)
    with cast("Any", IPRoute)() as link:
        for index in link.link_lookup(ifname=name):
            link.link("del", index=index)
        link.link("add", ifname=name, kind="veth", peer={"ifname": "eth0", "net_ns_pid": process})
        index = link.link_lookup(ifname=name)[0]
        link.link("set", index=index, state="up")
        link.route("replace", dst=f"{address}/32", oif=index, prefsrc=netns.GATEWAY, scope="link")


def disconnect(address: str) -> None:
    """Take the link down at once; the kernel would do it when the namespace's last process is gone."""
    with cast("Any", IPRoute)() as link:
        for index in link.link_lookup(ifname=netns.interface_name(address)):
            link.link("del", index=index)


def route_services(ranges: Collection[str]) -> None:
    """Let processes of the cluster's own namespace use the addresses of Services.

    A packet has to have a route before the rules of `nat OUTPUT` see it.
    """
    with cast("Any", IPRoute)() as link:
        index = link.link_lookup(ifname="lo")[0]
        for addresses in ranges:
            link.route("replace", dst=addresses, oif=index, prefsrc=netns.GATEWAY, scope="link")
    for table, chain, target in services.jumps():
        _iptables(["iptables-restore", "--noflush", "--wait"], f"*{table}\n:{target} - [0:0]\nCOMMIT\n")
        rule = ["iptables", "--wait", "-t", table]
        if _iptables([*rule, "-C", chain, "-j", target], check=False) != 0:
            _iptables([*rule, "-A", chain, "-j", target])


def apply(rules: str) -> None:
    """Put the rules for Services into effect, all at once.

    Raises:
        OSError: iptables refuses them; the message is its own.
    """
    _iptables(["iptables-restore", "--noflush", "--wait"], rules)


def _iptables(argv: list[str], text: str = "", *, check: bool = True) -> int:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, env=dict(os.environ))
    if check and done.returncode != 0:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.returncode
