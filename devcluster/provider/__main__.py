"""`python -m devcluster.provider`: the executable entry of the plugin."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

_BARE = ("pulumi", "pulumi.runtime", "kubernetes")
"""Packages of which the plugin needs single modules. What they import besides is a quarter of its start."""


def _make_bare(name: str) -> None:
    """Make the modules of a package importable without its `__init__`."""
    top, *rest = name.split(".")
    found = importlib.util.find_spec(top)
    if found is not None and found.origin is not None:
        package = types.ModuleType(name)
        package.__spec__ = found
        package.__path__ = [str(Path(found.origin).parent.joinpath(*rest))]
        sys.modules[name] = package


def main() -> int:
    """Serve the plugin."""
    for name in _BARE:
        _make_bare(name)
    from devcluster.provider.server import serve  # noqa: PLC0415 - after the packages were made bare

    return serve(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
