"""Arguments: what Pulumi's package host and programs pass, all faults in one report, and the chart values of fields."""

from enum import Enum
from typing import Any

import pytest

from components.arguments import helm_values
from components.diagnostics import ConfigurationError
from components.meshes import MESHES
from components.meshes.istio.settings import IstioArgs
from components.meshes.linkerd.settings import VIZ, Certificates, LinkerdArgs
from stacks import settings
from tests.unit.stacks.configs import raw


class Log(Enum):
    JSON = "json"


def refused(args: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ConfigurationError) as error:
        IstioArgs.of(args)
    return [(diagnostic.code, diagnostic.path) for diagnostic in error.value.diagnostics]


def test_keys_are_taken_as_python_and_as_a_configuration_writes_them() -> None:
    snake = IstioArgs.of({"gateway_namespace": "edge", "gateways": [{"name": "a", "service_type": "ClusterIP"}]})
    assert IstioArgs.of({"gatewayNamespace": "edge", "gateways": [{"name": "a", "serviceType": "ClusterIP"}]}) == snake
    assert IstioArgs.of(snake) is snake


def test_what_the_wire_of_pulumi_makes_of_numbers_and_choices_is_undone() -> None:
    made = IstioArgs.of({"replicas": 3.0, "access_log": Log.JSON, "values": {"istiod": {"autoscaleMax": 5.0}}})
    assert (made.replicas, made.access_log) == (3, "json")
    assert made.values["istiod"]["autoscaleMax"] == 5
    assert isinstance(made.values["istiod"]["autoscaleMax"], int)
    assert refused({"replicas": 1.5}) == [("MSH001", "IstioArgs.replicas")]


def test_all_faults_come_in_one_report() -> None:
    args = {
        "version": "1.0.0",
        "egres": "allow-any",
        "replicas": 2,
        "autoscaling": {"min": 3, "max": 2},
        "gateways": [{"name": "a"}, {"name": "a"}],
    }
    assert refused(args) == [
        ("MSH007", "IstioArgs"),
        ("MSH005", "IstioArgs.autoscaling.min"),
        ("MSH002", "IstioArgs.egres"),
        ("MSH012", "IstioArgs.gateways[1].name"),
        ("MSH306", "IstioArgs.version"),
    ]


def test_an_output_is_taken_where_something_is_known_only_at_deployment() -> None:
    async def later() -> str:
        return "pem"

    promise = later()
    made = Certificates.of({"webhooks": [{"webhook": "tap", "certificate": promise, "key": "k"}]})
    assert made.webhooks[0].certificate is promise
    promise.close()


def test_a_field_sets_the_values_of_each_chart_that_has_one_for_it() -> None:
    args = LinkerdArgs(registry="registry.example/linkerd", log_format="json", image_pull_secrets=("a",))
    assert helm_values(args, "linkerd2-cni") == {
        "image.name": "registry.example/linkerd/cni-plugin",
        "imagePullSecrets": [{"name": "a"}],
    }
    assert helm_values(args, VIZ) == {
        "imagePullSecrets": [{"name": "a"}],
        "linkerdNamespace": "linkerd",
        "clusterDomain": "cluster.local",
        "defaultLogFormat": "json",
        "defaultRegistry": "registry.example/linkerd",
    }
    assert helm_values(args)["proxy.image.name"] == "registry.example/linkerd/proxy"


@pytest.mark.parametrize("mesh", MESHES)
def test_every_section_of_a_mesh_is_one_of_the_stack(mesh: str) -> None:
    chosen, _ = settings.load(raw(mesh=mesh), "dev")
    for key, kind in MESHES[mesh].sections.items():
        assert settings.SECTIONS[key] is kind
        assert type(chosen.section(kind)) is kind
    assert {"dev", "staging", "prod"} == set(MESHES[mesh].presets)
