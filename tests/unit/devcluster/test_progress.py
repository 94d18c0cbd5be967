import io
import time

import pytest
from rich.console import Console

from devcluster.progress import Progress, duration


def plain() -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(Console(file=out, force_terminal=False, width=200), heartbeat=0.05), out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (59.4, "59 s"), (60, "1 min 00 s"), (185.2, "3 min 05 s")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_log_gets_one_line_at_the_start_and_one_at_the_end_with_the_remark() -> None:
    progress, out = plain()
    with progress, progress.step("build [etcd]") as step:
        step.remark = "3 tools"
    lines = out.getvalue().splitlines()
    assert lines[0] == "build [etcd] ..."
    assert lines[1].startswith("✓ build [etcd] (0.0 s, 3 tools)")
    assert len(lines) == 2


def test_a_long_step_in_a_log_has_a_heartbeat_that_names_it() -> None:
    progress, out = plain()
    with progress, progress.step("build kubernetes") as step:
        step.update("k8s.io/api")
        time.sleep(0.2)
    assert "still at it: build kubernetes k8s.io/api (0." in out.getvalue()


def test_a_progress_that_is_handed_on_and_entered_again_beats_once_and_goes_on_after() -> None:
    progress, out = plain()
    with progress:
        with progress:
            pass
        with progress.step("build kubernetes"):
            time.sleep(0.12)
    assert out.getvalue().count("still at it") == 2


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
