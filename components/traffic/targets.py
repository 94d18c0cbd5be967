"""The interface of what routes are compiled to. A mesh implements it in its folder of components/meshes/.

A `DataPlane` is a mesh as routes see it: its proxies, and the objects that hold whatever API the routes use. A `Target`
is an API that it reads: what that API can't express, how it ranks matches, its checks, its objects.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..diagnostics import Diagnostic
from ..manifests import Manifest
from .claims import ClaimReader
from .edge import Edge
from .model import AnyGuard, Api, Egress, Match, Mtls, Route, Rule, Service, TextMatch, TextMatchKind
from .objects import Objects, Reader
from .overlap import EVERY_PATH
from .proxies import Proxy

EXACT_OR_REGEX: tuple[TextMatchKind, ...] = ("exact", "regex")
_NUMBER = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})")

Rank = tuple[int, ...]
Merger = Callable[[Manifest, Manifest], Manifest]
"""Takes the old and the new form of an object."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One match of one rule, as a target sees it.

    Attributes:
        index: Position of the rule in the list.
        rule: The rule.
        match: The match; one without conditions for a rule that takes everything.
        path: The path condition that is compiled.
        group: Number of the object that carries it.
    """

    index: int
    rule: Rule
    match: Match
    path: TextMatch
    group: int = 0

    @property
    def header_count(self) -> int:
        """How many header conditions are written; the cookies are one of them."""
        return len(self.match.headers) + (1 if self.match.cookies else 0)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How a mesh ranks the matches of a route.

    Attributes:
        rank: The rank of a match for a request whose path has so many characters; the higher one is preferred.
        by_path: Whether the rank of a prefix depends on the path: what counts the whole path is ahead of every prefix
            that it is below, and no longer when the path is just the prefix.
    """

    rank: Callable[[Atom, int], Rank]
    by_path: bool = False


@dataclass(frozen=True, slots=True)
class CallReading:
    """How conditions on gRPC are compared with a request.

    Attributes:
        post_only: Whether other methods than POST fail.
        exclusive: Whether the port takes gRPC calls only: whatever the path has behind service and method is ignored.
    """

    post_only: bool = True
    exclusive: bool = False


class DataPlane(ABC):
    """A mesh as routes see it.

    Attributes:
        name: Name of the mesh.
        title: For people.
        proxies: First version of the mesh with each proxy, newest first.
        pinned: The proxy of the pinned version.
        refusals: What none of its targets can do: name of the feature -> reason.
        readers: How the destinations of an object are read, by its kind; of the kinds that it writes.
        mergers: How an object keeps the destinations that only its former self has, by its apiVersion and kind; of the
            kinds that offer several destinations.
        claims: How the Services that an object decides on are read, by its apiVersion and kind.
    """

    name: str
    title: str
    proxies: Sequence[tuple[tuple[int, int, int], Proxy]]
    pinned: Proxy
    refusals: dict[str, str]
    readers: Mapping[str, Reader] = {}
    mergers: Mapping[tuple[str, str], Merger] = {}
    claims: Mapping[tuple[str, str], ClaimReader] = {}

    def known_proxies(self) -> list[Proxy]:
        """Return its proxies that read requests differently, the pinned one first."""
        return list(dict.fromkeys((self.pinned, *(proxy for _, proxy in reversed(self.proxies)))))

    def proxy(self, version: str) -> Proxy:
        """Return how the proxies of a version of the mesh read requests.

        As those of the pinned version do where the version says nothing, and for a development build: the embedded
        cluster has one, and its Envoy reads as that of the pinned version (docs/embedded-envoy.md).
        """
        numbers = None if version.endswith("-dev") else _NUMBER.match(version)
        number = (int(numbers[1]), int(numbers[2]), int(numbers[3])) if numbers else (0, 0, 0)
        return next((proxy for first, proxy in self.proxies if first <= number), self.pinned)

    def check(self, route: Route) -> Iterable[Diagnostic]:
        """Check a route, whatever target it is compiled to."""
        del route
        return ()

    def check_all(self, routes: Sequence[Route]) -> Iterable[Diagnostic]:
        """Check routes with each other."""
        del routes
        return ()

    @abstractmethod
    def write(self, planned: Sequence[Planned], objects: Objects, mtls: Mtls, guards: Sequence[AnyGuard]) -> None:
        """Add the objects that hold whatever target a route is compiled to: policies, limits, egress.

        Args:
            planned: The routes.
            objects: What they are added to.
            mtls: Whether the mesh admits callers without mutual TLS.
            guards: Ports and calls to the outside that the policy of security closes.
        """


class Target(ABC):
    """An API on a mesh that routes can be compiled to.

    Attributes:
        name: Key of the capability matrix.
        title: For people.
        plane: The mesh that reads it.
        api: The value of `api` in the configuration that asks for it.
        api_version: apiVersion of the object that carries the rules.
        kinds: The kinds that decide where a request goes, the first one first.
        refusals: What it can't do: name of the feature -> reason.
        mesh_only: What it can do for callers in the mesh, but not at a gateway: name of the feature -> reason.
        readers: How the destinations of an object are read, by its kind; of the kinds that it writes.
        claims: How the Services that an object decides on are read, by its apiVersion and kind.
        version_services: Whether a backend is a Service, so that each version needs one of its own.
        header_kinds: The kinds of comparison that it has for headers; others are written as regular expressions.
        query_kinds: The same for query parameters.
        redirected_again: What it does with a request for the address that its own redirect leads to.
    """

    name: str
    title: str
    plane: DataPlane
    api: Api
    api_version: str
    kinds: tuple[str, ...]
    refusals: Mapping[str, str]
    mesh_only: Mapping[str, str] = {}
    readers: Mapping[str, Reader] = {}
    claims: Mapping[tuple[str, str], ClaimReader] = {}
    version_services: bool = False
    header_kinds: tuple[TextMatchKind, ...] = EXACT_OR_REGEX
    query_kinds: tuple[TextMatchKind, ...] = EXACT_OR_REGEX
    redirected_again: str = ""

    @property
    def mesh(self) -> str:
        """Name of the mesh that reads it."""
        return self.plane.name

    @property
    def at_edge(self) -> Target:
        """How a gateway reads what `write_edges` writes; by default as the mesh does."""
        return self

    def every_path(self, route: Route) -> TextMatch:
        """Return how "every path" is written."""
        del route
        return EVERY_PATH

    def rankings(self, route: Route) -> Sequence[Ranking]:
        """Return the rankings of the pinned version, then of others; none if the order of the list is kept."""
        del route
        return ()

    def groups(self, route: Route) -> Sequence[Sequence[Rule]]:
        """Return the rules by the object that carries them."""
        return [route.rules]

    def call_reading(self, route: Route) -> CallReading | None:
        """Return how conditions on gRPC are compared; None for the path and the method that they stand for."""
        del route
        return CallReading()

    def check(self, route: Route) -> Iterable[Diagnostic]:
        """Check a route that is compiled to it, beyond its refusals and its ranking."""
        del route
        return ()

    def governs(self, route: Route) -> bool:
        """Return whether requests to the Service go by this API, so that no other one can govern them."""
        return bool(route.rules)

    def check_beside(self, owner: Route, route: Route) -> Iterable[Diagnostic]:
        """Check a route whose Service is governed by an earlier one that is compiled to the same target."""
        del owner, route
        return ()

    def shared_by(self, route: Route) -> Hashable:
        """Return a key that is equal for the routes which are written into one object."""
        return route.key

    @abstractmethod
    def write(self, routes: Sequence[Route]) -> Iterator[Manifest]:
        """Write the objects of routes with rules, that share them, in order of creation."""

    def write_edges(self, edges: Sequence[Edge]) -> Iterator[tuple[Manifest, Sequence[Route]]]:
        """Write the objects by which gateways send requests on, each with the routes that it is for."""
        del edges
        return iter(())


@dataclass(frozen=True, slots=True)
class Planned:
    """A route with the target that it is compiled to.

    Attributes:
        route: The route, with the catch-all rule that was added if it had none.
        target: Where it goes.
        reason: Why there, one sentence.
    """

    route: Route
    target: Target
    reason: str = ""


def place(service: Service) -> tuple[str, str]:
    """Return what identifies a Service: namespace and name."""
    return service.namespace, service.name


def by_service(planned: Iterable[Planned]) -> dict[tuple[str, str], list[Planned]]:
    """Return routes by the Service that they govern."""
    plans: dict[tuple[str, str], list[Planned]] = {}
    for plan in planned:
        plans.setdefault(place(plan.route.service), []).append(plan)
    return plans


def readers(targets: Iterable[Target]) -> dict[str, Reader]:
    """Return how the destinations of an object are read, by its kind, for all that targets write."""
    return {kind: read for t in targets for kind, read in (*t.plane.readers.items(), *t.readers.items())}


def egress_by_namespace(planned: Iterable[Planned]) -> Iterator[tuple[str, list[Egress], list[str]]]:
    """Yield each namespace with its hosts outside the mesh, each port once, and the routes that declare them."""
    egresses: dict[str, dict[tuple[str, int], Egress]] = {}
    keys: dict[str, dict[str, None]] = {}
    for plan in planned:
        for egress in plan.route.egress:
            namespace = plan.route.service.namespace
            egresses.setdefault(namespace, {}).setdefault((egress.host, egress.port), egress)
            keys.setdefault(namespace, {})[plan.route.key] = None
    for namespace, hosts in egresses.items():
        yield namespace, [hosts[key] for key in sorted(hosts)], [*keys[namespace]]


def versioned(route: Route) -> list[Service]:
    """Return the Services of which a route names versions, once each, in order of first use."""
    services: dict[tuple[str, str], Service] = {}
    for rule in route.rules:
        for destination in (*(b.destination for b in rule.backends), *(m.destination for m in rule.mirrors)):
            if destination.version:
                services.setdefault(place(destination.service), destination.service)
    return list(services.values())
