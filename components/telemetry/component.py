"""Registers the objects that make proxies trace and log."""

from collections.abc import Mapping
from typing import Any

import pulumi

from ..arguments import Arguments
from ..resources import register


class TelemetryArgs(Arguments):
    """Arguments of `Telemetry`."""

    objects: list[dict[str, Any]]
    """Manifests."""


class Telemetry(pulumi.ComponentResource):
    """What makes the proxies of a mesh trace and log."""

    def __init__(
        self, name: str, args: TelemetryArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:Telemetry", name, {}, opts)
        for item in TelemetryArgs.of(args).objects:
            role = f"{item['metadata']['namespace']}-{item['kind'].lower()}"
            register(f"{name}-{role}", item, pulumi.ResourceOptions(parent=self))
        self.register_outputs({})
