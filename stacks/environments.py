"""Presets of the environments, written as in Pulumi.<stack>.yaml.

A preset holds defaults. The stack's own configuration overrides them, key by key. Those of a mesh are declared with
it (`Mesh.presets`).
"""

from collections.abc import Mapping
from typing import Any, cast

from components.helm import merged
from components.meshes import MESHES

PLAIN = "none"
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    # A laptop or a shared playground: small and observable.
    "dev": {},
    # Like production, on fewer machines.
    "staging": {},
    "prod": {},
    # Nothing but the defaults of meshup and of the charts, as for a mesh that was installed otherwise.
    PLAIN: {},
}
for _name, _preset in ENVIRONMENTS.items():
    _preset |= {mesh.name: mesh.presets.get(_name, {}) for mesh in MESHES.values()}


def with_preset(environment: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the stack's configuration over the environment's defaults.

    Args:
        environment: A key of ENVIRONMENTS.
        raw: The configuration, by key without `meshup:`.

    Returns:
        The merged configuration. A section that is not a mapping is kept, so that validation refuses it.
    """
    preset = merged(ENVIRONMENTS[environment])
    for mesh in MESHES.values():
        written: Any = raw.get(mesh.name)
        if isinstance(written, Mapping):
            if cast("Mapping[str, Any]", written).get("install") is False:
                # A preset has settings of the installation.
                preset[mesh.name] = {}
            # A key of the stack drops a preset's key that excludes it.
            for one, other, _ in mesh.sections[mesh.name].exclusive:
                for mine, theirs in ((one, other), (other, one)):
                    if mine in written:
                        preset[mesh.name].pop(theirs, None)
    return merged(preset, raw)
