from pathlib import Path

import pytest
import yaml

from stacks import settings

REPOSITORY = Path(__file__).resolve().parents[3]


def text(path: str) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def test_every_key_of_the_project_file_has_type_default_and_description() -> None:
    for entry in yaml.safe_load(text("Pulumi.yaml"))["config"].values():
        assert entry.keys() >= {"type", "default", "description"}


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_the_stack_files_of_the_repository_are_right(stack: str) -> None:
    config = yaml.safe_load(text(f"Pulumi.{stack}.yaml"))["config"]
    keys = {key.removeprefix("meshup:"): value for key, value in config.items()}
    assert settings.load(settings.RawConfig(meshup=keys), stack)[1] == []
