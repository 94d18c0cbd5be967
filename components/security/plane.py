"""The interface of what a policy is compiled to. A mesh implements it in its folder of components/meshes/.

A `SecurityPlane` writes the objects of a policy, and decides a request from objects alone: so tests hold one against
the other, and `meshup explain` can be asked about objects of others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..diagnostics import Diagnostic
from ..manifests import Manifest
from ..traffic.model import AnyGuard, Pairs, Port, Service
from .model import Account, Mode, Policy
from .world import World

Bearer = Literal["none", "valid", "bad-signature"]


@dataclass(frozen=True, slots=True)
class SecurityObject:
    """An object of a policy.

    Attributes:
        manifest: The object.
        phase: Its place in the order of creation: those of a lower phase are there before. Removed in reverse.
        keys: The rules, or other parts of the policy, that it is for.
    """

    manifest: Manifest
    phase: int
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guarded:
    """Result of compiling a policy.

    Attributes:
        objects: In order of creation.
        guards: Ports and calls to the outside that are closed, for `compile_routes`.
        annotations: Annotations of namespaces, by name.
        diagnostics: What was found in writing.
    """

    objects: tuple[SecurityObject, ...] = ()
    guards: tuple[AnyGuard, ...] = ()
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A request, or a connection, as a caller makes it.

    Attributes:
        service: The Service that is called.
        port: The port of it.
        caller: The account of the caller; None without an identity: outside of the mesh, or by a route around it.
        trust_domain: The trust domain of the caller, "" for that of the mesh.
        address: The address of the caller, as the pod sees it; "" for an address in no network that a rule names.
        http: Whether it is an HTTP request; a connection otherwise.
        grpc: Whether it is a gRPC call, which has the path `/service/method`.
        method: HTTP method.
        path: Path as it is sent, without the query.
        headers: Names in lower case.
        host: The host that is called, without a port; "" for the Service's own (see `called`).
        bearer: Whether it has a bearer token, and one whose signature is right.
        claims: The claims of that token.
        now: Seconds since 1970, for `exp` and `nbf`.
        probe: Whether it is a probe of the kubelet, which comes from outside of the mesh.
    """

    service: Service
    port: Port
    caller: Account | None = None
    trust_domain: str = ""
    address: str = ""
    http: bool = True
    grpc: bool = False
    method: str = "GET"
    path: str = "/"
    headers: Pairs = ()
    host: str = ""
    bearer: Bearer = "none"
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any])
    now: float = 0
    probe: bool = False

    @property
    def called(self) -> str:
        """The host that is called, in lower case, without a port."""
        return (self.host or self.service.host).lower()

    @property
    def verb(self) -> str:
        """The HTTP method: gRPC has one only."""
        return "POST" if self.grpc else self.method


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a mesh does with a request.

    Attributes:
        allowed: Whether it reaches the pod.
        status: The HTTP status of the answer of a proxy that denies it; None if the connection is closed.
        body: The body of that answer.
        grpc_status: The gRPC status, if it is a gRPC call.
        object: The object that decided, `Kind/namespace/name`; "" for the default of the mesh.
        rule: Which part of the object, such as `rules[1]`; "" for none.
        reason: Why, one sentence.
        audited: The objects that would deny it if they were enforced, and only count it.
    """

    allowed: bool
    status: int | None = None
    body: str = ""
    grpc_status: int | None = None
    object: str = ""
    rule: str = ""
    reason: str = ""
    audited: tuple[str, ...] = ()


class SecurityPlane(ABC):
    """A mesh as policies see it.

    Attributes:
        name: Name of the mesh.
        title: For people.
        refusals: What it can't do: name of the feature (capability.py) -> reason.
        kinds: apiVersion and kind of the objects by which `verdict` decides; a namespace's annotations are in its
            `("v1", "Namespace")`.
        mesh_ports: Ports of a meshed pod that stay open in a NetworkPolicy, with what they are for.
        inbound_port: The port on which all meshed traffic arrives at a pod; 0 if the application's own.
        has_agent: Whether an agent beside the proxy asks the probes, and scrapes the metrics that annotations name, so
            that no policy closes them.
        closed_probes: Kinds of probes that tell nothing of a port that is closed to callers without an identity -> why.
    """

    name: str
    title: str
    refusals: Mapping[str, str]
    kinds: Sequence[tuple[str, str]] = ()
    mesh_ports: Mapping[int, str] = {}
    inbound_port: int = 0
    has_agent: bool = False
    closed_probes: Mapping[str, str] = {}

    def check(self, policy: Policy, world: World) -> Iterable[Diagnostic]:
        """Check a policy beyond the refusals."""
        del policy, world
        return ()

    def beside(self, own: Sequence[Manifest], others: Iterable[Manifest], world: World) -> Iterable[Diagnostic]:
        """Find objects of others that decide on the same pods as objects of the stack, or in their place.

        Args:
            own: The objects of the stack.
            others: Those of the cluster that are not the stack's, of the kinds of this mesh.
            world: What is known of the workloads.
        """
        del own, others, world
        return ()

    @abstractmethod
    def write(self, policy: Policy, world: World) -> Guarded:
        """Write the objects of a policy without a feature that is refused. The same policy gives the same bytes."""

    @abstractmethod
    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        """Decide a request.

        Args:
            objects: Objects as `write` made them, Linkerd's Servers among them, and others of the same kinds.
            world: What is known of the workloads.
            request: The request.
            mode: Mutual TLS of the whole mesh.
        """
