"""What is compiled and shown to a real API server: strategies of the docs, the capability matrix, generated routes."""

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from components.apps import bookinfo
from components.diagnostics import errors
from components.gateways.settings import GatewaySettings
from components.meshes import MESHES as MESHES_BY_NAME
from components.meshes import TARGETS
from components.traffic import Compilation, Service
from components.traffic.capability import FEATURES
from devcluster.toolchain import Toolbox
from tests.conftest import nightly
from tests.unit.traffic.helpers import SERVICES, compile_routes, parsed
from tests.unit.traffic.strategies import configurations, edge_configurations, wild_configurations
from tests.unit.traffic.test_capability import compiled

ROOT = Path(__file__).resolve().parents[3]
MESHES: tuple[str, ...] = ("istio", "linkerd")
NAMESPACES = ("bookinfo", "edge", "ingress", "shop")

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A configuration that compiles.

    Attributes:
        name: What it is, for reports.
        mesh: The mesh it is compiled for.
        objects: What it compiles to.
    """

    name: str
    mesh: str
    objects: tuple[Manifest, ...]


def strategies(mesh: str) -> Iterator[Example]:
    """The examples of docs/strategies that a mesh can do, for every API of the mesh that can do them."""
    for file in sorted((ROOT / "docs" / "strategies").glob("*.yaml")):
        traffic = yaml.safe_load(file.read_text())["config"]["meshup:traffic"]
        for api in sorted({target.api for target in TARGETS if target.mesh == mesh}):
            raw = {name: {**body, "api": api} for name, body in traffic.items()}
            if compilation := compilation_of(raw, mesh, bookinfo.services()):
                yield Example(f"{file.stem} by {api}", mesh, compilation.manifests)


def cells(mesh: str) -> Iterator[Example]:
    """Every cell of the capability matrix that says yes for a mesh."""
    for target in TARGETS:
        for feature in FEATURES:
            if target.mesh == mesh and feature.name not in target.refusals:
                yield Example(f"{feature.name} by {target.name}", mesh, compiled(feature, target).manifests)


def compilation_of(raw: object, mesh: str, services: Sequence[Service]) -> Compilation | None:
    """What a configuration compiles to, or None if it is refused."""
    routes, faults = parsed(raw, services)
    compilation = compile_routes(routes, mesh, services)
    return None if errors([*faults, *compilation.diagnostics]) else compilation


def drawn(strategy: st.SearchStrategy[Any], number: int, seed_: int) -> list[Any]:
    """Examples of a hypothesis strategy, to be looked at in one batch: a push for each would take hours."""
    found: list[Any] = []

    @seed(seed_)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


@cache
def generated() -> Sequence[Example]:
    """Generated configurations, ordinary and odd ones, compiled for each mesh that can do them: 500, nightly 10,000."""
    number = 10_000 if nightly() else 500
    return [
        Example(f"generated: {raw!r}", mesh, compilation.manifests)
        for raw in drawn(
            st.one_of(configurations(), wild_configurations, edge_configurations()), number, seed_of_this_run()
        )
        for mesh in MESHES
        if (compilation := compilation_of(raw, mesh, SERVICES))
    ]


def namespaces() -> list[Manifest]:
    """The namespaces that the objects of the examples are in."""
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in NAMESPACES]


def gateway_api_crds(toolbox: Toolbox) -> list[Manifest]:
    """The Gateway API's CRDs, standard channel, without the guard of upgrades."""
    return [
        item
        for file in sorted((toolbox.path("gateway-api-crds") / "standard").glob("*.yaml"))
        for item in documents(file)
        if item["kind"] == "CustomResourceDefinition"
    ]


def istio_crds(toolbox: Toolbox) -> list[Manifest]:
    """Istio's CRDs, as its chart `base` holds them."""
    return documents(toolbox.path("istio-charts") / "base" / "files" / "crd-all.gen.yaml")


def documents(file: Path) -> list[Manifest]:
    """The objects of a YAML file."""
    loaded = yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader)
    return [item for item in cast("Iterator[Manifest | None]", loaded) if item]


@cache
def seed_of_this_run() -> int:
    """The seed of generated examples: MESHUP_TEST_SEED; if it is not set, a new one by night and always one in CI.

    A failure prints it, to be repeated with.
    """
    return int(os.environ.get("MESHUP_TEST_SEED") or (secrets.randbelow(2**32) if nightly() else 0))


LISTENERS: dict[str, Any] = {
    "listeners": [
        {"port": 443, "protocol": "https", "hosts": ["shop.example.com", "*.example.org"], "tls": {"secret": "a.b"}},
        {
            "port": 444,
            "protocol": "https",
            "hosts": ["c.example.com"],
            "tls": {"certificate": "/c", "key": "/k", "clientCa": "ca"},
        },
        {"port": 80, "protocol": "http", "redirect": "https"},
        {"port": 8080, "protocol": "http"},
        {"port": 8443, "protocol": "tls", "hosts": ["vault.example.com"]},
    ],
    "forwardedHops": 2,
    "proxyProtocol": True,
    "replicas": 2,
    "resources": {"requests": {"cpu": "100m"}},
    "annotations": {"example.com/a": "b"},
    "addresses": ["192.0.2.10"],
}
ISTIOS_OWN = {
    **LISTENERS,
    "listeners": [
        *LISTENERS["listeners"],
        {"port": 445, "protocol": "https", "tls": {"secret": "s", "minVersion": "1.3"}},
    ],
}
OTHERS = {key: LISTENERS[key] for key in ("listeners", "annotations", "addresses")}


def gateways(mesh: str) -> Iterator[Example]:
    """The objects of gateways, with every kind of listener, by every API that a mesh has."""
    kind = MESHES_BY_NAME[mesh]
    for api in kind.gateway_apis:
        raw = ISTIOS_OWN if api == "istio" else LISTENERS if kind.gateway_class else {**OTHERS, "class": "eg"}
        chosen = GatewaySettings.of({**raw, "api": api})
        gateway = chosen.gateway("public", "ingress", kind.gateway_apis, kind.gateway_class, "meshup:gateways.public")
        objects = kind.gateway_objects(gateway, chosen, ["shop", "bookinfo"])
        yield Example(f"gateway by {api}", mesh, tuple(objects))
