"""Parse the value of `meshup:traffic` into routes.

Interface::

    parse(raw, path, services, domain="cluster.local", gateways=()) -> (routes, diagnostics)

`raw` is the plain Python object, `path` its path for messages (`meshup:traffic`), `services` the Services that the
stack's applications have (`components.traffic.model.Service`). Routes are in the order of the configuration. All
faults are reported at once; a route with a fault is left out of the result. No `raw` raises an
exception. grammar.py declares the raw form; here names become Services, versions and ports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

from pydantic import BaseModel

from ..diagnostics import Diagnostic, nearest, one_of
from ..diagnostics.validation import MOST_HINTS, join, plain_entries, validate
from ..gateways.model import EVERY_HOST, Gateway
from .grammar import (
    FULL_WEIGHT,
    BackendForm,
    DestinationForm,
    FaultForm,
    HeaderChangeForm,
    HeadersForm,
    MatchForm,
    ObjectiveForm,
    RetryForm,
    RouteForm,
    RuleForm,
    SessionAffinityForm,
    TimeoutForm,
    text_match,
)
from .model import (
    CLUSTER_DOMAIN,
    Abort,
    Backend,
    CircuitBreaker,
    Delay,
    Destination,
    Egress,
    Exposure,
    Fault,
    HeaderChange,
    Headers,
    Match,
    Mirror,
    Objective,
    Pairs,
    Port,
    RateLimit,
    Redirect,
    Retry,
    RetryBudget,
    Rewrite,
    Route,
    Rule,
    Service,
    SessionAffinity,
    TextMatch,
    Timeout,
    Version,
)

Part = TypeVar("Part")
Form = TypeVar("Form", bound=BaseModel)
Raw = Mapping[str, Any]

DESCRIBING_KEYS = ("versions", "selector", "ports", "headless")
"""Keys that describe a Service which no application has."""


class _Home(NamedTuple):
    """The Service of a route, and the Service with its port if the port is unambiguous."""

    service: Service | None
    destination: Destination | None


def parse(
    raw: object,
    path: str,
    services: Iterable[Service],
    domain: str = CLUSTER_DOMAIN,
    gateways: Iterable[Gateway] = (),
) -> tuple[list[Route], list[Diagnostic]]:
    """Read `meshup:traffic`. See the module's docstring.

    Args:
        raw: The configured value; None means no traffic is declared.
        path: Its path, for messages.
        services: The Services of the stack's applications.
        domain: The DNS domain of the cluster, part of hosts and names of ServiceProfiles.
        gateways: The gateways that routes may name.

    Returns:
        The valid routes, and the diagnostics.
    """
    if raw is None:
        return [], []
    entries, diagnostics = plain_entries(raw, path)
    known = [replace(service, domain=domain) for service in services]
    parser = _Parser(path, known, domain, gateways, diagnostics)
    return parser.routes(entries), diagnostics


class _Parser:
    """Resolves forms, together with their raw data: forms lack invalid values."""

    def __init__(
        self,
        path: str,
        services: Iterable[Service],
        domain: str,
        gateways: Iterable[Gateway],
        diagnostics: list[Diagnostic],
    ) -> None:
        self.path = path
        self.domain = domain
        self.gateways = {gateway.name: gateway for gateway in gateways}
        self.diagnostics = diagnostics
        self.by_name: dict[str, list[Service]] = {}
        for service in services:
            self.by_name.setdefault(service.name, []).append(service)

    def fault(self, code: str, where: str, value: object, message: str, allowed: str = "", *, remedy: str = "") -> None:
        """Append an error to the diagnostics."""
        self.diagnostics.append(Diagnostic(code, where, value, message, allowed, remedy))

    def suggestion(self, word: str, known: Iterable[str]) -> str:
        """Return a remedy with the most similar known word; "" after many faults, since it is slow."""
        guess = nearest(word, known) if len(self.diagnostics) < MOST_HINTS else None
        return f"Did you mean '{guess}'?" if guess else ""

    def routes(self, entries: Raw) -> list[Route]:
        """Return the valid routes."""
        forms: dict[str, RouteForm] = {}
        faulty: set[str] = set()
        for key, value in entries.items():
            hints = MOST_HINTS - len(self.diagnostics)
            form, diagnostics = validate(RouteForm, value, join(self.path, key), hints=hints)
            self.diagnostics += diagnostics
            if diagnostics:
                faulty.add(key)
            if form:
                forms[key] = form
        # Every route may refer to Services that the configuration describes.
        described = sorted(forms, key=lambda key: not _describes(entries[key]))
        services = {key: self.service(key, forms[key], entries[key]) for key in described}
        routes: list[Route] = []
        taken: dict[tuple[str, str, int], str] = {}
        for key, form in forms.items():
            before = len(self.diagnostics)
            route = self.route(key, form, entries[key], services[key])
            if route is None or key in faulty or len(self.diagnostics) > before:
                continue
            other = taken.setdefault((route.service.namespace, route.service.name, route.port.number), key)
            if other == key:
                routes.append(route)
                continue
            message = f"The routes '{other}' and '{key}' are both for {route.service.host}:{route.port.number}."
            self.fault("MSH116", route.where, key, message, "one route for one port of a Service")
        return routes

    # The Service

    def service(self, key: str, form: RouteForm, raw: Raw) -> Service | None:
        """Return the Service of a route: a known one, or one that the configuration describes."""
        where = join(self.path, key)
        if any(name in raw and getattr(form, name) is None for name in ("service", "namespace")):
            return None
        if _describes(raw):
            return self.described(form.service or key, form, raw, where)
        at = join(where, "service") if form.service else where
        return self.find(form.service or key, form.namespace, at, where)

    def find(self, name: str, namespace: str | None, at: str, where: str) -> Service | None:
        """Return the known Service, or None after reporting an error at the name (`at`) or its mapping (`where`)."""
        named = self.by_name.get(name, [])
        candidates = [service for service in named if namespace in (None, service.namespace)]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            allowed = one_of(sorted(service.namespace for service in candidates))
            message = f"Several namespaces have a Service '{name}'."
            self.fault("MSH003", join(where, "namespace"), None, message, allowed, remedy="Add 'namespace'.")
            return None
        known: list[str] = []
        if len(self.diagnostics) < MOST_HINTS:
            known = sorted(f"{s.name} (namespace {s.namespace})" for listed in self.by_name.values() for s in listed)
        place = f" in namespace '{namespace}'" if namespace else ""
        remedy = f"Set namespace: {named[0].namespace}." if named else self.suggestion(name, self.by_name)
        self.fault("MSH106", at, name, f"There is no Service '{name[:80]}'{place}.", one_of(known), remedy=remedy)
        return None

    def described(self, name: str, form: RouteForm, raw: Raw, where: str) -> Service | None:
        """Return a Service that the configuration describes, which no application of the stack has."""
        if any(form.namespace in (None, service.namespace) for service in self.by_name.get(name, [])):
            at = join(where, next(key for key in DESCRIBING_KEYS if key in raw))
            message = f"The Service '{name}' is known already: from an application of the stack or from another entry."
            remedy = "Remove 'versions', 'selector', 'ports' and 'headless'."
            self.fault("MSH007", at, name, message, remedy=remedy)
            return None
        if form.namespace is None:
            message = "The namespace of the Service is missing."
            self.fault("MSH003", join(where, "namespace"), None, message, remedy="Add 'namespace'.")
        if "ports" not in raw and "port" not in raw:
            self.fault("MSH003", join(where, "port"), None, "The port of the Service is missing.", remedy="Add 'port'.")
        ports = [Port(port.number, app_protocol=port.protocol, target=port.target_port) for port in form.ports or ()]
        if form.port and "ports" not in raw:
            ports = [Port(form.port)]
        if form.namespace is None or not ports:
            return None
        versions = tuple(Version(version, pairs(labels)) for version, labels in (form.versions or {}).items())
        selector = pairs(form.selector)
        service = Service(name, form.namespace, tuple(ports), versions, selector, form.headless, self.domain)
        self.by_name.setdefault(name, []).append(service)
        return service

    def port(self, service: Service, number: int | None, raw: Raw, where: str) -> Port | None:
        """Return the named port, or the only one."""
        allowed = one_of(str(port.number) for port in service.ports)
        if number is not None:
            for port in service.ports:
                if port.number == number:
                    return port
            message = f"The Service '{service.name}' has no port {number}."
            self.fault("MSH109", join(where, "port"), number, message, allowed)
        elif "port" not in raw:
            if len(service.ports) == 1:
                return service.ports[0]
            message = f"The Service '{service.name}' has {len(service.ports)} ports."
            self.fault("MSH109", join(where, "port"), None, message, allowed)
        return None

    # The route

    def route(self, key: str, form: RouteForm, raw: Raw, service: Service | None) -> Route | None:
        """Return the route, or None if its Service is unknown."""
        where = join(self.path, key)
        port = self.port(service, form.port, raw, where) if service else None
        home = _Home(service, Destination(service, port) if service and port else None)
        rules: list[Rule] = []
        if form.split is not None:
            at = join(where, "split")
            rules.append(Rule("split", backends=self.backends(form.split, raw["split"], at, home), where=at))
        names: dict[str, str] = {}
        for rule, raw_rule, at in with_raw(form.rules, raw.get("rules"), join(where, "rules")):
            name = rule.name or f"rule-{at[at.rindex('[') + 1 : -1]}"
            if names.setdefault(name, at) != at:
                message = f"The rule at {names[name]} has the same name."
                self.fault("MSH117", join(at, "name"), name, message, "names that differ")
            rules.append(self.rule(name, rule, raw_rule, at, home))
        if service is None or port is None:
            return None
        return Route(
            key,
            service,
            port,
            form.api,
            tuple(rules),
            _policy(CircuitBreaker, form.circuit_breaker, join(where, "circuitBreaker")),
            form.load_balancing,
            _session_affinity(form.session_affinity, join(where, "sessionAffinity")),
            _policy(RateLimit, form.rate_limit, join(where, "rateLimit")),
            _policy(RetryBudget, form.retry_budget, join(where, "retryBudget")),
            tuple(Egress(e.host, e.port, e.protocol, f"{where}.egress[{i}]") for i, e in enumerate(form.egress or ())),
            self.exposure(form, raw, where),
            _objective(form.slo, join(where, "slo")),
            where,
        )

    def exposure(self, form: RouteForm, raw: Raw, where: str) -> Exposure | None:
        """Return how callers outside of the cluster reach the Service, or None if they do not."""
        if ("gateway" not in raw and "hosts" not in raw) or ("gateway" in raw and form.gateway is None):
            return None
        name = form.gateway or (next(iter(self.gateways)) if len(self.gateways) == 1 else "")
        gateway = self.gateways.get(name)
        if gateway is None:
            known = list(self.gateways)
            message = f"There is no gateway '{name[:80]}'." if name else "No gateway is named for these hosts."
            remedy = self.suggestion(name, known) if known else "Declare a gateway under meshup:gateways."
            self.fault("MSH401", join(where, "gateway"), name or None, message, one_of(known), remedy=remedy)
            return None
        hosts = tuple(form.hosts or (EVERY_HOST,))
        return Exposure(gateway, hosts, tuple(map(text_match, form.paths or ())), where)

    def rule(self, name: str, form: RuleForm, raw: Raw, where: str, home: _Home) -> Rule:
        """Return a rule with its valid parts."""
        backends: tuple[Backend, ...] = ()
        if form.backends is not None:
            backends = self.backends(form.backends, raw["backends"], join(where, "backends"), home)
        elif "redirect" not in raw and "backends" not in raw and home.destination:
            backends = (Backend(home.destination, FULL_WEIGHT, where),)
        matches = [_match(match, at) for match, _, at in with_raw(form.match, raw.get("match"), join(where, "match"))]
        mirrors: list[Mirror] = []
        for mirror, raw_mirror, at in with_raw(form.mirror, raw.get("mirror"), join(where, "mirror")):
            if destination := self.destination(mirror, raw_mirror, at, home):
                mirrors.append(Mirror(destination, mirror.percent, at))
        return Rule(
            name,
            () if any(map(_is_everything, matches)) else tuple(matches),
            backends,
            _timeout(form.timeout, join(where, "timeout")),
            _retry(form.retries, join(where, "retries")),
            _fault(form.fault, join(where, "fault")),
            tuple(mirrors),
            _headers(form.headers, join(where, "headers")),
            _policy(Rewrite, form.rewrite, join(where, "rewrite")),
            _policy(Redirect, form.redirect, join(where, "redirect")),
            where,
        )

    # Backends

    def backends(
        self, form: dict[str, int] | list[BackendForm], raw: object, where: str, home: _Home
    ) -> tuple[Backend, ...]:
        """Return weighted backends from the short form (version -> weight) or the list."""
        backends: list[Backend] = []
        if isinstance(form, dict):
            for name, weight in form.items():
                at = join(where, name)
                version = self.version(name, home.service, at) if home.service else None
                if home.destination and version:
                    backends.append(Backend(replace(home.destination, version=version), weight, at))
        else:
            for backend, raw_backend, at in with_raw(form, raw, where):
                if destination := self.destination(backend, raw_backend, at, home):
                    weight = FULL_WEIGHT if backend.weight is None else backend.weight
                    backends.append(Backend(destination, weight, at))
        seen: dict[Destination, str] = {}
        for backend in backends:
            if seen.setdefault(backend.destination, backend.where) != backend.where:
                message = f"The same backend is at {seen[backend.destination]}."
                self.fault("MSH114", backend.where, backend.destination.label, message)
        return tuple(backends)

    def destination(self, form: DestinationForm, raw: Raw, where: str, home: _Home) -> Destination | None:
        """Return a destination from `version`, `service`, `namespace` and `port`."""
        if any(key in raw and getattr(form, key) is None for key in ("version", "service", "namespace")):
            return None
        if form.service is not None:
            namespace = form.namespace or (home.service.namespace if home.service else None)
            service = self.find(form.service, namespace, join(where, "service"), where)
            port = self.port(service, form.port, raw, where) if service else None
        else:
            service, port = home.service, home.destination.port if home.destination else None
        version = None
        if form.version is not None and service:
            version = self.version(form.version, service, join(where, "version"))
        if service is None or port is None or (version is None and (form.version or not form.service)):
            return None
        return Destination(service, port, version)

    def version(self, name: str, service: Service, where: str) -> Version | None:
        """Return the version of a Service, or None after reporting an error."""
        for version in service.versions:
            if version.name == name:
                return version
        known = [version.name for version in service.versions]
        message = f"The Service '{service.name}' has no version '{name[:80]}'."
        self.fault("MSH107", where, name, message, one_of(known), remedy=self.suggestion(name, known))
        return None


def _describes(raw: Raw) -> bool:
    return any(key in raw for key in DESCRIBING_KEYS)


def with_raw(forms: Form | list[Form] | None, raw: object, where: str) -> list[tuple[Form, Raw, str]]:
    """Return each form with its raw data and its path. Forms exist only for mappings."""
    if forms is None:
        return []
    if not isinstance(forms, list):
        return [(forms, cast("Raw", raw), where)]
    items = cast("list[Any]", raw)
    places = [index for index, item in enumerate(items) if isinstance(item, dict)]
    return [(form, items[index], f"{where}[{index}]") for form, index in zip(forms, places, strict=True)]


def pairs(mapping: Mapping[str, str] | None) -> Pairs:
    """Return a mapping as the model has it."""
    return tuple(sorted(mapping.items())) if mapping else ()


def _policy(kind: Callable[..., Part], form: BaseModel | None, where: str) -> Part | None:
    """Return the part of the model with the fields of the form."""
    return kind(**vars(form), where=where) if form else None


def _objective(form: ObjectiveForm | None, where: str) -> Objective | None:
    if form is None:
        return None
    latency = (form.latency.p, form.latency.below) if form.latency else None
    return Objective(form.success, latency, where)


def _is_everything(match: Match) -> bool:
    """Return True for a match that every request meets."""
    return match in (Match(where=match.where), Match(TextMatch("prefix", "/"), where=match.where))


def _match(form: MatchForm, where: str) -> Match:
    return Match(
        text_match(form.path) if form.path else None,
        form.method or "",
        form.named("headers"),
        form.named("cookies"),
        form.named("query"),
        pairs(form.source),
        form.source_namespace,
        form.grpc.service if form.grpc else "",
        form.grpc.method if form.grpc else "",
        where,
    )


def _timeout(form: int | TimeoutForm | None, where: str) -> Timeout | None:
    return Timeout(form, where=where) if isinstance(form, int) else _policy(Timeout, form, where)


def _retry(form: int | RetryForm | None, where: str) -> Retry | None:
    if form is None or isinstance(form, int):
        return None if form is None else Retry(form, where=where)
    return Retry(form.attempts, tuple(map(str, form.conditions or ())), form.backoff, where)


def _fault(form: FaultForm | None, where: str) -> Fault | None:
    if form is None:
        return None
    delay = Delay(form.delay.duration, form.delay.percent) if form.delay else None
    return Fault(delay, Abort(form.abort.status, form.abort.percent) if form.abort else None, where)


def _headers(form: HeadersForm | None, where: str) -> Headers | None:
    return Headers(_change(form.request), _change(form.response), where) if form else None


def _change(form: HeaderChangeForm | None) -> HeaderChange:
    return HeaderChange(pairs(form.set), pairs(form.add), tuple(form.remove or ())) if form else HeaderChange()


def _session_affinity(form: SessionAffinityForm | None, where: str) -> SessionAffinity | None:
    if form is None:
        return None
    if form.cookie:
        return SessionAffinity("cookie", form.cookie.name, form.cookie.ttl, form.cookie.path, where)
    if form.header:
        return SessionAffinity("header", form.header, where=where)
    return (
        SessionAffinity("query", form.query, where=where) if form.query else SessionAffinity("source-ip", where=where)
    )
