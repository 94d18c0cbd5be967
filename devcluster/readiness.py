"""Asks the components of the embedded cluster whether they are ready. `cluster.py` runs it in its network namespace.

Standard library only, since a namespace can only be joined by a new process and that should start fast.
"""

import http.client
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

NODE_ANNOTATION = "kwok.x-k8s.io/node"
"""Marks the nodes that kwok plays."""

_POLL_SECONDS = 0.1
_REQUEST_SECONDS = 5.0
_CONFLICT = 409
_NOT_READY_TAINT = "node.kubernetes.io/not-ready"


@dataclass(frozen=True)
class Question:
    """What is waited for, and how the API server is reached."""

    server: str
    """The API server's address."""
    authority: str
    """Path of the PEM certificate of its authority."""
    certificate: str
    key: str
    timeout: float = 60.0
    """Seconds to wait for everything to be ready."""
    health: Mapping[str, str] = field(default_factory=dict[str, str])
    """The components that answer for themselves: name to URL."""
    nodes: Sequence[str] = ()
    """The nodes to have; those that are missing are created."""

    def to_json(self) -> str:
        """Return the question as the argument of this module."""
        return json.dumps(asdict(self))


def node_manifest(name: str) -> dict[str, Any]:
    """Return the Node that stands for this machine; kwok fills in its status."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {NODE_ANNOTATION: "fake"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        },
    }


def node_fault(node: Mapping[str, Any]) -> str:
    """Return why pods can't be scheduled on a node, or an empty text."""
    conditions: list[dict[str, Any]] = node.get("status", {}).get("conditions") or []
    if not any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions):
        return "is not Ready"
    taints: list[dict[str, Any]] = node.get("spec", {}).get("taints") or []
    return "has the not-ready taint" if any(t.get("key") == _NOT_READY_TAINT for t in taints) else ""


class Asker:
    """Asks one API server."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._context = ssl.create_default_context(cafile=question.authority)
        self._context.load_cert_chain(question.certificate, question.key)
        # The other components sign their certificates themselves, in memory.
        self._lenient = ssl._create_unverified_context()  # noqa: S323 # pyright: ignore[reportPrivateUsage]

    def request(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a GET, or a POST of a body, and return the answer's JSON, or its text where it is not JSON."""
        url = self._question.server + path
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - our own URL
        with _open(request, self._context) as answer:
            text = answer.read()
        try:
            return json.loads(text)
        except ValueError:
            return text.decode(errors="replace")

    def faults(self) -> list[str]:
        """Return what is not ready yet, or an empty list. Create the nodes that are missing."""
        try:
            self.request("/readyz")
        except OSError as error:
            return [f"kube-apiserver is not ready ({_reason(error)})"]
        found: list[str] = []
        for name, url in self._question.health.items():
            try:
                with _open(urllib.request.Request(url), self._lenient):  # noqa: S310 - our own URL
                    pass
            except OSError as error:
                found.append(f"{name} is not healthy ({_reason(error)})")
        if self._question.nodes and not found:
            found += self._missing()
        return found

    def summary(self) -> dict[str, Any]:
        """Return the nodes, with what keeps each from being used, and the number of pods by phase."""
        nodes = self.request("/api/v1/nodes")["items"]
        phases: dict[str, int] = {}
        for pod in self.request("/api/v1/pods")["items"]:
            phase = pod.get("status", {}).get("phase") or "Unknown"
            phases[phase] = phases.get(phase, 0) + 1
        return {"nodes": {node["metadata"]["name"]: node_fault(node) for node in nodes}, "pods": phases}

    def _missing(self) -> list[str]:
        found: list[str] = []
        nodes = {node["metadata"]["name"]: node for node in self.request("/api/v1/nodes")["items"]}
        for name in self._question.nodes:
            if name in nodes:
                fault = node_fault(nodes[name])
                found += [f"node {name} {fault}"] if fault else []
                continue
            found.append(f"node {name} is not there")
            try:
                self.request("/api/v1/nodes", node_manifest(name))
            except urllib.error.HTTPError as error:
                if error.code != _CONFLICT:
                    raise
        accounts = self.request("/api/v1/namespaces/default/serviceaccounts")["items"]
        if not any(account["metadata"]["name"] == "default" for account in accounts):
            found.append("namespace default has no service account yet")
        return found

    def wait(self) -> list[str]:
        """Wait until everything is ready, and return what is not when the time is up."""
        deadline = time.monotonic() + self._question.timeout
        while True:
            try:
                found = self.faults()
            except (OSError, http.client.HTTPException) as error:
                found = [f"kube-apiserver: {_reason(error)}"]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(_POLL_SECONDS)


def _open(request: urllib.request.Request, context: ssl.SSLContext) -> Any:
    # No proxy: the address is this machine's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    return opener.open(request, timeout=_REQUEST_SECONDS)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    return str(getattr(error, "reason", error))


def main() -> int:
    """Wait for the cluster, or print its summary as JSON; the faults go to standard error."""
    command, argument = sys.argv[1:3]
    asker = Asker(Question(**cast("dict[str, Any]", json.loads(argument))))
    if command == "summary":
        try:
            print(json.dumps(asker.summary()))
        except (OSError, http.client.HTTPException) as error:
            print(_reason(error), file=sys.stderr)
            return 1
        return 0
    faults = asker.wait()
    print("\n".join(faults), file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
