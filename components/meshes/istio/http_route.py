"""Routes -> HTTPRoute and GRPCRoute on Istio 1.30 (pilot/pkg/config/kube/gateway)."""

from __future__ import annotations

from collections.abc import Sequence

from ...traffic.gateway_api import REFUSALS, GatewayApiTarget, RouteDialect, RouteKind
from ...traffic.model import Route, TextMatch
from ...traffic.overlap import EVERY_PATH, method_of
from ...traffic.targets import Atom, Rank, Ranking
from .data_plane import ISTIO, LOOP

EVERY_PATH_AS_REGEX = TextMatch("regex", ".*")
"""As short as can be, because Istio prefers the longer pattern."""
_KIND_RANK = {"exact": 3, "prefix": 2, "regex": 1}
_NO_STANDARD_RETRY = (
    "HTTPRoute has no retries in the standard channel of the Gateway API (v1.5.1); Istio applies its own default."
)
_RETRIES = ("retries", "retries-off", "retries-by-budget", "retry-status", "retry-connection", "retry-grpc")


class IstioRoute(GatewayApiTarget):
    """HTTPRoutes of the mesh (GAMMA). A GRPCRoute is a condition on the path (createGRPCURIMatch)."""

    name = "istio-route"
    title = "Istio HTTPRoute"
    plane = ISTIO
    redirected_again = LOOP
    dialect = RouteDialect(timeouts=True, rust=False, grpc_exclusive=False, grpc_response_headers=True)
    refusals = (
        ISTIO.refusals
        | REFUSALS
        | dict.fromkeys((*_RETRIES, "retry-backoff"), _NO_STANDARD_RETRY)
        | dict.fromkeys(("fault-delay", "fault-abort"), "HTTPRoute has no fault injection.")
        | {
            "timeout-per-try": "Without retries, Istio takes backendRequest for the timeout of the whole request.",
            "gateway-istio": "An HTTPRoute binds to a Gateway of the Gateway API.",
            "rewrite-root": "Istio joins the prefix and the path without a slash: GET /items becomes /v2items "
            "(istio/istio#54920).",
        }
    )

    def every_path(self, route: Route) -> TextMatch:
        """Istio ranks any prefix above any regex, so beside a regex every path must be one too."""
        paths = [match.path for rule in route.rules for match in rule.matches]
        return EVERY_PATH_AS_REGEX if any(path and path.kind == "regex" for path in paths) else EVERY_PATH

    def rankings(self, route: Route) -> Sequence[Ranking]:
        """Exact before prefix before regex, then the longer text, then a method, then more headers, then more query
        parameters, then the order of the list (sortHTTPRoutes).
        """
        return [Ranking(_grpc_rank if self.kind(route) == "GRPCRoute" else _rank)]

    @property
    def at_edge(self) -> GatewayApiTarget:
        """A gateway has HTTPRoutes only, so that one host may have gRPC and other requests."""
        return _AT_EDGE


class _IstioEdgeRoute(IstioRoute):
    """HTTPRoutes of a gateway."""

    def kind(self, route: Route) -> RouteKind:
        """Return HTTPRoute."""
        del route
        return "HTTPRoute"


_AT_EDGE = _IstioEdgeRoute()
ISTIO_ROUTE = IstioRoute()


def _rank(atom: Atom, _: int) -> Rank:
    method = 1 if method_of(atom.match) else 0
    return (_KIND_RANK[atom.path.kind], len(atom.path.value), method, atom.header_count, len(atom.match.query))


def _grpc_rank(atom: Atom, _: int) -> Rank:
    """Rank a match of a GRPCRoute, which sets no method, and no path at all for every call."""
    if not atom.match.grpc_service:
        return (-1, 0, 0, atom.header_count, 0)
    return (_KIND_RANK[atom.path.kind], len(atom.path.value), 0, atom.header_count, len(atom.match.query))
