import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.meshes import MESHES
from components.meshes.istio.proxies import ENVOY_1_38
from components.meshes.istio.versions import ISTIO
from devcluster.kubelet import spec
from devcluster.kubelet.spec import Context, Node, NotYet, Probe, Source

NODE = Node(
    address="10.244.255.254",
    api_host="10.96.0.1",
    api_port=443,
    cpus=4,
    memory=8 * 2**30,
    python="/usr/bin/python3",
    path="/usr/bin",
    environment={"MESHUP_CLUSTER_ID": "m"},
)

NAMES = st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=8)


def a_pod(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = {"name": "reviews-v1-x", "namespace": "bookinfo", "uid": "0123456789", **more.pop("metadata", {})}
    return {"metadata": metadata, "spec": {"containers": list(containers), "serviceAccountName": "reviews", **more}}


def the_context(pod: dict[str, Any], source: Source | None = None) -> Context:
    return Context(pod, NODE, "10.244.128.7", source or Source())


PROXY = {
    "name": "istio-proxy",
    "args": ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local"],
    "env": [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "INSTANCE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "SERVICE_ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
        {"name": "GOMEMLIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1"}}},
        {"name": "GOMAXPROCS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}},
        {"name": "PROXY_CONFIG", "value": '{"concurrency": 2, "drainDuration": "45s"}'},
        {"name": "CA_ADDR", "value": "istiod.istio-system.svc:15012"},
    ],
    "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}},
    "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021}, "periodSeconds": 15, "timeoutSeconds": 3},
    "securityContext": {"runAsUser": 1337, "runAsGroup": 1337},
}
APPLICATION = {"name": "reviews", "image": "examples-bookinfo-reviews-v1:1.20", "ports": [{"containerPort": 9080}]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(POD_NAMESPACE).svc", "bookinfo.svc"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(POD_NAMESPACE)", "$(POD_NAMESPACE)"),
        ("$(EMPTY)", ""),
        ("a$b", "a$b"),
        ("$(POD_NAMESPACE)$(POD_NAMESPACE)", "bookinfobookinfo"),
        ("$(NESTED)", "$(POD_NAMESPACE)"),
    ],
)
def test_references_expand_as_a_kubelet_expands_them(text: str, expected: str) -> None:
    variables = {"POD_NAMESPACE": "bookinfo", "EMPTY": "", "NESTED": "$(POD_NAMESPACE)"}
    assert spec.expand(text, variables) == expected


@given(st.dictionaries(NAMES, st.text()), st.text().filter(lambda t: "$" not in t))
def test_text_without_a_dollar_sign_expands_to_itself(variables: dict[str, str], text: str) -> None:
    assert spec.expand(text, variables) == text


@given(NAMES, st.text())
def test_a_known_reference_becomes_exactly_its_value(name: str, value: str) -> None:
    assert spec.expand(f"<$({name})>", {name: value}) == f"<{value}>"
    assert spec.expand(f"<$$({name})>", {name: value}) == f"<$({name})>"


def test_a_later_variable_sees_earlier_ones_and_not_later_ones() -> None:
    container = {
        "name": "c",
        "env": [
            {"name": "EARLY", "value": "$(LATE)"},
            {"name": "LATE", "value": "l"},
            {"name": "BOTH", "value": "$(EARLY) $(LATE)"},
        ],
    }
    env = spec.environment(container, the_context(a_pod(container)))
    assert env == {"EARLY": "$(LATE)", "LATE": "l", "BOTH": "$(LATE) l"}


def test_a_sidecar_is_started_with_the_environment_that_the_injector_asked_for() -> None:
    proxy = spec.containers(the_context(a_pod(APPLICATION, PROXY)))[1]
    assert proxy.argv == (
        spec.PILOT_AGENT,
        *("proxy", "sidecar", "--domain", "bookinfo.svc.cluster.local"),
        *("--templateFile", spec.BOOTSTRAP),
    )
    assert (proxy.user, proxy.group) == (1337, 1337)
    expected = {
        "POD_NAME": "reviews-v1-x",
        "POD_NAMESPACE": "bookinfo",
        "INSTANCE_IP": "10.244.128.7",
        "HOST_IP": NODE.address,
        "SERVICE_ACCOUNT": "reviews",
        "CA_ADDR": "istiod.istio-system.svc:15012",
        "GOMEMLIMIT": str(2**30),
        "GOMAXPROCS": "2",
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "MESHUP_CLUSTER_ID": "m",
    }
    assert expected.items() <= proxy.env.items()
    assert json.loads(proxy.env["PROXY_CONFIG"]) == {
        "binaryPath": spec.ENVOY,
        "concurrency": 1,
        "drainDuration": "45s",
        "runtimeValues": spec.RUNTIME_VALUES,
    }
    assert proxy.readiness == Probe("http", 15021, "/healthz/ready", period=15, timeout=3)


def test_the_proxies_read_requests_as_those_of_the_pinned_istio_do() -> None:
    assert MESHES["istio"].data_plane.proxy(ISTIO) is ENVOY_1_38, "see docs/embedded-envoy.md"
    assert set(spec.RUNTIME_VALUES.values()) == {"false"}


def test_what_a_proxy_sets_at_run_time_wins() -> None:
    guard = "envoy.reloadable_features.match_headers_individually"
    values = json.loads(spec.proxy_config(json.dumps({"runtimeValues": {guard: "true", "a": "b"}})))["runtimeValues"]
    assert values == {**spec.RUNTIME_VALUES, guard: "true", "a": "b"}


def test_an_application_container_becomes_a_workload_that_listens_on_its_ports() -> None:
    pod = a_pod(APPLICATION, PROXY, metadata={"labels": {"app": "reviews", "version": "v1"}})
    workload = spec.containers(the_context(pod))[0]
    assert workload.argv[:4] == (NODE.python, "-S", "-I", spec.WORKLOAD)
    arguments = " ".join(workload.argv)
    assert "--pod reviews-v1-x --namespace bookinfo --app reviews --version v1" in arguments
    assert arguments.endswith("--port 9080")
    assert workload.user not in (0, 1337), "interception lets the proxy's own user pass"


def test_a_port_that_only_a_probe_names_is_listened_on_and_the_agents_is_not() -> None:
    container = {
        "name": "c",
        "readinessProbe": {"httpGet": {"path": "/app-health/c/readyz", "port": 15020}},
        "livenessProbe": {"tcpSocket": {"port": 7070}},
        "ports": [{"containerPort": 53, "protocol": "UDP"}],
    }
    assert spec.application_ports(container) == {7070}


def test_interception_rules_are_set_as_root_and_before_anything_else() -> None:
    init = {
        "name": "istio-init",
        "args": ["istio-iptables", "-p", "15001", "-u", "1337"],
        "securityContext": {"runAsUser": 0},
    }
    first = spec.containers(the_context(a_pod(APPLICATION, PROXY, initContainers=[init])))[0]
    assert first.argv == (spec.PILOT_AGENT, "istio-iptables", "-p", "15001", "-u", "1337")
    assert (first.user, first.once, first.init) == (0, True, True)


def test_with_istios_cni_plugin_the_node_sets_the_rules_that_the_pod_only_validates() -> None:
    init = {
        "name": "istio-validation",
        "args": ["istio-iptables", "-p", "15001", "--run-validation", "--skip-rule-apply"],
        "securityContext": {"runAsUser": 1337},
    }
    first = spec.containers(the_context(a_pod(APPLICATION, PROXY, initContainers=[init])))[0]
    assert first.argv == (spec.PILOT_AGENT, "istio-iptables", "-p", "15001")
    assert first.user == 0


def test_a_native_sidecar_is_up_before_the_application_starts() -> None:
    native = {**PROXY, "restartPolicy": "Always"}
    planned = spec.containers(the_context(a_pod(APPLICATION, initContainers=[native])))
    assert [(c.name, c.gate, c.once) for c in planned] == [("istio-proxy", True, False), ("reviews", False, False)]


def test_an_init_container_of_an_application_is_left_out() -> None:
    init = {"name": "migrate", "image": "x", "command": ["migrate"]}
    assert [c.name for c in spec.containers(the_context(a_pod(APPLICATION, initContainers=[init])))] == ["reviews"]


def test_istiod_is_told_what_a_plain_envoy_lacks_whatever_the_chart_says() -> None:
    discovery = {
        "name": "discovery",
        "args": ["discovery", "--monitoringAddr=:15014"],
        "env": [{"name": "PILOT_ENABLE_ALPN_FILTER", "value": "true"}, {"name": "REVISION", "value": "default"}],
    }
    istiod = spec.containers(the_context(a_pod(discovery)))[0]
    assert istiod.argv == (spec.PILOT_DISCOVERY, "discovery", "--monitoringAddr=:15014")
    assert istiod.env["PILOT_ENABLE_ALPN_FILTER"] == "false"
    assert istiod.env["PILOT_ENABLE_METADATA_EXCHANGE"] == "false"
    assert istiod.env["REVISION"] == "default"


def test_the_mesh_configuration_loses_its_metrics_provider_and_nothing_else() -> None:
    text = "accessLogFile: /dev/stdout\ndefaultProviders:\n  metrics: [prometheus]\n  tracing: [zipkin]\n"
    assert yaml.safe_load(spec.mesh_config(text)) == {
        "accessLogFile": "/dev/stdout",
        "defaultProviders": {"metrics": [], "tracing": ["zipkin"]},
    }
    assert yaml.safe_load(spec.mesh_config("")) == {"defaultProviders": {"metrics": []}}


@pytest.mark.parametrize(("label", "name"), [(None, "istio"), ("default", "istio"), ("1-31", "istio-1-31")])
def test_each_revision_has_a_mesh_configuration_of_its_own(label: str | None, name: str) -> None:
    pod = a_pod({"name": "discovery"}, metadata={"labels": {"istio.io/rev": label} if label else None})
    assert spec.mesh_config_map(pod) == name


@pytest.mark.parametrize(
    ("pod", "real"),
    [
        (a_pod(APPLICATION), False),
        (a_pod(APPLICATION, PROXY), True),
        (a_pod(APPLICATION, initContainers=[PROXY]), True),
        (a_pod({"name": "discovery"}), True),
        (a_pod(APPLICATION, metadata={"annotations": {spec.RUN_ANNOTATION: "true"}}), True),
        (a_pod(APPLICATION, metadata={"annotations": {spec.RUN_ANNOTATION: "false"}}), False),
    ],
)
def test_real_are_istiod_meshed_pods_and_those_that_ask(pod: dict[str, Any], *, real: bool) -> None:
    assert spec.is_real(pod) is real


def test_a_missing_required_key_makes_the_pod_wait_and_an_optional_one_does_not() -> None:
    def container(*, optional: bool) -> dict[str, Any]:
        reference = {"name": "cm", "key": "k", "optional": optional}
        return {"name": "c", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": reference}}]}

    pod = a_pod()
    with pytest.raises(NotYet, match="key k of cm"):
        spec.environment(container(optional=False), the_context(pod))
    assert spec.environment(container(optional=True), the_context(pod)) == {}
    known = Source(config_maps={"cm": {"k": "v"}})
    assert spec.environment(container(optional=False), the_context(pod, known)) == {"A": "v"}


def test_an_unset_limit_is_the_capacity_of_the_node() -> None:
    assert spec.resource_value({"name": "c"}, {"resource": "limits.cpu", "divisor": "1"}, NODE) == "4"
    assert spec.resource_value({"name": "c"}, {"resource": "limits.memory", "divisor": "1Mi"}, NODE) == "8192"
    assert spec.resource_value({"name": "c"}, {"resource": "requests.cpu"}, NODE) == "0"


def test_labels_of_the_downward_api_are_quoted_and_sorted() -> None:
    pod = a_pod(metadata={"labels": {"b": 'say "x"', "a": "1"}})
    assert spec.field_value("metadata.labels", the_context(pod)) == 'a="1"\nb="say \\"x\\""'
    assert spec.field_value("metadata.labels['a']", the_context(pod)) == "1"


def test_a_named_probe_port_is_looked_up_and_exec_probes_are_not_asked() -> None:
    container = {
        "name": "c",
        "ports": [{"name": "http", "containerPort": 9080}],
        "readinessProbe": {"httpGet": {"port": "http"}},
        "livenessProbe": {"exec": {"command": ["true"]}},
    }
    assert spec.probe(container, "readinessProbe") == Probe("http", 9080)
    assert spec.probe(container, "livenessProbe") is None


def test_only_kernel_settings_of_the_network_namespace_are_the_pods_to_make() -> None:
    declared = [
        {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"},
        {"name": "kernel.shm_rmid_forced", "value": "1"},
    ]
    pod = a_pod(APPLICATION, securityContext={"sysctls": declared})
    assert spec.sysctls(pod) == {"net/ipv4/ip_unprivileged_port_start": "0"}


@pytest.mark.parametrize(
    ("hook", "seconds"),
    [
        ({"sleep": {"seconds": 5}}, 5.0),
        ({"exec": {"command": ["sleep", "5"]}}, 5.0),
        ({"exec": {"command": ["/bin/sleep", "2.5"]}}, 2.5),
        ({"exec": {"command": ["/bin/sh", "-c", "sleep 15"]}}, 15.0),
        ({"exec": {"command": ["sh", "-c", "nginx -s quit; sleep 15"]}}, 0.0),
        ({}, 0.0),
    ],
)
def test_a_workload_ends_after_the_sleep_of_its_prestop_hook(hook: dict[str, Any], seconds: float) -> None:
    (container,) = spec.containers(the_context(a_pod({**APPLICATION, "lifecycle": {"preStop": hook}})))
    assert container.grace == seconds
