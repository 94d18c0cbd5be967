"""What is registered for add-ons: passwords as secrets, and what waits for what."""

import base64
import json
from typing import Any, cast

import pytest

from stacks import program, settings
from tests.components.recorder import Record, by_name, recorded
from tests.unit.observability.addons import plan_of

_SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105 - the mark of a secret on Pulumi's wire
ON = {"enabled": True}
KEYS: dict[str, Any] = {"apps": [], "traffic": {}, "prometheus": ON, "grafana": ON, "kiali": ON}


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    planned = plan_of(KEYS)

    def deploy() -> None:
        program.register(planned, program.provider(settings.ClusterSettings(context="kind-dev")))

    return by_name(recorded(deploy))


@pytest.mark.parametrize(
    ("secret", "key", "length"),
    [("grafana-grafana-admin-secret", "admin-password", 32), ("kiali-kiali-signing-key-secret", "key", 32)],
)
def test_a_password_is_a_secret_from_its_birth_and_goes_into_its_secret_alone(
    records: dict[str, Record], secret: str, key: str, length: int
) -> None:
    password = records[f"{secret}-password"]
    assert password.type == "pulumi-python:dynamic/meshup:Password"
    assert list(password.request.additionalSecretOutputs) == ["value"]
    assert password.inputs.get("value") is None
    registered = records[secret]
    assert list(registered.request.additionalSecretOutputs) == ["data"]
    data = cast("dict[str, Any]", registered.inputs["data"])
    # A secret inside of a mapping makes the whole of it one on the wire.
    assert _SECRET in (data if _SECRET in data else data[key])
    plain = cast("dict[str, Any]", data.get("value", data))
    encoded = plain[key]["value"] if isinstance(plain[key], dict) else plain[key]
    value = base64.b64decode(encoded).decode()
    assert len(value) == length
    others = {name: record.inputs for name, record in records.items() if name not in (secret, password.name)}
    assert value not in json.dumps(others)
    assert encoded not in json.dumps(others)


@pytest.mark.parametrize(
    ("release", "secret"),
    [("grafana-release", "grafana-grafana-admin-secret"), ("kiali-release", "kiali-kiali-signing-key-secret")],
)
def test_pods_start_after_the_secret_that_they_read(records: dict[str, Record], release: str, secret: str) -> None:
    assert records[secret].urn in records[release].dependencies


def test_what_a_store_of_traces_lets_in_is_there_before_its_pods() -> None:
    names = ("zipkin", "jaeger", "collector")
    planned = plan_of({"apps": [], "traffic": {}, **dict.fromkeys(names, ON)})

    def deploy() -> None:
        program.register(planned, program.provider(settings.ClusterSettings(context="kind-dev")))

    made = by_name(recorded(deploy))
    for name in names:
        release = made[f"{name}-release"]
        assert release.inputs["namespace"] == name
        assert made[f"{name}-{name}-networkpolicy"].urn in release.dependencies


def test_for_the_operator_objects_alone_are_registered_in_their_namespace() -> None:
    chosen = {**ON, "mode": "operator", "operator": {"labels": {"release": "kps"}}}
    planned = plan_of({"apps": [], "traffic": {}, "prometheus": chosen})

    def deploy() -> None:
        program.register(planned, program.provider(settings.ClusterSettings(context="kind-dev")))

    made = by_name(recorded(deploy))
    assert "prometheus-release" not in made
    monitors = {name: one for name, one in made.items() if one.type == "kubernetes:monitoring.coreos.com/v1:PodMonitor"}
    assert "prometheus-meshup-istio-proxies-podmonitor" in monitors
    rules = [one for one in made.values() if one.type == "kubernetes:monitoring.coreos.com/v1:PrometheusRule"]
    assert rules
    for one in (*monitors.values(), *rules):
        assert one.inputs["metadata"]["labels"]["release"] == "kps"
        assert behind_namespace(one, made)


def behind_namespace(record: Record, made: dict[str, Record]) -> bool:
    """Return whether an object waits for the namespace of Prometheus, or for the component that makes it."""
    waited = {made["prometheus-prometheus"].urn, made["prometheus-prometheus-namespace"].urn}
    return bool(waited & set(record.dependencies))


def test_the_dashboards_are_there_before_the_pod_that_mounts_them(records: dict[str, Record]) -> None:
    boards = records["grafana-grafana-dashboards-configmap"]
    assert "meshup-istio-split.json" in cast("dict[str, Any]", boards.inputs["data"])
    assert boards.urn in records["grafana-release"].dependencies
