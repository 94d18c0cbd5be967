from typing import Any, cast

from pulumi.provider.experimental.analyzer import Analyzer

from components.apps.bookinfo import Bookinfo
from components.meshes.istio.component import Istio
from components.meshes.istio.mutual_tls import MutualTls
from components.namespace import MeshNamespace
from components.traffic.component import Traffic


def test_the_arguments_of_every_component_can_be_described_to_other_languages() -> None:
    found = cast("Any", Analyzer("meshup")).analyze([Istio, MeshNamespace, MutualTls, Traffic, Bookinfo])
    described = {name: definition.inputs for name, definition in found["component_definitions"].items()}
    assert sorted(described) == ["Bookinfo", "Istio", "MeshNamespace", "MutualTls", "Traffic"]
    assert described["Istio"]["accessLog"].optional
    assert not described["Istio"]["version"].optional
    assert all(prop.description for inputs in described.values() for prop in inputs.values())
