"""Routes as callers outside of the cluster meet them: at a gateway, by host and path.

Interface::

    edges(routes) -> list[Edge]               # one for each gateway and host that routes name
    check_exposure(route) -> diagnostics      # one route
    check_exposures(routes) -> diagnostics    # with each other

The rules of a route hold at the gateway as they hold in the mesh, for the paths that the gateway takes for its Service.
Several routes may share a host if their paths differ: the most specific path decides whose rules a request meets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, groupby

from ..diagnostics import Diagnostic
from ..gateways.model import EVERY_HOST, Gateway, covers
from .model import Backend, Destination, Exposure, Match, Route, Rule, TextMatch
from .overlap import EVERY_PATH, PATH_TEXTS, method_of, path_of

DEFAULT_RULE = "default"


@dataclass(frozen=True, slots=True)
class Edge:
    """All that a gateway does with the requests for a host.

    Attributes:
        gateway: The gateway.
        host: A host that routes name; `*` is every host that no other entry takes.
        route: The rules of all its routes, in order, as one route of the first Service.
        owners: The route of each of these rules.
    """

    gateway: Gateway
    host: str
    route: Route
    owners: tuple[Route, ...]

    @property
    def routes(self) -> list[Route]:
        """Its routes, once each."""
        return list({route.key: route for route in self.owners}.values())


def edges(routes: Iterable[Route]) -> list[Edge]:
    """Return what gateways do with the requests for each host, in the order of the configuration."""
    by_host: dict[tuple[str, str], list[Route]] = {}
    for route in routes:
        for host in route.exposure.hosts if route.exposure else ():
            by_host.setdefault((route.exposure.gateway.name if route.exposure else "", host), []).append(route)
    return [_edge(host, sharing) for (_, host), sharing in by_host.items()]


def _edge(host: str, routes: Sequence[Route]) -> Edge:
    first = routes[0]
    exposure = _exposure(first)
    claims = [(path, route) for route in routes for path in _exposure(route).paths or (EVERY_PATH,)]
    # Sorting is stable, so that one route keeps the order of its paths.
    claims.sort(key=lambda claim: (claim[0].kind == "exact", len(claim[0].value)), reverse=True)
    if len(routes) == 1:
        claims = [(path, first) for path in exposure.paths or (EVERY_PATH,)]
    rules: list[Rule] = []
    owners: list[Route] = []
    names: set[str] = set()
    for _, group in groupby(claims, key=lambda claim: claim[1].key):
        block = list(group)
        owner = block[0][1]
        paths = [path for path, _ in block]
        for rule in edge_rules(owner, () if EVERY_PATH in paths else paths):
            base = rule.name if len(routes) == 1 else f"{owner.key}-{rule.name}"
            name = next(n for n in chain((base,), (f"{base}-{i}" for i in count(2))) if n not in names)
            names.add(name)
            rules.append(replace(rule, name=name))
            owners.append(owner)
    return Edge(exposure.gateway, host, replace(first, rules=tuple(rules)), tuple(owners))


def edge_rules(route: Route, paths: Sequence[TextMatch]) -> list[Rule]:
    """Return the rules of a route as they hold at a gateway.

    Args:
        route: The route. Without rules, every request goes to its Service.
        paths: The paths that the gateway takes for it; empty for every path.
    """
    whole = Rule(DEFAULT_RULE, backends=(Backend(Destination(route.service, route.port), 100, route.where),))
    found: list[Rule] = []
    for rule in route.rules or (replace(whole, where=route.where),):
        # Callers from outside are no workloads of the mesh.
        met = [match for match in rule.matches if not (match.source or match.source_namespace)]
        if rule.matches and not met:
            continue
        inside = [one for match in met or (Match(where=rule.where),) for one in narrowed(match, paths)[0]]
        if inside:
            every = not met and not paths
            found.append(replace(rule, matches=() if every else tuple(dict.fromkeys(inside))))
    return found


def narrowed(match: Match, paths: Sequence[TextMatch]) -> tuple[list[Match], list[TextMatch]]:
    """Return the matches that take what a match takes of some paths; and the paths for which that can't be said.

    Args:
        match: The match.
        paths: The paths; empty for every path.
    """
    own = path_of(match)
    if not paths or any(PATH_TEXTS.covers(path, own) for path in paths):
        return [match], []
    inside: list[Match] = []
    unclear: list[TextMatch] = []
    for path in paths:
        if PATH_TEXTS.covers(own, path):
            inside.append(replace(match, path=path, method=method_of(match), grpc_service="", grpc_method=""))
        elif not PATH_TEXTS.disjoint(own, path):
            unclear.append(path)
    return inside, unclear


def check_exposure(route: Route) -> Iterator[Diagnostic]:
    """Check how one route is reached from outside."""
    exposure = route.exposure
    if exposure is None:
        return
    gateway = exposure.gateway
    passed_on = False
    for index, host in enumerate(exposure.hosts):
        serving = gateway.serving(host)
        where = f"{exposure.where}.hosts" + (f"[{index}]" if host != EVERY_HOST else "")
        if not serving:
            listed = sorted({own for one in gateway.listeners if not one.redirect for own in one.hosts})
            message = f"No listener of the gateway '{gateway.name}' passes requests for this host to a route."
            allowed = f"hosts of its listeners: {', '.join(listed)}" if listed else "the gateway has no listeners"
            yield Diagnostic("MSH402", where, host, message, allowed)
        passed_on |= any(one.protocol == "tls" for one in serving)
        if any(one.protocol == "tls" for one in serving) and host == EVERY_HOST:
            message = "TLS that is passed on is told apart by the host that the client names, so each must be named."
            remedy = "Write 'hosts' of the route."
            yield Diagnostic("MSH408", where, host, message, "hosts by name", remedy)
    if passed_on and (route.rules or exposure.paths):
        message = f"The gateway '{gateway.name}' passes TLS on unread, so it sees no requests to match."
        remedy = "Remove rules and paths, or end TLS at the gateway with protocol https."
        yield Diagnostic("MSH408", route.where, None, message, "a route without rules", remedy)
    for rule in route.rules:
        yield from _check_narrowed(rule, exposure)


def _check_narrowed(rule: Rule, exposure: Exposure) -> Iterator[Diagnostic]:
    """Refuse what can't be said of some paths only."""
    for match in rule.matches or (Match(where=rule.where),):
        inside, unclear = narrowed(match, exposure.paths)
        for path in unclear:
            message = f"Which of the paths of '{rule.name}' are among {path.kind} {path.value} can't be written."
            remedy = "Use exact paths and prefixes, in the rule or in 'paths'."
            yield Diagnostic("MSH409", f"{exposure.where}.paths", path.value, message, remedy=remedy)
        if rule.rewrite and rule.rewrite.prefix and inside != [match]:
            message = f"The gateway takes some paths of '{rule.name}' only, so another prefix would be replaced."
            remedy = "Give the rule a match on the prefix that is in 'paths'."
            yield Diagnostic("MSH409", f"{rule.rewrite.where}.prefix", rule.rewrite.prefix, message, remedy=remedy)
            break


def check_exposures(routes: Sequence[Route]) -> Iterator[Diagnostic]:
    """Find paths of a host that two routes want, and hosts that hide a part of a wildcard."""
    claims: dict[tuple[str, str], list[tuple[TextMatch, Route]]] = {}
    for route in routes:
        exposure = route.exposure
        if exposure is None:
            continue
        for host in exposure.hosts:
            others = claims.setdefault((exposure.gateway.name, host), [])
            for path in exposure.paths or (EVERY_PATH,):
                other = next((owner for taken, owner in others if owner is not route and _unordered(taken, path)), None)
                if other is not None:
                    message = (
                        f"'{other.key}' ({other.where}) takes {_text(path)} of {_host(host)} at the gateway "
                        f"'{exposure.gateway.name}' too."
                    )
                    remedy = "Give the routes different 'paths', of which one may lie inside of the other."
                    yield Diagnostic("MSH403", exposure.where, host, message, "one route for a host and path", remedy)
                    break
            others += [(path, route) for path in exposure.paths or (EVERY_PATH,)]
    wildcards = [(gateway, host) for gateway, host in claims if host.startswith("*")]
    for (gateway, host), listed in claims.items():
        owner = listed[0][1]
        narrow = _at_most(_exposure(owner).gateway, host)
        for wide in (wide for name, wide in wildcards if name == gateway and wide != host and covers(wide, host)):
            other = claims[gateway, wide][0][1]
            if narrow:
                message = (
                    f"'{other.key}' takes {_host(wide)}. At a listener for {narrow} alone, the rules of both would be "
                    "joined, in the order in which they were made."
                )
                remedy = f"Name the hosts of '{other.key}', or let the listener take {_host(wide)} as well."
                yield Diagnostic("MSH403", owner.where, host, message, "one route for a host and path", remedy)
            elif all(path != EVERY_PATH for path, _ in listed):
                message = (
                    f"'{other.key}' takes {_host(wide)}, and requests for {host} do not go there: paths that "
                    f"'{owner.key}' does not take get 404."
                )
                yield Diagnostic("MSH421", owner.where, host, message, severity="warning")


def _at_most(gateway: Gateway, host: str) -> str:
    """Return the host of a listener that takes no name beyond those of a host, "" if there is none.

    To such a listener a route for a wider host is one for the same host (Istio 1.30, pilot/pkg/networking/core,
    gateway.go: hosts of server and VirtualService are intersected, and routes of equal ones are joined).
    """
    listeners = [one for one in gateway.serving(host) if one.protocol != "tls"]
    return next((own for one in listeners for own in one.hosts if covers(host, own)), "")


def _unordered(first: TextMatch, second: TextMatch) -> bool:
    """Return True if some path meets both, and neither is the more specific one."""
    if first == second:
        return True
    return "regex" in (first.kind, second.kind) and not PATH_TEXTS.disjoint(first, second)


def _exposure(route: Route) -> Exposure:
    if route.exposure is None:
        raise ValueError(f"{route.key} is not exposed.")
    return route.exposure


def _text(path: TextMatch) -> str:
    return "every path" if path == EVERY_PATH else f"the {path.kind} {path.value}"


def _host(host: str) -> str:
    return "every host" if host == EVERY_HOST else host
