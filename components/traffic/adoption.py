"""Objects that somebody else has written -> routes as they are written under `meshup:traffic`.

A reader takes what it knows of an object, and need not be complete: what it makes is compiled, and compared with the
object field by field (`differences`). So a field that it does not know is a reason why the object can't be a route, and
never lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ..manifests import Manifest, part
from .durations import duration_text
from .grammar import FULL_WEIGHT, TOKEN
from .manifests import filled, quote

Form = dict[str, Any]
"""A part of a route, as it is written."""

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+")
LONGEST_PATTERN = 500
"""Characters of a pattern in the configuration (grammar.py, `Pattern`)."""
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_DURATIONS = frozenset(
    ("timeout", "perTryTimeout", "backoff", "fixedDelay", "interval", "baseEjectionTime", "ttl", "request")
)
"""Fields that hold a duration, in VirtualService, DestinationRule, HTTPRoute and ServiceProfile."""
_BETWEEN = "(?:; ?|;.*; ?)"
_COOKIES = re.compile(r"\(\?:\.\*; \?\)\?(?P<pairs>.+?)\(\?:;\.\*\)\?")


@dataclass(frozen=True)
class Home:
    """The Service that objects decide on.

    Attributes:
        name: Its name.
        namespace: Its namespace.
        domain: The DNS domain of the cluster.
        ports: Its ports.
        selector: Its selector.
        selectors: The selectors of all Services of the cluster, by namespace and name.
    """

    name: str
    namespace: str
    domain: str
    ports: tuple[int, ...]
    selector: Mapping[str, str] = field(default_factory=dict[str, str])
    selectors: Mapping[tuple[str, str], Mapping[str, str]] = field(
        default_factory=dict[tuple[str, str], Mapping[str, str]]
    )

    @property
    def host(self) -> str:
        """Its full name."""
        return f"{self.name}.{self.namespace}.svc.{self.domain}"


@dataclass
class Reading:
    """What objects say of a Service.

    Attributes:
        versions: Its versions, with the labels of their pods.
        rules: The rules of each port.
        policies: What holds for all rules, at the first port.
    """

    versions: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    rules: dict[int, list[Form]] = field(default_factory=dict[int, list[Form]])
    policies: Form = field(default_factory=Form)


def port_of(items: Sequence[Mapping[str, Any]], home: Home) -> int:
    """Return the port that conditions or parents name, else the first one of the Service."""
    return next((int(item["port"]) for item in items if "port" in item), home.ports[0])


def duration(text: object) -> str:
    """Return a duration as meshup writes it; any other text as it is."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        return str(text)
    return duration_text(round(sum(float(number) * _MS[unit] for number, unit in _PART.findall(text))))


def entries(item: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the mappings in the list at a key."""
    return cast("list[Mapping[str, Any]]", item.get(key) or [])


def backend(home: Home, target: tuple[str, str], version: str | None, port: int | None, called: int) -> Form:
    """Return a destination: a version of the Service, or another Service.

    Args:
        home: The Service of the route.
        target: Namespace and name of the destination.
        version: Its version.
        port: Its port.
        called: The port of the route.
    """
    if target == (home.namespace, home.name) and version and port in (None, called):
        return {"version": version}
    namespace, name = target
    place = namespace if namespace != home.namespace else None
    return filled({"service": name, "namespace": place, "version": version, "port": port})


def backends(shares: Sequence[tuple[Form, int]], home: Home, called: int) -> Form:
    """Return the backends of a rule; nothing where all requests go to the Service and the port that is called."""
    whole: list[Form] = [{"service": home.name}, {"service": home.name, "port": called}]
    if len(shares) == 1 and shares[0][0] in whole:
        return {}
    if all(set(form) == {"version"} for form, _ in shares):
        return {"backends": {form["version"]: weight for form, weight in shares}}
    return {"backends": [{**form, "weight": weight} for form, weight in shares]}


def cookies_of(pattern: str) -> Form | None:
    """Return the cookies that a pattern for the header Cookie was written for; None for any other pattern.

    What is read is compiled and compared, so this need not be exact.
    """
    found = _COOKIES.fullmatch(pattern)
    if not found:
        return None
    # Several cookies are written in every order: one of them is enough.
    orders = found["pairs"].removeprefix("(?:").replace(_BETWEEN, "\0")
    cookies: Form = {}
    for pair in re.split(r"(?<!\\)\|", orders)[0].split("\0"):
        name, _, value = pair.partition("=")
        name = unquoted(name)
        if not TOKEN.fullmatch(name):
            return None
        if value == "[^;]*":
            cookies[name] = {"present": True}
        elif value.endswith("[^;]*"):
            cookies[name] = {"prefix": unquoted(value.removesuffix("[^;]*"))}
        else:
            cookies[name] = unquoted(value)
    return cookies


def percents(weights: Sequence[int]) -> list[int]:
    """Return weights that sum to 100, if whole ones in the same proportion do."""
    total = sum(weights)
    if not total or any(weight * FULL_WEIGHT % total for weight in weights):
        return list(weights)
    return [weight * FULL_WEIGHT // total for weight in weights]


def pattern_form(pattern: str) -> Form:
    """Return a condition by a pattern; one that is too long is that of a prefix, which targets without prefixes get."""
    literal = pattern.removesuffix(".*")
    if len(pattern) > LONGEST_PATTERN and quote(unquoted(literal)) == literal:
        return {"prefix": unquoted(literal)}
    return {"regex": pattern}


def unquoted(text: str) -> str:
    """Return the text of a literal in a regular expression, or of a replacement."""
    return re.sub(r"\\(.)", r"\1", text)


def differences(live: Any, made: Any, path: str = "spec") -> Iterator[str]:
    """Return how an object that is compiled differs from one that is there, a text for each field."""
    if isinstance(live, Mapping) and isinstance(made, Mapping):
        theirs, ours = cast("Mapping[str, Any]", live), cast("Mapping[str, Any]", made)
        for key in sorted({*theirs, *ours}):
            here = f"{path}.{key}"
            if key not in ours:
                yield f"{here} can't be written"
            elif key not in theirs:
                yield f"{here} would be {ours[key]!r}"
            elif key in _DURATIONS and duration(theirs[key]) == duration(ours[key]):
                continue
            else:
                yield from differences(theirs[key], ours[key], here)
    elif isinstance(live, list) and isinstance(made, list):
        their_items, our_items = cast("list[Any]", live), cast("list[Any]", made)
        if len(their_items) != len(our_items):
            yield f"{path} would have {len(our_items)} entries, not {len(their_items)}"
        for index, (one, other) in enumerate(zip(their_items, our_items, strict=False)):
            yield from differences(one, other, f"{path}[{index}]")
    elif live != made:
        yield f"{path} is {live!r} and would be {made!r}"


def plain(item: Manifest) -> Manifest:
    """Return the part of an object that a route decides: its spec, and annotations of the mesh."""
    kept = {
        key: value
        for key, value in part(item["metadata"], "annotations").items()
        if key.startswith(("timeout.linkerd.io/", "retry.linkerd.io/"))
    }
    return {"spec": item.get("spec") or {}, **({"annotations": kept} if kept else {})}
