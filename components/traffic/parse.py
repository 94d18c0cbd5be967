"""Raw configuration -> routes: the value of `meshup:traffic`, checked and resolved.

Interface::

    parse(raw, path, services, domain="cluster.local") -> (routes, diagnostics)

`raw` is the plain Python object, `path` its path for messages (`meshup:traffic`), `services` the Services that the
stack's applications bring (`components.traffic.model.Service`). Routes come in the order of the configuration. All
faults are found at once; a route with a fault of its own is left out of the result. Nothing is raised, whatever `raw`
is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from ..diagnostics import Diagnostic
from ..diagnostics.reader import MOST_HINTS, Reader, join, labels, one_of
from .model import CLUSTER_DOMAIN, Api, Backend, Destination, Match, Port, Route, Rule, Service, Version
from .parse_match import is_everything, read_match
from .parse_policy import SERVICE_POLICY_KEYS, rule_policies, service_policies

APIS: tuple[Api, ...] = ("auto", "istio", "gateway-api", "service-profile")
ROUTE_KEYS = (
    "service",
    "namespace",
    "port",
    "ports",
    "versions",
    "selector",
    "headless",
    "api",
    "split",
    "rules",
    *SERVICE_POLICY_KEYS,
)
DESCRIBING_KEYS = ("versions", "selector", "ports", "headless")
PORT_KEYS = ("number", "protocol", "targetPort")
PORT_PROTOCOLS = ("http", "http2", "grpc", "https", "tls", "tcp")
RULE_KEYS = ("name", "match", "backends", "timeout", "retries", "fault", "mirror", "headers", "rewrite", "redirect")
BACKEND_KEYS = ("version", "service", "namespace", "port", "weight")
MOST_RULES = 64
MOST_BACKENDS = 16
"""Gateway API v1.5.1: backendRefs per rule."""
FULL_WEIGHT = 100


def parse(
    raw: object, path: str, services: Iterable[Service], domain: str = CLUSTER_DOMAIN
) -> tuple[list[Route], list[Diagnostic]]:
    """Reads `meshup:traffic`. See the module's docstring.

    Args:
        raw: The configured value; None means no traffic is declared.
        path: Its path, for messages.
        services: The Services that the stack brings.
        domain: The DNS domain of the cluster: hosts and ServiceProfiles are named by it.

    Returns:
        The routes without a fault, and every fault found.
    """
    if raw is None:
        return [], []
    return _Parser(path, services, domain).parse(raw)


class _Parser:
    def __init__(self, path: str, services: Iterable[Service], domain: str) -> None:
        self.path = path
        self.domain = domain
        self.reader = Reader()
        self.services: dict[tuple[str, str], Service] = {
            (s.namespace, s.name): replace(s, domain=domain) for s in services
        }
        self.by_name: dict[str, list[Service]] = {}
        for service in self.services.values():
            self.by_name.setdefault(service.name, []).append(service)

    def parse(self, raw: object) -> tuple[list[Route], list[Diagnostic]]:
        entries = self.reader.mapping(raw, self.path) or {}
        bodies: dict[str, dict[str, object]] = {}
        for key, value in entries.items():
            body = self.reader.mapping(value, join(self.path, key), ROUTE_KEYS)
            if body is not None:
                bodies[key] = body
        # Services that the configuration describes are known to every other route of it.
        first = sorted(bodies, key=lambda key: not any(name in bodies[key] for name in DESCRIBING_KEYS))
        described = {key: self._service(key, bodies[key]) for key in first}
        routes: list[Route] = []
        taken: dict[tuple[str, str, int], str] = {}
        for key, body in bodies.items():
            before = len(self.reader.faults)
            route = self._route(key, body, described[key])
            if route is None or len(self.reader.faults) > before:
                continue
            place = (route.service.namespace, route.service.name, route.port.number)
            if place in taken:
                self.reader.fault(
                    "MSH116",
                    route.where,
                    key,
                    f"The routes '{taken[place]}' and '{key}' are both for {route.service.host}:{route.port.number}.",
                    "one route for one port of a Service",
                    remedy="Put the rules of both into one route.",
                )
                continue
            taken[place] = key
            routes.append(route)
        return routes, self.reader.faults

    # The Service

    def _service(self, key: str, body: dict[str, object]) -> Service | None:
        """The Service of a route: a known one, or one that the configuration describes."""
        where = join(self.path, key)
        name_at = join(where, "service") if "service" in body else where
        name = self.reader.label(body.get("service", key), name_at, "name of a Service")
        namespace = None
        if "namespace" in body:
            namespace = self.reader.label(body["namespace"], join(where, "namespace"), "namespace")
            if namespace is None:
                return None
        if name is None:
            return None
        if any(key in body for key in DESCRIBING_KEYS):
            return self._described(name, namespace, body, where)
        return self.find(name, namespace, where if "service" not in body else name_at)

    def find(self, name: str, namespace: str | None, where: str) -> Service | None:
        """The known Service, or None after a fault."""
        candidates = self.by_name.get(name, [])
        if namespace is not None:
            candidates = [service for service in candidates if service.namespace == namespace]
        if len(candidates) == 1:
            return candidates[0]
        known: list[str] = []
        if len(self.reader.faults) < MOST_HINTS:
            known = sorted(f"{s.name} (namespace {s.namespace})" for s in self.services.values())
        if candidates:
            self.reader.fault(
                "MSH103",
                join(where, "namespace"),
                None,
                f"Several namespaces have a Service '{name}'.",
                one_of(sorted(s.namespace for s in candidates)),
                remedy="Add 'namespace'.",
            )
            return None
        place = f" in namespace '{namespace}'" if namespace else ""
        elsewhere = [s.namespace for s in self.by_name.get(name, [])]
        guess = self.reader.nearest(name, self.by_name)
        remedy = ""
        if elsewhere:
            remedy = f"Set namespace: {elsewhere[0]}."
        elif guess:
            remedy = f"Did you mean '{guess}'?"
        self.reader.fault("MSH106", where, name, f"There is no Service '{name}'{place}.", one_of(known), remedy=remedy)
        return None

    def _described(self, name: str, namespace: str | None, body: dict[str, object], where: str) -> Service | None:
        """A Service of the user's own, which no application of the stack brings."""
        if self.by_name.get(name) and any(namespace in (None, s.namespace) for s in self.by_name[name]):
            self.reader.fault(
                "MSH113",
                join(where, next(key for key in DESCRIBING_KEYS if key in body)),
                name,
                f"The Service '{name}' is known already: from an application of the stack or from another entry.",
                remedy="Remove 'versions', 'selector', 'ports' and 'headless'.",
            )
            return None
        if namespace is None:
            self.reader.fault(
                "MSH103",
                join(where, "namespace"),
                None,
                "The namespace of the Service is missing.",
                remedy="Add 'namespace'.",
            )
        ports = self._ports(body, where)
        selector = labels(self.reader, body["selector"], join(where, "selector")) if "selector" in body else ()
        headless = body.get("headless", False)
        if not isinstance(headless, bool):
            self.reader.fault("MSH101", join(where, "headless"), headless, "This must be true or false.")
        versions: list[Version] = []
        raw_versions = self.reader.mapping(body.get("versions", {}), join(where, "versions"))
        for version, raw_labels in (raw_versions or {}).items():
            at = join(join(where, "versions"), version)
            label = self.reader.label(version, at, "name of a version")
            pairs = labels(self.reader, raw_labels, at)
            if label and pairs:
                versions.append(Version(label, pairs))
        if namespace is None or not ports or raw_versions is None or selector is None:
            return None
        service = Service(name, namespace, ports, tuple(versions), selector, headless is True, self.domain)
        self.services[namespace, name] = service
        self.by_name.setdefault(name, []).append(service)
        return service

    def _ports(self, body: dict[str, object], where: str) -> tuple[Port, ...]:
        """The ports of a described Service: the list `ports`, or the one number `port`."""
        if "ports" not in body:
            if "port" not in body:
                self.reader.fault(
                    "MSH103", join(where, "port"), None, "The port of the Service is missing.", remedy="Add 'port'."
                )
                return ()
            number = self.reader.integer(body["port"], join(where, "port"), 1, 65535)
            return (Port(number),) if number else ()
        found: dict[int, Port] = {}
        for item, at in self.reader.items(body["ports"], join(where, "ports"), most=MOST_RULES):
            entry = self.reader.mapping(item, at, PORT_KEYS, ("number",)) or {}
            number = self.reader.integer(entry["number"], join(at, "number"), 1, 65535) if "number" in entry else None
            protocol: str | None = ""
            if "protocol" in entry:
                protocol = self.reader.choice(entry["protocol"], join(at, "protocol"), PORT_PROTOCOLS, any_case=True)
            target: int | None = 0
            if "targetPort" in entry:
                target = self.reader.integer(entry["targetPort"], join(at, "targetPort"), 1, 65535)
            if number in found:
                self.reader.fault("MSH113", at, number, f"Port {number} stands twice.")
            elif number:
                found[number] = Port(number, app_protocol=protocol or "", target=target or 0)
        if not found:
            self.reader.fault("MSH103", join(where, "ports"), None, "There is no port.", "at least one port")
        return tuple(found.values())

    # The route

    def _route(self, key: str, body: dict[str, object], service: Service | None) -> Route | None:
        where = join(self.path, key)
        api = self.reader.choice(body["api"], join(where, "api"), APIS) if "api" in body else "auto"
        port = self.port(service, body.get("port"), join(where, "port")) if service else None
        home = Destination(service, port) if service and port else None
        policies = service_policies(self.reader, body, where)
        if "split" in body and "rules" in body:
            self.reader.fault(
                "MSH113",
                where,
                ["split", "rules"],
                "'split' is the short form of 'rules'; only one of them may be set.",
            )
        rules: list[Rule] = []
        if "split" in body:
            backends = self.backends(body["split"], join(where, "split"), service, home)
            rules.append(Rule("split", backends=tuple(backends), where=join(where, "split")))
        if "rules" in body:
            rules.extend(self._rules(body["rules"], join(where, "rules"), service, home))
        if not rules and not any(name in body for name in ("split", "rules", *SERVICE_POLICY_KEYS)):
            self.reader.fault(
                "MSH103",
                where,
                body,
                "The route declares nothing.",
                "'split', 'rules' or a policy",
                remedy="Add 'split', such as {v1: 90, v2: 10}.",
            )
        if service is None or port is None or api is None:
            return None
        return Route(key, service, port, cast(Api, api), tuple(rules), where=where, **policies)

    def port(self, service: Service, raw: object, where: str) -> Port | None:
        """The port that is meant: the named one, or the only one."""
        allowed = one_of(str(port.number) for port in service.ports)
        if raw is None:
            if len(service.ports) == 1:
                return service.ports[0]
            self.reader.fault(
                "MSH109", where, None, f"The Service '{service.name}' has {len(service.ports)} ports.", allowed
            )
            return None
        number = self.reader.integer(raw, where, 1, 65535)
        if number is None:
            return None
        for port in service.ports:
            if port.number == number:
                return port
        self.reader.fault("MSH109", where, number, f"The Service '{service.name}' has no port {number}.", allowed)
        return None

    def _rules(self, value: object, where: str, service: Service | None, home: Destination | None) -> list[Rule]:
        rules: list[Rule] = []
        names: dict[str, str] = {}
        items = self.reader.items(value, where, most=MOST_RULES)
        if not items and isinstance(value, (list, tuple)):
            self.reader.fault("MSH112", where, [], "The list of rules is empty.", "at least one rule")
        for index, (item, at) in enumerate(items):
            body = self.reader.mapping(item, at, RULE_KEYS)
            if body is None:
                continue
            name = f"rule-{index}"
            if "name" in body:
                name = self.reader.label(body["name"], join(at, "name"), "name of a rule") or name
            if name in names:
                self.reader.fault(
                    "MSH117",
                    join(at, "name"),
                    name,
                    f"The rule at {names[name]} has the same name.",
                    "names that differ",
                )
            names.setdefault(name, at)
            rules.append(self._rule(name, body, at, service, home))
        return rules

    def _rule(
        self, name: str, body: dict[str, object], where: str, service: Service | None, home: Destination | None
    ) -> Rule:
        backends: list[Backend] = []
        if "redirect" in body and "backends" in body:
            self.reader.fault(
                "MSH113",
                where,
                ["backends", "redirect"],
                "A redirect answers the request itself; the rule has no backends.",
            )
        if "backends" in body:
            backends = self.backends(body["backends"], join(where, "backends"), service, home)
        elif "redirect" not in body and home:
            backends = [Backend(home, FULL_WEIGHT, where)]
        matches: list[Match] = []
        if "match" in body:
            raw = body["match"]
            at = join(where, "match")
            listed = (
                self.reader.items(cast(object, raw), at, most=MOST_RULES)
                if isinstance(raw, (list, tuple))
                else [(raw, at)]
            )
            if not listed:
                self.reader.fault(
                    "MSH112",
                    at,
                    [],
                    "The list of matches is empty.",
                    remedy="Leave 'match' out to match every request.",
                )
            matches = [match for item, place in listed if (match := read_match(self.reader, item, place)) is not None]
            if any(is_everything(match) for match in matches):
                matches = []
        policies = rule_policies(self.reader, body, where, lambda item, at: self.destination(item, at, service, home))
        return Rule(name, tuple(matches), tuple(backends), where=where, **policies)

    # Backends

    def backends(self, value: object, where: str, service: Service | None, home: Destination | None) -> list[Backend]:
        """Weighted backends from the short form (version -> weight) or the list form."""
        raw: object = value
        if isinstance(value, (list, tuple)):
            shares = self._listed(cast("list[object]", value), where, service, home)
        else:
            split = self.reader.mapping(raw, where)
            if split is None:
                return []
            shares = [
                (self._version_share(key, join(where, key), service, home), self._weight(weight, join(where, key)))
                for key, weight in split.items()
            ]
        if len(shares) > MOST_BACKENDS:
            self.reader.fault(
                "MSH105", where, len(shares), f"There are {len(shares)} backends.", f"at most {MOST_BACKENDS} backends"
            )
        weights = [weight for _, weight in shares if weight is not None]
        if not shares:
            self.reader.fault("MSH112", where, raw, "There is no backend.", "at least one version with a weight")
        elif len(weights) == len(shares) and sum(weights) != FULL_WEIGHT:
            message = f"The weights sum to {sum(weights)}, not to 100."
            self.reader.fault("MSH110", where, raw, message, "integer percents that sum to 100")
        found = [Backend(share[0], weight, share[1]) for share, weight in shares if share and weight is not None]
        self._repeated(found)
        return found

    def _listed(
        self, value: list[object], where: str, service: Service | None, home: Destination | None
    ) -> list[tuple[tuple[Destination, str] | None, int | None]]:
        """The list form: each destination with its path, and its weight; None for what has a fault."""
        shares: list[tuple[tuple[Destination, str] | None, int | None]] = []
        for item, at in self.reader.items(value, where):
            body = self.reader.mapping(item, at, BACKEND_KEYS)
            if body is None:
                shares.append((None, None))
                continue
            weight: int | None = None
            if "weight" in body:
                weight = self._weight(body["weight"], join(at, "weight"))
            elif len(value) == 1:
                weight = FULL_WEIGHT
            else:
                self.reader.fault("MSH103", join(at, "weight"), None, "The weight is missing.", remedy="Add 'weight'.")
            destination = self.destination(body, at, service, home)
            shares.append(((destination, at) if destination else None, weight))
        return shares

    def _version_share(
        self, name: str, where: str, service: Service | None, home: Destination | None
    ) -> tuple[Destination, str] | None:
        version = self._version(name, service, where) if service else None
        return (Destination(home.service, home.port, version), where) if home and version else None

    def _weight(self, value: object, where: str) -> int | None:
        return self.reader.integer(value, where, 0, FULL_WEIGHT, code="MSH111")

    def _repeated(self, backends: Sequence[Backend]) -> None:
        seen: dict[Destination, str] = {}
        for backend in backends:
            if backend.destination in seen:
                self.reader.fault(
                    "MSH114",
                    backend.where,
                    backend.destination.label,
                    f"The same backend stands at {seen[backend.destination]}.",
                )
            seen.setdefault(backend.destination, backend.where)

    def destination(
        self, body: dict[str, object], where: str, service: Service | None, home: Destination | None
    ) -> Destination | None:
        """A destination from `version`, `service`, `namespace` and `port`."""
        target, port = (home.service, home.port) if home else (None, None)
        if "service" in body:
            name = self.reader.label(body["service"], join(where, "service"), "name of a Service")
            namespace = service.namespace if service else None
            if "namespace" in body:
                namespace = self.reader.label(body["namespace"], join(where, "namespace"), "namespace")
                if namespace is None:
                    return None
            target = self.find(name, namespace, join(where, "service")) if name else None
            port = self.port(target, body.get("port"), join(where, "port")) if target else None
        else:
            for key in ("namespace", "port"):
                if key in body:
                    self.reader.fault(
                        "MSH103",
                        join(where, "service"),
                        None,
                        f"'{key}' needs 'service' beside it.",
                        remedy=f"Add 'service' or remove '{key}'.",
                    )
            if "version" not in body:
                self.reader.fault(
                    "MSH103",
                    join(where, "version"),
                    None,
                    "Neither 'version' nor 'service' is set.",
                    remedy="Add 'version'.",
                )
                return None
        version = None
        if "version" in body:
            if not isinstance(body["version"], str):
                self.reader.label(body["version"], join(where, "version"), "name of a version")
                return None
            version = self._version(body["version"], target, join(where, "version")) if target else None
            if version is None:
                return None
        return Destination(target, port, version) if target and port else None

    def _version(self, name: str, service: Service | None, where: str) -> Version | None:
        if service is None:
            return None
        for version in service.versions:
            if version.name == name:
                return version
        known = [version.name for version in service.versions]
        guess = self.reader.nearest(name, known)
        self.reader.fault(
            "MSH107",
            where,
            name,
            f"The Service '{service.name}' has no version '{name[:80]}'.",
            one_of(known),
            remedy=f"Did you mean '{guess}'?" if guess else "",
        )
        return None
