"""Linkerd's certificates: made, checked, kept and rotated as code (docs/identity.md)."""
