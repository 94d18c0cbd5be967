"""Read the files that a stack names, with limits on size, nesting and work.

A file may be a pipe without a writer, an endless device, or YAML of a few lines that expands to millions of
values. Only regular files are read, up to a size; YAML is counted event by event, which needs no recursion, before it
is composed, which does (PyYAML 6, libyaml 0.2: the interpreter ends on 100,000 `[`).
"""

import os
import re
import shutil
import stat
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from components.diagnostics.validation import MOST_DEPTH

MOST_BYTES = 4 * 1024 * 1024
"""The largest file. The Gateway API's bundle, the largest that meshup needs, has about 1 MiB."""
MOST_YAML = 2 * MOST_BYTES
"""Largest size of a YAML document with its aliases written out: characters of all scalars, and _NODE for each value."""
_NODE = 8
_MOST_TAG_DIRECTIVES = 100
"""libyaml compares each %TAG with all previous ones."""

_LONGEST_NUMBER = 64
"""Parsing a number takes quadratic time in its digits, and longer with YAML's base 60."""
_MOST_OTHER_KEYS = 1000
"""Python's hash of numbers is fixed: colliding keys make a mapping take quadratic time."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # The C loader reads large files ten times as fast.


class UnreadableError(Exception):
    """A file, or the YAML in it, can't be read. The message is the reason, without a full stop.

    Attributes:
        reason: The message without any part of the file, which may hold credentials.
    """

    def __init__(self, reason: str, quoted: str = "") -> None:
        super().__init__(f"{reason}: {quoted}" if quoted else reason)
        self.reason = reason


class Loader(_BASE):
    """Plain data only. A date is text, as for Kubernetes and Helm (sigs.k8s.io/yaml)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a mapping that would take too long to build."""
        others = sum(1 for key, _ in node.value if key.tag != "tag:yaml.org,2002:str")
        if others > _MOST_OTHER_KEYS:
            message = f"a mapping has more than {_MOST_OTHER_KEYS} keys that are not text"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
        construct: Callable[..., dict[Hashable, Any]] = _BASE.construct_mapping
        return construct(self, node, deep=deep)


def _number(loader: Any, node: yaml.ScalarNode) -> int | float:
    if len(node.value) > _LONGEST_NUMBER:
        raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
    construct = _BASE.construct_yaml_int if node.tag.endswith(":int") else _BASE.construct_yaml_float
    return construct(loader, node)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _BASE.yaml_implicit_resolvers.items()
}
for _tag in ("int", "float"):
    Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _number)


def refuse_repeated(node: yaml.MappingNode) -> None:
    """Raise ConstructorError if a mapping has a duplicate key."""
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                message = f"the key {key.value[:80]!r} appears twice"
                raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
            seen.add(key.value)


class UniqueKeys(Loader):
    """Refuses duplicate keys, of which YAML silently drops the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a mapping with a duplicate key."""
        refuse_repeated(node)
        return super().construct_mapping(node, deep=deep)


def expand_path(written: str, base: Path = Path()) -> Path:
    """Resolve a configured path: relative to `base`, with `~` and `~user` expanded.

    Raises:
        UnreadableError: There is no such user.
    """
    try:
        return base / Path(written).expanduser()
    except RuntimeError:
        user = written.split("/", maxsplit=1)[0][1:40]
        raise UnreadableError(f"there is no user {user!r}" if user else "there is no home directory") from None


def is_directory(path: Path) -> bool:
    """Return True for a directory that can be accessed."""
    with suppress(OSError, ValueError):
        return path.is_dir()
    return False


def is_missing(path: Path) -> bool:
    """Return True if nothing exists at a path."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        pass
    return False


def text(path: Path, most: int = MOST_BYTES) -> str:
    """Return the text of a regular file.

    Raises:
        UnreadableError: It does not exist, is not a regular file, exceeds `most` bytes, or is not UTF-8.
    """
    try:
        # Check before opening: opening a device can have effects, and opening a pipe can block.
        _refuse_special(path.stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            _refuse_special(os.fstat(descriptor).st_mode)
            content = stream.read(most + 1)
    except OSError as error:
        raise UnreadableError(_reason(error)) from None
    except ValueError:
        raise UnreadableError("the path has a character that no path has") from None
    if len(content) > most:
        raise UnreadableError(f"it is larger than {most // 1024:,} KiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("it is not UTF-8") from None


def replace_text(path: Path, content: str) -> None:
    """Write a file so that it is there in whole or as it was before, with its mode.

    Raises:
        UnreadableError: It can't be written.
    """
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("xb") as stream:
            stream.write(content.encode())
        with suppress(FileNotFoundError):
            shutil.copymode(target, draft)
        draft.replace(target)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise UnreadableError(_reason(error)) from None


def document(content: str, loader: Any = Loader) -> Any:
    """Return the one YAML document of a text, None if it is empty.

    Raises:
        UnreadableError: It is not YAML, has several documents, or is too large or nested too deeply.
    """
    return _load(lambda: yaml.load(content, Loader=loader), content, loader)  # noqa: S506 # a safe loader


def documents(content: str) -> list[Any]:
    """Return all YAML documents of a text.

    Raises:
        UnreadableError: It is not YAML, or is too large or nested too deeply.
    """
    return _load(lambda: list(yaml.load_all(content, Loader=Loader)), content, Loader)


def _load(load: Callable[[], Any], content: str, loader: Any) -> Any:
    try:
        _measure(content, loader)
        return load()
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise UnreadableError(f"it is not YAML{where}", " ".join(str(problem or "").split())[:200]) from None
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError):
        # A scalar that does not fit its type, such as a number of 5,000 digits or `!!int x`; a lone surrogate.
        raise UnreadableError("it is not YAML: a value does not fit its type") from None


def _measure(content: str, loader: Any) -> None:
    """Raise UnreadableError if the YAML, with its aliases written out, is too large or nested too deeply."""
    if len(re.findall(r"(?m)^%TAG", content)) > _MOST_TAG_DIRECTIVES:
        raise UnreadableError(f"it has more than {_MOST_TAG_DIRECTIVES} directives %TAG")
    anchored: dict[str, tuple[int, int]] = {}
    """Size and depth of the value of an anchor."""
    opened: list[tuple[str | None, int]] = []
    depths: list[int] = [0]
    size = 0
    for event in yaml.parse(content, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, size))
            depths.append(0)
            size += _NODE
            anchored.pop(event.anchor or "", None)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            inner = depths.pop() + 1
            depths[-1] = max(depths[-1], inner)
            if anchor is not None:
                anchored[anchor] = (size - before, inner)
        elif isinstance(event, yaml.ScalarEvent):
            size += _NODE + len(event.value)
            if event.anchor is not None:
                anchored[event.anchor] = (_NODE + len(event.value), 0)
        elif isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            if event.anchor not in anchored:
                raise UnreadableError("it has an alias of nothing that ends before it", f"*{event.anchor[:80]}")
            more, inner = anchored[event.anchor]
            size += more
            depths[-1] = max(depths[-1], inner)
        if len(opened) + depths[-1] > MOST_DEPTH:
            raise UnreadableError(f"mappings and lists are nested more than {MOST_DEPTH} deep")
        if size > MOST_YAML:
            raise UnreadableError("it is too large, with its aliases written out")


def _refuse_special(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UnreadableError("it is a directory")
    if not stat.S_ISREG(mode):
        raise UnreadableError("it is not a regular file")


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    reason = error.strerror or type(error).__name__
    return reason[:1].lower() + reason[1:]
