"""Rules and scrape jobs as objects of the Prometheus operator. Pure.

Source of the facts: prometheus-operator v0.93.1 (pkg/prometheus/promcfg.go, generatePodMonitorConfig). A PodMonitor
becomes a scrape job. The operator adds the labels `namespace`, `pod` and `container` before the relabelling of the
monitor, which therefore means the same as in a job; without a port it keeps every port of a pod, and the relabelling
chooses. Every job of a mesh is about pods, so that there is no ServiceMonitor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..manifests import Manifest, manifest
from .promql import INTERVAL_SECONDS, RuleGroup

API_VERSION = "monitoring.coreos.com/v1"
CRDS = ("podmonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com")
"""The definitions without which the objects can't be made."""
LARGEST_GROUP = 500_000
"""Bytes of a group of rules: the operator takes objects of at most half a MiB (pkg/operator/rules.go)."""


def rule_objects(groups: Iterable[RuleGroup], namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
    """Return a PrometheusRule for each group.

    Args:
        groups: The groups of rules.
        namespace: The namespace of the objects.
        labels: By which a Prometheus of the operator selects them.
    """
    return [_labelled("PrometheusRule", one.name, namespace, labels, {"groups": [one.plain()]}) for one in groups]


def pod_monitors(jobs: Iterable[Mapping[str, Any]], namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
    """Return a PodMonitor for each scrape job, as `scrape.pod_job` makes it; arguments as for `rule_objects`."""
    return [_labelled("PodMonitor", job["job_name"], namespace, labels, _monitor(job)) for job in jobs]


def _monitor(job: Mapping[str, Any]) -> Manifest:
    (discovery,) = job["kubernetes_sd_configs"]
    names: Sequence[str] = discovery.get("namespaces", {}).get("names", [])
    endpoint: Manifest = {
        "path": job["metrics_path"],
        "interval": f"{INTERVAL_SECONDS}s",
        "honorLabels": job["honor_labels"],
        "relabelings": [
            *map(_relabelling, job["relabel_configs"]),
            # The operator's own text for `job` has the name of the namespace in it.
            {"action": "replace", "targetLabel": "job", "replacement": job["job_name"]},
        ],
    }
    if "metric_relabel_configs" in job:
        endpoint["metricRelabelings"] = [_relabelling(one) for one in job["metric_relabel_configs"]]
    return {
        "selector": {},
        "namespaceSelector": {"matchNames": list(names)} if names else {"any": True},
        "sampleLimit": job["sample_limit"],
        "labelLimit": job["label_limit"],
        "podMetricsEndpoints": [endpoint],
    }


def _relabelling(rule: Mapping[str, Any]) -> Manifest:
    return {_camel(key): value for key, value in rule.items()}


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(map(str.capitalize, others))


def _labelled(kind: str, name: str, namespace: str, labels: Mapping[str, str], spec: Manifest) -> Manifest:
    made = manifest(API_VERSION, kind, name, namespace, spec)
    made["metadata"]["labels"] |= dict(sorted(labels.items()))
    return made
