"""Progress on a terminal or in a CI log: named steps, how long each has taken, how it ended.

On a terminal every running step has a line with a spinner and its elapsed time. Elsewhere there is one plain line per
start and end, and a heartbeat while something long runs, so that a CI system does not take silence for a hang.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

HEARTBEAT_SECONDS = 30.0
_TENTHS_BELOW = 10.0


def duration(seconds: float) -> str:
    """Return a span of time for people: `0.4 s`, `12 s`, `3 min 05 s`."""
    if seconds < _TENTHS_BELOW:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Step:
    """One running step. It may show what it does now, and end with a remark."""

    def __init__(
        self, label: str, changed: Callable[["Step"], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.label = label
        self.started = clock()
        self.at = ""
        self.remark = ""
        self._changed = changed
        self._clock = clock

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return self._clock() - self.started

    def update(self, at: str) -> None:
        """Show what the step does now, for example the module that it downloads."""
        self.at = at
        self._changed(self)


class Progress:
    """Shows steps. Use it as a context manager; steps may run in several threads at once."""

    def __init__(
        self,
        console: Console | None = None,
        heartbeat: float = HEARTBEAT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._heartbeat = heartbeat
        self._clock = clock
        self._live = self.console.is_terminal
        ascii_only = self.console.options.ascii_only
        self._done, self._failed = ("done:", "failed:") if ascii_only else ("✓", "✗")
        self._bars = Bars(
            SpinnerColumn("line" if ascii_only else "dots"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self._running: dict[Step, TaskID | None] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._depth = 0

    def __enter__(self) -> Self:
        """Begin to show steps. Who is handed a running Progress may enter it again."""
        self._depth += 1
        if self._depth > 1:
            return self
        self._ended.clear()
        if self._live:
            self._bars.start()
        else:
            self._thread = threading.Thread(target=self._beat, name="progress-heartbeat", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop showing; what was printed stays."""
        self._depth -= 1
        if self._depth:
            return
        self._ended.set()
        if self._live:
            self._bars.stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @contextmanager
    def step(self, label: str) -> Generator[Step]:
        """Show a step from its start to its end. An exception shows it as failed and is raised again."""
        step = Step(label, self._show, self._clock)
        with self._lock:
            self._running[step] = self._bars.add_task(escape(label)) if self._live else None
        if not self._live:
            self.say(f"{label} ...")
        try:
            yield step
        except BaseException:
            self._end(step, f"[red]{self._failed}[/red]", "failed after ")
            raise
        self._end(step, f"[green]{self._done}[/green]", "")

    def say(self, text: str, *, markup: bool = False) -> None:
        """Print a line above the running steps. Work goes on where nothing can be written, such as on a full disk."""
        with contextlib.suppress(OSError):
            self.console.print(text if markup else escape(text), soft_wrap=True)

    def _show(self, step: Step) -> None:
        task = self._running.get(step)
        if task is not None:
            self._bars.update(task, description=escape(f"{step.label}  {step.at}".rstrip()))

    def _end(self, step: Step, mark: str, prefix: str) -> None:
        with self._lock:
            task = self._running.pop(step)
        if task is not None:
            self._bars.remove_task(task)
        remark = f", {step.remark}" if step.remark else ""
        self.say(f"{mark} {escape(step.label)} ({prefix}{duration(step.elapsed)}{escape(remark)})", markup=True)

    def _beat(self) -> None:
        while not self._ended.wait(self._heartbeat):
            with self._lock:
                running = [f"{s.label} {s.at}".rstrip() + f" ({duration(s.elapsed)})" for s in self._running]
            if running:
                self.say("still at it: " + "; ".join(running))
