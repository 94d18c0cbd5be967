"""In which order the objects of a policy come into being and go, so that no moment is open or closed by mistake."""

from __future__ import annotations

from collections.abc import Sequence

from .plane import SecurityObject

CLOSING = 4
"""From this phase on, an object closes a whole namespace, so that it waits for all that opens something there."""
_ALL, _UNNAMED = "*", ""


def dependencies(objects: Sequence[SecurityObject]) -> list[list[int]]:
    """Return, for each object, the positions of those that have to be there before it.

    An object waits for those of an earlier phase of its namespace which are for the same part of the policy, such as an
    AuthorizationPolicy for the authentications that it names. What closes a namespace waits for all of them, and so
    does an object that names no part of the policy. So Services are guarded side by side, and a thousand objects have
    a few thousand dependencies. Removed in reverse, what closes goes first.
    """
    earlier: dict[tuple[str, str], list[int]] = {}
    result: list[list[int]] = []
    for position, item in enumerate(objects):
        namespace = item.manifest["metadata"].get("namespace", "")
        by_key = item.keys and item.phase < CLOSING
        found = {
            number
            for key in ((_UNNAMED, *item.keys) if by_key else (_ALL,))
            for number in earlier.get((namespace, key), ())
        }
        result.append(sorted(number for number in found if objects[number].phase < item.phase))
        for key in (_ALL, *(item.keys or (_UNNAMED,))):
            earlier.setdefault((namespace, key), []).append(position)
    return result
