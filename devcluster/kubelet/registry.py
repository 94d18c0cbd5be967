"""Where running pods are, read from what the kubelet writes down in the cluster's folder. Needs no API."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from devcluster import paths
from devcluster.netns import PodNamespace
from devcluster.processes import ProcessId

PODS = "pods"
POD_FILE = "pod.json"
SERVICES_FILE = "services.json"


@dataclass(frozen=True)
class RunningPod:
    """A pod whose processes run on this machine.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        labels: Its labels.
        address: Its address.
        pid: PID 1 of the pod, as seen outside it.
        folder: Its folder, with `logs/`.
    """

    namespace: str
    name: str
    labels: Mapping[str, str]
    address: str
    pid: int
    folder: Path

    def enter_argv(self, command: list[str]) -> list[str]:
        """Return the argument list that runs a command in the pod's network namespace, from the repository's folder.

        Raises:
            LookupError: The pod has ended meanwhile.
        """
        holder = ProcessId.of(self.pid)
        if holder is None:
            raise LookupError(f"pod {self.namespace}/{self.name} has ended")
        return PodNamespace(holder, self.address).enter_argv(command, paths.repository())


@dataclass(frozen=True)
class ServiceAddress:
    """Where a Service is asked."""

    address: str
    external: str
    """Its load balancer's address; empty if it has none."""
    ports: Mapping[str, int]
    """Port name (empty for an unnamed one) to number, in the order of the Service."""


def pods_folder(cluster: str) -> Path:
    """Return the folder in which a cluster's kubelet keeps its pods."""
    return paths.cluster_dir(cluster) / PODS


def running(folder: Path, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[RunningPod]:
    """Return the running pods, by name, that are in the namespace and have all of the labels."""
    found: list[RunningPod] = []
    for file in sorted(folder.glob(f"*/{POD_FILE}")):
        try:
            entry = cast("dict[str, Any]", json.loads(file.read_text()))
        except (OSError, ValueError):
            # It ended in this very moment.
            continue
        pod = RunningPod(
            entry["namespace"], entry["name"], entry["labels"], entry["address"], entry["pid"], file.parent
        )
        wanted = labels or {}
        if namespace in (None, pod.namespace) and wanted.items() <= pod.labels.items():
            found.append(pod)
    return found


def service(folder: Path, namespace: str, name: str) -> ServiceAddress:
    """Return where a Service is asked.

    Raises:
        LookupError: There is no such Service, or it has no cluster address.
    """
    try:
        entries = cast("dict[str, Any]", json.loads((folder / SERVICES_FILE).read_text()))
    except (OSError, ValueError):
        raise LookupError(f"no kubelet runs here: {folder / SERVICES_FILE} can't be read") from None
    entry = entries.get(f"{namespace}/{name}")
    if entry is None:
        known = ", ".join(sorted(entries)) or "none"
        raise LookupError(f"there is no Service {namespace}/{name} with a cluster address (there are: {known})")
    return ServiceAddress(entry["address"], entry["external"], entry["ports"])
