"""Scrape jobs of Prometheus for the proxies and the control plane of a mesh, as plain data.

A pod may say anything in its own metrics, so what it says of `namespace`, `pod`, `app` and `version` never holds
(`honor_labels: false`, and the labels come from the API server); and no pod may fill the memory of Prometheus
(`sample_limit`, `label_limit`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MOST_SAMPLES = 20_000
"""Samples of one scrape. A sidecar with all statistics of 40 clusters has about 11,000 (256 a cluster, measured)."""
MOST_LABELS = 64
_LABELS = {
    "namespace": "__meta_kubernetes_namespace",
    "pod": "__meta_kubernetes_pod_name",
    "app": "__meta_kubernetes_pod_label_app",
    "version": "__meta_kubernetes_pod_label_version",
}


def of_job(pattern: str) -> str:
    """Return the part of a selector that chooses jobs by a regular expression of their names.

    A PodMonitor's job has its namespace before its name (Prometheus operator, PodMonitor, `jobLabel`).
    """
    return f'job=~"(.+/)?{pattern}"'


def pod_job(
    name: str,
    *,
    container: str,
    port_name: str,
    port: int = 0,
    path: str = "/metrics",
    namespace: str = "",
    keep: str = "",
    drop: str = "",
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a job that scrapes one port of each pod with some container.

    Args:
        name: The name of the job.
        container: A regular expression for the name of the container, which may be an init container.
        port_name: A regular expression for the name of a port that the container declares.
        port: Another port of the same pod to scrape, which it does not declare; 0 for that port.
        path: The path of the metrics.
        namespace: The only namespace; "" for all.
        keep: A regular expression for the metrics that are kept; "" for all.
        drop: One for those that are dropped; "" for none.
        labels: Further labels of every series -> the label of the pod that each is from. What a pod lacks it does not
            get.
    """
    discovery: dict[str, Any] = {"role": "pod"}
    if namespace:
        discovery["namespaces"] = {"names": [namespace]}
    relabelling: list[dict[str, Any]] = [
        {"action": "keep", "source_labels": ["__meta_kubernetes_pod_container_name"], "regex": container},
        {"action": "keep", "source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": port_name},
        {"action": "keep", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Running"},
    ]
    if port:
        for pattern, address in ((r"([0-9.]+)", "$1"), (r"(.*:.*)", "[$1]")):
            relabelling.append(
                {
                    "source_labels": ["__meta_kubernetes_pod_ip"],
                    "regex": pattern,
                    "target_label": "__address__",
                    "replacement": f"{address}:{port}",
                }
            )
    further = {label: f"__meta_kubernetes_pod_label_{_meta(own)}" for label, own in (labels or {}).items()}
    relabelling += [
        {"source_labels": [source], "target_label": label} for label, source in {**_LABELS, **further}.items()
    ]
    metrics = [{"action": "keep", "source_labels": ["__name__"], "regex": keep}] if keep else []
    metrics += [{"action": "drop", "source_labels": ["__name__"], "regex": drop}] if drop else []
    return {
        "job_name": name,
        "honor_labels": False,
        "metrics_path": path,
        "sample_limit": MOST_SAMPLES,
        "label_limit": MOST_LABELS,
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": relabelling,
        **({"metric_relabel_configs": metrics} if metrics else {}),
    }


def _meta(label: str) -> str:
    """Return a label of Kubernetes as Prometheus names it (util/strutil, SanitizeLabelName, v3.14)."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", label)
