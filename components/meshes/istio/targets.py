"""What routes can be compiled to on Istio."""

from ...traffic.targets import Target
from .http_route import IstioRoute
from .virtual_service import VirtualService

VIRTUAL_SERVICE = VirtualService()
ISTIO_ROUTE = IstioRoute()
TARGETS: tuple[Target, ...] = (VIRTUAL_SERVICE, ISTIO_ROUTE)
"""In the order in which `api: auto` tries them."""
