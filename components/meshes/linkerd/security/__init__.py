"""Linkerd as policies see it: see `SecurityPlane`."""

from .plane import LINKERD_SECURITY

__all__ = ["LINKERD_SECURITY"]
