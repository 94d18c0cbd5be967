"""The add-ons that go with any mesh. Those of one mesh are in its folder (`Mesh.addons`)."""

from collections.abc import Mapping
from typing import Any

from . import collector, grafana, jaeger, kiali, prometheus, zipkin
from .interface import Addon

ADDONS: Mapping[str, Addon[Any]] = {
    addon.name: addon
    for addon in (prometheus.ADDON, grafana.ADDON, zipkin.ADDON, jaeger.ADDON, collector.ADDON, kiali.ADDON)
}
"""Add-ons by name."""
