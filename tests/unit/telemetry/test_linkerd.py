"""Traces and access logs on Linkerd: values of its chart, and an annotation of namespaces."""

from typing import Any

import pytest

from tests.facts import linkerd
from tests.unit.telemetry.plans import COLLECTOR, ZIPKIN, faults, plan_of, values


def logged(**keys: Any) -> dict[str, str]:
    found = plan_of(mesh="linkerd", **keys).annotations
    return {name: one["config.linkerd.io/access-log"] for name, one in found.items()}


def tracing(**keys: Any) -> Any:
    return values(plan_of(mesh="linkerd", **keys), "control-plane")["proxy"].get("tracing")


def test_the_proxies_send_spans_to_the_identity_of_the_collector() -> None:
    found = tracing(tracing={"collector": COLLECTOR, "tags": {"team.name": {"literal": "shop"}}})
    assert found == {
        "enabled": True,
        "collector": {
            "endpoint": "collector.tracing.svc.cluster.local:4317",
            "meshIdentity": {"serviceAccountName": "collector", "namespace": "tracing"},
        },
        "labels": {"team.name": "shop"},
    }
    assert tracing() is None


def test_spans_alone_are_no_sampling_and_that_is_said() -> None:
    assert [(one.code, one.severity) for one in faults(mesh="linkerd", tracing={"collector": COLLECTOR})] == [
        ("MSH644", "info")
    ]


def test_a_collector_without_an_identity_is_refused() -> None:
    nameless = {key: value for key, value in COLLECTOR.items() if key != "serviceAccount"}
    found = faults(mesh="linkerd", tracing={"collector": nameless})
    assert ("MSH643", "meshup:tracing.collector.serviceAccount") in [(one.code, one.path) for one in found]


def test_where_spans_go_is_said_in_one_place() -> None:
    own = {"endpoint": "c.tracing:4317", "serviceAccount": "c", "namespace": "tracing"}
    found = faults(mesh="linkerd", linkerd={"tracing": own}, tracing={"collector": COLLECTOR})
    assert ("MSH007", "meshup:linkerd.tracing") in [(one.code, one.path) for one in found]


@pytest.mark.parametrize(("form", "word"), [("json", "json"), ("text", "apache")])
def test_the_access_log_is_an_annotation_of_each_namespace_in_the_mesh(form: str, word: str) -> None:
    keys = {"namespaces": {"shop": {"create": True}, "outside": {"create": True, "inject": False}}}
    assert logged(accessLogs={"format": form, "enabled": True}, **keys) == {"bookinfo": word, "shop": word}


def test_a_namespace_can_differ() -> None:
    assert logged(accessLogs={"namespaces": {"bookinfo": {"enabled": False}}}) == {}
    assert logged(accessLogs={"enabled": False, "namespaces": {"bookinfo": {}}}) == {"bookinfo": "json"}
    assert logged() == {}


def test_the_namespace_of_an_application_carries_the_annotation() -> None:
    (made,) = plan_of(mesh="linkerd", accessLogs={"enabled": True}).namespaces
    assert made["annotations"]["config.linkerd.io/access-log"] == "json"


def test_what_only_istio_has_is_refused_with_the_reason() -> None:
    found = faults(
        mesh="linkerd",
        tracing={"collector": ZIPKIN, "sampling": 10},
        accessLogs={"filter": {"errors": True}, "namespaces": {"bookinfo": {"sampling": 1}}},
    )
    assert {one.path for one in found if one.code == "MSH641"} == {
        "meshup:tracing.collector",
        "meshup:tracing.sampling",
        "meshup:accessLogs.filter.errors",
        "meshup:accessLogs.namespaces.bookinfo.sampling",
    }


def test_every_value_path_is_one_of_the_chart() -> None:
    known = linkerd.values("linkerd-control-plane")
    for path in ("enabled", "collector.endpoint", "collector.meshIdentity.serviceAccountName"):
        assert f"proxy.tracing.{path}" in known
    assert any(path.startswith("proxy.tracing.labels.") for path in known)
