"""The package `meshup` as somebody else has it: built, and installed into an environment of its own."""

import subprocess
import sys
import sysconfig
from pathlib import Path

from devcluster import paths


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Run a command, which must succeed; returns its standard output."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(folder: Path, source: Path | None = None) -> tuple[Path, Path]:
    """Build the source distribution and the wheel of this checkout, or of other sources, without a network."""
    run(sys.executable, "-m", "hatchling", "build", "--directory", folder, folder=source or paths.repository())
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


class Environment:
    """A virtual environment with nothing but the package; it sees the dependencies in the environment of the tests."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        """Make it and install a wheel into it."""
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.packages = Path(run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        pip = (sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check")
        run(*pip, "install", "--no-deps", "--no-index", wheel)

    def evaluate(self, code: str, folder: Path) -> str:
        """Run Python in it, in a folder; returns its standard output."""
        return run(self.python, "-P", "-c", code, folder=folder)
