"""`meshup adopt`: a mesh that somebody else has installed, and its routes, as a stack."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from components.diagnostics import ConfigurationError, Diagnostic, errors
from components.meshes import MESHES
from operate.discover import as_yaml
from operate.stackfile import file_of
from stacks import files
from stacks.adoption import Adoption, adopt
from stacks.cluster import connect
from stacks.settings import ClusterSettings


def look_up(owner: str, mesh: str, context: str) -> tuple[Adoption, list[Diagnostic]]:
    """Describe the mesh of a cluster as a stack.

    Args:
        owner: The stack.
        mesh: The kind of the mesh; the one that is there without it.
        context: The context of the kubeconfig.

    Raises:
        ConfigurationError: The cluster can't be read, or there is no mesh to adopt.
    """
    _, view, diagnostics = connect(ClusterSettings(context=context), os.environ)
    if view is None:
        raise ConfigurationError(diagnostics)
    tried = {kind: adopt(kind, view, owner, context) for kind in ([mesh] if mesh else MESHES)}
    found = [(adoption, faults) for adoption, faults in tried.values() if adoption is not None]
    if len(found) > 1:
        message = f"There are several meshes: {', '.join(kind for kind, (made, _) in tried.items() if made)}."
        raise ConfigurationError([Diagnostic("MSH060", "--mesh", None, message, " or ".join(MESHES))])
    if not found:
        raise ConfigurationError(
            [*diagnostics, *dict.fromkeys(fault for _, faults in tried.values() for fault in faults)]
        )
    adoption, faults = found[0]
    if errors(faults):
        raise ConfigurationError(faults)
    return adoption, [*diagnostics, *faults]


def texts(adoption: Adoption, folder: Path, stack: str) -> dict[Path, str]:
    """Return the files of the stack."""
    made = {file_of(folder, stack): as_yaml({"config": dict(adoption.config)})}
    if adoption.routes:
        made[folder / str(adoption.config["meshup:trafficFile"])] = as_yaml(adoption.routes)
    return made


def write(made: Mapping[Path, str]) -> None:
    """Write files that are not there yet.

    Raises:
        ConfigurationError: One is there, or can't be written; then none is written.
    """
    try:
        taken = [path for path in made if not files.is_missing(path)]
        if taken:
            listed = ", ".join(map(str, taken))
            raise ConfigurationError([Diagnostic("MSH063", "--write", listed, "This is there already.")])
        for path, text in made.items():
            files.replace_text(path, text)
    except files.UnreadableError as error:
        raise ConfigurationError([Diagnostic("MSH063", "--write", None, f"It can't be written: {error}.")]) from None
