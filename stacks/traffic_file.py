"""`meshup:trafficFile`: routes in a separate file, which several stacks may share.

Pulumi passes the configuration of a stack to its program in one environment variable, which Linux limits to 128 KiB
(MAX_ARG_STRLEN, linux/include/uapi/linux/binfmts.h). The routes of about 900 Services fill that, and no program
starts. A file has no such limit.
"""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from components.diagnostics import Diagnostic
from stacks import files
from stacks.overrides import KEY as OVERRIDES
from stacks.overrides import Origins, merge
from stacks.settings import Settings

KEY = "meshup:trafficFile"


def with_file(settings: Settings, project: Path) -> tuple[Settings, list[Diagnostic]]:
    """Add the routes of the file to those of `meshup:traffic`, and merge the overrides of the stack over them.

    Args:
        settings: The settings of the stack.
        project: The folder of the project, base of a relative path.
    """
    routes, diagnostics = _routes(settings, project)
    if diagnostics:
        return settings, diagnostics
    origins = Origins(settings.traffic_file or "", frozenset(routes))
    shared = {**settings.traffic, **routes}
    merged, origins, notes = merge(shared, settings.traffic_overrides, origins)
    return settings.model_copy(update={"traffic": merged, "origins": origins}), notes


def _routes(settings: Settings, project: Path) -> tuple[dict[Any, Any], list[Diagnostic]]:
    """Return the routes of the file."""
    name = settings.traffic_file
    if name is None:
        return {}, []
    try:
        content = files.document(files.text(files.expand_path(name, project)), files.UniqueKeys)
    except files.UnreadableError as error:
        return {}, [Diagnostic("MSH030", KEY, name, f"The file can't be read: {error}.")]
    if not isinstance(content, dict | None):
        return {}, [Diagnostic("MSH030", KEY, name, "The file holds no mapping of routes.")]
    routes = cast("dict[Any, Any]", content or {})
    twice = sorted(str(key) for key in routes if key in settings.traffic)
    if twice:
        message = f"These routes are in the file and in meshup:traffic: {', '.join(twice[:20])}."
        remedy = (
            f"Keep each route in one place. What this stack has in another way than the file goes under {OVERRIDES}, "
            "field by field."
        )
        return {}, [Diagnostic("MSH030", KEY, name, message, "each route in one place", remedy)]
    return routes, []


def with_routes(text: str, routes: Mapping[str, Any], block: str) -> str:
    """Add routes to the text of a file, and leave every other byte as it is.

    Args:
        text: The file.
        routes: The routes, none of which is in it.
        block: The routes as a YAML block.

    Raises:
        UnreadableError: The file can't be read, or the routes can't be added to it.
    """
    before = files.document(text, files.UniqueKeys)
    if not isinstance(before, dict | None):
        raise files.UnreadableError("it holds no mapping of routes")
    there = cast("dict[Any, Any]", before or {})
    added = _added(text, routes, block)
    try:
        after = files.document(added, files.UniqueKeys)
    except files.UnreadableError:
        after = None
    if after != {**there, **routes}:
        raise files.UnreadableError("its form is none to which routes can be added")
    return added


def _added(text: str, routes: Mapping[str, Any], block: str) -> str:
    # Marks do not count a byte order mark.
    start = 1 if text.startswith("\ufeff") else 0
    root: Any = yaml.compose(text, Loader=files.Loader)
    eol = "\r\n" if "\r\n" in text else "\n"
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        inside: Any = root.value[-1][1].end_mark if root.value else root.start_mark
        place = start + inside.index + (0 if root.value else 1)
        entries = f",{eol}".join(f"{json.dumps(key)}: {json.dumps(route)}" for key, route in routes.items())
        return f"{text[:place]}{',' if root.value else ''}{eol}{entries}{text[place:]}"
    indent = root.start_mark.column if isinstance(root, yaml.MappingNode) else 0
    place = start + root.end_mark.index if isinstance(root, yaml.MappingNode) else len(text)
    lines = textwrap.indent(block, " " * indent).replace("\n", eol)
    gap = "" if not text[:place] or text[:place].endswith("\n") else eol
    return text[:place] + gap + lines + text[place:]
