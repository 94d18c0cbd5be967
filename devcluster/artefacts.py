"""The cache of tools: each is made once, in a private folder that is then renamed into place.

A folder in the cache is complete or not there at all, whatever was interrupted; two runs that need the same thing at
the same time make it once, because each thing has a file lock.
"""

import errno
import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from devcluster.progress import Step

_POLL_SECONDS = 0.5
# Enough for the lock file, the log and a clear end; a compiler that runs dry says so itself.
_SPARE_BYTES = 500 * 2**20


class ToolError(Exception):
    """A tool can't be had. The message says why and what to do; there is no traceback to show."""


def digest(*parts: str | bytes) -> str:
    """Return a short name for this content: 16 hexadecimal digits that change with any part."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()[:16]


def ensure(
    target: Path, make: Callable[[Path], None], *, step: Step | None = None, stop: threading.Event | None = None
) -> bool:
    """Make the folder `target` unless it is there. Returns whether it was made now.

    Args:
        target: The folder to have. Its name must change with its content.
        make: Fills the folder that it is given.
        step: Told when another run holds the lock.
        stop: Set by whoever no longer wants it; ends the wait for the lock.

    Raises:
        ToolError: The disk is full, the cache can't be written, or `make` said so.
    """
    if target.is_dir():
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target, step, stop):
            if target.is_dir():
                return False
            _sweep(target)
            free = shutil.disk_usage(target.parent).free
            if free < _SPARE_BYTES:
                raise disk_full(target.parent, free)
            partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
            try:
                make(partial)
                partial.chmod(0o755)
                partial.rename(target)
            except BaseException:
                remove_tree(partial)
                raise
    except OSError as error:
        raise _explained(error, target) from error
    return True


def disk_full(where: Path, free: int) -> ToolError:
    """Return the error for a file system without room; `free` in bytes."""
    return ToolError(
        f"The disk is full: {free / 2**30:.1f} GiB are free where {where} is.\n"
        "Free some space and run the same command again. A first build needs about 12 GiB in all: "
        "`go clean -cache -modcache` empties Go's own caches, XDG_CACHE_HOME and GOCACHE move them to another disk."
    )


def remove_tree(folder: Path) -> None:
    """Remove a folder, read-only subfolders included (Go's module cache has them)."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(target: Path, step: Step | None, stop: threading.Event | None) -> Generator[None]:
    lock = FileLock(target.parent / f".{target.name}.lock")
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
        except Timeout:
            if step is not None:
                step.update("waits for another run that is making it")
            if stop is not None and stop.is_set():
                raise ToolError("Stopped.") from None
    try:
        yield
    finally:
        lock.release()


def _sweep(target: Path) -> None:
    # We hold the lock, so whoever left these is gone.
    for leftover in target.parent.glob(f"{target.name}.partial-*"):
        remove_tree(leftover)


def _explained(error: OSError, target: Path) -> ToolError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(target.parent, 0)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ToolError(
            f"The cache folder {target.parent} can't be written ({error.strerror}).\n"
            "Set XDG_CACHE_HOME to a folder of your own, or repair its permissions, and run the same command again."
        )
    return ToolError(f"{target.name} can't be kept in the cache: {error}")
