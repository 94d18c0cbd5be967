"""Linkerd decides by the objects that are written for a policy as the policy says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from components.diagnostics import errors
from components.manifests import Manifest
from components.meshes import TARGETS
from components.meshes.linkerd.security import LINKERD_SECURITY
from components.security.evaluate import decide
from components.security.model import (
    Account,
    Default,
    Identity,
    MtlsException,
    NamespacePolicy,
    Network,
    Operation,
    Policy,
    Rule,
    Source,
)
from components.security.paths import PathPattern, exact, prefix, template
from components.security.plane import AccessRequest
from components.security.world import Probe, Workload, World
from components.traffic import compile_routes
from components.traffic.model import Mtls, Port, Service, TextMatch

A = Service("a", "shop", (Port(80, "http", target=8080), Port(9090, "grpc")), selector=(("app", "a"),))
B = Service("b", "shop", (Port(80, "http"),), selector=(("app", "b"),))
C = Service("c", "yard", (Port(80, "http"), Port(81, "tcp")), selector=(("app", "c"),))
TWIN = Service("a-twin", "shop", (Port(81, target=8080), Port(9999)), selector=A.selector)
SERVICES = (A, B, C, TWIN)
PROBE = "/health"


def workload(service: Service, *probes: Probe) -> Workload:
    declared = (8080, 9090, 8801) if service is A else (80,)
    labels = service.selector
    return Workload(
        service.name, service.namespace, "Deployment", service.name, labels, declared=declared, probes=probes
    )


WORLD = World(
    services=SERVICES,
    workloads=(
        workload(A, Probe("http", 8080, PROBE), Probe("grpc", 9090)),
        workload(B),
        workload(C, Probe("http", 80, "/")),
    ),
    trust_domain="mesh.example",
    control_plane="linkerd",
)
ACCOUNTS = (Account("shop", "a"), Account("shop", "b"), Account("yard", "c"))
ADDRESSES = ("10.1.0.1", "10.2.0.1", "192.0.2.1", "")
IDENTITIES = st.one_of(
    st.sampled_from(ACCOUNTS).map(lambda one: Identity("account", one.namespace, one.name)),
    st.sampled_from([Identity("namespace", "shop"), Identity("namespace", "yard"), Identity("mesh")]),
    st.sampled_from(
        [
            Identity("trust-domain", trust_domain="partner.example"),
            Identity("account", "shop", "a", trust_domain="partner.example"),
        ]
    ),
)
NETWORKS = st.lists(
    st.sampled_from([Network("10.0.0.0/8"), Network("10.0.0.0/8", ("10.2.0.0/16",)), Network("192.0.2.0/24")]),
    max_size=2,
).map(tuple)
SOURCES = st.builds(Source, st.none() | IDENTITIES, NETWORKS)
PATHS: tuple[PathPattern, ...] = (
    *(exact("/"), exact("/a"), exact("/a/b"), exact(PROBE), exact("/a/")),
    *(prefix("/"), prefix("/a"), prefix("/a/b")),
    *(template("/{*}"), template("/a/{*}"), template("/{*}/b"), template("/{*}/{**}")),
)
HEADERS = st.lists(
    st.sampled_from(
        [
            *(
                ("x-one", TextMatch("exact", "1")),
                ("x-one", TextMatch("present")),
                ("x-two", TextMatch("prefix", "ab")),
            ),
            *(("x-two", TextMatch("exact", "abc")), ("x-three", TextMatch("present"))),
        ]
    ),
    max_size=2,
    unique_by=lambda pair: pair[0],
).map(tuple)


def operations(service: Service) -> st.SearchStrategy[Operation]:
    return st.builds(
        Operation,
        st.none() | st.sampled_from(service.ports),
        st.lists(st.sampled_from(["GET", "POST"]), max_size=2, unique=True).map(tuple),
        st.lists(st.sampled_from(PATHS), max_size=2, unique=True).map(tuple),
        HEADERS,
        st.lists(st.sampled_from(["a.example.com", "*.example.com"]), max_size=1).map(tuple),
    )


RULES = st.lists(
    st.sampled_from(SERVICES).flatmap(
        lambda service: st.builds(
            Rule,
            st.just(""),
            st.just("allow"),
            st.just(service),
            st.lists(SOURCES, min_size=1, max_size=2).map(tuple),
            st.lists(operations(service), max_size=2).map(tuple),
        )
    ),
    max_size=4,
).map(lambda rules: tuple(replace(rule, key=f"r{number}", where=f"r{number}") for number, rule in enumerate(rules)))
DEFAULTS: tuple[Default, ...] = ("open", "audit", "deny")
MODES: tuple[Mtls, ...] = ("strict", "permissive")


@st.composite
def exceptions(draw: st.DrawFn) -> MtlsException:
    service = draw(st.sampled_from(SERVICES))
    what = draw(st.sampled_from(["namespace", "service", "port"]))
    return MtlsException(
        service.namespace,
        draw(st.sampled_from(MODES)),
        None if what == "namespace" else service,
        service.ports[0] if what == "port" else None,
        where="e",
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    return Policy(
        draw(st.sampled_from(MODES)),
        tuple(draw(st.lists(exceptions(), max_size=1))),
        tuple(NamespacePolicy(name, draw(st.sampled_from(DEFAULTS))) for name in ("shop", "yard")),
        draw(RULES),
        services=SERVICES,
    )


POLICIES = policies()
REQUESTS = st.sampled_from(SERVICES).flatmap(
    lambda service: st.builds(
        AccessRequest,
        st.just(service),
        st.sampled_from(service.ports),
        st.none() | st.sampled_from(ACCOUNTS),
        trust_domain=st.sampled_from(["", "mesh.example", "partner.example"]),
        address=st.sampled_from(ADDRESSES),
        http=st.sampled_from([True, True, True, False]),
        grpc=st.booleans(),
        method=st.sampled_from(["GET", "POST", "PUT"]),
        path=st.sampled_from(
            ["/", "/a", "/a/", "/a/b", "/a/b/c", "/x", "/x/b", PROBE, "/grpc.health.v1.Health/Check", "/ab"]
        ),
        headers=st.lists(
            st.sampled_from([("x-one", "1"), ("x-one", "2"), ("x-two", "abc"), ("x-two", "b"), ("x-three", "")]),
            unique_by=lambda pair: pair[0],
        ).map(tuple),
        host=st.sampled_from(["", "a.example.com", "b.example.com", "example.com"]),
    )
)


def written(policy: Policy) -> tuple[Manifest, ...]:
    """All objects by which Linkerd decides: those of the policy, its Servers, its namespaces."""
    assert policy.mode != "disable"
    guarded = LINKERD_SECURITY.write(policy, WORLD)
    assert not errors(guarded.diagnostics)
    traffic = compile_routes([], "linkerd", TARGETS, SERVICES, policy.mode, guards=guarded.guards)
    assert not traffic.diagnostics
    namespaces: list[Manifest] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": dict(annotations)}}
        for name, annotations in guarded.annotations.items()
    ]
    return (*(one.manifest for one in guarded.objects), *traffic.manifests, *namespaces)


def calls_probe(request: AccessRequest) -> bool:
    """Whether it is what Linkerd takes for a probe, whoever sends it."""
    probes = {(8080, "GET", PROBE), (9090, "POST", "/grpc.health.v1.Health/Check"), (80, "GET", "/")}
    return (
        request.service.name != "b" and request.http and (request.port.container, request.verb, request.path) in probes
    )


@given(POLICIES, REQUESTS)
def test_linkerd_admits_whom_the_policy_admits(policy: Policy, request_: AccessRequest) -> None:
    # Probes are open to everybody, and audit to plain callers too: MSH564 and MSH567 say so.
    audited = policy.default_of(request_.service.namespace) == "audit"
    assume(not calls_probe(request_) and not (audited and request_.caller is None))
    assert policy.mode != "disable"
    expected = decide(policy, WORLD, request_)
    verdict = LINKERD_SECURITY.verdict(written(policy), WORLD, request_, policy.mode)
    assert (verdict.allowed, bool(verdict.audited)) == (expected.allowed, bool(expected.audited)), (verdict, expected)
    if not verdict.allowed and request_.http:
        assert (verdict.status, verdict.grpc_status) == ((200, 7) if request_.grpc else (403, None))


@given(POLICIES)
def test_probes_of_the_kubelet_always_pass(policy: Policy) -> None:
    objects = written(policy)
    assert policy.mode != "disable"
    for service, port, path in ((A, A.ports[0], PROBE), (C, C.ports[0], "/")):
        request = AccessRequest(service, port, path=path, probe=True)
        assert LINKERD_SECURITY.verdict(objects, WORLD, request, policy.mode).allowed
    if policy.is_guarded(A):
        request = AccessRequest(A, A.ports[1], grpc=True, path="/grpc.health.v1.Health/Check", probe=True)
        assert LINKERD_SECURITY.verdict(objects, WORLD, request, policy.mode).allowed
