"""Requests from outside of the pod network to the gateways of `meshup:gateways`, in both APIs of Istio.

What is applied is what the program would register: the values of the gateway's release, the objects of the gateways and
those of the routes. `meshup explain --host` decides by the same plan of a host that the requests are compared with.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.diagnostics import errors, render
from components.gateways.model import Gateway
from components.traffic import parse
from components.traffic.evaluate import evaluate, request_from
from devcluster import pki, traffic
from devcluster.embedded import Embedded
from devcluster.kubelet import registry
from devcluster.pki import KeyPair
from devcluster.traffic import Outcome, Request, Tls
from stacks.plan import Plan
from tests.chance import plausible
from tests.dataplane.traffic import examples, kube_batch, request_batch
from tests.dataplane.traffic.bench import NAMESPACE, PORT, Bench, Manifest, until
from tests.dataplane.traffic.request_batch import Answer, Sent
from tests.dataplane.traffic.test_differential import VERSIONS, Asked, RuleSet, rule_sets
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build
from tests.unit.traffic.helpers import compile_routes

pytestmark = pytest.mark.dataplane

REQUESTS = 1000
SETS = 24
"""Rule sets that each gateway has."""
EDGE = "edge"
"""The namespace of the gateways, and the one with Istio's own API."""
FRONT = "front"
"""The gateway with the Gateway API."""
SERVICES = {EDGE: EDGE, FRONT: f"{FRONT}-istio"}
APIS = {EDGE: "istio", FRONT: "gateway-api"}
PLAIN = 8080
WEIGHTS = {"v1": 80, "v2": 20}
MUTUAL_PORT = 8443
"""With the Gateway API, whether clients need a certificate is said for a port."""
ISTIO, MUTUAL, PASSED, GATEWAY_API = (f"{name}.example.com" for name in ("istio", "mutual", "passed", "front"))


def listener(host: str, tls: dict[str, str]) -> dict[str, Any]:
    return {"port": 443, "protocol": "https", "hosts": [host], "tls": tls}


def to_https(host: str) -> dict[str, Any]:
    return {"port": 80, "protocol": "http", "hosts": [host], "redirect": "https"}


GATEWAYS: dict[str, Any] = {
    EDGE: {
        "api": APIS[EDGE],
        "listeners": [
            listener(ISTIO, {"secret": "istio-tls"}),
            listener(MUTUAL, {"secret": "mutual-tls", "clientCa": "clients"}),
            {"port": 443, "protocol": "tls", "hosts": [PASSED]},
            to_https(ISTIO),
            {"port": PLAIN, "protocol": "http"},
        ],
    },
    FRONT: {
        "api": APIS[FRONT],
        "listeners": [
            listener(GATEWAY_API, {"secret": "front-tls"}),
            listener(PASSED, {"secret": "front-tls"}),
            listener(MUTUAL, {"secret": "mutual-tls", "clientCa": "clients"}) | {"port": MUTUAL_PORT},
            to_https(GATEWAY_API),
            {"port": PLAIN, "protocol": "http"},
        ],
    },
}
REVIEWS: dict[str, Any] = {
    "namespace": NAMESPACE,
    "ports": [{"number": PORT, "protocol": "http"}],
    "selector": {"app": "reviews"},
    "versions": {version: {"version": version} for version in VERSIONS},
}
ROUTES: dict[str, Any] = {
    "from-edge": {**REVIEWS, "gateway": EDGE, "api": APIS[EDGE], "hosts": [ISTIO, MUTUAL], "split": WEIGHTS},
    "from-front": {
        **REVIEWS,
        **{"gateway": FRONT, "api": APIS[FRONT], "hosts": [GATEWAY_API, MUTUAL, PASSED], "split": WEIGHTS},
    },
    # TLS is passed on to the other gateway, which ends it.
    "passed-on": {
        **{"service": SERVICES[FRONT], "namespace": EDGE, "gateway": EDGE, "api": APIS[EDGE], "hosts": [PASSED]},
        **{"ports": [{"number": 80, "protocol": "http"}, {"number": 443, "protocol": "tls"}], "port": 443},
    },
}


@dataclass(frozen=True)
class Question:
    """A request to a host of a gateway, and what is predicted: the name of the rule, or "status 404"."""

    gateway: str
    host: str
    asked: Asked
    predicted: str


def exposed(rule_set: RuleSet, number: int, gateway: str) -> dict[str, Any]:
    """A rule set as the route of a host, of which every third takes two paths only. Each rule names itself."""
    return {
        **REVIEWS,
        "gateway": gateway,
        "api": APIS[gateway],
        "hosts": [f"set-{number}.{gateway}.example.com"],
        **({"paths": [{"prefix": "/a"}, "/b"]} if number % 3 == 2 else {}),
        "rules": [
            {
                "backends": {rule["version"]: 100},
                "headers": {"response": {"set": {"x-rule": f"rule-{position}"}}},
                **({"match": rule["match"]} if "match" in rule else {}),
            }
            for position, rule in enumerate(rule_set.rules)
        ],
    }


def compiles(name: str, route: Mapping[str, Any], gateways: Sequence[Gateway]) -> bool:
    """Say whether the API of the gateway can do it, here and in the mesh."""
    routes, faults = parse({name: route}, "meshup:traffic", [], gateways=gateways)
    return not errors([*faults, *compile_routes(routes, "istio").diagnostics])


def planned(sets: Sequence[RuleSet]) -> tuple[Plan, list[Question]]:
    """Return all that is applied, and the requests to the rule sets with what is predicted."""

    def plan_of(routes: Mapping[str, Any]) -> Plan:
        istio = {"gatewayNamespace": EDGE}
        plan, diagnostics = build(raw(apps=[], istio=istio, gateways=GATEWAYS, traffic=dict(routes)))
        assert plan is not None, render(diagnostics)
        return plan

    gateways = plan_of(ROUTES).gateways.gateways
    listed = {
        f"set-{number}-{gateway}": (exposed(rule_set, number, gateway), rule_set)
        for number, rule_set in enumerate(sets)
        for gateway in GATEWAYS
    }
    chosen = {name: pair for name, pair in listed.items() if compiles(name, pair[0], gateways)}
    plan = plan_of(ROUTES | {name: route for name, (route, _) in chosen.items()})
    questions: list[Question] = []
    for edge, at_edge in plan.traffic.edges:
        for asked in chosen[edge.route.key][1].asked if edge.route.key in chosen else ():
            rule = evaluate(at_edge, request_from(asked.target, asked.method, asked.headers)).rule
            told = "status 404" if rule is None else "" if rule.added else rule.name
            questions.append(Question(edge.gateway.name, edge.host, asked, told))
    return plan, questions


class Outside:
    """A client outside of the pod network, with the authority that it trusts and a certificate of its own."""

    def __init__(self, full: Embedded, folder: Path) -> None:
        self.full, self.folder = full, folder
        self.authority = pki.authority("outside")
        (folder / "ca.crt").write_bytes(self.authority.certificate_pem)
        client = pki.issued(self.authority, "client")
        (folder / "client.pem").write_bytes(client.certificate_pem + client.key_pem)
        self.questions: list[Question] = []

    def tls(self, host: str, *, certificate: bool = False) -> Tls:
        return Tls(host, self.folder / "ca.crt", self.folder / "client.pem" if certificate else None)

    def send(self, gateway: str, tls: Tls, requests: int = 1) -> Outcome:
        """Send counted requests by TLS."""
        port = MUTUAL_PORT if (gateway, tls.server_name) == (FRONT, MUTUAL) else 443
        request = Request(EDGE, SERVICES[gateway], port=port, tls=tls)
        return traffic.send(self.full.cluster.name, None, request, requests)

    def answered(self, gateway: str, tls: Tls) -> bool:
        """Say whether a request is answered; before the Service has an address, it can't be sent."""
        try:
            return self.send(gateway, tls).failed == 0
        except traffic.TrafficError:
            return False

    def ask(self, gateway: str, requests: Sequence[Sent], port: int = PLAIN) -> list[Answer]:
        """Send requests without TLS."""
        address = registry.service(registry.pods_folder(self.full.cluster.name), EDGE, SERVICES[gateway]).external
        return request_batch.send(self.full.cluster.exec_argv, address, port, requests)


def manifest(kind: str, name: str, namespace: str = EDGE) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"namespace": namespace, "name": name}}


def secret(name: str, pair: KeyPair) -> Manifest:
    data = {"tls.crt": pair.certificate_pem.decode(), "tls.key": pair.key_pem.decode()}
    return {**manifest("Secret", name), "type": "kubernetes.io/tls", "stringData": data}


@pytest.fixture(scope="module")
def outside(full: Embedded, bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """Both gateways with all routes, and a client that they answer."""
    client = Outside(full, tmp_path_factory.mktemp("outside"))
    plan, client.questions = planned(examples.drawn(rule_sets, SETS, examples.seed_of_this_run()))
    issued = {
        name: pki.issued(client.authority, name, names=names)
        for name, names in {"istio-tls": [ISTIO], "mutual-tls": [MUTUAL], "front-tls": [GATEWAY_API, PASSED]}.items()
    }
    owners = {"selector": {"app": "reviews"}, "ports": [{"name": "http", "port": PORT}]}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EDGE}},
        *(secret(name, pair) for name, pair in issued.items()),
        {**manifest("Secret", "clients"), "stringData": {"ca.crt": client.authority.certificate_pem.decode()}},
        *(
            {**manifest("Service", route.service.name, NAMESPACE), "spec": owners}
            for route in (one.route for one in plan.traffic.planned)
            if route.service.namespace == NAMESPACE
        ),
        *plan.gateways.objects,
        *plan.traffic.manifests,
    ]
    (release,) = [one for one in plan.mesh.releases if one["name"] == EDGE]
    values = client.folder / "values.json"
    values.write_text(json.dumps(release["values"]))
    try:
        bench.apply(objects)
        helm(full, "install", EDGE, str(full.toolbox.path("istio-charts") / "gateway"), "--values", str(values))
        for gateway, tls in (
            (EDGE, client.tls(ISTIO)),
            (EDGE, client.tls(MUTUAL, certificate=True)),
            (EDGE, client.tls(PASSED)),
            (FRONT, client.tls(GATEWAY_API)),
            (FRONT, client.tls(MUTUAL, certificate=True)),
        ):
            until(lambda g=gateway, t=tls: client.answered(g, t))
        for gateway, labels in (
            (EDGE, {"istio": EDGE}),
            (FRONT, {"gateway.networking.k8s.io/gateway-name": FRONT}),
        ):
            (pod,) = registry.running(registry.pods_folder(full.cluster.name), EDGE, labels)
            hosts = {question.host for question in client.questions if question.gateway == gateway}
            until(lambda p=pod, h=hosts: all(host in bench.envoy_has(p, "dynamic_route_configs") for host in h))
        yield client
    finally:
        helm(full, "uninstall", EDGE, "--ignore-not-found")
        bench.delete(objects)


def helm(full: Embedded, *arguments: str) -> None:
    argv = full.cluster.exec_argv(["helm", *arguments, "--namespace", EDGE])
    done = subprocess.run(argv, env=full.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("gateway", "host", "certificate"),
    [
        (EDGE, ISTIO, False),
        (EDGE, MUTUAL, True),
        (EDGE, PASSED, False),
        (FRONT, GATEWAY_API, False),
        (FRONT, MUTUAL, True),
    ],
    ids=["istio", "istio-mutual", "passed-on", "gateway-api", "gateway-api-mutual"],
)
def test_callers_from_outside_meet_the_declared_split_by_host_and_tls(
    outside: Outside, gateway: str, host: str, certificate: bool
) -> None:
    outcome = outside.send(gateway, outside.tls(host, certificate=certificate), REQUESTS)
    assert outcome.failed == 0, outcome.failures
    assert plausible(outcome.by_backend(list(WEIGHTS)), WEIGHTS)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_gateway_does_what_explain_predicts(outside: Outside, gateway: str) -> None:
    asked = [question for question in outside.questions if question.gateway == gateway]
    assert {question.predicted == "status 404" for question in asked} == {True, False}
    answers = outside.ask(gateway, [Sent(q.host, q.asked.target, q.asked.method, q.asked.headers) for q in asked])
    observed = [a.headers.get("x-rule", "") if a.status == 200 else f"status {a.status}" for a in answers]
    wrong = [(q, o) for q, o in zip(asked, observed, strict=True) if q.predicted != o]
    assert not wrong, f"MESHUP_TEST_SEED={examples.seed_of_this_run()}: {len(wrong)} of {len(asked)}: {wrong[:10]}"


@pytest.mark.parametrize(("gateway", "host"), [(EDGE, ISTIO), (FRONT, GATEWAY_API)], ids=[EDGE, FRONT])
def test_http_is_sent_to_https_and_a_host_that_nobody_serves_gets_404(
    outside: Outside, gateway: str, host: str
) -> None:
    known, unknown = outside.ask(gateway, [Sent(host, "/x?q=1"), Sent("other.example.com")], port=80)
    assert (known.status, known.headers.get("location")) == (301, f"https://{host}/x?q=1")
    assert unknown.status == 404


def test_a_server_name_that_no_listener_has_gets_no_certificate(outside: Outside) -> None:
    outcome = outside.send(EDGE, outside.tls("other.example.com"))
    assert (outcome.failed, outcome.statuses) == (1, {})


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_mutual_tls_refuses_a_client_without_a_certificate(outside: Outside, gateway: str) -> None:
    outcome = outside.send(gateway, outside.tls(MUTUAL))
    assert (outcome.failed, outcome.statuses) == (1, {})


def test_a_gateway_shows_a_changed_certificate_without_a_restart(outside: Outside, tmp_path: Path) -> None:
    other = pki.authority("other")
    changed = Tls(ISTIO, tmp_path / "ca.crt")
    changed.authority.write_bytes(other.certificate_pem)
    assert not outside.answered(EDGE, changed)
    kube_batch.apply(outside.full, [secret("istio-tls", pki.issued(other, ISTIO, names=[ISTIO]))])
    until(lambda: outside.answered(EDGE, changed))
    assert not outside.answered(EDGE, outside.tls(ISTIO))
