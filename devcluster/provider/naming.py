"""Names for resources that the program left unnamed."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from devcluster.provider import objects

_DIGITS = 8

PROPOSE, ENFORCE, DISABLE = 0, 1, 2
"""Modes of `CheckRequest.AutonamingOptions`."""


class NamingError(Exception):
    """The resource has no name and must not be given one."""


def suffix(seed: bytes) -> str:
    """Return eight hexadecimal digits: the same for the same seed, random without one."""
    return hashlib.sha256(seed).hexdigest()[:_DIGITS] if seed else secrets.token_hex(_DIGITS // 2)


def assign_name(
    obj: Mapping[str, Any], resource_name: str, seed: bytes, proposed: str | None = None, mode: int = PROPOSE
) -> objects.JsonObject:
    """Return the object with a name; one that was chosen here is marked by an annotation.

    Args:
        obj: the object, with or without `metadata.name`.
        resource_name: the resource's name in the program.
        seed: the engine's random seed, so that a retried Check finds the same name.
        proposed: the name that the stack's `pulumi:autonaming` configuration proposes.
        mode: what to make of the proposal.

    Raises:
        NamingError: automatic names are switched off and the object has none.
    """
    meta = objects.metadata(obj)
    # Metadata that is not known as a whole may hold a name.
    if meta.get("name") or meta.get("generateName") or isinstance(obj.get("metadata"), str):
        return dict(obj)
    if mode == DISABLE:
        message = "autonaming is disabled, metadata.name must be set"
        raise NamingError(message)
    name = proposed or f"{resource_name}-{suffix(seed)}"
    return objects.with_annotation(objects.with_metadata(obj, name=name), objects.AUTONAMED, "true")


def adopt_name(obj: Mapping[str, Any], old_inputs: Mapping[str, Any]) -> objects.JsonObject:
    """Return an unnamed object with the name that was chosen for it before."""
    meta = objects.metadata(obj)
    if meta.get("name") or meta.get("generateName") or isinstance(obj.get("metadata"), str):
        return dict(obj)
    if not is_autonamed(old_inputs):
        return dict(obj)
    named = objects.with_metadata(obj, name=objects.metadata(old_inputs)["name"])
    return objects.with_annotation(named, objects.AUTONAMED, "true")


def is_autonamed(obj: Mapping[str, Any]) -> bool:
    """Say whether the object's name was chosen here."""
    return objects.annotation(obj, objects.AUTONAMED) == "true"
