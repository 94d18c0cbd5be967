"""The add-ons that go with any mesh. Those of one mesh are in its folder (`Mesh.addons`)."""

from collections.abc import Mapping
from typing import Any

from .interface import Addon

ADDONS: Mapping[str, Addon[Any]] = {}
"""Add-ons by name."""
