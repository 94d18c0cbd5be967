"""Policies, Services and requests for the tests of security."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from components.security.model import Account, Identity, Operation, Policy, Rule, Source
from components.security.plane import AccessRequest
from components.security.world import World
from components.traffic.model import Port, Service

REVIEWS = Service("reviews", "bookinfo", (Port(9080, "http"),), selector=(("app", "reviews"),))
CART = Service("cart", "shop", (Port(80, "http", target=8080), Port(8081, "http-metrics")), selector=(("app", "cart"),))
PRODUCTPAGE = Account("bookinfo", "bookinfo-productpage")
STRANGER = Account("bookinfo", "bookinfo-details")
WORLD = World(services=(REVIEWS, CART), gateways={"public": Account("meshup-gateways", "public")})


def source(account: Account = PRODUCTPAGE, **changes: Any) -> Source:
    """The callers under one account."""
    return replace(Source(Identity("account", account.namespace, account.name), title=str(account)), **changes)


def rule(*sources: Source, key: str = "allow.reviews[0]", **changes: Any) -> Rule:
    """A rule that allows productpage, or the given callers, to call reviews."""
    made = Rule(key, "allow", REVIEWS, sources or (source(),), where=f"meshup:security.{key}")
    return replace(made, **changes)


def policy(*rules: Rule, **changes: Any) -> Policy:
    """A policy of these rules."""
    return replace(Policy(rules=rules, services=(REVIEWS, CART)), **changes)


def request(**changes: Any) -> AccessRequest:
    """productpage asks reviews for `GET /reviews/1`."""
    return replace(AccessRequest(REVIEWS, REVIEWS.ports[0], PRODUCTPAGE, path="/reviews/1"), **changes)


def at(port: Port, **changes: Any) -> tuple[Operation, ...]:
    """What is asked of a port."""
    return (replace(Operation(port), **changes),)
