"""Istio of somebody else as settings and routes of a stack.

VirtualService and DestinationRule -> a route is the other way of virtual_service.py and destination_rule.py, releases
-> settings that of component.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...manifests import Manifest, part
from ...traffic.adoption import (
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
    unquoted,
)
from ...traffic.manifests import filled, quote
from ..adoption import Adopted, HelmRecord, notes, settings_of, without
from .component import releases as made_releases
from .destination_rule import LOAD_BALANCER, full_host
from .settings import IstioArgs, IstioSettings

_NO_WEBHOOKS = {"operatorManageWebhooks": True, "configValidation": False}
"""What `webhooks: false` sets, below `global`."""
_GRPC_SERVICE = re.compile(r"/([A-Za-z_][\w.]*)/")
_SERVICE = re.compile(r"([^.]+)\.([^.]+)\.svc\..+")


def read(objects: Sequence[Manifest], home: Home) -> Reading:
    """Read the objects of a Service."""
    reading = Reading()
    for item in objects:
        if item["kind"] == "DestinationRule":
            for subset in entries(part(item, "spec"), "subsets"):
                reading.versions[subset["name"]] = dict(part(subset, "labels"))
            reading.policies |= _policies(part(part(item, "spec"), "trafficPolicy"))
        elif item["kind"] == "VirtualService":
            for http in entries(part(item, "spec"), "http"):
                port = port_of(entries(http, "match"), home)
                if http != _pass_through(home, port):
                    reading.rules.setdefault(port, []).append(_rule(http, home, port))
    return reading


def normal(item: Manifest, domain: str) -> Manifest:
    """Return an object with what istiod adds to fields that are not written."""
    spec: dict[str, Any] = dict(part(item, "spec"))
    namespace = item["metadata"]["namespace"]
    if item["kind"] == "DestinationRule":
        spec["host"] = full_host(spec["host"], namespace, domain)
    if item["kind"] == "VirtualService":
        spec["hosts"] = [full_host(host, namespace, domain) for host in spec.get("hosts") or ()]
        spec["http"] = [_normal_rule(http, namespace, domain) for http in entries(spec, "http")]
        if spec.get("gateways") == ["mesh"]:
            del spec["gateways"]
    return {**item, "spec": spec}


def _normal_rule(http: Mapping[str, Any], namespace: str, domain: str) -> Form:
    rule = dict(http)
    if "mirror" in rule:
        percent = rule.pop("mirrorPercentage", {"value": 100.0})
        rule["mirrors"] = [{"destination": rule.pop("mirror"), "percentage": percent}]
    for key in ("route", "mirrors"):
        if key in rule:
            rule[key] = [_normal_part(entry, namespace, domain) for entry in rule[key]]
    parts = entries(rule, "route")
    if parts:
        given = [int(entry.get("weight") or 0) for entry in parts]
        weights = [100] if len(parts) == 1 else percents(given)
        rule["route"] = [{**entry, "weight": weight} for entry, weight in zip(parts, weights, strict=True)]
    matches = [_normal_match(match) for match in entries(rule, "match")]
    return {**rule, **({"match": matches} if matches else {})}


def _normal_part(entry: Mapping[str, Any], namespace: str, domain: str) -> Form:
    destination = part(entry, "destination")
    return {**entry, "destination": {**destination, "host": full_host(destination["host"], namespace, domain)}}


def _normal_match(match: Mapping[str, Any]) -> Form:
    """A prefix of characters as the pattern that means the same."""
    prefix = part(match, "uri").get("prefix")
    if prefix is None or prefix.endswith("/"):
        return dict(match)
    return {**match, "uri": {"regex": f"{quote(prefix)}.*"}}


def _pass_through(home: Home, port: int) -> Form:
    route = [{"destination": {"host": home.host, "port": {"number": port}}, "weight": 100}]
    return {"name": f"port-{port}", "match": [{"port": port}], "route": route}


def _rule(http: Mapping[str, Any], home: Home, port: int) -> Form:
    matches = [filled(form) for form in _matches(entries(http, "match"))]
    retries, fault, redirect = part(http, "retries"), part(http, "fault"), part(http, "redirect")
    timeout = filled(
        {
            "request": duration(http["timeout"]) if "timeout" in http else None,
            "perTry": duration(retries["perTryTimeout"]) if "perTryTimeout" in retries else None,
        }
    )
    shares = [(_destination(entry, home, port), int(entry.get("weight", 100))) for entry in entries(http, "route")]
    return filled(
        {
            "name": http.get("name"),
            "match": [] if matches == [{}] else matches,
            **(backends(shares, home, port) if shares else {}),
            "timeout": timeout,
            "retries": _retries(retries) if retries else None,
            "fault": _fault(fault),
            "mirror": [
                {**_destination(entry, home, port), "percent": part(entry, "percentage").get("value", 100.0)}
                for entry in entries(http, "mirrors")
            ],
            "headers": filled(
                {
                    side: filled({key: change.get(key) for key in ("set", "add", "remove")})
                    for side, change in part(http, "headers").items()
                }
            ),
            "rewrite": _rewrite(part(http, "rewrite"), matches),
            "redirect": filled(
                {
                    "path": redirect.get("uri"),
                    "host": redirect.get("authority"),
                    "scheme": redirect.get("scheme"),
                    "port": redirect.get("port"),
                    "status": redirect.get("redirectCode"),
                }
            ),
        }
    )


def _matches(matches: Sequence[Mapping[str, Any]]) -> list[Form]:
    """Read conditions. A path and all below it, as two conditions, are a prefix of segments."""
    forms: list[Form] = []
    rest = [dict(match) for match in matches]
    while rest:
        match = rest.pop(0)
        uri = part(match, "uri")
        below = {**match, "uri": {"prefix": f"{uri.get('exact')}/"}}
        if "exact" in uri and rest and rest[0] == below:
            rest.pop(0)
            forms.append(_match({**match, "uri": {}}) | {"path": {"prefix": uri["exact"]}})
        else:
            forms.append(_match(match))
    return forms


def _match(match: Mapping[str, Any]) -> Form:
    form: Form = {
        "method": part(match, "method").get("exact"),
        "headers": {name: _text(value) for name, value in part(match, "headers").items()},
        "query": {
            name: pattern_form(value["regex"]) if "regex" in value else _text(value)
            for name, value in part(match, "queryParams").items()
        },
        "source": dict(part(match, "sourceLabels")),
        "sourceNamespace": match.get("sourceNamespace"),
    }
    pattern = part(part(match, "headers"), "cookie").get("regex")
    cookies = cookies_of(pattern) if pattern else None
    if cookies:
        del form["headers"]["cookie"]
        form["cookies"] = cookies
    uri = part(match, "uri")
    prefix = uri.get("prefix")
    service = _GRPC_SERVICE.fullmatch(prefix or "")
    if service and form["method"] == "POST":
        return form | {"method": None, "grpc": {"service": service[1]}}
    if prefix not in (None, "/"):
        return form | {"path": {"regex": f"{quote(prefix)}.*"}}
    return form | {"path": dict(uri) or None}


def _text(match: Mapping[str, Any]) -> Any:
    return match["exact"] if "exact" in match else dict(match) or {"present": True}


def _destination(entry: Mapping[str, Any], home: Home, called: int) -> Form:
    destination = part(entry, "destination")
    found = _SERVICE.fullmatch(destination["host"])
    target = (found[2], found[1]) if found else ("", str(destination["host"]))
    return backend(home, target, destination.get("subset"), part(destination, "port").get("number"), called)


def _retries(retries: Mapping[str, Any]) -> Any:
    if not retries.get("attempts"):
        return {"attempts": 0}
    conditions = [int(word) if word.isdecimal() else word for word in str(retries.get("retryOn") or "").split(",")]
    return filled(
        {
            "attempts": retries["attempts"],
            "conditions": [word for word in conditions if word != ""],
            "backoff": duration(retries["backoff"]) if "backoff" in retries else None,
        }
    )


def _fault(fault: Mapping[str, Any]) -> Form:
    delay, abort = part(fault, "delay"), part(fault, "abort")
    form: Form = {}
    if delay:
        percent = part(delay, "percentage").get("value", 100)
        form["delay"] = {"duration": duration(delay.get("fixedDelay")), "percent": percent}
    if abort:
        form["abort"] = {"status": abort.get("httpStatus"), "percent": part(abort, "percentage").get("value", 100)}
    return form


def _rewrite(rewrite: Mapping[str, Any], matches: Sequence[Form]) -> Form:
    changed = part(rewrite, "uriRegexRewrite")
    pattern, replacement = str(changed.get("match", "")), str(changed.get("rewrite", ""))
    form: Form = {"host": rewrite.get("authority")}
    if pattern == "^.*$":
        form["path"] = unquoted(replacement)
    elif pattern:
        # The prefix that matched is in `match`; compiling it again shows whether it is this one.
        form["prefix"] = unquoted(replacement.removesuffix(r"\1").removesuffix("/" if "/?(" in pattern else "")) or "/"
        if pattern == "^/(.*)$":
            form["prefix"] = unquoted(replacement.removesuffix(r"/\1")) or "/"
        if not matches:
            form["prefix"] = form["prefix"] or "/"
    return filled(form)


def _policies(policy: Mapping[str, Any]) -> Form:
    balancer, pool = part(policy, "loadBalancer"), part(policy, "connectionPool")
    outlier, budget, http = part(policy, "outlierDetection"), part(policy, "retryBudget"), part(pool, "http")
    breaker = {
        "consecutiveErrors": outlier.get("consecutive5xxErrors"),
        "interval": duration(outlier["interval"]) if "interval" in outlier else None,
        "ejection": duration(outlier["baseEjectionTime"]) if "baseEjectionTime" in outlier else None,
        "maxEjectionPercent": outlier.get("maxEjectionPercent"),
        "maxConnections": part(pool, "tcp").get("maxConnections"),
        "maxPendingRequests": http.get("http1MaxPendingRequests"),
        "maxRequests": http.get("http2MaxRequests"),
        "maxRequestsPerConnection": http.get("maxRequestsPerConnection"),
    }
    words = {value: key for key, value in LOAD_BALANCER.items()}
    return filled(
        {
            "circuitBreaker": filled(breaker),
            "loadBalancing": words.get(str(balancer.get("simple"))),
            "sessionAffinity": _affinity(part(balancer, "consistentHash")),
            "retryBudget": filled({"percent": budget.get("percent"), "minRetries": budget.get("minRetryConcurrency")}),
        }
    )


def _affinity(consistent: Mapping[str, Any]) -> Form:
    cookie = part(consistent, "httpCookie")
    ttl = duration(cookie["ttl"]) if "ttl" in cookie else "0s"
    return filled(
        {
            "cookie": filled(
                {"name": cookie.get("name"), "ttl": None if ttl == "0s" else ttl, "path": cookie.get("path")}
            ),
            "header": consistent.get("httpHeaderName"),
            "query": consistent.get("httpQueryParameterName"),
            "sourceIp": consistent.get("useSourceIp"),
        }
    )


def adopt(releases: Mapping[str, HelmRecord], mtls: str) -> Adopted:
    """Return the settings with which a stack has the releases of Istio as they run.

    Args:
        releases: The releases by the name of their chart.
        mtls: The mode of the mesh.
    """
    istiod, base = releases["istiod"], releases.get("base")
    section, rest = settings_of(IstioSettings, istiod.values)
    if istiod.namespace != IstioSettings().namespace:
        section["namespace"] = istiod.namespace
    section["version"] = istiod.version
    if rest.get("autoscaleEnabled") is False and isinstance(rest.get("replicaCount"), int):
        section["replicas"] = rest["replicaCount"]
        rest = without(rest, "autoscaleEnabled", "replicaCount")
    if _NO_WEBHOOKS.items() <= part(rest, "global").items():
        section["webhooks"] = False
        rest = without(rest, *(f"global.{key}" for key in _NO_WEBHOOKS))
    rests = {"istiod": rest, "base": without(base.values, "global.istioNamespace") if base else {}}
    if values := {name: left for name, left in rests.items() if left}:
        section["values"] = values
    made = {release["name"]: release["values"] for release in made_releases(IstioArgs.of({**section, "mtls": mtls}))}
    return Adopted({"istio": section}, tuple(notes(releases.values(), made)))
