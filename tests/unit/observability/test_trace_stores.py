"""Zipkin, Jaeger and the collector as add-ons: values of their charts, who may connect, where spans go."""

from collections.abc import Mapping
from typing import Any

import pytest

from components.diagnostics import errors
from tests.unit.observability.addons import TYPES, addon_of, admitted, plan_of, release, set_paths, value_paths
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

CHARTS = {"zipkin": "zipkin", "jaeger": "jaeger", "collector": "opentelemetry-collector"}
ALL: Mapping[str, Any] = {
    "zipkin": {"enabled": True, "resources": {"limits": {"memory": "2Gi"}}},
    "jaeger": {"enabled": True, "resources": {"limits": {"memory": "2Gi"}}},
    "collector": {"enabled": True, "replicas": 2, "resources": {"limits": {"memory": "1Gi"}}},
}
FREE = {
    "zipkin": ("podSecurityContext.", "securityContext.", "zipkin.extraEnv."),
    "jaeger": ("jaeger.resources.", "jaeger.podSecurityContext.", "jaeger.securityContext."),
    # Of a port, every key of a port of a Service is taken (templates/_helpers.tpl).
    "collector": ("ports.zipkin.appProtocol", "ports.otlp-http.appProtocol"),
}
"""Mappings of the charts whose keys are free, though they have defaults."""


def config(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a stack's collector."""
    return release(plan_of(keys), "opentelemetry-collector")["values"]["alternateConfig"]


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
@pytest.mark.parametrize("name", CHARTS)
def test_every_value_is_one_of_the_chart_and_of_its_type(mesh: str, name: str) -> None:
    known = value_paths(CHARTS[name])
    # Jaeger's chart has a comment in place of a default here.
    known |= {"jaeger.resources": {"type": "map"}} if name == "jaeger" else {}
    values = release(plan_of({"mesh": mesh, **ALL}), CHARTS[name])["values"]
    for path, value in set_paths(values, known).items():
        if path.startswith(FREE[name]):
            continue
        assert path in known, path
        assert isinstance(value, TYPES[known[path]["type"]]), path


@pytest.mark.parametrize("name", CHARTS)
def test_the_pods_are_confined_as_their_namespaces_ask_for(name: str) -> None:
    plan = plan_of(ALL)
    values = release(plan, CHARTS[name])["values"]
    own = values["jaeger"] if name == "jaeger" else values
    container, pod = own["securityContext"], own["podSecurityContext"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    assert pod["runAsNonRoot"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    labels = addon_of(plan, CHARTS[name]).namespace["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_the_memory_of_zipkin_is_bounded_by_its_limit_and_a_number_of_spans() -> None:
    plan = plan_of({"zipkin": {"enabled": True, "spans": 5000}})
    options = release(plan, "zipkin")["values"]["zipkin"]["extraEnv"]["JAVA_OPTS"].split()
    assert "-Dzipkin.storage.mem.max-spans=5000" in options
    assert "-XX:MaxRAMPercentage=70" in options


def test_a_change_of_jaeger_reaches_its_pod_template() -> None:
    few = release(plan_of({"jaeger": {"enabled": True, "traces": 700}}), "jaeger")["values"]["jaeger"]
    assert few["args"] == ["--set=extensions.jaeger_storage.backends.some_storage.memory.max_traces=700"]
    checksums: list[str] = []
    for level in ("info", "debug"):
        own = {"service": {"telemetry": {"logs": {"level": level}}}}
        values = release(plan_of({"jaeger": {"enabled": True, "values": {"userconfig": own}}}), "jaeger")["values"]
        assert "args" not in values["jaeger"]
        checksums.append(values["jaeger"]["extraEnv"][0]["value"])
    assert checksums[0] != checksums[1]


def test_the_collector_takes_otlp_and_zipkin_only() -> None:
    values = release(plan_of(ALL), "opentelemetry-collector")["values"]
    assert set(values["alternateConfig"]["receivers"]) == {"otlp", "zipkin"}
    known = value_paths("opentelemetry-collector")
    on = {path.split(".")[1] for path, one in known.items() if path.startswith("ports.") and one.get("default") is True}
    off = {name for name, port in values["ports"].items() if port.get("enabled") is False}
    assert on - off == {"otlp", "otlp-http", "zipkin"}
    assert {name: values["ports"][name]["appProtocol"] for name in on - off} == {
        "otlp": "grpc",
        "otlp-http": "http",
        "zipkin": "http",
    }


def test_the_collector_sends_spans_to_every_store_of_the_stack_and_to_one_of_ones_own() -> None:
    made = config({**ALL, "collector": {"enabled": True, "endpoint": "https://tempo.example.com:4318"}})
    assert made["service"]["pipelines"]["traces"]["exporters"] == ["otlp_grpc/jaeger", "otlp_http/spans", "zipkin"]
    assert made["exporters"]["zipkin"]["endpoint"] == "http://zipkin.zipkin.svc:9411/api/v2/spans"
    assert made["exporters"]["otlp_grpc/jaeger"] == {"endpoint": "jaeger.jaeger.svc:4317", "tls": {"insecure": True}}
    assert made["exporters"]["otlp_http/spans"] == {"endpoint": "https://tempo.example.com:4318"}


@pytest.mark.parametrize("keys", [{}, {"endpoint": "http://a.example:4318"}, {"logsEndpoint": "http://b.example:4318"}])
def test_every_part_of_a_pipeline_of_the_collector_is_configured(keys: Mapping[str, Any]) -> None:
    made = config({"collector": {"enabled": True, **keys}})
    for pipeline in made["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert pipeline[part]
            assert set(pipeline[part]) <= set(made[part])
        # The limit of memory comes first, and batches last.
        assert pipeline["processors"] == ["memory_limiter", "batch"]
    assert set(made["service"]["extensions"]) <= set(made["extensions"])


def test_a_collector_without_a_store_is_reported_once() -> None:
    found = build(raw(collector={"enabled": True}))[1]
    assert [(one.code, one.severity) for one in found if one.code.startswith("MSH63")] == [("MSH630", "warning")]
    for more in ({"zipkin": {"enabled": True}}, {"collector": {"enabled": True, "endpoint": "http://a.example:4318"}}):
        assert not [
            one
            for one in build(raw(**dict[str, Any]({"collector": {"enabled": True}, **more})))[1]
            if one.code == "MSH630"
        ]


def test_an_address_with_a_password_is_refused_and_not_repeated() -> None:
    chosen = {"enabled": True, "endpoint": "https://me:hunter2@a.example:4318"}
    (fault,) = errors(build(raw(collector=chosen))[1])
    assert (fault.code, fault.path) == ("MSH621", "meshup:collector.endpoint")
    assert "hunter2" not in repr(fault)


def test_access_logs_go_on_or_can_be_read_in_the_collectors_log() -> None:
    assert config({"collector": {"enabled": True}})["exporters"]["debug/logs"] == {"verbosity": "detailed"}
    made = config({"collector": {"enabled": True, "logsEndpoint": "http://loki.example:3100/otlp"}})
    assert made["service"]["pipelines"]["logs"]["exporters"] == ["otlp_http/logs"]


def test_proxies_may_send_spans_and_not_read_them() -> None:
    (policy,) = addon_of(plan_of({**ALL, "jaeger": {"enabled": True, "readers": ["ops"]}}), "jaeger").objects
    sends, reads = {4317, 4318, 9411}, {16685, 16686}
    found = admitted(policy)
    assert found["bookinfo"] == sends
    assert found["ops"] == found["jaeger"] == found["collector"] == sends | reads
    assert set(found) == {"bookinfo", "collector", "jaeger", "ops"}
    assert policy["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "jaeger"}}


def test_gateways_may_send_spans_to_the_collector() -> None:
    plan = plan_of({"collector": {"enabled": True}, "gateways": {"public": {}}})
    (policy,) = addon_of(plan, "opentelemetry-collector").objects
    assert "istio-ingress" in admitted(policy)


def test_on_linkerd_what_proxies_send_to_is_in_the_mesh_and_open_at_the_port_of_its_proxy() -> None:
    plan = plan_of({"mesh": "linkerd", **ALL})
    for name, meshed in (("zipkin", False), ("jaeger", True), ("opentelemetry-collector", True)):
        addon = addon_of(plan, name)
        assert ("linkerd.io/inject" in addon.namespace.get("annotations", {})) is meshed
        (policy,) = addon.objects
        assert all((4143 in ports) is meshed for ports in admitted(policy).values())


@pytest.mark.parametrize("name", ["jaeger", "opentelemetry-collector", "grafana"])
def test_prometheus_scrapes_the_proxies_of_add_ons_that_are_in_the_mesh(name: str) -> None:
    keys = {**ALL, "prometheus": {"enabled": True}, "grafana": {"enabled": True}}
    for mesh, ports in (("linkerd", {4143, 4190, 4191}), ("istio", None)):
        addon = addon_of(plan_of({"mesh": mesh, **keys}), name)
        policy = next(one for one in addon.objects if one["kind"] == "NetworkPolicy")
        assert admitted(policy).get("prometheus") == ports


@pytest.mark.parametrize("name", CHARTS)
def test_a_request_above_the_limit_is_refused(name: str) -> None:
    chosen = {"enabled": True, "resources": {"requests": {"memory": "9Gi"}, "limits": {"memory": "1Gi"}}}
    (fault,) = errors(build(raw(**dict[str, Any]({name: chosen})))[1])
    assert (fault.code, fault.path) == ("MSH015", f"meshup:{name}.resources")


@pytest.mark.parametrize(
    ("name", "keys", "path"),
    [
        ("jaeger", {"traces": 500, "values": {"userconfig": {"a": 1}}}, "traces"),
        ("collector", {"endpoint": "http://a.example:4318", "values": {"config": {"a": 1}}}, "values.config"),
    ],
    ids=str,
)
def test_a_setting_that_another_one_replaces_is_refused(name: str, keys: Mapping[str, Any], path: str) -> None:
    (fault,) = errors(build(raw(**dict[str, Any]({name: {"enabled": True, **keys}})))[1])
    assert (fault.code, fault.path) == ("MSH635", f"meshup:{name}.{path}")


def test_none_of_them_is_there_without_being_asked_for() -> None:
    assert not plan_of({}).addons
