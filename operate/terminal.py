"""How a command ends: with an exit code and one line, never with a traceback. Standard library only.

Both command lines use it, `meshup` and `python3 -m devcluster`, the latter before any dependency is installed.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

FAILED = 1
INTERRUPTED = 130
"""What a shell reports for a process that SIGINT has ended: 128 + 2."""
_SIGNALLED = 128
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def guarded(name: str, run: Callable[[], int | None]) -> int:
    """Run a command and return its exit code.

    What the operating system refuses (a full device, a folder without permission) is one line on standard error. Ctrl-C
    and a reader that has gone, as `head` does, end it silently. Characters that the terminal can't show are written as
    escapes.

    Args:
        name: The command, for the line on standard error.
        run: Does the work, imports included. Its result is the exit code, None for 0.
    """
    _tolerate()
    code: int | None
    try:
        try:
            code = run()
        except SystemExit as ended:
            if isinstance(ended.code, str):
                raise
            code = ended.code
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = FAILED
    except OSError as error:
        # Written data has no file name: it may be the standard output or a file on a full disk.
        output = error.filename is None and error.errno in _UNWRITABLE
        _complain(f"{name}: {f'cannot write: {error.strerror}' if output else error}")
        code = FAILED
    _forget_output()
    return code or 0


def exit_code(returncode: int) -> int:
    """Return the exit code of a child as a shell has it: 128 + N for one that signal N has ended.

    Args:
        returncode: As `subprocess` has it, negative for a signal.
    """
    return returncode if returncode >= 0 else _SIGNALLED - returncode


def _tolerate() -> None:
    # Either is None where the caller has closed it (`>&-`).
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 -- for as long as the process runs


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _forget_output() -> None:
    """Let the interpreter's last flush succeed, which would otherwise end in a report of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


__all__ = ["FAILED", "INTERRUPTED", "exit_code", "guarded"]
