import errno
import io
import threading
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from devcluster.progress import Progress, duration


def plain(clock: Callable[[], float] = lambda: 0.0) -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(Console(file=out, force_terminal=False, width=200), heartbeat=0.01, clock=clock), out


def heartbeats(out: io.StringIO, count: int) -> None:
    """Wait until there have been so many, however long that takes on a busy machine."""
    for _ in range(10_000):
        if out.getvalue().count("still at it") >= count:
            return
        time.sleep(0.01)
    raise AssertionError(out.getvalue())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (59.4, "59 s"), (60, "1 min 00 s"), (185.2, "3 min 05 s")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_log_gets_one_line_at_the_start_and_one_at_the_end_with_the_remark() -> None:
    out = io.StringIO()
    times = iter((100.0, 104.25))
    progress = Progress(Console(file=out, force_terminal=False, width=200), heartbeat=3600, clock=lambda: next(times))
    with progress, progress.step("build [etcd]") as step:
        step.remark = "3 tools"
    assert out.getvalue() == "build [etcd] ...\n✓ build [etcd] (4.2 s, 3 tools)\n"


def test_a_long_step_in_a_log_has_a_heartbeat_that_names_it() -> None:
    progress, out = plain()
    with progress, progress.step("build kubernetes") as step:
        step.update("k8s.io/api")
        before = out.getvalue().count("still at it")
        heartbeats(out, before + 2)
    assert "still at it: build kubernetes k8s.io/api (0.0 s)\n" in out.getvalue()


def test_a_progress_that_is_handed_on_and_entered_again_beats_once_and_goes_on_after() -> None:
    progress, out = plain()

    def beating() -> int:
        return sum(thread.name == "progress-heartbeat" for thread in threading.enumerate())

    before = beating()
    with progress:
        with progress:
            assert beating() == before + 1
        with progress.step("build kubernetes"):
            heartbeats(out, 2)
        assert beating() == before + 1
    assert beating() == before


def test_a_step_that_raises_is_shown_as_failed_and_the_exception_is_not_lost() -> None:
    progress, out = plain()
    with pytest.raises(RuntimeError, match="boom"), progress, progress.step("start etcd"):
        raise RuntimeError("boom")
    assert "✗ start etcd (failed after 0.0 s)" in out.getvalue()


def test_a_terminal_keeps_the_end_of_each_step_on_screen() -> None:
    out = io.StringIO()
    with Progress(Console(file=out, force_terminal=True, width=120)) as progress, progress.step("start etcd"):
        pass
    assert "start etcd" in out.getvalue()
    assert "✓" in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_is_not_utf_8_gets_words_for_marks(terminal: bool) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(file=out, force_terminal=terminal, width=120)
    with pytest.raises(RuntimeError), Progress(console) as progress:
        with progress.step("start etcd"):
            pass
        with progress.step("start kwok"):
            raise RuntimeError
    out.flush()
    assert b"done:" in raw.getvalue()
    assert b"failed:" in raw.getvalue()


def test_work_goes_on_where_its_progress_can_not_be_written() -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    ended = False
    with Progress(Console(file=Full(), force_terminal=False)) as progress, progress.step("end the cluster"):
        ended = True
    assert ended
