"""Requests from outside of the pod network to gateways, by host name and TLS: Istio's chart and the Gateway API."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster import pki, traffic
from devcluster.embedded import Embedded
from devcluster.kubelet import registry
from devcluster.pki import KeyPair
from devcluster.traffic import Outcome, Request, Tls
from tests.chance import plausible
from tests.dataplane.traffic import kube_batch, request_batch
from tests.dataplane.traffic.bench import NAMESPACE, PORT, Bench, Manifest, until
from tests.dataplane.traffic.request_batch import Answer, Sent

pytestmark = pytest.mark.dataplane

REQUESTS = 1000
EDGE = "edge"
"""The namespace of the chart's gateway, and the gateway's name."""
FRONT = "front"
"""The Gateway of the Gateway API, in the namespace of its route."""
WEIGHTS = {"v1": 80, "v2": 20}
ISTIO, MUTUAL, PASSED, GATEWAY_API = (f"{name}.example.com" for name in ("istio", "mutual", "passed", "front"))


class Outside:
    """A client outside of the pod network, with the authority that it trusts and a certificate of its own."""

    def __init__(self, full: Embedded, folder: Path) -> None:
        self.full, self.folder = full, folder
        self.authority = pki.authority("outside")
        (folder / "ca.crt").write_bytes(self.authority.certificate_pem)
        client = pki.issued(self.authority, "client")
        (folder / "client.pem").write_bytes(client.certificate_pem + client.key_pem)

    def tls(self, host: str, *, certificate: bool = False) -> Tls:
        return Tls(host, self.folder / "ca.crt", self.folder / "client.pem" if certificate else None)

    def send(self, namespace: str, service: str, tls: Tls, requests: int = 1) -> Outcome:
        return traffic.send(self.full.cluster.name, None, Request(namespace, service, port=443, tls=tls), requests)

    def ask(self, namespace: str, service: str, host: str) -> Answer:
        """Send one request without TLS."""
        address = registry.service(registry.pods_folder(self.full.cluster.name), namespace, service).external
        (answer,) = request_batch.send(self.full.cluster.exec_argv, address, 80, [Sent(host, "/x?q=1")])
        return answer


def secret(namespace: str, name: str, pair: KeyPair, **more: str) -> Manifest:
    data = {"tls.crt": pair.certificate_pem.decode(), "tls.key": pair.key_pem.decode(), **more}
    return {**head("v1", "Secret", namespace, name), "type": "kubernetes.io/tls", "stringData": data}


def head(version: str, kind: str, namespace: str, name: str) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"namespace": namespace, "name": name}}


def server(host: str, **tls: Any) -> dict[str, Any]:
    port = {
        "number": 443,
        "name": f"https-{host.partition('.')[0]}",
        "protocol": "HTTPS" if "credentialName" in tls else "TLS",
    }
    return {"port": port, "hosts": [host], "tls": tls}


def istio_objects() -> list[Manifest]:
    """The gateway of the chart: TLS ended, TLS with a client's certificate, TLS passed on, and HTTP sent to HTTPS."""
    servers = [
        server(ISTIO, mode="SIMPLE", credentialName="istio-tls"),
        server(MUTUAL, mode="MUTUAL", credentialName="mutual-tls"),
        server(PASSED, mode="PASSTHROUGH"),
        {
            "port": {"number": 80, "name": "http", "protocol": "HTTP"},
            "hosts": [ISTIO],
            "tls": {"httpsRedirect": True},
        },
    ]
    split = [
        {"destination": {"host": f"by-{version}", "port": {"number": PORT}}, "weight": weight}
        for version, weight in WEIGHTS.items()
    ]
    passed = {
        "match": [{"port": 443, "sniHosts": [PASSED]}],
        "route": [{"destination": {"host": f"{FRONT}-istio.{NAMESPACE}.svc.cluster.local", "port": {"number": 443}}}],
    }
    version = "networking.istio.io/v1"
    routed = {"hosts": [ISTIO, MUTUAL], "gateways": [f"{EDGE}/{EDGE}"], "http": [{"route": split}]}
    return [
        {**head(version, "Gateway", EDGE, EDGE), "spec": {"selector": {"istio": EDGE}, "servers": servers}},
        {**head(version, "VirtualService", NAMESPACE, "from-edge"), "spec": routed},
        {
            **head(version, "VirtualService", NAMESPACE, "passed-on"),
            "spec": {"hosts": [PASSED], "gateways": [f"{EDGE}/{EDGE}"], "tls": [passed]},
        },
    ]


def gateway_api_objects() -> list[Manifest]:
    """A Gateway that istiod deploys: TLS ended, and HTTP sent to HTTPS."""
    tls = {"certificateRefs": [{"name": "front-tls"}]}
    listeners = [
        {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": GATEWAY_API, "tls": tls},
        {"name": "passed", "port": 443, "protocol": "HTTPS", "hostname": PASSED, "tls": tls},
        {"name": "http", "port": 80, "protocol": "HTTP", "hostname": GATEWAY_API},
    ]
    split = [{"name": f"by-{version}", "port": PORT, "weight": weight} for version, weight in WEIGHTS.items()]
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
    version = "gateway.networking.k8s.io/v1"
    return [
        {
            **head(version, "Gateway", NAMESPACE, FRONT),
            "spec": {"gatewayClassName": "istio", "listeners": listeners},
        },
        {
            **head(version, "HTTPRoute", NAMESPACE, "from-front"),
            "spec": {
                "parentRefs": [{"name": FRONT, "sectionName": name} for name in ("https", "passed")],
                "hostnames": [GATEWAY_API, PASSED],
                "rules": [{"backendRefs": split}],
            },
        },
        {
            **head(version, "HTTPRoute", NAMESPACE, "to-https"),
            "spec": {
                "parentRefs": [{"name": FRONT, "sectionName": "http"}],
                "hostnames": [GATEWAY_API],
                "rules": [{"filters": [redirect]}],
            },
        },
    ]


def versions() -> list[Manifest]:
    """A Service for each version of reviews."""
    ports = [{"name": "http", "port": PORT}]
    return [
        {
            **head("v1", "Service", NAMESPACE, f"by-{v}"),
            "spec": {"selector": {"app": "reviews", "version": v}, "ports": ports},
        }
        for v in WEIGHTS
    ]


@pytest.fixture(scope="module")
def outside(full: Embedded, bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """Both gateways, and a client that they answer."""
    client = Outside(full, tmp_path_factory.mktemp("outside"))
    issued = {host: pki.issued(client.authority, host, names=[host]) for host in (ISTIO, MUTUAL)}
    front = pki.issued(client.authority, FRONT, names=[GATEWAY_API, PASSED])
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EDGE}},
        secret(EDGE, "istio-tls", issued[ISTIO]),
        secret(EDGE, "mutual-tls", issued[MUTUAL], **{"ca.crt": client.authority.certificate_pem.decode()}),
        secret(NAMESPACE, "front-tls", front),
        *versions(),
        *istio_objects(),
        *gateway_api_objects(),
    ]
    try:
        bench.apply(objects)
        helm(full, "install", EDGE, str(full.toolbox.path("istio-charts") / "gateway"))
        for service, namespace, tls in (
            (EDGE, EDGE, client.tls(ISTIO)),
            (EDGE, EDGE, client.tls(MUTUAL, certificate=True)),
            (EDGE, EDGE, client.tls(PASSED)),
            (f"{FRONT}-istio", NAMESPACE, client.tls(GATEWAY_API)),
        ):
            until(lambda n=namespace, s=service, t=tls: answered(client, n, s, t))
        yield client
    finally:
        helm(full, "uninstall", EDGE, "--ignore-not-found")
        bench.delete(objects)


def answered(client: Outside, namespace: str, service: str, tls: Tls) -> bool:
    """Say whether a request is answered; before the Service has an address, it can't be sent."""
    try:
        return client.send(namespace, service, tls).failed == 0
    except traffic.TrafficError:
        return False


def helm(full: Embedded, *arguments: str) -> None:
    argv = full.cluster.exec_argv(["helm", *arguments, "--namespace", EDGE])
    done = subprocess.run(argv, env=full.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("namespace", "service", "host", "certificate"),
    [
        (EDGE, EDGE, ISTIO, False),
        (EDGE, EDGE, MUTUAL, True),
        (EDGE, EDGE, PASSED, False),
        (NAMESPACE, f"{FRONT}-istio", GATEWAY_API, False),
    ],
    ids=["istio", "mutual", "passed-on", "gateway-api"],
)
def test_callers_from_outside_meet_the_declared_split_by_host_and_tls(
    outside: Outside, namespace: str, service: str, host: str, certificate: bool
) -> None:
    outcome = outside.send(namespace, service, outside.tls(host, certificate=certificate), REQUESTS)
    assert outcome.failed == 0, outcome.failures
    assert plausible(outcome.by_backend(list(WEIGHTS)), WEIGHTS)


@pytest.mark.parametrize(
    ("namespace", "service", "host"),
    [(EDGE, EDGE, ISTIO), (NAMESPACE, f"{FRONT}-istio", GATEWAY_API)],
    ids=["istio", "gateway-api"],
)
def test_http_is_sent_to_https_and_a_host_that_nobody_serves_gets_404(
    outside: Outside, namespace: str, service: str, host: str
) -> None:
    answer = outside.ask(namespace, service, host)
    assert (answer.status, answer.headers.get("location")) == (301, f"https://{host}/x?q=1")
    assert outside.ask(namespace, service, "other.example.com").status == 404


def test_a_server_name_that_no_listener_has_gets_no_certificate(outside: Outside) -> None:
    outcome = outside.send(EDGE, EDGE, outside.tls("other.example.com"))
    assert (outcome.failed, outcome.statuses) == (1, {})


def test_mutual_tls_refuses_a_client_without_a_certificate(outside: Outside) -> None:
    outcome = outside.send(EDGE, EDGE, outside.tls(MUTUAL))
    assert (outcome.failed, outcome.statuses) == (1, {})


def test_a_gateway_shows_a_changed_certificate_without_a_restart(outside: Outside, tmp_path: Path) -> None:
    other = pki.authority("other")
    (tmp_path / "ca.crt").write_bytes(other.certificate_pem)
    assert not answered(outside, EDGE, EDGE, Tls(ISTIO, tmp_path / "ca.crt"))
    kube_batch.apply(outside.full, [secret(EDGE, "istio-tls", pki.issued(other, ISTIO, names=[ISTIO]))])
    until(lambda: answered(outside, EDGE, EDGE, Tls(ISTIO, tmp_path / "ca.crt")))
    assert not answered(outside, EDGE, EDGE, outside.tls(ISTIO))
