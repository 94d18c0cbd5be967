"""The real promtool, for tests of rules. `make test-tools` fetches it; tests never do."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import paths, prometheus


@cache
def commands() -> dict[str, Path]:
    """Return the commands promtool and prometheus; skip the test where they are not."""
    release = Path("/etc/os-release")
    text = release.read_text() if release.is_file() else ""
    found = prometheus.on_machine(os.environ) or prometheus.kept(paths.cache_dir() / "tools", text)
    if not found:
        pytest.skip("promtool is not here: `make test-tools`")
    return found


def check(folder: Path, groups: Sequence[Mapping[str, Any]], tests: Sequence[Mapping[str, Any]] = ()) -> None:
    """Let promtool check groups of rules, and run its unit tests on them.

    Args:
        folder: Where the files are written.
        groups: The groups, as Prometheus reads them.
        tests: The tests, as promtool reads them (prometheus.io, unit testing for rules).

    Raises:
        AssertionError: With what promtool says.
    """
    rules, cases = folder / "rules.yml", folder / "tests.yml"
    rules.write_text(yaml.safe_dump({"groups": list(groups)}, sort_keys=False, width=1000))
    commands = [["check", "rules", str(rules)]]
    if tests:
        # Without an order, promtool takes the groups as they come, in another order each time.
        order = [group["name"] for group in groups]
        written = {"rule_files": [rules.name], "evaluation_interval": "15s", "group_eval_order": order}
        written["tests"] = list(tests)
        cases.write_text(yaml.safe_dump(written, sort_keys=False, width=1000))
        commands.append(["test", "rules", str(cases)])
    for command in commands:
        _run(command, folder)


def check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Let promtool check a configuration of Prometheus.

    Raises:
        AssertionError: With what promtool says.
    """
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    _run(["check", "config", str(path)], folder)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        [str(commands()["promtool"]), *command], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
