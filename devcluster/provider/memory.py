"""Files for a child process that hold credentials, and so are never on a disk."""

from __future__ import annotations

import os
from types import TracebackType


class MemoryFile:
    """A file in memory (memfd_create(2), Linux). Its text is a path that children which inherit `descriptor` can open.

    It is gone with the last process that has it open, however that ends.
    """

    def __init__(self, content: bytes) -> None:
        self.descriptor = os.memfd_create("meshup")
        # helm warns of a kubeconfig that others can read.
        os.fchmod(self.descriptor, 0o600)
        with os.fdopen(os.dup(self.descriptor), "wb") as stream:
            stream.write(content)

    def __str__(self) -> str:
        return f"/proc/self/fd/{self.descriptor}"

    def __enter__(self) -> MemoryFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        os.close(self.descriptor)
