"""Workloads, as they are read from manifests and from live objects."""

from typing import Any

import pytest

from components.apps import APPS
from components.security.workloads import read_webhooks, read_workloads
from components.security.world import Probe, Webhook, Workload


def _pod(**spec: Any) -> dict[str, Any]:
    return {"containers": [{"name": "app", "image": "app"}], **spec}


def _workload(kind: str, spec: dict[str, Any], name: str = "shop", **metadata: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "shop"}, **metadata}, "spec": spec}
    made: dict[str, Any] = {"template": template}
    if kind == "CronJob":
        made = {"jobTemplate": {"spec": made}}
    return {"kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": made}


def _read(*manifests: dict[str, Any], **more: Any) -> tuple[Workload, ...]:
    return read_workloads(manifests, lambda _: True, **more)


def _one(spec: dict[str, Any], **metadata: Any) -> Workload:
    (found,) = _read(_workload("Deployment", spec, **metadata))
    return found


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"])
def test_a_workload_of_each_kind_has_the_account_and_labels_of_its_pods(kind: str) -> None:
    (found,) = _read(_workload(kind, _pod(serviceAccountName="seller")))
    assert (found.kind, found.name, str(found.identity)) == (kind, "shop", "shop/seller")
    assert found.labels == (("app", "shop"),)


def test_a_pod_by_itself_is_a_workload_and_one_that_has_ended_is_none() -> None:
    pod = {"kind": "Pod", "metadata": {"name": "once", "namespace": "shop"}, "spec": _pod()}
    assert [one.kind for one in _read(pod)] == ["Pod"]
    assert _read({**pod, "status": {"phase": "Succeeded"}}) == ()


def test_other_objects_are_no_workloads() -> None:
    assert _read({"kind": "Service", "metadata": {"name": "shop"}, "spec": {}}) == ()


def test_the_account_is_default_unless_the_pods_name_one() -> None:
    assert _one(_pod()).account == "default"
    assert _one(_pod(serviceAccount="old")).account == "old"


def test_objects_without_a_namespace_are_in_default() -> None:
    item = _workload("Job", _pod())
    del item["metadata"]["namespace"]
    assert _read(item)[0].namespace == "default"


def test_named_ports_are_those_of_all_containers_over_tcp() -> None:
    containers = [
        {"name": "app", "ports": [{"name": "http", "containerPort": 80}, {"containerPort": 9000}]},
        {"name": "dns", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
    ]
    first = [{"name": "init", "ports": [{"name": "seed", "containerPort": 7000, "protocol": "TCP"}]}]
    found = _one({"containers": containers, "initContainers": first})
    assert found.ports == (("http", 80), ("seed", 7000))
    assert found.declared == (80, 7000, 9000)


def test_probes_are_read_with_their_named_ports_and_without_their_query() -> None:
    container = {
        "name": "app",
        "ports": [{"name": "http", "containerPort": 8080}],
        "startupProbe": {"httpGet": {"port": "http"}},
        "livenessProbe": {"httpGet": {"port": 8080, "path": "live?full=1"}},
        "readinessProbe": {"tcpSocket": {"port": "http"}},
    }
    found = _one({"containers": [container, {"name": "two", "readinessProbe": {"grpc": {"port": 9000}}}]})
    assert found.probes == (
        Probe("http", 8080, "/"),
        Probe("http", 8080, "/live"),
        Probe("tcp", 8080),
        Probe("grpc", 9000),
    )


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"port": "none"}},
        {"httpGet": {"port": 80, "host": "elsewhere.example"}},
        {"tcpSocket": {"port": 80, "host": "10.0.0.1"}},
    ],
)
def test_a_probe_that_asks_no_port_of_the_pod_is_none(probe: dict[str, Any]) -> None:
    assert _one({"containers": [{"name": "app", "livenessProbe": probe}]}).probes == ()


def test_a_probe_by_a_command_asks_no_port() -> None:
    assert _one({"containers": [{"name": "app", "livenessProbe": {"exec": {"command": ["x"]}}}]}).probes == (
        Probe("exec"),
    )


def test_a_native_sidecar_has_probes_and_another_init_container_has_none() -> None:
    probe = {"readinessProbe": {"tcpSocket": {"port": 7000}}}
    stays = [{"name": "log", "restartPolicy": "Always", **probe}, {"name": "seed", **probe}]
    assert _one(_pod(initContainers=stays)).probes == (Probe("tcp", 7000),)


@pytest.mark.parametrize("name", ["istio-proxy", "linkerd-proxy"])
@pytest.mark.parametrize("place", ["containers", "initContainers"])
def test_the_containers_of_the_mesh_are_left_out(name: str, place: str) -> None:
    proxy = {
        "name": name,
        "restartPolicy": "Always",
        "ports": [{"name": "proxy", "containerPort": 4143}],
        "readinessProbe": {"httpGet": {"port": 15021, "path": "/healthz/ready"}},
    }
    spec = _pod()
    spec[place] = [*spec.get(place, []), proxy]
    found = _one(spec)
    assert (found.ports, found.declared, found.probes) == ((), (), ())


def test_probes_that_the_injector_of_istio_has_moved_are_read_as_they_were() -> None:
    moved = {"httpGet": {"path": "/app-health/app/readyz", "port": 15020}}
    before = '{"/app-health/app/readyz": {"httpGet": {"path": "/ready", "port": 8080}, "timeoutSeconds": 1}}'
    proxy = {"name": "istio-proxy", "env": [{"name": "ISTIO_KUBE_APP_PROBERS", "value": before}]}
    found = _one({"containers": [{"name": "app", "readinessProbe": moved}, proxy]})
    assert found.probes == (Probe("http", 8080, "/ready"),)


def test_scraping_is_read_from_annotations() -> None:
    def said(**keys: str) -> tuple[int, str] | None:
        container = {"name": "app", "ports": [{"containerPort": 9102}]}
        annotations = {f"prometheus.io/{key}": value for key, value in keys.items()}
        return _one({"containers": [container]}, annotations=annotations).scraped

    assert said(scrape="true", port="8801", path="/stats") == (8801, "/stats")
    assert said(scrape="true") == (9102, "/metrics")
    assert said(scrape="false", port="8801") is None
    assert said(port="8801") is None


def test_scraping_that_the_injector_of_istio_has_moved_is_read_as_it_was() -> None:
    moved = {"prometheus.io/scrape": "true", "prometheus.io/port": "15020", "prometheus.io/path": "/stats/prometheus"}

    def said(before: str) -> tuple[int, str] | None:
        proxy = {"name": "istio-proxy", "env": [{"name": "ISTIO_PROMETHEUS_ANNOTATIONS", "value": before}]}
        return _one({"containers": [{"name": "app"}, proxy]}, annotations=moved).scraped

    assert said('{"scrape": "true", "path": "", "port": "9080"}') == (9080, "/metrics")
    assert said('{"scrape": "", "path": "", "port": ""}') is None


@pytest.mark.parametrize(
    ("annotations", "bypassed"),
    [
        ({"config.linkerd.io/skip-inbound-ports": "25, 4000-4010"}, ((25, 25), (4000, 4010))),
        ({"traffic.sidecar.istio.io/excludeInboundPorts": "9090,15020"}, ((9090, 9090),)),
        ({"traffic.sidecar.istio.io/includeInboundPorts": "8080,9000"}, ((1, 8079), (8081, 8999), (9001, 65535))),
        ({"traffic.sidecar.istio.io/includeInboundPorts": ""}, ((1, 65535),)),
        ({"traffic.sidecar.istio.io/includeInboundPorts": "*"}, ()),
    ],
)
def test_ports_that_annotations_keep_away_from_the_sidecar_are_read(
    annotations: dict[str, str], bypassed: tuple[tuple[int, int], ...]
) -> None:
    assert _one(_pod(), annotations=annotations).bypassed == bypassed


def test_linkerd_reads_ports_to_skip_from_the_namespace_unless_the_pods_say_others() -> None:
    key = "config.linkerd.io/skip-inbound-ports"
    spaces = {"shop": {key: "25"}, "other": {key: "26"}}
    (found,) = _read(_workload("Deployment", _pod()), annotations=spaces)
    assert found.bypasses(25) and not found.bypasses(26)
    (found,) = _read(_workload("Deployment", _pod(), annotations={key: "27"}), annotations=spaces)
    assert found.bypassed == ((27, 27),)


def test_what_a_workload_asks_istio_not_to_do_itself_is_read() -> None:
    found = _one(_pod(), annotations={"sidecar.istio.io/rewriteAppHTTPProbers": "false"})
    assert (found.direct_probes, found.direct_metrics) == (True, False)
    found = _one(_pod(), annotations={"prometheus.istio.io/merge-metrics": "false"})
    assert (found.direct_probes, found.direct_metrics) == (False, True)


def test_whether_a_pod_has_a_sidecar_is_asked_with_its_place_and_its_spec() -> None:
    def meshed(pod: dict[str, Any]) -> bool:
        assert (pod["metadata"]["name"], pod["metadata"]["namespace"]) == ("shop", "shop")
        return not pod["spec"].get("hostNetwork")

    def read(**spec: Any) -> bool:
        return read_workloads([_workload("Deployment", _pod(**spec))], meshed)[0].meshed

    assert (read(), read(hostNetwork=True)) == (True, False)


def _made_by(kind: str, owner: str, *, own: str = "Pod", **labels: str) -> dict[str, Any]:
    owners = [{"kind": "Other", "name": "x"}, {"kind": kind, "name": owner, "controller": True}]
    metadata = {"name": f"{owner}-x", "namespace": "shop", "labels": {"app": "shop", **labels}}
    return {"kind": own, "metadata": {**metadata, "ownerReferences": owners}, "spec": _pod()}


def test_what_is_made_from_a_workload_that_is_there_is_left_out() -> None:
    pod = _made_by("ReplicaSet", "shop-5d4f", **{"pod-template-hash": "5d4f"})
    made = _made_by("Deployment", "shop", own="ReplicaSet")
    assert [one.kind for one in _read(_workload("Deployment", _pod()), made, pod)] == ["Deployment"]
    nightly = _workload("CronJob", _pod(), name="nightly")
    assert [one.kind for one in _read(nightly, _made_by("Job", "nightly-29012345"))] == ["CronJob"]
    once = _workload("Job", _pod(), name="move-2")
    assert [one.kind for one in _read(once, _made_by("Job", "move-2"))] == ["Job"]


def test_pods_of_a_workload_that_is_not_there_stand_for_it_once() -> None:
    pods = [_made_by("ReplicaSet", "shop-5d4f", **{"pod-template-hash": "5d4f"}) for _ in range(2)]
    for number, pod in enumerate(pods):
        pod["metadata"]["name"] = f"shop-5d4f-{number}"
    (found,) = _read(*pods)
    assert (found.kind, found.name) == ("Deployment", "shop")
    (found,) = _read(_made_by("Job", "move-2"))
    assert (found.kind, found.name) == ("Job", "move-2")


def test_objects_with_empty_parts_are_read_as_an_api_server_keeps_them() -> None:
    spec = {"containers": [{"name": "app", "ports": None, "livenessProbe": None}], "initContainers": None}
    found = _one(spec, labels=None, annotations=None)
    assert (found.labels, found.ports, found.probes) == ((), (), ())


@pytest.mark.parametrize("app", sorted(APPS))
def test_each_pod_of_the_sample_applications_has_a_probe_and_an_account_of_its_own(app: str) -> None:
    entry = APPS[app]
    found = _read(*entry.manifests(entry.args.model_validate({})))
    assert {one.kind for one in found} == {"Deployment"}
    for one in found:
        assert (one.account == "default") == (one.name == "vote-bot")
        assert bool(one.probes) == (one.name != "vote-bot")
        assert {probe.port for probe in one.probes} <= set(one.declared)


def test_the_services_that_the_api_server_calls_are_read_from_webhook_configurations() -> None:
    def hooks(kind: str, *configs: dict[str, Any]) -> dict[str, Any]:
        return {"kind": kind, "metadata": {"name": "policy"}, "webhooks": [{"clientConfig": one} for one in configs]}

    service = {"service": {"name": "guard", "namespace": "shop"}}
    with_port = {"service": {"name": "guard", "namespace": "shop", "port": 9443}}
    outside = {"url": "https://guard.example"}
    found = read_webhooks(
        [
            hooks("ValidatingWebhookConfiguration", service, service, outside),
            hooks("MutatingWebhookConfiguration", with_port),
            _workload("Deployment", _pod()),
        ]
    )
    assert found == (
        Webhook("ValidatingWebhookConfiguration policy", "guard", "shop", 443),
        Webhook("MutatingWebhookConfiguration policy", "guard", "shop", 9443),
    )
