"""Processes that outlive the command which started them: told apart after a crash or a reboot, and ended.

A process id alone may by now belong to someone else. A process is recorded as id, start time in clock ticks since boot
(field 22 of /proc/PID/stat, proc(5)) and the boot's id. What was started but never recorded, because its starter was
killed in between, is found by an environment variable that every process of a cluster inherits. Linux only.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MARKER_VARIABLE = "MESHUP_CLUSTER_ID"
"""Carried by every process of a cluster, with the cluster's own random id as its value."""

_PROC = Path("/proc")
_POLL_SECONDS = 0.02
# Fields of /proc/PID/stat counted after the command's name: the state is field 3, the start time field 22.
_STATE, _PARENT, _STARTED = 0, 1, 19


@dataclass(frozen=True)
class ProcessId:
    """One process of one boot, never mistaken for a later one with the same number."""

    pid: int
    started: int
    """Start time in clock ticks since boot."""
    boot: str
    """The kernel's random boot id."""

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """Return the identity of a running process, or None if there is none with this number."""
        stat = _stat(pid)
        return cls(pid, stat[1], boot_id()) if stat else None

    @property
    def alive(self) -> bool:
        """Whether this very process still runs. One that has ended and waits for its parent does not."""
        if self.boot != boot_id():
            return False
        stat = _stat(self.pid)
        return stat is not None and stat[1] == self.started and stat[0] not in "ZX"

    def send(self, number: signal.Signals) -> None:
        """Send a signal if the process still runs and may be signalled."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def parse_stat(text: str) -> tuple[str, int]:
    """Return state letter and start time (clock ticks since boot) of the text of /proc/PID/stat.

    The command's name stands in parentheses and may hold spaces and parentheses itself.
    """
    fields = text.rpartition(")")[2].split()
    return fields[_STATE], int(fields[_STARTED])


def end(processes: Iterable[ProcessId], grace_seconds: float) -> list[ProcessId]:
    """End processes: SIGTERM, and SIGKILL for those that are still there after the grace period.

    Returns:
        Those that could not be ended.
    """
    remaining = [process for process in processes if process.alive]
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        for process in remaining:
            process.send(number)
        deadline = time.monotonic() + seconds
        while (remaining := [process for process in remaining if process.alive]) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    return remaining


def with_marker(marker: str) -> list[ProcessId]:
    """Return every process, of those this user may look into, that carries a cluster's marker in its environment."""
    entry = f"{MARKER_VARIABLE}={marker}".encode()
    found: list[ProcessId] = []
    for folder in _PROC.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if entry in environment.split(b"\0") and (process := ProcessId.of(int(folder.name))):
            found.append(process)
    return found


def ancestry(pid: int) -> list[int]:
    """Return a process and its parents, nearest first."""
    chain: list[int] = []
    while pid > 0 and pid not in chain:
        chain.append(pid)
        try:
            text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            break
        pid = int(text.rpartition(")")[2].split()[_PARENT])
    return chain


def detached_environment(base: Mapping[str, str], marker: str) -> dict[str, str]:
    """Return the environment of a process of a cluster: the marker added, proxies left out.

    Components of the cluster call each other at addresses that no proxy can reach.
    """
    environment = {key: value for key, value in base.items() if not key.lower().endswith("_proxy")}
    return environment | {MARKER_VARIABLE: marker}


def _stat(pid: int) -> tuple[str, int] | None:
    try:
        return parse_stat((_PROC / str(pid) / "stat").read_text(errors="replace"))
    except (OSError, ValueError, IndexError):
        return None


if __name__ == "__main__":
    # In a user namespace some processes belong to other users, whom only a process inside may look into and signal.
    end(with_marker(sys.argv[1]), grace_seconds=float(sys.argv[2]))
