"""What Istio does with a request: mutual TLS, tokens, who is selected, what the answer is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.manifests import Manifest, manifest
from components.meshes.istio.mutual_tls import peer_authentication
from components.security.model import Account, Egress, EgressHost, Mode, NamespacePolicy, Policy
from components.security.plane import Verdict
from components.security.world import Probe, Workload
from components.traffic.model import Port, Service
from tests.unit.istio_security.helpers import changed, judged, objects, verdict, written
from tests.unit.security.helpers import CART, REVIEWS, WORLD, request

ROOT = replace(WORLD, control_plane="istio-system")
PLAIN: dict[str, Any] = {"caller": None}
PRODUCTPAGE_ONLY = 'rules: [{from: [{source: {principals: ["cluster.local/ns/bookinfo/sa/bookinfo-productpage"]}}]}]'


def peers(text: str) -> list[Manifest]:
    return objects(text, "PeerAuthentication")


def outcome(answer: Verdict) -> tuple[bool, int | None, str, int | None]:
    return answer.allowed, answer.status, answer.body, answer.grpc_status


# Mutual TLS


def test_a_plain_caller_is_closed_by_strict_and_let_in_by_the_other_modes() -> None:
    closed = judged([], **PLAIN)
    assert outcome(closed) == (False, None, "", None)
    assert "no identity" in closed.reason
    assert judged([], "permissive", **PLAIN).allowed
    assert judged([], "disable", **PLAIN).allowed


def test_with_plain_text_only_nobody_has_an_identity() -> None:
    policies = objects(PRODUCTPAGE_ONLY)
    assert judged(policies).allowed
    assert judged(policies, "permissive").allowed
    assert outcome(judged(policies, "disable")) == (False, 403, "RBAC: access denied", None)


def test_the_mode_of_a_port_comes_before_that_of_pods_namespace_and_mesh() -> None:
    port = Port(9999)
    pods = "{selector: {matchLabels: {app: reviews}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {9080: {mode: STRICT}}}"
    namespace = "{name: default, mtls: {mode: DISABLE}}"
    items = peers(f"{pods}\n---\n{namespace}")
    assert not judged(items, **PLAIN).allowed
    other = replace(REVIEWS, ports=(*REVIEWS.ports, port))
    assert judged(items, **PLAIN, service=other, port=port).allowed
    assert judged(items[1:], **PLAIN).allowed
    assert judged(items[1:], **PLAIN).object == ""
    assert not judged([*items[1:], *objects(PRODUCTPAGE_ONLY)]).allowed
    assert judged(items, **PLAIN).object == "PeerAuthentication/bookinfo/p0"


@pytest.mark.parametrize("word", ["UNSET", None])
def test_a_mode_that_is_not_set_is_that_of_what_is_around(word: str | None) -> None:
    unset = f"mtls: {{mode: {word}}}" if word else "mtls: {}"
    pods = f"{{selector: {{matchLabels: {{app: reviews}}}}, {unset}, portLevelMtls: {{9080: {{mode: UNSET}}}}}}"
    modes: tuple[Mode, ...] = ("strict", "permissive")
    for mode in modes:
        assert judged(peers(pods), mode, **PLAIN).allowed is (mode == "permissive")
    around = peers(f"{pods}\n---\n{{mtls: {{mode: PERMISSIVE}}}}")
    assert judged(around, **PLAIN).allowed


def test_the_policy_of_the_root_namespace_is_that_of_the_mesh_and_a_selector_there_is_ignored() -> None:
    wide = peer_authentication("istio-system", "permissive")
    assert judged([wide], world=ROOT, **PLAIN).allowed
    narrow = peers("{namespace: istio-system, selector: {matchLabels: {app: reviews}}, mtls: {mode: DISABLE}}")
    assert not judged([*narrow, peer_authentication("istio-system", "strict")], world=ROOT, **PLAIN).allowed


def test_of_two_policies_with_the_same_reach_the_oldest_holds_whole() -> None:
    old = "{created: 1, name: z, selector: {matchLabels: {app: reviews}}, mtls: {mode: PERMISSIVE}}"
    new = "{created: 2, name: a, selector: {}, mtls: {mode: STRICT}}"
    port = "{created: 3, name: b, selector: {matchLabels: {app: reviews}}, portLevelMtls: {9080: {mode: STRICT}}}"
    assert judged(peers(f"{port}\n---\n{new}\n---\n{old}"), **PLAIN).allowed
    younger = old.replace("created: 1", "created: 4")
    assert not judged(peers(f"{port}\n---\n{new}\n---\n{younger}"), **PLAIN).allowed
    # One that is not there yet is the youngest.
    assert not judged(peers(f"{port}\n---\n{younger.replace('created: 4, ', '')}"), **PLAIN).allowed


def test_a_selector_without_labels_is_none() -> None:
    assert judged(peers("{selector: {matchLabels: {}}, mtls: {mode: PERMISSIVE}}"), **PLAIN).allowed


def test_a_caller_of_another_trust_domain_is_closed_whatever_policies_say() -> None:
    everybody = objects("rules: [{}]")
    modes: tuple[Mode, ...] = ("strict", "permissive")
    for mode in modes:
        assert outcome(judged(everybody, mode, trust_domain="partner.example")) == (False, None, "", None)
    assert judged(everybody, trust_domain="cluster.local").allowed
    assert judged(everybody, "disable", trust_domain="partner.example").allowed


# Who is selected


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("{}", True),
        ("selector: {matchLabels: {app: reviews}}", True),
        ("selector: {matchLabels: {app: ratings}}", False),
        ("selector: {matchLabels: {app: reviews, version: v1}}", False),
        ("namespace: shop", False),
        ("namespace: istio-system", True),
        ("{namespace: istio-system, selector: {matchLabels: {app: reviews}}}", True),
        ("targetRefs: [{kind: Service, group: '', name: reviews}]", False),
        ("targetRef: {kind: Gateway, group: gateway.networking.k8s.io, name: public}", False),
    ],
)
def test_which_policies_hold_for_a_workload(text: str, holds: bool) -> None:
    assert judged(objects(text), world=ROOT).allowed is not holds


def test_of_several_workloads_the_first_that_refuses_decides() -> None:
    pods = [
        Workload(f"r-{v}", "bookinfo", "Deployment", "r", (("app", "reviews"), ("version", v))) for v in ("v1", "v2")
    ]
    closed = objects("{name: only-v2, selector: {matchLabels: {version: v2}}}")
    assert judged(closed, world=replace(WORLD, workloads=tuple(pods[:1]))).allowed
    answer = judged(closed, world=replace(WORLD, workloads=tuple(pods)))
    assert (answer.allowed, answer.object) == (False, "AuthorizationPolicy/bookinfo/only-v2")


def test_pods_without_a_sidecar_ports_around_it_and_its_own_are_free() -> None:
    closed = objects("{}")
    pod = Workload("reviews", "bookinfo", "Deployment", "r", REVIEWS.selector)
    changes: list[dict[str, Any]] = [{"meshed": False}, {"bypassed": ((9000, 9100),)}]
    for change in changes:
        assert judged(closed, world=replace(WORLD, workloads=(replace(pod, **change),)), **PLAIN).allowed
    assert not judged(closed, world=replace(WORLD, workloads=(replace(pod, bypassed=((1, 2),)),))).allowed
    for number in (15020, 15021, 15090):
        assert judged(closed, port=Port(number), **PLAIN).allowed


def test_probes_go_past_policies_unless_an_annotation_says_otherwise() -> None:
    closed = objects("{}")
    pod = Workload("reviews", "bookinfo", "Deployment", "r", REVIEWS.selector, probes=(Probe("http", 9080, "/health"),))
    probe: dict[str, Any] = {**PLAIN, "probe": True, "path": "/health"}
    assert judged(closed, world=replace(WORLD, workloads=(pod,)), **probe).allowed
    assert not judged(closed, world=replace(WORLD, workloads=(pod,)), **changed(probe, path="/other")).allowed
    assert not judged(closed, world=replace(WORLD, workloads=(pod,)), **changed(probe, probe=False)).allowed
    direct = replace(pod, direct_probes=True)
    assert not judged(closed, world=replace(WORLD, workloads=(direct,)), **probe).allowed


# Answers


def test_a_call_of_grpc_is_answered_in_its_own_status() -> None:
    assert outcome(judged(objects("{}"), grpc=True, path="/a.B/C")) == (False, 200, "", 7)
    tokens = objects("jwtRules: [{issuer: a}]", "RequestAuthentication")
    bad = judged(tokens, grpc=True, path="/a.B/C", bearer="bad-signature", claims={"iss": "a"})
    assert outcome(bad) == (False, 200, "", 16)
    assert judged(objects("rules: [{to: [{operation: {methods: [POST]}}]}]"), grpc=True, method="GET").allowed


def test_a_connection_is_closed_and_bytes_that_are_no_request_are_a_fault_at_a_port_of_http() -> None:
    tcp = replace(REVIEWS, ports=(Port(27017),))
    closed = verdict(objects("{}"), request(service=tcp, port=tcp.ports[0], http=False))
    assert outcome(closed) == (False, None, "", None)
    assert judged([], http=False).status == 400


def test_at_a_port_in_no_service_requests_are_recognized() -> None:
    closed = objects("{}")
    assert outcome(judged(closed, port=Port(9999)))[:2] == (False, 403)
    assert outcome(judged(closed, port=Port(9999), http=False))[:2] == (False, None)


def test_the_port_of_the_pods_is_compared_and_the_host_has_that_of_the_service() -> None:
    http = request(service=CART, port=CART.ports[0], caller=Account("shop", "a"))
    ports = objects(
        '{namespace: shop, rules: [{to: [{operation: {ports: ["8080"], hosts: ["cart.shop.svc.cluster.local"]}}]}]}'
    )
    assert verdict(ports, http).allowed
    assert not verdict(ports, replace(http, port=CART.ports[1])).allowed
    other = objects('{namespace: shop, rules: [{to: [{operation: {hosts: ["cart.shop.svc.cluster.local:8081"]}}]}]}')
    assert verdict(other, replace(http, port=CART.ports[1])).allowed


def test_the_last_address_of_those_that_forwarded_is_the_remote_one() -> None:
    remote = objects("rules: [{from: [{source: {remoteIpBlocks: [10.1.0.0/16]}}]}]")
    assert judged(remote, address="10.1.2.3").allowed
    assert judged(remote, address="10.9.9.9", headers=(("x-forwarded-for", "1.1.1.1, 10.1.2.3"),)).allowed
    assert not judged(remote, address="10.1.2.3", headers=(("x-forwarded-for", "10.1.2.3, 1.1.1.1"),)).allowed
    assert judged(remote, address="10.1.2.3", headers=(("x-forwarded-for", "unknown"),)).allowed


# Tokens

ISSUERS = "{jwtRules: [{issuer: https://a.example.com, audiences: [shop]}, {issuer: https://b.example.com}]}"
GOOD: dict[str, Any] = {"iss": "https://a.example.com", "aud": "shop", "exp": 1000, "nbf": 900}


@pytest.mark.parametrize(
    ("change", "now", "status", "body"),
    [
        ({}, 950, None, ""),
        ({}, 1060, None, ""),
        ({}, 1061, 401, "Jwt is expired"),
        ({}, 840, None, ""),
        ({}, 839, 401, "Jwt not yet valid"),
        ({"aud": ["x", "shop"]}, 950, None, ""),
        ({"aud": "https://shop/"}, 950, None, ""),
        ({"aud": "bank"}, 950, 403, "Audiences in Jwt are not allowed"),
        ({"aud": None}, 950, 403, "Audiences in Jwt are not allowed"),
        ({"iss": "https://b.example.com", "aud": "bank"}, 950, None, ""),
        ({"iss": "https://c.example.com"}, 950, 401, "Jwt issuer is not configured"),
    ],
)
def test_how_a_token_is_checked(change: dict[str, Any], now: float, status: int | None, body: str) -> None:
    answer = judged(objects(ISSUERS, "RequestAuthentication"), bearer="valid", claims={**GOOD, **change}, now=now)
    assert outcome(answer) == (status is None, status, body, None)
    if status:
        assert answer.object == "RequestAuthentication/bookinfo/p0"


def test_a_wrong_signature_is_refused_and_no_token_is_not() -> None:
    tokens = objects(ISSUERS, "RequestAuthentication")
    bad = judged(tokens, bearer="bad-signature", claims=GOOD, now=950)
    assert outcome(bad) == (False, 401, "Jwt verification fails", None)
    assert judged(tokens).allowed


def test_the_rules_of_all_policies_are_put_together() -> None:
    both = objects(
        "{jwtRules: [{issuer: a}]}\n---\n{namespace: istio-system, jwtRules: [{issuer: b}]}", "RequestAuthentication"
    )
    for issuer in ("a", "b"):
        assert judged(both, world=ROOT, bearer="valid", claims={"iss": issuer}).allowed
    assert judged(both[:1], bearer="valid", claims={"iss": "b"}).status == 401


def test_a_token_is_seen_only_where_a_rule_looks() -> None:
    elsewhere = objects("{jwtRules: [{issuer: a, fromHeaders: [{name: x-token}]}]}", "RequestAuthentication")
    needs = objects('rules: [{from: [{source: {requestPrincipals: ["a/*"]}}]}]')
    asked: dict[str, Any] = {"bearer": "valid", "claims": {"iss": "a", "sub": "s"}}
    assert judged(elsewhere, **changed(asked, bearer="bad-signature")).allowed
    assert not judged([*elsewhere, *needs], **asked).allowed
    here = objects(
        '{jwtRules: [{issuer: a, fromHeaders: [{name: Authorization, prefix: "Bearer "}]}]}', "RequestAuthentication"
    )
    assert judged([*here, *needs], **asked).allowed


def test_no_claim_counts_without_a_rule_that_accepts_the_token() -> None:
    needs = objects('rules: [{when: [{key: "request.auth.claims[iss]", values: [a]}]}]')
    assert not judged(needs, bearer="valid", claims={"iss": "a"}).allowed


@pytest.mark.parametrize(
    ("claim", "values", "taken"),
    [
        ("read write", "[read]", True),
        ("read write", "[read write]", False),
        (["read write"], "[read write]", True),
        ("reader", "[read]", False),
        (7, '["7"]', False),
        (None, "[read]", False),
    ],
)
def test_the_words_of_a_scope_are_compared_one_by_one(claim: object, values: str, taken: bool) -> None:
    tokens = objects("{jwtRules: [{issuer: a, spaceDelimitedClaims: [roles]}]}", "RequestAuthentication")
    for name in ("scope", "permission", "roles"):
        needs = objects(f'rules: [{{when: [{{key: "request.auth.claims[{name}]", values: {values}}}]}}]')
        answer = judged([*tokens, *needs], bearer="valid", claims={"iss": "a", name: claim})
        assert answer.allowed is taken


def test_a_preflight_needs_no_token_but_the_rules_ask_for_one() -> None:
    tokens = objects(ISSUERS, "RequestAuthentication")
    asked: dict[str, Any] = {
        "method": "OPTIONS",
        "headers": (("origin", "https://x"), ("access-control-request-method", "GET")),
        "bearer": "bad-signature",
        "claims": GOOD,
    }
    assert judged(tokens, **asked).allowed
    needs = objects('rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]')
    answer = judged([*tokens, *needs], **asked)
    assert (answer.status, "preflight" in answer.reason) == (403, True)


def test_a_token_says_nothing_of_a_connection() -> None:
    tcp = replace(REVIEWS, ports=(Port(27017),))
    tokens = objects(ISSUERS, "RequestAuthentication")
    asked = request(service=tcp, port=tcp.ports[0], http=False, bearer="bad-signature", claims=GOOD)
    assert verdict(tokens, asked).allowed


@pytest.mark.parametrize("mode", ["strict", "permissive"])
def test_a_denial_by_identity_does_not_stop_plain_callers(mode: Mode) -> None:
    denies = objects('{action: DENY, rules: [{from: [{source: {principals: ["*/sa/bookinfo-productpage"]}}]}]}')
    assert not judged(denies, mode).allowed
    assert judged(denies, mode, **PLAIN).allowed is (mode == "permissive")
    unknown = objects('{action: DENY, rules: [{from: [{source: {notPrincipals: ["*"]}}]}]}')
    assert judged(unknown, mode).allowed
    assert not judged(unknown, mode, **PLAIN).allowed


# Outside of the cluster

CLOSED = Policy(
    namespaces=(
        NamespacePolicy(
            "bookinfo",
            egress=Egress(
                deny=True,
                hosts=(EgressHost("api.example.com", 443, "HTTPS"), EgressHost("*.example.org", 80, "HTTP")),
            ),
        ),
    )
)


@pytest.mark.parametrize(
    ("host", "port", "http", "status"),
    [
        ("api.example.com", 443, False, "open"),
        ("api.example.com", 80, True, 502),
        ("www.example.com", 443, False, None),
        ("a.b.example.org", 80, True, "open"),
        ("example.org", 80, True, 502),
    ],
)
def test_a_closed_namespace_calls_only_the_hosts_that_are_open(
    host: str, port: int, http: bool, status: int | str | None
) -> None:
    items = list(written(CLOSED).values())
    asked = request(service=Service(host, "", (Port(port),)), port=Port(port), http=http)
    answer = verdict(items, asked)
    assert ("open" if answer.allowed else answer.status) == status
    assert verdict(items, replace(asked, caller=Account("shop", "web"))).allowed
    assert verdict(items, replace(asked, caller=None)).allowed
    if status != "open":
        assert answer.object == "Sidecar/bookinfo/default"


def test_an_entry_counts_if_it_is_exported_and_the_sidecar_knows_its_namespace() -> None:
    asked = request(service=Service("a.example.com", "", (Port(443),)), port=Port(443), http=False)
    entry: dict[str, Any] = {"hosts": ["a.example.com"], "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]}
    for exported, known, opened in (
        (None, ["*/*"], True),
        (["."], ["*/*"], False),
        (["bookinfo"], ["*/*"], True),
        (None, ["./*"], False),
        (None, ["edge/*.example.com"], True),
        (None, ["edge/b.example.com"], False),
    ):
        spec = {**entry, **({"exportTo": exported} if exported else {})}
        sidecar = {"egress": [{"hosts": known}], "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
        items = [
            manifest("networking.istio.io/v1", "ServiceEntry", "a", "edge", spec),
            manifest("networking.istio.io/v1", "Sidecar", "default", "bookinfo", sidecar),
        ]
        assert verdict(items, asked).allowed is opened, (exported, known)
        selected = {**sidecar, "workloadSelector": {"labels": {"a": "b"}}}
        some = manifest("networking.istio.io/v1", "Sidecar", "some", "bookinfo", selected)
        assert verdict([items[0], some], asked).allowed
