"""Linkerd, with its identity and linkerd-viz."""
