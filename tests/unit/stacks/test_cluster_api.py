"""Every way in which a cluster can fail to answer, against an API server on loopback that fails so."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from components.diagnostics import Diagnostic, errors, render
from components.manifests import ObjectRef
from components.meshes import MESHES
from kubeaccess import connection
from stacks import cluster as stacks_cluster
from stacks.cluster import Cluster, ClusterError, ClusterView, check_version
from tests.unit.stacks.fake_api import OTHER, SECRET, USER, Api, api, encoded

SECRETS = "/api/v1/namespaces/istio-system/secrets"
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

__all__ = ["api"]


def failure(api: Api, config: dict[str, Any] | None = None) -> Diagnostic:
    with pytest.raises(ClusterError) as caught:
        cluster = Cluster(config or api.kubeconfig({"token": SECRET}))
        cluster.version()
        cluster.objects("v1", "Secret", "istio-system", metadata_only=True)
    (fault,) = caught.value.diagnostics
    assert SECRET not in render([fault])
    return fault


ANSWERS: list[tuple[int, Any, str]] = [
    (401, {"message": "Unauthorized"}, "MSH024"),
    (403, {"message": "secrets is forbidden"}, "MSH024"),
    (404, {"message": "the server could not find the requested resource"}, "MSH031"),
    (404, b"<html>404</html>", "MSH031"),
    (302, b"", "MSH031"),
    (409, {"message": "conflict"}, "MSH031"),
    (410, {}, "MSH031"),
    (429, {"message": "too many requests"}, "MSH031"),
    (500, {"message": ["not", "text"]}, "MSH031"),
    (502, b"bad gateway", "MSH031"),
    (503, {"message": "starting\x1b[2J\n" + "x" * 100_000}, "MSH031"),
    (504, b"\xff\xfe", "MSH031"),
    (200, b"<html>log in</html>", "MSH031"),
    (200, b"[" * 100_000, "MSH031"),
    (200, [], "MSH031"),
    (200, {}, "MSH031"),
    (200, {"items": 5}, "MSH031"),
    (200, {"items": [{"metadata": {}}]}, "MSH031"),
]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] # pytest calls it
    monkeypatch.setattr(stacks_cluster, "LONGEST_PAUSE_SECONDS", 0)


def test_a_busy_server_is_asked_again(api: Api) -> None:
    api.answers[SECRETS] = (429, {"message": "storage is (re)initializing"})
    api.busy = 2
    assert Cluster(api.kubeconfig()).objects("v1", "Secret", "istio-system", metadata_only=True) == []
    assert api.asked.count(SECRETS) == 3


@pytest.mark.parametrize(("status", "body", "code"), ANSWERS)
def test_every_answer_that_is_no_list_is_a_fault_with_verb_resource_namespace_and_status(
    api: Api, status: int, body: Any, code: str
) -> None:
    api.answers[SECRETS] = (status, body)
    found = failure(api)
    assert (found.code, found.path, found.value) == (code, "kubernetes:context", "prod")
    assert "list secrets in the namespace istio-system" in found.message
    assert found.message.isprintable()
    assert len(found.message) < 1000
    assert status == 200 or ("the user 'u'" in found.message and str(status) in found.message)


def test_who_may_not_is_named_as_the_cluster_sees_it(api: Api) -> None:
    api.answers[SECRETS] = (403, {"message": "secrets is forbidden"})
    api.answers[REVIEW] = (201, {"status": {"userInfo": {"username": "system:serviceaccount:ci:deployer"}}})
    assert failure(api).message.startswith("system:serviceaccount:ci:deployer may not list secrets in the namespace")


def test_a_context_without_a_user_is_anonymous(api: Api) -> None:
    api.answers["/api"] = (403, {"message": 'User "system:anonymous" cannot get path "/api"'})
    found = failure(api, api.kubeconfig())
    assert found.code == "MSH024"
    assert found.message.startswith("anonymous (the context names no user) may not get /api")


@contextlib.contextmanager
def listening(reply: bytes | None) -> Generator[str]:
    """A port that takes connections, and answers them with some bytes, or never."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])
                    if reply is not None:
                        taken[-1].sendall(reply)
                        taken[-1].close()

        taken: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("reply", [None, b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["never", "closes", "plain"])
def test_a_server_that_does_not_speak_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, api: Api, reply: bytes | None
) -> None:
    monkeypatch.setattr(stacks_cluster, "ANSWER_SECONDS", 0.2)
    with listening(reply) as server:
        found = failure(api, api.kubeconfig({"token": SECRET}, server=server))
    assert found.code == "MSH023"
    assert "the user 'u' of the kubeconfig to get /version" in found.message


@pytest.mark.parametrize(
    ("cluster", "code"),
    [
        ({"server": "https://no-such-host.invalid"}, "MSH023"),
        ({"server": "https://127.0.0.1:1"}, "MSH023"),
        ({"server": "https://127.0.0.1:99999"}, "MSH021"),
        ({"server": "https://[::1"}, "MSH021"),
        ({"certificate-authority-data": encoded(OTHER.certificate_pem)}, "MSH023"),
        ({"tls-server-name": "elsewhere.example"}, "MSH023"),
        ({"proxy-url": "nowhere"}, "MSH021"),
        ({"server": ""}, "MSH021"),
        ({"server": 5}, "MSH021"),
        ({"server": "ssh://host"}, "MSH021"),
        ({"certificate-authority-data": "%"}, "MSH021"),
        ({"certificate-authority-data": encoded(b"no PEM")}, "MSH021"),
        ({"certificate-authority-data": None, "certificate-authority": "/no/such/ca.crt"}, "MSH021"),
        ({"certificate-authority-data": None, "certificate-authority": "/dev"}, "MSH021"),
    ],
)
def test_a_cluster_that_the_kubeconfig_does_not_lead_to_is_a_fault(
    api: Api, cluster: dict[str, Any], code: str
) -> None:
    assert failure(api, api.kubeconfig({"token": SECRET}, **cluster)).code == code


def test_a_context_whose_cluster_is_not_there_is_a_fault(api: Api) -> None:
    assert failure(api, api.kubeconfig({}) | {"clusters": []}).code == "MSH021"


def plugin(folder: Path, body: str, **fields: Any) -> dict[str, Any]:
    script = folder / "plugin"
    script.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{body}\n", encoding="utf-8")
    script.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), **fields}}


def credential(status: str) -> str:
    return f"print(json.dumps({{'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'E', 'status': {status}}}))"


PLUGINS: dict[str, tuple[str, str]] = {
    "fails": (f"print('{SECRET}'); print('{SECRET}', file=sys.stderr); sys.exit(3)", "failed with exit code 3"),
    "never ends": ("print('{'); sys.stdout.flush(); time.sleep(3600)", "did not answer within 0.5 seconds"),
    "leaves a child": ("os.fork() or time.sleep(3600); sys.exit(0)", "did not answer within 0.5 seconds"),
    "never stops": ("while True: print('x' * 65536)", "failed with exit code"),
    "says nothing": ("", "did not print an ExecCredential"),
    "says no JSON": (f"print('{SECRET}')", "did not print an ExecCredential"),
    "says another version": (
        f"print(json.dumps({{'apiVersion': 'v0', 'status': {{'token': '{SECRET}'}}}}))",
        "another",
    ),
    "gives no token": (credential("{}"), "gave no token"),
    "gives half a pair": (credential(f"{{'clientKeyData': '{SECRET}'}}"), "gave no token"),
    "gives two lines": (credential(f"{{'token': '{SECRET}\\n{SECRET}'}}"), "no header may have"),
    "gives no PEM": (credential(f"{{'clientCertificateData': 'a', 'clientKeyData': '{SECRET}'}}"), "no PEM pair"),
}


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_that_gives_no_credential_is_a_fault(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    body, message = PLUGINS[name]
    # The limit that the others must not run into: starting Python takes long where there is much to do.
    monkeypatch.setattr(connection, "PLUGIN_SECONDS", 0.5 if "0.5" in message else 60.0)
    found = failure(api, api.kubeconfig(plugin(tmp_path, body)))
    assert (found.code, found.path) == ("MSH032", "kubernetes:context")
    assert message in found.message


USERS: list[tuple[dict[str, Any], str]] = [
    ({"exec": {"apiVersion": "v1", "command": "no-such-plugin"}}, "No such file"),
    ({"exec": {"apiVersion": "v1", "command": "a\0b"}}, "can't be started"),
    ({"exec": {"apiVersion": "v1", "command": "true", "args": 5}}, "no lists"),
    ({"exec": {"apiVersion": "v1", "command": "true", "env": [{}]}}, "no lists"),
    ({"exec": {"apiVersion": "v1", "command": "true", "interactiveMode": "Always"}}, "wants a terminal"),
    ({"exec": {"command": "true"}}, "no apiVersion"),
    ({"auth-provider": {"name": "gcp"}}, "gone from Kubernetes clients"),
    ({"auth-provider": {"name": "oidc", "config": {"id-token": 5}}}, "auth-provider oidc failed"),
    ({"tokenFile": "/no/such/token"}, "tokenFile of the kubeconfig is /no/such/token: No such file"),
    ({"tokenFile": "/dev"}, "not a regular file"),
    ({"token": 5}, "not text"),
    ({"token": f"{SECRET}\n{SECRET}"}, "no header may have"),
    ({"client-certificate": "/no/such/crt", "client-key": "/no/such/key"}, "/no/such/crt"),
    ({"client-certificate-data": encoded(USER.certificate_pem)}, "without its key"),
    ({"client-certificate-data": "%", "client-key-data": SECRET}, "not base64"),
    ({"client-certificate-data": encoded(b"x"), "client-key-data": encoded(SECRET.encode())}, "no PEM pair"),
    ({"token": SECRET, "as": "a", "as-groups": ["b", "c"]}, "not supported"),
]


@pytest.mark.parametrize(("user", "message"), USERS)
def test_a_credential_that_is_not_there_is_a_fault(api: Api, user: dict[str, Any], message: str) -> None:
    found = failure(api, api.kubeconfig(user))
    assert (found.code, found.path) == ("MSH032", "kubernetes:context")
    assert message in found.message


def test_a_user_that_is_not_there_is_a_fault(api: Api) -> None:
    found = failure(api, api.kubeconfig({"token": SECRET}) | {"users": [{"name": "x", "user": {}}]})
    assert (found.code, found.message) == ("MSH032", "The kubeconfig has no user 'u', which the context names.")


def test_a_plugin_is_asked_again_when_its_token_has_expired(api: Api, tmp_path: Path) -> None:
    turns = tmp_path / "turns"
    body = f"open({str(turns)!r}, 'a').write('x')\ntoken = str(len(open({str(turns)!r}).read()))\n"
    user = plugin(tmp_path, body + credential("{'token': token}"), env=[{"name": "A", "value": "b"}])
    cluster = Cluster(api.kubeconfig(user))
    assert (cluster.version(), turns.read_text()) == ("v1.36.3", "x")
    api.accepted = "Bearer 2"
    assert cluster.objects("v1", "Secret", "istio-system") == []
    assert turns.read_text() == "xx"


PROGRAM = """
import json, os, signal, sys
from stacks.cluster import Cluster
Cluster(json.load(sys.stdin)).objects("v1", "Namespace")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("source", ["kubeconfig", "plugin"])
def test_a_killed_run_leaves_no_key_and_the_certificate_was_used(api: Api, tmp_path: Path, source: str) -> None:
    user: dict[str, Any] = {
        "client-certificate-data": encoded(USER.certificate_pem),
        "client-key-data": encoded(USER.key_pem),
    }
    if source == "plugin":
        pair = {"clientCertificateData": USER.certificate_pem.decode(), "clientKeyData": USER.key_pem.decode()}
        user = plugin(tmp_path, credential(repr(pair)))
    folder = tmp_path / "temporary"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(api.kubeconfig(user)),
        env={**os.environ, "TMPDIR": str(folder)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(folder.iterdir()) == []
    assert "/api/v1/namespaces" in api.asked
    assert all(dict(pair[0] for pair in seen["subject"])["commonName"] == "ops" for seen in api.certificates)


def test_kinds_are_those_that_discovery_lists_and_each_document_is_asked_for_once(api: Api) -> None:
    cluster = Cluster(api.kubeconfig({"token": SECRET}))
    assert cluster.objects("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy") == []
    listing = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    assert api.asked.pop() == listing
    for _ in range(3):
        # Not installed yet: neither the group, nor a version of it, nor a kind in it.
        assert cluster.objects("networking.istio.io/v1", "VirtualService", "bookinfo") == []
        assert cluster.objects("admissionregistration.k8s.io/v9", "Any") == []
        assert cluster.objects("v1", "Horse") == []
    # The last one is asked in the version that there is.
    assert api.asked == ["/apis", "/apis/admissionregistration.k8s.io/v1", "/api", "/api/v1"]


def test_an_object_is_found_in_another_version_of_its_kind(api: Api) -> None:
    """An older Istio serves its kinds in v1beta1 only, until this very `up` updates them."""
    version = "networking.istio.io/v1beta1"
    api.answers["/apis"] = (200, {"groups": [{"name": "networking.istio.io", "versions": [{"groupVersion": version}]}]})
    entry = {"name": "virtualservices", "kind": "VirtualService", "namespaced": True}
    api.answers[f"/apis/{version}"] = (200, {"resources": [entry]})
    item = {"metadata": {"name": "reviews"}}
    api.answers[f"/apis/{version}/namespaces/bookinfo/virtualservices"] = (200, {"items": [item]})
    cluster = Cluster(api.kubeconfig({"token": SECRET}))
    assert cluster.objects("networking.istio.io/v1", "VirtualService", "bookinfo") == [item]


BROKEN: list[tuple[int, Any]] = [
    (404, b"404 page not found"),
    (503, {"message": "service unavailable"}),
    (200, []),
    (200, {"groups": [5], "resources": [5]}),
]


@pytest.mark.parametrize(("status", "body"), BROKEN)
@pytest.mark.parametrize("path", ["/apis", "/apis/apps/v1"])
def test_discovery_that_fails_is_never_an_empty_answer(api: Api, path: str, status: int, body: Any) -> None:
    api.answers[path] = (status, body)
    cluster = Cluster(api.kubeconfig({"token": SECRET}))
    for _ in range(2):
        with pytest.raises(ClusterError) as caught:
            cluster.objects("apps/v1", "Deployment", "bookinfo")
        fault = caught.value.diagnostics[0]
        assert fault.code == "MSH033"
        assert re.search(rf"get {path}[: ]", fault.message)
    # Three times more where the server says that it is busy.
    assert api.asked.count(path) == (4 if status == HTTPStatus.SERVICE_UNAVAILABLE else 1)


def test_what_is_changed_is_named_by_its_verb_and_a_kind_that_is_not_served_is_a_fault(api: Api) -> None:
    cluster = Cluster(api.kubeconfig({"token": SECRET}))
    cluster.delete(ObjectRef("v1", "Secret", "old", "istio-system"))
    assert api.deleted == [f"{SECRETS}/old"]
    api.refused = (f"{SECRETS}/old",)
    with pytest.raises(ClusterError, match="may not delete secrets old in the namespace istio-system"):
        cluster.delete(ObjectRef("v1", "Secret", "old", "istio-system"))
    with pytest.raises(ClusterError, match="does not serve the kind VirtualService"):
        cluster.apply(
            {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a"}}, "m"
        )


def test_pods_and_services_are_read_through_the_server(api: Api) -> None:
    cluster = Cluster(api.kubeconfig({"token": SECRET}))
    pod = "/api/v1/namespaces/bookinfo/pods/a:15090/proxy/stats/prometheus"
    service = "/api/v1/namespaces/prometheus/services/prometheus:9090/proxy/api/v1/query"
    asked = f"{service}?query=up%7Ba%3D%22b%22%7D"
    api.answers |= {pod: (200, b"up 1\n"), asked: (200, {"status": "success"})}
    assert cluster.pod_text("bookinfo", "a", 15090, "stats/prometheus") == "up 1\n"
    answer = cluster.service_text("prometheus", "prometheus", 9090, "api/v1/query", {"query": 'up{a="b"}'})
    assert json.loads(answer) == {"status": "success"}
    for body, said in (({"error": "bad_data: parse"}, "bad_data: parse"), (b"no endpoints", "400")):
        api.answers[asked] = (400, body)
        with pytest.raises(ClusterError, match=said):
            cluster.service_text("prometheus", "prometheus", 9090, "api/v1/query", {"query": 'up{a="b"}'})


def test_a_view_asks_for_each_list_once_and_for_nothing_more_when_the_server_is_gone(api: Api) -> None:
    view = ClusterView(Cluster(api.kubeconfig({"token": SECRET})), "")
    for _ in range(2):
        assert view.objects("v1", "Node") == view.metadata("v1", "Secret", "istio-system") == []
    assert [path for path in api.asked if "api/v1/" in path] == ["/api/v1/nodes", SECRETS]
    assert view.diagnostics == []
    lost = ClusterView(Cluster(api.kubeconfig({"token": SECRET}, server="https://127.0.0.1:1")), "")
    assert lost.objects("v1", "Node") == lost.objects("v1", "Secret") == []
    assert {fault.code for fault in lost.diagnostics} == {"MSH023"}
    assert len({fault.message for fault in lost.diagnostics}) == 1


@pytest.mark.parametrize(
    ("mesh", "mesh_version", "kubernetes", "codes"),
    [
        ("istio", "1.30.3", "v1.31.9", ["MSH025"]),
        ("istio", "1.30.3", "v1.32.0", []),
        ("istio", "1.30.3", "v1.36.3+k3s1", []),
        ("istio", "1.30.3", "v1.37.0", ["MSH035"]),
        ("istio", "1.29.6", "v1.31.0-gke.1", []),
        ("istio", "1.29.6", "v1.36.0", ["MSH035"]),
        # Linkerd's own range, whatever Istio's is.
        ("linkerd", "2026.8.3", "v1.30.14", ["MSH025"]),
        ("linkerd", "2026.8.3", "v1.31.0", []),
        ("linkerd", "2026.12.1", "v1.36.0", []),
        ("linkerd", "2026.8.3", "v2.0.0", ["MSH035"]),
        ("linkerd", "2026.8.3", "", []),
    ],
)
def test_a_cluster_that_is_too_old_is_refused_and_one_that_is_too_new_is_a_warning(
    mesh: str, mesh_version: str, kubernetes: str, codes: list[str]
) -> None:
    found = check_version(kubernetes, MESHES[mesh].versions.kubernetes_for(mesh_version))
    assert [fault.code for fault in found] == codes
    assert errors(found) == [fault for fault in found if fault.code == "MSH025"]


def test_every_supported_version_of_a_mesh_has_a_range_of_kubernetes_of_its_own() -> None:
    for mesh in MESHES.values():
        (first, last), ranges = mesh.versions.supported, mesh.versions.kubernetes
        assert min(ranges) == first
        assert max(ranges) <= last
        for at in (first, last):
            oldest, newest = mesh.versions.kubernetes_for(f"{at[0]}.{at[1]}.0")
            assert oldest < newest
            assert (oldest, newest) == ranges[max(since for since in ranges if since <= at)]
