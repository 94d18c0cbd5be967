"""Traces and access logs on Istio: providers of the mesh configuration, and Telemetry objects."""

import re
from typing import Any

import pytest

from components.meshes.istio.telemetry import LOG_FIELDS, expression
from components.telemetry.settings import LogFilterSettings
from tests.unit.components.charts import file
from tests.unit.telemetry.plans import COLLECTOR, ZIPKIN, faults, plan_of, values
from tests.unit.traffic.schemas import faults_of_object

EVERYTHING: dict[str, Any] = {
    "tracing": {
        "collector": ZIPKIN,
        "sampling": 10,
        "tags": {
            "team": {"literal": "shop"},
            "user": {"header": "x-user", "default": "nobody"},
            "zone": {"environment": "ZONE"},
        },
        "namespaces": {"bookinfo": {"sampling": 100, "tags": {"team": {"literal": "books"}}}},
    },
    "accessLogs": {
        "fields": {"user": {"header": "x-user"}, "share": {"literal": "100%"}, "zone": {"environment": "ZONE"}},
        "filter": {"errors": True, "slowerThan": "500ms"},
        "sampling": 1,
        "namespaces": {"bookinfo": {"enabled": False}},
    },
}


def config(**keys: Any) -> dict[str, Any]:
    return values(plan_of(**keys), "istiod")["meshConfig"]


def specs(**keys: Any) -> dict[str, dict[str, Any]]:
    """The specifications of the Telemetry objects, by namespace."""
    objects = plan_of(**keys).telemetry.objects
    assert {item["kind"] for item in objects} <= {"Telemetry"}
    found = {item["metadata"]["namespace"]: item["spec"] for item in objects}
    assert len(found) == len(objects), "of two in one namespace, istiod takes one"
    return found


def test_without_settings_nothing_is_added() -> None:
    assert "extensionProviders" not in config()
    assert specs() == {}


@pytest.mark.parametrize(
    ("protocol", "provider"),
    [
        ("zipkin", {"zipkin": {"traceContextOption": "USE_B3_WITH_W3C_PROPAGATION"}}),
        ("otlp-grpc", {"opentelemetry": {}}),
        ("otlp-http", {"opentelemetry": {"http": {"path": "/v1/traces", "timeout": "5s"}}}),
    ],
)
def test_each_protocol_has_a_provider_that_the_mesh_names(protocol: str, provider: dict[str, Any]) -> None:
    tracing = {"collector": {**COLLECTOR, "protocol": protocol}}
    (found,) = config(tracing=tracing)["extensionProviders"]
    ((kind, more),) = provider.items()
    where = {"service": "collector.tracing.svc.cluster.local", "port": 4317}
    assert found == {"name": "meshup-tracing", kind: {**where, **more}}
    assert specs(tracing=tracing) == {"istio-system": {"tracing": [{"providers": [{"name": "meshup-tracing"}]}]}}


def test_providers_are_written_in_the_fields_of_istios_own_api() -> None:
    text = file("mesh/v1alpha1/config.pb.go", "istio.io/api").read_text(encoding="utf-8")
    fields = set(re.findall(r"json=(\w+),proto3", text)) | set(re.findall(r"protobuf:\"[^\"]*name=(\w+)", text))
    http = {"tracing": {"collector": {**COLLECTOR, "protocol": "otlp-http"}}}
    for keys in (EVERYTHING, http, {"accessLogs": {"format": "text"}}):
        for provider in config(**keys)["extensionProviders"]:
            assert {*provider} <= fields
            for name, inner in provider.items():
                if name != "name":
                    assert {*inner, *inner.get("http", {}), *inner.get("logFormat", {})} <= fields
    assert '"USE_B3_WITH_W3C_PROPAGATION"' in text


def test_the_objects_are_valid_by_the_crd() -> None:
    for keys in (EVERYTHING, {"accessLogs": {"enabled": False}}, {"tracing": {"collector": ZIPKIN}}):
        for item in plan_of(**keys).telemetry.objects:
            assert faults_of_object(item) == []


def test_a_namespace_says_in_full_what_it_has_of_the_mesh_and_of_its_own() -> None:
    found = specs(**EVERYTHING)
    assert found.keys() == {"istio-system", "bookinfo"}
    (mesh,), (own,) = found["istio-system"]["tracing"], found["bookinfo"]["tracing"]
    assert (mesh["randomSamplingPercentage"], own["randomSamplingPercentage"]) == (10, 100)
    assert mesh["customTags"] == {
        "team": {"literal": {"value": "shop"}},
        "user": {"header": {"name": "x-user", "defaultValue": "nobody"}},
        "zone": {"environment": {"name": "ZONE"}},
    }
    assert own["customTags"] == {**mesh["customTags"], "team": {"literal": {"value": "books"}}}
    assert own["providers"] == mesh["providers"]
    assert found["bookinfo"]["accessLogging"] == [{"providers": [{"name": "meshup-access-log"}], "disabled": True}]


def test_no_object_names_a_provider_of_metrics() -> None:
    assert {key for spec in specs(**EVERYTHING).values() for key in spec} == {"tracing", "accessLogging"}


def test_a_namespace_alone_can_be_traced_and_logged() -> None:
    namespaces = {"bookinfo": {"enabled": True}}
    tracing = {"collector": ZIPKIN, "enabled": False, "namespaces": namespaces}
    found = specs(tracing=tracing, accessLogs={"enabled": False, "namespaces": namespaces})
    logs = {"providers": [{"name": "meshup-access-log"}]}
    assert found["istio-system"] == {"accessLogging": [{**logs, "disabled": True}]}
    assert found["bookinfo"] == {
        "tracing": [{"providers": [{"name": "meshup-tracing"}]}],
        "accessLogging": [logs],
    }


def test_a_namespace_reports_no_spans_where_it_says_so() -> None:
    found = specs(tracing={"collector": ZIPKIN, "namespaces": {"bookinfo": {"enabled": False}}})
    assert found["bookinfo"]["tracing"] == [{"disableSpanReporting": True}]


def test_tracing_that_is_off_has_no_provider_and_no_object() -> None:
    off = {"collector": ZIPKIN, "enabled": False}
    assert "extensionProviders" not in config(tracing=off)
    assert specs(tracing=off) == {}


def test_providers_of_raw_values_stay_beside_ours() -> None:
    own = {"name": "authorizer", "envoyExtAuthzGrpc": {"service": "authorizer.auth", "port": 9000}}
    istio = {"values": {"istiod": {"meshConfig": {"extensionProviders": [own]}}}}
    names = [one["name"] for one in config(istio=istio, tracing={"collector": ZIPKIN})["extensionProviders"]]
    assert names == ["authorizer", "meshup-tracing"]


def test_own_fields_stand_beside_those_that_istio_logs_itself() -> None:
    (provider,) = config(accessLogs=EVERYTHING["accessLogs"])["extensionProviders"]
    labels = provider["envoyFileAccessLog"]["logFormat"]["labels"]
    assert labels == {**LOG_FIELDS, "user": "%REQ(x-user)%", "share": "100%%", "zone": "%ENVIRONMENT(ZONE)%"}


def test_the_fields_are_those_of_istios_own_json_log() -> None:
    text = file("pilot/pkg/model/telemetry_logging.go").read_text(encoding="utf-8")
    block = text.split("EnvoyJSONLogFormatIstio = &structpb.Struct{")[1].split("// State logged")[0]
    found = dict(re.findall(r'"(\w+)":\s+\{Kind: &structpb.Value_StringValue\{StringValue: "([^"]+)"\}\}', block))
    assert found == LOG_FIELDS


def test_a_field_of_istios_own_keeps_its_meaning() -> None:
    (said,) = faults(accessLogs={"fields": {"path": {"header": "x-path"}}})
    assert (said.code, said.path) == ("MSH647", "meshup:accessLogs.fields.path")


def test_text_is_istios_own() -> None:
    (provider,) = config(accessLogs={"format": "text"})["extensionProviders"]
    assert provider == {"name": "meshup-access-log", "envoyFileAccessLog": {"path": "/dev/stdout"}}


@pytest.mark.parametrize(
    ("chosen", "sampling", "expected"),
    [
        (None, None, ""),
        (None, 100, ""),
        ({"errors": True}, 100, ""),
        (None, 0, "(has(request.id) && request.id < '0000')"),
        (None, 25, "(has(request.id) && request.id < '4000')"),
        ({"slowerThan": "2s"}, None, "request.duration > duration('2000ms')"),
        ({"slowerThan": "2s"}, 50, "request.duration > duration('2000ms') || (has(request.id) && request.id < '8000')"),
    ],
)
def test_what_is_logged_is_an_expression(chosen: dict[str, Any] | None, sampling: float | None, expected: str) -> None:
    written = None if chosen is None else LogFilterSettings.model_validate(chosen)
    assert expression(written, sampling) == expected


def test_tracing_without_a_collector_and_namespaces_that_are_not_there_are_refused() -> None:
    found = faults(tracing={"sampling": 10, "namespaces": {"bookinf": {}}}, accessLogs={"namespaces": {"shop": {}}})
    assert [(one.code, one.path) for one in found] == [
        ("MSH640", "meshup:tracing"),
        ("MSH645", "meshup:accessLogs.namespaces.shop"),
        ("MSH645", "meshup:tracing.namespaces.bookinf"),
    ]


@pytest.mark.parametrize(
    ("hosts", "refused"),
    [
        (["./*", "istio-system/*"], True),
        (["tracing/*"], False),
        (["*/zipkin.tracing.svc.cluster.local"], False),
        (["tracing/*.svc.cluster.local"], False),
        (["shop/*"], True),
    ],
)
def test_a_namespace_with_a_list_of_hosts_has_to_name_the_collector(hosts: list[str], refused: bool) -> None:
    namespaces = {"shop": {"create": True, "egressHosts": hosts}}
    found = faults(tracing={"collector": ZIPKIN}, namespaces=namespaces)
    assert [(one.code, one.path) for one in found] == (
        [("MSH651", "meshup:namespaces.shop.egressHosts")] if refused else []
    )
    assert faults(namespaces=namespaces) == []


def test_a_provider_is_for_a_mesh_of_somebody_else() -> None:
    assert [one.code for one in faults(tracing={"provider": "zipkin"})] == ["MSH642"]


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"a": {}}, "MSH003"),
        ({"a": {"literal": "x", "header": "y"}}, "MSH007"),
        ({"a": {"literal": "x", "default": "y"}}, "MSH007"),
        ({"a": {"literal": "two\nlines"}}, "MSH004"),
        ({"a b": {"literal": "x"}}, "MSH004"),
        ({"a": {"header": "x y"}}, "MSH119"),
    ],
)
def test_a_tag_has_one_source_that_proxies_can_write(tags: dict[str, Any], code: str) -> None:
    assert [one.code for one in faults(tracing={"collector": ZIPKIN, "tags": tags})] == [code]
