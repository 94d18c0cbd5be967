"""Istio in sidecar mode."""
