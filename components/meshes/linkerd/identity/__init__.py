"""Create, check, store and rotate Linkerd's certificates (docs/identity.md)."""
