"""What routes can be compiled to on Linkerd."""

from ...traffic.targets import Target
from .http_route import LinkerdRoute
from .service_profile import ServiceProfile

LINKERD_ROUTE = LinkerdRoute()
SERVICE_PROFILE = ServiceProfile()
TARGETS: tuple[Target, ...] = (LINKERD_ROUTE, SERVICE_PROFILE)
"""In the order in which `api: auto` tries them."""
