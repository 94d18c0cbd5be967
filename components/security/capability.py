"""What a policy can ask for: the features of the capability matrix of security.

The same form as for routes (components/traffic/capability.py): a mesh names the features that it can't do with the
reason (`SecurityPlane.refusals`). Refusals, the table in docs/security.md and a test for each cell come from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..diagnostics import Diagnostic
from ..traffic.capability import Feature, refused
from .model import Egress, IdentityKind, Jwt, MtlsException, NamespacePolicy, Operation, Policy, Rule, Source
from .plane import SecurityPlane

Uses = Callable[[Policy], Iterator[str]]

REMEDY = "Remove it, or choose a mesh that can."
ISSUER = "https://issuer.example.com"
KEYS = (
    '{"keys": [{"kty": "RSA", "kid": "k", "e": "AQAB", "n": '
    '"zfjVL9s6JEsnZZVXwjbI4Pe10g77fwksP8vKshlDVBhVXgiuJ5rJyKYu4jLcz7O--r9qV0rPHD-'
    "hjg50HVNBKy2Vga9i8An7niUa_ICDmDUFkKnp3BKnvIaFT9YNhm60fHNOASlbunOdjeu0lyjmpnmyeOfS0gMhAf6by0VV_-"
    "ltrSIgKONaSvBxnSQN-XYyrzA7XRx3GLli_O3F80Mz7b3gEjUYlVxfMlZLD0ixznT6aTdZY_ohupt1koZpGPQDhuhAMD39crT7N2"
    'A4MsWDQpk3yF9XiPV2N6Gvpf05nm4_TASFlqfdpWfwfvh5gCl5zL5Opsr2sQ2IjFWYQq3Ukw"}]}'
)
"""A public key whose private key is nowhere, for examples."""


def refusals(policy: Policy, plane: SecurityPlane, planes: Sequence[SecurityPlane]) -> Iterator[Diagnostic]:
    """Find what a mesh can't do of a policy.

    Args:
        policy: The policy.
        plane: The mesh.
        planes: All meshes, to name those that can.
    """
    return refused(FEATURES, policy, plane, planes, "MSH501")


def _feature(
    name: str,
    title: str,
    uses: Uses,
    example: Mapping[str, object],
    remedy: str = REMEDY,
    *,
    special_case_of: str = "",
) -> Feature[Policy]:
    return Feature(name, title, uses, example, remedy, special_case_of)


def _exception(test: Callable[[MtlsException], object]) -> Uses:
    return lambda policy: (one.where for one in policy.exceptions if test(one))


def _rule(test: Callable[[Rule], object], key: str = "") -> Uses:
    return lambda policy: (f"{rule.where}{key}" for rule in policy.rules if test(rule))


def _source(test: Callable[[Source], object]) -> Uses:
    return lambda policy: (one.where for rule in policy.rules for one in rule.sources if test(one))


def _identity(kind: IdentityKind, *, foreign: bool) -> Uses:
    return _source(
        lambda one: (
            one.identity
            and one.identity.kind == kind
            and bool(one.identity.trust_domain) == foreign
            and not one.gateway
        )
    )


def _operation(test: Callable[[Operation], object]) -> Uses:
    return lambda policy: (one.where for rule in policy.rules for one in rule.operations if test(one))


def _header(kind: str) -> Uses:
    return _operation(lambda one: any(condition.kind == kind for _, condition in one.headers))


def _jwt(test: Callable[[Jwt], object], key: str = "") -> Uses:
    return lambda policy: (f"{jwt.where}{key}" for one in policy.authentications for jwt in one.jwt if test(jwt))


def _namespace(test: Callable[[NamespacePolicy], object], key: str) -> Uses:
    return lambda policy: (f"{one.where}.{key}" for one in policy.namespaces if test(one))


def _egress(test: Callable[[Egress], object], key: str) -> Uses:
    return lambda policy: (f"{one.egress.where}.{key}" for one in policy.namespaces if one.egress and test(one.egress))


def _egress_host(protocol: str) -> Uses:
    return lambda policy: (
        host.where
        for one in policy.namespaces
        for host in (one.egress.hosts if one.egress else ())
        if host.protocol == protocol
    )


def _claims(policy: Policy) -> Iterator[str]:
    yield from _rule(lambda rule: rule.claims, ".claims")(policy)
    yield from _jwt(lambda jwt: jwt.claims, ".claims")(policy)


def _exceptions(**keys: object) -> dict[str, object]:
    exception: dict[str, object] = {"namespace": "bookinfo", "mode": "permissive", "reason": "an old client", **keys}
    return {"mtls": {"exceptions": [exception]}}


def _from(*sources: Mapping[str, object], **keys: object) -> dict[str, object]:
    return {"allow": {"reviews": [{"from": list(sources), **keys}]}}


def _to(**operation: object) -> dict[str, object]:
    return _from({"serviceAccount": "bookinfo-productpage"}, to=[operation])


def _issuer(**keys: object) -> dict[str, object]:
    issuer = {"issuer": ISSUER, **({} if "jwksUri" in keys else {"jwks": KEYS}), **keys}
    return {"authentication": {"reviews": {"jwt": [issuer]}}}


def _of_namespace(**keys: object) -> dict[str, object]:
    return {"namespaces": {"bookinfo": keys}}


def _opens(**keys: object) -> dict[str, object]:
    return _of_namespace(egress={"default": "deny", **keys})


def _host(protocol: str, port: int) -> dict[str, object]:
    return _opens(hosts=[{"host": "api.example.com", "port": port, "protocol": protocol}])


TEN = "10.0.0.0/8"
CALLERS = "Name the callers by 'serviceAccount'."

FEATURES: tuple[Feature[Policy], ...] = (
    _feature(
        "mtls-namespace",
        "Mutual TLS: another mode in a namespace",
        _exception(lambda one: one.service is None),
        _exceptions(),
    ),
    _feature(
        "mtls-service",
        "Mutual TLS: another mode at a Service",
        _exception(lambda one: one.service and not one.port),
        _exceptions(service="reviews"),
    ),
    _feature(
        "mtls-port",
        "Mutual TLS: another mode at a port",
        _exception(lambda one: one.port),
        _exceptions(service="reviews", port=9080),
    ),
    _feature(
        "mtls-disable",
        "Mutual TLS: plain text only",
        _exception(lambda one: one.mode == "disable"),
        _exceptions(mode="disable"),
        "Use 'permissive', which takes plain text too.",
    ),
    _feature(
        "caller-account",
        "From: service account",
        _identity("account", foreign=False),
        _from({"serviceAccount": "bookinfo-productpage"}),
    ),
    _feature(
        "caller-namespace", "From: namespace", _identity("namespace", foreign=False), _from({"namespace": "shop"})
    ),
    _feature("caller-gateway", "From: gateway", _source(lambda one: one.gateway), _from({"gateway": "public"})),
    _feature(
        "caller-mesh",
        "From: whoever has an identity",
        _identity("mesh", foreign=False),
        _from({"mesh": True}, reason="read by all"),
    ),
    _feature(
        "caller-everybody",
        "From: everybody",
        _source(lambda one: one.everybody),
        _from({"everybody": True}, reason="public"),
    ),
    _feature(
        "caller-trust-domain",
        "From: another trust domain",
        _identity("trust-domain", foreign=True),
        _from({"trustDomain": "partner.example"}),
    ),
    _feature(
        "caller-foreign-account",
        "From: service account of another trust domain",
        _identity("account", foreign=True),
        _from({"trustDomain": "partner.example", "serviceAccount": "shop/cart"}),
    ),
    _feature(
        "caller-cidr",
        "From: addresses (CIDR), with or without an identity",
        _source(lambda one: one.networks and not one.identity),
        _from({"cidr": TEN, "except": ["10.9.0.0/16"]}),
    ),
    _feature(
        "caller-identity-and-cidr",
        "From: identity and addresses (CIDR) together",
        _source(lambda one: one.networks and one.identity),
        _from({"serviceAccount": "bookinfo-productpage", "cidr": TEN}),
    ),
    _feature("port", "To: port", _operation(lambda one: one.port), _to(port=9080)),
    _feature("method", "To: method", _operation(lambda one: one.methods and not one.grpc), _to(methods=["GET"])),
    _feature(
        "path-exact",
        "To: exact path",
        _operation(lambda one: not one.grpc and any(path.is_exact for path in one.paths)),
        _to(paths=["/reviews/1"]),
    ),
    _feature(
        "path-prefix",
        "To: path prefix, by segments",
        _operation(lambda one: not one.grpc and any(path.is_prefix for path in one.paths)),
        _to(paths=[{"prefix": "/reviews"}]),
    ),
    _feature(
        "path-template",
        "To: path template",
        _operation(lambda one: any(not (path.is_exact or path.is_prefix) for path in one.paths)),
        _to(paths=[{"template": "/reviews/{*}/stars"}]),
        "Use 'prefix', or exact paths.",
    ),
    _feature("header", "To: header, whole value", _header("exact"), _to(headers={"x-tier": "gold"})),
    _feature("header-prefix", "To: header, how it begins", _header("prefix"), _to(headers={"x-tier": {"prefix": "g"}})),
    _feature("header-present", "To: header, any value", _header("present"), _to(headers={"x-tier": {"present": True}})),
    _feature("host", "To: host", _operation(lambda one: one.hosts), _to(hosts=["reviews.example.com"])),
    _feature(
        "grpc",
        "To: gRPC service and method",
        _operation(lambda one: one.grpc),
        _to(grpc={"service": "shop.Cart", "method": "Add"}),
    ),
    _feature(
        "claims",
        "Claims of a token",
        _claims,
        {**_from({"mesh": True}, claims={"scope": ["write"]}, reason="by token"), **_issuer()},
    ),
    _feature(
        "deny",
        "Rules that deny",
        _rule(lambda rule: rule.effect == "deny"),
        {"deny": {"reviews": [{"from": [{"namespace": "shop"}]}]}},
        "Write rules of 'allow' for all other callers.",
    ),
    _feature("jwt", "Tokens (JWT)", _jwt(bool), _issuer(require=True), CALLERS),
    _feature(
        "jwt-uri",
        "Tokens: keys by URL",
        _jwt(lambda jwt: jwt.jwks_uri, ".jwksUri"),
        _issuer(jwksUri=f"{ISSUER}/keys"),
        "Use 'jwks'.",
        special_case_of="jwt",
    ),
    _feature(
        "jwt-headers",
        "Tokens: in another header",
        _jwt(lambda jwt: jwt.headers, ".headers"),
        _issuer(headers={"x-token": ""}),
        CALLERS,
        special_case_of="jwt",
    ),
    _feature(
        "audit-rule",
        "Audit: one rule is only counted",
        _rule(lambda rule: rule.audit, ".audit"),
        _from({"serviceAccount": "bookinfo-productpage"}, audit=True),
        "Set 'default: audit' for the namespace.",
    ),
    _feature(
        "default-deny",
        "Namespace: deny by default",
        _namespace(lambda one: one.default == "deny", "default"),
        _of_namespace(default="deny"),
    ),
    _feature(
        "default-audit",
        "Namespace: audit by default",
        _namespace(lambda one: one.default == "audit", "default"),
        _of_namespace(default="audit"),
    ),
    _feature("egress-deny", "Egress: deny by default", _egress(lambda one: one.deny, "default"), _opens()),
    _feature("egress-http", "Egress: host, HTTP", _egress_host("HTTP"), _host("HTTP", 80)),
    _feature("egress-https", "Egress: host, TLS by its server name", _egress_host("HTTPS"), _host("HTTPS", 443)),
    _feature(
        "egress-tcp", "Egress: host, TCP", _egress_host("TCP"), _host("TCP", 5432), "Open its addresses by 'cidrs'."
    ),
    _feature(
        "egress-networks",
        "Egress: addresses (CIDR)",
        _egress(lambda one: one.networks, "cidrs"),
        _opens(cidrs=["192.0.2.0/24"]),
    ),
    _feature(
        "network-policy",
        "NetworkPolicies for the same rules",
        _namespace(lambda one: one.network_policy, "networkPolicy"),
        _of_namespace(default="deny", networkPolicy=True),
    ),
)
"""All features. A part of a policy may ask for several: an account of another trust domain, at addresses, for two."""
