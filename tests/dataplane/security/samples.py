"""The sample applications with their policies, and the examples of the capability matrix, compiled for each mesh."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.apps import APPS, bookinfo, emojivoto
from components.diagnostics import errors, render
from components.meshes import MESHES
from components.security.capability import FEATURES
from components.security.compile import SecurityCompilation, compile_policy
from components.security.model import Account
from components.security.parse import parse
from components.security.workloads import read_workloads
from components.security.world import Call, World
from components.traffic.model import Service
from tests.dataplane.security import town
from tests.dataplane.security.bench import ROOT, TRUST_DOMAIN, Manifest
from tests.dataplane.security.policies import MODE, today
from tests.dataplane.traffic.examples import Example
from tests.unit.security.test_capability import compiled
from tests.unit.traffic.helpers import compile_routes

EMOJIVOTO = emojivoto.EmojivotoArgs()
CALLS: Mapping[str, list[Call]] = {"bookinfo": bookinfo.calls(), "emojivoto": emojivoto.calls(EMOJIVOTO)}
MANIFESTS: list[Manifest] = [*bookinfo.manifests(bookinfo.DEFAULTS), *emojivoto.manifests(EMOJIVOTO)]
SERVICES: list[Service] = [*bookinfo.services(), *emojivoto.services(EMOJIVOTO)]
ENTRIES = [one for one in SERVICES if one.name in {app.entry[0] for app in APPS.values()}]
"""The Services that users call, by the gateway."""
CLOSED: Mapping[str, Any] = {
    "namespaces": {name: {"default": "deny"} for name in CALLS},
    "preset": list(CALLS),
}
WORLD = World(
    tuple(SERVICES),
    read_workloads(MANIFESTS, lambda _: True),
    gateways={town.GATEWAY: Account(town.EDGE, town.GATEWAY)},
    scrapers=(Account("prometheus", "prometheus"),),
    trust_domain=TRUST_DOMAIN,
    control_plane=ROOT,
)


def closed(mesh: str) -> SecurityCompilation:
    """What closes both samples but for the calls that they make, and those of their users by the gateway."""
    policy, diagnostics = parse(
        CLOSED,
        "meshup:security",
        SERVICES,
        mode=MODE,
        environment="dev",
        today=today(),
        gateways=WORLD.gateways,
        presets=CALLS,
        exposures={one.host: [town.GATEWAY] for one in ENTRIES},
    )
    made = compile_policy(policy, mesh, [kind.security for kind in MESHES.values()], WORLD)
    faults = errors([*diagnostics, *made.diagnostics])
    assert not faults, render(faults)
    return made


def with_servers(mesh: str, made: SecurityCompilation) -> tuple[Manifest, ...]:
    """The objects of a policy, those among them that the component of routes writes."""
    routes = compile_routes([], mesh, SERVICES, guards=made.guards)
    assert not errors(routes.diagnostics), render(routes.diagnostics)
    return (*(one.manifest for one in made.objects), *routes.manifests)


def examples(mesh: str) -> Iterator[Example]:
    """Every cell of the capability matrix that says yes for a mesh, and both samples closed."""
    plane = MESHES[mesh].security
    for feature in FEATURES:
        if feature.name not in plane.refusals:
            yield Example(feature.name, mesh, with_servers(mesh, compiled(feature.example, plane)))
    yield Example("samples", mesh, with_servers(mesh, closed(mesh)))
