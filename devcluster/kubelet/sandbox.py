"""The kubelet's side of a pod's shim."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

_SHIM = Path(__file__).with_name("shim.py")
_SECONDS = 30.0


class SandboxError(Exception):
    """The pod's namespaces or its file system can't be made; the message is the system's."""


class Sandbox:
    """A running shim: starts and signals processes in the pod, and tells when they end.

    Make it from the event loop's own thread: the kernel ends the shim when the thread that started it ends.
    """

    def __init__(self, process: asyncio.subprocess.Process, pid: int) -> None:
        self._process = process
        self.pid = pid
        self._exits: dict[str, asyncio.Future[int]] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def create(cls, environment: Mapping[str, str]) -> "Sandbox":
        """Start a shim in new namespaces.

        Raises:
            SandboxError: The system refuses them.
        """
        # The base interpreter: a venv adds nothing that the shim needs, and -S -I keep its start cheap.
        python = cast("str", getattr(sys, "_base_executable", sys.executable))
        process = await asyncio.create_subprocess_exec(
            python,
            *("-S", "-I", str(_SHIM)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        line = await asyncio.wait_for(process.stdout.readline(), _SECONDS)
        event: dict[str, Any] = json.loads(line) if line else {"event": "failed", "message": "the shim ended"}
        if event["event"] != "born":
            await process.wait()
            raise SandboxError(event["message"])
        return cls(process, event["pid"])

    async def set_up(self, **what: Any) -> None:
        """Build the pod's root and network (see `shim`).

        Raises:
            SandboxError: The system refuses a mount or an address.
        """
        self._send(do="set-up", **what)
        await asyncio.wait_for(self._ready, _SECONDS)

    def start(self, name: str, **what: Any) -> asyncio.Future[int]:
        """Start a process in the pod and return its exit code to come. 137 if the whole pod ends."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exits[name] = future
        self._send(do="run", name=name, **what)
        return future

    def signal(self, name: str, number: int) -> None:
        """Signal a process of the pod, if it still runs."""
        self._send(do="signal", name=name, signal=number)

    async def lost(self) -> None:
        """Return when the shim has ended."""
        await asyncio.shield(self._reader)

    async def close(self) -> None:
        """End every process of the pod at once, and its namespaces with them."""
        if self._process.returncode is None:
            # PID 1 takes the others with it; the process outside is its parent, reaps it and ends.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await self._process.wait()
        await self._reader

    def _send(self, **command: Any) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        if not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        message = "the pod's shim ended"
        while line := await self._process.stdout.readline():
            event = json.loads(line)
            match event["event"]:
                case "ready":
                    self._ready.set_result(None)
                case "exited":
                    future = self._exits.pop(event["name"], None)
                    if future is not None and not future.done():
                        future.set_result(event["code"])
                case "failed":
                    message = event["message"]
                case _:
                    pass
        if not self._ready.done():
            self._ready.set_exception(SandboxError(message))
        for future in self._exits.values():
            if not future.done():
                future.set_result(137)
