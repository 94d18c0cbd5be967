import json
import re
from pathlib import Path

import pytest
import yaml

from stacks import settings, versions
from stacks.settings import BookinfoSettings, ChartSettings, IstioSettings, Section

REPOSITORY = Path(__file__).resolve().parents[3]


def text(path: str) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def part(heading: str) -> str:
    return text("docs/configuration.md").split(f"### `meshup:{heading}`\n")[1].split("\n## ")[0].split("\n### ")[0]


@pytest.mark.parametrize(
    ("heading", "section"), [("istio", IstioSettings), ("charts", ChartSettings), ("bookinfo", BookinfoSettings)]
)
def test_the_documentation_names_exactly_the_keys_of_a_section(heading: str, section: type[Section]) -> None:
    rows = [line.split("|")[1] for line in part(heading).splitlines() if line.startswith("| `")]
    written = [key for row in rows for key in re.findall(r"`(\w+)`", row)]
    assert sorted(written) == sorted(info.alias or name for name, info in section.model_fields.items())


def test_the_documentation_and_the_project_file_name_exactly_the_keys_of_a_stack() -> None:
    table = text("docs/configuration.md").split("\n## Keys\n")[1].split("\n### ")[0]
    project = yaml.safe_load(text("Pulumi.yaml"))["config"]
    assert re.findall(r"^\| `meshup:(\w+)`", table, re.MULTILINE) == list(project)
    assert sorted(project) == sorted(settings.KEYS)


def test_every_key_of_the_project_file_has_type_default_and_description() -> None:
    for entry in yaml.safe_load(text("Pulumi.yaml"))["config"].values():
        assert entry.keys() >= {"type", "default", "description"}


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_the_stack_files_of_the_repository_are_right(stack: str) -> None:
    config = yaml.safe_load(text(f"Pulumi.{stack}.yaml"))["config"]
    keys = {key.removeprefix("meshup:"): value for key, value in config.items()}
    assert settings.load(settings.RawConfig(meshup=keys), stack)[1] == []


def test_renovate_finds_every_pinned_version() -> None:
    pattern = json.loads(text("renovate.json"))["customManagers"][0]["matchStrings"][0].replace("(?<", "(?P<")
    found = {match["currentValue"] for match in re.finditer(pattern, text("stacks/versions.py"))}
    assert {versions.ISTIO, versions.BOOKINFO} <= found
