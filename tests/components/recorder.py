"""Registers a program under mocks and records what reached the monitor.

A wrong assertion inside `.apply` passes unseen, and "nothing was created" is true while registrations are still on
their way. So tests build inside `recorded`, which waits for all registrations, and assert on the records afterwards.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pulumi
from google.protobuf import json_format
from pulumi.runtime import mocks, rpc
from pulumi.runtime import settings as runtime_settings

from components.meshes.linkerd.identity.resource import CertificateProvider
from components.passwords import PasswordProvider

DYNAMIC = {
    "pulumi-python:dynamic/meshup:Certificate": CertificateProvider,
    "pulumi-python:dynamic/meshup:Password": PasswordProvider,
}
"""Dynamic resources, whose providers run in the program's own process."""


@dataclass
class Record:
    """One registration as the monitor got it.

    `inputs` are read from the wire: the mocks' own view hides a None in a Release's values. `request` has the rest.
    """

    type: str
    name: str
    urn: str
    parent: str
    provider: str
    inputs: dict[str, Any]
    dependencies: list[str]
    delete_before_replace: bool
    hooks: list[str] = field(default_factory=list[str])
    aliases: list[str] = field(default_factory=list[str])
    request: Any = None


class _Mocks(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        if provider := DYNAMIC.get(args.typ):
            inputs = cast("dict[str, Any]", cast("Any", args).inputs)
            made = provider().create({key: rpc.unwrap_rpc_secret(value) for key, value in inputs.items()})
            return made.id, cast("Any", made.outs)
        return f"{args.name}-id", cast("Any", args).inputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"no function is called by meshup: {args.token}")


class _Monitor(mocks.MockMonitor):
    def __init__(self, records: list[Record]) -> None:
        super().__init__(_Mocks())
        self._records = records

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 # the name of the RPC
        response: Any = cast("Any", super()).RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            self._records.append(
                Record(
                    request.type,
                    request.name,
                    response.urn,
                    request.parent,
                    request.provider,
                    json_format.MessageToDict(request.object),
                    list(request.dependencies),
                    request.deleteBeforeReplace,
                    [*request.hooks.before_create, *request.hooks.before_update],
                    [alias.urn for alias in request.aliases if alias.urn],
                    request,
                )
            )
        return response


def recorded(build: Callable[[], None], *, stack: str = "dev") -> list[Record]:
    """Run `build` under mocks and return the registrations in order of arrival."""
    records: list[Record] = []
    # A test that ran before may have closed the main thread's event loop (asyncio.run), and Pulumi asks for one.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        # The stack of an earlier test would hand its transformations on to this one.
        cast("Any", runtime_settings).set_root_resource(None)
        pulumi.runtime.set_mocks(_Mocks(), project="meshup", stack=stack, monitor=_Monitor(records))
        cast("Any", pulumi.runtime).test(build)()
    finally:
        loop.close()
    return records


def by_name(records: list[Record]) -> dict[str, Record]:
    """The records by resource name, which must be unique."""
    result = {record.name: record for record in records}
    assert len(result) == len(records), "two resources have one name"
    return result
