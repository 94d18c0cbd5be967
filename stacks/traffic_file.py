"""`meshup:trafficFile`: routes in a separate file.

Pulumi passes the configuration of a stack to its program in one environment variable, which Linux limits to 128 KiB
(MAX_ARG_STRLEN, linux/include/uapi/linux/binfmts.h). The routes of about 900 Services fill that, and no program
starts. A file has no such limit.
"""

from pathlib import Path
from typing import Any, cast

from components.diagnostics import Diagnostic
from stacks import files
from stacks.settings import Settings

KEY = "meshup:trafficFile"


def with_file(settings: Settings, project: Path) -> tuple[Settings, list[Diagnostic]]:
    """Add the routes of the file to those of `meshup:traffic`.

    Args:
        settings: The settings of the stack.
        project: The folder of the project, base of a relative path.
    """
    name = settings.traffic_file
    if name is None:
        return settings, []
    try:
        content = files.document(files.text(files.expand_path(name, project)), files.UniqueKeys)
    except files.UnreadableError as error:
        return settings, [Diagnostic("MSH030", KEY, name, f"The file can't be read: {error}.")]
    if not isinstance(content, dict | None):
        return settings, [Diagnostic("MSH030", KEY, name, "The file holds no mapping of routes.")]
    routes = cast("dict[Any, Any]", content or {})
    twice = sorted(str(key) for key in routes if key in settings.traffic)
    if twice:
        message = f"These routes are in the file and in meshup:traffic: {', '.join(twice[:20])}."
        return settings, [Diagnostic("MSH030", KEY, name, message, "each route in one place")]
    return settings.model_copy(update={"traffic": {**settings.traffic, **routes}}), []
