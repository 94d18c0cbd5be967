"""Parse the value of `meshup:security` into a policy.

Interface::

    parse(raw, path, services, mode=..., environment=..., today=..., ...) -> (Policy, diagnostics)

All faults are reported at once; a part with a fault is left out of the result. No `raw` raises an exception. grammar.py
declares the raw form; here names become Services, ports and accounts.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, cast

from pydantic import BaseModel

from ..diagnostics import Diagnostic, Severity, nearest, one_of
from ..diagnostics.validation import MOST_HINTS, join, plain_entries, validate
from ..traffic.grammar import text_match
from ..traffic.model import CLUSTER_DOMAIN, Port, Service
from ..traffic.parse import Raw, pairs, with_raw
from . import paths
from .grammar import (
    AccessPathForm,
    AccessRuleForm,
    AuthenticationForm,
    ExceptionForm,
    JwtForm,
    NamespaceEgressForm,
    OperationForm,
    SecurityForm,
    ServiceForm,
    SourceForm,
)
from .model import (
    SPLIT_CLAIMS,
    Account,
    Authentication,
    Claims,
    Effect,
    Egress,
    EgressHost,
    Identity,
    Jwt,
    Mode,
    MtlsException,
    NamespacePolicy,
    Network,
    Operation,
    Policy,
    Rule,
    Source,
)
from .paths import PathPattern
from .world import Call

PROD = "prod"
"""The environment in which what is wide open needs a reason."""
_KEY_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""Members of a public key by its type (RFC 7518, section 6; RFC 8037, section 2)."""
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
"""Members that only a private or a symmetric key has (RFC 7518, section 6)."""


def parse(
    raw: object,
    path: str,
    services: Iterable[Service],
    *,
    mode: Mode,
    environment: str,
    today: date,
    domain: str = CLUSTER_DOMAIN,
    trust_domain: str = CLUSTER_DOMAIN,
    gateways: Mapping[str, Account | None] | None = None,
    presets: Mapping[str, Sequence[Call]] | None = None,
    exposures: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Policy, list[Diagnostic]]:
    """Read `meshup:security`. See the module's docstring.

    Args:
        raw: The configured value; None for none.
        path: Its path, for messages.
        services: All Services that are known: of applications, and those that routes describe.
        mode: Mutual TLS of the whole mesh.
        environment: In `prod`, what is wide open needs a reason.
        today: What exceptions may have ended before.
        domain: The DNS domain of the cluster.
        trust_domain: The trust domain of the mesh.
        gateways: The account of the pods of each gateway; None if it is not known.
        presets: The calls of each application of the stack, by its name.
        exposures: Host of a Service -> the gateways by which callers outside of the cluster reach it.

    Returns:
        The policy of all that is right, and the diagnostics.
    """
    entries, diagnostics = plain_entries({} if raw is None else raw, path)
    form, found = validate(SecurityForm, entries, path)
    context = _Context(environment, today, domain, trust_domain)
    parser = _Parser(path, services, gateways or {}, context, diagnostics + found)
    policy = parser.policy(form or SecurityForm(), entries, mode)
    rules = tuple(parser.preset_rules(form or SecurityForm(), presets or {}, exposures or {}))
    return replace(policy, rules=(*rules, *policy.rules)), parser.diagnostics


class _Context:
    """Where and when the policy holds."""

    def __init__(self, environment: str, today: date, domain: str, trust_domain: str) -> None:
        self.prod = environment == PROD
        self.today = today
        self.domain = domain
        self.trust_domain = trust_domain


class _Parser:
    """Resolves forms, together with their raw data: forms lack invalid values."""

    def __init__(
        self,
        path: str,
        services: Iterable[Service],
        gateways: Mapping[str, Account | None],
        context: _Context,
        diagnostics: list[Diagnostic],
    ) -> None:
        self.path = path
        self.gateways = gateways
        self.context = context
        self.diagnostics = diagnostics
        self.by_name: dict[str, list[Service]] = {}
        for service in services:
            self.by_name.setdefault(service.name, []).append(replace(service, domain=context.domain))

    def fault(self, code: str, where: str, value: object, message: str, allowed: str = "", *, remedy: str = "") -> None:
        """Append an error to the diagnostics."""
        self.diagnostics.append(Diagnostic(code, where, value, message, allowed, remedy))

    def suggestion(self, word: str, known: Iterable[str]) -> str:
        """Return a remedy with the most similar known word; "" after many faults, since it is slow."""
        guess = nearest(word, known) if len(self.diagnostics) < MOST_HINTS else None
        return f"Did you mean '{guess}'?" if guess else ""

    def policy(self, form: SecurityForm, raw: Raw, mode: Mode) -> Policy:
        """Return the policy without presets."""
        for key, service in (form.services or {}).items():
            self.describe(key, service, join(join(self.path, "services"), key))
        exceptions = tuple(self.exceptions(form, raw, mode))
        rules = [*self.rules(form, raw, "allow"), *self.rules(form, raw, "deny")]
        return Policy(
            mode,
            exceptions,
            tuple(self.namespaces(form)),
            tuple(rules),
            tuple(self.authentications(form, raw)),
            tuple(sorted((one for named in self.by_name.values() for one in named), key=lambda one: one.host)),
        )

    # Services

    def describe(self, key: str, form: ServiceForm, where: str) -> None:
        """Add a Service that the configuration describes."""
        name, _, namespace = key.partition(".")
        if form.namespace and namespace and form.namespace != namespace:
            message = f"The key says that the namespace is '{namespace}'."
            self.fault("MSH007", join(where, "namespace"), form.namespace, message)
            return
        namespace = form.namespace or namespace
        if not namespace:
            message = "The namespace of the Service is missing."
            self.fault("MSH003", join(where, "namespace"), None, message, remedy="Add 'namespace'.")
            return
        if any(service.namespace == namespace for service in self.by_name.get(name, [])):
            message = f"The Service '{name}' of the namespace '{namespace}' is known already."
            self.fault("MSH007", where, key, message, remedy="Remove the entry.")
            return
        ports = tuple(
            Port(one) if isinstance(one, int) else Port(one.number, app_protocol=one.protocol, target=one.target_port)
            for one in form.ports
        )
        numbers = [port.number for port in ports]
        if len(set(numbers)) < len(numbers):
            self.fault("MSH012", join(where, "ports"), numbers, "A port is listed here twice.")
        service = Service(name, namespace, ports, selector=pairs(form.selector), domain=self.context.domain)
        self.by_name.setdefault(name, []).append(service)

    def find(self, key: str, where: str) -> Service | None:
        """Return the known Service of a name, or None after reporting why there is none."""
        name, _, namespace = key.partition(".")
        candidates = [one for one in self.by_name.get(name, []) if namespace in ("", one.namespace)]
        if len(candidates) > 1:
            allowed = one_of(sorted(f"{name}.{one.namespace}" for one in candidates))
            self.fault("MSH503", where, key, f"Several namespaces have a Service '{name}'.", allowed)
            return None
        if not candidates:
            known = {f"{one.name}.{one.namespace}": one for named in self.by_name.values() for one in named}
            near = self.suggestion(key, [*self.by_name, *known])
            remedy = near or f"Describe it under {self.path}.services."
            message = f"There is no Service '{key[:128]}'."
            self.fault("MSH106", where, key, message, one_of(sorted(known)), remedy=remedy)
            return None
        (service,) = candidates
        if not service.selector:
            message = f"It is not known which pods '{service.host}' selects, and policies hold for pods."
            self.fault("MSH517", where, key, message)
            return None
        return service

    def port(self, service: Service, number: int, where: str) -> Port | None:
        """Return the port of a Service with a number, or None after reporting that it has none."""
        for port in service.ports:
            if port.number == number:
                return port
        of_pods = [str(port.number) for port in service.ports if port.container == number]
        remedy = (
            f"{number} is the port of the pods; write that of the Service: {', '.join(of_pods)}." if of_pods else ""
        )
        allowed = one_of(str(port.number) for port in service.ports)
        self.fault(
            "MSH109", where, number, f"The Service '{service.name}' has no port {number}.", allowed, remedy=remedy
        )
        return None

    # Mutual TLS

    def exceptions(self, form: SecurityForm, raw: Raw, mode: Mode) -> Iterator[MtlsException]:
        """Yield the exceptions, after a look at the mode of the mesh."""
        where = join(self.path, "mtls")
        mtls = form.mtls
        written = mtls.mode if mtls else None
        if written and written != mode:
            self.fault("MSH007", f"{where}.mode", written, f"Mutual TLS of the mesh is '{mode}' by meshup:mtls.", mode)
        if mode == "permissive" and self.context.prod and not (mtls and mtls.reason):
            message = "In prod, the whole mesh takes plain text from whoever reaches a pod."
            at = f"{where}.mode" if written else "meshup:mtls"
            self.fault("MSH508", at, mode, message, remedy=f"Set it to strict, or write why: {where}.reason.")
        seen: dict[tuple[object, ...], str] = {}
        raw_mtls = raw.get("mtls")
        raw_list = cast("Raw", raw_mtls).get("exceptions") if isinstance(raw_mtls, dict) else None
        for one, _, at in with_raw(mtls.exceptions if mtls else None, raw_list, f"{where}.exceptions"):
            made = self.exception(one, at)
            if made is None:
                continue
            place = (made.namespace, made.service, made.port)
            if seen.setdefault(place, at) != at:
                self.fault("MSH012", at, None, f"The exception at {seen[place]} is for the same place.")
                continue
            yield made

    def exception(self, form: ExceptionForm, where: str) -> MtlsException | None:
        """Return an exception, or None after reporting what is wrong with it."""
        if form.until and form.until < self.context.today:
            message = f"The exception has ended: today is {self.context.today.isoformat()}."
            self.fault("MSH509", f"{where}.until", form.until.isoformat(), message)
        if self.context.prod and form.mode in ("permissive", "disable") and not form.reason:
            message = "In prod, plain text is taken here, and nothing says why."
            self.fault("MSH508", where, form.mode, message)
        if form.namespace is None or form.mode is None:
            return None
        service = port = None
        if form.service is not None:
            service = self.find(f"{form.service}.{form.namespace}", f"{where}.service")
            if service is None:
                return None
            if form.port is not None:
                port = self.port(service, form.port, f"{where}.port")
                if port is None:
                    return None
        return MtlsException(form.namespace, form.mode, service, port, form.until, form.reason or "", where)

    # Namespaces

    def namespaces(self, form: SecurityForm) -> Iterator[NamespacePolicy]:
        """Yield the policies of namespaces."""
        for name, one in (form.namespaces or {}).items():
            where = join(join(self.path, "namespaces"), name)
            egress = _egress(one.egress, f"{where}.egress") if one.egress else None
            yield NamespacePolicy(name, one.default, egress, one.network_policy, where)

    # Rules

    def rules(self, form: SecurityForm, raw: Raw, effect: Effect) -> Iterator[Rule]:
        """Yield the rules of `allow` or of `deny`."""
        forms: Mapping[str, AccessRuleForm | list[AccessRuleForm]] = (
            form.allow if effect == "allow" else form.deny
        ) or {}
        taken: dict[str, str] = {}
        for key, listed in forms.items():
            where = join(join(self.path, effect), key)
            service = self.find(key, where)
            if service and taken.setdefault(service.host, key) != key:
                self.fault("MSH012", where, key, f"'{taken[service.host]}' is the same Service.")
                continue
            for one, raw_rule, at in with_raw(listed, raw[effect][key], where):
                before = len(self.diagnostics)
                rule = self.rule(one, raw_rule, effect, service, at)
                if rule and len(self.diagnostics) == before:
                    yield rule

    def rule(self, form: AccessRuleForm, raw: Raw, effect: Effect, service: Service | None, where: str) -> Rule | None:
        """Return a rule, or None if its Service is not known."""
        sources: list[Source] = []
        for one, _, at in with_raw(form.from_, raw.get("from"), f"{where}.from"):
            source = self.source(one, service, at)
            if source:
                sources.append(source)
        operations: list[Operation] = []
        for one, _, at in with_raw(form.to, raw.get("to"), f"{where}.to"):
            operation = self.operation(one, service, at)
            if operation:
                operations.append(operation)
        claims = self.claims(form.claims, f"{where}.claims")
        if self.context.prod and effect == "allow" and not form.audit and not form.reason:
            for source in filter(_is_wide, sources):
                message = f"In prod, the rule opens to {source.title}, and nothing says why."
                self.fault(
                    "MSH508", source.where, None, message, remedy=f"Name the callers, or write why: {where}.reason."
                )
        if service is None or not sources:
            return None
        key = where.removeprefix(f"{self.path}.")
        return Rule(
            key,
            effect,
            service,
            tuple(sources),
            tuple(operations),
            claims,
            form.audit,
            form.reason or "",
            where,
        )

    def source(self, form: SourceForm, service: Service | None, where: str) -> Source | None:
        """Return callers, or None after reporting what is wrong with them."""
        networks = (Network(form.cidr, tuple(form.except_ or ())),) if form.cidr else ()
        if form.gateway is not None:
            account = self.gateway(form.gateway, f"{where}.gateway")
            return _gateway_source(form.gateway, account, networks, where) if account else None
        if form.everybody or (networks and not _names_identity(form)):
            return Source(None, networks, title=_network_text(networks[0]) if networks else "everybody", where=where)
        found = self.identity(form, service, where)
        if found is None:
            return None
        identity, title = found
        return Source(identity, networks, title=title + _at(networks), where=where)

    def identity(self, form: SourceForm, service: Service | None, where: str) -> tuple[Identity, str] | None:
        """Return an identity with its title, or None after reporting what is wrong with it."""
        foreign = form.trust_domain or ""
        if foreign == self.context.trust_domain:
            message = f"'{foreign}' is the trust domain of the mesh itself."
            remedy = "Remove 'trustDomain'; '{mesh: true}' is whoever has an identity."
            self.fault("MSH516", f"{where}.trustDomain", foreign, message, remedy=remedy)
            return None
        if form.service_account is not None:
            namespace, _, name = form.service_account.rpartition("/")
            if not namespace and service is None:
                return None
            account = Account(namespace or (service.namespace if service else ""), name)
            identity = Identity("account", account.namespace, account.name, foreign)
            return identity, f"{account} of {foreign}" if foreign else str(account)
        if form.namespace is not None:
            return Identity("namespace", form.namespace), f"namespace {form.namespace}"
        if foreign:
            return Identity("trust-domain", trust_domain=foreign), f"trust domain {foreign}"
        return (Identity("mesh"), "whoever has an identity") if form.mesh else None

    def gateway(self, name: str, where: str) -> Account | None:
        """Return the account of a gateway, or None after reporting that it is not known."""
        if name not in self.gateways:
            known = list(self.gateways)
            remedy = self.suggestion(name, known) if known else "Declare a gateway under meshup:gateways."
            self.fault("MSH401", where, name, f"There is no gateway '{name}'.", one_of(known), remedy=remedy)
            return None
        account = self.gateways[name]
        if account is None:
            message = f"It is not known under which service account the pods of the gateway '{name}' run."
            self.fault("MSH507", where, name, message)
        return account

    def operation(self, form: OperationForm, service: Service | None, where: str) -> Operation | None:
        """Return what is asked for, or None after reporting what is wrong with it."""
        port = None
        if form.port is not None and service is not None:
            port = self.port(service, form.port, f"{where}.port")
            if port is None:
                return None
        hosts = tuple(form.hosts or ())
        headers = tuple(sorted((name.lower(), text_match(one)) for name, one in (form.headers or {}).items()))
        if form.grpc:
            name, method = form.grpc.service, form.grpc.method
            pattern = paths.exact(f"/{name}/{method}") if method else paths.prefix(f"/{name}")
            return Operation(port, ("POST",), (pattern,), headers, hosts, grpc=True, where=where)
        patterns = tuple(dict.fromkeys(path_pattern(one) for one in form.paths or ()))
        return Operation(port, tuple(form.methods or ()), patterns, headers, hosts, where=where)

    def claims(self, form: object, where: str) -> Claims:
        """Return conditions on claims, after reporting those that no token meets."""
        found: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        for path, at, values in _claims(form, (), where):
            split = len(path) == 1 and path[0] in SPLIT_CLAIMS
            for value in values:
                if split and " " in value:
                    message = f"The words of '{path[0]}' are compared one by one, and none has a blank."
                    self.fault("MSH514", at, value, message)
            found.append((path, tuple(dict.fromkeys(values))))
        return tuple(sorted(found))

    # Tokens

    def authentications(self, form: SecurityForm, raw: Raw) -> Iterator[Authentication]:
        """Yield the tokens that Services read."""
        taken: dict[str, str] = {}
        for key, one in (form.authentication or {}).items():
            where = join(join(self.path, "authentication"), key)
            service = self.find(key, where)
            if service and taken.setdefault(service.host, key) != key:
                self.fault("MSH012", where, key, f"'{taken[service.host]}' is the same Service.")
                continue
            before = len(self.diagnostics)
            issuers = self.issuers(one, raw["authentication"][key], f"{where}.jwt")
            if service and issuers and len(self.diagnostics) == before:
                yield Authentication(service, tuple(issuers), where)

    def issuers(self, form: AuthenticationForm, raw: Raw, where: str) -> list[Jwt]:
        """Return the issuers, without those that have a fault."""
        found: list[Jwt] = []
        seen: dict[str, str] = {}
        for one, _, at in with_raw(form.jwt, raw["jwt"], where):
            if one.issuer is not None and seen.setdefault(one.issuer, at) != at:
                self.fault("MSH012", f"{at}.issuer", one.issuer, f"The issuer stands at {seen[one.issuer]} already.")
                continue
            jwks = self.key_set(one, at)
            claims = self.claims(one.claims, f"{at}.claims")
            if one.issuer is None or jwks is None:
                continue
            headers = pairs(one.headers)
            audiences = tuple(one.audiences or ())
            found.append(
                Jwt(one.issuer, audiences, jwks, one.jwks_uri or "", headers, one.forward, one.require, claims, at)
            )
        return found

    def key_set(self, form: JwtForm, where: str) -> str | None:
        """Return the public keys as JSON text, or None after reporting what is wrong with them. Prints none of them."""
        if form.jwks is None:
            return ""
        at = f"{where}.jwks"
        value: Any = form.jwks
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                self.fault("MSH510", at, None, "This is not JSON.")
                return None
        keys = cast("dict[str, Any]", value).get("keys") if isinstance(value, dict) else None
        if not isinstance(keys, list) or not keys:
            self.fault("MSH510", at, None, "There is no list 'keys' with a key.")
            return None
        wrong = False
        for number, key in enumerate(cast("list[Any]", keys)):
            code, message = _key_fault(key)
            if message:
                self.fault(code, f"{at}.keys[{number}]", None, message)
                wrong = True
        return None if wrong else json.dumps(value, sort_keys=True)

    # Presets

    def preset_rules(
        self, form: SecurityForm, presets: Mapping[str, Sequence[Call]], exposures: Mapping[str, Sequence[str]]
    ) -> Iterator[Rule]:
        """Yield the rules that allow the calls of sample applications."""
        where = join(self.path, "preset")
        chosen = [form.preset] if isinstance(form.preset, str) else form.preset or []
        for number, name in enumerate(chosen):
            at = where if isinstance(form.preset, str) else f"{where}[{number}]"
            if name not in presets:
                message = f"'{name[:80]}' is no application of this stack."
                near = self.suggestion(name, presets)
                self.fault("MSH004", at, name, message, one_of(presets), remedy=near or "Add it to meshup:apps.")
                continue
            yield from self.of_calls(name, presets[name], exposures, at)

    def of_calls(
        self, preset: str, calls: Sequence[Call], exposures: Mapping[str, Sequence[str]], where: str
    ) -> Iterator[Rule]:
        """Yield a rule for each caller and Service."""
        by_edge: dict[tuple[str, Account | None], list[Call]] = {}
        for call in calls:
            by_edge.setdefault((f"{call.service}.{call.namespace}", call.caller), []).append(call)
        counts: dict[str, int] = {}
        for (key, caller), edge in by_edge.items():
            service = self.find(key, where)
            if service is None:
                continue
            sources = (
                (Source(Identity("account", caller.namespace, caller.name), title=str(caller), where=where),)
                if caller
                else tuple(self.outside(preset, service, exposures.get(service.host, ()), where))
            )
            operations: list[Operation] = []
            for call in edge:
                port = self.port(service, call.port, where)
                if port and call.method:
                    patterns = tuple(map(path_pattern, call.paths))
                    grpc = port.grpc and call.method == "POST"
                    operations.append(Operation(port, (call.method,), patterns, grpc=grpc, where=where))
                elif port:
                    operations.append(Operation(port, where=where))
            number = counts.get(service.host, 0)
            counts[service.host] = number + 1
            if sources and operations:
                name = f"preset {preset}: {service.name}[{number}]"
                yield Rule(name, "allow", service, sources, tuple(operations), where=where)

    def outside(self, preset: str, service: Service, gateways: Sequence[str], where: str) -> Iterator[Source]:
        """Yield the gateways by which callers outside of the cluster reach a Service, and say so if there is none."""
        known = [(name, account) for name in gateways if (account := self.gateways.get(name))]
        for name, account in known:
            yield _gateway_source(name, account, (), where)
        if known:
            return
        message = (
            f"Users call {service.name} of {preset}, and no gateway exposes it. The preset opens it to none of them."
        )
        remedy = f"Set meshup:{preset}.expose, or allow further callers: {self.path}.allow.{service.name}."
        severity: Severity = "info"
        if gateways:
            message = (
                f"The gateway '{gateways[0]}' exposes {service.name} of {preset}, and it is not known under which "
                "service account its pods run. The preset opens it to none of their calls."
            )
            remedy = f"Allow the gateway by its account or its addresses: {self.path}.allow.{service.name}."
            severity = "warning"
        self.diagnostics.append(Diagnostic("MSH515", where, preset, message, remedy=remedy, severity=severity))


def path_pattern(form: str | Mapping[str, str] | BaseModel) -> PathPattern:
    """Return the pattern of a path as it is written: a text is exact."""
    if isinstance(form, str):
        return paths.exact(form)
    kind, text = form.one if isinstance(form, AccessPathForm) else next(iter(cast("Mapping[str, str]", form).items()))
    return {"exact": paths.exact, "prefix": paths.prefix, "template": paths.template}[kind](text)


def _egress(form: NamespaceEgressForm, where: str) -> Egress:
    hosts = tuple(
        EgressHost(one.host, one.port, one.protocol, f"{where}.hosts[{number}]")
        for number, one in enumerate(form.hosts or ())
    )
    return Egress(form.default == "deny", hosts, tuple(Network(cidr) for cidr in form.cidrs or ()), where)


def _gateway_source(name: str, account: Account, networks: tuple[Network, ...], where: str) -> Source:
    identity = Identity("account", account.namespace, account.name)
    return Source(identity, networks, name, f"gateway {name}{_at(networks)}", where)


def _names_identity(form: SourceForm) -> bool:
    return bool(form.service_account or form.namespace or form.trust_domain or form.mesh)


def _at(networks: tuple[Network, ...]) -> str:
    return f" at {_network_text(networks[0])}" if networks else ""


def _network_text(network: Network) -> str:
    return network.cidr + (f" without {', '.join(network.excluded)}" if network.excluded else "")


def _is_wide(source: Source) -> bool:
    """Return True for callers that nobody has named: everybody, whoever has an identity, a whole trust domain."""
    if source.networks and not any(ipaddress.ip_network(one.cidr).prefixlen == 0 for one in source.networks):
        return False
    return source.identity is None or source.identity.kind in ("mesh", "trust-domain")


def _claims(form: object, above: tuple[str, ...], where: str) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    """Yield the path of each claim with its place in the configuration and its values."""
    for name, value in cast("Mapping[str, object]", form or {}).items():
        path, at = (*above, name), join(where, name)
        if isinstance(value, dict):
            yield from _claims(cast("object", value), path, at)
        else:
            yield path, at, [value] if isinstance(value, str) else cast("list[str]", value)


def _key_fault(key: object) -> tuple[str, str]:
    """Return the code and the message of what is wrong with a key of a key set, "" for nothing."""
    if not isinstance(key, dict):
        return "MSH510", "A key is a mapping."
    members = cast("dict[str, Any]", key)
    if private := [name for name in _PRIVATE if name in members]:
        return "MSH511", f"The key has '{private[0]}', so it is not a public key only."
    kind = members.get("kty")
    needed = _KEY_MEMBERS.get(kind) if isinstance(kind, str) else None
    if needed is None:
        return "MSH510", f"'kty' is none of {', '.join(_KEY_MEMBERS)}."
    for name in needed:
        value = members.get(name)
        if not isinstance(value, str) or not (name == "crv" or _is_base64url(value)):
            return "MSH510", f"'{name}' is missing, or is not base64url."
    return "", ""


def _is_base64url(text: str) -> bool:
    try:
        return bool(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return False
