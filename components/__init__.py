"""The components of meshup: what others import.

Each module has pure functions that decide on plain data and one `ComponentResource` that registers the decision.

The names below are loaded when they are first used: `components.traffic` is pure, and who needs only that does not wait
for Pulumi's libraries.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .apps.bookinfo import Bookinfo, BookinfoArgs
    from .apps.emojivoto import Emojivoto, EmojivotoArgs
    from .gateway_api import GatewayApi, GatewayApiArgs
    from .gateways.component import Gateways, GatewaysArgs
    from .mesh_namespace import MeshNamespace, MeshNamespaceArgs
    from .meshes.istio.component import Istio, IstioArgs
    from .meshes.istio.mutual_tls import MutualTls, MutualTlsArgs
    from .meshes.linkerd.component import Linkerd, LinkerdArgs
    from .meshes.linkerd.viz import Viz, VizArgs
    from .security.component import Security, SecurityArgs
    from .traffic.component import Traffic, TrafficArgs

__all__ = [
    "Bookinfo",
    "BookinfoArgs",
    "Emojivoto",
    "EmojivotoArgs",
    "GatewayApi",
    "GatewayApiArgs",
    "Gateways",
    "GatewaysArgs",
    "Istio",
    "IstioArgs",
    "Linkerd",
    "LinkerdArgs",
    "MeshNamespace",
    "MeshNamespaceArgs",
    "MutualTls",
    "MutualTlsArgs",
    "Security",
    "SecurityArgs",
    "Traffic",
    "TrafficArgs",
    "Viz",
    "VizArgs",
]

_MODULES = {
    "Bookinfo": "apps.bookinfo",
    "Emojivoto": "apps.emojivoto",
    "GatewayApi": "gateway_api",
    "Gateways": "gateways.component",
    "Istio": "meshes.istio.component",
    "Linkerd": "meshes.linkerd.component",
    "MeshNamespace": "mesh_namespace",
    "MutualTls": "meshes.istio.mutual_tls",
    "Security": "security.component",
    "Traffic": "traffic.component",
    "Viz": "meshes.linkerd.viz",
}


def __getattr__(name: str) -> Any:
    """Load a component or its arguments.

    Raises:
        AttributeError: There is no such component.
    """
    module = _MODULES.get(name.removesuffix("Args"))
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{module}", __name__), name)
