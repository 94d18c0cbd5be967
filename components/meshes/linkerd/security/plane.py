"""What Linkerd edge-26.8.3 makes of a policy, and of a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ....diagnostics import Diagnostic
from ....manifests import Manifest
from ....security.model import Mode, Policy
from ....security.paths import EVERY_PATH
from ....security.plane import AccessRequest, Guarded, SecurityPlane, Verdict
from ....security.world import World
from . import foreign
from .areas import METHODS
from .scraping import unknown_scrapers
from .verdict import KINDS, verdict
from .write import around, is_closed, pods_of, probes_of, rules_for, write

_NO_TOKENS = "Its proxy reads no tokens, and calls no authorizer."
_REFUSALS = {
    "mtls-disable": "Mutual TLS between its pods is always on; only what bypasses the proxy takes plain text alone.",
    "claims": _NO_TOKENS,
    "jwt": _NO_TOKENS,
    "jwt-uri": _NO_TOKENS,
    "jwt-headers": _NO_TOKENS,
    "deny": "Its policies only allow.",
    "audit-rule": "It audits whole ports, not single policies.",
    "egress-https": "A TLS host needs a TLSRoute of a version that the Gateway API's standard channel does not serve.",
    "egress-tcp": "A TCP host needs a TCPRoute, which the standard channel of the Gateway API does not have.",
}
_MESH_PORTS = {4190: "tap", 4191: "probes and metrics of the proxy"}
_CLOSED_PROBES = {"tcp": "Linkerd's proxy takes the connection itself, so the probe tells nothing of the application."}


class LinkerdSecurity(SecurityPlane):
    """Linkerd."""

    name = "linkerd"
    title = "Linkerd"
    refusals = _REFUSALS
    kinds = KINDS
    mesh_ports = _MESH_PORTS
    inbound_port = 4143
    closed_probes = _CLOSED_PROBES

    def check(self, policy: Policy, world: World) -> Iterator[Diagnostic]:
        """Find methods that no route can have, Servers that overlap, and what Linkerd takes differently."""
        yield from _methods(policy)
        yield from _overlaps(policy, world)
        yield from _raw_paths(policy)
        yield from _probes(policy, world)
        yield from _audits(policy)
        yield from unknown_scrapers(policy, world)

    def beside(self, own: Sequence[Manifest], others: Iterable[Manifest], world: World) -> Iterable[Diagnostic]:
        """Find objects of others for the same pods, see `SecurityPlane`."""
        return foreign.beside(own, others, world)

    def write(self, policy: Policy, world: World) -> Guarded:
        """Write the objects of a policy, see `SecurityPlane`."""
        return write(policy, world)

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        """Decide a request, see `SecurityPlane`. A Service without a namespace is a host outside of the cluster."""
        return verdict(objects, world, request, mode)


LINKERD_SECURITY = LinkerdSecurity()


def _methods(policy: Policy) -> Iterator[Diagnostic]:
    for rule in policy.rules:
        for operation in rule.operations:
            for method in operation.methods:
                if method not in METHODS:
                    yield Diagnostic(
                        "MSH560",
                        f"{operation.where}.methods",
                        method,
                        "The routes by which Linkerd decides requests can't name this method.",
                        f"one of {', '.join(METHODS)}",
                        "Leave 'methods' out, or choose Istio.",
                    )


def _overlaps(policy: Policy, world: World) -> Iterator[Diagnostic]:
    """Find pods that two closed Services select by different labels."""
    ports = [pods for pods in pods_of(policy, world) if is_closed(policy, pods)]
    ports = [pods for pods in ports if rules_for(policy, pods) or not around(policy, ports, pods)]
    for number, pods in enumerate(ports):
        for other in ports[:number]:
            one, two = pods.service, other.service
            if one.namespace != two.namespace or pods.port.container != other.port.container:
                continue
            mine, theirs = set(one.selector), set(two.selector)
            both = {work.name for work in world.behind(one)} & {work.name for work in world.behind(two)}
            if not (both or mine <= theirs or theirs <= mine):
                continue
            rules = [rule for rule in policy.rules if rule.service.host in (one.host, two.host)]
            yield Diagnostic(
                "MSH566",
                rules[-1].where if rules else "",
                one.name,
                f"The Services '{two.name}' and '{one.name}' select some of the same pods by other labels. Linkerd "
                f"takes one Server for port {pods.port.container} of a pod, and ignores the rules of the other one.",
                remedy="Describe only one of them, or give both the same selector.",
            )


def _raw_paths(policy: Policy) -> Iterator[Diagnostic]:
    for rule in policy.rules:
        for operation in rule.operations:
            wide = [path.text for path in operation.paths if not path.is_exact and path != EVERY_PATH]
            # gRPC servers resolve no path. The calls of a preset have no paths in the configuration.
            if wide and rule.effect == "allow" and not operation.grpc:
                yield Diagnostic(
                    "MSH563",
                    operation.where if operation.where == rule.where else f"{operation.where}.paths",
                    wide[0],
                    "Linkerd compares paths as they are sent: '..' or its escape in place of a segment takes a request "
                    f"out of {', '.join(wide)}, if '{rule.service.name}' resolves it.",
                    remedy="Nothing needs to be done if the application refuses such paths. Else name exact ones.",
                    severity="warning",
                )


def _probes(policy: Policy, world: World) -> Iterator[Diagnostic]:
    """Find rules about paths of probes, and Services of which no probe is known."""
    for pods in pods_of(policy, world):
        said = [one for one in rules_for(policy, pods) if one.areas]
        http, grpc = probes_of(pods, world)
        if said and not world.behind(pods.service):
            yield Diagnostic(
                "MSH565",
                said[0].rule.where,
                pods.service.name,
                f"The pods of '{pods.service.name}' are not known. With rules on HTTP, Linkerd admits a probe on port "
                f"{pods.port.container} of theirs only by a route of its own, and none is written.",
                remedy="Nothing needs to be done if they have no HTTP or gRPC probe there; otherwise leave the "
                "conditions on HTTP out.",
                severity="warning",
            )
        for probe in (*http, *grpc):
            for one in said:
                if any(area.intersection(probe) for area in one.areas):
                    yield Diagnostic(
                        "MSH564",
                        one.rule.where,
                        probe.path.text,
                        f"{probe.method} {probe.path.text} of '{pods.service.name}' is a probe, which Linkerd admits "
                        "from everybody: the address of the kubelet is not known.",
                        remedy="Nothing needs to be done if the path tells nothing; otherwise probe another one.",
                        severity="warning",
                    )


def _audits(policy: Policy) -> Iterator[Diagnostic]:
    for one in policy.namespaces:
        if one.default == "audit" and policy.mode == "strict":
            yield Diagnostic(
                "MSH567",
                f"{one.where}.default",
                "audit",
                f"While Linkerd audits '{one.name}', callers without mutual TLS get in, although the mesh is strict.",
                remedy="Close the namespace with 'deny' as soon as the counters tell who calls.",
                severity="warning",
            )
