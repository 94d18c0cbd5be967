"""What kube-proxy and the cluster's DNS know: names and addresses of Services. Pure.

Rules follow kube-proxy's iptables mode (kubernetes.io, "Virtual IPs and Service Proxies"): one rule per endpoint that
takes its share at random, and a refusal where a Service has no endpoint.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from devcluster.kubelet.spec import Object, listed, mapped

_SERVICES = "MESHUP-SERVICES"
_UNSERVED = "MESHUP-UNSERVED"

Key = tuple[str, str]
"""Namespace and name."""


def endpoints(slices: Iterable[Object]) -> dict[Key, dict[str, list[tuple[str, int]]]]:
    """Return the ready addresses of each Service: port name, then (address, port), sorted."""
    found: dict[Key, dict[str, set[tuple[str, int]]]] = defaultdict(lambda: defaultdict(set))
    for item in slices:
        name = mapped(item["metadata"], "labels").get("kubernetes.io/service-name")
        if name is None or item.get("addressType") != "IPv4":
            continue
        for endpoint in listed(item, "endpoints"):
            if mapped(endpoint, "conditions").get("ready") is False:
                continue
            for port in listed(item, "ports"):
                if port.get("protocol", "TCP") == "TCP" and port.get("port"):
                    key = (item["metadata"]["namespace"], name)
                    found[key][port.get("name") or ""].update((a, port["port"]) for a in endpoint["addresses"])
    return {key: {name: sorted(pairs) for name, pairs in ports.items()} for key, ports in found.items()}


def nat_rules(services: Iterable[Object], slices: Iterable[Object], node: str, ranges: Sequence[str]) -> str:
    """Return the input of `iptables-restore --noflush` that makes addresses of Services lead to ready endpoints.

    Args:
        services: All Services.
        slices: All EndpointSlices.
        node: The node's address, at which node ports are.
        ranges: The ranges of cluster and load balancer addresses; what no rule serves in them is refused at once.
    """
    known = endpoints(slices)
    nat: list[str] = []
    for service in sorted(services, key=_key):
        addresses = [a for a in (cluster_address(service), *load_balancer_addresses(service)) if a]
        for port in listed(service["spec"], "ports"):
            if port.get("protocol", "TCP") != "TCP":
                continue
            fronts = [(address, port["port"]) for address in addresses]
            if port.get("nodePort"):
                fronts.append((node, port["nodePort"]))
            targets = known.get(_key(service), {}).get(port.get("name") or "", [])
            nat += [rule for address, number in fronts for rule in _balanced(address, number, targets)]
    return "\n".join(
        [
            "*nat",
            f":{_SERVICES} - [0:0]",
            *nat,
            "COMMIT",
            "*filter",
            f":{_UNSERVED} - [0:0]",
            *(
                f"-A {_UNSERVED} -d {addresses}{protocol} -j REJECT --reject-with {answer}"
                for addresses in ranges
                for protocol, answer in ((" -p tcp", "tcp-reset"), ("", "icmp-port-unreachable"))
            ),
            "COMMIT",
            "",
        ]
    )


def _balanced(address: str, port: int, targets: Sequence[tuple[str, int]]) -> Iterable[str]:
    for left, (target, number) in zip(range(len(targets), 0, -1), targets, strict=True):
        share = f" -m statistic --mode random --probability {1 / left:.10f}" if left > 1 else ""
        yield f"-A {_SERVICES} -d {address}/32 -p tcp --dport {port}{share} -j DNAT --to-destination {target}:{number}"


def jumps() -> list[tuple[str, str, str]]:
    """Return the (table, chain, target) jumps that lead into the rules. They are set once."""
    return [
        ("nat", "PREROUTING", _SERVICES),
        ("nat", "OUTPUT", _SERVICES),
        ("filter", "FORWARD", _UNSERVED),
        ("filter", "OUTPUT", _UNSERVED),
    ]


def hosts(
    services: Iterable[Object],
    slices: Iterable[Object],
    namespace: str,
    pod: str,
    address: str,
    *,
    others: Mapping[str, str] | None = None,
) -> str:
    """Return a pod's /etc/hosts: every Service under all names that the pod's namespace gives it.

    A file does what the cluster's DNS would: it needs no server and no packet. A headless Service has one line per
    ready endpoint.

    Args:
        services: All Services.
        slices: All EndpointSlices.
        namespace: The pod's namespace, in which short names are.
        pod: The pod's name.
        address: The pod's address.
        others: Addresses of further names.
    """
    known = endpoints(slices)
    lines = ["127.0.0.1 localhost", f"{address} {pod}"]
    lines += [f"{found} {name}" for name, found in sorted((others or {}).items())]
    for service in sorted(services, key=_key):
        home, name = _key(service)
        names = [f"{name}.{home}.svc.cluster.local", f"{name}.{home}.svc", f"{name}.{home}"]
        if home == namespace:
            names.append(name)
        own = cluster_address(service)
        ready = sorted({a for pairs in known.get((home, name), {}).values() for a, _ in pairs})
        lines += [f"{a} {' '.join(names)}" for a in ([own] if own else ready)]
    return "\n".join([*lines, ""])


def directory(services: Iterable[Object]) -> dict[str, Any]:
    """Return where each Service with a cluster address is asked, as `registry` reads it: by NAMESPACE/NAME."""
    return {
        "/".join(_key(service)): {
            "address": address,
            "external": next(iter(load_balancer_addresses(service)), ""),
            "ports": {p.get("name") or "": p["port"] for p in listed(service["spec"], "ports")},
        }
        for service in sorted(services, key=_key)
        if (address := cluster_address(service)) is not None
    }


def cluster_address(service: Object) -> str | None:
    """Return a Service's IPv4 cluster address, or None if it has none (headless, external)."""
    spec: Mapping[str, Any] = service["spec"]
    address = spec.get("clusterIP")
    return address if address and address != "None" and ":" not in address else None


def load_balancer_addresses(service: Object) -> list[str]:
    """Return the addresses that a load balancer gave a Service; those of another type have none."""
    if service["spec"].get("type") != "LoadBalancer":
        return []
    ingress = listed(mapped(mapped(service, "status"), "loadBalancer"), "ingress")
    return [entry["ip"] for entry in ingress if entry.get("ip")]


def _key(item: Object) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]
