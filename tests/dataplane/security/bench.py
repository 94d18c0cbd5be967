"""The mesh that policies are tried in: pods of many accounts, callers of every kind, and what Envoy says.

Requests come by two ways. Through the sidecar of a pod, as an application's do. And straight to a port of a pod, from
the cluster's own network namespace: under a certificate that the mesh's authority signed for any account, or in plain
text, from any address that no pod has. The second is what the proxy of the called pod decides alone.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from devcluster.embedded import Embedded
from devcluster.kubelet import registry
from devcluster.kubelet.registry import RunningPod, ServiceAddress
from devcluster.kubelet.spec import HOST_ANNOTATION, RUN_ANNOTATION
from tests.dataplane.security.identities import Authority
from tests.dataplane.traffic import kube_batch, request_batch
from tests.dataplane.traffic.bench import ENVOY_ADMIN, until
from tests.dataplane.traffic.request_batch import Answer, Sent

Manifest = dict[str, Any]

ROOT = "istio-system"
TRUST_DOMAIN = "cluster.local"
MARK = "mark"
SECURITY_API = "security.istio.io/v1"

# An old connection has the policies of its time until its proxy has drained it: by default 45 s (meshConfig,
# defaultConfig.drainDuration).
_PROXY = {"proxy.istio.io/config": "drainDuration: 1s\n"}
# Of one request: nobody is slow here, so it only ends what would hang.
_SECONDS = 30.0
_READ = """
import http.client, sys
port, method, path = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port))
connection.request(method, path, headers={"content-length": "0"})
sys.stdout.buffer.write(connection.getresponse().read())
"""


def metadata(namespace: str, name: str, **more: Any) -> Manifest:
    """The metadata of an object; what is not given is left out."""
    return {"namespace": namespace, "name": name, **{key: value for key, value in more.items() if value}}


def namespace(name: str, *, meshed: bool = True) -> Manifest:
    """A namespace, in the mesh or not."""
    labels = {"istio-injection": "enabled"} if meshed else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def account(namespace: str, name: str) -> Manifest:
    """A service account."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(namespace, name)}


def pod(
    namespace: str,
    name: str,
    ports: Sequence[int],
    *,
    account: str = "default",
    meshed: bool = True,
    host: str = "",
    probe: Mapping[str, Any] | None = None,
    gateway: bool = False,
) -> Manifest:
    """A pod that answers on its ports. A host is a name by which it is known everywhere; a gateway is only a proxy."""
    annotations = {**(_PROXY if meshed else {RUN_ANNOTATION: "true"}), **({HOST_ANNOTATION: host} if host else {})}
    container: Manifest = {"name": name, "image": name, "ports": [{"containerPort": port} for port in ports]}
    if gateway:
        # As Istio's chart `gateway` has it.
        annotations["inject.istio.io/templates"] = "gateway"
        container = {"name": "istio-proxy", "image": "auto"}
    if probe:
        container["livenessProbe"] = dict(probe)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(namespace, name, labels={"app": name}, annotations=annotations),
        "spec": {"serviceAccountName": account, "terminationGracePeriodSeconds": 1, "containers": [container]},
    }


def service(namespace: str, name: str, ports: Sequence[Mapping[str, Any]], selector: Mapping[str, str]) -> Manifest:
    """A Service."""
    spec = {"selector": dict(selector), "ports": [dict(port) for port in ports]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(namespace, name), "spec": spec}


def policy(
    namespace: str, name: str, spec: Mapping[str, Any], kind: str = "AuthorizationPolicy", **annotations: str
) -> Manifest:
    """An object of Istio's security API."""
    about = metadata(namespace, name, annotations=annotations)
    return {"apiVersion": SECURITY_API, "kind": kind, "metadata": about, "spec": dict(spec)}


def identity(namespace: str, account: str, trust_domain: str = TRUST_DOMAIN) -> str:
    """The SPIFFE identity of an account."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}"


class Bench:
    """One mesh with callers and called."""

    def __init__(self, embedded: Embedded, folder: Path) -> None:
        """Take a mesh that runs.

        Args:
            embedded: Its cluster.
            folder: For certificates.
        """
        self.embedded = embedded
        self._pods = registry.pods_folder(embedded.cluster.name)
        self._marks = count()
        data = json.loads(self.kubectl("get", "secret", "istio-ca-secret", "--namespace", ROOT, "-o", "json"))["data"]
        certificate, key = (base64.b64decode(data[name]) for name in ("ca-cert.pem", "ca-key.pem"))
        self.authority = Authority(certificate, key, folder)

    # -- objects -------------------------------------------------------------------------------------------------

    def apply(self, items: Iterable[Manifest]) -> None:
        """Apply objects in their order."""
        kube_batch.apply(self.embedded, items)

    def delete(self, items: Iterable[Manifest]) -> None:
        """Delete objects in the reverse of their order, and wait until they are gone."""
        kube_batch.delete(self.embedded, items)

    @contextmanager
    def applied(
        self, items: Sequence[Manifest], called: Iterable[RunningPod], *, drained: bool = False
    ) -> Generator[None]:
        """Have objects for as long as the body of the `with` statement runs, known to the proxies of some pods."""
        try:
            self.apply(items)
            self.settle(called, drained=drained)
            yield
        finally:
            self.delete(items)

    def settle(self, called: Iterable[RunningPod], *, drained: bool = False) -> None:
        """Wait until the proxies of some pods have every policy that the API has.

        istiod is asked whether it has each object in the version that the API has. Then the mark changes, a policy that
        only logs, for all workloads: istiod sends it together with whatever was there before.

        Args:
            called: The pods.
            drained: Whether older connections, which keep the policies of their time, must have ended too.
        """
        wanted = self._versions()
        until(lambda: wanted == self._known())
        path = f"/mark-{next(self._marks)}."
        self.apply([policy(ROOT, MARK, {"action": "AUDIT", "rules": [{"to": [{"operation": {"paths": [path]}}]}]})])

        def wait(one: RunningPod) -> None:
            until(
                lambda: path in self.envoy(one, "GET /config_dump?resource=dynamic_listeners&name_regex=virtualInbound")
            )
            until(lambda: not drained or self.stats(one, "listener_manager.total_filter_chains_draining") == 0)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(wait, called))

    def until_ready(self, items: Iterable[Manifest]) -> None:
        """Wait until the pods among some objects are ready."""
        for space in sorted({item["metadata"]["namespace"] for item in items if item["kind"] == "Pod"}):
            self.kubectl("wait", "pod", "--all", "--namespace", space, "--for=condition=Ready", "--timeout=600s")

    def close(self) -> None:
        """Take the mark away."""
        self.delete([policy(ROOT, MARK, {})])

    def _versions(self) -> set[tuple[str, str, str, str]]:
        """What the API has of Istio's kinds: kind, namespace, name, version."""
        kinds = ("peerauthentications", "requestauthentications", "authorizationpolicies")
        groups = [f"{kind}.security.istio.io" for kind in kinds] + [
            f"{kind}.networking.istio.io" for kind in ("sidecars", "serviceentries")
        ]
        listed = json.loads(self.kubectl("get", ",".join(groups), "--all-namespaces", "-o", "json"))["items"]
        return {_version(item) for item in listed if item["metadata"]["name"] != MARK}

    def _known(self) -> set[tuple[str, str, str, str]]:
        """What istiod has of them."""
        (istiod,) = registry.running(self._pods, ROOT, {"app": "istiod"})
        kinds = ("PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy", "Sidecar", "ServiceEntry")
        listed = json.loads(self._read(istiod, 15014, "GET /debug/configz"))
        return {_version(item) for item in listed if item["kind"] in kinds and item["metadata"]["name"] != MARK}

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl."""
        argv = self.embedded.cluster.exec_argv(["kubectl", *arguments])
        done = subprocess.run(argv, env=self.embedded.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def namespaces(self) -> set[str]:
        """The namespaces that are there."""
        return set(self.kubectl("get", "namespaces", "-o", "name").replace("namespace/", "").split())

    # -- places --------------------------------------------------------------------------------------------------

    def pod(self, namespace: str, **labels: str) -> RunningPod:
        """The pod with these labels, once it runs; the first of several."""
        return until(lambda: registry.running(self._pods, namespace, labels))[0]

    def service(self, namespace: str, name: str) -> ServiceAddress:
        """Where a Service is."""
        return registry.service(self._pods, namespace, name)

    # -- requests ------------------------------------------------------------------------------------------------

    def certificate(self, namespace: str, account: str, trust_domain: str = TRUST_DOMAIN) -> str:
        """The file with the certificate of an account."""
        return self.authority.issued(identity(namespace, account, trust_domain))

    def straight(self, requests: Sequence[Sent], connections: int = 4) -> list[Answer]:
        """Send requests from the cluster's own namespace; each says where to."""
        return request_batch.send(
            self.embedded.cluster.exec_argv, "", 0, requests, connections=connections, timeout=_SECONDS
        )

    def through(self, source: RunningPod, requests: Sequence[Sent], connections: int = 2) -> list[Answer]:
        """Send requests from a pod, through its sidecar if it has one; each says where to."""
        return request_batch.send(source.enter_argv, "", 0, requests, connections=connections, timeout=_SECONDS)

    def run(self, source: RunningPod | None, *arguments: str) -> str:
        """Run a program in Python with arguments where a pod is, or in the cluster's own namespace."""
        argv = [sys.executable, "-S", "-I", "-c", *arguments]
        argv = source.enter_argv(argv) if source else self.embedded.cluster.exec_argv(argv)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def reachable(self, address: str, port: int) -> bool:
        """Whether something takes a plain connection there, and answers."""
        return self.straight([Sent("x", address=address, port=port)])[0].status > 0

    # -- Envoy ---------------------------------------------------------------------------------------------------

    def envoy(self, pod: RunningPod, ask: str) -> str:
        """What the admin interface of a pod's Envoy answers, such as to `GET /clusters`."""
        return self._read(pod, ENVOY_ADMIN, ask)

    def stats(self, pod: RunningPod, pattern: str) -> int:
        """The sum of the counters and gauges of a pod's Envoy whose names a pattern finds."""
        text = self.envoy(pod, f"GET /stats?format=json&type=Gauges&filter={pattern}")
        more = self.envoy(pod, f"GET /stats?format=json&type=Counters&filter={pattern}")
        return sum(one["value"] for part in (text, more) for one in json.loads(part)["stats"])

    def log(self, pod: RunningPod) -> str:
        """The access log of a pod's Envoy."""
        return (pod.folder / "logs" / "istio-proxy.log").read_text(errors="replace")

    def _read(self, pod: RunningPod, port: int, ask: str) -> str:
        return self.run(pod, _READ, str(port), *ask.split())


def _version(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    about = item["metadata"]
    return item["kind"], about["namespace"], about["name"], about["resourceVersion"]
