"""Python packages that carry a tool, kept in the cache and not in `.venv`."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devcluster.artefacts import ToolError


def install(folder: Path, lock_file: Path, environ: Mapping[str, str]) -> None:
    """Install locked packages into a folder.

    Args:
        folder: The folder.
        lock_file: All packages with their hashes, as `make lock` writes them.
        environ: The environment of pip.

    Raises:
        ToolError: pip failed; the message is pip's own.
    """
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--no-compile"]
    argv += ["--disable-pip-version-check", "--target", str(folder), "-r", str(lock_file)]
    done = subprocess.run(argv, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolError("pip said:\n" + "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-5:]))
