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


def test_the_dashboards_are_there_before_the_pod_that_mounts_them(records: dict[str, Record]) -> None:
    boards = records["grafana-grafana-dashboards-configmap"]
    assert "meshup-istio-split.json" in cast("dict[str, Any]", boards.inputs["data"])
    assert boards.urn in records["grafana-release"].dependencies
