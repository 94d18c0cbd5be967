"""The pods of these tests, and how a request of the model is made and its answer read."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from components.security.model import Account
from components.security.plane import AccessRequest, Verdict
from components.security.world import Workload, World
from components.traffic.model import Port, Service
from devcluster.kubelet.registry import RunningPod
from tests.dataplane.security import bench as objects
from tests.dataplane.security.bench import ROOT, TRUST_DOMAIN, Bench, Manifest
from tests.dataplane.security.identities import Issuer
from tests.dataplane.traffic.request_batch import Answer, Sent

SHOP, BANK, LEGACY = "shop", "bank", "legacy"
VAULT, GARDEN, ATTIC, EDGE = "vault", "garden", "attic", "edge"
"""Namespaces with one Service each, for policies of whole namespaces; the last one has the gateway."""
HTTP, TCP, GRPC = Port(80, "http", "http", 8080), Port(9000, "tcp-raw"), Port(9001, "grpc-api")
AUTO = Port(9002, "any")
"""A port whose protocol is not declared."""
PORTS = (HTTP, TCP, GRPC, AUTO)
LOOSE = 7000
"""A port of every pod that is in no Service."""
STALLS = tuple(Service(f"stall-{number}", SHOP, PORTS, selector=(("app", f"stall-{number}"),)) for number in range(12))
"""Services with one pod each, so that as many policies can be tried at once."""
HOUSES = tuple(Service("house", name, PORTS, selector=(("app", "house"),)) for name in (VAULT, GARDEN, ATTIC))
GATEWAY, GATEWAY_PORT = "public", 8080
FRONT, CLERK, TELLER = Account(SHOP, "front"), Account(SHOP, "clerk"), Account(BANK, "teller")
API_HOST, OTHER_HOST, KEYS_HOST = "api.example.com", "other.example.com", "keys.example.com"
"""Hosts outside of the cluster."""
OUTSIDE_PORTS = (8888, 8889)

ISSUER, RIVAL, STRANGER = (
    Issuer("https://a.example.com"),
    Issuer("https://b.example.com"),
    Issuer("https://c.example.com"),
)
_FORGERS = {issuer.name: Issuer(issuer.name) for issuer in (ISSUER, RIVAL, STRANGER)}
ISSUERS = {issuer.name: issuer for issuer in (ISSUER, RIVAL, STRANGER)}

WORLD = World(
    services=(*STALLS, *HOUSES),
    workloads=tuple(
        Workload(one.name, one.namespace, "Pod", "default", one.selector, declared=(8080, 9000, 9001, 9002, LOOSE))
        for one in (*STALLS, *HOUSES)
    ),
    gateways={GATEWAY: Account(EDGE, GATEWAY)},
    trust_domain=TRUST_DOMAIN,
    control_plane=ROOT,
)


def callers() -> dict[Account, tuple[str, str]]:
    """The accounts that have a pod with a sidecar, with its namespace and name."""
    return {FRONT: (SHOP, "front"), TELLER: (BANK, "teller")}


def manifests() -> list[Manifest]:
    """All of the town."""
    ports = [port.container for port in PORTS]
    spaces = [
        objects.namespace(name, meshed=name != LEGACY) for name in (SHOP, BANK, LEGACY, VAULT, GARDEN, ATTIC, EDGE)
    ]
    accounts = [objects.account(a.namespace, a.name) for a in (*callers(), Account(EDGE, GATEWAY))]
    called = (*STALLS, *HOUSES)
    stalls = [objects.pod(one.namespace, dict(one.selector)["app"], [*ports, LOOSE]) for one in called]
    sources = [objects.pod(space, name, [8080], account=one.name) for one, (space, name) in callers().items()]
    plain = [objects.pod(LEGACY, "plain", [8080], meshed=False)]
    hosts = [
        objects.pod(LEGACY, name.partition(".")[0], OUTSIDE_PORTS, meshed=False, host=name)
        for name in (API_HOST, OTHER_HOST, KEYS_HOST)
    ]
    gateway = objects.pod(EDGE, GATEWAY, [GATEWAY_PORT], account=GATEWAY, gateway=True)
    return [*spaces, *accounts, *map(kubernetes_service, called), *stalls, *sources, *plain, *hosts, gateway]


def kubernetes_service(service: Service) -> Manifest:
    """The Service as an object."""
    ports = [
        {"name": one.name, "port": one.number, "targetPort": one.container}
        | ({"appProtocol": one.app_protocol} if one.app_protocol else {})
        for one in service.ports
    ]
    return objects.service(service.namespace, service.name, ports, dict(service.selector))


@dataclass(frozen=True)
class Outcome:
    """What became of a request, in the words of a `Verdict`.

    Attributes:
        allowed: Whether the pod answered.
        status: HTTP status of the proxy's answer; None for no answer, or that of the pod.
        body: Body of the proxy's answer.
        grpc_status: Its gRPC status.
    """

    allowed: bool
    status: int | None = None
    body: str = ""
    grpc_status: int | None = None


ALLOWED, CLOSED = Outcome(True), Outcome(False)
DENIED = Outcome(False, 403, "RBAC: access denied")


def predicted(verdict: Verdict) -> Outcome:
    """What a verdict says."""
    if verdict.allowed:
        return ALLOWED
    return Outcome(False, verdict.status, verdict.body, verdict.grpc_status)


def observed(answer: Answer) -> Outcome:
    """What an answer says. A gRPC message has five bytes before the JSON that says who answered."""
    if "x-workload-pod" in answer.headers or answer.text[5:].startswith('{"app": '):
        return ALLOWED
    status = answer.headers.get("grpc-status")
    return Outcome(False, answer.status or None, answer.text, int(status) if status else None)


def sent(request: AccessRequest, address: str, port: int, certificate: str = "") -> Sent:
    """The request on its way to an address."""
    authority = request.called if request.port.number == 80 else f"{request.called}:{request.port.number}"
    headers = list(request.headers)
    if request.grpc:
        headers.append(("content-type", "application/grpc"))
    if request.bearer != "none":
        issuer = str(request.claims.get("iss", ISSUER.name))
        signer = (ISSUERS if request.bearer == "valid" else _FORGERS)[issuer]
        headers.append(("authorization", f"Bearer {signer.token(request.claims)}"))
    protocol = "istio-http/1.1" if request.http else "istio"
    return Sent(authority, request.path, request.verb, headers, address, port, request.address, certificate, protocol)


def straight(bench: Bench, asked: Sequence[AccessRequest], called: dict[str, RunningPod]) -> list[Outcome]:
    """Send requests to the pods themselves, under certificates of the accounts, and return what became of them.

    Args:
        bench: The mesh.
        asked: The requests.
        called: The pod of each Service by its host.
    """
    requests: list[Sent] = []
    for one in asked:
        domain = one.trust_domain or TRUST_DOMAIN
        certificate = bench.certificate(one.caller.namespace, one.caller.name, domain) if one.caller else ""
        requests.append(sent(one, called[one.service.host].address, one.port.container, certificate))
    return [observed(answer) for answer in bench.straight(requests)]


def pods(bench: Bench, services: Iterable[Service]) -> dict[str, RunningPod]:
    """The pod of each Service, by its host."""
    return {one.host: bench.pod(one.namespace, **dict(one.selector)) for one in services}


def request(service: Service, port: Port = HTTP, caller: Account | None = FRONT, **more: Any) -> AccessRequest:
    """A request of an account."""
    return AccessRequest(service, port, caller, now=time.time(), **more)
