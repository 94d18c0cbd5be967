"""Pods as targets of Prometheus, in the form that its discovery for Kubernetes gives them. Pure.

Debian builds Prometheus without that discovery. A file with the same labels takes its place (`file_sd_configs`), so
that the `relabel_configs` of a job do what they do on a real cluster.

Source of the labels: Prometheus, "Configuration", kubernetes_sd_config, role pod; discovery/kubernetes/pod.go (v3.14).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]

DISCOVERY = "kubernetes_sd_configs"
_META = "__meta_kubernetes_"
_POD = f"{_META}pod_"
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def targets(pods: Iterable[Object]) -> list[dict[str, Any]]:
    """Return the entries of a file of `file_sd_configs`: one for each port of each container of each pod.

    Args:
        pods: Pods as the API gives them. Those without an address yet are left out.
    """
    return [
        {"targets": [address], "labels": {**_labels(pod), **own}}
        for pod in pods
        if pod.get("status", {}).get("podIP")
        for address, own in _ports(pod)
    ]


def namespaces(job: Object) -> Sequence[str]:
    """Return the namespaces in which a job looks for pods; empty for all.

    Raises:
        ValueError: It looks for something else than pods.
    """
    (discovery,) = job[DISCOVERY]
    if discovery["role"] != "pod":
        raise ValueError(f"job {job['job_name']}: no file has the role {discovery['role']}")
    return discovery.get("namespaces", {}).get("names", ())


def with_files(job: Object, file: str) -> dict[str, Any]:
    """Return a scrape job with a file of targets in place of the discovery; nothing else of it changes."""
    return {key: value for key, value in job.items() if key != DISCOVERY} | {"file_sd_configs": [{"files": [file]}]}


def _labels(pod: Object) -> dict[str, str]:
    metadata, spec, status = pod["metadata"], pod["spec"], pod["status"]
    ready = [c["status"].lower() for c in status.get("conditions", ()) if c["type"] == "Ready"]
    result = {
        f"{_META}namespace": metadata["namespace"],
        f"{_POD}name": metadata["name"],
        f"{_POD}ip": status["podIP"],
        f"{_POD}ready": ready[0] if ready else "unknown",
        f"{_POD}phase": status.get("phase", ""),
        f"{_POD}node_name": spec.get("nodeName", ""),
        f"{_POD}host_ip": status.get("hostIP", ""),
        f"{_POD}uid": metadata["uid"],
    }
    for owner in metadata.get("ownerReferences", ()):
        if owner.get("controller"):
            result |= {f"{_POD}controller_kind": owner["kind"], f"{_POD}controller_name": owner["name"]}
    for kind, key in (("label", "labels"), ("annotation", "annotations")):
        entries: Mapping[str, str] = metadata.get(key) or {}
        for name, value in entries.items():
            safe = _NO_LABEL.sub("_", name)
            result |= {f"{_POD}{kind}_{safe}": value, f"{_POD}{kind}present_{safe}": "true"}
    return result


def _ports(pod: Object) -> Iterator[tuple[str, dict[str, str]]]:
    spec, address = pod["spec"], pod["status"]["podIP"]
    host = f"[{address}]" if ":" in address else address
    for init, group in (("false", "containers"), ("true", "initContainers")):
        for container in spec.get(group) or ():
            own = {
                f"{_POD}container_name": container["name"],
                f"{_POD}container_image": container.get("image", ""),
                f"{_POD}container_init": init,
            }
            if not container.get("ports"):
                yield address, own
            for port in container.get("ports") or ():
                number = str(port["containerPort"])
                yield (
                    f"{host}:{number}",
                    {
                        **own,
                        f"{_POD}container_port_number": number,
                        f"{_POD}container_port_name": port.get("name", ""),
                        f"{_POD}container_port_protocol": port.get("protocol", "TCP"),
                    },
                )
