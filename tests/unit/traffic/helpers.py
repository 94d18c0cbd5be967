"""Known Services and shorthands that the tests of the routing core share."""

from __future__ import annotations

from components.diagnostics import Diagnostic, render
from components.traffic import Port, Route, Service, Version, parse

PATH = "meshup:traffic"


def service(
    name: str, *versions: str, namespace: str = "bookinfo", ports: tuple[Port, ...] = (Port(9080, "http"),)
) -> Service:
    """A Service whose versions select by the label `version`."""
    return Service(
        name,
        namespace,
        ports,
        tuple(Version(version, (("version", version),)) for version in versions),
        (("app", name),),
    )


REVIEWS = service("reviews", "v1", "v2", "v3")
RATINGS = service("ratings", "v1")
PRODUCTPAGE = service("productpage", "v1")
GATEWAY = service("gateway", "v1", namespace="edge", ports=(Port(80, "http"), Port(9000, "grpc-api")))
SERVICES = (REVIEWS, RATINGS, PRODUCTPAGE, GATEWAY)


def routes_of(raw: object) -> list[Route]:
    """The routes of a configuration that must have no fault."""
    routes, diagnostics = parse(raw, PATH, SERVICES)
    assert not diagnostics, render(diagnostics)
    return routes


def faults_of(raw: object) -> list[Diagnostic]:
    """The faults that reading a configuration finds."""
    return parse(raw, PATH, SERVICES)[1]


def found(diagnostics: list[Diagnostic]) -> set[tuple[str, str]]:
    """Code and path below meshup:traffic, for comparisons."""
    return {(diagnostic.code, diagnostic.path.removeprefix(PATH).lstrip(".")) for diagnostic in diagnostics}
