"""`meshup:trafficFile`: routes in a file of their own.

Pulumi hands the configuration of a stack to its program in one environment variable, and Linux takes none above 128 KiB
(MAX_ARG_STRLEN, linux/include/uapi/linux/binfmts.h). The routes of about 900 Services fill that, and then no program
starts. A file has no such end.
"""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, cast

import yaml

from components.routing import Diagnostic
from stacks.settings import Settings

KEY = "meshup:trafficFile"
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # The C one reads large files ten times as fast.


def refuse_repeated(node: yaml.MappingNode) -> None:
    """Raise ConstructorError if a key stands twice in a mapping."""
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if len(set(keys)) < len(keys):
        twice = next(key for position, key in enumerate(keys) if key in keys[:position])
        raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} stands twice", node.start_mark)


class _Loader(_BASE):
    """Refuses a key that stands twice in a mapping: the first one would be dropped in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        refuse_repeated(node)
        construct: Callable[..., dict[Hashable, Any]] = _BASE.construct_mapping
        return construct(self, node, deep=deep)


def added(settings: Settings, project: Path) -> tuple[Settings, list[Diagnostic]]:
    """Return the settings with the routes of the file among those of `meshup:traffic`.

    Args:
        settings: The settings of the stack.
        project: The folder of the project, where a relative path starts.
    """
    name = settings.traffic_file
    if name is None:
        return settings, []
    try:
        text = (project / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        return settings, [Diagnostic("MSH030", KEY, name, f"The file can't be read: {reason}.")]
    try:
        content: Any = yaml.load(text, Loader=_Loader)  # noqa: S506 # a safe loader
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        return settings, [Diagnostic("MSH030", KEY, name, f"The file is not YAML: {reason}.")]
    if not isinstance(content, dict | None):
        return settings, [Diagnostic("MSH030", KEY, name, "The file holds no mapping of routes.")]
    routes = cast("dict[Any, Any]", content or {})
    twice = sorted(str(key) for key in routes if key in settings.traffic)
    if twice:
        message = f"These routes are in the file and in meshup:traffic: {', '.join(twice)}."
        return settings, [Diagnostic("MSH030", KEY, name, message, "each route in one place")]
    return settings.model_copy(update={"traffic": {**settings.traffic, **routes}}), []
