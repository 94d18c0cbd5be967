"""Runs a command and measures it: wall clock, and processor time and peak memory of the Pulumi program in it."""

import contextlib
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from devcluster.bench.figures import Run

PROGRAM = "pulumi-language-python-exec"
"""Every Python program of Pulumi is run by this script (pulumi SDK 3.200, sdk/python/cmd)."""
_SEARCH_SECONDS = 0.1
_SAMPLE_SECONDS = 0.02


class BenchError(Exception):
    """A command that was to be measured failed. The message ends with what it said."""


def timed(argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Run:
    """Run a command to its end.

    Raises:
        BenchError: It failed.
    """
    start, before = time.perf_counter(), _processor()
    with subprocess.Popen(
        argv,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        watch = _Watch(process.pid)
        watch.start()
        said, _ = process.communicate()
        seconds = time.perf_counter() - start
        watch.end()
    if process.returncode != 0:
        command = " ".join(argv[-4:])
        raise BenchError(f"`{command}` failed with exit code {process.returncode}:\n{said.strip()[-4000:]}")
    return Run(seconds, _processor() - before, watch.seconds, watch.mib)


def _processor() -> float:
    """Processor time of all ended children and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Watch(threading.Thread):
    """Looks at the program below a process until the process ends.

    The program is looked for among all processes, which costs; once found, only its own two files in /proc are read.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = pid
        self._over = threading.Event()
        self.seconds: float | None = None
        self.mib: float | None = None

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()

    def run(self) -> None:
        program: psutil.Process | None = None
        while not self._over.wait(_SEARCH_SECONDS if program is None else _SAMPLE_SECONDS):
            with contextlib.suppress(psutil.Error, OSError):
                if program is None:
                    program = _program_below(self._root)
                else:
                    self._sample(program)

    def _sample(self, program: psutil.Process) -> None:
        used = program.cpu_times()
        status = Path(f"/proc/{program.pid}/status").read_text(encoding="ascii", errors="replace")
        peak = peak_mib(status)
        if peak is not None:
            self.seconds, self.mib = used.user + used.system, peak


def _program_below(pid: int) -> psutil.Process | None:
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(Path(part).name == PROGRAM for part in child.cmdline()[:4]):
                return child
    return None


def peak_mib(status: str) -> float | None:
    """Return the peak resident memory from the text of /proc/PID/status; None for a process that has ended."""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None
