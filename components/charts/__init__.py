"""The chart whose values are routes, and the path at which Helm finds it."""

import shutil
import tempfile
from pathlib import Path

VERSION = "2.0.0"
"""That of the chart: its content changes only with it."""
_INSTALLED = __name__ != "components.charts"
ROUTES = f"./.meshup/routes-{VERSION}" if _INSTALLED else "./components/charts/routes"
"""The chart, from the directory of the Pulumi project. It is an input of every release, so it is the same on every
machine; the place of an installed package is not."""


def ensure_routes() -> None:
    """Copy the chart of an installed package to `ROUTES`, where a program that uses the package has none."""
    target = Path(ROUTES)
    if not _INSTALLED or target.exists():
        return
    target.parent.mkdir(exist_ok=True)
    (target.parent / ".gitignore").write_text("*\n")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        copy = shutil.copytree(Path(__file__).parent / "routes", Path(folder) / "routes")
        try:
            copy.rename(target)
        except OSError:
            if not target.exists():  # else another run was faster
                raise
