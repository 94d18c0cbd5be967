"""Modes of mutual TLS -> PeerAuthentication, tokens -> RequestAuthentication (security.istio.io/v1), Istio 1.30.

The mode of the whole mesh is in components/meshes/istio/mutual_tls.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....manifests import Manifest, manifest
from ....security.model import Jwt, Mode, MtlsException, Policy
from ....security.plane import SecurityObject
from ....traffic.manifests import filled
from ....traffic.model import Pairs
from .naming import EVERYWHERE, FIRST, LOOSENS, SECURITY_API, policy_object

BEARER = ("Authorization", "Bearer ")


def peer_authentications(policy: Policy) -> Iterator[SecurityObject]:
    """Write the exceptions: one object for all about the same pods, since Istio takes the oldest and no other."""
    for namespace, exceptions in _by_namespace(policy).items():
        whole = [one for one in exceptions if one.service is None]
        if whole:
            spec = {"mtls": {"mode": whole[0].mode.upper()}}
            item = manifest(SECURITY_API, "PeerAuthentication", EVERYWHERE, namespace, spec)
            yield _phased(item, whole, policy.mode)
        by_pods: dict[Pairs, list[MtlsException]] = {}
        for one in exceptions:
            if one.service:
                by_pods.setdefault(tuple(sorted(one.service.selector)), []).append(one)
        outside = whole[0].mode if whole else policy.mode
        for same in by_pods.values():
            yield _phased(_of_pods(same), same, outside)


def _by_namespace(policy: Policy) -> dict[str, list[MtlsException]]:
    found: dict[str, list[MtlsException]] = {}
    for one in policy.exceptions:
        found.setdefault(one.namespace, []).append(one)
    return found


def _of_pods(exceptions: list[MtlsException]) -> Manifest:
    """Write the exceptions about the pods of one selector. Of several with the same reach, the first holds."""
    services = [one.service for one in exceptions if one.service]
    spec: Manifest = {}
    ports: dict[str, Manifest] = {}
    for one in exceptions:
        if one.port is None:
            spec.setdefault("mtls", {"mode": one.mode.upper()})
        else:
            ports.setdefault(str(one.port.container), {"mode": one.mode.upper()})
    if ports:
        spec["portLevelMtls"] = dict(sorted(ports.items(), key=lambda pair: int(pair[0])))
    return policy_object("PeerAuthentication", services[0], "", spec)


def _phased(item: Manifest, exceptions: list[MtlsException], outside: Mode) -> SecurityObject:
    """Let exceptions that demand more than what is around them come first, and those that demand less come last.

    Until the rules are there, a looser mode would let in plain callers whom they refuse; it also goes before the rules.
    That of a namespace waits for what its Services demand instead.
    """
    tightens = outside != "strict" and all(one.mode == "strict" for one in exceptions)
    loosens = LOOSENS if exceptions[0].service else LOOSENS + 1
    return SecurityObject(item, FIRST if tightens else loosens, tuple(one.where for one in exceptions))


def request_authentications(policy: Policy) -> Iterator[SecurityObject]:
    """Write the tokens that each Service reads."""
    for one in policy.authentications:
        spec = {"jwtRules": [_jwt_rule(jwt) for jwt in one.jwt]}
        item = policy_object("RequestAuthentication", one.service, "", spec)
        # The rules of the Service may ask for the claims of a token.
        rules = [rule.key for rule in policy.rules_of(one.service)]
        yield SecurityObject(item, FIRST, (one.key, *rules))


def _jwt_rule(jwt: Jwt) -> Manifest:
    """Write where a token stands: without it, Istio also reads the parameter `access_token`."""
    return filled(
        {
            "issuer": jwt.issuer,
            "audiences": list(jwt.audiences),
            "jwks": jwt.jwks,
            "jwksUri": jwt.jwks_uri,
            "fromHeaders": [filled({"name": name, "prefix": start}) for name, start in jwt.headers or (BEARER,)],
            "forwardOriginalToken": jwt.forward or None,
        }
    )
