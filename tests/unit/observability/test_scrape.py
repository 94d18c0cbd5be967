"""Scrape jobs: accepted by the real promtool, and no pod may speak for another."""

from pathlib import Path

import pytest

from components.meshes.istio.metrics import ENVOY_METRICS, ISTIO_METRICS
from components.meshes.linkerd.metrics import LINKERD_METRICS
from components.observability.source import MetricsSource
from tests import promtool

SOURCES = pytest.mark.parametrize(
    "source", [ISTIO_METRICS, ENVOY_METRICS, LINKERD_METRICS], ids=lambda source: source.name
)


@SOURCES
def test_the_jobs_are_a_configuration_of_prometheus(source: MetricsSource, tmp_path: Path) -> None:
    jobs = [dict(job) for job in source.jobs("mesh-system")]
    # Debian's promtool is built without the discovery of Kubernetes.
    found = [job.pop("kubernetes_sd_configs") for job in jobs]
    promtool.check_config(tmp_path, {"scrape_configs": jobs})
    assert {item["role"] for configs in found for item in configs} == {"pod"}


@SOURCES
def test_labels_come_from_the_api_server_and_samples_are_limited(source: MetricsSource) -> None:
    for job in source.jobs("mesh-system"):
        assert job["honor_labels"] is False and job["sample_limit"] and job["label_limit"]
        written = {item["target_label"] for item in job["relabel_configs"] if "target_label" in item}
        assert {"namespace", "pod", "app", "version"} <= written
        assert all(item.get("action") != "labelmap" for item in job["relabel_configs"])


@SOURCES
def test_only_the_metrics_of_the_agent_are_taken_from_the_port_that_applications_share(source: MetricsSource) -> None:
    for job in source.jobs("mesh-system"):
        kept = [item["regex"] for item in job.get("metric_relabel_configs", ()) if item["action"] == "keep"]
        assert kept == (["istio_agent_.*"] if job["job_name"] == "meshup-istio-agents" else [])
