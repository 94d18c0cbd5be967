"""Calls out of a namespace that denies them: what its hosts open, and what stays closed, through a real sidecar.

Hosts outside of the cluster are pods without a sidecar and without a Service, whose names all pods know.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from devcluster import pki
from devcluster.kubelet.registry import RunningPod
from tests.dataplane.security import policies, town
from tests.dataplane.security.bench import Bench
from tests.dataplane.security.town import API_HOST, BANK, HTTP, LEGACY, OTHER_HOST, OUTSIDE_PORTS, SHOP, STALLS
from tests.dataplane.traffic.bench import until
from tests.dataplane.traffic.request_batch import Answer, Sent

pytestmark = pytest.mark.dataplane

HTTP_PORT, TCP_PORT = OUTSIDE_PORTS
TLS_PORT = 8443
OPEN = [
    {"host": API_HOST, "port": HTTP_PORT, "protocol": "HTTP"},
    {"host": API_HOST, "port": TCP_PORT, "protocol": "TCP"},
    {"host": API_HOST, "port": TLS_PORT, "protocol": "HTTPS"},
]
SERVER = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
with socket.create_server(("0.0.0.0", int(sys.argv[2])), reuse_port=True) as server:
    while True:
        connection, _ = server.accept()
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.sendall(sys.argv[3].encode())
        except OSError:
            pass
"""
CLIENT = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
try:
    with context.wrap_socket(
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 30), server_hostname=sys.argv[3]
    ) as connection:
        print(connection.recv(100).decode())
except OSError as fault:
    print("closed")
"""


def outside(bench: Bench, host: str) -> RunningPod:
    """The pod that plays a host."""
    return bench.pod(LEGACY, app=host.partition(".")[0])


@pytest.fixture(scope="module")
def secure(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Both hosts speak TLS on a further port, and say who they are."""
    file: Path = tmp_path_factory.mktemp("tls") / "server.pem"
    pair = pki.issued(pki.authority("outside"), "outside", names=[API_HOST, OTHER_HOST])
    file.write_bytes(pair.certificate_pem + pair.key_pem)
    servers = [
        subprocess.Popen(
            outside(bench, host).enter_argv([sys.executable, "-c", SERVER, str(file), str(TLS_PORT), host])
        )
        for host in (API_HOST, OTHER_HOST)
    ]
    try:
        yield
    finally:
        for server in servers:
            server.kill()
            server.wait()


def http(bench: Bench, source: RunningPod, host: str, port: int = HTTP_PORT) -> Answer:
    """What a pod is answered by a host outside."""
    return bench.through(source, [Sent(f"{host}:{port}", address=outside(bench, host).address, port=port)])[0]


def tls(bench: Bench, source: RunningPod, host: str) -> str:
    """Who answers a pod by TLS."""
    return bench.run(source, CLIENT, outside(bench, host).address, str(TLS_PORT), host).strip()


def test_a_namespace_that_denies_calls_out_of_the_cluster_reaches_its_hosts_and_the_mesh_alone(
    bench: Bench, secure: None
) -> None:
    del secure
    teller, front = bench.pod(BANK, app="teller"), bench.pod(SHOP, app="front")
    service = STALLS[0]
    inside = Sent(service.host, address=bench.service(SHOP, service.name).address, port=HTTP.number)

    def names(source: RunningPod, port: int = HTTP_PORT) -> Mapping[str, tuple[int, str]]:
        answers = {host: http(bench, source, host, port) for host in (API_HOST, OTHER_HOST)}
        return {host: (answer.status, answer.pod) for host, answer in answers.items()}

    open_to_all = {API_HOST: (200, "api"), OTHER_HOST: (200, "other")}
    until(lambda: tls(bench, teller, OTHER_HOST) == OTHER_HOST)
    assert names(teller) == names(teller, TCP_PORT) == open_to_all
    policy = policies.compiled({"namespaces": {BANK: {"egress": {"default": "deny", "hosts": OPEN}}}})
    with bench.applied(policy.manifests, [teller]):
        until(lambda: names(teller)[OTHER_HOST] == (502, ""))
        assert names(teller)[API_HOST] == (200, "api")
        until(lambda: tls(bench, teller, OTHER_HOST) == "closed")
        assert tls(bench, teller, API_HOST) == API_HOST
        # A host of TCP has no name on the wire: every connection on its port goes to it.
        until(lambda: names(teller, TCP_PORT) == {API_HOST: (200, "api"), OTHER_HOST: (200, "api")})
        # A port that nothing opens.
        refused = Sent("x", address=outside(bench, API_HOST).address, port=TLS_PORT + 1)
        assert bench.through(teller, [refused])[0].status == 0
        # Services of the mesh, and other namespaces, are as before.
        assert town.observed(bench.through(teller, [inside])[0]).allowed
        assert names(front) == names(front, TCP_PORT) == open_to_all
    until(lambda: names(teller) == open_to_all)


def test_without_an_open_host_nothing_outside_of_the_cluster_is_reached(bench: Bench) -> None:
    teller = bench.pod(BANK, app="teller")
    policy = policies.compiled({"namespaces": {BANK: {"egress": {"default": "deny"}}}})
    with bench.applied(policy.manifests, [teller]):
        until(lambda: http(bench, teller, API_HOST).status in (0, 502))
        assert [http(bench, teller, host).status for host in (API_HOST, OTHER_HOST)] == [0, 0]
