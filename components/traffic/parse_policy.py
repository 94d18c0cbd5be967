"""Reading the policies of a rule and of a Service: timeouts, retries, faults, mirrors, headers, circuit breaking and
so on.

Used by components/traffic/parse.py only. Each function takes the raw value and its path, notes faults on the reader and
returns the typed policy, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

from ..diagnostics.reader import Reader, join
from .capability import CONNECTION_RETRY, GRPC_RETRY, HTTP_RETRY
from .model import (
    Abort,
    CircuitBreaker,
    Delay,
    Destination,
    Egress,
    EgressProtocol,
    Fault,
    HeaderChange,
    Headers,
    LoadBalancing,
    Mirror,
    Pairs,
    RateLimit,
    Redirect,
    Retry,
    RetryBudget,
    Rewrite,
    SessionAffinity,
    Timeout,
)
from .parse_match import path_fault

SERVICE_POLICY_KEYS = ("circuitBreaker", "loadBalancing", "sessionAffinity", "rateLimit", "retryBudget", "egress")
LOAD_BALANCING: tuple[LoadBalancing, ...] = ("round-robin", "least-request", "random")
RETRY_CONDITIONS = (*HTTP_RETRY, *CONNECTION_RETRY, *GRPC_RETRY)
RETRY_STATUS = frozenset(str(status.value) for status in HTTPStatus if status.value >= HTTPStatus.BAD_REQUEST)
"""Istio takes only statuses that have a name (pkg/config/validation, validateHTTPRetry)."""
EGRESS_PROTOCOLS: tuple[EgressProtocol, ...] = ("HTTP", "HTTPS", "TLS", "TCP")
REDIRECT_STATUS = (301, 302, 303, 307, 308)
MOST_ATTEMPTS = 10
MOST_CHANGES = 16
MOST_MIRRORS = 13
"""Gateway API v1.5.1: a filter changes 16 headers in each way; a rule has 16 filters, three of which may be others."""
MOST_REQUESTS = 100_000_000
"""Linkerd keeps the requests of a second in 32 bits, and 50 ms is the shortest interval."""
LONGEST_EGRESS_HOST = 235
"""With what comes before and behind it, the host names an object, and a name has 253 characters at most."""
SHORTEST_FILL = 50
"""Milliseconds; the shortest fill_interval of Envoy's local rate limit."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_IN_CLUSTER = re.compile(r".*\.svc(?:\..*)?|.*\.cluster\.local")
_EGRESS_HOST = re.compile(r"(?:\*\.)?" + _HOST.pattern)
_STATUS_LEAST, _STATUS_MOST = 200, 599
_COUNT_MOST = 2**31 - 1

ReadDestination = Callable[[dict[str, object], str], Destination | None]


def rule_policies(reader: Reader, body: dict[str, object], where: str, destination: ReadDestination) -> dict[str, Any]:
    """The policies of one rule, as keyword arguments of `Rule`."""
    found: dict[str, Any] = {}
    readers: tuple[tuple[str, str, Callable[[Reader, object, str], object]], ...] = (
        ("timeout", "timeout", _timeout),
        ("retries", "retry", _retry),
        ("fault", "fault", _fault),
        ("headers", "headers", _headers),
        ("rewrite", "rewrite", _rewrite),
        ("redirect", "redirect", _redirect),
    )
    for key, field, read in readers:
        if key in body:
            found[field] = read(reader, body[key], join(where, key))
    if "mirror" in body:
        found["mirrors"] = _mirrors(reader, body["mirror"], join(where, "mirror"), destination)
    return found


def service_policies(reader: Reader, body: dict[str, object], where: str) -> dict[str, Any]:
    """The policies of one Service, as keyword arguments of `Route`."""
    found: dict[str, Any] = {}
    readers: tuple[tuple[str, str, Callable[[Reader, object, str], object]], ...] = (
        ("circuitBreaker", "circuit_breaker", _circuit_breaker),
        ("loadBalancing", "load_balancing", lambda r, v, w: r.choice(v, w, LOAD_BALANCING)),
        ("sessionAffinity", "session_affinity", _affinity),
        ("rateLimit", "rate_limit", _rate_limit),
        ("retryBudget", "retry_budget", _retry_budget),
        ("egress", "egress", _egress),
    )
    for key, field, read in readers:
        if key in body:
            found[field] = read(reader, body[key], join(where, key))
    if "loadBalancing" in body and "sessionAffinity" in body:
        reader.fault(
            "MSH113",
            where,
            ["loadBalancing", "sessionAffinity"],
            "Session affinity is itself a way of load balancing (a consistent hash).",
        )
    return found


def _timeout(reader: Reader, value: object, where: str) -> Timeout | None:
    if isinstance(value, str):
        request = reader.duration(value, where)
        return Timeout(request, where=where) if request else None
    body = reader.mapping(value, where, ("request", "perTry"))
    if body is None:
        return None
    if not body:
        reader.fault("MSH103", where, {}, "No timeout is set.", "'request', 'perTry' or both")
    request = reader.duration(body["request"], join(where, "request")) if "request" in body else None
    per_try = reader.duration(body["perTry"], join(where, "perTry")) if "perTry" in body else None
    return Timeout(request, per_try, where)


def _retry(reader: Reader, value: object, where: str) -> Retry | None:
    if not isinstance(value, Mapping):
        attempts = reader.integer(value, where, 0, MOST_ATTEMPTS)
        return Retry(attempts, where=where) if attempts is not None else None
    raw = cast(object, value)
    body = reader.mapping(raw, where, ("attempts", "conditions", "backoff"))
    if body is None:
        return None
    attempts = (
        reader.integer(body["attempts"], join(where, "attempts"), 0, MOST_ATTEMPTS) if "attempts" in body else None
    )
    conditions: list[str] = []
    if body.get("conditions") == []:
        reader.fault("MSH103", join(where, "conditions"), [], "There is no condition.", remedy="Remove 'conditions'.")
    for item, at in reader.items(body["conditions"], join(where, "conditions")) if "conditions" in body else []:
        condition = _condition(reader, item, at)
        if condition in conditions:
            reader.fault("MSH104", at, item, "The condition stands twice.")
        if condition:
            conditions.append(condition)
    backoff = reader.duration(body["backoff"], join(where, "backoff")) if "backoff" in body else None
    if attempts == 0 and (conditions or backoff):
        reader.fault(
            "MSH121",
            where,
            raw,
            "Without attempts, 'conditions' and 'backoff' have no meaning; Istio rejects them.",
            remedy="Remove 'conditions' and 'backoff'.",
        )
    if "attempts" not in body and not conditions:
        reader.fault(
            "MSH103",
            join(where, "attempts"),
            None,
            "Neither 'attempts' nor 'conditions' is set.",
            remedy="Add 'attempts'.",
        )
    return Retry(attempts, tuple(conditions), backoff, where)


def _condition(reader: Reader, item: object, where: str) -> str | None:
    """A retry condition: a word of the common set, or an error status as number or text."""
    text = str(item) if isinstance(item, int) and not isinstance(item, bool) and abs(item) <= _COUNT_MOST else item
    if isinstance(text, str) and text in RETRY_STATUS:
        return text
    return reader.choice(text, where, (*RETRY_CONDITIONS, *sorted(RETRY_STATUS)))


def _fault(reader: Reader, value: object, where: str) -> Fault | None:
    body = reader.mapping(value, where, ("delay", "abort"))
    if body is None:
        return None
    if not body:
        reader.fault("MSH103", where, {}, "No fault is set.", "'delay', 'abort' or both")
    delay = abort = None
    if "delay" in body:
        at = join(where, "delay")
        inner = reader.mapping(body["delay"], at, ("duration", "percent"), ("duration", "percent")) or {}
        duration = reader.duration(inner["duration"], join(at, "duration")) if "duration" in inner else None
        percent = reader.percent(inner["percent"], join(at, "percent")) if "percent" in inner else None
        delay = Delay(duration, percent) if duration and percent else None
    if "abort" in body:
        at = join(where, "abort")
        inner = reader.mapping(body["abort"], at, ("status", "percent"), ("status", "percent")) or {}
        status = (
            reader.integer(inner["status"], join(at, "status"), _STATUS_LEAST, _STATUS_MOST)
            if "status" in inner
            else None
        )
        percent = reader.percent(inner["percent"], join(at, "percent")) if "percent" in inner else None
        abort = Abort(status, percent) if status and percent else None
    return Fault(delay, abort, where)


def _mirrors(reader: Reader, value: object, where: str, destination: ReadDestination) -> tuple[Mirror, ...]:
    if value == []:
        reader.fault("MSH103", where, [], "There is no mirror.", remedy="Remove 'mirror'.")
    items = (
        reader.items(cast(object, value), where, most=MOST_MIRRORS)
        if isinstance(value, (list, tuple))
        else [(value, where)]
    )
    mirrors: list[Mirror] = []
    for item, at in items:
        body = reader.mapping(item, at, ("version", "service", "namespace", "port", "percent"))
        if body is None:
            continue
        percent = reader.percent(body["percent"], join(at, "percent")) if "percent" in body else 100.0
        target = destination(body, at)
        if target and percent:
            mirrors.append(Mirror(target, percent, at))
    return tuple(mirrors)


def _headers(reader: Reader, value: object, where: str) -> Headers | None:
    body = reader.mapping(value, where, ("request", "response"))
    if body is None:
        return None
    if not body:
        reader.fault("MSH103", where, {}, "No header is changed.", "'request', 'response' or both")
    changes = {key: _change(reader, body[key], join(where, key)) for key in body}
    nothing = HeaderChange()
    return Headers(changes.get("request", nothing), changes.get("response", nothing), where)


def _change(reader: Reader, value: object, where: str) -> HeaderChange:
    body = reader.mapping(value, where, ("set", "add", "remove")) or {}
    if value == {}:
        reader.fault("MSH103", where, {}, "No header is changed.", "'set', 'add' or 'remove'")
    for key, listed in body.items():
        if isinstance(listed, (list, tuple, Mapping)) and not 0 < len(cast("list[object]", listed)) <= MOST_CHANGES:
            count = len(cast("list[object]", listed))
            reader.fault("MSH105", join(where, key), count, f"There are {count} headers.", f"1 to {MOST_CHANGES}")
    seen: set[str] = set()
    pairs: dict[str, Pairs] = {"set": (), "add": ()}
    for key in ("set", "add"):
        found: list[tuple[str, str]] = []
        for name, raw in (reader.mapping(body[key], join(where, key)) or {}).items() if key in body else ():
            at = join(join(where, key), name)
            text = reader.text(raw, at, longest=4096)
            if text is not None and "%" in text:
                reader.fault("MSH104", at, text, "Envoy reads '%' as the start of a command.", "a value without '%'")
            elif _header_name(reader, name, at, seen) and text is not None:
                found.append((name, text))
        pairs[key] = tuple(sorted(found))
    removed: list[str] = []
    for item, at in reader.items(body["remove"], join(where, "remove")) if "remove" in body else []:
        name = reader.text(item, at, longest=256)
        if name and _header_name(reader, name, at, seen):
            removed.append(name)
    return HeaderChange(pairs["set"], pairs["add"], tuple(removed))


def _header_name(reader: Reader, name: str, where: str, seen: set[str]) -> bool:
    if not _HEADER_NAME.fullmatch(name):
        reader.fault(
            "MSH119", where, name, "This is not a legal header name.", "1 to 256 letters, digits and !#$%&'*+.^_`|~-"
        )
        return False
    if name.lower() == "host":
        reader.fault(
            "MSH119", where, name, "The header Host can't be changed here.", remedy="Use 'rewrite' with 'host'."
        )
        return False
    if name.lower() in seen:
        reader.fault("MSH113", where, name, f"The header '{name.lower()}' is changed twice; the order is not defined.")
        return False
    seen.add(name.lower())
    return True


def _host(reader: Reader, value: object, where: str) -> str:
    text = reader.text(value, where, longest=253)
    if text and not _HOST.fullmatch(text):
        reader.fault("MSH108", where, text, "This is not a legal host name.", "a DNS name in lower case")
        return ""
    return text or ""


def _absolute(reader: Reader, value: object, where: str) -> str:
    text = reader.text(value, where)
    if text and (fault := path_fault(text)):
        allowed = "a path that starts with '/', without '?', '#', '//', '/./' and '/../'"
        reader.fault("MSH118", where, text, fault, allowed)
        return ""
    return text or ""


def _rewrite(reader: Reader, value: object, where: str) -> Rewrite | None:
    body = reader.mapping(value, where, ("path", "prefix", "host"))
    if body is None:
        return None
    if not body:
        reader.fault("MSH103", where, {}, "Nothing is rewritten.", "'path' or 'prefix', and 'host'")
    if "path" in body and "prefix" in body:
        reader.fault("MSH113", where, ["path", "prefix"], "Only one of 'path' and 'prefix' can replace the path.")
    path = _absolute(reader, body["path"], join(where, "path")) if "path" in body else ""
    prefix = _absolute(reader, body["prefix"], join(where, "prefix")) if "prefix" in body else ""
    host = _host(reader, body["host"], join(where, "host")) if "host" in body else ""
    if len(prefix) > 1:
        prefix = prefix.rstrip("/") or "/"
    return Rewrite(path, prefix, host, where)


def _redirect(reader: Reader, value: object, where: str) -> Redirect | None:
    body = reader.mapping(value, where, ("path", "host", "scheme", "port", "status"))
    if body is None:
        return None
    if not body:
        reader.fault("MSH103", where, {}, "The redirect leads nowhere else.", "'path', 'host', 'scheme' or 'port'")
    status: int | None = 302
    if "status" in body:
        status = reader.integer(body["status"], join(where, "status"), 301, 308)
        if status is not None and status not in REDIRECT_STATUS:
            reader.fault(
                "MSH104", join(where, "status"), status, "This is not a redirect.", ", ".join(map(str, REDIRECT_STATUS))
            )
    return Redirect(
        _absolute(reader, body["path"], join(where, "path")) if "path" in body else "",
        _host(reader, body["host"], join(where, "host")) if "host" in body else "",
        (reader.choice(body["scheme"], join(where, "scheme"), ("http", "https"), any_case=True) or "")
        if "scheme" in body
        else "",
        (reader.integer(body["port"], join(where, "port"), 1, 65535) or 0) if "port" in body else 0,
        status or 302,
        where,
    )


_BREAKER_COUNTS = (
    ("consecutiveErrors", "consecutive_errors", 1, _COUNT_MOST),
    ("maxEjectionPercent", "max_ejection_percent", 1, 100),
    ("maxConnections", "max_connections", 1, _COUNT_MOST),
    ("maxPendingRequests", "max_pending_requests", 1, _COUNT_MOST),
    ("maxRequests", "max_requests", 1, _COUNT_MOST),
    ("maxRequestsPerConnection", "max_requests_per_connection", 1, _COUNT_MOST),
)
_BREAKER_DURATIONS = (("ejection", "ejection"), ("maxEjection", "max_ejection"), ("interval", "interval"))


def _circuit_breaker(reader: Reader, value: object, where: str) -> CircuitBreaker | None:
    keys = tuple(count[0] for count in _BREAKER_COUNTS) + tuple(duration[0] for duration in _BREAKER_DURATIONS)
    body = reader.mapping(value, where, keys)
    if body is None:
        return None
    if not body:
        reader.fault(
            "MSH103", where, {}, "The circuit breaker has no limit.", "'consecutiveErrors' or a limit of the pool"
        )
    found: dict[str, int | None] = {}
    for key, field, least, most in _BREAKER_COUNTS:
        if key in body:
            found[field] = reader.integer(body[key], join(where, key), least, most)
    for key, field in _BREAKER_DURATIONS:
        if key in body:
            found[field] = reader.duration(body[key], join(where, key))
    if "consecutiveErrors" not in body:
        for key in ("ejection", "maxEjection", "interval", "maxEjectionPercent"):
            if key in body:
                reader.fault(
                    "MSH122", join(where, key), body[key], f"'{key}' has no effect without 'consecutiveErrors'."
                )
    least_ejection, most_ejection = found.get("ejection"), found.get("max_ejection")
    if least_ejection and most_ejection and least_ejection > most_ejection:
        reader.fault(
            "MSH122", join(where, "maxEjection"), body["maxEjection"], "'maxEjection' is shorter than 'ejection'."
        )
    return CircuitBreaker(**found, where=where)


def _affinity(reader: Reader, value: object, where: str) -> SessionAffinity | None:
    body = reader.mapping(value, where, ("cookie", "header", "query", "sourceIp"))
    if body is None:
        return None
    if len(body) != 1:
        reader.fault(
            "MSH113" if body else "MSH103",
            where,
            sorted(body),
            "Exactly one key of the session must be set.",
            "one of cookie, header, query, sourceIp",
        )
        return None
    ((kind, raw),) = body.items()
    at = join(where, kind)
    if kind == "sourceIp":
        if raw is not True:
            reader.fault("MSH104", at, raw, "'sourceIp' can only be true.", "true")
        return SessionAffinity("source-ip", where=where)
    if kind == "cookie":
        inner = reader.mapping(raw, at, ("name", "ttl", "path"), ("name",)) or {}
        name = reader.text(inner["name"], join(at, "name"), longest=256) if "name" in inner else None
        ttl = (reader.duration(inner["ttl"], join(at, "ttl")) or 0) if "ttl" in inner else 0
        path = _absolute(reader, inner["path"], join(at, "path")) if "path" in inner else ""
        if name and not _HEADER_NAME.fullmatch(name):
            reader.fault("MSH119", join(at, "name"), name, "This is not a legal cookie name.")
        return SessionAffinity("cookie", name or "", ttl, path, where)
    name = reader.text(raw, at, longest=256)
    if name and not _HEADER_NAME.fullmatch(name):
        reader.fault("MSH119", at, name, "This is not a legal name.")
    return SessionAffinity("header" if kind == "header" else "query", name or "", where=where)


def _rate_limit(reader: Reader, value: object, where: str) -> RateLimit | None:
    body = reader.mapping(value, where, ("requests", "per", "burst"), ("requests",))
    if body is None:
        return None
    requests = (
        reader.integer(body["requests"], join(where, "requests"), 1, MOST_REQUESTS) if "requests" in body else None
    )
    per = reader.duration(body["per"], join(where, "per")) if "per" in body else 1000
    if per is not None and per < SHORTEST_FILL:
        reader.fault(
            "MSH105",
            join(where, "per"),
            body["per"],
            "Envoy refills its bucket at most 20 times a second.",
            "50ms or more",
        )
    burst = reader.integer(body["burst"], join(where, "burst"), 1, _COUNT_MOST) if "burst" in body else None
    if requests and burst and burst < requests:
        reader.fault(
            "MSH105",
            join(where, "burst"),
            burst,
            "The burst is smaller than the requests of one interval.",
            f"{requests} or more",
        )
    return RateLimit(requests, per, burst, where) if requests and per else None


def _retry_budget(reader: Reader, value: object, where: str) -> RetryBudget | None:
    body = reader.mapping(value, where, ("percent", "minRetries", "ttl"), ("percent",))
    if body is None:
        return None
    percent = reader.percent(body["percent"], join(where, "percent")) if "percent" in body else None
    least = None
    if "minRetries" in body:
        # Istio reads 0 as its default.
        least = reader.integer(body["minRetries"], join(where, "minRetries"), 1, _COUNT_MOST)
    ttl = reader.duration(body["ttl"], join(where, "ttl")) if "ttl" in body else None
    return RetryBudget(percent, least, ttl, where) if percent else None


def _egress(reader: Reader, value: object, where: str) -> tuple[Egress, ...]:
    found: list[Egress] = []
    if value == []:
        reader.fault("MSH103", where, [], "There is no host.", remedy="Remove 'egress'.")
    for item, at in reader.items(value, where, most=64):
        body = reader.mapping(item, at, ("host", "port", "protocol"), ("host", "port", "protocol")) or {}
        host = reader.text(body["host"], join(at, "host"), longest=LONGEST_EGRESS_HOST) if "host" in body else None
        if host and (not _EGRESS_HOST.fullmatch(host) or "." not in host or _IN_CLUSTER.fullmatch(host)):
            reader.fault(
                "MSH108",
                join(at, "host"),
                host,
                "This is not a host outside the cluster.",
                "a DNS name with a dot; '*.' may lead it",
            )
            host = None
        elif host and host.rpartition(".")[2].isdecimal():
            reader.fault(
                "MSH108", join(at, "host"), host, "Istio takes no address here, only a name.", "a DNS name with a dot"
            )
            host = None
        port = reader.integer(body["port"], join(at, "port"), 1, 65535) if "port" in body else None
        protocol = (
            reader.choice(body["protocol"], join(at, "protocol"), EGRESS_PROTOCOLS, any_case=True)
            if "protocol" in body
            else None
        )
        if host and port and protocol:
            if any((egress.host, egress.port) == (host, port) for egress in found):
                reader.fault("MSH113", at, body, f"{host}:{port} stands twice.")
            found.append(Egress(host, port, cast(EgressProtocol, protocol), at))
    return tuple(found)
