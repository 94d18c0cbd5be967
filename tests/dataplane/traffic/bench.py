"""The mesh that routes are tried in: objects go in, requests go out from productpage, Envoy is asked what it has."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from components.traffic import Compilation, Service
from devcluster import traffic
from devcluster.embedded import Embedded
from devcluster.kubelet import registry
from devcluster.kubelet.registry import RunningPod
from devcluster.workload import ADMIN_PORT
from tests.dataplane.traffic import kube_batch, request_batch
from tests.dataplane.traffic.request_batch import Answer, Sent

Manifest = dict[str, Any]
T = TypeVar("T")

NAMESPACE = "bookinfo"
PORT = 9080
ENVOY_ADMIN = 15000
# Only ends a test that would hang: no machine is so busy.
_SECONDS = 600.0

_FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=120).read().decode())"


def until(ask: Callable[[], T]) -> T:
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + _SECONDS
    while not (answer := ask()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return answer


def host(service: str) -> str:
    """The name by which requests ask for a Service."""
    return f"{service}.{NAMESPACE}.svc.cluster.local"


def kubernetes_service(service: Service) -> Manifest:
    """The Service that a route is about, as its owner would have made it."""
    ports = [{"name": f"http-{port.number}", "port": port.number, "appProtocol": "http"} for port in service.ports]
    spec = {"selector": dict(service.selector), "ports": ports}
    metadata = {"name": service.name, "namespace": service.namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


class Bench:
    """One mesh with Bookinfo, with the Gateway API."""

    def __init__(self, embedded: Embedded) -> None:
        self.embedded = embedded
        self._folder = registry.pods_folder(embedded.cluster.name)
        self.source = traffic.find_pod(embedded.cluster.name, NAMESPACE, {"app": "productpage"})
        self._address = registry.service(self._folder, NAMESPACE, "reviews").address

    def apply(self, items: Iterable[Manifest]) -> None:
        """Apply objects."""
        kube_batch.apply(self.embedded, items)

    def delete(self, items: Iterable[Manifest]) -> None:
        """Delete objects."""
        kube_batch.delete(self.embedded, items)

    def send(self, requests: Sequence[Sent], connections: int = 4, port: int = PORT) -> list[Answer]:
        """Send requests from productpage, through its sidecar."""
        return request_batch.send(self.source.enter_argv, self._address, port, requests, connections=connections)

    def pod(self, **labels: str) -> RunningPod:
        """The one pod of Bookinfo with these labels."""
        (found,) = registry.running(self._folder, NAMESPACE, labels)
        return found

    def requests_by_path(self, pod: RunningPod) -> Mapping[str, int]:
        """How many requests reached a workload, by path, since it was started."""
        return cast("Mapping[str, int]", json.loads(_fetched(pod, ADMIN_PORT, "requests"))["byPath"])

    def until_routed(self, compilation: Compilation) -> None:
        """Wait until the Envoy of productpage has the routes and destinations that were compiled.

        istiod writes into each what it was made from (pilot/pkg/networking/util, AddConfigInfoMetadata).
        """
        routed = {
            f"{plan.route.service.host}:{plan.route.port.number}" for plan in compilation.planned if plan.route.rules
        }
        rules = {
            f'/destination-rule/{item["metadata"]["name"]}"'
            for item in compilation.manifests
            if item["kind"] == "DestinationRule"
        }
        until(lambda: rules <= _present(rules, self.envoy_has(self.source, "dynamic_active_clusters")))
        until(lambda: routed <= _virtual_hosts(self.envoy_has(self.source, "dynamic_route_configs")))

    def route_of(self, service: str, path: str) -> Mapping[str, Any]:
        """The action by which the Envoy of productpage sends requests to a Service with this path, or path prefix."""
        for config in json.loads(self.envoy_has(self.source, "dynamic_route_configs"))["configs"]:
            for virtual_host in config["route_config"].get("virtual_hosts", []):
                if virtual_host["name"] == f"{host(service)}:{PORT}":
                    for route in virtual_host["routes"]:
                        if path in route["match"].values():
                            return route
        raise AssertionError(f"no route of {service} has the path {path}")

    def access_log(self, path: str) -> list[str]:
        """The response flags that the Envoy of productpage noted for each request with a path, such as `DI`.

        https://www.envoyproxy.io/docs/envoy/v1.38.0/configuration/observability/access_log/usage (RESPONSE_FLAGS).
        """
        log = (self.source.folder / "logs" / "istio-proxy.log").read_text(errors="replace")
        return re.findall(rf'"[A-Z]+ {re.escape(path)} HTTP/1.1" \d+ (\S+) ', log)

    def envoy_has(self, pod: RunningPod, resource: str) -> str:
        """A part of the configuration that the Envoy of a pod has, as JSON."""
        return _fetched(pod, ENVOY_ADMIN, f"config_dump?resource={resource}")


def _present(needles: Collection[str], text: str) -> set[str]:
    return {needle for needle in needles if needle in text}


def _virtual_hosts(dump: str) -> set[str]:
    """The virtual hosts of a dump of routes whose routes come from an object and are not the defaults."""
    found: set[str] = set()
    for config in json.loads(dump).get("configs", []):
        for virtual_host in config["route_config"].get("virtual_hosts", []):
            if any("istio" in r.get("metadata", {}).get("filter_metadata", {}) for r in virtual_host.get("routes", [])):
                found.add(virtual_host["name"])
    return found


def _fetched(pod: RunningPod, port: int, path: str) -> str:
    argv = pod.enter_argv([sys.executable, "-c", _FETCH, f"http://127.0.0.1:{port}/{path}"])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
