"""The configuration file of the embedded cluster's stack: a copy of Pulumi.dev.yaml with the cluster's own keys set.

The file belongs to its user, who edits it by hand or with `pulumi config set`. So it is edited line by line here, and
only the cluster's own keys change: comments and everything else stay as they are. Pure functions on text.
"""

import json
import re
from collections.abc import Mapping
from typing import cast

import yaml

Setting = str | Mapping[str, object]


def with_settings(text: str, settings: Mapping[str, Setting]) -> str:
    """Return a stack file in which these configuration keys have these values.

    Raises:
        ValueError: The text is not a stack file.
    """
    wanted = configuration(text) | {key: _plain(value) for key, value in settings.items()}
    lines = _with_config_block(text).splitlines()
    for key, value in settings.items():
        lines = _set(lines, key, json.dumps(_plain(value)))
    result = "\n".join(lines) + "\n"
    if configuration(result) != wanted:
        raise ValueError("it is written in a way that can't be edited line by line; give `config:` one key per line.")
    return result


def without_secrets_provider(text: str) -> str:
    """Return a stack file without its encryption salt, which belongs to one passphrase only.

    Raises:
        ValueError: The file holds encrypted values; without their salt they would be lost.
    """
    encrypted = [key for key, value in configuration(text).items() if _is_secure(value)]
    if encrypted:
        raise ValueError(f"it holds encrypted values ({', '.join(encrypted)}) of a passphrase that is gone.")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("encryptionsalt:"))


def has_secrets_provider(text: str) -> bool:
    """Say whether the file is bound to a passphrase."""
    return any(line.startswith("encryptionsalt:") for line in text.splitlines())


def configuration(text: str) -> dict[str, object]:
    """Return the `config` of a stack file, by key.

    Raises:
        ValueError: The text is not a stack file.
    """
    try:
        loaded: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not valid YAML: {error}") from error
    config = _mapping(loaded, "it").get("config")
    return _mapping(config, "its `config`")


def _mapping(value: object, name: str) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a mapping.")  # noqa: TRY004 - the fault is in the file, not in the program
    return cast("dict[str, object]", value)


def _plain(value: Setting) -> object:
    return value if isinstance(value, str) else dict(value)


def _is_secure(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    inner = cast("dict[str, object]", value)
    return "secure" in inner or any(_is_secure(part) for part in inner.values())


def _with_config_block(text: str) -> str:
    if re.search(r"^config:[ \t]*(#.*)?$", text, re.MULTILINE):
        return text
    emptied = re.sub(r"^config:[ \t]*(\{\s*\}|null|~)?[ \t]*(#.*)?$\n?", "", text, flags=re.MULTILINE)
    separator = "" if not emptied or emptied.endswith("\n") else "\n"
    return f"{emptied}{separator}config:\n"


def _set(lines: list[str], key: str, value: str) -> list[str]:
    start = next(i for i, line in enumerate(lines) if re.match(r"config:[ \t]*(#.*)?$", line))
    end = next((i for i in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[i])), len(lines))
    block = lines[start + 1 : end]
    first = next((line for line in block if re.match(r" +[^\s#]", line)), "  x")
    indent = first[: len(first) - len(first.lstrip())]
    ours = re.compile(rf"{indent}[\"']?{re.escape(key)}[\"']?:(\s|$)")
    new = f"{indent}{key}: {value}"
    found = next((i for i, line in enumerate(block) if ours.match(line)), None)
    if found is None:
        # Before blank lines and comments that belong to what follows the block.
        last = max((i for i, line in enumerate(block) if line.startswith(indent) and line.strip()), default=-1)
        block.insert(last + 1, new)
    else:
        deeper = re.compile(rf"{indent}(?: +\S|- )")
        after = found + 1
        while after < len(block) and deeper.match(block[after]):
            after += 1
        block[found:after] = [new]
    return [*lines[: start + 1], *block, *lines[end:]]
