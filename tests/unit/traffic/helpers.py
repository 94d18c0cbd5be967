"""Known Services and shorthands that the tests of the routing core share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from components import traffic
from components.diagnostics import Diagnostic, render
from components.gateways.model import Gateway, Listener, Tls
from components.meshes import TARGETS
from components.traffic import Compilation, Port, Route, Service, Version, parse
from components.traffic.model import AnyGuard, Mtls

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


LISTENERS = (
    Listener("https-443", 443, "https", ("shop.example.com", "*.example.org"), Tls("shop-tls")),
    Listener("http-80", 80, "http", ("shop.example.com",), redirect=True),
    Listener("http-8080", 8080, "http"),
    Listener("tls-8443", 8443, "tls", ("vault.example.com",)),
)
GATEWAYS = (
    Gateway("istio-public", "ingress", "istio", "", LISTENERS, "istio-public", "meshup:gateways.istio-public"),
    Gateway("public", "ingress", "gateway-api", "istio", LISTENERS, "public-istio", "meshup:gateways.public"),
)


def parsed(raw: object, services: Iterable[Service] = SERVICES) -> tuple[list[Route], list[Diagnostic]]:
    """The routes of a configuration, and its faults."""
    return parse(raw, PATH, services, gateways=GATEWAYS)


def routes_of(raw: object) -> list[Route]:
    """The routes of a configuration that must have no fault."""
    routes, diagnostics = parsed(raw)
    assert not diagnostics, render(diagnostics)
    return routes


def compile_routes(
    routes: Sequence[Route],
    mesh: str,
    services: Iterable[Service] = (),
    mtls: Mtls = "strict",
    guards: Sequence[AnyGuard] = (),
) -> Compilation:
    """What routes compile to, with all targets that there are."""
    return traffic.compile_routes(routes, mesh, TARGETS, services, mtls, guards=guards)


def faults_of(raw: object) -> list[Diagnostic]:
    """The faults that reading a configuration finds."""
    return parsed(raw)[1]


def found(diagnostics: list[Diagnostic]) -> set[tuple[str, str]]:
    """Code and path below meshup:traffic, for comparisons."""
    return {(diagnostic.code, diagnostic.path.removeprefix(PATH).lstrip(".")) for diagnostic in diagnostics}
