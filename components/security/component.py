"""Registers the objects that the core of security compiled."""

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
from pydantic import Field

from ..arguments import Arguments, check_order
from ..diagnostics import Diagnostic
from ..resources import register


class SecurityArgs(Arguments):
    """Arguments of `Security`."""

    objects: list[dict[str, Any]]
    """Manifests in order of creation: what opens comes before what closes."""
    after: list[list[int]] = Field(default_factory=list[list[int]])
    """For each object, the positions of those that it waits for (components.security.order.dependencies). Without it,
    each waits for the one before."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse an order that no registration can follow."""
        yield from check_order(f"{path}.after", self.after, len(self.objects))


class Security(pulumi.ComponentResource):
    """The policies of a stack: who may do what."""

    def __init__(
        self, name: str, args: SecurityArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:Security", name, {}, opts)
        checked = SecurityArgs.of(args)
        made: list[pulumi.Resource] = []
        for number, item in enumerate(checked.objects):
            metadata = item["metadata"]
            before = [made[position] for position in checked.after[number]] if checked.after else made[-1:]
            role = f"{metadata['namespace']}-{metadata['name']}-{item['kind'].lower()}"
            options = pulumi.ResourceOptions(parent=self, depends_on=before)
            made.append(register(f"{name}-{role}", item, options))
        self.register_outputs({})
