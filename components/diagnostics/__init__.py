"""Coded faults: the catalogue of every code, one report for all of them, one reader of raw configuration. Pure."""

from .codes import CATALOGUE, Code
from .report import ConfigurationError, Diagnostic, Severity, errors, nearest, one_of, ordered, render

__all__ = [
    "CATALOGUE",
    "Code",
    "ConfigurationError",
    "Diagnostic",
    "Severity",
    "errors",
    "nearest",
    "one_of",
    "ordered",
    "render",
]
