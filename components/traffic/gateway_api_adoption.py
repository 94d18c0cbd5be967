"""HTTPRoute and GRPCRoute -> the rules of a route, the other way of gateway_api.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..manifests import Manifest, part
from .adoption import (
    Form,
    Home,
    Reading,
    backend,
    backends,
    cookies_of,
    duration,
    entries,
    pattern_form,
    percents,
    port_of,
)
from .gateway_api import PATH_TYPES
from .manifests import filled

_EVERY_PATH = ({"type": "PathPrefix", "value": "/"}, {"type": "RegularExpression", "value": ".*"})
_LONGEST_PATH = 10_000
_LIMIT, _RETRY = "retry.linkerd.io/limit", "retry.linkerd.io/"


def read(objects: Sequence[Manifest], home: Home, *, rust: bool) -> Reading:
    """Read the route objects of a Service.

    Args:
        objects: They have the Service as parent. Of several, the one that has the name of the Service, or of the
            Service and its port, comes last.
        home: The Service.
        rust: Whether patterns have anchors, and annotations hold timeouts and retries, as on Linkerd.
    """
    reading = Reading()
    parts: dict[int, list[list[Form]]] = {}
    names = {home.name, *(f"{home.name}-{port}" for port in home.ports)}
    for item in sorted(objects, key=lambda item: item["metadata"]["name"] in names):
        if item["kind"] not in ("HTTPRoute", "GRPCRoute"):
            continue
        spec = part(item, "spec")
        port = port_of(entries(spec, "parentRefs"), home)
        base = f"{home.name}-{port}" if len(home.ports) > 1 else home.name
        policies = _annotated(part(item["metadata"], "annotations"))
        rules = [_rule(rule, home, port, reading, rust=rust) | policies for rule in entries(spec, "rules")]
        name = item["metadata"]["name"].removeprefix(f"{base}-")
        if rules and name != item["metadata"]["name"]:
            rules[0]["name"] = name
        parts.setdefault(port, []).append(rules)
    for port, lists in parts.items():
        reading.rules[port] = rules = _joined(lists)
        # The first rule of an object is in its name; others must not take that one by their position.
        taken = {rule["name"] for rule in rules if "name" in rule}
        for index, rule in enumerate(rules):
            if f"rule-{index}" in taken and "name" not in rule:
                rule["name"] = f"rule-{index}-of-{home.name}"[:63]
    return reading


def _joined(lists: Sequence[list[Form]]) -> list[Form]:
    """Join the rules of several objects, as a mesh ranks them. The last rule of the last object stays the last one."""
    rest = [list(rules) for rules in lists if rules]
    joined: list[Form] = []
    while rest:
        heads = rest if len(rest) == 1 or len(rest[-1]) > 1 else rest[:-1]
        best = max(heads, key=lambda rules: _rank(rules[0]))
        joined.append(best.pop(0))
        rest = [rules for rules in rest if rules]
    return joined


def _rank(rule: Form) -> tuple[int, ...]:
    """The longer path, where exact and regex count as a whole one; then headers, query parameters, a method."""
    ranks: list[tuple[int, ...]] = [(0, 0, 0, 0)]
    for match in rule.get("match") or ():
        ((kind, path),) = (match.get("path") or {"prefix": "/"}).items()
        length = len(path) if kind == "prefix" else _LONGEST_PATH
        headers = len(match.get("headers") or ()) + ("cookies" in match)
        ranks.append((length, headers, len(match.get("query") or ()), int("method" in match)))
    return max(ranks)


def normal(item: Manifest) -> Manifest:
    """Return a route without what the API server adds, and with weights in percent."""
    if item["kind"] not in ("HTTPRoute", "GRPCRoute"):
        return item
    rules = [_normal_rule(rule) for rule in entries(part(item, "spec"), "rules")]
    return {**item, "spec": {**item["spec"], "rules": rules}}


def _normal_rule(rule: Mapping[str, Any]) -> Form:
    references = entries(rule, "backendRefs")
    weights = percents([int(reference.get("weight", 1)) for reference in references])
    changed: Form = dict(rule)
    if references:
        changed["backendRefs"] = [
            {**_plain(one), "weight": weight} for one, weight in zip(references, weights, strict=True)
        ]
    if entries(rule, "filters"):
        changed["filters"] = [_normal_filter(entry) for entry in entries(rule, "filters")]
    return changed


def _normal_filter(entry: Mapping[str, Any]) -> Form:
    mirror = part(entry, "requestMirror")
    return {**entry, "requestMirror": {**mirror, "backendRef": _plain(mirror["backendRef"])}} if mirror else dict(entry)


def _plain(reference: Mapping[str, Any]) -> Form:
    """A reference whose group is that of Services, which is the default."""
    return {"kind": "Service", **{key: value for key, value in reference.items() if (key, value) != ("group", "")}}


def _annotated(annotations: Mapping[str, str]) -> Form:
    """Read timeouts and retries of Linkerd."""
    words = [word for key in ("http", "grpc") for word in annotations.get(f"{_RETRY}{key}", "").split(",") if word]
    timeout = filled(
        {
            "request": annotations.get("timeout.linkerd.io/request"),
            "perTry": annotations.get(f"{_RETRY}timeout"),
        }
    )
    retries = {
        "attempts": int(annotations.get(_LIMIT, 0)),
        "conditions": [int(word) if word.isdecimal() else word for word in words],
    }
    return filled({"timeout": timeout, "retries": retries if retries["attempts"] else None})


def _rule(rule: Mapping[str, Any], home: Home, port: int, reading: Reading, *, rust: bool) -> Form:
    matches = [filled(_match(match, rust=rust)) for match in entries(rule, "matches")]
    shares = [
        (_destination(entry, home, port, reading), int(entry.get("weight", 1)))
        for entry in entries(rule, "backendRefs")
    ]
    form: Form = {"match": [] if {} in matches else matches, **(backends(shares, home, port) if shares else {})}
    timeout = part(rule, "timeouts").get("request")
    form["timeout"] = {"request": duration(timeout)} if timeout else None
    headers: Form = {}
    mirrors: list[Form] = []
    for entry in entries(rule, "filters"):
        match entry["type"]:
            case "RequestHeaderModifier":
                headers["request"] = _change(part(entry, "requestHeaderModifier"))
            case "ResponseHeaderModifier":
                headers["response"] = _change(part(entry, "responseHeaderModifier"))
            case "URLRewrite":
                form["rewrite"] = _rewrite(part(entry, "urlRewrite"))
            case "RequestRedirect":
                form["redirect"] = _redirect(part(entry, "requestRedirect"))
            case "RequestMirror":
                mirrors.append(_mirror(part(entry, "requestMirror"), home, port, reading))
            case _:
                pass
    return filled(form | {"headers": headers, "mirror": mirrors})


def _match(match: Mapping[str, Any], *, rust: bool) -> Form:
    form: Form = {}
    if isinstance(match.get("method"), Mapping):
        call = part(match, "method")
        form["grpc"] = filled({"service": call.get("service"), "method": call.get("method")})
    else:
        form["method"] = match.get("method")
    path = dict(part(match, "path"))
    if path and path not in _EVERY_PATH:
        kinds = {word: kind for kind, word in PATH_TYPES.items()}
        kind = kinds.get(str(path.get("type")), "")
        value = str(path.get("value"))
        form["path"] = {kind: _pattern(value, rust=rust) if kind == "regex" else value}
    form["headers"] = {entry["name"]: _text(entry, rust=rust) for entry in entries(match, "headers")}
    cookie = next((name for name in form["headers"] if name.lower() == "cookie"), None)
    if cookie and isinstance(form["headers"][cookie], dict):
        cookies = cookies_of(form["headers"][cookie].get("regex", ""))
        if cookies:
            del form["headers"][cookie]
            form["cookies"] = cookies
    form["query"] = {entry["name"]: _text(entry, rust=rust) for entry in entries(match, "queryParams")}
    return form


def _pattern(value: str, *, rust: bool) -> str:
    return value.removeprefix("^(?:").removesuffix(")$") if rust else value


def _text(entry: Mapping[str, Any], *, rust: bool) -> Any:
    is_pattern = entry.get("type", "Exact") == "RegularExpression"
    return pattern_form(_pattern(entry["value"], rust=rust)) if is_pattern else entry["value"]


def _destination(reference: Mapping[str, Any], home: Home, called: int, reading: Reading) -> Form:
    """Return a Service, or the version whose pods it selects: a Service named like it, with further labels."""
    place = (str(reference.get("namespace") or home.namespace), str(reference["name"]))
    selector = home.selectors.get(place, {})
    for (namespace, name), base in home.selectors.items():
        labels = {key: value for key, value in selector.items() if base.get(key) != value}
        version = place[1].removeprefix(f"{name}-")
        if (
            namespace != place[0]
            or version == place[1]
            or not base
            or not labels
            or not base.items() <= selector.items()
        ):
            continue
        if (namespace, name) == (home.namespace, home.name):
            reading.versions[version] = labels
        return backend(home, (namespace, name), version, reference.get("port"), called)
    return backend(home, place, None, reference.get("port"), called)


def _change(change: Mapping[str, Any]) -> Form:
    named = {key: {entry["name"]: entry["value"] for entry in entries(change, key)} for key in ("set", "add")}
    return filled({**named, "remove": change.get("remove")})


def _rewrite(rewrite: Mapping[str, Any]) -> Form:
    path = part(rewrite, "path")
    return filled(
        {
            "host": rewrite.get("hostname"),
            "path": path.get("replaceFullPath"),
            "prefix": path.get("replacePrefixMatch"),
        }
    )


def _redirect(redirect: Mapping[str, Any]) -> Form:
    return filled(
        {
            "status": redirect.get("statusCode"),
            "port": redirect.get("port"),
            "scheme": redirect.get("scheme"),
            "host": redirect.get("hostname"),
            "path": part(redirect, "path").get("replaceFullPath"),
        }
    )


def _mirror(mirror: Mapping[str, Any], home: Home, called: int, reading: Reading) -> Form:
    form = _destination(part(mirror, "backendRef"), home, called, reading)
    fraction = part(mirror, "fraction")
    percent = mirror.get("percent", 100)
    if fraction:
        percent = fraction["numerator"] * 100 / fraction.get("denominator", 100)
    return {**form, "percent": float(percent)}
