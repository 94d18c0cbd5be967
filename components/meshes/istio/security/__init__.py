"""Istio as policies see it: see `SecurityPlane`."""

from .plane import ISTIO_SECURITY

__all__ = ["ISTIO_SECURITY"]
