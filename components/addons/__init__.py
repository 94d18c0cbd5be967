"""The add-ons that go with any mesh. Those of one mesh are in its folder (`Mesh.addons`)."""

from collections.abc import Mapping
from typing import Any

from . import collector, jaeger, prometheus, zipkin
from .interface import Addon

ADDONS: Mapping[str, Addon[Any]] = {
    addon.name: addon for addon in (prometheus.ADDON, zipkin.ADDON, jaeger.ADDON, collector.ADDON)
}
"""Add-ons by name."""
