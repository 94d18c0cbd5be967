"""What docs/identity.md, docs/linkerd.md and docs/walkthrough tell the reader to type is understood."""

import itertools
import re
import shlex
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from components.diagnostics import errors
from devcluster import paths
from stacks.settings import RawConfig
from tests.unit.stacks.fake_view import build

DOCS = paths.repository() / "docs"
FILES = ("identity.md", "linkerd.md", "walkthrough/README.md")
OUTPUTS = {"mesh", "apps", "trafficSplits", "dashboards", "identity"}
_CONSOLE = re.compile(r"^ *```console\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_PART = re.compile(r"([A-Za-z0-9]+)|\[(\d+)\]")


def commands(file: str) -> list[list[str]]:
    blocks = _CONSOLE.findall((DOCS / file).read_text())
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


def stack_file() -> dict[str, Any]:
    block = re.search(r"```yaml\n(config:.*?)```", (DOCS / "walkthrough" / "README.md").read_text(), re.DOTALL)
    assert block is not None
    return cast("dict[str, Any]", yaml.safe_load(block[1])["config"])


def parts(path: str) -> list[str | int]:
    return [int(index) if index else name for name, index in _PART.findall(path.removeprefix("meshup:"))]


def apply(config: dict[str, Any], command: list[str]) -> None:
    """Do what `pulumi config set` and `pulumi config rm` do to a stack file."""
    arguments = [word for word in command[3:] if not word.startswith("--") and word != "<"]
    *way, last = parts(arguments[0])
    place: Any = config
    for here, following in itertools.pairwise([*way, last]):
        place = place.setdefault(here, [] if isinstance(following, int) else {})
    if command[2] == "rm":
        del place[last]
        return
    value = yaml.safe_load(arguments[1])
    if isinstance(last, int) and last == len(place):
        place.append(value)
    else:
        place[last] = value


def faults(config: dict[str, Any]) -> list[str]:
    raw = RawConfig(meshup=config, kubernetes={"context": "kind-dev"}, secret=frozenset({"meshup:identity"}))
    return [fault.code for fault in errors(build(raw)[1])]


def own(config: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix("meshup:"): value for key, value in config.items() if key.startswith("meshup:")}


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_the_stack_file_of_the_walkthrough_is_right_on_both_meshes(mesh: str) -> None:
    assert faults({**own(stack_file()), "mesh": mesh}) == []


@pytest.mark.parametrize("file", FILES)
def test_every_command_is_one_that_exists(file: str) -> None:
    for command in commands(file):
        words = [word for word in command if "=" not in word]
        assert words[0] == "pulumi", command
        if words[1] == "stack":
            assert words[2] == "output"
            assert words[3] in OUTPUTS
        else:
            assert words[1] in ("up", "preview", "destroy", "config"), command


@pytest.mark.parametrize("file", ["identity.md", "walkthrough/README.md"])
def test_whenever_the_reader_runs_up_the_configuration_is_right(file: str) -> None:
    config = own(stack_file())
    ups = 0
    for command in commands(file):
        if command[1] == "config" and "--secret" not in command:
            apply(config, command)
            assert "MSH002" not in faults(config), command
        elif command[1] == "up":
            ups += 1
            assert faults(config) == [], command
    assert ups == 3


def test_the_four_combinations_of_mesh_and_application_are_right() -> None:
    rows = re.findall(r"`meshup:mesh: (\w+)`, `meshup:apps: \[(\w+)\]`", (DOCS / "linkerd.md").read_text())
    assert len(set(rows)) == 4
    for mesh, app in rows:
        assert faults({"mesh": mesh, "apps": [app]}) == []


def test_the_walkthrough_has_as_many_steps_as_it_says() -> None:
    text = (DOCS / "walkthrough" / "README.md").read_text()
    steps = [int(number) for number in re.findall(r"^## (\d+)\. ", text, re.MULTILINE)]
    words = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")
    assert steps == list(range(1, len(steps) + 1))
    assert f"\n{words[len(steps) - 1]} steps that every tutorial has" in text


def test_links_lead_somewhere() -> None:
    for file in FILES:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", (DOCS / file).read_text()):
            assert (Path(DOCS / file).parent / link).exists(), f"{file}: {link}"
