"""Patterns of paths: segments, of which each is a text or any one segment, and an optional open end. Pure.

Exact paths, prefixes and templates are one form, so that any two have an intersection of the same form. Istio takes the
union of its rules and Linkerd the one best route: with the intersections as routes of their own, both decide alike.
"""

from __future__ import annotations

from dataclasses import dataclass

ANY = None
"""In place of a segment: any one segment, of at least one character."""


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A set of paths.

    `/a/b` is the segments `a`, `b`; `/a/` is `a` and an empty one; `/` is one empty segment.

    Attributes:
        segments: The segments; None is any one segment, of at least one character.
        open: Whether anything may follow, from the next slash on: `/a` with an open end takes `/a`, `/a/`, `/a/b`.
    """

    segments: tuple[str | None, ...]
    open: bool = False

    @property
    def is_exact(self) -> bool:
        """True if it is one path."""
        return not self.open and None not in self.segments

    @property
    def is_prefix(self) -> bool:
        """True if it is a prefix, which ends between segments."""
        return self.open and None not in self.segments

    @property
    def text(self) -> str:
        """For people: `/a`, `/a/**`, `/a/{*}/b`."""
        parts = ["{*}" if part is None else part for part in self.segments] + (["**"] if self.open else [])
        return "/" + "/".join(parts)

    def matches(self, path: str) -> bool:
        """Return True if a path is in the set, compared as it is written."""
        if not path.startswith("/"):
            return False
        parts = path[1:].split("/")
        if len(parts) < len(self.segments) or (len(parts) > len(self.segments) and not self.open):
            return False
        return all(
            (part != "" if own is None else part == own) for own, part in zip(self.segments, parts, strict=False)
        )

    def covers(self, other: PathPattern) -> bool:
        """Return True if every path of another pattern is one of this."""
        if len(other.segments) < len(self.segments) or (other.open and not self.open):
            return False
        if not self.open and len(other.segments) > len(self.segments):
            return False
        return all(
            (theirs is None or theirs != "") if own is None else own == theirs
            for own, theirs in zip(self.segments, other.segments, strict=False)
        )

    def intersection(self, other: PathPattern) -> PathPattern | None:
        """Return the pattern of the paths that are in both, None if there are none."""
        short, long = sorted((self, other), key=lambda one: len(one.segments))
        if len(long.segments) > len(short.segments) and not short.open:
            return None
        made: list[str | None] = []
        for number, part in enumerate(long.segments):
            own = short.segments[number] if number < len(short.segments) else part
            if part is not None and own is not None and part != own:
                return None
            if "" in (part, own) and None in (part, own):
                return None
            made.append(part if own is None else own)
        return PathPattern(tuple(made), self.open and other.open)


EVERY_PATH = PathPattern((), open=True)


def exact(path: str) -> PathPattern:
    """Return the pattern of one path, which begins with a slash."""
    return PathPattern(tuple(path[1:].split("/")))


def prefix(path: str) -> PathPattern:
    """Return the pattern of a path and all below it. A slash at the end makes no difference, as in the Gateway API."""
    trimmed = path.rstrip("/")
    return PathPattern(tuple(trimmed[1:].split("/")) if trimmed else (), open=True)


def template(text: str) -> PathPattern:
    """Return the pattern of a template: `{*}` is one segment, `{**}` at the end is whatever follows, or nothing."""
    parts = text[1:].split("/")
    is_open = parts[-1] == "{**}"
    return PathPattern(tuple(None if part == "{*}" else part for part in (parts[:-1] if is_open else parts)), is_open)
