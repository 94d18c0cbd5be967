"""The pure core of traffic: model, diagnostics, compilers. Imports no Pulumi.

The way of the data: `parse` (raw configuration -> routes) -> `compile_routes` (routes -> manifests for a mesh). See
the docstrings of components/routing/parse.py and components/routing/compile.py for the interface.
"""

from components.routing.compile import Compilation, compile_routes
from components.routing.diagnostics import CATALOGUE, ConfigurationError, Diagnostic, errors, render
from components.routing.model import Port, Route, Service, Version
from components.routing.parse import parse

__all__ = [
    "CATALOGUE",
    "Compilation",
    "ConfigurationError",
    "Diagnostic",
    "Port",
    "Route",
    "Service",
    "Version",
    "compile_routes",
    "errors",
    "parse",
    "render",
]
