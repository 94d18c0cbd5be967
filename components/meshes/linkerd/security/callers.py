"""Callers -> AuthorizationPolicy, MeshTLSAuthentication and NetworkAuthentication (policy.linkerd.io/v1alpha1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ....manifests import Manifest, manifest
from ....security.model import Identity, Mode, Network, Source
from ....security.plane import SecurityObject
from ....security.world import World

API_VERSION = "policy.linkerd.io/v1alpha1"
GROUP = "policy.linkerd.io"
CONTROL_PLANE = "linkerd"
"""Namespace of the control plane, where nothing else is known."""
ANY = "*"
"""The identity of whoever has one."""
AUTHENTICATIONS, POLICIES = 0, 1
"""Phases of creation."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """Who may call: an identity and addresses, both.

    Attributes:
        identity: As MeshTLSAuthentication has it; "" for whoever, with or without an identity.
        networks: Addresses without parts of them, one of these; empty for everywhere.
    """

    identity: str = ""
    networks: tuple[tuple[str, tuple[str, ...]], ...] = ()


PROBES = Grant("", (("0.0.0.0/0", ()), ("::/0", ())))
"""The kubelet. Its addresses are not known, so it is everybody: the default of policyController.probeNetworks,
by which Linkerd admits probes where nothing else is said."""


def account_name(account: str, namespace: str, trust_domain: str, world: World) -> str:
    """Return the identity of a service account, "*" for each one of a namespace.

    It is `<account>.<namespace>.serviceaccount.identity.<control plane>.<trust domain>` (linkerd2, identity); of
    another trust domain with the same namespace of the control plane, as Linkerd's multi-cluster demands.
    """
    control_plane = world.control_plane or CONTROL_PLANE
    place = f"{account}.{namespace}" if namespace else account
    return f"{place}.serviceaccount.identity.{control_plane}.{trust_domain or world.trust_domain}"


def identity_name(identity: Identity, world: World) -> str:
    """Return an identity as MeshTLSAuthentication has it."""
    if identity.kind == "mesh":
        return ANY
    return account_name(identity.account or ANY, identity.namespace, identity.trust_domain, world)


def grant(source: Source, mode: Mode, world: World) -> Grant:
    """Return whom a source admits. Where mutual TLS is strict, a Server that denies has to be told to ask for it."""
    networks = tuple(sorted((one.cidr, tuple(sorted(one.excluded))) for one in source.networks))
    if source.identity:
        return Grant(identity_name(source.identity, world), networks)
    return Grant(ANY if mode == "strict" else "", networks)


def authorize(
    target: Manifest, name: str, namespace: str, grants: Iterable[Grant], keys: Sequence[str]
) -> Iterator[SecurityObject]:
    """Write the objects that admit callers to a target: policies are joined, and each asks for all of its references.

    Names say by a digest who the callers are: when they change, new objects are there before the old ones go, so that
    nobody who may call before and after is refused meanwhile.

    Args:
        target: The targetRef.
        name: Name of the target, unique among those of the namespace.
        namespace: Its namespace.
        grants: The callers.
        keys: The parts of the policy that it is for.
    """
    for identities, networks in _combined(frozenset(grants)):
        own = f"{name}.{digest((identities, networks))}"
        references: list[Manifest] = []
        if identities:
            spec: Manifest = {"identities": list(identities)}
            made = manifest(API_VERSION, "MeshTLSAuthentication", own, namespace, spec)
            yield SecurityObject(made, AUTHENTICATIONS, tuple(keys))
            references.append({"group": GROUP, "kind": "MeshTLSAuthentication", "name": own})
        if networks:
            yield SecurityObject(_network_authentication(own, namespace, networks), AUTHENTICATIONS, tuple(keys))
            references.append({"group": GROUP, "kind": "NetworkAuthentication", "name": own})
        spec = {"targetRef": target, "requiredAuthenticationRefs": references}
        yield SecurityObject(manifest(API_VERSION, "AuthorizationPolicy", own, namespace, spec), POLICIES, tuple(keys))


def networks_of(networks: Iterable[Network]) -> list[Manifest]:
    """Return networks as Linkerd's objects have them."""
    return [_network(one.cidr, one.excluded) for one in sorted(networks, key=lambda one: one.cidr)]


def _network(cidr: str, excluded: Sequence[str]) -> Manifest:
    return {"cidr": cidr, **({"except": sorted(excluded)} if excluded else {})}


def _network_authentication(name: str, namespace: str, networks: Iterable[tuple[str, tuple[str, ...]]]) -> Manifest:
    spec = {"networks": [_network(cidr, excluded) for cidr, excluded in networks]}
    return manifest(API_VERSION, "NetworkAuthentication", name, namespace, spec)


def _combined(
    grants: frozenset[Grant],
) -> Iterator[tuple[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]]:
    """Yield identities and networks of each policy. One without either admits everybody."""
    if Grant() in grants or PROBES in grants:
        # Both are everybody, but only one is written as addresses: a reader looks for who is meant.
        yield ((), ()) if Grant() in grants else ((), PROBES.networks)
        return
    everywhere = {one.identity for one in grants if not one.networks}
    if everywhere:
        yield ((ANY,) if ANY in everywhere else tuple(sorted(everywhere))), ()
    anybody = sorted({network for one in grants if not one.identity for network in one.networks})
    if anybody:
        yield (), tuple(anybody)
    both = sorted({one.networks for one in grants if one.identity and one.networks})
    for networks in both:
        identities = {one.identity for one in grants if one.identity and one.networks == networks}
        yield ((ANY,) if ANY in identities else tuple(sorted(identities))), networks


def digest(content: object) -> str:
    """Return a short text that names a content, so that objects keep their names when others come and go."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:8]
