"""Targets of Prometheus from pods: the labels of its own discovery, so that our scrape jobs keep the right ones."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.meshes import MESHES
from components.observability.scrape import pod_job
from devcluster.observability import discovery, servers
from tests import promtool

POD: dict[str, Any] = {
    "metadata": {
        "name": "reviews-v2-1",
        "namespace": "shop",
        "uid": "1-2-3",
        "labels": {"app": "reviews", "version": "v2", "app.kubernetes.io/name": "other"},
        "annotations": {"prometheus.io/scrape": "true"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "reviews-v2", "controller": True}],
    },
    "spec": {
        "nodeName": "node",
        "containers": [
            {"name": "reviews", "image": "i", "ports": [{"containerPort": 9080}]},
            {
                "name": "istio-proxy",
                "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
            },
        ],
        "initContainers": [{"name": "istio-init"}],
    },
    "status": {
        "podIP": "10.0.0.1",
        "hostIP": "10.0.0.2",
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def relabelled(job: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, str] | None:
    """Do what Prometheus does with `relabel_configs`, as far as our jobs use it; None for a target that is dropped."""
    labels = {"__address__": target["targets"][0], **target["labels"]}
    for step in job["relabel_configs"]:
        value = ";".join(labels.get(name, "") for name in step["source_labels"])
        found = re.fullmatch(step.get("regex", "(.*)"), value)
        if step.get("action") == "keep" and not found:
            return None
        if step.get("action", "replace") == "replace" and found:
            labels[step["target_label"]] = found.expand(step.get("replacement", "$1").replace("$", "\\"))
    return labels


def kept(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [labels for target in discovery.targets(pods) if (labels := relabelled(job, target))]


def test_our_jobs_keep_the_proxy_of_a_pod_and_take_its_labels_from_the_api() -> None:
    wanted = {"namespace": "shop", "pod": "reviews-v2-1", "app": "reviews", "version": "v2"}
    jobs = {job["job_name"]: job for job in MESHES["istio"].metrics[1].jobs("istio-system")}
    for name, address in (("meshup-istio-proxies", "10.0.0.1:15090"), ("meshup-istio-agents", "10.0.0.1:15020")):
        (labels,) = kept(jobs[name], [POD])
        assert labels["__address__"] == address
        assert wanted.items() <= labels.items()
    assert not kept(jobs["meshup-istiod"], [POD])


def test_each_port_and_each_container_without_one_is_a_target_with_the_labels_of_prometheus() -> None:
    targets = discovery.targets([POD])
    assert [target["targets"] for target in targets] == [["10.0.0.1:9080"], ["10.0.0.1:15090"], ["10.0.0.1"]]
    labels = targets[0]["labels"]
    assert labels["__meta_kubernetes_pod_label_app_kubernetes_io_name"] == "other"
    assert labels["__meta_kubernetes_pod_annotation_prometheus_io_scrape"] == "true"
    assert labels["__meta_kubernetes_pod_annotationpresent_prometheus_io_scrape"] == "true"
    assert labels["__meta_kubernetes_pod_controller_name"] == "reviews-v2"
    assert labels["__meta_kubernetes_pod_ready"] == "true"
    assert labels["__meta_kubernetes_pod_container_port_name"] == ""
    assert [target["labels"]["__meta_kubernetes_pod_container_init"] for target in targets] == [
        "false",
        "false",
        "true",
    ]


def test_a_pod_without_an_address_is_no_target_and_ipv6_is_in_brackets() -> None:
    assert not discovery.targets([{**POD, "status": {"phase": "Pending"}}])
    six = {**POD, "status": {**POD["status"], "podIP": "fd00::1"}}
    assert discovery.targets([six])[0]["targets"] == ["[fd00::1]:9080"]


@given(st.dictionaries(st.from_regex(r"[A-Za-z0-9._/-]+", fullmatch=True), st.text()))
def test_labels_of_targets_are_names_that_prometheus_takes(labels: dict[str, str]) -> None:
    metadata = {**POD["metadata"], "labels": labels, "annotations": labels}
    for target in discovery.targets([{**POD, "metadata": metadata}]):
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in target["labels"])


def test_a_file_takes_the_place_of_the_discovery_and_nothing_else_changes(tmp_path: Any) -> None:
    jobs = MESHES["istio"].metrics[1].jobs("istio-system")
    made = servers.configuration(jobs, "rules.yml", "15s")
    for job, found in zip(jobs, made["scrape_configs"], strict=True):
        own = {key: value for key, value in job.items() if key != "kubernetes_sd_configs"}
        assert {key: value for key, value in found.items() if key != "file_sd_configs"} == own
    assert [discovery.namespaces(job) for job in jobs] == [(), (), ["istio-system"]]
    (tmp_path / "rules.yml").write_text("groups: []\n")
    promtool.check_config(tmp_path, made)


def test_another_role_than_pods_is_refused() -> None:
    job = {**pod_job("nodes", container="a", port_name="b"), "kubernetes_sd_configs": [{"role": "node"}]}
    with pytest.raises(ValueError, match="job nodes: no file has the role node"):
        discovery.namespaces(job)
