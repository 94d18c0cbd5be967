"""Traces and access logs beside what is on the cluster, and on a mesh of somebody else."""

from typing import Any

import pytest
import yaml

from components.diagnostics import Diagnostic
from components.manifests import Manifest
from stacks.ownership import ANNOTATION
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import OWNER, build, compare, item, view_of
from tests.unit.stacks.test_existing_mesh import config_map, injector, istiod, linkerd
from tests.unit.telemetry.plans import COLLECTOR, ZIPKIN, plan_of

ISTIO: dict[str, Any] = {"istio": {"install": False}}
CODES = ("MSH64", "MSH650")


def service(name: str = "zipkin", port: int = 9411) -> Manifest:
    return item("Service", {"name": name, "namespace": "tracing"}, spec={"ports": [{"port": port}]})


def telemetry(name: str, namespace: str, owner: str = "", **spec: Any) -> Manifest:
    annotations = {ANNOTATION: owner} if owner else {}
    return item("Telemetry", {"name": name, "namespace": namespace, "annotations": annotations}, spec=spec)


def found(config: dict[str, Any], *live: Manifest) -> list[Diagnostic]:
    _, _, diagnostics = compare(raw(**config), view_of(*live))
    return [one for one in diagnostics if one.code.startswith(CODES)]


@pytest.mark.parametrize(
    ("live", "path"),
    [
        ([service()], None),
        ([], "meshup:tracing.collector.service"),
        ([service("zipkins")], "meshup:tracing.collector.service"),
        ([service(port=80)], "meshup:tracing.collector.port"),
    ],
)
def test_the_service_of_a_collector_has_to_be_there_with_its_port(live: list[Manifest], path: str | None) -> None:
    said = found({"tracing": {"collector": ZIPKIN}}, *live)
    assert [(one.code, one.path) for one in said] == ([("MSH648", path)] if path else [])


def test_an_add_on_of_the_stack_need_not_be_there_yet() -> None:
    assert found({"zipkin": {"enabled": True}}) == []


@pytest.mark.parametrize(
    ("other", "refused"),
    [
        (telemetry("mesh-default", "istio-system"), True),
        (telemetry("meshup", "istio-system", OWNER), False),
        (telemetry("one", "istio-system", selector={"matchLabels": {"app": "x"}}), False),
        (telemetry("two", "istio-system", targetRefs=[{"kind": "Gateway", "name": "x"}]), False),
        (telemetry("three", "elsewhere"), False),
    ],
)
def test_somebody_elses_object_for_the_same_namespace_is_refused(other: Manifest, refused: bool) -> None:
    said = found({"tracing": {"collector": ZIPKIN}}, service(), other)
    assert [one.code for one in said] == (["MSH649"] if refused else [])


def test_a_stack_without_traces_and_logs_does_not_mind_it() -> None:
    assert found({}, telemetry("mesh-default", "istio-system")) == []


def pod(name: str, value: str | None, **annotations: str) -> Manifest:
    env = [{"name": "LINKERD2_PROXY_ACCESS_LOG", "value": value}] if value else []
    proxy = {"name": "linkerd-proxy", "image": "proxy:edge-26.8.3", "env": env}
    metadata = {"name": name, "namespace": "bookinfo", "annotations": annotations}
    return item("Pod", metadata, spec={"initContainers": [proxy]}, status={"phase": "Running"})


def test_pods_that_log_as_before_are_named_with_the_command_that_restarts_them() -> None:
    own = {"config.linkerd.io/access-log": "apache"}
    live = [pod("new", "json"), pod("old", None), pod("other", "apache"), pod("own", "apache", **own)]
    (said,) = found({"mesh": "linkerd", "accessLogs": {"enabled": True}}, *live)
    assert (said.code, said.severity) == ("MSH650", "warning")
    assert said.message.startswith("2 of 4 pods")
    assert "kubectl --namespace bookinfo rollout restart deployment" in said.remedy
    assert found({"mesh": "linkerd", "accessLogs": {"enabled": True}}, pod("new", "json")) == []


def test_what_a_namespace_says_of_its_own_proxies_is_what_its_pods_are_compared_with() -> None:
    config: dict[str, Any] = {
        "mesh": "linkerd",
        "accessLogs": {"enabled": True},
        "namespaces": {"bookinfo": {"create": True, "proxy": {"accessLog": "apache"}}},
    }
    assert found(config, pod("own", "apache")) == []
    assert [one.code for one in found(config, pod("old", "json"))] == ["MSH650"]


def mesh_config(*providers: str) -> Manifest:
    config = {"extensionProviders": [{"name": name} for name in providers]}
    return config_map("istio", "istio-system", mesh=yaml.safe_dump(config))


def test_a_mesh_that_is_there_traces_by_a_provider_of_its_own() -> None:
    config: dict[str, Any] = {
        **ISTIO,
        "tracing": {"provider": "own", "sampling": 5},
        "accessLogs": {"filter": {"errors": True}},
    }
    live = [istiod(), injector(), mesh_config("other", "own")]
    plan, _, diagnostics = compare(raw(**config), view_of(*live))
    assert diagnostics == []
    (made,) = plan.telemetry.objects
    assert made["spec"]["tracing"] == [{"providers": [{"name": "own"}], "randomSamplingPercentage": 5}]
    assert made["spec"]["accessLogging"][0]["providers"] == [{"name": "envoy"}]


def test_a_provider_that_the_mesh_does_not_have_is_refused_with_those_that_it_has() -> None:
    (said,) = refused({**ISTIO, "tracing": {"provider": "onw"}}, istiod(), injector(), mesh_config("own"))
    assert (said.code, said.path, said.allowed) == ("MSH642", "meshup:tracing.provider", "one of own")


def refused(config: dict[str, Any], *live: Manifest) -> list[Diagnostic]:
    return [one for one in build(raw(**config), view=view_of(*live))[1] if one.code.startswith(CODES)]


@pytest.mark.parametrize(
    ("more", "severity"), [({"tracing": {"collector": ZIPKIN}}, "error"), ({"jaeger": {"enabled": True}}, "warning")]
)
def test_a_mesh_that_is_there_is_not_told_of_a_collector(more: dict[str, Any], severity: str) -> None:
    said = refused({**ISTIO, **more}, istiod(), injector(), mesh_config())
    assert [(one.code, one.severity) for one in said] == [("MSH642", severity)]
    own = {"tracing": {"collector": COLLECTOR}} if severity == "error" else more
    said = refused({"mesh": "linkerd", "linkerd": {"install": False}, **own}, *linkerd())
    assert [(one.code, one.severity) for one in said] == [("MSH642", severity)]


def test_form_and_place_of_the_log_of_a_mesh_that_is_there_are_its_own() -> None:
    logs = {"fields": {"a": {"literal": "b"}}}
    said = refused({**ISTIO, "accessLogs": logs}, istiod(), injector(), mesh_config())
    assert [(one.code, one.path) for one in said] == [("MSH642", "meshup:accessLogs.fields")]


def test_an_add_on_that_the_proxies_do_not_speak_to_is_said() -> None:
    said = refused({"mesh": "linkerd", "zipkin": {"enabled": True}})
    assert [(one.code, one.path, one.severity) for one in said] == [("MSH640", "meshup:zipkin", "warning")]
    assert refused({"mesh": "linkerd", "zipkin": {"enabled": True}, "tracing": {"enabled": False}}) == []


@pytest.mark.parametrize(
    ("mesh", "enabled", "service"),
    [
        ("istio", ("jaeger",), "jaeger:4317"),
        ("istio", ("jaeger", "zipkin"), "zipkin:9411"),
        ("istio", ("jaeger", "zipkin", "collector"), "collector:4317"),
        ("linkerd", ("jaeger", "zipkin"), "jaeger:4317"),
        ("linkerd", ("zipkin", "collector"), "collector:4317"),
    ],
)
def test_spans_go_to_the_add_on_that_sends_them_on_or_else_keeps_them(
    mesh: str, enabled: tuple[str, ...], service: str
) -> None:
    plan = plan_of(mesh=mesh, **{name: {"enabled": True} for name in enabled})
    name, _, port = service.partition(":")
    host = f"{name}.{name}.svc.cluster.local"
    if mesh == "istio":
        (provider,) = plan.mesh.args.providers
        (where,) = (one for key, one in provider.items() if key != "name")
        assert (where["service"], where["port"]) == (host, int(port))
    else:
        assert plan.mesh.args.tracing.endpoint == f"{host}:{port}"
        assert plan.mesh.args.tracing.service_account == name
