"""The model of security, independent of the mesh. Plain frozen data.

`parse` (components/security/parse.py) builds it from configuration; a `SecurityPlane` compiles it. Everything in it is
resolved: names have become `Service`, `Port` and `Account`, gRPC methods have become paths.

What it means, on every mesh:

- A Service is **guarded** if a rule of `allow` names it, or its namespace denies by default. All ports of a guarded
  Service are closed, but for what rules allow. Any other Service takes whoever the mode of mutual TLS admits.
- A request is allowed if some rule of `allow` takes it, and no rule of `deny` does. A rule takes a request if one of
  its sources, one of its operations (or there is none), and all its claims do.
- A source without an identity admits plain callers too, where the mode of mutual TLS does.
- A `Jwt` that is required joins every rule of `allow` of its Service: the caller must have a valid token of one of the
  required issuers with the required claims. Without such a rule it is one for everybody with the token, but not in a
  namespace that denies by default: tokens open nothing there. A token that is not valid is refused whatever rules say.
- A namespace that audits enforces no rule, neither of `allow` nor of `deny`: all of them are only counted.
- A caller of another trust domain is one whose certificate the mesh trusts; whether it trusts any, no policy says.
- Ports are those of the pods: rules of two ports that lead to one port of the pods are rules of that one, also if they
  are of two Services, of which one selects all pods of the one that is called. Ports of the pods that no Service has
  stay as they are, unless the namespace denies by default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from ..traffic.model import Pairs, Port, Service, TextMatch
from .paths import PathPattern

Mode = Literal["strict", "permissive", "disable"]
"""Mutual TLS that the receiver demands. `disable` takes plain text only."""
Effect = Literal["allow", "deny"]
Default = Literal["open", "audit", "deny"]
"""What a namespace does with requests that no rule allows. `audit` lets them in and counts them."""
IdentityKind = Literal["account", "namespace", "trust-domain", "mesh"]
Claims = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
"""Conditions on the claims of a token, all of which must hold: path of the claim -> values, one of which it has.
A claim that is a list has each of its texts. `scope` and `permission` have the words of their text instead of it:
these two Istio has Envoy split (jwt_authn, `normalize_payload_in_metadata`). A number matches nothing."""
SPLIT_CLAIMS = ("scope", "permission")


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """A service account: the identity of all pods that run under it, on both meshes."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom mutual TLS has proved a caller to be.

    Attributes:
        kind: `account` is one service account, `namespace` are all of one namespace, `trust-domain` all of one trust
            domain, `mesh` whoever has an identity at all.
        namespace: The namespace of an account, or the namespace.
        account: The name of the account.
        trust_domain: The trust domain, "" for that of the mesh.
    """

    kind: IdentityKind
    namespace: str = ""
    account: str = ""
    trust_domain: str = ""


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses of callers: a CIDR without parts of it. The address is that of the peer: behind a gateway, its own."""

    cidr: str
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of callers. All that is set must hold; without anything it is everybody.

    Attributes:
        identity: Who it is; None for whoever, with or without an identity.
        networks: Where it comes from, one of these; empty for everywhere.
        gateway: The gateway of `meshup:gateways` whose account the identity is; "" if it was not written as one.
        title: For people, such as `bookinfo/bookinfo-productpage` or `gateway public`.
        where: Path in the configuration.
    """

    identity: Identity | None = None
    networks: tuple[Network, ...] = ()
    gateway: str = ""
    title: str = ""
    where: str = ""

    @property
    def everybody(self) -> bool:
        """True if it takes every caller."""
        return self.identity is None and not self.networks


@dataclass(frozen=True, slots=True)
class Operation:
    """What is asked of a Service. All that is set must hold; of several values one.

    Attributes:
        port: The port of the Service; None for each of its ports.
        methods: Methods in upper case; empty for every one.
        paths: The path without the query; empty for every one.
        headers: Name in lower case -> comparison (`exact`, `prefix`, `present`), which any of its values meets.
        hosts: Hosts in lower case without a port, `*.` in front for all below; empty for every one.
        grpc: Whether it was written as a gRPC service or method; method and path are filled in.
        where: Path in the configuration.
    """

    port: Port | None = None
    methods: tuple[str, ...] = ()
    paths: tuple[PathPattern, ...] = ()
    headers: tuple[tuple[str, TextMatch], ...] = ()
    hosts: tuple[str, ...] = ()
    grpc: bool = False
    where: str = ""

    @property
    def reads_http(self) -> bool:
        """True if it asks for something that only an HTTP request has."""
        return bool(self.methods or self.paths or self.headers or self.hosts)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule about one Service.

    Attributes:
        key: Its name in reports and outputs, unique, such as `allow.reviews[0]` or `preset bookinfo: reviews[0]`.
        effect: Whether it allows or denies what it takes.
        service: The Service that is called.
        sources: The callers, at least one.
        operations: What they ask for; empty for everything.
        claims: Conditions on the token of the request.
        audit: Whether it is only counted, and decides nothing.
        reason: Why a rule for everybody, or for any identity, is meant so; "" if nothing is said.
        where: Path in the configuration.
    """

    key: str
    effect: Effect
    service: Service
    sources: tuple[Source, ...]
    operations: tuple[Operation, ...] = ()
    claims: Claims = ()
    audit: bool = False
    reason: str = ""
    where: str = ""

    @property
    def reads_http(self) -> bool:
        """True if it can decide requests only, not connections."""
        return bool(self.claims) or any(operation.reads_http for operation in self.operations)


@dataclass(frozen=True, slots=True)
class Jwt:
    """Tokens of one issuer.

    Attributes:
        issuer: The claim `iss`.
        audiences: The claim `aud` has one of these; empty for any.
        jwks: The public keys, as JSON text; "" if `jwks_uri` is set.
        jwks_uri: Where the control plane fetches them.
        headers: Name of a header and what stands before the token in it; empty for `Authorization: Bearer `.
        forward: Whether the workload gets the token too.
        require: Whether a request must have a valid token.
        claims: Conditions on the claims of a token that is required.
        where: Path in the configuration.
    """

    issuer: str
    audiences: tuple[str, ...] = ()
    jwks: str = ""
    jwks_uri: str = ""
    headers: Pairs = ()
    forward: bool = False
    require: bool = False
    claims: Claims = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Authentication:
    """The tokens that a Service reads."""

    service: Service
    jwt: tuple[Jwt, ...]
    where: str = ""

    @property
    def key(self) -> str:
        """Its name in reports and outputs, unique."""
        return f"authentication.{self.service.namespace}/{self.service.name}"


@dataclass(frozen=True, slots=True)
class MtlsException:
    """Another mode of mutual TLS than that of the mesh.

    Attributes:
        namespace: The namespace.
        mode: The mode.
        service: The Service whose pods have it; None for all pods of the namespace.
        port: The port of that Service; None for all ports of the pods.
        until: The last day on which it holds; None for no end.
        reason: Why.
        where: Path in the configuration.
    """

    namespace: str
    mode: Mode
    service: Service | None = None
    port: Port | None = None
    until: date | None = None
    reason: str = ""
    where: str = ""

    def is_about(self, service: Service) -> bool:
        """Return True if all pods of a Service have the mode: another Service may select the same pods."""
        return self.namespace == service.namespace and (self.service is None or _has_pods_of(self.service, service))


@dataclass(frozen=True, slots=True)
class EgressHost:
    """A host outside of the cluster that a namespace may call.

    Attributes:
        host: A DNS name; `*.` in front for all below.
        port: 1..65535.
        protocol: `HTTP`; `HTTPS` for TLS by its server name; `TCP` for what is neither.
        where: Path in the configuration.
    """

    host: str
    port: int
    protocol: Literal["HTTP", "HTTPS", "TCP"]
    where: str = ""


@dataclass(frozen=True, slots=True)
class Egress:
    """What the pods of a namespace may call outside of the cluster.

    Attributes:
        deny: Whether everything is closed but `hosts` and `networks`.
        hosts: Hosts that are open.
        networks: Addresses that are open, on every port.
        where: Path in the configuration.
    """

    deny: bool
    hosts: tuple[EgressHost, ...] = ()
    networks: tuple[Network, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class NamespacePolicy:
    """The policy of a namespace.

    Attributes:
        name: The namespace.
        default: What becomes of requests that no rule allows.
        egress: Calls to the outside; None leaves them as the mesh has them.
        network_policy: Whether NetworkPolicies repeat the rules below the mesh.
        where: Path in the configuration.
    """

    name: str
    default: Default = "open"
    egress: Egress | None = None
    network_policy: bool = False
    where: str = ""

    @property
    def key(self) -> str:
        """Its name in reports and outputs, unique."""
        return f"namespaces.{self.name}"


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may do what in a stack.

    Attributes:
        mode: Mutual TLS of the whole mesh.
        exceptions: Where it is another one.
        namespaces: The policies of namespaces, by name.
        rules: All rules, those of presets too, in the order of the configuration.
        authentications: The tokens that Services read.
        services: All Services that are known, by namespace and name: also those that no rule names.
    """

    mode: Mode = "strict"
    exceptions: tuple[MtlsException, ...] = ()
    namespaces: tuple[NamespacePolicy, ...] = ()
    rules: tuple[Rule, ...] = ()
    authentications: tuple[Authentication, ...] = ()
    services: tuple[Service, ...] = field(default=(), repr=False)
    # Indexes, filled at the first question: a stack has a thousand Services, and as many questions about each.
    _rules: dict[str, list[Rule]] = field(default_factory=dict[str, list[Rule]], init=False, repr=False, compare=False)
    _selected: dict[tuple[str, tuple[str, str]], list[Service]] = field(
        default_factory=dict[tuple[str, tuple[str, str]], list[Service]], init=False, repr=False, compare=False
    )

    @property
    def empty(self) -> bool:
        """True if nothing is asked for beyond the mode of the mesh."""
        return not (self.exceptions or self.namespaces or self.rules or self.authentications)

    def default_of(self, namespace: str) -> Default:
        """Return what a namespace does with requests that no rule allows."""
        for one in self.namespaces:
            if one.name == namespace:
                return one.default
        return "open"

    def same_pods(self, service: Service) -> tuple[Service, ...]:
        """Return a Service, and the others that have all of its pods."""
        if not self._selected:
            for one in self.services:
                if one.selector:
                    self._selected.setdefault((one.namespace, min(one.selector)), []).append(one)
        # Whoever selects all of these pods has a selector of some of these labels.
        found = [one for label in service.selector for one in self._selected.get((service.namespace, label), ())]
        return (service, *(one for one in found if one.name != service.name and _has_pods_of(one, service)))

    def rules_of(self, service: Service) -> list[Rule]:
        """Return the rules about a Service."""
        if not self._rules:
            for rule in self.rules:
                self._rules.setdefault(rule.service.host, []).append(rule)
        return list(self._rules.get(service.host, ()))

    def authentication_of(self, service: Service) -> Authentication | None:
        """Return the tokens that a Service reads, None for none."""
        return next((one for one in self.authentications if one.service.host == service.host), None)

    def is_guarded(self, service: Service) -> bool:
        """Return True if the ports of a Service are closed but for what rules allow."""
        allows = any(rule.effect == "allow" and not rule.audit for rule in self.rules_of(service))
        tokens = self.authentication_of(service)
        required = tokens is not None and any(jwt.require for jwt in tokens.jwt)
        return allows or required or self.default_of(service.namespace) != "open"

    def mode_of(self, service: Service, port: Port | None = None) -> Mode:
        """Return the mode of mutual TLS at a port of a Service: of port, Service, namespace, mesh the first one."""
        found: Mode = self.mode
        best = 0
        for one in self.exceptions:
            if not one.is_about(service):
                continue
            if one.port is not None and (port is None or one.port.container != port.container):
                continue
            rank = 3 if one.port else 2 if one.service else 1
            if rank > best:
                best, found = rank, one.mode
        return found


def _has_pods_of(one: Service, other: Service) -> bool:
    """Return True if a Service selects all pods of another one."""
    if one.namespace != other.namespace:
        return False
    return one.name == other.name or (bool(one.selector) and set(one.selector) <= set(other.selector))
