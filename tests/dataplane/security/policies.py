"""A configuration of `meshup:security` on its way to the mesh, and the questions that are put to it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from components.diagnostics import Diagnostic, errors, render
from components.meshes import MESHES
from components.security.compile import SecurityCompilation, compile_policy
from components.security.evaluate import decide
from components.security.model import Mode, Policy
from components.security.parse import parse
from components.security.plane import AccessRequest
from components.security.world import Call, World
from components.traffic.model import Service
from devcluster.kubelet.registry import RunningPod
from tests.dataplane.security import town
from tests.dataplane.security.bench import Bench
from tests.dataplane.security.town import Outcome

MODE: Mode = "strict"
"""Of the mesh that these tests share."""
PLANE = MESHES["istio"].security


@dataclass(frozen=True)
class Compiled:
    """A policy and its objects.

    Attributes:
        policy: The policy.
        made: What it is compiled to for Istio.
        world: What is known beside it.
    """

    policy: Policy
    made: SecurityCompilation
    world: World

    @property
    def manifests(self) -> list[dict[str, Any]]:
        """The objects in the order in which they are made."""
        return [one.manifest for one in self.made.objects]

    def by_policy(self, request: AccessRequest) -> bool:
        """Whether the policy allows a request."""
        return decide(self.policy, self.world, request).allowed

    def by_objects(self, request: AccessRequest) -> Outcome:
        """What the objects say of a request."""
        return town.predicted(PLANE.verdict(self.manifests, self.world, request, MODE))


def today() -> date:
    """The day on which exceptions may have ended."""
    return datetime.now(UTC).date()


def parsed(
    raw: Mapping[str, Any], world: World, presets: Mapping[str, Sequence[Call]] | None = None
) -> tuple[Policy, list[Diagnostic]]:
    """Read a configuration."""
    return parse(
        raw,
        "meshup:security",
        world.services,
        mode=MODE,
        environment="dev",
        today=today(),
        gateways=world.gateways,
        presets=presets,
    )


def compiled(
    raw: Mapping[str, Any], world: World = town.WORLD, presets: Mapping[str, Sequence[Call]] | None = None
) -> Compiled:
    """Compile a configuration, which must be right."""
    policy, diagnostics = parsed(raw, world, presets)
    made = compile_policy(policy, "istio", [mesh.security for mesh in MESHES.values()], world)
    faults = errors([*diagnostics, *made.diagnostics])
    assert not faults, render(faults)
    return Compiled(policy, made, world)


def of(request: AccessRequest, service: Service) -> AccessRequest:
    """The request, of another Service with the same ports."""
    return replace(request, service=service)


def dated(request: AccessRequest) -> AccessRequest:
    """The request as it is now: times of its token, which are seconds from now on, become those of the clock."""
    now = time.time()
    claims = {key: now + value if key in ("exp", "nbf") else value for key, value in request.claims.items()}
    return replace(request, claims=claims, now=now)


def through(bench: Bench, asked: Sequence[AccessRequest]) -> dict[int, Outcome]:
    """Send those requests through the sidecars of pods that some pod can make, and return what became of each.

    A pod has its own account and its own address.
    """
    found: dict[int, Outcome] = {}
    for account, (space, name) in town.callers().items():
        own = [n for n, one in enumerate(asked) if (one.caller, one.trust_domain, one.address) == (account, "", "")]
        # A port that is in no Service has no address, and another host no route.
        own = [n for n in own if asked[n].port in asked[n].service.ports and not asked[n].host]
        requests = [
            town.sent(one, bench.service(one.service.namespace, one.service.name).address, one.port.number)
            for one in (asked[n] for n in own)
        ]
        answers = bench.through(bench.pod(space, app=name), requests)
        found |= {n: town.observed(answer) for n, answer in zip(own, answers, strict=True)}
    return found


def answers(bench: Bench, asked: Sequence[AccessRequest], called: dict[str, RunningPod]) -> list[dict[str, Outcome]]:
    """Send requests by all ways that they can take, and return what became of each, by way."""
    direct = town.straight(bench, asked, called)
    by_sidecar = through(bench, asked)
    return [
        {"straight": one, **({"through a sidecar": by_sidecar[n]} if n in by_sidecar else {})}
        for n, one in enumerate(direct)
    ]
