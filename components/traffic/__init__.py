"""The pure core of traffic: model, checks, compilers. Only `component` imports Pulumi.

The way of the data: `parse` (raw configuration -> routes) -> `compile_routes` (routes -> manifests for a mesh). See
the docstrings of components/traffic/parse.py and components/traffic/compile.py for the interface.
"""

from .compile import Compilation, compile_routes
from .model import Port, Route, Service, Version
from .objects import TrafficObject, dependencies
from .parse import parse

__all__ = [
    "Compilation",
    "Port",
    "Route",
    "Service",
    "TrafficObject",
    "Version",
    "compile_routes",
    "dependencies",
    "parse",
]
