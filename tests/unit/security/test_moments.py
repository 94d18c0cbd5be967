"""While a policy comes or goes, object by object, what is allowed stays open and what is denied stays closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.diagnostics import errors
from components.manifests import Manifest, object_ref
from components.meshes import MESHES, TARGETS
from components.security.compile import compile_policy
from components.security.evaluate import decide
from components.security.model import Account, Policy
from components.security.order import dependencies
from components.security.parse import parse
from components.security.plane import AccessRequest
from components.security.world import Workload, World
from components.traffic import Port, Service, compile_routes

WEB = Service("web", "shop", (Port(80, "http", "http", 8080), Port(90, "tcp-data")), selector=(("app", "web"),))
CART = Service("cart", "shop", (Port(80, "http", "http", 8080),), selector=(("app", "cart"),))
BILLS = Service("bills", "bank", (Port(80, "http", "http", 8080),), selector=(("app", "bills"),))
SERVICES = (WEB, CART, BILLS)
CALLERS = (Account("shop", "web"), Account("shop", "cart"), Account("bank", "bills"))
PLANES = [mesh.security for mesh in MESHES.values()]

sources: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"serviceAccount": "shop/web"},
        {"serviceAccount": "bank/bills"},
        {"namespace": "shop"},
        {"mesh": True},
        {"everybody": True},
        {"cidr": "10.0.0.0/8"},
    ]
)
operations: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"methods": ["GET"]},
        {"paths": ["/a"]},
        {"paths": [{"prefix": "/a"}], "methods": ["GET", "POST"]},
        {"port": 80},
        {"headers": {"x-a": "1"}},
    ]
)
rules: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"from": st.lists(sources, min_size=1, max_size=2)}, optional={"to": st.lists(operations, min_size=1, max_size=2)}
)
exceptions: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"namespace": st.just("shop"), "mode": st.sampled_from(["strict", "permissive"])},
    optional={"service": st.sampled_from(["web", "cart"])},
)
policies: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "namespaces": st.dictionaries(st.sampled_from(["shop", "bank"]), st.just({"default": "deny"}), min_size=1),
        "allow": st.dictionaries(
            st.sampled_from([one.name for one in SERVICES]), st.lists(rules, min_size=1, max_size=3), min_size=1
        ),
        "mtls": st.fixed_dictionaries(
            {"exceptions": st.lists(exceptions, min_size=1, max_size=2, unique_by=lambda one: one.get("service"))}
        ),
    },
)
requests = st.builds(
    AccessRequest,
    service=st.sampled_from(SERVICES),
    port=st.just(WEB.ports[0]),
    caller=st.none() | st.sampled_from(CALLERS),
    address=st.sampled_from(["10.1.2.3", "192.0.2.1"]),
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.sampled_from(["/", "/a", "/a/b"]),
    headers=st.sampled_from([(), (("x-a", "1"),)]),
)


class Step(NamedTuple):
    """An object, and the names of those that it waits for."""

    item: Manifest
    after: frozenset[str]

    @property
    def name(self) -> str:
        return str(object_ref(self.item))


def _world(mesh: str) -> World:
    workloads = tuple(
        Workload(one.name, one.namespace, "Deployment", one.name, one.selector, declared=(8080,)) for one in SERVICES
    )
    return World(SERVICES, workloads, control_plane="istio-system" if mesh == "istio" else "linkerd")


def _compiled(raw: dict[str, Any], mesh: str) -> tuple[Policy, list[Step]]:
    policy, found = parse(raw, "meshup:security", SERVICES, mode="strict", environment="dev", today=date(2026, 1, 1))
    compiled = compile_policy(policy, mesh, PLANES, _world(mesh))
    assume(not errors([*found, *compiled.diagnostics]))
    names = [str(object_ref(one.manifest)) for one in compiled.objects]
    steps = [
        Step(one.manifest, frozenset(names[number] for number in waits))
        for one, waits in zip(compiled.objects, dependencies(compiled.objects), strict=True)
    ]
    # The step of the routes, with Linkerd's Servers, follows that of the policy.
    routes = compile_routes((), mesh, TARGETS, SERVICES, guards=compiled.guards).objects
    return policy, [*steps, *(Step(one.manifest, frozenset(names)) for one in routes)]


def _ordered(steps: Sequence[Step], draw: Callable[[st.SearchStrategy[Step]], Step]) -> Iterator[Step]:
    """Yield the steps in any order in which each comes after those that it waits for."""
    left, done = list(steps), set[str]()
    while left:
        step = draw(st.sampled_from([one for one in left if one.after <= done]))
        left.remove(step)
        done.add(step.name)
        yield step


@pytest.mark.parametrize("mesh", MESHES)
@settings(max_examples=60)
@given(st.data())
def test_a_policy_comes_and_goes_without_a_moment_that_is_wrongly_open_or_closed(
    mesh: str, data: st.DataObject
) -> None:
    policy, steps = _compiled(data.draw(policies), mesh)
    world, plane = _world(mesh), MESHES[mesh].security
    asked: list[tuple[AccessRequest, bool]] = []
    for one in data.draw(st.lists(requests, min_size=10, max_size=20)):
        request = replace(one, port=one.service.ports[0])
        before, then = (decide(each, world, request).allowed for each in (Policy(services=SERVICES), policy))
        if before == then:
            asked.append((request, then))
    made = list(_ordered(steps, data.draw))
    # What is there is taken away in the reverse order, so each moment of coming is one of going too.
    for length in range(len(made) + 1):
        objects = [step.item for step in made[:length]]
        for request, allowed in asked:
            verdict = plane.verdict(objects, world, request, "strict")
            assert verdict.allowed == allowed, (request, verdict, [step.name for step in made[:length]])


ACCOUNTS = [{"serviceAccount": "shop/web"}, {"serviceAccount": "bank/bills"}]
READS = [{"methods": ["GET"], "paths": [{"prefix": "/a"}]}]
WIDE: dict[str, Any] = {"allow": {"cart": [{"from": ACCOUNTS}]}}
NARROW: dict[str, Any] = {"allow": {"cart": [{"from": ACCOUNTS[:1], "to": READS}, {"from": ACCOUNTS[1:]}]}}
NARROWER: dict[str, Any] = {"allow": {"cart": [{"from": ACCOUNTS, "to": READS}]}}


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize(("old", "new"), [(WIDE, NARROW), (NARROW, WIDE), (NARROW, NARROWER), (NARROWER, WIDE)])
@settings(max_examples=20)
@given(st.data())
def test_a_rule_is_narrowed_and_widened_without_a_moment_that_is_wrongly_open_or_closed(
    mesh: str, old: dict[str, Any], new: dict[str, Any], data: st.DataObject
) -> None:
    (before, former), (then, steps) = (_compiled(raw, mesh) for raw in (old, new))
    world, plane = _world(mesh), MESHES[mesh].security
    asked = [
        (request, decide(then, world, request).allowed)
        for caller in CALLERS
        for method in ("GET", "POST")
        for path in ("/", "/a")
        for request in [AccessRequest(CART, CART.ports[0], caller, method=method, path=path)]
        if decide(before, world, request).allowed == decide(then, world, request).allowed
    ]
    objects = {step.name: step.item for step in former}
    kept = {step.name for step in steps}
    # Pulumi makes and changes first, and then takes away what nothing else waited for.
    changes = [(step, True) for step in _ordered(steps, data.draw)]
    gone = {step.name for step in former} - kept
    changes += [(step, False) for step in reversed(list(_ordered(former, data.draw))) if step.name in gone]
    for step, made in changes:
        objects.pop(step.name, None)
        objects |= {step.name: step.item} if made else {}
        for request, allowed in asked:
            verdict = plane.verdict(list(objects.values()), world, request, "strict")
            assert verdict.allowed == allowed, (request, verdict, step.name, made)


@settings(max_examples=20)
@given(st.data())
def test_what_a_namespace_has_closed_is_denied_before_it_is_allowed(data: st.DataObject) -> None:
    closed: dict[str, Any] = {"namespaces": {"shop": {"default": "deny"}}}
    denied = {"cart": [{"from": [{"serviceAccount": "bank/bills"}]}]}
    policy, steps = _compiled({"allow": {"cart": [{"from": [{"mesh": True}]}]}, "deny": denied}, "istio")
    former = {step.name: step.item for step in _compiled(closed, "istio")[1]}
    world, request = _world("istio"), AccessRequest(CART, CART.ports[0], Account("bank", "bills"))
    assert not decide(policy, world, request).allowed
    for step in _ordered(steps, data.draw):
        former[step.name] = step.item
        assert not MESHES["istio"].security.verdict(list(former.values()), world, request, "strict").allowed
