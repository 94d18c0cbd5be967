"""What stands on the command lines of processes, which every user of a machine can read."""

import contextlib
import threading

import psutil


class Arguments:
    """The command lines of all processes that this machine starts while something runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._before = set(psutil.process_iter())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            # Those that ran before are many where tests run side by side, and reading them takes its time.
            for process in set(psutil.process_iter()) - self._before:
                with contextlib.suppress(psutil.Error):
                    self.seen.add("\n".join(process.cmdline()))

    def __enter__(self) -> "Arguments":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
