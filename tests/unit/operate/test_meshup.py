"""The script `meshup` runs the command from any directory, and says what is missing."""

import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "meshup"


def test_it_runs_from_any_directory(tmp_path: Path) -> None:
    shown = subprocess.run([SCRIPT, "explain", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "Usage: meshup explain" in shown.stdout


def test_without_an_environment_it_says_how_to_make_one(tmp_path: Path) -> None:
    script = tmp_path / "meshup"
    shutil.copy(SCRIPT, script)
    done = subprocess.run([script, "explain"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "`pulumi install` or `make .venv`" in done.stderr
