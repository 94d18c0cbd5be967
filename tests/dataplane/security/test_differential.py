"""What is predicted of a request is what Envoy does: generated policies, generated requests.

As many policies are tried at once as there are stalls, each with many requests, which go straight to the pods under
certificates of any account and from any address. A batch is one push.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from components.diagnostics import errors
from components.meshes import MESHES
from components.security.compile import compile_policy
from components.security.model import Account
from components.security.plane import AccessRequest
from components.traffic.model import Service
from tests.conftest import nightly
from tests.dataplane.security import policies, town
from tests.dataplane.security.bench import Bench
from tests.dataplane.security.town import BANK, CLERK, FRONT, GRPC, HTTP, ISSUER, RIVAL, SHOP, STALLS, TCP, TELLER
from tests.dataplane.traffic import examples

pytestmark = pytest.mark.dataplane

REQUESTS = 25
DEFAULTS = ("open", "deny", "audit")
"""Of the namespace of the stalls, by batch."""
BATCHES = 36 if nightly() else 2
SUBJECT = STALLS[0]
"""The name that generated policies are written for, before each gets a stall of its own."""

Raw = Mapping[str, Any]


def joined(one: Raw, other: Raw) -> Raw:
    """Both."""
    return {**one, **other}


def bearing(signed: str, body: Raw) -> Raw:
    """What a request has of a token."""
    return {"bearer": signed, "claims": body}


names = st.sampled_from(["x-a", "x-b"])
values = st.sampled_from(["1", "2", "beta", "beta-1", "b"])
methods = st.lists(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), min_size=1, max_size=2, unique=True)
identities: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"serviceAccount": "front"},
        {"serviceAccount": "clerk"},
        {"serviceAccount": f"{BANK}/teller"},
        {"namespace": BANK},
        {"namespace": SHOP},
        {"mesh": True},
    ]
)
networks: st.SearchStrategy[Any] = st.sampled_from(
    [{"cidr": "10.244.3.0/24"}, {"cidr": "10.244.0.0/17", "except": ["10.244.3.64/26"]}, {"cidr": "10.244.4.9/32"}]
)
sources: st.SearchStrategy[Any] = st.one_of(
    identities,
    networks,
    st.just({"everybody": True}),
    st.builds(joined, identities.filter(lambda one: "mesh" not in one), networks),
)
conditions: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["/a", "/a/b", "/", "/b/", "/pkg.S/M"]),
    st.sampled_from(["/a", "/b", "/", "/v/1"]).map(lambda one: {"prefix": one}),
    st.sampled_from(["/v/{*}", "/v/{*}/x", "/{*}/b", "/a/{**}"]).map(lambda one: {"template": one}),
)
headers: st.SearchStrategy[Any] = st.dictionaries(
    names,
    st.one_of(values, st.just({"present": True}), st.sampled_from(["b", "beta-"]).map(lambda one: {"prefix": one})),
    min_size=1,
    max_size=2,
)
hosts = st.lists(st.sampled_from(["a.example.com", "*.example.org"]), min_size=1, max_size=2, unique=True)
claims: st.SearchStrategy[Any] = st.sampled_from(
    [{"scope": ["write"]}, {"tier": ["gold", "silver"]}, {"realm": {"roles": ["a"]}}]
)
http_operations: st.SearchStrategy[Any] = st.builds(
    joined,
    st.fixed_dictionaries(
        {},
        optional={
            "methods": methods,
            "paths": st.lists(conditions, min_size=1, max_size=2),
            "headers": headers,
            "hosts": hosts,
        },
    ),
    st.sampled_from([{"port": 80}, {"port": 80}, {"port": 80}, {"port": 9001}]),
)
calls: st.SearchStrategy[Any] = st.sampled_from(
    [{"service": "pkg.S"}, {"service": "pkg.S", "method": "M"}, {"service": "pkg", "method": "N"}]
)
operations: st.SearchStrategy[Any] = st.one_of(
    http_operations,
    http_operations,
    st.sampled_from([{"port": 9000}, {"port": 80}]),
    calls.map(lambda call: {"port": 9001, "grpc": call}),
)


@st.composite
def some_rules(draw: st.DrawFn, *, tokens: bool) -> Raw:
    """A rule."""
    rule: dict[str, Any] = {"from": draw(st.lists(sources, min_size=1, max_size=2)), "reason": "a test"}
    if draw(st.integers(0, 3)):
        rule["to"] = draw(st.lists(operations, min_size=1, max_size=2))
    if tokens and draw(st.booleans()) and all(one["port"] != TCP.number for one in rule.get("to", [{"port": 9000}])):
        rule["claims"] = draw(claims)
    if draw(st.integers(0, 9)) == 0:
        rule["audit"] = True
    return rule


@st.composite
def some_policies(draw: st.DrawFn) -> Raw:
    """What is configured for one Service, by section."""
    found: dict[str, Any] = {}
    if draw(st.integers(0, 2)) == 0:
        listed: list[dict[str, Any]] = [{"issuer": ISSUER.name, "jwks": ISSUER.jwks}]
        if draw(st.booleans()):
            listed[0]["audiences"] = ["shop"]
        if draw(st.booleans()):
            listed.append({"issuer": RIVAL.name, "jwks": RIVAL.jwks})
        required = draw(st.booleans())
        found["jwt"] = [{**one, **({"require": True} if required else {})} for one in listed]
    tokens = "jwt" in found
    found["allow"] = draw(st.lists(some_rules(tokens=tokens), min_size=1, max_size=3))
    if draw(st.integers(0, 2)) == 0:
        found["deny"] = draw(st.lists(some_rules(tokens=tokens), min_size=1, max_size=2))
    if draw(st.booleans()):
        port = draw(st.sampled_from([{}, {"port": 80}, {"port": 9000}]))
        found["mtls"] = {"mode": "permissive", "reason": "a test", **port}
    return found


callers = st.sampled_from([FRONT, FRONT, FRONT, CLERK, TELLER, Account(BANK, "front"), None])
addresses = st.sampled_from(["", "", "10.244.3.9", "10.244.3.70", "10.244.4.9"])
targets = st.sampled_from(
    [
        *("/", "/a", "/a/", "/a/b", "/A", "/ab", "/b", "/b/", "/b/c", "/v/1", "/v/1/x", "/v/1/2", "/v//x", "/c/b"),
        *("/pkg.S/M", "/pkg.S/N", "/pkg/N", "/pkg.S", "/c"),
        # Envoy normalises paths before it judges them.
        *("/c/../a", "/b/%2e%2E/a/./b", "/b\\c", "/%61/b", "/a/..", "/v/a%2fb", "//a", "/v/a;b", "/v/x*y", "/v/[x"),
    ]
)
tokens: st.SearchStrategy[Any] = st.one_of(
    st.just({}),
    st.builds(
        bearing,
        st.sampled_from(["valid", "valid", "valid", "valid", "bad-signature"]),
        st.fixed_dictionaries(
            {
                "iss": st.sampled_from([ISSUER.name, ISSUER.name, RIVAL.name, town.STRANGER.name]),
                "exp": st.sampled_from([3600, 3600, 3600, -3600]),
                "sub": st.just("ann"),
            },
            optional={
                "aud": st.sampled_from(["shop", "bank", ["bank", "shop"]]),
                "scope": st.sampled_from(["write", "read write", ["write"], "rewrite", 1]),
                "tier": st.sampled_from(["gold", ["silver"], "iron", True]),
                "realm": st.sampled_from([{"roles": ["a", "b"]}, {"roles": "a"}, "a"]),
            },
        ),
    ),
)


@st.composite
def questions(draw: st.DrawFn) -> AccessRequest:
    """A request."""
    port = draw(st.sampled_from([HTTP, HTTP, HTTP, HTTP, GRPC, TCP]))
    who: dict[str, Any] = {"caller": draw(callers), "address": draw(addresses)}
    if port == TCP:
        return town.request(SUBJECT, port, http=False, **who)
    return town.request(
        SUBJECT,
        port,
        grpc=port == GRPC,
        method=draw(st.sampled_from(["GET", "GET", "POST", "PUT"])),
        path=draw(targets),
        headers=tuple(draw(st.lists(st.tuples(names, values), max_size=2))),
        host=draw(st.sampled_from(["", "", "a.example.com", "x.example.org", "example.org"])),
        **draw(tokens),
        **who,
    )


def raw(chosen: Sequence[tuple[Raw, Service]], default: str) -> Raw:
    """The configuration of policies that have a Service."""
    found: dict[str, Any] = {"allow": {}, "deny": {}, "authentication": {}, "namespaces": {SHOP: {"default": default}}}
    exceptions: list[Raw] = []
    for body, service in chosen:
        for key in ("allow", "deny"):
            if key in body:
                found[key][service.name] = body[key]
        if "jwt" in body:
            found["authentication"][service.name] = {"jwt": body["jwt"]}
        if "mtls" in body:
            exceptions.append({"namespace": SHOP, "service": service.name, **body["mtls"]})
    return {**found, "mtls": {"mode": policies.MODE, "exceptions": exceptions}}


def compiles(body: Raw) -> bool:
    """Whether it is right, and Istio can do it."""
    policy, diagnostics = policies.parsed(raw([(body, SUBJECT)], "open"), town.WORLD)
    planes = [mesh.security for mesh in MESHES.values()]
    return not errors([*diagnostics, *compile_policy(policy, "istio", planes, town.WORLD).diagnostics])


def asked_of(service: Service, requests: Sequence[AccessRequest]) -> list[AccessRequest]:
    """The requests, of another Service and of now."""
    return [policies.dated(policies.of(one, service)) for one in requests]


def shown(request: AccessRequest) -> Raw:
    """What is said of a request in a failure."""
    return {key: value for key in FIELDS if (value := getattr(request, key))}


def without_keys(body: Raw) -> Raw:
    """A policy without the keys of issuers, for a failure."""
    return {**body, "jwt": [{**one, "jwks": ""} for one in body.get("jwt", [])]}


FIELDS = ("port", "caller", "address", "grpc", "method", "path", "headers", "host", "bearer", "claims")
# What Envoy changes before it judges it, and what no template of Istio's takes.
ODD = re.compile(r"%|\.\.|//|\\|\[")
subjects = st.tuples(some_policies().filter(compiles), st.lists(questions(), min_size=REQUESTS, max_size=REQUESTS))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_envoy_does_what_is_predicted(bench: Bench, batch: int) -> None:
    drawn = examples.drawn(subjects, len(STALLS), examples.seed_of_this_run() + batch)
    chosen = list(zip(drawn, STALLS, strict=True))
    default = DEFAULTS[batch % len(DEFAULTS)]
    policy = policies.compiled(raw([(body, service) for (body, _), service in chosen], default))
    asked = [one for (_, requests), service in chosen for one in asked_of(service, requests)]
    called = town.pods(bench, STALLS)
    with bench.applied(policy.manifests, called.values()):
        seen = town.straight(bench, asked, called)
    written = {service.host: body for (body, _), service in chosen}
    wrong = [
        f"{shown(one)}\n  policy in a namespace that is {default}: {without_keys(written[one.service.host])}\n"
        f"  predicted {policy.by_objects(one)}, by the policy allowed={policy.by_policy(one)}, observed {outcome}"
        for one, outcome in zip(asked, seen, strict=True)
        if policy.by_objects(one) != outcome or (policy.by_policy(one) != outcome.allowed and not ODD.search(one.path))
    ]
    assert not wrong, "\n".join(
        [f"MESHUP_TEST_SEED={examples.seed_of_this_run()}", *wrong[:20], f"{len(wrong)} in all"]
    )
    # Otherwise the test would prove little.
    assert 0 < sum(outcome.allowed for outcome in seen) < len(seen)
