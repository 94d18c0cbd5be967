"""The components of meshup: what others import.

Each module has pure functions that decide on plain data and one `ComponentResource` that registers the decision.

The names below are loaded when they are first used: `components.routing` is pure, and who needs only that does not wait
for Pulumi's libraries.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.apps.bookinfo import Bookinfo, BookinfoArgs
    from components.apps.emojivoto import Emojivoto, EmojivotoArgs
    from components.gateway_api import GatewayApi, GatewayApiArgs
    from components.istio import Istio, IstioArgs
    from components.linkerd import Linkerd, LinkerdArgs
    from components.namespace import MeshNamespace, MeshNamespaceArgs
    from components.security import MutualTls, MutualTlsArgs
    from components.traffic import Traffic, TrafficArgs
    from components.viz import Viz, VizArgs

__all__ = [
    "Bookinfo",
    "BookinfoArgs",
    "Emojivoto",
    "EmojivotoArgs",
    "GatewayApi",
    "GatewayApiArgs",
    "Istio",
    "IstioArgs",
    "Linkerd",
    "LinkerdArgs",
    "MeshNamespace",
    "MeshNamespaceArgs",
    "MutualTls",
    "MutualTlsArgs",
    "Traffic",
    "TrafficArgs",
    "Viz",
    "VizArgs",
]

_MODULES = {
    "Bookinfo": "apps.bookinfo",
    "Emojivoto": "apps.emojivoto",
    "GatewayApi": "gateway_api",
    "Istio": "istio",
    "Linkerd": "linkerd",
    "MeshNamespace": "namespace",
    "MutualTls": "security",
    "Traffic": "traffic",
    "Viz": "viz",
}


def __getattr__(name: str) -> Any:
    """Load a component or its arguments.

    Raises:
        AttributeError: There is no such component.
    """
    module = _MODULES.get(name.removesuffix("Args"))
    if module is None:
        raise AttributeError(f"module 'components' has no attribute {name!r}")
    return getattr(importlib.import_module(f"components.{module}"), name)
