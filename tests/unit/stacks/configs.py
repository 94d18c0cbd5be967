"""Configurations for the tests, as Pulumi hands them over."""

from datetime import UTC, datetime
from typing import Any

from stacks.settings import RawConfig

NOW = datetime(2027, 3, 1, tzinfo=UTC)
"""When tests compile that do not ask about time."""


def raw(*, secret: tuple[str, ...] = (), kubernetes: dict[str, str] | None = None, **meshup: Any) -> RawConfig:
    """The configuration of the README's stack, with other keys set. A key set to None is taken out."""
    keys: dict[str, Any] = {
        "environment": "dev",
        "mesh": "istio",
        "apps": ["bookinfo"],
        "traffic": {"reviews": {"namespace": "bookinfo", "split": {"v1": 90, "v2": 10}}},
    } | meshup
    named = {key: value for key, value in keys.items() if value is not None}
    return RawConfig(meshup=named, kubernetes=kubernetes or {"context": "kind-dev"}, secret=frozenset(secret))
