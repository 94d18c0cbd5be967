"""The pinned Go modules whose files tests read. `python -m tests.modules` downloads them; tests never do."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from devcluster import artefacts, golang, paths
from devcluster.progress import Progress

_FAMILIES = {
    "istio.io/istio": "istio",
    "istio.io/api": "istio",
    "sigs.k8s.io/gateway-api": "gateway-api",
    "github.com/prometheus-operator/prometheus-operator": "prometheus-operator",
}
"""The folder of tools/ that pins each module."""
_TOOLS = paths.repository() / "tools"
_LOCK = _TOOLS / "go" / "requirements.txt"


@cache
def directory(module: str) -> Path:
    """Return the folder of a module; skip the test where it was never downloaded."""
    for go in _installed():
        done = _download(go, module, GOPROXY="off")
        if done.returncode == 0:
            return Path(json.loads(done.stdout)["Dir"])
    pytest.skip(f"the pinned Go module {module} is not downloaded: `make test-tools`")


def _installed() -> Iterator[Path]:
    """Yield the Go on PATH and the one that the embedded cluster has installed."""
    if on_path := shutil.which("go"):
        yield Path(on_path)
    own = paths.cache_dir() / f"go-{artefacts.digest(_LOCK.read_bytes())}" / "go" / "bin" / "go"
    if own.is_file():
        yield own


def _download(go: Path, module: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(go), "mod", "download", "-json", module],
        cwd=_TOOLS / _FAMILIES[module],
        env=golang.go_environment(os.environ) | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> None:
    """Download every module."""
    with Progress() as progress:
        required = max(golang.go_directive((_TOOLS / family / "go.mod").read_text()) for family in _FAMILIES.values())
        with progress.step("find Go") as step:
            go = golang.find_go(required, paths.cache_dir(), _LOCK, step, os.environ)
        for module in _FAMILIES:
            with progress.step(f"fetch {module} for tests"):
                done = _download(go.path, module)
                if done.returncode:
                    sys.exit(f"{module} can't be downloaded:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
