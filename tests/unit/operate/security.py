"""A policy, its world and a mesh for tests of `meshup access`: made by hand, so that each test sees what it decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.apps import bookinfo
from components.gateways.settings import GatewaySettings
from components.manifests import Manifest
from components.meshes import TARGETS
from components.security.evaluate import decide
from components.security.model import Account, Identity, Mode, NamespacePolicy, Operation, Policy, Rule, Source
from components.security.paths import PathPattern, prefix, template
from components.security.plane import AccessRequest, Guarded, SecurityObject, SecurityPlane, Verdict
from components.security.workloads import read_workloads
from components.security.world import Call, World
from components.traffic import compile_routes, parse
from components.traffic.targets import Planned
from operate.access import Security

SERVICES = {service.name: service for service in bookinfo.services()}
PRODUCTPAGE, REVIEWS, RATINGS = (
    Account("bookinfo", f"bookinfo-{name}") for name in ("productpage", "reviews", "ratings")
)
GATEWAY = Account("istio-ingress", "public")
CALLS = (
    Call(None, "productpage", "bookinfo", 9080, "GET", ("/productpage",), "/productpage"),
    Call(PRODUCTPAGE, "reviews", "bookinfo", 9080, "GET", ({"template": "/reviews/{*}"},), "/reviews/0"),
    Call(PRODUCTPAGE, "details", "bookinfo", 9080, "GET", ({"template": "/details/{*}"},), "/details/0"),
    Call(REVIEWS, "ratings", "bookinfo", 9080, "GET", ({"template": "/ratings/{*}"},), "/ratings/0", note="v2, v3"),
)
WORLD = World(
    services=tuple(SERVICES.values()),
    workloads=read_workloads(bookinfo.manifests(bookinfo.DEFAULTS), lambda _: True),
    calls=CALLS,
    gateways={"public": GATEWAY},
)


class Plain(SecurityPlane):
    """A mesh that reads policies as they are: what the meshes of meshup do is their own tests' matter."""

    name = "plain"
    title = "Plain"
    refusals: Mapping[str, str] = {}
    kinds = (("test/v1", "Policy"),)

    def write(self, policy: Policy, world: World) -> Guarded:
        del world
        return Guarded(objects=(SecurityObject(written(policy), 0),))

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        del mode
        found = decide(objects[0]["spec"], world, request)
        name = f"Policy/bookinfo/{request.service.name}"
        closed = found.by == "mtls"
        return Verdict(
            found.allowed,
            None if found.allowed or closed else 403,
            "" if found.allowed or closed else "RBAC: access denied",
            7 if request.grpc and not found.allowed else None,
            name if found.key else "",
            "rules[0]" if found.key else "",
            found.reason,
        )


def written(policy: Policy) -> Manifest:
    """Return the object of a policy."""
    return {
        "apiVersion": "test/v1",
        "kind": "Policy",
        "metadata": {"name": "p", "namespace": "bookinfo"},
        "spec": policy,
    }


def account(caller: Account, trust_domain: str = "") -> Source:
    """Return a source that is one account."""
    return Source(Identity("account", caller.namespace, caller.name, trust_domain), title=str(caller))


def operation(*paths: PathPattern, methods: tuple[str, ...] = ("GET",), **more: Any) -> Operation:
    """Return an operation."""
    return Operation(methods=methods, paths=paths, **more)


def allow(service: str, *sources: Source, operations: tuple[Operation, ...] = (), **more: Any) -> Rule:
    """Return a rule of `allow`."""
    more.setdefault("key", f"allow.{service}[0]")
    more.setdefault("effect", "allow")
    return Rule(service=SERVICES[service], sources=sources, operations=operations, **more)


RULES = (
    allow("productpage", Source(Identity("account", GATEWAY.namespace, GATEWAY.name), gateway="public")),
    allow("reviews", account(PRODUCTPAGE), operations=(operation(prefix("/reviews")),)),
    allow("details", account(PRODUCTPAGE), operations=(operation(template("/details/{*}")),)),
)
POLICY = Policy(namespaces=(NamespacePolicy("bookinfo", "deny"),), rules=RULES, services=tuple(SERVICES.values()))
"""Bookinfo closed, with the edges of its call graph open but the one of reviews to ratings."""


def _exposed() -> tuple[Planned, ...]:
    """Return the route by which the gateway opens productpage."""
    chosen = GatewaySettings.model_validate({"listeners": [{"port": 80, "protocol": "http"}]})
    opened = chosen.gateway("public", "istio-ingress", ("istio",), "istio", "meshup:gateways.public")
    services = [*SERVICES.values()]
    written = {"productpage": {"gateway": "public", "paths": ["/productpage"]}}
    routes, _ = parse(written, "meshup:traffic", services, "cluster.local", [opened])
    return compile_routes(routes, "istio", TARGETS, services).planned


ROUTES = _exposed()


def security(policy: Policy = POLICY, world: World = WORLD, live: Policy | None = None) -> Security:
    """Return what decides by a policy."""
    objects = (written(policy),)
    return Security(policy, world, False, Plain(), objects, None if live is None else (written(live),), ROUTES)


def with_rules(*rules: Rule, policy: Policy = POLICY) -> Policy:
    """Return a policy with further rules."""
    return replace(policy, rules=(*policy.rules, *rules))
