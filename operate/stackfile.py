"""The configuration of a stack from its files, without Pulumi's engine: for commands that only read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stacks import files
from stacks.settings import PROJECT, RawConfig


class Loader(files.UniqueKeys):
    """Reads as Pulumi does: only true and false are booleans (`on`, `off`, `yes` and `no` are text), and a key that
    appears twice in a mapping is refused.
    """


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in files.UniqueKeys.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType] -- types-PyYAML leaves it untyped
    "tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF")
)


_PROJECT_FILE = "Pulumi.yaml"


class StackFileError(Exception):
    """A file of the stack is missing or can't be read. The message says which and what to do."""


def project_folder(start: Path) -> Path:
    """The folder of the project that a command in the folder `start` is about: the nearest one around it with a
    Pulumi.yaml, as Pulumi has it, else the one that this command belongs to.
    """
    found = (folder for folder in (start, *start.parents) if (folder / _PROJECT_FILE).is_file())
    return next(found, Path(__file__).resolve().parents[1])


def short_name(stack: str) -> str:
    """The last part of a stack's name: a backend may put organization and project before it, the files do not."""
    return stack.rpartition("/")[2]


def file_of(directory: Path, stack: str) -> Path:
    """The configuration file of a stack."""
    return directory / f"Pulumi.{stack}.yaml"


def stacks_in(directory: Path) -> list[str]:
    """The names of the stacks that have a file, sorted."""
    names = (path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in directory.glob("Pulumi.*.yaml"))
    return sorted(name for name in names if name)


def read(directory: Path, stack: str) -> RawConfig:
    """The configuration of a stack: Pulumi.<stack>.yaml over the defaults of Pulumi.yaml.

    Raises:
        StackFileError: A file is missing or no YAML mapping.
    """
    project = _mapping(
        directory / _PROJECT_FILE, "Run the command in the folder of the project, or name it: --directory."
    )
    known = ", ".join(stacks_in(directory)) or "none"
    written = _mapping(file_of(directory, stack), f"Stacks with a file here: {known}.")
    return raw_config(project, written)


def raw_config(project: Mapping[str, Any], stack: Mapping[str, Any]) -> RawConfig:
    """The values of both files as Pulumi would hand them to the program. Secrets stay closed: they are left out."""
    values: dict[str, Any] = {}
    for key, declared in cast("dict[str, Any]", project.get("config") or {}).items():
        default: Any = declared
        if isinstance(declared, dict):
            entry = cast("dict[str, Any]", declared)
            default = entry.get("default", entry.get("value"))
        if default is not None:
            values[key if ":" in key else f"{PROJECT}:{key}"] = default
    for key, value in cast("dict[str, Any]", stack.get("config") or {}).items():
        values[key if ":" in key else f"{PROJECT}:{key}"] = value
    secret = frozenset(key for key, value in values.items() if isinstance(value, dict) and "secure" in value)
    mine, kubernetes = f"{PROJECT}:", "kubernetes:"
    return RawConfig(
        meshup={
            key.removeprefix(mine): value for key, value in values.items() if key.startswith(mine) and key not in secret
        },
        kubernetes={
            key.removeprefix(kubernetes): value if isinstance(value, str) else json.dumps(value, default=str)
            for key, value in values.items()
            if key.startswith(kubernetes) and key not in secret
        },
        secret=secret,
        other=tuple(sorted(key for key in values if not key.startswith((mine, kubernetes)))),
    )


def _mapping(file: Path, advice: str) -> dict[str, Any]:
    try:
        if not file.exists():
            raise StackFileError(f"There is no file {file.name} in {file.parent}. {advice}")
        loaded: Any = files.document(files.text(file), Loader)
    except (OSError, ValueError, files.UnreadableError) as error:
        raise StackFileError(f"{file.name} can't be read: {error}.") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise StackFileError(f"{file.name} is not a mapping of keys to values.")
    return cast("dict[str, Any]", loaded)
