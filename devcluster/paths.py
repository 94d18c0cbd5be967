"""Where the embedded cluster keeps things, outside the repository.

Built tools go to the user's cache folder, a cluster's own files to the user's state folder, both after the XDG Base
Directory Specification 0.8. Standard library only: the bootstrap needs this module before any dependency is installed.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

DEFAULT_CLUSTER = "dev"
CLUSTER_VARIABLE = "MESHUP_CLUSTER"

# Unix sockets live below the cluster's folder and their paths end at 107 bytes, so names stay short.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


def repository() -> Path:
    """Return the root of the repository that this package belongs to."""
    return Path(__file__).resolve().parent.parent


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of built tools: $XDG_CACHE_HOME/meshup, else ~/.cache/meshup. It may not exist yet."""
    return _xdg(environ, "XDG_CACHE_HOME", ".cache") / "meshup"


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of all clusters: $XDG_STATE_HOME/meshup, else ~/.local/state/meshup. It may not exist yet."""
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / "meshup"


def cluster_dir(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of one cluster. It may not exist yet.

    Raises:
        ValueError: The name is not a valid cluster name.
    """
    return state_dir(environ) / checked_name(name)


def cluster_name(environ: Mapping[str, str] = os.environ) -> str:
    """Return the cluster that commands act on when no `--name` is given: $MESHUP_CLUSTER, else `dev`."""
    return environ.get(CLUSTER_VARIABLE) or DEFAULT_CLUSTER


def checked_name(name: str) -> str:
    """Return the name if a cluster can have it.

    Raises:
        ValueError: It can't; the message says what is allowed.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} can't name a cluster: use 1 to 32 lower-case letters, digits and inner dashes, such as 'dev'."
        )
    return name


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    value = environ.get(variable, "")
    # The specification has relative paths ignored.
    if value and Path(value).is_absolute():
        return Path(value)
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / default
