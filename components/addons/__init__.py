"""The add-ons that go with any mesh. Those of one mesh are in its folder (`Mesh.addons`)."""

from collections.abc import Mapping
from typing import Any

from .interface import Addon

ADDONS: Mapping[str, Addon[Any]] = {}
"""By name. A new one is a module here, and an entry."""
